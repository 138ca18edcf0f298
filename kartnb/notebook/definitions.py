"""Which task classes the cells of a session define, and whether a cell that ran again has changed them.

`inspect` cannot give the source of a class that was defined in a notebook, so it is cut out of the cell's text.
"""

from __future__ import annotations

import ast
import inspect
import weakref
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import luigi
from luigi.parameter import ParameterVisibility

from kartnb._luigi import NO_VALUE, declared_default
from kartnb.execution.planning.stale_results import StaleResults
from kartnb.task.base import TaskOnKart
from kartnb.view.card import CardEntry, Status
from kartnb.view.clean import seconds_text

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

_MOST_NAMED = 8


class Definitions:
    """The task classes of a session's cells, by name, with the code of each."""

    def __init__(self, shell: InteractiveShell) -> None:
        self._shell = shell
        self._codes: dict[str, str] = {}
        self._classes: weakref.WeakValueDictionary[str, type] = weakref.WeakValueDictionary()

    def note_cell(self, cell: str) -> list[CardEntry]:
        """Take note of the task classes that a cell which has just run defines, and say which are new or changed.

        Parameters
        ----------
        cell
            The text of the cell, magics and all.
        """
        if 'class' not in cell:
            return []
        try:
            tree = ast.parse(self._shell.transform_cell(cell))
        except (SyntaxError, ValueError):
            return []
        entries = {}
        for node in _class_statements(tree.body):
            cls = self._shell.user_ns.get(node.name)
            if isinstance(cls, type) and issubclass(cls, luigi.Task):
                entries[node.name] = _entry(cls, self._note(node, cls))
        return list(entries.values())

    def _note(self, node: ast.ClassDef, cls: type) -> Status:
        if self._classes.get(node.name) is cls:
            return 'unchanged'  # the cell has ended before it came here
        self._classes[node.name] = cls
        code = ast.unparse(node)  # comments and formatting do not count
        known = self._codes.get(node.name)
        self._codes[node.name] = code
        return 'new' if known is None else 'unchanged' if known == code else 'changed'


def _class_statements(body: list[ast.stmt]) -> Iterator[ast.ClassDef]:
    """The class statements of a cell, also those in `if`, `with` and `try`, in order."""
    for statement in body:
        if isinstance(statement, ast.ClassDef):
            yield statement
        elif not isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef):
            for name in ('body', 'handlers', 'orelse', 'finalbody'):
                yield from _class_statements(getattr(statement, name, []))


def _entry(cls: type[luigi.Task], status: Status) -> CardEntry:
    doc = inspect.cleandoc(vars(cls).get('__doc__') or '').partition('\n')[0]
    return CardEntry(cls.__name__, status, doc, [_declared(name, p) for name, p in own_parameters(cls)])


def own_parameters(cls: type[luigi.Task]) -> list[tuple[str, luigi.Parameter[Any]]]:
    """The public parameters of a task class, without those that every kartnb task has."""
    shared = dict(TaskOnKart.get_params())
    return [
        (name, parameter)
        for name, parameter in cls.get_params()
        if parameter.visibility == ParameterVisibility.PUBLIC and shared.get(name) is not parameter
    ]


def _declared(name: str, parameter: luigi.Parameter[Any]) -> str:
    """A parameter as one gives it: its name, and its default where it has one."""
    default = declared_default(parameter)
    if default is NO_VALUE:
        return name
    if default is None:
        return f'{name}=None'
    tasks = default if isinstance(default, list | tuple) else [default]
    if tasks and all(isinstance(task, luigi.Task) for task in tasks):
        names = ', '.join(f'{type(task).__name__}(…)' for task in tasks)
        return f'{name}={names if tasks[0] is default else f"[{names}]"}'
    try:
        return f'{name}={parameter.serialize(default)}'
    except Exception:  # a default may be anything, and the card must not fail for it
        return f'{name}=…'


def note_on_stale(stale: StaleResults) -> str:
    """What a change makes stale, in one line; '' for nothing."""
    counts = stale.counts()
    if not counts:
        return ''
    names = ', '.join(f'{name} ×{number:,}' if number > 1 else name for name, number in counts.most_common(_MOST_NAMED))
    more = f' and {len(counts) - _MOST_NAMED:,} more classes' if len(counts) > _MOST_NAMED else ''
    total = sum(counts.values())
    what = '1 result' if total == 1 else f'{total:,} results'
    return f'Makes {what} stale: {names}{more}. Making anew takes about {seconds_text(stale.seconds())}.'
