"""Taking over the file descriptors 1 and 2, for what C code and child processes print.

A descriptor is led into a temporary file, which is read as it grows. A file never makes a writer wait: C code that
prints while it holds Python's lock would wait for ever for a pipe that a Python thread is to empty.
"""

from __future__ import annotations

import codecs
import ctypes
import os
import select
import sys
import tempfile
from collections.abc import Callable
from typing import Any

from kartnb.execution.capture.task_log import Stream

Show = Callable[[bytes], None]

_READ = 1 << 18
#: So much that was read is given back to the disk at a time.
_PUNCH = 1 << 22
_KEEP_SIZE_AND_PUNCH = 3
_libc: Any = None
#: Of C's `setvbuf`, as all libraries of Linux number them.
_FULLY_BUFFERED, _LINE_BUFFERED = 0, 1


class DescriptorTap:
    """One descriptor of this process, from now on led into a file.

    Parameters
    ----------
    number
        1 or 2.

    Attributes
    ----------
    saved
        Leads where the descriptor led before.
    file
        Appends to the file.
    reader
        Reads the file; a copy of it in another process goes on from where this one has read.
    position
        How many bytes have been read.
    closed
        Whether it is over.

    Raises
    ------
    OSError
        When the descriptor is closed, or there is no room for a temporary file.
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
        self.position = self._freed = 0
        self.closed = False
        self._has_decoded = False
        self._decoder = codecs.getincrementaldecoder('utf-8')('replace')
        os.dup2(self.file, number)

    def end(self) -> int:
        """How many bytes have been written."""
        # a look that changes nothing, if another thread has just closed the file and its number is another one's
        return self.position if self.closed else os.fstat(self.file).st_size

    def read(self) -> bytes:
        """Read some of what has been written since."""
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
        """The text that bytes begin or go on with; what is not UTF-8 becomes U+FFFD."""
        self._has_decoded = True
        return self._decoder.decode(data)

    def end_of_text(self) -> str:
        """What stands for a character that was begun and not ended, '' as a rule."""
        if not self._has_decoded:
            return ''
        self._has_decoded = False
        return self._decoder.decode(b'', final=True)

    def give_back(self) -> None:
        """Lead the descriptor where it led before; what has been written can still be read."""
        os.dup2(self.saved, self.number)

    def close(self) -> None:
        """Close what was opened for it."""
        self.closed = True
        for descriptor in (self.saved, self.file, self.reader):
            os.close(descriptor)

    def _free(self) -> None:
        """Give the space of what was read back to the disk, where the system can do that."""
        if sys.platform == 'linux':
            length = self.position - self._freed
            _c_library().fallocate(self.file, _KEEP_SIZE_AND_PUNCH, ctypes.c_long(self._freed), ctypes.c_long(length))
        self._freed = self.position


def write_all(descriptor: int, data: bytes) -> None:
    """Write bytes to a descriptor, also to one that does not wait by itself; a closed end takes nothing."""
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(descriptor, view) :]
        except BlockingIOError:
            select.select([], [descriptor], [])
        except OSError:
            return


def flush_c_streams() -> None:
    """Let C's own buffer of standard output go where it is to go."""
    # not fflush(NULL): it would wait for a thread that reads standard input
    library = _c_library()
    if library.kartnb_stdout:
        library.fflush(library.kartnb_stdout)


def buffer_c_lines(lines: bool) -> bool:
    """Let C's standard output leave its buffer with each line, or when the buffer is full; gives whether that is new.

    So what C code prints comes before what a child process prints after it. It is done only where the system tells
    how the buffer works, so that it can be left as it was found.
    """
    library = _c_library()
    stdout = library.kartnb_stdout
    try:
        has_lines, size = library.__flbf(stdout), library.__fbufsize
    except AttributeError:
        return False
    size.restype = ctypes.c_size_t
    if not stdout or bool(has_lines) == lines or size(stdout) == 1:  # a buffer of one byte is none
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
    """Give a descriptor that appends to a file without a name, and one that reads it."""
    created, path = tempfile.mkstemp(prefix='kartnb-')
    os.close(created)
    try:
        appending = os.open(path, os.O_WRONLY | os.O_APPEND)
        try:
            return appending, os.open(path, os.O_RDONLY)
        except OSError:
            os.close(appending)
            raise
    finally:
        os.unlink(path)
