"""What can go from a workspace, as text and HTML; both say what `_Table` holds."""

from __future__ import annotations

from dataclasses import dataclass

from kartnb.events import TaskState
from kartnb.history.clean import Cleaning, CleanItem, ItemKind
from kartnb.view.clean import abbreviated, one_line, short_id
from kartnb.view.states import LOOKS, SUPERSEDED, Look
from kartnb.view.text import table_lines
from kartnb.view.told import size_text

MAX_ROWS = 50
_MOST_NOTES = 10
HEADINGS = ('why', 'task', 'parameters', 'ended', 'size')
_LOOKS: dict[ItemKind, Look] = {
    'not needed': LOOKS[TaskState.NOT_NEEDED],
    'superseded': SUPERSEDED,
    'code': Look('≡', 'unused source', LOOKS[TaskState.NOT_NEEDED].light, LOOKS[TaskState.NOT_NEEDED].dark),
}


@dataclass(frozen=True, slots=True)
class Line:
    """One thing that can go; every text is fit to be shown."""

    look: Look
    slug: str
    task: str
    parameters: str
    when: str
    size: str


@dataclass(frozen=True, slots=True)
class _Table:
    heading: str
    workspace: str
    lines: tuple[Line, ...]
    more: str
    hint: str
    notes: tuple[str, ...]


def cleaning_text(cleaning: Cleaning) -> str:
    """What can go, as text."""
    table = _table(cleaning)
    found = [table.heading, f'workspace: {table.workspace}']
    if table.lines:
        cells = [(str(line.look), line.task, line.parameters, line.when, line.size) for line in table.lines]
        found += ['', *table_lines(HEADINGS, cells)]
    return '\n'.join([*found, *filter(None, (table.more, table.hint)), *(f'! {note}' for note in table.notes)])


def cleaning_html(cleaning: Cleaning) -> str:
    """What can go, as an HTML fragment."""
    from kartnb.view.html import render_template

    return render_template('cleaning.html', table=_table(cleaning), headings=HEADINGS)


def _table(cleaning: Cleaning) -> _Table:
    left = len(cleaning.items) - MAX_ROWS
    notes = [one_line(note, 300) for note in cleaning.notes[:_MOST_NOTES]]
    if len(cleaning.notes) > _MOST_NOTES:
        notes.append(f'{len(cleaning.notes) - _MOST_NOTES:,} more notes')
    return _Table(
        heading=_heading(cleaning),
        workspace=one_line(cleaning.workspace, 300),
        lines=tuple(map(_line, cleaning.items[:MAX_ROWS])),
        more=f'… {left:,} more, {size_text(sum(item.size for item in cleaning.items[MAX_ROWS:]))}' if left > 0 else '',
        hint='' if cleaning.removed or not cleaning.items else 'Nothing is removed yet: remove() does it.',
        notes=tuple(notes),
    )


def _heading(cleaning: Cleaning) -> str:
    number = len(cleaning.items)
    if not number:
        return 'Nothing can go'
    what = '1 entry' if number == 1 else f'{number:,} entries'
    return f'{"Removed" if cleaning.removed else "Can go"}: {what}, {size_text(cleaning.size)}'


def _line(item: CleanItem) -> Line:
    look, run = _LOOKS[item.kind], item.run
    if run is None:
        count = len(item.files)
        files = '1 file' if count == 1 else f'{count:,} files'
        name = files if item.kind == 'code' else one_line(item.files[0].path, 80)
        return Line(look, _slug(look), name, '', '', size_text(item.size))
    given = list(run.parameters.items())[:30]
    parameters = ', '.join(f'{one_line(name, 60)}={abbreviated(text)}' for name, text in given)
    shown = run.result_id if item.kind == 'superseded' else run.unique_id
    return Line(
        look,
        _slug(look),
        f'{one_line(run.task, 80)}[{short_id(shown)}]',
        one_line(parameters, 60),
        run.when.astimezone().strftime('%Y-%m-%d %H:%M:%S') if run.when else '',
        size_text(item.size),
    )


def _slug(look: Look) -> str:
    return 'not-needed' if look.word == 'unused source' else look.slug
