"""How two values differ: tables, arrays, numbers, texts, plain containers, and whatever can be compared."""

from __future__ import annotations

import difflib
import json
import pickle
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

_MOST_LINES = 20_000
_MOST_SHOWN = 400
_MOST_KEYS = 50
_MOST_CHARACTERS = 4_000_000
_DEEPEST = 3
_ADDRESS = re.compile(' at 0x[0-9a-fA-F]+')


@dataclass(frozen=True, slots=True)
class Change:
    """One thing that is compared: its name, what it is on either side, and whether it differs (None: cannot tell)."""

    name: str
    before: str
    after: str
    differs: bool | None = True


@dataclass(frozen=True, slots=True)
class ValueChanges:
    """What is known of how two values differ.

    Attributes
    ----------
    equal
        Whether they are the same; None when that cannot be told.
    changes
        Facts about both.
    diff
        The lines of a unified diff, for texts.
    """

    equal: bool | None
    changes: tuple[Change, ...] = ()
    diff: tuple[str, ...] = ()


def value_changes(before: Any, after: Any, depth: int = 0) -> ValueChanges:
    """Compare two values.

    Examples
    --------
    >>> value_changes(3, 5).changes
    (Change(name='value', before='3', after='5 (+2)', differs=True),)
    >>> value_changes({'a': 1}, {'a': 1}).equal
    True
    """
    tables = _as_table(before), _as_table(after)
    if tables[0] is not None and tables[1] is not None:
        from kartnb.execution.compare.table_changes import table_changes

        changes = table_changes(*tables)
        return ValueChanges(not any(change.differs for change in changes), changes)
    if type(before) is not type(after) and not (_is_number(before) and _is_number(after)):
        return ValueChanges(False, (Change('type', _type_name(before), _type_name(after)),))
    if _is_array(before):
        from kartnb.execution.compare.table_changes import array_changes

        changes = array_changes(before, after)
        return ValueChanges(not any(change.differs for change in changes), changes)
    if _is_number(before):
        return _numbers(before, after)
    old, new = _as_text(before), _as_text(after)
    if old is not None and new is not None:
        return ValueChanges(old == new, (), unified(old, new))
    if isinstance(before, dict) and depth < _DEEPEST:
        return _mappings(before, after, depth)
    return _others(before, after)


def unified(before: str, after: str) -> tuple[str, ...]:
    """The lines of a unified diff of two texts, at most some hundred of them."""
    if before == after:
        return ()
    old, new = before.split('\n'), after.split('\n')
    if max(len(old), len(new)) > _MOST_LINES:
        first = next((i for i, (a, b) in enumerate(zip(old, new, strict=False)) if a != b), min(len(old), len(new)))
        return (f'{len(old):,} and {len(new):,} lines; the first that differs is line {first + 1:,}',)
    lines = [line[:2000] for line in difflib.unified_diff(old, new, 'before', 'after', lineterm='')]
    if len(lines) > _MOST_SHOWN:
        lines = [*lines[:_MOST_SHOWN], f'… {len(lines) - _MOST_SHOWN:,} more lines']
    return tuple(lines)


def _numbers(before: Any, after: Any) -> ValueChanges:
    if before == after or (before != before and after != after):
        return ValueChanges(True)
    try:
        told = f'{after!r:.60} ({after - before:+.6g})'
    except (TypeError, ValueError, OverflowError):
        told = f'{after!r:.60}'
    return ValueChanges(False, (Change('value', f'{before!r:.60}', told),))


def _mappings(before: dict[Any, Any], after: dict[Any, Any], depth: int) -> ValueChanges:
    changes: list[Change] = []
    names = list(dict.fromkeys([*before, *after]))
    for name in names[:_MOST_KEYS]:
        changes.extend(_of_key(name, before, after, depth))
    if len(names) > _MOST_KEYS:
        old, new = ({key: side.get(key) for key in names[_MOST_KEYS:]} for side in (before, after))
        equal = _others(old, new).equal
        changes.append(Change(f'{len(old):,} more keys', '', '', None if equal is None else not equal))
    answers = [change.differs for change in changes]
    return ValueChanges(False if True in answers else None if None in answers else True, tuple(changes))


def _of_key(name: Any, before: dict[Any, Any], after: dict[Any, Any], depth: int) -> Iterator[Change]:
    label = str(name)[:100]
    if name not in before or name not in after:
        old, new = (_type_name(side[name]) if name in side else '(none)' for side in (before, after))
        yield Change(label, old, new)
        return
    found = value_changes(before[name], after[name], depth + 1)
    if found.diff:
        yield Change(label, _short(before[name]), _short(after[name]))
    for change in found.changes:
        inner = label if change.name == 'value' else f'{label}: {change.name}'
        yield Change(inner, change.before, change.after, change.differs)
    if not found.diff and not found.changes and found.equal is not True:
        yield Change(label, _short(before[name]), _short(after[name]), None if found.equal is None else True)


def _others(before: Any, after: Any) -> ValueChanges:
    name = _type_name(before)
    try:
        equal: bool | None = before is after or bool(before == after) or _pickled(before) == _pickled(after)
    except Exception:  # whatever a comparison of the user's raises, or a value that cannot be pickled
        equal = None
    if equal:
        return ValueChanges(True)
    told = 'cannot be compared' if equal is None else 'is not equal'
    return ValueChanges(equal, (Change('value', name, f'{name}, {told}', None if equal is None else True),))


def _pickled(value: Any) -> bytes:
    return pickle.dumps(value, 5)


def _as_text(value: Any) -> str | None:
    """The text by which plain values are compared; None for what is not plain."""
    if isinstance(value, str):
        return value
    if isinstance(value, list) and value and all(isinstance(item, str) for item in value):
        return '\n'.join(value)
    if not isinstance(value, dict | list | tuple | set | frozenset):
        return None
    if isinstance(value, set | frozenset):
        value = sorted(value, key=repr)
    try:
        text = json.dumps(value, indent=1, ensure_ascii=False, default=_refused)
    except (TypeError, ValueError, RecursionError):
        return None
    return text if len(text) < _MOST_CHARACTERS else None


def _refused(value: Any) -> Any:
    if isinstance(value, set | frozenset):
        return sorted(value, key=repr)
    if type(value).__module__ in ('datetime', 'numpy', 'decimal', 'pathlib') and getattr(value, 'shape', ()) == ():
        return str(value)
    raise TypeError


def _as_table(value: Any) -> Any:
    """A pandas frame of what is a table; None for what is none."""
    home, name = type(value).__module__.partition('.')[0], type(value).__name__
    if home == 'pandas' and name == 'DataFrame':
        return value
    if home == 'pandas' and name == 'Series':
        return value.to_frame(value.name if value.name is not None else 'value')
    if home == 'polars' and name in ('DataFrame', 'LazyFrame', 'Series'):
        import pandas as pd

        frame = value.collect() if name == 'LazyFrame' else value.to_frame() if name == 'Series' else value
        return pd.DataFrame(frame.to_dict(as_series=False))
    return None


def _is_array(value: Any) -> bool:
    return type(value).__module__.partition('.')[0] == 'numpy' and type(value).__name__ == 'ndarray'


def _is_number(value: Any) -> bool:
    import numbers

    return isinstance(value, numbers.Number) and not isinstance(value, bool)


def _type_name(value: Any) -> str:
    return type(value).__name__


def _short(value: Any) -> str:
    try:
        text = _ADDRESS.sub('', repr(value))
    except Exception:  # a user's __repr__ may raise anything
        text = _type_name(value)
    return text if len(text) <= 80 else f'{text[:79]}…'
