"""What pickles of dill (gokart's) name, so that they are read without dill.

These functions rebuild objects from what dill 0.3 and 0.4 write about them.
"""

from __future__ import annotations

import builtins
import collections
import functools
import importlib
import io
import marshal
import operator
import sys
import types
import typing
import weakref
from collections.abc import Callable
from threading import Lock, RLock
from typing import Any

_ARGUMENTS_OF_A_CODE = 18  # since Python 3.11; older pickles have fewer, and their code does not run here


class _Missing:
    """What dill puts where a closure's cell is empty."""


@functools.cache
def _types_by_name() -> dict[str, type]:
    named = {**vars(builtins), **vars(types)}
    found = {name: value for name, value in named.items() if isinstance(value, type) and value.__module__ == 'builtins'}
    views = collections.OrderedDict[Any, Any]()
    return {
        **found,
        'PartialType': functools.partial,
        'SuperType': super,
        'ItemGetterType': operator.itemgetter,
        'AttrGetterType': operator.attrgetter,
        'DictKeysType': type({}.keys()),
        'DictValuesType': type({}.values()),
        'DictItemsType': type({}.items()),
        'OdictKeysType': type(views.keys()),
        'OdictValuesType': type(views.values()),
        'OdictItemsType': type(views.items()),
        'BufferedReaderType': io.BufferedReader,
        'BufferedWriterType': io.BufferedWriter,
        'BufferedRandomType': io.BufferedRandom,
        'TextWrapperType': io.TextIOWrapper,
        'FileType': io.FileIO,
    }


def _load_type(name: str) -> type:
    return _types_by_name()[name]


def _eval_repr(text: str) -> Any:
    return eval(text, {'__builtins__': builtins})


def _create_array(function: Callable[..., Any], arguments: Any, state: Any, attributes: Any = None) -> Any:
    array = function(*arguments)
    array.__setstate__(state)
    if attributes is not None:
        array.__dict__.update(attributes)
    return array


def _create_dtypemeta(scalar_type: Any) -> Any:
    import numpy as np

    return np.dtype if scalar_type is None else type(np.dtype(scalar_type))


def _import_module(name: str, safe: bool = False) -> Any:
    """Import a module, or find the attribute of one."""
    try:
        return importlib.import_module(name)
    except ImportError:
        module, _, attribute = name.rpartition('.')
        try:
            return getattr(importlib.import_module(module), attribute)
        except (ImportError, AttributeError, ValueError):
            if safe:
                return None
            raise


def _create_namedtuple(name: str, fields: Any, module: str, defaults: Any = None) -> Any:
    existing = getattr(sys.modules.get(module), name, None)
    if existing is not None:
        return existing
    return collections.namedtuple(name, fields, defaults=defaults, module=module)


def _create_code(*arguments: Any) -> types.CodeType:
    if not isinstance(arguments[0], int):  # an older form of the line table comes first
        arguments = arguments[1:]
    if len(arguments) != _ARGUMENTS_OF_A_CODE:
        raise ValueError('it holds a function that was pickled under another version of Python')
    as_bytes: list[Any] = [
        a.encode() if i in (6, 14, 15) and isinstance(a, str) else a for i, a in enumerate(arguments)
    ]
    code: types.CodeType = types.CodeType(*as_bytes)
    return code


def _create_function(
    code: types.CodeType,
    namespace: dict[str, Any] | None,
    name: str | None = None,
    defaults: Any = None,
    closure: Any = None,
    attributes: Any = None,
    keyword_defaults: Any = None,
) -> types.FunctionType:
    made = types.FunctionType(code, {} if namespace is None else namespace, name, defaults, closure)
    made.__dict__.update(attributes or {})
    if keyword_defaults is not None:
        made.__kwdefaults__ = keyword_defaults
    made.__globals__.setdefault('__builtins__', builtins)
    return made


def _create_cell(*contents: Any) -> types.CellType:
    if not contents or contents[0] is _Missing:
        return types.CellType()
    return types.CellType(contents[0])


def _create_ftype(kind: Any, function: Any, arguments: Any, keywords: Any) -> Any:
    return kind(function, *(arguments or ()), **(keywords or {}))


def _create_typing_tuple(arguments: Any, *_: Any) -> Any:
    return typing.Tuple[()] if not arguments or arguments == ((),) else typing.Tuple[arguments]  # noqa: UP006


def _create_text_buffer(value: Any, position: int, closed: bool) -> io.StringIO:
    buffer = io.StringIO(value)
    if closed:
        buffer.close()
    else:
        buffer.seek(position)
    return buffer


def _create_lock(locked: bool, *_: Any) -> Any:
    lock = Lock()
    if locked:
        lock.acquire()
    return lock


def _create_rlock(count: int, owner: Any, *_: Any) -> Any:
    return RLock()


def _create_weakref(obj: Any, *arguments: Any) -> Any:
    return weakref.ref(collections.UserDict() if obj is None else obj, *arguments)


def _setitems(target: dict[Any, Any], source: dict[Any, Any]) -> None:
    target.update(source)


def _get_attr(obj: Any, name: str) -> Any:
    return getattr(obj, name, None) or getattr(builtins, name)


def _getattr(owner: Any, name: str, _: str = '') -> Any:
    found = vars(owner).get(name) if isinstance(owner, type) else None
    return getattr(owner, name) if found is None else found


NAMES: dict[str, Any] = {
    '_CELL_EMPTY': _Missing,
    '_CELL_REF': None,
    '_create_array': _create_array,
    '_create_cell': _create_cell,
    '_create_code': _create_code,
    '_create_dtypemeta': _create_dtypemeta,
    '_create_ftype': _create_ftype,
    '_create_function': _create_function,
    '_create_lock': _create_lock,
    '_create_namedtuple': _create_namedtuple,
    '_create_rlock': _create_rlock,
    '_create_stringi': _create_text_buffer,
    '_create_stringo': _create_text_buffer,
    '_create_typing_tuple': _create_typing_tuple,
    '_create_weakref': _create_weakref,
    '_eval_repr': _eval_repr,
    '_get_attr': _get_attr,
    '_getattr': _getattr,
    '_import_module': _import_module,
    '_load_type': _load_type,
    '_setitems': _setitems,
    '_unmarshal': marshal.loads,
}
