"""Hearing what Python code writes to `sys.stdout` and `sys.stderr`.

The stream objects stay in their places: only their `write` is covered by one that listens. So everything else
about them is as it was (`isatty`, `encoding`, a cell that a front end has bound to the thread), what others keep of
them goes on working, and there is nothing to put back when the user's code replaces `sys.stdout` meanwhile.
"""

from __future__ import annotations

import io
import threading
from collections.abc import Callable
from typing import Any, TypeAlias

from kartnb.execution.capture.descriptors import write_all
from kartnb.execution.capture.task_log import Stream

#: Is given a stream's name and what was written; tells whether that is to be kept from being shown.
Hear: TypeAlias = Callable[[Stream, str], bool]

#: Where a stream hands on what it is given to another one that is covered too, only the first one counts.
_writing = threading.local()


class StreamTap:
    """One stream object, whose `write` is covered.

    Parameters
    ----------
    stream
        The object.
    name
        'stdout' or 'stderr'.
    hear
        Is asked before each text is shown, and told of it.
    around
        A descriptor that leads where the object's own did, which has been taken over; None when it has not.

    Raises
    ------
    AttributeError
        When the object lets nothing be covered.
    """

    def __init__(self, stream: Any, name: Stream, hear: Hear, around: int | None) -> None:
        self.stream = stream
        self.name = name
        self._hear = hear
        self._own = {key: vars(stream)[key] for key in ('write', 'flush') if key in vars(stream)}
        self._shown = None if around is None else _like(stream, around)
        self._show: Callable[[str], int] = stream.write if self._shown is None else self._shown.write
        self._flush_own: Callable[[], None] = stream.flush
        self._active = True
        # one bound method each, so that it can be told from what others put in its place
        self._covers: dict[str, Any] = {'write': self._write}
        if self._shown is not None:
            self._covers['flush'] = self._flush
        for key, cover in self._covers.items():
            setattr(stream, key, cover)

    def show(self, text: str) -> None:
        """Show a text without hearing it."""
        self._show(text)

    def flush_own(self) -> None:
        """Let what was written to the object's own buffer go to its descriptor."""
        if self._shown is not None:
            self._flush_own()

    def flush_shown(self) -> None:
        """Show what was written so far."""
        if self._shown is not None:
            self._shown.flush()

    def remove(self) -> None:
        """Uncover the object; what somebody has put over the cover stays."""
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
            return len(text) if self._hear(self.name, text) else self._show(text)
        finally:
            _writing.now = False

    def _flush(self) -> None:
        self._flush_own()
        self.flush_shown()


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
