"""Pure functions from plans and build reports to text, HTML and SVG.

Importing this room registers its renderers with `kartnb.display`. Graphviz and the template engine are imported when
something is drawn. Nothing here runs a task, and a result is loaded only where a preview of it was asked for.
"""

from __future__ import annotations

from typing import Any

from kartnb.display import register_drawer, register_renderer
from kartnb.execution.background import BackgroundBuild
from kartnb.execution.compare.differences import Difference
from kartnb.execution.logs import Logs
from kartnb.execution.outputs import Outputs
from kartnb.execution.planning.plan import Plan
from kartnb.execution.report import BuildReport
from kartnb.execution.sweeps.background import BackgroundSweep
from kartnb.execution.sweeps.planned import SweepPlan
from kartnb.execution.sweeps.point import SweepPoint
from kartnb.execution.sweeps.result import SweepResult
from kartnb.execution.sweeps.running import SweepRun
from kartnb.execution.why import Why
from kartnb.records.clean import Cleaning
from kartnb.records.runs import Runs
from kartnb.task.base import TaskOnKart
from kartnb.view.logs import logs_coloured, logs_html, logs_text
from kartnb.view.outputs import outputs_html, outputs_text
from kartnb.view.sweeps.text import background_sweep_text, sweep_plan_text, sweep_point_text, sweep_run_text, sweep_text
from kartnb.view.text import plan_text, report_text

__all__ = [
    'logs_html',
    'logs_text',
    'outputs_html',
    'outputs_text',
    'plan_html',
    'plan_svg',
    'plan_text',
    'report_html',
    'report_svg',
    'report_text',
]


def plan_html(plan: Plan) -> str:
    """A plan as an HTML fragment."""
    from kartnb.view import html

    return html.plan_html(plan)


def report_html(report: BuildReport) -> str:
    """A build report as an HTML fragment."""
    from kartnb.view import html

    return html.report_html(report)


def task_text(task: TaskOnKart[Any]) -> str:
    """A task as text: its plan, or what is known without one."""
    from kartnb.view import tasks

    return tasks.task_text(task)


def task_html(task: TaskOnKart[Any]) -> str:
    """A task as an HTML fragment: its plan, drawn, and the task itself."""
    from kartnb.view import tasks

    return tasks.task_html(task)


def background_text(build: BackgroundBuild) -> str:
    """A build in the background as text: how it ended, or how far it is."""
    return report_text(build.report) if build.report is not None else f'{build!r}\n{plan_text(build.plan)}'


def background_html(build: BackgroundBuild) -> str:
    """A build in the background as an HTML fragment: how it ended, or how far it is."""
    if build.report is not None:
        return report_html(build.report)
    from kartnb.view import html

    return html.running_html(repr(build), build.plan)


def plan_svg(plan: Plan) -> str:
    """A plan as an SVG document."""
    from kartnb.view import svg

    return svg.plan_svg(plan)


def report_svg(report: BuildReport) -> str:
    """The graph of a build with its final states and times, as an SVG document."""
    from kartnb.view import summary, svg

    return svg.picture(report.plan, summary.notes(report)).svg


def sweep_html(result: SweepResult) -> str:
    """A sweep as an HTML fragment."""
    from kartnb.view.sweeps import html

    return html.sweep_html(result)


def sweep_point_html(point: SweepPoint) -> str:
    """One point of a sweep, with its result, as an HTML fragment."""
    from kartnb.view.sweeps import html

    return html.sweep_point_html(point)


def sweep_plan_html(planned: SweepPlan) -> str:
    """What a sweep would do, as an HTML fragment."""
    from kartnb.view.sweeps import html

    return html.sweep_plan_html(planned)


def sweep_plot(result: SweepResult, metric: str | None = None) -> Any:
    """The metric of a sweep over the parameters that vary, as a `SweepPlot`."""
    from kartnb.view.sweeps import plot

    return plot.sweep_plot(result, metric)


register_renderer(Plan, 'text', plan_text)
register_renderer(Plan, 'html', plan_html)
register_renderer(Plan, 'svg', plan_svg)
register_renderer(BuildReport, 'text', report_text)
register_renderer(BuildReport, 'html', report_html)
register_renderer(BuildReport, 'svg', report_svg)


def _runs_text(runs: Runs) -> str:
    from kartnb.view import runs as drawn

    return drawn.runs_text(runs)


def _runs_html(runs: Runs) -> str:
    from kartnb.view import runs as drawn

    return drawn.runs_html(runs)


register_renderer(Runs, 'text', _runs_text)
register_renderer(Runs, 'html', _runs_html)
register_renderer(BackgroundBuild, 'text', background_text)
register_renderer(BackgroundBuild, 'html', background_html)
register_renderer(TaskOnKart, 'text', task_text)
register_renderer(TaskOnKart, 'html', task_html)
register_renderer(Outputs, 'text', outputs_text)
register_renderer(Outputs, 'html', outputs_html)
register_renderer(Logs, 'text', logs_text)
register_renderer(Logs, 'html', logs_html)
register_renderer(Logs, 'terminal', logs_coloured)


def _why_text(why: Why) -> str:
    from kartnb.view import why as drawn

    return drawn.why_text(why)


def _why_html(why: Why) -> str:
    from kartnb.view import why as drawn

    return drawn.why_html(why)


register_renderer(Why, 'text', _why_text)
register_renderer(Why, 'html', _why_html)
register_renderer(SweepResult, 'text', sweep_text)
register_renderer(SweepResult, 'html', sweep_html)
register_renderer(SweepPoint, 'text', sweep_point_text)
register_renderer(SweepPoint, 'html', sweep_point_html)
register_renderer(SweepPlan, 'text', sweep_plan_text)
register_renderer(SweepPlan, 'html', sweep_plan_html)
register_drawer(SweepResult, sweep_plot)


def _sweep_run_html(run: SweepRun) -> str:
    from kartnb.view.sweeps import html

    return html.sweep_run_html(run)


def _background_sweep_html(handle: BackgroundSweep) -> str:
    from kartnb.view.sweeps import html

    return html.background_sweep_html(handle)


register_renderer(SweepRun, 'text', sweep_run_text)
register_renderer(SweepRun, 'html', _sweep_run_html)
register_renderer(BackgroundSweep, 'text', background_sweep_text)
register_renderer(BackgroundSweep, 'html', _background_sweep_html)


def _cleaning_text(cleaning: Cleaning) -> str:
    from kartnb.view import cleaning as drawn

    return drawn.cleaning_text(cleaning)


def _cleaning_html(cleaning: Cleaning) -> str:
    from kartnb.view import cleaning as drawn

    return drawn.cleaning_html(cleaning)


register_renderer(Cleaning, 'text', _cleaning_text)
register_renderer(Cleaning, 'html', _cleaning_html)


def _difference_text(difference: Difference) -> str:
    from kartnb.view import differences as drawn

    return drawn.difference_text(difference)


def _difference_html(difference: Difference) -> str:
    from kartnb.view import differences as drawn

    return drawn.difference_html(difference)


register_renderer(Difference, 'text', _difference_text)
register_renderer(Difference, 'html', _difference_html)
