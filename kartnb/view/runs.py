"""The history of a workspace as text and HTML; both say what `_Table` holds."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from kartnb.events import TaskState
from kartnb.history.runs import Run, Runs, RunState, versions_text
from kartnb.view.clean import abbreviated, cut, one_line, seconds_text, short_id
from kartnb.view.states import LOOKS, SUPERSEDED, Look
from kartnb.view.text import table_lines
from kartnb.view.told import size_text

MAX_ROWS = 50
_MOST_PROBLEMS = 5
_MOST_PARAMETERS = 40
HEADINGS = ('#', 'state', 'task', 'parameters', 'ended', 'took', 'size')
RUN_LOOKS: dict[RunState, Look] = {
    RunState.CACHED: LOOKS[TaskState.CACHED],
    RunState.MISSING: LOOKS[TaskState.MISSING],
    RunState.FAILED: LOOKS[TaskState.FAILED],
    RunState.INTERRUPTED: LOOKS[TaskState.INTERRUPTED],
    RunState.SUPERSEDED: SUPERSEDED,
}


@dataclass(frozen=True, slots=True)
class Line:
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
class _Table:
    heading: str
    counts: tuple[tuple[Look, str], ...]
    workspace: str
    lines: tuple[Line, ...]
    more: str
    problems: tuple[str, ...]


def runs_text(runs: Runs) -> str:
    """The table as text."""
    table = _table(runs)
    counts = ', '.join(f'{look.glyph} {told}' for look, told in table.counts)
    found = [f'{table.heading}: {counts}' if counts else table.heading, f'workspace: {table.workspace}']
    if table.lines:
        found += ['', *_rows(table.lines)]
    return '\n'.join([*found, *([table.more] if table.more else []), *(f'! {text}' for text in table.problems)])


def runs_html(runs: Runs) -> str:
    """The table as an HTML fragment."""
    from kartnb.view.html import render_template

    return render_template('runs.html', table=_table(runs), headings=HEADINGS)


def _rows(lines: tuple[Line, ...]) -> list[str]:
    cells = [
        (line.number, str(line.look), line.task, cut(line.parameters, 60), line.when, line.seconds, line.size)
        for line in lines
    ]
    notes = ['', *(line.note for line in lines)]
    rows = zip(table_lines(HEADINGS, cells), notes, strict=True)
    return [text for row, note in rows for text in ([row, f'   {note}'] if note else [row])]


def _table(runs: Runs) -> _Table:
    shown = runs[:MAX_ROWS]
    counted = Counter(run.state for run in runs)
    left = runs.total - len(shown)
    problems = [one_line(text, 300) for text in runs.problems[:_MOST_PROBLEMS]]
    if len(runs.problems) > _MOST_PROBLEMS:
        problems.append(f'{len(runs.problems) - _MOST_PROBLEMS:,} more files could not be read')
    return _Table(
        heading=_heading(runs),
        counts=tuple((RUN_LOOKS[s], f'{counted[s]:,} {RUN_LOOKS[s].word}') for s in RunState if counted[s]),
        workspace=one_line(runs.workspace, 300),
        lines=tuple(_line(number, run) for number, run in enumerate(shown)),
        more=f'… {left:,} more: to_dataframe() has them, and filter() chooses among them' if left > 0 else '',
        problems=tuple(problems),
    )


def _heading(runs: Runs) -> str:
    if not runs.total:
        return 'No recorded results'
    told = '1 recorded result' if runs.total == 1 else f'{runs.total:,} recorded results'
    return told if len(runs) == runs.total else f'{len(runs):,} of {told}'


def _line(number: int, run: Run) -> Line:
    given = list(run.parameters.items())[:_MOST_PARAMETERS]
    short = ', '.join(f'{one_line(name, 60)}={abbreviated(text)}' for name, text in given)
    full = ', '.join(f'{name}={text[:200]}' for name, text in given)
    who = [run.module, run.unique_id, run.result_id]
    facts = [*who, versions_text(run), run.host, run.notebook, full, *run.outputs[:3]]
    return Line(
        number=str(number),
        look=RUN_LOOKS[run.state],
        task=f'{one_line(run.task, 80)}[{short_id(run.result_id if run.state == "superseded" else run.unique_id)}]',
        parameters=one_line(short, 160),
        when=run.when.astimezone().strftime('%Y-%m-%d %H:%M:%S') if run.when else '',
        seconds='' if run.seconds is None else seconds_text(run.seconds),
        size='' if run.size is None else size_text(run.size),
        note=one_line(run.error, 200),
        tooltip=' · '.join(one_line(fact, 300) for fact in facts if fact),
    )
