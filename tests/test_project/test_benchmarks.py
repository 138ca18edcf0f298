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
    told = _told_by(arguments, repository, tmp_path)
    assert 'chain' in told
    assert 'layered' in told


def test_the_cost_of_code_prints_is_measured(repository: Path, tmp_path: Path) -> None:
    told = _told_by(['benchmarks.prints'], repository, tmp_path).splitlines()
    assert [len(line[32:].split()) for line in told[1:]] == [4, 4, 4]


def test_workers_are_compared(repository: Path, tmp_path: Path) -> None:
    told = _told_by(['benchmarks.workers', '--without', 'dask'], repository, tmp_path)
    assert told.count('joblib ÷ kartnb') == 6
    assert told.count('inline ÷ workers') == 2


def test_requests_to_an_object_store_are_counted(repository: Path, tmp_path: Path) -> None:
    told = _told_by(['benchmarks.stores'], repository, tmp_path)
    assert told.count('| first build |') == 2
    assert '| history | kartnb |' in told


def _told_by(arguments: list[str], repository: Path, tmp_path: Path) -> str:
    command = [sys.executable, '-m', *arguments, '--quick', '--place', str(tmp_path)]
    environment = {**os.environ, 'PYTHONPATH': str(repository)}
    done = subprocess.run(command, cwd=repository, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout
