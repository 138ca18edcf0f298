"""Constants as text: equal texts for equal contents, in every process, and nothing secret in them."""

from __future__ import annotations

import dataclasses
import datetime
import decimal
import enum
import fractions
import hashlib
import io
import logging
import pathlib
import re
import sys
import threading
import types
import typing
import uuid
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import luigi

from kartnb.task.secrets import is_secret_constant, without_url_login

#: Above these, constants are not compared.
_MOST_ITEMS = 50_000
_MOST_BYTES = 8 * 2**20
_MOST_TEXT = 400
_PLAIN = (type(None), bool, int, float, complex, type(Ellipsis), range, slice, datetime.timedelta)
_BY_REPR = (
    datetime.date,
    datetime.time,
    datetime.tzinfo,
    decimal.Decimal,
    fractions.Fraction,
    pathlib.PurePath,
    uuid.UUID,
    typing.TypeVar,
    types.GenericAlias,
    types.UnionType,
)
#: Handles of something outside the code, which say nothing of what it does.
_NEUTRAL = (
    logging.Logger,
    logging.LoggerAdapter,
    logging.Handler,
    io.IOBase,
    threading.Thread,
    threading.local,
    type(threading.Lock()),
    type(threading.RLock()),
    threading.Event,
    threading.Condition,
)


class CannotTellError(Exception):
    """A constant cannot be compared; the text says why. It is a part of code prints: its wording must not change."""


def value_text(value: object, follow: Callable[[Any], str | None]) -> str:
    """A constant as text.

    `follow` is given every function and class in it; it gives the name, or None for anything else. Raises
    CannotTellError when the constant is too large, or of a kind whose content cannot be read.

    >>> value_text({'depth': 3, 'names': ['a', 'b'], 'token': 's3cret'}, lambda value: None)
    "{'depth': 3, 'names': ['a', 'b'], 'token': …}"
    """
    return _Writer(follow).text(value)


class _Writer:
    """Writes one constant; counts its items and stops where a value holds itself."""

    def __init__(self, follow: Callable[[Any], str | None]) -> None:
        self._follow = follow
        self._items = 0
        self._under_way: set[int] = set()

    def text(self, value: Any) -> str:
        """The text of a value."""
        self._items += 1
        if self._items > _MOST_ITEMS:
            raise CannotTellError('it is too large to be compared')
        if isinstance(value, enum.Enum):
            self._follow(type(value))
            return f'{type(value).__qualname__}.{value.name}'
        if isinstance(value, _PLAIN):
            return repr(value)
        if isinstance(value, str | bytes | bytearray):
            return _string(value)
        if id(value) in self._under_way:
            return '<itself>'
        self._under_way.add(id(value))
        try:
            return self._compound(value)
        finally:
            self._under_way.discard(id(value))

    def _compound(self, value: Any) -> str:
        followed = self._follow(value)
        if followed is not None:
            return followed
        if isinstance(value, Mapping) and type(value).__module__ in ('builtins', 'collections'):
            return self._mapping(value)
        if isinstance(value, list | tuple | set | frozenset | deque):
            return self._sequence(value)
        if isinstance(value, _BY_REPR) or type(value).__module__ == 'typing':
            return f'{type(value).__name__} {value!r}'
        if isinstance(value, re.Pattern):
            return repr((value.pattern, value.flags))
        if isinstance(value, _NEUTRAL) or type(value).__module__ == 'contextvars':
            return type(value).__name__
        if isinstance(value, luigi.Task):
            return f'{value.get_task_family()}({value.task_id})'
        return _table_or_array(value, self.text) or self._instance(value)

    def _mapping(self, value: Mapping[Any, Any]) -> str:
        pairs = ', '.join(
            f'{self.text(key)}: {"…" if is_secret_constant(key) else self.text(item)}' for key, item in value.items()
        )
        name = '' if type(value) is dict else type(value).__name__
        factory = getattr(value, 'default_factory', None)
        return f'{name}{{{pairs}}}' + (f' of {self.text(factory)}' if factory is not None else '')

    def _sequence(self, value: Any) -> str:
        texts: Iterable[str] = map(self.text, value)
        if isinstance(value, set | frozenset):
            # the order of a set of strings is another in each process
            texts = sorted(texts)
        name = self._class_name(type(value))
        marks = '()' if isinstance(value, tuple) else '{}' if isinstance(value, set | frozenset) else '[]'
        own_name = '' if type(value) in (list, tuple, set, frozenset) else name
        return f'{own_name}{marks[0]}{", ".join(texts)}{marks[1]}'

    def _instance(self, value: Any) -> str:
        kind = type(value)
        if dataclasses.is_dataclass(value):
            content = {field.name: getattr(value, field.name, None) for field in dataclasses.fields(value)}
        elif type(value) is types.SimpleNamespace or _is_plain_object(value):
            content = dict(sorted(vars(value).items()))
        else:
            raise CannotTellError(f'{kind.__module__}.{kind.__qualname__} is of a kind whose content cannot be read')
        return f'{self._class_name(kind)}{self._mapping(content)}'

    def _class_name(self, kind: type) -> str:
        return self._follow(kind) or f'{kind.__module__}.{kind.__qualname__}'


def _string(value: str | bytes | bytearray) -> str:
    if isinstance(value, str):
        value = without_url_login(value)
    if len(value) <= _MOST_TEXT:
        return repr(value)
    data = value.encode('utf-8', 'surrogatepass') if isinstance(value, str) else bytes(value)
    return f'{value[:20]!r}… ({len(value):,} long, {_digest(data)})'


def _digest(data: Any) -> str:
    return hashlib.blake2b(data, digest_size=8).hexdigest()


def _is_plain_object(value: Any) -> bool:
    """Whether all that an object holds is in its `__dict__`."""
    kind = type(value)
    return (
        hasattr(value, '__dict__')
        # a way of its own to be pickled, slots, or a larger C struct: there may be more than `__dict__` shows
        and all(getattr(kind, name) is getattr(object, name) for name in ('__reduce_ex__', '__reduce__'))
        and not any(getattr(base, '__slots__', ()) for base in kind.__mro__)
        and kind.__basicsize__ <= _PlainObject.__basicsize__
    )


class _PlainObject:
    """An object that has a `__dict__` and nothing else."""


def _table_or_array(value: Any, text: Callable[[Any], str]) -> str | None:
    """The text of an array or a table by its content; None for other things."""
    library = type(value).__module__.partition('.')[0]
    if library == 'numpy' and hasattr(value, 'dtype') and hasattr(value, 'tobytes'):
        return _array(value, text)
    if library == 'pandas' and hasattr(value, 'memory_usage'):
        return _pandas(value)
    if library == 'polars' and hasattr(value, 'estimated_size'):
        return _polars(value, text)
    return None


def _array(value: Any, text: Callable[[Any], str]) -> str:
    if value.nbytes > _MOST_BYTES:
        raise CannotTellError(f'an array of {value.nbytes:,} bytes is too large to be compared')
    # the bytes of an array of objects are their addresses
    content = text(value.tolist()) if value.dtype.hasobject else _digest(value.tobytes())
    return f'array {value.dtype} {value.shape} {content}'


def _pandas(value: Any) -> str:
    pandas = sys.modules['pandas']
    used = value.memory_usage(index=True) if hasattr(value, 'index') else value.memory_usage()
    size = int(used.sum() if hasattr(used, 'sum') else used)
    if size > _MOST_BYTES:
        raise CannotTellError(f'a table of {size:,} bytes is too large to be compared')
    kind = type(value).__name__
    if isinstance(value, pandas.Index):
        value = value.to_frame()
    try:
        rows = _digest(pandas.util.hash_pandas_object(value, index=True).to_numpy().tobytes())
    except TypeError as error:
        raise CannotTellError('a table holds objects whose content cannot be read') from error
    names = list(value.columns) if hasattr(value, 'columns') else [value.name]
    kinds = list(map(str, value.dtypes)) if hasattr(value, 'columns') else [str(value.dtype)]
    return f'{kind} {len(value)} rows {names!r} {kinds!r} {rows}'


def _polars(value: Any, text: Callable[[Any], str]) -> str:
    if value.estimated_size() > _MOST_BYTES:
        raise CannotTellError('a table is too large to be compared')
    columns = value.to_dict(as_series=False) if hasattr(value, 'to_dict') else {value.name: value.to_list()}
    kinds = list(map(str, value.dtypes)) if hasattr(value, 'dtypes') else [str(value.dtype)]
    return f'{type(value).__name__} {kinds!r} {_digest(text(columns).encode())}'
