"""What a workspace holds of given tasks: records, printed lines, gokart's logs, and how long tasks of a class take.

Looking runs nothing: no pickle is loaded, only the plain values in it are read.
"""

from __future__ import annotations

import heapq
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from kartnb.errors import KartError
from kartnb.history.run_record import RunRecord, newest_failure, newest_record
from kartnb.storage.filesystem import file_system
from kartnb.storage.peek import peek
from kartnb.storage.places import (
    LOG_KINDS,
    CapturedLine,
    LogKind,
    as_seconds,
    captured_log_name,
    captured_log_path,
    log_path,
    read_captured_lines,
)
from kartnb.storage.run_records import RecordDirectory, present_records
from kartnb.task.base import TaskOnKart
from kartnb.task.describe import shown_parameters
from kartnb.task.secrets import public_names

#: Bytes of a log that are read; of a longer one only the path is given.
_MOST_BYTES = 1 << 20
#: How many runs of a class are averaged.
_SAMPLED = 5


@dataclass(frozen=True, slots=True)
class GokartLog:
    """One of gokart's logs: its kind, its path, the value as far as it is plain, and why there is none, or ''."""

    kind: LogKind
    path: str
    value: Any = None
    problem: str = ''


class LogStore:
    """Finds what workspaces hold of tasks; each directory is listed once, so make a new one to look again.

    >>> import kartnb, tempfile
    >>> class Two(kartnb.TaskOnKart[int]):
    ...     def run(self):
    ...         self.dump(2)
    >>> task = Two(workspace_directory=tempfile.mkdtemp())
    >>> LogStore().record(task) is None
    True
    >>> kartnb.build(task)
    2
    >>> LogStore().record(task).state
    'done'
    """

    def __init__(self) -> None:
        self._directories: dict[tuple[str, str], RecordDirectory] = {}
        self._names: dict[str, set[str]] = {}

    def record(self, task: TaskOnKart[Any]) -> RunRecord | None:
        """The record of the run that made the result, or None."""
        return newest_record(self._directory(task), _stem(task))

    def failure(self, task: TaskOnKart[Any]) -> RunRecord | None:
        """The record of the latest run that gave no result, or None."""
        return newest_failure(self._directory(task), _stem(task))

    def captured(self, task: TaskOnKart[Any]) -> list[CapturedLine]:
        """What the task printed and logged when it last ran."""
        if captured_log_name(_stem(task)) not in self._listed(self._directory(task).path):
            return []
        return read_captured_lines(captured_path(task))

    def gokart_logs(self, task: TaskOnKart[Any]) -> list[GokartLog]:
        """The five logs of gokart, as far as they have been written."""
        found = []
        for kind in LOG_KINDS:
            path = log_path(task.workspace_directory, kind, type(task).__name__, task.make_unique_id())
            directory, _, name = path.rpartition('/')
            if name in self._listed(directory):
                found.append(_read_log(task, kind, path))
        return found

    def _directory(self, task: TaskOnKart[Any]) -> RecordDirectory:
        place = (task.workspace_directory, type(task).__module__)
        if place not in self._directories:
            self._directories[place] = RecordDirectory(*place)
        return self._directories[place]

    def _listed(self, directory: str) -> set[str]:
        if directory not in self._names:
            self._names[directory] = file_system(directory).names(directory)
        return self._names[directory]


def captured_path(task: TaskOnKart[Any]) -> str:
    """The file of what a task printed and logged."""
    return captured_log_path(task.workspace_directory, type(task).__module__, _stem(task))


def _stem(task: TaskOnKart[Any]) -> str:
    return f'{type(task).__name__}_{task.make_unique_id()}'


def _read_log(task: TaskOnKart[Any], kind: LogKind, path: str) -> GokartLog:
    try:
        data = file_system(path).read_small(path, _MOST_BYTES)
        value = data.decode('utf-8', 'replace') if path.endswith('.txt') else peek(data)
    except KartError as error:
        return GokartLog(kind, path, problem=str(error))
    return GokartLog(kind, path, _public_only(task, value) if kind == 'task_params' else value)


def _public_only(task: TaskOnKart[Any], value: Any) -> Any:
    """The logged parameters that may be shown: identity needs the hidden ones in the file too."""
    if not isinstance(value, dict):
        return value
    public = public_names(type(task))
    # the parameters of tasks that are parameters, also hidden ones, are packed into the text that gokart writes
    tasks = {p.name: p.text for p in shown_parameters(task) if task.is_task_on_kart(task.param_kwargs.get(p.name))}
    return {name: tasks.get(name, text) for name, text in value.items() if name in public}


class TypicalTimes:
    """How long the tasks of a class take, on average of a few recorded runs; each class is looked up once."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str, str], float | None] = {}

    def seconds(self, task: Any) -> float | None:
        """About how long a task takes, or None where no run of its class is recorded."""
        if not isinstance(task, TaskOnKart):
            return None
        cls = type(task)
        place = (task.workspace_directory, cls.__module__, cls.__name__)
        if place not in self._known:
            found = [record.seconds for record in _recorded(*place)] or list(_logged_by_gokart(place[0], cls.__name__))
            self._known[place] = sum(found) / len(found) if found else None
        return self._known[place]


class RecordedMemory:
    """How much memory tasks took, by the records of earlier runs; each class is looked up once."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str, str], int] = {}

    def bytes(self, task: Any, least: int) -> int | None:
        """What the last run of a task took, or else the largest of a few runs of its class; None where that is less.

        The record of the task itself is read only where tasks of its class take as much.
        """
        if not isinstance(task, TaskOnKart):
            return None
        cls = type(task)
        place = (task.workspace_directory, cls.__module__, cls.__name__)
        if place not in self._known:
            self._known[place] = max((record.added_memory or 0 for record in _recorded(*place)), default=0)
        found = self._known[place]
        if found < least:
            return None
        own = newest_record(present_records(*place[:2]), _stem(task))
        if own is not None and own.added_memory is not None:
            found = own.added_memory
        return found if found >= least else None


class _Measured(NamedTuple):
    """What a run took."""

    seconds: float
    added_memory: int | None


#: By the place and the name of a record, which tells of one run only: each build in a process asks for the same ones.
_measured: dict[tuple[str, str | None], _Measured | None] = {}
_MOST_MEASURED = 10_000


def _recorded(workspace: str, module: str, name: str) -> Iterator[_Measured]:
    """What the runs of a few results of a class took."""
    try:
        directory = present_records(workspace, module)
    except (KartError, OSError):
        return
    for stem in _sampled(stem for stem in directory.stems() if stem.rpartition('_')[0] == name):
        place = (os.path.abspath(directory.path), directory.newest(stem))
        if place not in _measured:
            record = newest_record(directory, stem)
            if len(_measured) >= _MOST_MEASURED:
                _measured.clear()
            _measured[place] = None if record is None else _Measured(record.seconds, record.added_memory)
        found = _measured[place]
        if found is not None:
            yield found


def _logged_by_gokart(workspace: str, name: str) -> Iterator[float]:
    place = os.path.join(workspace, 'log/processing_time')
    try:
        files = file_system(place)
        names = _sampled(file for file in files.names(place) if file.rpartition('_')[0] == name)
    except (KartError, OSError):
        return
    for path in (os.path.join(place, name) for name in names):
        try:
            value = peek(files.read_small(path, _MOST_BYTES))
        except (KartError, OSError):  # one damaged log does not hide the others
            continue
        seconds = as_seconds(value)
        if seconds is not None:
            yield seconds


def _sampled(names: Iterable[str]) -> list[str]:
    """A few names; they hold random ids, so that the first ones of many are a random choice that stays the same."""
    return heapq.nsmallest(_SAMPLED, names)
