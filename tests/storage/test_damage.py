"""Truncated, damaged and foreign files of every format give an error that names them, and never crash the process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

FORMATS = (
    '.pkl',
    '.gz',
    '.npz',
    '.zip',
    '.parquet',
    '.feather',
    '.json',
    '.ndjson',
    '.csv',
    '.typed.csv',
    '.typed.ndjson',
)


@pytest.mark.skipif(sys.platform != 'linux', reason='platform: memory is limited as on Linux')
@pytest.mark.parametrize('extension', FORMATS)
def test_damage_is_noticed(extension: str) -> None:
    environment = {**os.environ, 'PYTHONPATH': str(Path(__file__).parents[2])}
    done = subprocess.run(
        [sys.executable, '-X', 'faulthandler', '-m', 'tests.storage.damage', extension],
        capture_output=True,
        text=True,
        env=environment,
    )
    assert done.returncode == 0, done.stderr[-3000:]
