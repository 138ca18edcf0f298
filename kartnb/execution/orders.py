"""Making the orders that tell a worker what to run, and keeping the ids of the results that come of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import luigi

from kartnb.events import Event, TaskProgress
from kartnb.execution.executors import Inbox, ResourcesFreed
from kartnb.execution.graph import Vertex
from kartnb.execution.runs import Outcome, TaskOrder, TaskRun
from kartnb.records.run_record import InputResult
from kartnb.storage.run_records import RecordDirectory
from kartnb.task.base import TaskOnKart


class Orders:
    """The orders of one build.

    Parameters
    ----------
    build_id
        Names the build.
    inbox
        Takes what running tasks tell the build's loop.
    emit
        Is given what running tasks report.
    """

    def __init__(self, build_id: str, inbox: Inbox, emit: Callable[[Event], None]) -> None:
        self._build_id = build_id
        self._inbox = inbox
        self._emit = emit
        self._result_ids: dict[str, str] = {}
        self._records: dict[tuple[str, str], RecordDirectory] = {}

    def new_run(self, vertex: Vertex) -> TaskRun:
        """A run of a task, from its start."""
        key, build_id, inbox, emit = vertex.key, self._build_id, self._inbox, self._emit

        def report(what: str, value: Any) -> None:
            if what == 'resources':
                inbox.put(ResourcesFreed(key, value))
            else:
                emit(TaskProgress(build_id, key, **{what: value}))

        directory = self._record_directory(vertex.task)
        slot = directory.slot(_stem(vertex)) if directory is not None else None
        inputs = tuple(InputResult(other.name, other.unique_id, self._result_id(other)) for other in vertex.requires)
        return TaskRun(
            TaskOrder(vertex.task, vertex.unique_id, key, build_id, inputs, tuple(vertex.outputs), slot), report
        )

    def note(self, vertex: Vertex, outcome: Outcome) -> None:
        """Take down what came of a run that has ended."""
        directory = self._record_directory(vertex.task)
        if directory is not None and outcome.requirements is None:
            directory.note(_stem(vertex), outcome.result_id)
        if outcome.error is None and outcome.requirements is None:
            self._result_ids[vertex.key] = outcome.result_id

    def _result_id(self, vertex: Vertex) -> str:
        known = self._result_ids.get(vertex.key)
        if known is None:
            directory = self._record_directory(vertex.task)
            known = self._result_ids[vertex.key] = directory.result_id(_stem(vertex)) if directory is not None else ''
        return known

    def _record_directory(self, task: luigi.Task) -> RecordDirectory | None:
        if not isinstance(task, TaskOnKart):
            return None
        place = (task.workspace_directory, type(task).__module__)
        directory = self._records.get(place)
        if directory is None:
            directory = self._records[place] = RecordDirectory(*place)
        return directory


def _stem(vertex: Vertex) -> str:
    return f'{vertex.name}_{vertex.unique_id}'
