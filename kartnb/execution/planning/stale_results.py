"""Which recorded results a change of code has made stale, told from the records alone: no task has to be made."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import luigi

from kartnb._luigi import declared_default
from kartnb.errors import KartError
from kartnb.execution.planning.known_results import KnownResults
from kartnb.history.run_record import RunRecord, newest_record
from kartnb.storage.run_records import RecordDirectory
from kartnb.task import registry
from kartnb.task.base import TaskOnKart

#: A workspace with more records is not looked through for a card, and of more than this no downstream is looked for.
_MOST_LISTED = 20_000
_MOST_READ = 2_000


@dataclass(frozen=True, slots=True)
class StaleResults:
    """Results that are stale: how many by class, and how long it took to make them.

    Attributes
    ----------
    by_result
        Class name and seconds by ``<Class>_<unique id>``.
    """

    by_result: dict[str, tuple[str, float]] = field(default_factory=dict)

    def without(self, other: StaleResults) -> StaleResults:
        """Those that are not in `other`."""
        return StaleResults({stem: told for stem, told in self.by_result.items() if stem not in other.by_result})

    def counts(self) -> Counter[str]:
        """How many there are of each class."""
        return Counter(name for name, _ in self.by_result.values())

    def seconds(self) -> float:
        """How long it took to make them."""
        return sum(seconds for _, seconds in self.by_result.values())


def stale_results() -> StaleResults:
    """The stale results of the classes that are defined, in the workspaces that they have by default."""
    results = KnownResults()
    classes = {(cls.__module__, cls.__name__): cls for cls in registry.task_classes() if issubclass(cls, TaskOnKart)}
    found = StaleResults()
    for workspace, module in dict.fromkeys(_places(classes.values())):
        try:
            directory = results.directory_of(workspace, module)
            stems = directory.stems()
            if len(stems) <= _MOST_LISTED:
                found.by_result.update(_stale_in(results, workspace, directory, stems, classes, module))
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
    results: KnownResults,
    workspace: str,
    directory: RecordDirectory,
    stems: list[str],
    classes: dict[tuple[str, str], type],
    module: str,
) -> dict[str, tuple[str, float]]:
    stale = [
        stem
        for stem in stems
        if _has_other_code(results, workspace, directory, stem, classes.get((module, stem.rpartition('_')[0])))
    ]
    if not stale:
        return {}
    records = {stem: newest_record(directory, stem) for stem in (stems if len(stems) <= _MOST_READ else stale)}
    reached = _downstream(stale, records)
    kept = ((stem, record) for stem, record in records.items() if record is not None and stem in reached)
    return {stem: (stem.rpartition('_')[0], record.seconds) for stem, record in kept}


def _has_other_code(
    results: KnownResults, workspace: str, directory: RecordDirectory, stem: str, cls: type | None
) -> bool:
    result = directory.result(stem) if cls is not None else None
    if result is None or cls is None or not result.made_by or results.policy(cls) != 'rerun':
        return False
    kept_for = result.kept_for[0] if result.kept_for else ''
    return results.code.compare(workspace, result.made_by, cls, kept_for).answer == 'changed'


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
