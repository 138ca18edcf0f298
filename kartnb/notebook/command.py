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

#: Errors about what the user has asked for, wherever they are found: one line is enough.
_MISUSE = (TaskArgumentError, ExecutorChoiceError, FilterError, HistoryError, ParameterValueError, SweepError)


@dataclass(frozen=True)
class Given:
    """What a magic was called with.

    Attributes
    ----------
    magic
        Its name, for messages.
    shell
        The shell that it was called in.
    options
        The options on its line, by name.
    expression
        The rest of its line.
    cell
        The lines below, or None.
    local_ns
        The local names of the function that calls the magic, or None.
    """

    magic: str
    shell: InteractiveShell
    options: Any
    expression: str
    cell: str | None
    local_ns: dict[str, Any] | None

    @property
    def names(self) -> Mapping[str, Any]:
        """The names that an expression on the line can use."""
        return {**self.shell.user_ns, **(self.local_ns or {})}

    def task(self) -> luigi.Task:
        """The task that the expression gives, on the line or in the cell below."""
        __tracebackhide__ = True
        return task_of(expression_of(self.magic, self.expression, self.cell), self.magic, self.shell, self.local_ns)

    def value(self, text: str | None = None) -> Any:
        """The value of an expression; by default that of the magic."""
        __tracebackhide__ = True
        text = expression_of(self.magic, self.expression, self.cell) if text is None else text
        return value_of(text, self.magic, self.shell, self.local_ns)


def kart_magic(
    *options: Option,
    kind: Callable[..., Any] = line_cell_magic,
    takes_space: bool = False,
    keeps_value: bool = False,
) -> Callable[[Callable[[Any, Given], Any]], Any]:
    """Turn a method into a magic.

    The line is not expanded: ``$x`` and ``{x}`` stay. The docstring and the options are the help, for ``?`` and
    ``--help``. A mistake in the call is one line; any other error shows the part of the traceback that is the user's.

    Parameters
    ----------
    *options
        The options, without ``--help``, which every magic has.
    kind
        `line_magic`, `cell_magic` or `line_cell_magic` of IPython's.
    takes_space
        Whether the line gives values by parameter name; it may then continue on the lines below.
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
