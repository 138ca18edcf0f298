"""Faults at single file operations: a preloaded library counts them, and makes one of them a kill or an error.

A driver process runs with the library (`environment`). It forks a child for each thing that is tried, so that nothing is
imported twice, and waits for all that the child has started.
"""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import pickle
import select
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_PR_SET_CHILD_SUBREAPER = 36
#: Seconds after which a child, or what it has left running, is taken to hang.
PATIENCE = 60.0

#: What happens at an operation: the process is killed, one operation fails, or from then on the disk is full or
#: read-only. Each with the number that the library knows it by, and the error.
FAULTS = {
    'kill': (1, 0),
    'error': (2, errno.EIO),
    'full': (3, errno.ENOSPC),
    'read-only': (4, errno.EROFS),
}


class State(ctypes.Structure):
    """What driver, children and library share; `struct state` in interception.c."""

    _fields_ = (
        ('armed', ctypes.c_int),
        ('count', ctypes.c_int),
        ('at', ctypes.c_int),
        ('mode', ctypes.c_int),
        ('error', ctypes.c_int),
        ('below', ctypes.c_char * 512),
        ('fired', ctypes.c_char * 1024),
    )


def environment(place: Path) -> dict[str, str]:
    """Compile the library below a directory, and give the environment of a driver that uses it."""
    library, state = place / 'interception.so', place / 'state'
    source = Path(__file__).with_name('interception.c')
    subprocess.run(['cc', '-shared', '-fPIC', '-O1', '-o', str(library), str(source)], check=True)
    state.write_bytes(bytes(ctypes.sizeof(State)))
    return os.environ | {'LD_PRELOAD': str(library), 'KARTNB_FAULTS': str(state)}


class Interception:
    """The driver's side: arms the library for a block, and tells what it has seen."""

    def __init__(self, below: str) -> None:
        with open(os.environ['KARTNB_FAULTS'], 'r+b') as file:
            self._state = State.from_buffer(mmap.mmap(file.fileno(), ctypes.sizeof(State)))
        self._state.below = below.encode()
        # what a killed child has started becomes the driver's, which can wait for it then
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)

    @contextmanager
    def armed(self, fault: str = '', at: int = 0) -> Iterator[None]:
        """Count what is done in the block; the operation with the number `at` becomes a fault."""
        state = self._state
        state.mode, state.error = FAULTS.get(fault, (0, 0))
        state.at, state.count, state.fired, state.armed = at, 0, b'', 1
        try:
            yield
        finally:
            state.armed = 0

    @property
    def count(self) -> int:
        """How many operations were seen."""
        return int(self._state.count)

    @property
    def fired(self) -> str:
        """The operation that became a fault, with its path below the directory; '' when there were not so many."""
        return bytes(self._state.fired).decode()


class Died(Exception):  # noqa: N818 - what happened to a child, not an error
    """A child was killed before it could say anything."""


def in_child(act: Callable[[], Any]) -> Any:
    """Do something in a forked process, wait for it and for whatever it has started, and give or raise what it does.

    Raises `Died` when it was killed, and AssertionError when it hangs or leaves processes behind.
    """
    reader, writer = os.pipe()
    pid = os.fork()
    if not pid:
        os.close(reader)
        _answer(act, writer)
    os.close(writer)
    try:
        data = _read(reader, pid)
    finally:
        os.close(reader)
        _reap()
    if not data:
        raise Died
    done, value = pickle.loads(data)
    if not done:
        raise value
    return value


def _answer(act: Callable[[], Any], writer: int) -> None:
    try:
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


def _read(reader: int, pid: int) -> bytes:
    data, deadline = b'', time.monotonic() + PATIENCE
    while select.select([reader], [], [], max(0.0, deadline - time.monotonic()))[0]:
        piece = os.read(reader, 1 << 16)
        if not piece:
            return data
        data += piece
    os.kill(pid, signal.SIGKILL)
    raise AssertionError('it hangs')


def _reap() -> None:
    """Wait until there is no child left, of one's own or inherited."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            pid, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid:
            continue
        if time.monotonic() > deadline:
            left = Path(f'/proc/self/task/{os.getpid()}/children').read_text().split()
            names = [Path(f'/proc/{child}/cmdline').read_bytes()[:200] for child in left]
            for child in left:
                os.kill(int(child), signal.SIGKILL)
            _reap()
            raise AssertionError(f'processes stay: {names}')
        time.sleep(0.002)
