"""Which executor a build uses: what `executor=` and `workers=` mean."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import Any, TypeAlias

from kartnb._luigi import pool_size
from kartnb.errors import ExecutorChoiceError, MissingPackageError
from kartnb.execution.options import EXECUTOR_NAMES
from kartnb.execution.workers.executors import Inbox, InlineExecutor, ParcelExecutor, TaskExecutor, ThreadExecutor
from kartnb.execution.workers.pools import ForeignPool

#: Makes the executor of one build, given the build's inbox.
ExecutorFactory: TypeAlias = Callable[[Inbox], TaskExecutor]


def choose_executor(executor: Any, workers: int, log_level: int) -> ExecutorFactory:
    """Understand what a caller has asked for.

    Parameters
    ----------
    executor
        None or 'inline', 'processes', 'threads', a Dask address such as 'dask://127.0.0.1:8786', a
        `distributed.Client`, or any `concurrent.futures.Executor`. With None, more than one worker means processes.
    workers
        How many tasks run at once.
    log_level
        From which level on logged lines are wanted.

    Raises
    ------
    ExecutorChoiceError
        When there is no such executor, or `workers` is no positive number.
    """
    if isinstance(workers, bool) or not isinstance(workers, int) or workers < 1:
        raise ExecutorChoiceError(f'workers must be a whole number from 1 on, not {workers!r}.')
    if executor in (None, 'inline') and (workers == 1 or executor == 'inline'):
        return InlineExecutor
    if executor in (None, 'processes'):
        return lambda inbox: _process_pool(inbox, workers, log_level)
    if executor == 'threads':
        return lambda inbox: ThreadExecutor(inbox, workers)
    if isinstance(executor, ThreadPoolExecutor):
        return lambda inbox: ThreadExecutor(inbox, pool_size(executor) or workers, executor)
    if isinstance(executor, Executor):
        size = pool_size(executor) or workers
        return lambda inbox: ParcelExecutor(inbox, ForeignPool(executor), size, log_level)
    if is_dask(executor):
        return lambda inbox: _dask(inbox, executor, log_level)
    raise ExecutorChoiceError(
        f'There is no executor {executor!r:.60}: give {", ".join(map(repr, EXECUTOR_NAMES))}, a Dask client or its '
        'address, or a concurrent.futures.Executor.'
    )


def get_ready(executor: Any, workers: int) -> None:
    """Begin to start what a chosen executor will need, when it is known that something will run."""
    if executor == 'processes' or (executor is None and workers > 1):
        from kartnb.execution.workers import processes

        processes.get_ready(workers)


def _process_pool(inbox: Inbox, workers: int, log_level: int) -> TaskExecutor:
    from kartnb.execution.workers.processes import ProcessPool

    return ParcelExecutor(inbox, ProcessPool(workers), workers, log_level)


def is_dask(executor: Any) -> bool:
    """Whether something is a Dask client or the address of a Dask scheduler."""
    if isinstance(executor, str):
        return executor.startswith('dask://')
    return type(executor).__module__.partition('.')[0] == 'distributed' and hasattr(executor, 'submit')


def _dask(inbox: Inbox, executor: Any, log_level: int) -> TaskExecutor:
    from kartnb.execution.workers.dask_cluster import DaskWorkers

    try:
        cluster = DaskWorkers(executor)
    except ImportError as error:
        raise MissingPackageError("Dask is not installed: pip install 'kartnb[dask]'") from error
    return ParcelExecutor(inbox, cluster, cluster.size(), log_level)
