"""`kartnb.restore_result`: bring back a result that was replaced."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

import luigi

from kartnb.errors import MissingResultError, StorageError, TaskArgumentError
from kartnb.execution.recording import record_existing_results
from kartnb.history.makers import current_notebook
from kartnb.history.run_record import iso_seconds, parsed_record
from kartnb.history.runs import Run, RunState
from kartnb.history.workspace import restored_task
from kartnb.planning.graph import Vertex
from kartnb.planning.known_results import KnownResults
from kartnb.planning.planner import draw_up, require_task
from kartnb.storage.files import joint_mark
from kartnb.storage.filesystem import file_system
from kartnb.storage.run_lock import Holder, intent_text
from kartnb.storage.run_records import RecordedResult
from kartnb.storage.superseded import Replacement, Superseded, roll_back, superseded_results
from kartnb.task.base import TaskOnKart

_UNTIL = 'It is used until the code changes again, or an input is recomputed.'
_AS_RECORDED = 'It counts as what its record says, so the next build may replace it.'


@dataclass(frozen=True, slots=True)
class Restored:
    """What `restore_result` has done; as text it is a sentence."""

    #: As in ``Train[0a1b2c3d]``.
    task: str
    result_id: str
    #: The result that was in its place, which is kept in its turn; '' when there was none.
    replaced: str
    #: How long the restored result is kept.
    note: str

    def __str__(self) -> str:
        then = f' {self.replaced}, which it replaces, is kept.' if self.replaced else ''
        return f'{self.task}: result {self.result_id} is restored.{then} {self.note}'

    __repr__ = __str__


def restore_result(task: TaskOnKart[Any] | Run, result_id: str | None = None, *, keep: bool = True) -> Restored:
    """Bring back a result that was replaced; the one that is there now is kept in its turn.

    Parameters
    ----------
    task
        The task whose result it is; or the replaced result itself, as ``Workspace().runs(state='superseded')`` has it.
    result_id
        Which of its results, as the records name them; the one that was replaced last by default.
    keep
        Whether builds use it, whatever code made it, until the code changes again or an input is recomputed.
        Otherwise it counts as what its record says, so that the next build may replace it again.

    Returns
    -------
    Restored
        What was done.

    Raises
    ------
    kartnb.StorageError
        When there is no such result.
    TaskArgumentError
        When `task` is not a `TaskOnKart`.

    Examples
    --------
    >>> import kartnb, tempfile
    >>> class Dice(kartnb.TaskOnKart):
    ...     fix_random_seed_methods = kartnb.luigi.ListParameter(default=[], significant=False)
    ...
    ...     def run(self):
    ...         import random
    ...
    ...         self.dump(random.random())
    >>> task = Dice(workspace_directory=tempfile.mkdtemp())
    >>> first = kartnb.build(task)
    >>> second = kartnb.build(task, rerun=True)
    >>> done = kartnb.restore_result(task)
    >>> kartnb.build(task) == first
    True
    """
    if isinstance(task, Run):
        result_id, task = task.result_id, _task_of(task)
    _require_own_task(task)
    graph, _ = draw_up(task)
    vertex = graph.vertex_of(task)
    found = _chosen(task, vertex.stem, result_id)
    if len(found.files) != len(vertex.paths):
        raise MissingResultError(
            f'The result {found.result_id} of {vertex.name} has {len(found.files)} files, and the task has now '
            f'{len(vertex.paths)} outputs: it cannot be restored.',
            found.directory,
        )
    # a result that another program wrote has no record yet, and only a recorded one can be kept
    record_existing_results(graph, graph.vertices.values())
    present = graph.results.present(vertex) if graph.results.all_exist(vertex) else None
    _put_back(vertex, graph.results, found, present, keep)
    found.remove()
    replaced = '' if present is None else present.result_id
    return Restored(
        f'{vertex.name}[{vertex.unique_id[:8]}]', found.result_id, replaced, _UNTIL if keep else _AS_RECORDED
    )


def _task_of(run: Run) -> TaskOnKart[Any]:
    if run.state is not RunState.SUPERSEDED:
        raise TaskArgumentError(f'{run.task}[{run.id[:8]}] is {run.state}: only a superseded result can be restored.')
    return restored_task(run, run.place.replace(os.sep, '/').partition('/log/superseded/')[0])


def _require_own_task(task: luigi.Task) -> None:
    require_task(task)
    if not isinstance(task, TaskOnKart):
        raise TaskArgumentError(f'{type(task).__name__} is not a TaskOnKart: earlier results are kept of those only.')


def _chosen(task: TaskOnKart[Any], stem: str, result_id: str | None) -> Superseded:
    every = sorted(superseded_results(task.workspace_directory, stem), key=lambda item: item.time)
    if not every:
        raise MissingResultError(
            f'No earlier result of {stem[:-24]} is kept in {task.workspace_directory}.', task.workspace_directory
        )
    if result_id is None:
        return every[-1]
    for item in every:
        if item.result_id == result_id:
            return item
    known = ', '.join(item.result_id for item in reversed(every))
    raise MissingResultError(
        f'No result {result_id} of {stem[:-24]} is kept. Kept results, latest first: {known}.',
        task.workspace_directory,
    )


def _put_back(
    vertex: Vertex, results: KnownResults, found: Superseded, present: Replacement | None, keep: bool
) -> None:
    """Put a result back by the protocol of a run, so that one that is broken off is rolled back."""
    task: Any = vertex.task
    slot = results.directory_of(task.workspace_directory, type(task).__module__).slot(vertex.stem)
    lock = slot.lock(found.result_id)
    if isinstance(lock, Holder):
        raise StorageError(
            f'{vertex.name} is being run by {lock}: restore its result when that has ended.', slot.directory
        )
    replaces = '' if present is None else present.result_id
    leave = lock.abandon
    try:
        lock.announce(intent_text(vertex.paths, replaces, current_notebook()))
        try:
            if present is not None:
                present.keep()
            found.put_back(task.workspace_directory, vertex.paths)
            record = parsed_record(found.record_text())
            if record is None:
                raise MissingResultError(f'The record of the result {found.result_id} cannot be read.', found.directory)
            result = _restored_result(vertex, results, found, keep)
            slot.finish(lock, result, record.to_json(), iso_seconds(record.ended))
        except BaseException:
            roll_back(lock, slot, task.workspace_directory, vertex.paths, replaces)
            leave = lock.release
            raise
    finally:
        leave()


def _restored_result(vertex: Vertex, results: KnownResults, found: Superseded, keep: bool) -> RecordedResult:
    """What the name of the record of a restored result says."""
    suffix = found.record.rpartition('~')[2].removesuffix('.json')
    # the files were written now: with the mark that the name has, they would count as modified outside kartnb
    mark = joint_mark(file_system(path).mark(path) for path in vertex.paths)
    result = RecordedResult.from_suffix(suffix)._replace(kept_for=None, files=mark)
    if keep and result.made_by:
        now = results.code.print_of(type(vertex.task)).key, results.made_of(vertex)
        result = result._replace(kept_for=now if now != (result.made_by, result.made_of) else None)
    return result
