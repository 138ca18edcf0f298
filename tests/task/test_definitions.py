"""Two classes of one name: a definition that was run twice, or two definitions."""

from __future__ import annotations

from typing import Any

import pytest

from kartnb.task.registry import is_same_definition
from tests.task.cells import Notebook

CELL = '''
helper_constant = 1

class Load(kartnb.TaskOnKart):
    """What it is for."""

    n = luigi.IntParameter(default=1)
    constant = {'a': [1, 2]}

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.more = 1

    # a comment
    def run(self):
        """What it does."""
        rows = [('constant', row) for row in range(self.n)]
        self.dump([self.scaled(row) for row in rows])

    def scaled(self, row, by=2, *, plus=0):
        return row * by + plus

    @property
    def shown(self):
        return 'shown'

    @classmethod
    def of_class(cls):
        return 'of the class'

    @staticmethod
    def static():
        return 'static'
'''


def defined(cell: str) -> Any:
    notebook = Notebook()
    notebook.run(cell)
    return notebook.Load


@pytest.mark.parametrize(
    'old, new',
    [
        ('', ''),
        ('# a comment', '# another'),
        ('What it does.', 'Something else.'),
        ('What it is for.', 'Else.'),
        ('helper_constant = 1', 'helper_constant = 1\n\n\n'),
        ('default=1', 'default=2'),
    ],
)
def test_one_definition(old: str, new: str) -> None:
    assert old in CELL
    assert is_same_definition(defined(CELL), defined(CELL.replace(old, new)))


@pytest.mark.parametrize(
    'old, new',
    [
        ('row * by', 'row + by'),
        ('by=2', 'by=3'),
        ("('constant', row)", "('other', row)"),
        ('plus=0', 'plus=1'),
        ("'shown'", "'hidden'"),
        ("'of the class'", "''"),
        ("'static'", "''"),
        ('[1, 2]', '[1, 2.5]'),
        ('self.more = 1', 'self.more = 2'),
        ('row in range', 'row in reversed'),
        ('    @property\n', ''),
        ('    n = ', '    m = '),
        ('TaskOnKart)', 'TaskOnKart[int])'),
    ],
)
def test_two_definitions(old: str, new: str) -> None:
    assert old in CELL
    same = is_same_definition(defined(CELL), defined(CELL.replace(old, new)))
    assert same is ('TaskOnKart' in old), 'a type argument changes nothing that runs'


def test_bases_count() -> None:
    base = 'class Base(kartnb.TaskOnKart):\n    def run(self): self.dump({n})\nclass Load(Base): pass'
    assert is_same_definition(defined(base.format(n=1)), defined(base.format(n=1)))
    assert not is_same_definition(defined(base.format(n=1)), defined(base.format(n=2)))


def test_values_that_cannot_be_compared_are_two_definitions() -> None:
    cell = 'import numpy\nclass Load(kartnb.TaskOnKart):\n    weights = numpy.ones(3)'
    assert not is_same_definition(defined(cell), defined(cell))
