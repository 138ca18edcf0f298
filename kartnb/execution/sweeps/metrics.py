"""Numbers from results: what the points of a sweep are compared by."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

from kartnb.errors import SweepError

#: A key of the result, several, or a function of the result that gives a number or a dict of them.
Metric: TypeAlias = str | Sequence[str] | Callable[[Any], Any] | None

#: What a result that is a number itself is called where the metric has no name.
VALUE = 'value'


def check_metric(metric: Any) -> None:
    """Refuse what is no metric.

    Raises
    ------
    SweepError
        When it is none.
    """
    several = isinstance(metric, list | tuple) and metric and all(isinstance(name, str) for name in metric)
    if not (metric is None or callable(metric) or several or (isinstance(metric, str) and metric)):
        raise SweepError(
            'metric is the name of a number in the result, a list of names, or a function of the result, '
            f'not {metric!r:.60}.'
        )


def measured(result: Any, metric: Metric, name: str) -> dict[str, float]:
    """The metrics of one result, by name.

    Parameters
    ----------
    result
        What the task has dumped.
    metric
        As for `kartnb.sweep`; None for all the numbers in the result.
    name
        The name of the task, for messages.

    Raises
    ------
    SweepError
        When the result does not have the metric, or has something else than a number there.

    Examples
    --------
    >>> measured({'accuracy': 0.9, 'model': 'tree'}, None, 'Train')
    {'accuracy': 0.9}
    >>> measured({'accuracy': 0.9}, 'acuracy', 'Train')
    Traceback (most recent call last):
        ...
    kartnb.errors.SweepError: The result of Train has no 'acuracy': did you mean 'accuracy'?
    """
    if metric is None:
        return _all_numbers(result)
    if isinstance(metric, str):
        return {metric: _named(result, metric, name)}
    if callable(metric):
        return _computed(result, metric, name)
    return {one: _named(result, one, name) for one in metric}


def _computed(result: Any, metric: Callable[[Any], Any], name: str) -> dict[str, float]:
    label = getattr(metric, '__name__', VALUE)
    value = metric(result)
    if isinstance(value, Mapping):
        return {str(key): _number(item, str(key), name) for key, item in value.items()}
    label = VALUE if label == '<lambda>' else label
    return {label: _number(value, label, name)}


def _named(result: Any, metric: str, name: str) -> float:
    whole = as_number(result)
    if whole is not None:
        return whole
    items = _items(result)
    if items is None:
        raise SweepError(
            f'The result of {name} ({type(result).__name__}) is no dict of numbers and no number: '
            f'give metric a function of it instead of {metric!r}.'
        )
    if metric in items:
        return _number(items[metric], metric, name)
    head, dot, rest = metric.partition('.')
    if dot and head in items:
        return _named(items[head], rest, f'{name} ({head})')
    near = difflib.get_close_matches(metric, [str(key) for key in items], n=1)
    known = ', '.join(str(key) for key in list(items)[:8]) or 'nothing'
    hint = f'did you mean {near[0]!r}?' if near else f'it has {known}.'
    raise SweepError(f'The result of {name} has no {metric!r}: {hint}')


def _number(value: Any, metric: str, name: str) -> float:
    found = as_number(value)
    if found is None:
        raise SweepError(f'{metric!r} of {name} is {value!r:.40} ({type(value).__name__}): a metric must be a number.')
    return found


def _all_numbers(result: Any) -> dict[str, float]:
    whole = as_number(result)
    if whole is not None:
        return {VALUE: whole}
    found = {str(key): as_number(value) for key, value in (_items(result) or {}).items()}
    return {key: value for key, value in found.items() if value is not None}


def _items(result: Any) -> Mapping[Any, Any] | None:
    """The entries of a result by name: of a dict, a data class, a named tuple, a row or a column of a table."""
    if isinstance(result, Mapping):
        return result
    if dataclasses.is_dataclass(result) and not isinstance(result, type):
        return {field.name: getattr(result, field.name) for field in dataclasses.fields(result)}
    if isinstance(result, tuple) and hasattr(result, '_asdict'):
        return dict(result._asdict())
    kind = type(result)
    if kind.__module__.partition('.')[0] == 'pandas' and hasattr(result, 'to_dict'):
        if kind.__name__ == 'DataFrame':
            return dict(result.iloc[0].to_dict()) if len(result) == 1 else None
        return dict(result.to_dict())
    return None


def as_number(value: Any) -> float | None:
    """A number as Python's own int or float; None for what is none."""
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, int | float):
        return value
    if type(value).__module__.partition('.')[0] == 'numpy' and getattr(value, 'shape', None) == ():
        return as_number(value.item())
    if hasattr(value, '__float__') and not hasattr(value, '__len__') and not hasattr(value, 'shape'):
        return float(value)
    return None
