"""One live picture: what it is told while a build goes on, and what it answers."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeGuard

import luigi

from kartnb import display
from kartnb.execution.background import BackgroundBuild
from kartnb.history.log_store import LogStore
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
)
from kartnb.notebook.screen import Phase
from kartnb.notebook.widgets import GraphWidget
from kartnb.planning.estimate import estimate
from kartnb.planning.planner import plan
from kartnb.view.graph_layout import Family, Focus, family_of
from kartnb.view.inspect import Inspector
from kartnb.view.live import Progress, progress, starting_words
from kartnb.view.sanitise import one_line
from kartnb.view.scene import drawn_tasks, looks, scene, states_text, told_progress, told_tasks
from kartnb.view.words import title


class Graph(Plan):
    """A plan that draws itself: what `kartnb.graph` gives.

    In a notebook it is live: it can be zoomed, searched and opened, a click on a task shows what is known of it, and
    the states of a build in the background change before one's eyes. In a terminal it is a tree of text.
    """

    _handle: BackgroundBuild | None = None

    def save(self, path: str | Path) -> None:
        """Write the picture, with the states of now, into an SVG file."""
        shown = self if self._handle is None else self._handle.plan
        Path(path).write_text(display.render(shown, 'svg'), encoding='utf-8')

    def __repr__(self) -> str:
        return super().__repr__() if self._handle is None else display.render(self._handle.plan, 'text')

    def _ipython_display_(self) -> None:
        display.show_live(self if self._handle is None else self._handle)


def graph(task: luigi.Task | Plan | BackgroundBuild) -> Graph:
    """The graph of a task, with a state for every task that it needs; nothing is run.

    Parameters
    ----------
    task
        A task, a plan, or a build that runs in the background, whose graph then shows how it goes on.

    Raises
    ------
    TaskArgumentError
        When it is none of these.

    Examples
    --------
    >>> import kartnb, tempfile
    >>> class Numbers(kartnb.TaskOnKart[list]):
    ...     def run(self):
    ...         self.dump([1, 2, 3])
    >>> print(kartnb.graph(Numbers(workspace_directory=tempfile.mkdtemp())))
    Plan of Numbers[...]: 1 will run
    1 task: ○ 1 missing
    workspace: ...
    ○ missing Numbers[...](workspace_directory=...) · output missing: ...
    """
    if isinstance(task, BackgroundBuild):
        planned = task.plan
    else:
        planned = task if isinstance(task, Plan) else plan(task)
    found = Graph(planned.nodes, planned.workspace)
    if isinstance(task, BackgroundBuild):
        object.__setattr__(found, '_handle', task)
    return found


#: All that is kept ready for clicks, in characters of JSON; what is beyond is read when somebody clicks.
MAX_TOLD = 400_000


class Teller:
    """Reads what is remembered of tasks, a little at a time.

    Parameters
    ----------
    plan
        The plan that the tasks are in.
    """

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._inspector = Inspector(plan)
        self._wanted: dict[int, None] = {}
        self._told: dict[int, str] = {}

    def want(self, positions: Iterable[int]) -> None:
        """Ask for the details of some tasks."""
        self._wanted.update(dict.fromkeys(positions))

    @property
    def is_done(self) -> bool:
        """Whether nothing more is wanted."""
        return not self._wanted

    def details(self, position: int) -> dict[str, Any]:
        """What the files of one task tell now."""
        found = dict(self._inspector.details(self._plan.nodes[position].key))
        self._keep(position, json.dumps(found))
        return found

    def go_on(self, seconds: float) -> dict[int, Any]:
        """Read for at most about so many seconds; gives the new details by position."""
        end = time.monotonic() + seconds
        store = LogStore()
        found: dict[int, Any] = {}
        while self._wanted and time.monotonic() < end:
            position = next(iter(self._wanted))
            del self._wanted[position]
            details = dict(self._inspector.details(self._plan.nodes[position].key, store))
            if self._keep(position, json.dumps(details)):
                found[position] = details
        return found

    def record(self) -> str:
        """All that was read, as JSON."""
        return '{' + ','.join(f'"{position}":{text}' for position, text in self._told.items()) + '}'

    def _keep(self, position: int, text: str) -> bool:
        others = sum(len(other) for i, other in self._told.items() if i != position)
        if others + len(text) > MAX_TOLD:
            return False
        self._told[position] = text
        return True


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


logger = logging.getLogger('kartnb')

Stop = Callable[[], object] | None

#: Seconds between two full records and between two estimates of what is left.
_RECORD_SECONDS = 2.0
_ESTIMATE_SECONDS = 0.5
#: How long files of tasks are read at one go, and in all where nothing is built.
_READ_SECONDS = 0.005
_READ_ALL_SECONDS = 5.0
#: So many pictures live; the oldest ones give way to their stored pictures.
_MOST_ALIVE = 30

_alive: list[LiveGraph] = []


class LiveGraph:
    """A live picture of a plan.

    Parameters
    ----------
    plan
        What is drawn.
    key
        Names the stored picture that it takes the place of.
    watch
        Knows how the build of the plan stands, or None where nothing is built.
    stop
        Ends the build; None where a person has to interrupt the kernel.
    """

    def __init__(self, plan: Plan, key: str, watch: BuildWatch | None = None, stop: Stop = None) -> None:
        self._plan = plan
        self._watch = watch
        self._stop = stop
        self._phase: Phase = 'plan' if watch is None else 'running'
        self._focus: Focus | None = None
        self._opened: list[Family] = []
        self._lock = threading.RLock()
        self._seen = plan if watch is None else watch.plan  # which plan of the build is drawn
        self._recorded = self._estimated = 0.0
        self._teller = Teller(plan)
        drawn = scene(plan)
        self._drawn = drawn_tasks(drawn)
        self._teller.want(self._drawn)
        self.widget = GraphWidget(
            key=key,
            looks=looks(),
            tasks=json.dumps(told_tasks(plan)),
            scene=json.dumps(drawn),
            states=states_text(BuildStatus(plan)) if watch is None else watch.letters(),
            progress=self._progress(),
            record=json.dumps({} if watch is None else watch.record()),
            status=self._status(None),
        )
        self.widget.on_msg(self._answer)
        _keep(self)

    @property
    def is_over(self) -> bool:
        """Whether it will not change any more by itself."""
        return self._phase in ('plan', 'done', 'failed', 'stopped')

    def push(self) -> None:
        """Tell the front end what is new."""
        watch = self._watch
        if watch is None or self.is_over:
            return
        with self._lock, self.widget.hold_sync():
            self._grow(watch)
            self._push_states(watch)
            self._push_estimate(watch)
            news = watch.news()
            self._teller.want(i for i, run in news['runs'].items() if run['seconds'] is not None and i in self._drawn)
            news['details'] = self._teller.go_on(_READ_SECONDS)
            self._push_record(watch, any(news.values()))
        if any(news.values()):
            self.widget.send({'kind': 'news', **news})

    def tell_all(self) -> None:
        """Read what the files of the drawn tasks tell, in a thread of its own, for at most a few seconds."""
        threading.Thread(target=self._tell_all, name='kartnb details', daemon=True).start()

    def _tell_all(self) -> None:
        if self._phase == 'plan':
            self._tell_estimate()
        end = time.monotonic() + _READ_ALL_SECONDS
        while not self._teller.is_done and time.monotonic() < end:
            with self._lock:
                self._teller.go_on(_READ_SECONDS)
            time.sleep(0.001)  # a click is not kept waiting
        with self._lock:
            self.widget.details = self._teller.record()

    def _tell_estimate(self) -> None:
        """About how long a build of the plan would take, where it is known of every task."""
        found = estimate(self._plan)
        if found.seconds and not found.unknown:
            with self._lock:
                self.widget.status = self._status(found.seconds)

    def end(self, phase: Phase) -> None:
        """Tell the front end that the build has ended, and how."""
        if self._watch is None:
            return
        with self._lock, self.widget.hold_sync():
            self._grow(self._watch)
            self._phase = phase
            self._push_states(self._watch)
            self.widget.record = json.dumps(self._watch.record())
            self._push_phase()
            self._teller.want(self._drawn)
        self.tell_all()

    def close(self) -> None:
        """Give the stored picture its place back."""
        self.widget.close()

    def _grow(self, watch: BuildWatch) -> None:
        """Take the plan in again where a running task has asked for more tasks."""
        if watch.plan is self._seen or watch.plan is None:
            return
        self._seen = self._plan = watch.plan
        self._focus, self._teller = None, Teller(self._plan)
        self.widget.tasks = json.dumps(told_tasks(self._plan))
        self.widget.record = json.dumps(watch.record())
        self._draw()

    def _push_states(self, watch: BuildWatch) -> None:
        letters = watch.letters()
        if letters != self.widget.states:
            self.widget.states = letters
            self.widget.progress = self._progress()

    def _push_phase(self) -> None:
        self.widget.progress = self._progress()
        self.widget.status = self._status(None)

    def _progress(self) -> dict[str, Any]:
        if self._watch is None:
            return told_progress(BuildStatus(self._plan), self._phase)
        return self._watch.told_progress(self._phase)

    def _push_estimate(self, watch: BuildWatch) -> None:
        is_due = time.monotonic() - self._estimated > _ESTIMATE_SECONDS
        if is_due or self.widget.status['starting'] != starting_words(watch.starting):
            self._estimated = time.monotonic()
            self.widget.status = self._status(watch.progress().remaining)

    def _push_record(self, watch: BuildWatch, changed: bool) -> None:
        if changed and time.monotonic() - self._recorded > _RECORD_SECONDS:
            self._recorded = time.monotonic()
            self.widget.record = json.dumps(watch.record())
            self.widget.details = self._teller.record()

    def _status(self, remaining: float | None) -> dict[str, Any]:
        return {
            'phase': self._phase,
            'title': title(self._plan.root),
            'elapsed': 0.0 if self._watch is None else round(self._watch.elapsed, 2),
            'remaining': None if remaining is None else round(remaining, 1),
            'starting': '' if self._watch is None else starting_words(self._watch.starting),
            'stop': 'button' if self._stop is not None else 'kernel',
        }

    def _draw(self) -> None:
        drawn = scene(self._plan_of_now(), self._focus, self._opened)
        self._drawn = drawn_tasks(drawn)
        self._teller.want(self._drawn)
        self.widget.scene = json.dumps(drawn)
        if self._watch is None or self.is_over:
            self.tell_all()

    def _plan_of_now(self) -> Plan:
        """The plan with the states of now, by which the most urgent tasks are chosen."""
        watch = self._watch
        now = watch.last_plan() if watch is not None and watch.plan is self._seen else None
        return now or self._plan

    def _answer(self, _widget: Any, message: Any, _buffers: Any) -> None:
        """Answer a message of the front end; it may come on any thread."""
        if not isinstance(message, dict):
            return
        try:
            answer = self._act(message)
        except Exception as error:
            logger.warning('The live graph could not do what was asked for', exc_info=True)
            answer = {'kind': 'answer', 'note': f'That did not work: {type(error).__name__}.'}
        self.widget.send({**answer, 'view': message.get('view'), 'number': message.get('number')})

    def _act(self, message: dict[str, Any]) -> dict[str, Any]:
        kind, position = message.get('kind'), message.get('position')
        answer: dict[str, Any] = {'kind': 'answer'}
        if kind == 'load' and self._is_position(position):
            return {'kind': 'result', 'position': position, 'html': self._result_html(position)}
        with self._lock:
            if kind == 'stop':
                self._stop_build()
            elif kind == 'whole':
                self._focus = None
                self._draw()
            elif kind == 'inspect' and self._is_position(position):
                answer = {'kind': 'details', 'details': {position: self._teller.details(position)}}
            elif kind in ('expand', 'collapse', 'focus') and self._is_position(position):
                self._look(kind, position, message.get('direction', 'both'))
        return answer

    def _is_position(self, position: Any) -> TypeGuard[int]:
        return isinstance(position, int) and 0 <= position < len(self._plan)

    def _result_html(self, position: int) -> str:
        """The result of a task, loaded because somebody asked for it."""
        from kartnb.view.previews.show import preview_html, preview_result

        return preview_html(preview_result(self._plan.nodes[position].task))

    def _look(self, kind: str, position: int, direction: Any) -> None:
        family = family_of(self._plan.nodes[position])
        if kind == 'focus':
            self._focus = Focus(position, direction if direction in ('upstream', 'downstream') else 'both')
        else:
            self._opened = [other for other in self._opened if other != family] + [family] * (kind == 'expand')
        self._draw()

    def _stop_build(self) -> None:
        if self._stop is not None and self._phase == 'running':
            self._phase = 'stopping'
            self._push_phase()
            self._stop()


def _keep(live: LiveGraph) -> None:
    _alive.append(live)
    old = [other for other in _alive if other.is_over][: max(len(_alive) - _MOST_ALIVE, 0)]
    for other in old:
        _alive.remove(other)
        other.close()
