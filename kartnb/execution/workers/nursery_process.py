"""The process that worker processes are forked from: it has imported what all of them need, and runs no task itself.

A worker that is forked is as a newly started one: nothing of the user's was imported before, and no task has run. It
is there in milliseconds, where a new interpreter would import kartnb, luigi and numpy first.
"""

from __future__ import annotations

import contextlib
import faulthandler
import gc
import os
import pickle
import select
import signal
import socket
import time
import warnings
from collections.abc import Sequence
from importlib import import_module
from typing import Any

from kartnb.errors import WorkerError

#: What every worker imports sooner or later: to unpack tasks, to seed them, to pack their outcomes.
_NEEDED = (
    'cloudpickle',
    'numpy.random',
    'tblib.pickling_support',
    'kartnb.execution.workers.remote',
    'kartnb.execution.workers.task_pickler',
    'kartnb.storage.formats.simple',
)
#: Seconds between two looks whether workers have ended.
_LOOK = 1.0
#: What the process that builds asks for: a worker, with the connection that it is to use, or the end.
FORK = b'f'
RETIRE = b'r'


def main(descriptor: int, idle: float, also: Sequence[str] = ()) -> None:
    """Fork workers as they are asked for, until nobody is there to ask any more.

    Parameters
    ----------
    descriptor
        A socket to the process that builds. When that process has ended, the workers are ended too.
    idle
        After so many seconds without workers and requests this process ends.
    also
        What else to import for the workers.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _import_needed((*_NEEDED, *also))
    connection = _Nursery(socket.socket(fileno=descriptor), idle).tend()
    if connection is None:
        os._exit(0)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with contextlib.suppress(KeyboardInterrupt):
        serve(connection)


def _import_needed(names: Sequence[str]) -> None:
    from kartnb._deferred import import_luigi_lightly

    import_luigi_lightly()
    for name in names:
        with contextlib.suppress(ImportError):
            import_module(name)
    gc.collect()
    gc.freeze()  # a worker has no use for looking through all this, least of all when it ends


class _Nursery:
    """What goes on in this process.

    Parameters
    ----------
    control
        Where requests come from.
    idle
        As in `main`.
    """

    def __init__(self, control: socket.socket, idle: float) -> None:
        self._control = control
        self._idle = idle
        self._asked = time.monotonic()
        self._workers: set[int] = set()
        self._retired = False

    def tend(self) -> socket.socket | None:
        """Fork workers; gives its connection in each worker, and None in this process when there is no more to do."""
        while not self._is_over():
            if not select.select([self._control], [], [], self._patience())[0]:
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
                self._workers.remove(worker)
                self._asked = time.monotonic()
        return not self._workers and (self._retired or time.monotonic() - self._asked > self._idle)

    def _patience(self) -> float:
        return _LOOK if self._workers else max(self._asked + self._idle - time.monotonic(), 0.0) + 0.01

    def _fork(self) -> bool:
        """Fork a worker; gives whether this is it."""
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')  # the only threads are those of a library that knows of forks
            try:
                worker = os.fork()
            except OSError:  # the one who has asked finds that nobody answers
                return False
        if worker:
            self._workers.add(worker)
            return False
        self._control.close()
        return True

    def _end_workers(self) -> None:
        """End all workers, and whatever they have started: nobody is there to take what they make."""
        for worker in self._workers:
            end_tree(worker)


def _received(control: socket.socket) -> tuple[bytes, list[int]]:
    try:
        data, descriptors, _, _ = socket.recv_fds(control, 1, 1)
    except OSError:
        return b'', []
    return data, descriptors


def end_tree(pid: int) -> None:
    """End a process and all that it has started, at once."""
    from loky.backend.utils import kill_process_tree

    kill_process_tree(_Tree(pid))


class _Tree:
    """A process, as loky wants it."""

    def __init__(self, pid: int) -> None:
        self.pid = pid

    def kill(self) -> None:
        """End it."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)

    def join(self) -> None:
        """Its parent waits for it."""


def serve(connection: socket.socket) -> None:
    """In a worker: do what comes in through its connection, until that is closed."""
    from kartnb.execution.running.random_state import seed_anew

    # it stays open until the very end of the process, which is what the other end waits for
    descriptor = connection.detach()
    os.register_at_fork(after_in_child=lambda: os.close(descriptor))
    seed_anew()
    if 'PYTHONFAULTHANDLER' not in os.environ:
        faulthandler.enable()
    reader, writer = (open(descriptor, mode, closefd=False) for mode in ('rb', 'wb'))  # noqa: SIM115
    send(writer, os.getpid())
    while True:
        try:
            work, data = pickle.load(reader)
        except (EOFError, OSError):
            return
        send(writer, _done(work, data))
        del work, data


def _done(work: Any, data: bytes) -> tuple[bool, Any]:
    """Whether something could be done, and what came of it, or the error."""
    try:
        return True, work(data)
    except BaseException as error:
        try:
            pickle.loads(pickle.dumps(error))
        except Exception:
            return False, WorkerError(f'{type(error).__name__}: {error}')
        return False, error


def send(stream: Any, value: Any) -> None:
    """Send a value to the other end of a connection."""
    pickle.dump(value, stream, pickle.HIGHEST_PROTOCOL)
    stream.flush()
