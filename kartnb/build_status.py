"""How a build stands: the one place that turns its stream of events into states, times and counts.

The build itself, its handle, the text progress and the live graph all keep a `BuildStatus`, so that they cannot differ.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from kartnb.events import (
    BuildFinished,
    BuildStarted,
    Event,
    PlanGrew,
    TaskProgress,
    TaskState,
    TaskStateChanged,
    WorkersStarting,
)
from kartnb.execution.planning.plan import Node, Plan

#: The states of tasks that a build has taken up; the others are as the plan found them.
IN_BUILD = frozenset(
    {
        TaskState.QUEUED,
        TaskState.WAITING,
        TaskState.RUNNING,
        TaskState.DONE,
        TaskState.FAILED,
        TaskState.BLOCKED,
        TaskState.INTERRUPTED,
    }
)
ENDED = frozenset(state for state in IN_BUILD if state.is_final)


@dataclass(slots=True)
class TaskActivity:
    """What one task of a build did: when it began (seconds since the epoch), how long it ran, what it reported last."""

    started: float
    seconds: float | None = None
    percentage: float | None = None
    message: str = ''
    error: str = ''


@dataclass(frozen=True, slots=True)
class BuildProgress:
    """How far a build is: tasks that it runs, how many of them have ended, and the names of those running."""

    total: int
    ended: int
    running: tuple[str, ...]
    #: How many of the tasks that it runs are in each state.
    counts: Mapping[TaskState, int] = field(default_factory=dict, repr=False)

    def __str__(self) -> str:
        names = f' · {", ".join(self.running)}' if self.running else ''
        return f'{self.ended}/{self.total}{names}'


class BuildStatus:
    """How a build stands, reduced from its events.

    It reads no clock, so that the same events always give the same status. It has no lock either: who asks in another
    thread than the one that applies the events holds one.

    Attributes
    ----------
    plan
        The plan of the build; None before it has started.
    started, ended
        When it started and ended, in seconds since the epoch; `ended` is None while it goes on.
    starting_workers
        How many worker processes are being started.
    states
        The state of each task that has changed since the plan was made, by node key.
    activities
        What each task that has begun did, by node key.
    """

    def __init__(self, plan: Plan | None = None) -> None:
        self.plan = plan
        self.started = 0.0
        self.ended: float | None = None
        self.starting_workers = 0
        self.states: dict[str, TaskState] = {}
        self.activities: dict[str, TaskActivity] = {}

    def apply(self, event: Event) -> None:
        """Take in the next event; lines that tasks print or log change nothing."""
        if isinstance(event, TaskStateChanged):
            self._change(event)
        elif isinstance(event, TaskProgress):
            self._report(event)
        elif isinstance(event, WorkersStarting):
            self.starting_workers = event.number
        elif isinstance(event, PlanGrew):
            self.plan = event.plan
        elif isinstance(event, BuildStarted):
            self._begin(event)
        elif isinstance(event, BuildFinished):
            self.ended = event.time
            self.states.update(event.states)

    def state(self, node: Node) -> TaskState:
        """The state of a task now."""
        return self.states.get(node.key, node.state)

    def elapsed(self, now: float) -> float:
        """Seconds since the build started, until it ended."""
        return max((now if self.ended is None else self.ended) - self.started, 0.0)

    def taking_part(self) -> list[tuple[Node, TaskState]]:
        """The tasks that the build runs, each with its state now, upstream first."""
        if self.plan is None:
            return []
        states = self.states
        return [
            (node, states.get(node.key, node.state))
            for node in self.plan
            if node.will_run or states.get(node.key) in IN_BUILD
        ]

    def has_ended(self, node: Node, state: TaskState) -> bool:
        """Whether a task that takes part is over, well or not; another process may have made its result meanwhile."""
        return state in ENDED or (state is TaskState.CACHED and node.key in self.states)

    def progress(self) -> BuildProgress:
        """How far the build is."""
        part = self.taking_part()
        return BuildProgress(
            total=len(part),
            ended=sum(self.has_ended(node, state) for node, state in part),
            running=tuple(node.name for node, state in part if state is TaskState.RUNNING),
            counts=Counter(state for _, state in part),
        )

    def plan_now(self) -> Plan | None:
        """The plan with the states of now; None before the build has started."""
        return None if self.plan is None else self.plan.with_states(self.states.copy())

    def _begin(self, event: BuildStarted) -> None:
        """Begin anew: a search has one build after the other."""
        self.plan, self.started, self.ended = event.plan, event.time, None
        self.starting_workers = 0
        self.states, self.activities = {}, {}

    def _change(self, event: TaskStateChanged) -> None:
        self.states[event.key] = event.state
        if event.state is TaskState.RUNNING:
            self.activities[event.key] = TaskActivity(event.time)
            return
        activity = self.activities.get(event.key)
        if activity is not None and event.state.is_final:
            activity.seconds = event.time - activity.started
        if event.error:
            self.activities.setdefault(event.key, TaskActivity(event.time)).error = event.error

    def _report(self, event: TaskProgress) -> None:
        activity = self.activities.get(event.key)
        if activity is None:
            return
        if event.percentage is not None:
            activity.percentage = event.percentage
        if event.message is not None:
            activity.message = event.message
