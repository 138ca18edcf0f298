"""The engine of `kartnb.interact`: one thread looks at the task that is wanted now, and builds it if that is wanted.

The latest wish wins. While a person drags a slider, wishes come faster than they can be looked at: those in between are
never looked at, and the last one always is. At most one build runs; one that is no longer wanted is stopped, or goes on
and keeps its result, and the next one begins when it has ended.
"""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import luigi

from kartnb.events import TaskState
from kartnb.execution.background import BackgroundBuild
from kartnb.execution.build import build_in_background
from kartnb.execution.options import BuildOptions
from kartnb.execution.planning.plan import Plan
from kartnb.execution.running.tracebacks import error_line
from kartnb.history.log_store import TypicalTimes
from kartnb.planning.estimate import estimate
from kartnb.planning.planner import plan
from kartnb.task import registry
from kartnb.task.loading import result_of
from kartnb.view.previews.preview import Preview
from kartnb.view.previews.show import preview
from kartnb.view.sweeps.told import estimate_words

logger = logging.getLogger('kartnb')

#: Seconds of rest after which a wish is built by itself, and the saved form is written.
REST = 0.25
#: Seconds between two looks at a running build.
_TICK = 0.1
_THERE = (TaskState.CACHED, TaskState.EXTERNAL)


@dataclass(frozen=True, slots=True)
class Sight:
    """What is seen of the task that is wanted.

    Attributes
    ----------
    task
        The task.
    state
        Cached, missing, stale, running, failed, ...
    words
        What would run, what runs, or what went wrong.
    result
        The result as it is shown, or None.
    """

    task: luigi.Task
    state: TaskState
    words: str = ''
    result: Preview | None = None


@dataclass(frozen=True, slots=True)
class _Wish:
    task: luigi.Task
    since: float
    run: bool = False
    looked_at: bool = False
    #: Whether a person has stopped its build, so that it does not begin by itself.
    halted: bool = False


class Explorer:
    """Looks at tasks and builds them, one at a time.

    Parameters
    ----------
    show
        Is given what is seen, in the thread of the explorer.
    settled
        Is called when nothing has been wished for a while.
    output
        What is shown of a result; the result itself by default.
    auto
        Whether what is not cached is built by itself.
    keep
        Whether a build that is no longer wanted goes on.
    options
        How it builds.
    """

    def __init__(
        self,
        show: Callable[[Sight], object],
        settled: Callable[[], object] = lambda: None,
        *,
        output: Callable[[Any], Any] | None = None,
        auto: bool = False,
        keep: bool = False,
        options: BuildOptions | None = None,
    ) -> None:
        self.auto = auto
        self.keep = keep
        self._show = show
        self._settled = settled
        self._output = output
        self._options = options or BuildOptions()
        self._news = threading.Condition()
        self._wish: _Wish | None = None
        self._build: BackgroundBuild | None = None
        self._built: luigi.Task | None = None
        self._thread: threading.Thread | None = None
        self._times = TypicalTimes()
        self._failures: dict[luigi.Task, str] = {}

    def report_to(self, show: Callable[[Sight], object], settled: Callable[[], object]) -> None:
        """Tell what is seen to somebody else from now on."""
        self._show, self._settled = show, settled

    def look_again(self) -> None:
        """Look once more at what is wanted."""
        with self._news:
            wish = self._wish
        if wish is not None:
            self.want(wish.task)

    @property
    def is_idle(self) -> bool:
        """Whether there is nothing left to be done."""
        with self._news:
            return self._thread is None

    def want(self, task: luigi.Task) -> None:
        """Let this be the task to look at; the ones before are forgotten."""
        self._put(_Wish(task, time.monotonic()))

    def run(self) -> None:
        """Build the task that is wanted now."""
        with self._news:
            wish = self._wish
        if wish is not None:
            self._failures.pop(wish.task, None)
            self._put(replace(wish, run=True, looked_at=False, halted=False))

    def stop(self) -> None:
        """Stop the build that runs."""
        with self._news:
            build = self._build
            if self._wish is not None:
                self._wish = replace(self._wish, run=False, halted=True)
        if build is not None:
            build.stop(wait=False)

    def look(self, task: luigi.Task) -> Sight:
        """See whether the result of a task is there; what is there is loaded."""
        try:
            planned = plan(task)
            state = planned.root.state
            if state in _THERE and not planned.root.will_run:
                return Sight(task, state, 'the result is there', self._shown(task))
            failure = self._failures.get(task)
            if failure is not None:
                return Sight(task, TaskState.FAILED, failure)
            return Sight(task, state, self._would_run(planned))
        except Exception as error:  # whatever the user's requires() or output() raises is told
            return Sight(task, TaskState.FAILED, error_line(error))

    def _put(self, wish: _Wish) -> None:
        with self._news:
            self._wish = wish
            self._news.notify()
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name='kartnb interact', daemon=True)
                self._thread.start()

    def _work(self) -> None:
        try:
            self._go_on()
            self._settled()
        except Exception:
            logger.exception('What has been moved could not be shown')
            with self._news:
                self._thread = None

    def _go_on(self) -> None:
        while True:
            with self._news:
                wish = self._wish
                if wish is None or not self._is_open(wish):
                    self._thread = None
                    return
                if wish.looked_at:
                    self._news.wait(self._pause(wish))
                    wish = self._wish
            if wish is not None:
                self._step(wish)

    def _is_open(self, wish: _Wish) -> bool:
        """Whether something is still to be done."""
        return not wish.looked_at or self._build is not None or wish.run or self._waits_for_rest(wish)

    def _waits_for_rest(self, wish: _Wish) -> bool:
        return time.monotonic() - wish.since < REST

    def _pause(self, wish: _Wish) -> float:
        return _TICK if self._build is not None else max(wish.since + REST - time.monotonic(), 0.01)

    def _step(self, wish: _Wish) -> None:
        if self._build is not None and self._build.done():
            self._end_build(wish, self._build)
        elif not wish.looked_at:
            sight = self.look(wish.task)
            missing = sight.state not in _THERE and wish.task not in self._failures
            run = missing and (wish.run or (self.auto and not wish.halted))
            if not self._replace(wish, replace(wish, looked_at=True, run=run)):
                return  # there is a newer wish
            self._show(sight)
        elif self._build is not None:
            self._follow(wish)
        elif wish.run and (not self.auto or not self._waits_for_rest(wish)):
            self._begin(wish)

    def _begin(self, wish: _Wish) -> None:
        try:
            registry.drop_superseded()
            build = build_in_background(wish.task, self._options)
        except Exception as error:
            self._failures[wish.task] = error_line(error)
            self._replace(wish, replace(wish, looked_at=False, run=False))
            return
        with self._news:
            self._build, self._built = build, wish.task
        build.add_done_callback(lambda _: self._wake())
        self._show(Sight(wish.task, TaskState.RUNNING, 'begins to run'))

    def _follow(self, wish: _Wish) -> None:
        build = self._build
        if build is None:
            return
        if self._built == wish.task:
            self._show(Sight(wish.task, TaskState.RUNNING, f'running {build.progress}'))
        elif not self.keep and build.status == 'running':
            build.stop(wait=False)

    def _end_build(self, wish: _Wish, build: BackgroundBuild) -> None:
        """Take note of a build that has ended."""
        task = self._built
        with self._news:
            self._build = self._built = None
        self._times = TypicalTimes()
        if task is not None and build.status == 'failed':
            self._failures[task] = _why_it_failed(build)
        if task == wish.task:
            stopped = build.status == 'stopped'
            self._replace(wish, replace(wish, looked_at=False, run=wish.run and stopped))

    def _replace(self, wish: _Wish, by: _Wish) -> bool:
        with self._news:
            if self._wish is not wish:
                return False
            self._wish = by
            return True

    def _wake(self) -> None:
        with self._news:
            self._news.notify()

    def _would_run(self, planned: Plan) -> str:
        number = len(planned.to_run())
        if not number:
            return 'nothing here can make it'
        expected = estimate_words(estimate(planned, self._options.workers, self._times))
        return f'{number:,} {"task" if number == 1 else "tasks"} would run · {expected}'

    def _shown(self, task: luigi.Task) -> Preview:
        if self._output is None:
            return preview(task)
        try:
            return preview(_drawn(self._output, result_of(task)))
        except Exception as error:  # the user's function
            return preview(f'output failed: {error_line(error)}')


def _drawn(output: Callable[[Any], Any], result: Any) -> Any:
    """What the user's function gives; where it only draws with pyplot, the figures, which do not stay open."""
    before = _open_figures()
    found = output(result)
    new = [number for number in _open_figures() if number not in before]
    if not new:
        return found
    pyplot: Any = sys.modules['matplotlib.pyplot']
    figures = [pyplot.figure(number) for number in new]
    for figure in figures:
        pyplot.close(figure)
    return found if found is not None else figures[0] if len(figures) == 1 else figures


def _open_figures() -> list[int]:
    pyplot: Any = sys.modules.get('matplotlib.pyplot')
    return list(pyplot.get_fignums()) if pyplot is not None else []


def _why_it_failed(build: BackgroundBuild) -> str:
    report = build.report
    if report is None or not report.failures:
        try:
            build.result(timeout=0)
        except Exception as error:
            return error_line(error)
        return 'the build has failed'
    first = report.failures[0]
    return f'{first.name} failed: {error_line(first.error)}'
