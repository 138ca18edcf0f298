"""Sizes, times, levels and plain values in words."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from datetime import datetime
from itertools import islice
from typing import Any

_LEVELS = (
    (logging.CRITICAL, 'CRITICAL'),
    (logging.ERROR, 'ERROR'),
    (logging.WARNING, 'WARNING'),
    (logging.INFO, 'INFO'),
)
_MOST_LINES = 200
_MOST_ITEMS = 100
_DEEPEST = 6


def size_text(size: int) -> str:
    """A number of bytes as a person says it.

    Examples
    --------
    >>> [size_text(size) for size in (0, 999, 1_500, 2_000_000, 3_500_000_000)]
    ['0 B', '999 B', '1.5 kB', '2.0 MB', '3.5 GB']
    """
    if size < 1000:
        return f'{size} B'
    value = float(size)
    for unit in ('kB', 'MB', 'GB', 'TB'):
        value /= 1000
        if value < 999.95 or unit == 'TB':
            break
    return f'{value:,.1f} {unit}'


def local_time(text: str) -> str:
    """An ISO 8601 time as it is on the clock here, to the second; '' for what is no time."""
    try:
        return datetime.fromisoformat(text).astimezone().strftime('%Y-%m-%d %H:%M:%S')
    except (ValueError, OverflowError, OSError):
        return ''


def level_name(level: int) -> str:
    """The name of a log level, or that of the next lower one that has a name.

    Examples
    --------
    >>> level_name(40), level_name(25), level_name(10)
    ('ERROR', 'INFO', 'DEBUG')
    """
    return next((name for number, name in _LEVELS if level >= number), 'DEBUG')


def value_lines(value: Any) -> list[str]:
    """A plain value in lines, nested containers indented; at most a few hundred of them, whatever the value.

    Examples
    --------
    >>> value_lines({'seed': 3, 'methods': ['a', 'b'], 'none': {}})
    ['seed: 3', 'methods:', '  a', '  b', 'none: {}']
    """
    return list(islice(_lines(value, 0), _MOST_LINES))


def _lines(value: Any, depth: int) -> Iterator[str]:
    if isinstance(value, str):
        yield from ('  ' * depth + row for row in value[:20_000].split('\n'))
    elif not _is_nest(value) or depth > _DEEPEST:
        yield '  ' * depth + scalar_text(value)
    elif isinstance(value, dict):
        for key, item in islice(value.items(), _MOST_ITEMS):
            yield from _entry(scalar_text(key), item, depth)
    else:
        for item in islice(value, _MOST_ITEMS):
            yield from _entry('-', item, depth) if _is_nest(item) else _lines(item, depth)
    if _is_nest(value) and len(value) > _MOST_ITEMS:
        yield '  ' * depth + f'… {len(value) - _MOST_ITEMS:,} more'


def _entry(name: str, item: Any, depth: int) -> Iterator[str]:
    if _is_nest(item) or (isinstance(item, str) and '\n' in item):
        yield f'{"  " * depth}{name}{"" if name == "-" else ":"}'
        yield from _lines(item, depth + 1)
    else:
        yield f'{"  " * depth}{name}: {item[:2000] if isinstance(item, str) else scalar_text(item)}'


def _is_nest(value: Any) -> bool:
    return isinstance(value, dict | list | tuple | set | frozenset) and len(value) > 0


def scalar_text(value: Any) -> str:
    """A value that is no container as text; of a container its type and how many items it has."""
    if isinstance(value, str):
        return value[:2000]
    if isinstance(value, dict | list | tuple | set | frozenset):
        return f'{type(value).__name__} of {len(value):,}' if value else repr(value)
    if isinstance(value, bytes | bytearray):
        return f'{bytes(value[:40])!r}{"…" if len(value) > 40 else ""}'
    if isinstance(value, int) and value.bit_length() > 4000:
        return f'an integer of {value.bit_length():,} bits'
    return repr(value)[:2000] if not hasattr(value, 'isoformat') else str(value)[:100]
