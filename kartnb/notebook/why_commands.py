"""What `%kart_why` does."""

from __future__ import annotations

from typing import Any

from kartnb.execution.why import Why, why
from kartnb.notebook.arguments import why_parser
from kartnb.notebook.command import Command


class WhyCommands(Command):
    """Explaining."""

    def why(self, line: str, cell: str | None, local_ns: dict[str, Any] | None) -> Why | None:
        """The reasons in the plan of the task of an expression."""
        __tracebackhide__ = True
        given = self._taken_apart(why_parser(), line)
        if given is None:
            return None
        with self._own_part_shown():
            return why(self._task('kart_why', given, cell, local_ns), on_code_change=given.options.on_code_change)
