"""Dask's workers, through the client's own futures; results must lie on storage that all of them share."""

from __future__ import annotations

from typing import Any

from kartnb.errors import ExecutorChoiceError
from kartnb.execution.remote import Work, WorkerPool


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
