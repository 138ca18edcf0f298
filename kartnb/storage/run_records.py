"""The files of run records: where they are, and what their names say without being opened.

A record of a result is ``<Class>_<unique id>~r<result id>-<Python>-<code print>-<inputs>.json`` in
``log/run_record/<module path>/``, so that one listing gives for every task which result exists, by what code and of
what inputs it was made. ``-d`` follows where the run asked for more tasks while it ran, ``-x`` where it read files
outside the workspace, ``-f`` with a digest of size and time of the result's files, ``-c`` with one of their contents,
and ``-k-<Python>-<code print>-<inputs>`` where a result that was brought back is kept for that code and these inputs
too. The latest run that gave no result is ``<Class>_<unique id>~failed.json``, and one
under way ``…~running.json`` (`kartnb.storage.run_lock`). Of a long class name only the beginning is in these names.
"""

from __future__ import annotations

import contextlib
import functools
import os
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from kartnb.storage.files import Look, settled_time
from kartnb.storage.filesystem import at_home, file_system
from kartnb.storage.places import (
    CapturedLine,
    captured_log_name,
    record_stem,
    remove_captured_lines,
    write_captured_lines,
)
from kartnb.storage.run_lock import Holder, RunLock, RunMark, holder_of, is_intent, lock_path, lock_run

_FAILED = 'failed'
_SUFFIX = '.json'
_FAILED_SUFFIX = f'~{_FAILED}{_SUFFIX}'


class RecordedResult(NamedTuple):
    """What the name of a record says."""

    result_id: str
    #: The code print that made it, with the Python that printed it (``311-0123456789ab``); '' when it is not known.
    made_by: str = ''
    made_of: str = ''  #: A digest of the contents that it was made from; '' when it is not known.
    asked_later: bool = False  #: Whether the run asked for more tasks while it ran: the record says which.
    #: Code print and inputs for which a result that was brought back is kept too.
    kept_for: tuple[str, str] | None = None
    #: The joint mark of its files: another one when one of them was written since; '' when it is not known.
    files: str = ''
    #: A digest of the contents of its files; '' when it is not known.
    contents: str = ''
    reads_files: bool = False  #: Whether the run read files outside the workspace: the record says which.

    @property
    def as_input(self) -> str:
        """What stands for the result in the digests of those that are made from it: equal for equal contents."""
        return self.contents or self.result_id

    def of_files(self, result_id: str, files: str, contents: str, reads_files: bool = False) -> RecordedResult:
        """The same of another result."""
        later, kept_for = self.asked_later, self.kept_for
        return RecordedResult(
            result_id, self.made_by, self.made_of, later, kept_for, files, contents, reads_files or self.reads_files
        )

    def suffix(self) -> str:
        """The part of the record's name that says this."""
        # as of most results
        if (
            self.made_by
            and self.contents
            and self.files
            and not (self.asked_later or self.reads_files or self.kept_for)
        ):
            return f'r{self.result_id}-{self.made_by}-{self.made_of}-f{self.files}-c{self.contents}'
        words = [self.result_id]
        if self.made_by:
            words += [self.made_by, self.made_of]
            words += ['d'] if self.asked_later else []
            words += ['x'] if self.reads_files else []
            words += [f'f{self.files}'] if self.files else []
            words += [f'c{self.contents}'] if self.contents else []
            words += ['k', *self.kept_for] if self.kept_for else []
        return 'r' + '-'.join(words)

    @classmethod
    def from_suffix(cls, text: str) -> RecordedResult:
        """Read what a name says; what it leaves out, or says wrongly, is unknown.

        >>> RecordedResult.from_suffix('r0a1b2c3d4e5f-311-0123456789ab-abcdef0123-d')
        RecordedResult(result_id='0a1b2c3d4e5f', made_by='311-0123456789ab', made_of='abcdef0123', asked_later=True,
                       kept_for=None, files='', contents='', reads_files=False)
        """
        words = text[1:].split('-')
        if len(words) < 4:
            return cls(words[0])
        made_by = f'{words[1]}-{words[2]}'
        if len(words) == 6 and words[4][0] == 'f' and words[5][0] == 'c':  # as of most results
            return cls(words[0], made_by, words[3], False, None, words[4][1:], words[5][1:])
        rest = words[4:]
        later, reads = (rest[:1] == [flag] and bool(rest.pop(0)) for flag in 'dx')
        files, contents = (rest.pop(0)[1:] if rest and rest[0].startswith(flag) else '' for flag in 'fc')
        kept_for = (f'{rest[1]}-{rest[2]}', rest[3]) if len(rest) == 4 and rest[0] == 'k' else None
        return cls(words[0], made_by, words[3], later, kept_for, files, contents, reads)


@dataclass(frozen=True, slots=True)
class RecordName:
    """What the name of a record's file says; the result id is '' for a run without a result."""

    task: str
    unique_id: str
    result_id: str
    suffix: str

    @property
    def result(self) -> RecordedResult | None:
        """The result, None for a run without one."""
        return RecordedResult.from_suffix(self.suffix) if self.result_id else None


def record_name(name: str) -> RecordName:
    """Take the name of a record's file apart.

    >>> record_name('Train_0f~r77aa-311-0123456789ab-abcdef0123.json')
    RecordName(task='Train', unique_id='0f', result_id='77aa', suffix='r77aa-311-0123456789ab-abcdef0123')
    """
    stem, _, suffix = name.removesuffix(_SUFFIX).rpartition('~')
    task, _, unique_id = stem.rpartition('_')
    # a workspace may hold 100,000 records: their names are read whole only where that is asked for
    result_id = suffix[1:].partition('-')[0] if suffix[:1] == 'r' and not is_intent(suffix) else ''
    return RecordName(task or stem, unique_id, result_id, suffix)


@dataclass(slots=True)
class RecordSlot:
    """The place of one task's next record. It can be sent to another process."""

    directory: str  #: Of the records.
    stem: str  #: What the names of the task's records begin with.
    older: tuple[str, ...]  #: The names of the records that the task has.
    may_have_log: bool = False  #: Whether there may be captured lines of an earlier run.
    marks: tuple[str, ...] = ()  #: The names of the files of runs under way, or broken off.

    @property
    def lock_path(self) -> str:
        """The file that is locked while the task runs, where files can be locked."""
        return lock_path(self.directory, self.stem)

    def lock(self, result_id: str, build_id: str = '', interleaved: bool = False) -> RunLock | RunMark | Holder:
        """Take the lock of the task, or give its holder, which is a run of this thread too if they are interleaved."""
        return lock_run(self.directory, self.stem, result_id, build_id, self.marks, interleaved)

    @property
    def results(self) -> list[str]:
        """The names of the records of results."""
        return [name for name in self.older if not name.endswith(_FAILED_SUFFIX)] if self.older else []

    def has_changed(self, paths: Iterable[str], had_result: bool) -> bool:
        """Whether the task may have another result than the plan saw, without listing the directory.

        Where it had none, a new one comes with files at `paths`; its record may be known already, because the plan has
        looked for the files first.
        """
        for name in self.results:
            if not file_system(self.directory).exists(f'{self.directory}/{name}'):
                return True
        if not had_result:
            for path in paths:
                if file_system(path).exists(path):
                    return True
        return False

    def look_again(self) -> None:
        """Look up which records the task has now."""
        beginning = f'{self.stem}~'
        names = file_system(self.directory).names(self.directory)
        found = sorted(name for name in names if name.startswith(beginning) and name.endswith(_SUFFIX))
        self.older = tuple(name for name in found if not is_intent(name[len(beginning) :]))

    def result(self) -> RecordedResult | None:
        """What the name of the record of the task's result says; None when it has none."""
        results = self.results
        return None if not results else RecordedResult.from_suffix(results[-1][len(self.stem) + 1 : -len(_SUFFIX)])

    def finish(
        self, lock: RunLock | RunMark, result: RecordedResult | None, text: str, moment: float | None = None
    ) -> None:
        """Write a record and release the lock; those that it replaces are removed. Without a result, of results stay.

        `moment` is the time that its file is given, in epoch seconds, so that a copy can be told from it.
        """
        name = _name(self.stem, result)
        replaced = [other for other in self.older if _replaces(result, name, other)]
        if replaced and lock.is_exclusive:  # while the task is locked it may be without a record; never may it have two
            self._remove([other for other in replaced if not other.endswith(_FAILED_SUFFIX)])
        lock.finish(name, text, moment)
        if replaced:
            with contextlib.suppress(OSError):  # it says less than the record
                self._remove([other for other in replaced if not lock.is_exclusive or other.endswith(_FAILED_SUFFIX)])

    def has_record_of(self, result: RecordedResult) -> bool:
        """Whether the record of a result is there now."""
        return file_system(self.directory).exists(f'{self.directory}/{_name(self.stem, result)}')

    def remove_results(self) -> None:
        """Remove the records of results."""
        self._remove(self.results)

    def _remove(self, names: Iterable[str]) -> None:
        for name in names:
            with contextlib.suppress(FileNotFoundError):  # another process was faster
                file_system(self.directory).remove(os.path.join(self.directory, name))

    def write_log(self, lines: Sequence[CapturedLine], build_id: str) -> None:
        """Keep what a run has printed and logged, in the place of what the run before it has."""
        path = os.path.join(self.directory, captured_log_name(self.stem))
        write_captured_lines(path, lines, build_id) if lines else remove_captured_lines(path)


class RecordDirectory:
    """The run records of one module in one workspace, listed once and kept up to date with what is written since."""

    def __init__(self, workspace: str, module: str) -> None:
        self.path = os.path.join(workspace, 'log/run_record', module.replace('.', '/'))
        self.module = module
        #: The names of the directories in it, which are those of modules too.
        self.folders: list[str] = []
        self._classes: set[str] | None = None
        self._files = file_system(self.path)
        self._names: dict[str, tuple[str, ...]] = {}
        #: Whether something was noted that was not listed.
        self.is_changed = False
        #: When it was listed, in nanoseconds.
        self.listed_at = time.time_ns()
        names = self._files.names(self.path)
        #: What the names of tasks' captured lines begin with.
        self._logs: set[str] = set()
        #: The names of the files of runs under way, or broken off, by what the names of the tasks' records begin with.
        self.marks: dict[str, tuple[str, ...]] = {}
        known = self._names
        for name in names:
            stem, separator, suffix = name.rpartition('~')
            if separator and name.endswith(_SUFFIX):
                into = self.marks if is_intent(suffix) else known
                into[stem] = (*into[stem], name) if stem in into else (name,)
            elif name.endswith('.log'):
                self._logs.add(name.removesuffix('.log'))
            elif '.' not in name:
                self.folders.append(name)

    @property
    def classes(self) -> set[str]:
        """The classes of the tasks that have records, of a long name the beginning."""
        if self._classes is None:
            self._classes = {stem.rpartition('_')[0] for stem in self._names}
        return self._classes

    def result_id(self, stem: str) -> str:
        """The id of the newest recorded result of a task, by ``<Class>_<unique id>``; '' when it has no result."""
        found = self.result(stem)
        return found.result_id if found is not None else ''

    def result(self, stem: str) -> RecordedResult | None:
        """What the name of the newest record of a result says; None when the task has no result."""
        name = self.newest(stem)
        return None if name is None else RecordedResult.from_suffix(name.rpartition('~')[2].removesuffix(_SUFFIX))

    def stems(self) -> list[str]:
        """The tasks that have records."""
        return list(self._names)

    def read(self, stem: str, name: str | None = None) -> str | None:
        """The text of the newest record of a result, or of the one of this name, or None."""
        name = name or self.newest(stem)
        return None if name is None else self._files.read_small(os.path.join(self.path, name)).decode('utf-8')

    def written(self, stem: str) -> float:
        """When the newest record of a result was written, in epoch seconds; 0 when the task has no result."""
        name = self.newest(stem)
        return 0.0 if name is None else self._files.stamp(os.path.join(self.path, name))[1]

    def read_failure(self, stem: str) -> str | None:
        """The text of the record of the latest run without a result, or None."""
        stem = record_stem(stem)
        name = _name(stem, None)
        if name not in self._names.get(stem, ()):
            return None
        return self._files.read_small(os.path.join(self.path, name)).decode('utf-8')

    def has_failure(self, stem: str) -> bool:
        """Whether the latest run of a task gave no result."""
        stem = record_stem(stem)
        return any(name.endswith(_FAILED_SUFFIX) for name in self._names.get(stem, ()))

    def names(self, stem: str) -> tuple[str, ...]:
        """The names of the records of a task."""
        return self._names.get(record_stem(stem), ())

    def slot(self, stem: str, older: tuple[str, ...] | None = None) -> RecordSlot:
        """Where the next record of a task goes, for whoever runs it; `older` are the records that it has."""
        stem = record_stem(stem)
        has_log = stem in self._logs
        older = self._names.get(stem, ()) if older is None else older
        return RecordSlot(self.path, stem, older, has_log, self.marks.get(stem, ()))

    def is_marked(self, stem: str) -> bool:
        """Whether a run of a task is under way, or was broken off, as far as the listing says."""
        return bool(self.marks) and record_stem(stem) in self.marks

    def is_under_way(self, stem: str) -> bool:
        """Whether a run of a task is under way now, or was broken off, whatever the listing says."""
        if not self._files.has_locks:
            return self.is_marked(stem)
        return os.path.exists(at_home(lock_path(self.path, record_stem(stem))))

    def is_of_nobody(self, stem: str, look: Look) -> bool:
        """Whether files that look so were left by no run, or by one that was not kartnb's, as far as the listing says.

        It does not say so of files that were changed when it was made, or later: a run may have begun since.
        """
        return not self.is_marked(stem) and all(settled_time(changed, self.listed_at) for *_, changed in look)

    def has_newest(self, stem: str) -> bool:
        """Whether the newest record of a result is there now, as far as a disk says."""
        return not self._files.has_locks or self._files.exists(os.path.join(self.path, self.newest(stem) or ''))

    def holder(self, stem: str) -> Holder | None:
        """Who runs a task now; None when nobody does, or where that cannot be asked."""
        marks = self.marks.get(record_stem(stem), ()) if self._files.has_locks else ()
        return next(filter(None, (holder_of(f'{self.path}/{name}') for name in marks)), None)

    def note(self, stem: str, result: RecordedResult | None) -> tuple[str, tuple[str, ...]]:
        """Remember that a record was written in a slot of this directory; of no result when the run gave none.

        Gives its name, and the names of all records of the task.
        """
        stem = record_stem(stem)
        name = _name(stem, result)
        self.is_changed = True
        self.marks.pop(stem, None)
        earlier = self._names.get(stem, ())
        kept = [other for other in earlier if other != name and not _replaces(result, name, other)] if earlier else ()
        self._names[stem] = names = (*kept, name)
        self._classes = None
        self._logs.add(stem)
        return name, names

    def rename(self, stem: str, result: RecordedResult) -> None:
        """Rename the newest record of a result, so that its name says something else."""
        before, name = self.newest(stem), _name(record_stem(stem), result)
        if before not in (None, name):
            place = os.path.join(self.path, str(before))
            # the new name first: a result without a record would count as one that kartnb has not made
            self._files.duplicate(place, os.path.join(self.path, name), keep_time=True)
            self._files.remove(place)
            self.note(stem, result)

    def newest(self, stem: str) -> str | None:
        """The name of the newest record of a result, or None."""
        names = self._names.get(record_stem(stem), ())
        if len(names) == 1 and not names[0].endswith(_FAILED_SUFFIX):  # as most tasks have
            return names[0]
        results = [name for name in names if not name.endswith(_FAILED_SUFFIX)]
        if len(results) <= 1:
            return results[0] if results else None
        # two processes may have written one task's record at the same time
        return max(results, key=lambda name: (self._modified(name), name))

    def _modified(self, name: str) -> float:
        try:
            return self._files.stamp(os.path.join(self.path, name))[1]
        except OSError:  # another process has removed it
            return 0.0


#: Directories that were listed, by absolute path, with the time of their last change then.
_listed: dict[str, tuple[int, RecordDirectory]] = {}
_MOST_DIRECTORIES = 500


def present_records(workspace: str, module: str) -> RecordDirectory:
    """The run records of one module in one workspace as they are now.

    A directory of this computer that has not changed since it was listed is not listed again: among 100,000 results
    that would take longer than all the rest of a plan.
    """
    path = os.path.join(workspace, 'log/run_record', module.replace('.', '/'))
    changed = 0 if '://' in path else _changed(path)
    place = os.path.abspath(path)
    known = _listed.get(place)
    if changed and known is not None and known[0] == changed and not known[1].is_changed and known[1].path == path:
        return known[1]
    directory = RecordDirectory(workspace, module)
    if changed and settled_time(changed, directory.listed_at):
        _listed[place] = (changed, directory)
    return directory


def directories_below(workspace: str) -> Iterator[RecordDirectory]:
    """The directories of a workspace that have records, as far as they are looked through."""
    modules = ['']
    for number, module in enumerate(modules):
        if number > _MOST_DIRECTORIES:
            return
        directory = present_records(workspace, module)
        modules += [f'{module}.{name}'.lstrip('.') for name in sorted(directory.folders)]
        if directory.classes:
            yield directory


def _changed(directory: str) -> int:
    """When a directory was last changed, in nanoseconds; 0 where that is unknown."""
    try:
        return os.stat(directory).st_mtime_ns
    except OSError:
        return 0


@functools.lru_cache(maxsize=16)  # asked for when it is written and when it is noted
def _name(stem: str, result: RecordedResult | None) -> str:
    return f'{stem}~{result.suffix() if result is not None else _FAILED}{_SUFFIX}'


def _replaces(result: RecordedResult | None, name: str, other: str) -> bool:
    return other != name and (result is not None or other.endswith(_FAILED_SUFFIX))
