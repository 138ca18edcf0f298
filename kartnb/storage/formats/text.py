"""Lines of text, plain and compressed."""

from __future__ import annotations

import gzip
import io
from typing import IO, Any

from kartnb.errors import UnreadableResultError
from kartnb.storage.formats.base import FileProcessor, ProcessorFactory, always

_BLANKS = ' \t\n\r\v\f'  # gokart strips the lines of compressed files as bytes, and of others as text


def lines_of(text: str) -> list[str]:
    r"""Split a text into lines as reading a file does, each without the white space at its end.

    Examples
    --------
    >>> lines_of('one  \ntwo\r\n\nlast')
    ['one', 'two', '', 'last']
    """
    if '\r' in text:
        text = text.replace('\r\n', '\n').replace('\r', '\n')
    lines = text.split('\n')
    if not lines[-1]:
        lines.pop()
    return list(map(str.rstrip, lines))


def _encoded(obj: Any, encoding: str) -> bytes:
    if isinstance(obj, list):
        return '\n'.join([*map(str, obj), '']).encode(encoding)
    return str(obj).encode(encoding)


class TextFileProcessor(FileProcessor):
    r"""Keeps a list as lines, one for each element, and anything else as its `str`; always loads a list of lines.

    Examples
    --------
    >>> import io
    >>> file = io.BytesIO()
    >>> TextFileProcessor().dump(['a', 1], file)
    >>> file.getvalue()
    b'a\n1\n'
    """

    def load(self, file: IO[Any]) -> list[str]:
        """Read the lines, each without the white space at its end."""
        data = file.read()
        return lines_of(data if isinstance(data, str) else str(data, 'utf-8'))

    def dump(self, obj: Any, file: IO[Any]) -> None:
        """Write the lines of a list, or the `str` of anything else."""
        data = _encoded(obj, 'utf-8')
        file.write(data.decode('utf-8') if isinstance(file, io.TextIOBase) else data)


class GzipFileProcessor(FileProcessor):
    """Keeps what `TextFileProcessor` keeps, compressed. The bytes depend on the value alone."""

    def load(self, file: IO[bytes]) -> list[str]:
        """Read the lines, each without the white space at its end."""
        compressed = file.read()
        if not compressed:
            raise UnreadableResultError('it is empty')
        lines = gzip.decompress(compressed).decode('utf-8').split('\n')
        if not lines[-1]:
            lines.pop()
        return [line.rstrip(_BLANKS) for line in lines]

    def dump(self, obj: Any, file: IO[bytes]) -> None:
        """Write the lines of a list, or the `str` of anything else."""
        with gzip.GzipFile(filename='', fileobj=file, mode='wb', compresslevel=6, mtime=0) as compressed:
            compressed.write(_encoded(obj, 'utf-8'))


FORMATS: dict[str, ProcessorFactory] = {
    '.txt': always(TextFileProcessor()),
    '.ini': always(TextFileProcessor()),
    '.gz': always(GzipFileProcessor()),
}
