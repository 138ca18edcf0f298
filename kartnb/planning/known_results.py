"""What is recorded of the results in a graph: which exist, by what code, and whether their files are unchanged.

`KnownResults` answers the questions of the rules in `kartnb.planning.staleness`, each once. `CodeChanges` compares code
prints, and `examine` the files of a result. A plan compares size and time of the files with what the name of the record
says, and opens the record only where these differ: copies of a workspace, and files that were only touched, still
count.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any, Literal

from kartnb.config import CodeChangePolicy, checked_policy, configured_policy
from kartnb.history.makers import Makers
from kartnb.history.run_record import InputResult, RunRecord, iso_seconds, newest_record
from kartnb.model import TaskState
from kartnb.storage.census import Listing
from kartnb.storage.files import Look, ResultFiles, is_whole, joint_mark
from kartnb.storage.filesystem import file_system
from kartnb.storage.places import read_code
from kartnb.storage.run_lock import Holder
from kartnb.storage.run_records import RecordDirectory, RecordedResult, present_records
from kartnb.storage.superseded import Replacement
from kartnb.storage.targets import SingleFileTarget, TargetOnKart
from kartnb.task.code_parts import PYTHON, Part, part_digest, parts_from_json, print_of_parts
from kartnb.task.code_print import CodePrint, Printer

if TYPE_CHECKING:
    from kartnb.planning.graph import Vertex

#: Some disks and servers keep the time of a file less exactly after a while: in steps of at most so many seconds.
_CLOCK_STEP = 2.0
#: A record's file that cannot be given the time at which its run ended is at most so many seconds younger.
_WRITING_TIME = 0.1
#: Seconds between two looks whether a run has ended.
_LOOK = 0.02
_ROUNDING = 1e-6
_MOST_REMEMBERED = 1 << 18
_MOST_NAMED = 3
#: The digest of no inputs. It is not '', which means that the inputs were not recorded.
_OF_NOTHING = '0'


class KnownResults:
    """The records of the tasks of one graph, each directory listed once.

    `policy` says for all tasks what happens to results whose code has changed; None for what is configured.
    """

    def __init__(self, policy: str | None = None) -> None:
        self._asked = None if policy is None else checked_policy(policy)
        self._configured = configured_policy()
        self._directories: dict[tuple[str, str], RecordDirectory] = {}
        self._policies: dict[type, CodeChangePolicy] = {}
        self._results: dict[str, RecordedResult | None] = {}
        #: The files of results that this process has made since.
        self._made: dict[str, ResultFiles] = {}
        self._listed_again: set[str] = set()
        self._seen_records: dict[str, tuple[str, ...]] = {}
        #: Whether a run is under way, or was broken off, in one of the directories; most plans see none.
        self.has_marks = False
        self.code = CodeChanges()
        self.listing = Listing()
        self.makers = Makers()
        #: What was found of results whose files have another size or time than recorded, by key.
        self.files: dict[str, Files] = {}
        #: Results whose files have the recorded contents, but another time, as in a copy; with their present mark.
        self.moved: dict[str, RecordedResult] = {}

    def look_for_files(self, vertices: Iterable[Vertex]) -> None:
        """Find out which output files of some tasks exist, with as few questions as possible."""
        # a run writes files after it has left a mark and before it leaves a record: who looks for files first, and for
        # marks and records then, takes no file of an unfinished run for a result
        self._listed_again.clear()
        self.listing = Listing(
            path for vertex in vertices if all(map(is_plain_file, vertex.outputs)) for path in vertex.paths
        )

    def first_missing(self, vertex: Vertex) -> str | None:
        """The path of a task's first output that does not exist, or None."""
        for target, path in zip(vertex.outputs, vertex.paths, strict=True):
            if not (self.listing.exists(path) if is_plain_file(target) else target.exists()):
                return path
        return None

    def all_exist(self, vertex: Vertex) -> bool:
        """Whether a task has outputs and all of them exist."""
        return bool(vertex.outputs) and self.first_missing(vertex) is None

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

    def directory(self, vertex: Vertex) -> RecordDirectory | None:
        """The directory of a task's record; None for a task that has none."""
        place = vertex.place
        return None if place is None else self._directories.get(place) or self.directory_of(*place)

    def directory_of(self, workspace: str, module: str) -> RecordDirectory:
        """The directory of the records of a module's tasks."""
        directory = self._directories.get((workspace, module))
        if directory is None:
            directory = self._directories[workspace, module] = present_records(workspace, module)
            self.has_marks = self.has_marks or bool(directory.marks)
        return directory

    def result(self, vertex: Vertex) -> RecordedResult | None:
        """What is known of the present result of a task; None when nothing is, or its files are not those any more."""
        try:
            return self._results[vertex.key]
        except KeyError:
            found = self._results[vertex.key] = self._looked_up(vertex)
            return found

    def _looked_up(self, vertex: Vertex) -> RecordedResult | None:
        directory = self.directory(vertex)
        if directory is None or vertex.place is None:
            return None
        result = directory.result(vertex.stem)
        if result is None and self.all_exist(vertex):
            directory = self._fresh(*vertex.place)
            result = directory.result(vertex.stem)
        self._seen_records[vertex.key] = directory.names(vertex.stem)
        if result is None:
            return None
        if not result.files:  # it cannot be told whether they were written since
            return None if self._is_marked(vertex) else result
        if self.policy(type(vertex.task)) == 'ignore' and not self._is_marked(vertex):
            return result
        mark = joint_mark(map(self.listing.mark, vertex.paths))
        if mark in ('', result.files):
            return result
        return self._examined(vertex, vertex.place, mark)

    def _examined(self, vertex: Vertex, place: tuple[str, str], mark: str) -> RecordedResult | None:
        """What is known of a result whose files have another size or time than recorded."""
        found, result = self._found(place, vertex.stem, vertex.paths, mark)
        if found is not Files.SAME and self._is_marked(vertex):
            found = Files.UNFINISHED
        self.files[vertex.key] = found
        if found is not Files.SAME:
            return None
        if result is not None and result.files not in ('', mark):
            self.moved[vertex.key] = result._replace(files=mark)
        return result

    def _found(
        self, place: tuple[str, str], stem: str, paths: tuple[str, ...], mark: str
    ) -> tuple[Files, RecordedResult | None]:
        directory = self._fresh(*place)
        result = directory.result(stem)  # another process may have made it meanwhile
        if result is None or result.files in ('', mark):
            return Files.SAME, result
        return examine(directory, stem, paths, mark), result

    def changed_files(self, vertex: Vertex) -> Files | None:
        """What was found of the files of a task whose result is not the recorded one any more; None for others."""
        return self.files.get(vertex.key) if self.result(vertex) is None else None

    def is_unfinished(self, vertex: Vertex) -> bool:
        """Whether files of a task may be those of a run that has not ended, or was broken off."""
        if not self._is_marked(vertex) or self.result(vertex) is not None or not self.all_exist(vertex):
            return False
        return self.changed_files(vertex) in (None, Files.UNFINISHED)

    def is_cut_short(self, vertex: Vertex) -> bool:
        """Whether a part of the files of a result was lost."""
        return self.changed_files(vertex) is Files.CUT_SHORT

    def _is_marked(self, vertex: Vertex) -> bool:
        directory = self.directory(vertex)
        return directory is not None and directory.is_marked(vertex.stem)

    def holder(self, vertex: Vertex) -> Holder | None:
        """Who runs a task now, as far as its directory says; None when nobody does."""
        directory = self.directory(vertex) if self.has_marks else None
        return directory.holder(vertex.stem) if directory is not None else None

    def broken_off(self) -> Iterator[tuple[str, RecordDirectory, str]]:
        """Runs that were broken off, as far as the listed directories say: workspace, directory, and the mark's name.

        Where that cannot be asked, on disks without locks, all that are marked are given.
        """
        for (workspace, _), directory in list(self._directories.items()):
            for stem, names in list(directory.marks.items()):
                if directory.holder(stem) is None:
                    yield from ((workspace, directory, name) for name in names)

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
            self.has_marks = self.has_marks or bool(directory.marks)
        return directory

    def seen_records(self, vertex: Vertex) -> tuple[str, ...]:
        """The names of the records of a task when its result was looked up."""
        self.result(vertex)
        return self._seen_records.get(vertex.key, ())

    def result_id(self, vertex: Vertex) -> str:
        """The id of the present result of a task, '' when it is not known."""
        result = self.result(vertex)
        return '' if result is None else result.result_id

    def put(self, vertex: Vertex, result: RecordedResult | None, look: Look = ()) -> None:
        """Note that a task has a new result, or, with None, that a run of it gave none.

        `look` is what its files looked like when this process has recorded it.
        """
        directory = self.directory(vertex)
        if directory is None:
            return
        name, self._seen_records[vertex.key] = directory.note(vertex.stem, result)
        self._made.pop(vertex.key, None)
        if result is not None:
            self._results[vertex.key] = result
            if look:
                place = f'{directory.path}/{name}'
                self._made[vertex.key] = ResultFiles(vertex.name, vertex.paths, result.files, place, look)

    def record(self, vertex: Vertex) -> RunRecord | None:
        """The record of the present result of a task; None when there is none that can be read."""
        directory = self.directory(vertex)
        return None if directory is None else newest_record(directory, vertex.stem)

    def inputs(self, vertex: Vertex) -> tuple[InputResult, ...]:
        """The present results of what a task requires, and of what it has asked for while it ran."""
        return tuple(
            [
                InputResult(
                    other.name,
                    other.unique_id,
                    self.result_id(other),
                    type(other.task).__module__,
                    i >= vertex.declared,
                )
                for i, other in enumerate(vertex.requires)
            ]
        )

    def reads(self, vertex: Vertex) -> tuple[ResultFiles, ...]:
        """The files of the results that a task is made from, as they are known; of those on this computer's disks."""
        return tuple([files for other in vertex.requires if (files := self.files_of(other)) is not None])

    def files_of(self, vertex: Vertex) -> ResultFiles | None:
        """The files of the present result of a task; None when they are not known, or not on a disk."""
        made = self._made.get(vertex.key)
        if made is not None:
            return made
        result = self.moved.get(vertex.key) or self.result(vertex)
        if result is None or not result.files or not vertex.paths or '://' in vertex.paths[0]:
            return None
        directory = self.directory(vertex)
        name = None if directory is None else directory.newest(vertex.stem)
        if directory is None or name is None:
            return None
        return ResultFiles(vertex.name, vertex.paths, result.files, f'{directory.path}/{name}')

    def files_of_equal(self, vertex: Vertex) -> ResultFiles | None:
        """As `files_of`, of a result that another build has made since; None when it is not of this code and inputs.

        While a run may still replace it, this waits.
        """
        if vertex.place is None:
            return None
        directory = RecordDirectory(*vertex.place)
        while directory.holder(vertex.stem) is not None:
            time.sleep(_LOOK)
            directory = RecordDirectory(*vertex.place)
        self._directories[vertex.place] = directory
        before, now = self.result(vertex), directory.result(vertex.stem)
        if before is None or now is None or (before.made_by, before.made_of) != (now.made_by, now.made_of):
            return None
        self._results[vertex.key] = now
        self._made.pop(vertex.key, None)
        self.moved.pop(vertex.key, None)
        return self.files_of(vertex)

    def made_of(self, vertex: Vertex) -> str:
        """A digest of the present results of what a task requires."""
        required = vertex.requires[: vertex.declared]
        if not required:
            return _OF_NOTHING
        return digest_of_inputs([(other.unique_id, self.result_id(other)) for other in required])

    def next_result(self, vertex: Vertex, result_id: str = '') -> RecordedResult:
        """What the name of the record of a task's next result will say."""
        made_by = self.code.print_of(type(vertex.task)).key
        return RecordedResult(result_id, made_by, self.made_of(vertex), len(vertex.requires) > vertex.declared)

    def replaced(self, vertex: Vertex) -> Replacement | None:
        """The recorded result that a run of a task will replace; None when there is none, or not all of its files."""
        return self.present(vertex) if vertex.verdict.state is TaskState.STALE else None

    def present(self, vertex: Vertex) -> Replacement | None:
        """The recorded result of a task, as it can be set aside; None when there is none, or it is not in files."""
        directory, result = self.directory(vertex), self.result(vertex)
        name = None if directory is None else directory.newest(vertex.stem)
        if directory is None or result is None or name is None or vertex.place is None:
            return None
        if not vertex.outputs or not all(map(is_plain_file, vertex.outputs)):
            return None
        return Replacement(*vertex.place, vertex.stem, result.result_id, directory.path, name, vertex.paths)

    def code_change(self, vertex: Vertex) -> CodeComparison:
        """Whether the code of a task is the one that made its result."""
        result = self.result(vertex)
        if result is None or not result.made_by:
            return CodeComparison('unknown', 'its code was not recorded')
        task: Any = vertex.task
        return self.code.compare(task.workspace_directory, result, type(task))

    def must_rerun(self, workspace: str, result: RecordedResult, cls: type) -> bool:
        """Whether other code than that of a class now made a result, and the policy is to run it again then."""
        if not result.made_by or self.policy(cls) != 'rerun':
            return False
        return self.code.compare(workspace, result, cls).answer == 'changed'


def is_plain_file(target: Any) -> bool:
    """Whether a target exists where its path exists, so that one listing answers for many."""
    # the first question is much quicker than the second, which goes through an abstract base class
    is_ours = type(target) is SingleFileTarget or isinstance(target, TargetOnKart)
    return is_ours and target.is_plain_file


def is_made_of(result: RecordedResult, digest: str) -> bool:
    """Whether a result counts as made from inputs with such a digest; True where its inputs are not recorded."""
    return result.made_of in ('', digest) or (result.kept_for is not None and result.kept_for[1] == digest)


def digest_of_inputs(results: Iterable[tuple[str, str]]) -> str:
    """A digest of results, given by unique id and result id; `_OF_NOTHING` for none."""
    text = '\n'.join([f'{unique_id} {result_id}' for unique_id, result_id in results])
    return hashlib.blake2b(text.encode(), digest_size=5).hexdigest() if text else _OF_NOTHING


Answer = Literal['same', 'changed', 'unknown']


@dataclass(frozen=True, slots=True)
class CodeComparison:
    """Whether code has changed, and what of it (or why that is unknown)."""

    answer: Answer
    detail: str = ''


_SAME = CodeComparison('same')


class CodeChanges:
    """Compares prints; each pair once, and each class printed once."""

    def __init__(self) -> None:
        #: Gives the code print of a class as it is now.
        self.print_of: Callable[[type], CodePrint] = Printer().print_of
        self._compared: dict[tuple[str, str, str], CodeComparison] = {}
        self._parts: dict[tuple[str, str], tuple[Part, ...] | None] = {}

    def compare(self, workspace: str, result: RecordedResult, cls: type) -> CodeComparison:
        """Whether a result in a workspace was made by the code of a class as it is now, or is kept for that code."""
        now, made_by = self.print_of(cls), result.made_by
        if now.key == made_by or (result.kept_for is not None and now.key == result.kept_for[0]):
            return _unknown(now) if now.unknown else _SAME
        key = (workspace, made_by, now.key)
        found = self._compared.get(key)
        if found is None:
            found = self._compared[key] = self._compare(workspace, made_by, now)
        return found

    def _compare(self, workspace: str, made_by: str, now: CodePrint) -> CodeComparison:
        before = self.parts(workspace, made_by)
        if made_by.partition('-')[0] != PYTHON:
            if before is None:
                return CodeComparison('unknown', 'it was made under another Python, and its source was not kept')
            # bytecode differs between Python versions for the same source
            if any(part.kind == 'code' for part in (*before, *now.parts)):
                return CodeComparison(
                    'unknown', 'it was made under another Python, and some of its source is not available'
                )
            # syntax trees differ between versions too, so the recorded source is printed again under this one
            if print_of_parts(before) == now.digest:
                return _unknown(now) if now.unknown else _SAME
        return CodeComparison('changed', _differences(before, now.parts))

    def parts(self, workspace: str, key: str) -> tuple[Part, ...] | None:
        """As `recorded_parts`, each print read once."""
        if (workspace, key) not in self._parts:
            self._parts[workspace, key] = recorded_parts(workspace, key)
        return self._parts[workspace, key]


def recorded_parts(workspace: str, key: str) -> tuple[Part, ...] | None:
    """The parts of a print that was recorded; None when they were not kept, or are damaged."""
    text = read_code(workspace, key)
    try:
        return None if text is None else parts_from_json(text)
    except ValueError:
        return None


def changed_names(before: tuple[Part, ...], now: tuple[Part, ...]) -> list[str]:
    """The names of the parts that differ."""
    old, new = ({part.name: (part.kind, part_digest(part)) for part in parts} for parts in (before, now))
    return [name for name in dict.fromkeys([*new, *old]) if old.get(name) != new.get(name)]


def _differences(before: tuple[Part, ...] | None, now: tuple[Part, ...]) -> str:
    if before is None:
        return ''
    names = changed_names(before, now)
    more = f' and {len(names) - _MOST_NAMED} more' if len(names) > _MOST_NAMED else ''
    return ', '.join(names[:_MOST_NAMED]) + more


def _unknown(now: CodePrint) -> CodeComparison:
    return CodeComparison('unknown', '; '.join(now.unknown[:_MOST_NAMED]))


class Files(Enum):
    """What became of the files of a result that have another size or time than recorded."""

    SAME = 'the same contents'
    FOREIGN = 'modified outside kartnb'
    UNFINISHED = 'written by a run that has not ended'
    CUT_SHORT = 'shorter than what was written'


_found_same: set[tuple[str, str]] = set()


def examine(directory: RecordDirectory, stem: str, paths: tuple[str, ...], mark: str) -> Files:
    """Find out whether the files of a result are still what was recorded, by their contents.

    `mark` is their joint mark as they are now: contents that were found the same under it are not compared again.
    """
    key = (os.path.abspath(os.path.join(directory.path, directory.newest(stem) or '')), mark)
    if key in _found_same:
        return Files.SAME
    record = newest_record(directory, stem)
    if _is_same(record, paths, directory.written(stem)):
        if len(_found_same) > _MOST_REMEMBERED:
            _found_same.clear()
        _found_same.add(key)
        return Files.SAME
    return Files.CUT_SHORT if _is_cut_short(record, paths) else Files.FOREIGN


def _is_cut_short(record: RunRecord | None, paths: tuple[str, ...]) -> bool:
    """Whether a file was lost in part, as when the power fails: it is empty, or shorter with the time of then."""
    if record is None or len(record.outputs) != len(paths):
        return False
    now = [file_system(path).stamp(path) for path in paths]
    return any(
        file.size is not None and size < file.size and (size == 0 or _is_one_moment(file.modified or 0.0, modified))
        for file, (size, modified) in zip(record.outputs, now, strict=True)
    )


def _is_same(record: RunRecord | None, paths: tuple[str, ...], record_written: float) -> bool:
    if record is None:
        return False
    if len(record.outputs) != len(paths):
        return True  # the task has other outputs now: there is nothing to compare
    seen = [file_system(path).seen(path) for path in paths]
    if any(file.size not in (None, now.size) for file, now in zip(record.outputs, seen, strict=True)):
        return False
    checks = record.checks if len(record.checks) == len(paths) else ('',) * len(paths)
    if any(check not in ('', now.check) for check, now in zip(checks, seen, strict=True)):
        return False
    in_part = [
        (file.modified or 0.0, now.modified)
        for check, file, now in zip(checks, record.outputs, seen, strict=True)
        if not is_whole(check)
    ]
    return all(_is_one_moment(*times) for times in in_part) or _was_copied(record, record_written)


def _is_one_moment(recorded: float, now: float) -> bool:
    return recorded == now or (now == int(now) and abs(recorded - now) < _CLOCK_STEP)


def _was_copied(record: RunRecord, record_written: float) -> bool:
    """Whether the record is a copy without its time: then the times of the results say nothing either."""
    ended = iso_seconds(record.ended)
    if ended is None:
        return True
    if '://' in record.outputs[0].path:
        return abs(record_written - ended) > _WRITING_TIME
    return abs(record_written - ended) > _ROUNDING and not _is_one_moment(ended, record_written)
