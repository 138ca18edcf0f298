"""What runs in a nursery, and in the workers that are forked from it.

In the nursery: `main` imports libraries, and forks workers as they are asked for. In a worker: `serve` does what comes
in.
"""

from __future__ import annotations

import contextlib
import faulthandler
import gc
import mmap
import os
import pickle
import select
import signal
import socket
import struct
import sys
import time
import warnings
from collections import deque
from collections.abc import Collection, Iterable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

from kartnb._luigi import end_process
from kartnb.errors import WorkerError, described
from kartnb.task.code.loaded import note_modules

#: Requests to a nursery, the first byte of a message: fork a worker for the connection that comes along; end when the
#: workers have ended; stay for so many seconds without workers and requests; import these modules when there is nothing
#: else to do; import those of these packages before the next worker is forked.
FORK, RETIRE, STAY, IMPORT, WANTED = b'f', b'r', b's', b'i', b'w'
#: Bytes of the longest request.
LONGEST = 1 << 16
#: States of a nursery: it imports a module; has imported all; or must not be forked from, because of a module.
IMPORTING, READY, UNFIT = 'importing', 'ready', 'unfit'
#: Seconds between two looks whether workers have ended.
_LOOK = 1.0
#: Modules that every worker imports sooner or later, to unpack tasks, seed them and pack their outcomes.
_NEEDED = (
    'cloudpickle',
    'numpy.random',
    'kartnb.execution.workers.remote',
    'kartnb.execution.workers.task_pickler',
    'kartnb.storage.formats.simple',
)
#: Packages with threads that survive a fork: those of their BLAS. They are imported before all others, so that threads
#: that come with another package are known to be its own.
_SURVIVE = ('numpy', 'scipy')
#: The name of a thread that survives a fork: of jemalloc, the allocator of pyarrow.
_SURVIVING_THREAD = 'jemalloc_bg_thd'
#: What a process must not have open when it forks, by the beginnings of their names: a graphics card, a connection.
_NOT_TO_SHARE = ('/dev/nvidia', '/dev/kfd', '/dev/dri', 'socket:')
_PAGE = 256
#: How many ends of workers are remembered after that, each as the id and the status of its process.
_ENDS = 64
_END = struct.Struct('=ii')
#: Which of a library's threads a variable of the environment limits, by the names of threadpoolctl.
_LIMITED = {'OMP_NUM_THREADS': 'openmp', 'OPENBLAS_NUM_THREADS': 'blas'}
#: Libraries that are told themselves how many threads they may start: what they have read cannot be changed otherwise.
_TOLD = {'torch': 'OMP_NUM_THREADS', 'numexpr': 'NUMEXPR_NUM_THREADS', 'numba': 'NUMBA_NUM_THREADS'}


class Status(NamedTuple):
    """What a nursery does.

    `heard` is the number of requests that it knows; `left` how many modules it has to import before the next worker,
    None while it starts; `pace` how many seconds one takes; `module` the one that it imports or is unfit because of.
    """

    state: str
    heard: int = 0
    left: int | None = None
    pace: float = 0.0
    module: str = ''


class StatusPage:
    """Memory that a nursery shares with the building process: its status can be read when it hangs or has died."""

    def __init__(self, descriptor: int) -> None:
        self._memory = mmap.mmap(descriptor, _PAGE + _ENDS * _END.size)
        self._ended = 0

    def write(self, status: Status) -> None:
        """Replace the status."""
        text = ' '.join(map(str, status)).encode()
        self._memory[:_PAGE] = text[:_PAGE].ljust(_PAGE, b'\0')

    def note_end(self, worker: int, status: int) -> None:
        """Note how a worker has ended, as `os.waitpid` says it."""
        _END.pack_into(self._memory, _PAGE + self._ended % _ENDS * _END.size, worker, status)
        self._ended += 1

    def end_of(self, worker: int) -> int | None:
        """How a worker has ended, as `os.waitpid` says it; None when it is not known."""
        found = dict(_END.iter_unpack(self._memory[_PAGE:]))
        return found.get(worker)

    def read(self) -> Status:
        """The status; that of a process which still starts is to import."""
        words = self._memory[:_PAGE].rstrip(b'\0').decode('utf-8', 'replace').split(' ')
        if len(words) != len(Status._fields):
            return Status(IMPORTING)
        return Status(words[0], int(words[1]), int(words[2]), float(words[3]), words[4])


def new_page() -> int:
    """A descriptor of memory for a `StatusPage`."""
    descriptor = os.memfd_create('kartnb-nursery')
    os.ftruncate(descriptor, _PAGE + _ENDS * _END.size)
    return descriptor


def main(control: int, page: int, idle: float) -> None:
    """Run a nursery: fork workers as they are requested, until the building process has ended.

    `control` is a socket to the building process; when that has ended, the workers are killed. `page` is the descriptor
    of a `StatusPage`. After `idle` seconds without workers and requests the nursery ends.
    """
    space = vars(sys.modules['__main__'])
    for name in [name for name in space if not name.startswith('__')]:
        del space[name]  # in workers it is that of the notebook
    # Ctrl-C in a terminal reaches the whole process group: it may interrupt tasks, but must not end the nursery
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    gc.disable()
    for name in _NEEDED:
        with contextlib.suppress(ImportError):
            import_module(name)
    connection = _NurseryProcess(socket.socket(fileno=control), StatusPage(page), idle).tend()
    if connection is None:
        os._exit(0)
    gc.enable()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with contextlib.suppress(KeyboardInterrupt):
        serve(connection)
        end_process()


class _NurseryProcess:
    """The loop of a nursery, with the parameters of `main`."""

    def __init__(self, control: socket.socket, page: StatusPage, idle: float) -> None:
        self._control = control
        self._page = page
        self._idle = idle
        self._asked = time.monotonic()
        #: The workers, each with a descriptor that can be read when it has ended (-1 where the system has none).
        self._workers: dict[int, int] = {}
        self._retired = False
        self._names: deque[str] = deque()
        #: How many of them the next worker has to wait for.
        self._left = 0
        self._pace = time.process_time() / len(sys.modules)
        #: The packages that the next workers need.
        self._wanted: set[str] = set()
        #: Connections that wait for a worker.
        self._waiting: deque[int] = deque()
        self._is_unfit = False
        self._is_tidy = False
        #: How many requests have come.
        self._heard = 0
        self._known = _Possessions.now()

    def tend(self) -> socket.socket | None:
        """Fork workers; gives its connection in each worker, and None in this process at the end."""
        while not self._is_over():
            readable = self._readable()
            if self._control.fileno() in readable and not self._take_request():
                self._end_workers()
                return None
            while self._waiting and not self._has_to_wait():
                descriptor = self._waiting.popleft()
                if self._fork():
                    return socket.socket(fileno=descriptor)
                os.close(descriptor)
            if self._control.fileno() not in readable:
                self._prepare()
        return None

    def _readable(self) -> list[int]:
        ended = [descriptor for descriptor in self._workers.values() if descriptor >= 0]
        return select.select([self._control.fileno(), *ended], [], [], self._patience())[0]

    def _say(self, state: str, module: str = '') -> None:
        self._page.write(Status(state, self._heard, self._left, self._pace, module))

    def _prepare(self) -> None:
        """Import the next module; with nothing left to import, get ready for forks."""
        if self._names:
            self._say(IMPORTING, self._names[0])
            self._import(self._names.popleft())
        elif not self._is_tidy and not self._is_unfit:
            note_modules()  # else each worker looks whether these are the user's
            # a forked page is copied when it is written to, and a collection writes to every object
            gc.collect()
            gc.freeze()  # spares workers from collecting all this, at the latest when they end
            self._is_tidy = True
            self._say(READY)

    def _take_request(self) -> bool:
        """Take in a request; False when the building process has ended."""
        try:
            data, descriptors, _, _ = socket.recv_fds(self._control, LONGEST, 1)
        except OSError:
            return False
        request, text = data[:1], data[1:].decode()
        self._is_tidy = False
        self._heard += 1
        self._asked = time.monotonic()
        if request == RETIRE:
            self._retired = True
            self._names.clear()
        elif request == STAY:
            self._idle = float(text)
        elif request == IMPORT and not self._is_unfit:
            self._put(text.split('\n'))
        elif request == WANTED:
            self._wanted = set(text.split('\n'))
            self._put()
        self._waiting.extend(descriptors)
        return bool(request)

    def _put(self, names: Iterable[str] = ()) -> None:
        """Add modules to those that are to be imported, and put those that workers wait for to the front."""
        found, first = [*self._names, *names], {*_SURVIVE, *self._wanted}
        early = [name for name in found if _package(name) in first]
        self._names = deque([*early, *(name for name in found if _package(name) not in first)])
        # those of the BLAS come before the others
        self._left = len(early) if any(_package(name) in self._wanted for name in early) else 0

    def _has_to_wait(self) -> bool:
        """Whether what the next worker needs is still to be imported; it would have to do that by itself."""
        if self._is_unfit:
            while self._waiting:  # whoever requested one finds the connection closed, and asks another nursery
                os.close(self._waiting.popleft())
            return True
        return self._left > 0

    def _import(self, name: str) -> None:
        self._left = max(self._left - 1, 0)
        self._is_tidy = False
        if name in sys.modules:
            return
        with contextlib.suppress(Exception, SystemExit):  # as the notebook, where an import may have failed in part
            import_module(name)
        found = _Possessions.now(besides=self._waiting)
        if _package(name) in _SURVIVE:
            self._known = found
        elif not found.may_fork_since(self._known):
            self._is_unfit = True
            self._names.clear()
            self._say(UNFIT, name)

    def _is_over(self) -> bool:
        for worker in list(self._workers):
            ended, status = os.waitpid(worker, os.WNOHANG)
            if ended:
                self._page.note_end(worker, status)
                descriptor = self._workers.pop(worker)
                if descriptor >= 0:
                    os.close(descriptor)
                self._asked = time.monotonic()
        if self._workers or self._waiting:
            return False
        return self._retired or self._is_unfit or time.monotonic() - self._asked > self._idle

    def _patience(self) -> float:
        if self._names or not (self._is_tidy or self._is_unfit):
            return 0.0
        return _LOOK if self._workers else max(self._asked + self._idle - time.monotonic(), 0.0) + 0.01

    def _fork(self) -> bool:
        """Fork a worker; True in the worker."""
        with warnings.catch_warnings():
            # Python warns of forks beside threads: here they are those that survive forks
            warnings.simplefilter('ignore')
            try:
                worker = os.fork()
            except OSError:  # whoever requested it finds the connection closed
                return False
        if worker:
            self._workers[worker] = end_of(worker)
            return False
        self._control.close()
        for descriptor in (*self._workers.values(), *self._waiting):
            if descriptor >= 0:
                os.close(descriptor)
        return True

    def _end_workers(self) -> None:
        """Kill all workers and their children: the building process is gone."""
        for worker in self._workers:
            end_tree(worker)


class _Possessions(NamedTuple):
    """What an import may leave in a process so that it must not fork: threads, a device, a connection."""

    threads: frozenset[str]
    not_to_share: frozenset[str]

    @classmethod
    def now(cls, besides: Collection[int] = ()) -> _Possessions:
        """Those of this process, `besides` these descriptors."""
        threads = {task for task in os.listdir('/proc/self/task') if not _survives(task)}
        descriptors = set(map(int, os.listdir('/proc/self/fd'))) - set(besides)
        links = {_link(f'/proc/self/fd/{descriptor}') for descriptor in descriptors}
        return cls(frozenset(threads), frozenset(link for link in links if link.startswith(_NOT_TO_SHARE)))

    def may_fork_since(self, earlier: _Possessions) -> bool:
        """Whether nothing has come since then."""
        return self.threads <= earlier.threads and self.not_to_share <= earlier.not_to_share


def _survives(task: str) -> bool:
    try:
        return Path(f'/proc/self/task/{task}/comm').read_text().strip() == _SURVIVING_THREAD
    except OSError:  # it has just ended
        return True


def _link(path: str) -> str:
    try:
        return os.readlink(path)
    except OSError:
        return ''


def _package(name: str) -> str:
    return name.partition('.')[0]


def end_of(process: int) -> int:
    """A descriptor that can be read when a process has ended; -1 where the system has none."""
    try:
        return os.pidfd_open(process)
    except OSError:  # an old system, or one that forbids it: `_LOOK` is how often the workers are looked at
        return -1


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


def serve(connection: socket.socket) -> None:
    """In a worker: do the jobs that come in through its connection, until that is closed."""
    from kartnb.execution.task_run import reseed

    # not closed before the process ends, which is what the other end waits for
    descriptor = connection.detach()
    os.set_inheritable(descriptor, False)
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


def _done(work: Any, data: Any) -> tuple[bool, Any]:
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


def limit_threads(limits: Mapping[str, str]) -> None:
    """In a worker: let libraries start as many threads as these environment variables say.

    Those that were loaded in the nursery have read there that they may have one.
    """
    os.environ.update(limits)
    shares = {api: int(limits[name]) for name, api in _LIMITED.items() if name in limits}
    if not any(share > 1 for share in shares.values()):
        return
    from threadpoolctl import ThreadpoolController

    loaded = ThreadpoolController()
    for api, share in shares.items():
        loaded.select(user_api=api).limit(limits=share)
    for library, variable in _TOLD.items():
        if library in sys.modules and variable in limits:
            sys.modules[library].set_num_threads(int(limits[variable]))
