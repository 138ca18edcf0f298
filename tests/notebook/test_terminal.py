"""Terminal IPython prints text: no HTML object, a line of progress that is taken away again."""

from __future__ import annotations

import os
import re
import struct
import subprocess
import sys
import time
from pathlib import Path

import pytest

from kartnb.notebook.screen import StatusLine

pty = pytest.importorskip('pty', reason='platform: needs pseudo-terminals')
fcntl, termios = pytest.importorskip('fcntl'), pytest.importorskip('termios')

CELLS = [
    '%load_ext kartnb',
    (
        '%%kart\nimport time\n'
        'class Slow(TaskOnKart):\n    n = luigi.IntParameter()\n'
        '    def run(self):\n        time.sleep(0.7)\n        self.dump(self.n)\n'
        'class Fails(TaskOnKart):\n    def run(self):\n        1 / 0\n'
    ),
    '%kart_graph Slow(n=3)',
    '%kart_build Slow(n=3)',
    '%kart_build Fails()',
    '%kart_build Slow()',
    'print("the end")',
]


@pytest.fixture(scope='module')
def screen(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return all that an IPython session in a terminal writes."""
    place = tmp_path_factory.mktemp('terminal')
    session = f"""
from IPython.terminal.interactiveshell import TerminalInteractiveShell
shell = TerminalInteractiveShell.instance()
for cell in {CELLS!r}:
    shell.run_cell(cell, store_history=True)
"""
    root = str(Path(__file__).parents[2])
    environment = {**os.environ, 'PYTHONPATH': root, 'IPYTHONDIR': str(place / 'ipython'), 'TERM': 'dumb'}
    ours, theirs = pty.openpty()
    started = subprocess.Popen(
        [sys.executable, '-c', session], cwd=place, env=environment, stdin=theirs, stdout=theirs, stderr=theirs
    )
    os.close(theirs)
    written = _read(ours, started)
    return re.sub(r'\x1b\[[0-9;?]*[A-Za-z]', '', written)


def test_everything_is_text(screen: str) -> None:
    assert 'the end' in screen
    assert '<IPython.core' not in screen
    assert '<div' not in screen
    assert '+ new Slow(n)' in screen
    assert 'Plan of Slow[' in screen
    assert '✓ Build of Slow[' in screen
    assert re.search(r'Out\[\d+\]: 3', screen)


def test_progress_is_one_line_that_goes_away(screen: str) -> None:
    build = screen[screen.index('[····') : screen.index('✓ Build of Slow[')]
    assert 'running 0/1 · Slow (' in build
    assert '\n' not in build
    assert re.search(r'\r +\r$', build), 'spaces are written over it'


@pytest.mark.parametrize('columns, shown', [(20, '[··] 都市都市都市…'), (200, None), (0, None), (1, None)])
def test_a_long_line_of_progress_is_cut_to_the_terminal(
    columns: int, shown: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = '[··] ' + '都市' * 30
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack('HHHH', 24, columns, 0, 0))
    with open(theirs, 'w') as terminal:
        monkeypatch.setattr('sys.stderr', terminal)
        line = StatusLine()
        line.write(text)
        assert os.read(ours, 1000).decode() == f'\r{shown or text}'
        line.close()
    os.close(ours)


def test_a_failure_and_misuse(screen: str) -> None:
    assert re.search(r'-> 10 +1 / 0', screen)
    assert 'GokartBuildError: 1 task failed:' in screen
    assert "UsageError: Slow needs a value for 'n': Slow(n=…)." in screen


def _read(source: int, process: subprocess.Popen[bytes]) -> str:
    found, deadline = b'', time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            part = os.read(source, 65536)
        except OSError:  # the other side is closed
            break
        if not part:
            break
        found += part
    process.wait(10)
    os.close(source)
    return found.decode()
