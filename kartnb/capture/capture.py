"""Capturing what tasks print and log while they run, separately for each task.

A build is captured by `captured`, and each task of it that runs in this process by `captured_task`. What Python code
writes belongs to the task of its context; what C code and child processes write, to the one task that runs in the
foreground. Where several tasks run in threads, that is unknown, and it belongs to the build.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar, Token
from dataclasses import dataclass
from typing import Final, TextIO

from kartnb.capture.taps import Mode, OutputTaps
from kartnb.capture.task_log import LogTap, Stream, TaskLog, is_echo
from kartnb.interrupts import held_interrupts, in_main_thread
from kartnb.model import LogLine, TaskEvent
from kartnb.task.secrets import NO_SECRETS, Masker

#: The build and the node key of the task that runs in this context; None where it is unknown.
current_task: ContextVar[tuple[str, str] | None] = ContextVar('kartnb_current_task', default=None)

#: The value of `current_task` while kartnb's own code and listeners run: what they write belongs to no task.
NOBODY: Final = ('', '')


_formatter = logging.Formatter()


class captured:  # noqa: N801 - it is used as a function is
    """Capture what the tasks of a build print and log in this process while the block runs; `emit` is given the events.

    What `mask` knows is masked in them.

    Logged lines of `level` and above are captured; those of INFO and above in any case. If the build is captured in
    this process already, the block changes nothing.
    """

    def __init__(self, build_id: str, level: int, emit: Callable[[TaskEvent], None], mask: Masker = NO_SECRETS) -> None:
        self._build = _Build(min(level, logging.INFO), emit, TaskLog(build_id, '', emit, mask), mask)
        self._token: Token[tuple[str, str] | None] | None = None
        self._streams = sys.stdout, sys.stderr

    def __enter__(self) -> None:
        if _capture.enter(self._build):
            # what is logged between tasks belongs to this build, also inside a task that builds
            self._token = current_task.set((self._build.log.build_id, ''))

    def __exit__(self, *_: object) -> None:
        _capture.leave(self._build)
        _put_back(self._streams)
        if self._token is not None:
            with suppress(RuntimeError, ValueError):  # done before; or this is another thread, which heals
                current_task.reset(self._token)


class captured_task:  # noqa: N801 - it is used as a function is
    """Let what is printed and logged in the block belong to a task, which `current_task` must name.

    With `interleaved`, other tasks begin and end in the same thread meanwhile, and are not part of this one.
    """

    def __init__(self, log: TaskLog, interleaved: bool = False) -> None:
        self._log = log
        self._interleaved = interleaved
        self._streams = sys.stdout, sys.stderr

    def __enter__(self) -> None:
        # tasks in one thread are parts of each other, but not these
        _capture.begin(self._log, self if self._interleaved else threading.current_thread())

    def __exit__(self, *_: object) -> None:
        try:
            _capture.finish(self._log)
        finally:
            if not self._interleaved:
                _put_back(self._streams)


def _put_back(streams: tuple[TextIO, TextIO]) -> None:
    """Put `sys.stdout` and `sys.stderr` back in the main thread; in others it is not known whose these were."""
    if in_main_thread():
        sys.stdout, sys.stderr = streams


def is_enabled(logger: logging.Logger, level: int) -> bool:
    """Whether a logger passes records of a level by the user's settings, whatever is captured."""
    return _capture.is_enabled(logger, level)


def users_root_level() -> int:
    """The level of the root logger as the user has set it, whatever is captured."""
    return _capture.users_root_level


def swallow_output() -> tuple[int, ...]:
    """In a worker process of kartnb's own: from now on show nothing that is printed.

    Gives two descriptors from which another process can read what this one has not sent; none on Windows.
    """
    return _capture.keep_taps(Mode.SWALLOWED).readers


def task_log(build_id: str, key: str) -> TaskLog:
    """The log of a task that will run in this process."""
    return _capture.task_log(build_id, key)


def is_building() -> bool:
    """Whether a build captures output in this process."""
    return _capture.is_building


@contextmanager
def taken_output() -> Iterator[None]:
    """In a worker process of another program: do not show there what tasks print in the block."""
    _capture.keep_taps(Mode.TAKEN)
    try:
        yield
    finally:
        _capture.release_taps()


@dataclass(frozen=True, slots=True)
class _Build:
    level: int
    emit: Callable[[TaskEvent], None]
    log: TaskLog
    mask: Masker


class _Capture:
    """The builds and running tasks of this process, and its taps while there are some."""

    def __init__(self) -> None:
        self._gate = threading.RLock()
        self._builds: dict[str, _Build] = {}
        #: Each with its thread, or with something of its own where others run in the same one.
        self._running: dict[tuple[str, str], tuple[TaskLog, object]] = {}
        self._taps: OutputTaps | None = None
        self._log_tap = LogTap(self._take_record)
        self._keeps_taps = False
        self._mode = Mode.SHOWN
        self._older_threads: weakref.WeakSet[threading.Thread] = weakref.WeakSet()

    def enter(self, build: _Build) -> bool:
        with self._gate:
            if build.log.build_id in self._builds:
                return False
            is_first = not self._builds
            self._builds[build.log.build_id] = build
            if is_first:
                self._log_tap.install()
            self._older_threads.add(threading.current_thread())
            self._log_tap.lower(build.level)
            return True

    def leave(self, build: _Build) -> None:
        build_id = build.log.build_id
        with self._gate:
            if self._builds.get(build_id) is not build:  # left before, entered by another, or this is a forked process
                return
            for place in [place for place in list(self._running) if place[0] == build_id]:
                self._running.pop(place, None)
            if len(self._builds) == 1:
                self._log_tap.remove()
                if not self._keeps_taps:
                    self._remove_taps()
            # only now: the last output, which removing the taps takes in, belongs to this build
            del self._builds[build_id]

    @property
    def is_building(self) -> bool:
        return bool(self._builds)

    @property
    def users_root_level(self) -> int:
        return self._log_tap.users_root_level()

    def is_enabled(self, logger: logging.Logger, level: int) -> bool:
        return logger.isEnabledFor(level) and (not self._builds or self._log_tap.would_pass(logger, level))

    def emit(self, event: TaskEvent) -> None:
        build = self._builds.get(event.build_id)
        if build is not None:
            build.emit(event)

    def task_log(self, build_id: str, key: str) -> TaskLog:
        build = self._builds.get(build_id)
        return TaskLog(build_id, key, self.emit, NO_SECRETS if build is None else build.mask)

    def keep_taps(self, mode: Mode) -> OutputTaps:
        with self._gate:
            self._keeps_taps, self._mode = True, mode
            return self._install_taps()

    def release_taps(self) -> None:
        with self._gate:
            self._keeps_taps, self._mode = False, Mode.SHOWN
            self._remove_taps()

    def begin(self, log: TaskLog, where: object) -> None:
        if log.build_id not in self._builds:
            return
        with self._gate:
            taps = self._taps
            if taps is None:
                with held_interrupts():
                    taps = self._install_taps()
            taps.begin()
            self._log_tap.be_last()
            self._running[log.build_id, log.key] = (log, where)

    def finish(self, log: TaskLog) -> None:
        try:
            if self._taps is not None:
                # while the task still counts as running, so that what is left in buffers becomes its own
                self._taps.settle()
        finally:
            self._running.pop((log.build_id, log.key), None)
        log.settle()
        build = self._builds.get(log.build_id)
        if build is not None:
            build.log.advance()

    def before_fork(self) -> None:
        # the child takes over the taps as they are: they must not be half installed
        self._gate.acquire()
        if self._taps is not None:
            self._taps.flush_shown()

    def after_fork_in_parent(self) -> None:
        self._gate.release()

    def after_fork_in_child(self) -> None:
        """Forget all: the parent process captures what its children write."""
        if self._builds:
            self._log_tap.remove()
        if self._taps is not None:
            self._taps.forget()
        self.__init__()  # type: ignore[misc]

    def _install_taps(self) -> OutputTaps:
        if self._taps is None:
            self._older_threads = weakref.WeakSet(threading.enumerate())
            self._taps = OutputTaps(self._mode, self._take_text, self._owners, self._tick)
        return self._taps

    def _remove_taps(self) -> None:
        if self._taps is not None:
            self._taps.remove()
            self._taps = None

    def _tick(self) -> None:
        logs = [log for log, _ in list(self._running.values())]
        for log in (*logs, *self._logs_of_builds()):
            log.advance()

    def _take_text(self, stream: Stream, text: str) -> bool:
        """Capture what Python code writes; gives whether it must not be shown."""
        taps = self._taps
        if taps is not None:
            taps.before_text()  # what C code wrote earlier comes first
        logs = self._logs_here()
        if not is_echo():
            for log in logs:
                log.print(stream, text)
        return self._mode is Mode.SWALLOWED or (self._mode is Mode.TAKEN and logs != [])

    def _take_record(self, record: logging.LogRecord, shown: bool) -> None:
        if current_task.get() is NOBODY:
            return
        taps = self._taps
        if taps is not None:
            taps.before_text()
        text = _text_of(record)
        shown = shown and self._mode is Mode.SHOWN
        for log in self._logs_here() or self._logs_of_builds(current_task.get()):
            build = self._builds.get(log.build_id)
            if build is not None and record.levelno >= build.level:
                log.log(LogLine(log.build_id, log.key, record.levelno, record.name, text, shown, time=record.created))

    def _logs_here(self) -> list[TaskLog]:
        """The logs for what the running code prints: its task's, or those of the builds."""
        place = current_task.get()
        if place is not None:
            running = self._running.get(place)
            return [] if running is None else [running[0]]
        thread = threading.current_thread()
        if not self._running or thread in self._older_threads or thread.name.startswith('kartnb'):
            return []
        # a thread that was started while a task ran, with a context of its own
        alone = self._alone()
        return self._logs_of_builds() if alone is None else [alone[0]]

    def _logs_of_builds(self, place: tuple[str, str] | None = None) -> list[TaskLog]:
        builds = list(self._builds.values())
        return [build.log for build in builds if place is None or place[0] == build.log.build_id]

    def _alone(self) -> tuple[TaskLog, object] | None:
        """The innermost running task, if all run in one thread."""
        running = list(self._running.values())
        return running[-1] if len({where for _, where in running}) == 1 else None

    def _owners(self) -> list[TaskLog]:
        """The logs for output of which only the process is known."""
        alone = self._alone()
        if alone is not None and (self._mode is not Mode.SHOWN or alone[1] is threading.main_thread()):
            return [alone[0]]
        return self._logs_of_builds() if self._mode is Mode.SHOWN else []


def _text_of(record: logging.LogRecord) -> str:
    try:
        return _formatter.format(record)
    except Exception:  # the handlers of logging report this, and the task goes on
        return record.msg if isinstance(record.msg, str) else 'a log line that cannot be formatted'


_capture = _Capture()
if hasattr(os, 'register_at_fork'):
    os.register_at_fork(
        before=_capture.before_fork,
        after_in_parent=_capture.after_fork_in_parent,
        after_in_child=_capture.after_fork_in_child,
    )
