"""Logs, outputs, and the progress of a running build, as text and HTML: what a widget keeps up to date.

Everything is a function of what is passed in, so that a front end may draw as rarely or as often as it likes. Nothing
here lays out a graph.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from kartnb.inspection.logs import Logs, TaskLine
from kartnb.inspection.outputs import Output, Outputs
from kartnb.model import BuildProgress, BuildStatus, Node, TaskState
from kartnb.view import sanitise, words
from kartnb.view.html import render_template
from kartnb.view.sanitise import ELLIPSIS, counted, one_line, seconds_text, several_lines, short_id, size_text
from kartnb.view.text import table_lines
from kartnb.view.words import Look, count_states, counts_text, look, title, will_run_text
from kartnb.view.words import workspace as workspace_of

#: Lines and characters of them that are shown; a saved notebook keeps all that is shown.
MOST_LINES = 200
MOST_CHARACTERS = 40_000
_LONGEST = 2_000
_MOST_FILES = 5
#: The state whose colour a level takes.
_STATE_OF_LEVEL = {
    'CRITICAL': TaskState.FAILED,
    'ERROR': TaskState.FAILED,
    'WARNING': TaskState.STALE,
    'DEBUG': TaskState.NOT_NEEDED,
}
_ANSI = {'CRITICAL': '31;1', 'ERROR': '31', 'WARNING': '33', 'DEBUG': '2'}


@dataclass(frozen=True, slots=True)
class LogRow:
    """One line; every text is fit to be shown."""

    clock: str
    task: str
    level: str
    slug: str
    text: str


def log_rows(logs: Logs, most: int = MOST_LINES, room: int = MOST_CHARACTERS) -> list[LogRow]:
    """The last lines."""
    several = len(logs.files) > 1
    found: list[LogRow] = []
    for line in reversed(logs[-most:]):
        row = row_of(line, several)
        room -= len(row.text) + 20
        if room < 0 and found:
            break
        found.append(row)
    return found[::-1]


def row_of(line: TaskLine, several: bool) -> LogRow:
    """A line as it is shown; where there are lines of several tasks, with the task."""
    level = sanitise.level_name(line.level) if line.source == 'log' else 'stderr' if line.source == 'stderr' else ''
    state = _STATE_OF_LEVEL.get(level)
    return LogRow(
        clock=_clock(line.time),
        task=f'{one_line(line.task, 60)}[{short_id(line.unique_id)}]' if several else '',
        level=level,
        slug=look(state).slug if state else '',
        text=f'{ELLIPSIS} {line.text}' if line.source == 'left out' else several_lines(line.text, _LONGEST, 40),
    )


def _clock(seconds: float) -> str:
    try:
        return datetime.fromtimestamp(seconds).strftime('%H:%M:%S')
    except (ValueError, OverflowError, OSError):
        return '--:--:--'


@dataclass(frozen=True, slots=True)
class Totals:
    """How many lines there are, and how many of them are warnings and errors."""

    lines: int = 0
    errors: int = 0
    warnings: int = 0

    def with_line(self, line: TaskLine) -> Totals:
        """The same with one line more."""
        is_logged = line.source == 'log' and line.level >= logging.WARNING
        is_error = is_logged and line.level >= logging.ERROR
        return Totals(self.lines + 1, self.errors + is_error, self.warnings + (is_logged and not is_error))


def totals(logs: Logs) -> Totals:
    """The totals of lines."""
    found = Totals()
    for line in logs:
        found = found.with_line(line)
    return found


def logs_heading(title: str, found: Totals) -> str:
    """Whose lines these are, how many, and how many of them are warnings and errors."""
    numbers = {'line': found.lines, 'error': found.errors, 'warning': found.warnings}
    parts = [counted(number, name) for name, number in numbers.items() if number or name == 'line']
    return f'Log of {one_line(title, 160)}: {", ".join(parts)}'


def logs_text(logs: Logs) -> str:
    """The lines as text."""
    return '\n'.join(_text_lines(logs, coloured=False))


def logs_coloured(logs: Logs) -> str:
    """The lines as text for a terminal, with colours by level."""
    return '\n'.join(_text_lines(logs, coloured=True))


def _text_lines(logs: Logs, coloured: bool) -> list[str]:
    shown = log_rows(logs)
    head = logs_heading(logs.title, totals(logs))
    return [head, *_omitted(logs, shown), *(_text(row, coloured) for row in shown), *_files(logs)]


def _text(row: LogRow, coloured: bool) -> str:
    head = '  '.join(part for part in (row.clock, row.task, row.level) if part)
    text = row.text.replace('\n', '\n' + ' ' * (len(row.clock) + 2))
    if coloured and row.level in _ANSI:
        return f'\x1b[{_ANSI[row.level]}m{head}  {text}\x1b[0m'
    return f'{head}  {text}'


def logs_html(logs: Logs) -> str:
    """The lines as an HTML fragment."""
    shown = log_rows(logs)
    return render_template(
        'logs.html',
        heading=logs_heading(logs.title, totals(logs)),
        omitted=_omitted(logs, shown),
        rows=shown,
        files=_files(logs),
    )


def earlier(number: int) -> str:
    """How many lines are not shown, in words; '' for none."""
    return f'{ELLIPSIS} {counted(number, "earlier line")}' if number > 0 else ''


def file_lines(logs: Logs, many: int = _MOST_FILES) -> list[str]:
    """The files with all lines; of very many some."""
    paths = list(logs.files.values())
    found = [one_line(path, 300) for path in paths[:many]]
    if len(paths) > many:
        found.append(f'{ELLIPSIS} and {len(paths) - many:,} more files in the same place')
    return found


def _omitted(logs: Logs, shown: Sequence[LogRow]) -> list[str]:
    words = earlier(len(logs) - len(shown))
    return [words] if words else []


def _files(logs: Logs) -> list[str]:
    found = [file if file.startswith(ELLIPSIS) else f'full log: {file}' for file in file_lines(logs)]
    return found or ([] if logs else ['Nothing was printed or logged.'])


MOST_ROWS = 200
_COLUMNS = ('state', 'task', 'parameters', 'id', 'format', 'size', 'modified', 'path')


@dataclass(frozen=True, slots=True)
class OutputRow:
    """One output; every text is fit to be shown."""

    look: Look
    task: str
    parameters: str
    unique_id: str
    short_id: str
    format: str
    size: str
    modified: str
    path: str


def output_rows(outputs: Sequence[Output], most: int = MOST_ROWS) -> list[OutputRow]:
    """The first outputs as rows."""
    return [_row(output) for output in outputs[:most]]


def _row(output: Output) -> OutputRow:
    return OutputRow(
        look=look(output.state),
        task=one_line(output.task, 120),
        parameters=words.listed(output.parameters, 160),
        unique_id=one_line(output.unique_id, 80),
        short_id=short_id(output.unique_id),
        format=one_line(output.format, 20),
        size='' if output.size is None else size_text(output.size),
        modified=output.modified.strftime('%Y-%m-%d %H:%M:%S') if output.modified else 'not created',
        path=one_line(output.path, 400),
    )


def row_dicts(outputs: Sequence[Output]) -> list[dict[str, Any]]:
    """Outputs as plain dicts, for a front end."""
    return [
        {
            'look': str(row.look),
            'slug': row.look.slug,
            'state': row.look.word,
            'task': row.task,
            'parameters': row.parameters,
            'id': row.short_id,
            'unique_id': row.unique_id,
            'format': row.format,
            'size': row.size,
            'bytes': output.size,
            'modified': row.modified,
            'exists': output.exists,
            'path': row.path,
            'place': output.path,
            'code': output.load_code,
        }
        for output, row in zip(outputs, output_rows(outputs, len(outputs)), strict=True)
    ]


def outputs_heading(outputs: Outputs) -> str:
    """How many outputs there are, and how large they are together."""
    size = size_text(sum(output.size or 0 for output in outputs))
    created = sum(output.exists for output in outputs)
    return f'{counted(len(outputs), "output")} of {title(outputs.plan.root)}: {created:,} created, {size}'


def outputs_text(outputs: Outputs) -> str:
    """Outputs as an aligned table."""
    shown = output_rows(outputs)
    found = [outputs_heading(outputs), f'workspace: {workspace_of(outputs.plan)}']
    if shown:
        cells = [(str(row.look), row.task, one_line(row.parameters, 40), row.short_id, *_file(row)) for row in shown]
        found += table_lines(_COLUMNS, cells, numeric=[name == 'size' for name in _COLUMNS])
    return '\n'.join([*found, *_left_out(outputs)])


def _file(row: OutputRow) -> tuple[str, ...]:
    return row.format, row.size, row.modified, row.path


def outputs_html(outputs: Outputs) -> str:
    """Outputs as an HTML fragment."""
    return render_template(
        'outputs.html',
        heading=outputs_heading(outputs),
        workspace=workspace_of(outputs.plan),
        columns=_COLUMNS,
        rows=output_rows(outputs),
        left_out=_left_out(outputs),
    )


def _left_out(outputs: Outputs) -> list[str]:
    rest = len(outputs) - MOST_ROWS
    return [f'… {rest:,} more: narrow them down with filter(…), or get all by to_dataframe()'] if rest > 0 else []


_MAX_NAMED = 2
_BAR_CELLS = 20
#: The segments of the bar from left to right.
_SEGMENTS = (
    TaskState.DONE,
    TaskState.CACHED,
    TaskState.NOT_NEEDED,
    TaskState.FAILED,
    TaskState.INTERRUPTED,
    TaskState.BLOCKED,
    TaskState.RUNNING,
)


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a build is, counting only the tasks to run.

    `finished` are the tasks that have ended, well or not. `running` has class names and seconds since the start, the
    longest running first. `remaining` is in seconds, None where unknown; `counts` has the most urgent state first;
    `starting` is the number of worker processes being started, which takes about `starting_seconds`; `waits` has a
    phrase for each process or build that has tasks of this one.
    """

    finished: int
    total: int
    running: tuple[tuple[str, float], ...]
    remaining: float | None
    counts: Mapping[TaskState, int]
    starting: int = 0
    waits: tuple[str, ...] = ()
    starting_seconds: float = 0.0

    @property
    def percentage(self) -> int:
        """The share of tasks that have ended, 0 to 100."""
        return 100 * self.finished // self.total if self.total else 100

    @property
    def words(self) -> str:
        """One line, as in ``'running 3/10 · Train (4 s) · about 12 s left'``."""
        if not self.total:
            return 'nothing to run'
        parts = [f'{"running" if self.finished < self.total else "finished"} {self.finished:,}/{self.total:,}']
        parts += [f'{one_line(name, 40)} ({_whole(seconds)})' for name, seconds in self.running[:_MAX_NAMED]]
        if self.starting and not self.running and self.finished < self.total:
            parts.append(starting_words(self.starting, self.starting_seconds))
        if len(self.running) > _MAX_NAMED:
            parts.append(f'{len(self.running) - _MAX_NAMED:,} more')
        parts += self.waits
        failed = {state: self.counts[state] for state in (TaskState.FAILED, TaskState.BLOCKED) if state in self.counts}
        if failed:
            parts.append(counts_text(failed))
        if self.remaining is not None:
            parts.append(f'about {_whole(max(self.remaining, 1.0))} left')
        return ' · '.join(parts)


def starting_words(number: int, seconds: float = 0.0) -> str:
    """What a build waits for while so many worker processes start, for about so many seconds; '' for none."""
    if not number:
        return ''
    words = 'starting a worker' if number == 1 else f'starting {number:,} workers'
    return f'{words}, about {_whole(seconds)}' if seconds >= 1 else words


def phase_words(now: BuildProgress, phase: str) -> str:
    """How far a build in some phase is, in words, as in ``'running 3/10'``."""
    share = f'{now.ended:,}/{now.total:,}'
    if phase == 'running' and not now.total:
        return 'nothing to run'
    if phase in ('running', 'stopping'):
        return f'{phase} {share}'
    if phase == 'plan':
        return will_run_text(now.total - now.conditional, now.conditional)
    if phase == 'stopped':
        return f'■ stopped after {now.counts.get(TaskState.DONE, 0):,}/{now.total:,}'
    return '✓ succeeded' if phase == 'done' else '✗ failed'


def progress(
    status: BuildStatus, now: float, expected: Mapping[str, float] | None = None, workers: int = 1
) -> Progress:
    """How far a build is at `now`, in seconds since the epoch.

    `expected` has the seconds that tasks took in earlier builds, by node key.
    """
    part = status.taking_part()
    spent = {node.key: _seconds_since_start(status, node, now) for node, state in part if state is TaskState.RUNNING}
    running = [(node.name, spent[node.key]) for node, state in part if state is TaskState.RUNNING]
    left = [node for node, _ in part if not status.has_ended(node)]
    return Progress(
        finished=len(part) - len(left),
        total=len(part),
        running=tuple(sorted(running, key=_longest)),
        remaining=_remaining(left, spent, _Expectation(status, expected or {}), workers),
        counts=count_states(state for _, state in part),
        starting=status.starting_workers,
        waits=tuple(words.waits_text(status.waits.copy().values(), now)),
        starting_seconds=status.starting_seconds,
    )


def _seconds_since_start(status: BuildStatus, node: Node, now: float) -> float:
    activity = status.activities.get(node.key)
    return 0.0 if activity is None else now - activity.started


def _longest(named: tuple[str, float]) -> float:
    return -named[1]


class _Expectation:
    """How long a task will probably take: what it took before, else what others of its class took, else the average."""

    def __init__(self, status: BuildStatus, expected: Mapping[str, float]) -> None:
        self._expected = expected
        by_class: dict[str, list[float]] = {}
        for key, activity in status.activities.copy().items():
            if activity.seconds is not None and status.plan is not None and key in status.plan:
                by_class.setdefault(status.plan[key].name, []).append(activity.seconds)
        self._by_class = {name: sum(seconds) / len(seconds) for name, seconds in by_class.items()}
        every = [seconds for found in by_class.values() for seconds in found]
        self._average = sum(every) / len(every) if every else None

    def seconds(self, node: Node) -> float | None:
        """The probable seconds of one task, or None."""
        if node.key in self._expected:
            return self._expected[node.key]
        return self._by_class.get(node.name, self._average)


def _remaining(
    left: Sequence[Node], spent: Mapping[str, float], expectation: _Expectation, workers: int
) -> float | None:
    total = longest = 0.0
    for node in left:
        seconds = expectation.seconds(node)
        if seconds is None:
            return None
        if node.key in spent:
            seconds = max(seconds - spent[node.key], 0.0)
        total += seconds
        longest = max(longest, seconds)
    return max(total / max(workers, 1), longest) if total else None


def _whole(seconds: float) -> str:
    if seconds < 1:
        return 'under 1 s'
    return f'{round(seconds)} s' if round(seconds) < 60 else seconds_text(seconds)


def progress_text(state: Progress) -> str:
    """One line with a bar, for a terminal that overwrites it."""
    filled = _BAR_CELLS * state.finished // state.total if state.total else _BAR_CELLS
    return f'[{"█" * filled}{"·" * (_BAR_CELLS - filled)}] {state.words}'


def progress_html(state: Progress, changes: Sequence[str] = ()) -> str:
    """The same as a bar with one segment per state, named for screen readers; above it, what changes make run."""
    return render_template('progress.html', progress=state, segments=bar_segments(state), changes=changes)


def bar_segments(state: Progress) -> list[tuple[str, float, str]]:
    """The parts of the bar: the name of the state, its share in percent, and what it says."""
    return [
        (look(s).slug, round(100 * state.counts[s] / state.total, 2), f'{state.counts[s]:,} {look(s).word}')
        for s in _SEGMENTS
        if s in state.counts
    ]
