"""Runs of tasks by luigi's own worker: `luigi.build`, `luigi.run` and the command ``luigi`` on tasks of kartnb.

luigi decides what runs, by `complete()`, in which process, and fires the events. Here each run gets what it gets in a
build of kartnb: its seed, gokart's five logs, a lock, and a record by which later plans trust the result. A run that
fails leaves none. luigi asks one task at a time, so a plan of its own is made for each, of the task and what it
requires, and no further: that costs the same for the last task of a chain as for the first.
"""

from __future__ import annotations

import hashlib
import logging
import time
import uuid
from collections.abc import Generator
from contextlib import ExitStack
from queue import SimpleQueue
from typing import Any

import luigi

from kartnb._luigi import worker_of
from kartnb.config import BuildOptions, is_durable
from kartnb.errors import OutdatedResultError
from kartnb.execution.engine import WorkItems
from kartnb.execution.recording import Outcome
from kartnb.execution.recovery import record_existing_results
from kartnb.execution.task_run import advance, close, kept_random_state
from kartnb.interrupts import kept_event_loop
from kartnb.model import Event, Reason, ReasonKind, TaskState
from kartnb.planning.graph import TaskGraph, Vertex
from kartnb.planning.known_results import KnownResults
from kartnb.planning.planner import draw_up
from kartnb.planning.staleness import Verdict
from kartnb.storage.run_lock import build_begins, build_ends
from kartnb.task.base import TaskOnKart
from kartnb.task.secrets import Masker
from kartnb.task.values import flatten, required

logger = logging.getLogger('kartnb')
#: Seconds between two looks whether another process has ended the task.
_PATIENCE = 0.02


def run_for_luigi(task: TaskOnKart[Any]) -> Generator[Any, Any, None] | None:
    """Run a task that luigi's worker has begun; gives a generator where it asks for tasks, as luigi expects it.

    What the task raises is raised, after its result and logs are as a failed run leaves them.
    """
    run = _LuigiRun(task)
    requirements = run.go_on()
    return None if requirements is None else run.requests(requirements)


class _LuigiRun:
    """One run of a task under way, of which luigi's worker knows no more than that it has called `run()`."""

    def __init__(self, task: TaskOnKart[Any]) -> None:
        self._build_id = _build_id(task)
        self._graph, self._vertex = _looked_at(task)
        if _lacks_records(self._vertex, self._graph.results):
            _record_inputs(task)
            self._graph, self._vertex = _looked_at(task)
        _refuse_unfinished(self._vertex, self._graph.results)
        self._vertex.verdict = _why(self._vertex, self._graph.results)
        self._vertex.value_wanted = False  # as in luigi: who needs the result finds out
        mask = Masker.of_build(vertex.task for vertex in self._graph.vertices.values())
        durable = is_durable(BuildOptions())
        self._items = WorkItems(self._build_id, SimpleQueue(), _ignore, self._graph.results, durable, mask)
        self._run = self._items.new_run(self._vertex)
        self._run.by_luigi = True
        self._open = ExitStack()

    def go_on(self) -> Any:
        """Run until the end (None), or until the next requirements; raises what the task raises."""
        if not self._run.started:
            build_begins(self._build_id)
            self._open.callback(build_ends, self._build_id)
            self._open.enter_context(kept_random_state())
        outcome = None
        try:
            outcome = self._advanced()
        finally:
            if outcome is None or outcome.requirements is None:
                self._open.close()
        if outcome.error is not None:
            raise outcome.error
        if outcome.is_settled:
            logger.warning('%s is skipped: already complete.', self._vertex.key)
        elif outcome.requirements is None and self._run.explanation is not None:
            _tell_once(self._run.task, *self._run.explanation)
        return outcome.requirements

    def _advanced(self) -> Outcome:
        """Let the run go on; while another process runs the task, wait for that."""
        while True:
            with kept_event_loop():  # that of a notebook
                outcome = advance(self._run)
            if outcome.holder is None:
                return outcome
            logger.info('%s waits for %s', self._vertex.key, outcome.holder)
            while self._items.holder(self._vertex) is not None:
                time.sleep(_PATIENCE)

    def requests(self, requirements: Any) -> Generator[Any, Any, None]:
        """What the task asks for, one after the other; luigi sends the targets of what is complete.

        Where something is not, luigi drops this, and runs the task from the start when it is.
        """
        try:
            while requirements is not None:
                self._run.answer = yield requirements
                self._take_in(requirements)
                requirements = self.go_on()
        except GeneratorExit:
            with kept_event_loop():
                close(self._run)
            raise
        finally:
            self._open.close()

    def _take_in(self, requirements: Any) -> None:
        """Count results that the task has asked for among what its own is made from."""
        needed = [self._graph.add_alone(task) for task in flatten(required(requirements))]
        self._vertex.ask_for(needed)
        self._graph.results.look_for_files(self._graph.vertices.values())
        self._items.renew(self._run, self._vertex)


def _ignore(event: Event) -> None:
    """luigi's worker reports progress by itself."""


def _looked_at(task: TaskOnKart[Any]) -> tuple[TaskGraph, Vertex]:
    """A task and what it requires, with what is known of their results."""
    # prints of code are not kept for the next task: luigi's ids of workers repeat where `random` is seeded
    graph = TaskGraph()
    vertex = graph.add_with_inputs(task)
    graph.results.look_for_files(graph.vertices.values())
    return graph, vertex


def _why(vertex: Vertex, known: KnownResults) -> Verdict:
    """Why luigi runs a task."""
    if known.all_exist(vertex):
        return Verdict(TaskState.STALE, vertex.rerun or Reason(ReasonKind.INCOMPLETE))
    missing = known.first_missing(vertex) or ''
    return Verdict(TaskState.MISSING, vertex.rerun or Reason(ReasonKind.OUTPUT_MISSING, missing))


def _lacks_records(vertex: Vertex, known: KnownResults) -> bool:
    """Whether a result that a task is made from has no record, as what gokart has written."""
    inputs = [other for other in vertex.requires if other.place is not None]
    return any(known.result(other) is None and known.all_exist(other) for other in inputs)


def _refuse_unfinished(vertex: Vertex, known: KnownResults) -> None:
    """Raise `OutdatedResultError` where luigi takes for complete what a run has left that was broken off."""
    for other in vertex.requires:
        if other.place is not None and known.is_unfinished(other):
            raise OutdatedResultError(
                f'{vertex.key} needs {other.key}, whose result was left by a run that has not ended or was broken off: '
                'run it again with kartnb.build.'
            )


def _record_inputs(task: TaskOnKart[Any]) -> None:
    """Give a record to all that a task needs and that has none: what it was made from belongs to it."""
    graph, _ = draw_up(task)
    record_existing_results(graph, graph.vertices.values())


def _build_id(task: luigi.Task) -> str:
    """One id for all runs of a worker of luigi's, also in the processes that it forks."""
    worker = worker_of(task)
    return hashlib.md5(worker.encode(), usedforsecurity=False).hexdigest() if worker else uuid.uuid4().hex


def _tell_once(task: luigi.Task, explanation: Any) -> None:
    """Let luigi's call of `on_success` give what it gave within the run, where its failure is that of the run."""

    def on_success() -> Any:
        vars(task).pop('on_success', None)
        return explanation

    vars(task)['on_success'] = on_success
