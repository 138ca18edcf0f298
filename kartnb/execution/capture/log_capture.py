"""Hearing what is logged, without changing what the user's own handlers do.

While a build runs, one handler hangs on the root logger, and the root logger lets INFO pass. The user's handlers get a
filter that keeps from them what they would not have been given without the build.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

_thread = threading.local()


def is_echo() -> bool:
    """Whether this thread is in a handler of the user's, which writes out a log line that is heard anyway."""
    return getattr(_thread, 'echo', False)


class LogTap(logging.Handler):
    """The handler that hears.

    Parameters
    ----------
    take
        Is given each record, and whether a handler of the user's has written it to a stream.
    """

    def __init__(self, take: Callable[[logging.LogRecord, bool], None]) -> None:
        super().__init__()
        self._take = take
        self._root_level = logging.WARNING
        self._lowered_to: int | None = None
        self._filtered: list[tuple[logging.Handler, _AsBefore]] = []

    def handle(self, record: logging.LogRecord) -> bool:
        """Hear a record, without the lock of a handler: listeners are called, and may wait for a thread that logs."""
        self.emit(record)
        return True

    def emit(self, record: logging.LogRecord) -> None:
        """Hear a record."""
        _thread.echo = False
        self._take(record, self._shown_by_others(record))

    def install(self) -> None:
        """Begin to hear."""
        self._root_level = logging.getLogger().level
        self.stay()

    def lower(self, level: int) -> None:
        """Let the root logger pass records of this level and above."""
        root = logging.getLogger()
        if root.level > level:
            root.setLevel(level)
            self._lowered_to = level

    def stay(self) -> None:
        """Be the last of the root logger's handlers, and guard those that the user's code has put there meanwhile."""
        root = logging.getLogger()
        if root.handlers and root.handlers[-1] is self:
            return
        root.removeHandler(self)
        guarded = {handler for handler, _ in self._filtered}
        for handler in root.handlers:
            if handler not in guarded:
                guard = _AsBefore(self._root_level)
                handler.addFilter(guard)
                self._filtered.append((handler, guard))
        root.addHandler(self)

    def remove(self) -> None:
        """Hear no more, and leave the root logger and its handlers as they were."""
        root = logging.getLogger()
        root.removeHandler(self)
        for handler, guard in self._filtered:
            handler.removeFilter(guard)
        self._filtered.clear()
        # a task may have set a level of its own choice, which is not ours to take back
        if self._lowered_to is not None and root.level == self._lowered_to:
            root.setLevel(self._root_level)
        self._lowered_to = None

    def would_pass(self, logger: logging.Logger, level: int) -> bool:
        """Whether a logger would pass records of a level if nothing was heard."""
        return _passes(logger, level, self._root_level)

    def _shown_by_others(self, record: logging.LogRecord) -> bool:
        others = (handler for handler, guard in self._filtered if guard.passes(record))
        return any(isinstance(handler, logging.StreamHandler) and record.levelno >= handler.level for handler in others)


class _AsBefore(logging.Filter):
    """Lets pass what would have passed before the root logger's level was lowered."""

    def __init__(self, root_level: int) -> None:
        super().__init__()
        self._root_level = root_level

    def filter(self, record: logging.LogRecord) -> bool:
        passes = self.passes(record)
        _thread.echo = passes
        return passes

    def passes(self, record: logging.LogRecord) -> bool:
        """Whether a record would have passed."""
        return _passes(logging.getLogger(record.name), record.levelno, self._root_level)


def _passes(logger: logging.Logger | None, level: int, root_level: int) -> bool:
    while logger is not None and logger.parent is not None:
        if logger.level:
            return level >= logger.level
        logger = logger.parent
    return level >= root_level
