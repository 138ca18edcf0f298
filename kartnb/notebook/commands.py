"""What the magics do: take the line apart, and hand it on."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import luigi
from IPython.core.error import UsageError
from IPython.core.interactiveshell import InteractiveShell

from kartnb.errors import TaskArgumentError
from kartnb.execution.options import log_level_named
from kartnb.execution.plan import Plan
from kartnb.execution.planner import Rerun, plan
from kartnb.notebook.arguments import MagicParser, build_parser, cell_parser, graph_parser
from kartnb.notebook.building import build_and_show
from kartnb.notebook.cell import lend_names, run_cell
from kartnb.notebook.definitions import Definitions, note_on_kept_results
from kartnb.notebook.expression import task_of
from kartnb.notebook.screen import Screen
from kartnb.notebook.tracebacks import show_own_part
from kartnb.task import registry
from kartnb.view.card import card_html, card_text


class Commands:
    """The magics of one shell, each given its line and its cell.

    Attributes
    ----------
    definitions
        The task classes of the cells that have run.
    """

    def __init__(self, shell: InteractiveShell) -> None:
        self._shell = shell
        self.definitions = Definitions(shell)

    def kart(self, line: str, cell: str) -> None:
        """Run a cell, and show the card of its task classes."""
        __tracebackhide__ = True
        parser = cell_parser()
        given = parser.split(line)
        if given.options.help:
            _help(parser)
            return
        if given.expression:
            raise UsageError(f'%%kart takes nothing on its line, but there is {given.expression!r}')
        lend_names(self._shell)
        with self._own_part_shown():
            run_cell(cell, self._shell)
        self._show_card(cell)

    def build(self, line: str, cell: str | None, local_ns: dict[str, Any] | None, log_level: str) -> Any:
        """Build the task of an expression, shown all the while; gives its value."""
        __tracebackhide__ = True
        parser = build_parser()
        given = parser.split(line)
        if given.options.help:
            _help(parser)
            return None
        with self._own_part_shown():
            task = task_of(_expression('kart_build', given.expression, cell), 'kart_build', self._shell, local_ns)
            return build_and_show(
                task,
                self._shell,
                rerun=_rerun(task, given.options),
                log_level=given.options.log_level or log_level_named(log_level),
                return_value=not given.options.no_value,
            )

    def graph(self, line: str, cell: str | None, local_ns: dict[str, Any] | None) -> Plan | None:
        """The plan of the task of an expression."""
        __tracebackhide__ = True
        parser = graph_parser()
        given = parser.split(line)
        if given.options.help:
            _help(parser)
            return None
        with self._own_part_shown():
            return plan(task_of(_expression('kart_graph', given.expression, cell), 'kart_graph', self._shell, local_ns))

    def _show_card(self, cell: str) -> None:
        registry.drop_superseded()
        entries = self.definitions.note_cell(cell)
        if entries:
            note = note_on_kept_results(entries, self._shell.user_ns)
            Screen(self._shell).show(card_text(entries, note), card_html(entries, note))

    @contextmanager
    def _own_part_shown(self) -> Iterator[None]:
        __tracebackhide__ = True
        try:
            yield
        except UsageError:
            raise
        except TaskArgumentError as error:
            raise UsageError(str(error)) from None
        except BaseException as error:
            show_own_part(error, self._shell)
            raise


def _expression(magic: str, line: str, cell: str | None) -> str:
    if cell is None:
        return line
    if line:
        raise UsageError(f'%%{magic} takes its expression from the lines below: write %{magic} {line} for one line')
    return cell


def _rerun(task: luigi.Task, options: argparse.Namespace) -> Rerun:
    if options.rerun_from:
        return [*options.rerun_from, *([task] if options.rerun else [])]
    return bool(options.rerun)


def _help(parser: MagicParser) -> None:
    print(parser.format_help())  # noqa: T201 - what was asked for
