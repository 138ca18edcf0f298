"""Bytes as they are: pictures, and anything else that is already encoded."""

from __future__ import annotations

from typing import IO, Any

from kartnb.errors import WrongValueError
from kartnb.storage.formats.base import FileProcessor, ProcessorFactory, always


class BinaryFileProcessor(FileProcessor):
    """Keeps bytes as they are.

    Examples
    --------
    >>> import io
    >>> file = io.BytesIO()
    >>> BinaryFileProcessor().dump(b'picture', file)
    >>> file.getvalue()
    b'picture'
    """

    buffering = 0

    def check(self, obj: Any) -> None:
        """Take anything with a buffer: bytes, bytearray, memoryview."""
        if not isinstance(obj, bytes | bytearray | memoryview):
            raise WrongValueError(f'a binary file takes bytes, not {type(obj).__name__}')

    def load(self, file: IO[bytes]) -> bytes:
        """Read the whole file."""
        return file.read()

    def dump(self, obj: Any, file: IO[bytes]) -> None:
        """Write the bytes."""
        self.check(obj)
        rest = memoryview(obj).cast('B')
        while rest:  # an unbuffered file may take a part of them
            rest = rest[file.write(rest) :]


FORMATS: dict[str, ProcessorFactory] = dict.fromkeys(('.png', '.jpg'), always(BinaryFileProcessor()))
