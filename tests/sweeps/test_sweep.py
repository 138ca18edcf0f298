"""Sweeps: which points there are, what runs for them, what comes back, and what is said of bad input."""

from __future__ import annotations

import datetime
import math
import random
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import kartnb
from kartnb.errors import MissingPackageError, ParameterValueError, SweepError
from kartnb.model import BuildFinished, TaskState
from tests.sweeps.pipeline import Fit, Kind, Lonely, Number, Rows


@pytest.fixture
def place(tmp_path: Path) -> str:
    return str(tmp_path)


def fits(place: str, **values: Any) -> kartnb.SweepResult:
    data = Rows(workspace_directory=place)
    return kartnb.sweep(Fit(data=data, depth=1, workspace_directory=place), **{'metric': 'score', **values})


class TestPoints:
    def test_a_grid_has_every_combination_in_order(self, place: str) -> None:
        found = fits(place, depth=range(1, 4), rate=[0.1, 1])
        assert [(point.values['depth'], point.values['rate']) for point in found] == [
            (1, 0.1), (1, 1.0), (2, 0.1), (2, 1.0), (3, 0.1), (3, 1.0),
        ]  # fmt: skip
        assert [type(point.values['rate']) for point in found] == [float] * 6

    def test_a_list_of_points_is_taken_as_it_is(self, place: str) -> None:
        data = Rows(workspace_directory=place)
        found = kartnb.sweep(Fit, [{'depth': 1}, {'depth': 2, 'rate': 3}], data=data, workspace_directory=place)
        assert [dict(point.values) for point in found] == [{'depth': 1}, {'depth': 2, 'rate': 3.0}]
        assert [point.task.rate for point in found] == [0.1, 3.0]

    def test_values_mean_what_their_parameter_means_by_them(self, place: str) -> None:
        found = fits(place, depth=np.array([2.0, 3.0]), kind=['FANCY', Kind.PLAIN], day='2024-01-02')
        assert {type(point.task.depth) for point in found} == {int}
        assert found[0].task.kind is Kind.FANCY
        assert found[0].task.day == datetime.date(2024, 1, 2)
        again = Fit(data=Rows(workspace_directory=place), depth=2, kind=Kind.FANCY, day=datetime.date(2024, 1, 2))
        assert found[0].unique_id == again.make_unique_id()

    def test_many_kinds_of_sequences_give_values(self, place: str) -> None:
        for values in ([1, 2], (1, 2), {1, 2}, range(1, 3), np.arange(1, 3), pd.Series([1, 2]), (i for i in (1, 2))):
            planned = kartnb.sweep(Number, number=values, workspace_directory=place, dry_run=True)
            assert [point.values['number'] for point in planned.points] == [1, 2]
        assert len(fits(place, depth=1, kind=Kind)) == 2
        assert len(fits(place, depth=1, day=pd.date_range('2024-01-01', periods=3))) == 3

    def test_dots_lead_into_tasks_that_are_parameters(self, place: str) -> None:
        found = fits(place, **{'depth': 2, 'data.rows': (5, 20)})  # type: ignore[arg-type]
        assert [point.task.data.rows for point in found] == [5, 20]
        assert {point.task.data.workspace_directory for point in found} == {place}

    def test_tasks_and_lists_are_values_too(self, place: str) -> None:
        data = [Rows(rows=rows, workspace_directory=place) for rows in (3, 4)]
        found = fits(place, depth=2, data=data, layers=[[1], [1, 2]])
        assert [point.values['layers'] for point in found] == [(1,), (1, 2)] * 2
        assert 'Rows[' in repr(found)

    def test_a_sample_is_random_and_grows_by_its_end(self, place: str) -> None:
        state = random.getstate()
        few = [p.values['number'] for p in self._sample(place, 5)]
        many = [p.values['number'] for p in self._sample(place, 9)]
        other = [p.values['number'] for p in self._sample(place, 5, seed=1)]
        assert random.getstate() == state
        assert few == many[:5] != other
        assert len(set(many)) == 9

    def test_a_sample_of_a_huge_space_does_not_walk_it(self, place: str) -> None:
        planned = kartnb.sweep(Number, number=range(10**15), sample=20, workspace_directory=place, dry_run=True)
        assert len({point.values['number'] for point in planned.points}) == 20

    def test_a_sample_draws_from_continuous_ranges(self, place: str) -> None:
        found = fits(place, depth=2, rate=kartnb.slider(1e-4, 1, log=True), sample=40)
        rates = [point.values['rate'] for point in found]
        assert len(set(rates)) == 40
        assert all(1e-4 <= rate <= 1 for rate in rates)
        assert sum(rate < 1e-2 for rate in rates) > 10

    @pytest.mark.parametrize('sample, expected', [(3, [10, 20, 30]), (4, [10, 20, 30])])
    def test_a_sample_of_all_points_of_a_list_keeps_their_order(
        self, place: str, sample: int, expected: list[int]
    ) -> None:
        for seed in range(5):  # one order in six is the given one by chance
            points = [{'number': number} for number in (10, 20, 30)]
            options: dict[str, Any] = {'sample': sample, 'seed': seed, 'dry_run': True}
            planned = kartnb.sweep(Number, points, workspace_directory=place, **options)
            assert [point.values['number'] for point in planned.points] == expected

    def _sample(self, place: str, size: int, seed: int = 0) -> Any:
        planned = kartnb.sweep(
            Number, number=range(1000), sample=size, seed=seed, workspace_directory=place, dry_run=True
        )
        return planned.points


class TestRuns:
    def test_what_points_share_runs_once_and_a_wider_grid_only_what_is_new(self, place: str, tmp_path: Path) -> None:
        fits(place, depth=range(1, 4), rate=[0.1, 1])
        wider = fits(place, depth=range(1, 5), rate=[0.1, 1])
        assert (tmp_path / 'runs.txt').read_text().splitlines() == ['Rows 10']
        assert Counter(point.state for point in wider) == {TaskState.CACHED: 6, TaskState.DONE: 2}
        assert all(point.seconds is not None for point in wider)

    def test_a_failure_leaves_the_others_going(self, place: str) -> None:
        found = fits(place, depth=[12, 13, 14])
        assert [point.state.value for point in found] == ['done', 'failed', 'done']
        assert 'thirteen' in found[1].error
        with pytest.raises(SweepError, match='Point 1 has no result'):
            found[1].load()

    def test_a_failure_upstream_is_told_with_each_point(self, place: str) -> None:
        found = kartnb.sweep(
            Fit, {'data.rows': [-1, 5]}, data=Broken(workspace_directory=place), depth=[1, 2],
            workspace_directory=place, metric='score',
        )  # fmt: skip
        assert [point.state.value for point in found] == ['blocked', 'blocked', 'done', 'done']
        assert found[0].error == 'Broken failed: ValueError: no rows'

    def test_the_plan_counts_before_anything_runs(self, place: str, tmp_path: Path) -> None:
        fits(place, depth=[1, 2])
        planned = fits(place, depth=range(1, 6), dry_run=True)
        assert planned.counts == {TaskState.CACHED: 2, TaskState.MISSING: 3}
        assert planned.to_run == 3
        assert planned.estimate.unknown == 0
        assert '3 will run' in repr(planned)
        assert len(list((tmp_path / 'tests').rglob('Fit_*.pkl'))) == 2

    def test_rerun_runs_every_point_again(self, place: str, tmp_path: Path) -> None:
        fits(place, depth=[1, 2])
        again = fits(place, depth=[1, 2], rerun=True)
        assert [point.state for point in again] == [TaskState.DONE] * 2
        assert (tmp_path / 'runs.txt').read_text().splitlines() == ['Rows 10']

    def test_workers_give_the_same(self, place: str) -> None:
        found = fits(place, depth=range(1, 5), workers=2)
        assert [point.state.value for point in found] == ['done'] * 4
        assert found.best().values['depth'] == 4

    def test_listeners_hear_it(self, place: str) -> None:
        heard: list[Any] = []
        fits(place, depth=[1, 2], listeners=[heard.append])
        assert isinstance(heard[-1], BuildFinished)

    def test_points_that_differ_in_nothing_significant_are_told_of(self, place: str) -> None:
        found = fits(place, depth=2, verbose=[True, False])
        assert len(found) == 2
        assert '1 of the points' in repr(found)

    def test_a_cell_that_ran_again_counts(self, place: str) -> None:
        old = Number(number=1, workspace_directory=place)
        space = {'kartnb': kartnb, '__name__': Number.__module__}
        exec('class Number(kartnb.TaskOnKart):\n number = kartnb.luigi.IntParameter()', space)
        try:
            planned = kartnb.sweep(old, number=[3], dry_run=True)
            assert type(planned.points[0].task) is space['Number']
        finally:
            type(Number).__setattr__(Number, '__name__', 'Number')


class Broken(Rows):
    def run(self) -> None:
        if self.rows < 0:
            raise ValueError('no rows')
        super().run()


class TestMetrics:
    def test_the_data_frame_has_a_row_a_point(self, place: str) -> None:
        frame = fits(place, depth=[1, 13], rate=[0.1, 1]).to_dataframe()
        assert list(frame) == ['depth', 'rate', 'unique_id', 'state', 'seconds', 'error', 'score']
        assert frame['score'].isna().tolist() == [False, False, True, True]
        assert frame['depth'].tolist() == [1, 1, 13, 13]

    @pytest.mark.parametrize(
        'metric, names',
        [
            (None, ['score', 'loss']),
            ('loss', ['loss']),
            ('inner.depth', ['inner.depth']),
            (['loss', 'score'], ['loss', 'score']),
            (lambda result: result['score'] * 100, ['value']),
            (lambda result: {'twice': 2 * result['score']}, ['twice']),
        ],
    )
    def test_metrics_come_from_keys_and_functions(self, place: str, metric: Any, names: list[str]) -> None:
        assert fits(place, depth=[1, 2], metric=metric).metrics == names

    def test_numbers_are_metrics_by_themselves(self, place: str) -> None:
        found = kartnb.sweep(Number, number=range(3), workspace_directory=place)
        assert [point.metrics for point in found] == [{'value': 0}, {'value': 1}, {'value': 4}]

    def test_the_best_is_at_the_wanted_end(self, place: str) -> None:
        found = fits(place, depth=range(1, 5), metric='loss', direction='minimize')
        assert found.best().values['depth'] == 4
        assert [point.values['depth'] for point in found.ranked()] == [4, 3, 2, 1]
        assert found.best().load()['inner'] == {'depth': 4}
        other = found.with_metric('score', 'maximize')
        assert other.best().values['depth'] == 4
        assert other.metrics == ['score']

    def test_nan_comes_last(self, place: str) -> None:
        found = kartnb.sweep(
            Number, number=range(3), metric=lambda value: math.nan if value else 0.0, workspace_directory=place
        )
        assert [point.position for point in found.ranked()] == [0, 1, 2]

    def test_results_are_kept_where_the_metric_is_wrong(self, place: str) -> None:
        with pytest.raises(SweepError, match=r"has no 'scoer': did you mean 'score'\? \(All results are kept"):
            fits(place, depth=[1, 2], metric='scoer')
        with pytest.raises(SweepError, match=r"'name' of Fit is 'fit' \(str\): a metric must be a number"):
            fits(place, depth=[1, 2], metric='name')
        assert {point.state for point in fits(place, depth=[1, 2])} == {TaskState.CACHED}

    def test_best_without_a_metric_says_so(self, place: str) -> None:
        with pytest.raises(SweepError, match="has the metric 'nope': they have score"):
            fits(place, depth=[1]).best('nope')


class TestBadInput:
    @pytest.mark.parametrize(
        'task, values, message',
        [
            (Fit, {'dpth': [1]}, "Fit has no parameter 'dpth': did you mean 'depth'?"),
            (Lonely, {'depth': [1]}, "Lonely has no parameter 'depth': it has none of its own."),
            (Lonely, {}, 'Lonely has no parameters of its own, so there is nothing to vary.'),
            (Number, {}, 'Say which parameters vary, such as kartnb.sweep(Number, number=[…]): Number has number.'),
            (Number, {'number': []}, "No values to try for 'number'."),
            (Number, {'number': [1], 'sample': 0}, 'sample must be a whole number of at least 1, not 0.'),
            (Number, {'number': [1], 'direction': 'up'}, "direction must be 'maximize' or 'minimize', not 'up'."),
            (
                Number,
                {'number': [1], 'notify': print},
                (
                    'A sweep has no notify, because it makes a SweepResult, not the report of a build: call the '
                    'function on the result, or with background=True give it to add_done_callback of the handle.'
                ),
            ),
            (Fit, {'depth': [1]}, "Fit needs a value for 'data': Fit(data=…)."),
            (
                Fit,
                {'depth': [1], 'layers': [1, 2]},
                "'layers' takes lists: give a list of them, such as layers=[[1, 2]].",
            ),
            (
                Number,
                {'number': kartnb.slider(0.5, 2.5)},
                "The range of 'number' is continuous: give it a step, or sample=N (--sample N) for N random points.",
            ),
        ],
    )
    def test_one_clear_sentence(self, task: Any, values: dict[str, Any], message: str) -> None:
        with pytest.raises(SweepError) as found:
            kartnb.sweep(task, **values)
        assert str(found.value) == message

    def test_a_million_points_ask_for_a_sample(self) -> None:
        with pytest.raises(SweepError, match=r'1,000,000 points \(depth 1,000 × rate 1,000\).*give sample=N'):
            kartnb.sweep(Fit, depth=range(1000), rate=range(1000))

    def test_a_value_that_the_parameter_does_not_take(self) -> None:
        with pytest.raises(ParameterValueError, match=r'^Number.number takes a whole number, not 2.5\.$'):
            kartnb.sweep(Number, number=[1, 2.5])

    def test_what_is_no_task(self) -> None:
        with pytest.raises(TypeError, match='A task class is needed'):
            kartnb.sweep(int, a=[1])

    def test_behind_a_dot_must_be_a_task(self) -> None:
        with pytest.raises(SweepError, match=r'Fit.depth does not hold a task'):
            kartnb.sweep(Fit, {'depth.x': [1]})

    def test_secrets_do_not_show(self, place: str) -> None:
        found = fits(place, depth=[1])
        assert 's3cret' not in repr(found) + found._repr_html_() + found.to_dataframe().to_csv()
        found = fits(place, depth=[1, 2], password='hush-hush')
        assert found[1].task.password == 'hush-hush'
        assert 'hush' not in repr(found) + repr(found[0]) + found._repr_html_() + found.to_dataframe().to_csv()

    def test_secrets_are_not_varied(self, place: str) -> None:
        for space in ({'password': ['hush-1', 'hush-2']}, [{'password': 'hush-1'}]):
            with pytest.raises(
                SweepError, match=r"'password' is secret, .* give it with the task, Fit\(password=…\)"
            ) as told:
                kartnb.sweep(Fit(data=Rows(), depth=1, workspace_directory=place), space)
            assert 'hush' not in str(told.value)


def test_plots_need_something_that_varies(place: str) -> None:
    with pytest.raises(SweepError, match='No parameter varies'):
        fits(place, depth=[1]).plot()
    assert issubclass(MissingPackageError, ImportError)


def test_results_without_a_record_are_adopted_at_their_first_use_though_nothing_runs(place: str) -> None:
    records = Path(place, 'log/run_record')
    fits(place, depth=[1, 2])
    for path in records.rglob('*.json'):
        path.unlink()
    fits(place, depth=[1, 2], metric=None, dry_run=True)
    assert not list(records.rglob('*.json')), 'a plan writes nothing'
    assert len(fits(place, depth=[1, 2])) == 2
    assert sorted(path.name.partition('_')[0] for path in records.rglob('*.json')) == ['Fit', 'Fit', 'Rows']
    assert {run.record.state for run in kartnb.Workspace(place).runs() if run.record} == {'adopted'}
