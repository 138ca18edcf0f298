"""What a workspace holds of given tasks: records, printed lines, gokart's logs, and how long tasks of a class take.

Nothing is run, and no pickle is loaded.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from kartnb.errors import KartError
from kartnb.history.run_record import RunRecord, parsed_record
from kartnb.storage.filesystem import file_system
from kartnb.storage.peek import peek
from kartnb.storage.places import (
    LOG_KINDS,
    CapturedLine,
    LogKind,
    captured_log_name,
    captured_log_path,
    log_path,
    read_captured_lines,
)
from kartnb.storage.run_records import RecordDirectory
from kartnb.task.base import TaskOnKart
from kartnb.task.describe import shown_parameters
from kartnb.task.secrets import public_names

#: Bytes of a log that are looked at; a longer one is only named.
_MOST_BYTES = 1 << 20
#: How many runs of a class are looked at.
_SAMPLED = 5


@dataclass(frozen=True, slots=True)
class LookedAt:
    """One of gokart's logs: its kind, its path, the value as far as it is plain, and why there is none, or ''."""

    kind: LogKind
    path: str
    value: Any = None
    problem: str = ''


class LogStore:
    """Finds what workspaces remember of tasks; each directory is listed once, so make a new one to look again.

    Examples
    --------
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
        return parsed_record(self._directory(task).read(_stem(task)))

    def failure(self, task: TaskOnKart[Any]) -> RunRecord | None:
        """The record of the latest run that gave no result, or None."""
        return parsed_record(self._directory(task).read_failure(_stem(task)))

    def captured(self, task: TaskOnKart[Any]) -> list[CapturedLine]:
        """What the task printed and logged when it last ran."""
        if captured_log_name(_stem(task)) not in self._listed(self._directory(task).path):
            return []
        return read_captured_lines(captured_path(task))

    def gokart_logs(self, task: TaskOnKart[Any]) -> list[LookedAt]:
        """The five logs of gokart, as far as they have been written."""
        found = []
        for kind in LOG_KINDS:
            path = log_path(task.workspace_directory, kind, type(task).__name__, task.make_unique_id())
            directory, _, name = path.rpartition('/')
            if name in self._listed(directory):
                found.append(_looked_at(task, kind, path))
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


def _looked_at(task: TaskOnKart[Any], kind: LogKind, path: str) -> LookedAt:
    try:
        files = file_system(path)
        size = files.size(path)
        if size > _MOST_BYTES:
            return LookedAt(kind, path, problem=f'too large to be shown here: {size:,} bytes')
        data = files.read_bytes(path)
        value = data.decode('utf-8', 'replace') if path.endswith('.txt') else peek(data)
    except KartError as error:
        return LookedAt(kind, path, problem=str(error))
    return LookedAt(kind, path, _without_hidden(task, value) if kind == 'task_params' else value)


def _without_hidden(task: TaskOnKart[Any], value: Any) -> Any:
    """The logged parameters without those that are not to be shown: identity needs them in the file."""
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
            found = list(_recorded(*place)) or list(_logged_by_gokart(place[0], cls.__name__))
            self._known[place] = sum(found) / len(found) if found else None
        return self._known[place]


def _recorded(workspace: str, module: str, name: str) -> Iterator[float]:
    place = os.path.join(workspace, 'log/run_record', module.replace('.', '/'))
    for data in _sampled(place, f'{name}_', '.json', leave_out='~failed.json'):
        record = parsed_record(data)
        if record is not None:
            yield record.seconds


def _logged_by_gokart(workspace: str, name: str) -> Iterator[float]:
    for data in _sampled(os.path.join(workspace, 'log/processing_time'), f'{name}_', '.pkl'):
        try:
            value = peek(data)
        except KartError:
            continue
        if isinstance(value, int | float):
            yield value


def _sampled(place: str, prefix: str, suffix: str, leave_out: str = '\0') -> Iterator[bytes]:
    """A few files of a directory; their names hold random ids, so that the first ones by name are a random choice."""
    files = file_system(place)
    try:
        names = sorted(
            name
            for name in files.names(place)
            if name.startswith(prefix)
            and name.endswith(suffix)
            and not name.endswith(leave_out)
            # a class whose name begins with this one's has other characters there
            and name[len(prefix) + 32 : len(prefix) + 33] in ('~', '.')
        )
        for name in names[:_SAMPLED]:
            path = os.path.join(place, name)
            if files.size(path) <= _MOST_BYTES:
                yield files.read_bytes(path)
    except (KartError, OSError):
        return
