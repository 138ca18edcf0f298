"""The engine of `kartnb.interact`: the latest wish wins, one build at a time, none lost and none doubled."""

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
from kartnb.model import TaskState
from kartnb.notebook.cell import as_code
from kartnb.notebook.interact import Explorer, Sight

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


class Watched:
    """An explorer whose sights are kept."""

    def __init__(self, place: Path, **options: Any) -> None:
        self.place = place
        self.sights: list[Sight] = []
        self.saved = 0
        self.explorer = Explorer(self.sights.append, self._save, options=BuildOptions(executor='threads'), **options)

    def want(self, number: int, seconds: float = 0.0) -> None:
        self.explorer.want(Slow(number=number, seconds=seconds, workspace_directory=str(self.place)))

    def until(self, condition: Callable[[], object]) -> None:
        began = time.monotonic()
        while not condition():
            assert time.monotonic() - began < PATIENCE, self.sights[-3:]
            time.sleep(0.01)

    def rest(self) -> None:
        self.until(lambda: self.explorer.is_idle and self.saved)

    @property
    def runs(self) -> Counter[str]:
        file = self.place / 'runs.txt'
        return Counter(file.read_text().split() if file.exists() else [])

    @property
    def last(self) -> Sight:
        return self.sights[-1]

    def _save(self) -> None:
        self.saved += 1


def test_cached_results_are_shown_and_missing_ones_say_what_would_run(tmp_path: Path) -> None:
    kartnb.build(Slow(number=1, workspace_directory=str(tmp_path)))
    watched = Watched(tmp_path)
    watched.want(1)
    watched.until(lambda: watched.sights)
    assert (watched.last.state, str(watched.last.result)) == (TaskState.CACHED, 'Slow: int\n1')
    watched.want(2)
    watched.until(lambda: watched.last.task.number == 2)
    assert watched.last.state is TaskState.MISSING
    assert watched.last.words.startswith('1 task would run')
    watched.rest()
    assert watched.runs == Counter({'1': 1})
    watched.explorer.run()
    watched.until(lambda: watched.last.state is TaskState.CACHED)
    assert watched.runs == Counter({'1': 1, '2': 1})


def test_by_itself_it_builds_only_what_the_controls_come_to_rest_at(tmp_path: Path) -> None:
    watched = Watched(tmp_path, auto=True)
    for number in range(40):
        watched.want(number)
        time.sleep(0.02)
    watched.until(lambda: watched.last.state is TaskState.CACHED)
    assert watched.last.task.number == 39
    watched.rest()
    assert watched.runs == Counter({'39': 1})


def test_a_build_that_is_no_longer_wanted_makes_way(tmp_path: Path) -> None:
    watched = Watched(tmp_path, auto=True, keep=False)
    watched.want(1, seconds=0.6)
    watched.until(lambda: watched.runs['1'])
    watched.want(2)
    watched.until(lambda: watched.last.state is TaskState.CACHED)
    watched.rest()
    assert watched.last.task.number == 2
    assert max(watched.runs.values()) == 1


def test_a_build_that_is_kept_goes_on(tmp_path: Path) -> None:
    watched = Watched(tmp_path, auto=True, keep=True)
    watched.want(1, seconds=0.6)
    watched.until(lambda: watched.runs['1'])
    for number in (2, 3, 4):
        watched.want(number)
    watched.until(lambda: watched.last.state is TaskState.CACHED)
    watched.rest()
    assert watched.runs == Counter({'1': 1, '4': 1})
    assert Slow(number=1, seconds=0.6, workspace_directory=str(tmp_path)).complete()


def test_a_failure_is_told_and_not_repeated_until_it_is_asked_for(tmp_path: Path) -> None:
    watched = Watched(tmp_path, auto=True)
    watched.want(-1)
    watched.until(lambda: watched.sights and watched.last.state is TaskState.FAILED)
    assert watched.last.words == 'Slow failed: ValueError: too small'
    watched.rest()
    watched.want(-1)
    watched.until(lambda: watched.explorer.is_idle)
    assert watched.runs == Counter({'-1': 1})
    watched.explorer.run()
    watched.until(lambda: watched.runs['-1'] == 2)
    watched.rest()


def test_stopping_by_hand_does_not_begin_again(tmp_path: Path) -> None:
    watched = Watched(tmp_path, auto=True)
    watched.want(1, seconds=0.4)
    watched.until(lambda: watched.runs['1'])
    watched.explorer.stop()
    watched.until(lambda: watched.explorer.is_idle)
    assert watched.runs == Counter({'1': 1})


def test_the_users_function_is_shown_and_its_errors_are_told(tmp_path: Path) -> None:
    task = Slow(number=3, workspace_directory=str(tmp_path))
    kartnb.build(task)
    assert '30' in repr(Explorer(print, output=lambda value: value * 10).look(task).result)
    assert 'ZeroDivisionError' in repr(Explorer(print, output=lambda value: value / 0).look(task).result)


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
    assert 'Figure' in repr(Explorer(print, output=draw).look(task).result)
    assert pyplot.get_fignums() == before


def test_code_is_what_makes_the_task(tmp_path: Path) -> None:
    task = Slow(number=3, seconds=0.5, workspace_directory=str(tmp_path))
    assert eval(as_code(task)) is task
