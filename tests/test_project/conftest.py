"""Fixtures for the tests of the project as a whole."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest


@pytest.fixture(scope='session')
def tracked(repository: Path) -> list[Path]:
    """The files under version control."""
    done = subprocess.run(['git', 'ls-files', '-z'], cwd=repository, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip('needs a git checkout')
    return [repository / name for name in done.stdout.split('\0') if name]
