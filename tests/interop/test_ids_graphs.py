"""Ids and paths equal gokart's for generated pipelines: every shape of `requires`, tasks as parameters, namespaces."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import luigi
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.interop.tally import Tally, forget_instances
from tests.interop.twins import MODULE, Library, Twins, define, make
from tests.interop.values import KINDS

pytestmark = pytest.mark.filterwarnings('ignore')
tally = Tally()

#: Kinds of which most generated values are accepted.
PLAIN = ['Parameter', 'OptionalParameter', 'IntParameter', 'FloatParameter', 'DateParameter', 'ListParameter']
NAMES = ['Load', 'Clean', 'Train', 'Évaluer', 'A']


@dataclass(frozen=True)
class Step:
    """One task of a pipeline; other steps are meant by their position."""

    name: str
    namespace: str | None
    values: dict[str, tuple[str, Any]]
    insignificant: frozenset[str]
    significant: bool
    held: dict[str, int | list[int]]
    held_insignificantly: frozenset[str]
    attributes: dict[str, int]
    requires: Any
    plain: bool


@st.composite
def pipelines(draw: st.DrawFn) -> list[Step]:
    """Steps of which each may need some of those before it; the last one is a task on kart."""
    count = draw(st.integers(1, 6))
    steps: list[Step] = []
    for position in range(count):
        ours = [i for i, step in enumerate(steps) if not step.plain]
        plain = position < count - 1 and draw(st.integers(0, 5)) == 0
        kinds = draw(st.dictionaries(st.sampled_from('pqrs'), st.sampled_from(PLAIN), max_size=2))
        values = {name: (kind, draw(KINDS[kind].values)) for name, kind in kinds.items()}
        held = draw(held_tasks(ours)) if ours and not plain else {}
        steps.append(
            Step(
                name=draw(st.sampled_from(NAMES)),
                namespace=draw(st.sampled_from([None, None, 'space', 'a.b'])),
                values=values,
                insignificant=draw(st.frozensets(st.sampled_from('pqrs'), max_size=1)),
                significant=draw(st.integers(0, 4)) > 0,
                held=held,
                held_insignificantly=draw(st.frozensets(st.sampled_from(sorted(held)))) if held else frozenset(),
                attributes=draw(st.dictionaries(st.just('set_in_init'), st.sampled_from(ours))) if ours else {},
                requires=draw(shapes(position)) if position else 'by default',
                plain=plain,
            )
        )
    return steps


def held_tasks(ours: list[int]) -> st.SearchStrategy[dict[str, int | list[int]]]:
    one = st.sampled_from(ours)
    return st.dictionaries(st.sampled_from(['upstream', 'others']), one | st.lists(one, max_size=3), max_size=2)


def shapes(position: int) -> st.SearchStrategy[Any]:
    leaf = st.integers(0, position - 1)
    nested = st.recursive(
        leaf,
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.lists(inner, max_size=2).map(tuple)
            | st.dictionaries(st.sampled_from('xyz'), inner, max_size=2)
        ),
        max_leaves=4,
    )
    lazily = st.lists(leaf, max_size=3).map(lambda found: ('generator', found))
    return st.sampled_from(['by default', 'by default', None]) | nested | lazily


def build(library: Library, steps: list[Step]) -> list[Any]:
    """The tasks of a pipeline."""
    tasks: list[Any] = []
    for step in steps:
        cls = luigi_class(step) if step.plain else kart_class(library, step, tasks)
        given: dict[str, Any] = {name: value for name, (_, value) in step.values.items()}
        if not step.plain:
            given['significant'] = step.significant
            for name, found in step.held.items():
                given[name] = [tasks[i] for i in found] if isinstance(found, list) else tasks[found]
        tasks.append(cls(**given))
    return tasks


def luigi_class(step: Step) -> Any:
    parameters = {name: KINDS[kind].declare(None) for name, (kind, _) in step.values.items()}
    return type(luigi.Task)(step.name, (luigi.Task,), {'__module__': MODULE, **parameters})


def kart_class(library: Library, step: Step, tasks: list[Any]) -> Any:
    body: dict[str, Any] = {'__module__': MODULE}
    if step.namespace is not None:
        body['task_namespace'] = step.namespace
    for name, (kind, _) in step.values.items():
        body[name] = KINDS[kind].declare(library, significant=name not in step.insignificant)
    for name, found in step.held.items():
        kind = library.ListTaskInstanceParameter if isinstance(found, list) else library.TaskInstanceParameter
        body[name] = kind(significant=name not in step.held_insignificantly)
    if step.requires != 'by default':
        body['requires'] = lambda self: required(step.requires, tasks)
    if step.attributes:
        body['__init__'] = initialiser(library, {name: tasks[i] for name, i in step.attributes.items()})
    return type(library.TaskOnKart)(step.name, (library.TaskOnKart,), body)


def initialiser(library: Library, attributes: dict[str, Any]) -> Any:
    def initialise(self: Any, *args: Any, **kwargs: Any) -> None:
        library.TaskOnKart.__init__(self, *args, **kwargs)
        for name, task in attributes.items():
            setattr(self, name, task)

    return initialise


def required(shape: Any, tasks: list[Any]) -> Any:
    if isinstance(shape, int):
        return tasks[shape]
    if isinstance(shape, dict):
        return {name: required(item, tasks) for name, item in shape.items()}
    if isinstance(shape, tuple) and shape[:1] == ('generator',):
        return (tasks[i] for i in shape[1])
    if isinstance(shape, list | tuple):
        return type(shape)(required(item, tasks) for item in shape)
    return shape


@settings(max_examples=250, deadline=None, suppress_health_check=list(HealthCheck), database=None, derandomize=True)
@given(steps=pipelines())
def test_generated_pipelines(steps: list[Step]) -> None:
    forget_instances()
    tasks = make(lambda library: build(library, steps))
    # a task of an older definition is one of today's here, which gokart does not do
    today = {(step.name, step.namespace): i for i, step in enumerate(steps)}
    for i, (ours, theirs, step) in enumerate(zip(tasks.ours, tasks.theirs, steps, strict=True)):
        if not step.plain and today[step.name, step.namespace] == i:
            tally.compare_task(step, Twins(ours, theirs))


@pytest.mark.parametrize(
    'decorator',
    [
        '@requires(P1)',
        '@requires(P1, P2)',
        '@requires(first=P1, second=P2)',
        '@inherits(P1)',
        '@inherits(P2, P1)',
        '@inherits(P1)\n@requires(P2)',
        '@requires(P2)\n@inherits(P1)',
    ],
)
def test_luigis_decorators(decorator: str) -> None:
    source = f"""
from luigi.util import inherits, requires

class P1(TaskOnKart):
    a = luigi.IntParameter(default=1)
    shared = luigi.Parameter(default='s')

class P2(TaskOnKart):
    b = luigi.FloatParameter(default=0.5)
    shared = luigi.Parameter(default='s')

{decorator}
class Child(TaskOnKart):
    c = luigi.IntParameter(default=3)
"""
    forget_instances()
    classes = define(source)
    for values in ({}, {'a': 4}, {'shared': 't', 'c': 0}, {'b': 2.5}):
        for name in ('Child', 'P1', 'P2'):
            accepted = classes.map(lambda names, name=name: dict(getattr(names, name).get_params())).theirs
            known = {key: value for key, value in values.items() if key in accepted}
            tasks = classes.map(lambda names, name=name, known=known: getattr(names, name)(**known))
            tally.compare_task((decorator, name, values), tasks)


def test_nested_task_instances() -> None:
    source = """
class Leaf(TaskOnKart):
    n = luigi.IntParameter(default=1)
    hidden = luigi.Parameter(default='h', visibility=luigi.parameter.ParameterVisibility.HIDDEN)
    secret = luigi.Parameter(default='s', visibility=luigi.parameter.ParameterVisibility.PRIVATE)
    unimportant = luigi.Parameter(default='u', significant=False)

class Spaced(Leaf):
    task_namespace = 'name.space'

class Pair(TaskOnKart):
    left = TaskInstanceParameter()
    right = TaskInstanceParameter(default=Leaf(n=7))

class Many(TaskOnKart):
    tasks = ListTaskInstanceParameter()

def deep(depth, cls=Pair):
    task = Leaf()
    for i in range(depth):
        task = Pair(left=task, right=Many(tasks=[task, Spaced(n=i)]))
    return task
"""
    forget_instances()
    names = define(source)
    for depth in range(6):
        tasks = names.map(lambda found, depth=depth: found.deep(depth))
        tally.compare_task(('nested', depth), tasks)
        if depth:
            tally.compare('task texts', depth, tasks, lambda task: task.to_str_params()['left'])
            tally.compare('ids after a round trip', depth, tasks, _again)
    for values in ({'hidden': 'other'}, {'secret': 'other'}, {'unimportant': 'other'}, {'significant': False}):
        forget_instances()
        tasks = names.map(lambda found, values=values: found.Pair(left=found.Leaf(**values)))
        tally.compare_task(('nested', values), tasks)


def test_paths_of_every_target() -> None:
    source = """
class Step(TaskOnKart):
    n = luigi.IntParameter(default=1)

def save(model, path): ...
def load(path): ...

def targets(task):
    yield task.make_target()
    for path in ('a.csv', 'dir/a.tar.gz', 'a.b/c.txt', '/absolute/x.pkl', './x.json', '../up.pkl', 'x.png'):
        yield task.make_target(path)
        yield task.make_target(path, use_unique_id=False)
    for path in ('m.zip', 'dir.x/m.zip'):
        yield task.make_model_target(path, save, load)
        yield task.make_model_target(path, save, load, use_unique_id=False)
    yield task.make_large_data_frame_target()
    yield task.make_large_data_frame_target('big/frame.zip')
"""
    for module in ('__main__', 'top', 'pk.sub.mod'):
        names = define(source, module)
        for workspace in ('./resources/', 'plain', '/abs/dir/', './a/../b', 's3://bucket/prefix/'):
            tasks = names.map(lambda found, workspace=workspace: found.Step(workspace_directory=workspace))
            if not workspace.startswith('s3:'):
                listed = Twins((names.ours, tasks.ours), (names.theirs, tasks.theirs))
                tally.compare('paths', (module, workspace), listed, _target_paths)


def _target_paths(found: Any) -> list[str]:
    names, task = found
    return [target.path() for target in names.targets(task)]


def _again(task: Any) -> str:
    return str(type(task).from_str_params(task.to_str_params()).make_unique_id())


def test_the_count(record_property: Any) -> None:
    record_property('measured', f'graphs: {tally}')
    assert not tally.differing
