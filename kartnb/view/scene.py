"""A plan as plain data for the live graph: boxes with their places, arrows as paths, facts about all tasks.

Everything is JSON: numbers, and texts that are fit to be shown. The layout is that of the stored picture, but boxes
keep their size while states change, since the front end writes the states itself. The summary of a slider's point is
here too.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from kartnb.model import ENDED, OPEN, BuildStatus, Node, Plan, ReasonKind, TaskState, lasting_note
from kartnb.view.graph_layout import (
    Box,
    Family,
    Focus,
    Frame,
    Point,
    curve_path,
    family_of,
    focused_overview,
    frames_of,
    loose_families,
    place,
    tip_path,
)
from kartnb.view.graph_svg import LASTING_ROWS, Label, PlacedFrame, make_labels, outer_size, placed_frame
from kartnb.view.html import render_template
from kartnb.view.live import phase_words
from kartnb.view.previews.preview import Preview
from kartnb.view.sanitise import one_line, short_id
from kartnb.view.words import (
    ALIKE,
    BAR_ORDER,
    BEGUN,
    INSTEAD,
    LETTERS,
    LOOKS,
    PAST,
    UNCHANGED,
    URGENCY,
    brief,
    look,
)


@dataclass(frozen=True, slots=True)
class PointSummary:
    """A task in brief, as `%kart_interact` shows it; every text is fit to be shown.

    `values` are the parameters that can be moved, with where they can be moved to; `words` say what would run and about
    how long, what runs, or why there is nothing; `code` builds the task. `unique_id` may be '', `result` None;
    not `is_loaded` is a result of which only what can be read without running code in its file is shown.
    """

    title: str
    values: Sequence[tuple[str, str]] = ()
    unique_id: str = ''
    state: TaskState = TaskState.MISSING
    words: str = ''
    result: Preview | None = None
    code: str = ''
    is_loaded: bool = True

    @property
    def status(self) -> str:
        """The state of the task in a word, or that the values of the controls make no valid task."""
        return str(look(self.state)) if self.unique_id else '✗ no valid task'


def status_html(summary: PointSummary) -> str:
    """State, id and words, without values and result."""
    return render_template('point_summary.html', summary=summary, look=look(summary.state), whole=False)


def summary_html(summary: PointSummary) -> str:
    """A task in short, with its result, as an HTML fragment."""
    html = render_template('point_summary.html', summary=summary, look=look(summary.state), whole=True)
    return html if summary.result is None else f'{html}\n{summary.result._repr_html_()}'


def summary_text(summary: PointSummary) -> str:
    """A task in short, with its result, as text."""
    values = ', '.join(f'{name}={value}' for name, value in summary.values)
    lines = [f'{summary.title}({values})', f'{summary.status} {summary.unique_id}'.rstrip()]
    lines += [text for text in (summary.words, summary.code) if text]
    return '\n'.join(lines if summary.result is None else [*lines, repr(summary.result)])


#: So many tasks, the last ones, are given in full; of the others only class, id and requirements.
MAX_DETAILED = 12_000
_MAX_PARAMETERS = 30
_MAX_TEXT = 160
_MAX_OUTPUTS = 3


def scene(plan: Plan, focus: Focus | None = None, opened: Collection[Family] = ()) -> dict[str, Any]:
    """The boxes and arrows of a plan, or of the part in focus; tasks of the opened families have boxes of their own.

    The dict has ``width`` and ``height`` in pixels, ``boxes`` (positions of the tasks, texts, place and size, and the
    number of the frame that they stand in), ``frames`` (of opened stacks), ``arrows`` (two boxes or frames, path of the
    line and of the tip), ``focus`` and ``opened``.
    """
    loose = loose_families(plan, opened)
    drawn = focused_overview(plan, focus, loose)
    frames = frames_of(plan, drawn, [family for family in opened if family not in loose])
    written = make_labels(plan, drawn, lasting=True)
    opened_frames = {b: placed_frame(plan, frame) for b, frame in frames.items()}
    boxes = list(zip(drawn.boxes, written, strict=True))
    sizes = [opened_frames[b].size if b in opened_frames else outer_size(*pair) for b, pair in enumerate(boxes)]
    layout = place(sizes, drawn.links)
    found: dict[str, Any] = {'width': layout.width, 'height': layout.height, 'boxes': [], 'frames': []}
    names: dict[int, str] = {}
    for b, (pair, centre) in enumerate(zip(boxes, layout.centres, strict=True)):
        if b in opened_frames:
            names[b] = f'frame {len(found["frames"])}'
            found['boxes'] += _inside(plan, opened_frames[b], centre, len(found['frames']))
            found['frames'].append(_frame(frames[b], opened_frames[b], centre))
        else:
            names[b] = f'box {len(found["boxes"])}'
            found['boxes'].append(_box(plan, *pair, centre))
    arrows = zip(drawn.links, layout.arrows, strict=True)
    return found | {
        'arrows': [
            {'from': names[a], 'to': names[b], 'line': curve_path(arrow), 'tip': tip_path(arrow)}
            for (a, b), arrow in arrows
        ],
        'focus': None if focus is None else {'position': focus.position, 'direction': focus.direction},
        'opened': _opened_members(plan, opened),
    }


def _frame(frame: Frame, placed: PlacedFrame, centre: Point) -> dict[str, Any]:
    return {
        'member': frame.stack.members[0],
        'title': placed.title,
        'x': round(centre[0] - placed.size[0] / 2, 1),
        'y': round(centre[1] - placed.size[1] / 2, 1),
        'width': placed.size[0],
        'height': placed.size[1],
    }


def _inside(plan: Plan, placed: PlacedFrame, centre: Point, number: int) -> list[dict[str, Any]]:
    """The boxes in a frame, which names them by its number."""
    left, top = centre[0] - placed.size[0] / 2, centre[1] - placed.size[1] / 2
    return [
        {**_box(plan, box, label, (left + x, top + y)), 'id': '', 'frame': number}
        for box, label, (x, y) in zip(placed.boxes, placed.labels, placed.centres, strict=True)
    ]


def drawn_tasks(drawn: dict[str, Any]) -> set[int]:
    """The positions of the tasks that have a box of their own in a scene."""
    return {box['members'][0] for box in drawn['boxes'] if box['kind'] == 'task'}


def _box(plan: Plan, box: Box, label: Label, centre: Point) -> dict[str, Any]:
    width, height = outer_size(box, label)
    lasting = box.kind != 'task' and any(plan.nodes[i].will_run for i in box.members)
    return {
        'kind': box.kind,
        'members': list(box.members),
        'name': label.name,
        'details': list(label.details),
        'why': label.why,
        'id': short_id(plan.nodes[box.members[0]].unique_id) if box.kind == 'task' else '',
        'rows': LASTING_ROWS if lasting else len(label.states),
        'x': round(centre[0] - width / 2, 1),
        'y': round(centre[1] - height / 2, 1),
        'width': label.width,
        'height': label.height,
    }


def _opened_members(plan: Plan, opened: Collection[Family]) -> list[int]:
    """The first task of each opened family, by which the front end names it."""
    found: dict[Family, int] = {}
    for i, node in enumerate(plan.nodes):
        if family_of(node) in opened:
            found.setdefault(family_of(node), i)
    return list(found.values())


def task_facts(plan: Plan) -> dict[str, Any]:
    """The tasks of a plan as columns: what a person may search for or look at without asking further.

    The dict has ``names`` (the classes), and a list with one entry a task for each of ``name`` (a position in `names`),
    ``id``, ``parameters`` (name, text, whether significant; None where they are left out), ``reason`` (kind, detail,
    note, who runs it, the note or the file in brief), ``requires`` (positions) and ``outputs`` (paths); and the words
    for kinds of reasons once a task has begun (``kinds``) or, by its state, does not run (``instead``, and
    ``unchanged`` of those that only a change upstream would have made run), or has run and left these as they were
    (``alike``).
    """
    names: dict[str, int] = {}
    brief = max(len(plan) - MAX_DETAILED, 0)
    detailed = plan.nodes[brief:]
    return {
        'name': [names.setdefault(one_line(node.name, 120), len(names)) for node in plan],
        'names': list(names),
        'id': [one_line(node.unique_id, 80) for node in plan],
        'requires': [list(node.requires) for node in plan],
        'parameters': [None] * brief + [_parameters(node) for node in detailed],
        'reason': [None] * brief + [_reason(node) for node in detailed],
        'kinds': {kind.value: words for kind, words in PAST.items()},
        'instead': {state.value: words for state, words in INSTEAD.items()},
        'alike': ALIKE,
        'unchanged': {state.value: words for state, words in UNCHANGED.items()},
        'outputs': [[]] * brief + [[one_line(path, 300) for path in node.outputs[:_MAX_OUTPUTS]] for node in detailed],
    }


def _reason(node: Node) -> tuple[str, str, str, str, str] | None:
    """The kind, the detail, the note, who runs it, and the note in brief; no detail where that is an output's path."""
    if node.reason is None and not node.note:
        return None
    kind, detail = ('', '') if node.reason is None else (node.reason.kind.value, node.reason.detail)
    detail = '' if detail in node.outputs[:_MAX_OUTPUTS] else one_line(detail, 300)
    note, held = lasting_note(node.note)
    is_told = kind in ('', ReasonKind.FILE_CHANGED, ReasonKind.OUTPUT_MISSING)
    return kind, detail, one_line(note, 300), one_line(held, 300), brief(node) if is_told else ''


def _parameters(node: Node) -> list[tuple[str, str, int]]:
    from kartnb.task import shown_parameters

    found = sorted(shown_parameters(node.task), key=lambda parameter: not parameter.significant)
    return [
        (one_line(parameter.name, 60), one_line(parameter.text, _MAX_TEXT), int(parameter.significant))
        for parameter in found[:_MAX_PARAMETERS]
    ]


def states_text(status: BuildStatus) -> str:
    """The states of all tasks, one letter a task."""
    assert status.plan is not None
    states = status.states
    return ''.join([LETTERS[states.get(node.key, node.state)] for node in status.plan])


def progress_facts(status: BuildStatus, phase: str) -> dict[str, Any]:
    """How far a build is, for the header of a live picture.

    The dict has ``words`` (how far, in words), ``total`` and ``ended`` (numbers of tasks that the build runs), ``idle``
    (whether none of them runs), and pairs of letter and number: ``counts`` of all tasks, the most urgent first, and
    ``bar``, the segments of the bar from left to right.
    """
    now = status.progress()
    counts = status.counts()
    drawn = {*ENDED, TaskState.RUNNING, TaskState.CACHED, TaskState.NOT_NEEDED}  # the last two need not run after all
    shown = [state for state in BAR_ORDER if state in now.counts and state in drawn]
    return {
        'words': phase_words(now, phase),
        'total': now.total,
        'ended': now.ended,
        'idle': not now.running,
        'counts': [(LETTERS[state], counts[state]) for state in URGENCY if state in counts],
        'bar': [(LETTERS[state], now.counts[state]) for state in shown],
    }


def looks() -> list[dict[str, Any]]:
    """How each state is shown and what it means for a build, the most urgent first."""
    return [
        {
            'letter': LETTERS[state],
            'glyph': LOOKS[state].glyph,
            'word': LOOKS[state].word,
            'slug': LOOKS[state].slug,
            'begun': state in BEGUN,
            'open': state in OPEN,
            'bar': BAR_ORDER.index(state),
        }
        for state in URGENCY
    ]


def live_stylesheet() -> str:
    """The colours of states in a live picture."""
    return ''.join(
        f'.kartnb-live .is-{look.slug}{{--kart-state:{look.light};--kart-state:light-dark({look.light},{look.dark})}}'
        for look in LOOKS.values()
    )
