"""Builds in the background and awaited builds: a handle at once, a stop at once."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import luigi
import pytest

import kartnb
from kartnb.errors import BuildStoppedError, TaskArgumentError
from kartnb.model import TaskState
from tests.machine import is_alive


class Quick(kartnb.TaskOnKart):
    n = luigi.IntParameter(1)

    def run(self) -> None:
        self.task_log['pid'] = os.getpid()
        self.dump(self.n)


class Sleeping(kartnb.TaskOnKart):
    seconds = luigi.FloatParameter(60.0, significant=False)

    def requires(self) -> Any:
        return Quick()

    def run(self) -> None:
        Path('sleeping').write_text(str(os.getpid()))
        time.sleep(self.seconds)
        self.dump('slept')


class Failing(kartnb.TaskOnKart):
    def run(self) -> None:
        raise ValueError('failing')


def _run(coroutine: Any) -> Any:
    """Run a coroutine in a thread of its own: a test of a browser may have left an event loop in this one."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, coroutine).result(timeout=120)


def _until(condition: Any) -> None:
    deadline = time.monotonic() + 60
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert condition()


def test_a_handle_comes_at_once_and_gives_the_value() -> None:
    handle = kartnb.build(Quick(n=5), background=True)
    told: list[Any] = []
    handle.add_done_callback(told.append)
    assert handle.result(timeout=60) == 5
    assert handle.status == 'done'
    assert told == [handle]
    assert Quick(n=5).task_log['pid'] != os.getpid()
    assert str(handle.progress) == '1/1'
    assert 'done' in repr(handle)


def test_a_background_build_is_stopped_at_once_and_can_be_gone_on_with() -> None:
    handle = kartnb.build(Sleeping(), background=True)
    _until(Path('sleeping').exists)
    assert handle.status == 'running'
    _until(lambda: handle.progress.running == ('Sleeping',))
    assert handle.progress.ended == 1
    with pytest.raises(TimeoutError, match='1/2 · Sleeping'):
        handle.result(timeout=0.01)
    began = time.monotonic()
    handle.stop()
    assert time.monotonic() - began < Sleeping().seconds
    assert handle.status == 'stopped'
    with pytest.raises(BuildStoppedError):
        handle.result()
    assert [(node.name, node.state) for node in handle.plan] == [
        ('Quick', TaskState.DONE),
        ('Sleeping', TaskState.INTERRUPTED),
    ]
    assert not Path(Sleeping().output().path()).exists()
    assert kartnb.build(Sleeping(seconds=0.0), background=True).result(timeout=60) == 'slept'


def test_a_failure_is_raised_by_result() -> None:
    handle = kartnb.build(Failing(), background=True, executor='threads')
    with pytest.raises(kartnb.GokartBuildError, match='failing'):
        handle.result(timeout=60)
    assert handle.status == 'failed'


def test_what_cannot_be_begun_is_said_at_once() -> None:
    with pytest.raises(TaskArgumentError):
        kartnb.build(Quick, background=True)


def test_an_awaited_build_lets_the_loop_go_on() -> None:
    ticks = 0

    async def count() -> None:
        nonlocal ticks
        while True:
            ticks += 1
            await asyncio.sleep(0.01)

    async def main() -> Any:
        counting = asyncio.create_task(count())
        value = await kartnb.build_async(Sleeping(seconds=0.3), executor='threads')
        counting.cancel()
        return value

    assert _run(main()) == 'slept'
    assert ticks > 5


def test_cancelling_an_awaited_build_stops_it() -> None:
    async def main() -> None:
        building = asyncio.create_task(kartnb.build_async(Sleeping()))
        while not Path('sleeping').exists():
            await asyncio.sleep(0.02)
        building.cancel()
        with pytest.raises(asyncio.CancelledError):
            await building

    _run(main())
    pid = int(Path('sleeping').read_text())
    _until(lambda: not is_alive(pid))


def test_a_threaded_build_stops_after_the_running_tasks() -> None:
    class After(kartnb.TaskOnKart[str]):
        def requires(self) -> Any:
            return Sleeping(seconds=2.0)

        def run(self) -> None:
            self.dump('after')

    handle = kartnb.build(After(), background=True, executor='threads')
    _until(Path('sleeping').exists)
    with pytest.warns(UserWarning, match='Threads cannot be stopped: the build ends when the running task has ended'):
        handle.stop()
    assert handle.status == 'stopped'
    assert [node.state for node in handle.plan] == [TaskState.DONE, TaskState.DONE, TaskState.MISSING]
    assert not [thread for thread in threading.enumerate() if thread.name.startswith('kartnb_')]


def test_two_builds_at_once_do_not_disturb_each_other() -> None:
    first = kartnb.build(Quick(n=1), background=True)
    second = kartnb.build(Quick(n=2), background=True, executor='threads')
    assert kartnb.build(Quick(n=3)) == 3
    assert (first.result(60), second.result(60)) == (1, 2)


BESIDE = """
import subprocess
import sys
import time
from pathlib import Path

import luigi
import kartnb

class Slow(kartnb.TaskOnKart):
    n = luigi.IntParameter()

    def run(self):
        Path(f'begun-{self.n}').touch()
        subprocess.run([sys.executable, '-c', 'import time; time.sleep(1)'], check=True)
        self.dump(self.n)

class Both(kartnb.TaskOnKart):
    def requires(self):
        return [Slow(n=1), Slow(n=2)]

    def run(self):
        self.dump(sum(self.load()))

if __name__ == '__main__':
    handle = kartnb.build(Both(), workers=2, background=True)
    try:
        while True:
            time.sleep(0.1)
    except KeyboardInterrupt:
        print(handle.result())
"""


@pytest.mark.skipif(os.name == 'nt', reason='Windows has no groups of processes like these')
def test_an_interrupt_of_a_cell_leaves_the_workers_of_a_build_beside_it(tmp_path: Path) -> None:
    (tmp_path / 'beside.py').write_text(BESIDE)
    process = subprocess.Popen(
        [sys.executable, 'beside.py'], cwd=tmp_path, stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    deadline = time.monotonic() + 60
    while not all((tmp_path / f'begun-{n}').exists() for n in (1, 2)) and time.monotonic() < deadline:
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)  # as a kernel and a terminal do
    output, _ = process.communicate(timeout=60)
    assert output.strip() == '3'
