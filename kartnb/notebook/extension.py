"""What `%load_ext kartnb` adds to a shell and `%unload_ext kartnb` removes: magics, completion with Tab, tracebacks.

IPython itself completes the names of magics, attributes after a dot and keys in brackets.
"""

from __future__ import annotations

import re
import sys
import weakref
from collections.abc import Callable
from concurrent.futures import Executor
from contextlib import AbstractContextManager
from functools import partial
from typing import Any

import luigi
from IPython.core.completer import CompletionContext, SimpleCompletion, SimpleMatcherResult, context_matcher
from IPython.core.interactiveshell import ExecutionResult, InteractiveShell
from luigi.parameter import ParameterException

from kartnb import display
from kartnb._luigi import aimported_modules
from kartnb.config import EXECUTOR_NAMES, LOG_LEVELS, set_session_policy
from kartnb.errors import KartError
from kartnb.notebook.arguments import MagicParser, words_of
from kartnb.notebook.command import parsers_of
from kartnb.notebook.magics import KartMagics, LookMagics
from kartnb.notebook.magics_history import HistoryMagics
from kartnb.notebook.magics_sweep import SweepMagics
from kartnb.task import registry
from kartnb.task.code import loaded
from kartnb.task.code.own import count_as_own

#: The magics, a class a topic.
MAGICS = (KartMagics, HistoryMagics, LookMagics, SweepMagics)

_MAGIC = re.compile(r'(?:^|=)\s*%{1,2}(?P<magic>kart\w*)\s(?P<rest>.*)$')
_CELL_MAGIC = re.compile(r'\s*%%(?P<magic>kart_\w+)\b')
_OPEN_CALL = re.compile(r'([A-Za-z_]\w*)\(([^()]*)$')

#: The kind of completions, and their texts.
Completions = tuple[str, list[str]]
#: Kinds that are shown together with what IPython finds.
_WITH_OTHERS = ('name', 'param')

_sessions: weakref.WeakKeyDictionary[InteractiveShell, Session] = weakref.WeakKeyDictionary()


def load_ipython_extension(shell: InteractiveShell) -> None:
    """Add the magics of kartnb to a shell, with completion and with tracebacks that show the user's own code."""
    if shell not in _sessions:
        _sessions[shell] = Session(shell)


def unload_ipython_extension(shell: InteractiveShell) -> None:
    """Remove everything that loading has added."""
    session = _sessions.pop(shell, None)
    if session is not None:
        session.undo()


class Session:
    """The extension in one shell.

    Everything is added in `__init__`, each thing with the step that removes it, so that the two cannot drift apart.
    """

    def __init__(self, shell: InteractiveShell) -> None:
        self._shell = shell
        self._undo: list[Callable[[], object]] = []
        loaded.note_modules()
        self._magics = self._add_magics(shell)
        self._undo.append(lambda: set_session_policy(''))
        self._undo.append(_retire_workers)
        self._add_to(shell.Completer.custom_matchers, task_matcher(shell))
        self._add_to(display.front_ends, self)
        for clear in (KartError, ParameterException):
            self._set(clear, '_render_traceback_', lambda error: _own_lines(shell, error))
        shell.events.register('post_run_cell', self._after_cell)
        self._undo.append(lambda: shell.events.unregister('post_run_cell', self._after_cell))

    def source_name(self, filename: str) -> str | None:
        """Name the file of a cell as the front end does, ``Cell In[3]``."""
        found = self._shell.compile.format_code_name(filename)
        return None if found is None else ' '.join(found)

    def traceback_lines(self, error: BaseException) -> list[str]:
        """Format an exception as the shell does."""
        from kartnb.notebook.tracebacks import traceback_lines

        return traceback_lines(error, self._shell)

    def shown_live(self, run: object) -> AbstractContextManager[object] | None:
        """Show a sweep while it runs; None for anything else."""
        from kartnb.notebook.progress import live_screen

        return live_screen(run)

    def undo(self) -> None:
        """Remove what was added, the last thing first."""
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
        # IPython lists each object of magics there when it is made, for %config
        self._undo.extend(
            partial(shell.configurables.remove, item) for item in shell.configurables if item not in configurables
        )
        return next(item for item in added_sets if isinstance(item, KartMagics))

    def _after_cell(self, result: ExecutionResult) -> None:
        # a module that %aimport watches is being worked on
        for module in aimported_modules(self._magics.shell):
            count_as_own(module)
        loaded.note_modules()
        # a plain luigi.Task does not report that it was defined again, and ordinary cells define classes too, because
        # editors do not lint `%%` cells
        registry.drop_superseded()
        cell = getattr(result.info, 'raw_cell', None)
        if isinstance(cell, str) and 'class' in cell:
            self._magics.definitions.note_cell(cell)
        controls = sys.modules.get('kartnb.notebook.interact')
        if controls is not None:
            controls.refresh_all()
        if getattr(self._shell, 'kernel', None) is not None and registry.task_classes():
            from kartnb.execution.workers.process_pool import warm_up

            warm_up()


def _own_lines(shell: InteractiveShell, error: BaseException) -> list[str]:
    from kartnb.notebook.tracebacks import own_lines

    return own_lines(error, shell)


def _put_back(table: dict[str, Any], replaced: dict[str, Any]) -> None:
    """Remove entries from a table of magics, and restore the ones that they had replaced."""
    for name, earlier in replaced.items():
        if earlier is None:
            table.pop(name, None)
        else:
            table[name] = earlier


def _retire_workers() -> None:
    """End the processes that stay for later builds, where there are some."""
    pool = sys.modules.get('kartnb.execution.workers.process_pool')
    if pool is not None:
        pool.retire_workers()


def task_matcher(shell: InteractiveShell) -> Callable[[CompletionContext], SimpleMatcherResult]:
    """The matcher to add to a shell's completer."""
    known = {name: parser for magics in MAGICS for name, parser in parsers_of(magics).items()}

    @context_matcher()  # type: ignore[untyped-decorator]
    def kart_matcher(context: CompletionContext) -> SimpleMatcherResult:
        kind, names = _completions(context, shell, known)
        fragment = re.search(r'[\w.-]*$', context.text_until_cursor)
        typed = fragment.group() if fragment else ''
        found = [SimpleCompletion(name, type=kind) for name in names if name.startswith(typed)]
        alone = kind not in _WITH_OTHERS or (kind == 'param' and not typed)
        return SimpleMatcherResult(completions=found, suppress=bool(found) and alone, matched_fragment=typed)

    matcher: Callable[[CompletionContext], SimpleMatcherResult] = kart_matcher
    return matcher


def _completions(context: CompletionContext, shell: InteractiveShell, known: dict[str, Any]) -> Completions:
    found = _MAGIC.search(context.text_until_cursor)
    if found and found['magic'] in known:
        return _on_the_line(known[found['magic']], found['rest'], shell)
    if context.cursor_line > 0 and _CELL_MAGIC.match(context.full_text):
        return _in_expression(_text_before(context), shell)
    return '', []


def _on_the_line(parser: MagicParser, rest: str, shell: InteractiveShell) -> Completions:
    words = words_of(rest)
    word = words.pop().text if words and words[-1].end == len(rest) else ''
    before = [each.text for each in words]
    option, equals, _ = word.partition('=')
    option = option if equals else before[-1] if before else ''
    taken = parser.takes.get(option)
    if taken == 'level':
        return 'level', list(LOG_LEVELS)
    if taken == 'executor':
        return 'executor', [*EXECUTOR_NAMES, *_executors_of(shell)]
    if taken == 'task':
        return 'task', sorted({cls.__name__ for cls in registry.task_classes()})
    if taken == 'choice':
        return 'choice', parser.choices(option)
    if word.startswith('-'):
        return 'option', parser.options
    if parser.takes_space and before and not equals:
        return _in_space(before, rest, shell)
    return _in_expression(rest, shell)


def _executors_of(shell: InteractiveShell) -> list[str]:
    from kartnb.execution.executors import is_dask

    return [
        name
        for name, value in shell.user_ns.items()
        if not name.startswith('_') and not isinstance(value, type) and (isinstance(value, Executor) or is_dask(value))
    ]


def _in_space(before: list[str], rest: str, shell: InteractiveShell) -> Completions:
    """The parameters of the task at the start of a line that the line does not give yet."""
    name = re.match(r'\w+', before[0])
    cls = shell.user_ns.get(name[0]) if name else None
    if isinstance(cls, luigi.Task):
        cls = type(cls)
    if not registry.is_task_class(cls) or not re.search(r'\s\w*$', rest):
        return _in_expression(rest, shell)
    from kartnb.notebook.cell import own_parameters

    taken = {word.partition('=')[0] for word in before}
    return 'space', [f'{name}=' for name, _ in own_parameters(cls) if name not in taken]


def _in_expression(text: str, shell: InteractiveShell) -> Completions:
    call = _OPEN_CALL.search(text)
    cls = shell.user_ns.get(call[1]) if call else None
    if call and registry.is_task_class(cls):
        return 'param', _parameters_to_give(cls, call[2])
    if re.search(r'\.\w*$', text):
        return '', []  # IPython completes attributes
    names = [name for name in shell.user_ns if not name.startswith('_') and name not in shell.user_ns_hidden]
    return 'name', names


def _parameters_to_give(cls: type[luigi.Task], given: str) -> list[str]:
    """The parameters of a task that a call does not give yet, where the cursor is at the start of an argument."""
    if not re.fullmatch(r'(?:.*,)?\s*\w*', given, re.DOTALL):
        return []
    from kartnb.notebook.cell import own_parameters

    taken = set(re.findall(r'(\w+)\s*=', given))
    return [f'{name}=' for name, _ in own_parameters(cls) if name not in taken]


def _text_before(context: CompletionContext) -> str:
    lines = context.full_text.split('\n')[1 : context.cursor_line]
    return '\n'.join([*lines, context.text_until_cursor])
