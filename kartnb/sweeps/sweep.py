"""`kartnb.sweep`, which builds and compares a task for each point of a space, and its handle in the background."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import luigi

from kartnb.config import USUAL_CONCURRENCY, BuildOptions, Rerun
from kartnb.errors import BuildStoppedError, SweepError
from kartnb.execution.background import Handle, Status
from kartnb.model import Listener
from kartnb.sweeps.points import Metric, check_metric
from kartnb.sweeps.result import Direction, SweepResult
from kartnb.sweeps.run import SweepPlan, SweepProgress, SweepRun, check_direction, make_points
from kartnb.sweeps.space import Space, Template, points_of
from kartnb.task import registry
from kartnb.task.secrets import is_private
from kartnb.task.values import Slider

if TYPE_CHECKING:
    import pandas


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
    concurrency: int = USUAL_CONCURRENCY,
    rerun: Rerun = False,
    on_code_change: str | None = None,
    on_version_change: str | None = None,
    durable: bool | None = None,
    keep_superseded: int | str | None = None,
    log_level: int = logging.ERROR,
    background: bool = False,
    dry_run: bool = False,
    listeners: Iterable[Listener] = (),
    **values: Any,
) -> Any:
    """Build a task for each point of a space of parameter values, and compare the results.

    All points are planned and built together, so that shared tasks run once. When a point fails, the others go on.
    Every point is a cached task: a larger space runs only what is new.

    Parameters
    ----------
    task
        A task class; or a task, whose values hold for the parameters that are not varied.
    space
        Values to try by parameter name, for names that are not Python names (``{'data.rows': [100, 1000]}`` varies
        ``rows`` of the task that the parameter ``data`` holds) or are names of options; or a list of points, each a
        dict of values.
    metric
        What to compare by: a key of the result (a dict, or something with fields), several, or a function of the result
        that returns a number or a dict of numbers. By default all numbers in the result.
    direction
        'maximize' or 'minimize': which end of the metric is best.
    sample
        Build this many random points. A larger sample with the same seed includes the smaller one.
    seed
        Seed of the sample or the search. The random state of the process is not touched.
    sampler
        'optuna', or a sampler of Optuna's: search for the best metric instead of trying every point.
    trials
        How many points a search tries in total, including those of an earlier search of the same space.
    workers, executor, concurrency, rerun, on_code_change, on_version_change, durable, keep_superseded
        As for `kartnb.build`; ``rerun=True`` means all points.
    log_level, listeners
        As for `kartnb.build`.
    background
        Whether to return a `BackgroundSweep` at once, and run tasks in worker processes unless `executor` says
        otherwise.
    dry_run
        Return the plan, and run nothing.
    **values
        Values to try by parameter name: a range, a list, an array, `kartnb.slider`, or one value for all points.

    Returns
    -------
    SweepResult
        The points, as a table, a plot or a data frame; with `background` a handle; with `dry_run` a `SweepPlan`.

    Raises
    ------
    SweepError
        When a parameter or the metric does not exist, or there are too many points.
    ParameterValueError
        When a parameter does not take a value.
    KeyboardInterrupt
        When it was interrupted. What has finished is kept, and the same call continues from there.

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
    options = BuildOptions(
        workers=workers,
        executor=executor,
        concurrency=concurrency,
        rerun=rerun,
        on_code_change=on_code_change,
        on_version_change=on_version_change,
        durable=durable,
        keep_superseded=keep_superseded,
        log_level=log_level,
        listeners=tuple(listeners),
    )
    check_direction(direction)
    _refuse_notify(task, values)
    registry.drop_superseded()
    template, asked = _template_and_space(task, space, values)
    options = options.in_background() if background else options
    run: SweepRun
    if sampler is not None or trials is not None:
        from kartnb.sweeps.search import Search

        if dry_run:
            raise SweepError('A search chooses its points as it goes, so it cannot be planned: leave out dry_run.')
        run = Search(template, asked, metric, direction, sampler or 'optuna', trials, seed, options)
    else:
        points = make_points(template, points_of(template, asked, sample, seed))
        run = SweepPlan(template.cls.__name__, points, options, metric, direction)
    if dry_run:
        return run
    return BackgroundSweep(run) if background else run.run()


def _refuse_notify(task: Any, values: Mapping[str, Any]) -> None:
    """Raise for the option of `kartnb.build` that a sweep does not have, unless it is a parameter of the task."""
    if 'notify' in values and not hasattr(task if isinstance(task, type) else type(task), 'notify'):
        raise SweepError(
            'A sweep has no notify, because it makes a SweepResult, not the report of a build: call the function on '
            'the result, or with background=True give it to add_done_callback of the handle.'
        )


def _template_and_space(task: Any, space: Space, values: Mapping[str, Any]) -> tuple[Template, Space]:
    template = Template(task)
    if space is None or isinstance(space, Mapping):
        both = {**(space or {}), **values}
        if not both:
            raise SweepError(_nothing_to_vary(template))
        fixed = {name: value for name, value in both.items() if _is_fixed(template, name, value)}
        varied = {name: value for name, value in both.items() if name not in fixed}
        _refuse_secrets(template, varied)
        return Template(task, fixed), varied
    if isinstance(space, str) or not isinstance(space, Iterable):
        raise SweepError(f'A space must be a dict of values to try, or a list of points, not {space!r:.60}.')
    points = list(space)
    if not points:
        raise SweepError(_nothing_to_vary(template))
    _refuse_secrets(template, {name for point in points if isinstance(point, Mapping) for name in point})
    # next to a list of points, values are for all points
    return Template(task, values), points


def _is_fixed(template: Template, name: str, value: Any) -> bool:
    """Whether it is one value for all points, of a parameter that is secret or not significant."""
    single = isinstance(value, str | luigi.Task) or not isinstance(value, Iterable | Slider)
    return (
        single
        and '.' not in name
        and (not template.parameter(name).significant or is_private(template.parameter(name)))
    )


def _refuse_secrets(template: Template, names: Iterable[str]) -> None:
    """Raise for secret parameters: a sweep shows the values that it varies."""
    secret = next((name for name in names if is_private(template.parameter(name))), None)
    if secret is not None:
        raise SweepError(
            f'{secret!r} is secret, and a sweep shows what it varies: give it with the task, '
            f'{template.cls.__name__}({secret.rpartition(".")[2]}=…).'
        )


def _nothing_to_vary(template: Template) -> str:
    known = [name for name, parameter in template.parameters.items() if parameter.significant]
    name = template.cls.__name__
    if not known:
        return f'{name} has no parameters of its own, so there is nothing to vary.'
    return f'Say which parameters vary, such as kartnb.sweep({name}, {known[0]}=[…]): {name} has {", ".join(known)}.'


class BackgroundSweep(Handle[SweepResult]):
    """A sweep in the background, as `kartnb.sweep(task, ..., background=True)` returns it.

    It can be awaited, also in a notebook cell: ``found = await handle``.

    Examples
    --------
    >>> import kartnb, tempfile
    >>> class Cube(kartnb.TaskOnKart[int]):
    ...     number = kartnb.luigi.IntParameter()
    ...
    ...     def run(self):
    ...         self.dump(self.number**3)
    >>> place = tempfile.mkdtemp()
    >>> handle = kartnb.sweep(Cube, number=range(3), workspace_directory=place, background=True, executor='threads')
    >>> handle.result().best().metrics
    {'value': 8}
    >>> handle.status, str(handle.progress)
    ('done', '3/3 points (3 done)')
    """

    _what = 'sweep'

    def __init__(self, run: SweepRun) -> None:
        super().__init__()
        self._sweep = run
        self._thread.start()

    @property
    def name(self) -> str:
        """The name of the task class."""
        return self._sweep.name

    @property
    def progress(self) -> SweepProgress:
        """The progress of the sweep."""
        return self._sweep.progress

    @property
    def status(self) -> Status:
        """'running', 'done', 'failed' (without a result) or 'stopped'; points may fail in a sweep that is done."""
        if not self._ended.is_set():
            return 'running'
        if self._error is not None:
            return 'failed'
        return 'stopped' if self._sweep.stopped else 'done'

    def partial(self) -> SweepResult:
        """The sweep so far: all points, with the metrics of those that have a result."""
        return self._sweep.partial()

    def to_dataframe(self) -> pandas.DataFrame:
        """The sweep so far as a pandas data frame, as from `SweepResult.to_dataframe`."""
        return self.partial().to_dataframe()

    def plot(self, metric: str | None = None) -> Any:
        """Plot the sweep so far, as `SweepResult.plot` does."""
        return self.partial().plot(metric)

    def result(self, timeout: float | None = None) -> SweepResult:
        """Wait for the sweep, and return what `kartnb.sweep` would have returned.

        Raises
        ------
        TimeoutError
            When the sweep has not ended after `timeout` seconds.
        SweepError
            When no result has the metric.
        BuildStoppedError
            When the sweep was stopped; `partial` gives the points that have finished.
        """
        __tracebackhide__ = True
        found = self._await_value(timeout)
        return found

    @property
    def sweep_run(self) -> SweepRun:
        """The running sweep, for those who draw it."""
        return self._sweep

    def follow(self, listener: Listener) -> None:
        """Send `listener` every event of the builds; those of the running build from its start on."""
        self._sweep.follow(listener)

    def _work(self) -> None:
        self._sweep.finish()

    def _stop(self) -> None:
        self._sweep.stop()

    def _value(self) -> SweepResult:
        if self._sweep.stopped:
            raise BuildStoppedError(
                f'The sweep was stopped: {self.progress}. What has finished is kept, and partial() gives it.'
            )
        return self.partial()

    @property
    def _about(self) -> str:
        return self.name
