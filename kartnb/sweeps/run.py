"""Running a sweep: what every sweep shares (`SweepRun`), and one whose points are known beforehand (`SweepPlan`).

The points of a `SweepPlan` are planned as one graph and built together, so that shared tasks run once.
"""

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
from kartnb.sweeps.points import Metric, Metrics, SweepPoint
from kartnb.sweeps.result import Direction, SweepResult, main_metric
from kartnb.sweeps.space import Point, Template
from kartnb.task import identity

#: How many seconds may go to metrics of cached points before anything runs, and between two tasks: loading the results
#: of a large cached grid must not hold up the tasks that are left to run.
_AT_FIRST = 1.0
_BETWEEN = 0.05
_STOPPED = 'Stopped early: what has finished is kept, and the same sweep continues from there.'


class SweepRun(display.Displayed, ABC):
    """A sweep that can be run, and observed while it runs.

    `points` are those so far; `plan` is None for a search, and where no task could be made. `stopped` says whether it
    was stopped or interrupted early, `problem` why it has no result.
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
        self._metrics = Metrics(metric, name)
        self._feed = EventFeed()

    @property
    @abstractmethod
    def total(self) -> int:
        """How many points there will be."""

    @property
    @abstractmethod
    def notes(self) -> tuple[str, ...]:
        """What is worth knowing about it, one sentence each."""

    @abstractmethod
    def stop(self) -> None:
        """Ask it to end early; called from another thread."""

    @abstractmethod
    def follow(self, listener: Listener) -> None:
        """Send `listener` the events of the builds; those of the running build from its start on."""

    @abstractmethod
    def go(self) -> None:
        """Run it on this thread, and compute the metrics; a `SweepError` where no result has the metric."""

    @property
    def workers(self) -> int:
        """How many tasks run at a time."""
        return self._options.at_once

    @property
    def is_inline(self) -> bool:
        """Whether tasks run on the thread of the sweep."""
        return self._options.executor in (None, 'inline') and self.workers == 1

    @property
    @abstractmethod
    def ran_nothing(self) -> bool:
        """Whether there was nothing to run."""

    @property
    def is_over(self) -> bool:
        """Whether it has ended."""
        return self._ended is not None

    @property
    def counts(self) -> dict[TaskState, int]:
        """How many points are in each state."""
        found = Counter(point.state for point in self.points)
        return {state: found[state] for state in TaskState if found[state]}

    @property
    def progress(self) -> SweepProgress:
        """The progress of the sweep."""
        return SweepProgress(self.total, sum(point.is_over for point in self.points), self.counts)

    def run(self) -> SweepResult:
        """Run it, show it while it runs, and return the result; what has finished before an interrupt is kept.

        Raises `SweepError` when no result has the metric.
        """
        __tracebackhide__ = True
        with display.shown_live(self):
            self.finish()
        return self.partial()

    def finish(self) -> None:
        """Run it on this thread; `partial` is then the result. Errors are those of `run`."""
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
        """The sweep so far: the points in their present states, with the metrics of those that have a result."""
        # copies, because the points change while the sweep runs on
        points = tuple(map(replace, self.points))
        until = time.perf_counter() if self._ended is None else self._ended
        notes = tuple(note for note in (*self.notes, _STOPPED if self.stopped else '', self.problem) if note)
        return SweepResult(
            self.name, points, main_metric(points, self.metric), self.direction, self.plan, until - self._started, notes
        )

    def _interrupted(self) -> str:
        done = sum(point.is_complete for point in self.points)
        return (
            f'the sweep was interrupted: {done:,} of {self.total:,} points are done and kept; sweep again to continue'
        )


class SweepPlan(SweepRun):
    """What a sweep will do, as ``kartnb.sweep(..., dry_run=True)`` returns it.

    Attributes
    ----------
    name
        The name of the task class.
    metric, direction
        How points are compared.
    points
        The points, including those whose task could not be made.
    plan
        The tasks of all points; None where there are none.
    report
        The report of the build; None before it has run.
    stopped
        Whether it was stopped or interrupted early.
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
        own: list[Listener] = [self._feed, self._take, *([self._also] if self._also else [])]
        options = options.heard_first_by(*own, log_printer(options.log_level))
        # for a build, True means its root alone; for a sweep, all points
        if options.rerun is True:
            options = replace(options, rerun=tasks)
        return Build(tasks[-1], options, tasks[:-1])

    @property
    def planned_build(self) -> Build | None:
        """The build of all points; None where no task could be made."""
        return self._build

    @property
    def total(self) -> int:
        """The number of points."""
        return len(self.points)

    @property
    def ran_nothing(self) -> bool:
        """Whether everything was cached before it started."""
        return self.report is None

    @property
    def to_run(self) -> int:
        """How many tasks will run, including those upstream of the points."""
        return len(self.plan.to_run()) if self.plan else 0

    @property
    def estimate(self) -> Estimate | None:
        """About how long it will take, from earlier runs; None where nothing will run."""
        return estimate(self.plan, self.workers) if self.plan and self.to_run else None

    @property
    def notes(self) -> tuple[str, ...]:
        """What is worth knowing about it, one sentence each."""
        ids = [point.unique_id for point in self.points if point.unique_id]
        shared = len(ids) - len(set(ids))
        if not shared:
            return ()
        return (f'{shared:,} of the points share the result of another one: no significant parameter differs.',)

    def stop(self) -> None:
        """Ask it to end early; called from another thread."""
        if self._build is not None:
            self._build.stop()

    def follow(self, listener: Listener) -> None:
        """Send `listener` the events of the build, from its start on."""
        if self._build is not None:
            self._feed.follow(listener, self._build.build_id, self._build.plan)

    def go(self) -> None:
        __tracebackhide__ = True
        self.build()
        self.measure()

    def measure(self) -> None:
        """Compute the metrics that are missing; a `SweepError` where no result has the metric."""
        __tracebackhide__ = True
        self._metrics.finish(self.points)

    def build(self) -> None:
        """Run what is not cached; the points then have their final states."""
        if self._build is None:
            return
        if not self.to_run:
            self._build.record_existing()
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
            # points that differ only in parameters that are not significant share the node of one of them
            node = by_task.get(id(point.task)) or by_name[type(point.task).__name__, point.unique_id]
            point.state = node.state
            self._by_key.setdefault(node.key, []).append(point)

    def _take(self, event: Event) -> None:
        """Update the points from their tasks, and compute metrics meanwhile."""
        if isinstance(event, BuildStarted):
            self._compute_cached(_AT_FIRST)
        if not isinstance(event, TaskStateChanged):
            return
        points = self._by_key.get(event.key, [])
        activity = self._feed.status.activities.get(event.key)
        for point in points:
            point.state, point.error = event.state, event.error
            if event.state.is_final and activity is not None:
                point._seconds = activity.seconds
        self._metrics.compute(points)
        if event.state.is_final:
            self._compute_cached(_BETWEEN)

    def _compute_cached(self, seconds: float) -> None:
        """Compute the metrics of some of the points that were cached; the others wait."""
        end = time.monotonic() + seconds
        while self._cached and time.monotonic() < end:
            self._metrics.compute([self._cached.popleft()])

    def _settle(self, report: BuildReport) -> None:
        errors = {failure.key: failure.line for failure in report.failures}
        for key, points in self._by_key.items():
            node = report.plan[key]
            for point in points:
                point.state = node.state
                point._seconds, point._memory = report.durations.get(key), report.memory.get(key)
                point.error = errors.get(key) or self._why_blocked(node, errors)

    def _why_blocked(self, node: Node, errors: Mapping[str, str]) -> str:
        if node.state is not TaskState.BLOCKED or self.plan is None:
            return ''
        cause = next((other for other in self.plan.upstream(node) if other.key in errors), None)
        return f'{cause.name} failed: {errors[cause.key]}' if cause else ''


def make_points(template: Template, points: Sequence[Point], first: int = 0) -> list[SweepPoint]:
    """The points with their tasks; a point whose task cannot be made or identified is failed."""
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


@dataclass(frozen=True, slots=True)
class SweepProgress:
    """The progress of a sweep; `counts` says how many points so far are in each state."""

    #: The number of points; for a search, of those that it will try.
    total: int
    #: How many have ended, successfully or not.
    ended: int
    counts: Mapping[TaskState, int]

    def __str__(self) -> str:
        counts = ', '.join(f'{number:,} {state.value}' for state, number in self.counts.items())
        return f'{self.ended:,}/{self.total:,} points ({counts})' if counts else f'0/{self.total:,} points'


def best_so_far(points: Sequence[SweepPoint], direction: Direction) -> tuple[str, float] | None:
    """The name and the value of the best metric of some points."""
    found = [item for point in points for item in list(point.metrics.items())[:1] if item[1] == item[1]]
    choose = max if direction == 'maximize' else min
    return choose(found, key=lambda item: item[1]) if found else None


def check_direction(direction: object) -> None:
    """Raise a `SweepError` for what is not a direction."""
    if direction not in ('maximize', 'minimize'):
        raise SweepError(f"direction must be 'maximize' or 'minimize', not {direction!r:.40}.")
