"""Temporary names, and the removal of those that a killed process left behind.

A temporary name says which process of which host uses it, so that anybody who passes can tell whether it is still
wanted. Its randomness comes from the system and never from `random`, which tasks seed.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import itertools
import os
import platform
import re
import secrets
import shutil
import time
from collections.abc import Iterable

SUFFIX = '.kart-tmp'
_PATTERN = re.compile(r'^\..*\.(?P<host>[0-9a-f]{8})-(?P<pid>\d+)-[0-9a-f]{16}\.kart-tmp$', re.DOTALL)
_ABANDONED_AFTER = 24 * 3600.0
_LONGEST_STEM = 40
#: One look into the system's randomness a process: pids are used again, and a forked child counts on under its own pid.
_process_token = secrets.token_hex(4)
_numbers = itertools.count()


@functools.cache
def _host() -> str:
    return hashlib.md5(platform.node().encode(), usedforsecurity=False).hexdigest()[:8]


def temporary_name(name: str) -> str:
    """Give a name that no other process and no other call uses, for something that will be called `name`."""
    return f'.{name[:_LONGEST_STEM]}.{_mark()}{next(_numbers):08x}{SUFFIX}'


def temporary_path(directory: str) -> str:
    """Give a path in a directory, as `temporary_name` does for its names."""
    return f'{_beginning(directory)}{next(_numbers):08x}{SUFFIX}'


@functools.cache
def _beginning(directory: str) -> str:
    """What is the same for every file of this process in a directory."""
    return f'{os.path.join(directory, ".new.")}{_mark()}'


@functools.cache
def _mark() -> str:
    return f'{_host()}-{os.getpid()}-{_process_token}'


def _forget_marks() -> None:
    """In a forked process: it has a pid of its own."""
    _mark.cache_clear()
    _beginning.cache_clear()


if hasattr(os, 'register_at_fork'):
    os.register_at_fork(after_in_child=_forget_marks)


def is_temporary(name: str) -> bool:
    """Whether a file name was made by `temporary_name`."""
    return name.endswith(SUFFIX) and _PATTERN.match(name) is not None


def sweep_litter(directory: str, names: Iterable[str]) -> list[str]:
    """Remove the temporary files and directories that no living process uses.

    Parameters
    ----------
    directory
        A local directory.
    names
        The names in it; all that are not temporary are left alone.

    Returns
    -------
    The names that were removed.
    """
    removed = []
    for name in names:
        if name.endswith(SUFFIX):
            path = os.path.join(directory, name)
            if _is_abandoned(path, name) and _removed(path):
                removed.append(name)
    return removed


def _is_abandoned(path: str, name: str) -> bool:
    match = _PATTERN.match(name)
    if match is None:
        return False
    if match['host'] == _host() and not _is_alive(int(match['pid'])):
        return True
    try:
        return time.time() - os.stat(path).st_mtime > _ABANDONED_AFTER
    except OSError:
        return False


def _is_alive(pid: int) -> bool:
    if os.name == 'nt':  # os.kill(pid, 0) ends a process there; only the age counts
        return True
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:
        return True
    return True


def _removed(path: str) -> bool:
    with contextlib.suppress(OSError):
        if os.path.isdir(path):
            shutil.rmtree(path)
        else:
            os.unlink(path)
        return True
    return False
