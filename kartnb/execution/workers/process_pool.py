"""Worker processes of a build: forked from a nursery on Linux, elsewhere started by loky and kept between builds.

`ProcessPool` gives work to `ForkedWorker`s or to executors of loky's with one process each.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import BrokenExecutor, Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any, TypeAlias

from kartnb.config import are_workers_warm
from kartnb.execution.workers.nursery import (
    THREAD_LIMITS,
    ForkedWorker,
    hold,
    inherited,
    nursery_for,
    retire_nurseries,
    seconds_to_start,
    version_of,
    wait_in_kernel,
)
from kartnb.execution.workers.worker_pools import NO_NEEDS, Needs, Work, WorkerPool
from kartnb.interrupts import heed_interrupts, held_interrupts, in_main_thread
from kartnb.task.code.own import is_own

#: Only on Linux do all system libraries survive a fork of the process that has loaded them.
_CAN_FORK = sys.platform == 'linux'
#: Seconds that a nursery waits for requests in a kernel, where a person works.
_KERNEL_IDLE = 1800.0
#: Seconds after which a nursery is told again that the kernel is in use.
_RECENT = 60.0
#: Bytes of memory that must be free for a nursery to be started before it is needed.
_MUCH = 1 << 30
#: Seconds that a process of loky's waits for work before it ends.
_LOKY_IDLE = 300
#: Seconds within which a worker of loky's says what it has imported.
_PATIENCE = 5.0
_SHORT_PATIENCE = 0.5
#: Seconds within which one answers whose process has ended, because there was nothing to do.
_START_PATIENCE = 30.0
_Job: TypeAlias = tuple[Work, bytes, 'Future[bytes]']


class ProcessPool(WorkerPool):
    """Worker processes, started when needed and ended with the build, so that no worker has outdated code.

    Each worker is a process of its own, so when one dies or is ended, the others go on. Each may use its share of the
    cores for threads of its own.
    """

    live = True
    is_here = True
    can_end = True

    def __init__(self, workers: int) -> None:
        self._limits = _thread_limits(workers)
        self._heeds_interrupts = in_main_thread()  # an interrupt ends a build there, and none that runs beside it
        self._workers = workers
        #: How many workers are being started, and about how many seconds that takes.
        self._starting, self._seconds = 0, 0.0
        self._gate = threading.RLock()
        self._jobs: deque[_Job] = deque()
        self._idle: list[Any] = []
        self._busy: dict[Future[bytes], Any] = {}
        self._lost: list[Any] = []
        self._closed = False
        self._report_starting: Callable[[int, float], None] = lambda number, seconds: None

    def report_starting(self, report: Callable[[int, float], None]) -> None:
        self._report_starting = report

    def start(self, workers: int) -> None:
        with held_interrupts(), self._gate:
            while len(self._idle) < workers:
                worker = self._new_worker()
                self._idle.append(worker)
                worker.submit(heed_interrupts, self._heeds_interrupts)

    def submit(self, function: Work, data: bytes, needs: Needs = NO_NEEDS) -> Future[bytes]:
        return self._queue(self._jobs.append, function, data)

    def submit_again(self, function: Work, data: bytes, needs: Needs = NO_NEEDS) -> Future[bytes]:
        return self._queue(self._jobs.appendleft, function, data)

    def _queue(self, put: Callable[[_Job], None], function: Work, data: bytes) -> Future[bytes]:
        future: Future[bytes] = Future()
        with self._gate:
            put((function, data, future))
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
        """End the workers; at once, their children too. Those that have nothing to do end while others go on here."""
        with self._gate:
            self._closed = True
            self._jobs.clear()
            leaving = [] if at_once else self._idle
            workers = [*([] if leaving else self._idle), *self._busy.values(), *self._lost]
        if leaving and not _CAN_FORK:
            for worker in leaving:
                _kept_workers.put(worker, self._limits)
        elif leaving:
            # not a daemon: what tasks have registered for the end of their process is done before this one ends
            threading.Thread(target=_let_go, args=(leaving,), name='kartnb leaving workers').start()
        if workers:
            with ThreadPoolExecutor(len(workers)) as threads:
                list(threads.map(lambda worker: worker.shutdown(wait=True, kill_workers=at_once), workers))
        # closed again after an interrupt, it goes on with those that are left
        self._idle, self._busy, self._lost = [], {}, []

    def _dispatch(self) -> None:
        """Give jobs to free workers; start workers while there are fewer than allowed."""
        with held_interrupts():  # one between the start of a worker and the note of it would leave it running
            self._hand_out()

    def _hand_out(self) -> None:
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
            if not used:
                worker.submit(heed_interrupts, self._heeds_interrupts)
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
            if self._busy.pop(future, None) is None:  # `end` was called meanwhile
                return
            (self._lost if isinstance(error, BrokenExecutor) else self._idle).append(worker)
        if error is None:
            future.set_result(done.result())
        else:
            future.set_exception(error)
        self._dispatch()

    def _new_worker(self) -> Any:
        if not _CAN_FORK:
            return _kept_workers.take(self._limits) or _started_by_loky(self._limits)
        self._count_starting(1)
        return ForkedWorker(self._limits, lambda: self._count_starting(-1))

    def _count_starting(self, more: int) -> None:
        with self._gate:
            self._starting += more
            if self._starting == more:  # the first of those that start together
                self._seconds = seconds_to_start()
            self._report_starting(self._starting, self._seconds)


def _let_go(workers: Sequence[Any]) -> None:
    """Let workers end that have nothing to do, and end those that do not."""
    for worker in workers:
        worker.shutdown(wait=False)
    for worker in workers:
        worker.shutdown(wait=True)


def get_ready(packages: Collection[str] = ()) -> None:
    """Start the nursery in the background, once it is known that something will run in workers.

    `packages` are the top-level names of the libraries that this will use.
    """
    if _CAN_FORK:
        with contextlib.suppress(OSError):  # the build reports it
            nursery_for(packages)


def warm_up() -> None:
    """Start the nursery of a kernel before a build needs it, in the background; where it runs, tell it of new imports.

    Not where the machine has one core or little free memory, or the configuration says no.
    """
    if _CAN_FORK and _is_time() and are_workers_warm() and len(os.sched_getaffinity(0)) > 1 and _free() > _MUCH:
        wait_in_kernel(_KERNEL_IDLE)
        threading.Thread(target=get_ready, daemon=True, name='kartnb warms up').start()


def keep_warm(holder: object) -> None:
    """Start the nursery in the background, and keep it as long as this object lives."""
    if _CAN_FORK:
        hold(holder)
        threading.Thread(target=get_ready, daemon=True, name='kartnb warms up').start()


def retire_workers() -> None:
    """Let everything end that stays for later builds."""
    retire_nurseries()
    _kept_workers.clear()


_warmed = (0, -_RECENT)


def _is_time() -> bool:
    """Whether something was imported since the last time, or that was long ago."""
    global _warmed
    now = (len(sys.modules), time.monotonic())
    if now[0] == _warmed[0] and now[1] - _warmed[1] < _RECENT:
        return False
    _warmed = now
    return True


def _free() -> float:
    """Bytes of memory that this process may still take."""
    found = [float('inf')]
    with contextlib.suppress(OSError, ValueError, IndexError):
        lines = Path('/proc/meminfo').read_text().splitlines()
        found += [1024.0 * int(line.split()[1]) for line in lines if line.startswith('MemAvailable')]
    with contextlib.suppress(OSError, ValueError):  # of a container; 'max' where it has no limit
        group = Path('/sys/fs/cgroup')
        found.append(int((group / 'memory.max').read_text()) - int((group / 'memory.current').read_text()))
    return min(found)


def _thread_limits(workers: int) -> dict[str, str]:
    from loky import cpu_count

    share = str(max(1, cpu_count() // workers))
    return {name: share for name in THREAD_LIMITS if name not in os.environ}


# ----- workers that loky has started ----------------------------------------------------------------------------------


def _started_by_loky(limits: Mapping[str, str]) -> Any:
    from loky.backend import get_context
    from loky.process_executor import ProcessPoolExecutor

    return ProcessPoolExecutor(1, context=get_context('loky'), env=limits, timeout=_LOKY_IDLE)


class _KeptWorkers:
    """Idle workers of earlier builds. A process that has nothing to do for some time ends, and is started again.

    A worker is used again while it would be started with the same environment, paths and settings as today, and the
    files of the user's modules that it has imported are as they were.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._workers: list[tuple[Any, Any, Future[bytes]]] = []

    def put(self, worker: Any, limits: Mapping[str, str]) -> None:
        """Keep a worker."""
        try:
            files = worker.submit(own_files, b'')
        except BrokenExecutor:
            return
        wait([files], _SHORT_PATIENCE)  # before the user edits one
        with self._lock:
            self._workers.append((worker, inherited({**os.environ, **limits}), files))

    def take(self, limits: Mapping[str, str]) -> Any:
        """A worker that is as a new one would be, or None; those that are not end."""
        wanted = inherited({**os.environ, **limits})
        while True:
            with self._lock:
                if not self._workers:
                    return None
                worker, inheritance, files = self._workers.pop()
            if inheritance == wanted and _are_as_before(files) and _is_there(worker):
                return worker
            worker.shutdown(wait=False)

    def forget(self) -> None:
        """In a forked process: leave them to the parent process."""
        self._lock = threading.Lock()
        self._workers = []

    def clear(self) -> None:
        """End them all."""
        with self._lock:
            workers, self._workers = self._workers, []
        for worker, _, _ in workers:
            worker.shutdown(wait=False)


def _are_as_before(files: Future[bytes]) -> bool:
    try:
        found = pickle.loads(files.result(_PATIENCE))
    except Exception:  # it has died
        return False
    return all(version_of(path) == version for path, version in found.items())


def _is_there(worker: Any) -> bool:
    try:
        worker.submit(len, b'').result(_START_PATIENCE)
    except Exception:  # it has died
        return False
    return True


def own_files(_: bytes) -> bytes:
    """In a worker: the files of the user's modules that it has imported, with their versions, pickled."""
    modules = [module for name, module in list(sys.modules.items()) if name != '__main__' and is_own(name)]
    paths = [getattr(module, '__file__', None) for module in modules]
    return pickle.dumps({path: version_of(path) for path in paths if isinstance(path, str)})


_kept_workers = _KeptWorkers()
if hasattr(os, 'register_at_fork'):
    os.register_at_fork(after_in_child=_kept_workers.forget)
