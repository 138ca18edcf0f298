"""What is known of the tasks of a build while it runs, told to everybody who listens."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from typing import Any

from kartnb.build_status import BuildStatus
from kartnb.events import BuildFinished, BuildStarted, Event, PlanGrew, TaskState, TaskStateChanged
from kartnb.execution.build_error import user_code_location
from kartnb.execution.planning.plan import Node, Plan
from kartnb.execution.report import BuildReport, TaskFailure
from kartnb.execution.running.tracebacks import error_line
from kartnb.planning.graph import no_collections
from kartnb.task.shown import shown_parameters

logger = logging.getLogger('kartnb')


class Ledger:
    """States, times and errors of the tasks of one build, by node key.

    Parameters
    ----------
    plan
        The plan; it may grow.
    build_id
        Names the build in events.
    emit
        Is given every event.
    verbose
        Whether the beginning and the end of each task are logged.
    """

    def __init__(self, plan: Plan, build_id: str, emit: Callable[[Event], None], verbose: bool) -> None:
        self._status = BuildStatus(plan)
        self.durations: dict[str, float] = {}
        self.errors: dict[str, BaseException] = {}
        self._earlier: dict[str, list[BaseException]] = {}
        self._spent: deque[float] = deque(maxlen=20)
        self._build_id = build_id
        self._emit = emit
        self._verbose = verbose

    @property
    def plan(self) -> Plan:
        """The plan, with what running tasks have asked for."""
        assert self._status.plan is not None
        return self._status.plan

    @property
    def states(self) -> dict[str, TaskState]:
        """The state of every task that the build has taken in, by node key."""
        return self._status.states

    def begin(self) -> None:
        """Tell that the build begins."""
        self._tell(BuildStarted(self._build_id, self.plan))

    def end(self) -> None:
        """Tell that the build has ended."""
        self._tell(BuildFinished(self._build_id, dict(self.states)))

    def grow(self, plan: Plan) -> None:
        """Tell that there are more tasks."""
        self._tell(PlanGrew(self._build_id, plan))

    def change(self, key: str, state: TaskState, error: str = '') -> None:
        """A task enters a state."""
        self._tell(TaskStateChanged(self._build_id, key, state, error))

    def _tell(self, event: Event) -> None:
        self._status.apply(event)
        self._emit(event)

    def fail(self, key: str, error: BaseException) -> None:
        """A task has failed for good."""
        self.errors[key] = error
        self.change(key, TaskState.FAILED, error_line(error))

    def put_off(self, key: str, error: BaseException) -> None:
        """A task has failed and will be tried again."""
        self._earlier.setdefault(key, []).append(error)
        self.change(key, TaskState.QUEUED, error_line(error))

    def take_back(self, key: str) -> None:
        """A task that has failed is tried again after all."""
        error = self.errors.pop(key, None)
        if error is not None:
            self._earlier.setdefault(key, []).append(error)

    def spend(self, key: str, seconds: float) -> None:
        """A task took so long."""
        self.durations[key] = seconds
        self._spent.append(seconds)

    def typical_seconds(self) -> float | None:
        """How long the last tasks took on average; None before the first one."""
        return sum(self._spent) / len(self._spent) if self._spent else None

    def is_met(self, key: str) -> bool:
        """Whether what needs this task can run."""
        return self.states[key] in (TaskState.CACHED, TaskState.EXTERNAL, TaskState.DONE)

    def is_lost(self, key: str) -> bool:
        """Whether what needs this task cannot run in this build any more."""
        return self.states[key] in (TaskState.FAILED, TaskState.BLOCKED)

    def log(self, message: str, *args: Any) -> None:
        """Log at INFO where somebody reads it: a log record costs as much as a file."""
        if self._verbose:
            logger.info(message, *args)

    def how_far(self) -> str:
        """What an interrupt leaves, in one line."""
        to_run = [node for node in self.plan if node.will_run]
        done = sum(self._status.state(node) is TaskState.DONE for node in to_run)
        return f'the build was interrupted; {done} of {len(to_run)} tasks are done and kept, build again to go on'

    def report(self, seconds: float) -> BuildReport:
        """How the build ended."""
        with no_collections():
            plan = self.plan.with_states(self.states)
        failures = tuple(
            _failure(plan[key], error, tuple(self._earlier.get(key, ()))) for key, error in self.errors.items()
        )
        return BuildReport(self._build_id, plan, seconds, dict(self.durations), failures)


def _failure(node: Node, error: BaseException, earlier: tuple[BaseException, ...]) -> TaskFailure:
    parameters = tuple((parameter.name, parameter.text) for parameter in shown_parameters(node.task))
    return TaskFailure(node.key, node.name, node.unique_id, parameters, error, user_code_location(error), earlier)
