"""How worker processes on this computer tell at once what happens in them: a pipe that needs a key to be opened."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Client, Connection, Listener
from typing import Any, TypeAlias

#: Is given a node's key, what happened ('running', 'log', 'percentage', 'message'), and the value that goes with it.
Send: TypeAlias = Callable[[str, str, Any], None]


@dataclass(frozen=True, slots=True)
class Channel:
    """Where a worker connects to, and the key that lets it in."""

    address: Any
    key: bytes


class Receiver:
    """The end of the pipe in the process that builds.

    Parameters
    ----------
    receive
        Is given what workers send, in threads of the receiver.
    """

    def __init__(self, receive: Send) -> None:
        self._receive = receive
        key = secrets.token_bytes(32)
        self._listener = Listener(authkey=key, backlog=64)
        self.channel = Channel(self._listener.address, key)
        self._closed = False
        threading.Thread(target=self._accept, daemon=True, name='kartnb-receiver').start()

    def close(self) -> None:
        """Take no more connections."""
        self._closed = True
        self._listener.close()

    def _accept(self) -> None:
        while not self._closed:
            try:
                connection = self._listener.accept()
            except (OSError, EOFError):
                continue
            except Exception:  # somebody without the key
                continue
            threading.Thread(target=self._read, args=(connection,), daemon=True, name='kartnb-reader').start()

    def _read(self, connection: Connection[Any, Any]) -> None:
        with connection:
            while True:
                try:
                    message = connection.recv()
                except (OSError, EOFError):
                    return
                self._receive(*message)


_connections: dict[Any, Connection[Any, Any]] = {}
_lock = threading.Lock()


def connect(channel: Channel | None) -> Send:
    """The end of the pipe in a worker; without a channel, what is sent is dropped, and comes with the outcome alone."""
    if channel is None:
        return _drop
    with _lock:
        connection = _connections.get(channel.address)
        if connection is None:
            connection = _connections[channel.address] = Client(channel.address, authkey=channel.key)

    def send(key: str, what: str, value: Any) -> None:
        # a build that has ended, or was interrupted, does not listen any more
        with _lock:
            try:
                connection.send((key, what, value))
            except (OSError, ValueError):
                return

    return send


def _drop(key: str, what: str, value: Any) -> None:
    """Nobody listens."""
