"""Rules for the tests: each asserts something, none is skipped where nothing may be, second tries have reasons."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

SKIPS = """
import pytest

def test_at_run_time():
    pytest.skip('no such program')

@pytest.mark.skipif(True, reason='no such library')
def test_by_mark():
    pass

@pytest.mark.skipif(True, reason='platform: not on this one')
def test_elsewhere():
    pass

@pytest.mark.xfail(strict=True)
def test_known():
    assert False
"""
SKIPPED_MODULE = "import pytest\npytest.importorskip('no_such_module_at_all')\n"


@pytest.fixture
def session(pytester: pytest.Pytester, repository: Path) -> pytest.Pytester:
    pytester.makeconftest((repository / 'conftest.py').read_text())
    pytester.makeini('[pytest]\nmarkers =\n    lowest: long\n    fresh: longer')
    return pytester


def test_a_skip_is_a_skip_on_a_small_machine(session: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv('KARTNB_REQUIRE_ALL', raising=False)
    session.makepyfile(test_some=SKIPS, test_module=SKIPPED_MODULE)
    session.runpytest_subprocess().assert_outcomes(skipped=4, xfailed=1)


def test_a_skip_is_a_failure_where_nothing_may_be_skipped(
    session: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv('KARTNB_REQUIRE_ALL', '1')
    session.makepyfile(test_some=SKIPS)
    outcome = session.runpytest_subprocess()
    outcome.assert_outcomes(passed=0, skipped=1, xfailed=1, failed=2 - _at_setup(outcome), errors=_at_setup(outcome))
    outcome.stdout.fnmatch_lines(['*nothing may be skipped, but this was: Skipped: no such program*'])


def test_a_skipped_module_is_a_failure_too(session: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('KARTNB_REQUIRE_ALL', '1')
    session.makepyfile(test_module=SKIPPED_MODULE)
    outcome = session.runpytest_subprocess()
    assert outcome.ret != 0
    outcome.assert_outcomes(errors=1)


def test_lowest_runs_only_when_asked_for(session: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    session.makepyfile('import pytest\n@pytest.mark.lowest\ndef test_it(): pass\n')
    monkeypatch.delenv('KARTNB_REQUIRE_ALL', raising=False)
    session.runpytest_subprocess().assert_outcomes(deselected=1)
    session.runpytest_subprocess('-m', 'lowest').assert_outcomes(passed=1)
    monkeypatch.setenv('KARTNB_REQUIRE_ALL', '1')
    session.runpytest_subprocess().assert_outcomes(passed=1)


SECOND_TRY = """
import pytest
tries = []

@pytest.mark.second_try(REASON)
def test_it():
    tries.append(1)
    assert len(tries) == 2
"""


def test_a_second_try_needs_a_reason(pytester: pytest.Pytester, repository: Path) -> None:
    pytester.makeconftest((repository / 'tests' / 'conftest.py').read_text())
    pytester.makeini('[pytest]\nmarkers =\n    second_try(why): again')
    pytester.makepyfile(SECOND_TRY.replace('REASON', "'the disk is slow'"))
    assert pytester.runpytest_subprocess().parseoutcomes() == {'passed': 1, 'rerun': 1}
    pytester.makepyfile(SECOND_TRY.replace('REASON', ''))
    outcome = pytester.runpytest_subprocess()
    assert outcome.ret == pytest.ExitCode.USAGE_ERROR
    outcome.stderr.fnmatch_lines(['*second_try takes the reason*'])


def test_second_tries_are_few(repository: Path) -> None:
    texts = [file.read_text() for file in (repository / 'tests').rglob('test_*.py') if file != Path(__file__)]
    assert sum(text.count('@pytest.mark.second_try(') for text in texts) <= 5
    assert [text for text in texts if 'mark.flaky' in text] == []


def test_every_test_asserts(repository: Path) -> None:
    files = {file: ast.parse(file.read_text()) for file in sorted((repository / 'tests').rglob('*.py'))}
    functions = [(file, function) for file, tree in files.items() for function in _functions(tree)]
    asserting = {'raises', 'warns', 'fail'}
    while found := {f.name for _, f in functions if f.name not in asserting and _asserts(f, asserting)}:
        asserting |= found
    tests = [(file, function) for file, function in functions if function.name.startswith('test_')]
    silent = [f'{file.name}: {test.name}' for file, test in tests if not _asserts(test, asserting)]
    assert silent == []
    assert len(tests) > 1000


def _functions(tree: ast.Module) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def _asserts(function: ast.AST, asserting: set[str]) -> bool:
    """Whether a function asserts, raises an AssertionError, or calls a function of those names, kartnb's own aside."""
    for node in ast.walk(function):
        if isinstance(node, ast.Assert) or (isinstance(node, ast.Name) and node.id == 'AssertionError'):
            return True
        if isinstance(node, ast.Call):
            where, _, name = ast.unparse(node.func).rpartition('.')
            if where != 'kartnb' and (name in asserting or name.startswith('assert_')):
                return True
    return False


def _at_setup(outcome: pytest.RunResult) -> int:
    return outcome.parseoutcomes().get('errors', 0)
