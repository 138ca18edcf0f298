"""The magic that explains: `%kart_why`."""

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
    from kartnb.execution.why import Why
    from kartnb.notebook.why_commands import WhyCommands


@magics_class
class WhyMagics(Magics):
    """Why tasks will run: `%kart_why`."""

    def __init__(self, shell: InteractiveShell) -> None:
        super().__init__(shell)
        self._shell = shell

    @cached_property
    def commands(self) -> WhyCommands:
        """What the magic does; imported when it is used."""
        from kartnb.notebook.why_commands import WhyCommands

        return WhyCommands(self._shell)

    @no_var_expand
    @needs_local_scope
    @output_can_be_silenced
    @line_cell_magic
    def kart_why(self, line: str, cell: str | None = None, local_ns: dict[str, Any] | None = None) -> Why | None:
        """Explain what a build would run, and which results are stale: `%kart_why [options] EXPR`.

        ::

            --on-code-change POLICY   rerun, warn or ignore: as if a build were given this

        For each task: the difference of the code, the parameters that differ from the nearest recorded run, the
        upstream task that causes it, or the input that is newer. Nothing is run. The value is what `kartnb.why` gives.
        """
        __tracebackhide__ = True
        return self.commands.why(line, cell, local_ns)
