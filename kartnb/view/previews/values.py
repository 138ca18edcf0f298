"""Any value on one line, quickly and without looking at all of it."""

from __future__ import annotations

import reprlib
from itertools import islice
from typing import Any

from kartnb.view.clean import one_line

LONGEST = 80


class _Short(reprlib.Repr):
    """`repr` of nested containers that looks at a few items only."""

    def __init__(self) -> None:
        super().__init__()
        self.maxlevel = 3
        self.maxlist = self.maxtuple = self.maxset = self.maxfrozenset = self.maxdeque = self.maxarray = 6
        self.maxdict = 5
        self.maxstring = self.maxother = LONGEST
        self.maxlong = 60

    def repr_dict(self, x: Any, level: int) -> str:
        """A dict in its own order: sorting would look at all of it."""
        if level <= 0:
            return '{…}'
        shown = [
            f'{self.repr1(key, level - 1)}: {self.repr1(item, level - 1)}'
            for key, item in islice(x.items(), self.maxdict)
        ]
        return '{' + ', '.join([*shown, *(['…'] if len(x) > self.maxdict else [])]) + '}'

    def repr_instance(self, x: Any, level: int) -> str:
        """What a class says of its own objects; a numpy array by its shape, since it would be drawn in full lines."""
        told = shape_of(x)
        return f'<{told}>' if told else super().repr_instance(x, level)


_short = _Short()


def short(value: Any, limit: int = LONGEST) -> str:
    """A value on one line, as in a cell of a table.

    Examples
    --------
    >>> short(0.1 + 0.2), short('text'), short({'a': list(range(1000))})
    ('0.3', 'text', "{'a': [0, 1, 2, 3, 4, 5, ...]}")
    """
    if isinstance(value, str):
        return one_line(value, limit)
    if isinstance(value, float):
        return f'{value:.6g}'
    try:
        if type(value).__module__ == 'numpy' and getattr(value, 'shape', None) == ():
            return (
                short(value.item(), limit) if not hasattr(value, 'dtype') or value.dtype.kind in 'biufU' else str(value)
            )
        if hasattr(value, 'isoformat'):
            return one_line(str(value), limit)
        told = shape_of(value)
        return one_line(told or _short.repr(value), limit)
    except Exception:  # a class may draw its objects badly, and the others are still to be seen
        return f'<{type_name(value)}>'


def shape_of(value: Any) -> str:
    """An array or table in a few words: its type, its shape, and the type of what it holds; '' for anything else."""
    shape = getattr(value, 'shape', None)
    if not isinstance(shape, tuple) or not shape or not all(isinstance(size, int) for size in shape):
        return ''
    dtype = getattr(value, 'dtype', None)
    return f'{type(value).__name__} {" × ".join(f"{size:,}" for size in shape)}' + (
        f' {dtype}' if dtype is not None else ''
    )


def type_name(value: Any) -> str:
    """The type of a value with its module, without that of builtins."""
    cls = type(value)
    name = getattr(cls, '__qualname__', str(cls))
    return one_line(name if cls.__module__ in ('builtins', '__main__') else f'{cls.__module__}.{name}', 160)


def counted(number: int, word: str) -> str:
    """``'1 row'``, ``'1,000 rows'``.

    Examples
    --------
    >>> counted(1, 'row'), counted(2000, 'entry')
    ('1 row', '2,000 entries')
    """
    if number == 1:
        return f'1 {word}'
    return f'{number:,} {word[:-1]}ies' if word.endswith('y') else f'{number:,} {word}s'
