"""The magic that explains: `%kart_why`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from IPython.core.magic import magics_class

from kartnb.notebook.magic_set import MagicSet, expression_magic

if TYPE_CHECKING:
    from kartnb.execution.why import Why
    from kartnb.notebook.why_commands import WhyCommands


@magics_class
class WhyMagics(MagicSet):
    """Why tasks will run: `%kart_why`."""

    commands: WhyCommands
    commands_class = 'kartnb.notebook.why_commands:WhyCommands'

    @expression_magic
    def kart_why(self, line: str, cell: str | None = None, local_ns: dict[str, Any] | None = None) -> Why | None:
        """Explain what a build would run, and which results are stale: `%kart_why [options] EXPR`.

        ::

            --on-code-change POLICY   rerun, warn or ignore: as if a build were given this

        For each task: the difference of the code, the parameters that differ from the nearest recorded run, the
        upstream task that causes it, or the input that is newer. Nothing is run. The value is what `kartnb.why` gives.
        """
        __tracebackhide__ = True
        return self.commands.why(line, cell, local_ns)
