"""The nested lists, tuples and dicts in which `requires()` and `output()` hand over tasks and targets."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias, TypeVar

import luigi

T = TypeVar('T')
K = TypeVar('K')

Nested: TypeAlias = T | list['Nested[T]'] | tuple['Nested[T]', ...] | dict[Any, 'Nested[T]']


def flatten(items: Any) -> list[Any]:
    """List the leaves of a nested structure, in order; None has none, a string is a leaf, a dict counts by its values.

    Examples
    --------
    >>> flatten({'a': 1, 'b': [2, (3, None)]})
    [1, 2, 3]
    >>> flatten('foo')
    ['foo']
    """
    if items is None:
        return []
    if isinstance(items, dict):
        items = items.values()
    elif not _is_nest(items):
        return [items]
    leaves: list[Any] = []
    for item in items:
        if item is None or hasattr(type(item), '__iter__'):
            leaves.extend(flatten(item))
        else:
            leaves.append(item)
    return leaves


def map_nested(function: Callable[[Any], K], items: Any) -> Nested[K]:
    """Apply `function` to each leaf of a nested structure and keep its shape; other iterables become lists.

    Examples
    --------
    >>> map_nested(str, {'a': 1, 'b': [2, (3,)]})
    {'a': '1', 'b': ['2', ('3',)]}
    """
    if isinstance(items, dict):
        return {key: map_nested(function, value) for key, value in items.items()}
    if isinstance(items, tuple):
        return tuple(map_nested(function, item) for item in items)
    if not _is_nest(items):
        return function(items)
    return [map_nested(function, item) for item in items]


def required(asked: Any) -> Any:
    """The tasks that a ``yield`` in `run()` asks for, nested as they were."""
    return asked.requirements if isinstance(asked, luigi.DynamicRequirements) else asked


def _is_nest(items: Any) -> bool:
    # many times faster than isinstance(items, Iterable), and asked for every task and target
    return hasattr(type(items), '__iter__') and not isinstance(items, str)
