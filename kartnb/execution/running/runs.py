"""What goes between a build and whoever runs a task: the order, the run under way, and what came of it."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from queue import Queue
from typing import Any

import luigi

from kartnb.execution.capture.task_log import TaskLog
from kartnb.history.gokart_runs import RunLogs
from kartnb.history.run_record import InputResult
from kartnb.storage.run_records import RecordedResult, RecordSlot
from kartnb.storage.superseded import KeptResult, Replacement

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
