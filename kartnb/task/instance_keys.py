"""Keys of parameter values in the instance cache: equal only for values that have one text form."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from numbers import Number
from typing import Any

import luigi


def value_key(parameter: luigi.Parameter[Any], value: Any) -> Hashable:
    """`exact_key`, and for a value of a type of which nothing is known here the text that it serialises to.

    Two equal times in two zones are such values, and so may be two equal objects of a `SerializableParameter`.

    Raises
    ------
    TypeError
        When the value (or a part of it) cannot be hashed.
    """
    key = exact_key(value)
    if isinstance(value, str | int | float | list | tuple | Mapping | luigi.Task | None):
        return key
    try:
        return (key, parameter.serialize(value))
    except Exception:  # a value of a wrong type is judged elsewhere
        return key


def exact_key(value: Any) -> Hashable:
    """A key that is equal only for values that serialise alike: 1, 1.0 and True differ, and so do orders of a dict.

    Raises
    ------
    TypeError
        When the value (or a part of it) cannot be hashed.
    """
    kind = type(value)
    if kind is str or kind is int or kind is bool or value is None:
        return (kind, value)
    if isinstance(value, luigi.Task):
        # luigi's equality ignores insignificant parameters; the instance cache makes one instance of each task.
        return (kind, id(value))
    if isinstance(value, Number):
        return (kind, repr(value))
    if isinstance(value, tuple):
        return (kind, tuple(exact_key(item) for item in value))
    hash(value)  # a list or dict may change under the task that holds it
    if isinstance(value, Mapping):
        return (kind, tuple((exact_key(key), exact_key(item)) for key, item in value.items()))
    return (kind, value)
