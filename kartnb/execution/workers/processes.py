"""A pool of worker processes for one build, with workers that know nothing but what they are sent."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import BrokenExecutor, Future, ThreadPoolExecutor
from typing import Any, TypeAlias

from kartnb.execution.workers.forked import ForkedWorker
from kartnb.execution.workers.nursery import nursery_for
from kartnb.execution.workers.pools import Work, WorkerPool

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

#: Elsewhere than on Linux, libraries of the system may not bear it that a process that has loaded them is forked.
_CAN_FORK = sys.platform == 'linux'

_Job: TypeAlias = tuple[Work, bytes, 'Future[bytes]']


class ProcessPool(WorkerPool):
    """Worker processes, started as they are needed and ended with the build, so that no worker has yesterday's code.

    Each worker is forked from a process that has imported what all of them need and nothing of the user's; where that
    does not work well, a pool of loky's of its own. When one dies, or is ended, the others go on.

    Parameters
    ----------
    workers
        How many there are; each may use its share of the cores for threads of its own.
    """

    live = True
    can_end = True

    def __init__(self, workers: int) -> None:
        self._limits = _limits(workers)
        self._workers = workers
        self._starting = 0
        self._gate = threading.RLock()
        self._jobs: deque[_Job] = deque()
        self._idle: list[Any] = []
        self._busy: dict[Future[bytes], Any] = {}
        self._lost: list[Any] = []
        self._closed = False
        self._tell_starting: Callable[[int], None] = lambda number: None

    def tell_starting(self, tell: Callable[[int], None]) -> None:
        self._tell_starting = tell

    def submit(self, function: Work, data: bytes) -> Future[bytes]:
        future: Future[bytes] = Future()
        with self._gate:
            self._jobs.append((function, data, future))
        self._dispatch()
        return future

    def submit_again(self, function: Work, data: bytes) -> Future[bytes]:
        future: Future[bytes] = Future()
        with self._gate:
            self._jobs.appendleft((function, data, future))
        self._dispatch()
        return future

    def end(self, future: Future[bytes], error: BaseException) -> None:
        with self._gate:
            worker = self._busy.pop(future, None)
        if worker is not None:
            worker.shutdown(wait=True, kill_workers=True)
            future.set_exception(error)
            self._dispatch()

    def shut_down(self, at_once: bool) -> None:
        """End the workers; at once, their children too."""
        with self._gate:
            self._closed = True
            self._jobs.clear()
            workers = [*self._idle, *self._busy.values(), *self._lost]
        if workers:
            with ThreadPoolExecutor(len(workers)) as threads:
                list(threads.map(lambda worker: worker.shutdown(wait=True, kill_workers=at_once), workers))

    def _dispatch(self) -> None:
        """Give jobs to workers while there are free ones."""
        while True:
            with self._gate:
                if self._closed or not self._jobs or len(self._busy) >= self._workers:
                    return
                job = self._jobs.popleft()
                used = bool(self._idle)
                worker = self._busy[job[2]] = self._idle.pop() if used else self._new_worker()
            self._start(worker, used, job)

    def _start(self, worker: Any, used: bool, job: _Job) -> None:
        function, data, future = job
        try:
            inner = worker.submit(function, data)
        except Exception as error:
            with self._gate:
                del self._busy[future]
                self._lost.append(worker)
                if used and isinstance(error, BrokenExecutor):  # it died while it was idle
                    self._jobs.appendleft(job)
                    return
            future.set_exception(error)
            return
        inner.add_done_callback(lambda done: self._take(worker, future, done))

    def _take(self, worker: Any, future: Future[bytes], done: Future[bytes]) -> None:
        error = done.exception()
        with self._gate:
            if self._busy.pop(future, None) is None:  # somebody has ended the worker
                return
            (self._lost if isinstance(error, BrokenExecutor) else self._idle).append(worker)
        if error is None:
            future.set_result(done.result())
        else:
            future.set_exception(error)
        self._dispatch()

    def _new_worker(self) -> Any:
        if not _CAN_FORK:
            from loky.backend import get_context
            from loky.process_executor import ProcessPoolExecutor

            return ProcessPoolExecutor(1, context=get_context('loky'), env=self._limits)
        self._count_starting(1)
        return ForkedWorker(self._limits, lambda: self._count_starting(-1))

    def _count_starting(self, more: int) -> None:
        with self._gate:
            self._starting += more
            self._tell_starting(self._starting)


def get_ready(workers: int) -> None:
    """Begin to start what forks worker processes, when it is known that something will run in them."""
    if _CAN_FORK:
        with contextlib.suppress(OSError):  # the build will say it
            nursery_for(_limits(workers))


def _limits(workers: int) -> dict[str, str]:
    from loky import cpu_count

    share = str(max(1, cpu_count() // workers))
    return {name: share for name in _THREAD_LIMITS if name not in os.environ}
