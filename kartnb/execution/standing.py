"""How a build that goes on stands, for whoever comes to look at it later: states, and the lines of its tasks."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from kartnb.events import (
    BuildFinished,
    BuildStarted,
    Event,
    Listener,
    LogLine,
    PlanGrew,
    TaskOutput,
    TaskState,
    TaskStateChanged,
)
from kartnb.execution.planning.plan import Plan

Heard: TypeAlias = LogLine | TaskOutput

#: Lines that are remembered of a build, and characters of them; files have all lines of tasks that have ended.
MOST_HEARD = 2_000
MOST_CHARACTERS = 1_000_000


@dataclass(frozen=True, slots=True)
class BuildProgress:
    """How far a build is: tasks that it runs, how many of them have ended, and the names of those running."""

    total: int
    ended: int
    running: tuple[str, ...]

    def __str__(self) -> str:
        names = f' · {", ".join(self.running)}' if self.running else ''
        return f'{self.ended}/{self.total}{names}'


class Standing:
    """A listener that remembers how a build stands, and tells it to those who come later."""

    def __init__(self) -> None:
        self._states: dict[str, TaskState] = {}
        self._plan: Plan | None = None
        self._began = time.time()
        self._history: list[TaskStateChanged | BuildFinished] = []
        self._heard: deque[Heard] = deque()
        self._characters = 0
        self._followers: list[Listener] = []
        self._lock = threading.Lock()

    def __call__(self, event: Event) -> None:
        """Take in an event, and give it to those who follow."""
        with self._lock:
            self._take(event)
            for follower in self._followers:
                follower(event)

    def follow(self, listener: Listener, build_id: str, planned: Plan) -> None:
        """Give `listener` what has happened so far, and from now on every event."""
        with self._lock:
            listener(BuildStarted(build_id, self._plan or planned, self._began))
            for event in (*self._heard, *self._history):
                listener(event)
            self._followers.append(listener)

    def join(self, listener: Listener) -> None:
        """Give `listener` every event from now on."""
        with self._lock:
            self._followers.append(listener)

    def leave(self, listener: Listener) -> None:
        """Give `listener` no more events."""
        with self._lock:
            self._followers = [other for other in self._followers if other is not listener]

    def heard(self) -> Sequence[Heard]:
        """What the tasks have printed and logged lately."""
        with self._lock:
            return tuple(self._heard)

    def plan(self, planned: Plan) -> Plan:
        """The plan with the states of now."""
        return (self._plan or planned).with_states(dict(self._states))

    def progress(self, planned: Plan) -> BuildProgress:
        """How far the build is."""
        plan = self.plan(planned)
        to_run = [node for node in plan if node.will_run]
        ended = (TaskState.DONE, TaskState.FAILED, TaskState.BLOCKED, TaskState.INTERRUPTED, TaskState.CACHED)
        running = tuple(node.name for node in to_run if node.state is TaskState.RUNNING)
        return BuildProgress(len(to_run), sum(node.state in ended for node in to_run), running)

    def _take(self, event: Event) -> None:
        if isinstance(event, LogLine | TaskOutput):
            self._hear(event)
        elif isinstance(event, BuildStarted):
            # a search has one build after the other
            self._began, self._plan = event.time, None
            self._states.clear()
            self._history.clear()
        elif isinstance(event, TaskStateChanged):
            self._states[event.key] = event.state
            self._history.append(event)
        elif isinstance(event, PlanGrew):
            self._plan = event.plan
        elif isinstance(event, BuildFinished):
            self._states.update(event.states)
            self._history.append(event)

    def _hear(self, event: Heard) -> None:
        self._heard.append(event)
        self._characters += len(event.text)
        while len(self._heard) > MOST_HEARD or (self._characters > MOST_CHARACTERS and len(self._heard) > 1):
            self._characters -= len(self._heard.popleft().text)
