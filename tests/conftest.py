"""Parts of the machine that some tests need, each skipped with its reason where it is not there.

With KARTNB_REQUIRE_ALL=1, as in `.ci/run`, such a skip is a failure.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    """Look for tests and doctests in test modules only, not in the helpers beside them."""
    return True if collection_path.suffix == '.py' and not collection_path.name.startswith('test_') else None


@pytest.fixture(scope='session')
def chromium() -> str:
    """Give the path of Chromium."""
    return _program('chromium', 'chromium-browser', 'google-chrome')


@pytest.fixture(scope='session')
def redis_server_program() -> str:
    """Give the path of `redis-server`."""
    return _program('redis-server')


def _program(*names: str) -> str:
    for name in names:
        if path := shutil.which(name):
            return path
    pytest.skip(f'needs {names[0]}, which is not on this machine')
