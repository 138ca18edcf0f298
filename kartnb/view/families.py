"""What of a plan is drawn: every task, or one stack a family where there are too many.

A family is the tasks of one class. A picture never has more than `MAX_BOXES` boxes and `MAX_LINKS` arrows, whatever the
size of the plan: beyond that the families collapse into stacks with counts per state, and where there are too many
families as well, the least relevant ones share one box.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from kartnb.events import TaskState
from kartnb.execution.planning.plan import Node, Plan
from kartnb.view.states import count_states, urgency

MAX_BOXES = 150
MAX_LINKS = 400
#: Up to this size every task has a box of its own; a larger picture is a smear.
READABLE_BOXES = 60
READABLE_LINKS = 160
#: Families of more members than this become stacks, the first number that makes the picture readable.
_STACK_SIZES = (12, 6, 3, 1)

#: How many tasks of an opened family have boxes of their own, the first number that the picture has room for.
_OPENED_SIZES = (40, 20, 10, 5)

Family = tuple[str, str]
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


def overview(
    plan: Plan,
    max_boxes: int = MAX_BOXES,
    max_links: int = MAX_LINKS,
    opened: Collection[Family] = (),
    readable: int = READABLE_BOXES,
) -> Overview:
    """Choose what is drawn of a plan.

    Parameters
    ----------
    plan
        Any plan.
    max_boxes, max_links
        What the picture must not exceed; two boxes and one arrow are always possible.
    opened
        Families whose tasks have boxes of their own whatever their number: the most urgent ones of them, with a stack
        for the others where they are many.
    readable
        Up to so many boxes every task has one of its own.
    """
    drawn = _overview(plan, max_boxes, max_links, readable)
    for most in _OPENED_SIZES if opened else ():
        groups = [group for box in drawn.boxes for group in _opened(plan, box, opened, most)]
        larger = _of_groups(plan, sorted(groups))
        if _fits(larger, max_boxes, max_links):
            return larger
    return drawn


def family_of(node: Node) -> Family:
    """What the tasks of one class have in common: its module and its name."""
    return type(node.task).__module__, node.name


def _opened(plan: Plan, box: Box, opened: Collection[Family], most: int) -> list[tuple[int, ...]]:
    """The tasks of a box each by itself where its family is opened, beyond `most` of them in one stack."""
    if box.kind != 'stack' or family_of(plan.nodes[box.members[0]]) not in opened:
        return [box.members]
    if len(box.members) <= most:
        return [(i,) for i in box.members]
    ordered = sorted(box.members, key=lambda i: (urgency(plan.nodes[i].state), i))
    return [*((i,) for i in ordered[:most]), tuple(sorted(ordered[most:]))]


def _overview(plan: Plan, max_boxes: int, max_links: int, readable: int) -> Overview:
    families = _families(plan)
    for most in _thresholds(families, min(max_boxes, readable)):
        drawn = _of_groups(plan, _collapsed(families, most))
        if _fits(drawn, min(max_boxes, readable), min(max_links, READABLE_LINKS)):
            return drawn
    drawn = _of_groups(plan, families)
    if _fits(drawn, max_boxes, max_links):
        return drawn
    return _most_relevant(drawn, len(plan) - 1, min(max_boxes, READABLE_BOXES), max_links)


def _fits(drawn: Overview, boxes: int, links: int) -> bool:
    return len(drawn.boxes) <= boxes and len(drawn.links) <= links


def _thresholds(families: Groups, max_boxes: int) -> list[int]:
    """How large an uncollapsed family may be, the largest first; those that would give too many boxes left out."""
    largest = max(map(len, families))
    sizes = (largest, *(size for size in _STACK_SIZES if size < largest))
    return [most for most in sizes if sum(1 if len(f) > most else len(f) for f in families) <= max_boxes]


def _collapsed(families: Groups, most: int) -> list[tuple[int, ...]]:
    """The families of more than `most` members as they are, the members of the others each by itself."""
    groups: list[tuple[int, ...]] = []
    for members in families:
        groups += [members] if len(members) > most else [(i,) for i in members]
    return sorted(groups)


def _families(plan: Plan) -> list[tuple[int, ...]]:
    groups: dict[Family, list[int]] = {}
    for i, node in enumerate(plan.nodes):
        groups.setdefault(family_of(node), []).append(i)
    return [tuple(members) for members in groups.values()]


def _of_groups(plan: Plan, groups: Groups) -> Overview:
    box_of = [0] * len(plan)
    for b, members in enumerate(groups):
        for i in members:
            box_of[i] = b
    links: dict[tuple[int, int], None] = {}
    for i, node in enumerate(plan.nodes):
        for required in node.requires:
            if box_of[required] != box_of[i]:
                links[box_of[required], box_of[i]] = None
    return Overview(tuple(_box(plan, members) for members in groups), tuple(links))


def _box(plan: Plan, members: tuple[int, ...]) -> Box:
    kind: Literal['task', 'stack'] = 'task' if len(members) == 1 else 'stack'
    counts = count_states(plan.nodes[i].state for i in members)
    return Box(kind, members, plan.nodes[members[0]].name, counts)


def _most_relevant(drawn: Overview, root: int, max_boxes: int, max_links: int) -> Overview:
    """The most relevant boxes, and one for all the others."""
    order = _by_relevance(drawn, root)
    kept = min(max_boxes, len(order)) - 1
    while True:
        found = _with_more(drawn, sorted(order[:kept]))
        if len(found.links) <= max_links or kept <= 1:
            return found
        kept = max(kept * 4 // 5, 1)


def _by_relevance(drawn: Overview, root: int) -> list[int]:
    """The boxes: the root's first, then by their most urgent state, then the nearest to the root."""
    boxes = drawn.boxes
    first = next(b for b, box in enumerate(boxes) if root in box.members)
    distance = _distances(len(boxes), drawn.links, first)
    return sorted(range(len(boxes)), key=lambda b: (b != first, urgency(boxes[b].state), distance[b], b))


def _with_more(drawn: Overview, kept: Sequence[int]) -> Overview:
    new = {b: position for position, b in enumerate(kept)}
    rest = [box for b, box in enumerate(drawn.boxes) if b not in new]
    links = [(new[a], new[b]) for a, b in drawn.links if a in new and b in new]
    more = _merged(rest)
    return Overview((*(drawn.boxes[b] for b in kept), more), (*links, *_links_of_more(drawn.links, new, links)))


def _links_of_more(all_links: Links, new: Mapping[int, int], shown: Sequence[tuple[int, int]]) -> Links:
    """Arrows to and from the box of all the others, only where a box has no other on that side."""
    fed, feeding, more = {b for _, b in shown}, {a for a, _ in shown}, len(new)
    found: dict[tuple[int, int], None] = {}
    for a, b in all_links:
        if a in new and b not in new and new[a] not in feeding:
            found[new[a], more] = None
        elif b in new and a not in new and new[b] not in fed:
            found[more, new[b]] = None
    return tuple(found)


def _merged(boxes: Sequence[Box]) -> Box:
    members = tuple(sorted(i for box in boxes for i in box.members))
    counts = count_states(state for box in boxes for state, number in box.counts.items() for _ in range(number))
    return Box('more', members, '', counts, classes=len(boxes))


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
