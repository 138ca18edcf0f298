"""The result of a sweep: its points with their metrics, to compare, rank and plot."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from kartnb import display
from kartnb.errors import SweepError
from kartnb.model import Plan
from kartnb.sweeps.points import Metric, Metrics, SweepPoint, check_metric

if TYPE_CHECKING:
    import pandas

Direction = Literal['maximize', 'minimize']


@dataclass(frozen=True, eq=False, repr=False)
class SweepResult(display.Displayed, Sequence[SweepPoint]):
    """What `kartnb.sweep` returns: a sequence of points, shown as a table of what differs, best first.

    Attributes
    ----------
    name
        The name of the task class.
    points
        The points, in the order of the grid.
    metric
        The metric by which points are compared, or None.
    direction
        'maximize' or 'minimize'.
    plan
        The tasks of all points in their final states; None for a search, and where no task could be made.
    seconds
        Wall-clock time of the whole sweep.
    notes
        What else is worth knowing, one sentence each.
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
        """The names of the parameters that differ between points."""
        return [name for name in self.parameters if self._differs(name)]

    @property
    def metrics(self) -> list[str]:
        """The names of the metrics, first the one by which points are compared."""
        found = dict.fromkeys(name for point in self.points for name in point.metrics)
        return sorted(found, key=lambda name: name != self.metric)

    def ranked(self, metric: str | None = None) -> list[SweepPoint]:
        """The points, best first; those without the metric come last, in their order."""
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
        """The same points compared by another metric; nothing is run.

        Raises
        ------
        SweepError
            When no result has the metric.
        """
        check_metric(metric)
        points = tuple(map(replace, self.points))
        Metrics(metric, self.name).finish(points)
        return replace(self, points=points, metric=main_metric(points, metric), direction=direction or self.direction)

    def to_dataframe(self) -> pandas.DataFrame:
        """The sweep as a pandas data frame, one row per point, in the order of the points.

        Columns: the parameters by name, unique_id, state, seconds (of the task itself), error, and the metrics by name;
        a metric with the name of another column gets the prefix ``metric.``.
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
        """Plot the metric over the parameters that vary: a line, a heat map, or parallel coordinates.

        Parameters
        ----------
        metric
            The name of a metric; by default the one by which points are compared.

        Returns
        -------
        SweepPlot
            It shows itself in a notebook, and its ``figure`` is matplotlib's.

        Raises
        ------
        SweepError
            When no point has the metric, or no parameter varies.
        MissingPackageError
            When matplotlib is not installed.
        """
        return display.draw(self, metric)

    def _differs(self, name: str) -> bool:
        values = [point.values.get(name) for point in self.points]
        return any(value is not values[0] and not _same(value, values[0]) for value in values)

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        return {'text/plain': repr(self), 'text/html': self._repr_html_()}


def main_metric(points: Sequence[SweepPoint], metric: Metric) -> str | None:
    """The name of the metric by which points are compared: the one asked for, or else the first one."""
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
