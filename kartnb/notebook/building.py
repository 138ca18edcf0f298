"""A build as a magic does it: shown while it runs, drawn when it has ended, and a failure told once."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import luigi
from IPython.core.interactiveshell import InteractiveShell

from kartnb.execution.background import BackgroundBuild
from kartnb.execution.build import build_in_background, log_printer, run_build
from kartnb.execution.build_error import raise_failures
from kartnb.execution.options import BuildOptions
from kartnb.execution.report import BuildReport
from kartnb.execution.retry import retried_while_locked
from kartnb.notebook.live_views import note_shown
from kartnb.notebook.progress import BuildScreen
from kartnb.notebook.shown import show_background
from kartnb.planning.planner import require_task
from kartnb.task import registry
from kartnb.task.loading import result_of

_LOCK_TRIES = 10
_LONGEST_WAIT = 600.0


def build_and_show(task: luigi.Task, shell: InteractiveShell, options: BuildOptions) -> Any:
    """Build a task with progress and a picture at the end.

    Parameters
    ----------
    task
        The root task.
    shell
        The shell whose cell is running.
    options
        How it is built; without `value_wanted` it gives None.

    Raises
    ------
    GokartBuildError
        When a task failed.
    """
    __tracebackhide__ = True
    registry.drop_superseded()
    with BuildScreen(shell, workers=options.workers) as screen:
        shown = options.heard_first_by(log_printer(options.log_level, not screen.is_rich), screen)
        report = retried_while_locked(lambda: run_build(task, shown), _LOCK_TRIES, _LONGEST_WAIT)
        screen.end_with(_without_failures(report) if report.failures else report)
    raise_failures(report)
    return result_of(task) if options.value_wanted else None


def build_behind_the_cell(task: luigi.Task, shell: InteractiveShell, options: BuildOptions) -> BackgroundBuild:
    """Begin to build a task, shown in the cell that has begun it, also when that has ended; gives the handle.

    The parameters are those of `build_and_show`.
    """
    __tracebackhide__ = True
    require_task(task)
    registry.drop_superseded()
    build = build_in_background(task, options)
    show_background(build, shell)
    note_shown(build, shell)
    return build


class FailedBuild(BuildReport):
    """A report that does not list its failures: the error that is raised with it does."""

    @property
    def succeeded(self) -> bool:
        """A build that failed."""
        return False


def _without_failures(report: BuildReport) -> FailedBuild:
    bare = replace(report, failures=())
    return FailedBuild(**{field.name: getattr(bare, field.name) for field in fields(bare)})
