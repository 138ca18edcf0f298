"""A sweep over points that are known beforehand: planned as one graph, built together."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import replace

import luigi

from kartnb.errors import SweepError
from kartnb.events import BuildStarted, Event, Listener, TaskState, TaskStateChanged
from kartnb.execution.build import Build, log_printer
from kartnb.execution.options import BuildOptions
from kartnb.execution.planning.plan import Node, Plan
from kartnb.execution.report import BuildReport
from kartnb.execution.running.tracebacks import error_line
from kartnb.execution.sweeps.metrics import Metric
from kartnb.execution.sweeps.point import SweepPoint
from kartnb.execution.sweeps.result import Direction
from kartnb.execution.sweeps.running import SweepRun
from kartnb.execution.sweeps.space import Point
from kartnb.execution.sweeps.template import Template
from kartnb.history.log_store import LogStore
from kartnb.planning.estimate import Estimate, estimate
from kartnb.task import identity

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
