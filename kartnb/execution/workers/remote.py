"""What runs in a worker process: unpack a parcel of task orders, run them in turn, send back how they went on."""

from __future__ import annotations

import os
import pickle
import threading
import traceback
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from typing import Any

import luigi

from kartnb._version import __version__
from kartnb.errors import WorkerError
from kartnb.execution.capture.output_capture import captured, is_building, swallow_output, taken_output
from kartnb.execution.running.luigi_events import SentHandlers
from kartnb.execution.running.random_state import seeding_allowed
from kartnb.execution.running.runs import TaskOrder, TaskRun
from kartnb.execution.running.worker import advance
from kartnb.execution.workers.channel import Channel, Sender, connect
from kartnb.execution.workers.settings import Settings, SettingsKeeper
from kartnb.execution.workers.transport import WorkerClasses
from kartnb.storage.captured_logs import CapturedLine
from kartnb.task import identity
from kartnb.task.base import TaskOnKart
from kartnb.task.structure import flatten, map_nested, required

_classes = WorkerClasses()
_settings = SettingsKeeper()
_handlers = SentHandlers()
#: A worker runs one parcel at a time, also where its pool has threads (Dask's workers do).
_one_at_a_time = threading.Lock()


@dataclass(frozen=True, slots=True)
class Parcel:
    """Some orders on their way to a worker.

    Attributes
    ----------
    orders
        The pickled orders.
    digests
        The classes that the orders need.
    classes
        Those of them that the worker has asked for.
    log_level
        From which level on logged lines are wanted.
    directory
        The working directory, which relative workspaces start from.
    channel
        Where events are to be sent while the tasks run, or None.
    settings
        What the configuration and the command line say where the build is.
    version
        The version of kartnb that has packed it.
    """

    orders: bytes
    digests: tuple[str, ...]
    log_level: int
    directory: str
    channel: Channel | None = None
    settings: Settings = field(default_factory=Settings)
    classes: Mapping[str, bytes] = field(default_factory=dict)
    version: str = __version__


@dataclass(frozen=True, slots=True)
class Reply:
    """What a worker sends back.

    Attributes
    ----------
    missing
        The classes that it has to be sent first; nothing was run then.
    outcomes
        A pickled list of `RemoteOutcome`, one for each order.
    sent
        The id of the worker's process, and how many messages it has sent through its channel; None without one.
    """

    missing: tuple[str, ...] = ()
    outcomes: bytes = b''
    sent: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class RemoteOutcome:
    """How a task run went on elsewhere: as in `Outcome`, and what the task has put into its log.

    `lines` is what it has printed and logged, where there is no channel that has told of it.
    """

    spent: float
    result_id: str
    error: BaseException | None
    requirements: Any
    task_log: dict[str, Any]
    lines: tuple[CapturedLine, ...] = ()
    files: str = ''


def perform(data: bytes) -> bytes:
    """Run the orders of a pickled parcel; gives a pickled reply.

    Raises
    ------
    WorkerError
        When this worker has another kartnb, or lacks a module that the tasks are from.
    """
    parcel: Parcel = pickle.loads(data)
    if parcel.version != __version__:
        raise WorkerError(f'A worker has kartnb {__version__}, not {parcel.version}: install the same version there.')
    with _one_at_a_time:
        if not is_building():  # an executor without processes of its own shares the settings anyway
            _settings.use(parcel.settings)
        try:
            _classes.receive(parcel.classes)
            missing = _classes.missing(parcel.digests)
            if missing:
                return pickle.dumps(Reply(tuple(missing)))
            orders: list[TaskOrder] = _classes.loads(parcel.orders)
        except ModuleNotFoundError as error:
            raise WorkerError(
                f'A worker has no module {error.name!r}, which the tasks need: install it there.'
            ) from error
        _handlers.use(_classes.handlers(parcel.digests))
        os.chdir(parcel.directory)
        with seeding_allowed():
            return pickle.dumps(_run_all(orders, parcel))


def _run_all(orders: list[TaskOrder], parcel: Parcel) -> Reply:
    if parcel.channel is not None:
        send = connect(parcel.channel, swallow_output())
        outcomes = [_run(order, parcel.log_level, send) for order in orders]
        return Reply((), _packed(outcomes), send.sent)
    # an executor without processes of its own runs this in the process that builds, which hears by itself
    with nullcontext() if is_building() else taken_output():
        return Reply((), _packed([_run(order, parcel.log_level, None) for order in orders]))


def _run(order: TaskOrder, log_level: int, sender: Sender | None) -> RemoteOutcome:
    def send(what: str, value: Any) -> None:
        if sender is not None:
            sender(order.key, what, value)

    task = order.task
    if isinstance(task, TaskOnKart):
        identity.adopt_id(task, order.unique_id)
    send('running', None)
    run = TaskRun(order, send)
    elsewhere = not is_building()
    with captured(order.build_id, log_level, lambda event: send('event', event)):
        outcome = advance(run)
        while outcome.requirements is not None and _are_complete(outcome.requirements):
            run.answer = map_nested(lambda task: task.output(), required(outcome.requirements))
            outcome = advance(run)
    if outcome.requirements is not None and run.generator is not None:
        # it begins again, perhaps in another process, when what it asks for is complete (luigi's way)
        run.generator.close()
    task_log = getattr(task, 'task_log', {})
    lines = tuple(run.output.lines) if run.output is not None and sender is None and elsewhere else ()
    told = (outcome.spent, outcome.result_id, outcome.error, outcome.requirements)
    return RemoteOutcome(*told, task_log, lines, outcome.files)


def _are_complete(asked: Any) -> bool:
    return all(isinstance(task, luigi.Task) and task.complete() for task in flatten(required(asked)))


def _packed(outcomes: list[RemoteOutcome]) -> bytes:
    for outcome in outcomes:
        if outcome.error is not None:
            _untie(outcome.error, ())
            _let_tracebacks_travel(outcome.error)
    try:
        return _classes.dumps(outcomes)
    except Exception:
        return _classes.dumps([_sendable(outcome) for outcome in outcomes])


def _untie(error: BaseException, above: tuple[BaseException, ...]) -> None:
    """Let the causes of an exception come to an end, so that it can be pickled: some are their own cause."""
    above = (*above, error)
    for name in ('__cause__', '__context__'):
        earlier = getattr(error, name)
        if any(earlier is other for other in above):
            setattr(error, name, None)
        elif earlier is not None and not (name == '__context__' and earlier is error.__cause__):
            _untie(earlier, above)


def _let_tracebacks_travel(error: BaseException) -> None:
    from tblib import pickling_support

    pickling_support.install(error)  # and those that it comes from


def _sendable(outcome: RemoteOutcome) -> RemoteOutcome:
    """The same outcome, with what cannot be pickled replaced by what says so."""
    error, requirements = outcome.error, outcome.requirements
    if error is not None and not _can_travel(error):
        text = ''.join(traceback.format_exception(error))
        error = WorkerError(f'{"".join(traceback.format_exception_only(error)).strip()} (which cannot be pickled)')
        error.add_note(text)
    if requirements is not None and not _can_travel(requirements):
        requirements, error = (
            None,
            WorkerError('What run() yields cannot be sent to the building process: yield tasks.'),
        )
    return replace(
        outcome,
        error=error,
        requirements=requirements,
        task_log=outcome.task_log if _can_travel(outcome.task_log) else {},
    )


def _can_travel(value: Any) -> bool:
    try:
        _classes.dumps(value)
    except Exception:
        return False
    return True
