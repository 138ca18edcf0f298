"""Builds that go on while the caller does something else: in the background, or awaited."""

from __future__ import annotations

import logging
import weakref
from collections.abc import Iterable, Sequence
from typing import Any

import luigi

from kartnb import display
from kartnb.errors import BuildStoppedError
from kartnb.events import Listener
from kartnb.execution.build import Build, log_printer, raise_failures, result_of
from kartnb.execution.handle import Handle, Status
from kartnb.execution.options import check_env_params, check_log_level
from kartnb.execution.planning.plan import Plan
from kartnb.execution.planning.planner import Rerun, require_task
from kartnb.execution.report import BuildReport
from kartnb.execution.standing import BuildProgress, Heard, Standing
from kartnb.task import registry

_begun: weakref.WeakSet[BackgroundBuild] = weakref.WeakSet()


class BackgroundBuild(Handle):
    """A build that runs in the background, as `kartnb.build(task, background=True)` gives it.

    It can be awaited, also in a notebook cell: ``value = await handle``.
    """

    _what = 'build'

    def __init__(self, task: luigi.Task, build: Build, standing: Standing, return_value: bool) -> None:
        super().__init__()
        self._task = task
        self._build = build
        self._standing = standing
        self._return_value = return_value
        self._report: BuildReport | None = None
        _begun.add(self)
        self._thread.start()

    @property
    def build_id(self) -> str:
        """The id of the build, as in its events and run records."""
        return self._build.build_id

    @property
    def workers(self) -> int:
        """How many tasks run at a time, as it was asked for."""
        return self._build.workers

    @property
    def plan(self) -> Plan:
        """The tasks of the build, each with its state now."""
        return self._standing.plan(self._build.plan)

    @property
    def progress(self) -> BuildProgress:
        """How far the build is."""
        return self._standing.progress(self._build.plan)

    @property
    def status(self) -> Status:
        """'running', 'done', 'failed' or 'stopped'."""
        if not self._ended.is_set():
            return 'running'
        if self._report is None or self._report.failures:
            return 'failed'
        return 'stopped' if self._report.interrupted else 'done'

    @property
    def report(self) -> BuildReport | None:
        """How the build ended; None while it runs."""
        return self._report

    def result(self, timeout: float | None = None) -> Any:
        """Wait for the build, and give what `kartnb.build` would have given.

        Raises
        ------
        TimeoutError
            When the build has not ended after `timeout` seconds.
        GokartBuildError
            When a task failed.
        BuildStoppedError
            When the build was stopped.
        """
        __tracebackhide__ = True
        return self._await_value(timeout)

    def follow(self, listener: Listener) -> None:
        """Give every event of the build to `listener`: first how it came to stand as it does, then what comes."""
        self._standing.follow(listener, self.build_id, self._build.plan)

    def unfollow(self, listener: Listener) -> None:
        """Give no more events to `listener`."""
        self._standing.leave(listener)

    def heard(self) -> Sequence[Heard]:
        """What the tasks have printed and logged so far; of very much the latest."""
        return self._standing.heard()

    def _work(self) -> None:
        self._report = self._build.run()

    def _stop(self) -> None:
        self._build.stop()

    def _value(self) -> Any:
        __tracebackhide__ = True
        assert self._report is not None
        raise_failures(self._report)
        if self._report.interrupted:
            raise BuildStoppedError('The build was stopped; what had finished by then is kept.')
        return result_of(self._task) if self._return_value else None

    def _how_far(self) -> str:
        return str(self.progress)

    def _ipython_display_(self) -> None:
        display.show_live(self)

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        printer.text(display.render(self, 'text') if len(printer.stack) == 1 else repr(self))

    def _repr_html_(self) -> str:
        return display.render(self, 'html')

    def __repr__(self) -> str:
        return f'<BackgroundBuild of {type(self._task).__name__}: {self.status}, {self.progress}>'


def running_builds() -> list[BackgroundBuild]:
    """The builds of this process that go on in the background."""
    return [build for build in list(_begun) if not build.done()]


def build_in_background(
    task: luigi.Task,
    *,
    return_value: bool = True,
    reset_register: bool = True,
    log_level: int = logging.ERROR,
    workers: int = 1,
    executor: Any = None,
    scheduler_url: str | None = None,
    rerun: Rerun = False,
    on_code_change: str | None = None,
    listeners: Iterable[Listener] = (),
    **env_params: Any,
) -> BackgroundBuild:
    """Start a build and give its handle at once; `kartnb.build` with ``background=True`` is this.

    Tasks run in worker processes unless `executor` says otherwise, so that the build can be stopped at once.

    Raises
    ------
    TaskArgumentError, UnknownOptionError, ExecutorChoiceError
        When the build cannot be begun.
    """
    require_task(task)
    check_log_level(log_level)
    check_env_params(env_params)
    if reset_register:
        registry.drop_superseded()
    standing = Standing()
    build = Build(
        task,
        workers=workers,
        executor='processes' if executor is None else executor,
        scheduler_url=scheduler_url,
        rerun=rerun,
        on_code_change=on_code_change,
        log_level=log_level,
        listeners=(standing, log_printer(log_level), *listeners),
        value_wanted=return_value,
    )
    return BackgroundBuild(task, build, standing, return_value)


async def build_async(task: luigi.Task, **options: Any) -> Any:
    """Build a task while the event loop goes on, for instance in a notebook cell: ``value = await build_async(task)``.

    Parameters
    ----------
    task
        The root task.
    **options
        As for `kartnb.build`. Tasks run in worker processes unless `executor` says otherwise.

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
    return await build_in_background(task, **options)
