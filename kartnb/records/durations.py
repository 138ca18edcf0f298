"""How long tasks take, by what is recorded of earlier runs."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

from kartnb.errors import KartError
from kartnb.records.run_record import RunRecord
from kartnb.records.shelf import MOST_BYTES
from kartnb.storage.filesystem import file_system
from kartnb.storage.peeking import peek
from kartnb.task.base import TaskOnKart

#: How many runs of a class are looked at.
_SAMPLED = 5


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
        try:
            yield RunRecord.from_json(data.decode('utf-8')).seconds
        except ValueError:  # damaged, or of a newer version
            continue


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
            if files.size(path) <= MOST_BYTES:
                yield files.read_bytes(path)
    except (KartError, OSError):
        return
