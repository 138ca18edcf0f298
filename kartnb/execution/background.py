"""Builds in the background: their handle, and the feed of their events.

`Handle` is the part that sweeps share: a thread, its status, waiting, stopping, awaiting, display. `plan_of` and
`build_id_of` take whatever a user may give as a build: a handle, a report, an error, a plan or a task.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
import weakref
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Generator, Sequence
from typing import TYPE_CHECKING, Any, Generic, Literal, Self, TypeAlias

import luigi
from typing_extensions import TypeVar

from kartnb import display
from kartnb.errors import BuildStoppedError, TaskArgumentError
from kartnb.execution.report import BuildReport, GokartBuildError, raise_failures
from kartnb.execution.workers.settings import users_context
from kartnb.model import (
    BuildFinished,
    BuildProgress,
    BuildStarted,
    BuildStatus,
    Event,
    Listener,
    LogLine,
    Plan,
    TaskOutput,
    TaskStateChanged,
)
from kartnb.planning.planner import plan

if TYPE_CHECKING:
    from kartnb.execution.build import Build

#: An awaiting cell is interrupted no sooner than its event loop ticks.
_TICK_SECONDS = 0.05

Status: TypeAlias = Literal['running', 'done', 'failed', 'stopped']
T = TypeVar('T', default=Any)


class Handle(ABC, Generic[T]):
    """Work that goes on in a thread of its own.

    It can be awaited, also in a notebook cell: ``value = await handle``.
    """

    #: What goes on, in a word.
    _what = 'work'

    def __init__(self) -> None:
        self._error: BaseException | None = None
        self._ended = threading.Event()
        self._callbacks: list[Callable[[Any], object]] = []
        self._gate = threading.Lock()
        self._thread = threading.Thread(
            target=users_context().run, args=(self._run,), name=f'kartnb-{self._what}', daemon=True
        )

    @abstractmethod
    def _work(self) -> None:
        """Do the work, in the thread of the handle."""

    @abstractmethod
    def _stop(self) -> None:
        """Ask it to end."""

    @abstractmethod
    def _value(self) -> T:
        """The result of the work."""

    @property
    @abstractmethod
    def _about(self) -> str:
        """The name of the class whose tasks it runs."""

    @property
    @abstractmethod
    def status(self) -> Status:
        """'running', 'done', 'failed' or 'stopped'."""

    @property
    @abstractmethod
    def progress(self) -> object:
        """How far it is, with a short text as `str`."""

    def done(self) -> bool:
        """Whether it has ended, well or not."""
        return self._ended.is_set()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until it has ended, for at most `timeout` seconds; gives whether it has."""
        return self._ended.wait(timeout)

    def stop(self, *, wait: bool = True) -> None:
        """Stop it: worker processes end at once, in threads the running tasks are waited for."""
        self._stop()
        if wait:
            self._ended.wait()

    def add_done_callback(self, callback: Callable[[Self], object]) -> None:
        """Call `callback` with this handle when it has ended, in the thread of the work; at once if it has."""
        with self._gate:
            if not self._ended.is_set():
                self._callbacks.append(callback)
                return
        callback(self)

    def _runs_in_this_loop(self) -> bool:
        """Whether the running event loop runs the tasks, which end only when it goes on."""
        return False

    def _await_value(self, timeout: float | None) -> T:
        __tracebackhide__ = True
        if not self._ended.wait(timeout):
            raise TimeoutError(f'The {self._what} has not ended after {timeout} s: {self.progress}.')
        if self._error is not None:
            raise self._error
        return self._value()

    def __await__(self) -> Generator[Any, None, T]:
        return self._awaited().__await__()

    async def _awaited(self) -> T:
        try:
            while not self._ended.is_set():
                await asyncio.sleep(_TICK_SECONDS)
        except asyncio.CancelledError:
            self.stop(wait=False)
            while self._runs_in_this_loop() and not self._ended.is_set():
                await asyncio.sleep(_TICK_SECONDS)
            raise
        return self._await_value(None)

    def __repr__(self) -> str:
        # not in a subclass, where IPython would prefer it to `_repr_pretty_`
        return f'<{type(self).__name__} of {self._about}: {self.status}, {self.progress}>'

    def _ipython_display_(self) -> None:
        display.show_live(self)

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        printer.text(display.render(self, 'text') if len(printer.stack) == 1 else repr(self))

    def _repr_html_(self) -> str:
        return display.render(self, 'html')

    def _run(self) -> None:
        try:
            self._work()
        except BaseException as error:
            self._error = error
        with self._gate:
            self._ended.set()
            callbacks = list(self._callbacks)
        for callback in callbacks:
            try:
                callback(self)
            except Exception:
                logging.getLogger('kartnb').exception('A callback of a background %s failed', self._what)


OutputEvent: TypeAlias = LogLine | TaskOutput

#: Most events with output, and characters of them, that are kept of a build; the files of ended tasks have all lines.
MOST_EVENTS = 2_000
MOST_CHARACTERS = 1_000_000

_begun: weakref.WeakSet[BackgroundBuild] = weakref.WeakSet()


class EventFeed:
    """Passes the events of a build on, earlier ones first to those who `follow` late; `status` is reduced from them."""

    def __init__(self) -> None:
        self.status = BuildStatus()
        self._history: list[TaskStateChanged | BuildFinished] = []
        self._output: deque[OutputEvent] = deque()
        self._characters = 0
        self._listeners: list[Listener] = []
        self._lock = threading.Lock()

    def __call__(self, event: Event) -> None:
        """Take in an event, and give it to the listeners."""
        with self._lock:
            self._take(event)
            for listener in self._listeners:
                listener(event)

    def follow(self, listener: Listener, build_id: str, planned: Plan) -> None:
        """Give `listener` the events so far, and every event from now on."""
        with self._lock:  # so that no event comes twice, or is lost between the earlier ones and the next
            status = self.status
            began = status.started if status.plan is not None else time.time()
            listener(BuildStarted(build_id, status.plan or planned, began))
            for event in (*self._output, *self._history):
                listener(event)
            self._listeners.append(listener)

    def join(self, listener: Listener) -> None:
        """Give `listener` every event from now on."""
        with self._lock:
            self._listeners.append(listener)

    def leave(self, listener: Listener) -> None:
        """Give `listener` no more events."""
        with self._lock:
            self._listeners = [other for other in self._listeners if other is not listener]

    def heard(self) -> Sequence[OutputEvent]:
        """The latest output of the tasks."""
        with self._lock:
            return tuple(self._output)

    def _take(self, event: Event) -> None:
        self.status.apply(event)
        if isinstance(event, TaskStateChanged | BuildFinished):
            self._history.append(event)
        elif isinstance(event, LogLine | TaskOutput):
            self._keep_output(event)
        elif isinstance(event, BuildStarted):
            self._history.clear()

    def _keep_output(self, event: OutputEvent) -> None:
        self._output.append(event)
        self._characters += len(event.text)
        while len(self._output) > MOST_EVENTS or (self._characters > MOST_CHARACTERS and len(self._output) > 1):
            self._characters -= len(self._output.popleft().text)


class BackgroundBuild(Handle[T]):
    """A build that runs in the background, as `kartnb.build(task, background=True)` gives it.

    It can be awaited, also in a notebook cell: ``value = await handle``.
    """

    _what = 'build'

    def __init__(self, task: luigi.Task, build: Build, feed: EventFeed, return_value: bool) -> None:
        super().__init__()
        self._task = task
        self._build = build
        self._feed = feed
        self._return_value = return_value
        self._report: BuildReport | None = None
        _begun.add(self)
        self._thread.start()

    @property
    def build_id(self) -> str:
        """The id of the build, as in its events and run records."""
        return self._build.build_id

    @property
    def workers(self) -> int:
        """How many tasks run at once, as requested."""
        return self._build.workers

    @property
    def plan(self) -> Plan:
        """The tasks of the build, each with its state now."""
        return self._feed.status.plan_now() or self._build.plan

    @property
    def progress(self) -> BuildProgress:
        """How far the build is."""
        status = self._feed.status
        return (status if status.plan is not None else BuildStatus(self._build.plan)).progress()

    @property
    def status(self) -> Status:
        """'running', 'done', 'failed' or 'stopped'."""
        if not self._ended.is_set():
            return 'running'
        if self._report is None or self._report.failures:
            return 'failed'
        return 'stopped' if self._report.interrupted else 'done'

    @property
    def report(self) -> BuildReport | None:
        """How the build ended; None while it runs."""
        return self._report

    def result(self, timeout: float | None = None) -> T:
        """Wait for the build, and give what `kartnb.build` would have given.

        Raises
        ------
        TimeoutError
            When the build has not ended after `timeout` seconds.
        GokartBuildError
            When a task failed.
        BuildStoppedError
            When the build was stopped.
        """
        __tracebackhide__ = True
        return self._await_value(timeout)

    def follow(self, listener: Listener) -> None:
        """Give every event of the build to `listener`: first those so far, then each as it happens."""
        self._feed.follow(listener, self.build_id, self._build.plan)

    def unfollow(self, listener: Listener) -> None:
        """Give no more events to `listener`."""
        self._feed.leave(listener)

    def heard(self) -> Sequence[OutputEvent]:
        """What the tasks have printed and logged so far; if that is very much, the latest part."""
        return self._feed.heard()

    def _work(self) -> None:
        self._report = self._build.run()

    def _stop(self) -> None:
        self._build.stop()

    def _runs_in_this_loop(self) -> bool:
        return self._build.executor is asyncio.get_running_loop()

    def _value(self) -> Any:
        __tracebackhide__ = True
        assert self._report is not None
        raise_failures(self._report)
        if self._report.interrupted:
            raise BuildStoppedError('The build was stopped; finished results are kept.')
        return self._build.result() if self._return_value else None

    @property
    def _about(self) -> str:
        return type(self._task).__name__


def running_builds() -> list[BackgroundBuild]:
    """The background builds of this process that have not ended."""
    return [build for build in list(_begun) if not build.done()]


Subject: TypeAlias = luigi.Task | Plan | BackgroundBuild | BuildReport | GokartBuildError


def plan_of(subject: Subject) -> Plan:
    """The plan of a task, or the one that a build has followed; raises `TaskArgumentError` for anything else."""
    if isinstance(subject, Plan):
        return subject
    if isinstance(subject, BackgroundBuild | BuildReport):
        return subject.plan
    if isinstance(subject, GokartBuildError) and subject.report is not None:
        return subject.report.plan
    if isinstance(subject, luigi.Task | type):
        return plan(subject)  # a class is refused there, with what to write instead
    raise TaskArgumentError(
        f'Expected a task, a plan or a build (background handle, report or error), not {type(subject).__name__}.'
    )


def build_id_of(subject: object) -> str:
    """The id of a build, '' for anything else."""
    if isinstance(subject, GokartBuildError):
        return '' if subject.report is None else subject.report.build_id
    return subject.build_id if isinstance(subject, BackgroundBuild | BuildReport) else ''
