"""Where tasks run: in the calling thread, in threads, or in workers that share no memory with this process.

`choose_executor` understands what a user has asked for.
"""

from __future__ import annotations

import functools
import math
import os
import pickle
import sys
import warnings
from abc import ABC, abstractmethod
from asyncio import AbstractEventLoop
from collections import Counter
from collections.abc import Callable, Collection, Container, Mapping, Sequence
from concurrent.futures import BrokenExecutor, Executor, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from itertools import chain
from queue import SimpleQueue
from types import MappingProxyType
from typing import Any, TypeAlias

import luigi

from kartnb._luigi import pool_size
from kartnb.capture.task_log import TaskLog, events_of
from kartnb.config import EXECUTOR_NAMES, USUAL_CONCURRENCY, runs_coroutines
from kartnb.errors import (
    ExecutorChoiceError,
    KartError,
    MissingPackageError,
    TaskTimeoutError,
    WorkerDiedError,
    WorkerError,
    described,
)
from kartnb.execution.coroutine_pool import CoroutinePool
from kartnb.execution.coroutines import is_asynchronous
from kartnb.execution.limits import ONE_TASK, Room
from kartnb.execution.recording import Inputs, Outcome, TaskRun, keep_output, may_have_begun
from kartnb.execution.task_run import advance
from kartnb.execution.workers.channel import ASKS, LOOKS_UP, OUTCOME, Question, Receiver
from kartnb.execution.workers.remote import (
    Parcel,
    RemoteOutcome,
    Reply,
    packed,
    perform,
)
from kartnb.execution.workers.sent_modules import ModuleSender
from kartnb.execution.workers.settings import (
    OF_THREADS,
    Settings,
    current_options,
    current_settings,
    options_in_use,
    users_context,
)
from kartnb.execution.workers.transport import ClassStore, ClassStores
from kartnb.execution.workers.worker_pools import (
    DaskPool,
    DeadWorker,
    Needs,
    UnreachableWorker,
    Work,
    WorkerPool,
    check_client,
    foreign_pool,
    has_cancelled,
    is_submitit,
    takes_no_tasks,
)
from kartnb.interrupts import held_interrupts
from kartnb.model import TaskEvent, TaskProgress, TaskState, TaskStateChanged, WorkersStarting
from kartnb.storage.filesystem import has_other_disk
from kartnb.task import held, registry
from kartnb.task.results import output_paths
from kartnb.task.values import flatten


class StopRequest:
    """The build is to be stopped."""


@dataclass(frozen=True, slots=True)
class ResourcesFreed:
    """A running task gives some of luigi's resources back: how much of each."""

    key: str
    amounts: dict[str, float]


@dataclass(frozen=True, slots=True)
class RequirementsAsked:
    """A task in a worker has yielded these tasks, and waits to hear whether it may go on with their results."""

    key: str
    requirements: Any
    #: Is given the present results of the task's inputs, or None when some have to be made first.
    answer: Callable[[Inputs | None], None]


#: What comes back: a node's key and how its task went on, or an event of a running task, or a request to stop.
Message: TypeAlias = (
    tuple[str, Outcome]
    | TaskStateChanged
    | TaskEvent
    | WorkersStarting
    | ResourcesFreed
    | RequirementsAsked
    | StopRequest
)
Inbox: TypeAlias = 'SimpleQueue[Message]'
#: Makes the executor of one build, given the build's inbox.
ExecutorFactory: TypeAlias = Callable[[Inbox], 'TaskExecutor']
#: Short tasks are sent together, as many as take no longer than this many seconds: each message to a worker costs time.
_PARCEL_SECONDS = 0.1
#: A task of more seconds than this is sent when a worker is free, and not before: another may be more urgent by then.
_SECONDS_AHEAD = 0.1
#: Classes of more bytes together are sent only to workers that ask for them.
_MOST_ENCLOSED = 100_000
#: A task that was taken down by another one with its worker is sent again at most so many times.
_SENT_AGAIN = 3
#: Targets whose results one process has only, by their modules; looked at only when already imported.
_IN_MEMORY = {
    'kartnb.storage.targets': 'InMemoryTarget',
    'gokart.in_memory.target': 'InMemoryTarget',
    'luigi.mock': 'MockTarget',
}


def choose_executor(executor: Any, workers: int, log_level: int, concurrency: int) -> ExecutorFactory:
    """The executor that a caller has asked for; with None, more than one worker means processes.

    It is None or 'inline', 'processes', 'threads', 'async' (at most `concurrency` coroutines) or an event loop for
    them, a Dask address such as 'dask://127.0.0.1:8786', a `distributed.Client`, or any `concurrent.futures.Executor`.
    Logged lines are wanted from `log_level` on. Raises `ExecutorChoiceError` when the executor is not known, or one of
    the numbers is not positive.
    """
    if isinstance(workers, bool) or not isinstance(workers, int) or workers < 1:
        raise ExecutorChoiceError(f'workers must be a whole number from 1 on, not {workers!r}.')
    if isinstance(concurrency, bool) or not isinstance(concurrency, int) or concurrency < 1:
        raise ExecutorChoiceError(f'concurrency must be a whole number from 1 on, not {concurrency!r}.')
    if concurrency != USUAL_CONCURRENCY and not runs_coroutines(executor):
        warnings.warn(
            f"concurrency={concurrency} has no effect: it limits the coroutines of executor='async'.", stacklevel=2
        )
    if executor in (None, 'inline') and (workers == 1 or executor == 'inline'):
        return InlineExecutor
    if runs_coroutines(executor):
        options = current_options(OF_THREADS)
        loop = executor if isinstance(executor, AbstractEventLoop) else None
        return lambda inbox: AsyncExecutor(inbox, concurrency, workers, options, loop)
    if executor == 'threads':
        options = current_options(OF_THREADS)
        return lambda inbox: ThreadExecutor(inbox, workers, options)
    if isinstance(executor, ThreadPoolExecutor):
        options = current_options(OF_THREADS)
        return lambda inbox: ThreadExecutor(inbox, pool_size(executor) or workers, options, executor)
    settings = current_settings()  # of the thread that asks: a build in the background runs in another
    if executor in (None, 'processes'):
        return lambda inbox: _process_pool(inbox, workers, log_level, settings)
    if isinstance(executor, Executor) or is_submitit(executor):
        size = pool_size(executor) or workers
        return lambda inbox: ParcelExecutor(inbox, foreign_pool(executor, size), size, log_level, settings)
    if is_dask(executor):
        check_client(executor)  # in the thread that asks: an asynchronous client is one in its own thread only
        return lambda inbox: _dask(inbox, executor, log_level, settings)
    raise ExecutorChoiceError(
        f'Executor {executor!r:.60} not found: give {", ".join(map(repr, EXECUTOR_NAMES))}, a Dask client or its '
        'address, or a concurrent.futures.Executor.'
    )


def is_dask(executor: Any) -> bool:
    """Whether something is a Dask client or the address of a Dask scheduler."""
    if isinstance(executor, str):
        return executor.startswith('dask://')
    return type(executor).__module__.partition('.')[0] == 'distributed' and hasattr(executor, 'submit')


def shares_random_state(executor: Any) -> bool:
    """Whether tasks run beside each other in this process, where none can have the random states for itself."""
    is_named = isinstance(executor, str) and executor == 'threads'
    return is_named or isinstance(executor, ThreadPoolExecutor) or runs_coroutines(executor)


def get_ready(executor: Any, workers: int, packages: Callable[[], Collection[str]]) -> None:
    """Start what the executor will need in the background, once it is known that something will run.

    `packages` gives the top-level names of the libraries that the tasks use.
    """
    if executor == 'processes' or (executor is None and workers > 1):
        from kartnb.execution.workers import process_pool

        process_pool.get_ready(packages())


def _process_pool(inbox: Inbox, workers: int, log_level: int, settings: Settings) -> TaskExecutor:
    from kartnb.execution.workers.process_pool import ProcessPool

    return ParcelExecutor(inbox, ProcessPool(workers), workers, log_level, settings)


def _dask(inbox: Inbox, executor: Any, log_level: int, settings: Settings) -> TaskExecutor:

    try:
        cluster = DaskPool(executor)
    except ImportError as error:
        raise MissingPackageError("Dask is not installed: pip install 'kartnb[dask]'") from error
    return ParcelExecutor(inbox, cluster, cluster.size(), log_level, settings)


class TaskExecutor(ABC):
    """Runs tasks for a build loop and puts what comes of them into its inbox."""

    #: How many tasks it runs at once.
    parallel: int = 1
    #: Whether it sends a message when a task begins to run.
    live: bool = False
    #: Whether it can end one running task.
    can_end: bool = False
    #: Whether tasks run in this process.
    shares_memory: bool = True
    #: How many of its tasks run at once in each lane; without lanes only `parallel` counts.
    lanes: Mapping[str, float] = MappingProxyType({})
    #: Whether tasks use the memory of this computer.
    is_here: bool = True

    def expect(self, ready: int) -> None:  # noqa: B027 - most have nothing to prepare
        """Get ready for so many tasks, which are submitted as soon as they are packed."""

    @abstractmethod
    def submit(self, runs: Sequence[TaskRun]) -> None:
        """Run tasks; the outcome of each comes into the inbox."""

    def room(self, running: int, ready: int) -> Room | None:
        """What it takes next, when it has been given so many tasks and so many are ready; None: nothing now."""
        return ONE_TASK if running < self.parallel else None

    def lane_of(self, task: luigi.Task) -> str:
        """The lane that a task runs in, where there are some."""
        return ''

    def can_end_task(self, task: luigi.Task) -> bool:
        """Whether it can end one running task, and this is such a one."""
        return self.can_end

    def end(self, key: str, error: BaseException) -> None:
        """End a running task with this error as its outcome, unless it has just ended by itself."""
        raise NotImplementedError

    @abstractmethod
    def close(self, *, at_once: bool = False) -> None:
        """End what runs tasks; `at_once` if their outcomes are not needed any more."""


class InlineExecutor(TaskExecutor):
    """Runs a task in the calling thread when it is submitted, so that prints, plots and the debugger work as usual."""

    def __init__(self, inbox: Inbox) -> None:
        self._inbox = inbox

    def submit(self, runs: Sequence[TaskRun]) -> None:
        for run in runs:
            self._inbox.put((run.item.key, advance(run)))

    def close(self, *, at_once: bool = False) -> None:
        """Nothing is left to end."""


class ThreadExecutor(TaskExecutor):
    """Runs tasks in threads of this process: of the user's own pool, which stays open, or of a new one.

    `options` are those that each thread has for itself, as the building thread has them.
    """

    def __init__(
        self, inbox: Inbox, workers: int, options: Mapping[str, bytes], executor: ThreadPoolExecutor | None = None
    ) -> None:
        self._options = options
        self.parallel = workers
        self._inbox = inbox
        self._own = executor is None
        self._executor = executor or ThreadPoolExecutor(workers, thread_name_prefix='kartnb')
        self._futures: set[Future[Outcome]] = set()
        self._closed = False

    def submit(self, runs: Sequence[TaskRun]) -> None:
        for run in runs:
            with held_interrupts():  # one in the midst of it would leave a thread that nobody waits for
                try:
                    future = self._executor.submit(users_context().run, _advance_with, self._options, run)
                except RuntimeError as error:  # the user's pool was shut down
                    self._inbox.put((run.item.key, Outcome(0.0, error=takes_no_tasks(self._executor, error))))
                    continue
                self._futures.add(future)
            future.add_done_callback(functools.partial(self._deliver, run.item.key))

    def close(self, *, at_once: bool = False) -> None:
        """Wait for the running tasks, with a warning: a thread cannot be stopped."""
        if self._closed:  # an interrupt has ended the waiting, which is not begun again for running tasks
            if self._own:
                self._executor.shutdown(wait=not self._futures)
            return
        self._closed = True
        running = [future for future in list(self._futures) if not future.cancel()]
        if self._own:
            self._executor.shutdown(wait=False)
        if at_once and running:
            warnings.warn(f'Threads cannot be stopped: the build ends when {_tasks(len(running))} ended.', stacklevel=2)
        wait(running)
        if self._own:
            self._executor.shutdown()

    def _deliver(self, key: str, future: Future[Outcome]) -> None:
        self._futures.discard(future)
        if future.cancelled():
            if not self._closed:
                self._inbox.put((key, Outcome(0.0, error=has_cancelled(self._executor))))
            return
        error = future.exception()
        self._inbox.put((key, future.result() if error is None else Outcome(0.0, error=error)))


def _advance_with(options: Mapping[str, bytes], run: TaskRun) -> Outcome:
    with options_in_use(options):
        return advance(run)


def _tasks(number: int) -> str:
    return 'the running task has' if number == 1 else f'the {number} running tasks have'


#: The lanes of a build with coroutines, which are counted as luigi's resources are.
_COROUTINES, _THREADS = 'coroutines of the build', 'threads of the build'


class AsyncExecutor(TaskExecutor):
    """Runs coroutines of tasks in an event loop, at most `concurrency` at once, and other tasks in `workers` threads.

    A `loop` that is given must run in another thread than the build; otherwise there is one for the build. `options`
    are as of `ThreadExecutor`.
    """

    can_end = True

    def __init__(
        self,
        inbox: Inbox,
        concurrency: int,
        workers: int,
        options: Mapping[str, bytes],
        loop: AbstractEventLoop | None = None,
    ) -> None:
        self.parallel = concurrency + workers
        self.lanes = {_COROUTINES: concurrency, _THREADS: workers}
        self._inbox = inbox
        self._threads = ThreadExecutor(inbox, workers, options)
        self._coroutines = CoroutinePool(self._deliver, options, loop)

    def lane_of(self, task: luigi.Task) -> str:
        return _COROUTINES if is_asynchronous(task) else _THREADS

    def can_end_task(self, task: luigi.Task) -> bool:
        return is_asynchronous(task)

    def submit(self, runs: Sequence[TaskRun]) -> None:
        for run in runs:
            if is_asynchronous(run.task):
                self._coroutines.start(run)
            else:
                self._threads.submit([run])

    def end(self, key: str, error: BaseException) -> None:
        self._coroutines.end(key, error)

    def close(self, *, at_once: bool = False) -> None:
        """Cancel the coroutines, and wait until all tasks have ended."""
        self._coroutines.close()
        self._threads.close(at_once=at_once)

    def _deliver(self, key: str, outcome: Outcome | None) -> None:
        """Put an outcome into the inbox; who cancels a coroutine of the build stops the build."""
        self._inbox.put(StopRequest() if outcome is None else (key, outcome))


@dataclass(eq=False, slots=True)
class _SentParcel:
    """A parcel on its way, or at a worker."""

    parcel: Parcel
    #: The classes of its tasks.
    store: ClassStore
    #: The runs whose outcomes have not come yet, by key.
    runs: dict[str, TaskRun]
    future: Any = None


class ParcelExecutor(TaskExecutor):
    """Sends tasks in parcels to a pool of workers, which work on `workers` parcels at once."""

    shares_memory = False

    def __init__(self, inbox: Inbox, pool: WorkerPool, workers: int, log_level: int, settings: Settings) -> None:
        self.parallel = workers
        self._inbox = inbox
        self._pool = pool
        self._log_level = log_level
        self._modules = ModuleSender()
        self._stores = ClassStores({self._modules.digest: self._modules.pickled})
        self._settings = settings
        self._build_id = ''
        self._parcels = 0
        #: The parcels of the tasks whose outcomes have not come yet, by key.
        self._sent: dict[str, _SentParcel] = {}
        self._under_way: set[_SentParcel] = set()
        self.live = pool.live
        self.is_here = pool.is_here
        self.can_end = pool.can_end
        self._receiver = Receiver(self._receive) if pool.live else None
        self._output = RemoteOutput(self._receiver, inbox.put)
        pool.report_starting(lambda number, seconds: inbox.put(WorkersStarting(self._build_id, number, seconds)))
        pool.report_size(self._resize)
        #: How often a task was sent again that another one has taken down with its worker.
        self._sent_again: Counter[str] = Counter()

    def expect(self, ready: int) -> None:
        self._pool.start(min(ready, self.parallel))

    def _resize(self, workers: int) -> None:
        self.parallel = workers
        if self._build_id:
            self._inbox.put(WorkersStarting(self._build_id, 0))  # the loop looks whether there is more to hand out

    def room(self, running: int, ready: int) -> Room | None:
        # one parcel ahead for each worker, so that it has the next one while the outcomes of the last one travel
        ahead = len(self._under_way) - self.parallel
        if ahead >= self.parallel:
            return None
        # the last parcels are small, so that all workers end together
        tasks = -(-ready // (4 * self.parallel))
        return Room(tasks, _PARCEL_SECONDS, math.inf if ahead < 0 else _SECONDS_AHEAD)

    def submit(self, runs: Sequence[TaskRun]) -> None:
        together: dict[ClassStore, list[TaskRun]] = {}
        for run in runs:
            self._build_id = run.item.build_id
            try:
                self._modules.check(type(run.item.task))
                store = self._stores.of(type(run.item.task))
            except Exception as error:
                self._inbox.put((run.item.key, Outcome(0.0, error=error)))
            else:
                together.setdefault(store, []).append(run)
        for store, some in together.items():
            if self._pool.takes_resources and any(run.task.process_resources() for run in some):
                for run in some:
                    self._submit_from(store, [run])
            else:
                self._submit_from(store, some)

    def _submit_from(self, store: ClassStore, runs: Sequence[TaskRun]) -> None:
        items = [run.item for run in runs]
        try:
            data = store.dumps(items, frozenset(id(item.task) for item in items))
        except Exception as error:
            if len(runs) == 1:
                self._inbox.put((items[0].key, Outcome(0.0, error=error)))
            for run in runs if len(runs) > 1 else ():  # one of them cannot be sent
                self._submit_from(store, [run])
            return
        parcel = Parcel(
            data,
            tuple(store.pickled),
            self._log_level,
            runs[0].directory or os.getcwd(),
            self._receiver.channel if self._receiver is not None else None,
            self._settings,
            self._enclosed(store),
        )
        sent = _SentParcel(parcel, store, {run.item.key: run for run in runs})
        self._under_way.add(sent)
        for run in runs:
            self._sent[run.item.key] = sent
            self._output.begin(run)
        self._send(sent, self._pool.submit)

    def _enclosed(self, store: ClassStore) -> dict[str, bytes]:
        """The classes that go along with a parcel; a worker asks for those that it lacks."""
        self._parcels += 1
        if not self._pool.remembers:
            return dict(store.pickled)
        # as many as there are workers: most come to one that knows nothing so far
        is_first = self.live and self._parcels <= self.parallel
        return dict(store.pickled) if is_first and sum(map(len, store.pickled.values())) < _MOST_ENCLOSED else {}

    def end(self, key: str, error: BaseException) -> None:
        sent = self._sent.get(key)
        if sent is not None and sent.future is not None:
            self._pool.end(sent.future, error)

    def close(self, *, at_once: bool = False) -> None:
        interrupted = self._output.unfinished() if at_once else []
        self._pool.shut_down(at_once)
        self._output.keep(interrupted)
        if self._receiver is not None:
            self._receiver.close(wait=at_once)

    def _send(self, sent: _SentParcel, submit: Callable[[Work, bytes, Needs], Any]) -> None:
        try:
            first = next(iter(sent.runs.values()))  # of several tasks, none has needs
            sent.future = submit(perform, packed(sent.parcel), self._pool.needs(first.task))
        except Exception as error:
            self._fail(sent, self._pool.explained(error))
        else:
            sent.future.add_done_callback(functools.partial(self._take, sent))

    def _take(self, sent: _SentParcel, future: Any) -> None:
        """Take in the reply to a parcel, or send it again with the classes that the worker lacks."""
        try:
            reply: Reply = pickle.loads(future.result())
            if reply.missing:
                wanted = {digest: sent.store.pickled[digest] for digest in reply.missing}
                sent.parcel = replace(sent.parcel, classes=wanted)
                self._send(sent, self._pool.submit_again)
                return
            if reply.sent is not None and self._receiver is not None:
                self._receiver.wait_for(reply.sent)
        except BaseException as error:
            self._lose(sent, self._pool.explained(error))
            return
        self._under_way.discard(sent)
        for key, data in reply.outcomes:
            self._deliver(key, data)
        if sent.runs:
            self._fail(sent, WorkerError('its outcome did not arrive'))

    def _deliver(self, key: str, data: bytes) -> None:
        """Put the outcome of a task into the inbox, unless it has come before."""
        sent = self._sent.pop(key, None)
        run = None if sent is None else sent.runs.pop(key, None)
        if sent is None or run is None:
            return
        try:
            outcome: RemoteOutcome = sent.store.loads(data)
        except Exception as error:
            self._inbox.put((key, Outcome(0.0, error=_worker_error(error, self._output.end(run)))))
            return
        self._output.end(run)
        for event in events_of(outcome.lines, self._build_id, key):
            self._inbox.put(event)
        self._inbox.put((key, _arrived(outcome)))

    def _lose(self, sent: _SentParcel, error: BaseException) -> None:
        """A parcel failed. If its worker died, send again, each alone, the tasks that may not have killed it."""
        suspects = self._suspects(sent, error)
        others = [run for key, run in sent.runs.items() if key not in suspects]
        for run in others:
            del sent.runs[run.item.key]
        self._fail(sent, error)
        for run in others:
            self.submit([run])

    def _suspects(self, sent: _SentParcel, error: BaseException) -> Container[str]:
        """The keys of those tasks of a lost parcel that fail with its error."""
        if isinstance(error, BrokenExecutor):  # of a pool of kartnb's, whose workers have one parcel at a time
            if len(sent.runs) == 1 or self._receiver is None:
                return sent.runs
            return self._receiver.last_tasks_of(sent.runs)
        if not isinstance(error, WorkerDiedError):
            return sent.runs
        begun = [key for key, run in sent.runs.items() if may_have_begun(run)]
        if len(begun) == 1:
            return begun
        self._sent_again.update(list(sent.runs))
        return [key for key in sent.runs if self._sent_again[key] > _SENT_AGAIN]

    def _fail(self, sent: _SentParcel, error: BaseException) -> None:
        self._under_way.discard(sent)
        is_lost = isinstance(error, BrokenExecutor | WorkerDiedError | TaskTimeoutError)
        while sent.runs:
            key, run = sent.runs.popitem()
            self._sent.pop(key, None)
            last_output = self._output.lose(run) if is_lost else self._output.end(run)
            self._inbox.put((key, Outcome(0.0, error=_worker_error(error, last_output))))

    def _receive(self, key: str, what: str, value: Any) -> None:
        if what == 'running':
            self._inbox.put(TaskStateChanged(self._build_id, key, TaskState.RUNNING))
        elif what == OUTCOME:
            data, following = value
            self._deliver(key, data)
            self._inbox.put(TaskStateChanged(self._build_id, following, TaskState.RUNNING))
        elif what == 'event':
            self._output.remember(key, value)
            self._inbox.put(value)
        elif what == 'resources':
            self._inbox.put(ResourcesFreed(key, value))
        elif what in (ASKS, LOOKS_UP):
            self._pass_on(key, what, value)
        else:
            self._inbox.put(TaskProgress(self._build_id, key, **{what: value}))

    def _pass_on(self, key: str, what: str, question: Question) -> None:
        sent = self._sent.get(key)
        try:
            if sent is None:
                question.answer(None)
            elif what == LOOKS_UP:
                question.answer(sent.store.look_up(*question.value))
            else:
                requirements = sent.store.loads(question.value)
                self._inbox.put(RequirementsAsked(key, requirements, question.answer))
        except Exception:  # what has asked finds nothing, or gives the task back, which ends in the same error
            question.answer(None)


def _arrived(sent: RemoteOutcome) -> Outcome:
    return Outcome(
        sent.spent,
        sent.result,
        sent.error,
        sent.requirements,
        task_log=None if sent.is_settled or sent.holder is not None else sent.task_log,
        holder=sent.holder,
        is_settled=sent.is_settled,
        asked=sent.asked,
        memory=sent.memory,
    )


def _worker_error(error: BaseException, last_output: str) -> BaseException:
    if isinstance(error, KartError):
        return error
    if isinstance(error, UnreachableWorker):
        return WorkerDiedError(
            'The worker process that ran this task was ended, because its connection to the build was closed: '
            'a task may close only the file descriptors that it has opened (os.closerange closes others too).'
        )
    if isinstance(error, BrokenExecutor):
        hint = f'its last output was {last_output!r:.200}' if last_output else 'run the task in a script to see more'
        how = (str(error) if isinstance(error, DeadWorker) else '') or 'killed, crashed or out of memory'
        return WorkerDiedError(f'The worker process that ran this task died ({how}): {hint}.')
    return WorkerError(f'The worker could not run this task: {described(error)}')


class RemoteOutput:
    """The output of the tasks that are in workers just now; `receiver` is None where workers send no messages.

    `emit` is given the events of output that a dead worker could not send.
    """

    def __init__(self, receiver: Receiver | None, emit: Callable[[TaskEvent], None]) -> None:
        self._receiver = receiver
        self._emit = emit
        self._runs: dict[str, TaskRun] = {}

    def begin(self, run: TaskRun) -> None:
        """A task is sent to a worker."""
        run.output = None  # an earlier worker may have died with it
        self._runs[run.item.key] = run

    def remember(self, key: str, event: TaskEvent) -> None:
        """A worker has sent an event of its task."""
        run = self._runs.get(key)
        if run is not None:
            self._log_of(run).remember(event)

    def end(self, run: TaskRun) -> str:
        """The outcome of a task has come, and all its output before."""
        self._runs.pop(run.item.key, None)
        return ''

    def lose(self, run: TaskRun, *, wait: bool = True) -> str:
        """Take in what a dead worker had written and not sent; gives the most telling line of all its output."""
        self._runs.pop(run.item.key, None)
        unsent = self._receiver.unsent_output(run.item.key, wait=wait) if self._receiver is not None else []
        if run.output is None and not any(data for _, data in unsent):
            return ''
        log = self._log_of(run)
        for stream, data in unsent:
            log.put(stream, data.decode('utf-8', 'replace'))
        log.settle()
        lines = [line.text.strip() for line in log.lines if line.text.strip()]
        fatal = [line for line in lines if line.startswith('Fatal Python error')]
        return (fatal or lines or [''])[-1]

    def unfinished(self) -> list[TaskRun]:
        """The runs whose outcome has not come yet."""
        return list(self._runs.values())

    def keep(self, runs: Sequence[TaskRun]) -> None:
        """Keep the output of runs that were interrupted and whose workers have ended."""
        if runs and self._receiver is not None:
            self._receiver.wait_for_ends()
        for run in runs:  # most of a parcel have not begun
            self.lose(run, wait=False)
            if run.output is not None:
                keep_output(run)

    def _log_of(self, run: TaskRun) -> TaskLog:
        if run.output is None:
            run.output = TaskLog(run.item.build_id, run.item.key, self._emit, run.item.mask)
        return run.output


def _requires_older_outputs(task: luigi.Task) -> bool:
    """Whether `requires()` gives older tasks with other outputs than those of today, which workers would not see."""
    if not registry.has_older_definitions():
        return False
    required = flatten(task.requires())
    pairs = zip(required, held.all_today(required), strict=True)
    return any(older is not newer and output_paths(older) != output_paths(newer) for older, newer in pairs)


def needs_this_process(task: luigi.Task) -> bool:
    """Whether a task makes or loads results that other processes cannot reach, or asks for older tasks."""
    if has_other_disk() or _requires_older_outputs(task):
        return True
    kinds = tuple(getattr(sys.modules[name], kind) for name, kind in _IN_MEMORY.items() if name in sys.modules)
    if not any(getattr(kind, 'were_made', True) for kind in kinds):
        return False
    return any(isinstance(target, kinds) for target in chain(flatten(task.output()), flatten(task.input())))
