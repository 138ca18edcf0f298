"""What lies in a workspace before a build: results without a record, runs that were broken off, and litter.

A result that has no record, because gokart or another program wrote it, is given one when it is first used
(`record_existing_results`). What a killed process has left is rolled back (`recover`).
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from kartnb.errors import KartError
from kartnb.history.makers import current_notebook
from kartnb.history.run_record import (
    RunRecord,
    iso_seconds,
    utc_text,
)
from kartnb.model import TaskState
from kartnb.storage.file_inputs import FileInput, look_at, shown_path
from kartnb.storage.files import joint_mark
from kartnb.storage.filesystem import file_system
from kartnb.storage.places import LOG_KINDS, keep_code
from kartnb.storage.run_lock import Holder, Intent, RunLock, RunMark, intent_at, intent_text
from kartnb.storage.run_records import RecordDirectory, RecordSlot
from kartnb.storage.superseded import roll_back
from kartnb.storage.targets import is_rolled_back
from kartnb.task.describe import shown_texts

if TYPE_CHECKING:  # workers do not plan
    from kartnb.planning.graph import TaskGraph, Vertex
    from kartnb.planning.known_results import KnownResults

from kartnb.execution.recording import new_result_id, present_record, seen_output, sweep, sweep_after, written_over

#: Workspaces that were looked through by this process.
_tidied: set[str] = set()


def record_existing_results(graph: TaskGraph, vertices: Iterable[Vertex]) -> None:
    """Give a record to results of a planned graph that have none, so that later changes are noticed.

    `vertices` are the tasks to look at, upstream first.
    """
    results = graph.results
    unwritable: set[str] = set()
    for vertex in vertices:
        wanted = _is_unrecorded(vertex, results)
        directory = results.directory(vertex) if wanted or vertex.key in results.moved else None
        if directory is None or directory.path in unwritable:
            continue
        try:
            _record_existing(vertex, results, directory) if wanted else _note_present_times(vertex, results, directory)
        except OSError:  # a read-only workspace is used as it is
            unwritable.add(directory.path)


def _is_unrecorded(vertex: Vertex, results: KnownResults) -> bool:
    return (
        vertex.verdict.state in (TaskState.CACHED, TaskState.STALE)
        and vertex.place is not None
        and bool(vertex.outputs)
        and results.policy(type(vertex.task)) != 'ignore'
        and results.result(vertex) is None
        and vertex.key not in results.of_others
        and not results.is_unfinished(vertex)
        and not results.is_cut_short(vertex)
        and all(map(is_rolled_back, vertex.outputs))
    )


def _note_present_times(vertex: Vertex, results: KnownResults, directory: RecordDirectory) -> None:
    """Put the present times into a record that was copied with its result, so that plans need not open it again."""
    result, slot = results.moved.pop(vertex.key), directory.slot(vertex.stem)
    lock = slot.lock(new_result_id())
    if isinstance(lock, Holder):  # another build replaces it now
        return
    leave = lock.abandon if lock.was_broken else lock.release
    try:
        before = slot.results
        slot.look_again()
        mark = joint_mark(file_system(path).mark(path) for path in vertex.paths)
        if not lock.was_broken and slot.results == before and result.files == mark:
            directory.rename(vertex.stem, result)
            results.put(vertex, result)
    finally:
        leave()


def _record_existing(vertex: Vertex, results: KnownResults, directory: RecordDirectory) -> None:
    """Give a result the record of a run that was not seen; its state is 'adopted'."""
    slot = directory.slot(vertex.stem)
    lock = slot.lock(result_id := new_result_id())
    if isinstance(lock, Holder):  # its run has just begun
        return
    leave = lock.abandon if lock.was_broken else lock.release
    try:
        before = slot.results
        slot.look_again()
        if not lock.was_broken and slot.results == before:
            lock.announce(intent_text((), '', current_notebook()))
            _adopt(vertex, results, slot, lock, result_id)
    finally:
        leave()  # nothing is left to do where the file has become a record


def _adopt(vertex: Vertex, results: KnownResults, slot: RecordSlot, lock: RunLock | RunMark, result_id: str) -> None:
    task: Any = vertex.task
    seen = [seen_output(*output, in_part=True) for output in zip(vertex.outputs, vertex.paths, strict=True)]
    outputs = tuple(file for file, _ in seen)
    made = utc_text(max(file.modified or 0.0 for file in outputs))
    files = joint_mark(found.mark for _, found in seen)
    result = results.next_result(vertex).of_files(result_id, files, '')
    if any(other.verdict.reason is not None for other in vertex.requires):
        # made from what these runs replace, of which nothing is known: it must not count as older than its inputs
        result = result._replace(made_of='')
    code = results.code.print_of(type(task))
    read = _present_files(results.given_files(vertex))
    result = result._replace(reads_files=bool(read))
    record = RunRecord(
        task=type(task).__name__,
        module=type(task).__module__,
        unique_id=vertex.unique_id,
        parameters=shown_texts(task),
        state='adopted',
        result_id=result.result_id,
        inputs=results.inputs(vertex),
        shape=vertex.shape,
        outputs=outputs,
        started=made,
        ended=made,
        seconds=0.0,
        error='',
        build_id='',
        host='',
        pid=0,
        notebook='',
        notebook_inode=0,
        versions={},
        code=code.key,
        unknown=code.unknown,
        checks=tuple(found.check for _, found in seen),
        files=read,
    )
    keep_code(task.workspace_directory, code.key, code.to_json())
    slot.finish(lock, result, record.to_json(), iso_seconds(made))
    results.put(vertex, result)


def _present_files(given: Iterable[tuple[str, str]]) -> tuple[FileInput, ...]:
    """Files as they are now, of which it is known that a task reads them."""
    found = []
    for path, _ in given:
        with suppress(KartError):
            found.append(look_at(path)._replace(path=shown_path(path)))
    return tuple(found)


def recover(results: KnownResults) -> bool:
    """Roll back what was broken off of the tasks in listed directories; gives whether there was anything."""
    found = False
    for workspace, directory, name in results.broken_off():
        try:
            found = _recover(workspace, directory, name) or found
        except (KartError, OSError):  # a read-only workspace; the run of the task says what is wrong
            continue
    return found


def _recover(workspace: str, directory: RecordDirectory, name: str) -> bool:
    slot = directory.slot(name.rpartition('~')[0])
    path = f'{directory.path}/{name}'
    lock = slot.lock(name.rpartition('-')[2].removesuffix('.json'))
    if isinstance(lock, Holder):
        return False
    leave = lock.abandon if lock.was_broken else lock.release
    try:
        if not lock.was_broken:  # it has ended by now
            return True
        intent = lock.earlier() if isinstance(lock, RunLock) else intent_at(path)
        if isinstance(lock, RunMark) and not intent.is_dead():
            return False
        slot.look_again()
        paths = _paths(workspace, intent)
        if paths is None:
            return False  # its files are not in the workspace: only the next run of the task may touch them
        roll_back(lock, slot, workspace, paths, intent.replaces)
        sweep_after(slot, workspace, paths, intent.replaces)
        leave = lock.release
        record = present_record(slot)
        spoilt = written_over(record) if intent.is_written else ()
        if record is not None and spoilt:
            killed = replace(record, state='interrupted', result_id='', outputs=(), checks=(), written=spoilt)
            killed.error = 'its process was killed'
            slot.finish(lock, None, killed.to_json())
        if isinstance(lock, RunMark):
            file_system(path).remove(path)
        return True
    finally:
        leave()


def _paths(workspace: str, intent: Intent) -> list[str] | None:
    """The files that a run was going to write; None when one of them is not in the workspace."""
    return list(intent.writes) if all(is_within(workspace, path) for path in intent.writes) else None


def is_within(workspace: str, path: str) -> bool:
    """Whether a path is in a workspace."""
    if '://' in workspace or '://' in path:
        return path.startswith(workspace.rstrip('/') + '/') and '/../' not in path
    root = os.path.realpath(workspace)
    return os.path.realpath(path).startswith(root.rstrip(os.sep) + os.sep)


def tidy(workspace: str) -> None:
    """Remove litter below ``log/`` of a workspace on this computer's disks, once in each process."""
    place = os.path.abspath(workspace)
    if '://' in workspace or place in _tidied:
        return
    _tidied.add(place)
    sweep(_directories(os.path.join(place, 'log')))


def _directories(log: str) -> Iterator[str]:
    pending = [log]
    while pending:
        directory = pending.pop()
        yield directory
        try:
            with os.scandir(directory) as entries:
                pending += [
                    entry.path
                    for entry in entries
                    if '.' not in entry.name and entry.name not in LOG_KINDS and entry.is_dir(follow_symlinks=False)
                ]
        except OSError:
            continue
