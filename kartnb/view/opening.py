"""Stacks that somebody has opened: their tasks in a frame, side by side, or as boxes of the picture like any other.

Many tasks of one class mostly differ by their parameters only, and all of them are required by the same few classes: a
frame says that with few arrows. A few tasks, or those that require each other, say more with arrows of their own.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from kartnb.execution.planning.plan import Plan
from kartnb.view.families import MAX_BOXES, Box, Family, Overview, family_of
from kartnb.view.states import count_states, urgency

#: So many tasks of an opened stack stand in the picture by themselves, and so many where they require each other.
MOST_LOOSE = 12
MOST_LINKED = 40
#: Of a stack that there is no room for, so many tasks are shown, since more would be too small to be read.
LEGIBLE = 60


@dataclass(frozen=True, slots=True)
class Frame:
    """An opened stack.

    Attributes
    ----------
    stack
        The stack.
    inside
        Its tasks one by one, in the order of the plan; where they are too many the most urgent ones, and last a stack
        of the others.
    """

    stack: Box
    inside: tuple[Box, ...]

    @property
    def shown(self) -> int:
        """How many tasks have a box of their own."""
        return sum(box.kind == 'task' for box in self.inside)


def loose_families(plan: Plan, opened: Collection[Family]) -> list[Family]:
    """Those of some opened families whose tasks are drawn without a frame."""
    members: dict[Family, set[int]] = {family: set() for family in opened}
    for i, node in enumerate(plan.nodes if opened else ()):
        if (family := family_of(node)) in members:
            members[family].add(i)
    return [
        family
        for family, own in members.items()
        if len(own) <= MOST_LOOSE or (len(own) <= MOST_LINKED and _are_linked(plan, own))
    ]


def frames_of(plan: Plan, drawn: Overview, opened: Collection[Family]) -> dict[int, Frame]:
    """The frames of a picture, by the position of the stack that each takes the place of."""
    chosen = [b for b, box in enumerate(drawn.boxes) if box.kind == 'stack' and _family(plan, box) in opened]
    room = (MAX_BOXES - len(drawn.boxes)) // max(len(chosen), 1)
    return {b: Frame(drawn.boxes[b], _inside(plan, drawn.boxes[b], room)) for b in chosen}


def _family(plan: Plan, box: Box) -> Family:
    return family_of(plan.nodes[box.members[0]])


def _are_linked(plan: Plan, members: set[int]) -> bool:
    return any(not members.isdisjoint(plan.nodes[i].requires) for i in members)


def _inside(plan: Plan, stack: Box, room: int) -> tuple[Box, ...]:
    if len(stack.members) <= room:
        return tuple(_task_box(plan, i) for i in stack.members)
    ordered = sorted(stack.members, key=lambda i: (urgency(plan.nodes[i].state), i))
    shown = ordered[: max(min(LEGIBLE, room - 1), 1)]
    rest = tuple(sorted(ordered[len(shown) :]))
    counts = count_states(plan.nodes[i].state for i in rest)
    return (*(_task_box(plan, i) for i in shown), Box('stack', rest, stack.name, counts))


def _task_box(plan: Plan, position: int) -> Box:
    node = plan.nodes[position]
    return Box('task', (position,), node.name, {node.state: 1})
