"""Pools of workers that share no memory with this process: what a build needs of one, and those of others.

kartnb's own pool of processes is in `process_pool`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Any, TypeAlias

from kartnb.errors import ExecutorChoiceError

#: What a worker is given to do: a function of the package, and its argument.
Work: TypeAlias = Callable[[bytes], bytes]


class WorkerPool(ABC):
    """Some workers.

    Attributes
    ----------
    live
        Whether they are on this computer, so that they can tell what happens while tasks run.
    can_end
        Whether one of them can be ended while it works.
    """

    live: bool = False
    can_end: bool = False

    def tell_starting(self, tell: Callable[[int], None]) -> None:  # noqa: B027 - most pools know nothing of it
        """Let somebody know how many workers are being started, whenever that changes, where it is known."""

    @abstractmethod
    def submit(self, function: Work, data: bytes) -> Any:
        """Let a worker do something; gives a future."""

    def submit_again(self, function: Work, data: bytes) -> Any:
        """As `submit`, before what waits: it has waited already."""
        return self.submit(function, data)

    def end(self, future: Any, error: BaseException) -> None:
        """End the worker that works on this future, and its children; the future gets an error."""
        raise NotImplementedError

    @abstractmethod
    def shut_down(self, at_once: bool) -> None:
        """Let go of the workers when the build has ended, or at once."""


class ForeignPool(WorkerPool):
    """The workers of an executor of the user's, which is left open.

    Parameters
    ----------
    executor
        Any executor whose workers are other processes.
    """

    def __init__(self, executor: Executor) -> None:
        self._executor = executor

    def submit(self, function: Work, data: bytes) -> Any:
        return self._executor.submit(function, data)

    def shut_down(self, at_once: bool) -> None:
        """The executor is the user's."""


class DaskWorkers(WorkerPool):
    """The workers of a Dask cluster.

    Parameters
    ----------
    executor
        A client, which is left open, or an address such as ``dask://127.0.0.1:8786``.

    Raises
    ------
    ExecutorChoiceError
        When the address cannot be reached, or there is no worker.
    """

    def __init__(self, executor: Any) -> None:
        self._own = isinstance(executor, str)
        self._client = _connect(executor) if isinstance(executor, str) else executor
        self._futures: list[Any] = []

    def size(self) -> int:
        """How many tasks run at once: one in each worker, because seeds are process-wide."""
        workers = len(self._client.scheduler_info(n_workers=-1)['workers'])
        if not workers:
            raise ExecutorChoiceError('The Dask cluster has no worker: start one, or scale the cluster up.')
        return workers

    def submit(self, function: Work, data: bytes) -> Any:
        future = self._client.submit(function, data, pure=False)
        self._futures.append(future)
        return future

    def shut_down(self, at_once: bool) -> None:
        """Let go of the cluster, which goes on running."""
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
            f'There is no Dask scheduler at {address}: start one there, or mend the address.'
        ) from error
