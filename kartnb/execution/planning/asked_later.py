"""Results that were made from what a task asked for while it ran: the graph does not have these, the records do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kartnb.events import Reason, ReasonKind
from kartnb.execution.planning.known_results import KnownResults, digest_of_inputs
from kartnb.history.run_record import InputResult, RunRecord, newest_record
from kartnb.storage.run_records import RecordedResult
from kartnb.task import registry

if TYPE_CHECKING:
    from kartnb.execution.planning.graph import Vertex


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
        self._seen: set[str] = set()

    def changed(self, first: InputResult) -> Reason | None:
        """The reason when an input, or anything that it was made from, has changed."""
        if self._present(first) not in ('', first.result_id):
            return Reason(ReasonKind.NEWER_RESULT, first.task)
        pending = [first]
        while pending:
            item = pending.pop()
            stem = f'{item.task}_{item.unique_id}'
            if stem in self._seen or not item.module:
                continue
            self._seen.add(stem)
            directory = self._results.directory_of(self._workspace, item.module)
            found, record = directory.result(stem), newest_record(directory, stem)
            if found is None or record is None:
                continue  # nobody can tell any more
            if self._has_other_code(item, found) or self._has_other_inputs(found, record):
                return Reason(ReasonKind.UPSTREAM_RUNS, item.task)
            pending.extend(record.inputs)
        return None

    def _present(self, item: InputResult) -> str:
        """The id of the present result of a task; '' when it is not known."""
        if not item.module:
            return item.result_id
        return self._results.present_id(self._workspace, item.module, f'{item.task}_{item.unique_id}')

    def _has_other_inputs(self, found: RecordedResult, record: RunRecord) -> bool:
        known = [item for item in record.inputs if not item.asked_later]
        now = digest_of_inputs((item.unique_id, self._present(item)) for item in known)
        if found.made_of and now != found.made_of and (found.kept_for is None or now != found.kept_for[1]):
            return True
        later = [item for item in record.inputs if item.asked_later]
        return any(self._present(item) not in ('', item.result_id) for item in later)

    def _has_other_code(self, item: InputResult, found: RecordedResult) -> bool:
        cls = registry.definition_named(item.module, item.task)
        if cls is None or not found.made_by or self._results.policy(cls) != 'rerun':
            return False
        kept_for = found.kept_for[0] if found.kept_for else ''
        return self._results.code.compare(self._workspace, found.made_by, cls, kept_for).answer == 'changed'
