"""Results that are recorded under another module or name of a class, which was moved or renamed since.

A class that its module still has keeps its own results: they are not taken for those of another one.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kartnb.errors import KartError
from kartnb.model import MOVED
from kartnb.planning.graph import Vertex
from kartnb.planning.known_results import KnownResults
from kartnb.storage.places import record_class_name
from kartnb.storage.run_records import RecordDirectory, directories_below
from kartnb.task import identity, registry
from kartnb.task.base import TaskOnKart
from kartnb.task.code.own import find_module

#: Names of classes that are looked through.
_MOST_NAMES = 50
#: So many tasks of a class a plan looks up under each other name: an id has to be made for that.
_MOST_TASKS = 3


@dataclass(slots=True)
class _OfClass:
    """Where results of a class may be recorded."""

    moved: list[RecordDirectory]
    renamed: list[tuple[RecordDirectory, str]]
    tasks: int = 0  #: So many were looked up under other names, in vain.


class MovedClasses:
    """Finds results by what their tasks would be called under the names of other classes; one for each plan.

    `thorough` looks up every task under every other name, and workspaces on object stores too.
    """

    def __init__(self, known: KnownResults, thorough: bool = False) -> None:
        self._known = known
        self._thorough = thorough
        self._directories: dict[str, list[RecordDirectory]] = {}
        self._candidates: dict[tuple[str, type], _OfClass] = {}
        self._sources: dict[str, frozenset[str] | None] = {}

    def note_on(self, vertex: Vertex) -> str:
        """What to do about a task whose result is recorded elsewhere; '' for all others."""
        if vertex.place is None or self._known.result(vertex) is not None:
            return ''
        of = self._recorded_as(vertex, vertex.task, vertex.place[0])
        if not of:
            return ''
        return f'a result of {of}{MOVED}: kartnb.adopt({vertex.name}, of={of!r})'

    def _recorded_as(self, vertex: Vertex, task: Any, workspace: str) -> str:
        """The module and the name of the class under which a result of a task is recorded, or ''."""
        found = self._of_class(workspace, type(task))
        for directory in found.moved:
            if directory.result(vertex.stem) is not None:
                return f'{directory.module}.{vertex.name}'
        if not found.renamed or (found.tasks >= _MOST_TASKS and not self._thorough):
            return ''
        ids = ids_under(task, [name for _, name in found.renamed])
        for (directory, name), unique_id in zip(found.renamed, ids, strict=True):
            if directory.result(f'{name}_{unique_id}') is not None:
                found.renamed = [(directory, name)]
                found.tasks = 0
                return f'{directory.module}.{name}'
        found.tasks += 1
        return ''

    def _of_class(self, workspace: str, cls: type) -> _OfClass:
        found = self._candidates.get((workspace, cls))
        if found is None:
            directories = self._all_directories(workspace)
            own = record_class_name(cls.__name__)
            moved = [
                one
                for one in directories
                if one.module != cls.__module__
                and own in one.classes
                and cls.__name__ not in (self._written(one.module) or ())
            ]
            renamed = [
                (one, name)
                for one in directories
                for name in sorted(one.classes - {own})
                if self._is_gone(one.module, name)
            ]
            found = self._candidates[workspace, cls] = _OfClass(moved, renamed[:_MOST_NAMES])
        return found

    def _all_directories(self, workspace: str) -> list[RecordDirectory]:
        found = self._directories.get(workspace)
        if found is None:
            found = self._directories[workspace] = []
            if self._thorough or '://' not in workspace:
                with contextlib.suppress(KartError, OSError):  # the plan itself says what cannot be read
                    found += directories_below(workspace)
        return found

    def _is_gone(self, module: str, name: str) -> bool:
        """Whether there is no class of a name any more, as far as that is known."""
        written = self._written(module)
        return registry.definition_named(module, name) is None if written is None else name not in written

    def _written(self, module: str) -> frozenset[str] | None:
        if module not in self._sources:
            self._sources[module] = _classes_written(module)
        return self._sources[module]


def ids_under(task: TaskOnKart[Any], names: Iterable[str]) -> Iterator[str]:
    """The unique ids that a task would have if its class had other names; its own for its own name."""
    own, parts = task.make_unique_id(), None
    for name in names:
        if name == type(task).__name__ or task.serialized_task_definition_check:
            yield own
            continue
        if parts is None:
            required = identity.required_tasks(task)
            parts = [part for part in identity.id_parts(required) if part is not None]
            parts = [*parts, task.to_str_params(only_significant=True)]
        yield hashlib.md5(str([*parts, name]).encode(), usedforsecurity=False).hexdigest()


def _classes_written(module: str) -> frozenset[str] | None:
    """The classes in the source of a module, which is not imported for that; None where there is no source."""
    place = find_module(module) if module != '__main__' else None
    if place is None or not place.file.endswith('.py'):
        return None
    try:
        return _classes_in(place.file, os.stat(place.file).st_mtime_ns)
    except OSError:
        return None


@functools.lru_cache(maxsize=1024)
def _classes_in(file: str, changed: int) -> frozenset[str]:
    text = Path(file).read_text(encoding='utf-8', errors='replace')
    return frozenset(re.findall(r'^\s*class\s+(\w+)', text, re.MULTILINE))
