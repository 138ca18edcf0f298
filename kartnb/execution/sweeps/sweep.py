"""`kartnb.sweep`: a task for each point of a space of parameter values, built together and compared."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import luigi

from kartnb import display
from kartnb.errors import SweepError
from kartnb.events import Listener, TaskState
from kartnb.execution.build import Build, log_printer
from kartnb.execution.options import check_log_level
from kartnb.execution.planning.estimate import Estimate, estimate
from kartnb.execution.planning.plan import Node, Plan
from kartnb.execution.planning.planner import Rerun
from kartnb.execution.report import BuildReport
from kartnb.execution.running.tracebacks import one_line
from kartnb.execution.sweeps.metrics import Metric, check_metric
from kartnb.execution.sweeps.result import Direction, SweepPoint, SweepResult, main_metric, measure
from kartnb.execution.sweeps.space import Point, Space, points_of
from kartnb.execution.sweeps.template import Template
from kartnb.records.shelf import Shelf
from kartnb.task import registry
from kartnb.task.slider import Slider


def sweep(
    task: type[luigi.Task] | luigi.Task,
    space: Space = None,
    /,
    *,
    metric: Metric = None,
    direction: Direction = 'maximize',
    sample: int | None = None,
    seed: int = 0,
    sampler: Any = None,
    trials: int | None = None,
    workers: int = 1,
    executor: Any = None,
    rerun: Rerun = False,
    on_code_change: str | None = None,
    log_level: int = logging.ERROR,
    dry_run: bool = False,
    listeners: Iterable[Listener] = (),
    **values: Any,
) -> Any:
    """Build a task for each point of a space of parameter values, and compare what comes of them.

    All points are planned and built together, so that what they share runs once. A point that fails leaves the others
    going. Every point is a cached task: a wider space runs only what is new.

    Parameters
    ----------
    task
        A task class; or a task, whose values hold for the parameters that are not varied.
    space
        Values to try by parameter name, for names that are no Python names (``{'data.rows': [100, 1000]}`` varies
        ``rows`` of the task that the parameter ``data`` holds) or that are names of options; or a list of points, each
        a dict of values.
    metric
        What to compare by: a key of the result (a dict, or something with fields), several, or a function of the result
        that gives a number or a dict of numbers. By default all the numbers in the result.
    direction
        'maximize' or 'minimize': which end of the metric is best.
    sample
        Build so many points at random. A larger sample with the same seed holds the smaller one.
    seed
        Of the sample or the search. The random state of the process is not touched.
    sampler
        'optuna', or a sampler of Optuna's: search for the best metric instead of trying every point.
    trials
        How many points a search tries in all; those of an earlier search with the same space count.
    workers, executor, rerun, on_code_change, log_level, listeners
        As for `kartnb.build`; ``rerun=True`` stands for all points.
    dry_run
        Give the plan, and run nothing.
    **values
        Values to try by parameter name: a range, a list, an array, `kartnb.slider`, or one value that holds for all.

    Returns
    -------
    SweepResult
        The points, as a table, a plot or a data frame; with `dry_run` a `SweepPlan`.

    Raises
    ------
    SweepError
        When there is no such parameter or metric, or there are too many points.
    ParameterValueError
        When a parameter does not take a value.

    Examples
    --------
    >>> import kartnb, tempfile
    >>> class Square(kartnb.TaskOnKart[int]):
    ...     number = kartnb.luigi.IntParameter()
    ...
    ...     def run(self):
    ...         self.dump(self.number**2)
    >>> found = kartnb.sweep(Square, number=range(4), workspace_directory=tempfile.mkdtemp())
    >>> found.best().values['number'], found.best().metrics
    (3, {'value': 9})
    """
    __tracebackhide__ = True
    check_metric(metric)
    check_log_level(log_level)
    _check_direction(direction)
    registry.drop_superseded()
    template, asked = _asked(task, space, values)
    options = {
        'workers': workers,
        'executor': executor,
        'rerun': rerun,
        'on_code_change': on_code_change,
        'log_level': log_level,
        'listeners': tuple(listeners),
    }
    if sampler is not None or trials is not None:
        from kartnb.execution.sweeps.search import search

        return search(template, asked, metric, direction, sampler or 'optuna', trials, seed, options)
    points = made(template, points_of(template, asked, sample, seed))
    planned = SweepPlan(template.cls.__name__, tuple(points), options)
    if dry_run:
        return planned
    return planned.run(metric, direction)


def made(template: Template, points: Sequence[Point], first: int = 0) -> list[SweepPoint]:
    """The points with their tasks; a point whose task cannot be made or identified has failed."""
    shelf = Shelf()
    found: list[SweepPoint] = []
    for values in points:
        point = SweepPoint(first + len(found), values, None, _shelf=shelf)
        try:
            point.task = template.make(values)
            point.unique_id = _id_of(point.task)
        except SweepError:
            raise
        except Exception as error:
            point.state, point.error = TaskState.FAILED, one_line(error)
        found.append(point)
    return found


class SweepPlan:
    """What a sweep would do, as ``kartnb.sweep(..., dry_run=True)`` gives it.

    Attributes
    ----------
    name
        The name of the task class.
    points
        The points, those of which no task could be made among them.
    plan
        The tasks of all points; None where there are none.
    report
        How the build has ended; None before.
    """

    def __init__(self, name: str, points: Sequence[SweepPoint], options: Mapping[str, Any]) -> None:
        self._started = time.perf_counter()
        self.name = name
        self.points = tuple(points)
        self._options = dict(options)
        tasks = [point.task for point in points if point.task is not None and point.state is not TaskState.FAILED]
        self._build: Build | None = self._planned(tasks) if tasks else None
        self.plan: Plan | None = self._build.plan if self._build else None
        self.report: BuildReport | None = None
        self._settle_states()

    def _planned(self, tasks: list[luigi.Task]) -> Build:
        options = dict(self._options)
        if options['rerun'] is True:
            options['rerun'] = tasks
        self._told = _Told()
        listeners = (self._told, log_printer(options['log_level']), *options.pop('listeners'))
        return Build(tasks[-1], also=tasks[:-1], listeners=listeners, **options)

    @property
    def workers(self) -> int:
        """How many tasks run at a time."""
        return int(self._options['workers'])

    @property
    def counts(self) -> dict[TaskState, int]:
        """How many points are in each state."""
        found = [point.state for point in self.points]
        return {state: found.count(state) for state in TaskState if state in found}

    @property
    def to_run(self) -> int:
        """How many tasks will run, those upstream of the points among them."""
        return len(self.plan.to_run()) if self.plan else 0

    @property
    def estimate(self) -> Estimate | None:
        """About how long it will take, by what is recorded; None where nothing will run."""
        return estimate(self.plan, self.workers) if self.plan and self.to_run else None

    def run(self, metric: Metric = None, direction: Direction = 'maximize') -> SweepResult:
        """Run it, and give the result.

        Raises
        ------
        SweepError
            When no result has the metric.
        """
        __tracebackhide__ = True
        self.build()
        measure(self.points, metric, self.name)
        return SweepResult(
            self.name,
            self.points,
            main_metric(self.points, metric),
            direction,
            self.plan,
            time.perf_counter() - self._started,
            tuple(_notes(self.points)),
        )

    def build(self, *, live: bool = True) -> None:
        """Run what is not cached, shown while it runs if `live`; the points know then how they have ended."""
        if self._build is None:
            return
        if not self.to_run:
            self._build.adopt()
            return
        with display.shown_live(self) if live else nullcontext() as listener:
            self._told.listener = listener
            report = self._build.run()
            self.report, self.plan = report, report.plan
            self._settle_states(report)

    def _settle_states(self, report: BuildReport | None = None) -> None:
        if self.plan is None:
            return
        by_task = {id(node.task): node for node in self.plan}
        by_key = {(node.name, node.unique_id): node for node in self.plan}
        errors = {failure.key: one_line(failure.error) for failure in report.failures} if report else {}
        for point in self.points:
            if point.task is None or point.state is TaskState.FAILED:
                continue
            node = by_task.get(id(point.task)) or by_key[type(point.task).__name__, point.unique_id]
            point.state = node.state
            if report is not None:
                point._seconds = report.durations.get(node.key)
                point.error = errors.get(node.key) or self._what_blocks(node, errors)

    def _what_blocks(self, node: Node, errors: Mapping[str, str]) -> str:
        if node.state is not TaskState.BLOCKED or self.plan is None:
            return ''
        culprit = next((other for other in self.plan.upstream(node) if other.key in errors), None)
        return f'{culprit.name} failed: {errors[culprit.key]}' if culprit else ''

    def __repr__(self) -> str:
        return display.render(self, 'text')

    def _repr_html_(self) -> str:
        return display.render(self, 'html')


@dataclass
class _Told:
    """Passes events on to whoever shows them."""

    listener: Listener | None = None

    def __call__(self, event: Any) -> None:
        if self.listener is not None:
            self.listener(event)


def _asked(task: Any, space: Space, values: Mapping[str, Any]) -> tuple[Template, Space]:
    template = Template(task)
    if space is None or isinstance(space, Mapping):
        both = {**(space or {}), **values}
        if not both:
            raise SweepError(_nothing_to_vary(template))
        held = {name: value for name, value in both.items() if _holds_for_all(template, name, value)}
        return Template(task, held), {name: value for name, value in both.items() if name not in held}
    if isinstance(space, str) or not isinstance(space, Iterable):
        raise SweepError(f'A space is a dict of values to try, or a list of points, not {space!r:.60}.')
    points = list(space)
    if not points:
        raise SweepError(_nothing_to_vary(template))
    # what holds for all points is given beside them
    return Template(task, values), points


def _holds_for_all(template: Template, name: str, value: Any) -> bool:
    """Whether a value is one for all points, of a parameter that makes no difference (such as the workspace)."""
    single = isinstance(value, str | luigi.Task) or not isinstance(value, Iterable | Slider)
    return single and '.' not in name and not template.parameter(name).significant


def _nothing_to_vary(template: Template) -> str:
    known = [name for name, parameter in template.parameters.items() if parameter.significant]
    name = template.cls.__name__
    if not known:
        return f'{name} has no parameters of its own, so there is nothing to vary.'
    return f'Say which parameters vary, such as kartnb.sweep({name}, {known[0]}=[…]): {name} has {", ".join(known)}.'


def _check_direction(direction: object) -> None:
    if direction not in ('maximize', 'minimize'):
        raise SweepError(f"direction is 'maximize' or 'minimize', not {direction!r:.40}.")


def _id_of(task: luigi.Task) -> str:
    identify = getattr(task, 'make_unique_id', None)
    return str(identify()) if identify is not None else str(task.task_id)


def _notes(points: Sequence[SweepPoint]) -> list[str]:
    ids = [point.unique_id for point in points if point.unique_id]
    shared = len(ids) - len(set(ids))
    if not shared:
        return []
    return [f'{shared:,} of the points have the result of another one: they differ only in what is not significant.']
