"""Changes of this process that no interrupt leaves behind.

An interrupt (Ctrl-C, the stop button of a notebook) raises `KeyboardInterrupt` between any two steps of Python code in
the main thread, also just before the first step of a ``finally`` block or of an ``__exit__``, which then does nothing.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]
import contextlib
import inspect
import os
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from threading import get_ident
from types import FrameType
from typing import Any, TypeVar

T = TypeVar('T')
_main_thread = threading.main_thread().ident


def in_main_thread() -> bool:
    """Whether this is the main thread, as `threading` says at four times the cost."""
    return get_ident() == _main_thread


def heed_interrupts(heeded: bool) -> None:
    """Let interrupts raise `KeyboardInterrupt` in this process, or be nothing to it and the programs that it starts.

    Ctrl-C and a notebook's stop button reach all processes that a terminal or a kernel has started.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler if heeded else signal.SIG_IGN)


def _become_main() -> None:
    """In a forked process the thread that has forked is the main one."""
    global _main_thread
    _main_thread = threading.get_ident()


if hasattr(os, 'register_at_fork'):
    os.register_at_fork(after_in_child=_become_main)
#: Without the conversions of `signal`: each task is run with interrupts held back several times.
_SIGINT = int(signal.SIGINT)


class heard_interrupts:  # noqa: N801 - it is used as a function is
    """Within the block `interrupts_heard` knows of each interrupt of the main thread, whoever catches it.

    Code that catches everything (``except:``) would hand back what it has so far as if it were whole. Where a handler
    other than Python's own is in use, it decides what an interrupt is. On Windows none is heard.
    """

    _before = -1
    #: The ends of a pipe to which Python writes the number of each signal; unlike a socket it holds thousands.
    _pipe: tuple[int, int] | None = None

    def __init__(self) -> None:
        # asked here: it may be entered while interrupts are held
        is_usual = in_main_thread() and _signal.getsignal(_SIGINT) is signal.default_int_handler
        self._is_wanted = is_usual and os.name == 'posix'

    def __enter__(self) -> None:
        global _heard_by
        if _heard_by is None and self._is_wanted:
            self._pipe = os.pipe()
            for end in self._pipe:
                os.set_blocking(end, False)
            self._before = self.listen()
            _heard_by = self

    def listen(self) -> int:
        """Let Python write to the pipe; gives where it has written before, and -1 for nowhere."""
        assert self._pipe is not None
        return signal.set_wakeup_fd(self._pipe[1], warn_on_full_buffer=False)

    def __exit__(self, *_: object) -> None:
        global _heard_by
        if self._pipe is None or _heard_by is not self:
            return
        signal.set_wakeup_fd(self._before)
        _heard_by = None
        self.close()

    def close(self) -> None:
        """Close the pipe, also that of the parent in a forked process."""
        pipe, self._pipe = self._pipe, None
        for end in pipe or ():
            with contextlib.suppress(OSError):  # a task has closed it
                os.close(end)

    @property
    def reader(self) -> int | None:
        """The descriptor that can be read when a signal has come."""
        return None if self._pipe is None else self._pipe[0]

    def take(self) -> int:
        """How many interrupts have come since the last time."""
        try:
            data = b'' if self.reader is None else os.read(self.reader, 1 << 16)
        except OSError:
            return 0
        if data and self._before != -1:  # somebody else waits for signals too
            with contextlib.suppress(OSError):
                os.write(self._before, data)
        return data.count(_SIGINT)


_heard_by: heard_interrupts | None = None
_heard = 0


def interrupts_heard(*, from_now: bool = False) -> int:
    """How many interrupts have come so far within blocks of `heard_interrupts`; one may count twice.

    With `from_now` they are heard again, if code that ran before has kept them from that, as `asyncio` does with the
    last handler of a signal.
    """
    global _heard
    if from_now and _heard_by is not None and in_main_thread():
        _heard_by.listen()
    if _heard_by is not None:
        _heard += _heard_by.take()
    return _heard


def interrupt_reader() -> int | None:
    """The descriptor that can be read when a signal has come in the main thread; None where there is none."""
    return None if _heard_by is None or not in_main_thread() else _heard_by.reader


def _hear_nothing() -> None:
    """In a forked process: its signals are not those of its parent."""
    global _heard_by
    if _heard_by is not None:
        with contextlib.suppress(ValueError):
            signal.set_wakeup_fd(-1)
        _heard_by.close()
        _heard_by = None


if hasattr(os, 'register_at_fork'):
    os.register_at_fork(after_in_child=_hear_nothing)


class held_interrupts:  # noqa: N801 - it is used as a function is
    """Hold an interrupt back while the block runs, and raise it at the end.

    A second one is raised at once, so that what hangs in the block can be ended. In other threads than the main one,
    where Python raises no interrupts, the block changes nothing.
    """

    _before: Any = None
    _seen = False

    def __enter__(self) -> None:
        # None: the handler is not one of Python's, and could not be put back
        if in_main_thread() and _signal.getsignal(_SIGINT) is not None:
            # nothing is raised from the moment when this sets the handler, so `_before` is known if it was set
            self._before = _signal.signal(_SIGINT, self._hold)

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self._before is None:
            return
        _signal.signal(_SIGINT, self._before)
        if self._seen and kind is not KeyboardInterrupt:
            signal.raise_signal(signal.SIGINT)

    def _hold(self, number: int, frame: FrameType | None) -> None:
        again, self._seen = self._seen, True
        if again and callable(self._before):
            self._before(number, frame)


def within(contexts: Sequence[AbstractContextManager[Any]], work: Callable[[], T]) -> T:
    """Call a function within context managers that are left whenever an interrupt comes.

    ``__exit__`` of each may be called when ``__enter__`` has not finished, and twice. If it was kept from finishing all
    the same, by several interrupts, `leave_abandoned` does it when the next block is entered in this thread.
    """
    __tracebackhide__ = True
    leave_abandoned()
    block = _Block(inspect.currentframe())
    _blocks.append(block)
    try:
        try:
            with held_interrupts():
                for context in contexts:
                    block.entered.append(context)
                    context.__enter__()
            return work()
        finally:
            block.leave()
    finally:
        # an interrupt may have come before the first step of the other one
        block.leave()


class _Block:
    """The contexts of one call of `within`, as long as they have not been left."""

    def __init__(self, frame: FrameType | None) -> None:
        self.entered: list[AbstractContextManager[Any]] = []
        self._frame = frame
        self._thread = threading.current_thread()

    def leave(self) -> None:
        """Leave the contexts, the last one first."""
        with held_interrupts():
            try:
                while self.entered:
                    self._leave_last()
            finally:
                if not self.entered and self in _blocks:
                    _blocks.remove(self)
                    self._frame = None

    def _leave_last(self) -> None:
        try:
            self.entered[-1].__exit__(None, None, None)
        except KeyboardInterrupt:  # a second one, so this must be done again
            raise
        except BaseException:
            self.entered.pop()
            self.leave()
            raise
        self.entered.pop()

    def is_abandoned(self, frames: set[FrameType]) -> bool:
        """Whether the call has ended, given the frames of the running thread."""
        if self._thread is threading.current_thread():
            return self._frame not in frames
        return not self._thread.is_alive()


_blocks: list[_Block] = []
if hasattr(os, 'register_at_fork'):
    # the parent process puts its own things in order
    os.register_at_fork(after_in_child=_blocks.clear)


def leave_abandoned() -> None:
    """Leave the contexts that several interrupts have kept from being left."""
    if not _blocks:
        return
    frames: set[FrameType] = set()
    frame: FrameType | None = inspect.currentframe()
    while frame is not None:
        frames.add(frame)
        frame = frame.f_back
    for block in reversed([block for block in _blocks if block.is_abandoned(frames)]):
        block.leave()


class kept_event_loop:  # noqa: N801 - it is used as a function is
    """Within the block no event loop runs in this thread, so that tasks may run one; at the end it runs again.

    The loop of a notebook runs in the thread of its cells, and ``asyncio.run`` refuses to run another one there.
    """

    def __init__(self) -> None:
        self._loop: Any = None
        self._task: Any = None
        self._thread = threading.current_thread()

    def __enter__(self) -> None:
        if 'asyncio' not in sys.modules:  # which is slow to import
            return
        import asyncio

        loop = asyncio._get_running_loop()
        if loop is None:
            return
        self._task = asyncio.current_task(loop)
        self._loop = loop
        if self._task is not None:
            asyncio.tasks._leave_task(loop, self._task)
        asyncio._set_running_loop(None)

    def __exit__(self, *_: object) -> None:
        loop = self._loop
        if loop is None or threading.current_thread() is not self._thread:
            return
        import asyncio

        # in this order: since Python 3.14 only the running loop has a current task
        asyncio._set_running_loop(loop)
        if self._task is not None and asyncio.current_task(loop) is None:
            asyncio.tasks._enter_task(loop, self._task)
        asyncio.set_event_loop(loop)  # `asyncio.run` leaves the thread without one
        self._loop = None
