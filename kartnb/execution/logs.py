"""`kartnb.logs`: what tasks have printed and logged, of one task or of a whole build."""

from __future__ import annotations

import heapq
import logging
import os
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, overload

import luigi

from kartnb import display
from kartnb.errors import FilterError
from kartnb.execution.options import log_level_named
from kartnb.execution.subjects import Subject, build_id_of, plan_of
from kartnb.records.shelf import Shelf, captured_path
from kartnb.storage.captured_logs import CapturedLine, Source, read_build_id
from kartnb.task.base import TaskOnKart

if TYPE_CHECKING:
    import pandas


@dataclass(frozen=True, slots=True)
class TaskLine:
    """One thing that a task printed or logged.

    Attributes
    ----------
    time
        In seconds since the epoch.
    task, unique_id
        Whose it is.
    source
        'stdout', 'stderr', 'log', or 'left out' for the words that stand in the place of too many lines.
    level, logger
        Of a logged line; 0 and '' otherwise.
    text
        One printed line, or the whole text of a logged one.
    """

    time: float
    task: str
    unique_id: str
    source: Source
    level: int
    logger: str
    text: str


class Logs(Sequence[TaskLine]):
    """Lines in the order of time, what `kartnb.logs` gives: evaluate it in a notebook, or print it.

    Attributes
    ----------
    title
        Whose lines these are.
    files
        The files that hold all lines, by the key of the task.
    """

    def __init__(self, title: str, lines: Iterable[TaskLine], files: dict[str, str]) -> None:
        self.title = title
        self.files = files
        self._lines = tuple(lines)

    def __len__(self) -> int:
        return len(self._lines)

    def __iter__(self) -> Iterator[TaskLine]:
        return iter(self._lines)

    @overload
    def __getitem__(self, index: int) -> TaskLine: ...
    @overload
    def __getitem__(self, index: slice) -> Logs: ...
    def __getitem__(self, index: int | slice) -> TaskLine | Logs:
        if isinstance(index, slice):
            return Logs(self.title, self._lines[index], self.files)
        return self._lines[index]

    def filter(self, *, level: int | str = 0, grep: str = '', task: str = '') -> Logs:
        """Those lines for which all that is given holds.

        Parameters
        ----------
        level
            A level by number or name: lines of this level and above. What is printed counts as INFO.
        grep
            A regular expression that the text holds, in upper or lower case.
        task
            The class name, or the beginning of the unique id.

        Raises
        ------
        FilterError
            When there is no such level, or `grep` is no regular expression.
        """
        least, wanted = _level(level), _expression(grep)
        return Logs(
            self.title,
            (
                line
                for line in self._lines
                if (_weight(line) >= least and wanted.search(line.text) and _is_of(line, task))
            ),
            self.files,
        )

    def to_dataframe(self) -> pandas.DataFrame:
        """The lines as a pandas data frame: time (local), task, unique_id, source, level, logger, text."""
        import pandas

        columns = ['time', 'task', 'unique_id', 'source', 'level', 'logger', 'text']
        rows = [
            (datetime.fromtimestamp(line.time), *(getattr(line, name) for name in columns[1:])) for line in self._lines
        ]
        return pandas.DataFrame(rows, columns=columns).astype({'time': 'datetime64[ns]'})

    def __repr__(self) -> str:
        return display.render(self, 'text')

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        coloured = sys.stdout.isatty() and not os.environ.get('NO_COLOR')
        printer.text(display.render(self, 'terminal' if coloured else 'text'))

    def _repr_html_(self) -> str:
        return display.render(self, 'html')


def logs(subject: Subject, *, level: int | str = 0, grep: str = '') -> Logs:
    """What a task printed and logged when it last ran, or the lines of all tasks of a build in the order of time.

    Parameters
    ----------
    subject
        A task, for its own lines. A plan, for the latest lines of all its tasks. A build (the handle of one in the
        background, a report, or the error of a failed one), for the lines of that build.
    level, grep
        See `Logs.filter`.

    Returns
    -------
    Logs
        The lines, and the files that hold them.

    Raises
    ------
    TaskArgumentError
        When `subject` is none of these.
    FilterError
        When there is no such level, or `grep` is no regular expression.

    Examples
    --------
    >>> import kartnb, tempfile
    >>> class Greeting(kartnb.TaskOnKart):
    ...     def run(self):
    ...         print('good morning')
    ...         self.dump('Hello!')
    >>> task = Greeting(workspace_directory=tempfile.mkdtemp())
    >>> kartnb.build(task)
    good morning
    'Hello!'
    >>> [line.text for line in kartnb.logs(task)]
    ['good morning']
    """
    if isinstance(subject, luigi.Task):
        title, owners = type(subject).__name__, [_owner(subject)]
    else:
        plan, build = plan_of(subject), build_id_of(subject)
        title, owners = f'{"build" if build else "tasks"} of {plan.root.name}', [_owner(node.task) for node in plan]
    shelf, files, found = Shelf(), {}, []
    for owner in owners:
        lines = _lines_of(owner.task, shelf, build_id_of(subject))
        if lines:
            files[f'{owner.name}_{owner.unique_id}'] = captured_path(owner.task)
            found.append([_told(line, owner) for line in lines])
    return Logs(title, heapq.merge(*found, key=lambda line: line.time), files).filter(level=level, grep=grep)


@dataclass(frozen=True, slots=True)
class _Owner:
    task: Any
    name: str
    unique_id: str


def _owner(task: luigi.Task) -> _Owner:
    unique_id = task.make_unique_id() if isinstance(task, TaskOnKart) else task.task_id
    return _Owner(task, type(task).__name__, unique_id)


def _lines_of(task: luigi.Task, shelf: Shelf, build_id: str) -> list[CapturedLine]:
    if not isinstance(task, TaskOnKart):
        return []
    lines = shelf.captured(task)
    return lines if lines and (not build_id or read_build_id(captured_path(task)) == build_id) else []


def _told(line: CapturedLine, owner: _Owner) -> TaskLine:
    return TaskLine(line.time, owner.name, owner.unique_id, line.source, line.level, line.logger, line.text)


def _weight(line: TaskLine) -> int:
    if line.source == 'left out':
        return logging.CRITICAL
    return line.level if line.source == 'log' else logging.INFO


def _is_of(line: TaskLine, task: str) -> bool:
    return not task or line.task == task or line.unique_id.startswith(task)


def _level(level: int | str) -> int:
    if isinstance(level, int):
        return level
    try:
        return log_level_named(level)
    except ValueError as error:
        raise FilterError(str(error)) from error


def _expression(grep: str) -> re.Pattern[str]:
    try:
        return re.compile(grep, re.IGNORECASE)
    except re.error as error:
        raise FilterError(
            f'{grep!r:.100} is no regular expression ({error}): write \\ before a special character.'
        ) from error
