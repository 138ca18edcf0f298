"""Objects find their renderers, and nothing heavy is imported before something is drawn."""

from __future__ import annotations

import subprocess
import sys

import pytest

from kartnb import display
from kartnb.view import plan_html, plan_svg, plan_text, report_html, report_svg, report_text
from tests.view.graphs import pipeline, report


def test_plans_and_reports_draw_themselves() -> None:
    plan, ended = pipeline(), report()
    assert repr(plan) == plan_text(plan)
    assert plan._repr_html_() == plan_html(plan)
    assert display.render(plan, 'svg') == plan_svg(plan)
    assert repr(ended) == report_text(ended)
    assert ended._repr_html_() == report_html(ended)
    assert display.render(ended, 'svg') == report_svg(ended)


def test_others_are_refused() -> None:
    with pytest.raises(LookupError, match='nothing draws int as html'):
        display.render(3, 'html')


def test_importing_and_text_need_neither_graphviz_nor_templates() -> None:
    code = (
        'import sys, kartnb.view\n'
        'from tests.view.graphs import pipeline\n'
        'repr(pipeline())\n'
        "print([m for m in ('pygraphviz', 'jinja2', 'IPython', 'matplotlib', 'pyarrow') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, '-c', code], capture_output=True, text=True, check=True, env={'PYTHONPATH': ROOT}
    )
    assert done.stdout == '[]\n'


ROOT = __file__.rsplit('/tests/', 1)[0]
