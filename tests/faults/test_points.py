"""A kill, an error, a full and a read-only disk at the file operations of all that kartnb does; nothing is wrong after.

This tries a part of the points, others for each format; ``python scripts/fault_table.py`` tries them all.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.faults.interception import environment

pytestmark = pytest.mark.skipif(sys.platform != 'linux', reason='platform: the library that makes faults is for Linux')


def points(repository: Path, place: Path, *arguments: str) -> list[dict[str, object]]:
    """Run the driver, and give its table."""
    command = [sys.executable, '-m', 'tests.faults.points', '--place', str(place), *arguments]
    variables = environment(place) | {'PYTHONPATH': str(repository)}
    done = subprocess.run(command, cwd=repository, env=variables, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-3000:]
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.usefixtures('c_compiler')
@pytest.mark.parametrize(
    'arguments',
    [
        '--formats .pkl --sizes small --stride 293 --faults kill error full',
        '--formats .csv .zip --sizes big --stride 597 --scenarios supersede --faults kill full',
    ],
    ids=['every scenario', 'formats'],
)
def test_nothing_is_wrong_after_a_fault(arguments: str, repository: Path, tmp_path: Path) -> None:
    rows = points(repository, tmp_path, *arguments.split())
    assert all(row['points'] for row in rows)
    assert [row for row in rows if row['wrong']] == []
