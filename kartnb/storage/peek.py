"""Previews of pickles: their plain values, without importing or calling anything that they name.

A pickle is a program. Here each class or function that it names is replaced by a harmless one, which makes a container,
a number or a date of its arguments, or an `Unread` of whatever is not plain.
"""

from __future__ import annotations

import collections
import datetime
import decimal
import io
import pickle
import struct
from collections.abc import Callable, Iterable, Sized
from typing import Any, ClassVar

from kartnb._luigi import PythonUnpickler
from kartnb.errors import UnloadedResultError, UnreadableResultError

#: What a scalar of numpy is unpacked with, by the code of its type.
_STRUCTS = {
    'b1': '?',
    'f2': 'e',
    'f4': 'f',
    'f8': 'd',
    'i1': 'b',
    'i2': 'h',
    'i4': 'i',
    'i8': 'q',
    'u1': 'B',
    'u2': 'H',
    'u4': 'I',
    'u8': 'Q',
}
_EPOCH = datetime.datetime(1970, 1, 1)
#: The largest pickle that is read, in bytes: a made-up one takes some hundred times as much memory.
MOST_BYTES = 1 << 20
#: How many items of its arguments the makers look at for each byte of a pickle; about one is needed.
_WORK_PER_BYTE = 4
_LEAST_WORK = 1 << 16
#: The longest tuple that can be a key as it is, and the longest number of it in bits: hashing it takes time each time.
_LONGEST_KEY = 100
#: Bits: Python refuses to write out a number with more than 4,300 digits.
_LONGEST_NUMBER = 14_000
#: What can be a key as it is; a short tuple of these too.
_FLAT = (str, bytes, int, float, complex, type(None), datetime.date, datetime.time, datetime.timedelta)
#: Microseconds in the units of numpy's dates.
_UNITS = {'W': 604_800_000_000, 'D': 86_400_000_000, 'h': 3_600_000_000, 'm': 60_000_000, 's': 1_000_000, 'ms': 1_000}


class Unread:
    """Something in a pickle that is not made, because making it could run code; the pickle names its type."""

    def __init__(self, type_name: str) -> None:
        self.type_name = type_name

    def __repr__(self) -> str:
        return f'<{self.type_name}>'


class Maker:
    """Replaces a class or function: it is called with the arguments in the pickle, and makes a plain value."""

    # without a dict and with a function of its own, so that a pickle that sets attributes changes nothing else
    __slots__ = ('_make', 'type_name')

    def __init__(self, type_name: str, make: Callable[..., Any]) -> None:
        self.type_name = type_name
        self._make = make

    def __call__(self, *arguments: Any) -> Any:
        return self._make(*arguments)


class Placeholder(Unread):
    """An `Unread` that takes whatever a pickle does to it."""

    def __call__(self, *arguments: Any) -> Placeholder:
        # functions that make an object of a class are given the class first
        first = arguments[0] if arguments else None
        return Placeholder(first.type_name if isinstance(first, Maker | Unread) else self.type_name)

    def __setstate__(self, _: Any) -> None:
        pass

    def __setitem__(self, _: Any, __: Any) -> None:
        pass

    def ignore(self, *_: Any) -> None:
        """Take what is appended or added."""

    append = extend = add = ignore


class DType:
    """The type of a numpy scalar, as far as it is needed to unpack one."""

    def __init__(self, code: object) -> None:
        self.code = code if isinstance(code, str) else ''
        self.order = '<'
        self.unit = ''

    def __setstate__(self, state: Any) -> None:
        if isinstance(state, tuple) and len(state) > 1 and state[1] in ('<', '>', '|', '='):
            self.order = '>' if state[1] == '>' else '<'
        if isinstance(state, tuple) and len(state) > 8:  # the unit of dates, with how many of them make a step
            detail = state[8][1] if isinstance(state[8], tuple) and len(state[8]) == 2 else ()
            if isinstance(detail, tuple) and len(detail) == 4 and detail[1:] == (1, 1, 1):
                unit = detail[0]
                self.unit = unit.decode('ascii', 'replace') if isinstance(unit, bytes) else str(unit)


def _scalar(dtype: Any, data: Any = b'') -> Any:
    """The value of a numpy scalar."""
    code = dtype.code if isinstance(dtype, DType) else ''
    if not isinstance(data, bytes | str):
        return Placeholder('numpy scalar')
    raw = data.encode('latin-1', 'replace') if isinstance(data, str) else data
    kind = _STRUCTS.get(code)
    if kind is not None and len(raw) == struct.calcsize(kind):
        return struct.unpack(dtype.order + kind, raw)[0]
    if code[:1] == 'U' and len(raw) % 4 == 0:
        return raw.decode('utf-32-be' if dtype.order == '>' else 'utf-32-le', 'replace').rstrip('\0')
    if code[:1] == 'S':
        return raw.rstrip(b'\0')
    if code in ('M8', 'm8') and len(raw) == 8:
        return _date(code, struct.unpack(dtype.order + 'q', raw)[0], dtype.unit)
    return Placeholder(f'numpy scalar {code}'.strip())


def _date(code: str, count: int, unit: str) -> Any:
    microseconds = count // 1_000 if unit == 'ns' else count * (1 if unit == 'us' else _UNITS.get(unit, 0))
    if unit not in (*_UNITS, 'us', 'ns'):
        return Placeholder('numpy.datetime64' if code == 'M8' else 'numpy.timedelta64')
    try:
        span = datetime.timedelta(microseconds=microseconds)
        return _EPOCH + span if code == 'M8' else span
    except OverflowError:
        return None  # NaT, or a moment outside the calendar of datetime


def _decoded(text: Any, encoding: Any = 'latin1') -> Any:
    """How older protocols spell bytes."""
    return text.encode('latin-1') if isinstance(text, str) and encoding in ('latin1', 'latin-1') else b''


def _from(kind: Callable[[Any], Any], *given: type) -> Callable[..., Any]:
    """Make a container of another one, never of a number: that would be its size."""
    return lambda *items: kind(items[0]) if items and isinstance(items[0], given) else kind(())


def _set_of(items: Any = ()) -> set[Any]:
    return set(map(as_key, items)) if isinstance(items, list | tuple) else set()


def _dict_of(items: Any = ()) -> dict[Any, Any]:
    pairs = items.items() if isinstance(items, dict) else items if isinstance(items, list | tuple) else ()
    return {as_key(key): value for key, value in pairs}


def as_key(key: Any) -> Any:
    """A key of a dict or member of a set; of nested ones only the type, since their hash could take for ever."""
    if _is_flat(key) or (isinstance(key, tuple) and len(key) <= _LONGEST_KEY and all(map(_is_flat, key))):
        return key
    return Unread(key.type_name if isinstance(key, Unread) else type(key).__name__)


def _is_flat(key: Any) -> bool:
    return isinstance(key, _FLAT) and not (isinstance(key, int) and key.bit_length() > _LONGEST_KEY * 64)


def _moment(kind: Callable[..., Any]) -> Callable[..., Any]:
    """Make a date or time; one in a zone that is not read has none."""
    return lambda *given: kind(*(item for item in given if not isinstance(item, Unread)))


def _timestamp(count: Any = 0, _: Any = None, __: Any = None, resolution: Any = 10) -> Any:
    """The moment of a pandas.Timestamp, in UTC where it has a zone."""
    # numpy's numbers for its units of time
    unit = {7: 's', 8: 'ms', 9: 'us', 10: 'ns'}.get(resolution if isinstance(resolution, int) else 0, '')
    return _date('M8', count, unit) if isinstance(count, int) else Placeholder('pandas.Timestamp')


MAKERS: dict[str, Callable[..., Any]] = {
    'builtins.set': _set_of,
    'builtins.frozenset': lambda items=(): frozenset(_set_of(items)),
    'builtins.list': _from(list, list, tuple),
    'builtins.tuple': _from(tuple, list, tuple),
    'builtins.dict': _dict_of,
    'builtins.bytes': _from(bytes, bytes),
    'builtins.bytearray': _from(bytes, bytes),
    'builtins.complex': lambda real=0, imaginary=0: complex(float(real), float(imaginary)),
    'collections.OrderedDict': _dict_of,
    'collections.defaultdict': lambda *_: {},
    'collections.Counter': _dict_of,
    'collections.deque': lambda *items: collections.deque(items[0] if items and isinstance(items[0], list) else ()),
    '_codecs.encode': _decoded,
    'decimal.Decimal': lambda text='0': decimal.Decimal(str(text)[:100]),
    'datetime.date': datetime.date,
    'datetime.datetime': _moment(datetime.datetime),
    'datetime.time': _moment(datetime.time),
    'datetime.timedelta': datetime.timedelta,
    'datetime.timezone': datetime.timezone,
    'numpy.dtype': lambda code='', *_: DType(code),
    'numpy.core.multiarray.scalar': _scalar,
    'numpy._core.multiarray.scalar': _scalar,
    'pandas._libs.tslibs.timestamps._unpickle_timestamp': _timestamp,
}


class _Peeker(PythonUnpickler):  # type: ignore[misc]
    """The unpickler in Python: the one in C can be made to take any amount of memory."""

    def __init__(self, pickled: bytes) -> None:
        super().__init__(io.BytesIO(pickled))
        self._work_left = _LEAST_WORK + _WORK_PER_BYTE * len(pickled)

    def find_class(self, module: str, name: str) -> Any:
        """Find what a pickle names: a maker of something plain, or a placeholder."""
        full = f'{"builtins" if module == "__builtin__" else module}.{name}'
        make = MAKERS.get(full)
        if module.startswith('numpy') and name == '_frombuffer':
            full = 'numpy.ndarray'
        return Placeholder(full) if make is None else Maker(full, make)

    def persistent_load(self, _: Any) -> Any:
        """Take what is kept outside of the pickle as unread."""
        return Placeholder('value outside of the pickle')

    def get_extension(self, _: int) -> None:
        """Take what only a table of this process names as unread."""
        self.append(Placeholder('extension'))

    def _load_build(self) -> None:
        state = self.stack.pop()
        setstate = getattr(self.stack[-1], '__setstate__', None)
        if isinstance(self.stack[-1], DType | Placeholder) and setstate is not None:
            setstate(state)

    def _load_newobj(self) -> None:
        arguments = self.stack.pop()
        self._make_of(self.stack.pop(), arguments)

    def _load_newobj_ex(self) -> None:
        self.stack.pop()
        self._load_newobj()

    def _load_old_object(self) -> None:
        arguments = self.pop_mark()
        self._make_of(arguments[0], arguments[1:])

    def _load_instance(self) -> None:
        module = self.readline()[:-1].decode('ascii', 'replace')
        name = self.readline()[:-1].decode('ascii', 'replace')
        self._make_of(self.find_class(module, name), self.pop_mark())

    def _load_reduce(self) -> None:
        arguments = self.stack.pop()
        self._make_of(self.stack.pop(), arguments)

    def _make_of(self, maker: Any, arguments: Any) -> None:
        known = isinstance(maker, Maker | Placeholder) and isinstance(arguments, list | tuple)
        if known:
            # a few bytes can ask for a copy of a large value, again and again
            self._work_left -= len(arguments) + sum(len(item) for item in arguments if isinstance(item, Sized))
            if self._work_left < 0:
                raise ValueError('too much to be made of so few bytes')
        self.append(maker(*arguments) if known else Placeholder('value'))

    def _load_dict(self) -> None:
        items = self.pop_mark()
        self.append({as_key(items[i]): items[i + 1] for i in range(0, len(items) - 1, 2)})

    def _load_setitem(self) -> None:
        value = self.stack.pop()
        key = self.stack.pop()
        self.stack[-1][as_key(key)] = value

    def _load_setitems(self) -> None:
        items = self.pop_mark()
        for i in range(0, len(items) - 1, 2):
            self.stack[-1][as_key(items[i])] = items[i + 1]

    def _load_additems(self) -> None:
        items = self.pop_mark()
        for item in items:
            self.stack[-1].add(as_key(item))

    def _load_frozenset(self) -> None:
        items = self.pop_mark()
        self.append(frozenset(map(as_key, items)))

    def _load_bytearray(self) -> None:
        # the bytes first: the unpickler of the library takes as much memory as the pickle says that there will be
        (size,) = struct.unpack('<Q', self.read(8))
        self.append(self.read(size))

    dispatch: ClassVar[dict[int, Any]] = {
        **PythonUnpickler.dispatch,
        pickle.BUILD[0]: _load_build,
        pickle.NEWOBJ[0]: _load_newobj,
        pickle.NEWOBJ_EX[0]: _load_newobj_ex,
        pickle.OBJ[0]: _load_old_object,
        pickle.INST[0]: _load_instance,
        pickle.REDUCE[0]: _load_reduce,
        pickle.DICT[0]: _load_dict,
        pickle.SETITEM[0]: _load_setitem,
        pickle.SETITEMS[0]: _load_setitems,
        pickle.ADDITEMS[0]: _load_additems,
        pickle.FROZENSET[0]: _load_frozenset,
        pickle.BYTEARRAY8[0]: _load_bytearray,
    }


def peek(pickled: bytes) -> Any:
    """Read a pickle (of any protocol) as far as it holds plain values; nothing that it names is imported or called.

    An `Unread` is in the place of each part that is not plain. Raises UnreadableResultError when the bytes are not a
    pickle, and UnloadedResultError when they are more than `MOST_BYTES`.

    >>> import fractions, pickle
    >>> peek(pickle.dumps({'accuracy': 0.9, 'share': fractions.Fraction(1, 3)}))
    {'accuracy': 0.9, 'share': <fractions.Fraction>}
    """
    if len(pickled) > MOST_BYTES:
        raise UnloadedResultError(f'has to be loaded: it is a pickle of more than {MOST_BYTES:,} bytes')
    try:
        value = _Peeker(pickled).load()
    except Exception as error:
        raise UnreadableResultError(f'this is not a pickle that can be previewed ({type(error).__name__})') from error
    return Unread(value.type_name) if isinstance(value, Maker) else value


def unread_types(value: Any) -> list[str]:
    """The types of the parts of a value that `peek` has not made, each once.

    Raises UnloadedResultError for a value that is nested too deeply, in itself, or in so many places that comparing
    or printing it would never end; and for one with a number that Python does not print.

    >>> unread_types({'share': Unread('fractions.Fraction'), 'accuracy': [0.9]})
    ['fractions.Fraction']
    """
    found: dict[str, None] = {}
    try:
        _count_parts(value, found, {})
    except RecursionError:
        raise UnloadedResultError('has to be loaded: it is nested too deeply') from None
    return list(found)


def _count_parts(value: Any, found: dict[str, None], known: dict[int, int]) -> int:
    """How many parts a value has, those that are shared counted wherever they are."""
    if isinstance(value, Unread | Maker | DType):
        found[getattr(value, 'type_name', 'numpy.dtype')] = None
        return 1
    if isinstance(value, int) and value.bit_length() > _LONGEST_NUMBER:
        raise UnloadedResultError('has to be loaded: it holds a number that is too long to be written out')
    items: Iterable[Any]
    if isinstance(value, dict):
        items = (*value, *value.values())
    elif isinstance(value, list | tuple | set | frozenset | collections.deque):
        items = value
    else:
        return 1
    if id(value) not in known:
        known[id(value)] = MOST_BYTES  # as long as it is not known: a value that holds itself has no end
        known[id(value)] = 1 + sum(_count_parts(item, found, known) for item in items)
    if known[id(value)] >= MOST_BYTES:
        raise RecursionError
    return known[id(value)]
