"""The build loop: hands ready tasks to an executor and turns what comes back into states and events."""

from __future__ import annotations

import heapq
import logging
from collections.abc import Callable, Iterable
from queue import SimpleQueue
from typing import Any

import luigi

from kartnb.errors import CyclicRequirementsError, ExternalTaskMissingError, RequirementError
from kartnb.events import (
    BuildFinished,
    BuildStarted,
    Event,
    PlanGrew,
    ReasonKind,
    TaskProgress,
    TaskState,
    TaskStateChanged,
)
from kartnb.execution.assess import assess, is_complete, is_external
from kartnb.execution.build_error import user_code_location
from kartnb.execution.choice import ExecutorFactory
from kartnb.execution.executors import Inbox, Message, StopRequest, TaskExecutor
from kartnb.execution.graph import TaskGraph, Vertex
from kartnb.execution.luigi_events import fire
from kartnb.execution.plan import Node, Plan
from kartnb.execution.report import BuildReport, TaskFailure
from kartnb.execution.worker import Outcome, TaskOrder, TaskRun, one_line
from kartnb.records.run_record import InputResult
from kartnb.storage.run_records import RecordDirectory
from kartnb.task.base import TaskOnKart
from kartnb.task.shown import shown_parameters
from kartnb.task.structure import flatten, map_nested

logger = logging.getLogger('kartnb')

#: Reasons that a result that appears meanwhile (another process has made it) does away with.
_MADE_GOOD_BY_EXISTENCE = (ReasonKind.OUTPUT_MISSING, ReasonKind.INCOMPLETE)


class _StopAsked(BaseException):
    """Leaves the loop when somebody has asked to stop the build."""


class BuildLoop:
    """One build of one planned graph.

    Parameters
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

    def __init__(
        self,
        graph: TaskGraph,
        plan: Plan,
        build_id: str,
        choose: ExecutorFactory,
        emit: Callable[[Event], None],
        verbose: bool = True,
    ) -> None:
        self._verbose = verbose
        self._graph = graph
        self._plan = plan
        self._build_id = build_id
        self._inbox: Inbox = SimpleQueue()
        self._choose = choose
        self._emit = emit
        self.states: dict[str, TaskState] = {}
        self.durations: dict[str, float] = {}
        self.errors: dict[str, BaseException] = {}
        self._result_ids: dict[str, str] = {}
        self._records: dict[tuple[str, str], RecordDirectory] = {}
        self._unmet: dict[str, int] = {}
        self._dependents: dict[str, list[str]] = {}
        self._ready: list[tuple[float, int, str]] = []
        self._suspended: dict[str, TaskRun] = {}
        self._running: set[str] = set()
        self._spent: list[float] = []
        self._order = 0

    def run(self) -> None:
        """Run every task that can run; failures are in `errors`.

        Raises
        ------
        KeyboardInterrupt
            When the build is interrupted; what ran then is marked so, and what has finished is kept.
        """
        self._emit(BuildStarted(self._build_id, self._plan))
        executor = self._choose(self._inbox)
        try:
            self._enlist(self._graph.vertices.values())
            while self._ready or self._running:
                self._hand_out(executor)
                if self._running:
                    self._take(self._inbox.get())
        except _StopAsked:
            executor.close(at_once=True)
            self._abandon()
        except BaseException:
            executor.close(at_once=True)
            self._abandon()
            raise
        else:
            executor.close()
        finally:
            for suspended in self._suspended.values():
                _close(suspended)
            self._emit(BuildFinished(self._build_id, dict(self.states)))

    def stop(self) -> None:
        """End the build from another thread: running tasks are interrupted where their executor can do that."""
        self._inbox.put(StopRequest())

    def _hand_out(self, executor: TaskExecutor) -> None:
        """Give ready tasks to the executor while it has places."""
        while self._ready and len(self._running) < executor.places:
            typical = sum(self._spent) / len(self._spent) if self._spent else None
            size = executor.batch_size(len(self._ready), typical)
            runs = [run for run in (self._next_run() for _ in range(size)) if run is not None]
            if runs:
                self._running.update(run.order.key for run in runs)
                if not executor.live:
                    for run in runs:
                        self._change(run.order.key, TaskState.RUNNING)
                executor.submit(runs)

    def _take(self, message: Message) -> None:
        if isinstance(message, StopRequest):
            raise _StopAsked
        if isinstance(message, tuple):
            key, outcome = message
            self._running.discard(key)
            self._settle(key, outcome)
        elif isinstance(message, TaskStateChanged):
            if message.key in self._running:  # its outcome may have come another, shorter way
                self._change(message.key, message.state)
        else:
            self._emit(message)

    def _enlist(self, vertices: Iterable[Vertex]) -> None:
        """Take new vertices into the build."""
        vertices = list(vertices)
        for vertex in vertices:
            self.states[vertex.key] = TaskState.QUEUED if vertex.reason is not None else vertex.state
        for vertex in vertices:
            self._announce(vertex)
            if vertex.reason is not None:
                self._wait_for(vertex, vertex.requires)
            elif vertex.state is TaskState.MISSING and is_external(vertex.task):
                self._fail(vertex, _missing_external(vertex))

    def _announce(self, vertex: Vertex) -> None:
        task = vertex.task
        for other in vertex.requires:
            fire(task, luigi.Event.DEPENDENCY_DISCOVERED, task, other.task)
        if vertex.state in (TaskState.CACHED, TaskState.EXTERNAL):
            fire(task, luigi.Event.DEPENDENCY_PRESENT, task)
        elif vertex.state is TaskState.MISSING and vertex.reason is None:
            fire(task, luigi.Event.DEPENDENCY_MISSING, task)

    def _wait_for(self, vertex: Vertex, needed: Iterable[Vertex]) -> None:
        """Make a vertex ready once all that it needs is complete; blocked when something of it cannot be."""
        unmet = [other.key for other in needed if not self._is_met(other.key)]
        if any(self.states[key] in (TaskState.FAILED, TaskState.BLOCKED) for key in unmet):
            self._block(vertex.key)
            return
        self._unmet[vertex.key] = len(unmet)
        for key in unmet:
            self._dependents.setdefault(key, []).append(vertex.key)
        if not unmet:
            self._make_ready(vertex.key)

    def _is_met(self, key: str) -> bool:
        return self.states[key] in (TaskState.CACHED, TaskState.EXTERNAL, TaskState.DONE)

    def _make_ready(self, key: str) -> None:
        self._order += 1
        heapq.heappush(self._ready, (-self._graph.vertices[key].task.priority, self._order, key))

    def _next_run(self) -> TaskRun | None:
        """The run of the next ready task; None when there is none, or it was made meanwhile."""
        if not self._ready:
            return None
        key = heapq.heappop(self._ready)[2]
        vertex = self._graph.vertices[key]
        run = self._suspended.pop(key, None)
        if run is None:
            if self._was_made_meanwhile(vertex):
                logger.warning('%s is not run, because it is complete already.', vertex.key)
                self._complete(vertex, TaskState.CACHED)
                return None
            run = self._new_run(vertex)
            self._log('%s starts: %s', key, vertex.reason)
        return run

    def _was_made_meanwhile(self, vertex: Vertex) -> bool:
        task = vertex.task
        if vertex.reason is None or vertex.reason.kind not in _MADE_GOOD_BY_EXISTENCE:
            return False
        return isinstance(task, TaskOnKart) and task.complete_check_at_run and is_complete(vertex)

    def _new_run(self, vertex: Vertex) -> TaskRun:
        key, build_id, emit = vertex.key, self._build_id, self._emit

        def report(what: str, value: Any) -> None:
            emit(TaskProgress(build_id, key, **{what: value}))

        directory = self._record_directory(vertex.task)
        slot = directory.slot(_stem(vertex)) if directory is not None else None
        order = TaskOrder(
            vertex.task, vertex.unique_id, key, build_id, self._inputs(vertex), tuple(vertex.outputs), slot
        )
        return TaskRun(order, report)

    def _inputs(self, vertex: Vertex) -> tuple[InputResult, ...]:
        return tuple(InputResult(other.name, other.unique_id, self._result_id(other)) for other in vertex.requires)

    def _result_id(self, vertex: Vertex) -> str:
        known = self._result_ids.get(vertex.key)
        if known is None:
            directory = self._record_directory(vertex.task)
            known = self._result_ids[vertex.key] = directory.result_id(_stem(vertex)) if directory is not None else ''
        return known

    def _record_directory(self, task: luigi.Task) -> RecordDirectory | None:
        if not isinstance(task, TaskOnKart):
            return None
        place = (task.workspace_directory, type(task).__module__)
        directory = self._records.get(place)
        if directory is None:
            directory = self._records[place] = RecordDirectory(*place)
        return directory

    def _settle(self, key: str, outcome: Outcome) -> None:
        vertex = self._graph.vertices[key]
        self.durations[key] = outcome.spent
        self._spent = [*self._spent[-19:], outcome.spent]
        self._note_record(vertex, outcome)
        if outcome.error is not None:
            self._log('%s failed: %s', key, one_line(outcome.error))
            self._fail(vertex, outcome.error)
        elif outcome.requirements is not None:
            self._suspend(vertex, outcome)
        else:
            self._log('%s is done after %.3f s', key, outcome.spent)
            self._result_ids[key] = outcome.result_id
            self._learn(vertex.task, outcome)
            self._complete(vertex, TaskState.DONE)

    def _learn(self, task: luigi.Task, outcome: Outcome) -> None:
        """Let the task know here what it did in another process."""
        if isinstance(task, TaskOnKart) and outcome.task_log is not None:
            task.task_log.update(outcome.task_log)
            vars(task)['_rerun_pending'] = False

    def _note_record(self, vertex: Vertex, outcome: Outcome) -> None:
        directory = self._record_directory(vertex.task)
        if directory is not None and outcome.requirements is None:
            directory.note(_stem(vertex), outcome.result_id)

    def _complete(self, vertex: Vertex, state: TaskState) -> None:
        self._change(vertex.key, state)
        for key in self._dependents.pop(vertex.key, ()):
            self._unmet[key] -= 1
            if self._unmet[key] == 0 and self.states[key] is TaskState.QUEUED:
                self._make_ready(key)

    def _fail(self, vertex: Vertex, error: BaseException) -> None:
        self.errors[vertex.key] = error
        self._change(vertex.key, TaskState.FAILED, one_line(error))
        for key in self._dependents.pop(vertex.key, ()):
            self._block(key)

    def _block(self, key: str) -> None:
        """Mark all that waits for a task that cannot be complete."""
        pending = [key]
        while pending:
            key = pending.pop()
            if self.states[key] is not TaskState.BLOCKED:
                self._change(key, TaskState.BLOCKED)
                pending.extend(self._dependents.pop(key, ()))

    def _suspend(self, vertex: Vertex, outcome: Outcome) -> None:
        """Let a task wait for the tasks that its `run` has asked for; it goes on when they are complete."""
        asked = outcome.requirements
        requirements = asked.requirements if isinstance(asked, luigi.DynamicRequirements) else asked
        run = outcome.run or self._new_run(vertex)
        try:
            needed = self._grow(vertex, flatten(requirements))
            if run.generator is not None:
                run.answer = map_nested(lambda task: task.output(), requirements)
        except Exception as error:
            _close(run)
            self._fail(vertex, error)
            return
        self._suspended[vertex.key] = run
        self._change(vertex.key, TaskState.QUEUED)
        self._wait_for(vertex, needed)

    def _grow(self, vertex: Vertex, tasks: list[Any]) -> list[Vertex]:
        """Take the tasks that a running one has asked for, and all that they need, into the build."""
        for task in tasks:
            self._graph.add(_checked(vertex, task))
        needed = [self._graph.vertex_of(task) for task in tasks]
        upstream = self._graph.upstream_of(needed)
        if vertex in upstream:
            raise CyclicRequirementsError(f'{vertex.name} yields a task that requires {vertex.name} itself.')
        # what was not needed so far may be needed now
        fresh = [
            other for other in upstream if self.states.get(other.key, TaskState.NOT_NEEDED) is TaskState.NOT_NEEDED
        ]
        assess(fresh, needed)
        if any(other not in vertex.requires for other in needed):
            vertex.requires = list(dict.fromkeys([*vertex.requires, *needed]))
            self._plan = self._graph.snapshot(self._plan.root.task, self._plan.workspace)
            self._emit(PlanGrew(self._build_id, self._plan))
        self._enlist(fresh)
        return needed

    def _change(self, key: str, state: TaskState, error: str = '') -> None:
        self.states[key] = state
        self._emit(TaskStateChanged(self._build_id, key, state, error))

    def _log(self, message: str, *args: Any) -> None:
        # a log record costs as much as a file; most builds have nobody who reads these
        if self._verbose:
            logger.info(message, *args)

    def _abandon(self) -> None:
        """The build was interrupted: what ran is interrupted, what waited stays as it was planned."""
        for key, state in list(self.states.items()):
            if state is TaskState.RUNNING:
                self._change(key, TaskState.INTERRUPTED)
            elif state is TaskState.QUEUED:
                self._change(key, self._graph.vertices[key].state)

    def report(self, seconds: float) -> BuildReport:
        """How the build ended."""
        plan = self._plan.with_states(self.states)
        failures = tuple(_failure(plan[key], error) for key, error in self.errors.items())
        return BuildReport(self._build_id, plan, seconds, dict(self.durations), failures)


def _failure(node: Node, error: BaseException) -> TaskFailure:
    parameters = tuple((parameter.name, parameter.text) for parameter in shown_parameters(node.task))
    return TaskFailure(node.key, node.name, node.unique_id, parameters, error, user_code_location(error))


def _checked(vertex: Vertex, task: Any) -> luigi.Task:
    if isinstance(task, luigi.Task):
        return task
    raise RequirementError(
        f'{vertex.name}.run() yields {task!r:.80} ({type(task).__name__}), which is no task: yield task instances.'
    )


def _close(run: TaskRun) -> None:
    """End a generator that will not be resumed, so that its `finally` blocks run."""
    if run.generator is not None:
        try:
            run.generator.close()
        except Exception:
            logger.exception('%s could not be closed', run.order.key)


def _missing_external(vertex: Vertex) -> ExternalTaskMissingError:
    where = f': {vertex.paths[0]} does not exist' if vertex.paths else ''
    return ExternalTaskMissingError(
        f'{vertex.name} is made outside of this pipeline and is not there{where}. Make it, then build again.'
    )


def _stem(vertex: Vertex) -> str:
    return f'{vertex.name}_{vertex.unique_id}'
