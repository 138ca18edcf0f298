"""`kartnb.restore_result`: bring back a result that was replaced."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import luigi

from kartnb.errors import HistoryError, KartError, MissingResultError, StorageError, TaskArgumentError, described
from kartnb.execution.bring_back import ResultPlace, exchange, put_back
from kartnb.execution.recovery import record_existing_results
from kartnb.history.gather import below_workspace
from kartnb.history.run_record import newest_record
from kartnb.history.runs import Run, RunState
from kartnb.history.workspace import restored_task
from kartnb.planning.graph import TaskGraph, Vertex
from kartnb.planning.known_results import KnownResults
from kartnb.planning.planner import draw_up, require_task
from kartnb.planning.result_files import Files, examine, record_of
from kartnb.storage.census import path_below
from kartnb.storage.file_inputs import FileInput, compare, look_again
from kartnb.storage.files import joint_mark
from kartnb.storage.filesystem import file_system
from kartnb.storage.run_records import RecordDirectory, RecordedResult
from kartnb.storage.superseded import Replacement, Superseded, kept_result, superseded_results
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
        The task whose result it is; or the replaced result itself, as ``Workspace().runs(state='superseded')`` has it,
        which needs no class.
    result_id
        Which of its results, as the records name them; the one that was replaced last by default.
    keep
        Whether builds use it, whatever code made it, until the code changes again or an input is recomputed.
        Otherwise it counts as what its record says, so that the next build may replace it again. So does a run whose
        class, or one upstream, is gone.

    Returns
    -------
    Restored
        What was done.

    Raises
    ------
    kartnb.StorageError
        When there is no such result, or its task is being run.
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
        return _restored_run(task, keep)
    _require_own_task(task)
    graph, _ = draw_up(task)
    vertex = graph.vertex_of(task)
    return _restored(graph, vertex, _chosen(task, vertex.stem, result_id), keep)


def _restored(graph: TaskGraph, vertex: Vertex, found: Superseded, keep: bool) -> Restored:
    if len(found.files) != len(vertex.paths):
        raise MissingResultError(
            f'The result {found.result_id} of {vertex.name} has {len(found.files)} files, and the task has now '
            f'{len(vertex.paths)} outputs: it cannot be restored.',
            found.directory,
        )
    # a result that another program wrote has no record yet, and only a recorded one can be kept
    record_existing_results(graph, graph.vertices.values())
    present = graph.results.present(vertex) if graph.results.all_exist(vertex) else None
    record = record_of(found) if keep else None
    kept_for = _kept_for(vertex, graph.results, found) if keep else None
    put_back(vertex, graph.results, found, present, kept_for, _present_files(record.files if record else ()))
    replaced = '' if present is None else present.result_id
    return Restored(
        f'{vertex.name}[{vertex.unique_id[:8]}]', found.result_id, replaced, _UNTIL if keep else _AS_RECORDED
    )


def _restored_run(run: Run, keep: bool) -> Restored:
    if run.state is not RunState.SUPERSEDED:
        raise TaskArgumentError(f'{run.task}[{run.id[:8]}] is {run.state}: only a superseded result can be restored.')
    workspace = run.place.replace(os.sep, '/').partition('/log/superseded/')[0]
    found = kept_result(workspace, run.result_id)
    if found is None:
        raise MissingResultError(f'The result {run.result_id} of {run.task} is not kept any more.', run.place)
    try:
        graph, vertex = _planned(run, workspace, found)
    except Exception as error:  # a class may be gone, or have changed in any way: the file is still there
        why = str(error) if isinstance(error, KartError) else described(error)
        return _restored_by_record(run, workspace, found, why.rstrip('.'))
    return _restored(graph, vertex, found, keep)


def _planned(run: Run, workspace: str, found: Superseded) -> tuple[TaskGraph, Vertex]:
    task = restored_task(run, workspace, quiet=True)
    graph, _ = draw_up(task)
    vertex = graph.vertex_of(task)
    if (vertex.stem, type(vertex.task).__module__) != (found.stem, found.module):
        raise HistoryError(f'the definition of {run.task} has changed, so that its task has another id or module')
    return graph, vertex


def _restored_by_record(run: Run, workspace: str, found: Superseded, why: str) -> Restored:
    """Restore a result whose task cannot be planned, to where it was in its workspace."""
    name = f'{run.task}[{run.unique_id[:8]}]'
    record = record_of(found)
    if record is None:
        raise MissingResultError(f'The record of the result {found.result_id} cannot be read.', found.directory)
    recorded = record.parameters.get('workspace_directory', './resources/')
    paths = tuple(_place_now(path, recorded, workspace, name) for path, _ in found.files)
    directory = RecordDirectory(workspace, found.module)
    present = _present(directory, found, paths, recorded, workspace)
    exchange(ResultPlace(name, workspace, directory.slot(found.stem), paths), found, present)
    return Restored(
        name,
        found.result_id,
        '' if present is None else present.result_id,
        f'{_AS_RECORDED} Its task cannot be planned now ({why}); '
        f'kartnb.Workspace({workspace!r}).load({found.result_id!r}) gives the value.',
    )


def _place_now(path: str, recorded: str, workspace: str, name: str) -> str:
    """Where a file belongs that a task of the workspace wrote; whoever wrote the record, nowhere outside of it."""
    below = below_workspace(path, recorded) or below_workspace(path, workspace)
    if below is None:
        raise MissingResultError(f'{path}, a file of {name}, is outside the workspace: it cannot be restored.', path)
    return path_below(workspace, below)


def _present(
    directory: RecordDirectory, found: Superseded, paths: tuple[str, ...], recorded: str, workspace: str
) -> Replacement | None:
    """The result that is there now, by its record, as it can be set aside; None where there is none."""
    if not all(file_system(path).exists(path) for path in paths):
        return None
    name, result, record = (
        directory.newest(found.stem),
        directory.result(found.stem),
        newest_record(directory, found.stem),
    )
    if name is not None and result is not None and record is not None:
        files = tuple(_place_now(file.path, recorded, workspace, record.task) for file in record.outputs)
        mark = joint_mark(file_system(path).mark(path) for path in paths)
        if files == paths and (result.files in ('', mark) or examine(directory, found.stem, paths, mark) is Files.SAME):
            return Replacement(
                workspace, found.module, found.stem, result.result_id, directory.path, name, paths, found.apart
            )
    if directory.is_marked(found.stem):  # what a run that has not ended has written is not a result
        return None
    raise StorageError(
        f'{paths[0]} was modified outside kartnb, and would be lost: move it away, or remove it.', paths[0]
    )


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


def _present_files(recorded: Iterable[FileInput]) -> tuple[FileInput, ...]:
    """The files that a result was made from, where they have changed: as they are now, for which it is kept."""
    found = []
    for file in recorded:
        if compare(file).answer == 'changed':
            with contextlib.suppress(KartError, OSError):
                found.append(look_again(file))
    return tuple(found)


def _kept_for(vertex: Vertex, results: KnownResults, found: Superseded) -> tuple[str, str] | None:
    """The code and inputs for which a result is kept that others made; None where they are its own."""
    result = RecordedResult.from_suffix(found.record.rpartition('~')[2].removesuffix('.json'))
    now = results.code.print_of(type(vertex.task)).key, results.made_of(vertex)
    return now if result.made_by and now != (result.made_by, result.made_of) else None
