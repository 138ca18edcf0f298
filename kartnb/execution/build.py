"""`kartnb.build`: run what a task needs, and give its result."""

from __future__ import annotations

import logging
import sys
import time
import uuid
from collections.abc import Iterable, Sequence
from typing import Any, Literal, TypeVar, overload

import luigi

from kartnb.events import BuildStarted, Event, Listener, LogLine, PlanGrew, TaskStateChanged
from kartnb.execution.adopt import adopt_results
from kartnb.execution.build_error import build_error
from kartnb.execution.capture.current import NOBODY, current_task
from kartnb.execution.capture.output_capture import captured, is_enabled
from kartnb.execution.engine import Engine
from kartnb.execution.loop import BuildLoop
from kartnb.execution.options import check_env_params, check_log_level
from kartnb.execution.planning.announce import announcement
from kartnb.execution.planning.graph import TaskGraph
from kartnb.execution.planning.plan import Plan
from kartnb.execution.planning.planner import Rerun, draw_up, require_task, workspace_of
from kartnb.execution.report import BuildReport
from kartnb.execution.retry import retried_while_locked
from kartnb.execution.running.luigi_events import fire_broken
from kartnb.execution.running.random_state import kept_random_state
from kartnb.execution.workers.choice import choose_executor, get_ready
from kartnb.storage.disk_space import warn_of_full_disk
from kartnb.task import registry
from kartnb.task.base import TaskOnKart
from kartnb.task.loading import load

T = TypeVar('T')

logger = logging.getLogger('kartnb')


@overload
def build(task: TaskOnKart[T], return_value: Literal[True] = True, *args: Any, **options: Any) -> T: ...
@overload
def build(task: TaskOnKart[T], return_value: Literal[False], *args: Any, **options: Any) -> None: ...
@overload
def build(task: luigi.Task, return_value: bool = True, *args: Any, **options: Any) -> Any: ...
def build(
    task: luigi.Task,
    return_value: bool = True,
    reset_register: bool = True,
    log_level: int = logging.ERROR,
    task_lock_exception_max_tries: int = 10,
    task_lock_exception_max_wait_seconds: float = 600,
    *,
    workers: int = 1,
    executor: Any = None,
    background: bool = False,
    scheduler_url: str | None = None,
    rerun: Rerun = False,
    on_code_change: str | None = None,
    listeners: Iterable[Listener] = (),
    **env_params: Any,
) -> Any:
    """Run a task, and first whatever it needs that is not cached.

    Parameters
    ----------
    task
        The root task.
    return_value
        Whether to load and give the root's result.
    reset_register
        Whether classes that were defined again leave luigi's register. (gokart empties the register here.)
    log_level
        From which level on logged lines are shown on standard error while the build runs. Levels and handlers of the
        process stay as they are.
    task_lock_exception_max_tries, task_lock_exception_max_wait_seconds
        How often, and at most how many seconds apart, to try again while another process holds the lock of a task.
    workers
        How many tasks run at once: above 1 in worker processes.
    executor
        Where tasks run: None or 'inline' (in the calling thread), 'processes', 'threads', a `distributed.Client` or its
        address ('dask://host:port'), or any `concurrent.futures.Executor`.
    background
        Whether to give a `BackgroundBuild` at once, and run tasks in worker processes unless `executor` says otherwise.
    scheduler_url
        Where a central scheduler of luigi's (``luigid``) is, such as 'http://127.0.0.1:8082': it gives the tasks out
        then, to this build and to others. By default the build decides itself what runs.
    rerun
        What is to run again, together with all that is downstream of it: True for the root, or tasks, task classes or
        class names.
    on_code_change
        What happens to results whose code has changed: 'rerun' makes them anew, 'warn' keeps and names them, 'ignore'
        keeps them as gokart does. By default what the class, the session, the environment or the configuration says;
        else 'rerun' for classes of the notebook and 'warn' for those of imported modules.
    listeners
        Callables that are given every event of the build, in the thread in which it happens.
    **env_params
        luigi's other options; they have no effect here.

    Returns
    -------
    Any
        The root's result, in the shape of its `output()`; None without `return_value`; a handle with `background`.

    Raises
    ------
    GokartBuildError
        When a task failed. What does not depend on it has run all the same.
    TaskArgumentError
        When `task` is no task instance.
    UnknownOptionError, ExecutorChoiceError
        When there is no such option or executor, or the scheduler cannot be reached.
    HasLockedTaskException
        When another process still held a lock after the last try.

    Examples
    --------
    >>> import kartnb, tempfile
    >>> class Double(kartnb.TaskOnKart[int]):
    ...     number = kartnb.luigi.IntParameter()
    ...
    ...     def run(self):
    ...         self.dump(2 * self.number)
    >>> kartnb.build(Double(number=21, workspace_directory=tempfile.mkdtemp()))
    42
    """
    __tracebackhide__ = True
    if background:
        from kartnb.execution.background import build_in_background

        return build_in_background(
            task,
            return_value=return_value,
            reset_register=reset_register,
            log_level=log_level,
            workers=workers,
            executor=executor,
            scheduler_url=scheduler_url,
            rerun=rerun,
            on_code_change=on_code_change,
            listeners=listeners,
            **env_params,
        )
    require_task(task)
    check_log_level(log_level)
    check_env_params(env_params)
    if reset_register:
        registry.drop_superseded()
    report = retried_while_locked(
        lambda: run_build(
            task,
            workers=workers,
            executor=executor,
            scheduler_url=scheduler_url,
            rerun=rerun,
            on_code_change=on_code_change,
            log_level=log_level,
            listeners=(log_printer(log_level), *listeners),
            value_wanted=return_value,
        ),
        task_lock_exception_max_tries,
        task_lock_exception_max_wait_seconds,
    )
    raise_failures(report)
    return result_of(task) if return_value else None


def raise_failures(report: BuildReport) -> None:
    """Raise the error of a build with failures.

    Raises
    ------
    GokartBuildError
        When there are any. Its traceback ends in the user's frame, so that a debugger stops there.
    """
    __tracebackhide__ = True
    if report.failures:
        cause = report.failures[0].error
        raise build_error(report).with_traceback(cause.__traceback__) from cause


def run_build(
    task: luigi.Task,
    *,
    workers: int = 1,
    executor: Any = None,
    scheduler_url: str | None = None,
    rerun: Rerun = False,
    on_code_change: str | None = None,
    log_level: int = logging.ERROR,
    listeners: Iterable[Listener] = (),
    value_wanted: bool = True,
) -> BuildReport:
    """Run a task and whatever it needs, and report; failures are in the report, not raised.

    Without `value_wanted` the root may end without having dumped anything, as a gokart task that is run for what else
    it does.

    Raises
    ------
    KeyboardInterrupt
        When the build was interrupted.
    """
    __tracebackhide__ = True
    return Build(
        task,
        workers=workers,
        executor=executor,
        scheduler_url=scheduler_url,
        rerun=rerun,
        on_code_change=on_code_change,
        log_level=log_level,
        listeners=listeners,
        value_wanted=value_wanted,
    ).run()


class Build:
    """One build, planned and ready to run.

    Parameters
    ----------
    task, workers, executor, scheduler_url, rerun, on_code_change, log_level, listeners
        As for `build`.
    value_wanted
        Whether the root has failed when it ends without having written its output.
    also
        Other tasks that are wanted as much as `task`: what they share runs once.

    Attributes
    ----------
    build_id
        A random id.
    plan
        What it will do.
    workers
        How many tasks run at a time, as it was asked for.
    """

    def __init__(
        self,
        task: luigi.Task,
        *,
        workers: int = 1,
        executor: Any = None,
        scheduler_url: str | None = None,
        rerun: Rerun = False,
        on_code_change: str | None = None,
        log_level: int = logging.ERROR,
        listeners: Iterable[Listener] = (),
        value_wanted: bool = True,
        also: Sequence[luigi.Task] = (),
    ) -> None:
        self._started = time.perf_counter()
        self._log_level = log_level
        self.workers = workers
        self._emit = _Emitter(listeners)
        self.build_id = uuid.uuid4().hex
        choose = choose_executor(executor, workers, log_level)
        warn_of_full_disk(workspace_of(task))
        self._graph, self.plan = draw_up(task, rerun, TaskGraph(fire_broken, on_code_change), also=also)
        self._graph.vertex_of(task).value_wanted = value_wanted
        if any(node.will_run for node in self.plan):
            get_ready(executor, workers)
        verbose = log_level <= logging.INFO or is_enabled(logger, logging.INFO)
        parts = (self._graph, self.plan, self.build_id, choose, self._emit, verbose)
        self._loop: Engine = _scheduler_loop(*parts, url=scheduler_url) if scheduler_url else BuildLoop(*parts)

    def run(self) -> BuildReport:
        """Run it in this thread, and report.

        Raises
        ------
        KeyboardInterrupt
            When it was interrupted.
        """
        __tracebackhide__ = True
        with captured(self.build_id, self._log_level, self._emit), kept_random_state():
            self.adopt()
            self._loop.run()
        return self._loop.report(time.perf_counter() - self._started)

    def adopt(self) -> None:
        """Give a record to the results that are used and have none; `run` begins with it."""
        adopt_results(self._graph, self._graph.vertices.values())

    def stop(self) -> None:
        """End it from another thread, as soon as its executor can."""
        self._loop.stop()


def _scheduler_loop(*parts: Any, url: str) -> Engine:
    from kartnb.execution.luigid.scheduler import SchedulerLoop

    return SchedulerLoop(*parts, url=url)


def result_of(task: luigi.Task) -> Any:
    """Load the outputs of a task that is complete, in their shape; tuples give lists, as in gokart."""
    return load(task.output())


class _Emitter:
    """Gives events to listeners; one that fails is told of once and left out, and the build goes on."""

    def __init__(self, listeners: Iterable[Listener]) -> None:
        self._listeners = list(listeners)

    def __call__(self, event: Event) -> None:
        for listener in tuple(self._listeners):
            try:
                _tell(listener, event)
            except Exception:
                self._listeners.remove(listener)
                logger.exception('A listener of the build failed and is left out from here on')


def _tell(listener: Listener, event: Event) -> None:
    token = current_task.set(NOBODY)  # what a listener prints belongs to no task
    try:
        listener(event)
    finally:
        current_task.reset(token)


def log_printer(level: int, announce: bool = True) -> Listener:
    """A listener that writes logged lines of at least this level to standard error, and what changes make run."""

    def print_line(event: Event) -> None:
        if type(event) is TaskStateChanged:  # most events are
            return
        if isinstance(event, BuildStarted | PlanGrew) and announce and level <= logging.ERROR:
            print_changes(event.plan)
        if isinstance(event, LogLine) and event.level >= level and not event.already_shown:
            where = f' [{event.key.rpartition("_")[0]}]' if event.key else ''
            sys.stderr.write(f'{logging.getLevelName(event.level)}: {event.logger}{where}: {event.text}\n')

    told: set[str] = set()

    def print_changes(plan: Plan) -> None:
        for line in announcement(plan, told):
            sys.stderr.write(f'{line}\n')
        told.update(node.key for node in plan)

    return print_line
