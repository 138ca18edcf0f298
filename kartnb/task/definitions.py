"""Whether two task classes of one name are one definition that was run twice, or two different ones."""

from __future__ import annotations

from types import CodeType, FunctionType
from typing import Any

import luigi

from kartnb._luigi import CLASS_ATTRIBUTES

#: What a class statement, luigi and kartnb put into a class by themselves.
_NOT_WRITTEN = CLASS_ATTRIBUTES | {'_kart_table'}


def is_same_definition(one: type, other: type) -> bool:
    """Whether two classes do the same as far as their own bodies say: methods, constants, parameters.

    Comments and docstrings do not count; what methods call is not looked at. In doubt the answer is no.

    Examples
    --------
    >>> def define(factor):
    ...     class Scale:
    ...         def run(self):
    ...             return 2 * factor
    ...
    ...     return Scale
    >>> is_same_definition(define(3), define(3)), is_same_definition(define(3), define(4))
    (True, False)
    """
    if one is other:
        return True
    shared = {*one.__mro__} & {*other.__mro__}
    return _same(_body(one, shared), _body(other, shared))


def _body(cls: type, shared: set[type]) -> dict[str, Any]:
    written: dict[str, Any] = {}
    for base in reversed(cls.__mro__):
        if base not in shared:
            written.update(vars(base))
    return {name: value for name, value in written.items() if name not in _NOT_WRITTEN and _counts(name, value)}


def _counts(name: str, value: Any) -> bool:
    return isinstance(value, FunctionType) or not (name.startswith('__') and name.endswith('__'))


def _same(one: Any, other: Any) -> bool:
    if one is other:
        return True
    if type(one) is not type(other):
        return False
    parts = _parts(one)
    if parts is not None:
        found = _parts(other) or ()
        return len(parts) == len(found) and all(map(_same, parts, found))
    if isinstance(one, luigi.Parameter):
        return True  # the values that tasks have of them are in their ids
    try:
        return bool(one == other)
    except Exception:
        return False


def _parts(value: Any) -> tuple[Any, ...] | None:
    if isinstance(value, FunctionType):
        cells = tuple(cell.cell_contents for cell in value.__closure__ or () if not _is_own_class(cell))
        code = value.__code__
        if code.co_consts and isinstance(value.__doc__, str) and code.co_consts[0] == value.__doc__:
            code = code.replace(co_consts=(None, *code.co_consts[1:]))
        return (code, value.__defaults__, value.__kwdefaults__, *cells)
    if isinstance(value, CodeType):
        return (value.co_code, value.co_names, value.co_varnames, value.co_freevars, value.co_consts)
    if isinstance(value, classmethod | staticmethod):
        return (value.__func__,)
    if isinstance(value, property):
        return (value.fget, value.fset, value.fdel)
    if isinstance(value, dict):
        return (*value.keys(), *value.values())
    return tuple(value) if isinstance(value, tuple | list) else None


def _is_own_class(cell: Any) -> bool:
    """Whether a cell is that of `super()`, which holds the class itself, or is empty."""
    try:
        return isinstance(cell.cell_contents, type)
    except ValueError:
        return True
