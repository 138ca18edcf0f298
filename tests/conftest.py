"""Parts of the machine that some tests need, each skipped with its reason where it is not there.

With KARTNB_REQUIRE_ALL=1, as in `.ci/run`, such a skip is a failure.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from hypothesis import settings

# its usual limit of 200 ms for an example would make every such test one of absolute time
settings.register_profile('no time limit', deadline=None)
settings.load_profile('no time limit')


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Give a second try to the tests that say why they need one; the closing lines of a run name those that took it."""
    for item in items:
        for mark in item.iter_markers('second_try'):
            if not mark.args:
                raise pytest.UsageError(f'{item.nodeid}: second_try takes the reason why the test needs one')
            if config.pluginmanager.has_plugin('rerunfailures'):
                item.add_marker(pytest.mark.flaky(reruns=1))


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    """Look for tests and doctests in test modules only, not in the helpers beside them."""
    return True if collection_path.suffix == '.py' and not collection_path.name.startswith('test_') else None


@pytest.fixture(scope='session')
def chromium() -> str:
    """Return the path of Chromium."""
    return _program('chromium', 'chromium-browser', 'google-chrome')


@pytest.fixture(scope='session')
def redis_server_program() -> str:
    """Return the path of `redis-server`."""
    return _program('redis-server')


@pytest.fixture(scope='session')
def c_compiler() -> str:
    """Return the path of a C compiler."""
    return _program('cc')


def _program(*names: str) -> str:
    for name in names:
        if path := shutil.which(name):
            return path
    pytest.skip(f'needs {names[0]}, which is not on this machine')


@pytest.fixture(autouse=True)
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The default workspace of a test: below its own working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path / 'resources'
