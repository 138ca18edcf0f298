"""What grids and searches have in common: points, and how far they are."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from kartnb import display
from kartnb.errors import SweepError
from kartnb.events import Listener, TaskState
from kartnb.execution.background import EventFeed
from kartnb.execution.options import BuildOptions
from kartnb.execution.planning.plan import Plan
from kartnb.execution.sweeps.measuring import Measuring
from kartnb.execution.sweeps.metrics import Metric
from kartnb.execution.sweeps.point import SweepPoint
from kartnb.execution.sweeps.result import Direction, SweepResult, main_metric

_STOPPED = 'It was stopped before its end: what has finished is kept, and the same sweep goes on from there.'


@dataclass(frozen=True, slots=True)
class SweepProgress:
    """How far a sweep is.

    Attributes
    ----------
    total
        How many points it has, or tries.
    ended
        How many have ended, well or not.
    counts
        How many of those that are known are in each state.
    """

    total: int
    ended: int
    counts: Mapping[TaskState, int]

    def __str__(self) -> str:
        told = ', '.join(f'{number:,} {state.value}' for state, number in self.counts.items())
        return f'{self.ended:,}/{self.total:,} points ({told})' if told else f'0/{self.total:,} points'


class SweepRun(display.Displayed, ABC):
    """A sweep that can be run, and looked at while it runs.

    Parameters
    ----------
    name
        The name of the task class.
    metric, direction
        What points are compared by.
    options
        Of the builds.

    Attributes
    ----------
    name, metric, direction
        As given.
    points
        The points that are known.
    plan
        The tasks of all points; None where there are none, and for a search.
    stopped
        Whether it was stopped, or interrupted, before its end.
    problem
        Why it gives no result, or ''.
    """

    plan: Plan | None = None

    def __init__(self, name: str, metric: Metric, direction: Direction, options: BuildOptions) -> None:
        self.name = name
        self.metric: Metric = metric
        self.direction: Direction = direction
        self.points: Sequence[SweepPoint] = ()
        self.stopped = False
        self.problem = ''
        self._options = options
        self._started = time.perf_counter()
        self._ended: float | None = None
        self._measuring = Measuring(metric, name)
        self._feed = EventFeed()

    @property
    @abstractmethod
    def total(self) -> int:
        """How many points there will be."""

    @property
    @abstractmethod
    def notes(self) -> tuple[str, ...]:
        """What is worth knowing of it, a sentence each."""

    @abstractmethod
    def stop(self) -> None:
        """Ask it, from another thread, to end."""

    @abstractmethod
    def follow(self, listener: Listener) -> None:
        """Give `listener` the events of its builds, of the one that runs those that have been, too."""

    @abstractmethod
    def go(self) -> None:
        """Run it in this thread, and measure the points.

        Raises
        ------
        SweepError
            When no result has the metric.
        """

    @property
    def workers(self) -> int:
        """How many tasks run at a time."""
        return self._options.workers

    @property
    def is_inline(self) -> bool:
        """Whether tasks run in the thread that runs the sweep."""
        return self._options.executor in (None, 'inline') and self.workers == 1

    @property
    @abstractmethod
    def ran_nothing(self) -> bool:
        """Whether it had nothing to run."""

    @property
    def is_over(self) -> bool:
        """Whether it has run."""
        return self._ended is not None

    @property
    def counts(self) -> dict[TaskState, int]:
        """How many points are in each state."""
        found = Counter(point.state for point in self.points)
        return {state: found[state] for state in TaskState if found[state]}

    @property
    def progress(self) -> SweepProgress:
        """How far it is."""
        return SweepProgress(self.total, sum(point.is_over for point in self.points), self.counts)

    def run(self) -> SweepResult:
        """Run it, shown while it runs, and give the result.

        Raises
        ------
        SweepError
            When no result has the metric.
        KeyboardInterrupt
            When it was interrupted; what has finished is kept.
        """
        __tracebackhide__ = True
        with display.shown_live(self):
            self.finish()
        return self.partial()

    def finish(self) -> None:
        """Run it in this thread; `partial` is then the result.

        Raises
        ------
        SweepError
            When no result has the metric.
        KeyboardInterrupt
            When it was interrupted.
        """
        __tracebackhide__ = True
        self._started = time.perf_counter()
        try:
            self.go()
        except SweepError as error:
            self.problem = str(error)
            raise
        except KeyboardInterrupt as error:
            self.stopped = True
            error.args = (self._interrupted(),)
            raise
        finally:
            self._ended = time.perf_counter()

    def partial(self) -> SweepResult:
        """What there is by now: the points as they stand, and the metrics of those that have a result."""
        points = tuple(map(replace, self.points))
        until = time.perf_counter() if self._ended is None else self._ended
        notes = tuple(note for note in (*self.notes, _STOPPED if self.stopped else '', self.problem) if note)
        return SweepResult(
            self.name, points, main_metric(points, self.metric), self.direction, self.plan, until - self._started, notes
        )

    def _interrupted(self) -> str:
        done = sum(point.is_complete for point in self.points)
        return f'the sweep was interrupted; {done:,} of {self.total:,} points are done and kept, sweep again to go on'


def check_direction(direction: object) -> None:
    """Refuse what is no direction.

    Raises
    ------
    SweepError
        When it is none.
    """
    if direction not in ('maximize', 'minimize'):
        raise SweepError(f"direction is 'maximize' or 'minimize', not {direction!r:.40}.")


def best_so_far(points: Sequence[SweepPoint], direction: Direction) -> tuple[str, float] | None:
    """The best metric of some points: its name and its value."""
    found = [item for point in points for item in list(point.metrics.items())[:1] if item[1] == item[1]]
    choose = max if direction == 'maximize' else min
    return choose(found, key=lambda item: item[1]) if found else None
