"""A ``__main__`` in which cells run: what they define belongs to it, as in a notebook."""

from __future__ import annotations

import sys
import types

import pytest


class Notebook:
    """Runs cells in a module that is called ``__main__``."""

    def __init__(self) -> None:
        self.main = types.ModuleType('__main__')

    def run(self, cell: str) -> None:
        exec(compile(cell, '<cell>', 'exec'), self.main.__dict__)

    def __getitem__(self, name: str) -> object:
        return self.main.__dict__[name]


@pytest.fixture
def notebook(monkeypatch: pytest.MonkeyPatch) -> Notebook:
    made = Notebook()
    monkeypatch.setitem(sys.modules, '__main__', made.main)
    return made
