"""The course of arrows between boxes that stand in ranks.

Between neighbouring ranks an arrow is one smooth turn, made here, since Graphviz' own course bulges where the ranks are
close. Longer ones keep the course that Graphviz found around the boxes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Point = tuple[float, float]
Size = tuple[float, float]
Direction = Literal['LR', 'TB']

#: How far before its box the line of an arrow ends, in pixels.
TIP_LENGTH = 8.0
_TIP_WIDTH = 6.0


@dataclass(frozen=True, slots=True)
class Arrow:
    """One arrow: a start, then control and end points of cubic Bézier curves by threes, and the tip."""

    curve: tuple[Point, ...]
    tip: Point


def curve_path(arrow: Arrow) -> str:
    """The line of an arrow as the ``d`` of an SVG path."""
    start, *rest = arrow.curve
    return f'M{point_text(start)}C{" ".join(map(point_text, rest))}'


def tip_path(arrow: Arrow) -> str:
    """The tip of an arrow as the ``d`` of an SVG path."""
    (x0, y0), (x1, y1) = arrow.curve[-1], arrow.tip
    length = math.hypot(x1 - x0, y1 - y0) or 1.0
    ux, uy = (x1 - x0) / length, (y1 - y0) / length
    bx, by, half = x1 - ux * TIP_LENGTH, y1 - uy * TIP_LENGTH, _TIP_WIDTH / 2
    left, right = (bx - uy * half, by + ux * half), (bx + uy * half, by - ux * half)
    return f'M{point_text(arrow.tip)}L{point_text(left)} {point_text(right)}Z'


def point_text(point: Point) -> str:
    """A point as text, to a tenth of a pixel."""
    return f'{number_text(point[0])} {number_text(point[1])}'


def number_text(number: float) -> str:
    """A number of pixels as text, to a tenth."""
    return f'{number:.1f}'.removesuffix('.0')


@dataclass(frozen=True, slots=True)
class _Rank:
    """One rank: where it stands in the order, and where it begins and ends along the direction of the arrows."""

    order: int
    begin: float
    end: float


def smoothed(
    arrows: Sequence[Arrow],
    links: Sequence[tuple[int, int]],
    centres: Sequence[Point],
    sizes: Sequence[Size],
    direction: Direction,
) -> list[Arrow]:
    """The arrows, those from one rank to the next as one smooth turn between the two ranks."""
    axis = 0 if direction == 'LR' else 1
    ranks = _ranks(centres, sizes, axis)
    found = []
    for arrow, (a, b) in zip(arrows, links, strict=True):
        rank_a, rank_b = ranks[centres[a][axis]], ranks[centres[b][axis]]
        if rank_b.order == rank_a.order + 1:
            start = centres[a][axis] + sizes[a][axis] / 2
            tip = centres[b][axis] - sizes[b][axis] / 2
            turn = _turn((start, rank_a.end, rank_b.begin, tip), centres[a][1 - axis], centres[b][1 - axis])
            arrow = turn if axis == 0 else _flipped(turn)
        found.append(arrow)
    return found


def _ranks(centres: Sequence[Point], sizes: Sequence[Size], axis: int) -> dict[float, _Rank]:
    half: dict[float, float] = {}
    for centre, size in zip(centres, sizes, strict=True):
        half[centre[axis]] = max(half.get(centre[axis], 0.0), size[axis] / 2)
    return {
        middle: _Rank(order, middle - half[middle], middle + half[middle]) for order, middle in enumerate(sorted(half))
    }


def _turn(along: tuple[float, float, float, float], side_a: float, side_b: float) -> Arrow:
    """From left to right: straight out of the first rank, one turn in the gap, straight on to the box."""
    start, leave, enter, tip = along
    enter, end = enter - TIP_LENGTH, tip - TIP_LENGTH
    middle = (leave + enter) / 2
    points = [(start, side_a)]
    if leave > start:
        points += [(start, side_a), (leave, side_a), (leave, side_a)]
    points += [(middle, side_a), (middle, side_b), (enter, side_b)]
    if end > enter:
        points += [(enter, side_b), (end, side_b), (end, side_b)]
    return Arrow(tuple((round(x, 1), round(y, 1)) for x, y in points), (round(tip, 1), round(side_b, 1)))


def _flipped(arrow: Arrow) -> Arrow:
    return Arrow(tuple((y, x) for x, y in arrow.curve), (arrow.tip[1], arrow.tip[0]))
