"""A workspace of its own for each test: the default `./resources/`, below a working directory of the test."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The directory that `./resources/` is in."""
    monkeypatch.chdir(tmp_path)
    return tmp_path / 'resources'
