"""Values to pickles.

The C pickler writes straight into the file, and large buffers of arrays and frames go there without a copy. Where it
fails, or where the pickle names ``__main__`` and so could not be read by another process, cloudpickle takes over. Both
give what `pickle.load` reads.
"""

from __future__ import annotations

import copyreg
import io
import mmap
import pickle
import sys
from collections.abc import Callable, Iterator
from typing import IO, TYPE_CHECKING, Any, BinaryIO, cast

from kartnb.errors import KartError, WrongValueError, text_of
from kartnb.storage import unpickling
from kartnb.storage.unpickling import load

if TYPE_CHECKING:
    import numpy as np

__all__ = ['dump', 'dumps', 'load', 'loads']

# with protocol 4 these give the very bytes that gokart writes
_PLAIN = frozenset({str, bytes, int, float, bool, type(None)})
_SIZED = frozenset({str, bytes})
_CONTAINERS = frozenset({dict, list, tuple})
#: Sizes up to which a value is small: characters of a text, items of a list.
_SMALL = 1 << 16
_FEW = 100
_MAIN = b'\x8c\x08__main__'  # how a pickle from protocol 4 on spells the text '__main__'
_STAND_IN_NAMES = b'kartnb.storage.unpickling'
_STAND_IN_FRAMES = b'kartnb.storage.formats.models'
_MOST_OPCODES = 1 << 18  # the pickler hands over opcodes in pieces below this; larger ones are the bytes of one value
_LARGE = 1 << 20
_PIECE = 1 << 24


class _NamesMainError(Exception):
    """The pickle would name ``__main__``."""


class _NamesGokartError(Exception):
    """The pickle would name a class that stands in for one of gokart."""


class _Stream:
    """The file that a pickler sees: large buffers pass through it as they are."""

    def __init__(self, file: IO[bytes], may_name_main: bool) -> None:
        self._file = file
        self._may_name_main = may_name_main
        self._promised: dict[int, tuple[Any, np.ndarray[Any, Any]]] = {}

    def write(self, data: Any) -> int:
        if type(data) is pickle.PickleBuffer:
            return self._write_buffer(data)
        size = len(data)
        if not self._may_name_main and size < _MOST_OPCODES:
            _refuse_names(bytes(data))
        self._write_all(data, size)
        return size

    def promise(self, array: np.ndarray[Any, Any]) -> pickle.PickleBuffer:
        """Return a buffer as large as a scattered array, to be replaced by the array's values when it is written."""
        # untouched pages take no memory
        buffer = pickle.PickleBuffer(mmap.mmap(-1, array.nbytes))
        self._promised[id(buffer)] = (buffer, array)
        return buffer

    def _write_buffer(self, buffer: pickle.PickleBuffer) -> int:
        if id(buffer) not in self._promised:
            raw = buffer.raw()
            self._write_all(raw, raw.nbytes)
            return raw.nbytes
        _, array = self._promised.pop(id(buffer))
        for piece in _pieces(array):
            self._write_all(piece, piece.nbytes)
        return array.nbytes

    def _write_all(self, data: Any, size: int) -> None:
        written = self._file.write(data)
        while written < size:  # an unbuffered file may take a part
            written += self._file.write(memoryview(data)[written:])


def _refuse_names(opcodes: bytes) -> None:
    if _MAIN in opcodes:
        raise _NamesMainError
    if _STAND_IN_NAMES in opcodes or _STAND_IN_FRAMES in opcodes:
        raise _NamesGokartError


def _pieces(array: np.ndarray[Any, Any]) -> Iterator[memoryview]:
    """Return the values of an array in C order, a few megabytes at a time."""
    import numpy as np

    if array.ndim > 1 and array[0].nbytes > _PIECE:
        for part in array:
            yield from _pieces(part)
        return
    rows = max(1, _PIECE // max(1, array[0].nbytes))
    for start in range(0, len(array), rows):
        # as bytes: dates and the like have no buffer of their own
        yield np.ascontiguousarray(array[start : start + rows]).reshape(-1).view(np.uint8).data


def _has_buffer(array: np.ndarray[Any, Any]) -> bool:
    """Whether numpy gives the values of an array without a copy: not scattered ones, nor dates."""
    return (array.flags.c_contiguous or array.flags.f_contiguous) and array.dtype.kind not in 'mM'


def _array_reducer(stream: _Stream) -> Callable[[Any], Any]:
    def reduce(array: np.ndarray[Any, Any]) -> Any:
        if array.nbytes < _LARGE or array.dtype.hasobject or _has_buffer(array):
            return array.__reduce_ex__(5)
        rebuild = type(array)(1).__reduce_ex__(5)[0]
        return rebuild, (stream.promise(array), array.dtype, array.shape, 'C')

    return reduce


def dump(obj: Any, file: IO[bytes], protocol: int | None = None) -> None:
    """Pickle a value into a file of bytes, of which an unbuffered one is the fastest.

    The protocol is 4 for plain scalars and 5 for the rest by default. Raises WrongValueError when the value cannot be
    pickled.

    Examples
    --------
    >>> file = io.BytesIO()
    >>> dump({'a': 1}, file)
    >>> pickle.loads(file.getvalue())
    {'a': 1}
    """
    if not file.seekable():
        file.write(dumps(obj, protocol))
        return
    start = file.tell()
    try:
        if type(obj) is unpickling.TaskInfo:  # a tree of tasks may be too deep for the pickler in C
            raise _NamesGokartError
        _dump_by_reference(obj, file, protocol)
    except (OSError, KartError):
        raise
    except _NamesGokartError:
        _start_again(file, start)
        file.write(unpickling.dumps_for_gokart(obj))
    except Exception:  # whatever a class raises when it is pickled: cloudpickle has its own ways, or says it better
        _start_again(file, start)
        _dump_by_value(obj, file)


def _start_again(file: IO[bytes], start: int) -> None:
    # the C pickler writes as it goes, and may have written a part before it failed
    file.seek(start)
    file.truncate()


def _dump_by_reference(obj: Any, file: IO[bytes], protocol: int | None) -> None:
    stream = _Stream(file, may_name_main=False)
    protocol = protocol or (4 if type(obj) in _PLAIN else 5)
    pickler = pickle.Pickler(cast(BinaryIO, stream), protocol)
    numpy = sys.modules.get('numpy')
    if numpy is not None and protocol >= 5:
        pickler.dispatch_table = {**copyreg.dispatch_table, numpy.ndarray: _array_reducer(stream)}
    pickler.dump(obj)


def _dump_by_value(obj: Any, file: IO[bytes]) -> None:
    from kartnb.storage.by_value import ByValuePickler

    stream = _Stream(file, may_name_main=True)
    numpy = sys.modules.get('numpy')
    reducers = {} if numpy is None else {numpy.ndarray: _array_reducer(stream)}
    pickler = ByValuePickler(cast(BinaryIO, stream), reducers)
    try:
        pickler.dump(obj)
    except (OSError, KartError, MemoryError):
        raise
    except Exception as error:
        raise WrongValueError(f'a value of type {type(obj).__name__} cannot be pickled: {text_of(error)}') from error


def dumps_plain(obj: Any, protocol: int | None = None) -> bytes | None:
    """Pickle a small value of plain types, such as a number or a dict of texts; None for any other.

    The bytes are those of `dump`, at a fraction of its cost.

    Examples
    --------
    >>> pickle.loads(dumps_plain({'a': [1, 2.5]})), dumps_plain(object())
    ({'a': [1, 2.5]}, None)
    """
    if not is_plain(obj):
        return None
    return pickle.dumps(obj, protocol or (4 if type(obj) in _PLAIN else 5))


def is_plain(obj: Any, depth: int = 3) -> bool:
    """Whether a value is small and made of plain types alone, so that its pickle names no class."""
    kind = type(obj)
    if kind in _PLAIN:
        return kind not in _SIZED or len(obj) < _SMALL
    if kind not in _CONTAINERS or len(obj) > _FEW or not depth:
        return False
    if kind is dict:
        return _PLAIN.issuperset(map(type, obj)) and all(is_plain(item, depth - 1) for item in obj.values())
    return all(is_plain(item, depth - 1) for item in obj)


def dumps(obj: Any, protocol: int | None = None) -> bytes:
    """Pickle a small value to bytes."""
    try:
        data = pickle.dumps(obj, protocol or (4 if type(obj) in _PLAIN else 5))
        if len(data) < _MOST_OPCODES:
            _refuse_names(data)
            return data
    except Exception:
        pass  # `dump` has other ways, and says what cannot be pickled
    file = io.BytesIO()
    dump(obj, file, protocol)
    return file.getvalue()


def loads(pickled: bytes) -> Any:
    """Read a value from the bytes of a pickle."""
    return load(io.BytesIO(pickled))
