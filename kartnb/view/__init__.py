"""Pure functions from plans and build reports to text, HTML and SVG.

Importing this room registers its renderers with `kartnb.display`. Graphviz and the template engine are imported when
something is drawn. Nothing here runs a task or touches a result.
"""

from __future__ import annotations

from kartnb.display import register_renderer
from kartnb.execution.plan import Plan
from kartnb.execution.report import BuildReport
from kartnb.records.runs import Runs
from kartnb.view.text import plan_text, report_text

__all__ = ['plan_html', 'plan_svg', 'plan_text', 'report_html', 'report_svg', 'report_text']


def plan_html(plan: Plan) -> str:
    """A plan as an HTML fragment."""
    from kartnb.view import html

    return html.plan_html(plan)


def report_html(report: BuildReport) -> str:
    """A build report as an HTML fragment."""
    from kartnb.view import html

    return html.report_html(report)


def plan_svg(plan: Plan) -> str:
    """A plan as an SVG document."""
    from kartnb.view import svg

    return svg.plan_svg(plan)


def report_svg(report: BuildReport) -> str:
    """The graph of a build with its final states and times, as an SVG document."""
    from kartnb.view import summary, svg

    return svg.picture(report.plan, summary.notes(report)).svg


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
