"""What is wrapped in methods, properties, partial functions and callable objects of libraries."""

from __future__ import annotations

import functools
import inspect
import re
from types import BuiltinMethodType, FunctionType, MethodType
from typing import Any

from kartnb.task.code_owner import is_own

#: Whose methods may be had as functions of their own.
_CONTAINERS = (dict, list, tuple, set, frozenset, str, bytes, re.Pattern)


def held_functions(value: Any) -> tuple[Any, ...] | None:
    """What a wrapper of functions holds; None for anything else."""
    if isinstance(value, classmethod | staticmethod):
        return (value.__func__,)
    if isinstance(value, MethodType):
        is_seen = isinstance(value.__self__, type) or is_own(type(value.__self__).__module__)
        return (value.__func__, *((value.__self__,) if is_seen else ()))
    if isinstance(value, BuiltinMethodType) and isinstance(value.__self__, _CONTAINERS):
        return (value.__self__,)
    if isinstance(value, property):
        return tuple(item for item in (value.fget, value.fset, value.fdel) if item is not None)
    if isinstance(value, functools.cached_property | functools.partial | functools.partialmethod):
        arguments = () if isinstance(value, functools.cached_property) else (*value.args, *value.keywords.values())
        return (value.func, *arguments)
    if isinstance(value, functools.singledispatchmethod):
        return tuple(value.dispatcher.registry.values())
    wrapped = inspect.getattr_static(value, '__wrapped__', None)
    return (wrapped,) if callable(wrapped) else _held_by_library(value)


def _held_by_library(value: Any) -> tuple[Any, ...] | None:
    """The user's functions in a callable object of a library, such as `numpy.vectorize`; None where there are none."""
    if isinstance(value, type | FunctionType) or not callable(value) or is_own(type(value).__module__):
        return None
    held = getattr(value, '__dict__', None)
    kinds = (FunctionType, functools.partial, MethodType)
    found = tuple(item for item in held.values() if isinstance(item, kinds)) if isinstance(held, dict) else ()
    return found or None
