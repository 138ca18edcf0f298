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
below ``%%kart_build``. Options: ``--log-level LEVEL``, ``--rerun``, ``--rerun-from NAME``, ``--workers N``,
``--executor NAME``, ``--on-code-change POLICY``, ``--background``, ``--no-value``. ::

    %kart_graph Numbers(count=5)

draws the graph and runs nothing, and ``%kart_why Numbers(count=5)`` explains what would run, and why. ::

    %kart_output Numbers(count=5)
    %kart_log Numbers(count=5)

show the files of results, and what was printed and logged; see ``%kart_output?`` and ``%kart_log?``. Tab completes
options, log levels, task names and their parameters. In a terminal the same magics print text.

``%config KartMagics.log_level = 'INFO'`` changes which log lines a build shows where ``--log-level`` is not given, and
``%config KartMagics.live_graph = False`` gives graphs that stand still. ``%config KartMagics.on_code_change = 'warn'``
keeps results whose code has changed, and says so.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import traitlets
from IPython.core.magic import cell_magic, magics_class, no_var_expand

from kartnb.config import CODE_CHANGE_POLICIES, set_session_policy
from kartnb.execution.options import LOG_LEVELS
from kartnb.notebook.magic_set import MagicSet, expression_magic

if TYPE_CHECKING:
    from kartnb.execution.planning.plan import Plan
    from kartnb.notebook.commands import Commands


@magics_class
class KartMagics(MagicSet):
    """Pipelines of kartnb: `%%kart`, `%kart_build`, `%kart_graph`."""

    commands: Commands
    commands_class = 'kartnb.notebook.commands:Commands'

    log_level = traitlets.Enum(
        LOG_LEVELS, 'ERROR', help='From which level on a build shows log lines, where --log-level is not given.'
    ).tag(config=True)

    live_graph = traitlets.Bool(
        True, help='Whether graphs are live, where anywidget is installed; else they are pictures that stand still.'
    ).tag(config=True)

    @traitlets.observe('live_graph')
    def _set_live(self, change: Any) -> None:
        from kartnb.notebook.faces import wishes

        wishes.live = change['new']

    on_code_change = traitlets.Enum(
        ['', *CODE_CHANGE_POLICIES],
        '',
        help='What happens to results whose code has changed: rerun, warn or ignore; where it is empty, what the '
        'environment or the configuration says.',
    ).tag(config=True)

    @traitlets.observe('on_code_change')
    def _set_policy(self, change: Any) -> None:
        set_session_policy(change['new'])

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
        self.commands.kart(line, cell)

    @expression_magic
    def kart_build(self, line: str, cell: str | None = None, local_ns: dict[str, Any] | None = None) -> Any:
        """Build the task that an expression gives: `%kart_build [options] EXPR`.

        ::

            --log-level LEVEL   show log lines from this level on
            --rerun             run the task even if it is complete
            --rerun-from NAME   run the tasks of this class again, and all that is downstream; may be repeated
            --workers N         run up to N tasks at once, in worker processes
            --on-code-change POLICY  what happens to results whose code has changed: rerun, warn or ignore
            --executor NAME     inline, processes, threads, dask://HOST:PORT, or a variable that holds an executor
            --background        give a handle at once, and build meanwhile
            --no-value          do not load and give the value

        The value of the magic is the task's result, so ``x = %kart_build Numbers()`` works. An expression over several
        lines goes below ``%%kart_build``.
        """
        __tracebackhide__ = True
        return self.commands.build(line, cell, local_ns, self.log_level)

    @expression_magic
    def kart_graph(self, line: str, cell: str | None = None, local_ns: dict[str, Any] | None = None) -> Plan | None:
        """Draw the graph of the task that an expression gives, with states, and run nothing: `%kart_graph EXPR`.

        The value of the magic is the plan.
        """
        __tracebackhide__ = True
        return self.commands.graph(line, cell, local_ns)
