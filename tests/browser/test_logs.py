"""The live lines of tasks in a real browser, against a fake widget host."""

from __future__ import annotations

import base64
import json
import logging
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import luigi
import pytest

import kartnb
from kartnb.inspection.logs import Logs, TaskLine
from kartnb.notebook.widgets import MOST_LINES, LiveLogs, LogsWidget
from tests.view.hostile import ATTACKS

HOST = """
async ([code, content]) => {
    const { default: widget } = await import(`data:text/javascript;base64,${code}`);
    const listeners = {};
    const state = { content, key: 'k-1' };
    const model = {
        get: (name) => state[name],
        on: (name, listener) => { listeners[name] = listener; },
        off: (name) => { delete listeners[name]; },
    };
    window.receive = (message) => listeners['msg:custom'](message);
    window.update = (value) => { state.content = value; listeners['change:content'](); };
    window.close_view = widget.render({ model, el: document.getElementById('view') });
}
"""
Show = Callable[[Logs], 'Shown']
gate = threading.Event()


class Talks(kartnb.TaskOnKart[int]):
    number = luigi.IntParameter()

    def run(self) -> None:
        print(f'first of {self.number}')
        logging.getLogger('mine').warning('careful')
        logging.getLogger('mine').error('bad')
        self.dump(1)


class Waits(kartnb.TaskOnKart[int]):
    def requires(self) -> Any:
        return [Talks(number=i) for i in range(2)]

    def run(self) -> None:
        print('waiting')
        assert gate.wait(60)
        print('done waiting')
        self.dump(2)


class Shown:
    """Live lines on a page."""

    def __init__(self, page: Any, logs: Logs) -> None:
        self.page = page
        self.live = LiveLogs(logs, 'k-1')
        self.messages: list[Any] = []
        self.live.widget.send = lambda content, buffers=None: self.messages.append(content)
        page.set_content('<!doctype html><meta charset="utf-8"><div data-kart="k-1">stored</div><div id="view"></div>')
        page.add_style_tag(content=LogsWidget._css)
        code = base64.b64encode(LogsWidget._esm.encode()).decode()
        page.evaluate(HOST, [code, self.live.widget.content])

    @property
    def texts(self) -> list[str]:
        """What the lines say."""
        texts: list[str] = self.page.locator('tbody pre').all_inner_texts()
        return texts

    def pump(self) -> None:
        """Return the page what Python has sent."""
        while self.messages:
            self.page.evaluate('message => window.receive(message)', json.loads(json.dumps(self.messages.pop(0))))


@pytest.fixture
def show(browser: Any) -> Iterator[Show]:
    page = browser.new_page(viewport={'width': 1000, 'height': 700})
    page.set_default_timeout(10_000)
    problems: list[str] = []
    page.route('**/*', lambda route: (problems.append(route.request.url), route.abort()))
    page.on('pageerror', lambda error: problems.append(str(error)))
    page.on('dialog', lambda dialog: problems.append(dialog.message))
    yield lambda logs: Shown(page, logs)
    assert page.evaluate('window.pwned === undefined')
    assert problems == []
    page.close()


def test_lines_are_filtered_by_level_and_text_and_copied(show: Show) -> None:
    gate.set()
    kartnb.build(Waits(), log_level=logging.CRITICAL)
    shown = show(kartnb.logs(kartnb.plan(Waits())))
    page = shown.page
    assert len(shown.texts) == 8
    assert not page.get_by_text('stored').is_visible()
    assert page.get_by_text('Log of tasks of Waits: 8 lines, 2 errors, 2 warnings').is_visible()
    page.get_by_label('Lowest level').select_option('errors')
    assert shown.texts == ['bad', 'bad']
    assert page.get_by_role('status').inner_text() == '2 of 8 lines'
    page.get_by_label('Lowest level').select_option('info and above')
    page.get_by_role('searchbox').fill('WAITING waits')
    assert shown.texts == ['waiting', 'done waiting']
    page.get_by_role('searchbox').fill('')
    page.get_by_role('button', name='Show only the lines of Talks').first.click()
    assert len(shown.texts) == 3
    page.get_by_role('searchbox').fill('nowhere')
    assert page.get_by_text('No line matches.').is_visible()
    page.get_by_role('searchbox').fill('done')
    page.get_by_role('button', name='Copy').click()
    page.get_by_text('copied').wait_for()
    page.get_by_role('searchbox').fill('')
    page.get_by_role('searchbox').focus()
    page.keyboard.press('Control+v')
    assert page.get_by_role('searchbox').input_value().endswith('done waiting')
    page.get_by_text('Files with all lines').click()
    assert page.locator('details p').count() == 3
    page.evaluate('window.close_view()')
    assert page.get_by_text('stored').is_visible()


def test_the_lines_of_a_build_that_goes_on_keep_coming_once_each(show: Show) -> None:
    gate.clear()
    build = kartnb.build(Waits(), background=True, executor='threads', log_level=logging.CRITICAL)
    try:
        _until(lambda: any('waiting' in line.text for line in kartnb.logs(build)))
        assert [line.text for line in kartnb.logs(Waits())] == ['waiting'], 'a task of a running build is found'
        shown = show(kartnb.logs(build))
        follow = threading.Thread(target=shown.live.follow, args=(build,))
        follow.start()
        _until(lambda: shown.pump() or len(shown.texts) == 7)
        assert shown.page.get_by_text('the build is running').is_visible()
    finally:
        gate.set()
    follow.join(60)
    build.result(60)
    shown.page.evaluate('content => window.update(content)', shown.live.widget.content)
    assert sorted(shown.texts) == sorted(
        ['first of 0', 'first of 1', 'careful', 'careful', 'bad', 'bad', 'waiting', 'done waiting']
    )
    assert not shown.page.get_by_text('the build is running').is_visible()
    assert kartnb.logs(build).build is None


def test_what_a_filter_leaves_out_does_not_come_later_either() -> None:
    gate.clear()
    build = kartnb.build(Waits(), background=True, executor='threads', log_level=logging.CRITICAL)
    try:
        live = LiveLogs(kartnb.logs(build, level='WARNING').filter(task='Talks'), 'k')
        follow = threading.Thread(target=live.follow, args=(build,))
        follow.start()
        _until(lambda: any('waiting' in line.text for line in kartnb.logs(build)))
    finally:
        gate.set()
    follow.join(60)
    assert [row['text'] for row in json.loads(live.widget.content)['rows']] == ['careful', 'bad'] * 2


def test_the_tail_is_followed_unless_somebody_reads_above(show: Show) -> None:
    lines = [TaskLine(float(i), 'A', 'a', 'stdout', 0, '', f'line {i}') for i in range(MOST_LINES + 100)]
    shown = show(Logs('many', lines, {'A_a': 'a.log'}))
    content = json.loads(shown.live.widget.content)
    assert content['earlier'] == '… 100 earlier lines'
    assert len(content['rows']) == MOST_LINES
    scroll = shown.page.get_by_role('log')
    at_end = 'one => one.scrollHeight - one.scrollTop - one.clientHeight < 24'
    assert scroll.evaluate(at_end), 'the last lines are seen first'
    scroll.evaluate('one => { one.scrollTop = 0; }')
    shown.page.get_by_role('button', name='Go to the last line').wait_for()
    more = [{**content['rows'][-1], 'number': 10_000 + i, 'text': f'new {i}'} for i in range(3)]
    shown.page.evaluate("message => window.receive({kind: 'lines', heading: 'x', rows: message})", more[:1])
    assert scroll.evaluate('one => one.scrollTop') == 0
    shown.page.get_by_role('button', name='Go to the last line').click()
    shown.page.evaluate("message => window.receive({kind: 'lines', heading: 'x', rows: message})", more)
    shown.page.wait_for_function(f"() => ({at_end})(document.querySelector('[role=log]'))")
    assert shown.texts[-3:] == ['new 0', 'new 1', 'new 2']
    assert len(shown.texts) == 1000


def test_attacks_are_shown_as_text(show: Show) -> None:
    texts = [text for text in ATTACKS if '\ud800' not in text]
    lines = [TaskLine(1.0, text, text, 'log', 40, text, text) for text in texts]
    shown = show(Logs(texts[0], lines, {f'{i}': text for i, text in enumerate(texts)}))
    assert len(shown.texts) == len(lines)
    shown.page.get_by_role('button', name='Show only').first.click()
    assert shown.page.locator('.kartnb-live').locator('script, iframe, b, img, a, object, form').count() == 0


def test_nothing_says_so(show: Show, tmp_path: Path) -> None:
    shown = show(kartnb.logs(Talks(number=1, workspace_directory=str(tmp_path))))
    assert shown.page.get_by_text('Nothing was printed or logged.').is_visible()
    assert shown.texts == []


def _until(condition: Callable[[], Any]) -> None:
    deadline = threading.Event()
    for _ in range(1200):
        if condition():
            return
        deadline.wait(0.05)
    assert condition()
