"""A sweep over points that are known beforehand: planned as one graph, built together."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import luigi

from kartnb import display
from kartnb.config import BuildOptions
from kartnb.errors import SweepError
from kartnb.execution.background import EventFeed
from kartnb.execution.build import Build, log_printer
from kartnb.execution.report import BuildReport, error_line
from kartnb.history.log_store import LogStore
from kartnb.model import BuildStarted, Event, Listener, Node, Plan, TaskState, TaskStateChanged
from kartnb.planning.estimate import Estimate, estimate
from kartnb.sweeps.points import Measuring, Metric, SweepPoint
from kartnb.sweeps.result import Direction, SweepResult, main_metric
from kartnb.sweeps.space import Point, Template
from kartnb.task import identity

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


#: Seconds that the metrics of cached points may take before anything runs, and between two tasks.
_AT_FIRST = 1.0
_BETWEEN = 0.05


def made(template: Template, points: Sequence[Point], first: int = 0) -> list[SweepPoint]:
    """The points with their tasks; a point whose task cannot be made or identified has failed."""
    store = LogStore()
    found: list[SweepPoint] = []
    for values in points:
        point = SweepPoint(first + len(found), values, None, _store=store)
        try:
            point.task = template.make(values)
            point.unique_id = identity.id_of(point.task)
        except SweepError:
            raise
        except Exception as error:
            point.state, point.error = TaskState.FAILED, error_line(error)
        found.append(point)
    return found


class SweepPlan(SweepRun):
    """What a sweep would do, as ``kartnb.sweep(..., dry_run=True)`` gives it.

    Attributes
    ----------
    name
        The name of the task class.
    metric, direction
        What the points are compared by.
    points
        The points, those of which no task could be made among them.
    plan
        The tasks of all points; None where there are none.
    report
        How the build has ended; None before.
    stopped
        Whether it was stopped, or interrupted, before its end.
    """

    points: tuple[SweepPoint, ...]

    def __init__(
        self,
        name: str,
        points: Sequence[SweepPoint],
        options: BuildOptions,
        metric: Metric = None,
        direction: Direction = 'maximize',
        listener: Listener | None = None,
    ) -> None:
        super().__init__(name, metric, direction, options)
        self.points = tuple(points)
        self._also = listener
        tasks = [point.task for point in points if point.task is not None and point.state is not TaskState.FAILED]
        self._build: Build | None = self._planned(tasks) if tasks else None
        self.plan: Plan | None = self._build.plan if self._build else None
        self.report: BuildReport | None = None
        self._by_key: dict[str, list[SweepPoint]] = {}
        self._find_nodes()
        self._cached = deque(point for point in self.points if point.is_complete)

    def _planned(self, tasks: list[luigi.Task]) -> Build:
        options = self._options
        told: list[Listener] = [self._feed, self._take, *([self._also] if self._also else [])]
        options = options.heard_first_by(*told, log_printer(options.log_level))
        if options.rerun is True:
            options = replace(options, rerun=tasks)
        return Build(tasks[-1], options, tasks[:-1])

    @property
    def planned_build(self) -> Build | None:
        """The build of all points; None where no task could be made."""
        return self._build

    @property
    def total(self) -> int:
        """How many points it has."""
        return len(self.points)

    @property
    def ran_nothing(self) -> bool:
        """Whether all there is was cached before it began."""
        return self.report is None

    @property
    def to_run(self) -> int:
        """How many tasks will run, those upstream of the points among them."""
        return len(self.plan.to_run()) if self.plan else 0

    @property
    def estimate(self) -> Estimate | None:
        """About how long it will take, by what is recorded; None where nothing will run."""
        return estimate(self.plan, self.workers) if self.plan and self.to_run else None

    @property
    def notes(self) -> tuple[str, ...]:
        """What is worth knowing of it, a sentence each."""
        ids = [point.unique_id for point in self.points if point.unique_id]
        shared = len(ids) - len(set(ids))
        if not shared:
            return ()
        told = f'{shared:,} of the points have the result of another one: they differ only in what is not significant.'
        return (told,)

    def stop(self) -> None:
        """Ask it, from another thread, to end."""
        if self._build is not None:
            self._build.stop()

    def follow(self, listener: Listener) -> None:
        """Give `listener` the events of the build, those that have been too."""
        if self._build is not None:
            self._feed.follow(listener, self._build.build_id, self._build.plan)

    def go(self) -> None:
        """Run it in this thread, and measure the points.

        Raises
        ------
        SweepError
            When no result has the metric.
        """
        __tracebackhide__ = True
        self.build()
        self.measure()

    def measure(self) -> None:
        """Measure the points that have a result and no metrics yet.

        Raises
        ------
        SweepError
            When no result has the metric.
        """
        __tracebackhide__ = True
        self._measuring.finish(self.points)

    def build(self) -> None:
        """Run what is not cached; the points know then how they have ended."""
        if self._build is None:
            return
        if not self.to_run:
            self._build.adopt()
            return
        report = self._build.run()
        self.report, self.plan = report, report.plan
        self.stopped = report.interrupted
        self._settle(report)

    def _find_nodes(self) -> None:
        if self.plan is None:
            return
        by_task = {id(node.task): node for node in self.plan}
        by_name = {(node.name, node.unique_id): node for node in self.plan}
        for point in self.points:
            if point.task is None or point.state is TaskState.FAILED:
                continue
            node = by_task.get(id(point.task)) or by_name[type(point.task).__name__, point.unique_id]
            point.state = node.state
            self._by_key.setdefault(node.key, []).append(point)

    def _take(self, event: Event) -> None:
        """Let the points stand as their tasks do; metrics are measured where no task runs in the same thread."""
        if isinstance(event, BuildStarted):
            self._measure_cached(_AT_FIRST)
        if not isinstance(event, TaskStateChanged):
            return
        points = self._by_key.get(event.key, [])
        activity = self._feed.status.activities.get(event.key)
        for point in points:
            point.state, point.error = event.state, event.error
            if event.state.is_final and activity is not None:
                point._seconds = activity.seconds
        self._measuring.take(points)
        if event.state.is_final:
            self._measure_cached(_BETWEEN)

    def _measure_cached(self, seconds: float) -> None:
        """Measure some of the points that were cached; the others wait."""
        end = time.monotonic() + seconds
        while self._cached and time.monotonic() < end:
            self._measuring.take([self._cached.popleft()])

    def _settle(self, report: BuildReport) -> None:
        errors = {failure.key: error_line(failure.error) for failure in report.failures}
        for key, points in self._by_key.items():
            node = report.plan[key]
            for point in points:
                point.state = node.state
                point._seconds = report.durations.get(key)
                point.error = errors.get(key) or self._what_blocks(node, errors)

    def _what_blocks(self, node: Node, errors: Mapping[str, str]) -> str:
        if node.state is not TaskState.BLOCKED or self.plan is None:
            return ''
        culprit = next((other for other in self.plan.upstream(node) if other.key in errors), None)
        return f'{culprit.name} failed: {errors[culprit.key]}' if culprit else ''
