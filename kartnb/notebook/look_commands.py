"""What `%kart_output` and `%kart_log` do."""

from __future__ import annotations

from typing import Any

import luigi
from IPython.core.error import UsageError

from kartnb.errors import FilterError
from kartnb.execution.logs import Logs, logs
from kartnb.execution.outputs import outputs
from kartnb.execution.subjects import plan_of
from kartnb.notebook.arguments import Arguments
from kartnb.notebook.command import Command, expression_of
from kartnb.notebook.expression import value_of
from kartnb.notebook.look_arguments import log_parser, output_parser
from kartnb.view.previews.show import preview


class LookCommands(Command):
    """Looking at outputs and logs."""

    def output(self, line: str, cell: str | None, local_ns: dict[str, Any] | None) -> Any:
        """The outputs of what an expression gives, or the preview of a task's result."""
        __tracebackhide__ = True
        given = self._taken_apart(output_parser(), line)
        if given is None:
            return None
        options = given.options
        with self._own_part_shown():
            subject = self._subject('kart_output', given, cell, local_ns)
            if options.preview:
                return preview(subject if isinstance(subject, luigi.Task) else plan_of(subject).root.task)
            found = outputs(subject).filter(
                options.filter, state=options.state.replace('-', ' '), format=options.format
            )
            if options.sort:
                return found.sort(options.sort, descending=options.descending)
            return found[::-1] if options.descending else found

    def log(self, line: str, cell: str | None, local_ns: dict[str, Any] | None) -> Logs | None:
        """The lines of what an expression gives."""
        __tracebackhide__ = True
        given = self._taken_apart(log_parser(), line)
        if given is None:
            return None
        with self._own_part_shown():
            subject = self._subject('kart_log', given, cell, local_ns)
            try:
                found = logs(subject, level=given.options.level, grep=given.options.grep)
            except FilterError as error:
                raise UsageError(f'%kart_log: {error}') from None
            return found.filter(task=given.options.task)

    def _subject(self, magic: str, given: Arguments, cell: str | None, local_ns: dict[str, Any] | None) -> Any:
        """The task, plan or build that the expression of a magic gives."""
        __tracebackhide__ = True
        return value_of(expression_of(magic, given.expression, cell), magic, self._shell, local_ns)
