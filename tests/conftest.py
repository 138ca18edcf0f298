"""Parts of the machine that some tests need, each skipped with its reason where it is not there.

With KARTNB_REQUIRE_ALL=1, as in `.ci/run`, such a skip is a failure.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

# These drive kernels, browsers, servers and worker processes, which a busy machine can hold up beyond any patience.
REAL_PROCESSES = ('browser', 'execution', 'faults', 'notebook', 'staleness', 'test_project')


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Give tests of real processes a second try where nobody sits beside the machine; the closing line counts them."""
    if not (os.environ.get('KARTNB_REQUIRE_ALL') and config.pluginmanager.has_plugin('rerunfailures')):
        return
    folders = [Path(__file__).parent / name for name in REAL_PROCESSES]
    for item in items:
        if any(folder in item.path.parents for folder in folders):
            item.add_marker(pytest.mark.flaky(reruns=1))


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
