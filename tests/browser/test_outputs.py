"""The live table of outputs in a real browser, against a fake widget host, with texts that try to be more than text."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Any

import luigi
import pandas as pd
import pytest

import kartnb
from kartnb.inspection.logs import Logs, TaskLine
from kartnb.inspection.outputs import Outputs
from kartnb.notebook.widgets import LiveOutputs, OutputsWidget
from kartnb.view.inspect import Inspection, Inspector, inspection_html
from kartnb.view.previews.show import preview_html
from tests.browser.front_end import browsing
from tests.view.hostile import ATTACKS, hostile_plan

HOST = """
async ([code, table, key]) => {
    const { default: widget } = await import(`data:text/javascript;base64,${code}`);
    const listeners = {};
    window.sent = [];
    const model = {
        get: (name) => ({ table, key })[name],
        on: (name, listener) => { listeners[name] = listener; },
        off: (name) => { delete listeners[name]; },
        send: (message) => window.sent.push(message),
    };
    window.answer = (message) => listeners['msg:custom'](message);
    window.close_view = widget.render({ model, el: document.getElementById('view') });
}
"""


class Word(kartnb.TaskOnKart[Any]):
    text = luigi.Parameter()

    def run(self) -> None:
        self.dump({self.text: [self.text]})


class Words(kartnb.TaskOnKart[Any]):
    def requires(self) -> Any:
        return [Word(text=text) for text in TEXTS]

    def run(self) -> None:
        self.dump(pd.DataFrame({TEXTS[0]: ['<b>cell']}))


TEXTS = [text for text in ATTACKS if '\ud800' not in text][:16]


@pytest.fixture(scope='module')
def browser(chromium: str) -> Iterator[Any]:
    with browsing(chromium) as started:
        yield started


@pytest.fixture
def page(browser: Any) -> Iterator[Any]:
    page = browser.new_page(viewport={'width': 1100, 'height': 800})
    page.troubles = []
    page.route('**/*', lambda route: (page.troubles.append(route.request.url), route.abort()))
    page.on('pageerror', lambda error: page.troubles.append(str(error)))
    page.on('dialog', lambda dialog: page.troubles.append(dialog.message))
    yield page
    assert page.evaluate('window.pwned === undefined')
    assert page.troubles == []
    page.close()


def _live(page: Any, outputs: Outputs) -> LiveOutputs:
    live = LiveOutputs(outputs, 'k-1')
    page.set_content('<!doctype html><meta charset="utf-8"><div data-kart="k-1">stored</div><div id="view"></div>')
    page.add_style_tag(content=OutputsWidget._css)
    code = base64.b64encode(_code()).decode()
    page.evaluate(HOST, [code, live.widget.table, 'k-1'])
    return live


def _code() -> bytes:
    code: str = OutputsWidget._esm
    return code.encode()


def test_the_table_sorts_filters_previews_and_copies(page: Any) -> None:
    kartnb.build(Words())
    outputs = kartnb.outputs(Words())
    live = _live(page, outputs)
    rows = page.locator('tbody tr')
    assert rows.count() == len(outputs) == 17
    assert not page.get_by_text('stored').is_visible()
    page.get_by_role('button', name='Sort by size').click()
    page.get_by_role('button', name='Sort by size').click()
    assert page.locator('th[aria-sort="descending"]').inner_text().startswith('size')
    largest = max(outputs, key=lambda output: output.size or 0)
    assert largest.unique_id[:8] in rows.first.inner_text()
    page.get_by_role('searchbox').fill('words cached')
    assert rows.count() == 1
    page.get_by_role('button', name='Load and preview').click()
    (message,) = page.evaluate('window.sent')
    answers: list[Any] = []
    live.widget.send = answers.append
    live._on_message(None, message, None)
    page.evaluate('message => window.answer(message)', answers[0])
    assert '<b>cell' in page.locator('tr[data-preview]').inner_text()
    page.get_by_role('button', name='Copy a line of Python').click()
    page.get_by_text(f'kartnb.load_result({outputs[0].path!r})').wait_for()
    page.evaluate('window.close_view()')
    assert page.get_by_text('stored').is_visible()


def test_a_wrong_message_is_not_answered() -> None:
    live = LiveOutputs(kartnb.outputs(Word(text='a')), 'k')
    answers: list[Any] = []
    live.widget.send = answers.append  # type: ignore[method-assign]
    for message in (None, {}, {'kind': 'preview', 'index': 99}, {'kind': 'preview', 'index': '0'}, {'kind': 'other'}):
        live._on_message(None, message, None)
    assert answers == []
    live._on_message(None, {'kind': 'preview', 'index': 0}, None)
    assert 'has not been created yet' in answers[0]['html']
    assert json.loads(live.widget.table)['rows'][0]['exists'] is False


def test_previews_logs_and_inspections_run_nothing(page: Any) -> None:
    fragments = []
    for i in range(0, len(ATTACKS), 3):
        texts = (ATTACKS[i:] + ATTACKS)[:5]
        frame = pd.DataFrame({0: pd.Series(texts, dtype=object)}).set_axis(pd.Index([texts[0]], dtype=object), axis=1)
        plan = hostile_plan(texts)
        inspector = Inspector(plan)
        key = plan.nodes[0].key
        lines = [TaskLine(1.0, text, text, 'log', 40, text, text) for text in texts]
        fragments += [
            preview_html(kartnb.preview(frame)),
            preview_html(kartnb.preview({text: [text] for text in texts})),
            preview_html(kartnb.preview(_Draws(texts[0]))),
            Logs(texts[0], lines, {'a': texts[1], 'b': texts[2]})._repr_html_(),
            inspection_html(Inspection(inspector.brief(key), inspector.details(key))),
            kartnb.outputs(plan)._repr_html_(),
        ]
    page.set_content(f'<!doctype html><meta charset="utf-8"><body>{"".join(fragments)}')
    page.wait_for_function('[...document.images].every(image => image.complete)')
    page.evaluate("document.querySelectorAll('details').forEach(part => { part.open = true; })")
    assert page.locator('iframe[sandbox=""]').count() == len(fragments) / 6


class _Draws:
    def __init__(self, text: str) -> None:
        self._text = text

    def _repr_html_(self) -> str:
        return (
            f'{self._text}<script>parent.pwned=1</script><img src="http://127.0.0.1:9/x.png" onerror="parent.pwned=1">'
        )
