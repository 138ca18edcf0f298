"""A type checker infers what a task gives: mypy agrees with every line of `typed_tasks.py`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def test_mypy_infers_what_tasks_give(repository: Path, tmp_path: Path) -> None:
    file = repository / 'tests' / 'typing' / 'typed_tasks.py'
    command = [sys.executable, '-m', 'mypy', '--strict', '--follow-imports=silent', '--cache-dir', str(tmp_path)]
    done = subprocess.run([*command, str(file)], cwd=repository, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
