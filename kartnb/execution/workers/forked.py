"""One worker process that a nursery has forked, as the process that builds sees it."""

from __future__ import annotations

import contextlib
import pickle
import socket
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from queue import SimpleQueue
from typing import Any, TypeAlias

from kartnb.execution.workers.nursery import nursery_for
from kartnb.execution.workers.nursery_process import end_tree, send
from kartnb.execution.workers.pools import Work

#: How often a worker is asked for: a nursery may just have ended.
_TRIES = 3
#: Seconds that a worker is given to end by itself.
_PATIENCE = 10.0

_Job: TypeAlias = tuple[Work, bytes, 'Future[bytes]']


class ForkedWorker:
    """A worker process, which does one thing after the other. Its methods are those of an executor.

    Parameters
    ----------
    limits
        Environment variables that it has beside those of this process.
    started
        Is called, in a thread of the worker's, when it is there; when it cannot be had, too.
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
        """Let it do something, when it has done what it was given before.

        Raises
        ------
        BrokenProcessPool
            When it has died.
        """
        future: Future[bytes] = Future()
        with self._gate:
            if self._is_over or _has_hung_up(self._connection):
                raise BrokenProcessPool('The worker process has died.')
            self._jobs.put((work, data, future))
        return future

    def shutdown(self, wait: bool = True, kill_workers: bool = False) -> None:
        """Let it end; or end it, and all that it has started, at once."""
        self._jobs.put(None)
        if kill_workers:
            self._kill()
        if wait:
            self._thread.join(_PATIENCE)
            if self._thread.is_alive():  # something that a task has left running keeps it
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
        """Give the stream to a new worker."""
        try:
            for _ in range(_TRIES):
                stream = self._ask()
                if stream is not None:
                    return stream
        finally:
            self._started()
        raise BrokenProcessPool('No worker process could be started.')

    def _ask(self) -> Any:
        """A stream to a new worker, or None when nobody answers."""
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
        """Tell the worker that nothing more comes, and wait until it has ended."""
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
        else:  # it is not there yet, and will find nobody
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def _break(self, error: BaseException, future: Future[bytes] | None) -> None:
        """It has died: tell those who wait for it."""
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
