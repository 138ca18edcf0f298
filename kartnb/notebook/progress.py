"""Showing a build while it runs: a listener takes in the events, one small thread draws them now and then.

A notebook shows two outputs: a stored one (a bar while the build runs, then the picture), and the live graph, which
hides the stored one while it lives. A terminal shows a line that is written over.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Any

from IPython.core.interactiveshell import InteractiveShell

from kartnb.events import BuildStarted, Event, TaskState
from kartnb.execution.planning.plan import Plan
from kartnb.execution.report import BuildReport
from kartnb.notebook.screen import Face, Phase, Screen, StatusLine, can_be_live
from kartnb.notebook.watch import BuildWatch
from kartnb.view import summary
from kartnb.view.progress import progress_html, progress_text
from kartnb.view.tails import failed_tails

logger = logging.getLogger('kartnb')

#: Seconds between two drawings of the stored output or of the line, and between two pushes to the live graph.
INTERVAL = 0.25
LIVE_INTERVAL = 0.05
#: With so many tasks pushes are half as frequent, and so on.
_TASKS_AN_INTERVAL = 4000


class BuildScreen:
    """A listener that shows how far a build is, and in the end what became of it.

    Use it as a context manager around the build: on leaving, the thread has ended and the last state is shown.

    Parameters
    ----------
    shell
        The shell whose cell is running.
    behind_the_cell
        Whether the build goes on when the cell has ended: a terminal then shows nothing but the end, since the next
        line is typed meanwhile.
    stop
        Ends the build; None where a person has to interrupt the kernel.
    workers
        How many tasks run at a time.
    """

    def __init__(
        self,
        shell: InteractiveShell,
        behind_the_cell: bool = False,
        stop: Callable[[], object] | None = None,
        workers: int = 1,
    ) -> None:
        self._screen = Screen(shell)
        self._line: StatusLine | None = None if behind_the_cell else StatusLine()
        self._stop = stop
        self._watch = BuildWatch(workers)
        self._screen.has_live_neighbour = can_be_live(self._screen)
        self._live: Face | None = None
        self._drawn = ''
        self._changes: list[str] = []
        self._over = threading.Event()
        self._thread: threading.Thread | None = None
        self._result: Any = None

    def __call__(self, event: Event) -> None:
        """Take in an event."""
        self._watch(event)
        if isinstance(event, BuildStarted):
            self._start(event.plan)

    def __enter__(self) -> BuildScreen:
        return self

    def __exit__(self, *exception: object) -> None:
        self._over.set()
        if self._thread is not None:
            self._thread.join()
        if self._line is not None:
            self._line.close()
        shown = self._result if self._result is not None else self._watch.last_plan()
        if shown is not None:
            self._screen.show_object(shown, failed_tails(getattr(shown, 'plan', shown), self._watch.tail))
        if self._live is not None:
            self._live.end(phase_of(self._result))

    def close_with(self, result: Any) -> None:
        """Show `result`, or the last states where there is none, and end."""
        self._result = result
        self.__exit__()

    def end_with(self, result: Any) -> None:
        """Show `result` in the end, in the place of the plan with its last states."""
        self._result = result

    @property
    def is_rich(self) -> bool:
        """Whether it shows HTML, and with it what runs because of changes."""
        return self._screen.is_rich

    def _start(self, plan: Plan) -> None:
        self._changes = summary.changes(plan)
        self._draw()
        if self._thread is None:
            if self._screen.has_live_neighbour:
                self._live = live_face(plan, self._screen, self._watch, self._stop)
            self._thread = threading.Thread(target=self._draw_often, name='kartnb progress', daemon=True)
            self._thread.start()

    def _draw_often(self) -> None:
        drawn = time.monotonic()
        self._watch.look_up_times()
        while not self._over.wait(self._interval()):
            if self._live is not None:
                self._live.push()
            if time.monotonic() - drawn >= INTERVAL:
                drawn = time.monotonic()
                self._draw()

    def _interval(self) -> float:
        if self._live is None:
            return INTERVAL
        size = len(self._watch.plan) if self._watch.plan is not None else 0
        return LIVE_INTERVAL * (1 + size // _TASKS_AN_INTERVAL)

    def _draw(self) -> None:
        state = self._watch.progress()
        text = progress_text(state)
        if text == self._drawn:
            return
        self._drawn = text
        if self._screen.is_rich:
            self._screen.show('\n'.join([*self._changes, text]), progress_html(state, self._changes))
        elif self._line is not None:
            self._line.write(text)


def phase_of(report: Any) -> Phase:
    """How a build ended; without a report it was interrupted."""
    if not isinstance(report, BuildReport):
        return 'stopped'
    if any(node.state is TaskState.FAILED for node in report.plan):
        return 'failed'
    return 'done' if report.succeeded else 'stopped'


def live_face(
    plan: Plan, screen: Screen, watch: BuildWatch | None = None, stop: Callable[[], object] | None = None
) -> Face | None:
    """Show a live picture of a plan below the stored one; None where there can be none.

    Parameters
    ----------
    plan
        What is drawn.
    screen
        Where the stored picture is.
    watch
        Knows how the build of the plan stands, or None where nothing is built.
    stop
        Ends the build; None where a person has to interrupt the kernel.
    """
    try:
        from kartnb.notebook.live import LiveGraph

        live = LiveGraph(plan, screen.key, watch, stop)
        screen.show_below(*live.widget.bundle())
        if watch is None:
            live.tell_all()
    except Exception:
        screen.has_live_neighbour = False
        logger.warning('The live graph cannot be shown; the stored one stands for it', exc_info=True)
        return None
    return live
