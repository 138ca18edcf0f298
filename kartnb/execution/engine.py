"""Running the tasks of a build in an executor; which of them run when is up to the build's loop."""

from __future__ import annotations

import logging
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from queue import Empty, SimpleQueue

import luigi

from kartnb.errors import TaskTimeoutError, WorkerDiedError
from kartnb.events import Event, ReasonKind, TaskEvent, TaskState, TaskStateChanged
from kartnb.execution.adopt import adopt_results
from kartnb.execution.ledger import Ledger
from kartnb.execution.planning.plan import Plan
from kartnb.execution.report import BuildReport
from kartnb.execution.running.luigi_events import fire
from kartnb.execution.running.outcomes import close, learn, lost
from kartnb.execution.running.runs import Outcome, TaskRun
from kartnb.execution.running.tracebacks import error_line
from kartnb.execution.timeouts import Timeouts
from kartnb.execution.workers.choice import ExecutorFactory
from kartnb.execution.workers.executors import Inbox, InlineExecutor, Message, ResourcesFreed, StopRequest, TaskExecutor
from kartnb.execution.workers.orders import Orders
from kartnb.execution.workers.placement import needs_this_process
from kartnb.planning.graph import TaskGraph, Vertex
from kartnb.planning.planner import grow
from kartnb.planning.staleness import is_complete
from kartnb.task.base import TaskOnKart
from kartnb.task.structure import map_nested, required

logger = logging.getLogger('kartnb')

#: Reasons that a result that appears meanwhile (another process has made it) does away with.
_MADE_GOOD_BY_EXISTENCE = (ReasonKind.OUTPUT_MISSING, ReasonKind.INCOMPLETE)

#: What tells that a task was lost together with its process.
_LOSSES = (WorkerDiedError, TaskTimeoutError)


class _StopAskedError(Exception):
    """Somebody has asked to stop the build."""


@dataclass(frozen=True, slots=True)
class EngineParts:
    """What an engine needs for one build.

    Attributes
    ----------
    graph, plan
        What `draw_up` gives.
    build_id
        Names the build in events and records.
    choose
        Makes the executor that runs the tasks.
    emit
        Is given every event.
    verbose
        Whether the beginning and the end of each task are logged.
    """

    graph: TaskGraph
    plan: Plan
    build_id: str
    choose: ExecutorFactory
    emit: Callable[[Event], None]
    verbose: bool = True


class Engine(ABC):
    """One build of one planned graph."""

    def __init__(self, parts: EngineParts) -> None:
        self._graph = parts.graph
        self._choose = parts.choose
        self._emit = parts.emit
        self._inbox: Inbox = SimpleQueue()
        self._executor: TaskExecutor = _NO_EXECUTOR
        self._ledger = Ledger(parts.plan, parts.build_id, parts.emit, parts.verbose)
        self._orders = Orders(parts.build_id, self._inbox, parts.emit, parts.graph.results)
        self._timeouts = Timeouts()
        self._running: dict[str, TaskRun] = {}
        self._suspended: dict[str, TaskRun] = {}

    def run(self) -> None:
        """Run every task that can run; failures are in the report.

        Raises
        ------
        KeyboardInterrupt
            When the build is interrupted; what ran then is marked so, and what has finished is kept.
        """
        self._ledger.begin()
        self._executor = self._choose(self._inbox)
        try:
            self._enlist(list(self._graph.vertices.values()))
            self._go()
        except _StopAskedError:
            self._abandon()
        except BaseException as error:
            self._abandon()
            if isinstance(error, KeyboardInterrupt) and not error.args:
                error.args = (self._ledger.how_far(),)
            raise
        else:
            self._executor.close()
        finally:
            for suspended in self._suspended.values():
                close(suspended)
            self._ledger.end()

    def stop(self) -> None:
        """End the build from another thread: running tasks are interrupted where their executor can do that."""
        self._inbox.put(StopRequest())

    def report(self, seconds: float) -> BuildReport:
        """How the build ended."""
        return self._ledger.report(seconds)

    @abstractmethod
    def _go(self) -> None:
        """Run until nothing can run any more."""

    @abstractmethod
    def _enlist(self, vertices: Sequence[Vertex]) -> None:
        """Take new vertices into the build, upstream first."""

    @abstractmethod
    def _await(self, vertex: Vertex, needed: Sequence[Vertex]) -> None:
        """Let a task that has begun go on as soon as what it has asked for is complete."""

    @abstractmethod
    def _failed(self, vertex: Vertex, error: BaseException) -> None:
        """A run of a task has failed."""

    @abstractmethod
    def _completed(self, vertex: Vertex, state: TaskState) -> None:
        """A task is complete."""

    @abstractmethod
    def _freed(self, key: str, amounts: dict[str, float] | None) -> None:
        """A running task gives back some of luigi's resources (None: all, because it has ended)."""

    def _announce(self, vertex: Vertex) -> None:
        """Fire luigi's events of a task that is planned."""
        task = vertex.task
        for other in vertex.requires:
            fire(task, luigi.Event.DEPENDENCY_DISCOVERED, task, other.task)
        if vertex.state in (TaskState.CACHED, TaskState.EXTERNAL):
            fire(task, luigi.Event.DEPENDENCY_PRESENT, task)
        elif vertex.state is TaskState.MISSING and vertex.reason is None:
            fire(task, luigi.Event.DEPENDENCY_MISSING, task)

    def _next_run(self, vertex: Vertex) -> TaskRun | None:
        """The run of a task whose turn it is; None when it was made meanwhile."""
        run = self._suspended.pop(vertex.key, None)
        if run is None:
            if self._was_made_meanwhile(vertex):
                logger.warning('%s is not run, because it is complete already.', vertex.key)
                self._completed(vertex, TaskState.CACHED)
                return None
            run = self._orders.new_run(vertex)
            self._ledger.log('%s starts: %s', vertex.key, vertex.reason)
        else:
            self._orders.renew(run, vertex)
        return run

    def _was_made_meanwhile(self, vertex: Vertex) -> bool:
        task = vertex.task
        if vertex.reason is None or vertex.reason.kind not in _MADE_GOOD_BY_EXISTENCE:
            return False
        return isinstance(task, TaskOnKart) and task.complete_check_at_run and is_complete(vertex)

    def _limit_time(self, vertex: Vertex, seconds: float) -> None:
        """A task may run for so many seconds (0: as long as it likes), where its executor can end it."""
        if seconds and self._executor.can_end:
            self._timeouts.limit(vertex.key, seconds)
        elif seconds:
            self._timeouts.warn_of_no_effect(vertex.task)

    def _launch(self, runs: Sequence[TaskRun]) -> None:
        """Give runs to the executor: those with limited time one by one, so that one can be ended alone."""
        here = [] if self._executor.shares_memory else [run for run in runs if needs_this_process(run.task)]
        away = [run for run in runs if run not in here] if here else runs
        for run in runs:
            self._running[run.order.key] = run
            if not self._executor.live:
                self._begin(run.order.key)
        together = away if not self._timeouts else [run for run in away if not self._timeouts.has_limit(run.order.key)]
        if together:
            self._executor.submit(together)
        for run in away:
            if self._timeouts.has_limit(run.order.key):
                self._executor.submit([run])
        self._run_here(here)

    def _run_here(self, runs: Sequence[TaskRun]) -> None:
        """Run what needs the memory of this process, when the workers have got something to do meanwhile."""
        for run in runs:
            self._timeouts.forget(run.order.key)
            if self._executor.live:
                self._begin(run.order.key)
            InlineExecutor(self._inbox).submit([run])

    def _begin(self, key: str) -> None:
        self._timeouts.start(key)
        self._ledger.change(key, TaskState.RUNNING)
        if self._executor.live:
            self._running[key].started = time.time()

    def _wait(self, seconds: float | None) -> bool:
        """Wait for the next message of the executor, for at most so long, and take it in; gives whether one came."""
        if seconds is None and not self._timeouts:
            self._take(self._inbox.get())
            return True
        limit = self._timeouts.wait()
        waits = [wait for wait in (seconds, limit) if wait is not None]
        try:
            message = self._inbox.get(timeout=min(waits)) if waits else self._inbox.get()
        except Empty:
            self._end_expired()
            return False
        self._take(message)
        self._end_expired()
        return True

    def _end_expired(self) -> None:
        for key, seconds in self._timeouts.expired():
            name = self._graph.vertices[key].name
            error = TaskTimeoutError(f'{name} ran longer than its worker_timeout of {seconds:g} s, and was ended.')
            self._executor.end(key, error)

    def _take(self, message: Message) -> None:
        if isinstance(message, tuple):
            self._settle(*message)
        elif isinstance(message, StopRequest):
            raise _StopAskedError
        elif isinstance(message, TaskStateChanged):
            if message.key in self._running:  # its outcome may have come another, shorter way
                self._begin(message.key)
        elif isinstance(message, ResourcesFreed):
            if message.key in self._running:
                self._freed(message.key, message.amounts)
        else:
            self._emit(message)

    def _settle(self, key: str, outcome: Outcome) -> None:
        vertex = self._graph.vertices[key]
        run = self._running.pop(key, None)
        self._timeouts.forget(key)
        self._freed(key, None)
        if run is not None and isinstance(outcome.error, _LOSSES):
            outcome = lost(run, outcome.error)
        self._ledger.spend(key, outcome.spent)
        self._orders.note(vertex, outcome)
        if outcome.error is not None:
            self._ledger.log('%s failed: %s', key, error_line(outcome.error))
            self._failed(vertex, outcome.error)
        elif outcome.requirements is not None:
            self._suspend(vertex, outcome)
        else:
            self._ledger.log('%s is done after %.3f s', key, outcome.spent)
            learn(vertex.task, outcome)
            self._completed(vertex, TaskState.DONE)

    def _suspend(self, vertex: Vertex, outcome: Outcome) -> None:
        """Let a task wait for the tasks that its `run` has asked for; it goes on when they are complete."""
        requirements = required(outcome.requirements)
        run = outcome.run or self._orders.new_run(vertex)
        try:
            needed = self._grow(vertex, requirements)
            if run.generator is not None:
                run.answer = map_nested(lambda task: task.output(), requirements)
        except Exception as error:
            close(run)
            self._failed(vertex, error)
            return
        self._suspended[vertex.key] = run
        self._ledger.change(vertex.key, TaskState.QUEUED)
        self._await(vertex, needed)

    def _grow(self, vertex: Vertex, requirements: object) -> list[Vertex]:
        """Take the tasks that a running one has asked for, and all that they need, into the build."""
        needed, fresh = grow(self._graph, vertex, requirements, self._ledger.states)
        adopt_results(self._graph, fresh)
        if any(other not in vertex.requires for other in needed):
            vertex.requires = list(dict.fromkeys([*vertex.requires, *needed]))
            plan = self._ledger.plan
            self._ledger.grow(self._graph.snapshot(plan.root.task, plan.workspace))
        self._enlist(fresh)
        return needed

    def _abandon(self) -> None:
        """The build was interrupted: what ran is interrupted, what waited stays as it was planned."""
        self._executor.close(at_once=True)
        self._take_last_outcomes()
        for key, state in list(self._ledger.states.items()):
            if state is TaskState.RUNNING:
                self._ledger.change(key, TaskState.INTERRUPTED)
            elif state is TaskState.QUEUED:
                self._ledger.change(key, self._graph.vertices[key].state)

    def _take_last_outcomes(self) -> None:
        """Tasks that have ended well while their executor was closed are done."""
        while not self._inbox.empty():
            message = self._inbox.get()
            if isinstance(message, tuple):
                key, outcome = message
                if outcome.error is None and outcome.requirements is None and key in self._running:
                    self._ledger.spend(key, outcome.spent)
                    self._ledger.change(key, TaskState.DONE)
            elif isinstance(message, TaskEvent):
                self._emit(message)


class _NoExecutor(TaskExecutor):
    """Stands where no executor has been made yet."""

    def submit(self, runs: Sequence[TaskRun]) -> None:
        raise AssertionError('the build has not begun')

    def close(self, *, at_once: bool = False) -> None:
        """Nothing is to be ended."""


_NO_EXECUTOR = _NoExecutor()
