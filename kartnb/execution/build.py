"""`kartnb.build`: run what a task needs, and give its result."""

from __future__ import annotations

import asyncio
import functools
import logging
import sys
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, nullcontext
from dataclasses import replace
from typing import Any, Literal, TypeVar, overload

import luigi

from kartnb.capture.capture import NOBODY, captured, current_task, is_enabled
from kartnb.capture.file_hook import unseen
from kartnb.config import (
    USUAL_CONCURRENCY,
    BuildOptions,
    Notifier,
    Rerun,
    TaskDumpConfig,
    check_env_params,
    checked_notifiers,
    is_durable,
    kept_superseded,
)
from kartnb.errors import KartError, ResultReplacedError, TaskLockException, described
from kartnb.execution.background import BackgroundBuild, EventFeed
from kartnb.execution.bring_back import bring_back
from kartnb.execution.coroutines import refuse_own_loop
from kartnb.execution.engine import Engine, PlannedBuild
from kartnb.execution.executors import choose_executor, get_ready, shares_random_state
from kartnb.execution.loop import BuildLoop
from kartnb.execution.recording import TaskRun, WorkItem, current_run, fire_broken
from kartnb.execution.recovery import record_existing_results, recover, tidy
from kartnb.execution.report import (
    BuildReport,
    HasLockedTaskException,
    failure_of,
    raise_failures,
    report_of_no_build,
)
from kartnb.execution.task_run import kept_directory, kept_random_state, refuse_while_importing
from kartnb.history.retention import bound_superseded, superseded_bounds
from kartnb.interrupts import heard_interrupts, kept_event_loop, within
from kartnb.model import (
    BuildFinished,
    BuildStarted,
    Event,
    Listener,
    LogLine,
    Plan,
    PlanGrew,
    TaskState,
    TaskStateChanged,
)
from kartnb.planning.estimate import announcement, brought_back_line, cutoff_line, note_on_seeds
from kartnb.planning.graph import TaskGraph
from kartnb.planning.planner import draw_up, require_task
from kartnb.planning.staleness import BROUGHT_BACK, refuse_outdated
from kartnb.planning.task_info import show_task_info
from kartnb.storage.census import warn_of_full_disk
from kartnb.storage.filesystem import home, left_home, may_leave
from kartnb.task import registry
from kartnb.task.base import TaskOnKart
from kartnb.task.randomness import seeded_draws
from kartnb.task.results import result_of, workspace_of
from kartnb.task.secrets import Masker

T = TypeVar('T')

logger = logging.getLogger('kartnb')
_MOST_RETURNS = 20
#: Nanoseconds by which the clock of a disk may be behind that of the system.
_CLOCKS_DIFFER = 1_000_000_000


@overload
def build(
    task: TaskOnKart[T], return_value: Literal[True] = True, *, background: Literal[True], **options: Any
) -> BackgroundBuild[T]: ...
@overload
def build(
    task: luigi.Task, return_value: bool = True, *, background: Literal[True], **options: Any
) -> BackgroundBuild: ...
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
    task_dump_config: TaskDumpConfig | None = None,
    *,
    workers: int = 1,
    executor: Any = None,
    concurrency: int = USUAL_CONCURRENCY,
    background: bool = False,
    scheduler_url: str | None = None,
    rerun: Rerun = False,
    on_code_change: str | None = None,
    on_version_change: str | None = None,
    durable: bool | None = None,
    keep_superseded: int | str | None = None,
    listeners: Iterable[Listener] = (),
    notify: Notifier | Iterable[Notifier] = (),
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
    task_dump_config
        Whether to show the tree or the table of the tasks before they run, or to write it to the default workspace.
    workers
        How many tasks run at once: above 1 in worker processes.
    executor
        Where tasks run: None or 'inline' (in the calling thread), 'processes', 'threads', 'async' (those with an
        ``async def run`` at once in one thread), a `distributed.Client` or its address ('dask://host:port'), or any
        `concurrent.futures.Executor`.
    concurrency
        How many tasks with an ``async def run`` are under way at once with ``executor='async'``. Other tasks of such a
        build run in as many threads as there are `workers`.
    background
        Whether to give a `BackgroundBuild` at once, and run tasks in worker processes unless `executor` says otherwise.
    scheduler_url
        Where a central scheduler of luigi's (``luigid``) is, such as 'http://127.0.0.1:8082': it gives the tasks out
        then, to this build and to others. By default the build decides itself what runs.
    rerun
        What is to run again, together with all that is downstream of it: True for the root, or tasks, task classes or
        class names.
    on_code_change
        What happens to results whose code has changed: 'rerun' recomputes them, 'warn' keeps and names them, 'error'
        lets the build fail before anything runs, 'ignore' keeps them as gokart does. By default what the class, the
        session, the environment or the configuration says; else 'rerun' for classes of the notebook and 'warn' for
        those of imported modules.
    on_version_change
        What happens to results that other versions of the packages have made which the code of their tasks reaches:
        'ignore', 'warn' or 'rerun'. By default what the class (also a dict by package), the environment or the
        configuration says; else 'ignore'.
    durable
        Whether each result, its record and their directories are flushed to the disk before the task counts as done, so
        that a power loss cannot take them away. By default what the environment (``KARTNB_DURABLE``) or the
        configuration (``[kartnb] durable``) says; else not.
    keep_superseded
        Which of the results that were superseded stay in the workspace: a number for each task, a duration, a size for
        all together, such as '20, 90 days, 5 GB', or 'all'. The latest of each task always stays. By default what the
        environment (``KARTNB_KEEP_SUPERSEDED``) or the configuration (``[kartnb] keep_superseded``) says; else
        '20, 90 days, 5 GB'.
    listeners
        Callables that are given every event of the build, in the thread in which it happens.
    notify
        A function, or several, that is given the `BuildReport` when the build has ended, well or not, also where it
        could not be planned or was interrupted, such as ``kartnb.notify.slack.to_slack('builds')``. If it fails, the
        log says so, and the build is as it was.
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
        When `task` is not a task instance.
    OutdatedResultError
        When results of other code would be used, and `on_code_change` is 'error'.
    UnknownOptionError, ExecutorChoiceError
        When an option or the executor is not known, or the scheduler cannot be reached.
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

    Tasks that wait for a network, at most five at once:

    >>> import asyncio
    >>> class Answer(kartnb.TaskOnKart[str]):
    ...     question = kartnb.luigi.Parameter()
    ...
    ...     async def run(self):
    ...         await asyncio.sleep(0.01)  # such as `await client.get(…)`
    ...         self.dump(self.question.upper())
    >>> class Answers(kartnb.TaskOnKart[list]):
    ...     def requires(self):
    ...         return [Answer(question=text, workspace_directory=self.workspace_directory) for text in 'abc']
    ...
    ...     def run(self):
    ...         self.dump(self.load())
    >>> kartnb.build(Answers(workspace_directory=tempfile.mkdtemp()), executor='async', concurrency=5)
    ['A', 'B', 'C']
    """
    __tracebackhide__ = True
    require_task(task)
    options = BuildOptions(
        workers=workers,
        executor=executor,
        concurrency=concurrency,
        scheduler_url=scheduler_url,
        rerun=rerun,
        on_code_change=on_code_change,
        on_version_change=on_version_change,
        durable=durable,
        keep_superseded=keep_superseded,
        log_level=log_level,
        listeners=tuple(listeners),
        notify=checked_notifiers(notify),
        value_wanted=return_value,
    )
    check_env_params(env_params)
    with _told_of_no_build(task, options.notify):
        show_task_info(task, task_dump_config)
    if reset_register:
        registry.drop_superseded()
    if background:
        return build_in_background(task, options)
    report, load = built(
        task,
        options.heard_first_by(log_printer(log_level)),
        task_lock_exception_max_tries,
        task_lock_exception_max_wait_seconds,
    )
    raise_failures(report)
    return load()


@overload
async def build_async(task: TaskOnKart[T], *, return_value: Literal[True] = True, **options: Any) -> T: ...
@overload
async def build_async(task: TaskOnKart[T], *, return_value: Literal[False], **options: Any) -> None: ...
@overload
async def build_async(task: luigi.Task, **options: Any) -> Any: ...
async def build_async(task: luigi.Task, **options: Any) -> Any:
    """Build a task while the event loop goes on, for instance in a notebook cell: ``value = await build_async(task)``.

    Parameters
    ----------
    task
        The root task.
    **options
        As for `kartnb.build`. Tasks run in worker processes unless `executor` says otherwise. With ``executor='async'``
        coroutines of tasks run in the present event loop, so that they can use a client that was made in it.

    Returns
    -------
    Any
        What `kartnb.build` gives.

    Raises
    ------
    GokartBuildError
        When a task failed.
    asyncio.CancelledError
        When it was cancelled or the cell was interrupted; the build is stopped.

    Examples
    --------
    >>> import asyncio, kartnb, tempfile
    >>> class Greeting(kartnb.TaskOnKart):
    ...     def run(self):
    ...         self.dump('Hello!')
    >>> task = Greeting(workspace_directory=tempfile.mkdtemp())
    >>> asyncio.run(kartnb.build_async(task, executor='threads'))
    'Hello!'
    """
    if options.get('executor') == 'async':
        options['executor'] = asyncio.get_running_loop()
    return await build(task, background=True, **options)


def build_in_background(task: luigi.Task, options: BuildOptions) -> BackgroundBuild:
    """Start a build and give its handle at once; `kartnb.build` with ``background=True`` is this.

    Raises `TaskArgumentError` or `ExecutorChoiceError` when the build cannot be begun.
    """
    feed = EventFeed()
    options = options.in_background().heard_first_by(feed, log_printer(options.log_level))
    return BackgroundBuild(task, Build(task, options), feed, options.value_wanted)


def run_build(task: luigi.Task, options: BuildOptions) -> BuildReport:
    """Run a task and whatever it needs; failures are in the report, but `KeyboardInterrupt` is raised."""
    __tracebackhide__ = True
    return Build(task, options).run()


def built(
    task: luigi.Task, options: BuildOptions, tries: int, longest_wait: float
) -> tuple[BuildReport, Callable[[], Any]]:
    """Build a task until no lock of another build is in the way, waiting 1, 2, 4, … seconds in between.

    Gives the report, and what gives the root's result, None where it is not wanted. Raises `HasLockedTaskException`
    when a lock was still held at the last try.
    """
    report = None
    for attempt in range(tries):
        build = Build(task, options)
        with build.told_of_early_end():
            report = build.run_untold()
            load = _loader(build, report, options.value_wanted)
            if load is None and attempt + 1 < tries:
                time.sleep(min(2**attempt, longest_wait))
        if load is not None:
            tell(options.notify, report)
            return report, load
    names = [type(task).__name__]
    if report is not None:
        tell(options.notify, report)
        names = [each.name for each in report.failures if isinstance(each.error, TaskLockException)] or names
    raise HasLockedTaskException(
        f'Another process held the lock of {names[0]} through {tries} tries: build again when it has finished.'
    )


def _loader(build: Build, report: BuildReport, value_wanted: bool) -> Callable[[], Any] | None:
    """What gives the result of a build that has ended; None where another build was in its way."""
    if any(isinstance(failure.error, TaskLockException) for failure in report.failures):
        return None
    if report.failures or not value_wanted:
        return lambda: None
    try:
        return functools.partial(_same, build.result())
    except ResultReplacedError:
        return None
    except Exception:
        return build.result  # it raises again, when the report has been shown


def tell(notifiers: Iterable[Notifier], report: BuildReport) -> None:
    """Give a report to functions that tell people of it; one that fails is logged, and the build is as it was."""
    for notifier in notifiers:
        try:
            notifier(report)
        except (Exception, SystemExit) as error:
            logger.warning('The report of the build could not be sent: %s', report.mask(described(error)))


@contextmanager
def _told_of_no_build(task: luigi.Task, notifiers: Iterable[Notifier]) -> Iterator[None]:
    """Tell of an error or an interrupt in the block, which is before the build has a plan."""
    started = time.perf_counter()
    try:
        yield
    except (Exception, KeyboardInterrupt) as error:
        if notifiers:
            tell(notifiers, report_of_no_build(task, error, time.perf_counter() - started))
        raise


def _same(value: T) -> T:
    return value


class Build:
    """One build, planned and ready to run.

    The tasks in `also` are wanted as much as the root `task`: what they share runs once.
    """

    # a task that starts a build is made from its result, not from the files that the build looks at or sets aside
    @unseen()
    def __init__(self, task: luigi.Task, options: BuildOptions, also: Sequence[luigi.Task] = ()) -> None:
        with _told_of_no_build(task, options.notify):
            self._prepare(task, options, also)

    def _prepare(self, task: luigi.Task, options: BuildOptions, also: Sequence[luigi.Task]) -> None:
        self._task = task
        self._started = time.perf_counter()
        self._log_level = options.log_level
        self._notify = options.notify
        self._emit = _Emitter(options.listeners)
        self._bounds = superseded_bounds(*kept_superseded(options))
        self.build_id = uuid.uuid4().hex
        self._roots = (*also, task)
        #: The run of the task that has started this build.
        self._starter = current_run.get()
        if self._starter is not None:
            options = _inherited(options, self._starter.item)
        self._directory = kept_directory()
        self.executor = options.executor
        choose = choose_executor(options.executor, options.workers, options.log_level, options.concurrency)
        self.workers = options.at_once
        warn_of_full_disk(workspace_of(task))
        self._graph, self.plan = self._drawn_up(task, options, also)
        refuse_outdated(self._graph.vertices.values(), self._graph.results)
        self._graph.vertex_of(task).value_wanted = options.value_wanted
        if any(node.will_run for node in self.plan):
            refuse_while_importing()
            if shares_random_state(options.executor):
                self._note_unseeded()
            get_ready(options.executor, options.workers, self._packages)
        self._mask = Masker.of_build(vertex.task for vertex in self._graph.vertices.values())
        verbose = options.log_level <= logging.INFO or is_enabled(logger, logging.INFO)
        durable = is_durable(options)
        planned = PlannedBuild(self._graph, self.plan, self.build_id, choose, self._emit, verbose, durable, self._mask)
        url = options.scheduler_url
        self._engine: Engine = _scheduler_loop(planned, url) if url else BuildLoop(planned)

    @staticmethod
    def _drawn_up(task: luigi.Task, options: BuildOptions, also: Sequence[luigi.Task]) -> tuple[TaskGraph, Plan]:
        found = draw_up(task, options.rerun, _new_graph(options), also=also)
        if recover(found[0].results):
            # runs that were broken off were rolled back: some results are there again, others are not
            found = draw_up(task, options.rerun, _new_graph(options), also=also)
        for _ in range(_MOST_RETURNS):  # others may exchange results at the same time
            if not bring_back(found[0], found[0].vertices.values()):
                break
            known, graph = found[0].results, _new_graph(options)
            graph.results.brought_back, graph.results.not_available = known.brought_back, known.not_available
            found = draw_up(task, options.rerun, graph, also=also)
        return found

    def _note_unseeded(self) -> None:
        """Let the plan name the tasks that will run in threads and draw from random states that they share."""
        drawing: dict[str, list[str]] = {}
        for node in self.plan.to_run():
            if isinstance(node.task, TaskOnKart) and node.task.fix_random_seed_methods:
                draws = self._graph.results.code.print_of(type(node.task)).draws
                drawing[node.name] = seeded_draws(draws, node.task.fix_random_seed_methods)
        drawing = {name: draws for name, draws in drawing.items() if draws}
        if drawing:
            self.plan = replace(self.plan, notes=(*self.plan.notes, note_on_seeds(drawing)))

    def _packages(self) -> set[str]:
        """The libraries that the code of what will run reaches."""
        classes = {type(node.task) for node in self.plan if node.will_run}
        known = self._graph.results.code
        return {name for cls in classes if issubclass(cls, TaskOnKart) for name in known.print_of(cls).packages}

    def run(self) -> BuildReport:
        """Run it in this thread, report, and tell of it; raises `KeyboardInterrupt` when it was interrupted."""
        __tracebackhide__ = True
        with self.told_of_early_end():
            report = self.run_untold()
        tell(self._notify, report)
        return report

    @contextmanager
    def told_of_early_end(self) -> Iterator[None]:
        """Tell of an interrupt, or of an error that is no task's, in the block, which runs the build."""
        try:
            yield
        except (Exception, KeyboardInterrupt) as error:
            if self._notify:
                report = self._report()
                if isinstance(error, Exception):
                    self._mask.hide_in(error)
                    failure = failure_of(report.planned.root, error, (), self._mask)
                    report = replace(report, failures=(*report.failures, failure))
                tell(self._notify, report)
            raise

    @unseen()
    def run_untold(self) -> BuildReport:
        """The same, but the functions of `notify` are not told of it."""
        __tracebackhide__ = True
        refuse_own_loop(self.executor)
        capture = captured(self.build_id, self._log_level, self._emit, self._mask)
        within(
            [
                capture,
                kept_random_state(),
                kept_event_loop(),
                heard_interrupts(),
                self._directory,
                closing(self._engine),
            ],
            self._run,
        )
        if self._starter is not None:
            self._note_results(self._starter)
        return self._report()

    def _report(self) -> BuildReport:
        return self._engine.report(time.perf_counter() - self._started)

    def _run(self) -> None:
        __tracebackhide__ = True
        self.record_existing()
        self._engine.run()
        tidy(self.plan.workspace)
        self._bound_superseded()

    def _note_results(self, starter: TaskRun) -> None:
        """Let the results of this build count as inputs of the task that has started it."""
        for vertex in map(self._graph.vertex_of, self._roots):
            starter.note_built(self._graph.results.input_of(vertex, asked_later=1))

    def _bound_superseded(self) -> None:
        """Bound what is kept of results that this build has superseded, or was going to."""
        stale: set[Any] = {
            vertex.task.workspace_directory
            for vertex in self._graph.vertices.values()
            if vertex.verdict.state is TaskState.STALE and isinstance(vertex.task, TaskOnKart)
        }
        for workspace in stale:
            try:
                bound_superseded(workspace, self._bounds)
            except (KartError, OSError) as error:
                logger.warning('Superseded results in %s could not be bounded: %s', workspace, error)

    def record_existing(self) -> None:
        """Give a record to the results that are used and have none; `run` begins with it."""
        record_existing_results(self._graph, self._graph.vertices.values())

    def result(self) -> Any:
        """Load the root's result, also when the working directory has changed since the plan.

        Raises ResultReplacedError when a build with other code, or of other inputs, has replaced it.
        """
        token = home.set(self._directory.directory)
        # of what has no record, the file itself is the input
        is_noted = self._graph.vertex_of(self._task).place is not None
        try:
            with may_leave(), unseen() if is_noted else nullcontext():
                return self._whole_result()
        finally:
            home.reset(token)

    def _whole_result(self) -> Any:
        vertex = self._graph.vertex_of(self._task)
        files = self._graph.results.files_of(vertex)
        tries = 0
        while files is not None:
            began = time.time_ns()
            try:
                used = files.begin_use(left_home(), began)
                value = result_of(self._task)
                files.end_use(left_home(), used, began - _CLOCKS_DIFFER)
                return value
            except ResultReplacedError:
                files, tries = self._graph.results.files_of_equal(vertex), tries + 1
                if files is None or tries == _MOST_RETURNS:
                    raise
        return result_of(self._task)

    def stop(self) -> None:
        """End it from another thread, as soon as its executor can."""
        self._engine.stop()


def _inherited(options: BuildOptions, item: WorkItem) -> BuildOptions:
    """Options of a build that a running task has started: where they say nothing, those of its own build hold."""
    return replace(
        options,
        on_code_change=options.on_code_change or item.on_code_change,
        on_version_change=options.on_version_change or item.on_version_change,
    )


def _new_graph(options: BuildOptions) -> TaskGraph:
    return TaskGraph(fire_broken, options.on_code_change, options.on_version_change)


def _scheduler_loop(planned: PlannedBuild, url: str) -> Engine:
    from kartnb.execution.luigid import SchedulerLoop

    return SchedulerLoop(planned, url)


class _Emitter:
    """Gives events to listeners; the failure of one is logged, it gets no more events, and the build goes on."""

    def __init__(self, listeners: Iterable[Listener]) -> None:
        self._listeners = list(listeners)

    def __call__(self, event: Event) -> None:
        for listener in tuple(self._listeners):
            try:
                _notify(listener, event)
            except Exception:
                self._listeners.remove(listener)
                logger.exception('A listener of the build failed; it gets no more events')


def _notify(listener: Listener, event: Event) -> None:
    token = current_task.set(NOBODY)  # what a listener prints belongs to no task
    try:
        listener(event)
    finally:
        current_task.reset(token)


def log_printer(level: int, announce: bool = True) -> Listener:
    """A listener that writes logged lines of at least this level to standard error, and what changes make run."""
    tell_changes = change_teller(_print)

    def print_line(event: Event) -> None:
        if type(event) is TaskStateChanged:  # most events are
            return
        if announce and level <= logging.ERROR:
            tell_changes(event)
        if isinstance(event, LogLine) and event.level >= level and not event.already_shown:
            where = f' [{event.key.rpartition("_")[0]}]' if event.key else ''
            _print(f'{logging.getLevelName(event.level)}: {event.logger}{where}: {event.text}')

    return print_line


def _print(line: str) -> None:
    sys.stderr.write(f'{line}\n')


def change_teller(tell: Callable[[str], object]) -> Listener:
    """A listener that tells, in lines, what changes make run, and what must be known of a build at its end."""
    announced: set[str] = set()
    plans: list[Plan] = []

    def tell_changes(event: Event) -> None:
        if isinstance(event, BuildFinished):
            lines = end_lines(plans, event)
        elif isinstance(event, BuildStarted | PlanGrew):
            lines = announcement(event.plan, announced)
            plans.append(event.plan)
            announced.update(node.key for node in event.plan)
        else:
            return
        for line in lines:
            tell(line)

    return tell_changes


def end_lines(plans: Sequence[Plan], end: BuildFinished) -> list[str]:
    """What a build has not run in the end, and its notes, a line each; `plans` are those that it had, in order."""
    if not plans:
        return []
    first = {node.key: node for plan in reversed(plans) for node in plan}  # as each was when it was announced
    known = {key for key, node in first.items() if node.note.startswith(BROUGHT_BACK)}
    lines = filter(None, (brought_back_line(plans[-1], known), cutoff_line(plans[-1].with_states(end.states))))
    return [*lines, *(f'{note}.' for note in end.notes)]
