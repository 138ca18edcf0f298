"""What is recorded of the results in a graph: which exist, by what code, and whether their files are unchanged.

`KnownResults` answers the questions of the rules in `kartnb.planning.staleness`, each once. `examine` compares the
files of a result. A plan compares size and time of the files with what the name of the record says, and opens the
record only where these differ: copies of a workspace, and files that were only touched, still count.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import luigi

from kartnb.config import (
    OPTION,
    VERSION_OPTION,
    CodeChangePolicy,
    VersionPolicy,
    checked_policy,
    checked_version_policy,
    configured_policy,
    configured_version_policy,
)
from kartnb.errors import MissingResultError, StorageError
from kartnb.history.makers import Makers
from kartnb.history.package_versions import by_distribution, changed_versions, versions_of
from kartnb.history.run_record import InputResult, RunRecord, input_text, newest_record
from kartnb.model import TaskState
from kartnb.planning.code_changes import CodeChanges, CodeComparison
from kartnb.planning.result_files import Files, examine, is_intact, is_plain_file, marks_of, record_of
from kartnb.storage.census import Listing
from kartnb.storage.file_inputs import FileComparison, FileInput, compare, is_masked, is_remote, problem_of, shown_path
from kartnb.storage.files import Look, ResultFiles, joint_mark, look_at_files
from kartnb.storage.filesystem import at_home
from kartnb.storage.places import record_stem
from kartnb.storage.run_lock import Holder
from kartnb.storage.run_records import RecordDirectory, RecordedResult, present_records
from kartnb.storage.superseded import Replacement, Superseded, Variant, superseded_result, variants
from kartnb.storage.targets import is_luigis_file, is_rolled_back
from kartnb.task.code.loaded import changed_modules, was_reloaded
from kartnb.task.code.own import is_of_notebook
from kartnb.task.parameters import given_files
from kartnb.task.results import outside_files

if TYPE_CHECKING:
    from kartnb.planning.graph import Vertex

#: Seconds between two looks whether a run has ended.
_LOOK = 0.02
#: How often a record that other builds replace meanwhile is looked up.
_TRIES = 5
_MOST_REMEMBERED = 1 << 18
#: The digest of no inputs. It is not '', which means that the inputs were not recorded.
_OF_NOTHING = '0'


class KnownResults:
    """The records of the tasks of one graph, each directory listed once.

    `policy` says for all tasks what happens to results whose code has changed, and `version_policy` to those that other
    versions of packages have made; None for what is configured.
    """

    def __init__(self, policy: str | None = None, version_policy: str | None = None) -> None:
        #: The policy that was asked for; None when each class has its own.
        self.asked = None if policy is None else checked_policy(policy)
        self._configured = configured_policy()
        #: The policy for versions of packages that was asked for; None when each class has its own.
        self.asked_for_versions = None if version_policy is None else checked_version_policy(version_policy)
        self._configured_for_versions = configured_version_policy()
        self._version_policies: dict[type, Mapping[str, VersionPolicy]] = {}
        #: Modules of the user's that hold other code on disk than what is loaded.
        self.changed_modules = changed_modules()
        self._directories: dict[tuple[str, str], RecordDirectory] = {}
        self._policies: dict[type, CodeChangePolicy] = {}
        self._results: dict[str, RecordedResult | None] = {}
        #: The files of results that this process has made since.
        self._made: dict[str, ResultFiles] = {}
        self._listed_again: set[str] = set()
        self._seen_records: dict[str, tuple[str, ...]] = {}
        #: Whether a run is under way, or was broken off, in one of the directories; most plans see none.
        self.has_marks = False
        #: What is said of superseded results that were put back for this plan, by key.
        self.brought_back: dict[str, str] = {}
        #: Superseded results that could not be put back, by id.
        self.not_available: set[str] = set()
        self._variants: dict[str, dict[str, list[Variant]]] = {}
        self._uses_class: dict[tuple[type, type], bool] = {}
        #: Superseded results that stand for the present ones.
        self._assumed: dict[str, Superseded] = {}
        #: Tasks whose files are results of other classes.
        self.of_others: set[str] = set()
        #: Superseded results that would do, but for what has become of files that their runs wrote too.
        self.written_over: dict[str, str] = {}
        #: What has to be put back together with these, of tasks that are not in the graph, by key.
        self.returning: dict[str, tuple[Superseded, ...]] = {}
        self.code = CodeChanges()
        self.listing = Listing()
        self.makers = Makers()
        #: What was found of results whose files have another size or time than recorded, by key.
        self.files: dict[str, Files] = {}
        self._compared_files: dict[FileInput, FileComparison] = {}
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
        self.version_policy(cls)  # a mistake in the class is told although nothing may have been recorded yet
        is_worked_on = is_of_notebook(cls) or was_reloaded(cls)
        return self.chosen_policy(cls) or ('rerun' if is_worked_on else 'warn')

    def chosen_policy(self, cls: type) -> CodeChangePolicy | None:
        """The policy that somebody has chosen for a class; None where none was."""
        if self.asked is not None:
            return self.asked
        own = _own_setting(cls, OPTION)
        return self._configured if own is None else checked_policy(own, f'{cls.__name__}.{OPTION}')

    def version_policy(self, cls: type) -> Mapping[str, VersionPolicy]:
        """What happens to results of a class that other versions of packages have made, by package ('' for others).

        It is empty where nothing happens.
        """
        found = self._version_policies.get(cls)
        if found is None:
            found = self._version_policies[cls] = self._version_policy(cls)
        return found

    def _version_policy(self, cls: type) -> Mapping[str, VersionPolicy]:
        own = _own_setting(cls, VERSION_OPTION)
        where = f'{cls.__name__}.{VERSION_OPTION}'
        usual = self._configured_for_versions
        if self.asked_for_versions is not None:
            policies = {'': self.asked_for_versions}
        elif isinstance(own, Mapping):
            named = {str(name): checked_version_policy(policy, f'{where}[{name!r}]') for name, policy in own.items()}
            policies = {'': usual, **named}
        else:
            policies = {'': usual if own is None else checked_version_policy(own, where)}
        if all(policy == 'ignore' for policy in policies.values()):
            return {}
        return by_distribution(policies)

    def other_versions(self, cls: type, record: RunRecord) -> Mapping[VersionPolicy, list[str]]:
        """How the packages that the code of a class reaches differ from those of then, by what happens about it."""
        policies = self.version_policy(cls)
        if not policies:
            return {}
        changed = changed_versions(record.versions, versions_of(self.code.print_of(cls).packages))
        found: dict[VersionPolicy, list[str]] = {}
        for name, words in changed.items():
            found.setdefault(policies.get(name, policies.get('', 'ignore')), []).append(words)
        return found

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
            if result is None and not directory.is_marked(vertex.stem):
                directory, result = self._beside_runs(vertex, directory)
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

    def _beside_runs(self, vertex: Vertex, directory: RecordDirectory) -> tuple[RecordDirectory, RecordedResult | None]:
        """What the records say of files that seem to be of no run, whatever builds do at the same time.

        A run may have ended, been rolled back or begun between the looks at files and records.
        """
        if '://' in directory.path or vertex.place is None or not all(map(is_rolled_back, vertex.outputs)):
            return directory, None
        paths = [at_home(path) for path in vertex.paths]
        look, result = look_at_files(paths), None
        if look and directory.is_of_nobody(vertex.stem, look):
            return directory, None
        for _ in range(_TRIES):
            if not look:
                self.listing.look_again(vertex.paths)
                return directory, None
            # a run marks the task first, and then writes: while a file stays as it is without a mark, none has made it
            is_free = not directory.is_under_way(vertex.stem)
            directory = self._directories[vertex.place] = RecordDirectory(*vertex.place)
            result = directory.result(vertex.stem)
            is_free = is_free and not directory.is_marked(vertex.stem)
            before, look = look, look_at_files(paths)
            if is_free and (result is not None or look == before):
                return directory, result
        self.has_marks = self.has_marks or bool(directory.marks)
        self.files[vertex.key] = Files.UNFINISHED
        return directory, None

    def _examined(self, vertex: Vertex, place: tuple[str, str], mark: str) -> RecordedResult | None:
        """What is known of a result whose files have another size or time than recorded."""
        found, result, mark = self._found(place, vertex.stem, vertex.paths, mark)
        self._seen_records[vertex.key] = self.directory_of(*place).names(vertex.stem)
        self.files[vertex.key] = found
        if found is not Files.SAME:
            return None
        if result is not None and result.files not in ('', mark):
            self.moved[vertex.key] = result._replace(files=mark)
        return result

    def _found(
        self, place: tuple[str, str], stem: str, paths: tuple[str, ...], mark: str
    ) -> tuple[Files, RecordedResult | None, str]:
        """What became of files with another mark than recorded, the result, and the mark that they have by then."""
        directory = self._fresh(*place)
        for _ in range(_TRIES):
            result = directory.result(stem)  # another process may have made it meanwhile
            if result is None:
                return Files.UNFINISHED if directory.is_marked(stem) else Files.SAME, None, mark
            if result.files in ('', mark):
                return Files.SAME, result, mark
            try:
                found = examine(directory, stem, paths, mark)
                is_under_way = found is not Files.SAME and directory.is_under_way(stem)
                if is_under_way and directory.is_marked(stem):
                    return Files.UNFINISHED, None, mark
                # last, so that all this is of one result
                if not is_under_way and directory.has_newest(stem) and joint_mark(marks_of(paths)) == mark:
                    return found, result, mark
            except MissingResultError:  # another build replaces the record just now
                pass
            directory = self._directories[place] = RecordDirectory(*place)
            self.has_marks = self.has_marks or bool(directory.marks)
            mark = joint_mark(marks_of(paths))
        return Files.UNFINISHED, None, mark

    def changed_files(self, vertex: Vertex) -> Files | None:
        """What was found of the files of a task whose result is not the recorded one any more; None for others."""
        return self.files.get(vertex.key) if self.result(vertex) is None else None

    def is_unfinished(self, vertex: Vertex) -> bool:
        """Whether files of a task may be those of a run that has not ended, or was broken off."""
        if self.result(vertex) is not None:
            return False
        found, is_marked = self.changed_files(vertex), self._is_marked(vertex)
        return (found is Files.UNFINISHED or (found is None and is_marked)) and self.all_exist(vertex)

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

    def present_input(self, workspace: str, module: str, stem: str, with_code: bool = False) -> str:
        """What stands for the present result of a task that is known by its record only; with its code if asked for.

        It is '' when it is not known, and '?' for files that are not those of the record any more.
        """
        directory = self.directory_of(workspace, module)
        result = directory.result(stem)
        record = None if result is None or not result.files else newest_record(directory, stem)
        if result is None or record is None:
            return _text_of(result, with_code)
        paths = tuple(file.path for file in record.outputs)
        mark = joint_mark(map(self.listing.mark, paths))
        if mark not in ('', result.files):
            found, result, _ = self._found((workspace, module), stem, paths, mark)
            return '?' if found is not Files.SAME else _text_of(result, with_code)
        return _text_of(result, with_code)

    def _fresh(self, workspace: str, module: str) -> RecordDirectory:
        """The directory of the records of a module's tasks, listed again once."""
        directory = self.directory_of(workspace, module)
        if directory.path not in self._listed_again:
            self._listed_again.add(directory.path)
            directory = self._directories[workspace, module] = RecordDirectory(workspace, module)
            self.has_marks = self.has_marks or bool(directory.marks)
        return directory

    def _record_name(self, vertex: Vertex) -> str | None:
        """The name of the record of the result that is known of a task; None when there is none.

        The directory may have been listed again since, and name another one.
        """
        result = self.result(vertex)
        names = self._seen_records.get(vertex.key, ()) if result is not None else ()
        return next((name for name in names if result is not None and f'~r{result.result_id}' in name), None)

    def seen_records(self, vertex: Vertex) -> tuple[str, ...]:
        """The names of the records of a task when its result was looked up."""
        self.result(vertex)
        return self._seen_records.get(vertex.key, ())

    def result_id(self, vertex: Vertex) -> str:
        """The id of the present result of a task, '' when it is not known."""
        result = self.result(vertex)
        return '' if result is None else result.result_id

    def contents(self, vertex: Vertex) -> str:
        """A digest of the contents of the present result of a task, '' when it is not known."""
        result = self.result(vertex)
        return '' if result is None else result.contents

    def as_input(self, vertex: Vertex) -> str:
        """What stands for the present result of a task in the digests of those that are made from it."""
        result = self.result(vertex)
        return '' if result is None else result.contents or result.result_id

    def variants(self, vertex: Vertex) -> Iterator[tuple[Superseded, RecordedResult]]:
        """Superseded results of a task that its code and its inputs of now would give, the latest first."""
        if vertex.place is None or not vertex.outputs or not all(map(is_plain_file, vertex.outputs)):
            return
        if not self._kept(vertex.place[0], vertex.stem):
            return
        wanted = self.code.print_of(type(vertex.task)).key, self.made_of(vertex)

        def fits(result: RecordedResult) -> bool:
            return wanted in ((result.made_by, result.made_of), result.kept_for)

        for one, result in self.kept_results(*vertex.place, vertex.stem, fits):
            if len(one.files) == len(vertex.paths):
                yield one, result

    def kept_results(
        self, workspace: str, module: str, stem: str, fits: Callable[[RecordedResult], bool]
    ) -> Iterator[tuple[Superseded, RecordedResult]]:
        """The superseded results of a task that are intact, the latest first, of those whose names fit."""
        fitting = [x for x in self._kept(workspace, stem) if fits(x.result) and x.name not in self.not_available]
        read = [(superseded_result(workspace, variant.name), variant.result) for variant in fitting]
        kept = [(x, result) for x, result in read if x is not None and (x.module, x.stem) == (module, stem)]
        for one, result in sorted(kept, key=lambda pair: pair[0].time, reverse=True):
            if is_intact(one, result):
                yield one, result

    def _kept(self, workspace: str, stem: str) -> list[Variant]:
        every = self._variants.get(workspace)
        if every is None:
            every = self._variants[workspace] = _variants_of(workspace)
        return every.get(record_stem(stem), []) if every else []

    def keeps_any(self, workspace: str, stem: str, cls: type) -> bool:
        """Whether a superseded result of a task is kept that today's code of its class made."""
        kept = self._kept(workspace, stem)
        return bool(kept) and self.code.print_of(cls).key in {variant.result.made_by for variant in kept}

    def assume(self, vertex: Vertex, kept: Superseded | None, result: RecordedResult | None = None) -> None:
        """Let a superseded result stand for the present one of a task; None ends that."""
        if kept is not None and result is not None:
            self._assumed[vertex.key] = kept
            self._results[vertex.key] = result
        else:
            self._assumed.pop(vertex.key, None)
            self._results.pop(vertex.key, None)

    def put(self, vertex: Vertex, result: RecordedResult | None, look: Look = ()) -> None:
        """Note that a task has a new result, or, with None, that a run of it gave none.

        `look` is what its files looked like when this process has recorded it.
        """
        directory = self.directory(vertex)
        if directory is None:
            return
        name, self._seen_records[vertex.key] = directory.note(vertex.stem, result)
        self._assumed.pop(vertex.key, None)
        self._made.pop(vertex.key, None)
        if result is not None:
            self._results[vertex.key] = result
            if look:
                place = f'{directory.path}/{name}'
                self._made[vertex.key] = ResultFiles(vertex.name, vertex.paths, result.files, place, look)

    def record(self, vertex: Vertex) -> RunRecord | None:
        """The record of the present result of a task; None when there is none that can be read."""
        kept = self._assumed.get(vertex.key)
        if kept is not None:
            return record_of(kept)
        directory = self.directory(vertex)
        return None if directory is None else newest_record(directory, vertex.stem, self._record_name(vertex))

    def inputs(self, vertex: Vertex) -> tuple[InputResult, ...]:
        """The present results of what a task requires, and of what it has asked for while it ran."""
        return tuple([self.input_of(other, vertex.request_of(i), vertex) for i, other in enumerate(vertex.requires)])

    def code_of_input(self, user: Vertex, vertex: Vertex) -> str:
        """The code that made the present result of a task, where `user` uses more of its class than that; else ''."""
        pair = (type(user.task), type(vertex.task))
        found = self._uses_class.get(pair)
        if found is None:
            is_ours = user.place is not None and vertex.place is not None
            found = self._uses_class[pair] = is_ours and self.code.print_of(pair[0]).uses_class(pair[1])
        result = self.result(vertex) if found else None
        return '' if result is None else result.made_by

    def input_text(self, user: Vertex, vertex: Vertex) -> str:
        """What stands for the present result of a task in the digest of `user`'s, which is made from it."""
        return input_text(self.as_input(vertex), self.code_of_input(user, vertex))

    def input_of(self, vertex: Vertex, asked_later: int, user: Vertex | None = None) -> InputResult:
        """The present result of a task, as the record of one that is made from it names it."""
        return InputResult(
            vertex.name,
            vertex.unique_id,
            self.result_id(vertex),
            type(vertex.task).__module__,
            asked_later,
            self.contents(vertex),
            '' if user is None else self.code_of_input(user, vertex),
            _workspace(vertex) if user is None or _workspace(vertex) != _workspace(user) else '',
        )

    def given_files(self, vertex: Vertex) -> tuple[tuple[str, str], ...]:
        """Files outside of the pipeline of which it is known that a task reads them.

        Each has the name of the parameter that gives it, or '' where it is the output of an external task.
        """
        if vertex.place is None:
            return ()
        given = [(path, name) for name, path in given_files(vertex.task)]
        for other in vertex.requires:
            if other.is_external or other.place is None:
                given += [(path, '') for path in outside_files(other.outputs)]
        return tuple(given)

    def files_read(self, vertex: Vertex) -> list[tuple[FileInput, FileComparison]]:
        """The files that the present result of a task was made from and that are not the same now."""
        assumed = self._assumed.get(vertex.key)
        if assumed is not None:
            record = record_of(assumed)
            return (
                [] if record is None else self._other_files(record.files, record.kept_files, self.given_files(vertex))
            )
        directory, name = self.directory(vertex), self._record_name(vertex)
        if directory is None or name is None:
            return []
        read, kept = _recorded_files(directory, vertex.stem, name)
        given = self.given_files(vertex) if any(is_masked(file.path) for file in read) else ()
        return self._other_files(read, kept, given)

    def _other_files(
        self, read: tuple[FileInput, ...], kept_files: tuple[FileInput, ...], given: Iterable[tuple[str, str]] = ()
    ) -> list[tuple[FileInput, FileComparison]]:
        real = {shown_path(path): path for path, _ in given if is_remote(path)}
        kept = {file.path: file for file in kept_files}
        found = []
        for file in read:
            compared = self._compared_file(file, real.get(file.path))
            if compared.answer == 'changed' and file.path in kept:
                compared = self._compared_file(kept[file.path], real.get(file.path))
            if compared.answer != 'same':
                found.append((file, compared))
        return found

    def missing_files(self, vertex: Vertex) -> list[str]:
        """What is wrong with the values of the file parameters of a task that will run, a sentence each."""
        given = given_files(vertex.task) if vertex.place is not None else []
        return [f'{vertex.name}.{name}: {found}' for name, path in given if (found := problem_of(path))]

    def look_again_at_files(self, vertex: Vertex) -> None:
        """Forget how the files that a result was made from compared: a task upstream may have written them."""
        record = self.record(vertex)
        for file in (*record.files, *record.kept_files) if record is not None else ():
            self._compared_files.pop(file, None)

    def is_of_other_class(self, vertex: Vertex, user: RunRecord) -> bool:
        """Whether a task stands where the record of what was made from it names other code under the same id."""
        used = next((x for x in user.inputs if x.unique_id == vertex.unique_id), None)
        cls = type(vertex.task)
        if vertex.place is None or used is None or used.module in ('', cls.__module__):
            return False
        workspace = vertex.place[0]
        result = self.directory_of(workspace, used.module).result(f'{used.task}_{used.unique_id}')
        return result is None or self.code.compare(workspace, result, cls).answer == 'changed'

    def has_changed_files(self, record: RunRecord) -> bool:
        """Whether a file that a result was made from has changed."""
        return any(compared.answer == 'changed' for _, compared in self._other_files(record.files, record.kept_files))

    def _compared_file(self, file: FileInput, path: str | None) -> FileComparison:
        known = self._compared_files.get(file)
        if known is None:
            known = self._compared_files[file] = compare(file, path)
        return known

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
        directory, name = self.directory(vertex), self._record_name(vertex)
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
        if directory.is_marked(vertex.stem):  # a run was broken off: the next build rolls it back
            return None
        before, now = self.result(vertex), directory.result(vertex.stem)
        if before is None or now is None or (before.made_by, before.made_of) != (now.made_by, now.made_of):
            return None
        if (now.asked_later or now.reads_files) and before.as_input != now.as_input:  # of what, its name does not say
            return None
        self._results[vertex.key], self._seen_records[vertex.key] = now, directory.names(vertex.stem)
        self._made.pop(vertex.key, None)
        self.moved.pop(vertex.key, None)
        return self.files_of(vertex)

    def made_of(self, vertex: Vertex) -> str:
        """A digest of the contents of the present results of what a task requires."""
        required = vertex.requires[: vertex.declared]
        if not required:
            return _OF_NOTHING
        return digest_of_inputs([(other.unique_id, self.input_text(vertex, other)) for other in required], vertex.shape)

    def next_result(self, vertex: Vertex, result_id: str = '') -> RecordedResult:
        """What the name of the record of a task's next result will say."""
        made_by = self.code.print_of(type(vertex.task)).key
        return RecordedResult(result_id, made_by, self.made_of(vertex), len(vertex.requires) > vertex.declared)

    def replaced(self, vertex: Vertex) -> Replacement | None:
        """The recorded result that a run of a task will replace; None when there is none, or not all of its files."""
        return self.present(vertex) if vertex.verdict.state is TaskState.STALE else None

    def present(self, vertex: Vertex) -> Replacement | None:
        """The recorded result of a task, as it can be set aside; None when there is none, or it is not in files."""
        directory, result, name = self.directory(vertex), self.result(vertex), self._record_name(vertex)
        if directory is None or result is None or name is None or vertex.place is None:
            return None
        if not vertex.outputs or not all(map(is_rolled_back, vertex.outputs)):
            return None
        in_place = any(map(is_luigis_file, vertex.outputs))
        return Replacement(*vertex.place, vertex.stem, result.result_id, directory.path, name, vertex.paths, in_place)

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


def _workspace(vertex: Vertex) -> str:
    return vertex.place[0] if vertex.place is not None else ''


def _own_setting(cls: type, name: str) -> Any:
    """What a class says of a policy; None where it says nothing, or has something else of that name."""
    own = getattr(cls, name, None)
    is_other = isinstance(own, luigi.Parameter | property) or callable(own)
    return None if is_other else own


def _variants_of(workspace: str) -> dict[str, list[Variant]]:
    try:
        return variants(workspace)
    except StorageError:  # without them the tasks run, and say what is wrong
        return {}


def _text_of(result: RecordedResult | None, with_code: bool) -> str:
    return '' if result is None else input_text(result.as_input, result.made_by if with_code else '')


def is_made_of(result: RecordedResult, digest: str) -> bool:
    """Whether a result counts as made from inputs with such a digest; True where its inputs are not recorded."""
    return result.made_of in ('', digest) or (result.kept_for is not None and result.kept_for[1] == digest)


def digest_of_inputs(results: Iterable[tuple[str, str]], shape: str = '') -> str:
    """A digest of results, given by unique id and what stands for their contents; `_OF_NOTHING` for none.

    `shape` says where in what `requires()` gives their tasks are.
    """
    text = '\n'.join([*[f'{unique_id} {contents}' for unique_id, contents in results], *[shape] * bool(shape)])
    return hashlib.blake2b(text.encode(), digest_size=5).hexdigest() if text else _OF_NOTHING


_files_of_records: dict[tuple[str, int, int], tuple[tuple[FileInput, ...], tuple[FileInput, ...]]] = {}


def _recorded_files(
    directory: RecordDirectory, stem: str, name: str
) -> tuple[tuple[FileInput, ...], tuple[FileInput, ...]]:
    """The files that a result was made from, and those for which it is kept; of each record read once by a process."""
    path = f'{directory.path}/{name}'
    key = None
    if not is_remote(path):
        try:
            status = os.stat(path)
        except OSError:
            return (), ()
        key = (os.path.abspath(path), status.st_ino, status.st_ctime_ns)
        if key in _files_of_records:
            return _files_of_records[key]
    record = newest_record(directory, stem, name)
    found = ((), ()) if record is None else (record.files, record.kept_files)
    if key is not None:
        if len(_files_of_records) > _MOST_REMEMBERED:
            _files_of_records.clear()
        _files_of_records[key] = found
    return found
