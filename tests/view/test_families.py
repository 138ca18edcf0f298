"""The picture stays small and complete, whatever the plan."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kartnb.model import Plan
from kartnb.view.graph_layout import MAX_BOXES, MAX_LINKS, Overview, overview
from tests.machine import cost
from tests.view.graphs import chain, generated, pipeline, sweep


def _check(plan: Plan, drawn: Overview, boxes: int = MAX_BOXES, links: int = MAX_LINKS) -> None:
    assert len(drawn.boxes) <= boxes
    assert len(drawn.links) <= links
    members = sorted(i for box in drawn.boxes for i in box.members)
    assert members == list(range(len(plan)))
    assert all(sum(box.counts.values()) == len(box.members) for box in drawn.boxes)
    assert all(a != b for a, b in drawn.links)
    assert len(set(drawn.links)) == len(drawn.links)


@settings(max_examples=40, deadline=None)
@given(
    st.integers(1, 400),
    st.integers(1, 300),
    st.integers(1, 40),
    st.integers(0, 9),
    st.integers(2, 150),
    st.integers(1, 400),
)
def test_limits_hold_and_no_task_is_lost(
    size: int, families: int, most: int, seed: int, boxes: int, links: int
) -> None:
    plan = generated(size, min(families, size), seed=seed, most=most)
    drawn = overview(plan, boxes, links)
    _check(plan, drawn, boxes, links)
    assert drawn == overview(plan, boxes, links)


def test_small_plans_are_drawn_task_by_task() -> None:
    drawn = overview(pipeline())
    assert [box.kind for box in drawn.boxes] == ['task'] * 5
    assert set(drawn.links) == {(0, 1), (0, 2), (0, 3), (1, 4), (2, 4), (3, 4), (0, 4)}


def test_a_large_sweep_is_one_stack_between_its_neighbours() -> None:
    drawn = overview(sweep(100))
    assert [(box.kind, box.name, len(box.members)) for box in drawn.boxes] == [
        ('task', 'Load', 1),
        ('stack', 'Train', 100),
        ('task', 'Evaluate', 1),
    ]
    assert drawn.links == ((0, 1), (1, 2))
    assert [(str(state), n) for state, n in drawn.boxes[1].counts.items()] == [('missing', 50), ('cached', 50)]


def test_a_chain_of_one_class_is_one_stack() -> None:
    drawn = overview(chain(10_000))
    assert [(box.kind, len(box.members)) for box in drawn.boxes] == [('stack', 10_000)]
    assert drawn.links == ()


def test_too_many_classes_leave_the_least_relevant_in_one_box() -> None:
    plan = generated(400, 400, most=1)
    drawn = overview(plan)
    _check(plan, drawn)
    *kept, more = drawn.boxes
    assert more.kind == 'more'
    assert more.classes == 400 - len(kept)
    assert any(len(plan) - 1 in box.members for box in kept)
    assert all(box.state in ('failed', 'interrupted') for box in kept if len(plan) - 1 not in box.members)


@pytest.mark.parametrize('families,most', [(12, 3), (400, 5)])
def test_ten_thousand_tasks_are_chosen_from_at_once(families: int, most: int) -> None:
    plan = generated(10_000, families, reach=300, most=most)
    assert cost(lambda: overview(plan)) < 15
    _check(plan, overview(plan))
