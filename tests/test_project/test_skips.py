"""Where all parts must be there, a skip fails the run; elsewhere it is a skip."""

from __future__ import annotations

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


def _at_setup(outcome: pytest.RunResult) -> int:
    return outcome.parseoutcomes().get('errors', 0)
