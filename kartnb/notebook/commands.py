"""What the magics do: take the line apart, and hand it on."""

from __future__ import annotations

import argparse
from typing import Any

import luigi
from IPython.core.error import UsageError
from IPython.core.interactiveshell import InteractiveShell

from kartnb.execution.options import EXECUTOR_NAMES, BuildOptions, Rerun, log_level_named
from kartnb.execution.planning.plan import Plan
from kartnb.execution.planning.planner import plan
from kartnb.execution.planning.stale_results import StaleResults, stale_results
from kartnb.notebook.arguments import build_parser, cell_parser, graph_parser
from kartnb.notebook.building import build_and_show, build_behind_the_cell
from kartnb.notebook.cell import lend_names, run_cell
from kartnb.notebook.command import Command
from kartnb.notebook.definitions import Definitions, note_on_stale
from kartnb.notebook.graph import graph
from kartnb.notebook.screen import Screen
from kartnb.task import registry
from kartnb.view.card import card_html, card_text


class Commands(Command):
    """Registering cells, building, drawing.

    Attributes
    ----------
    definitions
        The task classes of the cells that have run.
    """

    def __init__(self, shell: InteractiveShell) -> None:
        super().__init__(shell)
        self.definitions = Definitions(shell)

    def kart(self, line: str, cell: str) -> None:
        """Run a cell, and show the card of its task classes."""
        __tracebackhide__ = True
        given = self._taken_apart(cell_parser(), line)
        if given is None:
            return
        if given.expression:
            raise UsageError(f'%%kart takes nothing on its line, but there is {given.expression!r}')
        lend_names(self._shell)
        before = stale_results()
        with self._own_part_shown():
            run_cell(cell, self._shell)
        self._show_card(cell, before)

    def build(self, line: str, cell: str | None, local_ns: dict[str, Any] | None, log_level: str) -> Any:
        """Build the task of an expression, shown all the while; gives its value."""
        __tracebackhide__ = True
        given = self._taken_apart(build_parser(), line)
        if given is None:
            return None
        options = given.options
        with self._own_part_shown():
            task = self._task('kart_build', given, cell, local_ns)
            begin = build_behind_the_cell if options.background else build_and_show
            asked = BuildOptions(
                workers=options.workers,
                executor=self._executor(options.executor, local_ns),
                rerun=_rerun(task, options),
                on_code_change=options.on_code_change,
                log_level=options.log_level or log_level_named(log_level),
                value_wanted=not options.no_value,
            )
            return begin(task, self._shell, asked)

    def graph(self, line: str, cell: str | None, local_ns: dict[str, Any] | None) -> Plan | None:
        """The plan of the task of an expression."""
        __tracebackhide__ = True
        given = self._taken_apart(graph_parser(), line)
        if given is None:
            return None
        with self._own_part_shown():
            task = self._task('kart_graph', given, cell, local_ns)
            policy = given.options.on_code_change
            return graph(task if policy is None else plan(task, on_code_change=policy))

    def _executor(self, name: str | None, local_ns: dict[str, Any] | None) -> Any:
        """What `--executor` means: a name that kartnb knows, an address, or a variable of the user's."""
        if name is None or name in EXECUTOR_NAMES or '://' in name:
            return name
        names = {**self._shell.user_ns, **(local_ns or {})}
        if name not in names:
            known = ', '.join(EXECUTOR_NAMES)
            raise UsageError(
                f'%kart_build: there is no executor {name}: give {known}, dask://HOST:PORT, or the name of a variable '
                'that holds a Dask client or a concurrent.futures.Executor'
            )
        return names[name]

    def _show_card(self, cell: str, before: StaleResults) -> None:
        registry.drop_superseded()
        entries = self.definitions.note_cell(cell)
        note = note_on_stale(stale_results().without(before))
        if entries or note:
            Screen(self._shell).show(card_text(entries, note), card_html(entries, note))


def _rerun(task: luigi.Task, options: argparse.Namespace) -> Rerun:
    if options.rerun_from:
        return [*options.rerun_from, *([task] if options.rerun else [])]
    return bool(options.rerun)
