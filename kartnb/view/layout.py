"""Where boxes and arrows go: Graphviz' dot, given nothing but opaque numbers and sizes.

No name of the user's reaches Graphviz (it would read some as HTML). The result is plain numbers, so that the stored
picture and the live widget are the same. Graphviz works on at most about 150 boxes and 400 arrows in good time;
`families.overview` sees to that.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from kartnb.view.arrows import Arrow, Direction, Point, Size, smoothed

#: A picture up to this wide, in pixels, is drawn left to right; a wider one in the direction that makes it narrower.
COMFORTABLE_WIDTH = 1100.0
RANK_GAP = 44.0
BOX_GAP = 16.0

_POINTS_AN_INCH = 72.0
_graphviz_lock = threading.Lock()  # the C library has global state


@dataclass(frozen=True, slots=True)
class Layout:
    """A picture's size, the centre of each box and the course of each arrow, in pixels from the upper left corner."""

    width: float
    height: float
    centres: tuple[Point, ...]
    arrows: tuple[Arrow, ...]
    direction: Direction


def place(sizes: Sequence[Size], links: Sequence[tuple[int, int]], direction: Direction | None = None) -> Layout:
    """Lay out a graph.

    Parameters
    ----------
    sizes
        Width and height of each box in pixels.
    links
        The arrows as pairs of positions in `sizes`, from and to, without repetitions.
    direction
        'LR' or 'TB', or None for the one that reads better.

    Returns
    -------
    Layout
        The same for the same input.
    """
    if not sizes:
        return Layout(0.0, 0.0, (), (), 'LR')
    direction = direction or best_direction(sizes, links)
    with _graphviz_lock:
        graph = _graph(sizes, links, direction)
        graph.layout(prog='dot')
        left, bottom, right, top = _numbers(graph.graph_attr['bb'])
        centres = [_point(_numbers(graph.get_node(i).attr['pos']), left, top) for i in range(len(sizes))]
        arrows = [_arrow(graph.get_edge(a, b).attr['pos'], left, top) for a, b in links]
        graph.close()
    arrows = smoothed(arrows, links, centres, sizes, direction)
    return Layout(round(right - left, 1), round(top - bottom, 1), tuple(centres), tuple(arrows), direction)


def grid(sizes: Sequence[Size], columns: int) -> tuple[Size, tuple[Point, ...]]:
    """Lay out boxes without arrows in rows, in their order.

    Parameters
    ----------
    sizes
        Width and height of each box in pixels.
    columns
        How many stand side by side.

    Returns
    -------
    tuple
        Width and height of all, and the centre of each box.
    """
    with _graphviz_lock:
        graph = _graph(sizes, (), 'TB')
        graph.graph_attr.update(pack=f'{BOX_GAP / 2:.0f}', packmode=f'array_ut{columns}')
        for i in range(len(sizes)):
            graph.get_node(i).attr['sortv'] = str(i)
        graph.layout(prog='dot')
        left, bottom, right, top = _numbers(graph.graph_attr['bb'])
        centres = tuple(_point(_numbers(graph.get_node(i).attr['pos']), left, top) for i in range(len(sizes)))
        graph.close()
    return (round(right - left, 1), round(top - bottom, 1)), centres


def columns_for(sizes: Sequence[Size], shape: float = 1.7) -> int:
    """How many boxes are to stand side by side, so that all are about `shape` times as wide as high.

    Examples
    --------
    >>> columns_for([(120, 44)] * 60)
    7
    """
    wide = sum(width + BOX_GAP / 2 for width, _ in sizes) / len(sizes)
    high = sum(height + BOX_GAP / 2 for _, height in sizes) / len(sizes)
    wanted = math.ceil(math.sqrt(shape * len(sizes) * high / wide))
    return max(1, min(wanted, int(COMFORTABLE_WIDTH // wide), len(sizes)))


def best_direction(sizes: Sequence[Size], links: Sequence[tuple[int, int]]) -> Direction:
    """Left to right while that is comfortably narrow, else the direction that gives the narrower picture."""
    layers: dict[int, list[Size]] = {}
    for box, layer in enumerate(_layers(len(sizes), links)):
        layers.setdefault(layer, []).append(sizes[box])
    across = sum(max(w for w, _ in layer) + RANK_GAP for layer in layers.values())
    if across <= COMFORTABLE_WIDTH:
        return 'LR'
    down = max(sum(w + BOX_GAP for w, _ in layer) for layer in layers.values())
    return 'LR' if across < down else 'TB'


def _layers(size: int, links: Sequence[tuple[int, int]]) -> list[int]:
    """The length of the longest way to each box; boxes on or behind a cycle stay where they were reached."""
    indegree = [0] * size
    leads_to: list[list[int]] = [[] for _ in range(size)]
    for a, b in links:
        indegree[b] += 1
        leads_to[a].append(b)
    layer = [0] * size
    ready = [box for box in range(size) if not indegree[box]]
    for box in ready:
        for other in leads_to[box]:
            layer[other] = max(layer[other], layer[box] + 1)
            indegree[other] -= 1
            if not indegree[other]:
                ready.append(other)
    return layer


def _graph(sizes: Sequence[Size], links: Sequence[tuple[int, int]], direction: Direction) -> Any:
    import pygraphviz  # imported here because only drawing needs it

    graph = pygraphviz.AGraph(directed=True, strict=True)
    graph.graph_attr.update(rankdir=direction, nodesep=_inches(BOX_GAP), ranksep=_inches(RANK_GAP), pad='0', margin='0')
    graph.node_attr.update(shape='box', fixedsize='true', label='')
    tail, head = ('e', 'w') if direction == 'LR' else ('s', 'n')
    graph.edge_attr.update(arrowsize='0.7', tailport=tail, headport=head)
    for i, (width, height) in enumerate(sizes):
        graph.add_node(i, width=_inches(width), height=_inches(height))
    for a, b in links:
        graph.add_edge(a, b)
    return graph


def _inches(pixels: float) -> str:
    return f'{pixels / _POINTS_AN_INCH:.4f}'


def _numbers(text: str) -> list[float]:
    return [float(number) for number in text.split(',')]


def _point(numbers: Sequence[float], left: float, top: float) -> Point:
    return round(numbers[0] - left, 1), round(top - numbers[1], 1)


def _arrow(pos: str, left: float, top: float) -> Arrow:
    tip, *curve = pos.replace('\\\n', '').removeprefix('e,').split()
    return Arrow(tuple(_point(_numbers(point), left, top) for point in curve), _point(_numbers(tip), left, top))
