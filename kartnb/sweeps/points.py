"""The points of a sweep, and their metrics: the numbers in the results by which points are compared."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeAlias

import luigi

from kartnb import display
from kartnb.errors import SweepError, described
from kartnb.history.log_store import LogStore
from kartnb.model import TaskState
from kartnb.task.base import TaskOnKart
from kartnb.task.results import result_of

#: A key of the result, several, or a function of the result that gives a number or a dict of them.
Metric: TypeAlias = str | Sequence[str] | Callable[[Any], Any] | None

#: The name of the metric where the result itself is a number and the metric has no name.
VALUE = 'value'

_COMPLETE = (TaskState.CACHED, TaskState.DONE, TaskState.EXTERNAL)


@dataclass(eq=False, repr=False)
class SweepPoint(display.Displayed):
    """One point of a sweep: parameter values, and the task and the metrics for them.

    Attributes
    ----------
    position
        Its position in the sweep; ``sweep[position]`` gives it.
    values
        The values of the parameters that the sweep was given, by name.
    task
        The task, or None where it could not be made.
    unique_id
        The unique id of the task, or ''.
    state
        The state of the task: cached, done, failed, blocked, ...
    error
        Why there is no result, in one line, or ''.
    metrics
        The metrics by name.
    problem
        Why there are no metrics although there is a result, or ''.
    """

    position: int
    values: Mapping[str, Any]
    task: luigi.Task | None
    unique_id: str = ''
    state: TaskState = TaskState.MISSING
    error: str = ''
    metrics: dict[str, float] = field(default_factory=dict)
    problem: str = ''
    _seconds: float | None = field(default=None, repr=False)
    _memory: int | None = field(default=None, repr=False)
    _store: LogStore = field(default_factory=LogStore, repr=False)

    @property
    def is_complete(self) -> bool:
        """Whether it has a result."""
        return self.state in _COMPLETE

    @property
    def is_over(self) -> bool:
        """Whether it has ended, successfully or not."""
        return self.is_complete or self.state in (TaskState.FAILED, TaskState.BLOCKED)

    @cached_property
    def seconds(self) -> float | None:
        """How long the task itself ran, now or when the result was cached; None where unknown."""
        if self._seconds is not None or not isinstance(self.task, TaskOnKart) or not self.is_complete:
            return self._seconds
        record = self._store.record(self.task)
        return None if record is None else record.seconds

    @property
    def memory(self) -> int | None:
        """How many bytes of memory the task added to its process, now or when the result was cached, or None."""
        if self._memory is None and self.state is TaskState.CACHED and isinstance(self.task, TaskOnKart):
            record = self._store.record(self.task)
            self._memory = None if record is None else record.added_memory
        return self._memory

    def load(self) -> Any:
        """The result.

        Raises
        ------
        SweepError
            When it has none.
        """
        if self.task is None or not self.is_complete:
            raise SweepError(f'Point {self.position} has no result: it is {self.state}. {self.error}'.rstrip())
        return result_of(self.task)


class Metrics:
    """Computes the metrics of points, each once; `metric` is as for `kartnb.sweep`, messages name the class `name`."""

    def __init__(self, metric: Metric, name: str) -> None:
        self._metric = metric
        self._name = name
        self._done: set[SweepPoint] = set()
        self._first: SweepError | None = None

    def compute(self, points: Iterable[SweepPoint]) -> None:
        """Compute the metrics of points that have a result and no metrics yet."""
        for point in points:
            if point.is_complete and point not in self._done:
                self._compute_one(point)

    def finish(self, points: Iterable[SweepPoint]) -> None:
        """Compute the metrics that are left; a `SweepError` where none of several results has the metric."""
        self.compute(points)
        if self._first is not None and all(point.problem for point in self._done):
            raise SweepError(
                f'{self._first} (All results are kept: with another metric nothing is run again.)'
            ) from self._first

    def _compute_one(self, point: SweepPoint) -> None:
        self._done.add(point)
        metrics, problem = {}, ''
        try:
            metrics = metrics_of(point.load(), self._metric, self._name)
        except SweepError as error:
            self._first = self._first or error
            problem = str(error)
        except Exception as error:  # the user's function, or a file that cannot be read
            problem = described(error)
            self._first = self._first or SweepError(f'The metric of {self._name} could not be computed: {problem}')
        point.metrics, point.problem = metrics, problem


def check_metric(metric: Any) -> None:
    """Raise a `SweepError` for what is not a metric."""
    several = isinstance(metric, list | tuple) and metric and all(isinstance(name, str) for name in metric)
    if not (metric is None or callable(metric) or several or (isinstance(metric, str) and metric)):
        raise SweepError(
            'metric must be the name of a number in the result, a list of names, or a function of the result, '
            f'not {metric!r:.60}.'
        )


def metrics_of(result: Any, metric: Metric, name: str) -> dict[str, float]:
    """The metrics of one result of the task `name`, by name; `metric` is as for `kartnb.sweep`, None for all numbers.

    Raises `SweepError` when the result does not have the metric, or the metric is not a number.

    >>> metrics_of({'accuracy': 0.9, 'model': 'tree'}, None, 'Train')
    {'accuracy': 0.9}
    >>> metrics_of({'accuracy': 0.9}, 'acuracy', 'Train')
    Traceback (most recent call last):
        ...
    kartnb.errors.SweepError: The result of Train has no 'acuracy': did you mean 'accuracy'?
    """
    if metric is None:
        return _all_numbers(result)
    if isinstance(metric, str):
        return {metric: _named(result, metric, name)}
    if callable(metric):
        return _from_function(result, metric, name)
    return {one: _named(result, one, name) for one in metric}


def _from_function(result: Any, metric: Callable[[Any], Any], name: str) -> dict[str, float]:
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
            f'The result of {name} ({type(result).__name__}) is neither a number nor a dict of numbers: '
            f'for metric, give a function of the result instead of {metric!r}.'
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


def _number(value: Any, metric: str, name: str) -> float:
    found = as_number(value)
    if found is None:
        raise SweepError(f'{metric!r} of {name} is {value!r:.40} ({type(value).__name__}): a metric must be a number.')
    return found


def as_number(value: Any) -> float | None:
    """A number as an int or float of Python's; None for anything else."""
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, int | float):
        return value
    if type(value).__module__.partition('.')[0] == 'numpy' and getattr(value, 'shape', None) == ():
        return as_number(value.item())
    if hasattr(value, '__float__') and not hasattr(value, '__len__') and not hasattr(value, 'shape'):
        return float(value)
    return None
