"""What tasks need: all that they require, and what was asked for while they ran."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import luigi

from kartnb.records.runs import Run, RunState
from kartnb.storage.census import absolute_place
from kartnb.task.base import TaskOnKart
from kartnb.task.identity import required_tasks
from kartnb.task.targets import output_paths


@dataclass(slots=True)
class Needed:
    """What has to stay.

    Attributes
    ----------
    ids
        The unique ids of the tasks.
    paths
        Their outputs, as absolute paths.
    notes
        What cannot be told.
    """

    ids: set[str] = field(default_factory=set)
    paths: set[str] = field(default_factory=set)
    notes: list[str] = field(default_factory=list)


def needed_by(roots: Sequence[luigi.Task], runs: Iterable[Run]) -> Needed:
    """What roots need, as far as their classes and the records of their runs tell."""
    recorded: dict[str, list[Run]] = {}
    for run in runs:
        if run.state is not RunState.SUPERSEDED:
            recorded.setdefault(run.unique_id, []).append(run)
    found = Needed()
    for task in _closure(roots):
        found.paths.update(absolute_place(path) for path in output_paths(task))
        if isinstance(task, TaskOnKart):
            found.ids.add(task.make_unique_id())
            _note_what_is_unknown(task, recorded, found)
    _add_recorded_inputs(found, recorded)
    return found


def _closure(roots: Sequence[luigi.Task]) -> list[luigi.Task]:
    pending, seen, found = list(roots), set(), []
    while pending:
        task = pending.pop()
        key = task.make_unique_id() if isinstance(task, TaskOnKart) else task.task_id
        if key not in seen:
            seen.add(key)
            found.append(task)
            pending.extend(required_tasks(task))
    return found


def _note_what_is_unknown(task: TaskOnKart[object], recorded: dict[str, list[Run]], found: Needed) -> None:
    unknown = not any(run.record is not None for run in recorded.get(task.make_unique_id(), ()))
    if unknown and inspect.isgeneratorfunction(type(task).run):
        note = f'{type(task).__name__} asks for tasks while it runs, and no record tells which: theirs may be listed'
        if note not in found.notes:
            found.notes.append(note)


def _add_recorded_inputs(found: Needed, recorded: dict[str, list[Run]]) -> None:
    """Add what recorded runs were made from: tasks that were asked for while others ran are known only there."""
    pending = list(found.ids)
    while pending:
        for run in recorded.get(pending.pop(), ()):
            if run.unique_id in found.ids:
                found.paths.update(run.outputs)
            for given in run.inputs:
                if given.unique_id not in found.ids:
                    found.ids.add(given.unique_id)
                    pending.append(given.unique_id)
