"""Classes and functions that are pickled by value, because no other process could import them: those of ``__main__``.

`kartnb.storage.unpickling` reads them. This module is imported only where cloudpickle is needed.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from io import BytesIO
from types import CodeType, MappingProxyType, MemberDescriptorType
from typing import IO, Any

from cloudpickle import CloudPickler  # noqa: TID253

from kartnb._luigi import class_maker, code_arguments

_make_class = class_maker()
_CACHED = type(functools.lru_cache(int))

#: Where the file name stands among the arguments of `types.CodeType`, from Python 3.8 on.
_FILE_NAME = 10


def _without_slots(state: tuple[dict[str, Any], Any]) -> tuple[dict[str, Any], Any]:
    """The state of a class without what Python makes of its slots."""
    attributes, rest = state
    kept = {
        name: value
        for name, value in attributes.items()
        if name not in ('__slots__', '__slotnames__') and not isinstance(value, MemberDescriptorType)
    }
    return kept, rest


def cached(maxsize: int | None, typed: bool) -> Any:
    """A function with an empty cache of its own, which `set_cached` tells what it calls: that may name it in turn."""
    functions: list[Callable[..., Any]] = []

    def call(*args: Any, **kwargs: Any) -> Any:
        return functions[0](*args, **kwargs)

    call.functions = functions  # type: ignore[attr-defined]
    return functools.lru_cache(maxsize, typed)(call)


def set_cached(given: Any, function: Callable[..., Any]) -> None:
    """Let a function with a cache call another one."""
    given.__wrapped__.functions.append(function)
    functools.update_wrapper(given, function)


class ByValuePickler(CloudPickler):  # type: ignore[misc]
    """cloudpickle's pickler, which also writes the qualified names of classes and the file names of code.

    `reducers` says how objects of further types are reduced, as `pickle.Pickler.dispatch_table` does.
    """

    def __init__(
        self, file: IO[bytes] | BytesIO, reducers: Mapping[type, Callable[[Any], Any]] = MappingProxyType({})
    ) -> None:
        super().__init__(file, protocol=5)
        # a dispatch_table of the instance is not looked at: cloudpickle's class has one, which hides it from pickle
        self._reducers = {**reducers, CodeType: self.reduce_code}
        self._file_names: dict[str, str] = {}

    def reducer_override(self, obj: Any) -> Any:
        """Add the qualified name to a class that is pickled by value: it tells a nested class from a global one."""
        reduce = self._reducers.get(type(obj))
        if reduce is not None:
            return reduce(obj)
        if isinstance(obj, functools.cached_property):  # it has a lock before Python 3.12
            return functools.cached_property, (obj.func,), {'attrname': obj.attrname}
        if isinstance(obj, _CACHED) and super().reducer_override(obj.__wrapped__) is not NotImplemented:
            return cached, tuple(obj.cache_parameters().values()), obj.__wrapped__, None, None, set_cached
        reduced = super().reducer_override(obj)
        if isinstance(reduced, tuple) and reduced[0] is _make_class:
            metaclass, name, bases, namespace, *rest = reduced[1]
            named = {**namespace, '__qualname__': obj.__qualname__}
            if vars(obj).get('__slots__'):  # set afterwards they would make no slots
                named['__slots__'] = obj.__slots__
                reduced = (*reduced[:2], _without_slots(reduced[2]), *reduced[3:])
            return (reduced[0], (metaclass, name, bases, named, *rest), *reduced[2:])
        return reduced

    def reduce_code(self, code: CodeType) -> tuple[Any, tuple[Any, ...]]:
        """Keep the file name of code, for tracebacks and `inspect`: cloudpickle 3.1.2 and later leave it out."""
        arguments = code_arguments(code)
        # one copy for each pickle: its bytes then do not depend on which other objects share the text
        name = self._file_names.setdefault(code.co_filename, ''.join(code.co_filename))
        return CodeType, (*arguments[:_FILE_NAME], name, *arguments[_FILE_NAME + 1 :])
