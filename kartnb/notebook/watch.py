"""How a build stands while it runs, and the last lines of its tasks, for whoever draws it."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict, deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from kartnb.build_status import BuildStatus, TaskActivity
from kartnb.events import BuildStarted, Event, LogLine, TaskOutput, TaskProgress, TaskStateChanged
from kartnb.execution.planning.plan import Plan
from kartnb.planning.estimate import estimate
from kartnb.view.clean import one_line
from kartnb.view.progress import Progress, progress
from kartnb.view.scene import states_text, told_progress

#: How many of the last lines of a task are kept, and of how many tasks.
MAX_LINES = 50
MAX_TALKERS = 60
_MAX_TEXT = 300
#: How many lines wait for being drawn; in a flood the older ones are not drawn.
_MAX_WAITING = 200


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
    """A listener that keeps how a build stands and what is new. Events come from its thread; any thread may ask.

    Parameters
    ----------
    workers
        How many tasks run at a time.
    """

    def __init__(self, workers: int = 1) -> None:
        self._workers = workers
        self._expected: dict[str, float] = {}
        self._lock = threading.Lock()
        self._status = BuildStatus(keep_counts=True)
        self._letters = ''
        self._touched: set[str] = set()
        self._lines: OrderedDict[str, deque[Line]] = OrderedDict()
        self._waiting: deque[Line] = deque(maxlen=_MAX_WAITING)
        self._number = 0

    def __call__(self, event: Event) -> None:
        """Take in an event."""
        with self._lock:
            self._status.apply(event)
            if not isinstance(event, LogLine | TaskOutput | TaskProgress):
                self._letters = ''
            if isinstance(event, TaskStateChanged | TaskProgress):
                self._touched.add(event.key)
            elif isinstance(event, LogLine | TaskOutput):
                self._hear(event)
            elif isinstance(event, BuildStarted):
                self._begin()

    @property
    def plan(self) -> Plan | None:
        """The plan, with what running tasks have asked for; None when no build has begun."""
        return self._status.plan

    @property
    def starting(self) -> int:
        """How many worker processes are being started."""
        return self._status.starting_workers

    @property
    def elapsed(self) -> float:
        """Seconds since the build began, until it ended."""
        return self._status.elapsed(time.time())

    def letters(self) -> str:
        """The state of every task, one letter each."""
        with self._lock:
            if not self._letters and self._status.plan is not None:
                self._letters = states_text(self._status)
            return self._letters

    def told_progress(self, phase: str) -> dict[str, Any]:
        """How far the build is, as plain data for the front end."""
        with self._lock:
            return told_progress(self._status, phase)

    def news(self) -> dict[str, Any]:
        """What the tasks did since this was asked for the last time: runs by position, and lines."""
        with self._lock:
            touched, self._touched = self._touched, set()
            waiting, self._waiting = self._waiting, deque(maxlen=_MAX_WAITING)
            activities = self._status.activities
            return self._told({key: activities[key] for key in touched if key in activities}, waiting)

    def record(self) -> dict[str, Any]:
        """All runs by position, and the last lines."""
        with self._lock:
            lines = sorted((line for kept in self._lines.values() for line in kept), key=lambda line: line.number)
            return self._told(self._status.activities, lines)

    def _told(self, activities: Mapping[str, TaskActivity], lines: Iterable[Line]) -> dict[str, Any]:
        plan, started = self._status.plan, self._status.started
        if plan is None:
            return {'runs': {}, 'lines': []}
        positions = ((plan.position(key), activity) for key, activity in activities.items())
        return {
            'runs': {place: _told_activity(done, started) for place, done in positions if place is not None},
            'lines': [line.told(plan.position(line.key) or 0) for line in lines],
        }

    def tail(self, key: str) -> list[str]:
        """The last lines of a task, as they were."""
        with self._lock:
            return [line.text for line in self._lines.get(key, ())]

    def progress(self) -> Progress:
        """How far the build is."""
        with self._lock:
            return progress(self._status, time.time(), self._expected, self._workers)

    def look_up_times(self) -> None:
        """Read from earlier runs how long the tasks will probably take; this takes a while where there are many."""
        plan = self.plan
        if plan is not None:
            self._expected = estimate(plan).by_key

    def last_plan(self) -> Plan | None:
        """The plan with the states of now; None when no build has begun."""
        with self._lock:
            return self._status.plan_now()

    def _begin(self) -> None:
        self._touched.clear()
        self._lines.clear()
        self._waiting.clear()
        self._number = 0

    def _hear(self, event: LogLine | TaskOutput) -> None:
        plan = self._status.plan
        if plan is None or event.key not in plan:
            return
        kept = self._lines.pop(event.key, None)
        self._lines[event.key] = kept = deque(maxlen=MAX_LINES) if kept is None else kept
        if len(self._lines) > MAX_TALKERS:
            self._lines.popitem(last=False)
        for line in self._lines_of(event):
            kept.append(line)
            self._waiting.append(line)

    def _lines_of(self, event: LogLine | TaskOutput) -> Iterator[Line]:
        moment = event.time - self._status.started
        level, source = (event.level, 'log') if isinstance(event, LogLine) else (0, event.stream)
        for text in event.text.split('\n')[-MAX_LINES:]:
            self._number += 1
            yield Line(self._number, event.key, moment, level, source, text[: 4 * _MAX_TEXT])


def _told_activity(activity: TaskActivity, started: float) -> dict[str, Any]:
    """What a task did, its times in seconds since the build started."""
    return {
        'start': round(activity.started - started, 3),
        'seconds': None if activity.seconds is None else round(activity.seconds, 3),
        'percent': activity.percentage,
        'message': one_line(activity.message, _MAX_TEXT),
        'error': one_line(activity.error, _MAX_TEXT),
    }
