"""What pickles of gokart name, so that they are read without gokart; and how to write pickles that name it.

Two kinds of value are pickled under gokart's own names: the load function of large frames, and tables of tasks.
"""

from __future__ import annotations

import importlib
import io
import pickle
from dataclasses import dataclass, field
from types import FunctionType
from typing import Any, ClassVar, NamedTuple

from kartnb._luigi import PythonPickler


class RequiredTask(NamedTuple):
    """A task that another one requires, in a table of tasks."""

    name: str
    unique_id: str


@dataclass
class TaskInfo:
    """What a table of tasks says of one task."""

    name: str
    unique_id: str
    output_paths: list[str]
    params: dict[str, Any]
    processing_time: str
    is_complete: str
    task_log: dict[str, Any]
    requires: list[RequiredTask]
    children_task_infos: list[TaskInfo] = field(default_factory=list)


_PLACES: dict[tuple[str, str], str] = {
    ('gokart.target', 'LargeDataFrameProcessor'): 'kartnb.storage.large_frames:LargeDataFrameProcessor',
    ('gokart.target', 'LargeDataFrameProcessor.load'): 'kartnb.storage.large_frames:LargeDataFrameProcessor.load',
    ('gokart.tree.task_info_formatter', 'TaskInfo'): 'kartnb.storage.gokart_names:TaskInfo',
    ('gokart.tree.task_info_formatter', 'RequiredTask'): 'kartnb.storage.gokart_names:RequiredTask',
}


def find(module: str, name: str) -> Any:
    """Give what a pickle calls ``module.name``: kartnb's own, or gokart's if it is installed."""
    place = _PLACES.get((module, name))
    if place is None:
        place = f'{module}:{name}'
    module, _, name = place.partition(':')
    found: Any = importlib.import_module(module)
    for part in name.split('.'):
        found = getattr(found, part)
    return found


def gokarts_name(obj: Any) -> tuple[str, str] | None:
    """Give the module and name by which gokart knows its own counterpart of `obj`, or None where there is none."""
    place = f'{getattr(obj, "__module__", "")}:{getattr(obj, "__qualname__", "")}'
    return next((name for name, known in _PLACES.items() if known == place), None)


class _NamingPickler(PythonPickler):  # type: ignore[misc]
    """Names classes as gokart does, without importing them as the pickler in C would. For small values."""

    def save_global(self, obj: Any, name: str | None = None) -> None:
        names = gokarts_name(obj)
        if names is None:
            super().save_global(obj, name)
            return
        for text in names:
            self.save(text)
        self.write(pickle.STACK_GLOBAL)
        self.memoize(obj)

    dispatch: ClassVar[dict[type, Any]] = {**PythonPickler.dispatch, type: save_global, FunctionType: save_global}


def dumps(obj: Any) -> bytes:
    """Pickle a value so that gokart reads it with its own classes."""
    file = io.BytesIO()
    _NamingPickler(file, 4).dump(obj)
    return file.getvalue()
