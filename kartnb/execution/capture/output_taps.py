"""Everything through which output leaves this process, tapped together: two stream objects, two descriptors."""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections.abc import Callable, Iterable
from enum import Enum
from typing import Any

from kartnb.execution.capture.descriptors import DescriptorTap, buffer_c_lines, flush_c_streams, write_all
from kartnb.execution.capture.last_words import LastWords
from kartnb.execution.capture.stream_tap import Hear, StreamTap
from kartnb.execution.capture.task_log import INTERVAL, Stream, TaskLog
from kartnb.execution.capture.terminal_tap import Terminals, TerminalTap

logger = logging.getLogger('kartnb')

_NUMBERS: dict[Stream, int] = {'stdout': 1, 'stderr': 2}
#: Where nobody is shown what waits, and it is much, as many bytes of its beginning and of its end are read.
_READ_OF_TOO_MANY = 1 << 22
#: Seconds to wait for the thread that looks after them, which may be busy with a listener.
_PATIENCE = 2.0


class Mode(Enum):
    """What becomes of what is heard."""

    SHOWN = 'shown as ever'
    TAKEN = 'not shown when it is a task that prints'
    SWALLOWED = 'never shown'


class OutputTaps:
    """The taps, while they are installed.

    Parameters
    ----------
    mode
        What becomes of what is heard.
    hear
        Is told what Python code writes; gives whether that is not to be shown.
    owners
        Gives the logs that what C code and child processes write belongs to.
    tick
        Is called every now and then, in a thread of its own.
    """

    def __init__(
        self,
        mode: Mode,
        hear: Hear,
        owners: Callable[[], Iterable[TaskLog]],
        tick: Callable[[], None],
    ) -> None:
        self._mode = mode
        self._hear = hear
        self._owners = owners
        self._on_tick = tick
        self._lock = threading.RLock()
        self._streams: list[StreamTap] = []
        self._covered: dict[str, Any] = {}
        self._cells: dict[str, StreamTap] = {}
        self._last_words: LastWords | None = None
        self._over = threading.Event()
        self._ticking = threading.Thread(target=self._tick, daemon=True, name='kartnb output')
        _flush_streams()
        self._descriptors = _take_descriptors(terminals=mode is Mode.SHOWN)
        self._has_lines = bool(self._descriptors) and buffer_c_lines(True)
        self._terminals = Terminals(self._descriptors)
        try:
            self.cover_streams()
            self._show_last_words()
        except BaseException:
            self.remove()
            raise
        self._ticking.start()

    @property
    def readers(self) -> tuple[int, ...]:
        """Descriptors that read on from where this process has read what C code and child processes write."""
        return tuple(tap.reader for tap in self._descriptors)

    def begin(self) -> None:
        """A task begins."""
        self.cover_streams()
        self._terminals.begin()

    def before_text(self) -> None:
        """Take in what C code and child processes have written before Python code writes something."""
        if self._descriptors:
            flush_c_streams()
        if self._terminals:
            with self._lock:
                self._terminals.catch_up_before_text()
        self.pump()

    def cover_streams(self) -> None:
        """Hear what is written to `sys.stdout` and `sys.stderr` as they are now; the user's code may replace them."""
        for name in _NUMBERS:
            stream = getattr(sys, name)
            if stream is not self._covered.get(name):
                self._covered[name] = stream
                if all(tap.stream is not stream for tap in self._streams):
                    self._cover(name, stream)

    def pump(self) -> None:
        """Take in what C code and child processes have written so far."""
        with self._lock:  # whoever has read something has given it on, too
            # the ends are looked at in the opposite order: what was written to standard output before something that
            # is seen on the error stream is seen as well, and comes before it
            ends = [(tap, tap.end()) for tap in reversed(self._descriptors)]
            more = [(tap, end) for tap, end in reversed(ends) if end > tap.position]
        for tap, end in more:
            self._pump(tap, end)

    def settle(self) -> None:
        """Take in all that has been written so far, also what is in buffers."""
        for stream in self._streams:
            stream.flush_own()
        if self._descriptors:
            self._catch_up()
            for tap in self._descriptors:
                rest = tap.end_of_text()
                if rest:
                    self._give(tap.stream, rest)

    def remove(self) -> None:
        """Leave everything as it was found."""
        try:
            self._remove()
        except KeyboardInterrupt:
            self._remove()
            raise

    def forget(self) -> None:
        """In a forked process: what is written goes to the descriptors, which the parent process reads."""
        for stream in self._streams:
            if self._descriptors:
                stream.lead_to(_NUMBERS[stream.name])
            else:
                stream.remove()

    def flush_shown(self) -> None:
        """Leave nothing in buffers of which a forked process would get a copy."""
        for stream in self._streams:
            stream.flush_shown()

    def _catch_up(self) -> None:
        flush_c_streams()
        if self._terminals:
            with self._lock:
                self._terminals.catch_up()
        self.pump()

    def _cover(self, name: Stream, stream: Any) -> None:
        around = next((tap.saved for tap in self._descriptors if _descriptor_of(stream) == tap.number), None)
        try:
            self._streams.append(StreamTap(stream, name, self._hear, around))
        except (AttributeError, TypeError):  # an object that lets nothing be covered, or None
            return
        if type(stream).__module__.startswith('ipykernel.') and hasattr(stream, 'watch_fd_thread'):
            self._cells.setdefault(name, self._streams[-1])

    def _pump(self, tap: DescriptorTap, end: int) -> None:
        begin = tap.position
        while True:
            with self._lock:
                if tap.closed or tap.position >= end:
                    return
                skipped = 0
                if self._mode is not Mode.SHOWN and tap.position - begin >= _READ_OF_TOO_MANY < end - tap.position:
                    skipped = tap.skip_to_last(_READ_OF_TOO_MANY)
                data = tap.read()
                text = tap.decoded(data)
                owners = self._give(tap.stream, f'\n… {skipped:,} bytes left out …\n' if skipped else '', text)
                if self._mode is Mode.SHOWN or (self._mode is Mode.TAKEN and not owners):
                    self._show(tap, data, text)
            # outside of the lock, which those who print wait for
            for log in owners:
                if self._mode is Mode.SWALLOWED:
                    log.advance()  # if this process dies, what is left in the file is all that was not told
                else:
                    log.advance_soon()
            if not data:
                return

    def _give(self, stream: Stream, *texts: str) -> list[TaskLog]:
        owners = list(self._owners())
        for log in owners:
            for text in texts:
                if text:
                    log.wait_with(stream, text)
        return owners

    def _show(self, tap: DescriptorTap, data: bytes, text: str) -> None:
        cell = self._cells.get(tap.stream)
        if cell is not None:
            cell.show(text)
            return
        for stream in self._streams:
            stream.flush_shown()
        write_all(tap.saved, data)

    def _show_last_words(self) -> None:
        if self._mode is Mode.SHOWN and self._descriptors:
            places = [(tap.reader, self._terminal_of(tap)) for tap in self._descriptors]
            try:
                self._last_words = LastWords(places)
            except OSError:  # no shell, or no room for another process
                logger.debug('Last words of this process would not be shown', exc_info=True)

    def _terminal_of(self, tap: DescriptorTap) -> int:
        """Where bytes go when this process is dead; a kernel shows no more then, but its server's terminal does."""
        cell = self._cells.get(tap.stream)
        return tap.saved if cell is None else cell.stream.fileno()

    def _tick(self) -> None:
        while not self._over.wait(INTERVAL):
            if self._descriptors:
                flush_c_streams()
                self.pump()
            self._on_tick()

    def _remove(self) -> None:
        self._over.set()
        if self._ticking.is_alive():
            self._ticking.join(_PATIENCE)
        for stream in self._streams:
            stream.flush_own()
        if self._descriptors:
            self._catch_up()
        for tap in self._descriptors:
            tap.give_back()
        if self._has_lines and not os.isatty(1):
            self._has_lines = not buffer_c_lines(False)
        self.pump()
        while self._streams:
            self._streams[-1].remove()
            self._streams.pop()
        if self._last_words is not None:
            self._last_words.close()
            self._last_words = None
        with self._lock:
            while self._descriptors:
                self._descriptors[-1].close()
                self._descriptors.pop()


def _take_descriptors(terminals: bool) -> list[DescriptorTap]:
    """Take over both descriptors; neither where that does not work (on Windows, or when one is closed)."""
    if os.name != 'posix':
        return []
    taken: list[DescriptorTap] = []
    try:
        for number in _NUMBERS.values():
            taken.append(TerminalTap(number) if terminals and os.isatty(number) else DescriptorTap(number))
    except OSError:
        for tap in taken:
            tap.give_back()
            tap.close()
        return []
    return taken


def _flush_streams() -> None:
    """Let what was written before go where it would have gone."""
    for stream in (sys.stdout, sys.stderr):
        if _descriptor_of(stream) in _NUMBERS.values():
            stream.flush()
    if os.name == 'posix':
        flush_c_streams()


def _descriptor_of(stream: Any) -> int | None:
    try:
        return int(stream.fileno())
    except Exception:  # any object may be in the place of a stream
        return None
