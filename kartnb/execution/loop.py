"""The build loop: which tasks are ready, and in what order they run."""

from __future__ import annotations

import heapq
import logging
import math
import time
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import replace

from kartnb.errors import KartError, TaskSettingError
from kartnb.execution.engine import DEPENDENCY_EVENTS, Engine, PlannedBuild
from kartnb.execution.executors import InlineExecutor
from kartnb.execution.limits import (
    ReadyQueue,
    Resources,
    Retries,
    TaskLimits,
    limits_of,
    retries_external,
    task_limit,
    usual_timeout,
)
from kartnb.execution.memory import MemoryNeeds
from kartnb.execution.recording import TaskRun, fire_broken, is_heard
from kartnb.execution.report import error_line, trim_traceback
from kartnb.model import Reason, ReasonKind, TaskState
from kartnb.planning.graph import Vertex
from kartnb.planning.planner import missing_external
from kartnb.planning.staleness import UP_TO_DATE, WILL_BE, Verdict, is_complete

logger = logging.getLogger('kartnb')


class BuildLoop(Engine):
    """One build of one planned graph: a task runs as soon as what it needs is complete and its resources are free.

    Raises `TaskSettingError` when luigi's configuration has a limit or a retry setting that is not a number.
    """

    def __init__(self, build: PlannedBuild) -> None:
        super().__init__(build)
        self._resources = Resources.configured()
        self._memory = MemoryNeeds()
        self._ready = ReadyQueue(self._resources)
        self._usual_timeout = usual_timeout()
        self._retries = Retries()
        self._limits: dict[str, TaskLimits] = {}
        self._priorities: dict[str, float] = {}
        self._unmet: dict[str, int] = {}
        self._dependents: dict[str, dict[str, None]] = {}
        #: Tasks that are tried again later: when, and which; a heap.
        self._retries_due: list[tuple[float, str]] = []
        #: Tasks that run only if what they require changes, until that is known.
        self._conditional: set[str] = set()
        #: Tasks of which an earlier result is kept, which may be what their code gives of what has been made meanwhile.
        self._may_come_back: set[str] = set()
        #: Those of both of which it can be known now.
        self._to_settle: deque[str] = deque()
        #: The tasks whose turn has come.
        self._begun: set[str] = set()
        #: Conditional tasks that are to run, because something has changed.
        self._demanded: set[str] = set()
        #: Whether the plan says something else of tasks now than what was announced.
        self._is_plan_outdated = False
        self._task_limit = task_limit()

    def _go(self) -> None:
        self._executor.expect(self._ready.unlimited)
        while self._ready or self._running or self._retries_due or self._waiting or self._to_settle:
            self._settle()
            self._make_due_ready()
            self._hand_out()
            if not self._to_settle and (self._running or self._retries_due or self._waiting):
                self._wait(max(0.0, self._retries_due[0][0] - time.monotonic()) if self._retries_due else None)
        if self._is_plan_outdated:
            plan = self._ledger.plan
            self._ledger.grow(self._graph.snapshot(plan.root.task, plan.workspace))
        for key in self._conditional:
            if self._ledger.states[key] is TaskState.MISSING:
                self._ledger.change(key, TaskState.NOT_NEEDED)
        left = [key for key, state in self._ledger.states.items() if state is TaskState.QUEUED]
        if left:  # a wrong value would be the one in the place of the root's
            raise KartError(f'{left[0]} was not run although it was needed: this is an error in kartnb.')

    def _settle(self) -> None:
        """Find out whether tasks run whose turn is now, if they do."""
        while self._to_settle:
            key = self._to_settle.popleft()
            vertex = self._graph.vertices[key]
            if key in self._may_come_back:
                self._may_come_back.discard(key)
                if self._is_brought_back(vertex):
                    vertex.result = UP_TO_DATE
                    self._completed(vertex, TaskState.CACHED)
                else:
                    self._make_ready(key)
                continue
            if key not in self._conditional:
                continue
            if not self._work_items.still_holds(vertex, self._has_run) and not self._is_brought_back(vertex):
                if not self._asks_ahead(vertex):
                    self._demand([vertex])
                continue
            if vertex.verdict.state is not TaskState.MISSING:
                self._conditional.discard(key)
                vertex.result = UP_TO_DATE  # for tasks that enter the plan later
                self._completed(vertex, TaskState.CACHED)
            else:  # its files are missing, and nothing needs them so far
                vertex.result = UP_TO_DATE
                self._release_dependents(key)

    def _is_brought_back(self, vertex: Vertex) -> bool:
        if not self._work_items.is_brought_back(vertex):
            return False
        self._is_plan_outdated = True
        vertex.verdict = Verdict(TaskState.CACHED, note=vertex.result.note.removeprefix(WILL_BE))
        return True

    def _has_run(self, vertex: Vertex) -> bool:
        return self._ledger.states[vertex.key] is TaskState.DONE

    def _asks_ahead(self, vertex: Vertex) -> bool:
        """Let a task wait for what its run would ask for next, if that alone decides whether it has to run."""
        tasks = self._work_items.asked_ahead(vertex, self._has_run)
        try:
            needed = self._grow(vertex, tasks) if tasks else []
        except Exception:  # as its own run will say
            return False
        if all(self._ledger.is_met(other.key) for other in needed):
            return False
        self._await(vertex, needed)
        return True

    def _grow(self, vertex: Vertex, requirements: object) -> list[Vertex]:
        needed = super()._grow(vertex, requirements)
        self._demand([other for other in needed if self._is_left_out(other)])
        return needed

    def _is_left_out(self, vertex: Vertex) -> bool:
        """Whether the files of a task are missing, and nothing has needed them so far."""
        return vertex.key in self._conditional and self._ledger.states[vertex.key] is TaskState.MISSING

    def _demand(self, vertices: Iterable[Vertex]) -> None:
        """Let conditional tasks run after all, and first what they require and is missing."""
        pending = list(vertices)
        while pending:
            vertex = pending.pop()
            if vertex.key not in self._conditional:
                continue
            self._conditional.discard(vertex.key)
            self._demanded.add(vertex.key)
            self._ledger.change(vertex.key, TaskState.QUEUED)
            vertex.forget_later()  # it may ask for others now
            missing = list(filter(self._is_left_out, vertex.requires))
            pending += missing
            if not self._unmet[vertex.key]:
                self._await(vertex, vertex.requires)
                continue
            # its turn has not come: it waits for the rest already, but these have let it go on
            for other in missing:
                if not self._unmet[other.key]:
                    self._unmet[vertex.key] += 1
                    self._dependents.setdefault(other.key, {})[vertex.key] = None

    def _hand_out(self) -> None:
        """Give ready tasks to the executor while it has room."""
        while self._ready:
            room = self._executor.room(len(self._running), len(self._ready))
            keys = [] if room is None else self._ready.take(room, self._expected_seconds)
            if not keys:
                return
            runs = [run for run in map(self._take_up, keys) if run is not None]
            if runs:
                self._launch(runs)

    def _expected_seconds(self, key: str) -> float:
        """How long a task may run; one with limited time counts as long, so that it can be ended alone."""
        if self._timeouts.has_limit(key):
            return math.inf
        return self._times.expected(type(self._graph.vertices[key].task))

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

    def _prepare(self) -> None:
        if self._executor.is_here and self._executor.parallel > 1:
            self._resources.add(self._memory.begin())

    def _enlist(self, vertices: Sequence[Vertex]) -> None:
        self._resources.add(self._executor.lanes)
        for vertex in vertices:
            verdict = vertex.verdict
            if verdict.is_conditional:
                self._conditional.add(vertex.key)
            is_queued = verdict.reason is not None and not verdict.is_conditional
            self._ledger.states[vertex.key] = TaskState.QUEUED if is_queued else verdict.state
        missing = missing_external(vertices)
        if missing and retries_external():
            self._look_for_later(missing)
            missing = {}
        refused: dict[Vertex, BaseException] = {**missing, **self._beyond_limit(vertices)}
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

    def _look_for_later(self, vertices: Iterable[Vertex]) -> None:
        """Look again for external tasks that are missing, as often as others are tried (luigi's rule)."""
        for vertex in vertices:
            self._ledger.states[vertex.key] = TaskState.QUEUED
            heapq.heappush(self._retries_due, (time.monotonic(), vertex.key))

    def _beyond_limit(self, vertices: Sequence[Vertex]) -> dict[Vertex, BaseException]:
        """The tasks that luigi's ``[worker] task_limit`` does not let run: level by level from the root, the last."""
        if self._task_limit is None:
            return {}
        new = {vertex.key for vertex in vertices}
        allowed = self._task_limit - (len(self._ledger.states) - len(new))
        found = dict.fromkeys(vertices[-1:])
        pending = deque(found)
        while pending:
            others = [other for other in pending.popleft().requires if other.key in new and other not in found]
            found.update(dict.fromkeys(others))
            pending.extend(others)
        order = [*found, *[vertex for vertex in reversed(vertices) if vertex not in found]]
        return {
            vertex: TaskSettingError(
                f'{vertex.name} is not run: [worker] task_limit lets a build take in {self._task_limit} tasks.'
            )
            for vertex in order[max(allowed, 0) :]
            if vertex.verdict.reason is not None
        }

    def _read_limits(self, vertex: Vertex) -> BaseException | None:
        """Read a task's limits; gives the error if that fails, perhaps in properties of the user's."""
        if vertex.broken is not None:
            fire_broken(vertex.task, vertex.broken)
            trim_traceback(vertex.broken)
            return vertex.broken
        if vertex.verdict.reason is None:
            return None
        try:
            limits = limits_of(vertex.task, self._resources, self._usual_timeout, self._memory)
            lane = self._executor.lane_of(vertex.task)
            if lane:
                limits = replace(limits, demand=(*limits.demand, (lane, 1)))
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
            self._dependents.setdefault(key, {})[vertex.key] = None
        if not unmet:
            self._make_ready(vertex.key)

    def _make_ready(self, key: str) -> None:
        if key in self._conditional:
            self._to_settle.append(key)
            return
        if self._may_have_an_earlier_result(key):
            self._may_come_back.add(key)
            self._to_settle.append(key)
            return
        self._ready.push(key, self._priorities.get(key, 0), self._limits[key].demand)

    def _may_have_an_earlier_result(self, key: str) -> bool:
        """Whether a task whose turn comes now may have one for what has been made since the plan was."""
        if key in self._begun or key in self._demanded:
            return False
        self._begun.add(key)
        return self._work_items.may_come_back(self._graph.vertices[key])

    def _freed(self, key: str, amounts: dict[str, float] | None) -> None:
        self._ready.give_back(key, amounts)

    def _completed(self, vertex: Vertex, state: TaskState) -> None:
        if state is TaskState.CACHED and vertex.key in self._demanded:  # another build was faster
            vertex.verdict = replace(vertex.verdict, reason=Reason(ReasonKind.UPSTREAM_RUNS), is_conditional=False)
            self._is_plan_outdated = True
        self._ledger.change(vertex.key, state)
        self._release_dependents(vertex.key)

    def _release_dependents(self, key: str) -> None:
        """Let tasks go on that wait for a task, as soon as they wait for no other one."""
        for dependent in self._dependents.pop(key, ()):
            self._unmet[dependent] -= 1
            # it may be blocked by another task that it needs
            if self._unmet[dependent] == 0 and self._ledger.states[dependent] is not TaskState.BLOCKED:
                self._make_ready(dependent)

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
            key = heapq.heappop(self._retries_due)[1]
            vertex = self._graph.vertices[key]
            if vertex.is_external:
                self._look_for(vertex)
            else:
                self._make_ready(key)

    def _look_for(self, vertex: Vertex) -> None:
        try:
            is_there = is_complete(vertex)
        except Exception as error:
            self._failed(vertex, error)
            return
        if is_there:
            self._completed(vertex, TaskState.EXTERNAL)
        else:
            self._failed(vertex, missing_external([vertex])[vertex])

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
