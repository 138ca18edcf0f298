"""What a sweep gives: its points with their metrics, to be compared, drawn and looked into."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import luigi

from kartnb import display
from kartnb.errors import SweepError
from kartnb.events import TaskState
from kartnb.execution.build import result_of
from kartnb.execution.planning.plan import Plan
from kartnb.execution.sweeps.metrics import Metric, check_metric, measured
from kartnb.records.shelf import Shelf
from kartnb.task.base import TaskOnKart

if TYPE_CHECKING:
    import pandas

Direction = Literal['maximize', 'minimize']

_COMPLETE = (TaskState.CACHED, TaskState.DONE, TaskState.EXTERNAL)


@dataclass(eq=False)
class SweepPoint:
    """One point of a sweep: parameter values, and what came of them.

    Attributes
    ----------
    position
        Its place in the sweep; ``sweep[position]`` gives it.
    values
        The values of the parameters that the sweep was given, by name.
    task
        The task, or None where none could be made.
    unique_id
        Its unique id, '' where it has none.
    state
        Where it stands: cached, done, failed, blocked, ...
    error
        Why it has no result, in one line, or ''.
    metrics
        Its numbers by name.
    problem
        Why it has no metrics although there is a result, or ''.
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
    _shelf: Shelf = field(default_factory=Shelf, repr=False)

    @property
    def is_complete(self) -> bool:
        """Whether there is a result."""
        return self.state in _COMPLETE

    @cached_property
    def seconds(self) -> float | None:
        """How long its own task ran, now or when it was cached; None where that is not known."""
        if self._seconds is not None or not isinstance(self.task, TaskOnKart) or not self.is_complete:
            return self._seconds
        record = self._shelf.record(self.task)
        return None if record is None else record.seconds

    def load(self) -> Any:
        """The result.

        Raises
        ------
        SweepError
            When there is none.
        """
        if self.task is None or not self.is_complete:
            raise SweepError(f'Point {self.position} has no result: it is {self.state}. {self.error}'.rstrip())
        return result_of(self.task)

    def __repr__(self) -> str:
        return display.render(self, 'text')

    def _repr_html_(self) -> str:
        return display.render(self, 'html')


@dataclass(frozen=True, eq=False)
class SweepResult(Sequence[SweepPoint]):
    """What `kartnb.sweep` gives: a sequence of points, which shows itself as a table of what differs, best first.

    Attributes
    ----------
    name
        The name of the task class.
    points
        The points, in the order of the grid.
    metric
        The metric that the points are compared by, or None where there is none.
    direction
        'maximize' or 'minimize'.
    plan
        The tasks of all points in their final states; None where no task could be made, and for a search.
    seconds
        Wall-clock time of the whole sweep.
    notes
        What else is worth knowing, a sentence each.
    """

    name: str
    points: tuple[SweepPoint, ...]
    metric: str | None
    direction: Direction
    plan: Plan | None
    seconds: float
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.points)

    def __iter__(self) -> Iterator[SweepPoint]:
        return iter(self.points)

    def __getitem__(self, i: Any) -> Any:
        return self.points[i]

    @property
    def parameters(self) -> list[str]:
        """The names of the parameters that the sweep was given."""
        return list(dict.fromkeys(name for point in self.points for name in point.values))

    @property
    def varied(self) -> list[str]:
        """The names of those parameters in which points differ."""
        return [name for name in self.parameters if self._differs(name)]

    @property
    def metrics(self) -> list[str]:
        """The names of the metrics, the one that points are compared by first."""
        found = dict.fromkeys(name for point in self.points for name in point.metrics)
        return sorted(found, key=lambda name: name != self.metric)

    def ranked(self, metric: str | None = None) -> list[SweepPoint]:
        """The points, the best first; those without the metric come last, in their order."""
        name = metric or self.metric
        sign = -1 if self.direction == 'maximize' else 1

        def rank(point: SweepPoint) -> tuple[bool, float]:
            value = point.metrics.get(name or '', math.nan)
            return (math.isnan(value), 0.0 if math.isnan(value) else sign * value)

        return sorted(self.points, key=rank)

    def best(self, metric: str | None = None) -> SweepPoint:
        """The point with the best metric.

        Raises
        ------
        SweepError
            When no point has that metric.
        """
        name = metric or self.metric
        found = self.ranked(name)[0] if self.points else None
        if found is None or math.isnan(found.metrics.get(name or '', math.nan)):
            known = ', '.join(self.metrics)
            hint = f'they have {known}.' if known else 'give metric=NAME, or a function of the result.'
            raise SweepError(f'No point of this sweep has the metric {name!r}: {hint}')
        return found

    def with_metric(self, metric: Metric, direction: Direction | None = None) -> SweepResult:
        """The same points compared by something else; nothing is run.

        Raises
        ------
        SweepError
            When no result has the metric.
        """
        check_metric(metric)
        measure(self.points, metric, self.name)
        return SweepResult(
            self.name,
            self.points,
            main_metric(self.points, metric),
            direction or self.direction,
            self.plan,
            self.seconds,
            self.notes,
        )

    def to_dataframe(self) -> pandas.DataFrame:
        """The sweep as a pandas data frame, a row a point, in the order of the points.

        Columns: the parameters by name, unique_id, state, seconds (of the point's own task), error, and the metrics by
        name; a metric that has the name of another column gets ``metric.`` before it.
        """
        import pandas

        others = ('unique_id', 'state', 'seconds', 'error')
        taken = {*self.parameters, *others}
        named = {name: f'metric.{name}' if name in taken else name for name in self.metrics}
        rows = [
            {
                **{name: point.values.get(name) for name in self.parameters},
                'unique_id': point.unique_id,
                'state': point.state.value,
                'seconds': point.seconds,
                'error': point.error or point.problem,
                **{column: point.metrics.get(name, math.nan) for name, column in named.items()},
            }
            for point in self.points
        ]
        return pandas.DataFrame(rows, columns=[*self.parameters, *others, *named.values()])

    def plot(self, metric: str | None = None) -> Any:
        """Draw the metric over the parameters that vary: a line, a heat map, or parallel coordinates.

        Parameters
        ----------
        metric
            The name of a metric; by default the one that the points are compared by.

        Returns
        -------
        SweepPlot
            It shows itself in a notebook, and its ``figure`` is matplotlib's.

        Raises
        ------
        SweepError
            When no point has the metric, or none of the parameters varies.
        MissingPackageError
            When matplotlib is not installed.
        """
        return display.draw(self, metric)

    def _differs(self, name: str) -> bool:
        values = [point.values.get(name) for point in self.points]
        return any(value is not values[0] and not _same(value, values[0]) for value in values)

    def __repr__(self) -> str:
        return display.render(self, 'text')

    def _repr_html_(self) -> str:
        return display.render(self, 'html')

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        return {'text/plain': repr(self), 'text/html': self._repr_html_()}


def measure(points: Sequence[SweepPoint], metric: Metric, name: str) -> None:
    """Let each point with a result have its metrics.

    Raises
    ------
    SweepError
        When none of several results has the metric that was asked for.
    """
    first: SweepError | None = None
    complete = [point for point in points if point.is_complete]
    for point in complete:
        point.metrics, point.problem = {}, ''
        try:
            point.metrics = measured(point.load(), metric, name)
        except SweepError as error:
            first = first or error
            point.problem = str(error)
        except Exception as error:  # the user's function, or a file that cannot be read
            point.problem = f'{type(error).__name__}: {error}'
            first = first or SweepError(f'The metric of {name} could not be had: {point.problem}')
    if first is not None and all(point.problem for point in complete):
        raise SweepError(f'{first} (All results are kept: with another metric nothing is run again.)') from first


def main_metric(points: Sequence[SweepPoint], metric: Metric) -> str | None:
    """The name of the metric that points are compared by: what was asked for, or the first one that there is."""
    if isinstance(metric, str):
        return metric
    if isinstance(metric, Sequence):
        return metric[0]
    return next((name for point in points for name in point.metrics), None)


def _same(one: Any, other: Any) -> bool:
    try:
        return type(one) is type(other) and bool(one == other)
    except Exception:  # a value may be anything
        return False
