"""The benchmarks run; their figures are not judged here."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize(
    'arguments',
    [
        ['benchmarks.targets', '--without', 'gokart', 'luigi', '--only', 'a task'],
        ['benchmarks.build', '--without', 'gokart'],
    ],
)
def test_a_benchmark_prints_its_table(arguments: list[str], repository: Path, tmp_path: Path) -> None:
    command = [sys.executable, '-m', *arguments, '--quick', '--place', str(tmp_path)]
    environment = {**os.environ, 'PYTHONPATH': str(repository)}
    done = subprocess.run(command, cwd=repository, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    assert 'chain' in done.stdout
    assert 'layered' in done.stdout
