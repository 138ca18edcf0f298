"""Taps on everything through which output leaves this process: two descriptors and two stream objects.

`OutputTaps` installs and reads them together. `DescriptorTap` leads a descriptor into a file, so that what C code and
child processes write can be read; `TerminalTap` does so for a terminal. `StreamTap` covers the `write` of a stream
object. `LastWords` shows what is left in the files when this process dies.
"""

from __future__ import annotations

import codecs
import contextlib
import ctypes
import io
import logging
import os
import select
import signal
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Iterable
from enum import Enum
from typing import Any, TypeAlias

from kartnb.capture.task_log import INTERVAL, Stream, TaskLog
from kartnb.interrupts import held_interrupts

logger = logging.getLogger('kartnb')

Show = Callable[[bytes], None]

_READ = 1 << 18
#: Bytes that were read are freed on the disk in pieces of this size.
_PUNCH = 1 << 22
_KEEP_SIZE_AND_PUNCH = 3
_libc: Any = None
#: Of C's `setvbuf`, as all libraries of Linux number them.
_FULLY_BUFFERED, _LINE_BUFFERED = 0, 1


class DescriptorTap:
    """Leads descriptor 1 or 2 of this process into a file; `saved` is a copy of the descriptor as it was.

    `file` appends to the file, and `reader` reads it, `position` bytes so far; a copy of `reader` in another process
    goes on from where this one has read.
    """

    def __init__(self, number: int) -> None:
        self.number = number
        self.stream: Stream = 'stdout' if number == 1 else 'stderr'
        self.saved = os.dup(number)
        try:
            self.file, self.reader = _open_file()
        except OSError:
            os.close(self.saved)
            raise
        self._open = [self.saved, self.file, self.reader]
        self.position = self._freed = 0
        self.closed = False
        self._has_decoded = False
        self._decoder = codecs.getincrementaldecoder('utf-8')('replace')
        os.dup2(self.file, number)

    def end(self) -> int:
        """How many bytes have been written."""
        # fstat changes nothing, should another thread have closed the file and its number be reused
        return self.position if self.closed else os.fstat(self.file).st_size

    def read(self) -> bytes:
        """Read some of what has been written since the last read."""
        data = os.read(self.reader, _READ)
        self.position += len(data)
        if self.position - self._freed > _PUNCH:
            self._free()
        return data

    def skip_to_last(self, count: int) -> int:
        """Leave out all but the last bytes; gives how many were left out."""
        skipped = max(self.end() - count - self.position, 0)
        self.position = os.lseek(self.reader, skipped, os.SEEK_CUR)
        self._free()
        return skipped

    def decoded(self, data: bytes) -> str:
        """Decode the next bytes; what is not UTF-8 becomes U+FFFD."""
        self._has_decoded = True
        return self._decoder.decode(data)

    def end_of_text(self) -> str:
        """U+FFFD for an unfinished character at the end, else ''."""
        if not self._has_decoded:
            return ''
        self._has_decoded = False
        return self._decoder.decode(b'', final=True)

    def give_back(self) -> None:
        """Restore the descriptor; what has been written can still be read."""
        os.dup2(self.saved, self.number)

    def close(self) -> None:
        """Close what was opened for it."""
        self.closed = True
        while self._open:
            os.close(self._open.pop())

    def _free(self) -> None:
        """Free the disk space of what was read, where the system can do that."""
        if sys.platform == 'linux':
            length = self.position - self._freed
            _c_library().fallocate(self.file, _KEEP_SIZE_AND_PUNCH, ctypes.c_long(self._freed), ctypes.c_long(length))
        self._freed = self.position


def write_all(descriptor: int, data: bytes) -> None:
    """Write bytes to a descriptor, also a non-blocking one; drop them if the other end is closed."""
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(descriptor, view) :]
        except BlockingIOError:
            select.select([], [descriptor], [])
        except OSError:
            return


def flush_c_streams() -> None:
    """Flush C's own buffer of standard output."""
    # not fflush(NULL): it would wait for a thread that reads standard input
    library = _c_library()
    if library.kartnb_stdout:
        library.fflush(library.kartnb_stdout)


def buffer_c_lines(lines: bool) -> bool:
    """Let C's standard output leave its buffer with each line, or when the buffer is full; gives whether that is new.

    So what C code prints comes before what a child process prints after it. Done only where the system says how the
    buffer works, so that it can be restored.
    """
    library = _c_library()
    stdout = library.kartnb_stdout
    try:
        has_lines, size = library.__flbf(stdout), library.__fbufsize
    except AttributeError:
        return False
    size.restype = ctypes.c_size_t
    if not stdout or bool(has_lines) == lines or size(stdout) == 1:  # a size of one means unbuffered
        return False
    kind = _LINE_BUFFERED if lines else _FULLY_BUFFERED
    return bool(library.setvbuf(stdout, None, kind, ctypes.c_size_t(0)) == 0)


def _c_library() -> Any:
    global _libc
    if _libc is None:
        _libc = ctypes.CDLL(None)
        name = '__stdoutp' if sys.platform == 'darwin' else 'stdout'
        try:
            _libc.kartnb_stdout = ctypes.c_void_p.in_dll(_libc, name)
        except ValueError:
            _libc.kartnb_stdout = None
    return _libc


def _open_file() -> tuple[int, int]:
    """Two descriptors of a new file without a name: one appends, one reads."""
    created, path = tempfile.mkstemp(prefix='kartnb-')
    os.close(created)
    try:
        # opened twice, because copies of one descriptor share their position
        appending = os.open(path, os.O_WRONLY | os.O_APPEND)
        try:
            return appending, os.open(path, os.O_RDONLY)
        except OSError:
            os.close(appending)
            raise
    finally:
        os.unlink(path)


_SHELL = '/bin/sh'
#: Ends when it reads a line; if this process ends without sending one, it shows what is left in the two files.
_SCRIPT = 'read end <&3 || { sleep 0.2; cat <&4 >&5; cat <&6 >&7; }'


class LastWords:
    """A small process that shows what is left in the files of tapped descriptors when this process dies.

    `places` are pairs of descriptors: one that reads a file, and one where its bytes are shown.
    """

    def __init__(self, places: Iterable[tuple[int, int]]) -> None:
        import fcntl  # not on Windows

        reading, self._end = os.pipe()
        # the reading positions are shared with this process, so nothing is shown twice
        # numbers from 20 on: none is overwritten by the copies to 3, 4, … before it is copied itself
        descriptors = [fcntl.fcntl(number, fcntl.F_DUPFD_CLOEXEC, 20) for number in (reading, *sum(places, ()))]
        os.close(reading)
        try:
            self._process = os.posix_spawn(
                _SHELL,
                [_SHELL, '-c', _SCRIPT],
                os.environ,
                file_actions=[(os.POSIX_SPAWN_DUP2, number, 3 + i) for i, number in enumerate(descriptors)],
                setpgroup=0,  # an interrupt from the keyboard is not for it
            )
        except BaseException:
            os.close(self._end)
            raise
        finally:
            for number in descriptors:
                os.close(number)

    def close(self) -> None:
        """End the small process: nothing is left to show."""
        end, self._end = self._end, -1
        if end >= 0:
            with contextlib.suppress(OSError):  # it was killed
                os.write(end, b'\n')
            os.close(end)
        try:
            os.waitpid(self._process, 0)
        except ChildProcessError:  # waited for elsewhere
            pass


#: Takes a stream's name and what was written; gives whether that must not be shown.
TakeText: TypeAlias = Callable[[Stream, str], bool]

#: Set while a covered stream writes: it may pass the text on to another covered one, which must not count it again.
_writing = threading.local()


class StreamTap:
    """One stream object, whose `write` is covered: `take` is called with each text before it is shown.

    `around` is a copy of the object's own descriptor, when that is tapped; else None.
    """

    def __init__(self, stream: Any, name: Stream, take: TakeText, around: int | None) -> None:
        self.stream = stream
        self.name = name
        self._take = take
        self._own = {key: vars(stream)[key] for key in ('write', 'flush', 'close') if key in vars(stream)}
        self._shown = None if around is None else _like(stream, around)
        self._show: Callable[[str], int] = stream.write if self._shown is None else self._shown.write
        self._flush_own: Callable[[], None] = stream.flush
        self._active = True
        # one bound method each, so that `remove` can tell it from what others put in its place
        self._covers: dict[str, Any] = {'write': self._write, 'close': self._close}
        if self._shown is not None:
            self._covers['flush'] = self._flush
        for key, cover in self._covers.items():
            setattr(stream, key, cover)

    def show(self, text: str) -> None:
        """Show a text without capturing it."""
        self._show(text)

    def flush_own(self) -> None:
        """Flush the object's own buffer to its descriptor, unless the user's code has closed it."""
        if self._shown is not None:
            try:
                self._flush_own()
            except (OSError, ValueError):
                pass

    def flush_shown(self) -> None:
        """Show what was written so far."""
        if self._shown is not None:
            self._shown.flush()

    def remove(self) -> None:
        """Uncover the object; what others have put over the cover stays."""
        with contextlib.suppress(OSError, ValueError):
            self.flush_shown()
        self._active = False
        for key, cover in self._covers.items():
            if vars(self.stream).get(key) is cover:
                delattr(self.stream, key)
                vars(self.stream).update({key: self._own[key]} if key in self._own else {})
        if self._shown is not None:
            self._show, self._shown = self._uncovered('write'), None

    def lead_to(self, descriptor: int) -> None:
        """In a forked process: write to a descriptor, which the parent process reads."""
        encoding = getattr(self.stream, 'encoding', None) or 'utf-8'

        def show(text: str) -> int:
            write_all(descriptor, text.encode(encoding, 'backslashreplace'))
            return len(text)

        self._active, self._show, self._shown = False, show, None

    def _uncovered(self, key: str) -> Any:
        return self._own.get(key) or getattr(type(self.stream), key).__get__(self.stream)

    def _write(self, text: str) -> int:
        if not self._active or getattr(_writing, 'now', False):
            return self._show(text)
        if not isinstance(text, str):
            raise TypeError(f'write() argument must be str, not {type(text).__name__}')
        _writing.now = True
        try:
            return len(text) if self._take(self.name, text) else self._show(text)
        finally:
            _writing.now = False

    def _flush(self) -> None:
        self._flush_own()
        self.flush_shown()

    def _close(self) -> None:
        if self._active and not sys.is_finalizing():
            # what is shown after the task goes there too, and a kernel would wait forever for its tapped descriptor
            warnings.warn(f'A task closed sys.{self.name}, which is not its own: it stays open.', stacklevel=2)
        else:
            self._uncovered('close')()


def _like(stream: Any, descriptor: int) -> io.TextIOWrapper:
    """A stream that writes to another descriptor as this one does to its own."""
    through = bool(getattr(stream, 'write_through', False))
    binary: Any = open(descriptor, 'wb', buffering=0 if through else -1, closefd=False)  # noqa: SIM115
    return io.TextIOWrapper(
        binary,
        encoding=getattr(stream, 'encoding', None) or 'utf-8',
        errors=getattr(stream, 'errors', None) or 'replace',
        newline='',
        line_buffering=bool(getattr(stream, 'line_buffering', False)),
        write_through=through,
    )


#: Written to find out what has arrived in the file; a terminal would ignore it.
_MARK = b'\x1b]kartnb\x07'
_LOOK_BACK = 1 << 16
#: After so many texts of Python code with nothing else in between, only one that comes after a pause waits.
_CALM = 200
_PAUSE = 0.005


class TerminalTap(DescriptorTap):
    """Leads a descriptor of a terminal into a file, through a pseudo-terminal: programs still see a terminal."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        try:
            self._master, self._slave = os.openpty()
            self._resemble()
            self._copier = os.posix_spawnp(
                'cat',
                ['cat'],
                os.environ,
                file_actions=[
                    (os.POSIX_SPAWN_DUP2, self._master, 0),
                    (os.POSIX_SPAWN_DUP2, self.file, 1),
                    (os.POSIX_SPAWN_OPEN, 2, os.devnull, os.O_WRONLY, 0),
                ],
                setpgroup=0,  # an interrupt from the keyboard is not for it
            )
        except BaseException:
            super().give_back()
            super().close()
            raise
        os.dup2(self._slave, number)

    def mark(self) -> None:
        """Send a mark after what was written so far."""
        if not self.closed:
            os.write(self._slave, _MARK)

    def wait_for_mark(self) -> None:
        """Wait until the mark is in the file, and so all that came before it."""
        deadline = time.monotonic() + _PATIENCE
        while not self.closed and time.monotonic() < deadline:
            start = max(self.position, self.end() - _LOOK_BACK)
            if _MARK in os.pread(self.reader, _LOOK_BACK, start):
                return
            time.sleep(0.0001)

    def read(self) -> bytes:
        data = super().read()
        begun = data.rfind(_MARK[:1], -len(_MARK))
        if begun >= 0 and _MARK.startswith(data[begun:]) and len(data) - begun < len(_MARK):
            rest = os.read(self.reader, len(_MARK) - (len(data) - begun))
            self.position += len(rest)
            data += rest
        return data.replace(_MARK, b'')

    def close(self) -> None:
        copier, self._copier = self._copier, 0
        if copier:
            os.kill(copier, signal.SIGKILL)
            with contextlib.suppress(ChildProcessError):  # waited for elsewhere
                os.waitpid(copier, 0)
            self._open += [self._slave, self._master]
        super().close()

    def _resemble(self) -> None:
        """Take over size and modes of the real terminal; what is written stays unprocessed."""
        import fcntl  # not on Windows
        import termios

        size = fcntl.ioctl(self.saved, termios.TIOCGWINSZ, bytes(8))
        fcntl.ioctl(self._slave, termios.TIOCSWINSZ, size)
        modes = termios.tcgetattr(self.saved)
        modes[1] &= ~termios.OPOST
        modes[3] &= ~termios.ECHO
        termios.tcsetattr(self._slave, termios.TCSANOW, modes)


class Terminals:
    """Those of the tapped descriptors that are terminals."""

    def __init__(self, taps: Iterable[DescriptorTap]) -> None:
        self._taps = [tap for tap in taps if isinstance(tap, TerminalTap)]
        self._calm = 0
        self._asked = 0.0
        self._ends: list[int] = []

    def __bool__(self) -> bool:
        return bool(self._taps)

    def begin(self) -> None:
        """A task begins."""
        self._calm = 0

    def catch_up(self) -> None:
        """Wait until everything that was written so far is in the files."""
        for tap in self._taps:
            tap.mark()
        for tap in self._taps:
            tap.wait_for_mark()

    def catch_up_before_text(self) -> None:
        """As `catch_up` before a text of Python code, if something else may have been written."""
        now = time.monotonic()
        is_due = self._calm < _CALM or now - self._asked > _PAUSE
        self._asked = now
        if is_due:
            nothing_else = [end + len(_MARK) for end in self._ends]
            self.catch_up()
            self._ends = [tap.end() for tap in self._taps]
            self._calm = self._calm + 1 if self._ends == nothing_else else 0


_NUMBERS: dict[Stream, int] = {'stdout': 1, 'stderr': 2}
#: Of more unread output, where it is not shown, so many bytes of the beginning and of the end are read.
_READ_OF_TOO_MANY = 1 << 22
#: Seconds more than `INTERVAL` until the next look while nothing is written.
_LONGEST_PAUSE = 0.25
#: Seconds to wait for the thread of the taps, which may be busy with a listener.
_PATIENCE = 2.0


class Mode(Enum):
    """What happens to captured output."""

    SHOWN = 'shown as ever'
    TAKEN = 'not shown when it is a task that prints'
    SWALLOWED = 'never shown'


class OutputTaps:
    """All taps of this process while they are installed.

    `take` is given what Python code writes, and gives whether that must not be shown; `owners` gives the logs for what
    C code and child processes write; `tick` is called in a thread every `INTERVAL` seconds while something is written.
    """

    def __init__(
        self,
        mode: Mode,
        take: TakeText,
        owners: Callable[[], Iterable[TaskLog]],
        tick: Callable[[], None],
    ) -> None:
        self._mode = mode
        self._take = take
        self._owners = owners
        self._on_tick = tick
        self._lock = threading.RLock()
        self._streams: list[StreamTap] = []
        self._covered: dict[str, Any] = {}
        self._cells: dict[str, StreamTap] = {}
        self._last_words: LastWords | None = None
        self._over = threading.Event()
        self._stirred = threading.Event()
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
        """Take in what C code and child processes have written, before Python code writes something."""
        if not self._stirred.is_set():
            self._stirred.set()
        if self._descriptors:
            flush_c_streams()
        if self._terminals:
            with self._lock:
                self._terminals.catch_up_before_text()
        self.pump()

    def cover_streams(self) -> None:
        """Cover `sys.stdout` and `sys.stderr` as they are now; the user's code may have replaced them."""
        for name in _NUMBERS:
            stream = getattr(sys, name)
            if stream is not self._covered.get(name):
                with held_interrupts():
                    self._covered[name] = stream
                    if all(tap.stream is not stream for tap in self._streams):
                        self._cover(name, stream)

    def pump(self) -> bool:
        """Take in what C code and child processes have written so far; gives whether that was anything."""
        with self._lock:  # whatever was read under the lock has been passed on, too
            # the error stream's end first: what was on standard output before something seen on the error stream is
            # then seen too, and comes before it
            ends = [(tap, tap.end()) for tap in reversed(self._descriptors)]
            more = [(tap, end) for tap, end in reversed(ends) if end > tap.position]
        for tap, end in more:
            self._pump(tap, end)
        return bool(more)

    def settle(self) -> None:
        """Take in all that has been written so far, buffers included."""
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
        self._over.set()
        self._stirred.set()
        if self._ticking.is_alive():
            self._ticking.join(_PATIENCE)
        # each step may be done twice: an interrupt while a listener hangs makes this begin again
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

    def forget(self) -> None:
        """In a forked process: what is written goes to the descriptors, which the parent process reads."""
        for stream in self._streams:
            if self._descriptors:
                stream.lead_to(_NUMBERS[stream.name])
            else:
                stream.remove()

    def flush_shown(self) -> None:
        """Empty the buffers, of which a forked process would get a copy."""
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
            self._streams.append(StreamTap(stream, name, self._take, around))
        except (AttributeError, TypeError):  # an object without settable attributes, or None
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
            # outside the lock, for which threads that print wait
            for log in owners:
                if self._mode is Mode.SWALLOWED:
                    log.advance()  # sent at once: if this process dies, exactly the unsent rest is in the file
                else:
                    log.advance_soon()
            if not data:
                return

    def _give(self, stream: Stream, *texts: str) -> list[TaskLog]:
        owners = list(self._owners())
        for log in owners:
            for text in texts:
                if text:
                    log.put(stream, text)
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
            except OSError:  # no shell, or too many processes
                logger.debug('Output that is left when this process dies would not be shown', exc_info=True)

    def _terminal_of(self, tap: DescriptorTap) -> int:
        """Where bytes go when this process is dead: of a kernel, to the terminal of its server."""
        cell = self._cells.get(tap.stream)
        return tap.saved if cell is None else cell.stream.fileno()

    def _tick(self) -> None:
        # a busy task waits for this thread each time: the less it prints, the more rarely
        pause = 0.0
        while not self._over.is_set():
            is_calm = not self._stirred.wait(pause)
            self._stirred.clear()
            if self._over.wait(INTERVAL):
                return
            if self._descriptors:
                flush_c_streams()
                is_calm = not self.pump() and is_calm
            self._on_tick()
            pause = min(pause + INTERVAL, _LONGEST_PAUSE) if is_calm else 0.0


def _take_descriptors(terminals: bool) -> list[DescriptorTap]:
    """Tap both descriptors, or neither where that does not work (on Windows, or when one is closed)."""
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
    """Flush what was written before to where it belongs."""
    for stream in (sys.stdout, sys.stderr):
        if _descriptor_of(stream) in _NUMBERS.values():
            stream.flush()
    if os.name == 'posix':
        flush_c_streams()


def _descriptor_of(stream: Any) -> int | None:
    try:
        return int(stream.fileno())
    except Exception:  # any object may stand in for a stream
        return None
