"""`kartnb.adopt`: take over the results of a class that was moved or renamed."""

from __future__ import annotations

import contextlib
import os
import time
from dataclasses import dataclass, replace
from typing import Any

from kartnb.errors import KartError, MissingResultError, TaskArgumentError
from kartnb.execution.recording import seen_output
from kartnb.history.gather import gather, take_inventory
from kartnb.history.makers import current_maker
from kartnb.history.run_record import RunRecord, iso_seconds, utc_text
from kartnb.history.runs import Run, RunState
from kartnb.history.workspace import restored_task
from kartnb.planning.code_changes import CodeChanges
from kartnb.planning.moved_classes import ids_under
from kartnb.storage.census import absolute_place
from kartnb.storage.files import joint_mark
from kartnb.storage.filesystem import file_system
from kartnb.storage.places import LOG_KINDS, captured_log_path, keep_code, log_path
from kartnb.storage.run_lock import Holder, RunLock, RunMark, intent_text
from kartnb.storage.run_records import RecordDirectory, RecordedResult, RecordSlot
from kartnb.storage.superseded import roll_back
from kartnb.task.base import TaskOnKart
from kartnb.task.code.parts import Part, print_of_parts
from kartnb.task.values import flatten


@dataclass(frozen=True, slots=True)
class Adopted:
    """What `adopt` has done; as text it is a sentence or two."""

    #: The results that were taken over, as in ``Best[0a1b2c3d]``.
    tasks: tuple[str, ...]
    #: Those that were left as they are, each with the reason.
    left: tuple[str, ...] = ()
    #: The class that they were recorded under.
    of: str = ''

    def __str__(self) -> str:
        few = ', '.join(self.tasks[:3]) + (f' and {len(self.tasks) - 3} more' if len(self.tasks) > 3 else '')
        done = f'Taken over from {self.of}: {few}.' if self.tasks else f'Nothing was taken over from {self.of}.'
        more = f'; and {len(self.left) - 3} more' if len(self.left) > 3 else ''
        return f'{done} Left as they are: {"; ".join(self.left[:3])}{more}.' if self.left else done

    __repr__ = __str__


def adopt(cls: type[TaskOnKart[Any]], of: str, *, workspace: str | os.PathLike[str] | None = None) -> Adopted:
    """Take over the results that were recorded under another module or name of a class.

    Results, records and logs are copied to where the class has them now; what is there already stays. A result is taken
    over when the id that its recorded parameters give under the other name is the one that it has. Where the code is
    the same but for the name, it counts as made by the present code.

    Parameters
    ----------
    cls
        The class as it is now.
    of
        The module and the name that the class had, such as 'churn.tasks.train.Best'.
    workspace
        The workspace; by default the one that tasks use.

    Returns
    -------
    Adopted
        What was taken over, and what was left as it is.

    Raises
    ------
    TaskArgumentError
        When `cls` is not a class of tasks, or `of` does not name another one.
    kartnb.StorageError
        When no result of that name is recorded in the workspace.

    Examples
    --------
    >>> import kartnb, tempfile
    >>> place = tempfile.mkdtemp()
    >>> class Best(kartnb.TaskOnKart[int]):
    ...     def run(self):
    ...         self.dump(1)
    >>> kartnb.build(Best(workspace_directory=place))
    1
    >>> class Chosen(kartnb.TaskOnKart[int]):
    ...     def run(self):
    ...         self.dump(1)
    >>> len(kartnb.adopt(Chosen, of=f'{Best.__module__}.Best', workspace=place).tasks)
    1
    >>> kartnb.plan(Chosen(workspace_directory=place)).to_run()
    ()
    """
    if not (isinstance(cls, type) and issubclass(cls, TaskOnKart)):
        raise TaskArgumentError(f'adopt needs a class of tasks, such as Best, not {cls!r:.80}.')
    module, _, name = of.rpartition('.') if isinstance(of, str) else ('', '', '')
    if not module or not name or (module, name) == (cls.__module__, cls.__name__):
        raise TaskArgumentError(
            f"of must name the module and the class that {cls.__name__} was, such as 'churn.tasks.train.Best', "
            f'not {of!r:.80}.'
        )
    place = absolute_place(workspace or TaskOnKart().workspace_directory)
    runs = [
        run
        for run in gather(take_inventory(place), name)
        if run.module == module and run.state is RunState.CACHED and run.record is not None
    ]
    if not runs:
        raise MissingResultError(f'No result of {of} is recorded in {place}.', place)
    code, accepted, left = CodeChanges(), [], []
    for run in runs:
        shown = f'{cls.__name__}[{run.unique_id[:8]}]'
        try:
            task = restored_task(run, place, cls, quiet=True)
            reason = '' if [*ids_under(task, [name])] == [run.unique_id] else 'its parameters give another id now'
            reason = reason or _take_over(task, run, code, of)
        except KartError as error:
            reason = str(error).rstrip('.')
        if reason:
            left.append(f'{shown}: {reason}')
        else:
            accepted.append(f'{cls.__name__}[{task.make_unique_id()[:8]}]')
    return Adopted(tuple(accepted), tuple(left), of)


def _take_over(task: TaskOnKart[Any], run: Run, code: CodeChanges, of: str) -> str:
    """Copy a result, its record and logs to where a task has them; gives why not, or ''."""
    record = run.record
    assert record is not None
    cls, workspace = type(task), task.workspace_directory
    targets = flatten(task.output())
    paths = [target.path() for target in targets]
    if len(paths) != len(run.outputs):
        return f'it has {len(run.outputs)} files, and the task has {len(paths)} outputs now'
    stem = f'{cls.__name__}_{task.make_unique_id()}'
    directory = RecordDirectory(workspace, cls.__module__)
    slot = directory.slot(stem)
    same_place = [absolute_place(path) for path in paths] == [absolute_place(path) for path in run.outputs]
    if slot.results or (not same_place and any(target.exists() for target in targets)):
        return 'there is a result under the present name already'
    lock = slot.lock(record.result_id)
    if isinstance(lock, Holder):
        return f'it is being run by {lock}'
    leave = lock.abandon if lock.was_broken else lock.release
    try:
        slot.look_again()
        if lock.was_broken or slot.results:
            return 'it has been run meanwhile'
        lock.announce(intent_text(() if same_place else tuple(paths), '', current_maker().notebook))
        leave = lock.abandon
        _copy(task, run, record, paths, same_place, slot, lock, code, of)
        return ''
    except BaseException:
        roll_back(lock, slot, workspace, [] if same_place else paths, '')
        leave = lock.release
        raise
    finally:
        leave()


def _copy(
    task: TaskOnKart[Any],
    run: Run,
    record: RunRecord,
    paths: list[str],
    same_place: bool,
    slot: RecordSlot,
    lock: RunLock | RunMark,
    code: CodeChanges,
    of: str,
) -> None:
    cls, workspace = type(task), task.workspace_directory
    for source, path in zip(run.outputs, paths, strict=True):
        if not same_place:
            file_system(path).duplicate(source, path, keep_time=True)
    seen = [seen_output(target, path) for target, path in zip(flatten(task.output()), paths, strict=True)]
    suffix = run.place.rpartition('~')[2].removesuffix('.json')
    result = RecordedResult.from_suffix(suffix)._replace(files=joint_mark([found.mark for _, found in seen]))
    made_by = _code_now(cls, record, code, workspace)
    maker = current_maker()
    taken = replace(
        record,
        task=cls.__name__,
        module=cls.__module__,
        unique_id=task.make_unique_id(),
        outputs=tuple(file for file, _ in seen),
        code=made_by,
        accepted={
            'user': maker.user,
            'when': utc_text(time.time()),
            'why': f'taken over from {of}',
            'commit': maker.commit,
            'code': record.code,
        },
    )
    _copy_logs(workspace, run, taken)
    slot.finish(lock, result._replace(made_by=made_by), taken.to_json(), iso_seconds(record.ended))


def _code_now(cls: type[TaskOnKart[Any]], record: RunRecord, code: CodeChanges, workspace: str) -> str:
    """The print of the class where only its name is another one; else the recorded one, so that the change is seen."""
    now = code.print_of(cls)
    for key in (record.code, record.accepted.get('code', '')) if not now.unknown else ():
        before = code.parts(workspace, key) if key else None
        renamed = [_renamed(part, record.task, cls.__name__) for part in before or ()]
        if print_of_parts(renamed) == now.digest:
            keep_code(workspace, now.key, now.to_json())
            return now.key
    return record.code


def _renamed(part: Part, before: str, name: str) -> Part:
    rest = part.name.removeprefix(before)  # as in ``Best.run`` and ``Best is a``
    is_own = part.name.startswith(before) and not rest[:1].isidentifier() and not rest[:1].isdigit()
    return replace(part, name=f'{name}{rest}') if is_own else part


def _copy_logs(workspace: str, run: Run, taken: RunRecord) -> None:
    places = [
        (log_path(workspace, kind, run.task, run.unique_id), log_path(workspace, kind, taken.task, taken.unique_id))
        for kind in LOG_KINDS
    ]
    places.append(
        (
            captured_log_path(workspace, run.module, f'{run.task}_{run.unique_id}'),
            captured_log_path(workspace, taken.module, f'{taken.task}_{taken.unique_id}'),
        )
    )
    for source, path in places:
        if source != path:
            with contextlib.suppress(KartError, OSError):  # a log that is not there
                file_system(path).duplicate(source, path, keep_time=True)
