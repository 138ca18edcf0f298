"""The picture says what the plan says, stands alone, and is small and quick to make."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest

from kartnb.model import Plan, TaskState
from kartnb.view.graph_svg import picture, plan_svg, report_svg
from kartnb.view.words import LOOKS
from tests.machine import cost
from tests.view.graphs import Free, Load, Train, chain, generated, node, pipeline, report, sweep
from tests.view.markup import SVG, boxes, written


def _drawn(plan: Plan) -> ElementTree.Element:
    return ElementTree.fromstring(plan_svg(plan))


def test_every_box_says_class_state_parameters_and_id() -> None:
    drawn = boxes(_drawn(pipeline()))
    said = [written(box) for box in drawn]
    plan = pipeline()
    assert [texts[0] for texts in said] == ['Load', 'Train', 'Train', 'Train', 'Evaluate']
    assert [box.find(f'{SVG}text[@class="note"]').text for box in drawn] == [n.unique_id[:8] for n in plan]  # type: ignore[union-attr]
    assert [str(LOOKS[n.state]) for n in plan] == [next(t for t in texts if t[0] in '◐○●') for texts in said]
    assert said[1][1] == 'alpha=0.1, depth=3'


def test_a_reason_that_the_state_does_not_tell_stands_in_the_box() -> None:
    reasons = [written(box, 'why') for box in boxes(_drawn(pipeline()))]
    assert reasons == [['code changed'], [], [], [], ['an upstream task will run']]


def test_a_picture_by_class_says_so() -> None:
    assert picture(pipeline()).caption == ''
    assert picture(sweep(100)).caption


def test_parameters_that_tell_apart_come_first() -> None:
    plan = Plan((node(Train(depth=1)), node(Train(depth=2)), node(Load(), requires=[0, 1])), '/w')
    assert [written(box, 'detail') for box in boxes(_drawn(plan))] == [
        ['depth=1, alpha=0.1'],
        ['depth=2, alpha=0.1'],
        [],
    ]


def test_tooltips_say_it_in_full() -> None:
    plan = pipeline()
    box = boxes(_drawn(plan))[1]
    tooltip = (box.findtext(f'{SVG}title') or '').split('\n')
    assert tooltip == [
        'Train(alpha=0.1, depth=3)',
        '○ missing',
        'output missing: ./resources/x.pkl',
        plan.nodes[1].unique_id,
    ]


def test_secret_parameters_are_not_in_it() -> None:
    assert 's3cret' not in plan_svg(pipeline())


def test_it_has_a_name_a_description_and_a_legend_with_counts() -> None:
    drawn = _drawn(pipeline())
    assert drawn.get('role') == 'img'
    assert (
        drawn.findtext(f'{SVG}title')
        == drawn.get('aria-label')
        == 'Graph of Evaluate: 5 tasks (◐ 1 stale, ○ 3 missing, ● 1 cached)'
    )
    assert drawn.findtext(f'{SVG}desc')
    legend = [t.text for t in drawn.findall(f'{SVG}text')]
    assert legend == ['◐ 1 stale', '○ 3 missing', '● 1 cached']


def test_it_stands_alone() -> None:
    text = plan_svg(generated(150, 150))
    tags = {element.tag.removeprefix(SVG) for element in ElementTree.fromstring(text).iter()}
    assert tags == {'svg', 'title', 'desc', 'style', 'g', 'path', 'rect', 'text'}
    assert re.findall(r'url\(|@import|href|javascript|\bid=|\bon\w+=|xlink|font-face', text) == []
    assert re.findall(r'https?://[^"]*', text) == ['http://www.w3.org/2000/svg']


@pytest.mark.parametrize('state', TaskState)
def test_each_state_has_its_colour_light_and_dark(state: TaskState) -> None:
    text = plan_svg(Plan((node(Load(), state),), '/w'))
    light, dark = text.split('</style>')[0].rsplit('@media', 1)
    assert LOOKS[state].light in light
    assert LOOKS[state].dark in dark


def test_stacks_tell_their_number_and_counts() -> None:
    stack = boxes(_drawn(sweep(100)))[1]
    assert written(stack) == ['Train ×100', '○ 50 missing', '● 50 cached']


def test_the_times_of_a_build_stand_in_its_boxes() -> None:
    drawn = ElementTree.fromstring(report_svg(report(error=ValueError('x'))))
    states = [written(box, 'state')[0] for box in boxes(drawn)]
    assert states == ['✓ done 0.30 s', '✓ done 0.60 s', '✗ failed', '● cached', '⊘ blocked']


def test_no_box_changes_its_place_when_states_change() -> None:
    plan = pipeline()
    places = set()
    for state in TaskState:
        drawn = _drawn(plan.with_states(dict.fromkeys((n.key for n in plan), state)))
        places.add(tuple((b.get('x'), b.get('y'), b.get('width'), b.get('height')) for b in boxes(drawn)))
    assert len(places) == 1


def test_long_names_are_cut_and_stand_in_full_in_the_tooltip() -> None:
    name = 'VeryLongClassName' * 6
    drawn = _drawn(Plan((node(Free(text='値' * 400), name=name),), '/w'))
    box = boxes(drawn)[0]
    assert written(box, 'name')[0].endswith('…')
    assert float(box.get('width') or 0) <= 240
    assert (box.findtext(f'{SVG}title') or '').startswith(name)


def test_one_plan_gives_one_picture() -> None:
    assert plan_svg(generated(60)) == plan_svg(generated(60))


def test_a_full_picture_is_drawn_in_time_and_size() -> None:
    plan = generated(150, 150)
    picture(pipeline())
    assert cost(lambda: picture(plan)) < 30
    drawn = picture(plan)
    assert len(boxes(ElementTree.fromstring(drawn.svg))) == 150
    assert len(drawn.svg) < 150_000


@pytest.mark.parametrize('plan', [generated(10_000, 12, 300), generated(10_000, 400, 300, most=5), chain(10_000)])
def test_ten_thousand_tasks_are_drawn_quickly(plan: Plan) -> None:
    assert cost(lambda: picture(plan)) < 100
    assert len(picture(plan).svg) < 150_000
