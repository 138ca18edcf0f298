"""What runs in a worker process: unpack a parcel of work items, run them in turn, send back how they went on.

A parcel brings the settings along that the tasks would see where the build is.
"""

from __future__ import annotations

import io
import os
import pickle
import sys
import threading
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from itertools import zip_longest
from typing import Any

from kartnb._version import __version__
from kartnb.capture.capture import captured, is_building, swallow_output, taken_output
from kartnb.errors import WorkerError
from kartnb.execution.memory import MemoryUse
from kartnb.execution.recording import Inputs, Outcome, TaskRun, WorkItem, asked_names
from kartnb.execution.task_run import advance, close, importing, seeding_allowed
from kartnb.execution.workers.channel import ASKS, LOOKS_UP, OUTCOME, Channel, Sender, connect
from kartnb.execution.workers.sent_errors import ByAttributes, is_like, untie
from kartnb.execution.workers.sent_modules import MODULES, ModuleReceiver
from kartnb.execution.workers.settings import OptionsKeeper, Settings, SettingsKeeper
from kartnb.execution.workers.transport import SentHandlers, WorkerClasses
from kartnb.interrupts import heard_interrupts, kept_event_loop
from kartnb.model import TaskEvent
from kartnb.storage.places import CapturedLine
from kartnb.storage.run_lock import Holder, build_begins, build_ends
from kartnb.storage.run_records import RecordedResult
from kartnb.task import held, identity
from kartnb.task.base import TaskOnKart
from kartnb.task.values import map_nested, required


@dataclass(frozen=True, slots=True)
class Parcel:
    """Some pickled work items on their way to a worker, with the settings of the building process."""

    items: bytes
    #: The classes that they need.
    digests: tuple[str, ...]
    #: The lowest level of logged lines that are sent back.
    log_level: int
    #: The working directory, which relative workspaces start from.
    directory: str
    #: Where events are sent while the tasks run.
    channel: Channel | None = None
    settings: Settings = field(default_factory=Settings)
    #: Those of the classes that the worker has asked for.
    classes: Mapping[str, bytes] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Reply:
    """The answer of a worker to a parcel."""

    #: The classes that it needs to be sent first; if any, nothing was run.
    missing: tuple[str, ...] = ()
    #: The keys of tasks, each with its pickled `RemoteOutcome`; others were sent through the channel before.
    outcomes: tuple[tuple[str, bytes], ...] = ()
    #: The id of the worker's process, and how many messages it has sent through its channel; None without one.
    sent: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class RemoteOutcome:
    """An `Outcome` on its way back, with what the task has put into its `task_log`.

    `lines` is what it has printed and logged, where no channel has sent that before.
    """

    spent: float
    result: RecordedResult | None
    error: BaseException | None
    requirements: Any
    task_log: dict[str, Any]
    lines: tuple[CapturedLine, ...] = ()
    holder: Holder | None = None
    is_settled: bool = False
    asked: frozenset[str] = frozenset()
    memory: MemoryUse | None = None


def packed(parcel: Parcel) -> bytes:
    """A parcel on its way, behind the versions that its worker has to have: any version can read these."""
    return pickle.dumps((_versions(), pickle.dumps(parcel)))


def _versions() -> dict[str, str]:
    """The versions without which a worker cannot read what it is sent."""
    import cloudpickle

    python = f'{sys.version_info.major}.{sys.version_info.minor}'
    return {'kartnb': __version__, 'Python': python, 'cloudpickle': '.'.join(cloudpickle.__version__.split('.')[:2])}


def perform(data: bytes) -> bytes:
    """Run the work items of a parcel that `packed` has made; gives a pickled reply.

    Raises `WorkerError` when this worker has other versions, or lacks a module that the tasks need.
    """
    versions, content = pickle.loads(data)
    for name, here in _versions().items():
        if versions[name] != here:
            raise WorkerError(f'A worker has {name} {here}, not {versions[name]}: install the same version there.')
    parcel: Parcel = pickle.loads(content)
    with _one_at_a_time:
        if not is_building():  # a pool of threads has the settings of its process anyway
            _settings.use(parcel.settings)
            held.leave_to_the_building_process()
        try:
            with importing():
                missing = _take_in(parcel)
                if missing:
                    return pickle.dumps(Reply(tuple(missing)))
                items: list[WorkItem] = _classes.loads(parcel.items)
        except ModuleNotFoundError as error:
            raise WorkerError(
                f'A worker lacks the module {error.name!r}, which the tasks need: install it there.'
            ) from error
        _handlers.use(_classes.handlers(parcel.digests))
        os.chdir(parcel.directory)
        with (
            seeding_allowed(),
            kept_event_loop(),
            heard_interrupts(),
            nullcontext() if is_building() else _as_in_the_building_process(parcel, items[0].build_id),
        ):
            return pickle.dumps(_run_all(items, parcel))


@contextmanager
def _as_in_the_building_process(parcel: Parcel, build_id: str) -> Iterator[None]:
    before, sys.stdin = sys.stdin, _Nobody()
    try:
        # a process that works for others too gets its own options back
        build = build_id if parcel.channel is not None else None
        with _options.in_use(parcel.settings.options, build):
            yield
    finally:
        sys.stdin = before


class _Nobody(io.TextIOBase):
    """What tasks in a worker read from instead of the keyboard."""

    def read(self, size: int | None = -1, /) -> str:
        return ''

    def readline(self, size: int = -1, /) -> str:  # type: ignore[override]
        raise EOFError('input() cannot ask anybody in a worker: make it a parameter, or build without workers.')


def _take_in(parcel: Parcel) -> list[str]:
    """Take in the modules and classes of a parcel; gives the digests of those that have to be sent first."""
    digests = [digest for digest in parcel.digests if not digest.startswith(MODULES)]
    if not is_building():  # a pool of threads runs in the process that has loaded the modules
        _modules.receive(parcel.classes)
        missing = _modules.missing(parcel.digests)
        if missing:  # the classes may use them
            return [*missing, *_classes.missing(digests)]
        are_other_modules = _modules.use(parcel.digests)
    _classes.receive({name: data for name, data in parcel.classes.items() if not name.startswith(MODULES)})
    missing = _classes.missing(digests)
    if not missing and not is_building():
        _classes.use(digests, anew=are_other_modules)
    return missing


def _run_all(items: list[WorkItem], parcel: Parcel) -> Reply:
    """Run the items of a parcel, all of one build."""
    elsewhere = not is_building()  # a pool of threads is in the building process, which captures output by itself
    sender = None if parcel.channel is None else connect(parcel.channel, swallow_output())

    def emit(event: TaskEvent) -> None:
        if sender is not None:
            sender(event.key, 'event', event)

    build_id = items[0].build_id
    with (
        taken_output() if elsewhere and sender is None else nullcontext(),
        captured(build_id, parcel.log_level, emit, items[0].mask),
        _building(build_id) if elsewhere else nullcontext(),
    ):
        if sender is not None:
            return Reply((), tuple(_run_live(items, sender)), sender.sent)
        return Reply((), tuple((item.key, _packed(_run(item, None, elsewhere))) for item in items))


def _run_live(items: list[WorkItem], send: Sender) -> Iterator[tuple[str, bytes]]:
    """Send each outcome at once, for the tasks that wait for it; gives the last one, and any that could not be sent."""
    send(items[0].key, 'running', None)
    for item, following in zip_longest(items, items[1:]):
        outcome = _packed(_run(item, send, elsewhere=True))
        if following is None or not send(item.key, OUTCOME, (outcome, following.key)):
            yield item.key, outcome


def _run(item: WorkItem, sender: Sender | None, elsewhere: bool) -> RemoteOutcome:
    def send(what: str, value: Any) -> None:
        if sender is not None:
            sender(item.key, what, value)

    task = item.task
    if isinstance(task, TaskOnKart):
        identity.adopt_id(task, item.unique_id)
    if sender is not None:
        _classes.look_up_by(lambda name, known: sender.ask(item.key, LOOKS_UP, (name, known)))
    run = TaskRun(item, send)
    outcome = _advanced(run)
    while outcome.requirements is not None and _may_go_on(run, outcome.requirements, sender):
        run.answer = map_nested(lambda task: task.output(), required(outcome.requirements))
        outcome = _advanced(run)
    if outcome.requirements is not None:
        # it begins again, perhaps in another process, when what it yielded is complete (luigi's way)
        close(run)
    task_log = getattr(task, 'task_log', {})
    lines = tuple(run.output.lines) if run.output is not None and sender is None and elsewhere else ()
    asked = frozenset() if outcome.requirements is None else asked_names(outcome.requirements)
    return RemoteOutcome(
        outcome.spent,
        outcome.result,
        outcome.error,
        outcome.requirements,
        task_log,
        lines,
        outcome.holder,
        outcome.is_settled,
        asked,
        outcome.memory,
    )


def _advanced(run: TaskRun) -> Outcome:
    try:
        return advance(run)
    except KeyboardInterrupt as error:  # of one task: the others of its parcel go on
        return Outcome(run.spent, error=error, memory=run.memory)


@contextmanager
def _building(build_id: str) -> Iterator[None]:
    """Hold the locks of a build in this process."""
    build_begins(build_id)
    try:
        yield
    finally:
        build_ends(build_id)


def _may_go_on(run: TaskRun, requirements: Any, sender: Sender | None) -> bool:
    """Whether the results of the tasks that a run has yielded are there and up to date; the build decides that.

    A worker that cannot ask gives the task back, and goes on in a later run, which has been told.
    """
    if asked_names(requirements) <= run.item.granted:
        return True
    if sender is None:
        return False
    try:
        question = _classes.dumps(requirements)
    except Exception:  # the outcome says so
        return False
    inputs: Inputs | None = sender.ask(run.item.key, ASKS, question)
    if inputs is None:
        return False
    run.item.take(inputs)
    return True


def _packed(outcome: RemoteOutcome) -> bytes:
    if outcome.error is None and outcome.requirements is None and _is_of_texts(outcome.task_log):
        return pickle.dumps(outcome)  # nothing of the user's
    if outcome.error is not None:
        untie(outcome.error)
    data = _dumped(outcome)
    return _classes.dumps(_sendable(outcome)) if data is None else data


def _is_of_texts(task_log: dict[str, Any]) -> bool:
    """Whether a `task_log` holds nothing but lists of texts, such as the paths of what the task has dumped."""
    return all(type(value) is list and all(type(item) is str for item in value) for value in task_log.values())


def _dumped(outcome: RemoteOutcome) -> bytes | None:
    """Pickle an outcome; None if it cannot be pickled, or its exception would not arrive as it is."""
    try:
        data = _classes.dumps(outcome)
        if outcome.error is None:
            return data
        arrived: RemoteOutcome = _classes.loads(data)
        is_whole = is_like(outcome.error, arrived.error)
    except Exception:
        return None
    return data if is_whole else None


def _sendable(outcome: RemoteOutcome) -> RemoteOutcome:
    """The same outcome; parts that cannot be pickled are replaced by an error that says so."""
    error, requirements = outcome.error, outcome.requirements
    if error is not None and not _can_travel(error):
        by_attributes: Any = ByAttributes(error, _can_travel)
        error = by_attributes if _can_travel(by_attributes) else _described(error)
    if requirements is not None and not _can_travel(requirements):
        requirements, error = (
            None,
            WorkerError('What run() yields cannot be pickled for the building process: yield tasks.'),
        )
    return replace(
        outcome,
        error=error,
        requirements=requirements,
        task_log=outcome.task_log if _can_travel(outcome.task_log) else {},
    )


def _described(error: BaseException) -> WorkerError:
    sent = WorkerError(f'{"".join(traceback.format_exception_only(error)).strip()} (which cannot be pickled)')
    sent.add_note(''.join(traceback.format_exception(error)))
    return sent


def _can_travel(value: Any) -> bool:
    try:
        arrived = _classes.loads(_classes.dumps(value))
    except Exception:
        return False
    return not isinstance(value, BaseException) or is_like(value, arrived)


_classes = WorkerClasses()
_modules = ModuleReceiver()
_settings = SettingsKeeper()
_options = OptionsKeeper()
_handlers = SentHandlers()
#: A worker runs one parcel at a time, also where its pool has threads (Dask's workers do).
_one_at_a_time = threading.Lock()
