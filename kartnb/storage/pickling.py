"""Values to pickles and back.

A value is pickled by the C pickler, straight into its file. Where that fails, or where the pickle names ``__main__`` and so could
not be read by another process, cloudpickle pickles it instead. Both give files that `pickle.load` reads.
"""

from __future__ import annotations

import copyreg
import io
import pickle
from typing import IO, Any, BinaryIO, cast

from kartnb.storage.unpickling import load

__all__ = ['dump', 'dumps', 'load', 'loads', 'names_main']

# these give the same bytes as gokart's, which uses protocol 4
_PLAIN = frozenset({str, bytes, int, float, bool, type(None)})
_MAIN = b'\x8c\x08__main__'  # how a pickle from protocol 4 on spells the text '__main__'
_LARGEST_CHUNK_OF_OPCODES = 1 << 18


class _NamesMainError(Exception):
    """The pickle would name ``__main__``."""


class _Stream:
    """Passes a pickle on to a file, unless it names ``__main__``."""

    def __init__(self, file: IO[bytes], may_name_main: bool) -> None:
        self._file = file
        self._may_name_main = may_name_main

    def write(self, data: Any) -> int:
        size = len(data)
        if not self._may_name_main and size < _LARGEST_CHUNK_OF_OPCODES and _MAIN in bytes(data):
            raise _NamesMainError
        written = self._file.write(data)
        while written < size:  # an unbuffered file may take a part
            written += self._file.write(memoryview(data)[written:])
        return size


def dump(obj: Any, file: IO[bytes]) -> None:
    """Pickle a value into a file.

    Parameters
    ----------
    obj
        Any value.
    file
        A file of bytes, at its beginning; seekable if the value may need cloudpickle.

    Examples
    --------
    >>> file = io.BytesIO()
    >>> dump({'a': 1}, file)
    >>> pickle.loads(file.getvalue())
    {'a': 1}
    """
    start = file.tell()
    try:
        stream = cast(BinaryIO, _Stream(file, may_name_main=False))
        pickle.Pickler(stream, protocol=4 if type(obj) in _PLAIN else 5).dump(obj)
    except Exception:  # whatever a class raises when it is pickled: cloudpickle has its own ways, or says it better
        file.seek(start)
        file.truncate()
        _dump_by_value(obj, file)


def _dump_by_value(obj: Any, file: IO[bytes]) -> None:
    import cloudpickle

    pickler = cloudpickle.CloudPickler(cast(BinaryIO, _Stream(file, may_name_main=True)), protocol=5)
    pickler.dispatch_table = {**copyreg.dispatch_table, **getattr(pickler, 'dispatch_table', {})}
    pickler.dump(obj)


def names_main(pickled: bytes) -> bool:
    """Whether a pickle names ``__main__``, so that another process could not read it."""
    return _MAIN in pickled


def loads(pickled: bytes) -> Any:
    """Read a value from the bytes of a pickle."""
    return load(io.BytesIO(pickled))


def dumps(obj: Any) -> bytes:
    """Pickle a small value to bytes."""
    file = io.BytesIO()
    dump(obj, file)
    return file.getvalue()
