"""Showing a sweep while it runs: the plan first, then how far it is, and in the end what has become of it."""

from __future__ import annotations

import threading
from contextlib import AbstractContextManager
from typing import Any

from IPython.core.getipython import get_ipython
from IPython.core.interactiveshell import InteractiveShell

from kartnb.events import BuildStarted, Event, Listener
from kartnb.execution.sweeps.search import SearchProgress
from kartnb.execution.sweeps.sweep import SweepPlan
from kartnb.notebook.progress import INTERVAL
from kartnb.notebook.screen import Screen, StatusLine
from kartnb.notebook.watch import BuildWatch
from kartnb.view.html import render_template
from kartnb.view.progress import progress_html, progress_text
from kartnb.view.sweeps.html import sweep_plan_html
from kartnb.view.sweeps.told import plan_words, search_words


class SweepScreen:
    """A listener that shows a sweep in one output; a context manager around the build.

    Parameters
    ----------
    shell
        The shell whose cell is running.
    planned
        The sweep.
    """

    def __init__(self, shell: InteractiveShell, planned: SweepPlan) -> None:
        self._planned = planned
        self._screen = Screen(shell)
        self._line = StatusLine()
        self._watch = BuildWatch()
        self._drawn = ''
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._draw_often, name='kartnb sweep', daemon=True)
        # later it would tell of the plan as it is then
        self._words, self._html = plan_words(planned), sweep_plan_html(planned)

    def __call__(self, event: Event) -> None:
        """Take in an event."""
        self._watch(event)
        if isinstance(event, BuildStarted):
            self._draw()
            self._thread.start()

    def __enter__(self) -> SweepScreen:
        if not self._screen.is_rich:
            self._screen.show(self._words, '')
        return self

    def __exit__(self, *exception: object) -> None:
        self._over.set()
        if self._thread.ident is not None:
            self._thread.join()
        self._line.close()
        if self._planned.report is not None:
            self._screen.show_object(self._planned)

    def _draw_often(self) -> None:
        while not self._over.wait(INTERVAL):
            self._draw()

    def _draw(self) -> None:
        state = self._watch.progress()
        text = progress_text(state)
        if text == self._drawn:
            return
        self._drawn = text
        if self._screen.is_rich:
            self._screen.show(f'{self._words}\n{text}', f'{self._html}\n{progress_html(state)}')
        else:
            self._line.write(text)


def live_sweep(begun: Any) -> AbstractContextManager[Listener] | None:
    """The screen of a sweep in the shell that runs now; None for what is no sweep."""
    shell = get_ipython()
    if shell is None:
        return None
    if isinstance(begun, SearchProgress):
        return SearchScreen(shell, begun)
    return SweepScreen(shell, begun) if isinstance(begun, SweepPlan) else None


class SearchScreen:
    """Shows how far a search is; told after each trial."""

    def __init__(self, shell: InteractiveShell, search: SearchProgress) -> None:
        self._search = search
        self._screen = Screen(shell)
        self._line = StatusLine()

    def __call__(self, event: Any) -> None:
        """Take note of more trials."""
        words = search_words(self._search)
        if self._screen.is_rich:
            self._screen.show(words, render_template('line.html', line=words))
        else:
            self._line.write(words)

    def __enter__(self) -> SearchScreen:
        return self

    def __exit__(self, *exception: object) -> None:
        self._line.close()
        words = search_words(self._search)
        self._screen.show(words, render_template('line.html', line=words))
