"""The magics of kartnb.

``%load_ext kartnb`` adds them to IPython and Jupyter::

    %%kart
    class Numbers(TaskOnKart):
        count = luigi.IntParameter(default=5)

        def run(self):
            self.dump(list(range(self.count)))

runs the cell and shows which task classes in it are new or changed. In such a cell, luigi, kartnb, TaskOnKart and the
parameter classes are known without an import. ::

    numbers = %kart_build Numbers(count=3)

runs what the task needs and is not cached, shows the graph, and gives the value. An expression over several lines goes
below ``%%kart_build``. Options: ``--log-level LEVEL``, ``--rerun``, ``--rerun-from NAME``, ``--no-value``. ::

    %kart_graph Numbers(count=5)

draws the graph and runs nothing. Tab completes options, log levels, task names and their parameters. In a terminal the
same magics print text.

``%config KartMagics.log_level = 'INFO'`` changes which log lines a build shows where ``--log-level`` is not given.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import traitlets
from IPython.core.error import UsageError
from IPython.core.interactiveshell import InteractiveShell
from IPython.core.magic import (
    Magics,
    cell_magic,
    line_cell_magic,
    magics_class,
    needs_local_scope,
    no_var_expand,
    output_can_be_silenced,
)

from kartnb.errors import TaskArgumentError
from kartnb.execution.options import LOG_LEVELS, log_level_named
from kartnb.execution.plan import Plan
from kartnb.execution.planner import Rerun, plan
from kartnb.notebook import arguments
from kartnb.notebook.building import build_and_show
from kartnb.notebook.cell import lend_names, run_cell
from kartnb.notebook.definitions import Definitions, note_on_kept_results
from kartnb.notebook.expression import task_of
from kartnb.notebook.screen import Screen
from kartnb.notebook.tracebacks import show_own_part
from kartnb.task import registry
from kartnb.view.card import card_html, card_text


@magics_class
class KartMagics(Magics):
    """Pipelines of kartnb: `%%kart`, `%kart_build`, `%kart_graph`."""

    log_level = traitlets.Enum(
        LOG_LEVELS, 'ERROR', help='From which level on a build shows log lines, where --log-level is not given.'
    ).tag(config=True)

    def __init__(self, shell: InteractiveShell, definitions: Definitions) -> None:
        super().__init__(shell)
        self._shell = shell
        self._definitions = definitions

    @no_var_expand
    @cell_magic
    def kart(self, line: str, cell: str) -> None:
        """Run the cell, and show which task classes in it are new or changed.

        ::

            %%kart
            class Numbers(TaskOnKart):
                def run(self):
                    self.dump([1, 2, 3])
        """
        __tracebackhide__ = True
        parser = arguments.cell_parser()
        given = parser.split(line)
        if given.options.help:
            _help(parser)
            return
        if given.expression:
            raise UsageError(f'%%kart takes nothing on its line, but there is {given.expression!r}')
        lend_names(self._shell)
        with self._own_part_shown():
            run_cell(cell, self._shell)
        registry.drop_superseded()
        entries = self._definitions.note_cell(cell)
        if entries:
            note = note_on_kept_results(entries, self._shell.user_ns)
            Screen(self._shell).show(card_text(entries, note), card_html(entries, note))

    @no_var_expand
    @needs_local_scope
    @output_can_be_silenced
    @line_cell_magic
    def kart_build(self, line: str, cell: str | None = None, local_ns: dict[str, Any] | None = None) -> Any:
        """Build the task that an expression gives: `%kart_build [options] EXPR`.

        ::

            --log-level LEVEL   show log lines from this level on
            --rerun             run the task even if it is complete
            --rerun-from NAME   run the tasks of this class again, and all that is downstream; may be repeated
            --no-value          do not load and give the value

        The value of the magic is the task's result, so ``x = %kart_build Numbers()`` works. An expression over several
        lines goes below ``%%kart_build``.
        """
        __tracebackhide__ = True
        parser = arguments.build_parser()
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
                log_level=given.options.log_level or log_level_named(self.log_level),
                return_value=not given.options.no_value,
            )

    @no_var_expand
    @needs_local_scope
    @output_can_be_silenced
    @line_cell_magic
    def kart_graph(self, line: str, cell: str | None = None, local_ns: dict[str, Any] | None = None) -> Plan | None:
        """Draw the graph of the task that an expression gives, with states, and run nothing: `%kart_graph EXPR`.

        The value of the magic is the plan.
        """
        __tracebackhide__ = True
        parser = arguments.graph_parser()
        given = parser.split(line)
        if given.options.help:
            _help(parser)
            return None
        with self._own_part_shown():
            return plan(task_of(_expression('kart_graph', given.expression, cell), 'kart_graph', self._shell, local_ns))

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


def _rerun(task: Any, options: Any) -> Rerun:
    if options.rerun_from:
        return [*options.rerun_from, *([task] if options.rerun else [])]
    return bool(options.rerun)


def _help(parser: arguments.MagicParser) -> None:
    print(parser.format_help())  # noqa: T201 - what was asked for
