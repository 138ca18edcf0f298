"""What luigi's attributes of a task say about its running: priority, resources, how long, and whether at all."""

from __future__ import annotations

from dataclasses import dataclass

import luigi
from luigi.worker import worker as worker_settings

from kartnb.errors import TaskDisabledError, TaskSettingError
from kartnb.execution.resources import Demand, Resources, demand_of


@dataclass(frozen=True, slots=True)
class Terms:
    """On which terms a task runs.

    Attributes
    ----------
    priority
        Higher ones run first.
    demand
        What it takes of luigi's resources.
    timeout
        Seconds after which it is ended; 0 for never.
    """

    priority: float = 0
    demand: Demand = ()
    timeout: float = 0


_USUAL = Terms()


class TermsReader:
    """Reads the terms of tasks.

    Parameters
    ----------
    resources
        What there is to take.
    """

    def __init__(self, resources: Resources) -> None:
        self._resources = resources
        self._timeout = usual_timeout()

    def read(self, task: luigi.Task) -> Terms:
        """The terms of a task that has to run.

        Raises
        ------
        TaskSettingError
            When one of the attributes makes no sense.
        TaskDisabledError
            When the task is not to run.
        """
        if task.disabled:
            raise TaskDisabledError(f'{type(task).__name__} is disabled: its attribute `disabled` is set.')
        timeout = timeout_of(task, self._timeout)
        terms = Terms(_number(task, 'priority'), demand_of(task, self._resources), timeout)
        return terms if terms != _USUAL else _USUAL


def usual_timeout() -> float:
    """Seconds after which tasks are ended that say nothing of it themselves: luigi's configuration, or 0 for never."""
    # one of luigi's settings of a worker: to read all of them takes as long as to plan a dozen tasks
    seconds: float = worker_settings.timeout.task_value(worker_settings.get_task_family(), 'timeout')
    return seconds


def timeout_of(task: luigi.Task, usual: float) -> float:
    """Seconds after which a task is ended; 0 for never.

    Raises
    ------
    TaskSettingError
        When it is no number.
    """
    return max(usual if task.worker_timeout is None else _number(task, 'worker_timeout'), 0)


def _number(task: luigi.Task, name: str) -> float:
    value = getattr(task, name)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TaskSettingError(f'{type(task).__name__}.{name} is {value!r:.40}: it must be a number.')
    return value
