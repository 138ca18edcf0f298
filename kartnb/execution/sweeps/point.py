"""One point of a sweep."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import luigi

from kartnb import display
from kartnb.errors import SweepError
from kartnb.events import TaskState
from kartnb.history.log_store import LogStore
from kartnb.task.base import TaskOnKart
from kartnb.task.loading import result_of

_COMPLETE = (TaskState.CACHED, TaskState.DONE, TaskState.EXTERNAL)


@dataclass(eq=False, repr=False)
class SweepPoint(display.Displayed):
    """One point of a sweep: parameter values, and what came of them.

    Attributes
    ----------
    position
        Its place in the sweep; ``sweep[position]`` gives it.
    values
        The values of the parameters that the sweep was given, by name.
    task
        The task, or None where none could be made.
    unique_id
        Its unique id, '' where it has none.
    state
        Where it stands: cached, done, failed, blocked, ...
    error
        Why it has no result, in one line, or ''.
    metrics
        Its numbers by name.
    problem
        Why it has no metrics although there is a result, or ''.
    """

    position: int
    values: Mapping[str, Any]
    task: luigi.Task | None
    unique_id: str = ''
    state: TaskState = TaskState.MISSING
    error: str = ''
    metrics: dict[str, float] = field(default_factory=dict)
    problem: str = ''
    _seconds: float | None = field(default=None, repr=False)
    _store: LogStore = field(default_factory=LogStore, repr=False)

    @property
    def is_complete(self) -> bool:
        """Whether there is a result."""
        return self.state in _COMPLETE

    @property
    def is_over(self) -> bool:
        """Whether it has ended, well or not."""
        return self.is_complete or self.state in (TaskState.FAILED, TaskState.BLOCKED)

    @cached_property
    def seconds(self) -> float | None:
        """How long its own task ran, now or when it was cached; None where that is not known."""
        if self._seconds is not None or not isinstance(self.task, TaskOnKart) or not self.is_complete:
            return self._seconds
        record = self._store.record(self.task)
        return None if record is None else record.seconds

    def load(self) -> Any:
        """The result.

        Raises
        ------
        SweepError
            When there is none.
        """
        if self.task is None or not self.is_complete:
            raise SweepError(f'Point {self.position} has no result: it is {self.state}. {self.error}'.rstrip())
        return result_of(self.task)
