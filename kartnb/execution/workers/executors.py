"""Where tasks run: inline, in threads, or by parcels in whatever executor there is."""

from __future__ import annotations

import functools
import os
import pickle
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from concurrent.futures import BrokenExecutor, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from queue import SimpleQueue
from typing import Any, TypeAlias

from kartnb.errors import KartError, TaskTimeoutError, WorkerDiedError, WorkerError
from kartnb.events import TaskEvent, TaskProgress, TaskState, TaskStateChanged, WorkersStarting
from kartnb.execution.capture.task_log import events_of
from kartnb.execution.running.runs import Outcome, TaskRun
from kartnb.execution.running.worker import advance
from kartnb.execution.workers.channel import Receiver
from kartnb.execution.workers.pools import Work, WorkerPool
from kartnb.execution.workers.remote import Parcel, RemoteOutcome, Reply, perform
from kartnb.execution.workers.remote_output import RemoteOutput
from kartnb.execution.workers.settings import current_settings
from kartnb.execution.workers.transport import ClassStore


class StopRequest:
    """Somebody asks to stop the build."""


@dataclass(frozen=True, slots=True)
class ResourcesFreed:
    """A running task gives some of luigi's resources back: how much of each."""

    key: str
    amounts: dict[str, float]


#: What comes back: a node's key and how its task went on, or an event of a running task, or a request to stop.
Message: TypeAlias = tuple[str, Outcome] | TaskStateChanged | TaskEvent | WorkersStarting | ResourcesFreed | StopRequest
Inbox: TypeAlias = 'SimpleQueue[Message]'

#: Orders are sent together for as long as they are expected to take no longer than this many seconds.
_PARCEL_SECONDS = 0.1


class TaskExecutor(ABC):
    """Runs tasks for a build loop and puts what comes of them into its inbox.

    Attributes
    ----------
    places
        How many tasks it can be given at once.
    parallel
        How many tasks it runs at once.
    live
        Whether it tells itself when a task begins to run.
    can_end
        Whether it can end one running task.
    shares_memory
        Whether tasks run in this process.
    """

    places: int = 1
    parallel: int = 1
    live: bool = False
    can_end: bool = False
    shares_memory: bool = True

    @abstractmethod
    def submit(self, runs: Sequence[TaskRun]) -> None:
        """Take tasks; an outcome for each of them comes into the inbox."""

    def batch_size(self, ready: int, typical: float | None) -> int:
        """How many of the ready tasks are best given at once, when one typically takes this many seconds."""
        return 1

    def end(self, key: str, error: BaseException) -> None:
        """End a running task, whose outcome is this error then, unless it has just ended itself."""
        raise NotImplementedError

    @abstractmethod
    def close(self, *, at_once: bool = False) -> None:
        """End what runs tasks; at once when nobody wants their outcomes any more."""


class InlineExecutor(TaskExecutor):
    """Runs a task in the calling thread as it is submitted, so that prints, plots and the debugger work as usual."""

    def __init__(self, inbox: Inbox) -> None:
        self._inbox = inbox

    def submit(self, runs: Sequence[TaskRun]) -> None:
        for run in runs:
            self._inbox.put((run.order.key, advance(run)))

    def close(self, *, at_once: bool = False) -> None:
        """Nothing is left to end."""


class ThreadExecutor(TaskExecutor):
    """Runs tasks in threads of this process.

    Parameters
    ----------
    inbox
        Takes the outcomes.
    workers
        How many tasks run at once.
    executor
        The user's own thread pool, which is left open; by default one is made.
    """

    def __init__(self, inbox: Inbox, workers: int, executor: ThreadPoolExecutor | None = None) -> None:
        self.places = self.parallel = workers
        self._inbox = inbox
        self._own = executor is None
        self._executor = executor or ThreadPoolExecutor(workers, thread_name_prefix='kartnb')
        self._futures: set[Future[Outcome]] = set()

    def submit(self, runs: Sequence[TaskRun]) -> None:
        for run in runs:
            future = self._executor.submit(advance, run)
            self._futures.add(future)
            future.add_done_callback(functools.partial(self._deliver, run.order.key))

    def close(self, *, at_once: bool = False) -> None:
        """Wait for the running tasks, and say so: a thread cannot be stopped."""
        running = [future for future in list(self._futures) if not future.cancel()]
        if at_once and running:
            warnings.warn(f'Threads cannot be stopped: the build ends when {_tasks(len(running))} ended.', stacklevel=2)
        wait(running)
        if self._own:
            self._executor.shutdown()

    def _deliver(self, key: str, future: Future[Outcome]) -> None:
        self._futures.discard(future)
        if not future.cancelled():
            error = future.exception()
            self._inbox.put((key, future.result() if error is None else Outcome(0.0, error=error)))


class ParcelExecutor(TaskExecutor):
    """Sends tasks in parcels to workers that share no memory with this process.

    Parameters
    ----------
    inbox
        Takes outcomes and events.
    pool
        The workers.
    workers
        How many parcels are worked on at once.
    log_level
        From which level on logged lines are wanted.
    """

    shares_memory = False

    def __init__(self, inbox: Inbox, pool: WorkerPool, workers: int, log_level: int) -> None:
        # one parcel is worked on, and one waits, so that no worker is idle while its outcomes travel
        self.places = 2 * workers
        self.parallel = workers
        self._inbox = inbox
        self._pool = pool
        self._log_level = log_level
        self._store = ClassStore()
        self._settings = current_settings()
        self._build_id = ''
        self._futures: dict[str, Any] = {}
        self.live = pool.live
        self.can_end = pool.can_end
        self._receiver = Receiver(self._receive) if pool.live else None
        self._output = RemoteOutput(self._receiver, inbox.put)
        pool.tell_starting(lambda number: inbox.put(WorkersStarting(self._build_id, number)))

    def batch_size(self, ready: int, typical: float | None) -> int:
        if not typical:
            return 1 if typical is None else _share(ready, self.places)
        return max(1, min(_share(ready, self.places), int(_PARCEL_SECONDS / typical)))

    def submit(self, runs: Sequence[TaskRun]) -> None:
        orders = [run.order for run in runs]
        self._build_id = orders[0].build_id
        for order in orders:
            self._store.add_handlers(type(order.task))
        try:
            data = self._store.dumps(orders)
        except Exception:
            self._submit_each(runs)
            return
        parcel = Parcel(
            data,
            tuple(self._store.pickled),
            self._log_level,
            os.getcwd(),
            self._receiver.channel if self._receiver is not None else None,
            self._settings,
        )
        self._send(parcel, runs, self._pool.submit)

    def end(self, key: str, error: BaseException) -> None:
        future = self._futures.get(key)
        if future is not None:
            self._pool.end(future, error)

    def close(self, *, at_once: bool = False) -> None:
        interrupted = self._output.unfinished() if at_once else []
        self._pool.shut_down(at_once)
        self._output.keep(interrupted)
        if self._receiver is not None:
            self._receiver.close()

    def _submit_each(self, runs: Sequence[TaskRun]) -> None:
        """Find the task that cannot be sent; the others go on their way."""
        for run in runs:
            try:
                self._store.dumps(run.order)
            except Exception as error:
                self._inbox.put((run.order.key, Outcome(0.0, error=error)))
            else:
                self.submit([run])

    def _send(self, parcel: Parcel, runs: Sequence[TaskRun], submit: Callable[[Work, bytes], Any]) -> None:
        try:
            future = submit(perform, pickle.dumps(parcel))
        except Exception as error:
            self._fail(runs, error)
            return
        for run in runs:
            self._futures[run.order.key] = future
            self._output.begin(run)
        future.add_done_callback(lambda done: self._take(done, parcel, runs))

    def _take(self, future: Any, parcel: Parcel, runs: Sequence[TaskRun]) -> None:
        """Put the outcomes of a parcel into the inbox, or send it again with the classes that its worker lacks."""
        for run in runs:
            del self._futures[run.order.key]
        try:
            reply: Reply = pickle.loads(future.result())
            if reply.missing:
                wanted = {digest: self._store.pickled[digest] for digest in reply.missing}
                self._send(replace(parcel, classes=wanted), runs, self._pool.submit_again)
                return
            outcomes: list[RemoteOutcome] = self._store.loads(reply.outcomes)
            if reply.sent is not None and self._receiver is not None:
                self._receiver.wait_for(reply.sent)
        except BaseException as error:
            self._lose(runs, error)
            return
        for run, outcome in zip(runs, outcomes, strict=True):
            self._output.end(run)
            for event in events_of(outcome.lines, self._build_id, run.order.key):
                self._inbox.put(event)
            self._inbox.put((run.order.key, _arrived(outcome)))

    def _lose(self, runs: Sequence[TaskRun], error: BaseException) -> None:
        """A parcel was lost with its worker: of several tasks each is sent again, alone, to see which one it was."""
        if len(runs) == 1 or not isinstance(error, BrokenExecutor):
            self._fail(runs, error)
            return
        for run in runs:
            self.submit([run])

    def _fail(self, runs: Sequence[TaskRun], error: BaseException) -> None:
        is_lost = isinstance(error, BrokenExecutor | TaskTimeoutError)
        for run in runs:
            last_words = self._output.lose(run) if is_lost else self._output.end(run)
            self._inbox.put((run.order.key, Outcome(0.0, error=_worker_error(error, last_words))))

    def _receive(self, key: str, what: str, value: Any) -> None:
        if what == 'running':
            self._inbox.put(TaskStateChanged(self._build_id, key, TaskState.RUNNING))
        elif what == 'event':
            self._output.remember(key, value)
            self._inbox.put(value)
        elif what == 'resources':
            self._inbox.put(ResourcesFreed(key, value))
        else:
            self._inbox.put(TaskProgress(self._build_id, key, **{what: value}))


def _share(ready: int, places: int) -> int:
    return max(1, -(-ready // places))


def _tasks(number: int) -> str:
    return 'the running task has' if number == 1 else f'the {number} running tasks have'


def _arrived(sent: RemoteOutcome) -> Outcome:
    told = (sent.spent, sent.result_id, sent.error, sent.requirements)
    return Outcome(*told, task_log=sent.task_log, files=sent.files)


def _worker_error(error: BaseException, last_words: str) -> BaseException:
    if isinstance(error, KartError):
        return error
    if isinstance(error, BrokenExecutor):
        hint = f'its last words were {last_words!r:.200}' if last_words else 'build without workers to see more'
        return WorkerDiedError(
            f'The worker process that ran this task died (killed, crashed or out of memory): {hint}.'
        )
    return WorkerError(f'The worker could not run this task: {type(error).__name__}: {error}')
