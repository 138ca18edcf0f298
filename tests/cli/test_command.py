"""``python -m kartnb``: commands on recorded results."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import kartnb
from tests.task.cells import Notebook

CELL = """
class Best(kartnb.TaskOnKart):
    def run(self):
        self.dump({value})
"""


@pytest.fixture
def replaced() -> None:
    """Two results of a class that no module has any more, one of them superseded."""
    notebook = Notebook('shop_of_before')
    for value in (1, 2):
        notebook.run(CELL.format(value=value))
        kartnb.build(notebook.Best(), rerun=True)


def _kartnb(repository: Path, *arguments: str) -> tuple[int, str, str]:
    path = {**os.environ, 'PYTHONPATH': str(repository)}
    done = subprocess.run([sys.executable, '-m', 'kartnb', *arguments], env=path, capture_output=True, text=True)
    return done.returncode, done.stdout, done.stderr


@pytest.mark.usefixtures('replaced')
def test_results_are_taken_over_and_removed(repository: Path) -> None:
    Path('shop_of_today.py').write_text(f'import kartnb\n{CELL.format(value=2)}')
    code, out, _ = _kartnb(repository, 'adopt', 'shop_of_today:Best', '--of', 'shop_of_before.Best')
    assert (code, out.startswith('Taken over from shop_of_before.Best: Best[')) == (0, True)
    code, out, _ = _kartnb(repository, 'clean', '--all')
    assert (code, 'superseded' in out) == (0, True), out
    code, out, _ = _kartnb(repository, 'clean', '--all', '--keep', '20GB')
    assert (code, 'superseded' in out) == (0, False), out
    code, out, _ = _kartnb(repository, 'clean', '--all', '--remove')
    assert (code, 'Removed ' in out) == (0, True), out
    assert not [*Path('resources/log/superseded').iterdir()]


@pytest.mark.parametrize(
    'arguments, told',
    [
        (['adopt', 'shop_of_nowhere:Best', '--of', 'a.Best'], 'The module shop_of_nowhere was not found.'),
        (['accept', 'Best'], "'Best' does not name a class: write MODULE:CLASS, such as churn.tasks:Train."),
        (['clean', '--workspace', 'nowhere'], 'the directory does not exist'),
        (['clean', '--keep', 'much'], 'much'),
        (['adopt', 'a:Best'], 'the following arguments are required: --of'),
        ([], 'the following arguments are required: COMMAND'),
    ],
)
def test_a_mistake_is_a_sentence(arguments: list[str], told: str, repository: Path) -> None:
    code, out, error = _kartnb(repository, *arguments)
    assert (code, out) == (2, '')
    assert told in error
    assert 'Traceback' not in error
