"""How two tables or two arrays differ."""

from __future__ import annotations

from typing import Any

from kartnb.execution.compare.value_changes import Change

_MOST_COLUMNS = 40
_MOST_CELLS = 5


def table_changes(before: Any, after: Any) -> tuple[Change, ...]:
    """How two pandas frames differ: shape, columns and their types, rows, changed cells, and means of what changed."""
    before, after = _with_names_of_their_own(before), _with_names_of_their_own(after)
    found = [_change('shape', _shape(before), _shape(after)), *_columns(before, after)]
    before, after, rows = _aligned(before, after)
    found += rows
    there = set(after.columns)
    shared = [name for name in before.columns if name in there]
    masks = {name: _differing(before[name], after[name]) for name in shared}
    total = sum(int(mask.sum()) for mask in masks.values())
    found.append(Change('changed cells', '', f'{total:,} of {len(before) * len(shared):,}', total > 0))
    touched = [name for name, mask in masks.items() if mask.any()]
    for name in touched[:_MOST_COLUMNS]:
        found += _of_column(name, before[name], after[name], masks[name])
    if len(touched) > _MOST_COLUMNS:
        found.append(Change('more changed columns', '', f'{len(touched) - _MOST_COLUMNS:,}'))
    return tuple(found)


def array_changes(before: Any, after: Any) -> tuple[Change, ...]:
    """How two numpy arrays differ: shape, type, how many elements, and norms."""
    import numpy as np

    found = [
        _change('shape', ' × '.join(map(str, before.shape)), ' × '.join(map(str, after.shape))),
        _change('dtype', str(before.dtype), str(after.dtype)),
    ]
    if before.shape == after.shape:
        numeric = before.dtype.kind in 'fc' and after.dtype.kind in 'fc'
        same = (before == after) | ((before != before) & (after != after) if numeric else False)
        number = int(np.size(same) - np.count_nonzero(same))
        found.append(Change('changed elements', '', f'{number:,} of {before.size:,}', number > 0))
    if before.dtype.kind in 'fciub' and after.dtype.kind in 'fciub' and before.size and after.size:
        found += _norms(np, before, after)
    return tuple(found)


def _norms(np: Any, before: Any, after: Any) -> list[Change]:
    a, b = (side.astype(complex if side.dtype.kind == 'c' else float, copy=False).ravel() for side in (before, after))
    norms = [float(np.linalg.norm(side)) for side in (a, b)]
    found = [_change('norm', f'{norms[0]:.6g}', f'{norms[1]:.6g}')]
    if before.shape == after.shape:
        difference = a - b
        largest = float(np.nanmax(np.abs(difference))) if not np.isnan(difference).all() else float('nan')
        norm = float(np.linalg.norm(np.nan_to_num(difference)))
        found.append(Change('norm of the difference', '', f'{norm:.6g}', norm > 0))
        found.append(Change('largest difference', '', f'{largest:.6g}', largest > 0))
    return found


def _with_names_of_their_own(table: Any) -> Any:
    """The table with another name for each further column of one name."""
    if table.columns.is_unique:
        return table
    seen: dict[Any, int] = {}
    names = []
    for name in table.columns:
        seen[name] = seen.get(name, 0) + 1
        names.append(name if seen[name] == 1 else f'{name} ({seen[name]})')
    return table.set_axis(names, axis=1)


def _shape(table: Any) -> str:
    return f'{len(table):,} × {table.shape[1]:,}'


def _change(name: str, before: str, after: str) -> Change:
    return Change(name, before, after, before != after)


def _columns(before: Any, after: Any) -> list[Change]:
    old, new = ({str(name): str(kind) for name, kind in table.dtypes.items()} for table in (before, after))
    found = [
        Change(f'column {name}', old.get(name, '(none)'), new.get(name, '(none)'))
        for name in dict.fromkeys([*old, *new])
        if old.get(name) != new.get(name)
    ]
    if not found and list(old) != list(new):
        found.append(Change('order of columns', ', '.join(old)[:200], ', '.join(new)[:200]))
    return found[:_MOST_COLUMNS]


def _aligned(before: Any, after: Any) -> tuple[Any, Any, list[Change]]:
    """The rows that both have, by the index where it names rows, and by position elsewhere."""
    if before.index.equals(after.index):
        return before, after, []
    if before.index.is_unique and after.index.is_unique and before.index.dtype == after.index.dtype:
        shared = before.index.intersection(after.index, sort=False)
        gone, new = len(before) - len(shared), len(after) - len(shared)
        rows = [Change('rows', f'{gone:,} only here', f'{new:,} only here', gone + new > 0)]
        if not gone and not new:
            rows = [Change('order of rows', 'its own', 'another one')]
        return before.loc[shared], after.loc[shared], rows
    most = min(len(before), len(after))
    return (
        before.iloc[:most].reset_index(drop=True),
        after.iloc[:most].reset_index(drop=True),
        [Change('index', str(before.index.dtype), str(after.index.dtype))],
    )


def _differing(before: Any, after: Any) -> Any:
    """Whether each row differs; values that are missing on both sides do not."""
    import numpy as np

    old, new = before.to_numpy(dtype=object), after.to_numpy(dtype=object)
    missing_old, missing_new = (np.asarray(side.isna(), dtype=bool) for side in (before, after))
    try:
        equal = np.asarray(old == new, dtype=bool)
    except (TypeError, ValueError):  # cells that hold arrays or other things of their own
        equal = np.fromiter((repr(a) == repr(b) for a, b in zip(old, new, strict=True)), dtype=bool, count=len(old))
    return ~(equal | (missing_old & missing_new))


def _of_column(name: Any, before: Any, after: Any, mask: Any) -> list[Change]:
    import pandas as pd

    label = f'column {name}'
    found = [Change(label, '', f'{int(mask.sum()):,} cells changed')]
    positions = mask.nonzero()[0][:_MOST_CELLS]
    for i in positions:
        row = str(before.index[i])[:40]
        found.append(Change(f'{label}, row {row}', str(before.iloc[i])[:80], str(after.iloc[i])[:80]))
    if all(pd.api.types.is_numeric_dtype(side) and side.dtype != bool for side in (before, after)):
        found.append(Change(f'{label}, mean', f'{before.mean():.6g}', f'{after.mean():.6g}'))
    return found
