"""How a magic is declared: its options, its help and its body in one place."""

from __future__ import annotations

from collections.abc import Callable, Mapping
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
    ParameterValueError,
    SweepError,
    TaskArgumentError,
)
from kartnb.notebook.arguments import MagicParser, Option, expression_of, task_of, value_of

#: What is wrong with what was asked for, whoever finds it: one line.
_MISUSE = (TaskArgumentError, ExecutorChoiceError, FilterError, HistoryError, ParameterValueError, SweepError)


@dataclass(frozen=True)
class Given:
    """What a magic was given.

    Attributes
    ----------
    magic
        Its name, for messages.
    shell
        The shell whose magic it is.
    options
        The options on its line, by name.
    expression
        What else is on its line.
    cell
        The lines below, or None.
    local_ns
        The names of the function that the magic stands in, or None.
    """

    magic: str
    shell: InteractiveShell
    options: Any
    expression: str
    cell: str | None
    local_ns: dict[str, Any] | None

    @property
    def names(self) -> Mapping[str, Any]:
        """The names that an expression on the line knows."""
        return {**self.shell.user_ns, **(self.local_ns or {})}

    def task(self) -> luigi.Task:
        """The task that the expression gives, on the line or in the cell below."""
        __tracebackhide__ = True
        return task_of(expression_of(self.magic, self.expression, self.cell), self.magic, self.shell, self.local_ns)

    def value(self, text: str | None = None) -> Any:
        """What an expression gives: that of the magic, where it is not told another."""
        __tracebackhide__ = True
        text = expression_of(self.magic, self.expression, self.cell) if text is None else text
        return value_of(text, self.magic, self.shell, self.local_ns)


def kart_magic(
    *options: Option,
    kind: Callable[..., Any] = line_cell_magic,
    takes_space: bool = False,
    keeps_value: bool = False,
) -> Callable[[Callable[[Any, Given], Any]], Any]:
    """Make a magic of a method that takes what the magic was given.

    Its line is taken as it stands. Its docstring and its options are its help, for ``?`` and ``--help``.
    Wrong use is one line, and every other error the user's own part of its traceback.

    Parameters
    ----------
    *options
        The options; ``--help`` comes by itself.
    kind
        `line_magic`, `cell_magic` or `line_cell_magic` of IPython's.
    takes_space
        Whether the line gives values by parameter name; it may then go on in the lines below.
    keeps_value
        Whether the value is given even with a semicolon at the end of the line. IPython would assign None otherwise.
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
                raise UsageError(str(error)) from None
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
