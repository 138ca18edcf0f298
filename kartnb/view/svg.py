"""The picture of a plan as a standalone SVG document.

It is made with an XML writer, so no text of the user's can become markup. It has no scripts, no links, no ids and no
fonts of its own; every box has its tooltip, and its texts stand on an opaque surface, so that it is legible on light
and on dark pages alike.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

from kartnb.events import TaskState
from kartnb.execution.planning.plan import Plan
from kartnb.execution.report import BuildReport
from kartnb.view import labels, summary
from kartnb.view.arrows import Point, curve_path, tip_path
from kartnb.view.arrows import number_text as _n
from kartnb.view.clean import one_line
from kartnb.view.families import Box, overview
from kartnb.view.labels import Label, make_labels, outer_size
from kartnb.view.layout import Layout, place
from kartnb.view.measure import width
from kartnb.view.states import count_states, counts_text, look

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
    """Draw a plan.

    Parameters
    ----------
    plan
        Any plan; one with more than 150 tasks is drawn by class.
    notes
        A few words by node key to stand after the state, for instance how long the task took.
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
    caption = 'Too many tasks to draw one by one: a stack stands for the tasks of one class.' if drawn.collapsed else ''
    return Picture(ElementTree.tostring(root, encoding='unicode'), total_width, total_height, description, caption)


def plan_svg(plan: Plan) -> str:
    """A plan as an SVG document."""
    return picture(plan).svg


def report_svg(report: BuildReport) -> str:
    """The graph of a build with its final states and times, as an SVG document."""
    return picture(report.plan, summary.notes(report)).svg


def describe(plan: Plan) -> str:
    """One sentence on what the picture shows, for those who do not see it."""
    counts = counts_text(count_states(node.state for node in plan))
    return f'Graph of {one_line(plan.root.name, 80)}: {summary.tasks(len(plan))} ({counts})'


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
    SubElement(root, 'desc').text = 'Arrows go from a task to the tasks that need it.'
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
            _rectangle(element, f'box {slug}', labels.SHEET * step, labels.SHEET * step, label)
    _rectangle(element, f'box {slug}' + (' more' if box.kind == 'more' else ''), 0, 0, label)
    stripe = {'class': slug, 'x': '1', 'y': '1', 'width': '5', 'height': _n(label.height - 2), 'rx': '3'}
    SubElement(element, 'rect', stripe)
    _write(element, box, label)


def _rectangle(parent: Element, kind: str, x: float, y: float, label: Label) -> None:
    size = {'x': _n(x + 1), 'y': _n(y + 1), 'width': _n(label.width - 2), 'height': _n(label.height - 2), 'rx': '6'}
    SubElement(parent, 'rect', {'class': kind, **size})


def _write(parent: Element, box: Box, label: Label) -> None:
    y = labels.PADDING + labels.NAME_HEIGHT - 5
    left = labels.PADDING + 2
    _text(parent, 'name', left, y, label.name)
    for row in label.details:
        y += labels.LINE_HEIGHT
        _text(parent, 'detail', left, y, row)
    if label.why:
        y += labels.LINE_HEIGHT
        _text(parent, 'why', left, y, label.why)
    for line in label.states:
        y += labels.LINE_HEIGHT
        _text(parent, f'state {look(line.state).slug}', left, y, line.text)
    if label.note:
        _text(parent, 'note', label.width - labels.PADDING, y, label.note)
    if box.kind != 'task':
        _draw_bar(parent, box.counts, left, y + 8, label.width - 2 * labels.PADDING - 2)


def _draw_bar(parent: Element, counts: Mapping[TaskState, int], x: float, y: float, room: float) -> None:
    total = sum(counts.values())
    for state, number in counts.items():
        part = room * number / total
        SubElement(
            parent,
            'rect',
            {'class': look(state).slug, 'x': _n(x), 'y': _n(y), 'width': _n(part), 'height': _n(labels.BAR_HEIGHT)},
        )
        x += part


def _legend_items(counts: Mapping[TaskState, int]) -> list[tuple[str, str, float]]:
    items = [
        ('state ' + look(state).slug, f'{look(state).glyph} {count:,} {look(state).word}')
        for state, count in counts.items()
    ]
    return [(kind, text, width(text, labels.STATE_SIZE) + 16) for kind, text in items]


def _draw_legend(root: Element, items: Sequence[tuple[str, str, float]], y: float) -> None:
    full = sum(w for _, _, w in items)
    plate = {
        'class': 'legend',
        'x': _n(_MARGIN),
        'y': _n(y),
        'width': _n(full),
        'height': _n(_LEGEND_HEIGHT - 2),
        'rx': '6',
    }
    SubElement(root, 'rect', plate)
    x = _MARGIN
    for kind, text, room in items:
        _text(root, kind, x + 8, y + 16, text)
        x += room


def _text(parent: Element, kind: str, x: float, y: float, text: str) -> None:
    SubElement(parent, 'text', {'class': kind, 'x': _n(x), 'y': _n(y)}).text = text
