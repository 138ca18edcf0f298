"""Staleness by the records alone, of results whose tasks are in no graph.

Two things ask for it: the rule about tasks that were asked for by a running task, which a graph does not know before
it runs (`DynamicInputs`), and the card of a cell, which says what a change makes stale (`stale_results`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterable, Iterator, Set
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import luigi

from kartnb._luigi import declared_default
from kartnb.errors import KartError
from kartnb.history.run_record import InputResult, RunRecord, input_text, newest_record
from kartnb.model import Reason, ReasonKind
from kartnb.planning.expiry import has_expired
from kartnb.planning.known_results import KnownResults, digest_of_inputs, is_made_of
from kartnb.planning.result_files import Files, examine, record_of, what_is_written_over
from kartnb.storage.files import joint_mark
from kartnb.storage.run_records import RecordDirectory, RecordedResult, directories_below
from kartnb.storage.superseded import Superseded
from kartnb.task import registry
from kartnb.task.base import TaskOnKart
from kartnb.task.describe import shown_texts
from kartnb.task.secrets import is_secret

if TYPE_CHECKING:
    from kartnb.planning.graph import Vertex

#: A workspace with more records is not searched for a card, and in one with more than this only what changed itself is.
_MOST_LISTED = 20_000
_MOST_READ = 2_000
_WORKSPACE = 'workspace_directory'


class DynamicInputs:
    """What tasks asked for while they ran, which no graph has: goes upstream through the records, each read once.

    `user` is the class of the task that has asked. What is kept of earlier results counts too, where today's code would
    give it; these are in `returning` then, and have to be put back.
    """

    def __init__(self, workspace: str, known: KnownResults, user: type | None = None) -> None:
        self._workspace = workspace
        self._known = known
        self._user = user
        self._seen: set[tuple[str, str]] = set()
        #: What has changed in the code of those of which the results are kept all the same, by class.
        self.kept: dict[str, str] = {}
        self.returning: dict[str, Superseded] = {}

    def changed(self, first: InputResult) -> Reason | None:
        """The reason when an input, or anything that it was made from, has changed."""
        pending = [(self._placed(first), self._user, True)]
        while pending:
            item, user, is_exact = pending.pop()
            stem, record = f'{item.task}_{item.unique_id}', None
            if user is not None and self._is_of_other_class(item, user):
                return Reason(ReasonKind.NEWER_RESULT, item.task)
            if is_exact and self._present(item) not in ('', item.as_input):
                reason: Reason | None = Reason(ReasonKind.NEWER_RESULT, item.task)
            elif (item.workspace, stem) in self._seen or not item.module:
                continue
            else:
                reason, record = self._judged(item, stem)
            self._seen.add((item.workspace, stem))
            if reason is not None:
                record = self._returned(item, stem)
                if record is None:
                    return reason
            if record is not None:
                own = registry.definition_named(item.module, item.task)
                place = item.workspace
                pending.extend((self._placed(other, place), own, reason is not None) for other in record.inputs)
        return None

    def _placed(self, item: InputResult, workspace: str = '') -> InputResult:
        """An input with its workspace: that of what was made from it, unless it says another one."""
        return replace(item, workspace=item.workspace or workspace or self._workspace)

    def _judged(self, item: InputResult, stem: str) -> tuple[Reason | None, RunRecord | None]:
        """Why the present result of a task would not be used as it is; and its record."""
        directory = self._known.directory_of(item.workspace, item.module)
        found, record = directory.result(stem), newest_record(directory, stem)
        if found is None or record is None:
            if directory.is_under_way(stem) or (found is not None and not directory.has_newest(stem)):
                return Reason(ReasonKind.NEWER_RESULT, item.task), None  # another build replaces it
            return None, None  # unknown by now
        if (
            self._has_other_code(item, found)
            or self._is_outdated(item, record)
            or self.has_other_inputs(found, record, item.workspace)
            or (found.reads_files and self._known.has_changed_files(record))
        ):
            return Reason(ReasonKind.UPSTREAM_RUNS, item.task), record
        return None, record

    def _is_of_other_class(self, item: InputResult, user: type) -> bool:
        """Whether what has asked for a task names a class of another module now, which has other code."""
        modules = {module for module, name in self._known.code.print_of(user).task_classes if name == item.task}
        if not item.module or not modules or item.module in modules:
            return False
        found = self._known.directory_of(item.workspace, item.module).result(f'{item.task}_{item.unique_id}')
        every = [cls for module in modules if (cls := registry.definition_named(module, item.task)) is not None]
        compare = self._known.code.compare
        return all(found is None or compare(item.workspace, found, cls).answer == 'changed' for cls in every)

    def _returned(self, item: InputResult, stem: str) -> RunRecord | None:
        """The record of an earlier result of a task, the one that was used, which its code of now would give."""
        cls = registry.definition_named(item.module, item.task)
        if cls is None or item.workspace != self._workspace:
            return None
        code = self._known.code.print_of(cls).key

        def fits(result: RecordedResult) -> bool:
            text = input_text(result.as_input, result.made_by if item.code else '')
            return text == item.as_input and code in (result.made_by, (result.kept_for or ('',))[0])

        for kept, result in self._known.kept_results(item.workspace, item.module, stem, fits):
            record = record_of(kept)
            if record is None or self._is_outdated(item, record) or what_is_written_over(record.written):
                continue
            if not (result.reads_files and self._known.has_changed_files(record)):
                self.returning[stem] = kept
                return record
        return None

    def _present(self, item: InputResult) -> str:
        """What stands for the present result of a task; '' when it is not known."""
        if not item.module:
            return item.as_input
        stem = f'{item.task}_{item.unique_id}'
        return self._known.present_input(item.workspace, item.module, stem, with_code=bool(item.code))

    def has_other_inputs(self, found: RecordedResult, record: RunRecord, workspace: str = '') -> bool:
        """Whether a result was made from others than those that are there now."""
        inputs = [self._placed(item, workspace) for item in record.inputs]
        present = [(item.unique_id, self._present(item)) for item in inputs if not item.asked_later]
        if not is_made_of(found, digest_of_inputs(present, record.shape or '')):
            return True
        later = [item for item in inputs if item.asked_later]
        return any(self._present(item) not in ('', item.as_input) for item in later)

    def _is_outdated(self, item: InputResult, record: RunRecord) -> bool:
        """Whether a result has expired, or was made by other versions of packages where that counts."""
        cls = registry.definition_named(item.module, item.task)
        return cls is not None and (has_expired(record, cls) or 'rerun' in self._known.other_versions(cls, record))

    def _has_other_code(self, item: InputResult, found: RecordedResult) -> bool:
        cls = registry.definition_named(item.module, item.task)
        policy = 'ignore' if cls is None else self._known.policy(cls)
        if cls is None or policy == 'ignore' or not found.made_by:
            return False
        compared = self._known.code.compare(item.workspace, found, cls)
        if compared.answer != 'changed':
            return False
        if policy != 'rerun':
            self.kept[item.task] = compared.detail or item.task
        return policy == 'rerun'

    def has_expired(self, item: InputResult) -> bool:
        """Whether the present result of a task has expired, or other versions of packages made it where that counts."""
        item = self._placed(item)
        record = newest_record(self._known.directory_of(item.workspace, item.module), f'{item.task}_{item.unique_id}')
        return record is not None and self._is_outdated(item, record)


def later_inputs_changed(task: Any, record: RunRecord, known: KnownResults) -> bool:
    """Whether today's code would give a task other results than those that its run has asked for."""
    walk = DynamicInputs(getattr(task, 'workspace_directory', ''), known, type(task))
    return any(walk.changed(item) is not None for item in record.inputs if item.asked_later)


def asked_tasks(vertex: Vertex, known: KnownResults) -> list[TaskOnKart[Any]]:
    """The first request of a task's run that would give it something else to run, as tasks of today's classes.

    Later requests may depend on what this one gives. It is empty where a task cannot be told by its record, or where
    its result has changed already.
    """
    record = known.record(vertex)
    # it may pass on those that are not significant
    if record is None or _of_the_user(record.parameters) != _of_the_user(shown_texts(vertex.task)):
        return []
    walk = DynamicInputs(getattr(vertex.task, 'workspace_directory', ''), known, type(vertex.task))
    for number in sorted({item.asked_later for item in record.inputs} - {0}):
        items = [item for item in record.inputs if item.asked_later == number]
        reasons = [reason for item in items if (reason := walk.changed(item)) is not None]
        if reasons:
            found = [_task_of(item, vertex, known) for item in items]
            tasks = [task for task in found if task is not None]
            is_certain = any(reason.kind is not ReasonKind.UPSTREAM_RUNS for reason in reasons)
            return [] if is_certain or len(tasks) < len(items) else tasks
    return []


def _task_of(item: InputResult, user: Vertex, known: KnownResults) -> TaskOnKart[Any] | None:
    """The task whose result a run has used, as it would be asked for now."""
    cls = registry.definition_named(item.module, item.task)
    workspace: str = item.workspace or getattr(user.task, 'workspace_directory', '')
    record = newest_record(known.directory_of(workspace, item.module), f'{item.task}_{item.unique_id}')
    if cls is None or not issubclass(cls, TaskOnKart) or record is None:
        return None
    parameters = dict(cls.get_params())
    if any(map(is_secret, parameters.values())):
        return None
    given = {name: text for name, text in record.parameters.items() if name in parameters}
    given = {name: text for name, text in given.items() if parameters[name].significant or name == _WORKSPACE}
    try:
        task = cls.from_str_params(given)
        is_same = task.make_unique_id() == item.unique_id and task.workspace_directory == workspace
    except Exception:  # of a parameter that is no more as it was, or of requires()
        return None
    # of insignificant ones it is not known what would be given now, unless they have their defaults
    return task if is_same and _of_the_user(shown_texts(task)) == _of_the_user(record.parameters) else None


def _of_the_user(parameters: dict[str, str]) -> dict[str, str]:
    """Without those of all tasks, of which a record has some or all."""
    common = TaskOnKart.parameter_table().parameters
    return {name: text for name, text in parameters.items() if name not in common}


def of_another_class(vertex: Vertex, known: KnownResults) -> tuple[str, RecordedResult] | None:
    """The other task that has made the files of one, and its result, if they are not the task's own.

    By default the path of a result names the module and the unique id, so that this is only asked of paths that do not.
    """
    if vertex.place is None or not vertex.paths or '://' in vertex.place[0]:
        return None
    workspace, module = vertex.place
    if vertex.unique_id not in vertex.paths[0]:
        own, mark = known.directory_of(workspace, module), joint_mark(map(known.listing.mark, vertex.paths))
        for stem in own.stems() if mark else ():
            found = own.result(stem) if stem.rpartition('_')[0] != vertex.name else None
            if found is not None and found.files == mark and found.made_by and _is_at(own, stem, vertex.paths):
                return stem.rpartition('_')[0], found
    if f'/{module.replace(".", "/")}/' in vertex.paths[0]:
        return None
    mark = joint_mark(map(known.listing.mark, vertex.paths))
    for directory in directories_below(workspace) if mark else ():
        found = directory.result(vertex.stem) if directory.module != module else None
        if found is None or not found.made_by:
            continue
        is_here = _is_at(directory, vertex.stem, vertex.paths)
        if is_here and (found.files == mark or examine(directory, vertex.stem, vertex.paths, mark) is Files.SAME):
            return f'{directory.module}.{vertex.name}', found
    return None


def _is_at(directory: RecordDirectory, stem: str, paths: tuple[str, ...]) -> bool:
    """Whether the newest record of a result says that it is in these files."""
    record = newest_record(directory, stem)
    return record is not None and tuple(file.path for file in record.outputs) == paths


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
    #: Those of which an earlier result of today's code is kept.
    kept: set[str] = field(default_factory=set)
    #: What has changed in the code that made them, by result, as `CodeChanges.named_changes` gives it.
    changes: dict[str, tuple[tuple[str, str, str], ...]] = field(default_factory=dict)

    def without(self, other: StaleResults) -> StaleResults:
        """Those that are not in `other`."""
        return self._only(self.by_result.keys() - other.by_result.keys())

    def of_classes(self, names: Container[str]) -> StaleResults:
        """Those of the classes with these names."""
        return self._only({stem for stem, found in self.by_result.items() if found.task in names})

    def _only(self, stems: Set[str]) -> StaleResults:
        return StaleResults(
            {stem: found for stem, found in self.by_result.items() if stem in stems},
            self.kept & stems,
            {stem: found for stem, found in self.changes.items() if stem in stems},
        )

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
                stale = _stale_in(known, workspace, directory, stems, classes, module)
                found.by_result.update(stale)
                own = {name: cls for (home, name), cls in classes.items() if home == module}
                for stem, result, cls in _with_other_code(known, workspace, directory, stale, own):
                    found.changes[stem] = known.code.named_changes(workspace, result, cls)
                    if known.keeps_any(workspace, stem, cls):
                        found.kept.add(stem)
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
    own_classes = {name: cls for (home, name), cls in classes.items() if home == module}
    stale = [stem for stem, _, _ in _with_other_code(known, workspace, directory, stems, own_classes)]
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


def _with_other_code(
    known: KnownResults,
    workspace: str,
    directory: RecordDirectory,
    stems: Iterable[str],
    classes: dict[str, type],
) -> Iterator[tuple[str, RecordedResult, type]]:
    """Those of some stale results that other code than today's has made, with the class."""
    for stem in stems:
        result, cls = directory.result(stem), classes.get(stem.rpartition('_')[0])
        if result is not None and cls is not None and known.must_rerun(workspace, result, cls):
            yield stem, result, cls


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
