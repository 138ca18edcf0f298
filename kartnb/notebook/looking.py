"""The magics that look at what has been made: `%kart_output` and `%kart_log`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from IPython.core.magic import magics_class

from kartnb.notebook.magic_set import MagicSet, expression_magic

if TYPE_CHECKING:
    from kartnb.execution.logs import Logs
    from kartnb.notebook.look_commands import LookCommands


@magics_class
class LookMagics(MagicSet):
    """Outputs and logs of kartnb: `%kart_output`, `%kart_log`."""

    commands: LookCommands
    commands_class = 'kartnb.notebook.look_commands:LookCommands'

    @expression_magic
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

    @expression_magic
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
