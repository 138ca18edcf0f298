"""Worker processes of a build, forked from a process that has imported what they need: the nursery.

A worker that is forked is as a newly started one: nothing of the user's was imported before, and no task has run. It
is there in milliseconds, where a new interpreter would import kartnb, luigi and numpy first. Where processes cannot be
forked, loky starts them.

In the process that builds: `ProcessPool` gives work to `ForkedWorker`s, which ask a `Nursery` for their processes. In
the nursery: `main` forks workers as they are asked for. In a worker: `serve` does what comes in.
"""

from __future__ import annotations

import atexit
import contextlib
import faulthandler
import gc
import json
import os
import pickle
import select
import signal
import socket
import subprocess
import sys
import threading
import time
import warnings
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import BrokenExecutor, Future, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from importlib import import_module
from pathlib import Path
from queue import SimpleQueue
from typing import Any, TypeAlias

from kartnb._luigi import interpreter_flags
from kartnb.errors import WorkerError, described
from kartnb.execution.workers.worker_pools import Work, WorkerPool
from kartnb.interrupts import held_interrupts

#: Only on Linux do all system libraries survive a fork of the process that has loaded them.
_CAN_FORK = sys.platform == 'linux'
#: Environment variables from which libraries read how many threads of their own they may start.
_THREAD_LIMITS = (
    'OMP_NUM_THREADS',
    'OPENBLAS_NUM_THREADS',
    'MKL_NUM_THREADS',
    'BLIS_NUM_THREADS',
    'VECLIB_MAXIMUM_THREADS',
    'NUMEXPR_NUM_THREADS',
    'NUMBA_NUM_THREADS',
)
#: Seconds that a nursery without workers waits for requests before it ends.
IDLE = 60.0
#: Seconds that a nursery is given to end.
_PATIENCE = 5.0
#: Seconds that a worker is given to end by itself.
_STOP_PATIENCE = 10.0
#: How many times a worker is requested: a nursery may just have ended.
_TRIES = 3
#: Seconds between two looks whether workers have ended.
_LOOK = 1.0
#: Requests to a nursery: fork a worker for the connection that comes along; end when the workers have ended.
FORK = b'f'
RETIRE = b'r'
_NURSERY_CODE = """\
import json, sys
sys.path[:], sys.argv[:], control, idle, also = json.loads(sys.argv[1])
from kartnb.execution.workers.process_pool import main
main(control, idle, also)
"""
#: Modules that every worker imports sooner or later, to unpack tasks, seed them and pack their outcomes.
_NEEDED = (
    'cloudpickle',
    'numpy.random',
    'kartnb.execution.workers.remote',
    'kartnb.execution.workers.task_pickler',
    'kartnb.storage.formats.simple',
)
#: Slow imports that survive a fork: a nursery has them if this process has imported them.
_ALSO = ('pandas',)
#: Where luigi looks for its configuration when imported, beside the path in the environment variable.
_CONFIGURATION = ('/etc/luigi/client.cfg', '/etc/luigi/luigi.cfg', '/etc/luigi/luigi.toml', 'client.cfg', 'luigi.cfg')
_CONFIGURATION_VARIABLE = 'LUIGI_CONFIG_PATH'
#: Everything that the workers of a nursery have from the process that started it; when it changes, a new one starts.
Inheritance: TypeAlias = tuple[Any, ...]
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
        self._workers = workers
        self._starting = 0
        self._gate = threading.RLock()
        self._jobs: deque[_Job] = deque()
        self._idle: list[Any] = []
        self._busy: dict[Future[bytes], Any] = {}
        self._lost: list[Any] = []
        self._closed = False
        self._report_starting: Callable[[int], None] = lambda number: None

    def report_starting(self, report: Callable[[int], None]) -> None:
        self._report_starting = report

    def submit(self, function: Work, data: bytes) -> Future[bytes]:
        return self._queue(self._jobs.append, function, data)

    def submit_again(self, function: Work, data: bytes) -> Future[bytes]:
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
        if leaving:
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
            from loky.backend import get_context
            from loky.process_executor import ProcessPoolExecutor

            return ProcessPoolExecutor(1, context=get_context('loky'), env=self._limits)
        self._count_starting(1)
        return ForkedWorker(self._limits, lambda: self._count_starting(-1))

    def _count_starting(self, more: int) -> None:
        with self._gate:
            self._starting += more
            self._report_starting(self._starting)


def _let_go(workers: Sequence[Any]) -> None:
    """Let workers end that have nothing to do, and end those that do not."""
    for worker in workers:
        worker.shutdown(wait=False)
    for worker in workers:
        worker.shutdown(wait=True)


def get_ready(workers: int) -> None:
    """Start the nursery in the background, once it is known that something will run in workers."""
    if _CAN_FORK:
        with contextlib.suppress(OSError):  # the build reports it
            nursery_for(_thread_limits(workers))


def _thread_limits(workers: int) -> dict[str, str]:
    from loky import cpu_count

    share = str(max(1, cpu_count() // workers))
    return {name: share for name in _THREAD_LIMITS if name not in os.environ}


class ForkedWorker:
    """A worker process, which does one job after the other. Its methods are those of an executor.

    It has the environment variables `limits` in addition to those of this process. `started` is called in a thread when
    the process is there, or could not be started.
    """

    def __init__(self, limits: Mapping[str, str], started: Callable[[], None]) -> None:
        self._limits = limits
        self._started = started
        self._gate = threading.Lock()
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._connection: socket.socket | None = None
        self._pid = 0
        self._is_over = False
        self._thread = threading.Thread(target=self._work, daemon=True, name='kartnb worker')
        self._thread.start()

    def submit(self, work: Work, data: bytes) -> Future[bytes]:
        """Add a job to its queue; BrokenProcessPool is raised when it has died."""
        future: Future[bytes] = Future()
        with self._gate:
            if self._is_over or _has_hung_up(self._connection):
                raise BrokenProcessPool('The worker process has died.')
            self._jobs.put((work, data, future))
        return future

    def shutdown(self, wait: bool = True, kill_workers: bool = False) -> None:
        """Let it end after its jobs; with `kill_workers` end it and its children at once."""
        self._jobs.put(None)
        if kill_workers:
            self._kill()
        if wait:
            self._thread.join(_STOP_PATIENCE)
            if self._thread.is_alive():  # a thread or child that a task left running keeps it
                self._kill()
                self._thread.join()

    def _work(self) -> None:
        future: Future[bytes] | None = None
        try:
            with self._begin() as stream:
                while (job := self._jobs.get()) is not None:
                    work, data, future = job
                    send(stream, (work, data))
                    done, value = pickle.load(stream)
                    (future.set_result if done else future.set_exception)(value)
                    job = future = None
                self._let_end(stream)
        except BaseException as error:
            self._break(error, future)
        finally:
            if self._connection is not None:
                self._connection.close()

    def _begin(self) -> Any:
        """The stream to a new process."""
        try:
            for _ in range(_TRIES):
                stream = self._ask()
                if stream is not None:
                    return stream
        finally:
            self._started()
        raise BrokenProcessPool('No worker process could be started.')

    def _ask(self) -> Any:
        """The stream to a new process, or None when no process answers."""
        ours, theirs = socket.socketpair()
        with theirs:
            with self._gate:
                if self._is_over:
                    ours.close()
                    return None
                self._connection = ours
            nursery = nursery_for(self._limits)
            with contextlib.suppress(OSError):
                nursery.fork(theirs)
        stream = ours.makefile('rwb')
        try:
            self._pid = pickle.load(stream)
        except (EOFError, OSError):
            stream.close()
            ours.close()
            nursery.retire()  # it has ended, or is about to
            return None
        return stream

    def _let_end(self, stream: Any) -> None:
        """Signal the end of the jobs, and wait until the process has ended."""
        assert self._connection is not None
        self._connection.shutdown(socket.SHUT_WR)
        stream.read()

    def _kill(self) -> None:
        with self._gate:
            self._is_over = True
            connection, pid = self._connection, self._pid
        if connection is None:
            return
        if pid and not _has_hung_up(connection):
            end_tree(pid)
        else:  # it has not said hello yet, and ends when it finds the connection closed
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def _break(self, error: BaseException, future: Future[bytes] | None) -> None:
        """It has died: fail the jobs that wait for it."""
        with self._gate:
            self._is_over = True
        waiting = [future] if future is not None else []
        while not self._jobs.empty():
            job = self._jobs.get()
            waiting += [job[2]] if job is not None else []
        for lost in waiting:
            broken = BrokenProcessPool('The worker process has died.')
            broken.__cause__ = error
            lost.set_exception(broken)


def _has_hung_up(connection: socket.socket | None) -> bool:
    if connection is None:
        return False
    try:
        return connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b''
    except BlockingIOError:
        return False
    except OSError:
        return True


def end_tree(pid: int) -> None:
    """Kill a process and all its descendants."""
    from loky.backend.utils import kill_process_tree

    kill_process_tree(_Tree(pid))


class _Tree:
    """A process with the methods that loky needs."""

    def __init__(self, pid: int) -> None:
        self.pid = pid

    def kill(self) -> None:
        """Kill it."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)

    def join(self) -> None:
        """Do nothing: its parent waits for it."""


_lock = threading.Lock()
_nurseries: list[Nursery] = []


class Nursery:
    """The handle of a process that forks workers; OSError is raised when it cannot be started."""

    def __init__(self, environment: Mapping[str, str], inheritance: Inheritance) -> None:
        self._inheritance = inheritance
        self._is_retired = False
        self._control, theirs = socket.socketpair()
        with theirs:
            settings = json.dumps([_paths(), sys.argv, theirs.fileno(), IDLE, _also()])
            self._process = subprocess.Popen(
                [sys.executable, *interpreter_flags(), '-c', _NURSERY_CODE, settings],
                env=environment,
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
        # it ends by itself, and would stay defunct until somebody has waited for it
        threading.Thread(target=self._process.wait, daemon=True, name='kartnb nursery').start()

    def has_ended(self) -> bool:
        """Whether it has ended; if so, its connection is closed."""
        if self._process.poll() is None:
            return False
        self._control.close()
        return True

    def serves(self, inheritance: Inheritance) -> bool:
        """Whether its next worker would be like a new process with this inheritance."""
        return not self._is_retired and self._inheritance == inheritance

    def fork(self, connection: socket.socket) -> None:
        """Request a worker for the other end of a connection; it is closed when the worker cannot be started."""
        socket.send_fds(self._control, [FORK], [connection.fileno()])

    def retire(self) -> None:
        """Let it end as soon as it has no workers."""
        self._is_retired = True
        with contextlib.suppress(OSError):  # it has ended
            self._control.send(RETIRE)

    def end(self) -> None:
        """End it, and its workers with it."""
        self._control.close()
        try:
            self._process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def forget(self) -> None:
        """In a forked process: leave it to the parent process."""
        self._control.close()
        # the finalizer of Popen would warn of a process that is not a child of this one
        self._process.returncode = 0


def nursery_for(limits: Mapping[str, str]) -> Nursery:
    """A nursery whose workers are like new child processes started now with these variables added."""
    environment = {**os.environ, **limits}
    inheritance = _inheritance(environment)
    with _lock:
        _nurseries[:] = [nursery for nursery in _nurseries if not nursery.has_ended()]
        for nursery in _nurseries:
            if nursery.serves(inheritance):
                return nursery
            nursery.retire()
        with held_interrupts():
            _nurseries.append(Nursery(environment, inheritance))
        return _nurseries[-1]


def retire_nurseries() -> None:
    """Let the nurseries of this process end, as soon as they have no workers."""
    with _lock:
        for nursery in _nurseries:
            nursery.retire()


def _end_nurseries() -> None:
    while _nurseries:
        _nurseries.pop().end()


def _forget_nurseries() -> None:
    global _lock
    _lock = threading.Lock()
    while _nurseries:
        _nurseries.pop().forget()


atexit.register(_end_nurseries)


if hasattr(os, 'register_at_fork'):
    os.register_at_fork(after_in_child=_forget_nurseries)


def _inheritance(environment: Mapping[str, str]) -> Inheritance:
    configuration = (*_CONFIGURATION, environment.get(_CONFIGURATION_VARIABLE, ''))
    return (
        dict(environment),
        sys.executable,
        interpreter_flags(),
        _paths(),
        list(sys.argv),
        os.getcwd(),
        [_version(path) for path in configuration],
        _also(),
        _process_limits(),
    )


def _also() -> list[str]:
    return [name for name in _ALSO if name in sys.modules]


def _paths() -> list[str]:
    """The search path of modules, with the working directory in place of ''."""
    return [path or os.getcwd() for path in sys.path if isinstance(path, str)]


def _version(path: str) -> tuple[int, int] | None:
    try:
        state = os.stat(path)
    except OSError:
        return None
    return state.st_mtime_ns, state.st_size


def _process_limits() -> list[Any]:
    """Limits and other settings that child processes inherit from this one by the system."""
    import resource

    kinds = [getattr(resource, name) for name in dir(resource) if name.startswith('RLIMIT_')]
    mask = [line for line in Path('/proc/self/status').read_text().splitlines() if line.startswith('Umask')]
    processors = os.sched_getaffinity(0)
    return [*map(resource.getrlimit, kinds), mask, processors, os.getpriority(os.PRIO_PROCESS, 0), os.getgroups()]


def main(descriptor: int, idle: float, also: Sequence[str] = ()) -> None:
    """Run a nursery: fork workers as they are requested, until the building process has ended.

    `descriptor` is a socket to the building process; when that has ended, the workers are killed. After `idle` seconds
    without workers and requests the nursery ends. `also` names modules to import beside those that all workers need.
    """
    space = vars(sys.modules['__main__'])
    for name in [name for name in space if not name.startswith('__')]:
        del space[name]  # in workers it is that of the notebook
    # Ctrl-C in a terminal reaches the whole process group: it may interrupt tasks, but must not end the nursery
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _import_needed((*_NEEDED, *also))
    connection = _NurseryProcess(socket.socket(fileno=descriptor), idle).tend()
    if connection is None:
        os._exit(0)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with contextlib.suppress(KeyboardInterrupt):
        serve(connection)


def _import_needed(names: Sequence[str]) -> None:
    for name in names:
        with contextlib.suppress(ImportError):
            import_module(name)
    # a forked page is copied when it is written to, and a collection writes to every object
    gc.collect()
    gc.freeze()  # spares workers from collecting all this, at the latest when they end


class _NurseryProcess:
    """The loop of a nursery, with the parameters of `main`."""

    def __init__(self, control: socket.socket, idle: float) -> None:
        self._control = control
        self._idle = idle
        self._asked = time.monotonic()
        #: The workers, each with a descriptor that can be read when it has ended (-1 where the system has none).
        self._workers: dict[int, int] = {}
        self._retired = False

    def tend(self) -> socket.socket | None:
        """Fork workers; gives its connection in each worker, and None in this process at the end."""
        while not self._is_over():
            ended = [descriptor for descriptor in self._workers.values() if descriptor >= 0]
            readable, _, _ = select.select([self._control.fileno(), *ended], [], [], self._patience())
            if self._control.fileno() not in readable:
                continue
            request, connections = _received(self._control)
            if not request:
                self._end_workers()
                return None
            self._retired = self._retired or request == RETIRE
            self._asked = time.monotonic()
            for descriptor in connections:
                if self._fork():
                    return socket.socket(fileno=descriptor)
                os.close(descriptor)
        return None

    def _is_over(self) -> bool:
        for worker in list(self._workers):
            if os.waitpid(worker, os.WNOHANG)[0]:
                descriptor = self._workers.pop(worker)
                if descriptor >= 0:
                    os.close(descriptor)
                self._asked = time.monotonic()
        return not self._workers and (self._retired or time.monotonic() - self._asked > self._idle)

    def _patience(self) -> float:
        return _LOOK if self._workers else max(self._asked + self._idle - time.monotonic(), 0.0) + 0.01

    def _fork(self) -> bool:
        """Fork a worker; True in the worker."""
        with warnings.catch_warnings():
            # Python warns of forks beside threads: here they are those of numpy's BLAS, which survives forks
            warnings.simplefilter('ignore')
            try:
                worker = os.fork()
            except OSError:  # whoever requested it finds the connection closed
                return False
        if worker:
            self._workers[worker] = _end_of(worker)
            return False
        self._control.close()
        for descriptor in self._workers.values():
            if descriptor >= 0:
                os.close(descriptor)
        return True

    def _end_workers(self) -> None:
        """Kill all workers and their children: the building process is gone."""
        for worker in self._workers:
            end_tree(worker)


def _end_of(process: int) -> int:
    try:
        return os.pidfd_open(process)
    except OSError:  # an old system, or one that forbids it: `_LOOK` is how often the workers are looked at
        return -1


def _received(control: socket.socket) -> tuple[bytes, list[int]]:
    try:
        data, descriptors, _, _ = socket.recv_fds(control, 1, 1)
    except OSError:
        return b'', []
    return data, descriptors


def serve(connection: socket.socket) -> None:
    """In a worker: do the jobs that come in through its connection, until that is closed."""
    from kartnb.execution.task_run import reseed

    # not closed before the process ends, which is what the other end waits for
    descriptor = connection.detach()
    os.register_at_fork(after_in_child=lambda: os.close(descriptor))
    reseed()
    if 'PYTHONFAULTHANDLER' not in os.environ:
        faulthandler.enable()
    reader, writer = (open(descriptor, mode, closefd=False) for mode in ('rb', 'wb'))  # noqa: SIM115
    # a hello: without it, `ForkedWorker` knows that the nursery has ended and asks another one
    send(writer, os.getpid())
    while True:
        try:
            work, data = pickle.load(reader)
        except (EOFError, OSError):
            return
        send(writer, _done(work, data))
        del work, data


def _done(work: Any, data: bytes) -> tuple[bool, Any]:
    """Whether a job succeeded, and its result or error."""
    try:
        return True, work(data)
    except BaseException as error:
        try:
            # some exceptions can be pickled but not unpickled, which would break the stream at the other end
            pickle.loads(pickle.dumps(error))
        except Exception:
            return False, WorkerError(described(error))
        return False, error


def send(stream: Any, value: Any) -> None:
    """Send a value to the other end of a connection."""
    pickle.dump(value, stream, pickle.HIGHEST_PROTOCOL)
    stream.flush()
