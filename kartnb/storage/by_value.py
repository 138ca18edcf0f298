"""Classes that are pickled by value, because no other process could import them: those of a notebook's ``__main__``.

`kartnb.storage.notebook_classes` reads them. This module is imported only where cloudpickle is needed.
"""

from __future__ import annotations

from typing import Any

from cloudpickle import CloudPickler  # noqa: TID253
from cloudpickle.cloudpickle import _make_skeleton_class  # noqa: TID253


class ByValuePickler(CloudPickler):  # type: ignore[misc]
    """cloudpickle's pickler, which also writes the qualified names of classes."""

    def reducer_override(self, obj: Any) -> Any:
        """Add the qualified name to a class that is pickled by value: it tells a nested class from a global one."""
        reduced = super().reducer_override(obj)
        if isinstance(reduced, tuple) and reduced[0] is _make_skeleton_class:
            metaclass, name, bases, namespace, *rest = reduced[1]
            named = {**namespace, '__qualname__': obj.__qualname__}
            return (reduced[0], (metaclass, name, bases, named, *rest), *reduced[2:])
        return reduced
