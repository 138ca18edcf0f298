"""The magics of sweeps.

::

    %kart_sweep Train depth=1:10 lr=0.01,0.1 --metric accuracy --workers 4

builds a task for each point of the grid, and compares them. ``%kart_sweep --help`` lists the options. ::

    %kart_interact Train depth=1:10 lr=0.01,0.1,1

shows a slider for each parameter, and the result of the task that they stand at.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from IPython.core.magic import line_cell_magic, magics_class, needs_local_scope, no_var_expand

from kartnb.notebook.magic_set import MagicSet, expression_magic

if TYPE_CHECKING:
    from kartnb.notebook.sweep_commands import SweepCommands


@magics_class
class SweepMagics(MagicSet):
    """Many tasks that differ in their parameters: `%kart_sweep`, `%kart_interact`."""

    commands: SweepCommands
    commands_class = 'kartnb.notebook.sweep_commands:SweepCommands'

    @expression_magic
    def kart_sweep(self, line: str, cell: str | None = None, local_ns: dict[str, Any] | None = None) -> Any:
        """Build a task for each point of a grid, and compare them: `%kart_sweep TASK NAME=VALUES … [options]`.

        ::

            depth=1:10  depth=0:1:0.1   a range with both ends, with a step
            lr=0.001:1:log              a logarithmic range, for --sample and --search
            lr=0.01,0.1                 several values
            layers=[[8], [8, 8]]        what begins with a bracket is Python
            data.rows=100,1000          a parameter of the task that a parameter holds

            --metric NAME   what to compare by; --minimize: the smallest is best
            --sample N      build N points, chosen at random; --seed N
            --search        search with Optuna; --trials N
            --workers N     how many tasks run at once
            --rerun         run all points even if they are complete
            --background    give a handle at once, and sweep meanwhile
            --dry-run       show what would run
            --log-level LEVEL

        The value of the magic is the sweep: ``found = %kart_sweep …``, then ``found.plot()``.
        """
        __tracebackhide__ = True
        return self.commands.sweep(line, cell, local_ns)

    @no_var_expand
    @needs_local_scope
    @line_cell_magic
    def kart_interact(self, line: str, cell: str | None = None, local_ns: dict[str, Any] | None = None) -> Any:
        """Show controls for parameters, and the result that they give: `%kart_interact TASK [NAME=VALUES …] [options]`.

        ::

            depth=1:10      a slider; 0:1:0.1 with a step, 0.001:1:log logarithmic
            lr=0.01,0.1,1   choices; a single value has no control

            --auto             build by itself what is not cached
            --keep             let a build that is no longer wanted go on
            --output FUNCTION  what to show of a result
            --workers N        how many tasks run at once

        Without values every parameter of the task has a control. The value of the magic has ``task`` and ``result()``.
        """
        __tracebackhide__ = True
        return self.commands.interact(line, cell, local_ns)
