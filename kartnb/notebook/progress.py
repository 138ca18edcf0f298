"""Builds and sweeps while they run: a listener takes in the events, and one small thread draws them now and then.

A notebook shows two outputs: a stored one (a bar while the build runs, then the picture), and the live graph, which
hides the stored one while it lives. A terminal shows a line that is overwritten.
"""

from __future__ import annotations

import logging
import sys
import threading
import time
import weakref
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import fields, replace
from typing import Any

import luigi
from IPython.core.getipython import get_ipython
from IPython.core.interactiveshell import InteractiveShell

from kartnb import display
from kartnb.config import BuildOptions
from kartnb.errors import DrawingError
from kartnb.execution.background import BackgroundBuild, Handle
from kartnb.execution.build import build_in_background, built, log_printer
from kartnb.execution.report import BuildReport, raise_failures
from kartnb.model import BuildStarted, Event, Listener, Plan, TaskState
from kartnb.notebook.live_graph import LiveGraph
from kartnb.notebook.monitor import BuildMonitor, Phase
from kartnb.notebook.screen import Screen, StatusLine, StopButton, can_be_live
from kartnb.planning.planner import require_task
from kartnb.sweeps.run import SweepRun
from kartnb.sweeps.sweep import BackgroundSweep
from kartnb.task import registry
from kartnb.view import words
from kartnb.view.html import failed_tails
from kartnb.view.live import progress_html, progress_text
from kartnb.view.sweeps import (
    HANDLE_HINT,
    PlotPicture,
    ended_sweep_html,
    live_sweep,
    live_sweep_html,
    live_sweep_text,
    plot_picture,
    sweep_progress,
    sweep_text,
)

logger = logging.getLogger('kartnb')

#: Seconds between two drawings of the stored output or of the status line, and between two pushes to the live graph.
INTERVAL = 0.25
LIVE_INTERVAL = 0.05
#: With so many tasks pushes are half as frequent, with twice as many a third, and so on.
_TASKS_AN_INTERVAL = 4000
#: A sweep may spend this share of the time on drawing; two plots are at least so many seconds apart.
_SHARE = 0.1
_PLOT_SECONDS = 1.5
#: How often, and how long, a build starts again while another process holds a lock that it needs.
_LOCK_TRIES = 10
_LONGEST_WAIT = 600.0

#: The number of the cell that already shows a build or a sweep: as its value, it is one line there.
_shown_in: weakref.WeakKeyDictionary[Handle, int] = weakref.WeakKeyDictionary()


def show(shown: object) -> None:
    """Show an object live. Raises NotImplementedError where it cannot; IPython then takes the object's other forms."""
    shell = sys.modules['IPython'].get_ipython()
    if shell is None:
        raise NotImplementedError
    if isinstance(shown, Handle) and _shown_in.get(shown) == shell.execution_count:
        print(repr(shown))  # noqa: T201 - it is the value of the cell
        return
    if not can_be_live(Screen(shell)):
        raise NotImplementedError
    try:
        show_in = display.renderer_of(type(shown), 'live')
    except LookupError:
        raise NotImplementedError from None
    show_in(shown, shell)


def show_started(handle: BackgroundBuild | BackgroundSweep, shell: InteractiveShell) -> None:
    """Show a build or a sweep in the cell that has started it."""
    if isinstance(handle, BackgroundSweep):
        show_background_sweep(handle, shell)
    else:
        show_background(handle, shell)
    _shown_in[handle] = shell.execution_count


def live_screen(run: object) -> AbstractContextManager[Listener] | None:
    """The screen of a sweep in the running cell; None for anything else."""
    shell = get_ipython()
    return SweepScreen(shell, run) if shell is not None and isinstance(run, SweepRun) else None


def build_and_show(task: luigi.Task, shell: InteractiveShell, options: BuildOptions) -> Any:
    """Build a task, with progress while it runs and a picture at the end.

    Without `options.value_wanted` the result is None. Raises GokartBuildError when a task failed.
    """
    __tracebackhide__ = True
    registry.drop_superseded()
    with BuildScreen(shell, workers=options.at_once) as screen:
        shown = options.heard_first_by(log_printer(options.log_level, not screen.is_rich), screen)
        report, load = built(task, shown, _LOCK_TRIES, _LONGEST_WAIT)
        screen.end_with(_without_failures(report) if report.failures else report)
    raise_failures(report)
    return load()


def build_behind_the_cell(task: luigi.Task, shell: InteractiveShell, options: BuildOptions) -> BackgroundBuild:
    """Start to build a task, and show it in the running cell even after that has ended; gives the handle.

    The parameters are those of `build_and_show`.
    """
    __tracebackhide__ = True
    require_task(task)
    registry.drop_superseded()
    build = build_in_background(task, options)
    show_started(build, shell)
    return build


class FailedBuild(BuildReport):
    """A report without its failures: the error that is raised with it lists them."""

    @property
    def succeeded(self) -> bool:
        """A build that failed."""
        return False


def _without_failures(report: BuildReport) -> FailedBuild:
    bare = replace(report, failures=())
    return FailedBuild(**{field.name: getattr(bare, field.name) for field in fields(bare)})


def show_background(build: BackgroundBuild, shell: InteractiveShell) -> None:
    """Show a build in the background in the running cell, even after that has ended."""
    screen = BuildScreen(shell, behind_the_cell=True, stop=lambda: build.stop(wait=False), workers=build.workers)
    build.follow(screen)  # reports the start on this thread, so that it is shown in this cell
    build.add_done_callback(lambda ended: screen.close_with(ended.report))


def show_plan(plan: Plan, shell: InteractiveShell) -> None:
    """Show a plan, live where that is possible."""
    screen = Screen(shell)
    screen.has_live_neighbour = can_be_live(screen)
    screen.show_object(plan)
    if screen.has_live_neighbour:
        _show_live_graph(plan, screen)


def _show_live_graph(
    plan: Plan, screen: Screen, monitor: BuildMonitor | None = None, stop: Callable[[], object] | None = None
) -> LiveGraph | None:
    """Show a live picture of a plan below the stored one on `screen`; None where that fails."""
    try:
        live = LiveGraph(plan, screen.key, monitor, stop)
    except DrawingError:  # a warning has said why
        screen.has_live_neighbour = False
        return None
    except Exception:
        screen.has_live_neighbour = False
        logger.warning('The live graph is not available; the stored picture is shown instead', exc_info=True)
        return None
    if not screen.show_below(live.widget):
        return None
    if monitor is None:
        live.load_details()
    return live


class BuildScreen:
    """A listener that shows the progress of a build, and its result at the end.

    Use it as a context manager around the build: on leaving, the thread has ended and the last state is shown. For a
    build `behind_the_cell`, which goes on when the cell has ended, a terminal shows only the end, because the next line
    is typed meanwhile. `stop` is None where a person has to interrupt the kernel.
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
        self._monitor = BuildMonitor(workers)
        self._screen.has_live_neighbour = can_be_live(self._screen)
        self._live: LiveGraph | None = None
        self._drawn = ''
        self._changes: list[str] = []
        self._over = threading.Event()
        self._thread: threading.Thread | None = None
        self._result: Any = None

    def __call__(self, event: Event) -> None:
        """Take in an event."""
        self._monitor(event)
        if isinstance(event, BuildStarted):
            self._start(event.plan)

    def __enter__(self) -> BuildScreen:
        return self

    def __exit__(self, *exception: object) -> None:
        self._over.set()
        if self._thread is not None:
            self._thread.join()
        if self._line is not None:
            self._line.close()  # before anything else is printed in its place
        shown = self._result if self._result is not None else self._monitor.plan_now()
        if shown is not None:
            self._screen.show_object(shown, failed_tails(_plan_of(shown), self._monitor.tail))
        if self._live is not None:
            self._live.end(_phase_of(self._result), [] if shown is None else words.left_alone(_plan_of(shown)))

    def close_with(self, result: Any) -> None:
        """Show `result`, or the last states where it is None, and end."""
        self._result = result
        self.__exit__()

    def end_with(self, result: Any) -> None:
        """Show `result` at the end, instead of the plan with its last states."""
        self._result = result

    @property
    def is_rich(self) -> bool:
        """Whether it shows HTML, which lists what runs because of changes."""
        return self._screen.is_rich

    def _start(self, plan: Plan) -> None:
        self._changes = words.changes(plan) if self.is_rich else []
        self._draw()
        if self._thread is None:
            if self._screen.has_live_neighbour:
                # what has been told already is not told again
                fresh = tuple(note for note in plan.notes if f'{note}.' in self._changes)
                shown = plan if fresh == plan.notes else replace(plan, notes=fresh)
                self._live = _show_live_graph(shown, self._screen, self._monitor, self._stop)
            self._thread = threading.Thread(target=self._draw_often, name='kartnb progress', daemon=True)
            self._thread.start()

    def _draw_often(self) -> None:
        drawn = time.monotonic()
        self._monitor.load_estimates()
        while not self._over.wait(self._interval()):
            if self._live is not None:
                self._live.push()
            if time.monotonic() - drawn >= INTERVAL:
                drawn = time.monotonic()
                self._draw()

    def _interval(self) -> float:
        if self._live is None:
            return INTERVAL
        size = len(self._monitor.plan) if self._monitor.plan is not None else 0
        return LIVE_INTERVAL * (1 + size // _TASKS_AN_INTERVAL)

    def _draw(self) -> None:
        state = self._monitor.progress()
        text = progress_text(state)
        if text == self._drawn:
            return
        self._drawn = text
        if self._screen.is_rich:
            self._screen.show('\n'.join([*self._changes, text]), progress_html(state, self._changes))
        elif self._line is not None:
            self._line.write(text)


def _plan_of(shown: Any) -> Plan:
    plan: Plan = getattr(shown, 'plan', shown)
    return plan


def _phase_of(report: Any) -> Phase:
    """How a build ended; without a report it was interrupted."""
    if not isinstance(report, BuildReport):
        return 'stopped'
    if any(node.state is TaskState.FAILED for node in report.plan):
        return 'failed'
    return 'done' if report.succeeded else 'stopped'


def show_background_sweep(handle: BackgroundSweep, shell: InteractiveShell) -> None:
    """Show a sweep in the background in the running cell, even after that has ended."""
    screen = SweepScreen(shell, handle.sweep_run, stop=lambda: handle.stop(wait=False))
    screen.__enter__()
    handle.add_done_callback(lambda _: screen.__exit__())


class SweepScreen:
    """Shows a sweep in one output of the running cell; a context manager around the sweep.

    `stop` stops a sweep that goes on when the cell has ended; it is None for one that the cell waits for.
    """

    def __init__(self, shell: InteractiveShell, run: SweepRun, stop: Callable[[], object] | None = None) -> None:
        self._run = run
        self._behind_the_cell = stop is not None
        self._screen = Screen(shell)
        self._line = None if self._behind_the_cell else StatusLine()
        self._monitor = BuildMonitor(run.workers)
        self._button: StopButton | None = None
        if stop is not None and not run.is_over and can_be_live(self._screen):
            self._button = StopButton(shell, 'sweep', stop)
        self._plot: PlotPicture | None = None
        self._plotted = (0, 0.0)
        self._drawn = ''
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._draw_often, name='kartnb sweep', daemon=True)

    def __call__(self, event: Event) -> None:
        """Take in an event."""
        self._monitor(event)

    def __enter__(self) -> SweepScreen:
        self._run.follow(self._monitor)
        if self._screen.is_rich:
            self._draw()
        elif not self._behind_the_cell:
            self._screen.show_object(self._run)
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None = None, *exception: object) -> None:
        self._over.set()
        self._thread.join()
        if self._line is not None:
            self._line.close()
        if self._button is not None:
            self._button.close()
        if self._behind_the_cell or (kind is not None and issubclass(kind, KeyboardInterrupt)):
            self._show_all()
        elif self._screen.is_rich or not self._run.ran_nothing:
            self._screen.show_object(self._run)  # the table is the value of the cell

    def _show_all(self) -> None:
        result = self._run.partial()
        hint = HANDLE_HINT if self._behind_the_cell else ''  # an interrupted one gives no value
        html = ''
        if self._screen.is_rich:
            html = ended_sweep_html(result, hint, None if self._run.is_inline else plot_picture(result))
        self._screen.show(sweep_text(result, hint), html)

    def _draw_often(self) -> None:
        self._monitor.load_estimates()
        pause = INTERVAL
        while not self._over.wait(pause):
            began = time.monotonic()
            self._draw()
            pause = max(INTERVAL, (time.monotonic() - began) / _SHARE)

    def _draw(self) -> None:
        progress = sweep_progress(self._run, None if self._monitor.plan is None else self._monitor.progress())
        if not self._screen.is_rich:
            if self._line is not None:
                self._line.write(progress_text(progress))
            return
        live = live_sweep(self._run, progress, '' if self._behind_the_cell else 'to stop: interrupt the kernel')
        self._draw_plot()
        text = live_sweep_text(live)
        if text != self._drawn:
            self._drawn = text
            mark = '' if self._button is None else self._button.mark
            self._screen.show(text, live_sweep_html(live, self._plot) + mark)

    def _draw_plot(self) -> None:
        """Draw the plot again when there are new points; not where the tasks run on this process's main thread."""
        number, when = self._plotted
        measured = sum(bool(point.metrics) for point in self._run.points)
        if self._run.is_inline or measured == number or time.monotonic() < when:
            return
        began = time.monotonic()
        self._plot = plot_picture(self._run.partial()) or self._plot
        took = time.monotonic() - began
        self._plotted = (measured, time.monotonic() + max(_PLOT_SECONDS, took / _SHARE))
