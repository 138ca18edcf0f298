"""The magics that look at what has been made: `%kart_output` and `%kart_log`."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

from IPython.core.interactiveshell import InteractiveShell
from IPython.core.magic import (
    Magics,
    line_cell_magic,
    magics_class,
    needs_local_scope,
    no_var_expand,
    output_can_be_silenced,
)

if TYPE_CHECKING:
    from kartnb.execution.logs import Logs
    from kartnb.notebook.look_commands import LookCommands


@magics_class
class LookMagics(Magics):
    """Outputs and logs of kartnb: `%kart_output`, `%kart_log`."""

    def __init__(self, shell: InteractiveShell) -> None:
        super().__init__(shell)
        self._shell = shell

    @cached_property
    def commands(self) -> LookCommands:
        """What the magics do; imported when the first of them is used."""
        from kartnb.notebook.look_commands import LookCommands

        return LookCommands(self._shell)

    @no_var_expand
    @needs_local_scope
    @output_can_be_silenced
    @line_cell_magic
    def kart_output(self, line: str, cell: str | None = None, local_ns: dict[str, Any] | None = None) -> Any:
        """Show the outputs of a task and of all that it needs: `%kart_output [options] EXPR`.

        ::

            --preview           load the task's own result, and show it
            --filter TEXT       those whose task, parameters, id or path hold the text
            --state STATE       those of tasks in this state, for instance cached
            --format FORMAT     those with this extension, for instance pkl
            --sort COLUMN       in the order of task, parameters, unique_id, state, path, format, size or modified
            --descending        the largest or latest first

        EXPR gives a task, a plan or a build. The value of the magic is the table (`kartnb.outputs`), or the preview.
        """
        __tracebackhide__ = True
        return self.commands.output(line, cell, local_ns)

    @no_var_expand
    @needs_local_scope
    @output_can_be_silenced
    @line_cell_magic
    def kart_log(self, line: str, cell: str | None = None, local_ns: dict[str, Any] | None = None) -> Logs | None:
        """Show what a task printed and logged when it last ran, or a whole build: `%kart_log [options] EXPR`.

        ::

            --level LEVEL       lines of this level and above; what is printed counts as INFO
            --grep TEXT         lines that hold this regular expression, in upper or lower case
            --task NAME         lines of tasks of this class

        EXPR gives a task, a plan or a build. The value of the magic is the log (`kartnb.logs`).
        """
        __tracebackhide__ = True
        return self.commands.log(line, cell, local_ns)
