"""Running one task: seeds, events, the user's `run`, logs and the run record. The same function in every executor."""

from __future__ import annotations

import logging
import time
import traceback
import uuid
from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from queue import Queue
from types import TracebackType
from typing import Any

import luigi

from kartnb.errors import KartError, TaskNotDumpedError
from kartnb.execution.current import current_task
from kartnb.execution.luigi_events import fire
from kartnb.execution.output_capture import captured_task, task_log
from kartnb.execution.random_state import seed_for
from kartnb.execution.task_log import TaskLog
from kartnb.records.gokart_logs import RunLogs
from kartnb.records.run_record import InputResult, OutputFile, RunRecord, utc_text
from kartnb.storage.filesystem import file_system
from kartnb.storage.locks import hold, make_task_lock_params_for_run
from kartnb.storage.run_records import RecordSlot
from kartnb.storage.targets import SingleFileTarget
from kartnb.task.base import TaskOnKart
from kartnb.task.shown import shown_parameters
from kartnb.task.targets import path_of

logger = logging.getLogger('kartnb')

Reporter = Callable[[str, Any], None]

#: The attributes that a task has while it runs only, luigi's.
_LENT = (
    'set_status_message',
    'set_progress_percentage',
    'set_tracking_url',
    'decrease_running_resources',
    'scheduler_messages',
)


@dataclass(frozen=True, slots=True)
class TaskOrder:
    """What a worker is to run. It can be sent to another process.

    Attributes
    ----------
    task, unique_id, key, build_id
        What runs, for which build.
    inputs
        The results that it is made from.
    outputs
        The targets that it fills.
    record
        Where its record goes; None for a plain luigi task, which keeps none.
    """

    task: luigi.Task
    unique_id: str
    key: str
    build_id: str
    inputs: tuple[InputResult, ...]
    outputs: tuple[Any, ...]
    record: RecordSlot | None


@dataclass(slots=True)
class TaskRun:
    """One run of one task under way, from its start to its end or to its next dynamic requirement.

    Attributes
    ----------
    order
        What runs.
    report
        Is told ``('percentage', float)``, ``('message', str)``, ``('tracking_url', str)`` and ``('resources', dict)``
        while the task runs.
    started
        When it began, in seconds since the epoch; 0 before that.
    spent
        Seconds that the user's code has taken so far.
    answer
        What a suspended generator is to be sent.
    output
        What it has printed and logged so far.
    messages
        Where messages of luigi's central scheduler come in, when there is one.
    """

    order: TaskOrder
    report: Reporter
    started: float = 0.0
    spent: float = 0.0
    logs: RunLogs | None = None
    generator: Generator[Any, Any, Any] | None = None
    answer: Any = None
    output: TaskLog | None = None
    messages: Queue[Any] | None = None
    result_id: str = field(default_factory=lambda: uuid.uuid4().hex[:12])

    @property
    def task(self) -> luigi.Task:
        """The task that runs."""
        return self.order.task


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a task run went on: finished, failed, or waiting for the tasks that it has asked for meanwhile.

    Attributes
    ----------
    spent
        Seconds that the user's code has taken so far.
    result_id
        The id of the result that it has made, '' when it has not.
    error
        What it raised, its traceback starting in the user's code, or None.
    requirements
        What it asked for in a ``yield``, or None when it has finished.
    run
        The run to go on with when its requirements are complete; None when it has to begin again.
    task_log
        What a task in another process has put into its log; None when it ran here.
    """

    spent: float
    result_id: str = ''
    error: BaseException | None = None
    requirements: Any = None
    run: TaskRun | None = None
    task_log: dict[str, Any] | None = None


def advance(run: TaskRun) -> Outcome:
    """Start a task, or go on with one whose dynamic requirements are complete.

    Raises
    ------
    KeyboardInterrupt
        When it is interrupted; its record says so.
    """
    place = (run.order.build_id, run.order.key)
    token = current_task.set(place)
    run.output = run.output or task_log(*place)
    outcome = None
    try:
        with captured_task(run.output):
            outcome = _advance(run)
        return outcome
    finally:
        current_task.reset(token)
        if outcome is None or outcome.requirements is None:
            keep_output(run)


def _advance(run: TaskRun) -> Outcome:
    try:
        if not run.started:
            _start(run)
        requirements = _timed(run)
        if requirements is not None:
            return Outcome(run.spent, requirements=requirements, run=run)
        _succeed(run)
        return Outcome(run.spent, run.result_id)
    except KeyboardInterrupt as error:
        _write_record(run, 'interrupted', error)
        raise
    except BaseException as error:  # luigi's rule: whatever else a task raises, SystemExit too, is its failure
        return Outcome(run.spent, error=_fail(run, error))


def _start(run: TaskRun) -> None:
    task = run.task
    run.started = time.time()
    fire(task, luigi.Event.START, task)
    if isinstance(task, TaskOnKart):
        run.logs = RunLogs(task)
        run.logs.write_start(seed_for(task))
    for name, reporter in _reporters(run).items():
        setattr(task, name, reporter)


def _reporters(run: TaskRun) -> dict[str, Any]:
    """What luigi lends a task while it runs."""
    return {
        'set_status_message': lambda message: run.report('message', str(message)),
        'set_progress_percentage': lambda percentage: run.report('percentage', float(percentage)),
        'set_tracking_url': lambda url: run.report('tracking_url', str(url)),
        'decrease_running_resources': lambda amounts: run.report('resources', dict(amounts)),
        # nobody sends messages but luigi's central scheduler
        'scheduler_messages': (run.messages or Queue()) if run.task.accepts_messages else None,
    }


def _timed(run: TaskRun) -> Any:
    began = time.perf_counter()
    try:
        with _run_lock(run.task):
            return _go_on(run)
    finally:
        run.spent += time.perf_counter() - began


def _run_lock(task: luigi.Task) -> AbstractContextManager[None]:
    if isinstance(task, TaskOnKart) and task.should_lock_run:
        return hold(make_task_lock_params_for_run(task))
    return nullcontext()


def _go_on(run: TaskRun) -> Any:
    """Run until the end (None) or until the next requirements."""
    if run.generator is None:
        result = _user_run(run.task)()
        if not isinstance(result, Generator):
            return None
        run.generator = result
    try:
        requirements = run.generator.send(run.answer)
        while requirements is None:
            requirements = run.generator.send(None)
    except StopIteration:
        return None
    return requirements


def _user_run(task: luigi.Task) -> Callable[[], Any]:
    # the instance's own `run` skips complete tasks; the build has looked already
    bound: Callable[[], Any] = type(task).run.__get__(task) if isinstance(task, TaskOnKart) else task.run
    return bound


def _succeed(run: TaskRun) -> None:
    task = run.task
    _require_outputs(run)
    fire(task, luigi.Event.PROCESSING_TIME, task, run.spent)
    task.on_success()
    if isinstance(task, TaskOnKart):
        vars(task)['_rerun_pending'] = False
    if run.logs is not None:
        run.logs.write_success(run.spent, [path_of(target) for target in run.order.outputs])
    _write_record(run, 'done', None)
    fire(task, luigi.Event.SUCCESS, task)
    _forget_reporters(task)


def _fail(run: TaskRun, error: BaseException) -> BaseException:
    trim_traceback(error)
    task = run.task
    fire(task, luigi.Event.FAILURE, task, error)
    try:
        task.on_failure(error)
    except Exception as second:
        error.add_note(f'on_failure raised {type(second).__name__} too: {second}')
    try:
        _write_record(run, 'failed', error)
    except KartError as second:
        error.add_note(f'The failure could not be recorded: {second}')
    _forget_reporters(task)
    return error


def keep_output(run: TaskRun) -> None:
    """Write what a run has printed and logged to its file, if there is anything."""
    if run.order.record is None or run.output is None:
        return
    try:
        run.order.record.write_log(run.output.lines, run.order.build_id)
    except KartError as error:
        logger.warning('What %s has printed and logged could not be kept: %s', run.order.key, error)


def record_loss(run: TaskRun, error: BaseException) -> None:
    """Record a run that was lost together with its process."""
    run.started = run.started or time.time()
    run.spent = time.time() - run.started
    keep_output(run)
    try:
        _write_record(run, 'failed', error)
    except KartError as second:
        error.add_note(f'The failure could not be recorded: {second}')


def _forget_reporters(task: luigi.Task) -> None:
    for name in _LENT:
        vars(task).pop(name, None) if isinstance(task, TaskOnKart) else setattr(task, name, None)


def _require_outputs(run: TaskRun) -> None:
    task = run.task
    if type(task).complete not in (TaskOnKart.complete, luigi.Task.complete):
        return
    for target in run.order.outputs:
        if not target.exists():
            raise TaskNotDumpedError(
                f'{type(task).__name__}.run() ended without writing its output {path_of(target)}: '
                f'{"call self.dump(…) in it." if isinstance(task, TaskOnKart) else "write it there."}'
            )


def _write_record(run: TaskRun, state: str, error: BaseException | None) -> None:
    task = run.task
    if run.order.record is None or not isinstance(task, TaskOnKart):
        return
    done = state == 'done'
    record = RunRecord(
        task=type(task).__name__,
        module=type(task).__module__,
        unique_id=task.make_unique_id(),
        parameters={parameter.name: parameter.text for parameter in shown_parameters(task)},
        state=state,
        result_id=run.result_id if done else '',
        inputs=run.order.inputs,
        outputs=tuple(_output_file(target) for target in run.order.outputs) if done else (),
        started=utc_text(run.started),
        ended=utc_text(time.time()),
        seconds=round(run.spent, 6),
        error='' if error is None else one_line(error),
        build_id=run.order.build_id,
    )
    run.order.record.write(record.result_id, record.to_json())


def _output_file(target: Any) -> OutputFile:
    path = path_of(target)
    if not isinstance(target, SingleFileTarget):
        return OutputFile(path, None, None)
    return OutputFile(path, *file_system(path).stamp(path))


def one_line(error: BaseException) -> str:
    """An exception as one line of at most 300 characters."""
    text = ' '.join(''.join(traceback.format_exception_only(error)).split())
    return text if len(text) <= 300 else f'{text[:299]}…'


def trim_traceback(error: BaseException) -> None:
    """Let an exception's traceback begin in the user's code; for kartnb's own errors let it end there too."""
    frames = list(_chain(error.__traceback__))
    outside = [i for i, entry in enumerate(frames) if not _is_kartnb(entry)]
    if not outside:
        return
    kept = frames[outside[0] :]
    if isinstance(error, KartError):
        kept[outside[-1] - outside[0]].tb_next = None
    error.__traceback__ = kept[0]


def _chain(start: TracebackType | None) -> Sequence[TracebackType]:
    found = []
    while start is not None:
        found.append(start)
        start = start.tb_next
    return found


def _is_kartnb(entry: TracebackType) -> bool:
    return str(entry.tb_frame.f_globals.get('__name__', '')).partition('.')[0] == 'kartnb'
