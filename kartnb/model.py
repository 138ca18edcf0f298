"""What a build is made of: its events, the states of tasks, the plan, and the status that events add up to.

An executor emits events. The build itself, its handle, the text progress and the live graph are listeners, and each
keeps a `BuildStatus`: the one place that turns events into states, times and counts, so that they cannot differ.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any, TypeAlias

import luigi

from kartnb import display

if TYPE_CHECKING:
    import pandas

#: The beginning of the note on tasks that cannot be seeded where they will run.
UNSEEDED = 'Tasks in one process share one random state'
#: The beginning of the note on a build whose code was edited while it ran.
EDITED = 'Edited while the build ran'

# ----- events ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class BuildStarted:
    """A build begins. ``plan`` holds every node that is known so far."""

    build_id: str
    plan: Plan
    time: float = field(default_factory=time.time)


@dataclass(frozen=True, slots=True)
class PlanGrew:
    """A running task asked for tasks that the plan did not have (dynamic requirements); ``plan`` holds them too."""

    build_id: str
    plan: Plan
    time: float = field(default_factory=time.time)


@dataclass(frozen=True, slots=True)
class TaskStateChanged:
    """One task enters a state. ``key`` is the node's key in the plan; ``error`` is one line, '' unless it failed.

    A task that failed and is tried again is queued, with the error. ``holder`` says who has a task that waits, as in
    ``'pid 4711 on host-a (report.ipynb), since 14:02'``; '' where that is unknown, and in every other state.
    """

    build_id: str
    key: str
    state: TaskState
    error: str = ''
    time: float = field(default_factory=time.time)
    holder: str = ''


@dataclass(frozen=True, slots=True)
class TaskProgress:
    """A running task reports how far it is (0 to 100, or None), what it does (or None), or where to look (or None)."""

    build_id: str
    key: str
    percentage: float | None = None
    message: str | None = None
    tracking_url: str | None = None
    time: float = field(default_factory=time.time)


@dataclass(frozen=True, slots=True)
class LogLine:
    """One logged line. ``key`` is the node's key, or '' where no task logged it.

    ``already_shown``: a handler of the user's has written it to a stream. ``process`` is the id of the process whose
    handlers have had it.
    """

    build_id: str
    key: str
    level: int
    logger: str
    text: str
    already_shown: bool = False
    time: float = field(default_factory=time.time)
    process: int = field(default_factory=os.getpid)


@dataclass(frozen=True, slots=True)
class TaskOutput:
    """Lines that a task has printed.

    ``text`` is one line or several, without the last line break; ``stream`` is 'stdout' or 'stderr'. ``key`` is the
    node's key, or '' where the task is unknown. A line that is written over again and again, such as a progress bar,
    comes once, in its last state; meanwhile it gives `TaskProgress`. Of a flood (over a million characters in one task)
    only the newest lines come, ten times a second.
    """

    build_id: str
    key: str
    stream: str
    text: str
    time: float = field(default_factory=time.time)


@dataclass(frozen=True, slots=True)
class WorkersStarting:
    """``number`` worker processes are being started for tasks that are ready; 0 as soon as all of them are there.

    ``seconds`` is about how long that takes.
    """

    build_id: str
    number: int
    seconds: float = 0.0
    time: float = field(default_factory=time.time)


@dataclass(frozen=True, slots=True)
class BuildFinished:
    """A build ends. ``states`` gives the final state of each node by its key, ``notes`` what else must be known."""

    build_id: str
    states: Mapping[str, TaskState]
    time: float = field(default_factory=time.time)
    notes: tuple[str, ...] = ()


#: What a task reports while it runs.
TaskEvent: TypeAlias = TaskProgress | LogLine | TaskOutput
Event: TypeAlias = BuildStarted | PlanGrew | TaskStateChanged | TaskEvent | WorkersStarting | BuildFinished
Listener: TypeAlias = Callable[[Event], None]


# ----- states and reasons ---------------------------------------------------------------------------------------------


class TaskState(StrEnum):
    """The state of a task, in a plan (the first five) or in a build (the rest)."""

    CACHED = 'cached'
    STALE = 'stale'
    MISSING = 'missing'
    NOT_NEEDED = 'not needed'
    EXTERNAL = 'external'
    QUEUED = 'queued'
    WAITING = 'waiting'
    RUNNING = 'running'
    DONE = 'done'
    FAILED = 'failed'
    BLOCKED = 'blocked'
    INTERRUPTED = 'interrupted'

    @property
    def is_final(self) -> bool:
        """Whether a build leaves a task in this state."""
        return self not in (TaskState.QUEUED, TaskState.WAITING, TaskState.RUNNING)


class ReasonKind(StrEnum):
    """Why a task will run."""

    OUTPUT_MISSING = 'output missing'
    NO_OUTPUT = 'declares no output'
    INCOMPLETE = 'complete() returns False'
    RERUN = 'rerun requested'
    UPSTREAM_RUNS = 'an upstream task will run'
    UPSTREAM_MAY_CHANGE = 'an upstream result may change'
    INPUT_NEWER = 'an input is newer'
    CODE_CHANGED = 'code changed'
    NEWER_RESULT = 'made from an older upstream result'
    OTHER_REQUIRES = 'requires() gives its inputs in another order or shape'
    UNFINISHED = 'a run has not ended, or was broken off'
    CUT_SHORT = 'the file is shorter than it was written'
    EXPIRED = 'expired'
    VERSION_CHANGED = 'package versions changed'
    FILE_CHANGED = 'a file that it reads has changed'

    def with_detail(self, detail: str, words: str = '') -> str:
        """The reason with what a person needs beside it; `words` stand for the kind where that is not in the present.

        >>> ReasonKind.OUTPUT_MISSING.with_detail('a.pkl'), ReasonKind.FILE_CHANGED.with_detail('sales.csv changed')
        ('output missing: a.pkl', 'sales.csv changed')
        """
        if self is ReasonKind.FILE_CHANGED and detail:  # it says which file, and what became of it
            return detail
        return f'{words or self.value}: {detail}' if detail else words or self.value


@dataclass(frozen=True, slots=True)
class Reason:
    """Why one task will run: the kind, and the detail that a person needs (a path, a task's name), or ''."""

    kind: ReasonKind
    detail: str = ''

    def __str__(self) -> str:
        return self.kind.with_detail(self.detail)


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

#: The states in which a task is still as the plan found it.
OPEN = frozenset({TaskState.MISSING, TaskState.STALE, TaskState.QUEUED})

#: The beginning of the note on a task that another process, or another build of this one, runs as the plan is made.
HELD = 'another build is running it'
#: In what the note on a missing task says of a class that was moved or renamed.
MOVED = ' with the same parameters exists'


def split_note(note: str) -> tuple[str, str]:
    """A note of a plan without what it says of who runs the task, and that part.

    >>> split_note('restored; another build is running it: pid 7 on host-a')
    ('restored', 'another build is running it: pid 7 on host-a')
    """
    before, mark, after = note.partition(HELD)
    return before.removesuffix('; '), mark + after


def lasting_note(note: str) -> tuple[str, str]:
    """A note without what holds only until a build takes the task up, and that.

    >>> lasting_note('restored; a result of a.B with the same parameters exists: adopt it')
    ('restored', 'a result of a.B with the same parameters exists: adopt it')
    """
    note, held = split_note(note)
    if MOVED not in note:
        return note, held
    parts = note.split('; ')
    passing = [part for part in parts if MOVED in part]
    return '; '.join(part for part in parts if part not in passing), '; '.join(filter(None, (held, *passing)))


# ----- the plan -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class Node:
    """One task in a plan."""

    # luigi's repr of a task shows its secrets; the key says which one it is
    task: luigi.Task = field(repr=False)
    #: Names the node in events and lookups: ``Class_<unique id>``, the same as the stem of its files. Where two nodes
    #: would share it (one task, two workspaces), the later ones end in ``#2``, ``#3``, ...
    key: str
    name: str
    unique_id: str  #: gokart's unique id (32 hexadecimal digits), or luigi's task id for a plain luigi task.
    state: TaskState  #: Its state when the plan was made.
    reason: Reason | None = None  #: Why it will run, or None when it will not.
    #: The positions in the plan of the tasks that it requires, without repetitions, in the order of `requires()`.
    requires: tuple[int, ...] = ()
    outputs: tuple[str, ...] = ()  #: The paths of its outputs as given.
    #: What a person must know of its result, for instance that it is unknown whether the code has changed.
    note: str = ''
    is_conditional: bool = False  #: Whether it runs only if the contents of what it requires change.

    def in_state(self, state: TaskState) -> Node:
        """The same node in another state; who ran it when the plan was made does not count any more."""
        if state is self.state:
            return self
        note = self.note if state in OPEN else lasting_note(self.note)[0]
        # at half the cost of `dataclasses.replace`
        return Node(
            self.task,
            self.key,
            self.name,
            self.unique_id,
            state,
            self.reason,
            self.requires,
            self.outputs,
            note,
            self.is_conditional,
        )

    @property
    def why(self) -> str:
        """Who runs it, the reason for which it will run, and what a person must know of its result; or ''."""
        note, held = split_note(self.note)
        return '; '.join(str(part) for part in (held, self.reason, note) if part)

    @property
    def will_run(self) -> bool:
        """Whether a build of this plan would run the task, or might (`is_conditional`)."""
        return self.reason is not None


@dataclass(frozen=True, slots=True)
class Wait:
    """Who has a task that a build waits for ('' where that is unknown), and since when it waits, in epoch seconds."""

    holder: str
    since: float

    def __str__(self) -> str:
        return f'waiting for {self.holder or "another build"}'


@dataclass(frozen=True, eq=False)
class Plan:
    """The tasks that a root task needs, each with its state: what `kartnb.plan` gives.

    A plan is a sequence of nodes, upstream first, the root last. It does not change; a later plan of the same task may
    differ.

    Attributes
    ----------
    nodes
        The nodes in topological order: a node comes after all that it requires.
    workspace
        The absolute workspace directory of the root (a URL for an object store).
    sharing
        What is not promised when several builds run these tasks at the same time; '' where each task runs once.
    notes
        What else a person must know of the plan as a whole, such as which modules have changed on disk.
    """

    nodes: tuple[Node, ...]
    workspace: str
    sharing: str = ''
    notes: tuple[str, ...] = ()
    _index: Mapping[str, int] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, '_index', {node.key: i for i, node in enumerate(self.nodes)})

    @property
    def root(self) -> Node:
        """The node of the task that was asked for."""
        return self.nodes[-1]

    def __len__(self) -> int:
        return len(self.nodes)

    def __iter__(self) -> Iterator[Node]:
        return iter(self.nodes)

    def __getitem__(self, key: str | luigi.Task) -> Node:
        """The node of a key or of a task; KeyError when the plan has none."""
        if isinstance(key, str):
            return self.nodes[self._index[key]]
        for node in self.nodes:
            if node.task is key or node.task == key:
                return node
        raise KeyError(key)

    def __contains__(self, key: object) -> bool:
        if isinstance(key, str):
            return key in self._index
        return any(node.task is key for node in self.nodes)

    def position(self, key: str) -> int | None:
        """Where the node of a key is in `nodes`; None when the plan has none."""
        return self._index.get(key)

    def counts(self) -> dict[TaskState, int]:
        """How many nodes are in each state, in the order of `TaskState`, without the empty ones."""
        found = Counter(node.state for node in self.nodes)
        return {state: found[state] for state in TaskState if found[state]}

    def to_run(self) -> tuple[Node, ...]:
        """The nodes that a build would run, or might (`Node.is_conditional`), upstream first."""
        return tuple(node for node in self.nodes if node.will_run)

    def upstream(self, node: Node) -> tuple[Node, ...]:
        """Every node that `node` needs, directly or not, upstream first."""
        wanted: set[int] = set()
        pending = list(node.requires)
        while pending:
            i = pending.pop()
            if i not in wanted:
                wanted.add(i)
                pending.extend(self.nodes[i].requires)
        return tuple(self.nodes[i] for i in sorted(wanted))

    def downstream(self, node: Node) -> tuple[Node, ...]:
        """Every node that needs `node`, directly or not, upstream first."""
        reached = {self._index[node.key]}
        found = []
        for i, other in enumerate(self.nodes):
            if not reached.isdisjoint(other.requires):
                reached.add(i)
                found.append(other)
        return tuple(found)

    def to_dataframe(self) -> pandas.DataFrame:
        """The plan as a pandas data frame, a row a task, upstream first.

        Columns: key, task, unique_id, state, reason (None where it will not run), requires (keys), outputs (paths).
        """
        import pandas

        rows = [
            {
                'key': node.key,
                'task': node.name,
                'unique_id': node.unique_id,
                'state': node.state.value,
                'reason': None if node.reason is None else str(node.reason),
                'requires': [self.nodes[i].key for i in node.requires],
                'outputs': list(node.outputs),
            }
            for node in self.nodes
        ]
        return pandas.DataFrame(rows, columns=['key', 'task', 'unique_id', 'state', 'reason', 'requires', 'outputs'])

    def with_states(self, states: Mapping[str, TaskState], waits: Mapping[str, Wait] | None = None) -> Plan:
        """The same graph with other states, for drawing a build that goes on or has ended.

        Tasks that wait have a note that says for whom.
        """
        nodes = [node.in_state(states.get(node.key, node.state)) for node in self.nodes]
        for key, wait in (waits or {}).items():
            if key in self._index and nodes[self._index[key]].state is TaskState.WAITING:
                nodes[self._index[key]] = replace(nodes[self._index[key]], note=str(wait))
        return Plan(tuple(nodes), self.workspace, self.sharing, self.notes)

    def __repr__(self) -> str:
        return display.render(self, 'text')

    def _repr_html_(self) -> str:
        return display.render(self, 'html')

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        return {'text/plain': repr(self), 'text/html': self._repr_html_()}


# ----- the status of a build ------------------------------------------------------------------------------------------


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
    waits: tuple[Wait, ...] = ()  #: One for each task that another process or another build has.
    conditional: int = 0  #: Tasks among them of which it is not known yet whether they will run.

    def __str__(self) -> str:
        return display.render(self, 'text')


class BuildStatus:
    """The status of a build, reduced from its events.

    It reads no clock, so that the same events always give the same status. Any thread may ask; with `keep_counts`, only
    one that holds a lock of the listener's, because asking may then count again while an event is applied.

    A given `plan` is for one who asks before the build has started; else it is None until then. With `keep_counts`,
    counts are kept up to date with each event instead of counting all tasks whenever somebody asks: for listeners that
    are asked many times a second. `started` and `ended` are in seconds since the epoch, `ended` None while the build
    goes on; `states` (of the tasks that have changed since the plan was made), `activities` (what each task that has
    begun did) and `waits` (of the tasks that wait now) are by node key.
    """

    def __init__(self, plan: Plan | None = None, *, keep_counts: bool = False) -> None:
        self._keep_counts = keep_counts
        self._tally: _Tally | None = None
        self.plan = plan
        self.started = 0.0
        self.ended: float | None = None
        self.starting_workers = 0
        self.starting_seconds = 0.0
        self.states: dict[str, TaskState] = {}
        self.activities: dict[str, TaskActivity] = {}
        self.waits: dict[str, Wait] = {}

    def apply(self, event: Event) -> None:
        """Take in the next event; lines that tasks print or log change nothing."""
        if isinstance(event, TaskStateChanged):
            self._change(event)
        elif isinstance(event, TaskProgress):
            self._report(event)
        elif isinstance(event, WorkersStarting):
            self.starting_workers, self.starting_seconds = event.number, event.seconds
        elif isinstance(event, PlanGrew):
            self.plan = event.plan
            self._tally = None
        elif isinstance(event, BuildStarted):
            self._begin(event)
        elif isinstance(event, BuildFinished):
            self.ended = event.time
            self.states.update(event.states)
            if event.notes and self.plan is not None:
                self.plan = replace(self.plan, notes=(*self.plan.notes, *event.notes))
            self.waits = {}
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
        names = tuple(name for _, name in running)
        waits = tuple(self.waits.copy().values())
        return BuildProgress(sum(part.values()), tally.ended, names, part, waits, tally.conditional)

    def plan_now(self) -> Plan | None:
        """The plan with the states of now, and who has the tasks that wait; None before the build has started."""
        return None if self.plan is None else self.plan.with_states(self.states.copy(), self.waits.copy())

    def _begin(self, event: BuildStarted) -> None:
        """Start over: a search has one build after the other."""
        self.plan, self.started, self.ended = event.plan, event.time, None
        self.starting_workers = 0
        self.states, self.activities, self.waits = {}, {}, {}
        self._tally = None

    def _counted(self) -> _Tally:
        tally = self._tally or _Tally(self.plan, self.states.copy())
        self._tally = tally if self._keep_counts else None
        return tally

    def _change(self, event: TaskStateChanged) -> None:
        if self._tally is not None:
            self._tally.move(event.key, self.states.get(event.key), event.state)
        self.states[event.key] = event.state
        if self.waits or event.state is TaskState.WAITING:
            self._note_wait(event)
        if event.state is TaskState.RUNNING:
            self.activities[event.key] = TaskActivity(event.time)
            return
        activity = self.activities.get(event.key)
        if activity is not None and event.state.is_final:
            activity.seconds = event.time - activity.started
        if event.error:
            self.activities.setdefault(event.key, TaskActivity(event.time)).error = event.error

    def _note_wait(self, event: TaskStateChanged) -> None:
        if event.state is not TaskState.WAITING:
            self.waits.pop(event.key, None)
            return
        self.activities.pop(event.key, None)  # the run that has found that out was none
        known = self.waits.get(event.key)
        if known is None or known.holder != event.holder:
            self.waits[event.key] = Wait(event.holder, event.time)

    def _report(self, event: TaskProgress) -> None:
        activity = self.activities.get(event.key)
        if activity is None:
            return
        if event.percentage is not None:
            activity.percentage = event.percentage
        if event.message is not None:
            activity.message = event.message


_UNDECIDED = (TaskState.STALE, TaskState.MISSING)


def _takes_part(node: Node, state: TaskState | None) -> bool:
    """Whether a build runs a task, or has taken it up; `state` is the one that the build has reported."""
    return node.will_run or state in IN_BUILD


def _has_ended(state: TaskState | None) -> bool:
    """Whether a task that takes part is over: it has run, or has turned out to be cached, or not to be needed."""
    return state in ENDED or state in (TaskState.CACHED, TaskState.NOT_NEEDED)


class _Tally:
    """How many tasks are in each state: of all (`every`), and of those that the build runs (`part`)."""

    def __init__(self, plan: Plan | None, states: Mapping[str, TaskState]) -> None:
        self._plan = plan
        self.every: Counter[TaskState] = Counter()
        self.part: Counter[TaskState] = Counter()
        self.ended = 0
        self.conditional = 0
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
        if node.is_conditional and state in _UNDECIDED:
            self.conditional += number
        if _has_ended(known):
            self.ended += number
        elif state is TaskState.RUNNING and number > 0:
            self.running[position] = node.name
