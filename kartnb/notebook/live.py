"""One live picture: what it is told while a build goes on, and what it answers."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable
from typing import Any, TypeGuard

from kartnb.build_status import BuildStatus
from kartnb.execution.planning.plan import Plan
from kartnb.notebook.screen import Phase
from kartnb.notebook.telling import Teller
from kartnb.notebook.watch import BuildWatch
from kartnb.notebook.widget import GraphWidget
from kartnb.planning.estimate import estimate
from kartnb.view.families import Family, family_of
from kartnb.view.focus import Focus
from kartnb.view.progress import starting_words
from kartnb.view.scene import drawn_tasks, looks, scene, states_text, told_progress, told_tasks
from kartnb.view.summary import title

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
