"""What the README says is so: its commands work in a fresh clone, its links lead somewhere, its example runs."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

FIRST_SCREEN_LINES = 25
STARTED_WITHIN = 420.0


@pytest.fixture
def readme(repository: Path) -> str:
    return (repository / 'README.md').read_text()


def test_the_first_screen_has_the_picture_and_both_commands(readme: str) -> None:
    first_screen = '\n'.join(readme.splitlines()[:FIRST_SCREEN_LINES])
    assert '![' in first_screen
    opens, tests = _commands(first_screen)
    assert opens.endswith('jupyter lab notebooks/00-quickstart.ipynb')
    assert tests.endswith('python -m pytest')


def test_ci_runs_the_command_of_the_readme(readme: str, repository: Path) -> None:
    assert _commands(readme)[1] in (repository / '.ci' / 'run').read_text().splitlines()


def test_links_lead_somewhere(readme: str, repository: Path) -> None:
    links = [link for link in re.findall(r'\]\(([^)]+)\)', readme) if '://' not in link]
    assert links
    assert [link for link in links if not (repository / link).exists()] == []


def test_the_example_does_what_is_said(readme: str, repository: Path, tmp_path: Path) -> None:
    example = re.findall(r'```python\n(.*?)```', readme, re.DOTALL)[0]
    (tmp_path / 'example.py').write_text(example)
    environment = {**os.environ, 'PYTHONPATH': str(repository)}
    command = [sys.executable, 'example.py']
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == 'Hello, world!', done.stderr
    (result,) = re.findall(r'`(resources/__main__/\S+\.pkl)`', readme)
    assert (tmp_path / result).is_file()


@pytest.mark.fresh
def test_the_quickstart_command_works_in_a_fresh_clone(readme: str, repository: Path, tmp_path: Path) -> None:
    clone = tmp_path / 'clone'
    subprocess.run(['git', 'clone', '--quiet', str(repository), str(clone)], check=True, timeout=60)
    port = _free_port()
    environment = _private_jupyter(tmp_path / 'jupyter', port)
    log = tmp_path / 'log.txt'
    with log.open('w') as output:
        server = subprocess.Popen(
            ['bash', '-c', _commands(readme)[0]],
            cwd=clone, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True,
        )  # fmt: skip
    try:
        page = _wait_for(f'http://127.0.0.1:{port}/api/contents/notebooks/00-quickstart.ipynb', server, log)
        assert json.loads(page)['type'] == 'notebook'
        assert '/lab/tree/notebooks/00-quickstart.ipynb' in log.read_text()
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait(30)


def _commands(text: str) -> list[str]:
    return [block.strip() for block in re.findall(r'```bash\n(.*?)```', text, re.DOTALL)]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        return probe.getsockname()[1]


def _private_jupyter(place: Path, port: int) -> dict[str, str]:
    """Give an environment in which Jupyter serves on `port` to this machine alone, and touches no one's settings."""
    settings = {'ip': '127.0.0.1', 'port': port, 'open_browser': False, 'allow_root': True}
    (place / 'config').mkdir(parents=True)
    (place / 'config' / 'jupyter_server_config.json').write_text(
        json.dumps({'ServerApp': settings, 'IdentityProvider': {'token': ''}})
    )
    directories = {f'JUPYTER_{name.upper()}_DIR': str(place / name) for name in ('config', 'data', 'runtime')}
    kept = {name: value for name, value in os.environ.items() if not name.startswith(('JUPYTER_', 'VIRTUAL_ENV'))}
    return {**kept, **directories, 'JUPYTERLAB_SETTINGS_DIR': str(place / 'lab')}


def _wait_for(url: str, server: subprocess.Popen[bytes], log: Path) -> bytes:
    deadline = time.monotonic() + STARTED_WITHIN
    while time.monotonic() < deadline and server.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:
                return bytes(answer.read())
        except OSError:
            time.sleep(1)
    raise AssertionError(f'JupyterLab did not start:\n{log.read_text()[-4000:]}')
