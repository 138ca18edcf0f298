"""Log lines as text and as HTML: the last of them, and the files that hold all."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from kartnb.events import TaskState
from kartnb.execution.log_lines import TaskLine
from kartnb.execution.logs import Logs
from kartnb.view import clean, told
from kartnb.view.clean import ELLIPSIS, one_line, short_id
from kartnb.view.states import look

#: Lines and characters of them that are shown; a saved notebook keeps all that is shown.
MOST_LINES = 200
MOST_CHARACTERS = 40_000
_LONGEST = 2_000
_MOST_FILES = 5
#: The state whose colour a level takes, by the first letter that the terminal shows.
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


def rows(logs: Logs, most: int = MOST_LINES, room: int = MOST_CHARACTERS) -> list[LogRow]:
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
    level = told.level_name(line.level) if line.source == 'log' else 'stderr' if line.source == 'stderr' else ''
    state = _STATE_OF_LEVEL.get(level)
    return LogRow(
        clock=_clock(line.time),
        task=f'{one_line(line.task, 60)}[{short_id(line.unique_id)}]' if several else '',
        level=level,
        slug=look(state).slug if state else '',
        text=f'{ELLIPSIS} {line.text}' if line.source == 'left out' else clean.lines(line.text, _LONGEST, 40),
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


def heading(title: str, found: Totals) -> str:
    """Whose lines these are, how many, and how many of them are warnings and errors."""
    numbers = {'line': found.lines, 'error': found.errors, 'warning': found.warnings}
    said = [
        f'{number:,} {name}{"" if number == 1 else "s"}' for name, number in numbers.items() if number or name == 'line'
    ]
    return f'Log of {one_line(title, 160)}: {", ".join(said)}'


def logs_text(logs: Logs) -> str:
    """The lines as text."""
    return '\n'.join(_text_lines(logs, coloured=False))


def logs_coloured(logs: Logs) -> str:
    """The lines as text for a terminal, with colours by level."""
    return '\n'.join(_text_lines(logs, coloured=True))


def _text_lines(logs: Logs, coloured: bool) -> list[str]:
    shown = rows(logs)
    head = heading(logs.title, totals(logs))
    return [head, *_omitted(logs, shown), *(_text(row, coloured) for row in shown), *_files(logs)]


def _text(row: LogRow, coloured: bool) -> str:
    head = '  '.join(part for part in (row.clock, row.task, row.level) if part)
    text = row.text.replace('\n', '\n' + ' ' * (len(row.clock) + 2))
    if coloured and row.level in _ANSI:
        return f'\x1b[{_ANSI[row.level]}m{head}  {text}\x1b[0m'
    return f'{head}  {text}'


def logs_html(logs: Logs) -> str:
    """The lines as an HTML fragment."""
    from kartnb.view.html import render_template

    shown = rows(logs)
    return render_template(
        'logs.html',
        heading=heading(logs.title, totals(logs)),
        omitted=_omitted(logs, shown),
        rows=shown,
        files=_files(logs),
    )


def earlier(number: int) -> str:
    """What is said of lines that are not shown; '' where there are none."""
    return f'{ELLIPSIS} {number:,} earlier line{"" if number == 1 else "s"}' if number > 0 else ''


def file_lines(logs: Logs, many: int = _MOST_FILES) -> list[str]:
    """The files with all lines; of very many some."""
    paths = list(logs.files.values())
    found = [one_line(path, 300) for path in paths[:many]]
    if len(paths) > many:
        found.append(f'{ELLIPSIS} and {len(paths) - many:,} more files beside them')
    return found


def _omitted(logs: Logs, shown: Sequence[LogRow]) -> list[str]:
    words = earlier(len(logs) - len(shown))
    return [words] if words else []


def _files(logs: Logs) -> list[str]:
    found = [file if file.startswith(ELLIPSIS) else f'in full: {file}' for file in file_lines(logs)]
    return found or ([] if logs else ['Nothing was printed or logged.'])
