"""Gathering the runs of a workspace from run records, gokart's logs, and results that are in neither.

`take_inventory` sorts the files of a workspace by what they are, and `gather` makes runs of them. Whoever wrote a
workspace, listing it runs nothing: records are JSON, and of pickles only plain values are read.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime

from kartnb.history.gokart_runs import GokartLogs
from kartnb.history.run_record import RunRecord, epoch_moment, iso_moment, iso_seconds
from kartnb.history.runs import Run, RunState
from kartnb.storage.census import Census, FileFound, absolute_place, path_below, read_all, take_census
from kartnb.storage.files import is_digest
from kartnb.storage.filesystem import file_system
from kartnb.storage.places import LOG_KINDS, record_class_name
from kartnb.storage.run_lock import is_intent
from kartnb.storage.run_records import record_name

RECORDS = 'log/run_record/'
SUPERSEDED = 'log/superseded/'
_RESULT = re.compile(r'(?P<stem>.+)_(?P<uid>[0-9a-f]{32})(?:\.[^.]*)?')
_NESTED = re.compile(r'(?P<above>.+?)/log/(?:run_record|superseded|task_params|task_log)/')
_MOST_PROBLEMS = 20
_ADOPTED = 'adopted'
_STATES = {'failed': RunState.FAILED, 'interrupted': RunState.INTERRUPTED}
_MODIFIED = 'its file was modified since: this row describes the earlier result'


@dataclass(slots=True)
class Inventory:
    """The files of one workspace by what they are; paths are below the workspace."""

    #: The workspace, absolute.
    root: str
    #: Every file that is not a log, by path, and those whose names hold a unique id, by it.
    results: dict[str, FileFound] = field(default_factory=dict)
    by_id: dict[str, list[FileFound]] = field(default_factory=dict)
    records: list[FileFound] = field(default_factory=list)
    #: The unique ids of tasks that are running, or whose run was broken off.
    running: set[str] = field(default_factory=set)
    #: All files of replaced results, by result id.
    superseded: dict[str, list[FileFound]] = field(default_factory=dict)
    #: The files of what tasks printed, by path without the extension.
    captured: dict[str, FileFound] = field(default_factory=dict)
    #: gokart's logs, by kind and then by ``<Class>_<unique id>``.
    logs: dict[str, dict[str, FileFound]] = field(default_factory=dict)
    #: The kept source of code prints, by print.
    code: dict[str, FileFound] = field(default_factory=dict)
    #: What could not be read.
    problems: list[str] = field(default_factory=list)

    @property
    def size(self) -> int:
        """How many bytes all its files have together."""
        kept = [file for files in self.superseded.values() for file in files]
        logs = [file for files in self.logs.values() for file in files.values()]
        others = (self.results.values(), self.records, kept, self.captured.values(), logs, self.code.values())
        return sum({file.path: file.size for files in others for file in files}.values())

    def note_problem(self, sentence: str) -> None:
        """Note a file that could not be read; a workspace may be full of them, and the first ones are enough."""
        if len(self.problems) < _MOST_PROBLEMS:
            self.problems.append(sentence)

    def real_path(self, given: str, workspace: str) -> str:
        """Where a file is now that a task knew as `given`, with this `workspace_directory`; absolute, or a URL."""
        below = below_workspace(given, workspace) or below_workspace(given, self.root)
        if below is None:
            below = self._by_name(given)
        if below is None:
            return given if '://' in given else os.path.abspath(given)
        return path_below(self.root, below)

    def file(self, path: str) -> FileFound | None:
        """The result file at an absolute path; None where it is not in this workspace."""
        below = below_workspace(path, self.root)
        return None if below is None else self.results.get(below)

    def _by_name(self, given: str) -> str | None:
        """The result with the file name of a path; of several the one whose directories agree the most."""
        parts = given.replace('\\', '/').split('/')
        found = _RESULT.fullmatch(parts[-1])
        same = [file.path for file in self.by_id.get(found['uid'], ()) if file.name == parts[-1]] if found else []
        return max(same, key=lambda path: _shared_end(path.split('/'), parts), default=None)


def take_inventory(root: str) -> Inventory:
    """Look at all files of a workspace; raises StorageError when it is not a directory."""
    census = take_census(root)
    # what is in a workspace inside of this one does not belong to it
    nested = _nested_workspaces(census)
    found = Inventory(root, problems=census.problems[:_MOST_PROBLEMS])
    for file in census.files:
        if not nested or not file.path.startswith(nested):
            _put(found, file)
    return found


def _nested_workspaces(census: Census) -> tuple[str, ...]:
    marked = (_NESTED.match(file.path) for file in census.files if '/log/' in file.path)
    return tuple({f'{match["above"]}/' for match in marked if match and not match['above'].startswith('log/')})


def _put(found: Inventory, file: FileFound) -> None:
    path = file.path
    if not path.startswith('log/'):
        found.results[path] = file
        match = _RESULT.fullmatch(file.name)
        if match is not None:
            found.by_id.setdefault(match['uid'], []).append(file)
    elif path.startswith(RECORDS):
        if path.endswith('.json') and '~' in file.name:
            if is_intent(file.name.rpartition('~')[2]):
                found.running.add(record_name(file.name).unique_id)
            else:
                found.records.append(file)
        elif path.endswith('.code'):
            found.code[file.name.removesuffix('.code')] = file
        elif path.endswith('.log'):
            found.captured[path.removesuffix('.log')] = file
    elif path.startswith(SUPERSEDED):
        found.superseded.setdefault(path.removeprefix(SUPERSEDED).partition('/')[0], []).append(file)
    else:
        _, kind, name = (*path.split('/', 2), '', '')[:3]
        if kind in LOG_KINDS and '/' not in name:
            found.logs.setdefault(kind, {})[os.path.splitext(name)[0]] = file


def gather(found: Inventory, name: str | None = None) -> list[Run]:
    """The runs that are recorded in the files of a workspace, in no order; of one class if `name` is given."""
    runs = [*_recorded(found, name), *_replaced(found, name)]
    known = {(run.task, run.unique_id) for run in runs if run.state is not RunState.SUPERSEDED}
    runs += GokartLogs(found).runs(known, name)
    recorded = {run.unique_id for run in runs}
    claimed = {path for run in runs for path in run.outputs}
    runs += [run for uid in found.by_id.keys() - recorded for run in _unrecorded(found, uid, claimed, name)]
    return runs


def _recorded(found: Inventory, name: str | None) -> Iterable[Run]:
    wanted = [file for file in found.records if name is None or record_name(file.name).task == record_class_name(name)]
    for file, data in read_all(found.root, wanted):
        record = _read_record(found, file, data)
        yield _damaged(found, file) if record is None else _present(found, file, record)


def _read_record(found: Inventory, file: FileFound, data: bytes | str) -> RunRecord | None:
    """The record in a file, or None and one problem more; `data` may be text that says why it cannot be read."""
    try:
        if isinstance(data, str):
            raise ValueError(data)
        return RunRecord.from_json(data)
    except ValueError as error:
        found.note_problem(f'{path_below(found.root, file.path)} cannot be read as a run record: {error}')
        return None


def _present(found: Inventory, file: FileFound, record: RunRecord) -> Run:
    workspace = record.parameters.get('workspace_directory', './resources/')
    outputs = tuple(found.real_path(output.path, workspace) for output in record.outputs)
    files = [found.file(path) for path in outputs]
    there = [file is not None or _exists_elsewhere(found, path) for file, path in zip(files, outputs, strict=True)]
    state = _STATES.get(record.state, RunState.CACHED)
    if state is RunState.CACHED and not all(there):
        state = RunState.MISSING
    return _run(found, file, record, state, outputs, [file for file in files if file is not None])


def _exists_elsewhere(found: Inventory, path: str) -> bool:
    """Whether an output outside of the workspace is where it was written."""
    if below_workspace(path, found.root) is not None:
        return False
    return '://' in path or os.path.exists(path)


def _run(
    found: Inventory,
    file: FileFound,
    record: RunRecord,
    state: RunState,
    outputs: tuple[str, ...],
    files: list[FileFound],
) -> Run:
    name = record_name(file.name)
    recorded = [output.size for output in record.outputs if output.size is not None]
    size = sum(f.size for f in files) if files else sum(recorded) if recorded else None
    is_modified = state is RunState.CACHED and _is_modified(found.root, file, record, files)
    return Run(
        task=record.task or name.task,
        unique_id=record.unique_id or name.unique_id,
        state=state,
        module=record.module,
        result_id=record.result_id or name.result_id,
        parameters=_shown_parameters(record, found.root),
        when=_when(record, files) or epoch_moment(file.modified),
        seconds=None if record.state == _ADOPTED else record.seconds,
        size=size,
        versions=record.versions,
        outputs=outputs,
        error=record.error or (_MODIFIED if is_modified else ''),
        host=record.host,
        notebook=record.notebook,
        inputs=record.inputs,
        origin='adopted' if record.state == _ADOPTED else 'kartnb',
        record=record,
        place=path_below(found.root, file.path),
    )


def _is_modified(root: str, file: FileFound, record: RunRecord, files: list[FileFound]) -> bool:
    """Whether a result was surely modified after its record; where the record is a copy, times say nothing."""
    if len(files) != len(record.outputs):
        return False
    pairs = list(zip(record.outputs, files, strict=True))
    if any(then.size is not None and then.size != now.size for then, now in pairs):
        return True
    if len(record.checks) != len(files) or iso_seconds(record.ended) != file.modified:
        return False
    suspects = [i for i, (then, now) in enumerate(pairs) if then.modified not in (None, now.modified)]
    return any(_has_other_content(path_below(root, files[i].path), record.checks[i]) for i in suspects)


def _has_other_content(path: str, check: str) -> bool:
    try:
        return bool(check) and file_system(path).seen(path, not is_digest(check)).check != check
    except OSError:
        return False


def _when(record: RunRecord, files: list[FileFound]) -> datetime | None:
    """When a run ended; a result that was there before its record is as old as its files."""
    if record.state == _ADOPTED:
        return epoch_moment(max((file.modified for file in files), default=0.0))
    return iso_moment(record.ended) or iso_moment(record.started)


def _shown_parameters(record: RunRecord, root: str) -> dict[str, str]:
    """The parameters without the workspace, where it is this one."""
    given = record.parameters.get('workspace_directory')
    if given is None or absolute_place(given) != root:
        return record.parameters
    return {name: text for name, text in record.parameters.items() if name != 'workspace_directory'}


def _damaged(found: Inventory, file: FileFound) -> Run:
    """The run of a record that cannot be read, as far as its name says."""
    name = record_name(file.name)
    files = found.by_id.get(name.unique_id, [])
    state = RunState.FAILED if not name.result_id else RunState.CACHED if files else RunState.MISSING
    return Run(
        name.task,
        name.unique_id,
        state,
        result_id=name.result_id,
        when=epoch_moment(file.modified),
        size=sum(f.size for f in files) if files else None,
        outputs=tuple(path_below(found.root, f.path) for f in files),
        error='its record cannot be read',
        origin='kartnb',
        place=path_below(found.root, file.path),
    )


def _replaced(found: Inventory, name: str | None) -> Iterable[Run]:
    wanted = None if name is None else record_class_name(name)
    records = {
        file.path: (result_id, file)
        for result_id, files in found.superseded.items()
        for file in files
        if file.name.endswith('.json') and '~' in file.name and wanted in (None, record_name(file.name).task)
    }
    # what a running task has set aside is not superseded yet: its record is still there
    present = {record_name(file.name).result_id for file in found.records}
    for file, data in read_all(found.root, [file for name, file in records.values() if name not in present]):
        result_id, _ = records[file.path]
        record = _read_record(found, file, data)
        if record is None:
            continue
        others = [f for f in found.superseded[result_id] if f is not file]
        names = [f'{number}-{os.path.basename(output.path)}' for number, output in enumerate(record.outputs)]
        files = [f for wanted in names for f in others if f.name == wanted]
        outputs = tuple(path_below(found.root, f.path) for f in files)
        yield _run(found, file, record, RunState.SUPERSEDED, outputs, files)


def _unrecorded(found: Inventory, uid: str, claimed: set[str], name: str | None) -> list[Run]:
    """The run of results that have no record and no log; the class is taken from the file's name."""
    files = [file for file in found.by_id[uid] if path_below(found.root, file.path) not in claimed]
    if not files:
        return []
    directory, _, last = files[0].path.rpartition('/')
    match = _RESULT.fullmatch(last)
    task = match['stem'] if match else last
    if name is not None and task != name:
        return []
    return [
        Run(
            task,
            uid,
            RunState.CACHED,
            module=directory.replace('/', '.'),
            when=epoch_moment(max(file.modified for file in files)),
            size=sum(file.size for file in files),
            outputs=tuple(path_below(found.root, file.path) for file in files),
        )
    ]


def below_workspace(path: str, workspace: str) -> str | None:
    """The part of a path below a workspace, both as a task gives them; None for a path outside of it."""
    base = workspace.rstrip('/')
    if path.startswith(base + '/'):
        below = path[len(base) + 1 :]
    elif os.sep != '/' and path.startswith(base + os.sep):
        below = path[len(base) + 1 :].replace(os.sep, '/')
    else:
        return None
    if '//' in below or '/.' in below or below.startswith(('/', '.')):
        below = os.path.normpath(below.lstrip('/')).replace(os.sep, '/')
    return None if below.startswith('../') else below


def _shared_end(one: list[str], other: list[str]) -> int:
    shared = 0
    for a, b in zip(reversed(one), reversed(other), strict=False):
        if a != b:
            break
        shared += 1
    return shared
