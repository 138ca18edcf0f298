"""The parameters that every task has, and what a wrong call of a class is told."""

from __future__ import annotations

import warnings
from typing import Any

import luigi
import pytest
from luigi.configuration.cfg_parser import LuigiConfigParser
from luigi.parameter import (
    DuplicateParameterException,
    MissingParameterException,
    UnconsumedParameterWarning,
    UnknownParameterException,
)

import kartnb

TABLE = [
    ('workspace_directory', luigi.Parameter, './resources/'),
    ('local_temporary_directory', luigi.Parameter, './resources/tmp/'),
    ('rerun', luigi.BoolParameter, False),
    ('strict_check', luigi.BoolParameter, False),
    ('modification_time_check', luigi.BoolParameter, False),
    ('serialized_task_definition_check', luigi.BoolParameter, False),
    ('delete_unnecessary_output_files', luigi.BoolParameter, False),
    ('significant', luigi.BoolParameter, True),
    ('fix_random_seed_methods', luigi.ListParameter, ('random.seed', 'numpy.random.seed')),
    ('fix_random_seed_value', luigi.IntParameter, -42497368),
    ('redis_host', luigi.OptionalParameter, None),
    ('redis_port', luigi.OptionalIntParameter, None),
    ('redis_timeout', luigi.IntParameter, 180),
    ('fail_on_empty_dump', kartnb.ExplicitBoolParameter, False),
    ('store_index_in_feather', kartnb.ExplicitBoolParameter, True),
    ('cache_unique_id', kartnb.ExplicitBoolParameter, True),
    ('should_dump_supplementary_log_files', kartnb.ExplicitBoolParameter, True),
    ('complete_check_at_run', kartnb.ExplicitBoolParameter, True),
    ('should_lock_run', kartnb.ExplicitBoolParameter, False),
]


class Train(kartnb.TaskOnKart):
    rate = luigi.FloatParameter()
    depth = luigi.IntParameter(default=3)


def test_their_names_order_types_and_defaults() -> None:
    task = kartnb.TaskOnKart()
    found = [(name, type(parameter), getattr(task, name)) for name, parameter in kartnb.TaskOnKart.get_params()]
    assert found == TABLE


def test_none_is_significant() -> None:
    assert not any(parameter.significant for _, parameter in kartnb.TaskOnKart.get_params())
    values = {'rerun': True, 'workspace_directory': 'elsewhere', 'significant': False, 'fix_random_seed_value': 1}
    assert kartnb.TaskOnKart(**values).make_unique_id() == kartnb.TaskOnKart().make_unique_id()


def test_attributes_that_gokart_tasks_have() -> None:
    task = Train(rate=0.1)
    assert task.task_log == {}
    assert task.task_unique_id is None
    assert task.param_kwargs['rate'] == 0.1
    assert task.make_unique_id() == task.task_unique_id
    assert kartnb.TaskOnKart.FIX_RANDOM_SEED_VALUE_NONE_MAGIC_NUMBER == -42497368


def test_a_missing_value() -> None:
    with pytest.raises(MissingParameterException) as caught:
        Train()
    assert str(caught.value) == "Train needs a value for 'rate': Train(rate=…)."


def test_several_missing_values() -> None:
    class Two(Train):
        name = luigi.Parameter()

    with pytest.raises(MissingParameterException) as caught:
        Two()
    assert str(caught.value) == "Two needs a value for 'rate' and 'name': Two(rate=…, name=…)."


@pytest.mark.parametrize(
    'values, message',
    [
        ({'rat': 1.0}, "Train has no parameter 'rat': did you mean 'rate'?"),
        (
            {'wokspace_directory': 'x'},
            "Train has no parameter 'wokspace_directory': did you mean 'workspace_directory'?",
        ),
        ({'zzz': 1}, "Train has no parameter 'zzz': it has rate, depth."),
    ],
)
def test_an_unknown_parameter(values: dict[str, Any], message: str) -> None:
    with pytest.raises(UnknownParameterException) as caught:
        Train(**values)
    assert str(caught.value) == message


def test_a_value_given_twice() -> None:
    with pytest.raises(DuplicateParameterException, match="'workspace_directory' was given twice"):
        Train('w', workspace_directory='v')


def test_too_many_values() -> None:
    with pytest.raises(UnknownParameterException, match=r'takes at most 21 positional parameters \(22 were given\)'):
        Train(*range(22))


def test_a_configured_value_that_cannot_be_read(configuration: LuigiConfigParser) -> None:
    configuration.set('Train', 'depth', 'three')
    with pytest.raises(
        ValueError, match=r"that Train has for 'depth' by default, or from the configuration, cannot be"
    ):
        Train(rate=1.0)


def test_configuration_is_read_anew(configuration: LuigiConfigParser) -> None:
    first = Train(rate=1.0)
    configuration.set('TaskOnKart', 'workspace_directory', 'configured')
    assert Train(rate=1.0).workspace_directory == 'configured'
    configuration.set('Train', 'depth', '4')
    assert Train(rate=1.0).depth == 4
    configuration.remove_section('TaskOnKart')
    configuration.remove_section('Train')
    assert Train(rate=1.0) is first


def test_the_section_for_all_tasks_beats_the_classes_own_default(configuration: LuigiConfigParser) -> None:
    class Elsewhere(kartnb.TaskOnKart):
        workspace_directory = luigi.Parameter(default='of the class', significant=False)

    configuration.set('TaskOnKart', 'workspace_directory', 'configured')
    assert Elsewhere().workspace_directory == 'configured'
    assert Elsewhere(workspace_directory='given').workspace_directory == 'given'


def test_a_configured_name_that_is_no_parameter_is_warned_of_once(configuration: LuigiConfigParser) -> None:
    configuration.set('Train', 'deepth', '4')
    with pytest.warns(UnconsumedParameterWarning, match="sets 'deepth', which is not a parameter of Train"):
        Train(rate=1.0)
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        Train(rate=2.0)


def test_a_parameter_that_finds_its_default_by_itself_is_asked_each_time() -> None:
    class Counting(luigi.IntParameter):
        count = 0

        def task_value(self, task_name: str, param_name: str) -> int:
            self.count += 1
            return self.count

    class Counted(kartnb.TaskOnKart):
        n = Counting(default=0)

    assert [Counted().n, Counted().n] == [1, 2]
    assert Counted(n=7) is Counted(n=7)


def test_an_unhashable_default_value() -> None:
    class Unhashable:
        __hash__ = None  # type: ignore[assignment]

        def gokart_serialize(self) -> str:
            return 'same'

        @classmethod
        def gokart_deserialize(cls, s: str) -> Unhashable:
            return cls()

    class Holder(kartnb.TaskOnKart):
        p = kartnb.SerializableParameter(Unhashable, default=Unhashable())

    assert Holder() is not Holder()
    assert Holder() == Holder()
    assert Holder().make_unique_id() == Holder(p=Unhashable()).make_unique_id()


def test_an_own_init_may_set_values() -> None:
    class Fixed(Train):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            kwargs['depth'] = 9
            super().__init__(*args, **kwargs)

    assert Fixed(rate=1.0).depth == 9
    assert Fixed(rate=1.0).to_str_params(only_significant=True) == {'rate': '1.0', 'depth': '9'}


def test_values_that_luigi_gives_a_deprecated_way(configuration: LuigiConfigParser) -> None:
    class Old(kartnb.TaskOnKart):
        n = luigi.IntParameter(config_path={'section': 'old', 'name': 'n'}, default=1)

    configuration.set('old', 'n', '5')
    with pytest.warns(DeprecationWarning, match='is deprecated'):
        assert Old().n == 5
    configuration.set('old', 'n', '6')
    with pytest.warns(DeprecationWarning, match='is deprecated'):
        assert Old().n == 6


def test_a_run_lock_needs_redis() -> None:
    with pytest.raises(AssertionError, match='redis_host must be set'):
        kartnb.TaskOnKart(should_lock_run=True)
    with pytest.raises(AssertionError, match='redis_port must be set'):
        kartnb.TaskOnKart(should_lock_run=True, redis_host='localhost')


def test_a_lock_must_outlive_its_extension() -> None:
    with pytest.raises(AssertionError, match='redis_timeout'):
        kartnb.TaskOnKart(redis_timeout=5).output()


def test_an_error_of_a_call_shows_no_more_of_kartnb_than_the_call() -> None:
    class Called(kartnb.TaskOnKart):
        n = luigi.IntParameter()
        of = kartnb.TaskInstanceParameter(default=kartnb.TaskOnKart())

    class Other(luigi.Task):
        pass

    for call in (lambda: Called(), lambda: Called(m=1), lambda: Called(n=1, of=Other())):
        with pytest.raises((luigi.parameter.ParameterException, TypeError)) as caught:
            call()
        inner = [entry for entry in caught.traceback if '/kartnb/task/' in str(entry.path)]
        assert len(inner) == 1


class Reader(kartnb.TaskOnKart):
    source = kartnb.TaskInstanceParameter(default='A task that gives a table.')
    size = luigi.IntParameter(default=1)


def test_a_wrong_default_is_an_error_only_where_it_is_used() -> None:
    assert Reader(source=Train(rate=0.5)).source == Train(rate=0.5)
    for _ in range(2):
        with pytest.raises(TypeError, match=r'A task that gives a table\. is not an instance of'):
            Reader()
    luigi.configuration.get_config().set('Reader', 'size', 'three')
    try:
        with pytest.raises(ValueError, match="The value that Reader has for 'size'"):
            Reader(source=Train(rate=0.5))
        assert Reader(source=Train(rate=0.5), size=2).size == 2
    finally:
        luigi.configuration.get_config().remove_section('Reader')
    assert Reader(source=Train(rate=0.5)).size == 1
