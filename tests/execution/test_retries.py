"""luigi's retries within a build: how often, when, and that nobody else waits."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import luigi
import pytest

import kartnb
from kartnb.errors import TaskSettingError
from kartnb.execution.limits import Retries
from kartnb.model import TaskState, TaskStateChanged
from tests.execution.luigi_settings import luigi_settings


def _flaky(place: Path) -> Any:
    """A task that fails as often as it is told to, and writes down when."""

    class Flaky(kartnb.TaskOnKart):
        fails = luigi.IntParameter()
        retry_count = luigi.OptionalIntParameter(default=None, significant=False)
        disable_hard_timeout = luigi.OptionalIntParameter(default=None, significant=False)

        def run(self) -> None:
            tries = place / 'tries'
            before = tries.read_text().splitlines() if tries.exists() else []
            tries.write_text('\n'.join([*before, str(time.time())]))
            if len(before) < self.fails:
                raise ConnectionError(f'try {len(before) + 1}')
            self.dump(len(before) + 1)

    return Flaky


def _tries(place: Path) -> list[float]:
    return [float(line) for line in (place / 'tries').read_text().splitlines()]


@pytest.mark.parametrize('executor', ['inline', 'threads', 'processes'])
def test_a_task_is_tried_as_often_as_it_asks(executor: str, tmp_path: Path) -> None:
    flaky = _flaky(tmp_path)
    heard: list[TaskStateChanged] = []
    failures: list[str] = []
    flaky.event_handler(luigi.Event.FAILURE)(lambda task, error: failures.append(str(error)))
    value = kartnb.build(
        flaky(fails=2, retry_count=3),
        executor=executor,
        workers=2,
        listeners=[lambda event: heard.append(event) if isinstance(event, TaskStateChanged) else None],
    )
    assert value == 3
    states = [(event.state, event.error) for event in heard]
    put_off = [(TaskState.RUNNING, ''), (TaskState.QUEUED, 'ConnectionError: try 1')]
    assert states[:2] == put_off
    assert states[-1] == (TaskState.DONE, '')
    if executor != 'processes':  # there the handler has another list
        assert failures == ['try 1', 'try 2']


def test_the_last_failure_counts_and_earlier_ones_are_told_too(tmp_path: Path) -> None:
    flaky = _flaky(tmp_path)
    downstream_ran = []

    class Downstream(kartnb.TaskOnKart):
        task = kartnb.TaskInstanceParameter()

        def run(self) -> None:
            downstream_ran.append(1)

    task = flaky(fails=9, retry_count=2)
    with pytest.raises(kartnb.GokartBuildError, match='try 2') as caught:
        kartnb.build(Downstream(task=task))
    assert len(_tries(tmp_path)) == 2
    assert [str(error) for error in caught.value.raised_exceptions[task.make_unique_id()]] == ['try 1', 'try 2']
    assert downstream_ran == []
    assert caught.value.report is not None
    assert [node.state for node in caught.value.report.plan] == [TaskState.FAILED, TaskState.BLOCKED]


def test_without_a_setting_a_task_is_run_once(tmp_path: Path) -> None:
    with pytest.raises(kartnb.GokartBuildError, match='try 1'):
        kartnb.build(_flaky(tmp_path)(fails=1))
    assert len(_tries(tmp_path)) == 1


def test_the_configuration_says_how_often_and_after_how_long(tmp_path: Path) -> None:
    with luigi_settings('scheduler', retry_count=2, retry_delay=0.4):
        assert kartnb.build(_flaky(tmp_path)(fails=1)) == 2
    first, second = _tries(tmp_path)
    assert 0.4 <= second - first < 3


def test_a_negative_delay_means_never(tmp_path: Path) -> None:
    with luigi_settings('scheduler', retry_count=3, retry_delay=-1), pytest.raises(kartnb.GokartBuildError):
        kartnb.build(_flaky(tmp_path)(fails=1))
    assert len(_tries(tmp_path)) == 1


def test_others_run_while_a_task_waits_for_its_next_try(tmp_path: Path) -> None:
    flaky = _flaky(tmp_path)

    class Other(kartnb.TaskOnKart):
        priority = -1

        def run(self) -> None:
            self.dump(time.time())

    class Both(kartnb.TaskOnKart):
        def requires(self) -> Any:
            return [flaky(fails=1, retry_count=2), Other()]

        def run(self) -> None:
            self.dump(self.load()[1])

    with luigi_settings('scheduler', retry_delay=0.5):
        other = kartnb.build(Both())
    first, second = _tries(tmp_path)
    assert first < other < second


def test_luigi_itself_counts_tries_in_the_same_way(tmp_path: Path) -> None:
    """With `keep_alive`, luigi's worker stays for the retries, until the scheduler disables the task."""

    class Failing(luigi.Task):
        retry_count = 3

        def run(self) -> None:
            with (tmp_path / 'tries').open('a') as file:
                file.write(f'{time.time()}\n')
            raise ConnectionError

        def output(self) -> Any:
            return luigi.LocalTarget(str(tmp_path / 'never'))

    with (
        luigi_settings('worker', keep_alive='true', wait_interval=0.02, wait_jitter=0),
        luigi_settings('scheduler', retry_delay=0.01),
        luigi_settings('core', no_configure_logging='true'),
    ):
        luigi.build([Failing()], local_scheduler=True, no_lock=True)
    of_luigi = len(_tries(tmp_path))
    (tmp_path / 'tries').unlink()
    with pytest.raises(kartnb.GokartBuildError):
        kartnb.build(Failing())
    assert of_luigi == len(_tries(tmp_path)) == 3


def test_failures_outside_of_the_window_do_not_count_and_the_hard_timeout_ends_it() -> None:
    now = [0.0]

    class Windowed(luigi.Task):
        retry_count = 2
        disable_window = 10

    class Limited(luigi.Task):
        retry_count = 100
        disable_hard_timeout = 60

    retries = Retries(clock=lambda: now[0])

    def delays(task: luigi.Task, times: list[float]) -> list[float | None]:
        found = []
        for at in times:
            now[0] = at
            found.append(retries.delay(task.task_id, task, ValueError()))
        return found

    assert delays(Windowed(), [0, 20, 40, 45]) == [0, 0, 0, None]
    assert delays(Limited(), [100, 130, 159, 160]) == [0, 0, 0, None]


@pytest.mark.parametrize('section', ['the task', 'the configuration'])
def test_a_setting_that_is_no_number_is_said(section: str) -> None:
    class Failing(kartnb.TaskOnKart):
        retry_count = 'often' if section == 'the task' else None  # type: ignore[assignment]

        def run(self) -> None:
            raise ValueError('mine')

    if section == 'the task':
        with pytest.raises(kartnb.GokartBuildError, match='mine') as caught:
            kartnb.build(Failing())
        assert caught.value.__cause__ is not None
        assert "Failing.retry_count is 'often': it must be a number." in caught.value.__cause__.__notes__[0]
    else:
        with luigi_settings('scheduler', retry_count='often'), pytest.raises(TaskSettingError, match='often'):
            kartnb.build(Failing())
