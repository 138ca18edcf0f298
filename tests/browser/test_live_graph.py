"""The live graph in a bare page: what it shows, what can be done with it, and that no text is more than text."""

from __future__ import annotations

import json
import logging
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import kartnb
from kartnb.model import (
    HELD,
    BuildFinished,
    BuildStarted,
    LogLine,
    Plan,
    Reason,
    ReasonKind,
    TaskOutput,
    TaskProgress,
    TaskState,
    TaskStateChanged,
)
from kartnb.notebook.monitor import BuildMonitor
from kartnb.notebook.widgets import GraphWidget, LogsWidget, OutputsWidget
from kartnb.view.sanitise import one_line
from tests.browser.host import Host
from tests.view.graphs import generated, pipeline, sweep
from tests.view.hostile import ATTACKS, TEXTS, hostile_plan

Show = Callable[..., Host]


@pytest.fixture
def show(browser: Any) -> Iterator[Show]:
    """Show a plan live; it is taken away after the test."""
    shown: list[Host] = []

    def show_plan(plan: Plan, **options: Any) -> Host:
        shown.append(Host(browser, plan, **options))
        return shown[-1]

    yield show_plan
    for host in shown:
        assert host.is_untouched
        host.close()


def started(plan: Plan) -> BuildMonitor:
    """Return a monitor of a build that has begun."""
    monitor = BuildMonitor()
    monitor(BuildStarted('b', plan))
    return monitor


def test_every_task_is_a_box_with_its_state_in_words(show: Show) -> None:
    host = show(pipeline())
    names = host.boxes.locator('.name').all_text_contents()
    assert names == ['Load', 'Train', 'Train', 'Train', 'Evaluate']
    assert host.boxes.locator('.state').all_text_contents() == [
        *('◐ stale', '○ missing', '○ missing', '● cached', '○ missing')
    ]
    assert host.page.locator('.kartnb-live-words').inner_text() == '4 will run'
    assert 'alpha=0.5' in host.boxes.nth(2).get_attribute('aria-label')
    assert host.page.locator('g.arrow').count() == 7


def test_states_times_and_counts_change_while_a_build_runs(show: Show) -> None:
    plan = pipeline()
    monitor = started(plan)
    host = show(plan, monitor=monitor)
    load, train, *_ = plan.nodes
    sizes = host.boxes.locator('.plate').evaluate_all('all => all.map(one => one.getBoundingClientRect().width)')
    monitor(TaskStateChanged('b', load.key, TaskState.RUNNING))
    monitor(TaskProgress('b', load.key, 40.0, 'reading'))
    host.live.push()
    host.pump()
    assert host.boxes.nth(0).locator('.state').text_content() == '► running 40 %'
    assert '► 1 running' in host.page.locator('.kartnb-live-counts').inner_text()
    monitor(TaskStateChanged('b', load.key, TaskState.DONE))
    monitor(TaskStateChanged('b', train.key, TaskState.FAILED, 'ValueError: x'))
    host.live.push()
    host.pump()
    assert re.fullmatch(r'✓ done \d+\.\d+ s', host.boxes.nth(0).locator('.state').text_content())
    assert 'running 2/4' in host.page.locator('.kartnb-live-words').inner_text()
    assert host.page.get_by_role('progressbar').get_attribute('aria-valuenow') == '2'
    monitor(BuildFinished('b', {node.key: TaskState.DONE for node in plan} | {train.key: TaskState.FAILED}))
    host.live.end('failed')
    host.pump()
    assert '✗ failed' in host.page.locator('.kartnb-live-words').inner_text()
    assert host.page.locator('.kartnb-live-stop').inner_text() == ''
    after = host.boxes.locator('.plate').evaluate_all('all => all.map(one => one.getBoundingClientRect().width)')
    assert after == sizes, 'no box has moved or grown'


def test_a_task_that_waits_says_for_whom_until_it_goes_on(show: Show) -> None:
    plan = pipeline()
    monitor = started(plan)
    host = show(plan, monitor=monitor)
    load = plan.nodes[0]
    holder = 'pid 4711 on host-a (report.ipynb), since 14:02'
    monitor(TaskStateChanged('b', load.key, TaskState.WAITING, time=time.time() - 180, holder=holder))
    host.live.push()
    host.pump()
    assert host.boxes.nth(0).locator('.state').text_content() == '‖ waiting 3 min'
    assert host.boxes.nth(0).get_attribute('aria-label').endswith(f', waiting for {holder}')
    words = f'‖ 1 waiting for {holder}, for 3 min now: if that hangs, end it'
    assert words in host.page.locator('.kartnb-live-words').inner_text()
    assert words in host.page.get_by_role('progressbar').get_attribute('aria-valuetext')
    host.boxes.nth(0).hover()
    assert f'‖ waiting for {holder} · 3 min' in host.page.get_by_role('tooltip').inner_text()
    host.boxes.nth(0).click()
    assert f'‖ waiting for {holder} · 3 min' in host.inspector.inner_text()
    other = show(plan, monitor=monitor)  # a view that opens late
    assert other.boxes.nth(0).get_attribute('aria-label').endswith(f', waiting for {holder}')
    monitor(TaskStateChanged('b', load.key, TaskState.CACHED))
    host.live.end('done')
    host.pump()
    assert host.boxes.nth(0).locator('.state').text_content() == '● cached'
    assert 'waiting' not in host.root.inner_text()
    assert 'why it does not run: its result appeared meanwhile' in host.inspector.inner_text()
    assert host.boxes.nth(0).locator('.why').text_content() == ''


def test_a_plan_says_who_runs_a_task_until_the_build_takes_it_up(show: Show) -> None:
    found = pipeline()
    held = f'{HELD}: pid 4711 on host-a'
    sharing = 'without redis_host, builds at the same time may run a task twice'
    plan = Plan((replace(found.nodes[0], note=f'restored; {held}'), *found.nodes[1:]), '/w', sharing)
    monitor = started(plan)
    host = show(plan, monitor=monitor)
    assert host.page.get_by_text(f'W{sharing[1:]}.').is_visible()
    host.boxes.nth(0).click()
    assert held in host.inspector.inner_text()
    monitor(TaskStateChanged('b', plan.nodes[0].key, TaskState.RUNNING))
    host.live.push()
    host.pump()
    assert held not in host.inspector.inner_text()
    assert 'restored' in host.inspector.inner_text()


def test_a_blocking_build_says_how_to_stop_it_and_another_has_a_button(show: Show) -> None:
    plan = pipeline()
    assert 'interrupt the kernel' in show(plan, monitor=started(plan)).root.inner_text()
    asked: list[str] = []
    host = show(plan, monitor=started(plan), stop=lambda: asked.append('stop'))
    host.click('■ Stop')
    assert asked == ['stop']
    assert host.page.locator('.kartnb-live-words').inner_text().startswith('stopping 0/4')
    assert host.page.get_by_role('button', name='Stop the build').is_disabled()


def test_a_click_shows_a_task_without_an_answer_from_python(show: Show) -> None:
    host = show(pipeline())
    host.boxes.nth(2).click()
    shown = host.inspector.inner_text()
    assert '○ missing' in shown
    assert pipeline().nodes[2].unique_id in shown
    assert re.search(r'alpha\s+0\.5', shown)
    assert 's3cret' not in host.page.content()
    assert '◐ Load()' in shown
    assert '○ Evaluate(metric=rmse)' in shown
    host.inspector.get_by_text('Evaluate(').click()
    assert host.inspector.locator('h4').inner_text() == 'Evaluate'
    host.page.keyboard.press('Escape')
    assert host.inspector.is_hidden()


def test_the_log_of_a_task_moves_while_it_is_looked_at(show: Show) -> None:
    plan = pipeline()
    monitor = started(plan)
    host = show(plan, monitor=monitor)
    key = plan.nodes[1].key
    monitor(TaskStateChanged('b', key, TaskState.RUNNING))
    host.boxes.nth(1).click()
    for i in range(3):
        monitor(TaskOutput('b', key, 'stdout', f'epoch {i}'))
        monitor(LogLine('b', key, logging.WARNING, 'mine', f'loss {i}'))
        host.live.push()
        host.pump()
    lines = host.inspector.locator('.kartnb-live-line').all_inner_texts()
    assert [line.strip() for line in lines] == [
        *('epoch 0', 'WARNING loss 0', 'epoch 1', 'WARNING loss 1', 'epoch 2', 'WARNING loss 2')
    ]
    host.inspector.get_by_label('Lowest level').select_option('warnings and errors')
    host.inspector.get_by_label('Filter the log lines').fill('2')
    assert host.inspector.locator('.kartnb-live-line').all_inner_texts() == ['WARNING loss 2\n']


def test_files_logs_source_and_result_follow_from_python(show: Show, tmp_path: Path) -> None:
    class Made(kartnb.TaskOnKart[dict[str, str]]):
        def run(self) -> None:
            print('<b>bold</b> words')
            self.dump({'<script>window.pwned=1</script>': '<img src=x onerror="window.pwned=1">'})

    task = Made(workspace_directory=str(tmp_path))
    kartnb.build(task)
    host = show(kartnb.plan(task))
    host.boxes.first.click()
    host.pump()
    shown = host.inspector.inner_text()
    assert 'pkl' in shown
    assert '<b>bold</b> words' in shown
    assert 'last run: ✓ done' in shown
    host.click('task params')
    host.click('source')
    assert 'def run(self)' in host.inspector.inner_text()
    host.click('Load result')
    assert '<script>window.pwned=1</script>' in host.inspector.inner_text()
    assert host.inspector.locator('script, b, img').count() == 0


def test_a_large_sweep_is_a_stack_that_can_be_opened_and_left(show: Show) -> None:
    host = show(sweep(100))
    assert host.boxes.count() == 3
    stack = host.page.locator('g.box.stack')
    assert stack.get_attribute('aria-label') == 'Train ×100, 100 tasks: 50 missing, 50 cached'
    stack.click()
    assert host.inspector.locator('.kartnb-live-members p').count() == 51
    host.click('Show one by one')
    assert host.boxes.count() == 102
    assert host.page.locator('g.frame').text_content() == 'Train ×100'
    assert host.inspector.is_hidden(), 'there is nothing more to say of the stack'
    assert 'Train one by one' in host.page.locator('.kartnb-live-trail').inner_text()
    host.page.get_by_role('button', name='Put into one stack again').click()
    host.pump()
    assert host.boxes.count() == 3


def test_an_opened_stack_of_very_many_shows_some_and_the_rest(show: Show) -> None:
    host = show(generated(2_000, 3))
    host.page.locator('g.box.stack').first.click()
    host.click('Show one by one')
    assert host.page.locator('g.frame').count() == 1
    host.page.locator('g.box.stack[aria-label*=" more, "]').click()
    assert 'search finds any' in host.inspector.inner_text()
    assert host.inspector.get_by_text('Show one by one').count() == 0


def test_the_reason_of_a_task_is_of_the_past_when_it_has_run(show: Show) -> None:
    plan = pipeline()
    monitor = started(plan)
    host = show(plan, monitor=monitor)
    assert host.boxes.last.locator('.why').text_content() == 'an upstream task will run'
    host.boxes.last.click()
    assert 'why it runs: an upstream task will run' in host.inspector.inner_text()
    monitor(TaskStateChanged('b', plan.root.key, TaskState.RUNNING))
    monitor(TaskStateChanged('b', plan.root.key, TaskState.DONE))
    host.live.push()
    host.pump()
    assert host.boxes.last.locator('.why').text_content() == 'an upstream task ran'
    assert 'why it ran: an upstream task ran' in host.inspector.inner_text()
    host.boxes.last.hover()
    assert 'will run' not in host.page.get_by_role('tooltip').inner_text()


def test_a_cutoff_is_shown_in_the_bar_and_in_the_boxes(show: Show) -> None:
    plan = pipeline()
    may_change = Reason(ReasonKind.UPSTREAM_MAY_CHANGE, 'Load')
    rest = [replace(each, state=TaskState.STALE, reason=may_change, is_conditional=True) for each in plan.nodes[1:]]
    plan = replace(plan, nodes=(plan.nodes[0], *rest))
    monitor = started(plan)
    host = show(plan, monitor=monitor)
    monitor(TaskStateChanged('b', plan.nodes[0].key, TaskState.RUNNING))
    for each in plan:
        monitor(TaskStateChanged('b', each.key, TaskState.CACHED if each.is_conditional else TaskState.DONE))
    host.live.end('done', ['Load recomputed, same contents: 4 tasks stay cached.'])
    host.pump()
    said = host.page.locator('.why').all_text_contents()
    assert sorted(said) == ['recomputed, same contents', *['same contents upstream'] * 4]
    assert host.page.get_by_text('4 tasks stay cached').count() == 1
    segments = host.page.locator('[role=progressbar] div')
    assert segments.evaluate_all('all => all.map(each => each.style.width)') == ['20%', '80%']


def test_a_click_that_waits_for_the_kernel_says_so_and_is_done_once(show: Show, tmp_path: Path) -> None:
    class Made(kartnb.TaskOnKart[str]):
        def run(self) -> None:
            self.dump(f'the result of {type(self).__name__}')

    class Uses(Made):
        def requires(self) -> Any:
            return Made(workspace_directory=str(tmp_path))

    task = Uses(workspace_directory=str(tmp_path))
    kartnb.build(task)
    host = show(kartnb.plan(task))
    note = host.page.get_by_role('status')
    host.boxes.first.click()
    load = host.inspector.get_by_role('button', name='Load the result')
    load.click()
    assert load.inner_text() == 'Loading …'
    assert load.is_disabled()
    note.get_by_text('waiting for the kernel: Load result').wait_for()
    host.boxes.last.click()
    load.click()
    host.inspector.get_by_text('What it needs').click()
    host.inspector.get_by_text('What it needs').click()
    note.get_by_text('Load result, Load result, What it needs').wait_for()
    asked = host.page.evaluate("() => window.sent.filter((message) => message.kind !== 'inspect').length")
    assert asked == 3, 'the second of two equal clicks asks nothing'
    host.pump()
    assert note.inner_text() == ''
    assert 'upstream of Uses(' in host.page.locator('.kartnb-live-trail').inner_text()
    assert 'the result of Uses' in host.inspector.inner_text()
    host.boxes.first.click()
    assert 'the result of Made' in host.inspector.inner_text(), 'it was not lost while another task was looked at'


def test_search_finds_a_task_in_a_stack_and_focus_shows_what_it_needs(show: Show) -> None:
    host = show(sweep(100))
    host.page.get_by_label('Search tasks').fill('train alpha=7.3')
    assert host.page.locator('.kartnb-live-hit').all_inner_texts() == ['○ missing Train(alpha=7.3, depth=3)']
    host.page.keyboard.press('Enter')
    assert host.inspector.locator('h4').inner_text() == 'Train'
    host.click('What it needs')
    assert host.boxes.locator('.name').all_text_contents() == ['Load', 'Train']
    host.page.get_by_role('button', name='Show the whole graph').click()
    host.pump()
    assert host.boxes.count() == 3
    host.page.get_by_label('Search tasks').fill('nowhere')
    assert 'No class, parameter or id matches.' in host.root.inner_text()


def test_the_keyboard_reaches_every_box(show: Show) -> None:
    host = show(pipeline())
    host.page.get_by_role('button', name='Fit the graph to the view').focus()
    host.page.keyboard.press('Tab')
    assert _focused(host).startswith('Evaluate(')
    host.page.keyboard.press('ArrowLeft')
    assert _focused(host).startswith('Train(')
    before = _focused(host)
    host.page.keyboard.press('ArrowUp')
    assert _focused(host) != before
    host.page.keyboard.press('Home')
    assert _focused(host).startswith('Load(')
    assert 'id ' in host.page.get_by_role('tooltip').inner_text()
    host.page.keyboard.press('Enter')
    assert host.inspector.locator('h4').inner_text() == 'Load'
    host.page.keyboard.press('Escape')
    assert _focused(host).startswith('Load('), 'the focus is where it was'


def _focused(host: Host) -> str:
    return str(host.page.evaluate("document.activeElement.getAttribute('aria-label')"))


def test_the_same_graph_is_a_table(show: Show) -> None:
    host = show(pipeline())
    host.click('Tasks as a table')
    rows = host.page.locator('.kartnb-live-table tbody tr').all_inner_texts()
    assert len(rows) == 5
    assert rows[0].startswith('◐ stale\tLoad')


def test_ten_thousand_tasks_are_readable_and_there_at_once(show: Show, record_property: Callable[..., None]) -> None:
    host = show(generated(10_000, 12))
    assert host.boxes.count() <= 60
    assert '10,000 tasks' in host.root.inner_text()
    host.page.get_by_label('Search tasks').fill('n=777')
    assert host.page.locator('.kartnb-live-hit').count() == 11
    size = sum(len(json.dumps(host.live.widget.get_state()[name])) for name in ('scene', 'tasks', 'states'))
    record_property('measured', f'live graph of 10,000 tasks: {size / 1000:.0f} kB')


def test_zoom_pan_and_fit(show: Show) -> None:
    host = show(generated(60, 20))
    place = host.page.locator('.kartnb-live-stage > svg > g')
    before = place.get_attribute('transform')
    host.page.get_by_role('button', name='Zoom in').click()
    zoomed = place.get_attribute('transform')
    assert zoomed != before
    stage = host.page.locator('.kartnb-live-stage').bounding_box()
    host.page.mouse.move(stage['x'] + 3, stage['y'] + 3)
    host.page.mouse.down()
    host.page.mouse.move(stage['x'] + 60, stage['y'] + 40)
    host.page.mouse.up()
    assert place.get_attribute('transform') != zoomed
    host.page.get_by_role('button', name='Fit the graph').click()
    edges = host.boxes.evaluate_all('all => all.map((one) => one.getBoundingClientRect().right)')
    assert max(edges) <= 1040


@pytest.mark.parametrize('widget, markup', [(GraphWidget, 1), (OutputsWidget, 1), (LogsWidget, 0)])
def test_a_script_imports_nothing_and_writes_markup_in_one_place_at_most(widget: Any, markup: int) -> None:
    script = widget._esm
    assert script.count('innerHTML') == markup
    forbidden = r'^import|import\(|https?://(?!www.w3.org/2000/svg)|\beval\b|insertAdjacentHTML'
    assert re.findall(forbidden, script, re.MULTILINE) == []
    functions = re.findall(r'^(?:async )?function (\w+)', script, re.MULTILINE)
    assert len(functions) == len(set(functions)), 'no part takes the name of another'


def test_it_leaves_nothing_behind(show: Show) -> None:
    host = show(pipeline())
    assert host.page.evaluate('window.host.listening()') > 0
    host.page.evaluate('window.host.close()')
    assert host.page.evaluate('window.host.listening()') == 0
    assert host.page.locator('body > div').evaluate('one => one.childNodes.length') == 0


def test_attacks_are_shown_as_text(show: Show) -> None:
    for i in range(0, len(ATTACKS), 4):
        texts = (ATTACKS[i:] + ATTACKS)[:5]
        host = show(hostile_plan(texts), monitor=started(hostile_plan(texts)))
        _look_at_everything(host, texts)


@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(texts=st.lists(TEXTS, min_size=5, max_size=5))
def test_generated_texts_are_shown_as_text(show: Show, texts: list[str]) -> None:
    _look_at_everything(show(hostile_plan(texts), monitor=started(hostile_plan(texts))), texts)


def test_a_text_of_a_hundred_thousand_characters_is_cut(show: Show) -> None:
    long = '<b>' + 'x' * 100_000
    host = show(hostile_plan([long] * 5), monitor=started(hostile_plan([long] * 5)))
    _look_at_everything(host, [long] * 5)
    assert len(host.root.inner_text()) < 20_000


def _look_at_everything(host: Host, texts: list[str]) -> None:
    plan = host.live._plan
    monitor = host.live._monitor
    assert monitor is not None
    for node in plan:
        monitor(TaskStateChanged('b', node.key, TaskState.RUNNING, texts[0]))
        monitor(TaskProgress('b', node.key, 5.0, texts[1]))
        monitor(TaskOutput('b', node.key, 'stdout', texts[2]))
        monitor(LogLine('b', node.key, logging.ERROR, texts[3], texts[4]))
    host.live.push()
    host.pump()
    host.click('Tasks as a table')
    for i in range(host.boxes.count()):
        host.boxes.nth(i).hover(force=True)
        host.boxes.nth(i).focus()
        host.page.keyboard.press('Enter')
        host.pump()
        text = host.inspector.inner_text()
        assert plan.nodes[host.live._plan.nodes.index(plan.nodes[i])].unique_id in text
        assert one_line(texts[0], 30).strip('…').split('⏎')[0].split(' ')[0] in text
    host.page.get_by_label('Search tasks').fill(re.sub(r'[\ud800-\udfff\x00]', '', texts[0])[:50])
    assert host.root.locator('script, iframe, b, img, a, object, form').count() == 0
    assert host.is_untouched
