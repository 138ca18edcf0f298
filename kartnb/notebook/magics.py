"""The magics about tasks: defining, building and drawing them, their outputs and logs, and why they would run.

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
``--executor NAME``, ``--on-code-change POLICY``, ``--notify WHERE``, ``--background``, ``--no-value``. ::

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

import luigi
import traitlets
from IPython.core.error import UsageError
from IPython.core.magic import Magics, cell_magic, magics_class

from kartnb.config import (
    CODE_CHANGE_POLICIES,
    EXECUTOR_NAMES,
    LOG_LEVELS,
    BuildOptions,
    Notifier,
    log_level_named,
    set_session_policy,
)
from kartnb.model import TaskState
from kartnb.notebook.arguments import (
    CONCURRENCY,
    DURABLE,
    KEEP_SUPERSEDED,
    LOG_LEVEL,
    ON_CODE_CHANGE,
    ON_VERSION_CHANGE,
    WORKERS,
    log_level,
    option,
)
from kartnb.notebook.command import Given, kart_magic

if TYPE_CHECKING:
    from kartnb.inspection.logs import Logs
    from kartnb.inspection.why import Why
    from kartnb.model import Plan
    from kartnb.notebook.cell import Definitions

#: What outputs can be sorted by; the same as `kartnb.inspection.outputs.COLUMNS`, which is imported when it is used.
OUTPUT_COLUMNS = ('task', 'unique_id', 'state', 'path', 'format', 'size', 'modified', 'parameters')


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
        help='What happens to results whose code has changed: rerun, warn, error or ignore; when empty, the '
        'environment or the configuration decides.',
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
        CONCURRENCY,
        ON_CODE_CHANGE,
        ON_VERSION_CHANGE,
        DURABLE,
        KEEP_SUPERSEDED,
        option(
            '--notify',
            'send the report to slack (as the configuration says), an address that apprise knows, or a function of '
            'the notebook; may be repeated',
            metavar='WHERE',
            action='append',
            default=[],
        ),
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
            concurrency=options.concurrency,
            rerun=rerun if options.rerun_from else options.rerun,
            on_code_change=options.on_code_change,
            on_version_change=options.on_version_change,
            log_level=options.log_level or log_level_named(self.log_level),
            value_wanted=not options.no_value,
            durable=options.durable or None,
            keep_superseded=options.keep_superseded,
            notify=tuple(_notifier(where, given.names) for where in options.notify),
        )
        return begin(task, given.shell, asked)

    @kart_magic(ON_CODE_CHANGE, ON_VERSION_CHANGE)
    def kart_graph(self, given: Given) -> Plan:
        """Draw the graph of the task that an expression gives, with states, and run nothing: `%kart_graph EXPR`.

        The value of the magic is the plan.
        """
        __tracebackhide__ = True
        from kartnb.notebook.live_graph import graph
        from kartnb.planning.planner import plan

        task, options = given.task(), given.options
        if options.on_code_change is options.on_version_change is None:
            return graph(task)
        planned = plan(task, on_code_change=options.on_code_change, on_version_change=options.on_version_change)
        return graph(planned)


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


def _notifier(where: str, names: Mapping[str, Any]) -> Notifier:
    """The function of a `--notify`: Slack's, apprise's for an address, or one of the user's."""
    found = names.get(where)
    if callable(found):
        notifier: Notifier = found
        return notifier
    if where == 'slack':
        from kartnb.notify.slack import to_slack

        return to_slack()
    if '://' in where:
        from kartnb.notify.apprise import to_apprise

        return to_apprise(where)
    raise UsageError(
        f'%kart_build: --notify {where} not found: give slack, an address that apprise knows, or the name of a '
        'function that takes the report of a build'
    )


@magics_class
class LookMagics(Magics):
    """Outputs, logs and reasons: `%kart_output`, `%kart_log`, `%kart_why`."""

    @kart_magic(
        option('--preview', "load the task's own result, and show it"),
        option('--filter', 'whose task, parameters, id or path contain the text', metavar='TEXT', default=''),
        option(
            '--state',
            'of tasks in this state, such as cached',
            metavar='STATE',
            choices=[state.value.replace(' ', '-') for state in TaskState],
            default='',
        ),
        option('--format', 'with this extension, such as pkl', metavar='FORMAT', default=''),
        option('--sort', f'sort by {", ".join(OUTPUT_COLUMNS)}', metavar='COLUMN', choices=OUTPUT_COLUMNS),
        option('--descending', 'the largest or latest first'),
    )
    def kart_output(self, given: Given) -> Any:
        """Show the outputs of a task and of everything it needs: `%kart_output [options] EXPR`.

        EXPR gives a task, a plan or a build. The value of the magic is the table (`kartnb.outputs`), or the preview.
        """
        __tracebackhide__ = True
        from kartnb.execution.background import plan_of
        from kartnb.inspection.outputs import outputs
        from kartnb.view.previews.show import preview

        options, subject = given.options, given.value()
        if options.preview:
            return preview(subject if isinstance(subject, luigi.Task) else plan_of(subject).root.task)
        found = outputs(subject).filter(options.filter, state=options.state.replace('-', ' '), format=options.format)
        if options.sort:
            return found.sort(options.sort, descending=options.descending)
        return found[::-1] if options.descending else found

    @kart_magic(
        option(
            '--level',
            f'lines of this level and above: {", ".join(LOG_LEVELS)}; what is printed counts as INFO',
            metavar='LEVEL',
            type=log_level,
            default=0,
            takes='level',
        ),
        option(
            '--grep', 'lines that match this regular expression, in upper or lower case', metavar='TEXT', default=''
        ),
        option('--task', 'lines of tasks of this class', metavar='NAME', default='', takes='task'),
    )
    def kart_log(self, given: Given) -> Logs:
        """Show what a task printed and logged when it last ran, or a whole build: `%kart_log [options] EXPR`.

        EXPR gives a task, a plan or a build. The value of the magic is the log (`kartnb.logs`).
        """
        __tracebackhide__ = True
        from kartnb.inspection.logs import logs

        options = given.options
        return logs(given.value(), level=options.level, grep=options.grep).filter(task=options.task)

    @kart_magic(ON_CODE_CHANGE, ON_VERSION_CHANGE)
    def kart_why(self, given: Given) -> Why:
        """Explain what a build would run, and which results are stale: `%kart_why [options] EXPR`.

        For each task: the difference of the code, the parameters that differ from the nearest recorded run, the
        upstream task that causes it, or the input that is newer. Nothing is run. The value is what `kartnb.why` gives.
        """
        __tracebackhide__ = True
        from kartnb.inspection.why import why

        options = given.options
        return why(given.task(), on_code_change=options.on_code_change, on_version_change=options.on_version_change)
