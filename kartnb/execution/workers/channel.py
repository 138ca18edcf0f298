"""How worker processes on this computer report at once what happens in them: a pipe that is opened with a key."""

from __future__ import annotations

import os
import pickle
import secrets
import threading
import time
from collections.abc import Callable, Container, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Client, Connection, Listener
from multiprocessing.reduction import recv_handle, send_handle
from typing import Any, TypeAlias

from kartnb.capture.task_log import Stream

#: Is given a node's key, what happened ('running', 'event', 'percentage', …), and the value that goes with it.
Send: TypeAlias = Callable[[str, str, Any], None]

#: What happened when a worker has a question: may its task go on; what is a variable of the notebook.
ASKS = 'asks'
LOOKS_UP = 'looks up'
_QUESTIONS = (ASKS, LOOKS_UP)
#: What happened when a task has ended, and its worker goes on with the next one, whose key comes along.
OUTCOME = 'outcome'
_STREAMS: tuple[Stream, Stream] = ('stdout', 'stderr')
#: Seconds to wait for messages that are on their way.
_PATIENCE = 5.0
#: Seconds to wait for the last messages of workers that have ended.
_SHORT_PATIENCE = 0.5


@dataclass(frozen=True, slots=True)
class Channel:
    """The address that a worker connects to, and the key that lets it in."""

    address: Any
    key: bytes


class Question:
    """What a worker asks; its task waits for the answer."""

    __slots__ = ('_connection', 'value')

    def __init__(self, value: Any, connection: Connection[Any, Any]) -> None:
        self.value = value
        self._connection = connection

    def answer(self, value: Any) -> None:
        """Send the answer, unless the worker has ended."""
        with suppress(OSError, ValueError):
            self._connection.send(value)


class Receiver:
    """The end of the pipe in the building process; `receive` is given what workers send, in threads of the receiver."""

    def __init__(self, receive: Send) -> None:
        self._receive = receive
        key = secrets.token_bytes(32)
        self._listener = Listener(authkey=key, backlog=64)
        self.channel = Channel(self._listener.address, key)
        self._closed = self._is_over = False
        self._changed = threading.Condition()
        self._workers: dict[int, _Worker] = {}
        self._reading: list[threading.Thread] = []
        self._accepting = threading.Thread(target=self._accept, daemon=True, name='kartnb-receiver')
        self._accepting.start()

    def close(self, *, wait: bool = True) -> None:
        """Take no more connections; wait for the last messages of workers that have ended, if they are wanted."""
        if self._is_over:
            return
        self._closed = True
        _knock(self.channel.address)
        self._accepting.join(_PATIENCE)
        self._listener.close()
        deadline = time.monotonic() + _SHORT_PATIENCE
        for thread in list(self._reading) if wait else ():
            thread.join(max(deadline - time.monotonic(), 0.0))
        with self._changed:
            for worker in self._workers.values():
                worker.close()
        self._is_over = True

    def wait_for(self, sent: tuple[int, int]) -> None:
        """Wait until so many messages (the second number) of a worker (the first) have been received."""
        pid, count = sent
        with self._changed:
            self._changed.wait_for(lambda: pid in self._workers and self._workers[pid].received >= count, _PATIENCE)

    def wait_for_ends(self) -> None:
        """Wait until all messages of workers that have been ended have come."""
        with self._changed:
            self._changed.wait_for(lambda: all(worker.gone for worker in self._workers.values()), _SHORT_PATIENCE)

    def last_tasks_of(self, keys: Container[str]) -> list[str]:
        """The node whose task ran when a worker died that had a parcel with these; empty if none of them did.

        All messages of the worker have come before.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._last_of(keys) is not None, _SHORT_PATIENCE)
            worker = self._last_of(keys)
            if worker is not None:
                self._changed.wait_for(lambda: worker.gone, _PATIENCE)
            return [worker.key] if worker is not None and worker.key in keys else []

    def _last_of(self, keys: Container[str]) -> _Worker | None:
        return next((worker for worker in reversed(self._workers.values()) if worker.key in keys), None)

    def unsent_output(self, key: str, *, wait: bool = True) -> list[tuple[Stream, bytes]]:
        """What the worker of a node had written and not sent when it died, as pairs of stream and bytes."""
        with self._changed:
            # all its messages may still be on their way, also the first one, which says that it runs this task
            self._changed.wait_for(lambda: self._workers_of(key), _SHORT_PATIENCE if wait else 0.0)
            found = self._workers_of(key)
            if not found:
                return []
            self._changed.wait_for(lambda: found[-1].gone, _PATIENCE)
            found[-1].key = ''  # the next worker of the task is another one
            return found[-1].read_rest()

    def _workers_of(self, key: str) -> list[_Worker]:
        return [worker for worker in self._workers.values() if worker.key == key]

    def _accept(self) -> None:
        while not self._closed:
            try:
                connection = self._listener.accept()
            except (OSError, EOFError):
                continue
            except Exception:  # a stranger without the key
                continue
            thread = threading.Thread(target=self._read, args=(connection,), daemon=True, name='kartnb-reader')
            self._reading.append(thread)
            thread.start()

    def _read(self, connection: Connection[Any, Any]) -> None:
        with connection:
            try:
                worker = self._greet(connection)
            except (OSError, EOFError, RuntimeError):  # it has died, or could not send its descriptors
                return
            while True:
                try:
                    message = connection.recv()
                except (OSError, EOFError):
                    break
                key, what, value = message
                if what == 'running':
                    worker.key = key
                elif what == OUTCOME:
                    _, worker.key = value
                self._receive(key, what, Question(value, connection) if what in _QUESTIONS else value)
                with self._changed:
                    worker.received += 1
                    self._changed.notify_all()
            with self._changed:
                worker.gone = True
                self._changed.notify_all()

    def _greet(self, connection: Connection[Any, Any]) -> _Worker:
        pid, count = connection.recv()
        worker = _Worker(tuple(recv_handle(connection) for _ in range(count)))
        with self._changed:
            self._workers[pid] = worker
        return worker


def _knock(address: Any) -> None:
    """Wake the thread that waits for connections: closing its listener does not."""
    try:
        Client(address).close()
    except (OSError, EOFError):
        return


class _Worker:
    """A worker process, as the receiver knows it."""

    def __init__(self, readers: tuple[int, ...]) -> None:
        self._readers = readers  # of the files that its output goes to, which share its reading positions
        self.key = ''
        self.received = 0
        self.gone = False

    def read_rest(self) -> list[tuple[Stream, bytes]]:
        return [(name, _read_all(reader)) for name, reader in zip(_STREAMS, self._readers, strict=False)]

    def close(self) -> None:
        for reader in self._readers:
            os.close(reader)
        self._readers = ()


def _read_all(descriptor: int) -> bytes:
    parts: list[bytes] = []
    while part := os.read(descriptor, 1 << 20):
        # of a flood, only the last 5 MB
        parts = [*parts[-4:], part]
    return b''.join(parts)


class Sender:
    """The end of the pipe in a worker; without a channel it sends nothing.

    From the descriptors `readers` the other end can read what this process has not sent when it dies.
    """

    def __init__(self, channel: Channel | None, readers: Sequence[int] = ()) -> None:
        self._lock = threading.Lock()
        self._asking = threading.Lock()
        self._count = 0
        self._connection: Connection[Any, Any] | None = None
        if channel is not None:
            self._connection = Client(channel.address, authkey=channel.key)
            # only a Unix socket passes descriptors on; its address is a path
            sendable = readers if isinstance(channel.address, str) else ()
            self._connection.send((os.getpid(), len(sendable)))
            for reader in sendable:
                send_handle(self._connection, reader, None)

    def forget(self) -> None:
        """In a forked process: leave the connection to the worker, whose end would not be noticed otherwise."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(OSError):  # a task has closed it
                connection.close()

    @property
    def sent(self) -> tuple[int, int]:
        """The id of this process, and how many messages it has sent."""
        return os.getpid(), self._count

    def __call__(self, key: str, what: str, value: Any) -> bool:
        """Send a message; it is dropped when the build has ended or was interrupted. Gives whether it was sent."""
        if self._connection is None:
            return False
        with self._lock:
            try:
                self._connection.send_bytes(pickle.dumps((key, what, value)))
                self._count += 1
            except (OSError, ValueError):
                return False
        return True

    def ask(self, key: str, what: str, value: Any) -> Any:
        """Ask the building process something and wait for its answer, which is None when it has ended."""
        with self._asking:  # a task may have threads
            self(key, what, value)
            try:
                return None if self._connection is None else self._connection.recv()
            except (OSError, EOFError):
                return None


_senders: dict[Any, Sender] = {}


def _forget_senders() -> None:
    while _senders:
        _senders.popitem()[1].forget()


if hasattr(os, 'register_at_fork'):
    os.register_at_fork(after_in_child=_forget_senders)


def connect(channel: Channel, readers: Sequence[int]) -> Sender:
    """The sender of this process to a channel; there is one for each."""
    sender = _senders.get(channel.address)
    if sender is None:
        sender = _senders[channel.address] = Sender(channel, readers)
    return sender
