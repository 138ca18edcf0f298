"""What a build did, as an object that can be shown."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kartnb import display
from kartnb.events import TaskState
from kartnb.execution.planning.plan import Plan

_NOT_BEGUN = (TaskState.MISSING, TaskState.STALE, TaskState.QUEUED)


@dataclass(frozen=True, slots=True)
class TaskFailure:
    """One task that failed.

    Attributes
    ----------
    key, name, unique_id
        The node that failed.
    parameters
        Its parameters as pairs of name and text, without secret ones.
    error
        The exception that its code raised; its traceback starts in the user's code.
    location
        The line of the user's code to look at, as ``file:line in function``, or '' when no user code is on the stack.
    earlier
        What it raised in earlier tries of the same build (`retry_count`), in order.
    """

    key: str
    name: str
    unique_id: str
    parameters: tuple[tuple[str, str], ...]
    error: BaseException
    location: str
    earlier: tuple[BaseException, ...] = ()


@dataclass(frozen=True, eq=False, repr=False)
class BuildReport(display.Displayed):
    """How a build ended.

    Attributes
    ----------
    build_id
        A random id, the same as in the build's events and run records.
    plan
        The plan with the final state of every node.
    seconds
        Wall-clock time of the whole build.
    durations
        Seconds that each task ran, by node key; tasks that did not run are not in it.
    failures
        The tasks that failed, in the order of their failing.
    """

    build_id: str
    plan: Plan
    seconds: float
    durations: Mapping[str, float]
    failures: tuple[TaskFailure, ...]

    @property
    def succeeded(self) -> bool:
        """Whether the root task is complete."""
        return not self.failures and not self.interrupted

    @property
    def interrupted(self) -> bool:
        """Whether the build was stopped before its end."""
        return any(
            node.state is TaskState.INTERRUPTED or (node.will_run and node.state in _NOT_BEGUN) for node in self.plan
        )

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        return {'text/plain': repr(self), 'text/html': self._repr_html_()}
