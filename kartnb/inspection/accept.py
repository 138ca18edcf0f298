"""`kartnb.accept`: keep results although their code has changed, and write down who said so."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import luigi

from kartnb.errors import MissingResultError, StorageError, TaskArgumentError
from kartnb.history.makers import current_maker
from kartnb.history.run_record import iso_seconds, newest_record, utc_text
from kartnb.planning.code_changes import CodeComparison
from kartnb.planning.known_results import KnownResults, is_made_of
from kartnb.planning.planner import draw_up
from kartnb.planning.recorded_staleness import DynamicInputs
from kartnb.storage.places import keep_code
from kartnb.storage.run_lock import Holder, intent_text
from kartnb.storage.run_records import RecordDirectory, RecordedResult
from kartnb.task.base import TaskOnKart

#: A reason is one line of a record.
_LONGEST_REASON = 500


@dataclass(frozen=True, slots=True)
class Accepted:
    """What `accept` has done; as text it is a sentence or two."""

    #: The accepted results, as in ``Train[0a1b2c3d]``.
    tasks: tuple[str, ...]
    #: Those that were left as they are, each with the reason.
    left: tuple[str, ...] = ()
    #: Why there was nothing to accept, or ''.
    note: str = ''

    def __str__(self) -> str:
        few = ', '.join(self.tasks[:3]) + (f' and {len(self.tasks) - 3} more' if len(self.tasks) > 3 else '')
        done = f'Accepted as results of the present code: {few}.' if self.tasks else self._nothing
        more = f'; and {len(self.left) - 3} more' if len(self.left) > 3 else ''
        return f'{done} Left as they are: {"; ".join(self.left[:3])}{more}.' if self.left else done

    __repr__ = __str__

    @property
    def _nothing(self) -> str:
        return f'Nothing was accepted: {self.note}.' if self.note else 'Nothing was accepted.'


def accept(
    what: TaskOnKart[Any] | type[TaskOnKart[Any]], why: str = '', *, workspace: str | os.PathLike[str] | None = None
) -> Accepted:
    """Keep results whose code has changed, because the change does not matter for them.

    Their records then name the present code, and who accepted it, when, at which git commit, and why. The results
    themselves stay as they are. What was made from other inputs is not accepted: another code is no reason for it.

    Parameters
    ----------
    what
        A task, for its result; or a class, for all its results in the workspace that are stale by their code only.
    why
        Why the change does not matter, in one line.
    workspace
        The workspace of a class; by default the one that tasks use.

    Returns
    -------
    Accepted
        What was accepted, and what was left as it is.

    Raises
    ------
    TaskArgumentError
        When `what` is neither a task nor a class of tasks, or `why` is not a text.
    kartnb.StorageError
        When the task has no result, or is being run.

    Examples
    --------
    >>> import kartnb, tempfile
    >>> class Total(kartnb.TaskOnKart[int]):
    ...     def run(self):
    ...         self.dump(sum([1, 2]))
    >>> task = Total(workspace_directory=tempfile.mkdtemp())
    >>> kartnb.build(task)
    3
    >>> kartnb.accept(task, why='only the spelling has changed')
    Nothing was accepted. Left as they are: Total[...] was made by the present code.
    """
    if not isinstance(why, str):
        raise TaskArgumentError(f'why must be a text that says why the change does not matter, not {why!r:.60}.')
    if isinstance(what, type) and issubclass(what, TaskOnKart):
        return _accept_all(what, why, os.fspath(workspace or TaskOnKart().workspace_directory))
    if not isinstance(what, TaskOnKart):
        raise TaskArgumentError(f'accept needs a TaskOnKart, or a class of them, not {what!r:.80}.')
    return _accept_one(what, why)


def _accept_one(task: TaskOnKart[Any], why: str) -> Accepted:
    graph, _ = draw_up(task, on_code_change='warn')
    vertex, known = graph.vertex_of(task), graph.results
    name = f'{vertex.name}[{vertex.unique_id[:8]}]'
    result = known.result(vertex) if known.all_exist(vertex) else None
    if result is None:
        raise MissingResultError(f'{name} has no recorded result to accept: build it.', vertex.paths[0])
    reason = _not_accepted(known.code_change(vertex), is_made_of(result, known.made_of(vertex)))
    if reason:
        return Accepted((), (f'{name} {reason}',))
    directory = known.directory(vertex)
    assert directory is not None
    _rewrite(directory, vertex.stem, task.workspace_directory, type(task), known, why)
    return Accepted((name,))


def _accept_all(cls: type[TaskOnKart[Any]], why: str, workspace: str) -> Accepted:
    known = KnownResults('warn')
    directory = known.directory_of(workspace, cls.__module__)
    accepted, left = [], []
    same: list[bool] = []
    for stem, result in _of_class(directory, cls):
        record = newest_record(directory, stem)
        if record is None:
            continue
        name = f'{cls.__name__}[{record.unique_id[:8]}]'
        is_present = known.present_input(workspace, cls.__module__, stem) == result.as_input
        inputs = is_present and not DynamicInputs(workspace, known).has_other_inputs(result, record)
        change = known.code.compare(workspace, result, cls)
        if change.answer == 'same':
            same.append(bool(record.accepted))
            continue
        reason = _not_accepted(change, inputs)
        if reason:
            left.append(f'{name} {reason}')
        else:
            _rewrite(directory, stem, workspace, cls, known, why)
            accepted.append(name)
    return Accepted(tuple(accepted), tuple(left), '' if accepted or left else _none_stale(cls, workspace, same))


def _none_stale(cls: type, workspace: str, same: list[bool]) -> str:
    """Why there is nothing to accept; `same` says of each result of the present code whether it was accepted for it."""
    if same:
        how = 'accepted before' if all(same) else 'made by the present code'
        number = len(same)
        results = (
            f'the only result of {cls.__name__} was'
            if number == 1
            else f'all {number:,} results of {cls.__name__} were'
        )
        return f'{results} {how}'
    return f'no result of {cls.__name__} is recorded in {workspace}'


def _of_class(directory: RecordDirectory, cls: type) -> Iterator[tuple[str, RecordedResult]]:
    for stem in directory.stems():
        result = directory.result(stem) if stem.rpartition('_')[0] == cls.__name__ else None
        if result is not None:
            yield stem, result


def _not_accepted(change: CodeComparison, has_its_inputs: bool) -> str:
    """Why a result is left as it is; '' where it is stale by its code only."""
    if change.answer == 'same':
        return 'was made by the present code'
    if change.answer == 'unknown':
        return f'counts as cached: it is unknown whether its code has changed ({change.detail})'
    return '' if has_its_inputs else 'was made from other inputs than those of now: build it'


def _rewrite(
    directory: RecordDirectory, stem: str, workspace: str, cls: type[luigi.Task], known: KnownResults, why: str
) -> None:
    """Write the record of a result anew with the present code, as a run of the task would."""
    slot = directory.slot(stem)
    code = known.code.print_of(cls)
    result = directory.result(stem)
    lock = slot.lock(result.result_id if result is not None else '')
    if isinstance(lock, Holder):
        raise StorageError(
            f'{cls.__name__} is being run by {lock}: accept its result when that has ended.', slot.lock_path
        )
    leave = lock.abandon if lock.was_broken else lock.release
    try:
        slot.look_again()
        record = newest_record(directory, stem)
        if lock.was_broken or record is None or result is None or slot.result() != result:
            raise StorageError(f'{cls.__name__} has been run meanwhile: look at its result again.', slot.directory)
        maker = current_maker()
        record.accepted = {
            'user': maker.user,
            'when': utc_text(time.time()),
            'why': ' '.join(why.split())[:_LONGEST_REASON],
            'commit': maker.commit,
            'code': code.key,
        }
        keep_code(workspace, code.key, code.to_json())
        lock.announce(intent_text((), '', maker.notebook))
        # the code that has made it stays: who goes back to it needs no run either
        made_of = result.made_of if result.kept_for is None else result.kept_for[1]
        accepted = result._replace(kept_for=(code.key, made_of))
        slot.finish(lock, accepted, record.to_json(), iso_seconds(record.ended))
        directory.note(stem, accepted)
    finally:
        leave()  # nothing is left to do where the file has become the record
