"""A notebook without a front end: cells that define tasks, run again with other code."""

from __future__ import annotations

import importlib.util
import linecache
import sys
from collections.abc import Iterable
from itertools import count
from pathlib import Path
from types import ModuleType
from typing import Any

from luigi.task_register import Register

_numbers = count(1)


class Notebook:
    """Cells with one namespace, which is `__main__` to what they define."""

    def __init__(self) -> None:
        self.names: dict[str, Any] = {'__name__': '__main__'}
        self.ran: list[str] = []
        self.run('import kartnb, luigi', {'ran': self.ran})

    def run(self, cell: str, names: dict[str, Any] | None = None) -> None:
        """Run a cell; its source is kept as IPython keeps it."""
        self.names.update(names or {})
        file = f'<cell {next(_numbers)}>'
        linecache.cache[file] = (len(cell), None, cell.splitlines(keepends=True), file)
        exec(compile(cell, file, 'exec'), self.names)

    def __getitem__(self, name: str) -> Any:
        return self.names[name]

    def taken(self) -> list[str]:
        """What has run since it was last asked."""
        found = list(self.ran)
        self.ran.clear()
        return found


def forget_classes() -> None:
    """Let luigi know no class of a notebook any more, as in a new process."""
    Register._reg = [cls for cls in Register._reg if cls.__module__ != '__main__']
    Register.clear_instance_cache()


def write_module(name: str, source: str, directory: Path) -> ModuleType:
    """Write a module of the user's, and import it, or load it again."""
    path = directory / f'{name}.py'
    path.write_text(source)
    if name in sys.modules and getattr(sys.modules[name], '__file__', None) == str(path):
        module = sys.modules[name]
    else:
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None
        module = sys.modules[name] = importlib.util.module_from_spec(spec)
    exec(compile(source, str(path), 'exec'), vars(module))
    return module


def forget_modules(names: Iterable[str]) -> None:
    for name in names:
        sys.modules.pop(name, None)
