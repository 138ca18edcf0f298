"""Whatever a name, parameter, path or exception text holds, it is shown as text and never interpreted."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kartnb.model import BuildStatus, TaskState, TaskStateChanged
from kartnb.view.graph_svg import plan_svg, report_svg
from kartnb.view.html import CardEntry, card_html, card_text, plan_html, report_html
from kartnb.view.live import progress, progress_html, progress_text
from kartnb.view.sanitise import one_line
from kartnb.view.text import plan_text, report_text
from tests.view.graphs import Load, Train, node
from tests.view.hostile import ATTACKS, TEXTS, hostile_plan, hostile_report
from tests.view.markup import SVG, Skeleton, boxes

FIVE = st.lists(TEXTS, min_size=5, max_size=5)
BENIGN = ['a', 'b', 'c', 'd', 'e']
SVG_TAGS = {'svg', 'title', 'desc', 'style', 'g', 'path', 'rect', 'text'}


def _check_html(fragment: str, benign: str) -> Skeleton:
    fragment.encode()
    found = Skeleton(fragment)
    assert found.tags == Skeleton(benign).tags
    return found


def _check_svg(text: str) -> ElementTree.Element:
    drawn = ElementTree.fromstring(text.encode())
    assert {element.tag.removeprefix(SVG) for element in drawn.iter()} <= SVG_TAGS
    assert all(not name.startswith('on') and 'href' not in name for element in drawn.iter() for name in element.attrib)
    styles = {element.text for element in drawn.iter(f'{SVG}style')}
    assert len(styles) == 1
    assert len(boxes(drawn)) == 2
    return drawn


def _check_text(text: str) -> None:
    text.encode()
    assert all(c == '\n' or c.isprintable() or c == ' ' or ord(c) >= 0xA0 for c in text)
    assert '\x1b' not in text


@settings(max_examples=120, deadline=None)
@given(FIVE)
def test_plans_show_any_text_as_text(texts: list[str]) -> None:
    plan = hostile_plan(texts)
    html = _check_html(plan_html(plan), plan_html(hostile_plan(BENIGN)))
    assert ' '.join(one_line(texts[0], 120).split()) in html.text
    _check_svg(plan_svg(plan))
    assert ElementTree.tostring(html.picture)
    _check_text(plan_text(plan))


@settings(max_examples=120, deadline=None)
@given(FIVE)
def test_reports_show_any_text_as_text(texts: list[str]) -> None:
    ended = hostile_report(texts)
    benign = hostile_report(BENIGN if texts[3] else [*BENIGN[:3], '', 'e'])
    _check_html(report_html(ended), report_html(benign))
    _check_svg(report_svg(ended))
    _check_text(report_text(ended))


@settings(max_examples=60, deadline=None)
@given(FIVE)
def test_cards_and_progress_show_any_text_as_text(texts: list[str]) -> None:
    def card(t: list[str]) -> list[CardEntry]:
        return [CardEntry(t[0], 'changed', t[1] or 'd', [t[2]], [t[3], t[4] or 'e'])]

    _check_html(card_html(card(texts)), card_html(card(BENIGN)))
    _check_text(card_text(card(texts)))
    plan = hostile_plan(texts)
    status = BuildStatus(plan)
    for n in plan:
        status.apply(TaskStateChanged('b', n.key, TaskState.RUNNING))
    state = progress(status, 1.0)
    fragment = progress_html(state)
    assert [tag for tag, _ in Skeleton(fragment).tags] == ['div', 'style', 'div', 'div', 'p']
    _check_text(progress_text(state))
    for n in plan:
        status.apply(TaskStateChanged('b', n.key, TaskState.WAITING, holder=texts[0]))
    state = progress(status, 1.0)
    assert [tag for tag, _ in Skeleton(progress_html(state)).tags] == ['div', 'style', 'div', 'p']
    now = status.plan_now()
    assert now is not None
    for told in (progress_text(state), str(status.progress()), repr(now)):
        _check_text(told)
    _check_html(plan_html(now), plan_html(plan.with_states(status.states)))


@pytest.mark.parametrize('attack', ATTACKS)
def test_each_attack_is_told_as_it_is(attack: str) -> None:
    plan = hostile_plan([attack])
    drawn = _check_svg(plan_svg(plan))
    tooltip = (boxes(drawn)[0].findtext(f'{SVG}title') or '').split('\n')
    assert len(tooltip) == 4
    assert tooltip[0].startswith(one_line(attack, 100)[:90])


def test_hundred_kilobytes_in_every_place_stay_small() -> None:
    texts = ['<b>&"' * 20_000] * 5
    assert len(plan_html(hostile_plan(texts))) < 40_000
    assert len(report_html(hostile_report(texts))) < 70_000
    assert len(report_text(hostile_report(texts))) < 8_000


def test_the_largest_picture_of_the_longest_texts_stays_bounded() -> None:
    from kartnb.model import Plan

    nodes = [
        node(Train(depth=i), TaskState.FAILED, [], None, f'{i}' + '値<' * 500, ['<' * 999] * 9) for i in range(150)
    ]
    plan = Plan((*nodes, node(Load(), requires=range(150))), '/w')
    assert len(plan_html(plan)) < 900_000
