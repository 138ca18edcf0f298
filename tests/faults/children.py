"""Forked processes that do one thing and answer: nothing is imported twice, and each may be killed."""

from __future__ import annotations

import ctypes
import os
import pickle
import select
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

_PR_SET_CHILD_SUBREAPER = 36
#: Seconds after which a child, or what it has left running, is taken to hang.
PATIENCE = 60.0


class Died(Exception):  # noqa: N818 - what happened to a child, not an error
    """A child was killed before it could say anything."""


class Child:
    """A forked process that calls a function."""

    def __init__(self, act: Callable[[], Any]) -> None:
        self._reader, writer = os.pipe()
        self.pid = os.fork()
        if not self.pid:
            os.close(self._reader)
            _answer(act, writer)
        os.close(writer)

    def kill(self, sig: signal.Signals = signal.SIGKILL) -> None:
        """Send it a signal."""
        os.kill(self.pid, sig)

    def has_ended(self) -> bool:
        """Whether it has answered or died."""
        return bool(select.select([self._reader], [], [], 0)[0])

    def result(self) -> Any:
        """Give what its function gives, or raise what that raises.

        Raises `Died` when it was killed, and AssertionError when it hangs.
        """
        try:
            data = self._read()
        finally:
            os.close(self._reader)
            os.waitpid(self.pid, 0)
        if not data:
            raise Died
        done, value = pickle.loads(data)
        if not done:
            raise value
        return value

    def _read(self) -> bytes:
        data, deadline = b'', time.monotonic() + PATIENCE
        while select.select([self._reader], [], [], max(0.0, deadline - time.monotonic()))[0]:
            piece = os.read(self._reader, 1 << 16)
            if not piece:
                return data
            data += piece
        self.kill()
        raise AssertionError('it hangs')


def _answer(act: Callable[[], Any], writer: int) -> None:
    try:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 1)
        os.dup2(null, 2)
        try:
            answer = (True, act())
        except BaseException as error:
            answer = (False, error)
        try:
            data = pickle.dumps(answer)
        except Exception:  # an error that holds what cannot be pickled
            data = pickle.dumps((False, RuntimeError(f'{type(answer[1]).__name__}: {answer[1]}')))
        view = memoryview(data)
        while view:
            view = view[os.write(writer, view) :]
    finally:
        os._exit(0)


def in_child(act: Callable[[], Any]) -> Any:
    """Do something in a forked process, wait for it and for whatever it has started: see `Child.result`."""
    child = Child(act)
    try:
        return child.result()
    finally:
        reap()


def adopt_orphans() -> None:
    """Become the parent of what killed children leave running, so that `reap` can wait for it."""
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def reap() -> None:
    """Wait until this process has no child left; raises AssertionError where one does not end."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        try:
            pid, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if not pid:
            time.sleep(0.002)
    left = Path(f'/proc/self/task/{os.getpid()}/children').read_text().split()
    names = [Path(f'/proc/{child}/cmdline').read_bytes()[:200] for child in left]
    for child in left:
        os.kill(int(child), signal.SIGKILL)
    raise AssertionError(f'processes stay: {names}')
