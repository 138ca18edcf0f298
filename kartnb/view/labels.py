"""What is written in each box of the picture, and how large the box is for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from kartnb.events import TaskState
from kartnb.execution.plan import Node, Plan
from kartnb.view import parameters
from kartnb.view.clean import one_line, short_id
from kartnb.view.families import Box, Overview
from kartnb.view.measure import fit, width, wrap
from kartnb.view.states import counts_text, look
from kartnb.view.summary import tasks

NAME_SIZE = 13.0
DETAIL_SIZE = 11.0
STATE_SIZE = 12.0
NAME_HEIGHT = 18.0
LINE_HEIGHT = 16.0
PADDING = 10.0
BAR_HEIGHT = 5.0
#: How far the sheets behind a stack stand out.
SHEET = 4.0

_MIN_WIDTH = 116.0
_MAX_WIDTH = 224.0
#: What every task's box keeps free for its state, so that no box changes its size when its state changes.
_STATE_ROOM = 92.0
_ID_GAP = 10.0
_MAX_DETAILS = 2
_TOOLTIP_LIMIT = 320


@dataclass(frozen=True, slots=True)
class StateLine:
    """One line that tells a state: the state, and the text with glyph and word."""

    state: TaskState
    text: str


@dataclass(frozen=True, slots=True)
class Label:
    """What one box says, cut to the box's size.

    Attributes
    ----------
    name, details, states, note
        The bold line, the parameters, the states, and the small text in the lower right corner.
    tooltip
        The same in full.
    width, height
        The size of the box in pixels.
    """

    name: str
    details: tuple[str, ...]
    states: tuple[StateLine, ...]
    note: str
    tooltip: str
    width: float
    height: float


def make_labels(plan: Plan, drawn: Overview, notes: Mapping[str, str] | None = None) -> list[Label]:
    """The label of each box.

    Parameters
    ----------
    plan
        The plan that is drawn.
    drawn
        Its boxes.
    notes
        A few words by node key to stand after the state, for instance how long the task took.
    """
    notes = notes or {}
    pairs = _pairs_by_position(plan, drawn)
    found = []
    for box in drawn.boxes:
        if box.kind == 'task':
            node = plan.nodes[box.members[0]]
            found.append(_task_label(node, pairs[box.members[0]], notes.get(node.key, '')))
        else:
            found.append(_group_label(box))
    return found


def _pairs_by_position(plan: Plan, drawn: Overview) -> dict[int, parameters.Pairs]:
    siblings: dict[str, list[int]] = {}
    for box in drawn.boxes:
        if box.kind == 'task':
            siblings.setdefault(box.name, []).append(box.members[0])
    found: dict[int, parameters.Pairs] = {}
    for members in siblings.values():
        found.update(zip(members, parameters.telling([plan.nodes[i] for i in members]), strict=True))
    return found


def _task_label(node: Node, pairs: parameters.Pairs, note: str) -> Label:
    state = f'{look(node.state)} {note}'.rstrip()
    short = short_id(node.unique_id)
    tooltip = [f'{node.name}({parameters.listed(pairs)})', state]
    if node.reason is not None:
        tooltip.append(one_line(str(node.reason)))
    name, rows, widths = _head(node.name, parameters.short(pairs))
    id_width = width(short, DETAIL_SIZE, mono=True) + _ID_GAP
    size = _size([*widths, _STATE_ROOM + id_width], len(rows) + 1)
    room = size[0] - 2 * PADDING
    has_room = width(state, STATE_SIZE) + id_width <= room
    told = StateLine(node.state, fit(state, room, STATE_SIZE))
    return Label(name, rows, (told,), short if has_room else '', _tooltip([*tooltip, node.unique_id]), *size)


def _group_label(box: Box) -> Label:
    number = len(box.members)
    states = tuple(StateLine(state, counts_text({state: count})) for state, count in box.counts.items())
    if box.kind == 'stack':
        where, head, tooltip = '', f'{box.name} ×{number:,}', f'{box.name}: {tasks(number)}'
    else:
        where, head = f'in {box.classes:,} more classes', f'{number:,} more'
        tooltip = f'{tasks(number)} {where}'
    name, rows, widths = _head(head, [where] if where else [])
    outer, height = _size([*widths, *(width(line.text, STATE_SIZE) for line in states)], len(rows) + len(states))
    tooltips = _tooltip([tooltip, counts_text(box.counts)])
    return Label(name, rows, states, '', tooltips, outer, height + BAR_HEIGHT + 3)


def _head(name: str, details: Sequence[str]) -> tuple[str, tuple[str, ...], list[float]]:
    """The name and the details cut to the widest box, and how wide each line is."""
    room = _MAX_WIDTH - 2 * PADDING
    shown = _fit_name(one_line(name), room)
    rows = wrap(details, room, DETAIL_SIZE, _MAX_DETAILS, mono=True)
    widths = [width(shown, NAME_SIZE, bold=True), *(width(row, DETAIL_SIZE, mono=True) for row in rows)]
    return shown, tuple(rows), widths


def _size(widths: Sequence[float], rows: int) -> tuple[float, float]:
    inner = min(max(*widths, _MIN_WIDTH - 2 * PADDING), _MAX_WIDTH - 2 * PADDING)
    return round(inner + 2 * PADDING), 2 * PADDING + NAME_HEIGHT + LINE_HEIGHT * rows - 6


def _fit_name(name: str, room: float) -> str:
    """The name, cut in front of a stack's number rather than in it."""
    head, cross, number = name.rpartition(' ×')
    if not cross:
        return fit(name, room, NAME_SIZE, bold=True)
    return fit(head, room - width(cross + number, NAME_SIZE, bold=True), NAME_SIZE, bold=True) + cross + number


def _tooltip(told: Sequence[str]) -> str:
    return '\n'.join(one_line(line, _TOOLTIP_LIMIT) for line in told)
