"""Worker processes forked from a process that has imported what they need: the nursery.

A worker that is forked is as a newly started one: nothing of the user's was imported before, and no task has run. It
is there in milliseconds, where a new interpreter would import kartnb, luigi and numpy first, and then what the tasks
use: the nursery imports the libraries that this process has imported, and more when that grows.

`ForkedWorker`s ask a `Nursery` for their processes; what runs in these is in `nursery_process`.
"""

from __future__ import annotations

import atexit
import contextlib
import inspect
import json
import math
import os
import pickle
import select
import signal
import socket
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import BrokenExecutor, Future
from concurrent.futures.process import BrokenProcessPool
from importlib.machinery import ModuleSpec
from pathlib import Path
from queue import SimpleQueue
from typing import Any, TypeAlias

from kartnb._luigi import interpreter_flags
from kartnb.config import are_workers_warm
from kartnb.execution.workers import nursery_process
from kartnb.execution.workers.nursery_process import (
    LONGEST,
    StatusPage,
    end_of,
    end_tree,
    limit_threads,
    new_page,
    send,
)
from kartnb.execution.workers.worker_pools import DeadWorker, UnreachableWorker, Work
from kartnb.interrupts import held_interrupts
from kartnb.task.code.own import is_own

#: Environment variables from which libraries read how many threads of their own they may start.
THREAD_LIMITS = (
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
#: Seconds that it waits while somebody holds it: controls are on a page.
_HELD = 1e9
#: Seconds that a nursery is given to end.
_PATIENCE = 1.0
#: Seconds that a worker is given to end by itself.
_STOP_PATIENCE = 10.0
#: Seconds that a process needs at most to end when it has closed its connection because it ends.
_DYING = 0.5
#: Seconds that the import of one module may take while a worker waits for it.
HANGING = 30.0
#: Signals by which a process ends that has done something wrong.
_CRASHES = ('SIGSEGV', 'SIGABRT', 'SIGBUS', 'SIGFPE', 'SIGILL', 'SIGTRAP', 'SIGSYS')
#: How many times a worker is requested: a nursery may just have ended, or found a library that it must not fork with.
_TRIES = 10
#: Seconds between two looks at a nursery.
_LOOK = 0.5
_NURSERY_CODE = """\
import json, sys
sys.path[:], sys.argv[:], control, page, idle = json.loads(sys.argv[1])
from kartnb.execution.workers.nursery_process import main
main(control, page, idle)
"""
#: How many modules a nursery imports for itself, about.
_OWN_MODULES = 700
#: Where luigi looks for its configuration when imported, beside the path in the environment variable.
_CONFIGURATION = ('/etc/luigi/client.cfg', '/etc/luigi/luigi.cfg', '/etc/luigi/luigi.toml', 'client.cfg', 'luigi.cfg')
_CONFIGURATION_VARIABLE = 'LUIGI_CONFIG_PATH'
#: What a notebook's kernel, tests and kartnb itself consist of: tasks have no use for them.
_OF_NO_USE = frozenset(
    {
        *('IPython', 'ipykernel', 'ipykernel_launcher', 'ipywidgets', 'anywidget', 'widgetsnbextension', 'comm'),
        *('traitlets', 'zmq', 'tornado', 'jupyter_client', 'jupyter_core', 'jupyterlab', 'notebook', 'nest_asyncio'),
        *('debugpy', 'pydevd', '_pydevd_bundle', '_pydev_bundle', '_pydevd_frame_eval', '_pydev_runfiles'),
        *('pydev_ipython', '_pydevd_sys_monitoring', 'pydevd_plugins', 'pydevd_file_utils', 'pydevd_tracing', 'pdb'),
        *('jedi', 'parso', 'prompt_toolkit', 'matplotlib_inline', 'stack_data', 'executing', 'asttokens', 'pure_eval'),
        *('wcwidth', 'pexpect', 'ptyprocess', 'backcall', 'pickleshare', 'autoreload'),
        *('pytest', '_pytest', 'pluggy', 'iniconfig', 'xdist', 'execnet', 'coverage', 'playwright', 'greenlet'),
        *('antigravity', 'this', 'idlelib', 'turtle', 'turtledemo', 'tkinter', '_tkinter'),
        *('kartnb', 'gokart', 'luigi', 'loky'),
    }
)
#: Libraries whose makers say that a process must not fork after their import, or that hold a device or a connection.
_NOT_BEFORE_A_FORK = frozenset(
    {
        *('jax', 'jaxlib', 'flax', 'tensorflow', 'keras', 'mxnet', 'paddle', 'tensorrt', 'bitsandbytes', 'vllm'),
        *('cupy', 'cudf', 'cuml', 'rmm', 'pycuda', 'pyopencl', 'dask_cuda', 'cuda'),
        *('grpc', 'ray', 'pyspark', 'py4j', 'mpi4py', 'horovod', 'polars', 'h2o'),
    }
)
#: Everything that the workers of a nursery have from the process that started it; when it changes, a new one starts.
Inheritance: TypeAlias = tuple[Any, ...]
_Job: TypeAlias = tuple[Work, bytes, 'Future[bytes]']


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
        self._nursery: Nursery | None = None
        #: A descriptor that can be read when the process has ended; -1 before it is known, and where there is none.
        self._end = -1
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
                    self._wait_for_answer()
                    done, value = pickle.load(stream)
                    (future.set_result if done else future.set_exception)(value)
                    job = future = None
                self._let_end(stream)
        except BaseException as error:
            self._break(error, future)
        finally:
            with self._gate:
                end, self._end, self._pid = self._end, -1, 0
                if self._connection is not None:
                    self._connection.close()
            if end >= 0:
                os.close(end)

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
            nursery = self._nursery = nursery_for()
            with contextlib.suppress(OSError):
                nursery.fork(theirs)
        nursery.attend(ours)
        stream = ours.makefile('rwb')
        try:
            self._pid = pickle.load(stream)
            send(stream, (limit_threads, self._limits))
            pickle.load(stream)
        except (EOFError, OSError):
            stream.close()
            ours.close()
            nursery.retire()  # it has ended, or is about to
            return None
        self._end = end_of(self._pid)
        return stream

    def _wait_for_answer(self) -> None:
        """Wait for something to read; EOFError when the process has ended, though a child keeps its connection open."""
        if self._end < 0:
            return
        assert self._connection is not None
        poll = select.poll()
        poll.register(self._connection, select.POLLIN)
        poll.register(self._end, select.POLLIN)
        poll.poll()
        if self._has_ended() and not _can_be_read(self._connection.fileno()):
            raise EOFError

    def _let_end(self, stream: Any) -> None:
        """Signal the end of the jobs, and wait until the process has ended."""
        assert self._connection is not None
        self._connection.shutdown(socket.SHUT_WR)
        if not _can_be_read(self._end, math.inf):
            stream.read()

    def _has_ended(self, patience: float = 0.0) -> bool:
        """Whether the process has ended, or does so in so many seconds."""
        return _can_be_read(self._end, patience) if self._end >= 0 else _has_hung_up(self._connection)

    def _kill(self) -> None:
        with self._gate:
            self._is_over = True
            if self._connection is None:
                return
            if self._pid and not self._has_ended():
                end_tree(self._pid)
                return
            # it has not said hello yet, and ends when it finds the connection closed
            with contextlib.suppress(OSError):
                self._connection.shutdown(socket.SHUT_RDWR)

    def _break(self, error: BaseException, future: Future[bytes] | None) -> None:
        """It has died, or cannot be reached any more and is ended: fail the jobs that wait for it."""
        with self._gate:
            was_wanted, self._is_over = not self._is_over, True
        kind: type[BrokenExecutor] = DeadWorker
        if self._pid and not self._has_ended(_DYING):
            end_tree(self._pid)  # nobody would know what it writes from now on
            self._has_ended(_PATIENCE)
            kind = UnreachableWorker if was_wanted else BrokenProcessPool
        waiting = [future] if future is not None else []
        while not self._jobs.empty():
            job = self._jobs.get()
            waiting += [job[2]] if job is not None else []
        how = self._how_it_died() if waiting and was_wanted and kind is DeadWorker else ''
        for lost in waiting:
            broken = kind(how)
            broken.__cause__ = error
            lost.set_exception(broken)

    def _how_it_died(self) -> str:
        """What is known of the end of the process, for people; '' if nothing is."""
        deadline = time.monotonic() + _PATIENCE
        while self._pid and self._nursery is not None and time.monotonic() < deadline:
            status = self._nursery.end_of(self._pid)
            if status is not None:
                return _in_words(os.waitstatus_to_exitcode(status))
            time.sleep(0.005)
        return ''


def _in_words(code: int) -> str:
    """How a process has ended, by its exit code or its signal as a negative number.

    >>> _in_words(3), _in_words(-11)
    ('it has ended itself with exit code 3', 'SIGSEGV: it crashed')
    """
    if code >= 0:
        return f'it has ended itself with exit code {code}'
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f'signal {-code}'
    if -code == signal.SIGKILL:
        return f'{name}: killed by somebody, or by the system because memory ran out'
    return f'{name}: it crashed' if name in _CRASHES else name


def _can_be_read(descriptor: int, patience: float = 0.0) -> bool:
    """Whether there is something to read in so many seconds; never where the system has no such descriptor."""
    if descriptor < 0:
        return False
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(None if math.isinf(patience) else patience * 1000))


def _has_hung_up(connection: socket.socket | None) -> bool:
    if connection is None:
        return False
    try:
        return connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b''
    except BlockingIOError:
        return False
    except OSError:
        return True


class Nursery:
    """The handle of a process that forks workers; OSError is raised when it cannot be started."""

    def __init__(self, environment: Mapping[str, str], inheritance: Inheritance) -> None:
        self._inheritance = inheritance
        self._is_retired = False
        self._requests = 0
        self._told = 0
        #: How many of the modules that it was told of come before the first worker.
        self._wanted = 0
        self._idle = IDLE
        self._control, theirs = socket.socketpair(type=socket.SOCK_SEQPACKET)
        page = new_page()
        self._page = StatusPage(page)
        with theirs:
            settings = json.dumps([module_paths(), sys.argv, theirs.fileno(), page, IDLE])
            try:
                self._process = subprocess.Popen(
                    [sys.executable, *interpreter_flags(), '-c', _NURSERY_CODE, settings],
                    env=environment,
                    pass_fds=[theirs.fileno(), page],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                )
            finally:
                os.close(page)
        threading.Thread(target=self._see_end, daemon=True, name='kartnb nursery').start()

    def _see_end(self) -> None:
        # it ends by itself, and would stay defunct until somebody has waited for it
        self._process.wait()
        if self.trouble() and not self._is_retired:
            with contextlib.suppress(OSError):  # the next build tries it again
                nursery_for()

    def has_ended(self) -> bool:
        """Whether it has ended; if so, its connection is closed."""
        if self._process.poll() is None:
            return False
        self._control.close()
        return True

    def serves(self, inheritance: Inheritance) -> bool:
        """Whether its next worker would be like a new process with this inheritance."""
        return not self._is_retired and self._inheritance == inheritance

    @property
    def status(self) -> nursery_process.Status:
        """What it does; it is not ready before it has heard of everything that it was told."""
        status = self._page.read()
        waits = status.state == nursery_process.READY and status.heard < self._requests
        return status._replace(state=nursery_process.IMPORTING) if waits else status

    def trouble(self) -> str:
        """The module that it must not be forked with, or that it died of while it was imported; '' for none."""
        status = self.status
        if status.state == nursery_process.UNFIT:
            return status.module
        died = status.state == nursery_process.IMPORTING and not self._is_retired and self._process.poll()
        return status.module if died else ''

    def fork(self, connection: socket.socket) -> None:
        """Request a worker for the other end of a connection; it is closed when the worker cannot be started."""
        socket.send_fds(self._control, [nursery_process.FORK], [connection.fileno()])
        self._requests += 1

    def attend(self, connection: socket.socket) -> None:
        """Wait for what it was asked for; a nursery whose import hangs is ended, and the connection with it."""
        while not select.select([connection], [], [], _LOOK)[0]:
            self.end_if_hanging()

    def end_if_hanging(self) -> None:
        """End it when it has been seen to import one module for too long; the module is left out from now on."""
        status = self.status
        if status.module and not self._is_retired and self._busy_since(status.module) > HANGING:
            _avoided.add(status.module.partition('.')[0])
            self._is_retired = True
            self._process.kill()

    def _busy_since(self, module: str) -> float:
        """Seconds since it was first seen to import a module."""
        if module != self._seen_module:
            self._seen_module, self._seen_since = module, time.monotonic()
        return time.monotonic() - self._seen_since

    _seen_module, _seen_since = '', 0.0

    def end_of(self, worker: int) -> int | None:
        """How one of its workers has ended, as `os.waitpid` says it; None when it is not known."""
        return self._page.end_of(worker)

    def seconds_left(self) -> float:
        """About how many seconds pass until it forks the next worker."""
        global _pace
        status = self.status
        _pace = status.pace or _pace
        return _pace * (_OWN_MODULES + self._wanted if status.left is None else status.left)

    def import_more(self, names: list[str], wanted: Collection[str]) -> None:
        """Let it import those of these modules that are new to it; those of the packages `wanted` before it forks."""
        lines = [name for name in names[self._told :] if name.partition('.')[0] not in _avoided]
        with contextlib.suppress(OSError):  # it has ended, or has not taken in the last ones yet: at the next time
            for text in _joined(lines):
                self._send(nursery_process.IMPORT, text)
            self._told = len(names)
        self._wanted += sum(name.partition('.')[0] in wanted for name in lines)
        if wanted:
            with contextlib.suppress(OSError):
                self._send(nursery_process.WANTED, '\n'.join(wanted))

    def stay(self, idle: float) -> None:
        """Let it wait so many seconds for requests before it ends."""
        if idle != self._idle:
            with contextlib.suppress(OSError):
                self._send(nursery_process.STAY, str(idle))
                self._idle = idle

    def _send(self, request: bytes, text: str) -> None:
        self._control.send(request + text.encode(), socket.MSG_DONTWAIT)
        self._requests += 1

    def retire(self) -> None:
        """Let it end as soon as it has no workers."""
        self._is_retired = True
        with contextlib.suppress(OSError):  # it has ended
            self._control.send(nursery_process.RETIRE)

    def end(self) -> None:
        """End it, and its workers with it."""
        self._is_retired = True
        self._control.close()
        try:
            self._process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:  # such as in the midst of a long import
            end_tree(self._process.pid)
            self._process.wait()

    def forget(self) -> None:
        """In a forked process: leave it to the parent process."""
        self._control.close()
        # the finalizer of Popen would warn of a process that is not a child of this one
        self._process.returncode = 0


class Libraries:
    """The modules of libraries that this process has imported, in the order of their first import.

    Never the user's own modules, which may be edited, and nothing that is of no use in a worker or must not be forked.
    """

    def __init__(self) -> None:
        self._seen: set[str] = set()
        self._tops: dict[str, bool] = {}
        self._names: list[str] = []

    def names(self) -> list[str]:
        """The full names, with those that have come since the last call at the end."""
        new = [name for name in list(sys.modules) if name not in self._seen]
        self._seen.update(new)
        self._names += [name for name in new if self._is_wanted(name)]
        return self._names

    def _is_wanted(self, name: str) -> bool:
        top = name.partition('.')[0]
        if top in _OF_NO_USE or top in _NOT_BEFORE_A_FORK:
            return False
        module = sys.modules.get(name)
        # no `__getattr__` of the module's is asked; a module under another name than its own is an alias
        spec = None if module is None else inspect.getattr_static(module, '__spec__', None)
        if not isinstance(spec, ModuleSpec) or spec.name != name:
            return False
        if top not in self._tops:
            self._tops[top] = not is_own(top)
        return self._tops[top] and (spec.origin is not None or not is_own(name))


def _joined(names: list[str]) -> list[str]:
    """The names as texts that are not too long for one request."""
    size = LONGEST // 300
    return ['\n'.join(names[start : start + size]) for start in range(0, len(names), size)]


_lock = threading.Lock()
_nurseries: list[Nursery] = []
#: Seconds for the import of one module: a guess until a nursery has measured it.
_pace = 0.002
_libraries = Libraries()
#: Packages that no nursery imports, because one got into trouble with them.
_avoided: set[str] = set()
#: Those for whom a nursery waits longer than it would.
_holders: weakref.WeakSet[Any] = weakref.WeakSet()
#: Seconds that a nursery waits in a kernel, once it was started there before it is needed.
_idle_in_kernel = 0.0


def nursery_for(wanted: Collection[str] = ()) -> Nursery:
    """A nursery whose workers are like new child processes started now.

    It imports what this process has imported of libraries; what it has to import of the packages `wanted`, it imports
    before the next worker.
    """
    environment = _environment()
    inheritance = inherited(environment)
    with _lock:
        nursery = _serving(inheritance)
        if nursery is None:
            with held_interrupts():
                nursery = Nursery(environment, inheritance)
                _nurseries.append(nursery)
        if are_workers_warm():
            nursery.import_more(_libraries.names(), wanted)
        nursery.stay(_idle())
        return nursery


def _serving(inheritance: Inheritance) -> Nursery | None:
    """The present nursery with this inheritance; others are retired."""
    found = None
    for nursery in list(_nurseries):
        nursery.end_if_hanging()
        trouble = nursery.trouble()
        if trouble:
            _avoided.add(trouble.partition('.')[0])
        if nursery.has_ended():
            _nurseries.remove(nursery)
        elif trouble or not nursery.serves(inheritance):
            nursery.retire()
        else:
            found = nursery
    return found


def hold(holder: object) -> None:
    """Let nurseries wait for requests, without end, as long as this object lives."""
    weakref.finalize(holder, _let_go).atexit = False
    _holders.add(holder)


def _let_go() -> None:
    # whatever the thread does in which a holder is collected: without the lock
    for nursery in list(_nurseries):
        nursery.stay(_idle())


def _idle() -> float:
    return _HELD if list(_holders) else max(IDLE, _idle_in_kernel)


def wait_in_kernel(seconds: float) -> None:
    """Let nurseries wait at least so long for requests, until they are retired."""
    global _idle_in_kernel
    _idle_in_kernel = seconds


def seconds_to_start() -> float:
    """About how many seconds pass until a worker that is asked for now is there."""
    with _lock:
        nursery = _serving(inherited(_environment()))
        return _pace * _OWN_MODULES if nursery is None else nursery.seconds_left()


def _environment() -> dict[str, str]:
    # no library starts threads in a nursery; workers take their own limits. numba, which takes a lower one only, starts
    # them when they are used
    return {**dict.fromkeys((name for name in THREAD_LIMITS if name != 'NUMBA_NUM_THREADS'), '1'), **os.environ}


def retire_nurseries() -> None:
    """Let the nurseries of this process end, as soon as they have no workers."""
    wait_in_kernel(0.0)
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


def inherited(environment: Mapping[str, str]) -> Inheritance:
    """What a new child process with these environment variables would have from this process."""
    configuration = (*_CONFIGURATION, environment.get(_CONFIGURATION_VARIABLE, ''))
    return (
        dict(environment),
        sys.executable,
        interpreter_flags(),
        module_paths(),
        list(sys.argv),
        os.getcwd(),
        [version_of(path) for path in configuration],
        _process_limits(),
    )


def module_paths() -> list[str]:
    """The search path of modules, with the working directory in place of ''."""
    return [path or os.getcwd() for path in sys.path if isinstance(path, str)]


def version_of(path: str) -> tuple[int, int] | None:
    """What tells a version of a file from others; None where it does not exist."""
    try:
        state = os.stat(path)
    except OSError:
        return None
    return state.st_mtime_ns, state.st_size


def _process_limits() -> list[Any]:
    """Limits and other settings that child processes inherit from this one by the system."""
    if sys.platform != 'linux':
        return []
    import resource

    kinds = [getattr(resource, name) for name in dir(resource) if name.startswith('RLIMIT_')]
    mask = [line for line in Path('/proc/self/status').read_text().splitlines() if line.startswith('Umask')]
    processors = os.sched_getaffinity(0)
    return [*map(resource.getrlimit, kinds), mask, processors, os.getpriority(os.PRIO_PROCESS, 0), os.getgroups()]
