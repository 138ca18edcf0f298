"""Superseded results that are put back, by the protocol of a run: what is broken off is rolled back.

A build puts back what today's code and inputs would give again (`bring_back`); `kartnb.restore_result` puts back any.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from kartnb.errors import KartError, MissingResultError, StorageError
from kartnb.execution.recovery import is_within
from kartnb.history.makers import current_maker
from kartnb.history.run_record import iso_seconds, newest_record, parsed_record
from kartnb.planning.graph import TaskGraph, Vertex
from kartnb.planning.known_results import KnownResults
from kartnb.planning.staleness import WILL_BE
from kartnb.storage.file_inputs import FileInput
from kartnb.storage.files import joint_mark
from kartnb.storage.filesystem import file_system
from kartnb.storage.run_lock import Holder, intent_text
from kartnb.storage.run_records import RecordedResult, RecordSlot
from kartnb.storage.superseded import Replacement, Superseded, roll_back


def bring_back(graph: TaskGraph, vertices: Iterable[Vertex]) -> bool:
    """Put back the superseded results that a plan takes for present ones; gives whether there were any.

    The plan has to be made again then. What could not be put back is not taken for present any more.
    """
    results = graph.results
    found = [vertex for vertex in vertices if vertex.variant is not None or vertex.key in results.returning]
    for vertex in found:
        if vertex.variant is None:
            _bring_back_later_inputs(vertex, results)
        else:
            bring_one_back(vertex, results)
    return bool(found)


def _bring_back_later_inputs(vertex: Vertex, results: KnownResults) -> None:
    """Put back what a task asked for while it ran; its own result is in its place."""
    for needed in results.returning.pop(vertex.key):
        try:
            _put_back_by_record(needed, vertex.place[0] if vertex.place else '', results)
        except (KartError, OSError):  # as in `bring_one_back`
            results.not_available.add(needed.result_id)


def bring_one_back(vertex: Vertex, results: KnownResults) -> RecordedResult | None:
    """Put back the superseded result that stands for the present one of a task; None when that was not possible."""
    kept = vertex.variant
    if kept is None:
        return None
    note = vertex.result.note.removeprefix(WILL_BE)
    results.assume(vertex, None)
    vertex.variant = None
    try:
        for needed in results.returning.pop(vertex.key, ()):
            _put_back_by_record(needed, vertex.place[0] if vertex.place else '', results)
        present = results.present(vertex) if results.all_exist(vertex) else None
        result = put_back(vertex, results, kept, present, as_planned=True)
    except (KartError, OSError):  # another build was faster, or the disk is full: then the task runs
        results.not_available.add(kept.result_id)
        return None
    results.brought_back[vertex.key] = note
    return result


def _put_back_by_record(kept: Superseded, workspace: str, results: KnownResults) -> None:
    """Put back a superseded result of a task that is in no graph, to where it was."""
    name, paths = kept.stem.rpartition('_')[0], tuple(path for path, _ in kept.files)
    text = results.present_input(workspace, kept.module, kept.stem)
    directory = results.directory_of(workspace, kept.module)
    result, record = directory.result(kept.stem), newest_record(directory, kept.stem)
    if result is not None and result.result_id == kept.result_id:
        return
    is_its_own = record is not None and paths == tuple(file.path for file in record.outputs)
    if result is None or text == '?' or not is_its_own or not all(is_within(workspace, path) for path in paths):
        raise StorageError(f'{name} has another result by now.', kept.directory)
    present = Replacement(
        workspace,
        kept.module,
        kept.stem,
        result.result_id,
        directory.path,
        directory.newest(kept.stem) or '',
        paths,
        kept.apart,
    )
    slot = directory.slot(kept.stem)
    directory.note(kept.stem, exchange(ResultPlace(name, workspace, slot, paths), kept, present, as_planned=True))


def put_back(
    vertex: Vertex,
    results: KnownResults,
    kept: Superseded,
    present: Replacement | None,
    kept_for: tuple[str, str] | None = None,
    kept_files: tuple[FileInput, ...] = (),
    as_planned: bool = False,
) -> RecordedResult:
    """Put a superseded result in the place of the present one, which is kept in its turn.

    `kept_for` is another code print, with inputs, for which it counts too, and `kept_files` are other files for which
    it does. With `as_planned` nothing is done when the task has another result by now than the plan saw. Raises
    StorageError when the task is being run, or that cannot be done.
    """
    task: Any = vertex.task
    directory = results.directory_of(task.workspace_directory, type(task).__module__)
    slot = directory.slot(vertex.stem, results.seen_records(vertex) if as_planned else None)
    place = ResultPlace(vertex.name, task.workspace_directory, slot, vertex.paths)
    result = exchange(place, kept, present, kept_for, kept_files, as_planned)
    results.put(vertex, result)
    return result


@dataclass(frozen=True, slots=True)
class ResultPlace:
    """Where a result of a task belongs."""

    #: Of the task, for people.
    name: str
    workspace: str
    #: Of its record.
    slot: RecordSlot
    #: Of its files.
    paths: tuple[str, ...]


def exchange(
    place: ResultPlace,
    kept: Superseded,
    present: Replacement | None,
    kept_for: tuple[str, str] | None = None,
    kept_files: tuple[FileInput, ...] = (),
    as_planned: bool = False,
) -> RecordedResult:
    """As `put_back`, where no graph is at hand."""
    slot, paths = place.slot, place.paths
    lock = slot.lock(kept.result_id)
    if isinstance(lock, Holder):
        raise StorageError(
            f'{place.name} is being run by {lock}: restore its result when that has ended.', slot.directory
        )
    replaces = '' if present is None else present.result_id
    leave = lock.abandon if lock.was_broken else lock.release
    try:
        if as_planned and (lock.was_broken or slot.has_changed(paths, present is not None)):
            raise StorageError(f'{place.name} has another result by now.', slot.directory)
        maker = current_maker()
        lock.announce(intent_text(paths, replaces, maker.notebook))
        leave = lock.abandon
        try:
            record = parsed_record(kept.record_text())
            if record is None:
                raise MissingResultError(f'The record of the result {kept.result_id} cannot be read.', kept.directory)
            result = _exchanged(place, kept, present, kept_for, lock.is_exclusive)
            record.kept_files = kept_files
            record.brought_back = datetime.now(UTC).isoformat(timespec='milliseconds')
            slot.finish(lock, result, record.to_json(), iso_seconds(record.ended))
        except BaseException:
            roll_back(lock, slot, place.workspace, paths, replaces)
            leave = lock.release
            raise
    finally:
        leave()
    _remove_kept(slot, kept, result)
    return result


def _remove_kept(slot: RecordSlot, kept: Superseded, result: RecordedResult) -> None:
    """Remove the kept copy of a result that is in its place again, unless another build sets it aside once more."""
    lock = slot.lock(kept.result_id)
    if isinstance(lock, Holder):
        return
    is_ours = not (lock.was_broken and lock.is_exclusive)
    try:
        if is_ours and slot.has_record_of(result):
            kept.remove()
    finally:
        lock.release() if is_ours else lock.abandon()


def _exchanged(
    place: ResultPlace,
    kept: Superseded,
    present: Replacement | None,
    kept_for: tuple[str, str] | None,
    is_exclusive: bool,
) -> RecordedResult:
    """Exchange the files; gives what the name of the record says then."""
    if present is not None:
        present.keep()
        if is_exclusive:  # who reads it notices, even if it is put there again because this fails
            place.slot.remove_results()
    kept.put_back(place.workspace, place.paths)
    # where the times of files cannot be kept, they would count as modified outside kartnb with the mark of before
    mark = joint_mark(file_system(path).mark(path) for path in place.paths)
    suffix = kept.record.rpartition('~')[2].removesuffix('.json')
    return RecordedResult.from_suffix(suffix)._replace(kept_for=kept_for, files=mark)
