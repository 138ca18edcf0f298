"""What is known of a build while it runs, gathered from its events for whoever draws it."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict, deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from kartnb.events import (
    BuildFinished,
    BuildStarted,
    Event,
    LogLine,
    PlanGrew,
    TaskOutput,
    TaskProgress,
    TaskState,
    TaskStateChanged,
    WorkersStarting,
)
from kartnb.execution.planning.estimate import estimate
from kartnb.execution.planning.plan import Plan
from kartnb.view.clean import one_line
from kartnb.view.progress import Progress, progress
from kartnb.view.states import LETTERS

#: How many of the last lines of a task are kept, and of how many tasks.
MAX_LINES = 50
MAX_TALKERS = 60
_MAX_TEXT = 300
#: How many lines wait for being drawn; in a flood the older ones are not drawn.
_MAX_WAITING = 200


@dataclass(slots=True)
class Run:
    """One task of a build: when it began, in seconds since the build did, how long it took, and what it tells."""

    start: float
    seconds: float | None = None
    percent: float | None = None
    message: str = ''
    error: str = ''

    def told(self) -> dict[str, Any]:
        """What is not empty of it."""
        values = {'start': round(self.start, 3), 'seconds': self.seconds, 'percent': self.percent}
        return values | {'message': one_line(self.message, _MAX_TEXT), 'error': one_line(self.error, _MAX_TEXT)}


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a task, numbered through the build."""

    number: int
    key: str
    time: float
    level: int
    source: str
    text: str

    def told(self, position: int) -> dict[str, Any]:
        """It as plain data, its text fit to be shown."""
        values = {'number': self.number, 'task': position, 'time': round(self.time, 2), 'level': self.level}
        return values | {'source': self.source, 'text': one_line(self.text, _MAX_TEXT)}


class BuildWatch:
    """A listener that remembers how a build stands. Events come from the build's thread; any thread may ask.

    Parameters
    ----------
    workers
        How many tasks run at a time.

    Attributes
    ----------
    starting
        How many worker processes are being started.
    """

    def __init__(self, workers: int = 1) -> None:
        self._workers = workers
        self._expected: dict[str, float] = {}
        self._lock = threading.Lock()
        self.plan: Plan | None = None
        self.generation = 0
        self._ended: float | None = None
        self._touched: set[str] = set()
        self._waiting: deque[Line] = deque(maxlen=_MAX_WAITING)
        self._begin(None, time.time())

    def __call__(self, event: Event) -> None:
        """Take in an event."""
        with self._lock:
            if isinstance(event, TaskStateChanged):
                self._change(event)
            elif isinstance(event, LogLine | TaskOutput):
                self._hear(event)
            elif isinstance(event, TaskProgress):
                self._advance(event)
            elif isinstance(event, BuildStarted):
                self._begin(event.plan, event.time)
            elif isinstance(event, PlanGrew):
                self._set_plan(event.plan)
            elif isinstance(event, WorkersStarting):
                self.starting = event.number
            elif isinstance(event, BuildFinished):
                self._finish(event)

    @property
    def finished(self) -> bool:
        """Whether the build has ended."""
        return self._ended is not None

    @property
    def elapsed(self) -> float:
        """Seconds since the build began, until it ended."""
        return max((time.time() if self._ended is None else self._ended) - self._began, 0.0)

    def letters(self) -> str:
        """The state of every task, one letter each."""
        with self._lock:
            return ''.join(self._letters)

    def news(self) -> dict[str, Any]:
        """What the tasks did since this was asked for the last time: runs by position, and lines."""
        with self._lock:
            touched, self._touched = self._touched, set()
            waiting, self._waiting = self._waiting, deque(maxlen=_MAX_WAITING)
            return self._told({key: self._runs[key] for key in touched if key in self._runs}, waiting)

    def record(self) -> dict[str, Any]:
        """All runs by position, and the last lines."""
        with self._lock:
            lines = sorted((line for kept in self._lines.values() for line in kept), key=lambda line: line.number)
            return self._told(self._runs, lines)

    def _told(self, runs: Mapping[str, Run], lines: Iterable[Line]) -> dict[str, Any]:
        positions = self._positions
        return {
            'runs': {positions[key]: run.told() for key, run in runs.items() if key in positions},
            'lines': [line.told(positions[line.key]) for line in lines],
        }

    def tail(self, key: str) -> list[str]:
        """The last lines of a task, as they were."""
        with self._lock:
            return [line.text for line in self._lines.get(key, ())]

    def progress(self) -> Progress:
        """How far the build is."""
        with self._lock:
            plan, states = self.plan, dict(self._states)
            started = {key: self._began + run.start for key, run in self._runs.items()}
            durations = {key: run.seconds for key, run in self._runs.items() if run.seconds is not None}
        assert plan is not None
        now, starting = time.time(), self.starting
        return progress(plan, states, started, now, durations, self._expected, self._workers, starting)

    def look_up_times(self) -> None:
        """Read from earlier runs how long the tasks will probably take; this takes a while where there are many."""
        plan = self.plan
        if plan is not None:
            self._expected = estimate(plan).by_key

    def last_plan(self) -> Plan | None:
        """The plan with the states of now; None when no build has begun."""
        with self._lock:
            return None if self.plan is None else self.plan.with_states(dict(self._states))

    def _begin(self, plan: Plan | None, began: float) -> None:
        self._began, self._ended = began, None
        self.starting = 0
        self._states: dict[str, TaskState] = {}
        self._runs: dict[str, Run] = {}
        self._touched = set()
        self._lines: OrderedDict[str, deque[Line]] = OrderedDict()
        self._waiting = deque(maxlen=_MAX_WAITING)
        self._number = 0
        self._positions: dict[str, int] = {}
        self._letters: list[str] = []
        if plan is not None:
            self._set_plan(plan)

    def _set_plan(self, plan: Plan) -> None:
        self.plan = plan
        self.generation += 1
        self._positions = {node.key: i for i, node in enumerate(plan)}
        self._letters = [LETTERS[self._states.get(node.key, node.state)] for node in plan]

    def _change(self, event: TaskStateChanged) -> None:
        self._set_state(event.key, event.state)
        run = self._runs.get(event.key)
        if event.state is TaskState.RUNNING:
            self._runs[event.key] = Run(event.time - self._began)
        elif run is not None and event.state.is_final:
            run.seconds = round(event.time - self._began - run.start, 3)
        if event.error:
            self._runs.setdefault(event.key, Run(event.time - self._began)).error = event.error
        self._touched.add(event.key)

    def _set_state(self, key: str, state: TaskState) -> None:
        self._states[key] = state
        position = self._positions.get(key)
        if position is not None:
            self._letters[position] = LETTERS[state]

    def _advance(self, event: TaskProgress) -> None:
        run = self._runs.get(event.key)
        if run is None:
            return
        run.percent = event.percentage if event.percentage is not None else run.percent
        run.message = event.message if event.message is not None else run.message
        self._touched.add(event.key)

    def _hear(self, event: LogLine | TaskOutput) -> None:
        if event.key not in self._positions:
            return
        kept = self._lines.pop(event.key, None)
        self._lines[event.key] = kept = deque(maxlen=MAX_LINES) if kept is None else kept
        if len(self._lines) > MAX_TALKERS:
            self._lines.popitem(last=False)
        for line in self._lines_of(event):
            kept.append(line)
            self._waiting.append(line)

    def _lines_of(self, event: LogLine | TaskOutput) -> Iterator[Line]:
        moment = event.time - self._began
        level, source = (event.level, 'log') if isinstance(event, LogLine) else (0, event.stream)
        for text in event.text.split('\n')[-MAX_LINES:]:
            self._number += 1
            yield Line(self._number, event.key, moment, level, source, text[: 4 * _MAX_TEXT])

    def _finish(self, event: BuildFinished) -> None:
        self._ended = event.time
        for key, state in event.states.items():
            self._set_state(key, state)
