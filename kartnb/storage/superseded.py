"""Results that were replaced, kept with their records in ``log/superseded/<result id>/`` until they are removed."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple

from kartnb.errors import KartError, StorageError
from kartnb.storage.census import take_census
from kartnb.storage.files import raise_storage_error, temporary_name
from kartnb.storage.filesystem import file_system
from kartnb.storage.places import LOG_KINDS, LogKind, log_path, record_stem
from kartnb.storage.run_lock import RunLock, RunMark, changed_since
from kartnb.storage.run_records import RecordedResult, RecordSlot

_MANIFEST = 'superseded.json'
_RECORD_SUFFIX = '.json'
_FOLDER = 'log/superseded'


@dataclass(frozen=True, slots=True)
class Superseded:
    """One result that was replaced."""

    directory: str  #: Where it is kept.
    result_id: str
    stem: str  #: ``<Class>_<unique id>``.
    module: str
    record: str  #: The name of its record.
    files: tuple[tuple[str, str], ...]  #: Where each output was, and under which name it is kept.
    time: str  #: When it was replaced, ISO 8601 in UTC.
    #: gokart's logs of its run: where each was, and under which name it is kept.
    logs: tuple[tuple[str, str], ...] = ()
    apart: bool = (
        False  #: Whether tasks write its files in place, so that they must share no content with what is kept.
    )

    def record_text(self) -> str:
        """The text of its record."""
        return file_system(self.directory).read_small(os.path.join(self.directory, self.record)).decode('utf-8')

    def size(self) -> int:
        """How many bytes its outputs have; those that are gone have none."""
        total = 0
        for _, name in self.files:
            with contextlib.suppress(StorageError):
                total += file_system(self.directory).size(os.path.join(self.directory, name))
        return total

    def restore(self, paths: Sequence[str], record_directory: str, begun: int) -> None:
        """Put back, with its record, what was changed at these paths since a moment in nanoseconds."""
        files = file_system(self.directory)
        for (_, name), path in zip(self.files, paths, strict=True):
            kept = os.path.join(self.directory, name)
            if not begun or '://' in path or changed_since(path, begun) or files.mark(kept) != files.mark(path):
                files.duplicate(kept, path, keep_time=True, apart=self.apart)
        record = os.path.join(record_directory, self.record)
        if not files.exists(record):
            files.duplicate(os.path.join(self.directory, self.record), record, keep_time=True)

    def put_back(self, workspace: str, paths: tuple[str, ...]) -> None:
        """Put its outputs back at these paths, in order, and its logs into a workspace; the kept copies stay."""
        files = file_system(self.directory)
        for (_, name), path in zip(self.files, paths, strict=True):
            files.duplicate(os.path.join(self.directory, name), path, keep_time=True, apart=self.apart)
        for path, name in self.logs:
            log = files.read_bytes(os.path.join(self.directory, name))
            files.write_bytes(os.path.join(workspace, path), log, scratch=os.path.join(workspace, 'log'))

    def remove(self) -> None:
        """Remove it for good."""
        if '://' not in self.directory:
            remove_directory(self.directory)
            return
        files = file_system(self.directory)
        # without the manifest it no longer counts, so that goes first
        for name in (_MANIFEST, *(name for _, name in (*self.files, *self.logs)), self.record):
            with contextlib.suppress(FileNotFoundError):
                files.remove(os.path.join(self.directory, name))


def remove_directory(directory: str) -> None:
    """Remove a directory of this computer with what is in it, if it exists."""
    above, name = os.path.split(directory)
    beside = os.path.join(above, temporary_name(name))
    try:
        os.replace(directory, beside)  # in one step: of one that is removed in part, nobody would remove the rest
    except FileNotFoundError:
        return
    except OSError as error:
        raise_storage_error(error, directory, 'removed')
    shutil.rmtree(beside, ignore_errors=True)


@dataclass(frozen=True, slots=True)
class Replacement:
    """A result that a run is going to replace. It can be sent to another process."""

    workspace: str
    module: str
    stem: str  #: ``<Class>_<unique id>``.
    result_id: str
    record_directory: str
    record: str  #: Its name in `record_directory`.
    paths: tuple[str, ...]  #: The files of the result.
    apart: bool = False  #: Whether the task writes them in place.

    @property
    def directory(self) -> str:
        """Where it is kept once it is replaced."""
        return os.path.join(self.workspace, _FOLDER, self.result_id)

    def keep(self) -> None:
        """Keep the result beside its place; what is in its place stays there until it is replaced."""
        files = file_system(self.directory)
        kept = [(path, f'{i}-{os.path.basename(path)}') for i, path in enumerate(self.paths)]
        for path, name in kept:
            files.duplicate(path, os.path.join(self.directory, name), keep_time=True, apart=self.apart)
        logs = self._keep_logs()
        record = os.path.join(self.record_directory, self.record)
        files.duplicate(record, os.path.join(self.directory, self.record), keep_time=True)
        content = {
            'format_version': 1,
            'result_id': self.result_id,
            'stem': self.stem,
            'module': self.module,
            'record': self.record,
            'files': kept,
            'logs': logs,
            'apart': self.apart,
            'time': datetime.now(UTC).isoformat(timespec='milliseconds'),
        }
        # the manifest last: a copy that was broken off does not count without it
        manifest = json.dumps(content, ensure_ascii=False).encode()
        files.write_bytes(os.path.join(self.directory, _MANIFEST), manifest)

    def _keep_logs(self) -> list[tuple[str, str]]:
        """Keep gokart's logs of the run, such as its seed: the next run writes its own in their place."""
        files, kept = file_system(self.directory), []
        for path, name in _log_entries(self.stem):
            with contextlib.suppress(StorageError):  # not every task has them
                files.duplicate(os.path.join(self.workspace, path), os.path.join(self.directory, name), keep_time=True)
                kept.append((path, name))
        return kept


def roll_back(lock: RunLock | RunMark, slot: RecordSlot, workspace: str, paths: Sequence[str], replaces: str) -> None:
    """Bring the places of a task back to what they were before a run that gave no result; its lock is held.

    `paths` are the files of its result, and `replaces` is the id of the one that was set aside, or ''.
    """
    if not lock.is_exclusive:
        before = slot.results
        slot.look_again()
        if slot.results != before:  # another process has made the result meanwhile
            return
    kept = kept_result(workspace, replaces) if replaces else None
    if kept is None and slot.results:  # somebody may have removed the workspace meanwhile
        slot.look_again()
    if kept is not None and len(kept.files) == len(paths):
        kept.restore(paths, slot.directory, lock.begun)
        kept.remove()
    elif not slot.results:
        for path in paths:
            # what was not written since is not of this run: gokart, which keeps no records, may have made it
            if not lock.begun or '://' in path or changed_since(path, lock.begun):
                with contextlib.suppress(FileNotFoundError):
                    file_system(path).remove(path)
    if kept is None and replaces:
        discard(workspace, replaces)


def kept_log_name(kind: LogKind, path: str) -> str:
    """The name under which a log of gokart is kept with a result that was replaced.

    >>> kept_log_name('random_seed', 'log/random_seed/Example_8441.pkl')
    'log-random_seed.pkl'
    """
    return f'log-{kind}{os.path.splitext(path)[1]}'


def superseded_names(workspace: str) -> set[str]:
    """The names under which results of a workspace may be kept that were replaced."""
    folder = os.path.join(workspace, _FOLDER)
    return file_system(folder).names(folder)


def superseded_result(workspace: str, name: str) -> Superseded | None:
    """What is kept under a name; None for one that is damaged, or not ours."""
    return _read(os.path.join(workspace, _FOLDER, name))


def superseded_results(workspace: str, stem: str = '') -> Iterator[Superseded]:
    """The results of a workspace that were replaced; those of one task, when ``<Class>_<unique id>`` is given."""
    folder = os.path.join(workspace, _FOLDER)
    files = file_system(folder)
    for name in sorted(files.names(folder)):
        directory = os.path.join(folder, name)
        found = _read(directory)
        if found is not None and stem in ('', found.stem):
            yield found


class Variant(NamedTuple):
    """A superseded result, as the name of its record describes it."""

    name: str  #: Of its directory.
    result: RecordedResult


#: What was found in the directories of superseded results, by the folder that they are in. They do not change.
_seen_variants: dict[str, dict[str, tuple[str, Variant]]] = {}


def variants(workspace: str) -> dict[str, list[Variant]]:
    """The superseded results of a workspace, by what the names of their tasks' records begin with.

    Only names are looked at, those of a directory once.
    """
    folder = os.path.join(workspace, _FOLDER)
    known = _seen_variants.setdefault(folder if '://' in folder else os.path.abspath(folder), {})
    present = _names_below(folder, known.keys())
    for name in known.keys() - present.keys():
        del known[name]
    for name, inside in present.items():
        record = next((entry for entry in inside if '~r' in entry and entry.endswith(_RECORD_SUFFIX)), None)
        if record is not None and _MANIFEST in inside:
            stem, _, suffix = record.removesuffix(_RECORD_SUFFIX).rpartition('~')
            known[name] = stem, Variant(name, RecordedResult.from_suffix(suffix))
    found: dict[str, list[Variant]] = {}
    for stem, variant in list(known.values()):
        found.setdefault(stem, []).append(variant)
    return found


def _names_below(folder: str, known: Collection[str]) -> dict[str, list[str]]:
    """The directories in a folder, each with the names in it; with none where they are known."""
    found: dict[str, list[str]] = {}
    if '://' in folder:  # one question for all
        with contextlib.suppress(StorageError):
            for file in take_census(folder).files:
                name, _, inside = file.path.partition('/')
                found.setdefault(name, []).append(inside)
        return found
    for name in file_system(folder).names(folder):
        found[name] = [] if name in known else list(file_system(folder).names(os.path.join(folder, name)))
    return found


def kept_result(workspace: str, result_id: str) -> Superseded | None:
    """The result of this id, where it was replaced or is being replaced; None when it was not."""
    return _read(os.path.join(workspace, _FOLDER, result_id))


def superseded_directory(workspace: str, result_id: str) -> str:
    """Where a result is kept that was replaced; '' for no result."""
    return os.path.join(workspace, _FOLDER, result_id) if result_id else ''


def discard(workspace: str, result_id: str) -> None:
    """Remove what was kept of a result before that was broken off."""
    directory = superseded_directory(workspace, result_id)
    if directory and '://' not in directory:
        # without a manifest it does not count: a rename first, which a full disk may refuse, is not needed
        shutil.rmtree(directory, ignore_errors=True)


def _read(directory: str) -> Superseded | None:
    """What is kept in a directory; None for one that is damaged, or not ours."""
    try:
        path = os.path.join(directory, _MANIFEST)
        content: Any = json.loads(file_system(path).read_small(path))
        return _parsed(directory, content)
    except (KartError, OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def _parsed(directory: str, content: dict[str, Any]) -> Superseded:
    words: list[Any] = [content[name] for name in ('result_id', 'stem', 'module', 'record', 'time')]
    files, logs = (
        tuple((str(path), str(name)) for path, name in given) for given in (content['files'], content.get('logs', ()))
    )
    if not all(isinstance(word, str) for word in words):
        raise ValueError('not the manifest of a superseded result')
    result_id, stem, module, record, time = words
    # whoever wrote it, nothing but what `keep` has put here is restored or removed, and to nowhere but where it was
    names = [(record, f'{record_stem(stem)}~'), *((name, f'{i}-') for i, (_, name) in enumerate(files))]
    if (
        result_id != os.path.basename(directory)
        or os.path.islink(directory)
        or any(_is_path(name) or not name.startswith(start) for name, start in names)
    ):
        raise ValueError('not the manifest of a superseded result')
    known = tuple(entry for entry in logs if entry in _log_entries(stem))
    return Superseded(directory, result_id, stem, module, record, files, time, known, content.get('apart') is True)


def _is_path(name: str) -> bool:
    return any(character in name for character in '/\\\0') or name in ('', '.', '..')


def _log_entries(stem: str) -> list[tuple[str, str]]:
    """Where gokart's logs of a task are below a workspace, and under which names they are kept."""
    task, _, unique_id = stem.rpartition('_')
    paths = [(kind, log_path('', kind, task, unique_id)) for kind in LOG_KINDS]
    return [(path, kept_log_name(kind, path)) for kind, path in paths]
