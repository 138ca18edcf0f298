"""How a magic is declared, with its options, its help and its body in one place, and what its body is given.

A mistake in the call, whoever finds it, is one line. An error in the user's own code is their traceback.
"""

from __future__ import annotations

import ast
import difflib
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from inspect import getdoc
from typing import Any

import luigi
from IPython.core.error import UsageError
from IPython.core.interactiveshell import InteractiveShell
from IPython.core.magic import line_cell_magic, needs_local_scope, no_var_expand, output_can_be_silenced

from kartnb.errors import (
    ExecutorChoiceError,
    FilterError,
    HistoryError,
    KartError,
    ParameterValueError,
    SweepError,
    TaskArgumentError,
    text_of,
)
from kartnb.notebook.arguments import MagicParser, Option

#: Errors about what the user has asked for, wherever they are found: one line is enough.
_MISUSE = (TaskArgumentError, ExecutorChoiceError, FilterError, HistoryError, ParameterValueError, SweepError)

#: Characters of an expression that a message repeats.
_SHOWN = 60


@dataclass(frozen=True)
class Given:
    """What a magic was called with: the options and the expression on its line, and the cell below it.

    `local_ns` has the local names of the function that calls the magic. It and `cell` are None where there are none.
    """

    magic: str
    shell: InteractiveShell
    options: Any
    expression: str
    cell: str | None
    local_ns: dict[str, Any] | None

    @property
    def names(self) -> dict[str, Any]:
        """The names that an expression on the line can use."""
        names: dict[str, Any] = self.shell.user_ns
        return names if self.local_ns is None or self.local_ns is names else {**names, **self.local_ns}

    def task(self) -> luigi.Task:
        """The task that the expression of the magic gives. Raises UsageError as `value` does, and when not a task."""
        __tracebackhide__ = True
        from kartnb.planning.planner import require_task

        value = self.value()
        try:
            require_task(value)
        except TaskArgumentError as error:
            raise UsageError(f'%{self.magic}: {error}') from None
        task: luigi.Task = value
        return task

    def value(self, text: str | None = None) -> Any:
        """The value of an expression; by default that of the magic, on its line or on the lines below.

        Raises UsageError when the text is not an expression, or fails itself. Where it fails inside the user's
        functions, their exception is raised unchanged.
        """
        __tracebackhide__ = True
        from kartnb.notebook.tracebacks import EXPRESSION_FILE, own_part

        text = self._expression() if text is None else text
        code = compile(self._parsed(text), EXPRESSION_FILE, 'eval')
        try:
            return eval(code, self.names)
        except Exception as error:
            if own_part(error.__traceback__) is not None:
                raise
            raise UsageError(self._describe(error, text)) from None

    def _expression(self) -> str:
        if self.cell is None:
            return self.expression
        if self.expression:
            raise UsageError(
                f'%%{self.magic} takes its expression from the lines below: '
                f'write %{self.magic} {self.expression} for one line'
            )
        return self.cell

    def _parsed(self, text: str) -> ast.Expression:
        magic = f'%{self.magic}'
        if not text.strip():
            raise UsageError(f'{magic} needs an expression that gives a task, such as {magic} MyTask(…)')
        try:
            body = ast.parse(text.strip()).body
        except (SyntaxError, ValueError) as error:
            reason = error.msg if isinstance(error, SyntaxError) else str(error)
            raise UsageError(f'{magic} cannot read {_short(text)}: {reason}') from None
        if len(body) == 1 and isinstance(body[0], ast.Assign) and isinstance(body[0].targets[0], ast.Name):
            name, value = body[0].targets[0].id, _short(ast.unparse(body[0].value))
            raise UsageError(f'{magic} takes an expression: write {name} = {magic} {value}')
        if len(body) != 1 or not isinstance(body[0], ast.Expr):
            raise UsageError(f'{magic} takes one expression that gives a task, not {_short(text)}')
        return ast.Expression(body[0].value)

    def _describe(self, error: Exception, text: str) -> str:
        message = ' '.join(text_of(error).split())
        if isinstance(error, luigi.parameter.ParameterException | KartError):
            return message
        if isinstance(error, NameError) and error.name:
            known = [name for name in self.shell.user_ns if not name.startswith('_')]
            near = difflib.get_close_matches(error.name, known, n=1)
            hint = f'did you mean {near[0]}?' if near else 'run the cell that defines it first.'
            return f'{_short(text)}: {message}: {hint}'
        return f'{_short(text)}: {type(error).__name__}: {message}'.removesuffix(': ')


def _short(text: str) -> str:
    line = ' '.join(text.split())
    return line if len(line) <= _SHOWN else f'{line[: _SHOWN - 1]}…'


def kart_magic(
    *options: Option,
    kind: Callable[..., Any] = line_cell_magic,
    takes_space: bool = False,
    keeps_value: bool = False,
) -> Callable[[Callable[[Any, Given], Any]], Any]:
    """Turn a method into a magic of the kind that IPython's decorator `kind` makes.

    The line is not expanded: ``$x`` and ``{x}`` stay. The docstring and the options are the help, for ``?`` and
    ``--help``. A mistake in the call is one line; any other error shows the part of the traceback that is the user's.

    With `takes_space` the line gives values by parameter name, and may continue on the lines below. With `keeps_value`
    the value is given even with a semicolon at the end of the line, where IPython would assign None otherwise.
    """

    def decorated(body: Callable[[Any, Given], Any]) -> Any:
        name = body.__name__
        parser = MagicParser(name, getdoc(body) or '', options, takes_space)

        @wraps(body)
        def magic(self: Any, line: str, cell: str | None = None, local_ns: dict[str, Any] | None = None) -> Any:
            __tracebackhide__ = True
            taken = parser.split(f'{line} {cell or ""}' if takes_space else line)
            if taken.options.help:
                print(parser.help_text)  # noqa: T201 - what was asked for
                return None
            try:
                return body(self, Given(name, self.shell, taken.options, taken.expression, cell, local_ns))
            except UsageError:
                raise
            except _MISUSE as error:
                raise UsageError(f'%{name}: {error}') from None
            except BaseException as error:
                from kartnb.notebook.tracebacks import show_own_part

                show_own_part(error, self.shell)
                raise

        made: Any = magic
        made.parser, made.__doc__ = parser, parser.help_text
        bound = no_var_expand(needs_local_scope(kind(made)))
        return bound if keeps_value else output_can_be_silenced(bound)

    return decorated


def parsers_of(magics: type) -> dict[str, MagicParser]:
    """The options of the magics of a class, by name."""
    return {name: magic.parser for name, magic in vars(magics).items() if hasattr(magic, 'parser')}
