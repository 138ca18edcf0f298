"""The picture of a plan as SVG: what each box says, how large it is for that, and the document."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

from kartnb.execution.report import BuildReport
from kartnb.model import Node, Plan, ReasonKind, TaskState
from kartnb.planning.estimate import may_cut_off, recomputed_alike
from kartnb.view import words
from kartnb.view.graph_layout import (
    Box,
    Frame,
    Layout,
    Overview,
    Point,
    Size,
    columns_for,
    curve_path,
    grid,
    overview,
    place,
    tip_path,
)
from kartnb.view.graph_layout import number_text as _n
from kartnb.view.sanitise import fit, one_line, short_id, width, wrap
from kartnb.view.words import ALIKE, brief_reason, count_states, counts_text, look, reason_text, tasks

NAME_SIZE = 13.0
DETAIL_SIZE = 11.0
STATE_SIZE = 12.0
NAME_HEIGHT = 18.0
LINE_HEIGHT = 16.0
PADDING = 10.0
BAR_HEIGHT = 5.0
#: How many states a box of several tasks lists while a build runs; its bar shows all of them.
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
    """One line for a state: the state, and the text with glyph and word."""

    state: TaskState
    text: str


@dataclass(frozen=True, slots=True)
class Label:
    """What one box says, cut to its size in pixels; the tooltip says the same in full.

    `note` is the small text in the lower right corner.
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

    The notes, by node key, stand after the state: for instance how long the task took. With `lasting`, boxes keep their
    size when states change: a box of several tasks that will run has room for `LASTING_ROWS` lines of states.
    """
    notes = notes or {}
    pairs = _pairs_by_position(plan, drawn)
    alike, deciding = recomputed_alike(plan), may_cut_off(plan)
    found = []
    for box in drawn.boxes:
        if box.kind == 'task':
            position = box.members[0]
            node = plan.nodes[position]
            why = _why(node, position in deciding, position in alike)
            found.append(_task_label(node, pairs[position], notes.get(node.key, ''), why))
        else:
            found.append(_group_label(box, lasting and any(plan.nodes[i].will_run for i in box.members)))
    return found


def member_labels(plan: Plan, boxes: Sequence[Box]) -> list[Label]:
    """The labels of tasks of one class that stand in the frame of their stack: what tells them apart, and the state.

    They have one size; a stack of the others is as wide.
    """
    nodes = [plan.nodes[box.members[0]] for box in boxes if box.kind == 'task']
    texts = [words.short(pairs) for pairs in words.distinguishing(nodes)]
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


def _pairs_by_position(plan: Plan, drawn: Overview) -> dict[int, words.Pairs]:
    siblings: dict[str, list[int]] = {}
    for box in drawn.boxes:
        if box.kind == 'task':
            siblings.setdefault(box.name, []).append(box.members[0])
    found: dict[int, words.Pairs] = {}
    for members in siblings.values():
        found.update(zip(members, words.distinguishing_first([plan.nodes[i] for i in members]), strict=True))
    return found


def _task_label(node: Node, pairs: words.Pairs, note: str, why: tuple[str, str]) -> Label:
    state = f'{look(node.state)} {note}'.rstrip()
    short = short_id(node.unique_id)
    lines = _lines(node.name, '', words.short(pairs))
    expected, now = why
    id_width = width(short, DETAIL_SIZE, mono=True) + _ID_GAP
    inner = _inner([*lines.widths, width(expected, DETAIL_SIZE), _STATE_ROOM + id_width])
    return Label(
        name=lines.name,
        details=lines.details,
        why=fit(now, inner, DETAIL_SIZE),
        states=(StateLine(node.state, fit(state, inner, STATE_SIZE)),),
        note=short if width(state, STATE_SIZE) + id_width <= inner else '',
        tooltip=_tooltip([f'{node.name}({words.listed(pairs)})', state, *_reason(node), node.unique_id]),
        width=round(inner + 2 * PADDING),
        height=_height(len(lines.details) + bool(expected) + 1),
    )


def _reason(node: Node) -> list[str]:
    why = reason_text(node)
    return [why] if why else []


def _why(node: Node, is_deciding: bool, is_alike: bool) -> tuple[str, str]:
    """The reason before the task runs, which gives its box the size, and now; '' if the state says it.

    `is_deciding` is a task on whose contents it depends whether others run; `is_alike` one that was recomputed with the
    contents of before.
    """
    now = words.brief(node, is_alike)
    if node.reason is None or node.reason.kind is ReasonKind.OUTPUT_MISSING:
        return now, now
    expected = brief_reason(node.reason, TaskState.STALE)
    if is_deciding and len(expected) < len(ALIKE):
        expected = ALIKE
    return expected, now


def _group_label(box: Box, lasting: bool) -> Label:
    number = len(box.members)
    if box.kind == 'stack':
        lines, tooltip = _lines(box.name, f' ×{number:,}', []), f'{box.name}: {tasks(number)}'
    else:
        where = f'in {box.classes:,} more classes'
        lines, tooltip = _lines(f'{number:,} more', '', [where]), f'{tasks(number)} {where}'
    states = tuple(StateLine(state, counts_text({state: count})) for state, count in box.counts.items())
    # the second is what the front end writes where there are more states than lines
    longest = (f'■ {number:,} interrupted', f'{number:,} in 10 more states') if lasting else ()
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


def _tooltip(lines: Sequence[str]) -> str:
    return '\n'.join(one_line(line, _TOOLTIP_LIMIT) for line in lines)


#: What a frame keeps free around its boxes, and above them for its title.
MARGIN = 12.0
TITLE_HEIGHT = 26.0


@dataclass(frozen=True, slots=True)
class PlacedFrame:
    """What is drawn of a frame: its title, its size, and the boxes with their centres from its upper left corner."""

    title: str
    size: Size
    boxes: tuple[Box, ...]
    labels: tuple[Label, ...]
    centres: tuple[Point, ...]


def placed_frame(plan: Plan, frame: Frame) -> PlacedFrame:
    """Lay out the tasks of an opened stack."""
    labels = tuple(member_labels(plan, frame.inside))
    sizes = [outer_size(box, label) for box, label in zip(frame.inside, labels, strict=True)]
    (width, height), centres = grid(sizes, columns_for(sizes))
    left, top = MARGIN, TITLE_HEIGHT + MARGIN / 2
    return PlacedFrame(
        _title(frame),
        (round(width + 2 * MARGIN, 1), round(top + height + MARGIN, 1)),
        frame.inside,
        labels,
        tuple((x + left, y + top) for x, y in centres),
    )


def _title(frame: Frame) -> str:
    number = len(frame.stack.members)
    if frame.shown == number:
        part = ''
    elif len(frame.stack.counts) == 1:
        part = f': the first {frame.shown:,}'
    else:
        part = f': the {frame.shown:,} most urgent'
    return f'{one_line(frame.stack.name, 40)} ×{number:,}{part}'


_MARGIN = 8.0
_LEGEND_HEIGHT = 26.0


@dataclass(frozen=True, slots=True)
class Picture:
    """An SVG document, its size in pixels, what it shows in a sentence, and how to read it where that needs saying."""

    svg: str
    width: int
    height: int
    description: str
    caption: str = ''


def picture(plan: Plan, notes: Mapping[str, str] | None = None) -> Picture:
    """Draw a plan; one with more than 150 tasks is drawn by class.

    The notes, by node key, stand after the state: for instance how long the task took.
    """
    drawn = overview(plan)
    written = make_labels(plan, drawn, notes)
    placed = place([outer_size(box, label) for box, label in zip(drawn.boxes, written, strict=True)], drawn.links)
    counts = count_states(node.state for node in plan)
    legend = _legend_items(counts)
    total_width = math.ceil(max(placed.width, sum(w for _, _, w in legend)) + 2 * _MARGIN)
    total_height = math.ceil(placed.height + _LEGEND_HEIGHT + 3 * _MARGIN)
    description = describe(plan)
    root = _document(total_width, total_height, description, _style(counts))
    graph = SubElement(root, 'g', transform=f'translate({_n((total_width - placed.width) / 2)} {_n(_MARGIN)})')
    _draw_arrows(graph, placed)
    for box, label, centre in zip(drawn.boxes, written, placed.centres, strict=True):
        _draw_box(graph, box, label, centre)
    _draw_legend(root, legend, placed.height + 2 * _MARGIN)
    caption = 'Too many tasks to draw one by one: each stack groups the tasks of one class.' if drawn.collapsed else ''
    return Picture(ElementTree.tostring(root, encoding='unicode'), total_width, total_height, description, caption)


def plan_svg(plan: Plan) -> str:
    """A plan as an SVG document."""
    return picture(plan).svg


def report_svg(report: BuildReport) -> str:
    """The graph of a build with its final states and times, as an SVG document."""
    return picture(report.plan, words.notes(report)).svg


def describe(plan: Plan) -> str:
    """One sentence on what the picture shows, for those who do not see it."""
    counts = counts_text(count_states(node.state for node in plan))
    return f'Graph of {one_line(plan.root.name, 80)}: {words.tasks(len(plan))} ({counts})'


def _document(total_width: int, total_height: int, description: str, style: str) -> Element:
    root = Element(
        'svg',
        {
            'xmlns': 'http://www.w3.org/2000/svg',
            'class': 'kartnb-graph',
            'width': str(total_width),
            'height': str(total_height),
            'viewBox': f'0 0 {total_width} {total_height}',
            'role': 'img',
            'aria-label': description,
        },
    )
    SubElement(root, 'title').text = description
    SubElement(root, 'desc').text = 'Arrows go from a task to the tasks that require it.'
    SubElement(root, 'style').text = style
    return root


@cache
def _stylesheet() -> str:
    return (Path(__file__).parent / 'static' / 'graph.css').read_text(encoding='utf-8')


def _style(counts: Iterable[TaskState]) -> str:
    light = ''.join(_state_rules(look(state).slug, look(state).light) for state in counts)
    dark = ''.join(_state_rules(look(state).slug, look(state).dark) for state in counts)
    return f'{_stylesheet()}{light}@media (prefers-color-scheme:dark){{{dark}}}'


def _state_rules(slug: str, colour: str) -> str:
    return f'.kartnb-graph .{slug}{{fill:{colour}}}.kartnb-graph .box.{slug}{{stroke:{colour}}}'


def _draw_arrows(parent: Element, placed: Layout) -> None:
    if placed.arrows:
        SubElement(parent, 'path', {'class': 'edge', 'd': ''.join(map(curve_path, placed.arrows))})
        SubElement(parent, 'path', {'class': 'tip', 'd': ''.join(map(tip_path, placed.arrows))})


def _draw_box(parent: Element, box: Box, label: Label, centre: Point) -> None:
    outer_width, outer_height = outer_size(box, label)
    x, y = centre[0] - outer_width / 2, centre[1] - outer_height / 2
    slug = look(box.state).slug
    element = SubElement(parent, 'svg', {'x': _n(x), 'y': _n(y), 'width': _n(outer_width), 'height': _n(outer_height)})
    SubElement(element, 'title').text = label.tooltip
    if box.kind == 'stack':
        for step in (2, 1):
            _rectangle(element, f'box {slug}', SHEET * step, SHEET * step, label)
    _rectangle(element, f'box {slug}' + (' more' if box.kind == 'more' else ''), 0, 0, label)
    stripe = {'class': slug, 'x': '1', 'y': '1', 'width': '5', 'height': _n(label.height - 2), 'rx': '3'}
    SubElement(element, 'rect', stripe)
    _write(element, box, label)


def _rectangle(parent: Element, kind: str, x: float, y: float, label: Label) -> None:
    size = {'x': _n(x + 1), 'y': _n(y + 1), 'width': _n(label.width - 2), 'height': _n(label.height - 2), 'rx': '6'}
    SubElement(parent, 'rect', {'class': kind, **size})


def _write(parent: Element, box: Box, label: Label) -> None:
    y = PADDING + NAME_HEIGHT - 5
    left = PADDING + 2
    _text(parent, 'name', left, y, label.name)
    for row in label.details:
        y += LINE_HEIGHT
        _text(parent, 'detail', left, y, row)
    if label.why:
        y += LINE_HEIGHT
        _text(parent, 'why', left, y, label.why)
    for line in label.states:
        y += LINE_HEIGHT
        _text(parent, f'state {look(line.state).slug}', left, y, line.text)
    if label.note:
        _text(parent, 'note', label.width - PADDING, y, label.note)
    if box.kind != 'task':
        _draw_bar(parent, box.counts, left, y + 8, label.width - 2 * PADDING - 2)


def _draw_bar(parent: Element, counts: Mapping[TaskState, int], x: float, y: float, room: float) -> None:
    total = sum(counts.values())
    for state, number in counts.items():
        part = room * number / total
        SubElement(
            parent,
            'rect',
            {'class': look(state).slug, 'x': _n(x), 'y': _n(y), 'width': _n(part), 'height': _n(BAR_HEIGHT)},
        )
        x += part


def _legend_items(counts: Mapping[TaskState, int]) -> list[tuple[str, str, float]]:
    items = [
        ('state ' + look(state).slug, f'{look(state).glyph} {count:,} {look(state).word}')
        for state, count in counts.items()
    ]
    return [(kind, text, width(text, STATE_SIZE) + 16) for kind, text in items]


def _draw_legend(root: Element, items: Sequence[tuple[str, str, float]], y: float) -> None:
    full = sum(w for _, _, w in items)
    background = {
        'class': 'legend',
        'x': _n(_MARGIN),
        'y': _n(y),
        'width': _n(full),
        'height': _n(_LEGEND_HEIGHT - 2),
        'rx': '6',
    }
    SubElement(root, 'rect', background)
    x = _MARGIN
    for kind, text, room in items:
        _text(root, kind, x + 8, y + 16, text)
        x += room


def _text(parent: Element, kind: str, x: float, y: float, text: str) -> None:
    SubElement(parent, 'text', {'class': kind, 'x': _n(x), 'y': _n(y)}).text = text
