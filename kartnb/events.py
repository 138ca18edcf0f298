"""The vocabulary of a build: task states, the reasons why a task will run, and the stream of events.

An executor emits events; the text progress, the graph, the log pane and the run record are listeners. A listener is any
callable that takes one event. Events are cheap enough to be always on, so a listener that is slow must coalesce them
itself.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from kartnb.execution.planning.plan import Plan


class TaskState(StrEnum):
    """Where a task stands, in a plan (the first five) or in a build (the rest)."""

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
    INCOMPLETE = 'complete() says no'
    RERUN = 'rerun asked for'
    UPSTREAM_RUNS = 'an upstream task will run'
    INPUT_NEWER = 'an input is newer'
    CODE_CHANGED = 'code changed'
    NEWER_RESULT = 'made from an older upstream result'
    UNFINISHED = 'a run that replaces the result has not ended'


@dataclass(frozen=True, slots=True)
class Reason:
    """Why one task will run: the kind, and the detail that a person needs (a path, a task's name), or ''."""

    kind: ReasonKind
    detail: str = ''

    def __str__(self) -> str:
        return f'{self.kind.value}: {self.detail}' if self.detail else self.kind.value


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

    A task that failed and is tried again is queued, with the error.
    """

    build_id: str
    key: str
    state: TaskState
    error: str = ''
    time: float = field(default_factory=time.time)


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
    """One logged line. ``key`` is the node's key, or '' where the line belongs to no task.

    ``already_shown`` tells that a handler of the user's has written it to a stream.
    """

    build_id: str
    key: str
    level: int
    logger: str
    text: str
    already_shown: bool = False
    time: float = field(default_factory=time.time)


@dataclass(frozen=True, slots=True)
class TaskOutput:
    """Lines that a task has printed.

    ``text`` is one line or several, without the last line break; ``stream`` is 'stdout' or 'stderr'. ``key`` is the
    node's key, or '' where it cannot be told which task has printed them. A line that is written over again and again,
    such as a progress bar, comes once, in its last state; meanwhile it gives `TaskProgress`. Of a flood (over a million
    characters in one task) only the newest lines come, ten times a second.
    """

    build_id: str
    key: str
    stream: str
    text: str
    time: float = field(default_factory=time.time)


@dataclass(frozen=True, slots=True)
class WorkersStarting:
    """``number`` worker processes are being started for tasks that are ready; 0 as soon as all of them are there."""

    build_id: str
    number: int
    time: float = field(default_factory=time.time)


@dataclass(frozen=True, slots=True)
class BuildFinished:
    """A build ends. ``states`` gives the final state of each node by its key."""

    build_id: str
    states: Mapping[str, TaskState]
    time: float = field(default_factory=time.time)


#: What a task tells of itself while it runs.
TaskEvent: TypeAlias = TaskProgress | LogLine | TaskOutput
Event: TypeAlias = BuildStarted | PlanGrew | TaskStateChanged | TaskEvent | WorkersStarting | BuildFinished
Listener: TypeAlias = Callable[[Event], None]
