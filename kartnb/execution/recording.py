"""Writing down a run that has ended: its record, and what it has printed and logged."""

from __future__ import annotations

import logging
import os
import random
import time
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from queue import Queue
from typing import Any, TypeAlias

import luigi

from kartnb._luigi import event_handlers
from kartnb.capture.task_log import TaskLog
from kartnb.errors import KartError
from kartnb.execution.report import error_line
from kartnb.history.gokart_runs import RunLogs
from kartnb.history.run_record import InputResult, OutputFile, RunRecord, iso_seconds, utc_text
from kartnb.storage.files import Seen, joint_mark
from kartnb.storage.filesystem import file_system
from kartnb.storage.run_records import RecordedResult, RecordSlot
from kartnb.storage.superseded import KeptResult, Replacement
from kartnb.storage.targets import SingleFileTarget
from kartnb.task.base import TaskOnKart
from kartnb.task.describe import shown_texts
from kartnb.task.metaclass import trigger
from kartnb.task.results import path_of

Handler: TypeAlias = Callable[..., Any]
#: A class, and the handlers that were put on it by event.
HandlersOf: TypeAlias = tuple[type, dict[str, list[Handler]]]

#: Importing these puts their handlers on their classes in a worker too.
_BRING_THEIR_OWN = ('gokart', 'kartnb', 'luigi')


def fire(task: luigi.Task, event: str, *args: Any) -> None:
    """Call the handlers of an event; what a handler raises is logged, not raised (luigi's rule)."""
    callbacks = event_handlers()
    if callbacks and any(event in handlers for handlers in callbacks.values()):
        if type(task).trigger_event is luigi.Task.trigger_event:
            trigger(task, event, *args)
        else:
            task.trigger_event(event, *args)


def fire_broken(task: luigi.Task, error: Exception) -> None:
    """Tell the handlers of luigi's BROKEN_TASK that a task could not be planned."""
    fire(task, luigi.Event.BROKEN_TASK, task, error)


def handlers_of(cls: type) -> HandlersOf | None:
    """The handlers that somebody has put on a class, and that a worker process has to be sent; None without any."""
    found = {
        event: [handler for handler in handlers if _root(handler) not in _BRING_THEIR_OWN]
        for event, handlers in event_handlers().get(cls, {}).items()
    }
    found = {event: handlers for event, handlers in found.items() if handlers}
    return (cls, found) if found else None


def _root(handler: Handler) -> str:
    return str(getattr(handler, '__module__', '')).partition('.')[0]


class SentHandlers:
    """In a worker process: the handlers that the build whose tasks run just now has sent."""

    def __init__(self) -> None:
        self._in_use: dict[str, list[tuple[type, str, Handler]]] = {}

    def use(self, sent: Mapping[str, HandlersOf]) -> None:
        """Put these handlers on their classes, and take away those of another build.

        Parameters
        ----------
        sent
            Handlers by what names them; the same name is the same handlers.
        """
        for name in [name for name in self._in_use if name not in sent]:
            for cls, event, handler in self._in_use.pop(name):
                event_handlers()[cls][event].discard(handler)
        for name, handlers in sent.items():
            if name not in self._in_use:
                self._in_use[name] = _put(handlers)


def _put(handlers: HandlersOf) -> list[tuple[type, str, Handler]]:
    cls, by_event = handlers
    added = []
    for event, sent in by_event.items():
        present = event_handlers().setdefault(cls, {}).setdefault(event, set())
        for handler in [handler for handler in sent if not _is_there(handler, present)]:
            added.append((cls, event, handler))
        present.update(handler for _, its_event, handler in added if its_event == event)
    return added


def _is_there(handler: Handler, present: set[Handler]) -> bool:
    """Whether a handler, or what it is a copy of, is on the class already (a forked worker has its parent's)."""
    code = getattr(handler, '__code__', None)
    return handler in present or (code is not None and any(getattr(x, '__code__', None) == code for x in present))


Reporter = Callable[[str, Any], None]


@dataclass(slots=True)
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
    result
        What the name of the record will tell, except for the id of the result.
    unknown
        What of the code nobody can compare, and why.
    replaces
        The result that is there already, or None.
    value_wanted
        Whether the run has failed when it leaves an output unwritten.
    """

    task: luigi.Task
    unique_id: str
    key: str
    build_id: str
    inputs: tuple[InputResult, ...]
    outputs: tuple[Any, ...]
    record: RecordSlot | None
    result: RecordedResult | None = None
    unknown: tuple[str, ...] = ()
    replaces: Replacement | None = None
    value_wanted: bool = True


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
    kept
        The earlier result, as long as the run may fail.
    files
        The joint mark of the files of the result that it has made.
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
    kept: KeptResult | None = None
    files: str = ''
    result_id: str = field(default_factory=lambda: new_result_id())

    @property
    def task(self) -> luigi.Task:
        """The task that runs."""
        return self.order.task


_ids = random.Random()
if hasattr(os, 'register_at_fork'):
    os.register_at_fork(after_in_child=_ids.seed)


def new_result_id() -> str:
    """A random id of a result; tasks that seed `random` have no part in it."""
    return f'{_ids.getrandbits(48):012x}'


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
    files
        The joint mark of the files of the result.
    """

    spent: float
    result_id: str = ''
    error: BaseException | None = None
    requirements: Any = None
    run: TaskRun | None = None
    task_log: dict[str, Any] | None = None
    files: str = ''


logger = logging.getLogger('kartnb')
_NOTHING_SEEN = Seen(0, 0.0)


def keep_output(run: TaskRun) -> None:
    """Write what a run has printed and logged to its file, if there is anything."""
    if run.order.record is None or run.output is None:
        return
    try:
        run.order.record.write_log(run.output.lines, run.order.build_id)
    except KartError as error:
        logger.warning('What %s has printed and logged could not be kept: %s', run.order.key, error)


def keep_replaced(run: TaskRun) -> None:
    """Keep the result that a run replaces, so that it can be brought back."""
    if run.order.replaces is None:
        return
    try:
        run.kept = run.order.replaces.keep()
    except OSError as error:
        logger.warning('The earlier result of %s could not be kept: %s', run.order.key, error)


def put_back_replaced(run: TaskRun) -> None:
    """Leave the earlier result as it was, because the run gave none."""
    kept, run.kept = run.kept, None
    if kept is None:
        return
    try:
        kept.take_back()
    except OSError as error:
        logger.warning('The earlier result of %s could not be put back: %s', run.order.key, error)


def record_loss(run: TaskRun, error: BaseException) -> None:
    """Record a run that was lost together with its process."""
    run.started = run.started or time.time()
    run.spent = time.time() - run.started
    keep_output(run)
    try:
        write_record(run, 'failed', error)
    except KartError as second:
        error.add_note(f'The failure could not be recorded: {second}')


def write_record(run: TaskRun, state: str, error: BaseException | None) -> None:
    """Write the record of a run; `state` is done, failed or interrupted."""
    task = run.task
    if run.order.record is None or TaskOnKart not in type(task).__mro__:
        return
    done = state == 'done'
    outputs = [seen_output(target) for target in run.order.outputs] if done else []
    ended = utc_text(time.time())
    run.files = joint_mark([seen.mark for _, seen in outputs])
    result = (run.order.result or RecordedResult('')).with_id(run.result_id, run.files)
    record = RunRecord(
        task=type(task).__name__,
        module=type(task).__module__,
        unique_id=run.order.unique_id,
        parameters=shown_texts(task),
        state=state,
        result_id=run.result_id if done else '',
        inputs=run.order.inputs,
        outputs=tuple([file for file, _ in outputs]),
        started=utc_text(run.started),
        ended=ended,
        seconds=round(run.spent, 6),
        error='' if error is None else error_line(error),
        build_id=run.order.build_id,
        code=result.made_by,
        unknown=run.order.unknown,
        checks=tuple([seen.check for _, seen in outputs]),
    )
    run.order.record.write(result if done else None, record.to_json(), iso_seconds(ended))


def seen_output(target: Any) -> tuple[OutputFile, Seen]:
    """What a record tells of one output, and what its content is known by."""
    path = path_of(target)
    if not isinstance(target, SingleFileTarget):
        return OutputFile(path, None, None), _NOTHING_SEEN
    seen = file_system(path).seen(path)
    return OutputFile(path, seen.size, seen.modified), seen if target.is_plain_file else _NOTHING_SEEN
