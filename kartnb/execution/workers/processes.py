"""A pool of worker processes for one build, with workers that know nothing but what they are sent."""

from __future__ import annotations

import os
import threading
from collections import deque
from concurrent.futures import BrokenExecutor, Future, ThreadPoolExecutor
from typing import Any, TypeAlias

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

_Job: TypeAlias = tuple[Work, bytes, 'Future[bytes]']


class ProcessPool(WorkerPool):
    """Worker processes, started as they are needed and ended with the build, so that no worker has yesterday's code.

    Each worker is a pool of loky's of its own: when one dies, or is ended, the others go on.

    Parameters
    ----------
    workers
        How many there are; each may use its share of the cores for threads of its own.
    """

    live = True
    can_end = True

    def __init__(self, workers: int) -> None:
        from loky import cpu_count

        share = str(max(1, cpu_count() // workers))
        self._limits = {name: share for name in _THREAD_LIMITS if name not in os.environ}
        self._workers = workers
        self._gate = threading.RLock()
        self._jobs: deque[_Job] = deque()
        self._idle: list[Any] = []
        self._busy: dict[Future[bytes], Any] = {}
        self._lost: list[Any] = []
        self._closed = False

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
        from loky.backend import get_context
        from loky.process_executor import ProcessPoolExecutor

        return ProcessPoolExecutor(1, context=get_context('loky'), env=self._limits)
