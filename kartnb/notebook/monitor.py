"""How a running build is doing, collected from its events for everything that shows it: status line, bar, live graph.

Events arrive on the thread of the build, at any rate; what draws asks from its own thread, a few times a second, and
gets the state of now and what has changed since it last asked. So a slow view never holds up a build.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict, deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from kartnb.model import (
    BuildStarted,
    BuildStatus,
    Event,
    LogLine,
    Plan,
    TaskActivity,
    TaskOutput,
    TaskProgress,
    TaskStateChanged,
    Wait,
)
from kartnb.planning.estimate import estimate
from kartnb.view.live import Progress, progress, starting_words
from kartnb.view.sanitise import one_line
from kartnb.view.scene import progress_facts, states_text

Phase = Literal['plan', 'running', 'stopping', 'done', 'failed', 'stopped']

#: How many of the last lines of a task are kept, and of how many tasks: those that wrote last.
MAX_LINES = 50
MAX_TASKS_WITH_LINES = 60
_MAX_TEXT = 300
#: How many lines wait to be drawn; in a flood the older ones are not drawn.
_MAX_WAITING = 200


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a task, numbered through the build; `time` is in seconds since the build started."""

    number: int
    key: str
    time: float
    level: int
    source: str
    text: str

    def as_data(self, position: int) -> dict[str, Any]:
        """The line as plain data, its text safe to show."""
        values = {'number': self.number, 'task': position, 'time': round(self.time, 2), 'level': self.level}
        return values | {'source': self.source, 'text': one_line(self.text, _MAX_TEXT)}


class BuildMonitor:
    """A listener that keeps the status of a build and what has changed. Any thread may ask."""

    def __init__(self, workers: int = 1) -> None:
        self._workers = workers
        self._expected: dict[str, float] = {}
        self._lock = threading.Lock()
        self._status = BuildStatus(keep_counts=True)
        self._states = ''
        self._changed: set[str] = set()
        self._lines: OrderedDict[str, deque[Line]] = OrderedDict()
        self._waiting: deque[Line] = deque(maxlen=_MAX_WAITING)
        self._number = 0

    def __call__(self, event: Event) -> None:
        """Take in an event."""
        with self._lock:
            self._status.apply(event)
            # lines and progress, by far the most events, change no state: the text of all states is kept through them
            if not isinstance(event, LogLine | TaskOutput | TaskProgress):
                self._states = ''
            if isinstance(event, TaskStateChanged | TaskProgress):
                self._changed.add(event.key)
            elif isinstance(event, LogLine | TaskOutput):
                self._add_lines(event)
            elif isinstance(event, BuildStarted):
                self._reset()

    @property
    def plan(self) -> Plan | None:
        """The plan, with the tasks that running tasks have asked for; None before a build has started."""
        return self._status.plan

    @property
    def starting(self) -> str:
        """What is said of the worker processes that are starting; '' for none."""
        return starting_words(self._status.starting_workers, self._status.starting_seconds)

    @property
    def elapsed(self) -> float:
        """Seconds since the build started, until it ended."""
        return self._status.elapsed(time.time())

    def states(self) -> str:
        """The state of every task, one letter each."""
        with self._lock:
            if not self._states and self._status.plan is not None:
                self._states = states_text(self._status)
            return self._states

    def header(self, phase: Phase) -> dict[str, Any]:
        """The progress of the build in words and numbers, as plain data for the front end."""
        with self._lock:
            return progress_facts(self._status, phase)

    def changes(self) -> dict[str, Any]:
        """What has changed since the last call: runs of tasks by position, and new lines."""
        with self._lock:
            changed, self._changed = self._changed, set()
            waiting, self._waiting = self._waiting, deque(maxlen=_MAX_WAITING)
            return self._as_data(changed, waiting)

    def record(self) -> dict[str, Any]:
        """All runs by position, and the lines that are kept."""
        with self._lock:
            lines = sorted((line for kept in self._lines.values() for line in kept), key=lambda line: line.number)
            return self._as_data({**self._status.activities, **self._status.waits}, lines)

    def tail(self, key: str) -> list[str]:
        """The last lines of a task, unchanged."""
        with self._lock:
            return [line.text for line in self._lines.get(key, ())]

    def progress(self) -> Progress:
        """The progress of the build, with an estimate of the time left."""
        with self._lock:
            return progress(self._status, time.time(), self._expected, self._workers)

    def load_estimates(self) -> None:
        """Read from records how long the tasks probably take; slow where there are many."""
        plan = self.plan
        if plan is not None:
            # without the lock, so that no event waits for it
            self._expected = estimate(plan).by_key

    def plan_now(self) -> Plan | None:
        """The plan with the present states; None before a build has started."""
        with self._lock:
            return self._status.plan_now()

    def _as_data(self, keys: Iterable[str], lines: Iterable[Line]) -> dict[str, Any]:
        plan, status = self._status.plan, self._status
        if plan is None:
            return {'runs': {}, 'lines': []}
        found = ((plan.position(key), status.activities.get(key), status.waits.get(key)) for key in keys)
        return {
            'runs': {
                place: _run_data(activity, wait, status.started)
                for place, activity, wait in found
                if place is not None and (activity is not None or wait is not None)
            },
            'lines': [line.as_data(plan.position(line.key) or 0) for line in lines],
        }

    def _reset(self) -> None:
        self._changed.clear()
        self._lines.clear()
        self._waiting.clear()
        self._number = 0

    def _add_lines(self, event: LogLine | TaskOutput) -> None:
        plan = self._status.plan
        if plan is None or event.key not in plan:
            return
        # taken out and put in again: the tasks that wrote last stand at the end
        kept = self._lines.pop(event.key, None)
        self._lines[event.key] = kept = deque(maxlen=MAX_LINES) if kept is None else kept
        if len(self._lines) > MAX_TASKS_WITH_LINES:
            self._lines.popitem(last=False)
        for line in self._lines_of(event):
            kept.append(line)
            self._waiting.append(line)

    def _lines_of(self, event: LogLine | TaskOutput) -> Iterator[Line]:
        moment = event.time - self._status.started
        level, source = (event.level, 'log') if isinstance(event, LogLine) else (0, event.stream)
        for text in event.text.split('\n')[-MAX_LINES:]:
            self._number += 1
            # cut here already: a task may print megabytes in one line
            yield Line(self._number, event.key, moment, level, source, text[: 4 * _MAX_TEXT])


def _run_data(activity: TaskActivity | None, wait: Wait | None, started: float) -> dict[str, Any]:
    """What a task did, and for whom it waits, its times in seconds since the build started."""
    found: dict[str, Any] = {'seconds': None}
    if activity is not None:
        found = {
            'start': round(activity.started - started, 3),
            'seconds': None if activity.seconds is None else round(activity.seconds, 3),
            'percent': activity.percentage,
            'message': one_line(activity.message, _MAX_TEXT),
            'error': one_line(activity.error, _MAX_TEXT),
        }
    if wait is not None:
        found |= {'waits': one_line(str(wait), _MAX_TEXT), 'since': round(wait.since - started, 3)}
    return found
