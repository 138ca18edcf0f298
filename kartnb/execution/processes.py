"""A pool of worker processes for one build: loky's, with workers that know nothing but what they are sent."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

#: Libraries that start threads of their own read how many from these.
_THREAD_LIMITS = (
    'OMP_NUM_THREADS',
    'OPENBLAS_NUM_THREADS',
    'MKL_NUM_THREADS',
    'BLIS_NUM_THREADS',
    'VECLIB_MAXIMUM_THREADS',
    'NUMEXPR_NUM_THREADS',
    'NUMBA_NUM_THREADS',
)


class ProcessPool:
    """Worker processes, started as they are needed and ended with the build, so that no worker has yesterday's code.

    Parameters
    ----------
    workers
        How many there are; each may use its share of the cores for threads of its own.
    """

    def __init__(self, workers: int) -> None:
        from loky import cpu_count
        from loky.backend import get_context
        from loky.process_executor import ProcessPoolExecutor

        share = str(max(1, cpu_count() // workers))
        limits = {name: share for name in _THREAD_LIMITS if name not in os.environ}
        self._executor = ProcessPoolExecutor(workers, context=get_context('loky'), env=limits)

    def submit(self, function: Callable[[bytes], bytes], data: bytes) -> Any:
        """Run a function in a worker; gives a future."""
        return self._executor.submit(function, data)

    def shut_down(self, at_once: bool) -> None:
        """End the workers, and at once their children too."""
        self._executor.shutdown(wait=True, kill_workers=at_once)
