"""What every test shares: a directory of its own, and no silent skip where all parts must be there."""

from __future__ import annotations

import os
import sys
from collections.abc import Generator, Iterator
from pathlib import Path
from types import ModuleType

import pytest

from kartnb import luigi  # without a grammar that luigi compiles for seconds

REQUIRE_ALL = 'KARTNB_REQUIRE_ALL'
ALLOWED_SKIP = 'platform:'
# Markers of tests that take minutes: they run where everything must, or when asked for with -m.
OPT_IN = ('lowest', 'fresh')
Register = luigi.task_register.Register
# pytester runs pytest inside a test: the tests of these hooks need it.
pytest_plugins = ['pytester']


@pytest.fixture(autouse=True)
def _own_directory(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run each test, doctests too, in a new directory: the default workspace is below the working directory."""
    monkeypatch.chdir(tmp_path_factory.mktemp('cwd'))
    for name in ('LUIGI_CONFIG_PATH', 'LUIGI_CONFIG_PARSER', 'TASK_WORKSPACE_DIRECTORY'):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(autouse=True, scope='module')
def _register_of_libraries() -> Iterator[None]:
    """Take out of luigi's register what the fixtures of a module have put there, when its tests have ended."""
    before = list(Register._reg)
    yield
    known = set(before)
    Register._reg = [*before, *(cls for cls in Register._reg if cls not in known and _belongs_to_its_module(cls))]


@pytest.fixture(autouse=True)
def _own_register(request: pytest.FixtureRequest) -> Iterator[None]:
    """Let luigi know only the task classes of libraries, helpers and this test's module, and put its register back.

    All test modules share a process, and luigi calls a name ambiguous that two of them give to a class.
    """
    before = list(Register._reg)
    used = _modules_used_by(request.module)
    Register._reg = [cls for cls in before if not _is_of_a_test(cls) or cls.__module__ in used]
    yield
    known = set(before)
    Register._reg = [*before, *(cls for cls in Register._reg if cls not in known and _belongs_to_its_module(cls))]


def _modules_used_by(module: ModuleType | None) -> set[str]:
    """A test module, and those that its names are from."""
    names = vars(module).values() if module is not None else ()
    used = {getattr(value, '__module__', None) or getattr(value, '__name__', '') for value in names}
    return used | ({module.__name__} if module is not None else set())


def _is_of_a_test(cls: type) -> bool:
    return cls.__module__.startswith('tests.') or cls.__module__.rpartition('.')[2].startswith('test_')


def _belongs_to_its_module(cls: type) -> bool:
    """Whether a class was defined by importing a library, and not by running a test or an example."""
    module = sys.modules.get(cls.__module__)
    return cls.__module__ != '__main__' and getattr(module, cls.__qualname__, None) is cls


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave the tests that take minutes out unless they were asked for; where everything must run, they run first."""
    if os.environ.get(REQUIRE_ALL):
        # at the end, one of two processes would wait for the other
        items.sort(key=lambda item: not any(item.get_closest_marker(name) for name in OPT_IN))
        return
    left_out = {name for name in OPT_IN if name not in config.getoption('-m')}
    deselected = [item for item in items if left_out & {mark.name for mark in item.iter_markers()}]
    if deselected:
        config.hook.pytest_deselected(items=deselected)
        items[:] = [item for item in items if item not in deselected]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if not hasattr(report, 'wasxfail'):
        _refuse_skip(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    _refuse_skip(report)
    return report


def _refuse_skip(report: pytest.TestReport | pytest.CollectReport) -> None:
    """Turn a skip into a failure where all parts must be there, unless its reason names the platform."""
    if not (os.environ.get(REQUIRE_ALL) and report.skipped):
        return
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    if not reason.removeprefix('Skipped: ').startswith(ALLOWED_SKIP):
        report.outcome = 'failed'
        report.longrepr = f'{REQUIRE_ALL} is set, so nothing may be skipped, but this was: {reason}'


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what tests measured: `record_property('measured', text)`, seen from parallel workers too."""
    reports = (report for kind in ('passed', 'failed') for report in terminalreporter.getreports(kind))
    for report in reports:
        for name, text in report.user_properties:
            if name == 'measured':
                terminalreporter.write_line(f'measured: {text}')


@pytest.fixture(scope='session')
def repository() -> Path:
    """Give the root of the checkout."""
    return Path(__file__).parent
