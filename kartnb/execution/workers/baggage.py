"""What a class that travels by value takes along: the variables of the notebook that its methods use."""

from __future__ import annotations

import types
import warnings
from collections.abc import Callable, Iterator
from typing import Any

#: Pickled classes of more bytes than this are worth a warning.
HEAVY = 10_000_000

_NOT_DATA = (types.ModuleType, types.FunctionType, types.BuiltinFunctionType, type)


def warn_of_baggage(cls: type, dumps: Callable[[Any], bytes]) -> None:
    """Name the large variables that are sent to every worker together with a class.

    Parameters
    ----------
    cls
        A class whose pickle is large.
    dumps
        Pickles a value as it would be sent.
    """
    heavy = [(name, size) for name, value in _taken_along(cls) if (size := _size(value, dumps)) > HEAVY]
    names = ', '.join(f'{name} ({size / 1e6:,.0f} MB)' for name, size in heavy) or 'what its methods use'
    warnings.warn(
        f'{cls.__name__} takes {names} along to every worker process: make it the result of a task, or load it in '
        'run().',
        stacklevel=2,
    )


def _taken_along(cls: type) -> Iterator[tuple[str, Any]]:
    """The names and values of class attributes, and of global variables that methods reach."""
    seen: set[int] = set()
    functions: list[types.FunctionType] = []
    for name, value in vars(cls).items():
        if name.startswith(('__', '_kart')):
            continue
        found = _function_in(value)
        if found is not None:
            functions.append(found)
        else:
            yield f'{cls.__name__}.{name}', value
    while functions:
        function = functions.pop()
        for name in _names(function.__code__):
            value = function.__globals__.get(name)
            if value is None or id(value) in seen:
                continue
            seen.add(id(value))
            if isinstance(value, types.FunctionType) and value.__module__ == cls.__module__:
                functions.append(value)
            elif not isinstance(value, _NOT_DATA):
                yield name, value


def _function_in(value: Any) -> types.FunctionType | None:
    inner = getattr(value, '__func__', None) or getattr(value, 'fget', None) or getattr(value, '__wrapped__', value)
    return inner if isinstance(inner, types.FunctionType) else None


def _names(code: types.CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _names(constant)


def _size(value: Any, dumps: Callable[[Any], bytes]) -> int:
    try:
        return len(dumps(value))
    except Exception:
        return 0
