"""Ids, paths and texts equal gokart's for generated values of every parameter type."""

from __future__ import annotations

import functools
import inspect
from typing import Any

import luigi
import luigi.parameter
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import kartnb.task.parameters
from tests.interop.tally import Tally, forget_instances
from tests.interop.twins import MODULE, Library, Twins, make, outcome
from tests.interop.values import KINDS, declared

pytestmark = pytest.mark.filterwarnings('ignore')
tally = Tally()


def examples(count: int) -> settings:
    return settings(
        max_examples=count, deadline=None, suppress_health_check=list(HealthCheck), database=None, derandomize=True
    )


@functools.cache
def one_parameter(kind: str) -> Twins:
    """A task class with one parameter of this kind."""
    return make(lambda library: task_class(library, {'p': KINDS[kind].declare(library)}))


def task_class(library: Library, parameters: dict[str, Any], name: str = 'Example') -> Any:
    return type(library.TaskOnKart)(name, (library.TaskOnKart,), {'__module__': MODULE, **parameters})


def refused(classes: Twins, what: object, **values: Any) -> bool:
    """Whether gokart refuses the values, when it makes or identifies the task; kartnb must refuse them too."""

    def fails(cls: Any) -> bool:
        return isinstance(outcome(lambda: cls(**values).make_unique_id()), type)

    if not classes.map(fails).theirs:
        return False
    tally.compare('refusals', what, classes, fails)
    return True


@pytest.mark.parametrize('kind', KINDS)
def test_a_value_given(kind: str) -> None:
    @examples(40)
    @given(value=KINDS[kind].values)
    def check(value: Any) -> None:
        forget_instances()
        classes = one_parameter(kind)
        if refused(classes, (kind, value), p=value):
            return
        tasks = classes.map(lambda cls: cls(p=value))
        tally.compare_task((kind, value), tasks)
        tally.compare('ids after a round trip', (kind, value), tasks, _again)
        tally.compare('ids of clones', (kind, value), tasks, lambda task: task.clone().make_unique_id())

    check()


@pytest.mark.parametrize('kind', KINDS)
def test_a_value_by_default(kind: str) -> None:
    @examples(10)
    @given(value=KINDS[kind].values, significant=st.booleans())
    def check(value: Any, significant: bool) -> None:
        forget_instances()

        def make_task(library: Library) -> Any:
            parameter = KINDS[kind].declare(library, default=value, significant=significant)
            return task_class(library, {'p': parameter})

        classes = make(make_task)
        if refused(classes, (kind, value)):
            return
        tally.compare_task((kind, 'by default', value), classes.map(lambda cls: cls()))

    check()


@examples(150)
@given(data=st.data())
def test_several_parameters(data: st.DataObject) -> None:
    forget_instances()
    kinds = data.draw(st.dictionaries(st.sampled_from('abcdefgh'), st.sampled_from(sorted(KINDS)), max_size=5))
    insignificant = data.draw(st.sets(st.sampled_from(sorted(kinds)))) if kinds else set()
    values = {name: data.draw(KINDS[kind].values) for name, kind in kinds.items()}

    def make_task(library: Library) -> Any:
        parameters = {
            name: KINDS[kind].declare(library, significant=name not in insignificant) for name, kind in kinds.items()
        }
        return task_class(library, parameters)

    classes = make(make_task)
    if refused(classes, values, **values):
        return
    tally.compare_task((kinds, values), classes.map(lambda cls: cls(**values)))


@pytest.mark.parametrize('kind', ['IntParameter', 'DictParameter', 'DateParameter', 'OptionalParameter'])
def test_parameters_of_base_classes_come_first(kind: str) -> None:
    def make_task(library: Library) -> Any:
        base = task_class(library, declared(library, {'z': 'IntParameter', 'y': kind}, default=None), 'Base')
        mixed_in = type('Mixin', (), {'m': luigi.IntParameter(default=4)})
        return type(base)('Child', (base, mixed_in), {'a': luigi.Parameter(default='first'), '__module__': MODULE})

    forget_instances()
    tally.compare_task(kind, make(make_task).map(lambda cls: cls(z=3, y=None)))


def test_every_parameter_type_is_covered() -> None:
    covered = {name.partition(',')[0] for name in KINDS}
    modules = (luigi.parameter, kartnb.task.parameters)
    concrete = {
        name
        for module in modules
        for name, cls in vars(module).items()
        if inspect.isclass(cls) and issubclass(cls, luigi.Parameter) and not name.startswith('_')
    }
    own = {'FileParameter'}  # gokart has none
    elsewhere = {'TaskInstanceParameter', 'ListTaskInstanceParameter'}
    assert concrete - covered - own == elsewhere, 'these are in test_ids_graphs'


def test_the_count(record_property: Any) -> None:
    record_property('measured', f'parameters: {tally}')
    assert not tally.differing


def _again(task: Any) -> str:
    return str(type(task).from_str_params(task.to_str_params()).make_unique_id())
