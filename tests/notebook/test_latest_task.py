"""The engine of `kartnb.interact`: only the latest request counts, one build at a time, none lost and none doubled."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import luigi
import pytest

import kartnb
from kartnb.config import BuildOptions
from kartnb.execution.workers import nursery
from kartnb.model import TaskState
from kartnb.notebook.cell import as_code
from kartnb.notebook.interact import LatestTaskRunner, TaskStatus

PATIENCE = 30.0


class Slow(kartnb.TaskOnKart[int]):
    number = luigi.IntParameter()
    seconds = luigi.FloatParameter(default=0.0)

    def run(self) -> None:
        with open(f'{self.workspace_directory}/runs.txt', 'a') as runs:
            runs.write(f'{self.number}\n')
        if self.number < 0:
            raise ValueError('too small')
        time.sleep(self.seconds)
        self.dump(self.number)


class Recorded:
    """A runner whose reports are kept."""

    def __init__(self, place: Path, **options: Any) -> None:
        self.place = place
        self.statuses: list[TaskStatus] = []
        self.saved = 0
        options['options'] = BuildOptions(executor='threads')
        self.runner = LatestTaskRunner(self.statuses.append, self._save, **options)

    def request(self, number: int, seconds: float = 0.0) -> None:
        self.runner.request(Slow(number=number, seconds=seconds, workspace_directory=str(self.place)))

    def until(self, condition: Callable[[], object]) -> None:
        began = time.monotonic()
        while not condition():
            assert time.monotonic() - began < PATIENCE, self.statuses[-3:]
            time.sleep(0.01)

    def rest(self) -> None:
        self.until(lambda: self.runner.is_idle and self.saved)

    @property
    def runs(self) -> Counter[str]:
        file = self.place / 'runs.txt'
        return Counter(file.read_text().split() if file.exists() else [])

    @property
    def last(self) -> TaskStatus:
        return self.statuses[-1]

    def _save(self) -> None:
        self.saved += 1


def test_cached_results_are_shown_and_missing_ones_say_what_would_run(tmp_path: Path) -> None:
    kartnb.build(Slow(number=1, workspace_directory=str(tmp_path)))
    recorded = Recorded(tmp_path)
    recorded.request(1)
    recorded.until(lambda: recorded.statuses)
    assert (recorded.last.state, str(recorded.last.result)) == (TaskState.CACHED, 'Slow: int\n1')
    recorded.request(2)
    recorded.until(lambda: recorded.last.task.number == 2)
    assert recorded.last.state is TaskState.MISSING
    assert recorded.last.message.startswith('1 task would run')
    recorded.rest()
    assert recorded.runs == Counter({'1': 1})
    recorded.runner.build()
    recorded.until(lambda: recorded.last.state is TaskState.CACHED)
    assert recorded.runs == Counter({'1': 1, '2': 1})


def test_a_refresh_shows_what_has_changed_and_loads_nothing_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = Slow(number=1, workspace_directory=str(tmp_path))
    kartnb.build(task)
    loads: list[int] = []
    recorded = Recorded(tmp_path, output=loads.append)

    def refresh() -> TaskState:
        number = len(recorded.statuses)
        recorded.runner.refresh(task)
        recorded.until(lambda: len(recorded.statuses) > number)
        return recorded.last.state

    recorded.request(1)
    recorded.until(lambda: recorded.statuses)
    assert (refresh(), loads) == (TaskState.CACHED, [1])
    kartnb.build(task, rerun=True)
    assert (refresh(), loads) == (TaskState.CACHED, [1, 1]), 'the result is another one'
    with monkeypatch.context() as patched:
        patched.setattr(Slow, 'run', lambda self: self.dump(-self.number))
        patched.setattr(Slow, 'on_code_change', 'rerun', raising=False)
        assert refresh() is TaskState.STALE
        assert recorded.last.message.endswith(' · code changed: Slow.run')
    Path(task.output().path()).unlink()
    assert (refresh(), loads) == (TaskState.MISSING, [1, 1])


def test_automatically_it_builds_only_what_the_controls_come_to_rest_at(tmp_path: Path) -> None:
    recorded = Recorded(tmp_path, auto=True)
    for number in range(40):
        recorded.request(number)
        time.sleep(0.02)
    recorded.until(lambda: recorded.last.state is TaskState.CACHED)
    assert recorded.last.task.number == 39
    recorded.rest()
    assert recorded.runs == Counter({'39': 1})


def test_a_build_that_is_no_longer_requested_makes_way(tmp_path: Path) -> None:
    recorded = Recorded(tmp_path, auto=True, keep=False)
    recorded.request(1, seconds=0.6)
    recorded.until(lambda: recorded.runs['1'])
    recorded.request(2)
    recorded.until(lambda: recorded.last.state is TaskState.CACHED)
    recorded.rest()
    assert recorded.last.task.number == 2
    assert max(recorded.runs.values()) == 1


def test_a_build_that_is_kept_goes_on(tmp_path: Path) -> None:
    recorded = Recorded(tmp_path, auto=True, keep=True)
    recorded.request(1, seconds=0.6)
    recorded.until(lambda: recorded.runs['1'])
    for number in (2, 3, 4):
        recorded.request(number)
    recorded.until(lambda: recorded.last.state is TaskState.CACHED)
    recorded.rest()
    assert recorded.runs == Counter({'1': 1, '4': 1})
    assert Slow(number=1, seconds=0.6, workspace_directory=str(tmp_path)).complete()


def test_a_failure_is_shown_and_not_repeated_until_it_is_asked_for(tmp_path: Path) -> None:
    recorded = Recorded(tmp_path, auto=True)
    recorded.request(-1)
    recorded.until(lambda: recorded.statuses and recorded.last.state is TaskState.FAILED)
    assert recorded.last.message == 'Slow failed: ValueError: too small'
    recorded.rest()
    recorded.request(-1)
    recorded.until(lambda: recorded.runner.is_idle)
    assert recorded.runs == Counter({'-1': 1})
    recorded.runner.build()
    recorded.until(lambda: recorded.runs['-1'] == 2)
    recorded.rest()


def test_a_build_stopped_by_hand_does_not_start_again(tmp_path: Path) -> None:
    recorded = Recorded(tmp_path, auto=True)
    recorded.request(1, seconds=0.4)
    recorded.until(lambda: recorded.runs['1'])
    recorded.runner.stop()
    recorded.until(lambda: recorded.runner.is_idle)
    assert recorded.runs == Counter({'1': 1})


def test_the_users_function_is_shown_and_so_are_its_errors(tmp_path: Path) -> None:
    task = Slow(number=3, workspace_directory=str(tmp_path))
    kartnb.build(task)
    assert '30' in repr(LatestTaskRunner(print, output=lambda value: value * 10).look_up(task).result)
    assert 'ZeroDivisionError' in repr(LatestTaskRunner(print, output=lambda value: value / 0).look_up(task).result)


def test_figures_of_pyplot_are_shown_and_do_not_stay_open(tmp_path: Path) -> None:
    matplotlib = pytest.importorskip('matplotlib')
    matplotlib.use('agg')
    from matplotlib import pyplot

    task = Slow(number=3, workspace_directory=str(tmp_path))
    kartnb.build(task)

    def draw(value: int) -> None:
        pyplot.figure()
        pyplot.plot([value])

    before = pyplot.get_fignums()
    assert 'Figure' in repr(LatestTaskRunner(print, output=draw).look_up(task).result)
    assert pyplot.get_fignums() == before


def test_code_is_what_makes_the_task(tmp_path: Path) -> None:
    task = Slow(number=3, seconds=0.5, workspace_directory=str(tmp_path))
    assert eval(as_code(task)) is task


def test_the_start_of_workers_is_part_of_the_estimate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nursery.retire_nurseries()
    monkeypatch.setattr(nursery, '_pace', 0.002)
    kartnb.build(Slow(number=1, seconds=0.08, workspace_directory=str(tmp_path)))
    runner = LatestTaskRunner(lambda status: None, options=BuildOptions())
    missing = Slow(number=2, seconds=0.08, workspace_directory=str(tmp_path))
    assert '1 task would run · about 1' in runner.look_up(missing).message
    threads = LatestTaskRunner(lambda status: None, options=BuildOptions(executor='threads'))
    assert threads.look_up(missing).message == '1 task would run · under 1 s'
