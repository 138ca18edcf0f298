"""Objects find their renderers, and nothing heavy is imported before something is drawn."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
import subprocess
import sys
from typing import Any, get_origin

import pytest

import kartnb
from kartnb import display
from kartnb.view.graph_svg import plan_svg, report_svg
from kartnb.view.html import plan_html, report_html
from kartnb.view.text import plan_text, report_text
from tests.view.graphs import pipeline, report


def test_plans_and_reports_draw_themselves() -> None:
    plan, ended = pipeline(), report()
    assert repr(plan) == plan_text(plan)
    assert plan._repr_html_() == plan_html(plan)
    assert display.render(plan, 'svg') == plan_svg(plan)
    assert repr(ended) == report_text(ended)
    assert ended._repr_html_() == report_html(ended)
    assert display.render(ended, 'svg') == report_svg(ended)


@pytest.mark.parametrize('name', display.FORMS)
def test_the_table_names_types_and_functions_that_take_them(name: str) -> None:
    kind = display.named(name)
    assert name == f'{kind.__module__}:{kind.__qualname__}', 'a type is looked up under where it is defined'
    for form, function in display.FORMS[name].items():
        drawn, *more = inspect.signature(display.named(function), eval_str=True).parameters.values()
        taken = get_origin(drawn.annotation) or drawn.annotation
        assert issubclass(kind, taken), f'{function} takes {taken.__name__}'
        needed = [parameter.name for parameter in more if parameter.default is parameter.empty]
        assert needed == (['shell'] if form == 'live' else [])


def test_all_that_shows_itself_is_in_the_table() -> None:
    found = set()
    for kind in _types_of_kartnb() - {display.Displayed}:
        for method, form in _METHODS.items():
            shows = re.search(r'\b(render|show_live)\(self[,)]', _source(getattr(kind, method, None)))
            if shows and not inspect.isabstract(kind):
                assert callable(display.renderer_of(kind, form))
                found.add(kind)
    assert len(found) >= 12


_METHODS: dict[str, display.Form] = {'__repr__': 'text', '_repr_html_': 'html', '_ipython_display_': 'live'}


def _source(function: Any) -> str:
    try:
        return inspect.getsource(function)
    except (OSError, TypeError):  # none, or one that a dataclass has made
        return ''


def _types_of_kartnb() -> set[type]:
    names = (module.name for module in pkgutil.walk_packages(kartnb.__path__, 'kartnb.'))
    modules = [importlib.import_module(name) for name in names if name not in ('kartnb.mypy', 'kartnb.__main__')]
    return {
        value
        for module in modules
        for value in vars(module).values()
        if isinstance(value, type) and value.__module__.startswith('kartnb.')
    }


def test_others_are_refused() -> None:
    with pytest.raises(LookupError, match='int cannot be shown as html'):
        display.render(3, 'html')


def test_importing_and_text_need_neither_graphviz_nor_templates() -> None:
    code = (
        'import sys, kartnb.view.text\n'
        'from tests.view.graphs import pipeline\n'
        'repr(pipeline())\n'
        "print([m for m in ('pygraphviz', 'jinja2', 'IPython', 'matplotlib', 'pyarrow') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, '-c', code], capture_output=True, text=True, check=True, env={'PYTHONPATH': ROOT}
    )
    assert done.stdout == '[]\n'


ROOT = __file__.rsplit('/tests/', 1)[0]
