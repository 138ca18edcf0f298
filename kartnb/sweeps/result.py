"""What a sweep gives: its points with their metrics, to be compared, drawn and looked into."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from kartnb import display
from kartnb.errors import SweepError
from kartnb.model import Plan
from kartnb.sweeps.points import Measuring, Metric, SweepPoint, check_metric

if TYPE_CHECKING:
    import pandas

Direction = Literal['maximize', 'minimize']


@dataclass(frozen=True, eq=False, repr=False)
class SweepResult(display.Displayed, Sequence[SweepPoint]):
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
        points = tuple(map(replace, self.points))
        Measuring(metric, self.name).finish(points)
        return SweepResult(
            self.name,
            points,
            main_metric(points, metric),
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

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        return {'text/plain': repr(self), 'text/html': self._repr_html_()}


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
