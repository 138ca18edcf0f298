"""The magics about results and what will run: `%kart_output`, `%kart_log`, `%kart_why`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import luigi
from IPython.core.magic import Magics, magics_class

from kartnb.config import LOG_LEVELS
from kartnb.model import TaskState
from kartnb.notebook.arguments import ON_CODE_CHANGE, log_level, option
from kartnb.notebook.command import Given, kart_magic

if TYPE_CHECKING:
    from kartnb.inspection.logs import Logs
    from kartnb.inspection.why import Why

#: What outputs can be sorted by; the same as `kartnb.inspection.outputs.COLUMNS`, which is imported when it is used.
COLUMNS = ('task', 'unique_id', 'state', 'path', 'format', 'size', 'modified', 'parameters')


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
        option('--sort', f'sort by {", ".join(COLUMNS)}', metavar='COLUMN', choices=COLUMNS),
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

    @kart_magic(ON_CODE_CHANGE)
    def kart_why(self, given: Given) -> Why:
        """Explain what a build would run, and which results are stale: `%kart_why [options] EXPR`.

        For each task: the difference of the code, the parameters that differ from the nearest recorded run, the
        upstream task that causes it, or the input that is newer. Nothing is run. The value is what `kartnb.why` gives.
        """
        __tracebackhide__ = True
        from kartnb.inspection.why import why

        return why(given.task(), on_code_change=given.options.on_code_change)
