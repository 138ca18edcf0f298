"""The house's rules that a program can check: lint, format, types, and the direction of imports."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

CHECKS = {
    'lint': ['ruff', 'check', '.'],
    'format': ['ruff', 'format', '--check', '--diff', '.'],
    'types': ['mypy'],
    'imports': ['lint-imports'],
}


@pytest.mark.parametrize('check', CHECKS)
def test_rules_hold(check: str, repository: Path) -> None:
    program, *arguments = CHECKS[check]
    command = [str(Path(sys.executable).parent / program), *arguments]
    done = subprocess.run(command, cwd=repository, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, f'{" ".join([program, *arguments])}\n{done.stdout[-8000:]}{done.stderr[-2000:]}'
