"""The build loop: which tasks are ready, and in what order they run."""

from __future__ import annotations

import heapq
import logging
import time
from collections.abc import Iterable, Sequence

from kartnb.execution.engine import DEPENDENCY_EVENTS, Engine, PlannedBuild
from kartnb.execution.executors import InlineExecutor
from kartnb.execution.limits import ReadyQueue, Resources, Retries, TaskLimits, limits_of, usual_timeout
from kartnb.execution.recording import TaskRun, fire_broken, is_heard
from kartnb.execution.report import error_line, trim_traceback
from kartnb.model import TaskState
from kartnb.planning.graph import Vertex
from kartnb.planning.planner import missing_external

logger = logging.getLogger('kartnb')


class BuildLoop(Engine):
    """One build of one planned graph: a task runs as soon as what it needs is complete and its resources are free.

    Raises `TaskSettingError` when luigi's configuration has a limit or a retry setting that is not a number.
    """

    def __init__(self, build: PlannedBuild) -> None:
        super().__init__(build)
        self._resources = Resources.configured()
        self._ready = ReadyQueue(self._resources)
        self._usual_timeout = usual_timeout()
        self._retries = Retries()
        self._limits: dict[str, TaskLimits] = {}
        self._priorities: dict[str, float] = {}
        self._unmet: dict[str, int] = {}
        self._dependents: dict[str, list[str]] = {}
        #: Tasks that are tried again later: when, and which; a heap.
        self._retries_due: list[tuple[float, str]] = []

    def _go(self) -> None:
        while self._ready or self._running or self._retries_due or self._waiting:
            self._make_due_ready()
            self._hand_out()
            if self._running or self._retries_due or self._waiting:
                self._wait(max(0.0, self._retries_due[0][0] - time.monotonic()) if self._retries_due else None)

    def _hand_out(self) -> None:
        """Give ready tasks to the executor while it has places."""
        executor = self._executor
        while self._ready and len(self._running) < executor.places:
            # tasks are grouped only where each message to a worker costs time
            alone = executor.shares_memory
            size = 1 if alone else executor.batch_size(len(self._ready), self._ledger.typical_seconds())
            keys = self._ready.take(size)
            if not keys:
                return
            runs = [run for run in map(self._take_up, keys) if run is not None]
            if runs:
                self._launch(runs)

    def _take_up(self, key: str) -> TaskRun | None:
        """The run of a ready task; None when another process has the task, which frees its resources."""
        vertex = self._graph.vertices[key]
        run = self._next_run(vertex)
        # one that runs here at once finds out as it takes the lock
        runs_here = isinstance(self._executor, InlineExecutor)
        holder = None if run.started or runs_here else self._work_items.holder_at_hand(run)
        if holder is None:
            return run
        self._freed(key, None)
        self._hold_back(vertex, holder)
        return None

    def _try_again(self, vertex: Vertex) -> None:
        self._make_ready(vertex.key)

    def _enlist(self, vertices: Sequence[Vertex]) -> None:
        for vertex in vertices:
            self._ledger.states[vertex.key] = (
                TaskState.QUEUED if vertex.verdict.reason is not None else vertex.verdict.state
            )
        refused: dict[Vertex, BaseException] = {**missing_external(vertices)}
        for vertex in vertices:
            error = self._read_limits(vertex)
            if error is not None:
                refused[vertex] = error
        self._raise_priorities(vertices)
        is_announced = is_heard(*DEPENDENCY_EVENTS)
        for vertex in vertices:
            if is_announced:
                self._announce(vertex)
            if vertex in refused:
                self._fail(vertex, refused[vertex])
            elif vertex.verdict.reason is not None:
                self._await(vertex, vertex.requires)

    def _read_limits(self, vertex: Vertex) -> BaseException | None:
        """Read a task's limits; gives the error if that fails, perhaps in properties of the user's."""
        if vertex.broken is not None:
            fire_broken(vertex.task, vertex.broken)
            trim_traceback(vertex.broken)
            return vertex.broken
        if vertex.verdict.reason is None:
            return None
        try:
            limits = limits_of(vertex.task, self._resources, self._usual_timeout)
        except Exception as error:
            trim_traceback(error)
            return error
        self._limits[vertex.key] = limits
        if limits.priority:
            self._priorities[vertex.key] = limits.priority
        self._limit_time(vertex, limits.timeout)
        return None

    def _raise_priorities(self, vertices: Sequence[Vertex]) -> None:
        """Give what a task of high priority needs the same priority (luigi's rule)."""
        # from the root upwards: so one pass brings a priority to everything upstream
        for vertex in reversed(vertices):
            priority = self._priorities.get(vertex.key, 0)
            if priority > 0:
                for other in vertex.requires:
                    if self._priorities.get(other.key, 0) < priority:
                        self._priorities[other.key] = priority

    def _await(self, vertex: Vertex, needed: Iterable[Vertex]) -> None:
        unmet = [other.key for other in needed if not self._ledger.is_met(other.key)]
        if any(self._ledger.is_lost(key) for key in unmet):
            self._block(vertex.key)
            return
        self._unmet[vertex.key] = len(unmet)
        for key in unmet:
            self._dependents.setdefault(key, []).append(vertex.key)
        if not unmet:
            self._make_ready(vertex.key)

    def _make_ready(self, key: str) -> None:
        self._ready.push(key, self._priorities.get(key, 0), self._limits[key].demand)

    def _freed(self, key: str, amounts: dict[str, float] | None) -> None:
        self._ready.give_back(key, amounts)

    def _completed(self, vertex: Vertex, state: TaskState) -> None:
        self._ledger.change(vertex.key, state)
        for key in self._dependents.pop(vertex.key, ()):
            self._unmet[key] -= 1
            # not queued: blocked by another task that it needs
            if self._unmet[key] == 0 and self._ledger.states[key] is TaskState.QUEUED:
                self._make_ready(key)

    def _failed(self, vertex: Vertex, error: BaseException) -> None:
        try:
            delay = self._retries.delay(vertex.key, vertex.task, error)
        except Exception as second:
            error.add_note(f'It is not tried again, because its retry settings are not valid: {error_line(second)}')
            delay = None
        if delay is None:
            self._fail(vertex, error)
            return
        logger.warning('%s is tried again in %g s: %s', vertex.key, delay, error_line(error, self._mask))
        self._ledger.retry_later(vertex.key, error)
        heapq.heappush(self._retries_due, (time.monotonic() + delay, vertex.key))

    def _make_due_ready(self) -> None:
        """Make tasks ready that have waited long enough since their failure."""
        while self._retries_due and self._retries_due[0][0] <= time.monotonic():
            self._make_ready(heapq.heappop(self._retries_due)[1])

    def _fail(self, vertex: Vertex, error: BaseException) -> None:
        self._ledger.fail(vertex.key, error)
        for key in self._dependents.pop(vertex.key, ()):
            self._block(key)

    def _block(self, key: str) -> None:
        """Mark a task as blocked, and all tasks that wait for it."""
        pending = [key]
        while pending:
            key = pending.pop()
            if self._ledger.states[key] is not TaskState.BLOCKED:
                self._ledger.change(key, TaskState.BLOCKED)
                pending.extend(self._dependents.pop(key, ()))
