"""Estimators of scikit-learn: their parameters, what they have learnt, and the steps of pipelines."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

from kartnb.view.clean import one_line
from kartnb.view.previews import registry
from kartnb.view.previews.blocks import Block, Branch, Column, Table, Tree
from kartnb.view.previews.preview import Preview
from kartnb.view.previews.values import short, type_name

_MOST_PARAMETERS = 40
_MOST_LEARNT = 30
_MOST_STEPS = 100
_DEEPEST = 5


def preview_estimator(estimator: Any) -> Preview:
    """Preview an estimator."""
    learnt = _learnt(estimator)
    blocks: list[Block] = []
    inside = tuple(_inside(estimator, 1, [_MOST_STEPS]))
    if inside:
        blocks.append(Tree(inside))
    parameters = _parameters(estimator)
    if parameters:
        more = len(parameters) - _MOST_PARAMETERS
        note = f'… {more:,} more parameters' if more > 0 else ''
        blocks.append(Table([Column('parameter'), Column('value'), Column('')], parameters[:_MOST_PARAMETERS], note))
    if learnt:
        blocks.append(Table([Column('learnt'), Column('value')], learnt))
    return Preview(f'{type_name(estimator)}, {"fitted" if _is_fitted(estimator) else "not fitted"}', tuple(blocks))


def _is_fitted(estimator: Any) -> bool:
    from sklearn.utils.validation import check_is_fitted

    try:
        check_is_fitted(estimator)
    except Exception:  # not fitted, or an estimator that has nothing to fit
        return False
    return True


def _parameters(estimator: Any) -> list[list[str]]:
    """The parameters, those that are not at their default first."""
    defaults = {name: p.default for name, p in inspect.signature(type(estimator).__init__).parameters.items()}
    rows = []
    for name, value in estimator.get_params(deep=False).items():
        if _is_estimator(value) or (isinstance(value, list) and value and _named_estimator(value[0])):
            continue  # shown as what is inside
        is_set = short(value, 300) != short(defaults.get(name), 300)
        rows.append([one_line(name, 60), short(value, 120), 'set' if is_set else 'default'])
    return sorted(rows, key=lambda row: row[2] != 'set')


def _learnt(estimator: Any) -> list[list[str]]:
    names = [name for name in vars(estimator) if name.endswith('_') and not name.startswith('_')]
    return [[one_line(name, 60), short(vars(estimator)[name], 160)] for name in names[:_MOST_LEARNT]]


def _inside(estimator: Any, depth: int, room: list[int]) -> Iterator[Branch]:
    """The estimators that an estimator is made of."""
    for name, value in estimator.get_params(deep=False).items():
        parts = [(name, value)] if _is_estimator(value) else []
        if isinstance(value, list):
            parts = [(str(item[0]), item[1]) for item in value if _named_estimator(item)]
        for part_name, part in parts:
            if room[0] <= 0:
                return
            room[0] -= 1
            children = tuple(_inside(part, depth + 1, room)) if depth < _DEEPEST else ()
            yield Branch(one_line(part_name, 60), _signature(part), children)


def _signature(estimator: Any) -> str:
    given = [f'{row[0]}={row[1]}' for row in _parameters(estimator) if row[2] == 'set']
    return one_line(f'{type(estimator).__name__}({", ".join(given)})', 200)


def _is_estimator(value: Any) -> bool:
    return hasattr(type(value), 'get_params') and hasattr(type(value), 'set_params')


def _named_estimator(item: Any) -> bool:
    return isinstance(item, tuple) and len(item) >= 2 and _is_estimator(item[1])


registry.add('sklearn', {'BaseEstimator': preview_estimator})
