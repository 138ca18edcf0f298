"""The run of a task as data, and what is written down of it.

A build gives out a `WorkItem`, which can be sent to another process; a `TaskRun` is its run under way, an `Outcome`
how that went on. When the run has ended, its record, its captured output and the result that it replaced are put in
their places. A result that has no record, because gokart or another program wrote it, is given one when it is first
used.
"""

from __future__ import annotations

import logging
import os
import random
import time
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass, field, replace
from queue import Queue
from typing import TYPE_CHECKING, Any

import luigi

from kartnb._luigi import event_handlers
from kartnb.capture.task_log import TaskLog
from kartnb.errors import KartError
from kartnb.execution.report import error_line
from kartnb.history.gokart_runs import RunLogs
from kartnb.history.makers import Maker, current_maker
from kartnb.history.run_record import InputResult, OutputFile, RunRecord, iso_seconds, utc_text
from kartnb.model import TaskState
from kartnb.storage.files import Seen, joint_mark
from kartnb.storage.filesystem import file_system
from kartnb.storage.places import keep_code
from kartnb.storage.run_records import RecordedResult, RecordSlot
from kartnb.storage.superseded import KeptResult, Replacement
from kartnb.storage.targets import SingleFileTarget
from kartnb.task.base import TaskOnKart
from kartnb.task.describe import shown_texts
from kartnb.task.metaclass import trigger
from kartnb.task.results import path_of

if TYPE_CHECKING:  # workers do not plan
    from kartnb.planning.graph import TaskGraph, Vertex
    from kartnb.planning.known_results import KnownResults

logger = logging.getLogger('kartnb')

_NOTHING_SEEN = Seen(0, 0.0)
_ids = random.Random()
if hasattr(os, 'register_at_fork'):
    # forked workers would otherwise all draw the same ids
    os.register_at_fork(after_in_child=_ids.seed)


def new_result_id() -> str:
    """A random id of a result; tasks that seed `random` do not change it."""
    return f'{_ids.getrandbits(48):012x}'


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
    #: Where its record goes; None for a plain luigi task, which keeps none.
    record: RecordSlot | None
    #: What the name of the record will say, except for the id of the result.
    result: RecordedResult | None = None
    #: Parts of the code that cannot be compared, and why.
    unknown: tuple[str, ...] = ()
    #: The result that is there already.
    replaces: Replacement | None = None
    #: Whether the run has failed when it leaves an output unwritten.
    value_wanted: bool = True
    #: Whose build it is; a worker does not know.
    maker: Maker = field(default_factory=current_maker)


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
    logs: RunLogs | None = None
    generator: Generator[Any, Any, Any] | None = None
    #: What a suspended generator is to be sent.
    answer: Any = None
    #: What it has printed and logged so far.
    output: TaskLog | None = None
    #: Where messages of luigi's central scheduler come in, when there is one.
    messages: Queue[Any] | None = None
    #: The earlier result, as long as the run may fail.
    kept: KeptResult | None = None
    #: The joint mark of the files of the result that it has made.
    files: str = ''
    result_id: str = field(default_factory=new_result_id)

    @property
    def task(self) -> luigi.Task:
        """The task that runs."""
        return self.item.task


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a task run went on: finished, failed, or waiting for the tasks that it yielded."""

    #: Seconds that the user's code has taken so far.
    spent: float
    #: The id of the result that it has made; '' without one.
    result_id: str = ''
    #: What it raised, its traceback starting in the user's code.
    error: BaseException | None = None
    #: What it yielded; None when it has finished.
    requirements: Any = None
    #: The run to go on with when its requirements are complete; None when it has to begin again.
    run: TaskRun | None = None
    #: What a task in another process has put into its log; None when it ran here.
    task_log: dict[str, Any] | None = None
    #: The joint mark of the files of the result.
    files: str = ''


def fire(task: luigi.Task, event: str, *args: Any) -> None:
    """Call the handlers of an event; what a handler raises is logged, not raised (luigi's rule)."""
    callbacks = event_handlers()
    if callbacks and any(event in handlers for handlers in callbacks.values()):
        if type(task).trigger_event is luigi.Task.trigger_event:
            trigger(task, event, *args)
        else:
            task.trigger_event(event, *args)


def fire_broken(task: luigi.Task, error: Exception) -> None:
    """Fire luigi's BROKEN_TASK for a task that could not be planned."""
    fire(task, luigi.Event.BROKEN_TASK, task, error)


def keep_output(run: TaskRun) -> None:
    """Write what a run has printed and logged to its file, if there is anything."""
    if run.item.record is None or run.output is None:
        return
    try:
        run.item.record.write_log(run.output.lines, run.item.build_id)
    except KartError as error:
        logger.warning('The log of %s could not be kept: %s', run.item.key, error)


def keep_replaced(run: TaskRun) -> None:
    """Keep the result that a run replaces, so that it can be brought back."""
    if run.item.replaces is None:
        return
    try:
        run.kept = run.item.replaces.keep()
    except OSError as error:
        logger.warning('The earlier result of %s could not be kept: %s', run.item.key, error)


def put_back_replaced(run: TaskRun) -> None:
    """Leave the earlier result as it was, because the run gave none."""
    kept, run.kept = run.kept, None
    if kept is None:
        return
    try:
        kept.take_back()
    except OSError as error:
        logger.warning('The earlier result of %s could not be put back: %s', run.item.key, error)


def record_loss(run: TaskRun, error: BaseException) -> None:
    """Record a run that was lost together with its process."""
    run.started = run.started or time.time()
    run.spent = time.time() - run.started
    keep_output(run)
    record_failure(run, error)


def record_failure(run: TaskRun, error: BaseException) -> None:
    """Write the record of a run that failed; if that fails too, the error says so."""
    try:
        write_record(run, 'failed', error)
    except KartError as second:
        error.add_note(f'The failure could not be recorded: {second}')


def write_record(run: TaskRun, state: str, error: BaseException | None) -> None:
    """Write the record of a run; `state` is done, failed or interrupted."""
    task = run.task
    if run.item.record is None or TaskOnKart not in type(task).__mro__:
        return
    done = state == 'done'
    outputs = [seen_output(target) for target in run.item.outputs] if done else []
    ended = utc_text(time.time())
    run.files = joint_mark([seen.mark for _, seen in outputs])
    result = (run.item.result or RecordedResult('')).with_id(run.result_id, run.files)
    record = RunRecord(
        task=type(task).__name__,
        module=type(task).__module__,
        unique_id=run.item.unique_id,
        parameters=shown_texts(task),
        state=state,
        result_id=run.result_id if done else '',
        inputs=run.item.inputs,
        outputs=tuple([file for file, _ in outputs]),
        started=utc_text(run.started),
        ended=ended,
        seconds=round(run.spent, 6),
        error='' if error is None else error_line(error),
        build_id=run.item.build_id,
        notebook=run.item.maker.notebook,
        notebook_inode=run.item.maker.inode,
        code=result.made_by,
        unknown=run.item.unknown,
        checks=tuple([seen.check for _, seen in outputs]),
    )
    run.item.record.write(result if done else None, record.to_json(), iso_seconds(ended))


def seen_output(target: Any) -> tuple[OutputFile, Seen]:
    """What a record says of one output, and the marks of its content."""
    path = path_of(target)
    if not isinstance(target, SingleFileTarget):
        return OutputFile(path, None, None), _NOTHING_SEEN
    seen = file_system(path).seen(path)
    return OutputFile(path, seen.size, seen.modified), seen if target.is_plain_file else _NOTHING_SEEN


def record_existing_results(graph: TaskGraph, vertices: Iterable[Vertex]) -> None:
    """Give a record to results of a planned graph that have none, so that later changes are noticed.

    `vertices` are the tasks to look at, upstream first.
    """
    results = graph.results
    unwritable: set[str] = set()
    for vertex in vertices:
        task: Any = vertex.task
        wanted = _is_unrecorded(vertex, results)
        if not (wanted or vertex.key in results.moved) or task.workspace_directory in unwritable:
            continue
        try:
            _record_existing(vertex, results) if wanted else _note_present_times(vertex, results)
        except OSError:  # a read-only workspace is used as it is
            unwritable.add(task.workspace_directory)


def _is_unrecorded(vertex: Vertex, results: KnownResults) -> bool:
    return (
        vertex.verdict.state in (TaskState.CACHED, TaskState.STALE)
        and isinstance(vertex.task, TaskOnKart)
        and bool(vertex.outputs)
        and results.policy(type(vertex.task)) != 'ignore'
        and results.result(vertex) is None
        and not results.is_unfinished(vertex)
        and all(getattr(target, 'is_plain_file', False) for target in vertex.outputs)
    )


def _note_present_times(vertex: Vertex, results: KnownResults) -> None:
    """Put the present times into a record that was copied with its result, so that plans need not open it again."""
    task: Any = vertex.task
    directory = results.directory_of(task.workspace_directory, type(task).__module__)
    directory.rename(vertex.stem, results.moved.pop(vertex.key))


def _record_existing(vertex: Vertex, results: KnownResults) -> None:
    """Give a result the record of a run that was not seen; its state is 'adopted'."""
    task: Any = vertex.task
    seen = [seen_output(target) for target in vertex.outputs]
    outputs = tuple(file for file, _ in seen)
    made = utc_text(max(file.modified or 0.0 for file in outputs))
    files = joint_mark(found.mark for _, found in seen)
    result = results.next_result(vertex).with_id(new_result_id(), files)
    if any(other.verdict.reason is not None for other in vertex.requires):
        # made from what these runs replace, of which nothing is known: it must not count as older than its inputs
        result = replace(result, made_of='')
    code = results.code.print_of(type(task))
    record = RunRecord(
        task=type(task).__name__,
        module=type(task).__module__,
        unique_id=vertex.unique_id,
        parameters=shown_texts(task),
        state='adopted',
        result_id=result.result_id,
        inputs=results.inputs(vertex),
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
    )
    keep_code(task.workspace_directory, code.key, code.to_json())
    results.directory_of(task.workspace_directory, type(task).__module__).slot(vertex.stem).write(
        result, record.to_json(), iso_seconds(made)
    )
    results.put(vertex, result)
