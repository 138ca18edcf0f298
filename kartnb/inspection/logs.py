"""`kartnb.logs`: what tasks have printed and logged, of one task or of a whole build."""

from __future__ import annotations

import heapq
import logging
import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, overload

import luigi

from kartnb import display
from kartnb.config import log_level_named
from kartnb.errors import FilterError
from kartnb.execution.background import BackgroundBuild, OutputEvent, Subject, build_id_of, plan_of, running_builds
from kartnb.history.log_store import LogStore, captured_path
from kartnb.history.run_record import iso_seconds
from kartnb.model import LogLine
from kartnb.storage.places import Source, read_build_id
from kartnb.task.base import TaskOnKart

if TYPE_CHECKING:
    import pandas

logger = logging.getLogger('kartnb')


@dataclass(frozen=True, slots=True)
class TaskLine:
    """One printed line, or the whole text of one log message, of a task."""

    #: In seconds since the epoch.
    time: float
    task: str
    unique_id: str
    #: 'left out' is the note that stands for lines that were too many.
    source: Source
    #: This and `logger` are of a log message; 0 and '' otherwise.
    level: int
    logger: str
    text: str

    @property
    def weight(self) -> int:
        """The level that it counts as: what is printed counts as INFO."""
        if self.source == 'left out':
            return logging.CRITICAL
        return self.level if self.source == 'log' else logging.INFO


@dataclass(frozen=True, slots=True)
class _Filter:
    """What a line must have."""

    level: int
    grep: re.Pattern[str]
    task: str

    def matches(self, line: TaskLine) -> bool:
        wanted = not self.task or line.task == self.task or line.unique_id.startswith(self.task)
        return wanted and line.weight >= self.level and self.grep.search(line.text) is not None


@dataclass(frozen=True, slots=True)
class _Owner:
    """A task that has lines."""

    task: Any
    name: str
    unique_id: str


@dataclass(frozen=True, slots=True)
class _Origin:
    """Where lines come from and which are wanted, so that they can be read once more.

    `owners` are the tasks by their key in plans and events; `build` goes on, so that more lines will come, or is None.
    """

    subject: Subject
    owners: Mapping[str, _Owner]
    build: BackgroundBuild | None
    filters: tuple[_Filter, ...] = ()


class Logs(display.Displayed, Sequence[TaskLine]):
    """Lines in the order of time, what `kartnb.logs` gives: evaluate it in a notebook, or print it.

    In a notebook they can be filtered on the page, and those of a build that goes on in the background keep coming.

    Attributes
    ----------
    title
        Whose lines these are.
    files
        The files that hold all lines, by the key of the task.
    """

    def __init__(
        self, title: str, lines: Iterable[TaskLine], files: dict[str, str], _origin: _Origin | None = None
    ) -> None:
        self.title = title
        self.files = files
        self._lines = tuple(lines)
        self._origin = _origin

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
        """The lines that match all that is given.

        Parameters
        ----------
        level
            A level by number or name: lines of this level and above. What is printed counts as INFO.
        grep
            A regular expression to be found in the text, in upper or lower case.
        task
            The class name, or the beginning of the unique id.

        Raises
        ------
        FilterError
            When the level is unknown, or `grep` is not a regular expression.
        """
        return self._filtered(_Filter(_level(level), _expression(grep), task))

    def refresh(self) -> Logs:
        """The same lines, read again: for instance while a build in the background goes on."""
        if self._origin is None:
            return self
        found = _read(self._origin.subject)
        for wanted in self._origin.filters:
            found = found._filtered(wanted)
        return found

    @property
    def build(self) -> BackgroundBuild | None:
        """The build in the background from which more lines will come, or None."""
        build = None if self._origin is None else self._origin.build
        return None if build is None or build.done() else build

    def lines_of(self, event: OutputEvent) -> list[TaskLine]:
        """What of an event of that build belongs here."""
        if self._origin is None or event.key not in self._origin.owners:
            return []
        owner, filters = self._origin.owners[event.key], self._origin.filters
        return [line for line in _event_lines(event, owner) if all(wanted.matches(line) for wanted in filters)]

    def to_dataframe(self) -> pandas.DataFrame:
        """The lines as a pandas data frame: time (local), task, unique_id, source, level, logger, text."""
        import pandas

        columns = ['time', 'task', 'unique_id', 'source', 'level', 'logger', 'text']
        rows = [
            (datetime.fromtimestamp(line.time), *(getattr(line, name) for name in columns[1:])) for line in self._lines
        ]
        return pandas.DataFrame(rows, columns=columns).astype({'time': 'datetime64[ns]'})

    def _filtered(self, wanted: _Filter) -> Logs:
        origin = self._origin
        if origin is not None:
            origin = replace(origin, filters=(*origin.filters, wanted))
        return Logs(self.title, filter(wanted.matches, self._lines), self.files, origin)

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        coloured = sys.stdout.isatty() and not os.environ.get('NO_COLOR')
        printer.text(display.render(self, 'terminal' if coloured else 'text'))

    def _ipython_display_(self) -> None:
        display.show_live(self)


def logs(subject: Subject, *, level: int | str = 0, grep: str = '') -> Logs:
    """What a task printed and logged when it last ran, or the lines of all tasks of a build in the order of time.

    The last line of a run that failed is its error.

    Parameters
    ----------
    subject
        A task, for its own lines. A plan, for the latest lines of all its tasks. A build (the handle of one in the
        background, a report, or the error of a failed one), for the lines of that build. Lines that a task of a
        build in the background has so far are there too.
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
        When the level is unknown, or `grep` is not a regular expression.

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
    return _read(subject).filter(level=level, grep=grep)


def _read(subject: Subject) -> Logs:
    """All lines of a task, of the tasks of a plan, or of a build, in the order of time."""
    build_id = build_id_of(subject)
    title, owners = _owners_of(subject)
    build = _running_build(subject, owners)
    heard = {} if build is None else _heard_lines(build, owners)
    store, files, found = LogStore(), {}, []
    for key, owner in owners.items():
        of_build = build_id or (build.build_id if build is not None and key in heard else '')
        # the file of a running task is written when it ends: until then its lines are those that the build has heard
        lines = _kept_lines(owner, store, of_build)
        if lines:
            files[f'{owner.name}_{owner.unique_id}'] = captured_path(owner.task)
        found.append([*(lines or heard.get(key, [])), *_failure(owner, store, of_build)])
    merged = heapq.merge(*found, key=lambda line: line.time)
    return Logs(title, merged, files, _Origin(subject, owners, build))


def _owners_of(subject: Subject) -> tuple[str, dict[str, _Owner]]:
    if isinstance(subject, luigi.Task):
        unique_id = subject.make_unique_id() if isinstance(subject, TaskOnKart) else subject.task_id
        name = type(subject).__name__
        return name, {f'{name}_{unique_id}': _Owner(subject, name, unique_id)}
    plan = plan_of(subject)
    owners = {node.key: _Owner(node.task, node.name, node.unique_id) for node in plan}
    return f'{"build" if build_id_of(subject) else "tasks"} of {plan.root.name}', owners


def _running_build(subject: Subject, owners: Mapping[str, _Owner]) -> BackgroundBuild | None:
    """The build that more lines will come from: the one that was asked about, or one that has the task in it."""
    if isinstance(subject, BackgroundBuild):
        return None if subject.done() else subject
    if build_id_of(subject):
        return None
    # a plan has its root last
    root = list(owners)[-1]
    return next((build for build in running_builds() if root in build.plan), None)


def _heard_lines(build: BackgroundBuild, owners: Mapping[str, _Owner]) -> dict[str, list[TaskLine]]:
    found: dict[str, list[TaskLine]] = {}
    for event in build.heard():
        if event.key in owners:
            found.setdefault(event.key, []).extend(_event_lines(event, owners[event.key]))
    return found


def _event_lines(event: OutputEvent, owner: _Owner) -> Iterator[TaskLine]:
    if isinstance(event, LogLine):
        yield TaskLine(event.time, owner.name, owner.unique_id, 'log', event.level, event.logger, event.text)
        return
    source: Source = 'stderr' if event.stream == 'stderr' else 'stdout'
    for text in event.text.split('\n'):
        yield TaskLine(event.time, owner.name, owner.unique_id, source, 0, '', text)


def _kept_lines(owner: _Owner, store: LogStore, build_id: str) -> list[TaskLine]:
    """The lines in the file of a task; of a build only where the file is from that build."""
    if not isinstance(owner.task, TaskOnKart):
        return []
    lines = store.captured(owner.task)
    if not lines or (build_id and read_build_id(captured_path(owner.task)) != build_id):
        return []
    name, unique_id = owner.name, owner.unique_id
    return [TaskLine(line.time, name, unique_id, line.source, line.level, line.logger, line.text) for line in lines]


def _failure(owner: _Owner, store: LogStore, build_id: str) -> Iterator[TaskLine]:
    """The error of the last run of a task, from its record, if it gave no result."""
    record = store.failure(owner.task) if isinstance(owner.task, TaskOnKart) else None
    if record is None or not record.error or (build_id and record.build_id != build_id):
        return
    ended = iso_seconds(record.ended) or 0.0
    yield TaskLine(ended, owner.name, owner.unique_id, 'log', logging.ERROR, logger.name, record.error)


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
            f'{grep!r:.100} is not a regular expression ({error}): write \\ before a special character.'
        ) from error
