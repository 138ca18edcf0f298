"""Plans and builds as HTML fragments, for notebooks. They say what `text` says.

A fragment needs no script, no network and no style sheet to be understood: the picture is an image that carries its
data, everything that opens is `<details>`. So it shows in untrusted, exported and printed notebooks too. Its size is
bounded, whatever the plan.
"""

from __future__ import annotations

import base64
from functools import cache
from pathlib import Path
from typing import Any

from kartnb.execution.background import BackgroundBuild
from kartnb.execution.planning.plan import Plan
from kartnb.execution.report import BuildReport
from kartnb.view import summary
from kartnb.view.clean import one_line
from kartnb.view.states import LOOKS, SUPERSEDED, Look, counts_text
from kartnb.view.svg import Picture, picture

_FOLDER = Path(__file__).parent
#: A picture wider than the page is made smaller, but not below this share of its size; then it scrolls.
_SMALLEST_SHARE = 0.75


def plan_html(plan: Plan) -> str:
    """A plan: what it is, the counts per state, the workspace, the picture, and the same as a table."""
    return render_template(
        'plan.html', heading=f'Plan of {summary.title(plan.root)}', **_plan_context(plan, picture(plan))
    )


def background_html(build: BackgroundBuild) -> str:
    """A build in the background: how it ended, or its status and the plan with the states of now."""
    if build.report is not None:
        return report_html(build.report)
    plan = build.plan
    heading = one_line(repr(build).strip('<>'), 300)
    return render_template('plan.html', heading=heading, **_plan_context(plan, picture(plan)))


def report_html(report: BuildReport) -> str:
    """A build: how it ended, what failed and where, the picture with the final states, and the times."""
    drawn = picture(report.plan, summary.notes(report))
    return render_template(
        'report.html',
        heading=summary.verdict(report),
        succeeded=report.succeeded,
        failures=summary.failures(report),
        failures_omitted=max(len(report.failures) - summary.MAX_ROWS, 0),
        slowest=summary.slowest(report),
        slowest_omitted=max(len(report.durations) - summary.MAX_ROWS, 0),
        **_plan_context(report.plan, drawn),
    )


def _plan_context(plan: Plan, drawn: Picture) -> dict[str, Any]:
    rows = summary.plan_rows(plan)
    return {
        'will_run': summary.will_run(plan),
        'tasks': summary.tasks(len(plan)),
        'counts': summary.counts(plan),
        'workspace': summary.workspace(plan),
        'picture': drawn,
        'picture_source': data_uri(drawn.svg),
        'smallest_width': round(drawn.width * _SMALLEST_SHARE),
        'rows': rows,
        'omitted': counts_text(rows.omitted),
    }


def data_uri(svg: str) -> str:
    """An SVG document as the source of an `<img>`."""
    return 'data:image/svg+xml;base64,' + base64.b64encode(svg.encode()).decode('ascii')


def render_template(name: str, **context: Any) -> str:
    """Render one of the templates, every value escaped."""
    rendered: str = _environment().get_template(name).render(css=stylesheet(), **context)
    return rendered.strip()


@cache
def _environment() -> Any:
    import jinja2  # imported here because only drawing needs it

    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(_FOLDER / 'templates'),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )


@cache
def stylesheet() -> str:
    """The style sheet of all fragments."""
    sheet = (_FOLDER / 'static' / 'kartnb.css').read_text(encoding='utf-8')
    return sheet + ''.join(map(_state_rule, (*LOOKS.values(), SUPERSEDED)))


def _state_rule(look: Look) -> str:
    return f'.kartnb .kartnb-{look.slug}{{color:{look.light};color:light-dark({look.light},{look.dark})}}'
