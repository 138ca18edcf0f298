"""luigi's own worker, whose tasks are run by a build of kartnb."""

from __future__ import annotations

import json
import logging
import os
import socket
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from queue import Queue
from typing import Any, Protocol

import luigi
from luigi.worker import TaskStatusReporter, TracebackWrapper, Worker

logger = logging.getLogger('kartnb')

#: luigi's words for how a task stands.
DONE, FAILED, PENDING = 'DONE', 'FAILED', 'PENDING'

# luigi's worker is not annotated
_Luigis: Any = Worker


class Builder(Protocol):
    """What the worker needs of a build."""

    def judge(self, task: luigi.Task) -> bool | str:
        """Whether a task is complete, by the plan; the traceback as text where that cannot be told."""

    def start(self, task: luigi.Task, messages: Queue[Any] | None) -> None:
        """Begin to run a task; messages of the scheduler come in this queue."""

    def wait(self, seconds: float) -> None:
        """Wait until something happens in the build, for at most so long."""

    def run_elsewhere(self, task_ids: Sequence[str]) -> bool:
        """Other workers run these tasks; gives whether the build waits for one of them."""


class BuildWorker(_Luigis):  # type: ignore[misc]
    """Asks the scheduler what to run, and tells it what came of that.

    Parameters
    ----------
    builder
        Runs the tasks.
    scheduler
        The scheduler, or what speaks with it.
    parallel
        How many tasks run at once.
    """

    def __init__(self, builder: Builder, scheduler: Any, parallel: int) -> None:
        super().__init__(
            scheduler=scheduler, worker_id=_new_id(), worker_processes=parallel, no_install_shutdown_handler=True
        )
        self._builder = builder
        self._task_completion_cache: Any = _Unasked()

    @property
    def id(self) -> str:
        """How the scheduler calls this worker."""
        return str(self._id)

    def finished(self, task: luigi.Task) -> None:
        """Tell that a task is complete."""
        self._tell(task, DONE)

    def failed(self, task: luigi.Task, explanation: str) -> None:
        """Tell that a task has failed; luigi's mail about it goes out where luigi's configuration says so."""
        try:
            self._email_task_failure(task, explanation)
        except Exception:
            logger.exception('The mail about the failure of %s could not be sent', type(task).__name__)
        self._tell(task, FAILED, explanation)
        self.run_succeeded = False

    def asked_for(self, task: luigi.Task, needed: Sequence[luigi.Task]) -> None:
        """Tell that a task that has begun needs these first."""
        for other in needed:
            self.add(other)
        self._tell(task, PENDING, new_deps=[other.task_id for other in needed])

    def given_up(self, task: luigi.Task) -> None:
        """Tell that a task that has begun cannot go on, because what it has asked for has failed."""
        self._tell(task, FAILED, 'What it asks for has failed.')

    def give_back(self) -> None:
        """The build is interrupted: let the scheduler give the running tasks out again."""
        for task_id in list(self._running_tasks):
            self._tell(self._scheduled_tasks[task_id], FAILED, 'The build was interrupted.')
            # an interrupt is no failure of the task: it counts neither for retries nor for disabling it
            self._scheduler.re_enable_task(task_id)
            self._scheduler.forgive_failures(task_id)

    def _tell(self, task: luigi.Task, status: str, explanation: str = '', new_deps: Sequence[str] = ()) -> None:
        self._running_tasks.pop(task.task_id, None)
        self._add_task(
            worker=self._id,
            task_id=task.task_id,
            status=status,
            expl=json.dumps(explanation),
            resources=task.process_resources(),
            runnable=None,
            params=task.to_str_params(),
            family=task.task_family,
            module=task.task_module,
            new_deps=list(new_deps),
            assistant=False,
            retry_policy_dict={
                name: getattr(task, name) for name in ('retry_count', 'disable_hard_timeout', 'disable_window')
            },
        )

    def _add(self, task: luigi.Task, is_complete: Any) -> Iterator[luigi.Task]:
        judged = self._builder.judge(task)
        answer = TracebackWrapper(judged) if isinstance(judged, str) else judged
        found: Iterator[luigi.Task] = super()._add(task, answer)
        return found

    def _add_task_batcher(self, task: luigi.Task) -> None:
        """Announce no batches: each task has its own files."""

    def _run_task(self, task_id: str) -> None:
        task = self._scheduled_tasks[task_id]
        messages: Queue[Any] | None = Queue() if task.accepts_messages else None
        reporter: Any = TaskStatusReporter
        self._running_tasks[task_id] = _Running(reporter(self._scheduler, task_id, self._id, messages))
        self._builder.start(task, messages)

    def _handle_next_task(self) -> None:
        self._builder.wait(self._config.wait_interval)

    def _keep_alive(self, get_work_response: Any) -> bool:
        waits = self._builder.run_elsewhere([other['task_id'] for other in get_work_response.running_tasks])
        return waits or bool(super()._keep_alive(get_work_response))

    def _sleeper(self) -> Iterator[None]:
        while True:
            self._builder.wait(self._config.wait_interval)
            yield


def _new_id() -> str:
    """A name that no other build has: luigi's own is drawn from `random`, whose state each build puts back."""
    return f'kartnb({uuid.uuid4().hex[:12]}, host={socket.gethostname()}, pid={os.getpid()})'


@dataclass
class _Running:
    """Stands for a running task where luigi has its process."""

    status_reporter: Any

    def is_alive(self) -> bool:
        """Whether luigi has something to end: the build ends its tasks itself."""
        return False


class _Unasked(dict[str, bool]):
    """Keeps luigi from asking `complete()` of every task: the plan has, and luigi is told what it says."""

    def get(self, key: str, default: Any = None) -> Any:
        return True
