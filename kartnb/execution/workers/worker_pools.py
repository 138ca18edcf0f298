"""Pools of workers that share no memory with this process: what a build needs of one, and those of others.

kartnb's own pool of processes is in `process_pool`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from concurrent.futures import Executor, ProcessPoolExecutor
from typing import Any, TypeAlias

from kartnb.errors import ExecutorChoiceError

#: A function that a worker can import, for pickled data.
Work: TypeAlias = Callable[[bytes], bytes]


class WorkerPool(ABC):
    """Workers that share no memory with this process."""

    #: Whether they are on this computer, so that they can report while tasks run.
    live: bool = False
    #: Whether they are known to use the memory of this computer.
    is_here: bool = False
    #: Whether one of them can be ended while it works.
    can_end: bool = False

    def report_starting(self, report: Callable[[int, float], None]) -> None:  # noqa: B027 - few pools know it
        """Call `report` with the number of workers being started, and about how long it takes, when that changes."""

    @abstractmethod
    def submit(self, function: Work, data: bytes) -> Any:
        """Call a function in a worker; gives a future."""

    def submit_again(self, function: Work, data: bytes) -> Any:
        """As `submit`, ahead of the queue: this has waited in it already."""
        return self.submit(function, data)

    def end(self, future: Any, error: BaseException) -> None:
        """End the worker that works on this future, and its children; the future gets an error."""
        raise NotImplementedError

    @abstractmethod
    def shut_down(self, at_once: bool) -> None:
        """Release the workers at the end of the build; `at_once` without waiting for what they do."""


class ForeignPool(WorkerPool):
    """The workers of any executor of the user's whose workers are other processes; it stays open."""

    def __init__(self, executor: Executor) -> None:
        self._executor = executor
        self.is_here = isinstance(executor, ProcessPoolExecutor)

    def submit(self, function: Work, data: bytes) -> Any:
        return self._executor.submit(function, data)

    def shut_down(self, at_once: bool) -> None:
        """Leave the executor open: it is the user's."""


class DaskPool(WorkerPool):
    """The workers of a Dask cluster; results must lie on storage that all of them share.

    It is given a client, which stays open, or an address such as ``dask://127.0.0.1:8786``. Raises
    `ExecutorChoiceError` when the address cannot be reached, or the cluster has no workers.
    """

    def __init__(self, executor: Any) -> None:
        self._own = isinstance(executor, str)
        self._client = _connect(executor) if isinstance(executor, str) else executor
        self._futures: list[Any] = []

    def size(self) -> int:
        """How many tasks run at once: one in each worker, because seeds are process-wide."""
        workers = len(self._client.scheduler_info(n_workers=-1)['workers'])
        if not workers:
            raise ExecutorChoiceError('The Dask cluster has no workers: start one, or scale the cluster up.')
        return workers

    def submit(self, function: Work, data: bytes) -> Any:
        future = self._client.submit(function, data, pure=False)
        self._futures.append(future)
        return future

    def shut_down(self, at_once: bool) -> None:
        """Disconnect from the cluster, which goes on running."""
        if at_once:
            self._client.cancel(self._futures)
        self._futures.clear()
        if self._own:
            self._client.close()


def _connect(address: str) -> Any:
    from distributed import Client

    place = f'tcp://{address.removeprefix("dask://")}'
    try:
        return Client(place, timeout='5s', set_as_default=False)  # type: ignore[no-untyped-call]
    except OSError as error:
        raise ExecutorChoiceError(
            f'No Dask scheduler answers at {address}: start one there, or correct the address.'
        ) from error
