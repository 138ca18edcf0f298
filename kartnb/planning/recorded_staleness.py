"""Staleness by the records alone, of results whose tasks are in no graph.

Two things ask for it: the rule about tasks that were asked for by a running task, which a graph does not know before
it runs (`DynamicInputs`), and the card of a cell, which says what a change makes stale (`stale_results`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import luigi

from kartnb._luigi import declared_default
from kartnb.errors import KartError
from kartnb.history.run_record import InputResult, RunRecord, newest_record
from kartnb.model import Reason, ReasonKind
from kartnb.planning.known_results import KnownResults, digest_of_inputs, is_made_of
from kartnb.storage.run_records import RecordDirectory, RecordedResult
from kartnb.task import registry
from kartnb.task.base import TaskOnKart

#: A workspace with more records is not searched for a card, and in one with more than this only what changed itself is.
_MOST_LISTED = 20_000
_MOST_READ = 2_000


class DynamicInputs:
    """What tasks asked for while they ran, which no graph has: goes upstream through the records, each read once."""

    def __init__(self, workspace: str, known: KnownResults) -> None:
        self._workspace = workspace
        self._known = known
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
            directory = self._known.directory_of(self._workspace, item.module)
            found, record = directory.result(stem), newest_record(directory, stem)
            if found is None or record is None:
                continue  # unknown by now
            if self._has_other_code(item, found) or self._has_other_inputs(found, record):
                return Reason(ReasonKind.UPSTREAM_RUNS, item.task)
            pending.extend(record.inputs)
        return None

    def _present(self, item: InputResult) -> str:
        """The id of the present result of a task; '' when it is not known."""
        if not item.module:
            return item.result_id
        return self._known.present_id(self._workspace, item.module, f'{item.task}_{item.unique_id}')

    def _has_other_inputs(self, found: RecordedResult, record: RunRecord) -> bool:
        required = [item for item in record.inputs if not item.asked_later]
        if not is_made_of(found, digest_of_inputs((item.unique_id, self._present(item)) for item in required)):
            return True
        later = [item for item in record.inputs if item.asked_later]
        return any(self._present(item) not in ('', item.result_id) for item in later)

    def _has_other_code(self, item: InputResult, found: RecordedResult) -> bool:
        cls = registry.definition_named(item.module, item.task)
        return cls is not None and self._known.must_rerun(self._workspace, found, cls)


class StaleResult(NamedTuple):
    """A result that is stale."""

    task: str
    seconds: float  #: How long it took to make.
    #: Who made it; None when this notebook has made or used it.
    other: str | None


@dataclass(frozen=True, slots=True)
class StaleResults:
    """Results that are stale: how many by class, and how long it took to make them; those of others by maker."""

    #: By ``<Class>_<unique id>``.
    by_result: dict[str, StaleResult] = field(default_factory=dict)

    def without(self, other: StaleResults) -> StaleResults:
        """Those that are not in `other`."""
        return StaleResults({stem: found for stem, found in self.by_result.items() if stem not in other.by_result})

    def counts(self) -> Counter[str]:
        """How many there are of each class that this notebook has made or used."""
        return Counter(found.task for found in self.by_result.values() if found.other is None)

    def seconds(self) -> float:
        """How long it took to make those."""
        return sum(found.seconds for found in self.by_result.values() if found.other is None)

    def others(self) -> Counter[str]:
        """How many there are that only others have made and used, by maker."""
        return Counter(found.other for found in self.by_result.values() if found.other is not None)


def stale_results() -> StaleResults:
    """The stale results of the classes that are defined, in the workspaces that they have by default."""
    known = KnownResults()
    classes = {(cls.__module__, cls.__name__): cls for cls in registry.task_classes() if issubclass(cls, TaskOnKart)}
    found = StaleResults()
    for workspace, module in dict.fromkeys(_places(classes.values())):
        try:
            directory = known.directory_of(workspace, module)
            stems = directory.stems()
            if len(stems) <= _MOST_LISTED:
                found.by_result.update(_stale_in(known, workspace, directory, stems, classes, module))
        except (KartError, OSError):  # a card must not fail for a workspace that cannot be read
            continue
    return found


def _places(classes: Iterable[type[luigi.Task]]) -> Iterator[tuple[str, str]]:
    usual = TaskOnKart().workspace_directory
    for cls in classes:
        own = declared_default(vars(cls).get('workspace_directory'))
        for workspace in (usual, own):
            if isinstance(workspace, str) and '://' not in workspace:
                yield workspace, cls.__module__


def _stale_in(
    known: KnownResults,
    workspace: str,
    directory: RecordDirectory,
    stems: list[str],
    classes: dict[tuple[str, str], type],
    module: str,
) -> dict[str, StaleResult]:
    stale = []
    for stem in stems:
        result, cls = directory.result(stem), classes.get((module, stem.rpartition('_')[0]))
        if result is not None and cls is not None and known.must_rerun(workspace, result, cls):
            stale.append(stem)
    if not stale:
        return {}
    records = {stem: newest_record(directory, stem) for stem in (stems if len(stems) <= _MOST_READ else stale)}
    reached = _downstream(stale, records)
    own = {stem: record for stem, record in records.items() if known.makers.is_here(record)}
    used = {f'{item.task}_{item.unique_id}' for record in own.values() if record is not None for item in record.inputs}
    return {
        stem: StaleResult(record.task, record.seconds, None if stem in own or stem in used else record.notebook)
        for stem, record in records.items()
        if record is not None and stem in reached
    }


def _downstream(stale: list[str], records: dict[str, RunRecord | None]) -> set[str]:
    """These results and all that was made from them."""
    users: dict[str, list[str]] = {}
    for stem, record in records.items():
        for item in record.inputs if record is not None else ():
            users.setdefault(f'{item.task}_{item.unique_id}', []).append(stem)
    reached: set[str] = set()
    pending = list(stale)
    while pending:
        stem = pending.pop()
        if stem not in reached:
            reached.add(stem)
            pending.extend(users.get(stem, ()))
    return reached
