"""Faults at single file operations: a preloaded library counts them, and makes one of them a kill or an error.

A driver process runs with the library (`environment`), and arms it while its children work.
"""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_STATE = 'KARTNB_FAULTS'

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
    state.with_name('state.trace').touch()
    return os.environ | {'LD_PRELOAD': str(library), _STATE: str(state)}


class Interception:
    """The driver's side: arms the library for a block, and tells what it has seen."""

    def __init__(self, below: str) -> None:
        with open(os.environ[_STATE], 'r+b') as file:
            self._state = State.from_buffer(mmap.mmap(file.fileno(), ctypes.sizeof(State)))
        self._state.below = below.encode()

    @contextmanager
    def armed(self, fault: str = '', at: int = 0) -> Iterator[None]:
        """Count what is done in the block; the operation with the number `at` becomes a fault."""
        state = self._state
        state.mode, state.error = FAULTS.get(fault, (0, 0))
        state.at, state.count, state.fired, state.armed = at, 0, b'', 1
        if not fault:
            os.truncate(f'{os.environ[_STATE]}.trace', 0)
        try:
            yield
        finally:
            state.armed = 0

    @property
    def operations(self) -> list[str]:
        """The operations that were counted, in their order; a rename is two: ``renaming`` a path, and its new name."""
        return Path(f'{os.environ[_STATE]}.trace').read_text().splitlines()

    @property
    def count(self) -> int:
        """How many operations were seen."""
        return int(self._state.count)

    @property
    def fired(self) -> str:
        """The operation that became a fault, with its path below the directory; '' when there were not so many."""
        return bytes(self._state.fired).decode()
