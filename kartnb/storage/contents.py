"""Digests of the contents of files, made while they are written.

A digest is that of xxh3 (128 bits), which is not for secrets but is faster than memory. A content of several pieces is
digested piece by piece, so that a file that was not written in order need not be read whole.
"""

from __future__ import annotations

import io
import os
import threading
from collections.abc import Iterable
from typing import Any

import xxhash

_PIECE = 1 << 22
#: Written and digested by turns, so much is still in the processor's cache.
_IN_CACHE = 1 << 18
#: A smaller file is read again as quickly as its digest is looked up.
_WORTH_REMEMBERING = 1 << 18
_MOST_REMEMBERED = 1024
READ_FILE = os.O_RDONLY | getattr(os, 'O_BINARY', 0)


#: As a pickle writes them, the names of the modules whose functions and classes are the user's.
_watched: tuple[bytes, ...] = ()
#: What is written at once and is longer than this is data: a pickle's names stand between.
_LONGEST_NAMES = 1 << 18
_LONGEST_NAME = 255


def watch_for(modules: Iterable[str]) -> None:
    """Say from now on of pickles whether they name one of these modules: what they give depends on its code then."""
    global _watched
    names = [name.encode('utf-8', 'surrogatepass') for name in modules]
    short = [b'\x8c' + bytes([len(name)]) + name for name in names if len(name) <= _LONGEST_NAME]
    _watched = (*short, *(b'c' + name + b'\n' for name in names))


def may_name_code(path: str) -> bool:
    """Whether files of a format hold pickles, which may name code."""
    return path.endswith(_PICKLES)


def _names_code(data: bytes) -> bool:
    return any(name in data for name in _watched)


_PICKLES = ('.pkl', '.npz')


def content_digest(descriptor: int, size: int, search: bool = False) -> tuple[str, bool]:
    """The digest of an open file from where it stands, 32 hexadecimal digits; and, with `search`, if it names code."""
    if size <= _PIECE:
        data = os.read(descriptor, size)
        return xxhash.xxh3_128_hexdigest(data), search and _names_code(data)
    digest = ContentDigest()
    names_code, before = False, b''
    while piece := os.read(descriptor, _IN_CACHE):
        digest.add(piece)
        if search and not names_code:
            names_code = _names_code(before + piece)
            before = piece[-_LONGEST_NAME:]
    return digest.whole(), names_code


class ContentDigest:
    """Digests a content bit by bit.

    >>> digest = ContentDigest()
    >>> digest.add(b'content')
    >>> digest.whole() == xxhash.xxh3_128_hexdigest(b'content')
    True
    """

    __slots__ = ('_filled', '_present', 'pieces')

    def __init__(self) -> None:
        #: The digests of the pieces that are full.
        self.pieces: list[bytes] = []
        self._present = xxhash.xxh3_128()
        self._filled = 0

    def add(self, data: Any) -> None:
        """Go on with what follows."""
        rest = memoryview(data)
        while rest:
            part = rest[: _PIECE - self._filled]
            self._present.update(part)
            self._filled += len(part)
            rest = rest[len(part) :]
            if self._filled == _PIECE:
                self.pieces.append(self._present.digest())
                self._present = xxhash.xxh3_128()
                self._filled = 0

    def whole(self, last: bytes | None = None) -> str:
        """The digest of all that was added; `last` is that of the last piece, where it was written over."""
        if not self.pieces:
            return last.hex() if last else self._present.hexdigest()
        if self._filled:
            return xxhash.xxh3_128_hexdigest(b''.join([*self.pieces, last or self._present.digest()]))
        return self.pieces[0].hex() if len(self.pieces) == 1 else xxhash.xxh3_128_hexdigest(b''.join(self.pieces))


class DigestingFile(io.FileIO):
    """A new file, digested while it is written."""

    def __init__(self, path: str, search: bool = False) -> None:
        super().__init__(path, 'xb')
        self._search = search
        self._names_code = False
        self._digest = ContentDigest()
        self._at = self._end = 0
        #: The pieces that were written over.
        self._changed: set[int] = set()
        self._is_known = True

    def write(self, data: Any) -> int:
        """Write bytes."""
        rest = memoryview(data).cast('B')
        total = 0
        if self._search and not self._names_code and len(rest) <= _LONGEST_NAMES:
            self._names_code = _names_code(bytes(rest))
        while rest:
            written = super().write(rest[:_IN_CACHE])
            self._note(rest[:written])
            total += written
            rest = rest[written:]
        return total

    def _note(self, data: memoryview) -> None:
        if self._at > self._end:  # a hole, or written through the descriptor
            self._is_known = False
        old = min(len(data), self._end - self._at)
        if old > 0:
            self._changed.update(range(self._at // _PIECE, (self._at + old - 1) // _PIECE + 1))
        if old < len(data) and self._is_known:
            self._digest.add(data[max(old, 0) :])
        self._at += len(data)
        self._end = max(self._end, self._at)

    def seek(self, *args: Any) -> int:
        """Go to another place."""
        self._at = super().seek(*args)
        return self._at

    def truncate(self, size: int | None = None) -> int:
        """Cut the file, or let it grow."""
        self._is_known = False
        return super().truncate(size)

    def remember(self, path: str) -> None:
        """Keep the digest of the file, which is at a path, for whoever looks at it next."""
        if not self._is_known or self._end <= _WORTH_REMEMBERING:
            return
        (descriptor,) = map(os.open, (path,), (READ_FILE,))
        try:
            status = os.fstat(descriptor)
            if status.st_size != self._end:  # a library has written through the descriptor
                return
            last = None
            for number in sorted(self._changed):
                os.lseek(descriptor, number * _PIECE, os.SEEK_SET)
                found = xxhash.xxh3_128_digest(os.read(descriptor, _PIECE))
                if number < len(self._digest.pieces):
                    self._digest.pieces[number] = found
                else:
                    last = found
        finally:
            os.close(descriptor)
        with _written_lock:
            while len(_written) >= _MOST_REMEMBERED:
                del _written[next(iter(_written))]
            _written[status.st_ino, status.st_size, status.st_mtime_ns] = self._digest.whole(last), self._names_code


#: The digests of files that this process has written, by inode, size and time.
_written: dict[tuple[int, int, int], tuple[str, bool]] = {}
_written_lock = threading.Lock()


def digest_when_written(status: os.stat_result) -> tuple[str, bool] | None:
    """As `content_digest`, of a file that this process has written; None where it is unknown, or was written since."""
    return _written.get((status.st_ino, status.st_size, status.st_mtime_ns))
