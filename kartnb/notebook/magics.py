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
``%config KartMagics.live_graph = False`` shows plain pictures. ``%config KartMagics.on_code_change = 'warn'``
keeps results whose code has changed, and says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

import traitlets
from IPython.core.error import UsageError
from IPython.core.magic import Magics, cell_magic, magics_class

from kartnb.config import (
    CODE_CHANGE_POLICIES,
    EXECUTOR_NAMES,
    LOG_LEVELS,
    BuildOptions,
    log_level_named,
    set_session_policy,
)
from kartnb.notebook.arguments import LOG_LEVEL, ON_CODE_CHANGE, WORKERS, option
from kartnb.notebook.command import Given, kart_magic

if TYPE_CHECKING:
    from kartnb.model import Plan
    from kartnb.notebook.cell import Definitions


@magics_class
class KartMagics(Magics):
    """Pipelines of kartnb: `%%kart`, `%kart_build`, `%kart_graph`.

    What a magic needs is imported when it is used, so that loading the extension is quick.
    """

    log_level = traitlets.Enum(
        LOG_LEVELS, 'ERROR', help='The lowest level of log lines that a build shows, where --log-level is not given.'
    ).tag(config=True)

    live_graph = traitlets.Bool(
        True, help='Whether graphs are live, where anywidget is installed; otherwise they are plain pictures.'
    ).tag(config=True)

    @traitlets.observe('live_graph')
    def _set_live(self, change: Any) -> None:
        from kartnb.notebook.screen import settings

        settings.live = change['new']

    on_code_change = traitlets.Enum(
        ['', *CODE_CHANGE_POLICIES],
        '',
        help='What happens to results whose code has changed: rerun, warn or ignore; when empty, the environment or '
        'the configuration decides.',
    ).tag(config=True)

    @traitlets.observe('on_code_change')
    def _set_policy(self, change: Any) -> None:
        set_session_policy(change['new'])

    @cached_property
    def definitions(self) -> Definitions:
        """The task classes of the cells that have run."""
        from kartnb.notebook.cell import Definitions

        shell: Any = self.shell
        return Definitions(shell)

    @kart_magic(kind=cell_magic)
    def kart(self, given: Given) -> None:
        """Run the cell, and show which task classes in it are new or changed.

        ::

            %%kart
            class Numbers(TaskOnKart):
                def run(self):
                    self.dump([1, 2, 3])
        """
        __tracebackhide__ = True
        from kartnb.notebook.cell import run_and_show

        if given.expression:
            raise UsageError(f'%%kart takes nothing on its line: remove {given.expression!r}')
        run_and_show(given.cell or '', self.definitions, given.shell)

    @kart_magic(
        LOG_LEVEL,
        option('--rerun', 'run the task even if it is complete'),
        option(
            '--rerun-from',
            'run the tasks of this class again, and everything downstream of them; may be repeated',
            metavar='NAME',
            action='append',
            default=[],
            takes='task',
        ),
        WORKERS,
        option(
            '--executor',
            f'{", ".join(EXECUTOR_NAMES)}, dask://HOST:PORT, or a variable that holds a Dask client or an Executor',
            metavar='NAME',
            takes='executor',
        ),
        ON_CODE_CHANGE,
        option('--background', 'build in the background, and give a handle at once'),
        option('--no-value', 'do not load and return the result'),
    )
    def kart_build(self, given: Given) -> Any:
        """Build the task that an expression gives, and show its graph: `%kart_build [options] EXPR`.

        The value of the magic is the task's result, so ``x = %kart_build Numbers()`` works. An expression over several
        lines goes below ``%%kart_build``.
        """
        __tracebackhide__ = True
        from kartnb.notebook.progress import build_and_show, build_behind_the_cell

        options, task = given.options, given.task()
        begin = build_behind_the_cell if options.background else build_and_show
        rerun = [*options.rerun_from, *([task] if options.rerun else [])]
        asked = BuildOptions(
            workers=options.workers,
            executor=_executor(options.executor, given.names),
            rerun=rerun if options.rerun_from else options.rerun,
            on_code_change=options.on_code_change,
            log_level=options.log_level or log_level_named(self.log_level),
            value_wanted=not options.no_value,
        )
        return begin(task, given.shell, asked)

    @kart_magic(ON_CODE_CHANGE)
    def kart_graph(self, given: Given) -> Plan:
        """Draw the graph of the task that an expression gives, with states, and run nothing: `%kart_graph EXPR`.

        The value of the magic is the plan.
        """
        __tracebackhide__ = True
        from kartnb.notebook.live_graph import graph
        from kartnb.planning.planner import plan

        task, policy = given.task(), given.options.on_code_change
        return graph(task if policy is None else plan(task, on_code_change=policy))


def _executor(name: str | None, names: Mapping[str, Any]) -> Any:
    """The value of `--executor`: a name that kartnb knows, an address, or what a variable of the user's holds."""
    if name is None or name in EXECUTOR_NAMES or '://' in name:
        return name
    if name not in names:
        known = ', '.join(EXECUTOR_NAMES)
        raise UsageError(
            f'%kart_build: executor {name} not found: give {known}, dask://HOST:PORT, or the name of a variable '
            'that holds a Dask client or a concurrent.futures.Executor'
        )
    return names[name]
