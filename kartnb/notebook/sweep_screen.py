"""Showing a sweep: how far it is while it runs, the best points so far, and in the end what has become of it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

from IPython.core.getipython import get_ipython
from IPython.core.interactiveshell import InteractiveShell

from kartnb.events import Event, Listener
from kartnb.execution.sweeps.background import BackgroundSweep
from kartnb.execution.sweeps.running import SweepRun
from kartnb.notebook.progress import INTERVAL
from kartnb.notebook.screen import Screen, StatusLine, can_be_live
from kartnb.notebook.stop_button import StopButton
from kartnb.notebook.watch import BuildWatch
from kartnb.view.progress import progress_text
from kartnb.view.sweeps.live import (
    LiveSweep,
    PlotPicture,
    ended_sweep_html,
    ended_sweep_text,
    live_sweep,
    live_sweep_html,
    live_sweep_text,
    plot_picture,
    sweep_progress,
)
from kartnb.view.sweeps.told import HANDLE_HINT

#: A drawing may take this share of the time; a plot at least so many seconds after the one before.
_SHARE = 0.1
_PLOT_SECONDS = 1.5


class SweepScreen:
    """Shows a sweep in one output of the cell that runs now; a context manager around the sweep.

    Parameters
    ----------
    shell
        The shell whose cell is running.
    run
        The sweep.
    stop
        Ends a sweep that goes on when the cell has ended; None for one that the cell waits for.
    """

    def __init__(self, shell: InteractiveShell, run: SweepRun, stop: Callable[[], object] | None = None) -> None:
        self._run = run
        self._behind_the_cell = stop is not None
        self._screen = Screen(shell)
        self._line = None if self._behind_the_cell else StatusLine()
        self._watch = BuildWatch(run.workers)
        self._button = self._make_button(shell, stop) if stop is not None and not run.is_over else None
        self._plot: PlotPicture | None = None
        self._plotted = (0, 0.0)
        self._drawn = ''
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._draw_often, name='kartnb sweep', daemon=True)

    def _make_button(self, shell: InteractiveShell, stop: Callable[[], object]) -> StopButton | None:
        return StopButton(shell, 'sweep', stop) if can_be_live(self._screen) else None

    def __call__(self, event: Event) -> None:
        """Take in an event."""
        self._watch(event)

    def __enter__(self) -> SweepScreen:
        self._run.follow(self._watch)
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
        text = ended_sweep_text(result, hint)
        rich = self._screen.is_rich
        self._screen.show(text, ended_sweep_html(result, hint, self._picture(result)) if rich else '')

    def _picture(self, result: Any) -> PlotPicture | None:
        return None if self._run.is_inline else plot_picture(result)

    def _draw_often(self) -> None:
        self._watch.look_up_times()
        pause = INTERVAL
        while not self._over.wait(pause):
            began = time.monotonic()
            self._draw()
            pause = max(INTERVAL, (time.monotonic() - began) / _SHARE)

    def _draw(self) -> None:
        progress = sweep_progress(self._run, None if self._watch.plan is None else self._watch.progress())
        if not self._screen.is_rich:
            if self._line is not None:
                self._line.write(progress_text(progress))
            return
        live = live_sweep(self._run, progress, '' if self._behind_the_cell else 'to stop: interrupt the kernel')
        self._draw_plot()
        text = live_sweep_text(live)
        if text != self._drawn:
            self._drawn = text
            self._screen.show(text, self._html(live))

    def _html(self, live: LiveSweep) -> str:
        mark = '' if self._button is None else self._button.mark
        return live_sweep_html(live, self._plot) + mark

    def _draw_plot(self) -> None:
        """Draw the plot again where points have come since; not where tasks run in this process's main thread."""
        number, when = self._plotted
        measured = sum(bool(point.metrics) for point in self._run.points)
        if self._run.is_inline or measured == number or time.monotonic() < when:
            return
        began = time.monotonic()
        self._plot = plot_picture(self._run.partial()) or self._plot
        took = time.monotonic() - began
        self._plotted = (measured, time.monotonic() + max(_PLOT_SECONDS, took / _SHARE))


def live_screen(begun: Any) -> AbstractContextManager[Listener] | None:
    """The screen of a sweep in the shell that runs now; None for what is no sweep."""
    shell = get_ipython()
    if shell is None:
        return None
    return SweepScreen(shell, begun) if isinstance(begun, SweepRun) else None


def show_background_sweep(handle: BackgroundSweep, shell: InteractiveShell) -> None:
    """Show a sweep in the background in the cell that runs now, also when that has ended."""
    screen = SweepScreen(shell, handle.sweep_run, stop=lambda: handle.stop(wait=False))
    screen.__enter__()
    handle.add_done_callback(lambda _: screen.__exit__())
