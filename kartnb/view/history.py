"""What is asked of a workspace, as text and HTML: runs, cleaning, differences and explanations.

For each of them text and HTML are made from one table of strings, so that they cannot differ.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from kartnb.history.clean import Cleaning, CleanItem, ItemKind, LeftAlone
from kartnb.history.makers import current_notebook, short_names
from kartnb.history.runs import Run, Runs, RunState, versions_text
from kartnb.inspection.diff import Change, Difference, Section
from kartnb.inspection.why import CodeChange, Explanation, Why
from kartnb.model import Node, TaskState
from kartnb.view import words
from kartnb.view.html import render_template
from kartnb.view.sanitise import abbreviated, counted, cut, one_line, seconds_text, several_lines, short_id, size_text
from kartnb.view.text import table_lines
from kartnb.view.words import LOOKS, SUPERSEDED, Look, look

# ----- runs -----------------------------------------------------------------------------------------------------------

MAX_ROWS = 50
_MOST_PROBLEMS = 5
_MOST_PARAMETERS = 40
RUN_HEADINGS = ('#', 'state', 'task', 'parameters', 'ended', 'took', 'size')
RUN_LOOKS: dict[RunState, Look] = {
    RunState.CACHED: LOOKS[TaskState.CACHED],
    RunState.MISSING: LOOKS[TaskState.MISSING],
    RunState.FAILED: LOOKS[TaskState.FAILED],
    RunState.INTERRUPTED: LOOKS[TaskState.INTERRUPTED],
    RunState.SUPERSEDED: SUPERSEDED,
}


@dataclass(frozen=True, slots=True)
class _RunLine:
    """One run; every text is fit to be shown."""

    number: str
    look: Look
    task: str
    parameters: str
    when: str
    seconds: str
    size: str
    note: str
    tooltip: str


@dataclass(frozen=True, slots=True)
class _RunsTable:
    heading: str
    counts: tuple[tuple[Look, str], ...]
    workspace: str
    lines: tuple[_RunLine, ...]
    more: str
    problems: tuple[str, ...]


def runs_text(runs: Runs) -> str:
    """The table as text."""
    table = _runs_table(runs)
    counts = ', '.join(f'{look.glyph} {text}' for look, text in table.counts)
    found = [f'{table.heading}: {counts}' if counts else table.heading, f'workspace: {table.workspace}']
    if table.lines:
        found += ['', *_run_rows(table.lines)]
    return '\n'.join([*found, *([table.more] if table.more else []), *(f'! {text}' for text in table.problems)])


def runs_html(runs: Runs) -> str:
    """The table as an HTML fragment."""
    return render_template('runs.html', table=_runs_table(runs), headings=RUN_HEADINGS)


def _run_rows(lines: tuple[_RunLine, ...]) -> list[str]:
    cells = [
        (line.number, str(line.look), line.task, cut(line.parameters, 60), line.when, line.seconds, line.size)
        for line in lines
    ]
    notes = ['', *(line.note for line in lines)]
    rows = zip(table_lines(RUN_HEADINGS, cells), notes, strict=True)
    return [text for row, note in rows for text in ([row, f'   {note}'] if note else [row])]


def _runs_table(runs: Runs) -> _RunsTable:
    shown = runs[:MAX_ROWS]
    counted = Counter(run.state for run in runs)
    left = runs.total - len(shown)
    problems = [one_line(text, 300) for text in runs.problems[:_MOST_PROBLEMS]]
    if len(runs.problems) > _MOST_PROBLEMS:
        problems.append(f'{len(runs.problems) - _MOST_PROBLEMS:,} more files could not be read')
    return _RunsTable(
        heading=_runs_heading(runs),
        counts=tuple((RUN_LOOKS[s], f'{counted[s]:,} {RUN_LOOKS[s].word}') for s in RunState if counted[s]),
        workspace=one_line(runs.workspace, 300),
        lines=tuple(_run_line(number, run) for number, run in enumerate(shown)),
        more=f'… {left:,} more: narrow them down with filter(), or get all by to_dataframe()' if left > 0 else '',
        problems=tuple(problems),
    )


def _runs_heading(runs: Runs) -> str:
    if not runs.total:
        return 'No recorded results'
    total = counted(runs.total, 'recorded result')
    return total if len(runs) == runs.total else f'{len(runs):,} of {total}'


def _run_line(number: int, run: Run) -> _RunLine:
    given = list(run.parameters.items())[:_MOST_PARAMETERS]
    short = ', '.join(f'{one_line(name, 60)}={abbreviated(text)}' for name, text in given)
    full = ', '.join(f'{name}={text[:200]}' for name, text in given)
    who = [run.module, run.unique_id, run.result_id]
    memory = '' if run.added_memory is None else f'memory {size_text(run.added_memory)}'
    facts = [*who, memory, versions_text(run), run.user, run.host, run.notebook, run.commit, full, *run.outputs[:3]]
    return _RunLine(
        number=str(number),
        look=RUN_LOOKS[run.state],
        task=f'{one_line(run.task, 80)}[{short_id(run.result_id if run.state == "superseded" else run.unique_id)}]',
        parameters=one_line(short, 160),
        when=_time_text(run),
        seconds='' if run.seconds is None else seconds_text(run.seconds),
        size='' if run.size is None else size_text(run.size),
        note=one_line(run.error, 200),
        tooltip=' · '.join(one_line(fact, 300) for fact in facts if fact),
    )


def _time_text(run: Run) -> str:
    return run.when.astimezone().strftime('%Y-%m-%d %H:%M:%S') if run.when else ''


# ----- cleaning -------------------------------------------------------------------------------------------------------

_MOST_NOTES = 10
_CLEANING_HEADINGS = ('why', 'task', 'parameters', 'ended', 'size', 'made by')
_MOST_MAKERS = 5
_ITEM_LOOKS: dict[ItemKind, Look] = {
    'not needed': LOOKS[TaskState.NOT_NEEDED],
    'superseded': SUPERSEDED,
    'code': Look('≡', 'unused source', LOOKS[TaskState.NOT_NEEDED].light, LOOKS[TaskState.NOT_NEEDED].dark),
}


@dataclass(frozen=True, slots=True)
class _CleaningLine:
    """One thing that can be removed; every text is fit to be shown."""

    look: Look
    slug: str
    task: str
    parameters: str
    when: str
    size: str
    maker: str

    @property
    def cells(self) -> tuple[str, ...]:
        """What the columns show."""
        return str(self.look), self.task, self.parameters, self.when, self.size, self.maker


@dataclass(frozen=True, slots=True)
class _CleaningTable:
    heading: str
    workspace: str
    headings: tuple[str, ...]
    lines: tuple[_CleaningLine, ...]
    more: str
    hint: str
    left_alone: str
    notes: tuple[str, ...]


def cleaning_text(cleaning: Cleaning) -> str:
    """What can be removed, as text."""
    table = _cleaning_table(cleaning)
    found = [table.heading, f'workspace: {table.workspace}']
    if table.lines:
        cells = [line.cells[: len(table.headings)] for line in table.lines]
        found += ['', *table_lines(table.headings, cells)]
    lines = filter(None, (table.more, table.hint, table.left_alone))
    return '\n'.join([*found, *lines, *(f'! {note}' for note in table.notes)])


def cleaning_html(cleaning: Cleaning) -> str:
    """What can be removed, as an HTML fragment."""
    return render_template('cleaning.html', table=_cleaning_table(cleaning))


def _cleaning_table(cleaning: Cleaning) -> _CleaningTable:
    left = len(cleaning.items) - MAX_ROWS
    others = [item.run.notebook for item in cleaning.items if item.run is not None]
    names = short_names(others) if set(others) - {current_notebook()} else {}
    notes = [one_line(note, 300) for note in cleaning.notes[:_MOST_NOTES]]
    if len(cleaning.notes) > _MOST_NOTES:
        notes.append(f'{len(cleaning.notes) - _MOST_NOTES:,} more notes')
    return _CleaningTable(
        heading=_cleaning_heading(cleaning),
        workspace=one_line(cleaning.workspace, 300),
        headings=_CLEANING_HEADINGS if names else _CLEANING_HEADINGS[:-1],
        lines=tuple(_cleaning_line(item, names) for item in cleaning.items[:MAX_ROWS]),
        more=f'… {left:,} more, {size_text(sum(item.size for item in cleaning.items[MAX_ROWS:]))}' if left > 0 else '',
        hint=''
        if cleaning.removed or not cleaning.items
        else 'Nothing has been removed yet: call remove(), or add --remove.',
        left_alone=_left_alone(cleaning.left_alone),
        notes=tuple(notes),
    )


def _left_alone(found: Sequence[LeftAlone]) -> str:
    """Whose results are left alone, in one line; '' for none."""
    names = short_names(item.notebook for item in found)
    made = [f'{counted(item.made, "result")} of {names[item.notebook]}' for item in found if item.made]
    used = [f'{counted(item.used, "result")} that {names[item.notebook]} uses' for item in found if item.used]
    parts = [one_line(part, 100) for part in (*made, *used)]
    if not parts:
        return ''
    if len(parts) > _MOST_MAKERS:
        parts = [*parts[:_MOST_MAKERS], 'more']
    *others, last = parts
    whose = f'{", ".join(others)} and {last}' if others else last
    verb = 'is' if sum(item.made + item.used for item in found) == 1 else 'are'
    return f'{whose} {verb} left alone: --all (everything=True) includes them'


def _cleaning_heading(cleaning: Cleaning) -> str:
    number = len(cleaning.items)
    if not number:
        return 'Nothing to remove'
    what = counted(number, 'entry')
    size = size_text(cleaning.size)
    return f'Removed {what}, {size}' if cleaning.removed else f'{what} can be removed, {size}'


def _cleaning_line(item: CleanItem, names: Mapping[str, str]) -> _CleaningLine:
    look, run = _ITEM_LOOKS[item.kind], item.run
    if run is None:
        name = counted(len(item.files), 'file') if item.kind == 'code' else one_line(item.files[0].path, 80)
        return _CleaningLine(look, _slug(look), name, '', '', size_text(item.size), '')
    given = list(run.parameters.items())[:30]
    parameters = ', '.join(f'{one_line(name, 60)}={abbreviated(text)}' for name, text in given)
    shown = run.result_id if item.kind == 'superseded' else run.unique_id
    return _CleaningLine(
        look,
        _slug(look),
        f'{one_line(run.task, 80)}[{short_id(shown)}]',
        one_line(parameters, 60),
        _time_text(run),
        size_text(item.size),
        one_line(names.get(run.notebook, ''), 80),
    )


def _slug(look: Look) -> str:
    return 'not-needed' if look.word == 'unused source' else look.slug


# ----- differences ----------------------------------------------------------------------------------------------------

#: What the lines of a difference begin with, and the state whose colour they take.
_DIFF_SLUGS = {'+': 'done', '-': 'failed', '@': 'not-needed'}


@dataclass(frozen=True, slots=True)
class DiffLine:
    """One line of a difference, and the class of its colour."""

    text: str
    slug: str


def diff_line(text: str) -> DiffLine:
    """A line of a difference; its first character says whether it was added, removed or is a heading."""
    return DiffLine(text, _DIFF_SLUGS.get(text[:1], ''))


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
class _DifferenceShown:
    heading: str
    sides: tuple[str, str]
    parts: tuple[_Part, ...]
    same: str


def difference_text(difference: Difference) -> str:
    """The difference as text."""
    shown = _difference_shown(difference)
    found = [shown.heading, *shown.sides]
    for part in shown.parts:
        found += ['', f'{part.name}: {part.word}', *(f'  {line}' for line in part.changes)]
        for name, lines in part.diffs:
            found += [f'  {name}', *(f'    {line.text}' for line in lines)]
        found += [f'  {part.note}'] if part.note else []
    return '\n'.join([*found, *(['', shown.same] if shown.same else [])])


def difference_html(difference: Difference) -> str:
    """The difference as an HTML fragment."""
    return render_template('difference.html', shown=_difference_shown(difference))


def _difference_shown(difference: Difference) -> _DifferenceShown:
    named = [section.name for section in difference.sections if section.differs is False and section.name != 'run']
    parts = [
        _part(section)
        for section in difference.sections
        if difference.all or section.differs or (section.differs is None and section.note)
    ]
    words = ', '.join(difference.differing)
    return _DifferenceShown(
        heading=f'Differences in {words}' if words else 'No known differences',
        sides=(f'− {_side(difference.before)}', f'+ {_side(difference.after)}'),
        parts=tuple(parts),
        same=f'the same: {", ".join(named)}' if named and not difference.all else '',
    )


def _side(run: Run) -> str:
    when = f' of {_time_text(run)}' if run.when else ''
    replaced = ', superseded' if run.state is RunState.SUPERSEDED else ''
    result = f', result {run.result_id}' if run.result_id else ''
    return one_line(f'{run.task}[{run.unique_id[:8]}]{result}{when}{replaced}', 200)


def _part(section: Section) -> _Part:
    lines = [_change_line(change) for change in section.changes[:_MOST_CHANGES]]
    if len(section.changes) > _MOST_CHANGES:
        lines.append(f'… {len(section.changes) - _MOST_CHANGES:,} more')
    word = {True: 'differs', False: 'the same', None: 'unknown'}[section.differs]
    diffs = tuple((one_line(item.name, 200), _lines(item.diff)) for item in section.diffs)
    return _Part(section.name, word, tuple(lines), diffs, one_line(section.note, 300))


def _change_line(change: Change) -> str:
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


# ----- explanations ---------------------------------------------------------------------------------------------------

_MOST_SHOWN = 40
_MOST_DIFF_LINES = 80
_MOST_PARTS = 12
_MOST_NODES = 3


@dataclass(frozen=True, slots=True)
class _Shown:
    """One explanation, fit to be shown: the state's look, which tasks and why, and what differs."""

    look: Look
    tasks: str
    reason: str
    details: tuple[str, ...]
    changes: tuple[str, ...]
    code: tuple[tuple[str, tuple[DiffLine, ...]], ...]


def why_text(why: Why) -> str:
    """The reasons as text."""
    found = [_why_heading(why)]
    for shown in _why_shown(why):
        found += ['', f'{shown.look} {shown.tasks}: {shown.reason}']
        found += [f'  {line}' for line in (*shown.details, *shown.changes)]
        for name, diff in shown.code:
            found += [f'  {name}:', *(f'    {line.text}'.rstrip() for line in diff)]
    rest = [*filter(None, (_why_more(why), *_returned(why)))]
    return '\n'.join([*found, *([''] if rest else []), *rest])


def why_html(why: Why) -> str:
    """The reasons as an HTML fragment."""
    return render_template(
        'why.html', heading=_why_heading(why), shown=[*_why_shown(why)], more=_why_more(why), returned=_returned(why)
    )


def _why_heading(why: Why) -> str:
    title = words.title(why.plan.root)
    return f'Reasons for {title}: {words.will_run(why.plan)}' + ('' if len(why) else ', nothing is stale')


def _why_more(why: Why) -> str:
    left = len(why) - _MOST_SHOWN
    return f'… {left:,} more reasons' if left > 0 else ''


def _returned(why: Why) -> list[str]:
    found = [one_line(line, 400) for line in why.returned[:_MOST_SHOWN]]
    left = len(why.returned) - _MOST_SHOWN
    return [*found, f'… {left:,} more that have come back'] if left > 0 else found


def _why_shown(why: Why) -> Iterator[_Shown]:
    for explanation in why.explanations[:_MOST_SHOWN]:
        yield _Shown(
            look(explanation.nodes[0].state),
            _tasks(explanation.nodes),
            one_line(explanation.reason, 300),
            tuple(one_line(line, 400) for line in explanation.details),
            tuple(_changes(explanation)),
            tuple(_code(explanation.code)),
        )


def _tasks(nodes: Sequence[Node]) -> str:
    names = ', '.join(words.title(node) for node in nodes[:_MOST_NODES])
    more = len(nodes) - _MOST_NODES
    return names + (f' and {more:,} more' if more > 0 else '')


def _changes(explanation: Explanation) -> Iterator[str]:
    for change in explanation.parameters:
        yield one_line(f'{change.name}: {cut(change.before, 100)} → {cut(change.now, 100)}', 260)


def _code(changes: Sequence[CodeChange]) -> Iterator[tuple[str, tuple[DiffLine, ...]]]:
    for change in changes[:_MOST_PARTS]:
        yield one_line(change.name, 120), tuple(_diff_lines(change.diff))
    if len(changes) > _MOST_PARTS:
        yield f'… {len(changes) - _MOST_PARTS:,} more parts of the code', ()


def _diff_lines(diff: Sequence[str]) -> Iterator[DiffLine]:
    kept = [line for line in diff if not line.startswith(('--- ', '+++ '))]
    for line in several_lines('\n'.join(kept), 20_000, _MOST_DIFF_LINES).split('\n'):
        yield diff_line(cut(line, 400))
