"""Reading classes that were pickled by value.

A class of a notebook is pickled with all that it is, since no other process could import it. Where a class of that name
exists when the pickle is read, its objects become instances of that class instead, so that ``isinstance`` holds after a
cell was run again.
"""

from __future__ import annotations

import enum
import functools
import sys
import types
from collections.abc import Callable, Mapping
from typing import Any

from kartnb._luigi import class_filler, class_maker, enum_maker


def registered_class(module: str, qualname: str) -> type | None:
    """Give the class that a module has now under a qualified name, or None.

    Examples
    --------
    >>> registered_class('collections', 'OrderedDict')
    <class 'collections.OrderedDict'>
    """
    try:
        found = functools.reduce(getattr, qualname.split('.'), sys.modules[module])
    except (KeyError, AttributeError):
        return None
    return found if isinstance(found, type) else None


class NotebookClasses:
    """The classes of one pickle: what cloudpickle and dill call to make them finds those that exist already.

    Parameters
    ----------
    replacements
        For dill: which class takes the place of the n-th that the pickle makes. dill tells the qualified name of a
        class only after making it, so a pickle with such classes is read twice.
    """

    def __init__(self, replacements: Mapping[int, type] | None = None) -> None:
        self._replacements = replacements or {}
        self._made_by_dill: list[type] = []
        self._existing: set[type] = set()

    def replacements(self) -> dict[int, type]:
        """Give the classes that should have taken the place of those that a pickle of dill made."""
        found = {i: registered_class(made.__module__, made.__qualname__) for i, made in enumerate(self._made_by_dill)}
        return {i: cls for i, cls in found.items() if cls is not None and cls is not self._made_by_dill[i]}

    def find(self, module: str, name: str) -> Callable[..., Any] | None:
        """Give what stands for a function that a pickle names, or None."""
        method = _STANDINS.get((module, name))
        return None if method is None else types.MethodType(method, self)

    def make_skeleton(self, metaclass: Any, name: str, bases: Any, namespace: dict[str, Any], *rest: Any) -> type:
        """Do what cloudpickle does for a class, unless the class exists."""
        existing = registered_class(namespace.get('__module__', ''), namespace.get('__qualname__', name))
        if existing is not None:
            return self._keep(existing)
        return class_maker()(metaclass, name, bases, namespace, *rest)

    def make_enum(self, bases: Any, name: str, qualname: str, members: Any, module: str, *rest: Any) -> type:
        """Do what cloudpickle does for an enum, unless the class exists."""
        existing = registered_class(module, qualname)
        if existing is not None:
            return self._keep(existing)
        return enum_maker()(bases, name, qualname, members, module, *rest)

    def fill(self, cls: type, state: Any) -> type:
        """Give a class its attributes as cloudpickle does, unless it has its own."""
        return cls if cls in self._existing else class_filler()(cls, state)

    def create_type(self, metaclass: Any, *arguments: Any) -> Any:
        """Do what dill does for a class, unless another takes its place."""
        if not (isinstance(metaclass, type) and issubclass(metaclass, type) and len(arguments) == 3):
            return metaclass(*arguments)
        if issubclass(metaclass, enum.EnumMeta):  # dill cannot rebuild an enum, so there is no second reading
            name, _, namespace = arguments
            existing = registered_class(namespace.get('__module__', ''), name)
            if existing is not None:
                return self._keep(existing)
        return self._made(lambda: metaclass(*arguments))

    def new_class(self, name: str, bases: Any = (), options: Any = None, fill: Any = None) -> Any:
        """Do what dill does for a generic class, unless another takes its place."""
        return self._made(lambda: types.new_class(name, bases, options, fill))

    def set_attribute(self, obj: Any, name: str, value: Any) -> None:
        """Set an attribute as dill asks, but not of a class that existed before."""
        if not (isinstance(obj, type) and obj in self._existing):
            setattr(obj, name, value)

    def _made(self, make: Callable[[], type]) -> type:
        replacement = self._replacements.get(len(self._made_by_dill))
        made = make() if replacement is None else self._keep(replacement)
        self._made_by_dill.append(made)
        return made

    def _keep(self, existing: type) -> type:
        self._existing.add(existing)
        return existing


_STANDINS: dict[tuple[str, str], Callable[..., Any]] = {
    ('cloudpickle.cloudpickle', '_make_skeleton_class'): NotebookClasses.make_skeleton,
    ('cloudpickle.cloudpickle', '_make_skeleton_enum'): NotebookClasses.make_enum,
    ('cloudpickle.cloudpickle', '_class_setstate'): NotebookClasses.fill,
    ('cloudpickle.cloudpickle_fast', '_class_setstate'): NotebookClasses.fill,
    ('dill._dill', '_create_type'): NotebookClasses.create_type,
    ('types', 'new_class'): NotebookClasses.new_class,
    ('builtins', 'setattr'): NotebookClasses.set_attribute,
    ('__builtin__', 'setattr'): NotebookClasses.set_attribute,
}
