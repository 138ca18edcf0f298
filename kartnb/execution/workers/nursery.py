"""The nurseries of this process: each forks worker processes, which are as new ones and start at once.

A nursery stays for a minute after its last worker, for the next build. It is used again only where a new one would be
the same: with the same environment, paths, working directory, configuration files and limits.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias

from kartnb._luigi import interpreter_flags

#: Seconds that a nursery waits for more to do.
IDLE = 60.0
#: Seconds that a nursery is given to end.
_PATIENCE = 5.0
_BEGIN = """\
import json, sys
sys.path[:], sys.argv[:], control, idle, also = json.loads(sys.argv[1])
from kartnb.execution.workers.nursery_process import main
main(control, idle, also)
"""
#: Where luigi looks for its configuration as it is imported, beside the path that the environment names.
_CONFIGURATION = ('/etc/luigi/client.cfg', '/etc/luigi/luigi.cfg', '/etc/luigi/luigi.toml', 'client.cfg', 'luigi.cfg')
_CONFIGURATION_VARIABLE = 'LUIGI_CONFIG_PATH'
#: What tasks will need that is slow to import, and bears being forked, if this process has imported it.
_ALSO = ('pandas',)

#: All that the workers of a nursery have from the process that has started it.
Inheritance: TypeAlias = tuple[Any, ...]

_lock = threading.Lock()
_nurseries: list[Nursery] = []


class Nursery:
    """A process that forks workers.

    Parameters
    ----------
    environment
        The environment of the workers.
    inheritance
        All that the workers have from this process.

    Raises
    ------
    OSError
        When the process cannot be started.
    """

    def __init__(self, environment: Mapping[str, str], inheritance: Inheritance) -> None:
        self._inheritance = inheritance
        self._is_retired = False
        self._control, theirs = socket.socketpair()
        with theirs:
            settings = json.dumps([_paths(), sys.argv, theirs.fileno(), IDLE, _also()])
            self._process = subprocess.Popen(
                [sys.executable, *interpreter_flags(), '-c', _BEGIN, settings],
                env=environment,
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )

    def has_ended(self) -> bool:
        """Whether it has ended; if so, nothing is left of it."""
        if self._process.poll() is None:
            return False
        self._control.close()
        return True

    def serves(self, inheritance: Inheritance) -> bool:
        """Whether its next worker would be as a new process with this inheritance."""
        return not self._is_retired and self._inheritance == inheritance

    def fork(self, connection: socket.socket) -> None:
        """Ask for a worker at the other end of a connection; where none can be had, the connection is closed.

        Raises
        ------
        OSError
            When the nursery has ended.
        """
        from kartnb.execution.workers.nursery_process import FORK

        socket.send_fds(self._control, [FORK], [connection.fileno()])

    def retire(self) -> None:
        """Let it end as soon as it has no more workers."""
        from kartnb.execution.workers.nursery_process import RETIRE

        self._is_retired = True
        with contextlib.suppress(OSError):  # it has ended
            self._control.send(RETIRE)

    def end(self) -> None:
        """End it, and its workers with it."""
        self._control.close()
        try:
            self._process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def forget(self) -> None:
        """In a forked process: it is another's."""
        self._control.close()
        self._process.returncode = 0


def nursery_for(limits: Mapping[str, str]) -> Nursery:
    """A nursery whose workers are as new processes of this one would be now, with these variables added."""
    environment = {**os.environ, **limits}
    inheritance = _inheritance(environment)
    with _lock:
        _nurseries[:] = [nursery for nursery in _nurseries if not nursery.has_ended()]
        for nursery in _nurseries:
            if nursery.serves(inheritance):
                return nursery
            nursery.retire()
        _nurseries.append(Nursery(environment, inheritance))
        return _nurseries[-1]


def retire_nurseries() -> None:
    """Let the nurseries of this process end, as soon as they have no workers."""
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


def _inheritance(environment: Mapping[str, str]) -> Inheritance:
    configuration = (*_CONFIGURATION, environment.get(_CONFIGURATION_VARIABLE, ''))
    return (
        dict(environment),
        sys.executable,
        interpreter_flags(),
        _paths(),
        list(sys.argv),
        os.getcwd(),
        [_version(path) for path in configuration],
        _also(),
        _limits(),
    )


def _also() -> list[str]:
    return [name for name in _ALSO if name in sys.modules]


def _paths() -> list[str]:
    """Where modules are imported from; '' is the working directory."""
    return [path or os.getcwd() for path in sys.path if isinstance(path, str)]


def _version(path: str) -> tuple[int, int] | None:
    try:
        state = os.stat(path)
    except OSError:
        return None
    return state.st_mtime_ns, state.st_size


def _limits() -> list[Any]:
    """What the system lets processes do that this one starts."""
    import resource

    kinds = [getattr(resource, name) for name in dir(resource) if name.startswith('RLIMIT_')]
    mask = [line for line in Path('/proc/self/status').read_text().splitlines() if line.startswith('Umask')]
    processors = os.sched_getaffinity(0)
    return [*map(resource.getrlimit, kinds), mask, processors, os.getpriority(os.PRIO_PROCESS, 0), os.getgroups()]
