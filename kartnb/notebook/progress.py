"""Showing a build while it runs: a listener takes in the events, one small thread draws them now and then."""

from __future__ import annotations

import threading
import time
from typing import Any

from IPython.core.interactiveshell import InteractiveShell

from kartnb.events import BuildFinished, BuildStarted, Event, PlanGrew, TaskState, TaskStateChanged
from kartnb.execution.plan import Plan
from kartnb.notebook.screen import Screen, StatusLine
from kartnb.view.progress import Progress, progress, progress_html, progress_text

#: Seconds between two drawings.
INTERVAL = 0.25


class BuildScreen:
    """A listener that shows how far a build is, and in the end what became of it, in one output.

    Use it as a context manager around the build: on leaving, the thread has ended and the last state is shown.

    Parameters
    ----------
    shell
        The shell whose cell is running.
    behind_the_cell
        Whether the build goes on when the cell has ended: a terminal then shows nothing but the end, since the next
        line is typed meanwhile.
    """

    def __init__(self, shell: InteractiveShell, behind_the_cell: bool = False) -> None:
        self._screen = Screen(shell)
        self._line: StatusLine | None = None if behind_the_cell else StatusLine()
        self._lock = threading.Lock()
        self._plan: Plan | None = None
        self._states: dict[str, TaskState] = {}
        self._started: dict[str, float] = {}
        self._durations: dict[str, float] = {}
        self._drawn = ''
        self._over = threading.Event()
        self._thread: threading.Thread | None = None
        self._result: Any = None

    def __call__(self, event: Event) -> None:
        """Take in an event."""
        with self._lock:
            self._take(event)
        if isinstance(event, BuildStarted):
            self._start()

    def __enter__(self) -> BuildScreen:
        return self

    def __exit__(self, *exception: object) -> None:
        self._over.set()
        if self._thread is not None:
            self._thread.join()
        if self._line is not None:
            self._line.close()
        shown = self._result if self._result is not None else self._last_plan()
        if shown is not None:
            self._screen.show_object(shown)

    def close_with(self, result: Any) -> None:
        """Show `result`, or the last states where there is none, and end."""
        self._result = result
        self.__exit__()

    def end_with(self, result: Any) -> None:
        """Show `result` in the end, in the place of the plan with its last states."""
        self._result = result

    def _take(self, event: Event) -> None:
        if isinstance(event, BuildStarted):
            self._plan, self._states, self._started, self._durations = event.plan, {}, {}, {}
        elif isinstance(event, PlanGrew):
            self._plan = event.plan
        elif isinstance(event, TaskStateChanged):
            self._change(event)
        elif isinstance(event, BuildFinished):
            self._states = dict(event.states)

    def _change(self, event: TaskStateChanged) -> None:
        self._states[event.key] = event.state
        if event.state is TaskState.RUNNING:
            self._started[event.key] = event.time
        elif event.key in self._started and event.state.is_final:
            self._durations[event.key] = event.time - self._started[event.key]

    def _start(self) -> None:
        self._draw()
        if self._thread is None:
            self._thread = threading.Thread(target=self._draw_often, name='kartnb progress', daemon=True)
            self._thread.start()

    def _draw_often(self) -> None:
        while not self._over.wait(INTERVAL):
            self._draw()

    def _draw(self) -> None:
        state = self._progress()
        text = progress_text(state)
        if text == self._drawn:
            return
        self._drawn = text
        if self._screen.is_rich:
            self._screen.show(text, progress_html(state))
        elif self._line is not None:
            self._line.write(text)

    def _progress(self) -> Progress:
        with self._lock:
            plan, states = self._plan, dict(self._states)
            started, durations = dict(self._started), dict(self._durations)
        assert plan is not None
        return progress(plan, states, started, time.time(), durations)

    def _last_plan(self) -> Plan | None:
        return None if self._plan is None else self._plan.with_states(self._states)
