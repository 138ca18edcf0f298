"""The magics that look back at what a workspace holds.

::

    %kart_runs
    %kart_runs ./resources --task Train --since 2d --where depth=5

show recorded results as a table, newest first; its value has `to_dataframe()`, `filter` and `sort`. ::

    %kart_diff Train(depth=5) Train(depth=6)
    %kart_diff 3f2a91bc 77d0c412 --all

show what differs between two results. ::

    %kart_clean Train(depth=5)
    %kart_clean Train(depth=5) Report() --remove

show what the tasks do not need, with replaced results, and remove it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from IPython.core.magic import line_magic, magics_class, needs_local_scope, no_var_expand, output_can_be_silenced

from kartnb.notebook.magic_set import MagicSet

if TYPE_CHECKING:
    from kartnb.execution.compare.differences import Difference
    from kartnb.notebook.history_commands import HistoryCommands
    from kartnb.records.clean import Cleaning
    from kartnb.records.runs import Runs


@magics_class
class HistoryMagics(MagicSet):
    """The history of a workspace: `%kart_runs`, `%kart_diff`, `%kart_clean`."""

    commands: HistoryCommands
    commands_class = 'kartnb.notebook.history_commands:HistoryCommands'

    @no_var_expand
    @output_can_be_silenced
    @line_magic
    def kart_runs(self, line: str) -> Runs | None:
        """Show the recorded results of a workspace, newest first: `%kart_runs [PATH] [options]`.

        ::

            --task NAME          of this class; * and ? as in file names; may be repeated
            --since TIME         not older than this: 2d, 3h, today, 2024-05-01
            --until TIME         not newer than this
            --state STATE        cached, missing, failed, interrupted, superseded
            --where NAME=VALUE   with this parameter value; may be repeated
            --sort COLUMN        when, seconds, size, task, state, id, or a parameter
            --limit N            at most N rows

        The value of the magic is a `kartnb.Runs`, which has `to_dataframe()`.
        """
        __tracebackhide__ = True
        return self.commands.runs(line)

    @no_var_expand
    @needs_local_scope
    @output_can_be_silenced
    @line_magic
    def kart_clean(self, line: str, local_ns: dict[str, Any] | None = None) -> Cleaning | None:
        """Show what tasks do not need, and replaced results: `%kart_clean [EXPR ...] [options]`.

        ::

            --remove             remove it
            --workspace PATH     the workspace; that of the tasks by default
            --keep-age TIME      replaced results of this time stay: 2w, 3d
            --keep-number N      so many replaced results of each task stay
            --keep-bytes SIZE    the newest replaced results up to this size stay: 500MB
            --unrecorded         count results without a record or log too

        EXPR gives a task or a list of tasks; there may be several, `%kart_clean A() B()`. Without a task only replaced
        results can go. The value of the magic has `remove()`.
        """
        __tracebackhide__ = True
        return self.commands.clean(line, local_ns)

    @no_var_expand
    @needs_local_scope
    @output_can_be_silenced
    @line_magic
    def kart_diff(self, line: str, local_ns: dict[str, Any] | None = None) -> Difference | None:
        """Show what differs between two results: `%kart_diff A [B] [options]`.

        ::

            --all              show what is the same too
            --no-values        do not load and compare the values
            --workspace PATH   where ids are looked up

        A and B are ids, the beginnings of ids, or expressions that give tasks or rows. Without B, the result that A
        has replaced last is compared with it.
        """
        __tracebackhide__ = True
        return self.commands.diff(line, local_ns)
