"""Code that is edited while a build in the background runs: what is recorded is the code that ran."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

import kartnb
from tests.planning.notebook import Notebook, forget_classes

SLOW = """
import time

class Slow(kartnb.TaskOnKart):
    def run(self):
        open('began', 'w').close()
        while not __import__('os').path.exists('go on'):
            time.sleep(0.01)
        time.sleep(0.3)
        self.dump(1)
"""
HELPER = "def helper():\n    return '{}'"
USER = """
class User(kartnb.TaskOnKart):
    def requires(self):
        return Slow()

    def run(self):
        self.dump({} + helper())
"""
ASKS = """
class User(kartnb.TaskOnKart):
    def run(self):
        yield Slow()
        self.dump({} + helper())
"""


@pytest.mark.parametrize('edited', ['class', 'helper'])
@pytest.mark.parametrize('cell', [USER, ASKS], ids=['requires', 'asks'])
@pytest.mark.parametrize('options', [{'executor': 'threads'}, {'workers': 2}, {}], ids=['threads', 'workers', 'inline'])
def test_what_is_recorded_is_the_code_that_ran(
    options: dict[str, Any], cell: str, edited: str, capsys: pytest.CaptureFixture[str]
) -> None:
    notebook = Notebook()
    try:
        notebook.run(SLOW)
        notebook.run(HELPER.format('old'))
        notebook.run(cell.format("'old '"))
        build = kartnb.build(notebook['User'](), background=True, **options)
        while not Path('began').exists():
            time.sleep(0.01)
        notebook.run(HELPER.format('new') if edited == 'helper' else cell.format("'new '"))
        Path('go on').touch()
        first = build.result(60)
        # a helper that was edited before the run began is what the run used
        is_told = edited == 'class' or cell is ASKS
        sentence = 'Edited while the build ran: User. Build again to use the code of now.'
        assert (sentence in capsys.readouterr().err) == is_told
        assert build.report is not None
        assert (sentence in str(build.report)) == (sentence in build.report._repr_html_()) == is_told
        notebook.run(HELPER.format('old'))
        notebook.run(cell.format("'old '"))
        assert first.endswith(('old', 'new'))
        assert kartnb.build(notebook['User']()) == 'old old'
        notebook.run(HELPER.format('new') if edited == 'helper' else cell.format("'new '"))
        assert kartnb.build(notebook['User']()) == ('old new' if edited == 'helper' else 'new old')
    finally:
        forget_classes()
