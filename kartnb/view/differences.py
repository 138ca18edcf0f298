"""What differs between two results, as text and HTML; both say what `_Shown` holds."""

from __future__ import annotations

from dataclasses import dataclass

from kartnb.execution.compare.differences import Difference, Section
from kartnb.execution.compare.value_changes import Change
from kartnb.history.runs import Run, RunState
from kartnb.view.clean import one_line
from kartnb.view.diff_lines import DiffLine, diff_line

_MOST_CHANGES = 60
_MOST_LINES = 200


@dataclass(frozen=True, slots=True)
class _Part:
    name: str
    word: str
    changes: tuple[str, ...]
    diffs: tuple[tuple[str, tuple[DiffLine, ...]], ...]
    note: str


@dataclass(frozen=True, slots=True)
class _Shown:
    heading: str
    sides: tuple[str, str]
    parts: tuple[_Part, ...]
    same: str


def difference_text(difference: Difference) -> str:
    """The difference as text."""
    shown = _shown(difference)
    found = [shown.heading, *shown.sides]
    for part in shown.parts:
        found += ['', f'{part.name}: {part.word}', *(f'  {line}' for line in part.changes)]
        for name, lines in part.diffs:
            found += [f'  {name}', *(f'    {line.text}' for line in lines)]
        found += [f'  {part.note}'] if part.note else []
    return '\n'.join([*found, *(['', shown.same] if shown.same else [])])


def difference_html(difference: Difference) -> str:
    """The difference as an HTML fragment."""
    from kartnb.view.html import render_template

    return render_template('difference.html', shown=_shown(difference))


def _shown(difference: Difference) -> _Shown:
    named = [section.name for section in difference.sections if section.differs is False and section.name != 'run']
    parts = [
        _part(section)
        for section in difference.sections
        if difference.all or section.differs or (section.differs is None and section.note)
    ]
    words = ', '.join(difference.differing)
    return _Shown(
        heading=f'Differ in {words}' if words else 'Nothing differs, as far as it is known',
        sides=(f'− {_side(difference.before)}', f'+ {_side(difference.after)}'),
        parts=tuple(parts),
        same=f'the same: {", ".join(named)}' if named and not difference.all else '',
    )


def _side(run: Run) -> str:
    when = run.when.astimezone().strftime(' of %Y-%m-%d %H:%M:%S') if run.when else ''
    replaced = ', superseded' if run.state is RunState.SUPERSEDED else ''
    result = f', result {run.result_id}' if run.result_id else ''
    return one_line(f'{run.task}[{run.unique_id[:8]}]{result}{when}{replaced}', 200)


def _part(section: Section) -> _Part:
    lines = [_told(change) for change in section.changes[:_MOST_CHANGES]]
    if len(section.changes) > _MOST_CHANGES:
        lines.append(f'… {len(section.changes) - _MOST_CHANGES:,} more')
    word = {True: 'differs', False: 'the same', None: 'cannot be told'}[section.differs]
    diffs = tuple((one_line(item.name, 200), _lines(item.diff)) for item in section.diffs)
    return _Part(section.name, word, tuple(lines), diffs, one_line(section.note, 300))


def _told(change: Change) -> str:
    name, before, after = (one_line(text, limit) for text, limit in
                           ((change.name, 120), (change.before, 300), (change.after, 300)))  # fmt: skip
    if change.differs is False:
        return f'{name}: {after} (the same)' if after else f'{name}: the same'
    if not before:
        return f'{name}: {after}'
    return f'{name}: {before} → {after}'


def _lines(diff: tuple[str, ...]) -> tuple[DiffLine, ...]:
    found = [diff_line(one_line(text, 300)) for text in diff[:_MOST_LINES]]
    if len(diff) > _MOST_LINES:
        found.append(DiffLine(f'… {len(diff) - _MOST_LINES:,} more lines', ''))
    return tuple(found)
