"""An opened stack can be read: its tasks stand in rows in a frame, and a picture stays small."""

from __future__ import annotations

from typing import Any

from kartnb.model import Plan
from kartnb.view.graph_layout import MAX_BOXES, columns_for, family_of, grid
from kartnb.view.scene import scene
from tests.view.graphs import Free, generated, node, sweep


def _opened(plan: Plan, position: int) -> dict[str, Any]:
    return scene(plan, None, [family_of(plan.nodes[position])])


def test_a_stack_opens_into_rows_within_its_frame() -> None:
    drawn = _opened(sweep(100), 1)
    (frame,) = drawn['frames']
    inside = [box for box in drawn['boxes'] if box.get('frame') == 0]
    assert len(inside) == 100
    assert frame['title'] == 'Train ×100'
    for box in inside:
        assert frame['x'] <= box['x']
        assert box['x'] + box['width'] <= frame['x'] + frame['width']
        assert frame['y'] + 20 <= box['y']
        assert box['y'] + box['height'] <= frame['y'] + frame['height']
    rows = sorted({box['y'] for box in inside})
    columns = sorted({box['x'] for box in inside})
    assert len(rows) * len(columns) < 120, 'they stand in rows and columns'
    assert 1 < frame['width'] / frame['height'] < 2.5
    order = sorted(inside, key=lambda box: (box['y'], box['x']))
    assert [box['members'][0] for box in order] == list(range(1, 101)), 'in the order of the plan, row by row'
    assert {box['name'].partition('=')[0] for box in inside} == {'alpha'}, 'only what tells them apart'


def test_arrows_join_the_frame_and_its_neighbours() -> None:
    drawn = _opened(sweep(100), 1)
    names = [drawn['boxes'][int(end.removeprefix('box '))]['name'] if 'box' in end else end
             for arrow in drawn['arrows'] for end in (arrow['from'], arrow['to'])]  # fmt: skip
    assert names == ['Load', 'frame 0', 'frame 0', 'Evaluate']


def test_of_very_many_tasks_some_are_shown_and_the_others_are_a_stack() -> None:
    plan = generated(10_000, 3)
    drawn = _opened(plan, 0)
    inside = [box for box in drawn['boxes'] if 'frame' in box]
    assert [box['kind'] for box in inside] == ['task'] * 60 + ['stack']
    assert drawn['frames'][0]['title'].endswith(': the 60 most urgent')
    assert len({box['width'] for box in inside[:-1]}) == 1
    members = [i for box in inside for i in box['members']]
    assert len(members) == len(set(members))
    assert len(drawn['boxes']) <= MAX_BOXES


def test_tasks_that_need_each_other_keep_their_arrows() -> None:
    nodes = [node(Free(str(i)), requires=[i - 1] if i else []) for i in range(30)]
    drawn = _opened(Plan(tuple(nodes), '/w'), 0)
    assert drawn['frames'] == []
    assert len(drawn['arrows']) == 29


def test_a_grid_has_its_boxes_side_by_side() -> None:
    sizes = [(120.0, 40.0)] * 10
    (width, height), centres = grid(sizes, 4)
    assert (width, height) == (4 * 128 - 8, 3 * 48 - 8)
    assert centres[:5] == ((60, 20), (188, 20), (316, 20), (444, 20), (60, 68))
    assert columns_for(sizes) == 3
    assert columns_for(sizes[:1]) == 1
