"""The part of a plan that is up- or downstream of one task."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

from kartnb.execution.planning.plan import Node, Plan
from kartnb.view.families import Box, Family, Overview, overview

#: A live picture has less room than a page, and can be opened where a person wants to see more.
READABLE_LIVE = 24

Direction = Literal['upstream', 'downstream', 'both']


@dataclass(frozen=True, slots=True)
class Focus:
    """Look at one task and what is up- or downstream of it.

    Attributes
    ----------
    position
        The position of the task in the plan.
    direction
        'upstream', 'downstream' or 'both'.
    """

    position: int
    direction: Direction = 'both'


def focused_overview(plan: Plan, focus: Focus | None = None, opened: Collection[Family] = ()) -> Overview:
    """What is drawn of a plan, or of the part of it that is looked at; positions are those of the whole plan."""
    if focus is None:
        return overview(plan, opened=opened, readable=READABLE_LIVE)
    part, positions = _part(plan, _wanted(plan, focus))
    drawn = overview(part, opened=opened, readable=READABLE_LIVE)
    return Overview(tuple(_moved(box, positions) for box in drawn.boxes), drawn.links)


def _wanted(plan: Plan, focus: Focus) -> list[int]:
    wanted = {focus.position}
    if focus.direction != 'downstream':
        pending = [focus.position]
        for i in pending:
            new = [j for j in plan.nodes[i].requires if j not in wanted]
            wanted.update(new)
            pending.extend(new)
    if focus.direction != 'upstream':
        reached = {focus.position}
        for i, node in enumerate(plan.nodes):
            if not reached.isdisjoint(node.requires):
                reached.add(i)
        wanted |= reached
    return sorted(wanted)


def _part(plan: Plan, positions: list[int]) -> tuple[Plan, list[int]]:
    """A plan of these tasks only, and the positions that they have in the whole."""
    new = {position: i for i, position in enumerate(positions)}
    nodes = tuple(_requiring(plan.nodes[position], new) for position in positions)
    return Plan(nodes, plan.workspace), positions


def _requiring(node: Node, new: dict[int, int]) -> Node:
    requires = tuple(new[i] for i in node.requires if i in new)
    return Node(
        node.task, node.key, node.name, node.unique_id, node.state, node.reason, requires, node.outputs, node.note
    )


def _moved(box: Box, positions: list[int]) -> Box:
    return Box(box.kind, tuple(positions[i] for i in box.members), box.name, box.counts, box.classes)
