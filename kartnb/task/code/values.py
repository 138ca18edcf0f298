"""Constants as text: equal texts for equal contents, in every process, and nothing secret in them."""

from __future__ import annotations

import concurrent.futures
import contextvars
import dataclasses
import datetime
import decimal
import enum
import fractions
import functools
import hashlib
import inspect
import io
import logging
import pathlib
import random
import re
import socket
import struct
import sys
import threading
import types
import typing
import uuid
from abc import ABCMeta
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import luigi

from kartnb.task.code.libraries import CACHED_FUNCTION, held_functions, own_code_in
from kartnb.task.code.source import code_text, function_source
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
    socket.socket,
    concurrent.futures.Executor,
)


def _is_of_event_loop(value: Any) -> bool:
    """Whether a value is an event loop, or belongs to one: what runs in it is no part of the code that has it."""
    asyncio = sys.modules.get('asyncio')
    return asyncio is not None and isinstance(value, asyncio.AbstractEventLoop | asyncio.Future)


class CannotTellError(Exception):
    """A constant cannot be compared; the text says why."""


@dataclasses.dataclass(frozen=True, slots=True)
class ValueText:
    """A constant as text."""

    text: str
    #: The names of texts that were left out, because they are secrets.
    not_compared: tuple[str, ...] = ()


def value_text(value: object, follow: Callable[[Any], str | None], name: str = '') -> ValueText:
    """A constant as text.

    Texts under a name that is that of a secret are left out; everything else under such a name counts.

    Parameters
    ----------
    value
        The constant.
    follow
        Is given every function, class and module in it; gives the name of it, or None for anything else.
    name
        The name of the constant.

    Raises
    ------
    CannotTellError
        When the constant is too large, or of a kind whose content cannot be read.

    Examples
    --------
    >>> value_text({'depth': 3, 'names': ['a', 'b'], 'max_tokens': 5, 'token': 's3cret'}, lambda value: None)
    ValueText(text="{'depth': 3, 'names': ['a', 'b'], 'max_tokens': 5, 'token': …}", not_compared=('token',))
    """
    writer = _Writer(follow)
    text = writer.named(name, value)
    return ValueText(text, tuple(dict.fromkeys(writer.left_out)))


class _Writer:
    """Writes one constant; counts its items and stops where a value holds itself."""

    def __init__(self, follow: Callable[[Any], str | None]) -> None:
        self._follow = follow
        self._items = 0
        self._under_way: set[int] = set()
        #: The name of the secret in which this is now, and of those of which texts were left out.
        self._secret = ''
        self.left_out: list[str] = []

    def named(self, name: object, value: Any) -> str:
        """The text of a value that has a name."""
        outer = self._secret
        if isinstance(name, str) and is_secret_constant(name):
            self._secret = name
        try:
            return self.text(value)
        finally:
            self._secret = outer

    def text(self, value: Any) -> str:
        """The text of a value."""
        self._items += 1
        if self._items > _MOST_ITEMS:
            raise CannotTellError('it is too large to be compared')
        if isinstance(value, enum.Enum):
            return f'{self._class_name(type(value))}.{value.name or value.value!r}'
        if isinstance(value, (*_PLAIN, str, bytes, bytearray)):
            text = repr(value) if isinstance(value, _PLAIN) else self._string(value)
            attributes = getattr(value, '__dict__', None)  # of a class of the user's
            return f'{text} with {self._mapping(attributes)}' if attributes else text
        if id(value) in self._under_way:
            return '<itself>'
        self._under_way.add(id(value))
        try:
            return self._compound(value)
        finally:
            self._under_way.discard(id(value))

    def _string(self, value: str | bytes | bytearray) -> str:
        if self._secret:
            self.left_out.append(self._secret)
            return '…'
        return _string(value)

    def _compound(self, value: Any) -> str:
        followed = self._follow(value)
        if followed is not None:
            return followed
        written = library_text(value, self.text)
        if written is not None:
            return written
        held = held_functions(value)
        if held is not None:
            name = getattr(value, '__name__', None) if isinstance(value, CACHED_FUNCTION) else None
            inner = name or ', '.join(map(self.text, held))
            if name:
                self.text(held[0])
            return f'{type(value).__name__}({inner})'
        kind = type(value)
        if isinstance(value, Mapping) and kind.__module__ in ('builtins', 'collections'):
            return self._mapping(value)
        if kind in (list, tuple, set, frozenset, deque) or (isinstance(value, tuple) and hasattr(kind, '_fields')):
            return self._sequence(value)
        if isinstance(value, types.GenericAlias | types.UnionType) or kind.__module__ == 'typing':
            return self._type_expression(value)
        if isinstance(value, _BY_REPR):
            return f'{kind.__name__} {value!r}'
        if isinstance(value, re.Pattern):
            return repr((value.pattern, value.flags))
        if isinstance(value, io.BytesIO | io.StringIO):
            return f'{kind.__name__} {self.text(value.getvalue())}'
        if isinstance(value, types.CodeType):
            return f'code {_digest(code_text(value).encode())}'
        if isinstance(value, _NEUTRAL) or _is_of_event_loop(value):
            return self._follow(kind) or kind.__name__  # the methods of a class of the user's count
        if isinstance(value, struct.Struct):
            return f'Struct({value.format!r})'
        if isinstance(value, random.Random):
            return f'{self._class_name(kind)} {_first_state(value, value.getstate)}'
        if isinstance(value, contextvars.ContextVar):
            return f'ContextVar({value.name!r}, {", ".join(map(self.text, _present_values(value)))})'
        if isinstance(value, luigi.Task):
            return f'{value.get_task_family()}({value.task_id})'
        return self._instance(value)

    def _mapping(self, value: Mapping[Any, Any]) -> str:
        pairs = ', '.join(f'{self.text(key)}: {self.named(key, item)}' for key, item in value.items())
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
        if isinstance(value, deque) and value.maxlen is not None:
            own_name = f'{name} of {value.maxlen}'
        return f'{own_name}{marks[0]}{", ".join(texts)}{marks[1]}'

    def _type_expression(self, value: Any) -> str:
        origin = typing.get_origin(value)
        if origin is None:
            return f'{type(value).__name__} {value!r}'
        return f'{self.text(origin)}[{", ".join(map(self.text, typing.get_args(value)))}]'

    def _instance(self, value: Any) -> str:
        kind = type(value)
        name = self._class_name(kind)
        if dataclasses.is_dataclass(value):
            return name + self._mapping(_content(value, [field.name for field in dataclasses.fields(value)]))
        if kind is types.SimpleNamespace or is_plain_object(value):
            return name + self._mapping(_content(value, []))
        if any(words in kind.__name__ for words in ('SecretStr', 'SecretBytes')):
            self.left_out.append(self._secret or kind.__name__)
            return f'{name}(…)'
        return self._reduced(value, name)

    def _reduced(self, value: Any, name: str) -> str:
        """An object by what pickle would keep of it."""
        held = sorted(map(self.text, _functions_in(value)))
        name += f' with {", ".join(held)}' if held else ''
        unreadable = CannotTellError(f'{_kind_name(type(value))} is of a kind whose content cannot be read')
        if hasattr(type(value), '__next__'):
            raise unreadable  # what an iterator gives next is not what it gave first
        try:
            reduced = value.__reduce_ex__(4)
        except Exception as error:  # whatever a class does there
            raise unreadable from error
        if isinstance(reduced, str):
            return f'{name} {reduced}'
        maker, arguments, state, items, pairs = (*reduced, None, None, None)[:5]
        texts = [self.text(maker), self.text(arguments), *map(self._state, state if _is_slotted(state) else (state,))]
        if items is not None:
            texts.append(self.text(list(items)))
        if pairs is not None:
            texts.append(self.text(dict(pairs)))
        return f'{name}({", ".join(texts)})'

    def _state(self, state: Any) -> str:
        if not isinstance(state, dict):
            return self.text(state)
        names = sorted((name for name in state if name != '_sklearn_version'), key=str)
        return self._mapping({name: state[name] for name in names})

    def _class_name(self, kind: type) -> str:
        return self._follow(kind) or _kind_name(kind)


def _functions_in(value: Any) -> list[Any]:
    return [code for code in own_code_in(value, of_objects=False) if isinstance(code, types.FunctionType)]


def _present_values(variable: contextvars.ContextVar[Any]) -> list[Any]:
    try:
        return [variable.get()]
    except LookupError:
        return []


def _kind_name(kind: type) -> str:
    return f'{kind.__module__}.{kind.__qualname__}'


def _content(value: Any, names: list[str]) -> dict[str, Any]:
    """The attributes of an object: the named ones first, then all others by name."""
    found = {name: getattr(value, name, None) for name in names}
    return {**found, **dict(sorted(getattr(value, '__dict__', {}).items()))}


def _is_slotted(state: Any) -> bool:
    """Whether a state is what is in `__dict__`, and what is in slots."""
    return isinstance(state, tuple) and len(state) == 2 and isinstance(state[1], dict)


def _string(value: str | bytes | bytearray) -> str:
    if isinstance(value, str):
        value = without_url_login(value)
    if len(value) <= _MOST_TEXT:
        return repr(value)
    data = value.encode('utf-8', 'surrogatepass') if isinstance(value, str) else bytes(value)
    return f'{value[:20]!r}… ({len(value):,} long, {_digest(data)})'


def _digest(data: Any) -> str:
    return hashlib.blake2b(data, digest_size=8).hexdigest()


def is_plain_object(value: Any) -> bool:
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


def library_text(value: Any, text: Callable[[Any], str]) -> str | None:
    """The text of a table, an array and the like, of the libraries that many use; None for other things."""
    for kind in type(value).__mro__:
        write = _WRITERS.get(kind.__module__.partition('.')[0])
        if write is not None:
            return write(value, text)
    return None


def _numpy(value: Any, text: Callable[[Any], str]) -> str | None:
    numpy = sys.modules['numpy']
    if isinstance(value, numpy.dtype):
        return f'dtype {value!r}'
    if isinstance(value, numpy.ufunc):
        return f'ufunc {value.nin} {value.nout} {text(_functions_in(value))}'
    if value is getattr(numpy.random.rand, '__self__', None):
        return 'the RandomState of numpy'
    if isinstance(value, numpy.random.RandomState):
        return f'RandomState {_first_state(value, lambda: text(value.get_state(legacy=False)))}'
    if isinstance(value, numpy.random.Generator | numpy.random.BitGenerator):
        return _generator(value, text)
    if not hasattr(value, 'dtype') or not hasattr(value, 'tobytes'):
        return None
    if value.nbytes > _MOST_BYTES:
        raise CannotTellError(f'an array of {value.nbytes:,} bytes is too large to be compared')
    # the bytes of an array of objects are their addresses
    content = text(value.tolist()) if value.dtype.hasobject else _digest(value.tobytes())
    mask = getattr(value, 'mask', None)
    masked = '' if mask is None else f' masked {text(sys.modules["numpy"].asarray(mask))}'
    return f'array {value.dtype} {value.shape} {content}{masked}'


def _first_state(source: Any, state: Callable[[], object]) -> str:
    """The state that a source of random numbers had when it was first looked at: the code changes it by itself."""
    known = _first_states.get(id(source))
    if known is None:
        if len(_first_states) > _MOST_SOURCES:
            del _first_states[next(iter(_first_states))]
        known = _first_states[id(source)] = (source, _digest(repr(state()).encode()))
    return known[1]


#: With the source itself, so that no other object gets its id.
_first_states: dict[int, tuple[Any, str]] = {}
_MOST_SOURCES = 1000


def _generator(value: Any, text: Callable[[Any], str]) -> str:
    """A random generator by its seed: its state changes with each number that the code takes from it."""
    source = getattr(value, 'bit_generator', value)
    seed = source.seed_seq
    entropy = getattr(seed, 'entropy', None)
    if entropy is None or (isinstance(entropy, int) and entropy.bit_length() > 64):
        raise CannotTellError('a random generator without a seed of its own')
    return f'{type(value).__name__}({type(source).__name__}, {text((entropy, seed.spawn_key))})'


def _pandas(value: Any, text: Callable[[Any], str]) -> str | None:
    pandas = sys.modules['pandas']
    if isinstance(value, pandas.api.extensions.ExtensionArray):
        return f'{type(value).__name__} {text(pandas.Series(value))}'
    if not hasattr(value, 'memory_usage'):
        return None
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
    dtypes = list(value.dtypes) if hasattr(value, 'columns') else [value.dtype]
    kinds = [text(dtype) if isinstance(dtype, pandas.CategoricalDtype) else str(dtype) for dtype in dtypes]
    index = list(value.index.names) if hasattr(value, 'index') else []
    return f'{kind} {len(value)} rows {names!r} {kinds!r} {index!r} {rows}'


def _polars(value: Any, text: Callable[[Any], str]) -> str | None:
    polars = sys.modules['polars']
    if isinstance(value, polars.Expr | polars.LazyFrame):
        plan = value.meta.serialize() if isinstance(value, polars.Expr) else value.serialize()
        if b'cloudpickle' in plan or b'PLPYUDF' in plan:
            raise CannotTellError('it calls functions of Python whose code cannot be read')
        return f'{type(value).__name__} {_digest(plan)}'
    if isinstance(value, polars.Schema):
        return f'Schema {dict(value)!r}'
    if isinstance(value, polars.DataType):
        return f'polars.{value!r}'
    if not hasattr(value, 'estimated_size'):
        return None
    if value.estimated_size() > _MOST_BYTES:
        raise CannotTellError('a table is too large to be compared')
    columns = value.to_dict(as_series=False) if hasattr(value, 'to_dict') else {value.name: value.to_list()}
    kinds = list(map(str, value.dtypes)) if hasattr(value, 'dtypes') else [str(value.dtype)]
    return f'{type(value).__name__} {kinds!r} {_digest(text(columns).encode())}'


def _pyarrow(value: Any, text: Callable[[Any], str]) -> str | None:
    pyarrow = sys.modules['pyarrow']
    if isinstance(value, pyarrow.Schema):
        return f'Schema {_digest(value.serialize())}'
    if isinstance(value, pyarrow.DataType):
        return f'pyarrow.{value}'
    if isinstance(value, pyarrow.Field):
        return f'{value} {value.metadata}'
    if isinstance(value, pyarrow.Scalar):
        return f'{value.type} {text(value.as_py())}'
    if getattr(value, 'nbytes', 0) > _MOST_BYTES:
        raise CannotTellError('a table is too large to be compared')
    if isinstance(value, pyarrow.Table | pyarrow.RecordBatch):
        return f'{type(value).__name__} {_digest(value.schema.serialize())} {_digest(text(value.to_pydict()).encode())}'
    if isinstance(value, pyarrow.Array | pyarrow.ChunkedArray):
        return f'{type(value).__name__} {value.type} {_digest(text(value.to_pylist()).encode())}'
    return None


def _jinja2(value: Any, text: Callable[[Any], str]) -> str | None:
    jinja2 = sys.modules['jinja2']
    if isinstance(value, jinja2.Template):
        # a template keeps no source, but what it was compiled to
        codes = [value.root_render_func.__code__, *(block.__code__ for block in value.blocks.values())]
        return f'Template {_digest("".join(map(code_text, codes)).encode())} {text(value.environment)}'
    if isinstance(value, jinja2.DictLoader):
        return f'DictLoader {text(value.mapping)}'
    if isinstance(value, jinja2.BaseLoader):
        raise CannotTellError('its templates are in files')
    if not isinstance(value, jinja2.Environment):
        return None
    usual = jinja2.defaults
    own = {
        name: {key: item for key, item in getattr(value, name).items() if default.get(key) is not item}
        for name, default in (
            ('filters', usual.DEFAULT_FILTERS),
            ('tests', usual.DEFAULT_TESTS),
            ('globals', usual.DEFAULT_NAMESPACE),
        )
    }
    # what an environment learns while it is used begins with an underscore, or is a cache
    options = {name: item for name, item in vars(value).items() if isinstance(item, str | bool)}
    return f'Environment {text((own, options, value.undefined, value.finalize, value.loader))}'


def _sqlalchemy(value: Any, text: Callable[[Any], str]) -> str | None:
    sqlalchemy = sys.modules['sqlalchemy']
    if isinstance(value, sqlalchemy.Table | sqlalchemy.types.TypeEngine | sqlalchemy.Column):
        return repr(value)
    if isinstance(value, sqlalchemy.sql.ClauseElement):
        compiled = value.compile()
        return f'{type(value).__name__} {text(str(compiled))} {text(dict(compiled.params))}'
    raise CannotTellError(f'{_kind_name(type(value))} is of a kind whose content cannot be read')


_WRITERS: dict[str, Callable[[Any, Callable[[Any], str]], str | None]] = {
    'numpy': _numpy,
    'pandas': _pandas,
    'polars': _polars,
    'pyarrow': _pyarrow,
    'jinja2': _jinja2,
    'sqlalchemy': _sqlalchemy,
}


# ----- classes with fields --------------------------------------------------------------------------------------------

#: The marks of classes with fields, and with methods that were generated for them.
_MARKS = ('__dataclass_fields__', '__attrs_attrs__', '_fields', '__pydantic_fields__')
#: What `collections.namedtuple` writes into a class beside its fields.
_OF_NAMED_TUPLES = frozenset({'_fields', '_field_defaults', '_make', '_replace', '_asdict'})


def class_fields(cls: type) -> dict[str, Any] | None:
    """What the fields of a dataclass, an enumeration and the like are; None for a class that has methods only."""
    if issubclass(cls, enum.Enum):
        return {name: member.value for name, member in cls.__members__.items()}
    written = vars(cls)
    kinds = {name: _annotation(kind) for name, kind in _annotations(cls).items()}
    if not any(mark in written for mark in _MARKS):
        # a metaclass may read the annotations, as those of TypedDict and of pydantic do
        return kinds if type(cls) not in (type, ABCMeta) and kinds and not issubclass(cls, luigi.Task) else None
    return {
        'fields': kinds,
        'options': repr(written.get('__dataclass_params__', '')),
        **written.get('_field_defaults', {}),
        **{name: _of_dataclass(item) for name, item in written.get('__dataclass_fields__', {}).items()},
        **{item.name: _of_attrs(item) for item in written.get('__attrs_attrs__', ())},
        **{name: _of_pydantic(item) for name, item in (written.get('__pydantic_fields__') or {}).items()},
        **({'model_config': written['model_config']} if '__pydantic_fields__' in written else {}),
    }


def _of_dataclass(item: Any) -> tuple[Any, ...]:
    values = (item.default, item.default_factory)
    told = [value for value in values if value is not dataclasses.MISSING]
    return (*told, item.init, item.compare, item.kw_only, dict(item.metadata))


def _of_attrs(item: Any) -> tuple[Any, ...]:
    made_by = getattr(item.default, 'factory', None)
    default = (made_by, item.default.takes_self) if made_by is not None else item.default
    return default, item.validator, item.converter, item.init, item.eq, item.kw_only, dict(item.metadata)


def _of_pydantic(item: Any) -> tuple[Any, ...]:
    default = '' if type(item.default).__name__ == 'PydanticUndefinedType' else (item.default,)
    return default, item.default_factory, item.metadata, item.alias, item.annotation


def _annotations(cls: type) -> dict[str, Any]:
    try:
        return inspect.get_annotations(cls)
    except Exception:  # they may name what is not there
        return {}


def _annotation(kind: Any) -> Any:
    name = kind.__qualname__ if isinstance(kind, type) else str(kind)
    return kind if ' at 0x' in name else name  # an address is another one in each process


def is_slot(value: Any) -> bool:
    """Whether an attribute of a class only says where its objects keep a value."""
    return type(value).__name__ in ('getset_descriptor', 'member_descriptor', '_tuplegetter')


def is_generated(cls: type, attribute: str, value: Any) -> bool:
    """Whether a decorator or a metaclass has written an attribute of a class with fields; those count as a whole."""
    inner = value.__func__ if isinstance(value, classmethod | staticmethod) else value
    if isinstance(inner, types.FunctionType):
        code = inspect.unwrap(inner).__code__
        return code.co_filename.startswith('<attrs generated') or function_source(code).node is None
    if isinstance(inner, property | functools.cached_property | type):
        return False
    if issubclass(cls, enum.Enum):
        return attribute in cls.__members__ or attribute.startswith('_')
    is_field = attribute in _annotations(cls) and 'ClassVar' not in str(_annotations(cls)[attribute])
    return is_field or attribute in _OF_NAMED_TUPLES or attribute in ('_abc_impl', 'model_config', '__match_args__')
