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
        self._timeout: float = worker_settings().timeout

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
        timeout = self._timeout if task.worker_timeout is None else _number(task, 'worker_timeout')
        terms = Terms(_number(task, 'priority'), demand_of(task, self._resources), max(timeout, 0))
        return terms if terms != _USUAL else _USUAL


def _number(task: luigi.Task, name: str) -> float:
    value = getattr(task, name)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TaskSettingError(f'{type(task).__name__}.{name} is {value!r:.40}: it must be a number.')
    return value
