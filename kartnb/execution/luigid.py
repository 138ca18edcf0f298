"""A build whose tasks luigi's central scheduler (`luigid`) gives out: `kartnb.build(task, scheduler_url=…)`."""

from __future__ import annotations

import json
import logging
import os
import socket
import traceback
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from queue import Queue
from typing import Any

import luigi
from luigi.rpc import RemoteScheduler, RPCError
from luigi.scheduler import Scheduler
from luigi.worker import Worker as LuigisWorker
from luigi.worker import worker as worker_settings

from kartnb._luigi import Builder, SchedulerWorker, set_patience, silence_retries
from kartnb.errors import SchedulerError, TaskDisabledError
from kartnb.execution.engine import Engine, PlannedBuild
from kartnb.execution.limits import gokart_worker, timeout_of, usual_timeout
from kartnb.execution.recording import fire_broken
from kartnb.model import Event, TaskProgress, TaskState
from kartnb.planning.graph import Vertex
from kartnb.planning.planner import missing_external
from kartnb.planning.staleness import is_complete

#: How often, and how many seconds apart, a request is tried while a build runs: a scheduler may be restarted.
_TRIES, _WAIT_SECONDS = 10, 1
_FIRST_TIMEOUT_SECONDS = 5.0


def connect(url: str) -> Any:
    """The scheduler at a URL; it is asked something at once, so that a wrong URL is known within seconds.

    Raises `SchedulerError` when no scheduler of luigi's answers there.
    """
    if not isinstance(url, str) or not url.startswith(('http://', 'https://', 'http+unix://')):
        raise SchedulerError(f'scheduler_url must be a URL such as http://127.0.0.1:8082, not {url!r:.80}.')
    scheduler: Any = RemoteScheduler(url, connect_timeout=_FIRST_TIMEOUT_SECONDS)
    be_quick(scheduler)
    silence_retries(scheduler)
    try:
        answer = scheduler.is_pause_enabled()
    except RPCError as error:
        scheduler.close()
        raise SchedulerError(
            f"luigi's scheduler cannot be reached at {url}: start luigid there, or correct the URL ({_cause(error)})."
        ) from error
    except (ValueError, KeyError, TypeError) as error:
        scheduler.close()
        raise SchedulerError(f'The server at {url} is not a luigi scheduler: correct the URL.') from error
    if not isinstance(answer, dict) or 'enabled' not in answer:
        raise SchedulerError(f'The server at {url} is not a luigi scheduler: correct the URL.')
    _be_patient(scheduler)
    return scheduler


def _be_patient(scheduler: Any) -> None:
    """From now on, try as luigi's configuration says, or else for some seconds (luigi's own default is minutes)."""
    config = luigi.configuration.get_config()
    tries = config.getint('core', 'rpc-retry-attempts', _TRIES)
    pause = config.getint('core', 'rpc-retry-wait', _WAIT_SECONDS)
    set_patience(scheduler, tries, config.getfloat('core', 'rpc-connect-timeout', 10.0), pause)


def be_quick(scheduler: Any) -> None:
    """From now on try once, with a short timeout."""
    set_patience(scheduler, 1, _FIRST_TIMEOUT_SECONDS)


@contextmanager
def scheduler_errors(url: str) -> Iterator[None]:
    """Raise what luigi raises when the scheduler does not answer any more as a `SchedulerError`."""
    try:
        yield
    except RPCError as error:
        raise SchedulerError(
            f"luigi's scheduler at {url} does not answer any more ({_cause(error)}); finished results are kept."
        ) from error


def _cause(error: RPCError) -> str:
    cause = error.sub_exception
    return f'{type(cause).__name__}: {cause!s:.160}' if cause is not None else str(error)


#: luigi's names of the states of a task.
DONE, FAILED, PENDING = 'DONE', 'FAILED', 'PENDING'


class BuildWorker(SchedulerWorker):
    """Asks the scheduler what to run, and reports the outcomes to it."""

    def __init__(self, builder: Builder, scheduler: Any, parallel: int) -> None:
        super().__init__(builder, scheduler, _new_id(), parallel)

    def finished(self, task: luigi.Task) -> None:
        """Report that a task is complete."""
        self._report(task, DONE)

    def failed(self, task: luigi.Task, explanation: str) -> None:
        """Report that a task has failed; luigi's mail about it goes out where luigi's configuration says so."""
        try:
            self.mail_failure(task, explanation)
        except Exception:
            logger.exception('The mail about the failure of %s could not be sent', type(task).__name__)
        self._report(task, FAILED, explanation)
        self.run_succeeded = False

    def asked_for(self, task: luigi.Task, needed: Sequence[luigi.Task]) -> None:
        """Report that a task that has begun needs these first."""
        for other in needed:
            self.add(other)
        self._report(task, PENDING, new_deps=[other.task_id for other in needed])

    def given_up(self, task: luigi.Task) -> None:
        """Report that a task that has begun cannot go on, because a task that it yielded has failed."""
        self._report(task, FAILED, 'A task that it yielded has failed.')

    def give_back(self) -> None:
        """The build is interrupted: let the scheduler give the running tasks out again."""
        for task in self.running():
            self._report(task, FAILED, 'The build was interrupted.')
            # an interrupt is not a failure of the task: it counts neither for retries nor for disabling it
            self.scheduler.re_enable_task(task.task_id)
            self.scheduler.forgive_failures(task.task_id)

    def _report(self, task: luigi.Task, status: str, explanation: str = '', new_deps: Sequence[str] = ()) -> None:
        self.report_status(
            task,
            status=status,
            expl=json.dumps(explanation),
            resources=task.process_resources(),
            runnable=None,
            params=task.to_str_params(),
            family=task.task_family,
            module=task.task_module,
            new_deps=list(new_deps),
            assistant=False,
            retry_policy_dict={
                name: getattr(task, name) for name in ('retry_count', 'disable_hard_timeout', 'disable_window')
            },
        )


def _new_id() -> str:
    """A name that no other build has: luigi's own is drawn from `random`, whose state each build puts back."""
    return f'kartnb({uuid.uuid4().hex[:12]}, host={socket.gethostname()}, pid={os.getpid()})'


logger = logging.getLogger('kartnb')

_PENDING = (TaskState.QUEUED, TaskState.WAITING)


class SchedulerLoop(Engine):
    """One build of one planned graph, whose order, resources, priorities and retries are up to the scheduler.

    Raises `SchedulerError` when no luigi scheduler answers at `url`.
    """

    def __init__(self, build: PlannedBuild, url: str) -> None:
        super().__init__(replace(build, emit=self._pass_on))
        self._notify_listeners = build.emit
        self._url = url
        self._scheduler: Any = connect(url)
        self._worker: BuildWorker | None = None
        self._by_task_id: dict[str, Vertex] = {}

    def judge(self, task: luigi.Task) -> bool | str:
        """Whether a task is complete, by the plan; the traceback as text where that is unknown."""
        vertex = self._by_task_id[task.task_id]
        if vertex.broken is not None:
            return self._mask(''.join(traceback.format_exception(vertex.broken)))
        return self._ledger.is_met(vertex.key) or vertex.verdict.state is TaskState.NOT_NEEDED

    def start(self, task: luigi.Task, messages: Queue[Any] | None) -> None:
        """Begin to run a task that the scheduler has given out."""
        vertex = self._by_task_id[task.task_id]
        self._ledger.retry_now(vertex.key)
        if vertex.is_external:  # as `[worker] retry_external_tasks` asks for
            self._look_for(vertex)
            return
        if self._holds(vertex):
            self._completed(vertex, TaskState.CACHED)
            return
        run = self._next_run(vertex)
        run.messages = messages
        self._launch([run])

    def _look_for(self, vertex: Vertex) -> None:
        if is_complete(vertex):
            self._completed(vertex, TaskState.EXTERNAL)
        else:
            self._failed(vertex, missing_external([vertex])[vertex])

    def _holds(self, vertex: Vertex) -> bool:
        """Whether a task need not run after all, because what it requires has the contents of before."""
        if not vertex.verdict.is_conditional or vertex.verdict.state is not TaskState.STALE:
            return False
        if self._ledger.states[vertex.key] not in _PENDING:
            return False
        return self._work_items.still_holds(
            vertex, lambda other: self._ledger.states[other.key] in (TaskState.DONE, TaskState.WAITING)
        )

    def _try_again(self, vertex: Vertex) -> None:
        self._launch([self._next_run(vertex)])

    def wait(self, seconds: float) -> None:
        """Wait until something happens in the build, for at most so long."""
        self._wait(seconds)

    def run_elsewhere(self, task_ids: Sequence[str]) -> bool:
        """Other workers run these tasks; gives whether the build waits for one of them."""
        keys = [self._by_task_id[task_id].key for task_id in task_ids if task_id in self._by_task_id]
        for key in keys:
            if self._ledger.states[key] is TaskState.QUEUED:
                self._ledger.change(key, TaskState.WAITING)
        return bool(keys)

    def _go(self) -> None:
        root = self._ledger.plan.root.task
        with scheduler_errors(self._url):
            self._worker = BuildWorker(self, self._scheduler, self._executor.parallel)
            with self._worker:
                self._worker.add(root)
                self._worker.run()
            self._settle_the_rest(self._scheduler.dep_graph(root.task_id))
        self._scheduler.close()

    def _abandon(self) -> None:
        super()._abandon()
        be_quick(self._scheduler)
        try:
            if self._worker is not None:
                self._worker.give_back()
        except RPCError as error:
            logger.warning('The interrupt could not be reported to the scheduler: %s', error)
        self._scheduler.close()

    def _enlist(self, vertices: Sequence[Vertex]) -> None:
        refused: dict[Vertex, BaseException] = {**missing_external(vertices)}
        usual = usual_timeout()
        for vertex in vertices:
            self._note_task_id(vertex)
            self._ledger.states[vertex.key] = (
                TaskState.QUEUED if vertex.verdict.reason is not None else vertex.verdict.state
            )
            if vertex.broken is not None:
                fire_broken(vertex.task, vertex.broken)
                refused[vertex] = vertex.broken
            elif vertex.verdict.reason is not None:
                self._limit_time(vertex, timeout_of(vertex.task, usual))
        for vertex, error in refused.items():
            self._ledger.fail(vertex.key, error)

    def _note_task_id(self, vertex: Vertex) -> None:
        known = self._by_task_id.setdefault(vertex.task.task_id, vertex)
        if known is not vertex and (known.verdict.reason is not None or vertex.verdict.reason is not None):
            raise SchedulerError(
                f"luigi's scheduler takes two tasks {vertex.name} for one ({vertex.task.task_id}): they differ in "
                "parameters that luigi's task id does not contain. Build without scheduler_url."
            )

    def _await(self, vertex: Vertex, needed: Sequence[Vertex]) -> None:
        if any(self._ledger.is_lost(other.key) for other in needed):
            self._ledger.change(vertex.key, TaskState.BLOCKED)
            self._the_worker.given_up(vertex.task)
        else:
            self._the_worker.asked_for(vertex.task, [other.task for other in needed])

    def _completed(self, vertex: Vertex, state: TaskState) -> None:
        self._ledger.change(vertex.key, state)
        self._the_worker.finished(vertex.task)

    def _failed(self, vertex: Vertex, error: BaseException) -> None:
        self._ledger.fail(vertex.key, error)
        self._the_worker.failed(vertex.task, self._mask(''.join(traceback.format_exception(error))))

    def _freed(self, key: str, amounts: dict[str, float] | None) -> None:
        if amounts is not None:
            self._scheduler.decrease_running_task_resources(self._graph.vertices[key].task.task_id, amounts)

    @property
    def _the_worker(self) -> BuildWorker:
        assert self._worker is not None
        return self._worker

    def _pass_on(self, event: Event) -> None:
        """Pass an event to the listeners, and progress to the scheduler too, for its web page."""
        self._notify_listeners(event)
        if isinstance(event, TaskProgress):
            try:
                self._report_progress(event, self._graph.vertices[event.key].task.task_id)
            except RPCError as error:
                logger.warning('The progress of %s could not be reported to the scheduler: %s', event.key, error)

    def _report_progress(self, event: TaskProgress, task_id: str) -> None:
        if event.percentage is not None:
            self._scheduler.set_task_progress_percentage(task_id, event.percentage)
        if event.message is not None:
            self._scheduler.set_task_status_message(task_id, event.message)
        if event.tracking_url is not None:
            self._scheduler.add_task(
                task_id=task_id, worker=self._the_worker.id, status='RUNNING', tracking_url=event.tracking_url
            )

    def _settle_the_rest(self, known: dict[str, Any]) -> None:
        """Settle the states of the tasks that this worker was not given."""
        for vertex in self._graph.upstream_of([self._graph.vertices[self._ledger.plan.root.key]]):
            if self._ledger.states[vertex.key] not in _PENDING:
                continue
            status = known.get(vertex.task.task_id, {}).get('status', 'UNKNOWN')
            if status == 'DONE' and is_complete(vertex):
                self._ledger.change(vertex.key, TaskState.CACHED)
            elif any(self._ledger.is_lost(other.key) for other in vertex.requires):
                self._ledger.change(vertex.key, TaskState.BLOCKED)
            else:
                self._ledger.fail(vertex.key, self._why_not(vertex, status))

    def _why_not(self, vertex: Vertex, status: str) -> Exception:
        name, where = vertex.name, f"luigi's scheduler at {self._url}"
        if vertex.task.disabled:
            return TaskDisabledError(f'{name} is disabled: its attribute `disabled` is set.')
        if status == 'DISABLED':
            return SchedulerError(f'{where} has disabled {name} after too many failures: enable it on its web page.')
        if status == 'FAILED':
            error = self._scheduler.fetch_error(vertex.task.task_id).get('error') or ''
            return SchedulerError(f'{name} failed in another worker of {where}: {error}')
        if status == 'DONE':
            return SchedulerError(
                f'{where} counts {name} as done, but its result is not there yet: build again in some seconds.'
            )
        if self._scheduler.is_paused().get('paused'):
            return SchedulerError(f'{where} is paused and gives no tasks out: resume it on its web page.')
        taken = vertex.task.process_resources()
        hint = f' It takes {dict(taken)}: check [resources] in the configuration of luigid.' if taken else ''
        return SchedulerError(f'{where} did not give {name} out; its status there is {status}.{hint}')


class Worker(LuigisWorker):
    """luigi's worker, with the options of ``[gokart_worker]`` or of `config`, which may be luigi's too.

    Examples
    --------
    >>> Worker(config=gokart_worker(keep_alive=True), no_install_shutdown_handler=True).worker_processes
    1

    Notes
    -----
    From gokart, whose worker is a copy of luigi's: here it is luigi's own.
    """

    def __init__(
        self,
        scheduler: Any = None,
        worker_id: str | None = None,
        worker_processes: int = 1,
        assistant: bool = False,
        config: worker_settings | None = None,
        **options: Any,
    ) -> None:
        names = dict(worker_settings.get_params())
        section: Any = config or gokart_worker()  # type: ignore[no-untyped-call]
        given = {name: value for name, value in section.param_kwargs.items() if name in names}
        luigis: Any = super()
        luigis.__init__(scheduler, worker_id, worker_processes, assistant, **{**given, **options})


class WorkerSchedulerFactory:
    """Makes the scheduler and the worker for ``luigi.build(…, worker_scheduler_factory=…)``: they are luigi's own.

    `kartnb.build` has no use for one: its ``workers``, ``executor`` and ``scheduler_url`` say who runs the tasks.

    Examples
    --------
    >>> import kartnb, luigi, tempfile
    >>> class Three(kartnb.TaskOnKart[int]):
    ...     def run(self):
    ...         self.dump(3)
    >>> task = Three(workspace_directory=tempfile.mkdtemp())
    >>> luigi.build([task], worker_scheduler_factory=WorkerSchedulerFactory(), local_scheduler=True, log_level='ERROR')
    True

    Notes
    -----
    From gokart.
    """

    def create_local_scheduler(self) -> Scheduler:
        """A scheduler in this process."""
        return Scheduler(prune_on_get_work=True, record_task_history=False)

    def create_remote_scheduler(self, url: str) -> RemoteScheduler:
        """A connection to the scheduler at a URL."""
        return RemoteScheduler(url)

    def create_worker(self, scheduler: Any, worker_processes: int, assistant: bool = False) -> Worker:
        """A worker with up to `worker_processes` processes."""
        return Worker(scheduler=scheduler, worker_processes=worker_processes, assistant=assistant)
