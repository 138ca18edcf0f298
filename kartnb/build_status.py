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

    It reads no clock, so that the same events always give the same status. Any thread may ask; with `keep_counts`, only
    one that holds a lock of the listener's, because asking may then count anew while an event is applied.

    Parameters
    ----------
    plan
        The plan, for one who asks before the build has started.
    keep_counts
        Whether counts are kept up to date with each event instead of counting all tasks whenever somebody asks: for
        listeners that are asked many times a second.

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

    def __init__(self, plan: Plan | None = None, *, keep_counts: bool = False) -> None:
        self._keep_counts = keep_counts
        self._tally: _Tally | None = None
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
            self._tally = None
        elif isinstance(event, BuildStarted):
            self._begin(event)
        elif isinstance(event, BuildFinished):
            self.ended = event.time
            self.states.update(event.states)
            self._tally = None

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
            (node, states.get(node.key, node.state)) for node in self.plan if _takes_part(node, states.get(node.key))
        ]

    def has_ended(self, node: Node) -> bool:
        """Whether a task that takes part is over, well or not."""
        return _has_ended(self.states.get(node.key))

    def counts(self) -> dict[TaskState, int]:
        """How many tasks of the plan are in each state."""
        return dict(+self._counted().every)

    def progress(self) -> BuildProgress:
        """How far the build is."""
        tally = self._counted()
        running = sorted(tally.running.items())
        part = dict(+tally.part)
        return BuildProgress(sum(part.values()), tally.ended, tuple(name for _, name in running), part)

    def plan_now(self) -> Plan | None:
        """The plan with the states of now; None before the build has started."""
        return None if self.plan is None else self.plan.with_states(self.states.copy())

    def _begin(self, event: BuildStarted) -> None:
        """Begin anew: a search has one build after the other."""
        self.plan, self.started, self.ended = event.plan, event.time, None
        self.starting_workers = 0
        self.states, self.activities = {}, {}
        self._tally = None

    def _counted(self) -> _Tally:
        tally = self._tally or _Tally(self.plan, self.states.copy())
        self._tally = tally if self._keep_counts else None
        return tally

    def _change(self, event: TaskStateChanged) -> None:
        if self._tally is not None:
            self._tally.move(event.key, self.states.get(event.key), event.state)
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


def _takes_part(node: Node, state: TaskState | None) -> bool:
    """Whether a build runs a task, or has taken it up; `state` is what the build has told of it."""
    return node.will_run or state in IN_BUILD


def _has_ended(state: TaskState | None) -> bool:
    """Whether a task that takes part is over; it is cached when another process has made its result meanwhile."""
    return state in ENDED or state is TaskState.CACHED


class _Tally:
    """How many tasks are in each state: of all (`every`), and of those that the build runs (`part`)."""

    def __init__(self, plan: Plan | None, states: Mapping[str, TaskState]) -> None:
        self._plan = plan
        self.every: Counter[TaskState] = Counter()
        self.part: Counter[TaskState] = Counter()
        self.ended = 0
        #: The names of the running tasks by position.
        self.running: dict[int, str] = {}
        for position, node in enumerate(plan or ()):
            self._count(position, node, states.get(node.key), 1)

    def move(self, key: str, before: TaskState | None, after: TaskState) -> None:
        """A task enters a state."""
        position = None if self._plan is None else self._plan.position(key)
        if self._plan is None or position is None:
            return
        node = self._plan.nodes[position]
        self.running.pop(position, None)
        self._count(position, node, before, -1)
        self._count(position, node, after, 1)

    def _count(self, position: int, node: Node, known: TaskState | None, number: int) -> None:
        state = node.state if known is None else known
        self.every[state] += number
        if not _takes_part(node, known):
            return
        self.part[state] += number
        if _has_ended(known):
            self.ended += number
        elif state is TaskState.RUNNING and number > 0:
            self.running[position] = node.name
