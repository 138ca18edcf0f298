"""A Jupyter server for a test: private directories, a free port, reachable from this machine only."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.client import HTTPResponse
from pathlib import Path


class PrivateJupyter:
    """Settings below one directory, separate from those of the user."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.log = place / 'log.txt'
        with socket.socket() as probe:
            probe.bind(('127.0.0.1', 0))
            self.port: int = probe.getsockname()[1]
        for name in ('config', 'data', 'runtime', 'lab'):
            (place / name).mkdir(parents=True)

    @property
    def environment(self) -> dict[str, str]:
        """The environment variables that keep a server inside `place`."""
        own = {f'JUPYTER_{name.upper()}_DIR': str(self.place / name) for name in ('config', 'data', 'runtime')}
        kept = {name: value for name, value in os.environ.items() if not name.startswith(('JUPYTER_', 'VIRTUAL_ENV'))}
        return {**kept, **own, 'JUPYTERLAB_SETTINGS_DIR': str(self.place / 'lab')}

    def configure(self) -> None:
        """Serve on the chosen port, without a token or a browser; keep existing settings."""
        file = self.place / 'config' / 'jupyter_server_config.json'
        settings = json.loads(file.read_text()) if file.exists() else {}
        server = {'ip': '127.0.0.1', 'port': self.port, 'open_browser': False, 'allow_root': True}
        settings['ServerApp'] = {**settings.get('ServerApp', {}), **server}
        settings['IdentityProvider'] = {'token': ''}
        file.write_text(json.dumps(settings))

    @contextmanager
    def serving(self, command: list[str], cwd: Path) -> Iterator[subprocess.Popen[bytes]]:
        """Run `command` in its own process group, and end the whole group afterwards."""
        with self.log.open('w') as output:
            server = subprocess.Popen(
                command,
                cwd=cwd,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        try:
            yield server
        finally:
            with suppress(ProcessLookupError):
                os.killpg(server.pid, signal.SIGTERM)
            server.wait(30)

    def get(self, path: str, server: subprocess.Popen[bytes], within: float) -> HTTPResponse:
        """Wait for an answer, and return it with the address after redirects."""
        deadline = time.monotonic() + within
        while time.monotonic() < deadline and server.poll() is None:
            try:
                return urllib.request.urlopen(f'http://127.0.0.1:{self.port}{path}', timeout=10)
            except urllib.error.HTTPError as error:
                raise AssertionError(f'Jupyter answers {path} with {error}:\n{self.log.read_text()[-4000:]}') from error
            except OSError:
                time.sleep(0.5)
        raise AssertionError(f'Jupyter does not answer {path}:\n{self.log.read_text()[-4000:]}')
