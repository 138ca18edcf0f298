"""A process that is killed leaves no result that is not whole, and the next build goes on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

SCRIPT = """
import sys, time
import luigi
import kartnb


class Slow:
    def __reduce__(self):
        # pickling is under way: the file has been begun
        open('pickling', 'w').close()
        time.sleep(0 if 'again' in sys.argv else 60)
        return (str, ('whole',))


class First(kartnb.TaskOnKart):
    def run(self):
        self.dump('first')


class Big(kartnb.TaskOnKart):
    def requires(self):
        return First()

    def run(self):
        self.dump([b'x' * 1_000_000, Slow()])


print(kartnb.build(Big())[1])
"""


@pytest.mark.skipif(os.name == 'nt', reason='Windows has no SIGKILL')
@pytest.mark.parametrize('sig', [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_kill_during_a_dump(tmp_path: Path, sig: signal.Signals) -> None:
    script = tmp_path / 'pipeline.py'
    script.write_text(SCRIPT)
    process = subprocess.Popen([sys.executable, str(script)], cwd=tmp_path, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 30
    while not (tmp_path / 'pickling').exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(sig)
    process.wait(timeout=30)
    results = [path.name.split('_')[0] for path in (tmp_path / 'resources/__main__').glob('[!.]*')]
    assert results == ['First']
    again = subprocess.run(
        [sys.executable, str(script), 'again'], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert again.stdout.strip() == 'whole', again.stderr
