"""What is recorded of the results in a graph, and whether their code and their inputs are still the same."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import luigi

from kartnb.config import CodeChangePolicy, checked_policy, configured_policy
from kartnb.events import Reason, ReasonKind, TaskState
from kartnb.execution.planning.code_changes import CodeChanges, Verdict
from kartnb.execution.planning.foreign_writes import Files, examine
from kartnb.history.run_record import InputResult, RunRecord, newest_record
from kartnb.storage.contents import joint_mark
from kartnb.storage.listing import Listing
from kartnb.storage.run_records import RecordDirectory, RecordedResult, present_records
from kartnb.storage.superseded import Replacement
from kartnb.storage.targets import TargetOnKart
from kartnb.task.base import TaskOnKart

if TYPE_CHECKING:
    from kartnb.execution.planning.graph import Vertex


class KnownResults:
    """The records of the tasks of one graph, each directory listed once.

    Parameters
    ----------
    policy
        What happens to results whose code has changed, for all tasks; None for what is configured.

    Attributes
    ----------
    code
        Compares code prints.
    listing
        What is known of the files of results.
    files
        What was found of results whose files have another size or time than their records tell, by key.
    moved
        Results whose files have the recorded contents, but another time, as in a copy; with their present mark.
    """

    def __init__(self, policy: str | None = None) -> None:
        self._asked = None if policy is None else checked_policy(policy)
        self._configured = configured_policy()
        self._directories: dict[tuple[str, str], RecordDirectory] = {}
        self._policies: dict[type, CodeChangePolicy] = {}
        self._results: dict[str, RecordedResult | None] = {}
        self._listed_again: set[str] = set()
        self.code = CodeChanges()
        self.listing = Listing()
        self.files: dict[str, Files] = {}
        self.moved: dict[str, RecordedResult] = {}

    def policy(self, cls: type) -> CodeChangePolicy:
        """What happens to results of a class whose code has changed."""
        found = self._policies.get(cls)
        if found is None:
            found = self._policies[cls] = self._policy(cls)
        return found

    def _policy(self, cls: type) -> CodeChangePolicy:
        if self._asked is not None:
            return self._asked
        own = getattr(cls, 'on_code_change', None)
        if isinstance(own, str):
            return checked_policy(own, f'{cls.__name__}.on_code_change')
        return self._configured or ('rerun' if cls.__module__ == '__main__' else 'warn')

    def directory(self, task: luigi.Task) -> RecordDirectory | None:
        """The directory of a task's record; None for a task that has none."""
        if not isinstance(task, TaskOnKart):
            return None
        return self.directory_of(task.workspace_directory, type(task).__module__)

    def directory_of(self, workspace: str, module: str) -> RecordDirectory:
        """The directory of the records of a module's tasks."""
        directory = self._directories.get((workspace, module))
        if directory is None:
            directory = self._directories[workspace, module] = present_records(workspace, module)
        return directory

    def result(self, vertex: Vertex) -> RecordedResult | None:
        """What is known of the present result of a task; None when nothing is, or its files are not those any more."""
        key = vertex.key
        if key not in self._results:
            self._results[key] = self._looked_up(vertex)
        return self._results[key]

    def _looked_up(self, vertex: Vertex) -> RecordedResult | None:
        directory = self.directory(vertex.task)
        result = None if directory is None else directory.result(vertex.stem)
        if result is None or not result.files or self.policy(type(vertex.task)) == 'ignore':
            return result
        mark = joint_mark(map(self.listing.mark, vertex.paths))
        if mark in ('', result.files):
            return result
        return self._examined(vertex, mark)

    def _examined(self, vertex: Vertex, mark: str) -> RecordedResult | None:
        """What is known of a result whose files have another size or time than its record tells."""
        task: Any = vertex.task
        place = (task.workspace_directory, type(task).__module__)
        found, result = self._found(place, vertex.stem, vertex.paths, mark)
        self.files[vertex.key] = found
        if found is not Files.SAME:
            return None
        if result is not None and result.files not in ('', mark):
            self.moved[vertex.key] = replace(result, files=mark)
        return result

    def _found(
        self, place: tuple[str, str], stem: str, paths: tuple[str, ...], mark: str
    ) -> tuple[Files, RecordedResult | None]:
        directory = self._fresh(*place)
        result = directory.result(stem)  # another process may have made it meanwhile
        if result is None or result.files in ('', mark):
            return Files.SAME, result
        return examine(place[0], directory, stem, paths, mark), result

    def present_id(self, workspace: str, module: str, stem: str) -> str:
        """The id of the present result of a task that is known by its record only.

        It is '' when it is not known, and '?' for files that are not those of the record any more.
        """
        directory = self.directory_of(workspace, module)
        result = directory.result(stem)
        record = None if result is None or not result.files else newest_record(directory, stem)
        if result is None or record is None:
            return '' if result is None else result.result_id
        paths = tuple(file.path for file in record.outputs)
        mark = joint_mark(map(self.listing.mark, paths))
        if mark not in ('', result.files):
            found, result = self._found((workspace, module), stem, paths, mark)
            return '?' if found is not Files.SAME else '' if result is None else result.result_id
        return result.result_id

    def _fresh(self, workspace: str, module: str) -> RecordDirectory:
        """The directory of the records of a module's tasks, listed again once."""
        directory = self.directory_of(workspace, module)
        if directory.path not in self._listed_again:
            self._listed_again.add(directory.path)
            directory = self._directories[workspace, module] = RecordDirectory(workspace, module)
        return directory

    def result_id(self, vertex: Vertex) -> str:
        """The id of the present result of a task, '' when it is not known."""
        result = self.result(vertex)
        return '' if result is None else result.result_id

    def put(self, vertex: Vertex, result: RecordedResult | None) -> None:
        """Take down that a task has a new result, or, with None, that a run of it gave none."""
        directory = self.directory(vertex.task)
        if directory is None:
            return
        directory.note(vertex.stem, result)
        if result is not None:
            self._results[vertex.key] = result

    def record(self, vertex: Vertex) -> RunRecord | None:
        """The record of the present result of a task; None when there is none that can be read."""
        directory = self.directory(vertex.task)
        return None if directory is None else newest_record(directory, vertex.stem)

    def inputs(self, vertex: Vertex) -> tuple[InputResult, ...]:
        """The present results of what a task requires, and of what it has asked for while it ran."""
        return tuple(
            InputResult(
                other.name, other.unique_id, self.result_id(other), type(other.task).__module__, i >= vertex.declared
            )
            for i, other in enumerate(vertex.requires)
        )

    def made_of(self, vertex: Vertex) -> str:
        """A digest of the present results of what a task requires."""
        required = vertex.requires[: vertex.declared]
        return digest_of_inputs((other.unique_id, self.result_id(other)) for other in required)

    def next_result(self, vertex: Vertex, result_id: str = '') -> RecordedResult:
        """What the name of the record of a task's next result will tell."""
        made_by = self.code.print_of(type(vertex.task)).key
        return RecordedResult(result_id, made_by, self.made_of(vertex), len(vertex.requires) > vertex.declared)

    def replaced(self, vertex: Vertex) -> Replacement | None:
        """The recorded result that a run of a task will replace; None when there is none, or not all of its files."""
        if vertex.state is not TaskState.STALE or not vertex.outputs:
            return None
        directory = self.directory(vertex.task)
        if directory is None:
            return None
        if self.result(vertex) is None:
            return None
        task: Any = vertex.task
        stem = vertex.stem
        name = directory.newest(stem)
        if name is None or not all(_is_kept_file(target) for target in vertex.outputs):
            return None
        module, result_id = type(task).__module__, self.result_id(vertex)
        return Replacement(task.workspace_directory, module, stem, result_id, directory.path, name, vertex.paths)

    def verdict(self, vertex: Vertex) -> Verdict:
        """Whether the code of a task is the one that made its result."""
        result = self.result(vertex)
        if result is None or not result.made_by:
            return Verdict('unknown', 'no record tells by what code it was made')
        task: Any = vertex.task
        kept_for = result.kept_for[0] if result.kept_for else ''
        return self.code.compare(task.workspace_directory, result.made_by, type(task), kept_for)

    def newer_input(self, vertex: Vertex) -> Reason | None:
        """The reason when an input of a task is not the one that its result was made from."""
        result = self.result(vertex)
        if result is None or not result.made_of:
            return None
        now = self.made_of(vertex)
        if now == result.made_of or (result.kept_for is not None and now == result.kept_for[1]):
            return None
        return Reason(ReasonKind.NEWER_RESULT, self._newer(vertex))

    def _newer(self, vertex: Vertex) -> str:
        """The names of the inputs that are newer; '' where the record does not tell."""
        record = self.record(vertex)
        if record is None:
            return ''
        known = {item.unique_id: item.result_id for item in record.inputs}
        newer = [other for other in vertex.requires if known.get(other.unique_id) != self.result_id(other)]
        return ', '.join(dict.fromkeys(other.name for other in newer))


def _is_kept_file(target: Any) -> bool:
    return isinstance(target, TargetOnKart) and target.is_plain_file


def digest_of_inputs(results: Iterable[tuple[str, str]]) -> str:
    """A digest of results, given by unique id and result id; '0' for none."""
    text = '\n'.join(f'{unique_id} {result_id}' for unique_id, result_id in results)
    return hashlib.blake2b(text.encode(), digest_size=5).hexdigest() if text else '0'
