"""Reading pickles, whoever wrote them."""

from __future__ import annotations

import functools
import pickle
import sys
from typing import IO, Any

from kartnb.errors import UnreadableResultError

_BY_VALUE = {'_make_skeleton_class', '_class_setstate'}


class KartUnpickler(pickle.Unpickler):
    """Reads pickles; a class of ``__main__`` that was pickled by value comes back as the one that has its name now, if any."""

    def find_class(self, module: str, name: str) -> Any:
        """Find what a pickle names."""
        if module == 'cloudpickle.cloudpickle' and name in _BY_VALUE:
            return _make_class if name == '_make_skeleton_class' else _fill_class
        return super().find_class(module, name)


def registered_class(module: str, qualname: str) -> type | None:
    """Give the class that a module has now under a name, or None."""
    try:
        found = functools.reduce(getattr, qualname.split('.'), sys.modules[module])
    except (KeyError, AttributeError):
        return None
    return found if isinstance(found, type) else None


def _make_class(metaclass: Any, name: str, bases: Any, namespace: dict[str, Any], *rest: Any) -> type:
    existing = registered_class(namespace.get('__module__', ''), name)
    if existing is not None:
        return existing
    from cloudpickle.cloudpickle import _make_skeleton_class

    made: type = _make_skeleton_class(metaclass, name, bases, namespace, *rest)
    return made


def _fill_class(cls: type, state: Any) -> type:
    if registered_class(cls.__module__, cls.__name__) is cls:
        return cls
    from cloudpickle.cloudpickle import _class_setstate

    filled: type = _class_setstate(cls, state)
    return filled


def load(file: IO[bytes]) -> Any:
    """Read a value from a pickle.

    Raises
    ------
    kartnb.errors.UnreadableResultError
        When the file ends too early or goes on after the pickle.
    """
    value = KartUnpickler(file).load()
    if file.read(1):
        raise UnreadableResultError('bytes follow after the end of the pickle')
    return value
