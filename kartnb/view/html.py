"""Plans, builds and cards of cells as HTML fragments, for notebooks. They say what `text` says.

A fragment needs no script, no network and no style sheet to be understood: the picture is an image that carries its
data, everything that opens is `<details>`. So it shows in untrusted, exported and printed notebooks too. Its size is
bounded, whatever the plan.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

from kartnb.execution.background import BackgroundBuild
from kartnb.execution.report import BuildReport
from kartnb.model import Plan, TaskState
from kartnb.view import words
from kartnb.view.graph_svg import Picture, picture
from kartnb.view.sanitise import one_line
from kartnb.view.words import LOOKS, SUPERSEDED, Look, counts_text, title

Status = Literal['new', 'changed', 'unchanged']
#: Glyph, and the state whose colour the status takes.
_LOOKS: dict[Status, tuple[str, str]] = {
    'new': ('+', 'done'),
    'changed': ('~', 'stale'),
    'unchanged': ('=', 'not-needed'),
}
_MAX_ENTRIES = 50
_MAX_STALE = 10


@dataclass(frozen=True, slots=True)
class CardEntry:
    """One task class of a cell.

    `status` says whether the session knew it before, and whether its code was the same. `doc` is the first line of its
    docstring, or ''. `parameters` are as they are written: ``('depth: int = 3', 'data')``. `makes_stale` has class
    names.
    """

    name: str
    status: Status
    doc: str = ''
    parameters: Sequence[str] = ()
    makes_stale: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class _Line:
    glyph: str
    slug: str
    status: Status
    title: str
    doc: str
    stale: str


def card_text(entries: Iterable[CardEntry], note: str = '') -> str:
    """The card as text, one class a line, and the lines of a note below.

    >>> print(card_text([CardEntry('Train', 'changed', 'Fit the model.', ['depth=3'], ['Evaluate'])]))
    ~ changed Train(depth=3): Fit the model.
      makes stale: Evaluate
    """
    shown, more = _lines(entries)
    found: list[str] = []
    for line in shown:
        found.append(f'{line.glyph} {line.status} {line.title}' + (f': {line.doc}' if line.doc else ''))
        if line.stale:
            found.append(f'  makes stale: {line.stale}')
    return '\n'.join([*found, *filter(None, [more]), *_note_lines(note)])


def card_html(entries: Iterable[CardEntry], note: str = '') -> str:
    """The card as an HTML fragment."""
    shown, more = _lines(entries)
    return render_template('card.html', lines=shown, more=more, notes=_note_lines(note))


def _note_lines(note: str) -> list[str]:
    return [one_line(line, 400) for line in note.split('\n')[:_MAX_ENTRIES] if line]


def _lines(entries: Iterable[CardEntry]) -> tuple[list[_Line], str]:
    every = list(entries)
    left = len(every) - _MAX_ENTRIES
    return [_line(entry) for entry in every[:_MAX_ENTRIES]], f'… {left:,} more' if left > 0 else ''


def _line(entry: CardEntry) -> _Line:
    glyph, slug = _LOOKS[entry.status]
    parameters = one_line(', '.join(one_line(text, 60) for text in entry.parameters[:30]), 160)
    stale = ', '.join(one_line(name, 80) for name in entry.makes_stale[:_MAX_STALE])
    if len(entry.makes_stale) > _MAX_STALE:
        stale += f' and {len(entry.makes_stale) - _MAX_STALE:,} more'
    return _Line(
        glyph, slug, entry.status, f'{one_line(entry.name, 120)}({parameters})', one_line(entry.doc, 160), stale
    )


_FOLDER = Path(__file__).parent
#: A picture wider than the page is made smaller, but not below this share of its size; then it scrolls.
_SMALLEST_SHARE = 0.75


def plan_html(plan: Plan) -> str:
    """A plan: what it is, the counts per state, the workspace, the picture, and the same as a table."""
    return render_template(
        'plan.html', heading=f'Plan of {words.title(plan.root)}', **_plan_context(plan, picture(plan))
    )


def background_html(build: BackgroundBuild) -> str:
    """A build in the background: how it ended, or its status and the plan with the states of now."""
    if build.report is not None:
        return report_html(build.report)
    plan = build.plan
    heading = one_line(repr(build).strip('<>'), 300)
    return render_template('plan.html', heading=heading, **_plan_context(plan, picture(plan)))


def report_html(report: BuildReport) -> str:
    """A build: how it ended, what failed and where, the picture with the final states, and the times."""
    drawn = picture(report.plan, words.notes(report))
    return render_template(
        'report.html',
        heading=words.verdict(report),
        ending=words.ending(report).slug,
        left_alone=words.left_alone(report.plan),
        failures=words.failures(report),
        failures_omitted=max(len(report.failures) - words.MAX_ROWS, 0),
        slowest=words.slowest(report),
        most_memory=words.most_memory(report),
        slowest_omitted=max(len(report.durations) - words.MAX_ROWS, 0),
        **_plan_context(report.plan, drawn),
    )


def _plan_context(plan: Plan, drawn: Picture) -> dict[str, Any]:
    rows = words.plan_rows(plan)
    return {
        'will_run': words.will_run(plan),
        'tasks': words.tasks(len(plan)),
        'counts': words.counts(plan),
        'workspace': words.workspace(plan),
        'remarks': words.remarks(plan),
        'picture': drawn,
        'picture_source': data_uri(drawn.svg),
        'smallest_width': round(drawn.width * _SMALLEST_SHARE),
        'rows': rows,
        'omitted': counts_text(rows.omitted),
    }


def data_uri(svg: str) -> str:
    """An SVG document as the source of an `<img>`."""
    return 'data:image/svg+xml;base64,' + base64.b64encode(svg.encode()).decode('ascii')


def render_template(name: str, **context: Any) -> str:
    """Render one of the templates, every value escaped."""
    rendered: str = _environment().get_template(name).render(css=stylesheet(), **context)
    return rendered.strip()


@cache
def _environment() -> Any:
    import jinja2  # imported here because only drawing needs it

    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(_FOLDER / 'templates'),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )


@cache
def stylesheet() -> str:
    """The style sheet of all fragments."""
    sheet = (_FOLDER / 'static' / 'kartnb.css').read_text(encoding='utf-8')
    return sheet + ''.join(map(_state_rule, (*LOOKS.values(), SUPERSEDED)))


def _state_rule(look: Look) -> str:
    return f'.kartnb .kartnb-{look.slug}{{color:{look.light};color:light-dark({look.light},{look.dark})}}'


#: What is stored of a build: the tails of so many tasks, so many lines each, so many characters a line.
MAX_TASKS = 3
MAX_LINES = 20
_MAX_TEXT = 200


@dataclass(frozen=True, slots=True)
class Tail:
    """The last lines of one task, fit to be shown."""

    title: str
    lines: tuple[str, ...]


def failed_tails(plan: Plan, lines_of: Callable[[str], Sequence[str]]) -> list[Tail]:
    """The tails of the first failed tasks of a build, by its final plan, that have printed or logged something."""
    found: list[Tail] = []
    for node in plan:
        lines = lines_of(node.key) if node.state is TaskState.FAILED else ()
        if lines and len(found) < MAX_TASKS:
            found.append(Tail(title(node), tuple(one_line(line, _MAX_TEXT) for line in lines[-MAX_LINES:])))
    return found


def tails_text(tails: Sequence[Tail]) -> str:
    """The tails as text.

    >>> print(tails_text([Tail('Train[0f0f0f0f]', ('epoch 1', 'loss is nan'))]))
    Last lines of Train[0f0f0f0f]:
      epoch 1
      loss is nan
    """
    return '\n'.join('\n  '.join([f'Last lines of {tail.title}:', *tail.lines]) for tail in tails)


def tails_html(tails: Sequence[Tail]) -> str:
    """The tails as an HTML fragment."""
    return render_template('tails.html', tails=tails)
