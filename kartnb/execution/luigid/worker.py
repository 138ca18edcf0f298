"""luigi's own worker, whose tasks are run by a build of kartnb."""

from __future__ import annotations

import json
import logging
import os
import socket
import uuid
from collections.abc import Sequence
from typing import Any

import luigi

from kartnb._luigi import Builder, SchedulerWorker

logger = logging.getLogger('kartnb')

#: luigi's words for how a task stands.
DONE, FAILED, PENDING = 'DONE', 'FAILED', 'PENDING'


class BuildWorker(SchedulerWorker):
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
        super().__init__(builder, scheduler, _new_id(), parallel)

    def finished(self, task: luigi.Task) -> None:
        """Tell that a task is complete."""
        self._tell(task, DONE)

    def failed(self, task: luigi.Task, explanation: str) -> None:
        """Tell that a task has failed; luigi's mail about it goes out where luigi's configuration says so."""
        try:
            self.mail_failure(task, explanation)
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
        for task in self.running():
            self._tell(task, FAILED, 'The build was interrupted.')
            # an interrupt is no failure of the task: it counts neither for retries nor for disabling it
            self.scheduler.re_enable_task(task.task_id)
            self.scheduler.forgive_failures(task.task_id)

    def _tell(self, task: luigi.Task, status: str, explanation: str = '', new_deps: Sequence[str] = ()) -> None:
        self.tell(
            task,
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


def _new_id() -> str:
    """A name that no other build has: luigi's own is drawn from `random`, whose state each build puts back."""
    return f'kartnb({uuid.uuid4().hex[:12]}, host={socket.gethostname()}, pid={os.getpid()})'
