"""What the commands of all topics share: options, help, the task of an expression, errors with the user's part."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import luigi
from IPython.core.error import UsageError
from IPython.core.interactiveshell import InteractiveShell

from kartnb.errors import ExecutorChoiceError, ParameterValueError, SweepError, TaskArgumentError
from kartnb.notebook.arguments import Arguments, MagicParser
from kartnb.notebook.expression import task_of
from kartnb.notebook.tracebacks import show_own_part


class Command:
    """What a magic does with its line and its cell; topics inherit from this.

    Parameters
    ----------
    shell
        The shell whose magics these are.
    """

    def __init__(self, shell: InteractiveShell) -> None:
        self._shell = shell

    def _taken_apart(self, parser: MagicParser, line: str) -> Arguments | None:
        """The options and the expression of a line; None, and the help is shown, where that was asked for."""
        given = parser.split(line)
        if given.options.help:
            print(parser.format_help())  # noqa: T201 - what was asked for
            return None
        return given

    def _task(self, magic: str, given: Arguments, cell: str | None, local_ns: dict[str, Any] | None) -> luigi.Task:
        """The task that the expression of a magic gives, on its line or in the cell below."""
        __tracebackhide__ = True
        return task_of(expression_of(magic, given.expression, cell), magic, self._shell, local_ns)

    @contextmanager
    def _own_part_shown(self) -> Iterator[None]:
        """Let wrong use be one line, and every other error the user's own part of its traceback."""
        __tracebackhide__ = True
        try:
            yield
        except UsageError:
            raise
        except (TaskArgumentError, ExecutorChoiceError, SweepError, ParameterValueError) as error:
            raise UsageError(str(error)) from None
        except BaseException as error:
            show_own_part(error, self._shell)
            raise


def expression_of(magic: str, line: str, cell: str | None) -> str:
    """The expression of a magic: its line, or the lines below.

    Raises
    ------
    UsageError
        When there is something in both places.
    """
    if cell is None:
        return line
    if line:
        raise UsageError(f'%%{magic} takes its expression from the lines below: write %{magic} {line} for one line')
    return cell
