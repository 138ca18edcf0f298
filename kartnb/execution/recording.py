"""The run of a task as data, and the protocol by which its result is made, once and whole or not at all.

A build gives out a `WorkItem`, which can be sent to another process; a `TaskRun` is its run under way, an `Outcome`
how that went on. The protocol is the same in every executor. `claim` locks the task, looks again whether there is still
something to do, writes down what the run is going to do, and sets the earlier result aside. `write_record` turns
that into the record of the run and releases the lock; when the run gave no result, `roll_back` has put the earlier one
back before. What a killed process leaves is rolled back by the next build (`recover`), which then draws its plan up
again, and by the next run of the task. Nothing of a living process is touched: it holds the lock of its task, or of the
file that it writes.

A result that has no record, because gokart or another program wrote it, is given one when it is first used.
"""

from __future__ import annotations

import functools
import logging
import os
import random
import time
from collections.abc import AsyncGenerator, Callable, Generator, Iterable
from contextlib import ExitStack
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from queue import Queue
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias

import luigi

from kartnb._luigi import event_handlers
from kartnb.capture.cached_reads import CachedFunction
from kartnb.capture.file_reads import FileReads
from kartnb.capture.task_log import TaskLog
from kartnb.errors import KartError, TaskLockException
from kartnb.execution.memory import MemoryUse
from kartnb.execution.report import error_line
from kartnb.history.gokart_runs import RunLogs
from kartnb.history.makers import Maker, current_maker
from kartnb.history.run_record import (
    InputResult,
    OutputFile,
    RunRecord,
    parsed_record,
    present_versions,
    told_seconds,
    utc_text,
)
from kartnb.interrupts import held_interrupts
from kartnb.storage.file_inputs import FileInput, compare
from kartnb.storage.files import SUFFIX, InUse, Look, ResultFiles, Seen, joint_contents, joint_mark, sweep_litter
from kartnb.storage.filesystem import at_home, file_system, left_home, may_leave, working_directory
from kartnb.storage.locks import hold, holder_of_key, make_task_lock_params_for_run
from kartnb.storage.run_lock import Holder, RunLock, RunMark, intent_text, waits_for
from kartnb.storage.run_records import RecordDirectory, RecordedResult, RecordSlot
from kartnb.storage.superseded import Replacement, discard, remove_directory, roll_back, superseded_directory
from kartnb.storage.targets import FileTarget, SingleFileTarget, TargetOnKart, is_luigis_file, is_rolled_back
from kartnb.task.describe import shown_texts
from kartnb.task.metaclass import trigger
from kartnb.task.results import path_of
from kartnb.task.secrets import NO_SECRETS, Masker
from kartnb.task.values import flatten, required

if TYPE_CHECKING:
    import asyncio

logger = logging.getLogger('kartnb')

_NOTHING_SEEN = Seen(0, 0.0)
#: The number of the first build that a task starts, among its requests.
_FIRST_BUILD = 1_000_000
#: Nobody edits code, and comes back to a build that runs, within less than that.
EDITING_SECONDS = 0.25
_TRIES_AFTER_A_DEATH = 25
_PAUSE_AFTER_A_DEATH = 0.02
_ids = random.Random()
if hasattr(os, 'register_at_fork'):
    # forked workers would otherwise all draw the same ids
    os.register_at_fork(after_in_child=_ids.seed)


def new_result_id() -> str:
    """A random id of a result; tasks that seed `random` do not change it."""
    return f'{_ids.getrandbits(48):012x}'


#: A result of the same code and inputs; any recorded one (where code changes are ignored); what `complete()` says;
#: a run alone.
SettledBy: TypeAlias = Literal['same result', 'any result', 'complete', 'run']


class Inputs(NamedTuple):
    """What a run is made from, as it is known when the run begins or goes on."""

    #: The results that it is made from.
    results: tuple[InputResult, ...]
    #: Their files.
    files: tuple[ResultFiles, ...]
    #: What the name of its record will say of them.
    result: RecordedResult | None


@dataclass(slots=True)
class WorkItem:
    """One task that is to run, with what a worker must know of it. It can be sent to another process."""

    task: luigi.Task
    unique_id: str
    key: str
    build_id: str
    #: The results that it is made from.
    inputs: tuple[InputResult, ...]
    outputs: tuple[Any, ...]
    #: The path of each output.
    paths: tuple[str, ...]
    #: Where its record goes; None for a plain luigi task, which keeps none.
    record: RecordSlot | None
    #: What the name of the record will say, except for the id of the result.
    result: RecordedResult | None = None
    #: Parts of the code that cannot be compared, and why.
    unknown: tuple[str, ...] = ()
    #: The files of the results that it is made from.
    reads: tuple[ResultFiles, ...] = ()
    #: Files outside of the pipeline that it reads, each with the parameter that gives it, or '' for an external task's.
    files: tuple[tuple[str, str], ...] = ()
    #: What its code reaches of libraries that reads files which are not seen.
    readers: tuple[str, ...] = ()
    caches: tuple[CachedFunction, ...] = ()  #: The functions with a cache that it reaches.
    unexplained: tuple[tuple[str, str], ...] = ()  #: Its attributes whose origin is unknown.
    #: The result that is there already.
    replaces: Replacement | None = None
    #: When the task need not run any more, because another process has made its result since the plan was drawn up.
    settled_by: SettledBy = 'same result'
    #: Whether what it writes is on the disk before its record is.
    durable: bool = False
    #: Whether the run has failed when it leaves an output unwritten.
    value_wanted: bool = True
    #: Where in what its `requires()` gives its inputs are.
    shape: str = ''
    #: Whose build it is; a worker does not know.
    maker: Maker = field(default_factory=current_maker)
    #: Masks the secrets of the build's tasks.
    mask: Masker = NO_SECRETS
    #: What an earlier run of it in this build has yielded, as `asked_names` gives it: these tasks are complete now.
    granted: frozenset[str] = frozenset()
    #: The versions of the packages that its code reaches.
    versions: dict[str, str] = field(default_factory=dict)
    #: What its build does with results whose code has changed; builds that its task starts do the same.
    on_code_change: str | None = None
    on_version_change: str | None = None  #: The same of other versions of packages.

    def take(self, inputs: Inputs) -> None:
        """Note the present results of its inputs."""
        self.inputs, self.reads, self.result = inputs


@dataclass(slots=True)
class TaskRun:
    """One run of one task under way, from its start to its end or to its next dynamic requirement.

    While the task runs, `report` is given ``'percentage'`` and a float, ``'message'`` or ``'tracking_url'`` and a str,
    or ``'resources'`` and a dict.
    """

    item: WorkItem
    report: Callable[[str, Any], None]
    #: When it began, in seconds since the epoch; 0 before that.
    started: float = 0.0
    #: Seconds that the user's code has taken so far.
    spent: float = 0.0
    #: The memory that its process took meanwhile; None where that is unknown.
    memory: MemoryUse | None = None
    logs: RunLogs | None = None
    generator: Generator[Any, Any, Any] | AsyncGenerator[Any, Any] | None = None
    #: The event loop of its coroutine, where that does not share one with other runs.
    loop: asyncio.Runner | None = None
    #: Whether other coroutines run in its thread meanwhile: what belongs to the thread or the process is not its own.
    interleaved: bool = False
    #: Whether luigi's own worker runs it, which fires the events and calls `on_success` and `on_failure`.
    by_luigi: bool = False
    #: What `on_success` of the task's own gave, alone in a tuple; None where it was not called.
    explanation: tuple[Any] | None = None
    #: Why its coroutine is being cancelled.
    ended_by: BaseException | None = None
    #: What a suspended generator is to be sent.
    answer: Any = None
    #: What it has printed and logged so far.
    output: TaskLog | None = None
    #: Where messages of luigi's central scheduler come in, when there is one.
    messages: Queue[Any] | None = None
    #: The lock of the task, from `claim` to the record.
    lock: RunLock | RunMark | None = None
    #: Gives up the lock in Redis; None where there is none.
    locks: ExitStack | None = None
    #: What the files of its inputs looked like when it began, or went on, by the paths of their records.
    seen: dict[str, InUse] = field(default_factory=dict)
    #: What was on the task when it began.
    attributes: dict[str, Any] | None = None
    #: What it reads, and, when it has ended, what it has read.
    reading: FileReads | None = None
    files: tuple[FileInput, ...] = ()
    #: What it has written besides its result.
    written: tuple[FileInput, ...] = ()
    #: The tasks that it has asked for while it ran.
    asked: list[luigi.Task] = field(default_factory=list)
    #: What removes a result that is not in a plain file.
    undo: list[Callable[[], None]] = field(default_factory=list)
    #: The result that it has recorded, and what its file looks like.
    made: RecordedResult | None = None
    look: Look = ()
    result_id: str = field(default_factory=new_result_id)
    #: The working directory of the plan, from which its relative paths start.
    directory: str | None = field(default_factory=working_directory)
    #: Gives the print of the code of its task as it is now, where a person may edit it meanwhile.
    code_now: Callable[[], str] | None = None
    #: The results of the builds that its task has started, by module, class and unique id.
    built: dict[tuple[str, str, str], InputResult] = field(default_factory=dict)

    @property
    def task(self) -> luigi.Task:
        """The task that runs."""
        return self.item.task

    @property
    def inputs(self) -> tuple[InputResult, ...]:
        """What its result is made from: what was planned, and what its task has built by itself."""
        if not self.built:
            return self.item.inputs
        planned = {(item.module, item.task, item.unique_id) for item in self.item.inputs}
        return (*self.item.inputs, *(item for key, item in self.built.items() if key not in planned))

    def note_built(self, result: InputResult) -> None:
        """A build that its task has started has given this result, which counts as asked for while it ran."""
        key = (result.module, result.task, result.unique_id)
        # after all that it yields: it is not known which of them came first
        own = getattr(self.task, 'workspace_directory', '')
        workspace = '' if result.workspace == own else result.workspace
        self.built[key] = replace(result, asked_later=_FIRST_BUILD + len(self.built), workspace=workspace)

    def unlock(self) -> None:
        """Give up the lock in Redis."""
        if self.locks is not None:
            self.locks.close()


@dataclass(slots=True)
class Outcome:
    """How a task run went on: finished, failed, or waiting for the tasks that it yielded."""

    #: Seconds that the user's code has taken so far.
    spent: float
    #: The recorded result that it has made, or, if `is_settled`, that was found.
    result: RecordedResult | None = None
    #: What it raised, its traceback starting in the user's code.
    error: BaseException | None = None
    #: What it yielded; None when it has finished.
    requirements: Any = None
    #: The run to go on with when its requirements are complete; None when it has to begin again.
    run: TaskRun | None = None
    #: What a task in another process has put into its log; None when it ran here.
    task_log: dict[str, Any] | None = None
    #: Who runs the task: this run has not begun.
    holder: Holder | None = None
    #: Whether another process has made the result meanwhile: this run has not begun.
    is_settled: bool = False
    #: What the task of a run in another process has yielded, as `asked_names` gives it there.
    asked: frozenset[str] = frozenset()
    #: The memory that its process took so far; None where that is unknown.
    memory: MemoryUse | None = None

    @property
    def is_idle(self) -> bool:
        """Whether the run has not begun."""
        return self.is_settled or self.holder is not None

    @property
    def is_done(self) -> bool:
        """Whether the run has ended well."""
        return self.error is None and self.requirements is None and not self.is_idle


#: The run of a task in which this code is executed; None outside of runs.
current_run: ContextVar[TaskRun | None] = ContextVar('kartnb_current_run', default=None)


def asked_names(requirements: Any) -> frozenset[str]:
    """Names of the tasks that a ``yield`` asks for, which other tasks do not have; the same in all workers."""
    return frozenset(map(_asked_name, flatten(required(requirements))))


def _asked_name(task: Any) -> str:
    if not isinstance(task, luigi.Task):
        return ''
    identify = getattr(task, 'make_unique_id', None)
    unique_id = task.task_id if identify is None else identify()
    paths = [path_of(target) for target in flatten(task.output())]
    return f'{type(task).__module__}.{type(task).__qualname__} {unique_id} {paths}'


def is_heard(*events: str) -> bool:
    """Whether any class of tasks has a handler for one of these events."""
    return any(event in handlers for handlers in event_handlers().values() for event in events)


def fire(task: luigi.Task, event: str, *args: Any) -> bool:
    """Call the handlers of an event; what a handler raises is logged, not raised (luigi's rule).

    Gives whether there may have been some.
    """
    for handlers in event_handlers().values():
        if event in handlers:
            break
    else:
        return False
    with may_leave():
        if type(task).trigger_event is luigi.Task.trigger_event:
            trigger(task, event, *args)
        else:
            task.trigger_event(event, *args)
    return True


def fire_broken(task: luigi.Task, error: Exception) -> None:
    """Fire luigi's BROKEN_TASK for a task that could not be planned."""
    fire(task, luigi.Event.BROKEN_TASK, task, error)


def keep_output(run: TaskRun) -> None:
    """Write what a run has printed and logged to its file, if there is anything."""
    slot = run.item.record
    lines = [] if run.output is None else run.output.lines
    if slot is None or not (lines or slot.may_have_log):
        return
    try:
        with held_interrupts():  # the record is there, so no other run may come to write them
            slot.write_log(lines, run.item.build_id)
    except KartError as error:
        logger.warning('The log of %s could not be kept: %s', run.item.key, error)


def claim(run: TaskRun) -> Outcome | None:
    """Take the task for this run; gives an outcome when another process has it, or has made its result meanwhile.

    Raises StorageError when that cannot be written down, and TaskLockException as `should_lock_run` asks for.
    """
    item = run.item
    if item.record is None:
        return None
    lock = item.record.lock(run.result_id, item.build_id, run.interleaved)
    if isinstance(lock, Holder):
        return Outcome(run.spent, holder=lock)
    leave = lock.abandon if lock.was_broken else lock.release
    try:
        holder = _lock_in_redis(run)
        if holder is not None:
            return Outcome(run.spent, holder=holder)
        had_result = item.replaces is not None
        # without a lock another run may end at any moment: another look costs time on an object store, and ends nothing
        is_worth_a_look = lock.is_exclusive or _has_redis(run.task) or not had_result
        if (
            lock.was_broken
            or (is_worth_a_look and _has_changed(item, had_result))
            or (item.settled_by == 'complete' and _says_complete(item.task))
        ):
            if _look_again(run, lock):
                leave = lock.release
                return Outcome(run.spent, item.record.result(), is_settled=True)
            leave = lock.release
        replaces = '' if item.replaces is None else item.replaces.result_id
        lock.announce(intent_text(item.paths, replaces, item.maker.notebook))
        _set_aside(run)
        leave = lock.abandon
        run.lock = lock
    finally:
        if run.lock is None:
            leave()
            run.unlock()
    return None


def _has_changed(item: WorkItem, had_result: bool) -> bool:
    """Whether the task may have another result than the plan saw, which saw result and record one after the other."""
    slot: Any = item.record
    is_other = item.replaces is not None and item.replaces.record not in slot.results
    return is_other or slot.has_changed(_plain_paths(item), had_result)


def present_holder(directory: RecordDirectory, stem: str, task: Any) -> Holder | None:
    """Who runs a task now, with a lock of a file or in Redis; None when nobody does."""
    holder = waits_for(directory.slot(stem).lock_path) if '://' not in directory.path else None
    if holder is not None or not _has_redis(task):
        return holder
    found = holder_of_key(make_task_lock_params_for_run(task))
    return None if found is None else Holder(*found)


def _has_redis(task: Any) -> bool:
    return task.redis_host is not None and task.redis_port is not None


def _plain_paths(item: WorkItem) -> list[str]:
    outputs = zip(item.outputs, item.paths, strict=True)
    return [path for target, path in outputs if is_rolled_back(target)]


def _lock_in_redis(run: TaskRun) -> Holder | None:
    """Take gokart's lock of the run too, where there is a Redis server; gives its holder when that is another one."""
    task: Any = run.task
    if not _has_redis(task):
        return None
    params = make_task_lock_params_for_run(task)
    try:
        run.locks = ExitStack()
        run.locks.enter_context(hold(params))
    except TaskLockException:
        if task.should_lock_run:  # gokart's rule: the build is tried again later
            raise
        pid, host = holder_of_key(params) or (0, '')
        return Holder(pid, host or f'through Redis at {task.redis_host}:{task.redis_port}')
    return None


def _look_again(run: TaskRun, lock: RunLock | RunMark) -> bool:
    """Whether the result is there by now; what a run that was broken off has left is rolled back first."""
    item, task = run.item, run.task
    slot: Any = item.record
    workspace = getattr(task, 'workspace_directory', '')
    slot.look_again()
    if lock.was_broken and lock.is_exclusive:  # elsewhere the run may go on, and `recover` knows which do not
        planned = '' if item.replaces is None else item.replaces.result_id
        roll_back(lock, slot, workspace, _plain_paths(item), lock.earlier().replaces or planned)
        slot.look_again()
    found = slot.result()
    if _is_settled(item, found):
        return True
    if found is None or not all(target.exists() for target in item.outputs):
        item.replaces = None
    else:  # made by other code, or of other inputs: it is set aside in its turn
        module = type(task).__module__
        item.replaces = Replacement(
            workspace,
            module,
            f'{type(task).__name__}_{item.unique_id}',
            found.result_id,
            slot.directory,
            slot.results[-1],
            item.paths,
            any(map(is_luigis_file, item.outputs)),
        )
    return False


def _is_settled(item: WorkItem, found: RecordedResult | None) -> bool:
    task: Any = item.task
    if item.settled_by == 'complete':
        return _says_complete(task)
    if item.settled_by == 'run' or not item.outputs or not all(target.exists() for target in item.outputs):
        return False
    if (task.strict_check or task.modification_time_check) and not _says_complete(task):
        return False
    if found is None:
        return item.replaces is None  # another program has made it meanwhile
    if item.replaces is not None and found.result_id == item.replaces.result_id:  # such as one that has expired
        return False
    paths = _plain_paths(item)
    files = joint_mark([file_system(path).mark(path) for path in paths])
    if found.files not in ('', files) and len(paths) == len(item.outputs):
        return False
    if item.settled_by == 'any result':
        return True
    wanted = item.result
    if wanted is None:
        return True
    if found.made_by != wanted.made_by or found.made_of not in ('', wanted.made_of):
        return False
    return not (found.reads_files or found.asked_later) or not _is_of_other_inputs(item)


def _is_of_other_inputs(item: WorkItem) -> bool:
    """Whether the present result, which another build has made, is of files or later inputs that are others here."""
    from kartnb.planning.known_results import KnownResults
    from kartnb.planning.recorded_staleness import later_inputs_changed

    slot: Any = item.record
    try:
        record = parsed_record(file_system(slot.directory).read_small(f'{slot.directory}/{slot.results[-1]}'))
    except OSError:
        return True
    if record is None or any(compare(file).answer == 'changed' for file in record.files):
        return True
    return later_inputs_changed(item.task, record, KnownResults(item.on_code_change, item.on_version_change))


def _says_complete(task: luigi.Task) -> bool:
    with may_leave():
        return bool(task.complete())


def look_at_inputs(run: TaskRun, at_end: bool = False) -> None:
    """See that no other build replaces the results that a run is made from while it uses them.

    Raises ResultReplacedError when one has, also when its run has failed and put the result back.
    """
    reads = run.item.reads
    if not reads:
        return
    directory = left_home()
    since = 0 if run.lock is None else run.lock.begun
    for files in reads:
        if at_end:
            files.end_use(directory, run.seen[files.record], since)
        elif files.record not in run.seen:
            run.seen[files.record] = files.begin_use(directory, since)


def _set_aside(run: TaskRun) -> None:
    """Keep the result that a run replaces, so that it can be brought back."""
    item = run.item
    run.undo = [undo for target in item.outputs if (undo := _undo_point(target)) is not None]
    if item.replaces is None:
        return
    try:
        item.replaces.keep()
    except BaseException:  # a result that cannot be kept is not replaced
        discard(item.replaces.workspace, item.replaces.result_id)
        raise


def _undo_point(target: Any) -> Callable[[], None] | None:
    if type(target) is SingleFileTarget and target.is_plain_file:
        return None
    if isinstance(target, TargetOnKart):
        return target.undo_point()
    if is_luigis_file(target) and not target.exists():
        return functools.partial(_remove_if_directory, at_home(str(target.path)))
    return None


def _remove_if_directory(path: str) -> None:
    """Remove the output of a run that has failed where it is a directory; of files `roll_back` knows more."""
    if os.path.isdir(path):
        remove_directory(path)


def take_back(run: TaskRun) -> None:
    """Leave the earlier result as it was, because the run gave none.

    Where that fails, the file of the run stays, and what lies in the place of the result does not count.
    """
    lock, item = run.lock, run.item
    if lock is None or item.record is None or lock.is_of_parent:
        return
    try:
        for undo in run.undo:
            undo()
        replaces = '' if item.replaces is None else item.replaces.result_id
        roll_back(lock, item.record, getattr(run.task, 'workspace_directory', ''), _plain_paths(item), replaces)
    except OSError as error:
        logger.warning('The earlier result of %s could not be put back: %s', item.key, error)
        give_up(run)


def give_up(run: TaskRun) -> None:
    """Release the lock of a run that has not ended well, and leave its file."""
    lock, run.lock = run.lock, None
    if lock is not None:
        lock.abandon()
    run.unlock()


def record_loss(run: TaskRun, error: BaseException) -> None:
    """Record a run that was lost together with its process."""
    run.started = run.started or time.time()
    run.spent = time.time() - run.started
    keep_output(run)
    slot = run.item.record
    if slot is None:
        return
    try:
        lock = _lock_of_the_dead(run, slot)
        if lock is None:  # another process has begun it
            return
        run.lock = lock
        slot.look_again()
        if lock.was_broken:
            workspace = getattr(run.task, 'workspace_directory', '')
            replaces = lock.earlier().replaces
            roll_back(lock, slot, workspace, _plain_paths(run.item), replaces)
            sweep_after(slot, workspace, run.item.paths, replaces)
        run.written = written_over(present_record(slot))
    except OSError as second:
        error.add_note(f'What it has left could not be removed: {second}')
        give_up(run)
        return
    record_failure(run, error)


def may_have_begun(run: TaskRun) -> bool:
    """Whether a run whose worker has died may have begun: if not, another task has taken the worker down."""
    slot = run.item.record
    return slot is None or '://' in slot.directory or os.path.exists(os.path.join(run.directory or '', slot.lock_path))


def present_record(slot: RecordSlot) -> RunRecord | None:
    """The record of the result that a task has now."""
    slot.look_again()
    path = f'{slot.directory}/{slot.results[-1]}' if slot.results else ''
    return parsed_record(file_system(path).read_bytes(path)) if path else None


def written_over(record: RunRecord | None) -> tuple[FileInput, ...]:
    """What the run of a result has written beside it, and a killed run may have written over."""
    written = () if record is None else record.written
    return tuple([file for file in written if compare(file).answer != 'same'])


def _lock_of_the_dead(run: TaskRun, slot: RecordSlot) -> RunLock | RunMark | None:
    for _ in range(_TRIES_AFTER_A_DEATH):
        lock = slot.lock(run.result_id, run.item.build_id)
        if not isinstance(lock, Holder):
            return lock
        time.sleep(_PAUSE_AFTER_A_DEATH)  # a killed process gives up its locks one after the other
    return None


def note_written(run: TaskRun) -> None:
    """Note what a run has written besides its result."""
    if run.reading is not None and run.item.record is not None:
        run.written = run.reading.written(run.item.mask)


def record_failure(run: TaskRun, error: BaseException, state: str = 'failed') -> None:
    """Write the record of a run that gave no result; if that fails too, the error says so."""
    try:
        note_written(run)
        write_record(run, state, error)
    except KartError as second:
        error.add_note(f'The failure could not be recorded: {second}')
        give_up(run)


def write_record(run: TaskRun, state: str, error: BaseException | None, seen: list[SeenOutput] | None = None) -> None:
    """Write the record of a run; `state` is done, failed or interrupted.

    `seen` is what `seen_output` gives of its outputs, where that is known.
    """
    task, slot, lock = run.task, run.item.record, run.lock
    if slot is None or lock is None or lock.is_of_parent:
        return
    done = state == 'done'
    item = run.item
    outputs = seen or ([seen_output(*output) for output in zip(item.outputs, item.paths, strict=True)] if done else [])
    ended = time.time()
    files = joint_mark([seen.mark for _, seen in outputs])
    contents = joint_contents([seen.check for _, seen in outputs])
    wanted = run.item.result
    if contents and wanted is not None and any(map(_depends_on_code, item.outputs, outputs)):
        # equal files give other values under other code, which is not in the print of what loads them
        contents = joint_mark([contents, wanted.made_by, wanted.made_of])
    run.look = outputs[0][1].look if len(outputs) == 1 else ()
    result = (run.item.result or RecordedResult('')).of_files(run.result_id, files, contents, bool(run.files))
    if run.built:
        result = result._replace(asked_later=True)
    record = RunRecord(
        task=type(task).__name__,
        module=type(task).__module__,
        unique_id=run.item.unique_id,
        parameters=shown_texts(task),
        state=state,
        result_id=run.result_id if done else '',
        inputs=run.inputs,
        shape=run.item.shape,
        outputs=tuple([file for file, _ in outputs]),
        started=utc_text(run.started),
        ended=utc_text(ended),
        seconds=round(run.spent, 6),
        error='' if error is None else error_line(error, run.item.mask),
        build_id=run.item.build_id,
        notebook=run.item.maker.notebook,
        notebook_inode=run.item.maker.inode,
        code=result.made_by,
        unknown=run.item.unknown,
        checks=tuple([seen.check for _, seen in outputs]),
        replaces='' if run.item.replaces is None else run.item.replaces.result_id,
        files=run.files,
        written=run.written,
        versions={**present_versions(), **item.versions},
        user=run.item.maker.user,
        commit=run.item.maker.commit,
        peak_memory=None if run.memory is None else run.memory.peak,
        memory_before=None if run.memory is None else run.memory.before,
    )
    slot.finish(lock, result if done else None, record.to_json(), told_seconds(ended))
    run.made = result if done else None
    run.lock = None
    run.unlock()


def _depends_on_code(target: Any, output: SeenOutput) -> bool:
    """Whether the value of an output depends on code of the user's, and not on the file alone."""
    return output[1].names_code or not getattr(target, 'is_read_by_kartnb', False)


#: What a record says of one output, and the marks of its content.
SeenOutput: TypeAlias = tuple[OutputFile, Seen]


def seen_output(target: Any, path: str, in_part: bool = False) -> SeenOutput:
    """Look at one output; with `in_part` no more is read of a large one than its ends."""
    if not isinstance(target, FileTarget) and not is_luigis_file(target):
        return OutputFile(path, None, None), _NOTHING_SEEN
    seen = file_system(path).seen(path, in_part)
    return OutputFile(path, seen.size, seen.modified), seen if is_rolled_back(target) else _NOTHING_SEEN


def sweep_after(slot: RecordSlot, workspace: str, paths: Iterable[str], replaces: str) -> None:
    """Remove litter from where a run that was broken off may have been writing."""
    kept = superseded_directory(workspace, replaces)
    sweep({*map(os.path.dirname, paths), slot.directory, os.path.join(workspace, 'log'), workspace, kept})


def sweep(directories: Iterable[str]) -> None:
    """Remove what killed processes have left in directories of this computer."""
    for directory in directories:
        if directory and '://' not in directory:
            try:
                names = [name for name in os.listdir(directory) if name.endswith(SUFFIX)]
                sweep_litter(directory, names)
            except OSError:
                continue
