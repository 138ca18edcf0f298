"""One shell with the extension loaded: what is added to it, and taken back when the extension is unloaded."""

from __future__ import annotations

import os
import sys
import weakref
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from typing import Any

from IPython.core.interactiveshell import ExecutionResult, InteractiveShell
from luigi.parameter import ParameterException

from kartnb import display
from kartnb._luigi import aimported_modules
from kartnb.config import set_session_policy
from kartnb.errors import KartError
from kartnb.notebook.completion import task_matcher
from kartnb.notebook.magics import KartMagics
from kartnb.notebook.topics import MAGICS
from kartnb.records.run_record import current_notebook, set_current_notebook

_sessions: weakref.WeakKeyDictionary[InteractiveShell, Session] = weakref.WeakKeyDictionary()


class Session:
    """The extension in one shell.

    Everything is added in `__init__`, each with the step that takes it back, so that the two cannot drift apart.
    """

    @classmethod
    def start(cls, shell: InteractiveShell) -> None:
        """Load the extension into a shell; nothing happens where it is loaded already."""
        if shell not in _sessions:
            _sessions[shell] = cls(shell)

    @classmethod
    def end(cls, shell: InteractiveShell) -> None:
        """Unload the extension from a shell."""
        session = _sessions.pop(shell, None)
        if session is not None:
            session.undo()

    def __init__(self, shell: InteractiveShell) -> None:
        self._shell = shell
        self._undo: list[Callable[[], object]] = []
        self._magics = self._add_magics(shell)
        self._undo.append(lambda: set_session_policy(''))
        self._undo.append(_retire_nurseries)
        self._add_to(shell.Completer.custom_matchers, task_matcher(shell))
        self._add_to(display.front_ends, self)
        for clear in (KartError, ParameterException):
            self._set(clear, '_render_traceback_', lambda error: _own_lines(shell, error))
        shell.events.register('post_run_cell', self._after_cell)
        self._undo.append(lambda: shell.events.unregister('post_run_cell', self._after_cell))
        earlier = current_notebook()
        set_current_notebook(notebook_path(shell) or earlier)
        self._undo.append(lambda: set_current_notebook(earlier))

    def source_name(self, filename: str) -> str | None:
        """Name the file of a cell as the front end does, ``Cell In[3]``."""
        found = self._shell.compile.format_code_name(filename)
        return None if found is None else ' '.join(found)

    def traceback_lines(self, error: BaseException) -> list[str]:
        """Draw an exception as the shell draws its own."""
        from kartnb.notebook.tracebacks import traceback_lines

        return traceback_lines(error, self._shell)

    def shown_live(self, begun: object) -> AbstractContextManager[object] | None:
        """Show a sweep while it runs; None for anything else."""
        from kartnb.notebook.sweep_screen import live_screen

        return live_screen(begun)

    def undo(self) -> None:
        """Take back what was added, the last thing first."""
        while self._undo:
            self._undo.pop()()

    def _add_to(self, entries: list[Any], entry: Any) -> None:
        entries.append(entry)
        self._undo.append(lambda: entries.remove(entry) if entry in entries else None)

    def _set(self, cls: type, name: str, value: Any) -> None:
        setattr(cls, name, value)
        self._undo.append(partial(delattr, cls, name))

    def _add_magics(self, shell: InteractiveShell) -> KartMagics:
        manager, configurables = shell.magics_manager, list(shell.configurables)
        tables = [manager.registry, *manager.magics.values()]
        before = [dict(table) for table in tables]
        added_sets = [cls(shell) for cls in MAGICS]
        shell.register_magics(*added_sets)
        for table, known in zip(tables, before, strict=True):
            added = {name: known.get(name) for name, magic in table.items() if known.get(name) is not magic}
            self._undo.append(partial(_put_back, table, added))
        self._undo.extend(
            partial(shell.configurables.remove, item) for item in shell.configurables if item not in configurables
        )
        return next(item for item in added_sets if isinstance(item, KartMagics))

    def _after_cell(self, result: ExecutionResult) -> None:
        if 'kartnb.task' not in sys.modules:
            return  # no cell can have defined a task yet
        from kartnb.task import registry
        from kartnb.task.code_owner import count_as_own

        # a module that %aimport watches is being worked on
        for module in aimported_modules(self._magics.shell):
            count_as_own(module)
        # luigi's own tasks tell nobody that they were defined again, and editors do not lint `%%` cells
        registry.drop_superseded()
        cell = getattr(result.info, 'raw_cell', None)
        if isinstance(cell, str) and 'class' in cell:
            self._magics.commands.definitions.note_cell(cell)


def _own_lines(shell: InteractiveShell, error: BaseException) -> list[str]:
    from kartnb.notebook.tracebacks import own_lines

    return own_lines(error, shell)


def notebook_path(shell: InteractiveShell) -> str:
    """The notebook that a shell runs, as far as its front end tells; '' where it does not."""
    return str(shell.user_ns.get('__vsc_ipynb_file__') or os.environ.get('JPY_SESSION_NAME') or '')


def _put_back(table: dict[str, Any], replaced: dict[str, Any]) -> None:
    """Take entries out of a table of magics; where they had replaced others, put those back."""
    for name, earlier in replaced.items():
        if earlier is None:
            table.pop(name, None)
        else:
            table[name] = earlier


def _retire_nurseries() -> None:
    """Let the processes that worker processes are forked from end, where a build has started some."""
    nursery = sys.modules.get('kartnb.execution.workers.nursery')
    if nursery is not None:
        nursery.retire_nurseries()
