"""Values of Python itself, and of any class that says how it is drawn."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from itertools import islice
from typing import Any

from kartnb.view.clean import one_line
from kartnb.view.previews.blocks import Branch, Tree
from kartnb.view.previews.preview import Preview
from kartnb.view.previews.values import counted, short, type_name

_MOST_CHILDREN = 30
_MOST_BRANCHES = 300
_DEEPEST = 6


def preview_plain(value: Any) -> Preview:
    """Preview a value that no library's module knows."""
    from kartnb.view.previews import rich, texts

    if isinstance(value, str):
        return texts.preview_text_value(value)
    if isinstance(value, bytes | bytearray):
        return texts.preview_bytes(bytes(value))
    if is_nest(value):
        return preview_nest(value)
    drawn = rich.drawn_by_itself(value)
    if drawn is not None:
        return drawn
    return Preview(type_name(value), (texts.text_block(repr(value)),))


def preview_nest(value: Any) -> Preview:
    """Preview a nested container as a tree."""
    tree = make_tree(value)
    return Preview(_told(value), (tree,))


def make_tree(value: Any, open_up: Callable[[Any], bool] | None = None) -> Tree:
    """The tree of a nested value: a few hundred entries of it, breadth bounded at every level."""
    room = [_MOST_BRANCHES]
    branches = tuple(_branches(value, 1, room))
    return Tree(branches, '' if room[0] > 0 else 'There is more; only the first entries are shown.')


def is_nest(value: Any) -> bool:
    """Whether a value is a container or record that a tree can show."""
    return (
        isinstance(value, Mapping | list | tuple | Set)
        or (dataclasses.is_dataclass(value) and not isinstance(value, type))
        or (isinstance(value, Sequence) and not isinstance(value, str | bytes | bytearray | range | memoryview))
    )


def _branches(value: Any, depth: int, room: list[int]) -> Iterator[Branch]:
    size = _size(value)
    for name, item in islice(_items(value), _MOST_CHILDREN):
        if room[0] <= 0:
            return
        room[0] -= 1
        if is_nest(item) and _size(item):
            children = tuple(_branches(item, depth + 1, room)) if depth < _DEEPEST else ()
            yield Branch(name, _told(item), children)
        else:
            yield Branch(name, short(item, 200))
    if size > _MOST_CHILDREN:
        yield Branch('…', f'{size - _MOST_CHILDREN:,} more')


def _items(value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        yield from ((short(key, 80), item) for key, item in value.items())
    elif isinstance(value, tuple) and hasattr(value, '_fields'):
        yield from zip(map(str, vars(type(value))['_fields']), value, strict=False)
    elif dataclasses.is_dataclass(value):
        yield from ((field.name, getattr(value, field.name, None)) for field in dataclasses.fields(value))
    elif isinstance(value, Set):
        yield from (('·', item) for item in value)
    else:
        yield from ((str(i), item) for i, item in enumerate(value))


def _size(value: Any) -> int:
    return len(dataclasses.fields(value)) if dataclasses.is_dataclass(value) else len(value)


def _told(value: Any) -> str:
    word = 'entry' if isinstance(value, Mapping) else 'field' if dataclasses.is_dataclass(value) else 'item'
    return one_line(f'{type_name(value)} of {counted(_size(value), word)}', 200)
