"""Searches with Optuna: every trial is a cached task, and the study goes on where it ended."""

from __future__ import annotations

import logging
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Any

import pytest

import kartnb
from kartnb.errors import SweepError
from tests.sweeps.pipeline import Fit, Kind, Number, Rows
from tests.task.cells import Notebook

optuna = pytest.importorskip('optuna')


def search(place: str, trials: int, **values: Any) -> kartnb.SweepResult:
    task = Fit(data=Rows(workspace_directory=place), depth=1, workspace_directory=place)
    space = {'depth': range(1, 12), 'rate': kartnb.slider(0.01, 1, log=True), **values}
    return kartnb.sweep(task, **{'metric': 'score', 'sampler': 'optuna', 'trials': trials, **space})


def test_a_search_goes_on_where_it_ended(tmp_path: Path) -> None:
    first = search(str(tmp_path), 4)
    longer = search(str(tmp_path), 6)
    assert [point.state.value for point in longer] == ['cached'] * 4 + ['done'] * 2
    assert [point.unique_id for point in longer][:4] == [point.unique_id for point in first]
    assert len(search(str(tmp_path), 3)) == 3
    assert longer.best().metrics['score'] == max(point.metrics['score'] for point in longer)
    assert 'TPESampler' in repr(longer)


def test_another_metric_is_another_study(tmp_path: Path) -> None:
    search(str(tmp_path), 4, metric=lambda row: row['score'])
    other = search(str(tmp_path), 4, metric=lambda row: -row['score'])
    assert 'The metric has changed: a new study begins.' in repr(other)
    # the trials of the first study would have been taken as they were
    assert all(value < 0 for point in other for value in point.metrics.values())
    assert 'has changed' not in repr(search(str(tmp_path), 4, metric='score'))
    assert len(list(tmp_path.glob('log/sweep/*.json'))) == 3


def _metric(body: str) -> Any:
    notebook = Notebook()
    notebook.run(f'WEIGHT = 1\ndef scored(row):\n    return {body}\n')
    return notebook.scored


def test_an_edited_metric_is_another_study(tmp_path: Path) -> None:
    first = search(str(tmp_path), 3, metric=_metric("row['score'] * WEIGHT"))
    again = search(str(tmp_path), 3, metric=_metric("row['score'] * WEIGHT  # the same"))
    assert 'has changed' not in repr(first) + repr(again)
    [file] = tmp_path.glob('log/sweep/*.json')
    edited = search(str(tmp_path), 3, metric=_metric("-row['score'] * WEIGHT"))
    assert 'The metric has changed' in repr(edited)
    assert len(list(tmp_path.glob('log/sweep/*.json'))) == 2
    # a file of the time before metrics counted by their code is not taken
    file.rename(file.with_name(file.name.partition('-')[0] + '.json'))
    assert 'The metric has changed' in repr(search(str(tmp_path), 3, metric=_metric("row['score'] * WEIGHT")))


def test_deleted_results_of_earlier_trials_are_made_again(tmp_path: Path) -> None:
    search(str(tmp_path), 3)
    for file in tmp_path.rglob('Fit_*.pkl'):
        file.unlink()
    again = search(str(tmp_path), 3)
    assert [point.state.value for point in again] == ['done'] * 3


KILLED = """
import os, sys, kartnb
class Slow(kartnb.TaskOnKart):
    depth = kartnb.luigi.IntParameter()
    def run(self):
        done = len(os.listdir(sys.argv[1] + '/points'))
        if len(sys.argv) > 2 and done == int(sys.argv[2]):
            os.kill(os.getpid(), 9)
        open(f'{sys.argv[1]}/points/{self.depth}', 'w').close()
        self.dump((self.depth - 300) ** 2)
space = {'depth': range(1, 1001), 'workspace_directory': sys.argv[1]}
found = kartnb.sweep(Slow, space, metric='value', direction='minimize', sampler='optuna', trials=6)
print([point.values['depth'] for point in found], [point.state.value for point in found])
"""


def test_a_killed_search_goes_on_as_it_would_have_gone_on(tmp_path: Path) -> None:
    def run(place: str, *options: str) -> subprocess.CompletedProcess[str]:
        (tmp_path / place / 'points').mkdir(parents=True, exist_ok=True)
        command = [sys.executable, '-c', KILLED, str(tmp_path / place), *options]
        return subprocess.run(command, capture_output=True, text=True, timeout=120)

    assert run('killed', '4').returncode == -9
    again, whole = run('killed').stdout, run('whole').stdout
    assert again.split(']')[0] == whole.split(']')[0]
    assert again.split('] ')[1].strip() == "['cached', 'cached', 'cached', 'cached', 'done', 'done']"


def test_a_study_in_an_object_store_goes_on_too() -> None:
    place = f'memory://search-{uuid.uuid4().hex}'
    space = {'number': range(1, 1001), 'workspace_directory': place}
    options: dict[str, Any] = {'metric': 'value', 'sampler': 'optuna'}
    first = kartnb.sweep(Number, space, trials=3, **options)
    longer = kartnb.sweep(Number, space, trials=5, **options)
    assert [point.state.value for point in longer] == ['cached'] * 3 + ['done'] * 2
    assert [point.unique_id for point in longer][:3] == [point.unique_id for point in first]


def test_a_damaged_file_of_a_study_is_named(tmp_path: Path) -> None:
    search(str(tmp_path), 1)
    (file,) = tmp_path.rglob('log/sweep/*.json')
    file.write_text('{"format": 1, "trials": [')
    with pytest.raises(SweepError, match=f'cannot be read .*{file.name}'):
        search(str(tmp_path), 2)


def test_the_file_of_a_study_holds_no_secrets(tmp_path: Path) -> None:
    search(str(tmp_path), 3, password='hush-hush')
    (file,) = tmp_path.rglob('log/sweep/*.json')
    assert 'hush' not in file.read_text()


def test_choices_of_any_kind_and_several_workers(tmp_path: Path) -> None:
    found = search(str(tmp_path), 4, kind=Kind, depth=(2, 5), workers=2)
    assert all(isinstance(point.values['kind'], Kind) and 2 <= point.values['depth'] <= 5 for point in found)


def test_failed_trials_do_not_end_it(tmp_path: Path) -> None:
    found = search(str(tmp_path), 4, depth=[12, 13], rate=[0.1])
    assert len(found) == 4
    assert {point.state.value for point in found if point.values['depth'] == 13} <= {'failed'}


def test_optuna_stays_as_talkative_as_it_was(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = optuna.logging.get_verbosity(), logging.getLogger('optuna').level
    search(str(tmp_path), 1)
    assert (optuna.logging.get_verbosity(), logging.getLogger('optuna').level) == before
    assert 'study' not in capsys.readouterr().err


@pytest.mark.parametrize(
    'options, message',
    [
        ({'metric': None}, 'A search needs one metric'),
        ({'sampler': 'random'}, "sampler must be 'optuna' or a sampler of Optuna's, not 'random'"),
        ({'trials': 0}, 'trials must be a whole number'),
        ({'metric': 'scoer'}, "did you mean 'score'"),
    ],
)
def test_bad_input(tmp_path: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(SweepError, match=message):
        search(str(tmp_path), **{'trials': 2, **options})


def test_a_list_of_points_cannot_be_searched(tmp_path: Path) -> None:
    with pytest.raises(SweepError, match='not a list of points'):
        kartnb.sweep(Number, [{'number': 1}], metric='value', trials=3, workspace_directory=str(tmp_path))
