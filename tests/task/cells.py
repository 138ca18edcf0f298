"""Definitions as a notebook makes them: source text, run again and again in one namespace."""

from __future__ import annotations

import itertools
import linecache
from typing import Any

import luigi

import kartnb

_count = itertools.count(1)


class Notebook:
    """A namespace in which cells are run, as in `__main__`."""

    def __init__(self, module: str = 'a_notebook') -> None:
        self.names: dict[str, Any] = {'__name__': module, 'kartnb': kartnb, 'luigi': luigi}

    def run(self, cell: str) -> None:
        """Run a cell; `inspect` finds its source, as IPython's."""
        name = f'<cell {next(_count)}>'
        linecache.cache[name] = (len(cell), None, cell.splitlines(keepends=True), name)
        exec(compile(cell, name, 'exec', dont_inherit=True), self.names)

    def __getattr__(self, name: str) -> Any:
        try:
            return self.names[name]
        except KeyError:
            raise AttributeError(name) from None
