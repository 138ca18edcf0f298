"""What a task checks of the data frames that it dumps."""

from __future__ import annotations

import datetime
from typing import Any

import gokart
import luigi
import numpy as np
import pandas as pd
import polars as pl
import pytest

import kartnb
from kartnb.errors import EmptyDumpError, WrongValueError
from tests.task.cells import Notebook


class Dumps(kartnb.TaskOnKart):
    task_namespace = 'sales'
    kind = luigi.Parameter(default='')

    def output(self) -> Any:
        return self.make_target(f'frame{self.kind}.pkl')


class SalesTypes(kartnb.PandasTypeConfig):
    task_namespace = 'sales'

    @classmethod
    def type_dict(cls) -> dict[str, Any]:
        return {'name': str, 'amount': (int, np.integer), 'day': datetime.date, 'absent': bytes}


GOOD = pd.DataFrame({'name': ['a'], 'amount': [1], 'other': [None]})


class TestPandasTypeConfig:
    def test_good_columns(self) -> None:
        Dumps().dump(GOOD)
        assert Dumps().output().exists()

    def test_a_bad_column(self) -> None:
        with pytest.raises(kartnb.PandasTypeError) as caught:
            Dumps().dump(GOOD.assign(amount=['1']))
        assert str(caught.value) == (
            f'expected type is "{(int, np.integer)}", but "<class \'str\'>" is passed in column "amount".'
        )
        assert not Dumps().output().exists()

    def test_a_value_that_is_none(self) -> None:
        with pytest.raises(kartnb.PandasTypeError, match=r'NoneType.* is passed in column "name"'):
            Dumps().dump(pd.DataFrame({'name': pd.Series(['a', None], dtype=object)}))

    @pytest.mark.parametrize('value', [3, 'text', [GOOD], pd.Series(['x'], name='amount'), {'amount': ['1']}], ids=type)
    def test_other_values_are_not_looked_at(self, value: Any) -> None:
        Dumps().dump(value)
        assert repr(Dumps().output().load()) == repr(value)

    def test_other_namespaces_are_not_looked_at(self) -> None:
        class Elsewhere(Dumps):
            task_namespace = 'stock'

        Elsewhere().dump(GOOD.assign(amount=['1']))
        assert Elsewhere().output().load()['amount'].tolist() == ['1']

    def test_a_config_without_a_namespace_is_for_tasks_without_one(self) -> None:
        class Plain(kartnb.TaskOnKart):
            pass

        class PlainTypes(kartnb.PandasTypeConfig):
            @classmethod
            def type_dict(cls) -> dict[str, Any]:
                return {'n': int}

        with pytest.raises(kartnb.PandasTypeError):
            Plain().dump(pd.DataFrame({'n': ['1']}))
        assert PlainTypes

    def test_a_config_that_is_defined_after_a_dump_is_enforced(self) -> None:
        notebook = Notebook()
        notebook.run('class Late(kartnb.TaskOnKart):\n    task_namespace = "late"')
        notebook.Late().dump(pd.DataFrame({'n': ['1']}))
        config = (
            'class LateTypes(kartnb.PandasTypeConfig):\n    task_namespace = "late"\n'
            '    @classmethod\n    def type_dict(cls): return {{"n": {kind}}}'
        )
        notebook.run(config.format(kind='int'))
        with pytest.raises(kartnb.PandasTypeError):
            notebook.Late().dump(pd.DataFrame({'n': ['1']}))
        notebook.run(config.format(kind='str'))
        notebook.Late().dump(pd.DataFrame({'n': ['1']}))
        with pytest.raises(kartnb.PandasTypeError):
            notebook.Late().dump(pd.DataFrame({'n': [1]}))

    def test_in_gokart_it_is_not(self) -> None:
        class GokartLate(gokart.TaskOnKart):
            task_namespace = 'late in gokart'

        GokartLate().dump(pd.DataFrame({'n': ['1']}))

        class GokartLateTypes(gokart.PandasTypeConfig):
            task_namespace = 'late in gokart'

            @classmethod
            def type_dict(cls) -> dict[str, Any]:
                return {'n': int}

        GokartLate().dump(pd.DataFrame({'n': ['1']}))
        assert GokartLateTypes

    def test_a_base_that_declares_no_types(self) -> None:
        class Base(kartnb.PandasTypeConfig):
            task_namespace = 'sales'

            @classmethod
            def positive(cls) -> type:
                return int

        Dumps(kind='base').dump(GOOD)
        assert Base

    def test_check_by_hand(self) -> None:
        SalesTypes.check(GOOD)
        with pytest.raises(kartnb.PandasTypeError):
            SalesTypes.check(pd.DataFrame({'name': [1]}))


EMPTY = [pd.DataFrame(), pd.DataFrame({'a': []}), pd.DataFrame(index=[1, 2])]


class TestFailOnEmptyDump:
    @pytest.mark.parametrize('frame', EMPTY, ids=['nothing', 'no rows', 'no columns'])
    def test_an_empty_frame_is_an_error(self, frame: pd.DataFrame) -> None:
        task = Dumps(fail_on_empty_dump=True)
        with pytest.raises(EmptyDumpError, match=r'^Dumps dumps an empty data frame, and fail_on_empty_dump is set'):
            task.dump(frame)
        assert not task.output().exists()
        assert issubclass(EmptyDumpError, AssertionError)

    @pytest.mark.parametrize('frame', EMPTY, ids=['nothing', 'no rows', 'no columns'])
    def test_only_when_asked_for(self, frame: pd.DataFrame) -> None:
        Dumps().dump(frame)
        assert Dumps().output().exists()

    @pytest.mark.parametrize('value', [GOOD, pd.Series([], dtype=float), [], {}, [pd.DataFrame()], None], ids=type)
    def test_other_values_are_not_looked_at(self, value: Any) -> None:
        Dumps(fail_on_empty_dump=True).dump(value)
        assert repr(Dumps().output().load()) == repr(value)

    def test_from_the_configuration(self, configuration: Any) -> None:
        configuration.set('TaskOnKart', 'fail_on_empty_dump', 'true')
        with pytest.raises(EmptyDumpError):
            Dumps().dump(pd.DataFrame())


def test_a_pandas_frame_where_polars_is_declared_is_named_by_its_library() -> None:
    class Declared(kartnb.TaskOnKart[pl.DataFrame]):
        def output(self) -> Any:
            return self.make_target('frame.csv')

    for value, said in ((pd.DataFrame({'a': [1]}), 'not a pandas DataFrame'), ('text', 'not a str')):
        with pytest.raises(WrongValueError, match=said):
            Declared().dump(value)
