"""Whether files are still those that somebody wrote: told by size and time, and where these differ, by content."""

from __future__ import annotations

import hashlib
import os
import zlib
from collections.abc import Iterable
from typing import NamedTuple

#: A file of up to so many bytes is compared whole; of a larger one, so much together at its beginning and its end.
_COMPARED = 1 << 18
_IN_PART = '~'


class Seen(NamedTuple):
    """What can be told of a file in little time.

    Attributes
    ----------
    size, modified
        Its bytes, and the time of its last change in epoch seconds.
    mark
        A short text that is another one when it has been written since; '' where nobody knows.
    check
        What its content is known by, `is_whole` or in part; '' where nobody knows.
    """

    size: int
    modified: float
    mark: str = ''
    check: str = ''


def see_file(path: str) -> Seen:
    """Look at a file of this computer.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.NamedTemporaryFile() as file:
    ...     see_file(file.name).check
    '0-00000000'
    """
    descriptor = os.open(path, os.O_RDONLY | getattr(os, 'O_BINARY', 0))
    try:
        status = os.fstat(descriptor)
        size = status.st_size
        mark = f'{size}.{status.st_mtime_ns}'
        return Seen(size, status.st_mtime, mark, _check(descriptor, size))
    finally:
        os.close(descriptor)


def _check(descriptor: int, size: int) -> str:
    if size <= _COMPARED:
        return f'{size}-{zlib.crc32(os.read(descriptor, size)):08x}'
    half = _COMPARED // 2
    found = zlib.crc32(os.read(descriptor, half))
    os.lseek(descriptor, -half, os.SEEK_END)
    return f'{size}-{zlib.crc32(os.read(descriptor, half), found):08x}{_IN_PART}'


def seen_object(size: int, modified: float, etag: str) -> Seen:
    """What an object store tells of an object; the ETag, where it has one, names the content."""
    if not etag:
        return Seen(size, modified, f'{size}.{modified!r}' if modified else '', f'{size}-{_IN_PART}')
    return Seen(size, modified, f'{size}.{etag}', f'{size}-{etag}')


def is_whole(check: str) -> bool:
    """Whether a check is of the whole content."""
    return bool(check) and not check.endswith(_IN_PART)


def joint_mark(marks: Iterable[str]) -> str:
    """One short text for the marks of several files; '' where one of them is not known, or there are none.

    Examples
    --------
    >>> joint_mark(['5.1700000000', '7.1700000001'])
    '6e562eee9b'
    >>> joint_mark(['5.1700000000', ''])
    ''
    """
    every = list(marks)
    return hashlib.blake2b(' '.join(every).encode(), digest_size=5).hexdigest() if all(every) and every else ''
