"""Giving points their metrics, each once, as soon as it has a result."""

from __future__ import annotations

from collections.abc import Iterable

from kartnb.errors import SweepError
from kartnb.execution.sweeps.metrics import Metric, measured
from kartnb.execution.sweeps.point import SweepPoint


class Measuring:
    """Measures the points of a sweep.

    Parameters
    ----------
    metric
        As for `kartnb.sweep`.
    name
        The name of the task class, for messages.
    """

    def __init__(self, metric: Metric, name: str) -> None:
        self._metric = metric
        self._name = name
        self._measured: set[SweepPoint] = set()
        self._first: SweepError | None = None

    def take(self, points: Iterable[SweepPoint]) -> None:
        """Measure those that have a result and are not measured yet."""
        for point in points:
            if point.is_complete and point not in self._measured:
                self._measure(point)

    def finish(self, points: Iterable[SweepPoint]) -> None:
        """Measure what is left.

        Raises
        ------
        SweepError
            When none of several results has the metric that was asked for.
        """
        self.take(points)
        if self._first is not None and all(point.problem for point in self._measured):
            raise SweepError(
                f'{self._first} (All results are kept: with another metric nothing is run again.)'
            ) from self._first

    def _measure(self, point: SweepPoint) -> None:
        self._measured.add(point)
        metrics, problem = {}, ''
        try:
            metrics = measured(point.load(), self._metric, self._name)
        except SweepError as error:
            self._first = self._first or error
            problem = str(error)
        except Exception as error:  # the user's function, or a file that cannot be read
            problem = f'{type(error).__name__}: {error}'
            self._first = self._first or SweepError(f'The metric of {self._name} could not be had: {problem}')
        point.metrics, point.problem = metrics, problem
