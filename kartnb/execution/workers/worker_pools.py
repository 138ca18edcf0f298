"""Pools of workers that share no memory with this process: what a build needs of one, and those of others.

kartnb's own pool of processes is in `process_pool`.
"""

from __future__ import annotations

import logging
import pickle
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from concurrent.futures import BrokenExecutor, CancelledError, Executor, ProcessPoolExecutor, ThreadPoolExecutor
from typing import Any, TypeAlias
from uuid import uuid4

import luigi

from kartnb.errors import ExecutorChoiceError, WorkerDiedError, WorkerError

logger = logging.getLogger('kartnb')

#: A function that a worker can import, for pickled data.
Work: TypeAlias = Callable[[bytes], bytes]
#: How much a task needs of what some workers have more of than others, such as ``{'GPU': 1}``.
Needs: TypeAlias = Mapping[str, float]

NO_NEEDS: Needs = {}
#: Seconds between two looks at how many workers a cluster has.
_LOOK_AGAIN = 1.0
#: Seconds without any worker after which tasks fail: a cluster that starts them by itself needs some time.
_NO_WORKERS_PATIENCE = 300.0
#: What executorlib calls the resources that tasks take; its `cores` are MPI ranks, each of which runs the function.
_EXECUTORLIB = {'GPU': 'gpus_per_core', 'gpus_per_core': 'gpus_per_core', 'threads_per_core': 'threads_per_core'}


class UnreachableWorker(BrokenExecutor):
    """A worker process lived on without its connection to the build, and was ended."""


class DeadWorker(BrokenExecutor):
    """A worker process has died; its text is what is known of how, or empty."""


class WorkerPool(ABC):
    """Workers that share no memory with this process."""

    #: Whether they are on this computer, so that they can report while tasks run.
    live: bool = False
    #: Whether they are known to use the memory of this computer.
    is_here: bool = False
    #: Whether one of them can be ended while it works.
    can_end: bool = False
    #: Whether `needs` of a task may be something.
    takes_resources: bool = False
    #: Whether a worker process has several parcels, and keeps the classes of one for the next.
    remembers: bool = True

    def report_starting(self, report: Callable[[int, float], None]) -> None:  # noqa: B027 - few pools know it
        """Call `report` with the number of workers being started, and about how long it takes, when that changes."""

    def report_size(self, report: Callable[[int], None]) -> None:  # noqa: B027 - few pools change
        """Call `report` with the number of workers whenever it changes."""

    def start(self, workers: int) -> None:  # noqa: B027 - most have them already
        """Start so many workers, which are given something to do soon."""

    def needs(self, task: luigi.Task) -> Needs:
        """What of a task's `resources` its worker has to have; raises `WorkerError` when none has it."""
        return NO_NEEDS

    @abstractmethod
    def submit(self, function: Work, data: bytes, needs: Needs = NO_NEEDS) -> Any:
        """Call a function in a worker; gives a future."""

    def submit_again(self, function: Work, data: bytes, needs: Needs = NO_NEEDS) -> Any:
        """As `submit`, ahead of the queue: this has waited in it already."""
        return self.submit(function, data, needs)

    def explained(self, error: BaseException) -> BaseException:
        """An error of `submit` or of a future; where it is about the workers, one that says so in a sentence."""
        return error

    def end(self, future: Any, error: BaseException) -> None:
        """End the worker that works on this future, and its children; the future gets an error."""
        raise NotImplementedError

    @abstractmethod
    def shut_down(self, at_once: bool) -> None:
        """Release the workers at the end of the build; `at_once` without waiting for what they do."""


class ForeignPool(WorkerPool):
    """The workers of any executor of the user's whose workers are other processes; it stays open."""

    def __init__(self, executor: Any) -> None:
        self._executor = executor
        self.is_here = isinstance(executor, ProcessPoolExecutor)

    def submit(self, function: Work, data: bytes, needs: Needs = NO_NEEDS) -> Any:
        try:
            return self._executor.submit(function, data)
        except BrokenExecutor:
            raise
        except RuntimeError as error:
            raise takes_no_tasks(self._executor, error) from error

    def explained(self, error: BaseException) -> BaseException:
        if isinstance(error, BrokenExecutor):
            return WorkerDiedError(
                f'A worker of the {type(self._executor).__name__} died (killed, crashed or out of memory) with this '
                'task or another one, and the executor takes no more: give a new one, or build with workers=N, where '
                'only the task fails that kills its worker.'
            )
        if isinstance(error, CancelledError):
            return has_cancelled(self._executor)
        return _without_kartnb(error)

    def shut_down(self, at_once: bool) -> None:
        """Leave the executor open: it is the user's."""


class ExecutorlibPool(ForeignPool):
    """The workers of one of executorlib's executors, which gives each task the GPUs and threads that it takes."""

    takes_resources = True
    remembers = False  # without `block_allocation` each parcel has its own process

    def needs(self, task: luigi.Task) -> Needs:
        asked = {_EXECUTORLIB.get(name): amount for name, amount in task.process_resources().items() if amount}
        if type(self._executor).__name__ == 'SingleNodeExecutor':  # which never ends a call that asks for GPUs
            asked.pop('gpus_per_core', None)
        return {name: amount for name, amount in asked.items() if name is not None}

    def submit(self, function: Work, data: bytes, needs: Needs = NO_NEEDS) -> Any:
        if not needs:
            return super().submit(function, data)
        return self._executor.submit(function, data, resource_dict=dict(needs))


class SubmititPool(ForeignPool):
    """The jobs of an executor of submitit's, one for each parcel; a thread waits for the end of each."""

    remembers = False

    def __init__(self, executor: Any, jobs: int) -> None:
        super().__init__(executor)
        self._threads = ThreadPoolExecutor(2 * jobs, thread_name_prefix='kartnb-submitit')
        self._jobs: list[Any] = []

    def submit(self, function: Work, data: bytes, needs: Needs = NO_NEEDS) -> Any:
        job = self._executor.submit(function, data)
        self._jobs.append(job)
        return self._threads.submit(job.result)

    def explained(self, error: BaseException) -> BaseException:
        if type(error).__name__ == 'UncompletedJobError':
            return WorkerDiedError(f'The job of this task ended without a result: {str(error).splitlines()[0]}')
        return super().explained(error)

    def shut_down(self, at_once: bool) -> None:
        """Cancel the jobs that are not needed any more."""
        if at_once:
            for job in self._jobs:
                if not job.done():
                    job.cancel()
        self._threads.shutdown(wait=False, cancel_futures=True)


def is_submitit(executor: Any) -> bool:
    """Whether something is an executor of submitit's, which is not one of Python's."""
    return any(cls.__module__.partition('.')[0] == 'submitit' for cls in type(executor).__mro__)


def foreign_pool(executor: Any, size: int) -> ForeignPool:
    """The pool of workers that an executor of the user's has; `size` is how many work at once."""
    if is_submitit(executor):
        return SubmititPool(executor, size)
    if type(executor).__module__.partition('.')[0] == 'executorlib':
        return ExecutorlibPool(executor)
    return ForeignPool(executor)


def takes_no_tasks(executor: Executor, error: RuntimeError) -> WorkerError:
    """The error of a task that an executor has refused."""
    return WorkerError(f'The {type(executor).__name__} takes no tasks ({error}): give a new one.')


def has_cancelled(executor: Executor) -> WorkerError:
    """The error of a task whose future an executor has cancelled."""
    return WorkerError(
        f'The {type(executor).__name__} has cancelled this task, as it does when it is shut down: build with a new one.'
    )


class DaskPool(WorkerPool):
    """The workers of a Dask cluster; results must lie on storage that all of them share.

    It is given a client, which stays open, or an address such as ``dask://127.0.0.1:8786``. Raises
    `ExecutorChoiceError` when the client or the address cannot be used, or the cluster has no workers.
    """

    takes_resources = True

    def __init__(self, executor: Any) -> None:
        self._own = isinstance(executor, str)
        self._client = _connect(executor) if isinstance(executor, str) else executor
        self._futures: set[Any] = set()
        self._closed = threading.Event()
        #: The resources that each worker has declared, by its address.
        self._workers: dict[str, Needs] = {}
        #: Whether there has been no worker for too long.
        self._is_deserted = False
        try:
            self._look()
            self._require_workers()
        except BaseException:
            self.shut_down(at_once=False)
            raise

    def _require_workers(self) -> None:
        if self._workers:
            return
        if self._client.cluster is None:  # with one, they may be on their way, or come as soon as there are tasks
            raise ExecutorChoiceError('The Dask cluster has no workers: start one, or scale the cluster up.')
        logger.warning('The Dask cluster has no workers yet: the build waits until one joins.')

    def _look(self) -> None:
        found = self._client.scheduler_info(n_workers=-1)['workers']
        self._workers = {address: worker.get('resources') or {} for address, worker in found.items()}

    def size(self) -> int:
        """How many tasks run at once: one in each worker, because seeds are process-wide."""
        return max(len(self._workers), 1)  # an adaptive cluster without any needs a task to grow

    def report_size(self, report: Callable[[int], None]) -> None:
        threading.Thread(target=self._watch, args=(report,), daemon=True, name='kartnb-dask').start()

    def _watch(self, report: Callable[[int], None]) -> None:
        known = len(self._workers)
        last_seen = time.monotonic()
        while not self._closed.wait(_LOOK_AGAIN):
            try:
                self._look()
            except Exception:  # the scheduler is gone, which the futures say, or the build has ended
                return
            number = len(self._workers)
            if number:
                last_seen = time.monotonic()
            self._is_deserted = time.monotonic() - last_seen > _NO_WORKERS_PATIENCE
            if self._is_deserted:
                self._client.cancel(list(self._futures))
            if number != known:
                known = number
                if not number:
                    logger.warning('The Dask cluster has no workers any more: the build waits until one joins.')
                report(self.size())

    def needs(self, task: luigi.Task) -> Needs:
        workers = list(self._workers.values())
        declared = {name for has in workers for name in has}
        if not declared:
            return NO_NEEDS
        asked = {name: amount for name, amount in task.process_resources().items() if amount and name in declared}
        if not any(all(has.get(name, 0) >= amount for name, amount in asked.items()) for has in workers):
            wanted = ' '.join(f'{name}={amount:g}' for name, amount in asked.items())
            raise WorkerError(
                f'No Dask worker has the resources {wanted} that {type(task).__name__} takes: start one with '
                f'--resources "{wanted}", or take less.'
            )
        return asked

    def submit(self, function: Work, data: bytes, needs: Needs = NO_NEEDS) -> Any:
        if self._is_deserted:
            raise _no_workers()
        if self._client.status != 'running':  # it would keep the task while it tries to connect again
            raise _lost_scheduler()
        # Dask ends a worker that cannot import the function of a task: this one can be imported everywhere
        work = pickle.dumps(_Call(function, data))
        future = self._client.submit(pickle.loads, work, key=f'kartnb-{uuid4()}', resources=dict(needs) or None)
        self._futures.add(future)
        future.add_done_callback(self._futures.discard)
        return future

    def explained(self, error: BaseException) -> BaseException:
        from distributed import KilledWorker

        if isinstance(error, KilledWorker):
            number = error.allowed_failures + 1
            died = 'A Dask worker' if number == 1 else f'{number} Dask workers, one after the other,'
            return WorkerDiedError(
                f'{died} died with this task (killed, crashed or out of memory): see the log of '
                f'{error.last_worker.address}.'
            )
        if isinstance(error, CancelledError):
            if self._is_deserted:
                return _no_workers()
            if self._client.status != 'running' or getattr(error, 'reason', '') == 'scheduler-connection-lost':
                return _lost_scheduler()
            return WorkerError('This task was cancelled on the Dask cluster by another program: build again.')
        return _without_kartnb(error)

    def shut_down(self, at_once: bool) -> None:
        """Disconnect from the cluster, which goes on running."""
        self._closed.set()
        if at_once and self._client.status == 'running':
            self._client.cancel(list(self._futures))
        self._futures.clear()
        if self._own:
            self._client.close()


class _Call:
    """A function and its argument; where it is unpickled, one gets what the function gives."""

    def __init__(self, function: Work, data: bytes) -> None:
        self._parts = (function, (data,))

    def __reduce__(self) -> tuple[Work, tuple[bytes]]:
        return self._parts


def _connect(address: str) -> Any:
    from distributed import Client

    place = f'tcp://{address.removeprefix("dask://")}'
    try:
        return Client(place, timeout='5s', set_as_default=False)  # type: ignore[no-untyped-call]
    except OSError as error:
        raise ExecutorChoiceError(
            f'No Dask scheduler answers at {address}: start one there, or correct the address.'
        ) from error


def check_client(client: Any) -> None:
    """Raise `ExecutorChoiceError` when a Dask client cannot be used; nothing is known of an address."""
    if isinstance(client, str):
        return
    if client.asynchronous:
        raise ExecutorChoiceError('This Dask client is asynchronous: give one with asynchronous=False, or its address.')
    if client.status == 'connecting':
        raise ExecutorChoiceError('This Dask client has lost its scheduler: see that the cluster runs.')
    if client.status != 'running':
        raise ExecutorChoiceError('This Dask client is closed: create a new one.')


def _no_workers() -> WorkerError:
    return WorkerError(
        f'The Dask cluster has had no workers for {_NO_WORKERS_PATIENCE:g} s: start some, or scale it up, and build '
        'again.'
    )


def _lost_scheduler() -> WorkerError:
    return WorkerError(
        'The connection to the Dask scheduler is lost: see that the cluster runs, and build again with a new client; '
        'what is done is kept.'
    )


def _without_kartnb(error: BaseException) -> BaseException:
    """What is said of an error that means that a worker has no kartnb; any other error as it is."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ModuleNotFoundError) and str(cause.name).partition('.')[0] == 'kartnb':
            return WorkerError('A worker has no kartnb: install the same version there.')
        cause = cause.__cause__
    return error
