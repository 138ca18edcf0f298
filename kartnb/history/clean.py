"""`kartnb.clean`: results that no root needs, and results that were replaced; listed first, removed on request."""

from __future__ import annotations

import inspect
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal, TypeAlias

import luigi

from kartnb import display
from kartnb.config import configured_limit
from kartnb.errors import HistoryError, KartError, TaskArgumentError, TaskSettingError
from kartnb.history.gather import Inventory, gather, take_inventory
from kartnb.history.makers import Makers
from kartnb.history.runs import Run, RunState
from kartnb.history.select import Bounds, byte_count
from kartnb.storage.census import FileFound, absolute_place, path_below, remove_file, require_directory, unchanged
from kartnb.storage.run_records import record_name
from kartnb.storage.superseded import remove_directory
from kartnb.task.base import TaskOnKart
from kartnb.task.identity import required_tasks
from kartnb.task.results import output_paths

ItemKind: TypeAlias = Literal['not needed', 'superseded', 'code']


@dataclass(frozen=True, slots=True)
class CleanItem:
    """Something that can be removed."""

    kind: ItemKind  #: 'code' is the kept source of results that are removed.
    run: Run | None  #: The run whose result it is; None for code.
    files: tuple[FileFound, ...]  #: In the order of their removal.

    @property
    def size(self) -> int:
        """How many bytes its files have."""
        return sum(file.size for file in self.files)


@dataclass(frozen=True, slots=True)
class LeftAlone:
    """How many results `clean` leaves alone for a maker."""

    notebook: str  #: As in `kartnb.history.run_record.RunRecord`.
    made: int
    used: int  #: Made here, and what it has was made from them.


class Cleaning(display.Displayed):
    """What can be removed from a workspace. Nothing is removed before `remove` is called.

    Attributes
    ----------
    workspace
        The workspace.
    items
        What can be removed, the largest first.
    notes
        What is kept, and why; what could not be removed.
    left_alone
        How much of it others have made, or use: not in `items`, and not removed.
    removed
        Whether it was removed.
    """

    def __init__(
        self,
        workspace: str,
        items: Iterable[CleanItem],
        notes: Sequence[str] = (),
        left_alone: Iterable[LeftAlone] = (),
    ) -> None:
        self.workspace = workspace
        self.items = tuple(sorted(items, key=lambda item: -item.size))
        self.notes = tuple(notes)
        self.left_alone = tuple(left_alone)
        self.removed = False

    @property
    def size(self) -> int:
        """How many bytes all of it has."""
        return sum(item.size for item in self.items)

    def __len__(self) -> int:
        return len(self.items)

    def __bool__(self) -> bool:
        return True

    def remove(self) -> Cleaning:
        """Remove the items, except those that were modified since they were listed. Gives itself, to be shown."""
        if not self.removed:
            problems = [problem for item in self.items for problem in self._remove(item)]
            self.notes = (*self.notes, *problems)
            self.removed = True
        return self

    def _remove(self, item: CleanItem) -> list[str]:
        if not all(unchanged(self.workspace, file) for file in item.files):
            name = item.run.task if item.run is not None else item.files[0].path
            return [f'{name} was modified since it was listed, and is kept']
        if item.kind == 'superseded' and '://' not in self.workspace:
            return _remove_whole(os.path.dirname(path_below(self.workspace, item.files[0].path)), item.files)
        problems = [problem for file in item.files if (problem := remove_file(path_below(self.workspace, file.path)))]
        _remove_empty_directories(self.workspace, item.files)
        return problems


def _remove_whole(directory: str, files: Sequence[FileFound]) -> list[str]:
    """Remove a directory, unless something else is in it; gives what is wrong."""
    try:
        others = set(os.listdir(directory)) - {file.name for file in files}
        if others:
            return [f'{directory} holds {sorted(others)[0]} too, and is kept']
        remove_directory(directory)
    except (KartError, OSError) as error:
        return [str(error)]
    return []


def clean(
    *roots: luigi.Task | Iterable[luigi.Task],
    workspace: str | os.PathLike[str] | None = None,
    remove: bool = False,
    superseded: bool = True,
    keep_age: Any = None,
    keep_number: int | None = None,
    keep_bytes: int | str | None = None,
    keep: int | str | None = None,
    unrecorded: bool = False,
    everything: bool = False,
) -> Cleaning:
    """Find what can be removed from a workspace: what no root needs, and results that were replaced.

    Only results that this notebook or script has made, and that nobody else uses, are found by default. Only what
    kartnb or gokart has recorded counts, within the workspace; other files are never touched.

    Parameters
    ----------
    *roots
        Tasks, or lists of tasks, whose results, and those of all that they require, stay. Without roots, only replaced
        results can be removed.
    workspace
        The workspace; by default that of the roots, or the one that tasks use.
    remove
        Whether to remove it at once. Otherwise call `remove` of what is returned.
    superseded
        Whether replaced results can be removed.
    keep_age, keep_number, keep_bytes
        Which replaced results stay: those replaced within this time ('2 weeks', a timedelta, or days), so many of each
        task, the newest ones that have no more bytes together ('500 MB', or a number). What is within all bounds that
        are given stays; without one, none stays.
    keep
        How many bytes the workspace may have ('20 GB', or a number). Then only so much is found that it has no more
        afterwards: replaced results first, then what nothing needs, each the least recently used first. Without roots
        by default what the environment (``KARTNB_WORKSPACE_LIMIT``) or the configuration
        (``[kartnb] workspace_limit``) says; else there is no limit.
    unrecorded
        Whether files count that only have a unique id in their names, without a record or log; with `everything`.
    everything
        Whether results of other notebooks and scripts count too, results that these were made from, and those of
        unknown origin, such as gokart's.

    Raises
    ------
    TaskArgumentError
        When a root is not a task, or a list of them is empty.
    kartnb.HistoryError
        When the roots have different workspaces and none is given, or a bound is not valid.

    Examples
    --------
    >>> import kartnb, luigi, tempfile
    >>> class Square(kartnb.TaskOnKart[int]):
    ...     n = luigi.IntParameter()
    ...
    ...     def run(self):
    ...         self.dump(self.n**2)
    >>> place = tempfile.mkdtemp()
    >>> [kartnb.build(Square(n=n, workspace_directory=place)) for n in (2, 3)]
    [4, 9]
    >>> found = kartnb.clean(Square(n=3, workspace_directory=place))
    >>> [(item.kind, item.run.parameters['n']) for item in found.items]
    [('not needed', '2')]
    >>> found.remove().removed
    True
    """
    bounds = Bounds.of(keep_age, keep_number, keep_bytes)
    tasks = [task for root in roots for task in _tasks_of(root)]
    limit = workspace_limit(keep, is_configurable=not tasks)
    place = _workspace_of(tasks, workspace)
    require_directory(place)
    found = take_inventory(place)
    runs = gather(found)
    items: list[CleanItem] = []
    notes = list(found.problems)
    if tasks:
        needed = _needed_by(tasks, runs)
        notes += needed.notes
        items += _not_needed(found, runs, needed, unrecorded)
        notes += [] if unrecorded else _left_alone(runs, needed)
    elif limit is not None:
        items += _not_needed(found, runs, _Needed(), unrecorded)
    if superseded:
        items += _replaced(found, runs, bounds)
    running = [item for item in items if _unique_id(item) in found.running]
    if running:
        items = [item for item in items if item not in running]
        notes.append('Results of running tasks, which these may put back, are kept')
    left_alone: list[LeftAlone] = []
    if not everything:
        items, left_alone = _own(items, runs)
    if limit is not None:
        items, note = _over_limit(found, runs, items, limit)
        notes += note
    items += _unused_code(found, items)
    cleaning = Cleaning(place, items, notes, left_alone)
    return cleaning.remove() if remove else cleaning


def delete_local_unnecessary_outputs(task: luigi.Task) -> None:
    """Remove the recorded results of the task's workspace that it does not need; nothing in remote workspaces.

    Parameters
    ----------
    task
        The root: its results and those of all that it requires stay.

    Notes
    -----
    From gokart, whose function also deletes what it must keep, and files that it has not written.
    """
    workspace = _workspace_of(_tasks_of(task), None)
    if '://' not in workspace and os.path.exists(workspace):
        clean(task, remove=True, superseded=False, everything=True)


def _tasks_of(root: Any) -> list[luigi.Task]:
    """The tasks of a root, which is one or a list of them."""
    given: list[Any] = (
        [root] if isinstance(root, luigi.Task | str | type) or not isinstance(root, Iterable) else list(root)
    )
    if not given:
        raise TaskArgumentError(
            'clean was given an empty list of tasks, so that no result would be needed: give tasks, '
            'or no argument to find replaced results only.'
        )
    for task in given:
        if not isinstance(task, luigi.Task):
            raise TaskArgumentError(f'clean needs tasks, such as MyTask(…), not {task!r:.80} ({type(task).__name__}).')
    return given


def _workspace_of(roots: Sequence[luigi.Task], given: str | os.PathLike[str] | None) -> str:
    if given is not None:
        return absolute_place(given)
    own = {absolute_place(root.workspace_directory) for root in roots if isinstance(root, TaskOnKart)}
    if len(own) > 1:
        raise HistoryError(
            f'The roots have different workspaces ({", ".join(sorted(own))}): pass one of them as workspace=….'
        )
    return own.pop() if own else absolute_place(TaskOnKart().workspace_directory)


def _not_needed(found: Inventory, runs: list[Run], needed: _Needed, unrecorded: bool) -> list[CleanItem]:
    items = []
    taken: set[str] = set()
    traces = _Traces(found)
    for run in runs:
        if run.state is RunState.SUPERSEDED or run.unique_id in needed.ids:
            continue
        if run.origin == 'file' and not unrecorded:
            continue
        outputs = [found.file(path) for path in run.outputs if path not in needed.paths]
        files = [file for file in (*outputs, *traces.of(run)) if file is not None and file.path not in taken]
        taken.update(file.path for file in files)
        if files:
            items.append(CleanItem('not needed', run, tuple(files)))
    return items


class _Traces:
    """The logs and records of results. They go after the results: a result without its record would still be used."""

    def __init__(self, found: Inventory) -> None:
        self._logs = found.logs
        self._records = {path_below(found.root, file.path): file for file in found.records}
        self._captured: dict[str, list[FileFound]] = {}
        for path, file in found.captured.items():
            self._captured.setdefault(path.rpartition('/')[2], []).append(file)

    def of(self, run: Run) -> list[FileFound | None]:
        stem = f'{run.task}_{run.unique_id}'
        logs = [files.get(stem) for files in self._logs.values()]
        return [*logs, *self._captured.get(stem, ()), self._records.get(run.place)]


def _left_alone(runs: list[Run], needed: _Needed) -> list[str]:
    number = sum(run.origin == 'file' and run.unique_id not in needed.ids for run in runs)
    if not number:
        return []
    kept = '1 result without a record or log stays' if number == 1 else f'{number:,} results without one stay'
    return [f'{kept}; unrecorded=True includes such results']


def _unique_id(item: CleanItem) -> str:
    """The unique id of the task of a result; '' where it is unknown."""
    names = (record_name(file.name).unique_id for file in item.files if '~' in file.name)
    return item.run.unique_id if item.run is not None else next(names, '')


def _own(items: list[CleanItem], runs: list[Run]) -> tuple[list[CleanItem], list[LeftAlone]]:
    """What this notebook has made and nobody else uses, and how much of the rest is whose."""
    makers = Makers()
    users = {
        given.result_id or given.unique_id: run.notebook
        for run in runs
        if run.state in (RunState.CACHED, RunState.SUPERSEDED) and not makers.is_here(run.record)
        for given in run.inputs
    }
    own: list[CleanItem] = []
    made, used = Counter[str](), Counter[str]()
    for item in items:
        run = item.run
        if run is not None and run.origin == 'file':
            own.append(item)  # those are asked for by `unrecorded`
        elif run is None or not makers.is_here(run.record):
            made['' if run is None else run.notebook] += 1
        elif run.id in users:
            used[users[run.id]] += 1
        else:
            own.append(item)
    return own, [LeftAlone(maker, made[maker], used[maker]) for maker in dict.fromkeys([*made, *used])]


def _replaced(found: Inventory, runs: list[Run], bounds: Bounds) -> list[CleanItem]:
    items = []
    known = {run.result_id: run for run in runs if run.state is RunState.SUPERSEDED}
    for result_id, files in found.superseded.items():
        # the manifest first: without it the rest no longer counts, should a removal be interrupted
        ordered = sorted(files, key=lambda file: (file.name != 'superseded.json', file.path))
        items.append(CleanItem('superseded', known.get(result_id), tuple(ordered)))
    newest = sorted(items, key=lambda item: -max(file.modified for file in item.files))
    kept = bounds.kept(
        [(_task_of(item), datetime.fromtimestamp(item.files[0].modified, UTC), item.size) for item in newest]
    )
    return [item for item, stays in zip(newest, kept, strict=True) if not stays]


def workspace_limit(given: int | str | None, *, is_configurable: bool = True) -> int | None:
    """How many bytes a workspace may have: as given, or else as configured; None for no limit.

    Raises HistoryError for a given one, and TaskSettingError for a configured one, that is not a number of bytes.
    """
    if given is not None:
        return byte_count(given)
    value, where = configured_limit() if is_configurable else ('', '')
    try:
        return byte_count(value) if value else None
    except HistoryError:
        raise TaskSettingError(f"{where} must be a number of bytes, such as '20 GB', not {value!r:.60}.") from None


def _over_limit(
    found: Inventory, runs: list[Run], items: list[CleanItem], limit: int
) -> tuple[list[CleanItem], list[str]]:
    """What has to go for a workspace to have no more than `limit` bytes, and a note where that is not enough."""
    present = [run for run in runs if run.state is RunState.CACHED]
    users: dict[str, list[Run]] = {}
    for run in present:
        for given in run.inputs:
            users.setdefault(given.unique_id, []).append(run)

    def order(item: CleanItem) -> tuple[bool, bool, float]:
        own = users.get(item.run.unique_id, []) if item.run is not None and item.kind != 'superseded' else []
        times = [run.when.timestamp() for run in (*own, item.run) if run is not None and run.when is not None]
        return item.kind != 'superseded', bool(own), max(times, default=0.0)

    total, chosen = found.size, []
    for item in sorted(items, key=order):
        if total <= limit:
            break
        chosen.append(item)
        total -= item.size
    if total <= limit:
        return chosen, []
    return chosen, [f'{total:,} bytes stay, which is more than the limit of {limit:,}: nothing else can be removed']


def _task_of(item: CleanItem) -> str:
    return item.run.unique_id if item.run is not None else item.files[0].path


def _unused_code(found: Inventory, items: list[CleanItem]) -> list[CleanItem]:
    """The source of code prints that made no result that stays."""
    if found.running:
        return []  # no name says yet what code their results will have
    going = {file.path for item in items for file in item.files}
    staying = [
        file.name
        for file in (*found.records, *(file for files in found.superseded.values() for file in files))
        if file.path not in going and '~' in file.name
    ]
    used: set[str] = set()
    for name in staying:
        result = record_name(name).result
        if result is None:
            return []  # the record of a failure names its code only inside, and no record is opened here
        used.update((result.made_by, *(result.kept_for or ())))
    files = tuple(file for key, file in found.code.items() if key not in used)
    return [CleanItem('code', None, files)] if files else []


def _remove_empty_directories(root: str, files: Sequence[FileFound]) -> None:
    if '://' in root:
        return
    for directory in {file.path.rpartition('/')[0] for file in files}:
        if directory.startswith('log/superseded/'):
            try:
                os.rmdir(os.path.join(root, directory))
            except OSError:  # something else is in it
                continue


@dataclass(slots=True)
class _Needed:
    """What has to stay: tasks by unique id, their outputs as absolute paths; and notes of what is unknown."""

    ids: set[str] = field(default_factory=set)
    paths: set[str] = field(default_factory=set)
    notes: list[str] = field(default_factory=list)


def _needed_by(roots: Sequence[luigi.Task], runs: Iterable[Run]) -> _Needed:
    """What roots need, as far as their classes and the records of their runs say."""
    recorded: dict[str, list[Run]] = {}
    for run in runs:
        if run.state is not RunState.SUPERSEDED:
            recorded.setdefault(run.unique_id, []).append(run)
    found = _Needed()
    for task in _closure(roots):
        found.paths.update(absolute_place(path) for path in output_paths(task))
        if isinstance(task, TaskOnKart):
            found.ids.add(task.make_unique_id())
            _note_what_is_unknown(task, recorded, found)
    _add_recorded_inputs(found, recorded)
    return found


def _closure(roots: Sequence[luigi.Task]) -> list[luigi.Task]:
    pending, seen, found = list(roots), set(), []
    while pending:
        task = pending.pop()
        key = task.make_unique_id() if isinstance(task, TaskOnKart) else task.task_id
        if key not in seen:
            seen.add(key)
            found.append(task)
            pending.extend(required_tasks(task))
    return found


def _note_what_is_unknown(task: TaskOnKart[object], recorded: dict[str, list[Run]], found: _Needed) -> None:
    unknown = not any(run.record is not None for run in recorded.get(task.make_unique_id(), ()))
    run = type(task).run
    if unknown and (inspect.isgeneratorfunction(run) or inspect.isasyncgenfunction(run)):
        note = (
            f'{type(task).__name__} requires tasks while it runs, and no record says which: their results may be listed'
        )
        if note not in found.notes:
            found.notes.append(note)


def _add_recorded_inputs(found: _Needed, recorded: dict[str, list[Run]]) -> None:
    """Add what recorded runs were made from: tasks that were asked for while others ran are known only there."""
    pending = list(found.ids)
    while pending:
        for run in recorded.get(pending.pop(), ()):
            if run.unique_id in found.ids:
                found.paths.update(run.outputs)
            for given in run.inputs:
                if given.unique_id not in found.ids:
                    found.ids.add(given.unique_id)
                    pending.append(given.unique_id)
