"""`kartnb.graph`, and the live picture of a plan: what it pushes to the front end, and how it answers a click.

Importing this needs no widget library: without anywidget a graph is a picture, or text in a terminal.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeGuard

import luigi

from kartnb import display
from kartnb.execution.background import BackgroundBuild
from kartnb.history.log_store import LogStore
from kartnb.model import BuildStatus, Plan
from kartnb.notebook.monitor import BuildMonitor, Phase
from kartnb.planning.estimate import estimate
from kartnb.planning.planner import plan
from kartnb.view.graph_layout import Family, Focus, family_of
from kartnb.view.inspect import Inspector
from kartnb.view.scene import drawn_tasks, looks, progress_facts, scene, states_text, task_facts
from kartnb.view.words import remarks, title

logger = logging.getLogger('kartnb')

#: Seconds between two full records, and between two estimates of the time left.
_RECORD_SECONDS = 2.0
_ESTIMATE_SECONDS = 0.5
#: How long details are read at a time: between two pushes, and in all where nothing is being built.
_READ_SECONDS = 0.005
_READ_ALL_SECONDS = 5.0
#: Details of all tasks together, in characters of JSON; what is beyond is read on a click.
_MAX_DETAILS = 400_000
#: How many graphs stay live; the oldest ones give way to their stored pictures.
_MAX_LIVE = 30

_live_graphs: list[LiveGraph] = []


class Graph(Plan):
    """A plan that draws itself: what `kartnb.graph` gives.

    In a notebook it is live: it can be zoomed and searched, stacks open, a click on a task shows what is known about
    it, and the states of a build in the background change as it runs. In a terminal it is a tree of text.
    """

    _handle: BackgroundBuild | None = None

    def save(self, path: str | Path) -> None:
        """Write the picture, with the present states, to an SVG file."""
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
        A task, a plan, or a build that runs in the background, whose progress the graph then shows.

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
        now = task.plan
        found = Graph(now.nodes, now.workspace, now.sharing, now.notes)
        object.__setattr__(found, '_handle', task)  # a plan is frozen
        return found
    planned = task if isinstance(task, Plan) else plan(task)
    return Graph(planned.nodes, planned.workspace, planned.sharing, planned.notes)


class LiveGraph:
    """A live picture of a plan; `key` names the stored picture that it replaces.

    `monitor` is None where nothing is being built, `stop` where a person has to interrupt the kernel.
    """

    def __init__(
        self,
        plan: Plan,
        key: str,
        monitor: BuildMonitor | None = None,
        stop: Callable[[], object] | None = None,
    ) -> None:
        from kartnb.notebook.widgets import GraphWidget  # anywidget may be missing

        self._plan = plan
        self._monitor = monitor
        self._stop = stop
        self._remarks = remarks(plan)
        self._phase: Phase = 'plan' if monitor is None else 'running'
        self._focus: Focus | None = None
        self._opened: list[Family] = []
        self._lock = threading.RLock()
        self._build_plan = plan if monitor is None else monitor.plan  # a build's plan may be replaced by a larger one
        self._recorded = self._estimated = 0.0
        self._reader = DetailsReader(plan)
        drawn = scene(plan)
        self._drawn = drawn_tasks(drawn)
        self._reader.request(self._drawn)
        self.widget = GraphWidget(
            key=key,
            looks=looks(),
            tasks=json.dumps(task_facts(plan)),
            scene=json.dumps(drawn),
            states=states_text(BuildStatus(plan)) if monitor is None else monitor.states(),
            progress=self._progress(),
            record=json.dumps({} if monitor is None else monitor.record()),
            status=self._status(None),
        )
        self.widget.on_msg(self._on_message)
        _keep(self)

    @property
    def is_over(self) -> bool:
        """Whether nothing changes any more without a click."""
        return self._phase in ('plan', 'done', 'failed', 'stopped')

    def push(self) -> None:
        """Send the front end what has changed."""
        monitor = self._monitor
        if monitor is None or self.is_over:
            return
        # in one message: a larger plan moves positions, so tasks, states and picture must arrive together
        with self._lock, self.widget.hold_sync():
            self._grow(monitor)
            self._push_states(monitor)
            self._push_estimate(monitor)
            changes = monitor.changes()
            ended = (i for i, run in changes['runs'].items() if run['seconds'] is not None)
            self._reader.request(i for i in ended if i in self._drawn)
            changes['details'] = self._reader.read(_READ_SECONDS)
            has_changed = any(changes.values())
            self._push_record(monitor, has_changed)
        if has_changed:
            self.widget.send({'kind': 'changes', **changes})

    def end(self, phase: Phase, told: Iterable[str] = ()) -> None:
        """Show that the build has ended, and how; `told` are sentences on what it has left as it was."""
        if self._monitor is None:
            return
        self._remarks = ' '.join(filter(None, (self._remarks, *told)))
        with self._lock, self.widget.hold_sync():
            self._grow(self._monitor)
            self._phase = phase
            self._push_states(self._monitor)
            self.widget.record = json.dumps(self._monitor.record())
            self._push_phase()
            self._reader.request(self._drawn)
        self.load_details()

    def load_details(self) -> None:
        """Read the details of the drawn tasks in a thread of its own, for at most a few seconds."""
        threading.Thread(target=self._load_details, name='kartnb details', daemon=True).start()

    def close(self) -> None:
        """Give way to the stored picture."""
        self.widget.close()

    def _load_details(self) -> None:
        if self._phase == 'plan':
            self._show_estimate()
        end = time.monotonic() + _READ_ALL_SECONDS
        while not self._reader.is_done and time.monotonic() < end:
            with self._lock:
                self._reader.read(_READ_SECONDS)
            time.sleep(0.001)  # let a click have the lock
        with self._lock:
            self.widget.details = self._reader.as_json()

    def _show_estimate(self) -> None:
        """About how long a build of the plan takes, where that is known of every task."""
        found = estimate(self._plan)
        if found.seconds and not found.unknown:
            with self._lock:
                self.widget.status = self._status(found.seconds)

    def _grow(self, monitor: BuildMonitor) -> None:
        """Take the larger plan where a running task has asked for more tasks; positions change then."""
        if monitor.plan is self._build_plan or monitor.plan is None:
            return
        self._build_plan = self._plan = monitor.plan
        self._focus, self._reader = None, DetailsReader(self._plan)
        self.widget.tasks = json.dumps(task_facts(self._plan))
        self.widget.record = json.dumps(monitor.record())
        self._draw()

    def _push_states(self, monitor: BuildMonitor) -> None:
        states = monitor.states()
        if states != self.widget.states:
            self.widget.states = states
            self.widget.progress = self._progress()

    def _push_phase(self) -> None:
        self.widget.progress = self._progress()
        self.widget.status = self._status(None)

    def _progress(self) -> dict[str, Any]:
        if self._monitor is None:
            return progress_facts(BuildStatus(self._plan), self._phase)
        return self._monitor.header(self._phase)

    def _push_estimate(self, monitor: BuildMonitor) -> None:
        is_due = time.monotonic() - self._estimated > _ESTIMATE_SECONDS
        if is_due or self.widget.status['starting'] != monitor.starting:
            self._estimated = time.monotonic()
            now = monitor.progress()
            self.widget.status = self._status(now.remaining, now.waits)

    def _push_record(self, monitor: BuildMonitor, has_changed: bool) -> None:
        """Bring the traits up to date now and then: a view that opens late knows them only, not the messages."""
        if has_changed and time.monotonic() - self._recorded > _RECORD_SECONDS:
            self._recorded = time.monotonic()
            self.widget.record = json.dumps(monitor.record())
            self.widget.details = self._reader.as_json()

    def _status(self, remaining: float | None, waits: Iterable[str] = ()) -> dict[str, Any]:
        return {
            'phase': self._phase,
            'title': title(self._plan.root),
            'elapsed': 0.0 if self._monitor is None else round(self._monitor.elapsed, 2),
            'remaining': None if remaining is None else round(remaining, 1),
            'starting': '' if self._monitor is None else self._monitor.starting,
            'waits': list(waits),
            'sharing': self._remarks,
            'stop': 'button' if self._stop is not None else 'kernel',
        }

    def _draw(self) -> None:
        drawn = scene(self._present_plan(), self._focus, self._opened)
        self._drawn = drawn_tasks(drawn)
        self._reader.request(self._drawn)
        self.widget.scene = json.dumps(drawn)
        if self._monitor is None or self.is_over:
            self.load_details()

    def _present_plan(self) -> Plan:
        """The plan with the present states, which decide what tasks are most urgent to draw."""
        monitor = self._monitor
        now = monitor.plan_now() if monitor is not None and monitor.plan is self._build_plan else None
        return now or self._plan

    def _on_message(self, _widget: Any, message: Any, _buffers: Any) -> None:
        """Answer a message of the front end; it may arrive on any thread."""
        if not isinstance(message, dict):
            return
        try:
            answer = self._act(message)
        except Exception as error:
            logger.warning('The live graph could not answer a click', exc_info=True)
            answer = {'kind': 'answer', 'note': f'This failed: {type(error).__name__}.'}
        self.widget.send({**answer, 'view': message.get('view'), 'number': message.get('number')})

    def _act(self, message: dict[str, Any]) -> dict[str, Any]:
        kind, position = message.get('kind'), message.get('position')
        answer: dict[str, Any] = {'kind': 'answer'}
        if kind == 'load' and self._is_position(position):
            # without the lock: a large result takes long to load, and pushes must not wait for it
            return {'kind': 'result', 'position': position, 'html': self._result_html(position)}
        with self._lock:
            if kind == 'stop':
                self._stop_build()
            elif kind == 'whole':
                self._focus = None
                self._draw()
            elif kind == 'inspect' and self._is_position(position):
                answer = {'kind': 'details', 'details': {position: self._reader.details(position)}}
            elif kind in ('expand', 'collapse', 'focus') and self._is_position(position):
                self._change_view(kind, position, message.get('direction', 'both'))
        return answer

    def _is_position(self, position: Any) -> TypeGuard[int]:
        return isinstance(position, int) and 0 <= position < len(self._plan)

    def _result_html(self, position: int) -> str:
        """The result of a task, loaded because somebody asked for it."""
        from kartnb.view.previews.show import preview_html, preview_result

        return preview_html(preview_result(self._plan.nodes[position].task))

    def _change_view(self, kind: str, position: int, direction: Any) -> None:
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
    _live_graphs.append(live)
    old = [other for other in _live_graphs if other.is_over][: max(len(_live_graphs) - _MAX_LIVE, 0)]
    for other in old:
        _live_graphs.remove(other)
        other.close()


class DetailsReader:
    """Reads records and logs of tasks of one plan from disk, a little at a time."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._inspector = Inspector(plan)
        self._requested: dict[int, None] = {}
        self._read: dict[int, str] = {}

    def request(self, positions: Iterable[int]) -> None:
        """Have the details of these tasks read."""
        self._requested.update(dict.fromkeys(positions))

    @property
    def is_done(self) -> bool:
        """Whether everything requested has been read."""
        return not self._requested

    def details(self, position: int) -> dict[str, Any]:
        """The details of one task, read now."""
        found = dict(self._inspector.details(self._plan.nodes[position].key))
        self._keep(position, json.dumps(found))
        return found

    def read(self, seconds: float) -> dict[int, Any]:
        """Read for about this long; gives the new details by position."""
        end = time.monotonic() + seconds
        store = LogStore()
        found: dict[int, Any] = {}
        while self._requested and time.monotonic() < end:
            position = next(iter(self._requested))
            del self._requested[position]
            details = dict(self._inspector.details(self._plan.nodes[position].key, store))
            if self._keep(position, json.dumps(details)):
                found[position] = details
        return found

    def as_json(self) -> str:
        """All that has been read, by position."""
        return '{' + ','.join(f'"{position}":{text}' for position, text in self._read.items()) + '}'

    def _keep(self, position: int, text: str) -> bool:
        others = sum(len(other) for i, other in self._read.items() if i != position)
        if others + len(text) > _MAX_DETAILS:
            return False
        self._read[position] = text
        return True
