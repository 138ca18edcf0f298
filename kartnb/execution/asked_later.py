"""Results that were made from what a task asked for while it ran: the graph does not have these, the records do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kartnb.events import Reason, ReasonKind
from kartnb.execution.known_results import KnownResults, read_record
from kartnb.records.run_record import InputResult
from kartnb.task import registry

if TYPE_CHECKING:
    from kartnb.execution.graph import Vertex


def changed_since(vertex: Vertex, results: KnownResults) -> Reason | None:
    """The reason when something that a task asked for while it ran has been made anew since, or would have to be."""
    record = results.record(vertex)
    if record is None:
        return None
    task: Any = vertex.task
    walk = _Walk(task.workspace_directory, results)
    for item in record.inputs:
        if item.asked_later:
            reason = walk.changed(item)
            if reason is not None:
                return reason
    return None


class _Walk:
    """Goes through records upstream; each is read once."""

    def __init__(self, workspace: str, results: KnownResults) -> None:
        self._workspace = workspace
        self._results = results
        self._seen: set[tuple[str, str]] = set()

    def changed(self, first: InputResult) -> Reason | None:
        """The reason when an input, or anything that it was made from, has changed."""
        pending = [first]
        while pending:
            item = pending.pop()
            if (item.task, item.unique_id) in self._seen or not item.module:
                continue
            self._seen.add((item.task, item.unique_id))
            directory = self._results.directory_of(self._workspace, item.module)
            stem = f'{item.task}_{item.unique_id}'
            found = directory.result(stem)
            if found is None:
                continue  # nobody can tell any more
            if found.result_id != item.result_id:
                return Reason(ReasonKind.NEWER_RESULT, item.task)
            if self._has_other_code(item, found.made_by):
                return Reason(ReasonKind.UPSTREAM_RUNS, item.task)
            record = read_record(directory, stem)
            pending.extend(record.inputs if record is not None else ())
        return None

    def _has_other_code(self, item: InputResult, made_by: str) -> bool:
        cls = registry.definition_named(item.module, item.task)
        if cls is None or not made_by or self._results.policy(cls) != 'rerun':
            return False
        return self._results.code.compare(self._workspace, made_by, cls).answer == 'changed'
