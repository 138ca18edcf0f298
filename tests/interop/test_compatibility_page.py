"""docs/compatibility.md: each row of its tables names the tests that show it, and these exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.interop import test_hooks, test_task_rules

#: Tests with parameters that the page names one by one, and the parameters that there are.
BY_PARAMETER = {'test_rule': set(test_task_rules.TABLE), 'test_both_obey': set(test_hooks.NAMES)}
NAMED = re.compile(r'`(test_\w+)(?:\[([^\]`]*)\])?`')


@pytest.fixture(scope='module')
def rows(repository: Path) -> list[list[str]]:
    """The cells of every row of a table, its header and the line below left out."""
    lines = (repository / 'docs/compatibility.md').read_text().splitlines()
    beginnings = {i for i, line in enumerate(lines) if line.startswith('|---')}
    chosen = [
        line for i, line in enumerate(lines) if line.startswith('|') and i not in beginnings and i + 1 not in beginnings
    ]
    return [[cell.strip() for cell in line.strip('|').split(' | ')] for line in chosen]


def test_each_row_names_its_tests(rows: list[list[str]]) -> None:
    assert len(rows) > 60
    assert [row[0] for row in rows if not NAMED.search(row[-1])] == []
    assert [row[0] for row in rows if '' in row] == []


def test_the_tests_exist(repository: Path, rows: list[list[str]]) -> None:
    written: set[str] = set()
    for file in (repository / 'tests').rglob('test_*.py'):
        written.update(re.findall(r'^ *(?:async )?def (test_\w+)', file.read_text(), re.MULTILINE))
    named = [pair for row in rows for pair in NAMED.findall(row[-1])]
    assert [name for name, _ in named if name not in written] == []
    assert [pair for pair in named if pair[1] and pair[1] not in BY_PARAMETER[pair[0]]] == []


def test_every_rule_that_differs_is_on_the_page(rows: list[list[str]]) -> None:
    """What the two libraries were seen to do differently is said."""
    named = {parameter for row in rows for name, parameter in NAMED.findall(row[-1]) if name == 'test_rule'}
    differs = {rule for rule, (theirs, ours) in test_task_rules.TABLE.items() if theirs != ours}
    assert differs - named == ELSEWHERE


#: Said in a paragraph of the page, or on the page about file formats.
ELSEWHERE = {'a private value is shown', 'objects of the notebooks classes keep their class'}
