"""What one running task prints and logs: put into lines, sent to listeners, and kept within bounds.

`TaskLog` is the log of one task; `LogTap` is the logging handler through which logged lines come in.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Literal, TypeAlias, cast

from kartnb.capture.lines import KeptLines, PrintedLines, progress_of, visible
from kartnb.interrupts import held_interrupts
from kartnb.model import LogLine, TaskEvent, TaskOutput, TaskProgress
from kartnb.storage.places import CapturedLine, Source
from kartnb.task.secrets import NO_SECRETS, Masker

_thread = threading.local()


def is_echo() -> bool:
    """Whether this thread is in a handler of the user's, which writes a log line that is captured as such."""
    return getattr(_thread, 'echo', False)


class LogTap(logging.Handler):
    """The last handler of the root logger while a build runs; it captures every record.

    `take` is given each record, and whether a handler of the user's has shown it.
    """

    def __init__(self, take: Callable[[logging.LogRecord, bool], None]) -> None:
        super().__init__()
        self._take = take
        self._root_level = logging.WARNING
        self._lowered_to: int | None = None
        self._filtered: list[tuple[logging.Handler, _AsBefore]] = []

    def handle(self, record: logging.LogRecord) -> bool:
        """Capture a record without the lock of a handler: listeners are called, and may wait for a thread that logs."""
        self.emit(record)
        return True

    def emit(self, record: logging.LogRecord) -> None:
        """Capture a record."""
        _thread.echo = False
        self._take(record, self._shown_by_others(record))

    def install(self) -> None:
        """Begin to capture."""
        self._root_level = logging.getLogger().level
        self.be_last()

    def lower(self, level: int) -> None:
        """Let the root logger pass records of this level and above."""
        root = logging.getLogger()
        if root.level > level:
            root.setLevel(level)
            self._lowered_to = level

    def users_root_level(self) -> int:
        """The level of the root logger if it was not lowered."""
        level = logging.getLogger().level
        return self._root_level if level == self._lowered_to else level

    def be_last(self) -> None:
        """Become the last handler of the root logger, and guard those that the user's code has added meanwhile."""
        _thread.echo = False  # an interrupt in a handler of the user's leaves it set
        root = logging.getLogger()
        if root.handlers and root.handlers[-1] is self:
            return
        with held_interrupts():
            self._become_last(root)

    def _become_last(self, root: logging.Logger) -> None:
        root.removeHandler(self)
        guarded = {handler for handler, _ in self._filtered}
        for handler in root.handlers:
            if handler not in guarded:
                guard = _AsBefore(self._root_level)
                handler.addFilter(guard)
                self._filtered.append((handler, guard))
        root.addHandler(self)

    def remove(self) -> None:
        """Stop capturing, and leave the root logger and its handlers as they were."""
        root = logging.getLogger()
        root.removeHandler(self)
        for handler, guard in self._filtered:
            handler.removeFilter(guard)
        self._filtered.clear()
        # a level that a task has set itself stays
        if self._lowered_to is not None and root.level == self._lowered_to:
            root.setLevel(self._root_level)
        self._lowered_to = None

    def would_pass(self, logger: logging.Logger, level: int) -> bool:
        """Whether a logger would pass records of a level if nothing was captured."""
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


Stream: TypeAlias = Literal['stdout', 'stderr']
_Waiting: TypeAlias = tuple[float, Stream, str] | LogLine

#: Seconds between two times that printed text is put into lines; after a longer pause it is done at once.
INTERVAL = 0.05
#: When more characters than this wait, they are put into lines at once.
_MOST_WAITING = 100_000
#: Characters of one logged text that are kept.
_LONGEST_LOGGED = 100_000
#: After this many characters, listeners are sent only the last lines, a few times a second.
REPORTED_IN_FULL = 1_000_000
_REPORTED_LAST = 50
_FLOOD_INTERVAL = 0.1
#: A thread that adds an event to more than this many unsent ones waits for the listeners.
_MOST_EVENTS = 10_000
#: A thread that prints while so many characters wait lets the one that puts them into lines catch up for a while.
_FAR_BEHIND = 2_000_000
_PATIENCE = 1.0


class TaskLog:
    """The lines of one run of one task, or the lines of a build that belong to no task: then the key is ''.

    Secrets are masked in all that it keeps and sends.
    """

    def __init__(self, build_id: str, key: str, emit: Callable[[TaskEvent], None], mask: Masker = NO_SECRETS) -> None:
        self.build_id = build_id
        self.key = key
        self._emit = emit
        self._mask = mask
        # an interrupt between taking a lock and the block that gives it back leaves it taken: by its own thread, which
        # can take these again
        self._lock = threading.RLock()
        self._notifying = threading.RLock()
        self._notifier = self._taker = 0
        # text is queued here, so that code that prints (a signal handler, a finalizer) never waits for `_lock`
        self._waiting: deque[_Waiting] = deque()
        self._waiting_size = 0
        self._taken_at = 0.0
        self._printed: dict[Stream, PrintedLines] = {}
        self._kept: KeptLines | None = None  # until there is a line: most tasks print none
        self._events: deque[TaskEvent] = deque()
        self._reported = 0
        self._newest_queued_at = 0.0
        self._newest: TaskOutput | None = None
        self._progress: tuple[float | None, str] = (None, '')

    @property
    def lines(self) -> list[CapturedLine]:
        """The lines that are kept."""
        with self._lock:
            return [] if self._kept is None else self._kept.lines()

    def _keep(self, when: float, source: Source, lines: list[str], level: int = 0, logger: str = '') -> None:
        if self._kept is None:
            self._kept = KeptLines()
        self._kept.add(when, source, lines, level, logger)

    def put(self, stream: Stream, text: str) -> None:
        """Queue printed text for the next `advance`."""
        self._waiting.append((time.time(), stream, text))
        self._waiting_size += len(text)

    def print(self, stream: Stream, text: str) -> None:
        """Queue printed text, and put it into lines unless that was done just now."""
        if len(text) > _MOST_WAITING:
            for start in range(0, len(text), _MOST_WAITING):
                self.put(stream, text[start : start + _MOST_WAITING])
                self.advance()
            return
        now = time.time()
        self._waiting.append((now, stream, text))
        self._waiting_size += len(text)
        is_due = now - self._taken_at > INTERVAL and ('\n' in text or '\r' in text)
        if is_due or self._waiting_size > _MOST_WAITING:
            self.advance()

    def advance_soon(self) -> None:
        """Put queued text into lines, unless that was done just now."""
        if self._waiting_size > _MOST_WAITING or time.time() - self._taken_at > INTERVAL:
            self.advance()

    def log(self, line: LogLine) -> None:
        """Take in a logged line."""
        self._waiting.append(replace(line, text=self._mask(line.text)) if self._mask else line)
        self.advance()

    def remember(self, event: TaskEvent) -> None:
        """Keep the line of an event that another process has sent."""
        with self._lock:
            if isinstance(event, LogLine):
                self._keep_logged(event)
            elif isinstance(event, TaskOutput):
                self._keep(event.time, cast(Stream, event.stream), event.text.split('\n'))

    def advance(self) -> None:
        """Put queued text into lines and send the events, unless another thread is doing that."""
        # not in a signal handler in the midst of it
        if self._waiting and self._taker != threading.get_ident() and self._may_take():
            try:
                self._take_waiting()
            finally:
                self._lock.release()
        self._notify()

    def _may_take(self) -> bool:
        if self._waiting_size < _FAR_BEHIND:
            return self._lock.acquire(blocking=False)
        # not forever: a signal handler may print in the thread that has the lock
        return self._lock.acquire(timeout=_PATIENCE)

    def settle(self) -> None:
        """Finish: unfinished lines are ended, and every event has been sent when this returns."""
        if not (self._waiting or self._printed or self._events or self._notifier):
            return
        with self._lock:
            self._take_waiting()
            for stream, printed in self._printed.items():
                self._add(time.time(), stream, printed.end())
            self._printed.clear()
            self._queue_newest()
        self._notify(wait=True)

    def _take_waiting(self) -> None:
        self._taker = threading.get_ident()
        try:
            self._take_all()
        finally:
            self._taker = 0

    def _take_all(self) -> None:
        self._taken_at = time.time()
        self._waiting_size = 0
        while self._waiting:
            first = self._waiting.popleft()
            if isinstance(first, LogLine):
                self._end_bars(first.time)
                self._keep_logged(first)
                self._events.append(first)
            else:
                self._take_printed(*first)
        if self._taken_at - self._newest_queued_at > _FLOOD_INTERVAL:
            self._queue_newest()

    def _take_printed(self, when: float, stream: Stream, text: str) -> None:
        texts, size = [text], len(text)
        while self._waiting and size < _FAR_BEHIND:
            following = self._waiting[0]
            if isinstance(following, LogLine) or following[1] != stream:
                break
            texts.append(following[2])
            size += len(following[2])
            self._waiting.popleft()
        self._end_bars(when, other_than=stream)
        printed = self._printed.setdefault(stream, PrintedLines(self._mask))
        self._add(when, stream, printed.feed(''.join(texts)))
        self._note_progress(self._mask(printed.rewritten))

    def _end_bars(self, when: float, other_than: Stream | None = None) -> None:
        """Put finished bars before what another stream prints, or what is logged."""
        for stream, printed in self._printed.items():
            if stream != other_than:
                self._add(when, stream, printed.ended())

    def _add(self, when: float, stream: Stream, lines: list[str]) -> None:
        if not lines:
            return
        self._keep(when, stream, lines)
        self._reported += sum(map(len, lines)) + len(lines)
        is_flood = self._reported > REPORTED_IN_FULL
        text = '\n'.join(lines[-_REPORTED_LAST:] if is_flood else lines)
        event = TaskOutput(self.build_id, self.key, stream, text, when)
        if is_flood:
            self._newest = event
        else:
            self._events.append(event)

    def _queue_newest(self) -> None:
        if self._newest is not None:
            self._events.append(self._newest)
            self._newest = None
            self._newest_queued_at = time.time()

    def _note_progress(self, line: str) -> None:
        if line:
            progress = progress_of(line)
            if progress != self._progress:
                self._progress = progress
                self._events.append(TaskProgress(self.build_id, self.key, *progress))

    def _keep_logged(self, line: LogLine) -> None:
        text = visible(line.text)
        if len(text) > _LONGEST_LOGGED:
            left_out = len(text) - _LONGEST_LOGGED
            text = f'{text[:_LONGEST_LOGGED]}… and {left_out:,} more characters'
        self._keep(line.time, 'log', [text], line.level, line.logger)

    def _notify(self, wait: bool = False) -> None:
        # outside `_lock`, for which a thread with a listener's own lock could wait; one thread at a time, for the order
        here = threading.get_ident()
        while self._events and self._notifier != here and self._notifying.acquire(blocking=wait or self._is_behind()):
            self._notifier = here
            try:
                while self._events:
                    self._emit(self._events.popleft())
            finally:
                self._notifier = 0
                self._notifying.release()

    def _is_behind(self) -> bool:
        return len(self._events) > _MOST_EVENTS


def events_of(lines: Iterable[CapturedLine], build_id: str, key: str) -> Iterator[TaskEvent]:
    """The events of captured lines that another process has sent with an outcome."""
    for line in lines:
        if line.source == 'log':
            yield LogLine(build_id, key, line.level, line.logger, line.text, time=line.time)
        else:
            stream = line.source if line.source in ('stdout', 'stderr') else 'stdout'
            yield TaskOutput(build_id, key, stream, line.text, line.time)
