"""Hearing what is logged during a build, without changing what the user's own handlers do.

While a build runs, one handler hangs on the root logger, and the root logger lets INFO pass. The user's handlers get a
filter that keeps from them what they would not have been given without the build. The last build to end takes all of
that away again.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from kartnb.events import LogLine
from kartnb.execution.worker import current_task

_formatter = logging.Formatter()


@contextmanager
def heard_logs(build_id: str, level: int, hear: Callable[[LogLine], None]) -> Iterator[None]:
    """Give every line that is logged during a build to `hear`: INFO and above, and what is at `level` or above.

    Lines that a task logs carry its key; lines from outside of any task go to every build that is running.
    """
    _hub.enter(build_id, min(level, logging.INFO), hear)
    try:
        yield
    finally:
        _hub.leave(build_id)


class _Hub(logging.Handler):
    """The one handler, shared by the builds of this process."""

    def __init__(self) -> None:
        super().__init__()
        self._gate = threading.RLock()
        self._builds: dict[str, tuple[int, Callable[[LogLine], None]]] = {}
        self._root_level = logging.WARNING
        self._lowered_to: int | None = None
        self._filtered: list[tuple[logging.Handler, logging.Filter]] = []

    def enter(self, build_id: str, level: int, hear: Callable[[LogLine], None]) -> None:
        with self._gate:
            if not self._builds:
                self._install()
            self._builds[build_id] = (level, hear)
            self._lower()

    def leave(self, build_id: str) -> None:
        with self._gate:
            del self._builds[build_id]
            if not self._builds:
                self._uninstall()

    def emit(self, record: logging.LogRecord) -> None:
        place = current_task.get()
        builds = [place[0]] if place is not None else list(self._builds)
        for build_id in builds:
            level, hear = self._builds.get(build_id, (logging.CRITICAL + 1, None))
            if hear is not None and record.levelno >= level:
                hear(
                    LogLine(
                        build_id,
                        place[1] if place is not None else '',
                        record.levelno,
                        record.name,
                        _formatter.format(record),
                        already_shown=self._shown_by_others(record),
                        time=record.created,
                    )
                )

    def _install(self) -> None:
        root = logging.getLogger()
        self._root_level = root.level
        for handler in root.handlers:
            guard = _AsBefore(root.level)
            handler.addFilter(guard)
            self._filtered.append((handler, guard))
        root.addHandler(self)

    def _lower(self) -> None:
        level = min(level for level, _ in self._builds.values())
        root = logging.getLogger()
        if root.level > level:
            root.setLevel(level)
            self._lowered_to = level

    def _uninstall(self) -> None:
        root = logging.getLogger()
        root.removeHandler(self)
        for handler, guard in self._filtered:
            handler.removeFilter(guard)
        self._filtered.clear()
        # a task may have set a level of its own choice, which is not ours to take back
        if self._lowered_to is not None and root.level == self._lowered_to:
            root.setLevel(self._root_level)
        self._lowered_to = None

    def _shown_by_others(self, record: logging.LogRecord) -> bool:
        others = (handler for handler, guard in self._filtered if guard.filter(record))
        return any(isinstance(handler, logging.StreamHandler) and record.levelno >= handler.level for handler in others)


class _AsBefore(logging.Filter):
    """Lets pass what would have passed before the root logger's level was lowered."""

    def __init__(self, root_level: int) -> None:
        super().__init__()
        self._root_level = root_level

    def filter(self, record: logging.LogRecord) -> bool:
        logger: logging.Logger | None = logging.getLogger(record.name)
        while logger is not None and logger.parent is not None:
            if logger.level:
                return True
            logger = logger.parent
        return record.levelno >= self._root_level


_hub = _Hub()
