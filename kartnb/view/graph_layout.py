"""Which boxes and arrows of a plan are drawn, and where: families, focus, opened stacks, and the layout by Graphviz.

A family is the tasks of one class. A picture never has more than `MAX_BOXES` boxes and `MAX_LINKS` arrows, whatever the
size of the plan: beyond that the families collapse into stacks with counts per state, and where there are too many
families as well, the least relevant ones share one box.
"""

from __future__ import annotations

import math
import threading
import warnings
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from kartnb.errors import DrawingError
from kartnb.model import Node, Plan, TaskState
from kartnb.view.words import count_states, urgency

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

    Its `kind` is 'task' for one task, 'stack' for the tasks of one class, 'more' for what has no box of its own.
    `members` are positions in the plan; `name` is the class name, '' for 'more'; `counts` has the most urgent state
    first.
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
        """Whether some box holds more than one task."""
        return any(box.kind != 'task' for box in self.boxes)


def overview(
    plan: Plan,
    max_boxes: int = MAX_BOXES,
    max_links: int = MAX_LINKS,
    opened: Collection[Family] = (),
    readable: int = READABLE_BOXES,
) -> Overview:
    """Choose what is drawn of a plan.

    Up to `readable` boxes every task has one of its own. The picture never exceeds `max_boxes` and `max_links`; two
    boxes and one arrow are always possible. Tasks of the `opened` families have boxes of their own whatever their
    number: the most urgent ones of them, with a stack for the others where they are many.
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
    return _most_urgent(plan, box.members, most)


def _most_urgent(plan: Plan, members: tuple[int, ...], most: int) -> list[tuple[int, ...]]:
    """The `most` most urgent tasks each by itself, and the others together."""
    ordered = sorted(members, key=lambda i: (urgency(plan.nodes[i].state), i))
    rest = [tuple(sorted(ordered[most:]))] if len(ordered) > most else []
    return [*((i,) for i in (ordered[:most] if rest else members)), *rest]


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


#: A live picture has less room than a page, and can be opened where a person wants to see more.
READABLE_LIVE = 24

FocusDirection = Literal['upstream', 'downstream', 'both']


@dataclass(frozen=True, slots=True)
class Focus:
    """Look at one task, by its position in the plan, and what is 'upstream' or 'downstream' of it, or 'both'."""

    position: int
    direction: FocusDirection = 'both'


def focused_overview(plan: Plan, focus: Focus | None = None, opened: Collection[Family] = ()) -> Overview:
    """What is drawn of a plan, or of the part of it that is looked at; positions are those of the whole plan."""
    if focus is None:
        return overview(plan, opened=opened, readable=READABLE_LIVE)
    part, positions = _part(plan, _wanted(plan, focus))
    drawn = overview(part, opened=opened, readable=READABLE_LIVE)
    return Overview(tuple(_moved(box, positions) for box in drawn.boxes), drawn.links)


def _wanted(plan: Plan, focus: Focus) -> list[int]:
    wanted = {focus.position}
    if focus.direction != 'downstream':
        pending = [focus.position]
        for i in pending:
            new = [j for j in plan.nodes[i].requires if j not in wanted]
            wanted.update(new)
            pending.extend(new)
    if focus.direction != 'upstream':
        reached = {focus.position}
        for i, node in enumerate(plan.nodes):
            if not reached.isdisjoint(node.requires):
                reached.add(i)
        wanted |= reached
    return sorted(wanted)


def _part(plan: Plan, positions: list[int]) -> tuple[Plan, list[int]]:
    """A plan of these tasks only, and the positions that they have in the whole."""
    new = {position: i for i, position in enumerate(positions)}
    nodes = tuple(_requiring(plan.nodes[position], new) for position in positions)
    return Plan(nodes, plan.workspace), positions


def _requiring(node: Node, new: dict[int, int]) -> Node:
    requires = tuple(new[i] for i in node.requires if i in new)
    return Node(
        node.task, node.key, node.name, node.unique_id, node.state, node.reason, requires, node.outputs, node.note
    )


def _moved(box: Box, positions: list[int]) -> Box:
    return Box(box.kind, tuple(positions[i] for i in box.members), box.name, box.counts, box.classes)


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
    """Lay out boxes of given width and height in pixels; the same input always gives the same layout.

    The links are pairs of positions in `sizes`, from and to, without repetitions. The direction is 'LR' or 'TB', or
    None for the one that reads better.
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
    """Lay out boxes without arrows in rows, in their order; gives the size of all in pixels, and each box's centre."""
    with _graphviz_lock:
        graph = _graph(sizes, (), 'TB')
        # 'u' keeps the order of `sortv`, 't' aligns the boxes of a row at the top
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
    try:
        import pygraphviz  # imported here because only drawing needs it
    except ImportError as error:
        # its wheel brings Graphviz along, but not the libraries of the system that Graphviz needs
        message = (
            f'Graphs cannot be drawn and are shown as text, because pygraphviz cannot be loaded: {error}. Install the '
            'library that is missing (on Debian and Ubuntu: apt install libglib2.0-0 libxrender1), and restart Python.'
        )
        warnings.warn(message, stacklevel=2)
        raise DrawingError(message) from error

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
    return round(numbers[0] - left, 1), round(top - numbers[1], 1)  # Graphviz's y axis points up


def _arrow(pos: str, left: float, top: float) -> Arrow:
    # Graphviz puts the tip first, as 'e,x,y', and breaks a long text with a backslash at the end of the line
    tip, *curve = pos.replace('\\\n', '').removeprefix('e,').split()
    return Arrow(tuple(_point(_numbers(point), left, top) for point in curve), _point(_numbers(tip), left, top))


#: So many tasks of an opened stack stand in the picture by themselves, and so many where they require each other.
MOST_LOOSE = 12
MOST_LINKED = 40
#: Of a stack that there is no room for, so many tasks are shown, since more would be too small to be read.
LEGIBLE = 60


@dataclass(frozen=True, slots=True)
class Frame:
    """An opened stack, and its tasks one by one in the order of the plan.

    Where they are too many these are the most urgent ones, and last a stack of the others.
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
    most = room if len(stack.members) <= room else max(min(LEGIBLE, room - 1), 1)
    *shown, last = (_box(plan, group) for group in _most_urgent(plan, stack.members, most))
    # the others are a stack even where there is one only, so that it is labelled as what is left
    return (*shown, last if len(stack.members) <= most else replace(last, kind='stack'))
