"""gokart's testing helpers: equal frames in any order, and a pipeline that is run on empty data frames."""

from __future__ import annotations

from typing import Any

import luigi
import pandas as pd
import polars as pl
import pytest

import kartnb
from kartnb.testing import assert_frame_contents_equal, try_to_run_test_for_empty_data_frame
from kartnb.testing.frames import emptied, runs_on_empty_frames

FRAME = pd.DataFrame({'a': [1.0, 2.0], 'b': ['x', 'y']}, index=[10, 20])


class Sales(kartnb.TaskOnKart[pd.DataFrame]):
    runs = 0

    def run(self) -> None:
        type(self).runs += 1
        self.dump(pd.DataFrame({'day': [1, 2], 'amount': [10, 20]}))


class Total(kartnb.TaskOnKart[pd.DataFrame]):
    def requires(self) -> Any:
        return Sales()

    def run(self) -> None:
        self.dump(self.load().groupby('day').sum())


class Best(kartnb.TaskOnKart[Any]):
    task_namespace = 'shop'

    def requires(self) -> Any:
        return {'totals': [Total()], 'sales': Sales()}

    def run(self) -> None:
        self.dump(self.load('totals')[0].amount.iloc[0])


class Dynamic(kartnb.TaskOnKart[Any]):
    def run(self) -> Any:
        target = yield Best()
        self.dump(target.load())


class Awaiting(kartnb.TaskOnKart[int]):
    sales = kartnb.TaskInstanceParameter(default=Sales())

    async def run(self) -> None:
        frames = list(self.load_generator())
        self.dump(frames[0].amount.max() + len(frames[0].index[-1:]) // len(frames[0]))


@pytest.mark.parametrize('other', [FRAME, FRAME.iloc[::-1], FRAME[['b', 'a']]])
def test_frames_are_equal_in_any_order(other: pd.DataFrame) -> None:
    assert_frame_contents_equal(other, FRAME)
    assert_frame_contents_equal(FRAME, other)
    with pytest.raises(AssertionError):
        assert_frame_contents_equal(other.assign(a=0.0), FRAME)


def test_frames_are_compared_as_pandas_does() -> None:
    close = FRAME.assign(a=FRAME.a + 0.001)
    assert_frame_contents_equal(close, FRAME, atol=0.01)
    with pytest.raises(AssertionError, match='values are different'):
        assert_frame_contents_equal(close, FRAME)


@pytest.mark.parametrize(
    'actual, message',
    [
        (FRAME.rename(columns={'b': 'c'}), r"columns differ: \['b', 'c'\]"),
        (FRAME.iloc[:1], r'index differ: \[20\]'),
        (pd.concat([FRAME, FRAME]), r'actual index not unique: \[10, 20\]'),
        (FRAME.set_axis(['a', 'a'], axis=1), r"actual columns not unique: \['a'\]"),
        ([1], 'actual is not a DataFrame but a list'),
    ],
)
def test_what_differs_is_named(actual: Any, message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        assert_frame_contents_equal(actual, FRAME)


def test_a_task_that_needs_rows_is_found(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        try_to_run_test_for_empty_data_frame(['Dynamic', '--local-scheduler', '--test-run-pandas'])
    assert end.value.code == 1
    lines = capsys.readouterr().err.splitlines()
    report = lines[lines.index('gokart test results:') + 1 :]
    assert [line.partition('; id=')[0] for line in report] == [
        'status=OK; namespace=__not_user_specified; name=Dynamic',
        'status=NG; namespace=shop; name=Best',
        'status=OK; namespace=__not_user_specified; name=Total',
        'status=OK; namespace=__not_user_specified; name=Sales',
    ]
    assert report[1].endswith("message=<class 'IndexError'>: single positional indexer is out-of-bounds")
    assert kartnb.build(Dynamic()) == 10, 'the results are those of the build'


def test_a_pipeline_that_takes_empty_frames_ends_with_0(capsys: pytest.CaptureFixture[str]) -> None:
    Sales.runs = 0
    with pytest.raises(SystemExit) as end:
        try_to_run_test_for_empty_data_frame(['Total', '--local-scheduler', '--test-run-pandas'])
    assert (end.value.code, Sales.runs) == (0, 1)
    assert 'status=NG' not in capsys.readouterr().err


def test_only_a_namespace_is_tried(capsys: pytest.CaptureFixture[str]) -> None:
    kartnb.build(Best())
    assert not runs_on_empty_frames(Best(), 'shop')
    assert runs_on_empty_frames(Best(), '__not_user_specified')
    assert capsys.readouterr().err.count('Best') == 1


def test_coroutines_are_tried_and_the_tasks_of_parameters() -> None:
    kartnb.build(Awaiting())
    assert not runs_on_empty_frames(Awaiting())


def test_without_the_option_nothing_runs(tmp_path: Any) -> None:
    assert try_to_run_test_for_empty_data_frame(['Total', '--local-scheduler']) is None
    assert list(tmp_path.iterdir()) == []


def test_a_build_that_fails_is_not_tried() -> None:
    class Broken(kartnb.TaskOnKart[Any]):
        def run(self) -> None:
            raise ValueError('no network')

    with pytest.raises(kartnb.GokartBuildError, match='no network'):
        try_to_run_test_for_empty_data_frame(['Broken', '--test-run-pandas'])


def test_secrets_are_not_in_the_report(capsys: pytest.CaptureFixture[str]) -> None:
    class Guarded(kartnb.TaskOnKart[Any]):
        password = luigi.Parameter(visibility=luigi.parameter.ParameterVisibility.PRIVATE)

        def requires(self) -> Any:
            return Sales()

        def run(self) -> None:
            if not len(self.load()):
                raise ValueError(f'no rows for {self.password}')
            self.dump(1)

    task = Guarded(password='open sesame')
    kartnb.build(task)
    assert not runs_on_empty_frames(task)
    report = capsys.readouterr().err
    assert 'no rows for ••••••' in report
    assert 'sesame' not in report


def test_frames_are_emptied_wherever_they_are() -> None:
    value = {'a': [FRAME, 1], 'b': (pl.DataFrame({'n': [1]}), pl.LazyFrame({'n': [1]})), 'c': FRAME.a}
    found = emptied(value)
    assert found['a'][0].dtypes.equals(FRAME.dtypes)
    assert (len(found['a'][0]), found['a'][1], len(found['b'][0]), len(found['b'][1].collect())) == (0, 1, 0, 0)
    assert found['b'][0].schema == value['b'][0].schema
    assert found['c'] is value['c']
