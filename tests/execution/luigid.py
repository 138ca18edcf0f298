"""A real `luigid` on a free port of this computer, for the length of a test module."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from luigi.rpc import RemoteScheduler

START = 'from luigi.cmdline import luigid; luigid()'


@dataclass
class Luigid:
    """A running scheduler."""

    url: str
    process: subprocess.Popen[bytes]

    def tasks(self) -> dict[str, Any]:
        """What it knows of each task, by luigi's task id."""
        found: dict[str, Any] = {}
        for status in ('DONE', 'FAILED', 'PENDING', 'RUNNING', 'DISABLED'):
            found.update({name: {**told, 'status': status} for name, told in self.ask('task_list', status).items()})
        return found

    def status(self, name: str) -> list[str]:
        """How the tasks of one family stand."""
        return sorted(told['status'] for told in self.tasks().values() if told['name'] == name)

    def ask(self, method: str, *args: Any) -> Any:
        """Call a method of the scheduler."""
        scheduler = RemoteScheduler(self.url)
        return getattr(scheduler, method)(*args)


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as found:
        found.bind(('127.0.0.1', 0))
        port: int = found.getsockname()[1]
        return port


@contextmanager
def running_luigid(place: Path, configuration: str = '', port: int | None = None) -> Iterator[Luigid]:
    """Start a scheduler in a directory, and end it."""
    port = port or free_port()
    (place / 'luigi.cfg').write_text(configuration)
    options = ['--address', '127.0.0.1', '--port', str(port), '--state-path', str(place / 'state.pickle')]
    process = subprocess.Popen(
        [sys.executable, '-c', START, *options, '--logdir', str(place)],
        cwd=place,
        stdout=subprocess.DEVNULL,
        stderr=(place / 'stderr').open('wb'),
    )
    try:
        yield Luigid(f'http://127.0.0.1:{port}', process) if _answers(port, process) else _fail(place)
    finally:
        process.terminate()
        process.wait(20)


def _answers(port: int, process: subprocess.Popen[bytes]) -> bool:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        try:
            urllib.request.urlopen(f'http://127.0.0.1:{port}/api/is_paused', timeout=5).read()
        except OSError:
            time.sleep(0.1)
        else:
            return True
    return False


def _fail(place: Path) -> Luigid:
    raise AssertionError(f'luigid did not start: {(place / "stderr").read_text()}')
