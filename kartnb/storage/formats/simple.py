"""Formats of one value each: pickles, lines of text, bytes, arrays and XML.

The libraries behind the rarer ones are imported when a file of theirs is met: pickles come with every build.
"""

from __future__ import annotations

import gzip
import io
from typing import IO, TYPE_CHECKING, Any

from kartnb.errors import UnreadableResultError, WrongValueError
from kartnb.storage import pickling
from kartnb.storage.formats.base import FileProcessor, ProcessorFactory, always
from kartnb.storage.peek import MOST_BYTES, peek

if TYPE_CHECKING:
    from xml.etree import ElementTree

    import numpy as np

_BLANKS = ' \t\n\r\v\f'  # gokart strips the lines of compressed files as bytes, and of others as text
_MEMBER = 'data'
_ARRAY_PIECE = 1 << 20
_LONGEST_HEADER = 1 << 24


class PickleFileProcessor(FileProcessor):
    """Keeps any value that can be pickled, in files that `pickle.load` reads."""

    buffering = 0

    def small_bytes(self, obj: Any) -> bytes | None:
        """The whole pickle of a small value of plain types."""
        return pickling.dumps_plain(obj) if type(self) is PickleFileProcessor else None

    def load(self, file: IO[bytes]) -> Any:
        """Read a value."""
        return pickling.load(file)

    def peek(self, file: IO[bytes]) -> Any:
        """Read the plain parts of a value."""
        return peek(file.read(MOST_BYTES + 1))

    def dump(self, obj: Any, file: IO[bytes]) -> None:
        """Write a value."""
        pickling.dump(obj, file)


def lines_of(text: str) -> list[str]:
    r"""Split a text into lines as reading a file does, each without the white space at its end.

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

    peek = load

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

    peek = load

    def dump(self, obj: Any, file: IO[bytes]) -> None:
        """Write the lines of a list, or the `str` of anything else."""
        with gzip.GzipFile(filename='', fileobj=file, mode='wb', compresslevel=6, mtime=0) as compressed:
            compressed.write(_encoded(obj, 'utf-8'))


class BinaryFileProcessor(FileProcessor):
    """Keeps bytes as they are.

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

    peek = load

    def dump(self, obj: Any, file: IO[bytes]) -> None:
        """Write the bytes."""
        self.check(obj)
        rest = memoryview(obj).cast('B')
        while rest:  # an unbuffered file may take a part of them
            rest = rest[file.write(rest) :]


class NpzFileProcessor(FileProcessor):
    """Keeps one array, under the name ``data``, uncompressed: about as fast as the disk. gokart reads it.

    >>> import io
    >>> import numpy as np
    >>> file = io.BytesIO()
    >>> NpzFileProcessor().dump(np.arange(3), file)
    >>> _ = file.seek(0)
    >>> NpzFileProcessor().load(file)
    array([0, 1, 2])
    """

    def check(self, obj: Any) -> None:
        """Take arrays whose values are bytes: no Python objects, no masks."""
        import numpy as np

        if not isinstance(obj, np.ndarray):
            raise WrongValueError(f'an npz file takes a numpy array, not {type(obj).__name__}')
        if obj.dtype.hasobject:
            raise WrongValueError('an npz file does not keep arrays of Python objects: use a .pkl file')
        if isinstance(obj, np.ma.MaskedArray):
            raise WrongValueError('an npz file does not keep the mask of a masked array: use a .pkl file')

    def load(self, file: IO[bytes]) -> np.ndarray[Any, Any]:
        """Read the array; a damaged file is noticed by its checksum."""
        import numpy as np

        with np.load(file, max_header_size=_LONGEST_HEADER) as members:
            array: np.ndarray[Any, Any] = members[_MEMBER]
        return array

    peek = load

    def dump(self, obj: Any, file: IO[bytes]) -> None:
        """Write the array, a piece at a time, so that a piece is in the processor's cache for its checksum."""
        import zipfile

        self.check(obj)
        with zipfile.ZipFile(file, 'w') as archive, archive.open(f'{_MEMBER}.npy', 'w', force_zip64=True) as member:
            _write_array(obj, member)


def _write_array(array: np.ndarray[Any, Any], file: IO[bytes]) -> None:
    import numpy as np

    scattered = not (array.flags.c_contiguous or array.flags.f_contiguous)
    if scattered or array.dtype.names is not None:  # names may need a header of another version
        np.lib.format.write_array(file, array, allow_pickle=False)
        return
    layout = np.lib.format.header_data_from_array_1_0(array)
    np.lib.format.write_array_header_1_0(file, layout)
    in_order = array.T if layout['fortran_order'] else array
    values = memoryview(in_order.reshape(-1).view(np.uint8))  # type: ignore[arg-type]
    for start in range(0, len(values), _ARRAY_PIECE):
        file.write(values[start : start + _ARRAY_PIECE])


class XmlFileProcessor(FileProcessor):
    """Keeps an `xml.etree.ElementTree.ElementTree`.

    >>> import io
    >>> from xml.etree import ElementTree
    >>> file = io.BytesIO()
    >>> XmlFileProcessor().dump(ElementTree.ElementTree(ElementTree.fromstring('<a>ü</a>')), file)
    >>> print(file.getvalue().decode())
    <?xml version='1.0' encoding='utf-8'?>
    <a>ü</a>
    """

    def check(self, obj: Any) -> None:
        """Take element trees."""
        from xml.etree import ElementTree

        if not isinstance(obj, ElementTree.ElementTree):
            raise WrongValueError(f'an xml file takes an xml.etree.ElementTree.ElementTree, not {type(obj).__name__}')

    def load(self, file: IO[Any]) -> ElementTree.ElementTree[Any]:
        """Read a document; an empty file gives an empty one."""
        from xml.etree import ElementTree

        data = file.read()
        if not data:
            return ElementTree.ElementTree()
        return ElementTree.ElementTree(ElementTree.fromstring(data))

    peek = load

    def dump(self, obj: Any, file: IO[Any]) -> None:
        """Write a document in UTF-8."""
        self.check(obj)
        if obj.getroot() is None:
            return
        if isinstance(file, io.TextIOBase):
            obj.write(file, encoding='unicode', xml_declaration=False)
        else:
            obj.write(file, encoding='utf-8', xml_declaration=True)


FORMATS: dict[str, ProcessorFactory] = {
    '.txt': always(TextFileProcessor()),
    '.ini': always(TextFileProcessor()),
    '.pkl': always(PickleFileProcessor()),
    '.gz': always(GzipFileProcessor()),
    '.xml': always(XmlFileProcessor()),
    '.npz': always(NpzFileProcessor()),
    '.png': always(BinaryFileProcessor()),
    '.jpg': always(BinaryFileProcessor()),
}
