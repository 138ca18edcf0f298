"""`%%kart`: it runs a cell as IPython would, and shows a card of the task classes that the cell defines.

Also here: the expression that makes a task (`as_code`), for cards, buttons and messages.
"""

from __future__ import annotations

import ast
import datetime
import enum
import inspect
import weakref
from collections.abc import Iterable, Iterator, Mapping
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

import luigi
from IPython.core.displayhook import DisplayHook

import kartnb
from kartnb._luigi import NO_VALUE, declared_default
from kartnb.errors import KartError
from kartnb.history.makers import short_names
from kartnb.notebook.screen import Screen
from kartnb.planning.recorded_staleness import StaleResults, stale_results
from kartnb.task import held, parameters, registry
from kartnb.task.base import TaskOnKart
from kartnb.task.code import loaded
from kartnb.task.code.prints import Printer
from kartnb.task.secrets import is_private, is_secret
from kartnb.view.html import CardEntry, Status, card_html, card_text
from kartnb.view.sanitise import about_text, counted, one_line

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

_MOST_NAMED = 8
_MOST_REASONS = 3
_MOST_OF_VALUE = 40


def run_and_show(cell: str, definitions: Definitions, shell: InteractiveShell) -> None:
    """Run the body of a `%%kart` cell, and show the card of its task classes.

    Raises CellSyntaxError when the cell is not valid Python.
    """
    __tracebackhide__ = True
    lend_names(shell)
    before = stale_results()
    run_cell(cell, shell)
    registry.drop_superseded()
    entries = definitions.note_cell(cell)
    classes: list[type] = [shell.user_ns[entry.name] for entry in entries]
    disk = loaded.untold(loaded.notes_on_changes(loaded.changed_modules(), classes)) if classes else []
    now = stale_results()
    # of what earlier cells have made stale, the card says what is of its own classes
    already = now.without(now.without(before)).of_classes({cls.__name__ for cls in classes})
    stale = note_on_stale(now.without(before), already)
    unknown = notes_on_code(classes)
    note = '\n'.join(
        filter(None, (stale, *unknown, *held.warnings([*shell.user_ns.values()]), *[f'{note}.' for note in disk]))
    )
    if entries or note:
        Screen(shell).show(card_text(entries, note), card_html(entries, note))


class CellSyntaxError(KartError):
    """The body of a `%%kart` cell is not valid Python.

    IPython shows a `SyntaxError` from a magic with all the frames of the magic; this error is shown like one from an
    ordinary cell.
    """

    def __init__(self, error: SyntaxError, shell: InteractiveShell) -> None:
        super().__init__(f'{error.msg} (line {error.lineno})')
        self._lines: list[str] = shell.SyntaxTB.structured_traceback(type(error), error, None)

    def _render_traceback_(self) -> list[str]:
        return self._lines


def run_cell(cell: str, shell: InteractiveShell) -> None:
    """Run a cell in the user's namespace: its source is kept for tracebacks, its last expression is displayed."""
    __tracebackhide__ = True
    # an empty line for the line of the magic, so that line numbers are those of the whole cell
    code = '\n' + shell.transform_cell(cell)
    name = _kept(code, cell, shell)
    compiler: Any = shell.compile
    try:
        tree = shell.transform_ast(compiler.ast_parse(code, name))
        parts = [compiler(part, name, mode) for part, mode in _parts(tree, code, shell.ast_node_interactivity)]
    except SyntaxError as error:
        raise CellSyntaxError(error, shell) from None
    for part in parts:
        exec(part, shell.user_ns)


def _kept(code: str, cell: str, shell: InteractiveShell) -> str:
    """Keep the source where tracebacks and `inspect` look for it, and give the file name of the cell."""
    result = shell.displayhook.exec_result
    number = getattr(result, 'execution_count', None) or shell.execution_count
    whole = getattr(getattr(result, 'info', None), 'raw_cell', None)
    # ipykernel names a cell after its whole text, and so does the debugger of a front end
    raw = whole if isinstance(whole, str) and whole.endswith(cell) else cell
    return shell.compile.cache(code, number, raw_code=raw)


def _parts(tree: ast.Module, code: str, interactivity: str) -> list[tuple[ast.AST, str]]:
    """The statements that only run, and the last expression, which is displayed too."""
    last = tree.body[-1] if tree.body else None
    if not isinstance(last, ast.Expr) or interactivity == 'none' or DisplayHook.semicolon_at_end_of_expression(code):
        return [(tree, 'exec')]
    return [(ast.Module(tree.body[:-1], []), 'exec'), (ast.Interactive([last]), 'single')]


def lend_names(shell: InteractiveShell) -> None:
    """Let cells use luigi, kartnb, `TaskOnKart` and the parameter classes without an import; the user's names stay."""
    classes = {
        name: value for home in (luigi, parameters) for name, value in vars(home).items() if _is_parameter(value)
    }
    lent = {'luigi': luigi, 'kartnb': kartnb, 'TaskOnKart': kartnb.TaskOnKart, **classes}
    missing = {name: value for name, value in lent.items() if name not in shell.user_ns}
    shell.push(missing, interactive=False)  # so that %who does not list them


def _is_parameter(value: object) -> bool:
    return isinstance(value, type) and issubclass(value, luigi.Parameter) and not value.__name__.startswith('_')


class Definitions:
    """The task classes of a session's cells, by name, with the code of each."""

    def __init__(self, shell: InteractiveShell) -> None:
        self._shell = shell
        self._codes: dict[str, str] = {}
        self._classes: weakref.WeakValueDictionary[str, type] = weakref.WeakValueDictionary()

    def note_cell(self, cell: str) -> list[CardEntry]:
        """Remember the task classes of a cell that has just run, magics included; say which are new or changed."""
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
            return 'unchanged'  # the cell has failed before this statement
        self._classes[node.name] = cls
        code = ast.unparse(node)  # comments and formatting do not count
        known = self._codes.get(node.name)
        self._codes[node.name] = code
        return 'new' if known is None else 'unchanged' if known == code else 'changed'


def _class_statements(body: list[ast.stmt]) -> Iterator[ast.ClassDef]:
    """The class statements of a cell in order, those inside `if`, `with` and `try` too."""
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
        if not is_secret(parameter) and shared.get(name) is not parameter
    ]


def _declared(name: str, parameter: luigi.Parameter[Any]) -> str:
    """A parameter as in a call: its name, and its default where it has one."""
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


def notes_on_code(classes: Iterable[type]) -> Iterator[str]:
    """What of the code of task classes is not compared, a sentence each."""
    printer = Printer()
    for cls in classes:
        found = printer.print_of(cls) if issubclass(cls, TaskOnKart) else None
        if found is not None and found.unknown:
            reasons = '; '.join(found.unknown[:_MOST_REASONS])
            yield f'Cannot tell whether the code of {cls.__name__} has changed: {reasons}.'
        if found is not None and found.not_compared:
            yield f'Not compared in {cls.__name__}: {", ".join(found.not_compared)}.'


def note_on_stale(made: StaleResults, already: StaleResults) -> str:
    """Which results a cell makes stale, or were stale before it: a line for own ones and one for others'."""
    lines = (
        _of_this_notebook(made, 'Makes {} stale'),
        _of_this_notebook(already, '{} stale before this cell was run'),
        _of_others(made),
    )
    return '\n'.join(filter(None, lines))


def _of_this_notebook(stale: StaleResults, sentence: str) -> str:
    counts = stale.counts()
    if not counts:
        return ''
    most = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))[:_MOST_NAMED]
    names = ', '.join(f'{name} ×{number:,}' if number > 1 else name for name, number in most)
    more = f' and {len(counts) - _MOST_NAMED:,} more classes' if len(counts) > _MOST_NAMED else ''
    total = sentence.format(counted(counts.total(), 'result'))
    kept = ' Earlier results of this code are kept, and come back where the inputs are the same.' if stale.kept else ''
    what = _changed(stale)
    return f'{total}: {names}{more}.{what} Recomputing takes {about_text(stale.seconds())}.{kept}'


def _changed(stale: StaleResults) -> str:
    """What has changed of the code, constants with their values; '' where it is unknown."""
    changes = dict.fromkeys(change for found in stale.changes.values() for change in found)
    named = [_change_text(*change) for change in [*changes][:_MOST_NAMED]]
    more = f' and {len(changes) - _MOST_NAMED:,} more' if len(changes) > _MOST_NAMED else ''
    return f' Changed: {", ".join(named)}{more}.' if named else ''


def _change_text(name: str, before: str, now: str) -> str:
    if not before or not now:
        return one_line(name, 120)
    return f'{one_line(name, 120)} {one_line(before, _MOST_OF_VALUE)} → {one_line(now, _MOST_OF_VALUE)}'


def _of_others(stale: StaleResults) -> str:
    others = stale.others()
    if not others:
        return ''
    names = short_names(others)
    whose = ', '.join(f'{names[maker]} ({number:,})' for maker, number in others.most_common(_MOST_NAMED))
    more = f' and {len(others) - _MOST_NAMED:,} others' if len(others) > _MOST_NAMED else ''
    return f'Other code made results of {whose}{more}: building the same tasks here replaces them.'


def as_code(task: luigi.Task) -> str:
    """The expression that makes a task, with the parameters that differ from their defaults, without secret ones.

    >>> class Train(luigi.Task):
    ...     depth = luigi.IntParameter(default=3)
    ...     rate = luigi.FloatParameter(default=0.1)
    >>> as_code(Train(depth=5))
    'Train(depth=5)'
    """
    given = [
        f'{name}={value_code(task.param_kwargs[name])}'
        for name, parameter in task.get_params()
        if not is_private(parameter) and not _is_default(task, name, parameter)
    ]
    return f'{type(task).__name__}({", ".join(given)})'


def value_code(value: Any) -> str:
    """The expression that gives a parameter value."""
    if isinstance(value, luigi.Task):
        return as_code(value)
    if isinstance(value, enum.Enum):
        return f'{type(value).__qualname__}.{value.name}'
    if isinstance(value, datetime.date | datetime.timedelta):
        # the user may not have imported datetime, or as `from datetime import date`
        return f"__import__('datetime').{repr(value).replace('datetime.', '', 1)}"
    if isinstance(value, PurePath):
        return repr(str(value))  # luigi makes a path of it
    if isinstance(value, Mapping):
        return '{' + ', '.join(f'{key!r}: {value_code(item)}' for key, item in value.items()) + '}'
    if isinstance(value, tuple | list):
        inner = ', '.join(map(value_code, value))
        return f'[{inner}]' if isinstance(value, list) else f'({inner}{"," if len(value) == 1 else ""})'
    return repr(value)


def _is_default(task: luigi.Task, name: str, parameter: luigi.Parameter[Any]) -> bool:
    family = task.get_task_family()
    default = parameter.task_value(family, name) if parameter.has_task_value(family, name) else NO_VALUE
    if default is NO_VALUE:
        return False
    default = parameter.normalize(default) if default is not None else None
    value = task.param_kwargs[name]
    return type(default) is type(value) and bool(default == value)
