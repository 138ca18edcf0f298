"""What of a plan is drawn: every task, or one stack a family where there are too many.

A family is the tasks of one class. A picture never has more than `MAX_BOXES` boxes and `MAX_LINKS` arrows, whatever the
size of the plan: beyond that the families collapse into stacks with counts per state, and where there are too many
families as well, the least relevant ones share one box.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from kartnb.events import TaskState
from kartnb.execution.plan import Plan
from kartnb.view.states import count_states, urgency

MAX_BOXES = 150
MAX_LINKS = 400

Links = tuple[tuple[int, int], ...]
Groups = Sequence[tuple[int, ...]]


@dataclass(frozen=True, slots=True)
class Box:
    """One box of the picture.

    Attributes
    ----------
    kind
        'task' for one task, 'stack' for the tasks of one class, 'more' for what has no box of its own.
    members
        The positions in the plan of the tasks that it stands for.
    name
        The class name, or '' for 'more'.
    counts
        How many of its tasks are in each state, the most urgent first.
    classes
        How many classes it stands for.
    """

    kind: Literal['task', 'stack', 'more']
    members: tuple[int, ...]
    name: str
    counts: dict[TaskState, int]
    classes: int = 1

    @property
    def state(self) -> TaskState:
        """The most urgent state in the box."""
        return next(iter(self.counts))


@dataclass(frozen=True, slots=True)
class Overview:
    """The boxes of a picture and the arrows between them, each from what is required to what requires it."""

    boxes: tuple[Box, ...]
    links: Links

    @property
    def collapsed(self) -> bool:
        """Whether some box stands for more than one task."""
        return any(box.kind != 'task' for box in self.boxes)


def overview(plan: Plan, max_boxes: int = MAX_BOXES, max_links: int = MAX_LINKS) -> Overview:
    """Choose what is drawn of a plan.

    Parameters
    ----------
    plan
        Any plan.
    max_boxes, max_links
        What the picture must not exceed; two boxes and one arrow are always possible.
    """
    if len(plan) <= max_boxes and sum(len(node.requires) for node in plan) <= max_links:
        return _of_groups(plan, [(i,) for i in range(len(plan))])
    families = _families(plan)
    drawn = _of_groups(plan, families)
    if len(drawn.boxes) <= max_boxes and len(drawn.links) <= max_links:
        return drawn
    return _most_relevant(plan, families, drawn, max_boxes, max_links)


def _families(plan: Plan) -> list[tuple[int, ...]]:
    groups: dict[tuple[str, str], list[int]] = {}
    for i, node in enumerate(plan.nodes):
        groups.setdefault((type(node.task).__module__, node.name), []).append(i)
    return [tuple(members) for members in groups.values()]


def _of_groups(plan: Plan, groups: Groups, hidden: Groups = ()) -> Overview:
    boxes = [_box(plan, members) for members in groups]
    if hidden:
        boxes.append(_more_box(plan, hidden))
    box_of = [len(groups)] * len(plan)
    for b, members in enumerate(groups):
        for i in members:
            box_of[i] = b
    return Overview(tuple(boxes), _links(plan, box_of))


def _box(plan: Plan, members: tuple[int, ...]) -> Box:
    kind: Literal['task', 'stack'] = 'task' if len(members) == 1 else 'stack'
    return Box(kind, members, plan.nodes[members[0]].name, _counts(plan, members))


def _more_box(plan: Plan, hidden: Groups) -> Box:
    members = tuple(sorted(i for group in hidden for i in group))
    return Box('more', members, '', _counts(plan, members), classes=len(hidden))


def _counts(plan: Plan, members: Iterable[int]) -> dict[TaskState, int]:
    return count_states(plan.nodes[i].state for i in members)


def _links(plan: Plan, box_of: Sequence[int]) -> Links:
    found: dict[tuple[int, int], None] = {}
    for i, node in enumerate(plan.nodes):
        for required in node.requires:
            if box_of[required] != box_of[i]:
                found[box_of[required], box_of[i]] = None
    return tuple(found)


def _most_relevant(plan: Plan, families: Groups, drawn: Overview, max_boxes: int, max_links: int) -> Overview:
    order = _by_relevance(plan, families, drawn)
    kept = min(max_boxes - 1, len(families) - 1)
    while True:
        chosen = set(order[:kept])
        shown = [group for b, group in enumerate(families) if b in chosen]
        rest = [group for b, group in enumerate(families) if b not in chosen]
        found = _of_groups(plan, shown, rest)
        if len(found.links) <= max_links or kept <= 1:
            return found
        kept = max(kept * 4 // 5, 1)


def _by_relevance(plan: Plan, families: Groups, drawn: Overview) -> list[int]:
    """The families: the root's first, then by their most urgent state, then the nearest to the root."""
    root = next(b for b, members in enumerate(families) if members[-1] == len(plan) - 1)
    distance = _distances(len(families), drawn.links, root)
    return sorted(range(len(families)), key=lambda b: (b != root, urgency(drawn.boxes[b].state), distance[b], b))


def _distances(size: int, links: Links, root: int) -> list[int]:
    requires: list[list[int]] = [[] for _ in range(size)]
    for required, requiring in links:
        requires[requiring].append(required)
    distance = [size] * size
    distance[root] = 0
    reached = [root]
    for box in reached:
        for required in requires[box]:
            if distance[required] == size:
                distance[required] = distance[box] + 1
                reached.append(required)
    return distance
