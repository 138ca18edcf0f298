"""The frame of an opened stack as it is drawn: a title, and the tasks in rows below it."""

from __future__ import annotations

from dataclasses import dataclass

from kartnb.execution.planning.plan import Plan
from kartnb.view.arrows import Point, Size
from kartnb.view.clean import one_line
from kartnb.view.families import Box
from kartnb.view.labels import Label, member_labels, outer_size
from kartnb.view.layout import columns_for, grid
from kartnb.view.opening import Frame

#: What a frame keeps free around its boxes, and above them for its title.
MARGIN = 12.0
TITLE_HEIGHT = 26.0


@dataclass(frozen=True, slots=True)
class Plate:
    """What is drawn of a frame: its title, its size, and the boxes with their centres from its upper left corner."""

    title: str
    size: Size
    boxes: tuple[Box, ...]
    labels: tuple[Label, ...]
    centres: tuple[Point, ...]


def plate_of(plan: Plan, frame: Frame) -> Plate:
    """Lay out the tasks of an opened stack."""
    labels = tuple(member_labels(plan, frame.inside))
    sizes = [outer_size(box, label) for box, label in zip(frame.inside, labels, strict=True)]
    (width, height), centres = grid(sizes, columns_for(sizes))
    left, top = MARGIN, TITLE_HEIGHT + MARGIN / 2
    return Plate(
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
