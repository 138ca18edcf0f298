"""What is written in each box of the picture, and how large the box is for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from kartnb.events import ReasonKind, TaskState
from kartnb.execution.planning.plan import Node, Plan
from kartnb.view import parameters
from kartnb.view.clean import one_line, short_id
from kartnb.view.families import Box, Overview
from kartnb.view.measure import fit, width, wrap
from kartnb.view.reasons import kind_text, reason_text
from kartnb.view.states import counts_text, look
from kartnb.view.summary import tasks

NAME_SIZE = 13.0
DETAIL_SIZE = 11.0
STATE_SIZE = 12.0
NAME_HEIGHT = 18.0
LINE_HEIGHT = 16.0
PADDING = 10.0
BAR_HEIGHT = 5.0
#: How many states a box of several tasks tells while a build goes on; its bar shows all of them.
LASTING_ROWS = 3
#: How far the sheets behind a stack stand out.
SHEET = 4.0

#: The least and the greatest width of the lines in a box.
_LEAST_ROOM = 96.0
_ROOM = 204.0
#: The same in the frame of an opened stack.
_MEMBER_ROOM = 150.0
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
    name, details, why, states, note
        The bold line, the parameters, the reason, the states, and the small text in the lower right corner.
    tooltip
        The same in full.
    width, height
        The size of the box in pixels.
    """

    name: str
    details: tuple[str, ...]
    why: str
    states: tuple[StateLine, ...]
    note: str
    tooltip: str
    width: float
    height: float


def outer_size(box: Box, label: Label) -> tuple[float, float]:
    """How large a box is with the sheets behind it."""
    sheets = SHEET * 2 if box.kind == 'stack' else 0.0
    return label.width + sheets, label.height + sheets


def make_labels(
    plan: Plan, drawn: Overview, notes: Mapping[str, str] | None = None, *, lasting: bool = False
) -> list[Label]:
    """The label of each box.

    Parameters
    ----------
    plan
        The plan that is drawn.
    drawn
        Its boxes.
    notes
        A few words by node key to stand after the state, for instance how long the task took.
    lasting
        Whether boxes are to keep their size when states change: a box of several tasks that will run has room for
        `LASTING_ROWS` lines of states.
    """
    notes = notes or {}
    pairs = _pairs_by_position(plan, drawn)
    found = []
    for box in drawn.boxes:
        if box.kind == 'task':
            node = plan.nodes[box.members[0]]
            found.append(_task_label(node, pairs[box.members[0]], notes.get(node.key, '')))
        else:
            found.append(_group_label(box, lasting and any(plan.nodes[i].will_run for i in box.members)))
    return found


def member_labels(plan: Plan, boxes: Sequence[Box]) -> list[Label]:
    """The labels of tasks of one class that stand in the frame of their stack: what tells them apart, and the state.

    They have one size; a stack of the others is as wide.
    """
    nodes = [plan.nodes[box.members[0]] for box in boxes if box.kind == 'task']
    texts = [parameters.short(pairs) for pairs in parameters.telling_apart(nodes)]
    lines = [_member_lines(node, text) for node, text in zip(nodes, texts, strict=True)]
    rest = [_rest_label(box) for box in boxes if box.kind != 'task']
    of_rest = (label.width + 2 * SHEET - 2 * PADDING for label in rest)
    inner = max(_STATE_ROOM, *(width for line in lines for width in line.widths), *of_rest)
    rows = 1 + max((len(line.details) for line in lines), default=0)
    return [_member_label(node, line, inner, rows) for node, line in zip(nodes, lines, strict=True)] + rest


def _member_lines(node: Node, texts: Sequence[str]) -> _Lines:
    return _lines((texts or [short_id(node.unique_id)])[0], '', texts[1:], _MEMBER_ROOM, 1)


def _member_label(node: Node, lines: _Lines, inner: float, rows: int) -> Label:
    return Label(
        name=lines.name,
        details=lines.details,
        why='',
        states=(StateLine(node.state, str(look(node.state))),),
        note='',
        tooltip='',
        width=round(inner + 2 * PADDING),
        height=_height(rows),
    )


def _rest_label(box: Box) -> Label:
    label = _group_label(box, lasting=True)
    return replace(label, name=f'{len(box.members):,} more')


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
    lines = _lines(node.name, '', parameters.short(pairs))
    expected, why = _why(node)
    id_width = width(short, DETAIL_SIZE, mono=True) + _ID_GAP
    inner = _inner([*lines.widths, width(expected, DETAIL_SIZE), _STATE_ROOM + id_width])
    return Label(
        name=lines.name,
        details=lines.details,
        why=fit(why, inner, DETAIL_SIZE),
        states=(StateLine(node.state, fit(state, inner, STATE_SIZE)),),
        note=short if width(state, STATE_SIZE) + id_width <= inner else '',
        tooltip=_tooltip([f'{node.name}({parameters.listed(pairs)})', state, *_reason(node), node.unique_id]),
        width=round(inner + 2 * PADDING),
        height=_height(len(lines.details) + bool(expected) + 1),
    )


def _reason(node: Node) -> list[str]:
    why = reason_text(node)
    return [why] if why else []


def _why(node: Node) -> tuple[str, str]:
    """The kind of the reason before the task runs, which gives its box the size, and now; '' where the state tells."""
    if node.reason is None or node.reason.kind is ReasonKind.OUTPUT_MISSING:
        return '', ''
    now = '' if node.state is TaskState.BLOCKED else kind_text(node.reason, node.state)
    return node.reason.kind.value, now


def _group_label(box: Box, lasting: bool) -> Label:
    number = len(box.members)
    if box.kind == 'stack':
        lines, tooltip = _lines(box.name, f' ×{number:,}', []), f'{box.name}: {tasks(number)}'
    else:
        where = f'in {box.classes:,} more classes'
        lines, tooltip = _lines(f'{number:,} more', '', [where]), f'{tasks(number)} {where}'
    states = tuple(StateLine(state, counts_text({state: count})) for state, count in box.counts.items())
    longest = (f'■ {number:,} interrupted',) if lasting else ()
    inner = _inner([*lines.widths, *(width(text, STATE_SIZE) for text in (*longest, *(line.text for line in states)))])
    rows = LASTING_ROWS if lasting else len(states)
    return Label(
        name=lines.name,
        details=lines.details,
        why='',
        states=states,
        note='',
        tooltip=_tooltip([tooltip, counts_text(box.counts)]),
        width=round(inner + 2 * PADDING),
        height=_height(len(lines.details) + rows) + BAR_HEIGHT + 3,
    )


@dataclass(frozen=True, slots=True)
class _Lines:
    """The name and the details, cut to the widest box, and how wide each of these lines is."""

    name: str
    details: tuple[str, ...]
    widths: tuple[float, ...]


def _lines(name: str, number: str, details: Sequence[str], room: float = _ROOM, most: int = _MAX_DETAILS) -> _Lines:
    """Cut the lines; a name is cut in front of the number of its stack."""
    name_room = room - width(number, NAME_SIZE, bold=True)
    shown = fit(one_line(name), name_room, NAME_SIZE, bold=True) + number
    rows = wrap(details, room, DETAIL_SIZE, most, mono=True)
    widths = (width(shown, NAME_SIZE, bold=True), *(width(row, DETAIL_SIZE, mono=True) for row in rows))
    return _Lines(shown, tuple(rows), widths)


def _inner(widths: Sequence[float]) -> float:
    return min(max(*widths, _LEAST_ROOM), _ROOM)


def _height(rows: int) -> float:
    return 2 * PADDING + NAME_HEIGHT + LINE_HEIGHT * rows - 6


def _tooltip(told: Sequence[str]) -> str:
    return '\n'.join(one_line(line, _TOOLTIP_LIMIT) for line in told)
