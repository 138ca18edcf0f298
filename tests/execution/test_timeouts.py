"""luigi's `worker_timeout`: a task in a worker process is ended, and nothing else with it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import luigi
import pytest

import kartnb
from kartnb.errors import TaskTimeoutError, WorkerDiedError
from kartnb.execution.limits import gokart_worker, usual_timeout
from tests.execution.luigi_settings import luigi_settings
from tests.machine import is_alive


class Quick(kartnb.TaskOnKart):
    n = luigi.IntParameter()

    def run(self) -> None:
        time.sleep(0.5)
        self.dump(self.n)


def _slow(place: Path) -> Any:
    class Slow(kartnb.TaskOnKart):
        worker_timeout = 2

        def run(self) -> None:
            child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(120)'])
            (place / 'pids').write_text(f'{os.getpid()} {child.pid}')
            time.sleep(120)

    return Slow


class Both(kartnb.TaskOnKart):
    tasks = kartnb.ListTaskInstanceParameter()

    def run(self) -> None:
        self.dump(self.load('tasks'))


@pytest.mark.skipif(not Path('/proc').exists(), reason='platform: looks at processes in /proc')
def test_a_task_that_takes_too_long_is_ended_with_its_children_and_others_go_on(
    workspace: Path, tmp_path: Path
) -> None:
    slow, others = _slow(tmp_path)(), [Quick(n=n) for n in range(8)]
    heard: list[str] = []
    handler = type(slow).event_handler(luigi.Event.TIMEOUT)(lambda task, message: heard.append(message))
    started = time.monotonic()
    with pytest.raises(kartnb.GokartBuildError, match='1 task failed, and 1 that needs its result') as caught:
        kartnb.build(Both(tasks=[slow, *others]), workers=2)
    type(slow).remove_event_handler(luigi.Event.TIMEOUT, handler)
    assert time.monotonic() - started < 60
    error = caught.value.__cause__
    assert isinstance(error, TaskTimeoutError)
    assert str(error) == 'Slow ran longer than its worker_timeout of 2 s and was ended.'
    assert heard == [str(error)]
    assert [task.complete() for task in others] == [True] * 8
    assert [pid for pid in map(int, (tmp_path / 'pids').read_text().split()) if is_alive(pid)] == []
    [record] = workspace.rglob('log/run_record/**/Slow_*.json')
    told = json.loads(record.read_text())
    assert (told['state'], told['error']) == ('failed', f'kartnb.errors.TaskTimeoutError: {error}')
    assert told['seconds'] >= 2


def test_the_configuration_limits_every_task_and_a_task_can_lift_it(tmp_path: Path) -> None:
    class Patient(kartnb.TaskOnKart):
        worker_timeout = 0

        def run(self) -> None:
            time.sleep(3)
            self.dump('done')

    class Impatient(kartnb.TaskOnKart):
        def run(self) -> None:
            time.sleep(120)

    message = 'Impatient ran longer than its worker_timeout of 2 s'
    with luigi_settings('worker', timeout=2), pytest.raises(kartnb.GokartBuildError, match=message):
        kartnb.build(Both(tasks=[Patient(), Impatient()]), workers=2)
    assert Patient().complete()


def test_a_task_that_was_ended_is_tried_again_when_it_asks_for_that(tmp_path: Path) -> None:
    class Once(kartnb.TaskOnKart):
        worker_timeout = 2
        retry_count = 2

        def run(self) -> None:
            if not (tmp_path / 'tried').exists():
                (tmp_path / 'tried').touch()
                time.sleep(120)
            self.dump('second time')

    assert kartnb.build(Once(), workers=2) == 'second time'


@pytest.mark.parametrize('executor', ['inline', 'threads'])
def test_where_a_task_cannot_be_ended_a_warning_says_so_once(executor: str) -> None:
    class Limited(kartnb.TaskOnKart):
        n = luigi.IntParameter()
        worker_timeout = 1

        def run(self) -> None:
            self.dump(self.n)

    tasks = [Limited(n=n) for n in range(2)]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter('always')
        assert kartnb.build(Both(tasks=tasks), executor=executor, workers=2) == [0, 1]
    [told] = [str(warning.message) for warning in caught if 'worker_timeout' in str(warning.message)]
    assert told.startswith('Limited.worker_timeout has no effect: only tasks in worker processes can be ended')


def test_a_worker_that_dies_takes_only_its_own_task_with_it() -> None:
    class Dying(kartnb.TaskOnKart):
        def run(self) -> None:
            time.sleep(0.2)
            os._exit(3)

    others = [Quick(n=n) for n in range(100, 106)]
    heard: list[str] = []
    handler = Dying.event_handler(luigi.Event.PROCESS_FAILURE)(lambda task, message: heard.append(message))
    with pytest.raises(kartnb.GokartBuildError, match='1 task failed') as caught:
        kartnb.build(Both(tasks=[Dying(), *others]), workers=2)
    Dying.remove_event_handler(luigi.Event.PROCESS_FAILURE, handler)
    assert isinstance(caught.value.__cause__, WorkerDiedError)
    assert heard == [str(caught.value.__cause__)]
    assert [task.complete() for task in others] == [True] * 6


def test_of_tiny_tasks_that_travel_together_only_the_one_that_dies_fails() -> None:
    class Tiny(kartnb.TaskOnKart):
        n = luigi.IntParameter()

        def run(self) -> None:
            if self.n == 37:
                os._exit(3)
            self.dump(self.n)

    tasks = [Tiny(n=n) for n in range(60)]
    with pytest.raises(kartnb.GokartBuildError, match='1 task failed') as caught:
        kartnb.build(Both(tasks=tasks), workers=2)
    assert list(caught.value.raised_exceptions) == [tasks[37].make_unique_id()]
    assert sum(task.complete() for task in tasks) == 59


def test_gokarts_section_counts_before_luigis() -> None:
    with luigi_settings('worker', timeout=5):
        assert usual_timeout() == 5
        with luigi_settings('gokart_worker', timeout=7):
            assert usual_timeout() == gokart_worker().timeout == 7
        assert usual_timeout() == 5
