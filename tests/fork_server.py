"""Python processes that are made in a moment: each is forked from one that has imported what takes long to import.

To what runs in it, such a process is like one that was just started.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import signal
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
#: Seconds after which a script that does not end is ended.
_PATIENCE = 100


class ForkServer:
    """A process from which others are forked, after it has taken the lines of `prepare`."""

    def __init__(self, prepare: str = 'import kartnb.task.code.prints', hash_seed: int = 0) -> None:
        self._files = tempfile.TemporaryDirectory()
        own = {'PYTHONPATH': str(ROOT), 'PYTHONHASHSEED': str(hash_seed), 'IPYTHONDIR': self._files.name}
        self._process = subprocess.Popen(
            [sys.executable, '-W', 'ignore', '-m', 'tests.fork_server', prepare],
            cwd=ROOT,
            env={**os.environ, **own, 'PYTHONDONTWRITEBYTECODE': '1'},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(self, script: str, place: Path) -> str | None:
        """Run a script in a directory, in a new process, and give what it printed; None if the process died.

        What the script raises is an `AssertionError` with the traceback.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        printed, raised = (Path(self._files.name, name) for name in ('printed', 'raised'))
        request = {'script': script, 'place': str(place), 'printed': str(printed), 'raised': str(raised)}
        print(json.dumps(request), file=self._process.stdin, flush=True)
        answer = self._process.stdout.readline()
        assert answer, 'the process from which others are forked has ended'
        assert not raised.exists(), raised.read_text() + str(raised.unlink() or '')
        return printed.read_text(encoding='utf-8') if int(answer) == 0 else None

    def close(self) -> None:
        """End the process."""
        with self._process:
            pass
        self._files.cleanup()


@contextlib.contextmanager
def fork_server(prepare: str = 'import kartnb.task.code.prints', hash_seed: int = 0) -> Iterator[ForkServer]:
    """Have a `ForkServer`, and end it afterwards."""
    server = ForkServer(prepare, hash_seed)
    try:
        yield server
    finally:
        server.close()


# ----- in the process itself ------------------------------------------------------------------------------------------


def _serve(prepare: str) -> None:
    answers, requests = os.fdopen(os.dup(1), 'w'), os.fdopen(os.dup(0))
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1):
        os.dup2(null, descriptor)
    exec(prepare, {})
    gc.collect()
    gc.freeze()
    for request in iter(requests.readline, ''):
        child = os.fork()
        if child == 0:
            _run(**json.loads(request))
        _, status = os.waitpid(child, 0)
        print(status, file=answers, flush=True)


def _run(script: str, place: str, printed: str, raised: str) -> None:
    signal.alarm(_PATIENCE)
    os.chdir(place)
    sys.path[:] = ['', str(ROOT), *(entry for entry in sys.path if entry not in ('', str(ROOT)))]
    with open(printed, 'w', encoding='utf-8') as sys.stdout:
        try:
            exec(script, {'__name__': '__main__'})
        except BaseException:
            Path(raised).write_text(traceback.format_exc())
    os._exit(0)


if __name__ == '__main__':
    _serve(sys.argv[1])
