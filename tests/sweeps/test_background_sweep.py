"""Sweeps in the background: a handle at once, what there is by now, a stop at once, and nothing lost."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import luigi
import pytest

import kartnb
from kartnb.errors import BuildStoppedError, SweepError
from kartnb.model import BuildFinished, BuildStarted, TaskStateChanged
from tests.sweeps.pipeline import Fit, Number, Rows


class Gated(kartnb.TaskOnKart[dict[str, int]]):
    number = luigi.IntParameter()
    folder = luigi.Parameter(significant=False)

    def run(self) -> None:
        if self.number == 2:
            raise ValueError('two is <b>bad</b>')
        while self.number > 2 and not Path(self.folder, 'open').exists():
            time.sleep(0.01)
        self.dump({'score': self.number})


def gated(place: Path, **options: Any) -> kartnb.BackgroundSweep:
    space: dict[str, Any] = {'number': range(6), 'folder': str(place), 'workspace_directory': str(place)}
    handle = kartnb.sweep(Gated, space, background=True, **{'metric': 'score', 'workers': 2, **options})
    assert isinstance(handle, kartnb.BackgroundSweep)
    return handle


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert condition()


@pytest.mark.parametrize('executor', [None, 'threads'])
def test_what_there_is_by_now_is_a_sweep_of_its_own(tmp_path: Path, executor: str | None) -> None:
    handle = gated(tmp_path, executor=executor)
    until(lambda: handle.progress.ended == 3)
    assert (handle.status, handle.done(), handle.wait(0.01)) == ('running', False, False)
    with pytest.raises(TimeoutError, match=r'3/6 points \('):
        handle.result(timeout=0.01)
    early = handle.partial()
    frame = handle.to_dataframe()
    assert list(frame['state'])[:3] == ['done', 'done', 'failed']
    assert set(frame['state'][3:]) <= {'missing', 'queued', 'running'}
    assert (early.best().values['number'], early[2].error) == (1, 'ValueError: two is <b>bad</b>')
    (tmp_path / 'open').touch()
    found = handle.result(timeout=60)
    assert handle.status == 'done'
    assert found.best().values['number'] == 5
    assert str(handle.progress) == '6/6 points (5 done, 1 failed)'
    assert early.best().values['number'] == 1  # it does not change any more
    assert 'done' in repr(handle)


def test_a_stop_keeps_what_has_finished_and_the_same_sweep_goes_on(tmp_path: Path) -> None:
    handle = gated(tmp_path)
    until(lambda: handle.progress.ended == 3)
    handle.stop()
    assert handle.status == 'stopped'
    with pytest.raises(BuildStoppedError, match=r'3/6 points .*partial\(\) gives it'):
        handle.result()
    assert handle.partial().best().metrics == {'score': 1}
    assert 'the same sweep continues from there' in repr(handle.partial())
    (tmp_path / 'open').touch()
    again = gated(tmp_path).result(timeout=60)
    assert [point.state.value for point in again] == ['cached', 'cached', 'failed', 'done', 'done', 'done']


def test_whoever_follows_late_hears_everything(tmp_path: Path) -> None:
    (tmp_path / 'open').touch()
    handle = gated(tmp_path, executor='threads')
    ended: list[Any] = []
    handle.add_done_callback(ended.append)
    handle.wait(60)
    events: list[Any] = []
    handle.follow(events.append)
    assert isinstance(events[0], BuildStarted)
    assert isinstance(events[-1], BuildFinished)
    assert sum(isinstance(event, TaskStateChanged) and event.state == 'done' for event in events) == 5
    assert ended == [handle]


def test_it_can_be_awaited(tmp_path: Path) -> None:
    async def main() -> Any:
        return await kartnb.sweep(
            Number, number=range(3), workspace_directory=str(tmp_path), background=True, executor='threads'
        )

    with ThreadPoolExecutor(1) as pool:
        found = pool.submit(asyncio.run, main()).result(timeout=60)
    assert len(found) == 3


def test_bad_input_is_said_at_once_and_a_bad_metric_in_the_end(tmp_path: Path) -> None:
    with pytest.raises(SweepError, match="did you mean 'number'"):
        kartnb.sweep(Number, numbre=range(3), background=True)
    (tmp_path / 'open').touch()
    handle = gated(tmp_path, executor='threads', metric='scoer')
    with pytest.raises(SweepError, match="did you mean 'score'"):
        handle.result(timeout=60)
    assert handle.status == 'failed'
    assert "did you mean 'score'" in repr(handle.partial())


def test_all_cached_gives_all_metrics(tmp_path: Path) -> None:
    place = str(tmp_path)
    kartnb.sweep(Number, number=range(3), workspace_directory=place)
    found = kartnb.sweep(Number, number=range(3), workspace_directory=place, background=True).result(timeout=60)
    assert [point.metrics['value'] for point in found] == [0, 1, 4]


INTERRUPTED = """
import sys, kartnb
from tests.sweeps.pipeline import Number
class Hurt(kartnb.TaskOnKart):
    number = kartnb.luigi.IntParameter()
    def run(self):
        if self.number == 3 and len(sys.argv) > 1:
            raise KeyboardInterrupt
        self.dump(self.number)
found = kartnb.sweep(Hurt, number=range(6))
print([point.state.value for point in found])
"""


def test_an_interrupt_says_how_far_it_came_and_the_same_call_goes_on(tmp_path: Path) -> None:
    script = tmp_path / 'script.py'
    script.write_text(INTERRUPTED)

    def run(*options: str) -> Any:
        command = [sys.executable, str(script), *options]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)

    assert 'the sweep was interrupted: 3 of 6 points are done and kept; sweep again to continue' in run('stop').stderr
    assert "['cached', 'cached', 'cached', 'done', 'done', 'done']" in run().stdout


@pytest.mark.filterwarnings('ignore:Threads cannot be stopped')
def test_a_search_in_the_background_is_stopped_and_goes_on(tmp_path: Path) -> None:
    pytest.importorskip('optuna')
    place = str(tmp_path)
    task = Fit(data=Rows(workspace_directory=place), depth=1, workspace_directory=place)
    space: dict[str, Any] = {'depth': range(1, 12), 'rate': kartnb.slider(0.01, 1, log=True)}
    options: dict[str, Any] = {'metric': 'score', 'sampler': 'optuna', 'executor': 'threads', 'background': True}
    handle = kartnb.sweep(task, space, trials=500, **options)
    until(lambda: handle.progress.ended >= 3)
    handle.stop()
    assert handle.status == 'stopped'
    kept = [point.unique_id for point in handle.partial() if point.is_complete]
    again = kartnb.sweep(task, space, trials=len(kept) + 2, **options).result(timeout=60)
    assert [point.unique_id for point in again][: len(kept)] == kept
    assert {point.state.value for point in again[: len(kept)]} == {'cached'}


def test_stopping_a_search_stops_the_build_that_runs(tmp_path: Path) -> None:
    pytest.importorskip('optuna')

    class Held(kartnb.TaskOnKart[int]):
        number = luigi.IntParameter()

        def run(self) -> None:
            Path(self.workspace_directory, f'began-{self.number}').touch()
            while not Path(self.workspace_directory, 'open').exists():
                time.sleep(0.01)
            self.dump(self.number)

    space: dict[str, Any] = {'number': range(1000), 'workspace_directory': str(tmp_path)}
    handle = kartnb.sweep(
        Held, space, metric='value', sampler='optuna', trials=50, executor='processes', workers=2, background=True
    )
    until(lambda: list(tmp_path.glob('began-*')))
    late = threading.Timer(20, (tmp_path / 'open').touch)  # where nothing stops the tasks, they end by themselves
    late.start()
    handle.stop()
    late.cancel()
    assert not (tmp_path / 'open').exists(), 'the stop waited for the tasks'
    assert handle.status == 'stopped'
    assert not any(point.is_complete for point in handle.partial())
