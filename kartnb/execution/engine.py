"""Running the tasks of one planned build in an executor.

`Engine` gives tasks to the executor and takes their outcomes in; its subclasses decide which task is next
(`loop.BuildLoop` by itself, `luigid.SchedulerLoop` by asking luigi's scheduler). `Ledger` keeps the states, times and
errors of the tasks and emits the events; `WorkItems` makes the runs out of what the plan knows.
"""

from __future__ import annotations

import logging
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from queue import Empty, SimpleQueue
from typing import Any

import luigi

from kartnb.errors import TaskTimeoutError, WorkerDiedError
from kartnb.execution.bring_back import bring_back, bring_one_back
from kartnb.execution.executors import (
    AsyncExecutor,
    ExecutorFactory,
    Inbox,
    InlineExecutor,
    Message,
    RequirementsAsked,
    ResourcesFreed,
    StopRequest,
    TaskExecutor,
    ThreadExecutor,
    needs_this_process,
)
from kartnb.execution.limits import RecentTimes, Timeouts
from kartnb.execution.memory import MemoryUse
from kartnb.execution.recording import (
    EDITING_SECONDS,
    Inputs,
    Outcome,
    SettledBy,
    TaskRun,
    WorkItem,
    fire,
    present_holder,
)
from kartnb.execution.recovery import record_existing_results
from kartnb.execution.report import BuildReport, error_line, failure_of
from kartnb.execution.task_run import close, learn, lost
from kartnb.history.makers import current_maker
from kartnb.history.package_versions import versions_of
from kartnb.interrupts import held_interrupts, in_main_thread
from kartnb.model import (
    EDITED,
    BuildFinished,
    BuildStarted,
    BuildStatus,
    Event,
    Plan,
    PlanGrew,
    ReasonKind,
    TaskEvent,
    TaskProgress,
    TaskState,
    TaskStateChanged,
)
from kartnb.planning.graph import TaskGraph, Vertex
from kartnb.planning.known_results import KnownResults
from kartnb.planning.planner import assess, grow
from kartnb.planning.recorded_staleness import asked_tasks
from kartnb.planning.staleness import UP_TO_DATE, find_variant, holds_but_for_requests, judges_by_outputs, still_holds
from kartnb.storage.filesystem import working_directory
from kartnb.storage.places import keep_code
from kartnb.storage.run_lock import Holder, build_begins, build_ends, wait_for_itself, waits_for
from kartnb.task import held, registry
from kartnb.task.base import TaskOnKart
from kartnb.task.code.attributes import unexplained
from kartnb.task.code.prints import CodePrint
from kartnb.task.secrets import Masker
from kartnb.task.values import map_nested, required

logger = logging.getLogger('kartnb')
#: Seconds between two looks whether another process has ended a task.
_PATIENCE = 0.02
#: What luigi says of the tasks that enter a build.
DEPENDENCY_EVENTS = (
    luigi.Event.DEPENDENCY_DISCOVERED,
    luigi.Event.DEPENDENCY_PRESENT,
    luigi.Event.DEPENDENCY_MISSING,
)
#: Errors that mean that a task was lost together with its process.
_LOSSES = (WorkerDiedError, TaskTimeoutError)


class _StopRequestedError(Exception):
    """`Engine.stop` was called."""


@dataclass(frozen=True, slots=True)
class PlannedBuild:
    """One planned build, as an engine takes it; `graph` and `plan` are what `planner.draw_up` gives."""

    graph: TaskGraph
    plan: Plan
    build_id: str
    choose: ExecutorFactory
    emit: Callable[[Event], None]
    #: Whether the beginning and the end of each task are logged.
    verbose: bool = True
    #: Whether each result is on the disk before its record is.
    durable: bool = False
    #: Masks the secrets of its tasks.
    mask: Masker = field(default_factory=Masker)


class Engine(ABC):
    """One build of one planned graph."""

    def __init__(self, build: PlannedBuild) -> None:
        self._graph = build.graph
        self._choose = build.choose
        self._emit = build.emit
        self._inbox: Inbox = SimpleQueue()
        self._executor: TaskExecutor = InlineExecutor(self._inbox)  # until `run` makes the one that was chosen
        self._mask = build.mask
        self._ledger = Ledger(build.plan, build.build_id, build.emit, build.verbose, build.mask)
        self._work_items = WorkItems(
            build.build_id, self._inbox, build.emit, build.graph.results, build.durable, build.mask
        )
        self._timeouts = Timeouts()
        self._times = RecentTimes()
        self._running: dict[str, TaskRun] = {}
        self._suspended: dict[str, TaskRun] = {}
        #: Tasks that other processes run, and when it is looked next whether they have ended.
        self._waiting: dict[str, float] = {}
        self._build_id = build.build_id

    def run(self) -> None:
        """Run every task that can run; failures are in the report.

        Raises `KeyboardInterrupt` when interrupted: what ran then is marked so, and what has finished is kept.
        """
        self._ledger.begin()
        build_begins(self._build_id)
        with held_interrupts():
            self._executor = self._choose(self._inbox)
            self._work_items.shares_memory = self._executor.shares_memory
        try:
            self._prepare()
            self._enlist(list(self._graph.vertices.values()))
            self._go()
            self._executor.close()
            self._tell_of_edits()
        except _StopRequestedError:
            self._abandon()
        except BaseException as error:
            self._abandon()
            if isinstance(error, KeyboardInterrupt) and not error.args:
                error.args = (self._ledger.interrupt_message(),)
            raise

    def _tell_of_edits(self) -> None:
        """Say that code was edited while the build ran: some results, and what was kept, are of the earlier code."""
        if in_main_thread():
            return
        classes = {type(vertex.task) for vertex in self._graph.vertices.values() if vertex.place is not None}
        edited = sorted(cls.__name__ for cls in classes if self._work_items.was_edited(cls))
        if edited:
            self._ledger.note(f'{EDITED}: {", ".join(edited)}. Build again to use the code of now')

    def close(self) -> None:
        """Release everything, also what an interrupt has kept `run` from releasing, and end the build for listeners."""
        self._executor.close(at_once=True)
        # a thread that could not be stopped still uses its task
        held = {} if isinstance(self._executor, ThreadExecutor | AsyncExecutor) else self._running
        for run in (*self._suspended.values(), *held.values()):
            close(run)
        build_ends(self._build_id)
        self._ledger.end()

    def stop(self) -> None:
        """End the build from another thread: running tasks are interrupted where their executor can do that."""
        self._inbox.put(StopRequest())

    def report(self, seconds: float) -> BuildReport:
        """How the build ended."""
        return self._ledger.report(seconds)

    def _prepare(self) -> None:  # noqa: B027 - luigi's scheduler has limits of its own
        """Look at what depends on the executor, which is chosen now."""

    @abstractmethod
    def _go(self) -> None:
        """Run until nothing can run any more."""

    @abstractmethod
    def _enlist(self, vertices: Sequence[Vertex]) -> None:
        """Take new vertices into the build, upstream first."""

    @abstractmethod
    def _await(self, vertex: Vertex, needed: Sequence[Vertex]) -> None:
        """Let a task that has begun go on as soon as the tasks that it yielded are complete."""

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
        """Fire luigi's events of a task that enters the build."""
        task = vertex.task
        for other in vertex.requires:
            fire(task, luigi.Event.DEPENDENCY_DISCOVERED, task, other.task)
        if vertex.verdict.state in (TaskState.CACHED, TaskState.EXTERNAL):
            fire(task, luigi.Event.DEPENDENCY_PRESENT, task)
        elif vertex.verdict.state is TaskState.MISSING and vertex.verdict.reason is None:
            fire(task, luigi.Event.DEPENDENCY_MISSING, task)

    def _next_run(self, vertex: Vertex) -> TaskRun:
        """The run of a task whose turn it is."""
        run = self._suspended.pop(vertex.key, None)
        if run is None:
            self._ledger.log('%s starts: %s', vertex.key, vertex.verdict.reason)
            return self._work_items.new_run(vertex)
        self._work_items.renew(run, vertex)
        return run

    @abstractmethod
    def _try_again(self, vertex: Vertex) -> None:
        """Another process that ran a task has ended: take the task up."""

    def _hold_back(self, vertex: Vertex, holder: Holder) -> None:
        """Let a task wait until the process that runs it has ended, or fail where this thread would wait for itself."""
        error = self._work_items.wait_for_itself(vertex)
        if error is not None:
            self._failed(vertex, error)
            return
        if self._ledger.states[vertex.key] is not TaskState.WAITING:
            self._ledger.wait_for(vertex.key, holder)
        self._waiting[vertex.key] = time.monotonic() + _PATIENCE

    def _look_at_waiting(self) -> None:
        """Take up the tasks whose processes have ended."""
        now = time.monotonic()
        for key, due in list(self._waiting.items()):
            if due <= now:
                vertex = self._graph.vertices[key]
                if self._work_items.holder(vertex) is None:
                    del self._waiting[key]
                    self._try_again(vertex)
                else:
                    self._waiting[key] = now + _PATIENCE

    def _limit_time(self, vertex: Vertex, seconds: float) -> None:
        """Limit the time of a task (0: no limit), where the executor can end it."""
        if seconds and self._executor.can_end_task(vertex.task):
            self._timeouts.limit(vertex.key, seconds)
        elif seconds:
            self._timeouts.warn_of_no_effect(vertex.task)

    def _launch(self, runs: Sequence[TaskRun]) -> None:
        """Give runs to the executor, to run one after the other."""
        here = [] if self._executor.shares_memory else [run for run in runs if needs_this_process(run.task)]
        away = [run for run in runs if run not in here] if here else runs
        for run in runs:
            self._running[run.item.key] = run
            if not self._executor.live:
                self._begin(run.item.key)
        if away:
            self._executor.submit(away)
        self._run_here(here)

    def _run_here(self, runs: Sequence[TaskRun]) -> None:
        """Run tasks that need the memory of this process; the workers have been given theirs before."""
        for run in runs:
            self._timeouts.forget(run.item.key)
            started = run.started
            if self._executor.live:
                self._begin(run.item.key)
            run.started = started  # the run itself says when it begins, and what has begun goes on
            InlineExecutor(self._inbox).submit([run])

    def _begin(self, key: str) -> None:
        self._timeouts.start(key)
        self._ledger.change(key, TaskState.RUNNING)
        if self._executor.live:
            self._running[key].started = time.time()

    def _wait(self, seconds: float | None) -> bool:
        """Wait at most so long for the next message and handle it; gives whether one came."""
        if seconds is None and not self._timeouts and not self._waiting:
            self._take(self._inbox.get())
            return True
        limit = self._timeouts.wait()
        look = max(0.0, min(self._waiting.values()) - time.monotonic()) if self._waiting else None
        waits = [wait for wait in (seconds, limit, look) if wait is not None]
        try:
            message = self._inbox.get(timeout=min(waits)) if waits else self._inbox.get()
        except Empty:
            self._look_at_time()
            return False
        self._take(message)
        # also after a message: many of them in a row would put off the end of a time limit
        self._look_at_time()
        return True

    def _look_at_time(self) -> None:
        self._end_expired()
        if self._waiting:
            self._look_at_waiting()

    def _end_expired(self) -> None:
        for key, seconds in self._timeouts.expired():
            name = self._graph.vertices[key].name
            error = TaskTimeoutError(f'{name} ran longer than its worker_timeout of {seconds:g} s and was ended.')
            self._executor.end(key, error)

    def _take(self, message: Message) -> None:
        if isinstance(message, tuple):
            self._finish(*message)
        elif isinstance(message, StopRequest):
            raise _StopRequestedError
        elif isinstance(message, TaskStateChanged):
            if message.key in self._running:  # its outcome may have come another, shorter way
                self._begin(message.key)
        elif isinstance(message, ResourcesFreed):
            if message.key in self._running:
                self._freed(message.key, message.amounts)
        elif isinstance(message, RequirementsAsked):
            message.answer(self._inputs_for(message))
        else:
            self._emit(message)

    def _finish(self, key: str, outcome: Outcome) -> None:
        vertex = self._graph.vertices[key]
        run = self._running.pop(key, None)
        self._timeouts.forget(key)
        self._freed(key, None)
        if run is not None and isinstance(outcome.error, _LOSSES):
            outcome = lost(run, outcome.error)
        if outcome.holder is not None:
            self._hold_back(vertex, outcome.holder)
            return
        if outcome.is_settled:
            if outcome.result is not None:
                self._graph.results.put(vertex, outcome.result)
            logger.warning('%s is skipped: already complete.', vertex.key)
            vertex.result = UP_TO_DATE
            self._completed(vertex, TaskState.CACHED)
            return
        self._ledger.spend(key, outcome)
        self._times.note(type(vertex.task), outcome.spent)
        if outcome.requirements is None:
            # of a run in another process it is not known what the file of its result looks like
            self._graph.results.put(vertex, outcome.result, () if run is None else run.look)
        if outcome.error is not None:
            self._ledger.log('%s failed: %s', key, error_line(outcome.error, self._mask))
            self._failed(vertex, outcome.error)
        elif outcome.requirements is not None:
            self._suspend(vertex, outcome)
        else:
            self._ledger.log('%s is done after %.3f s', key, outcome.spent)
            learn(vertex.task, outcome)
            vertex.result = UP_TO_DATE  # for tasks that enter the plan later
            self._completed(vertex, TaskState.DONE)

    def _suspend(self, vertex: Vertex, outcome: Outcome) -> None:
        """Let a task wait for the tasks that its `run` yielded; it goes on when they are complete."""
        requirements = required(outcome.requirements)
        self._work_items.grant(vertex, outcome.asked)
        run = outcome.run or self._work_items.new_run(vertex)
        try:
            needed = self._grow(vertex, requirements)
            if run.generator is not None:
                run.answer = map_nested(lambda task: held.today(task).output(), requirements)
        except Exception as error:
            close(run)
            self._failed(vertex, error)
            return
        self._suspended[vertex.key] = run
        self._ledger.change(vertex.key, TaskState.QUEUED)
        self._await(vertex, needed)

    def _inputs_for(self, asked: RequirementsAsked) -> Inputs | None:
        """The inputs of a task in a worker that goes on at once; None when what it has yielded has to be made first."""
        run = self._running.get(asked.key)
        vertex = self._graph.vertices[asked.key]
        try:
            needed = None if run is None else self._grow(vertex, required(asked.requirements))
        except Exception:  # the worker gives the task back, which raises this again
            return None
        if run is None or needed is None or not all(self._ledger.is_met(other.key) for other in needed):
            return None
        return self._work_items.inputs(vertex, run.result_id)

    def _grow(self, vertex: Vertex, requirements: object) -> list[Vertex]:
        """Take the tasks that a running one yielded, and all that they need, into the build."""
        needed, fresh = grow(self._graph, vertex, requirements, self._ledger.states)
        while bring_back(self._graph, fresh):
            fresh = assess(fresh, needed, self._graph)
        self._mask.add(other.task for other in fresh)
        record_existing_results(self._graph, fresh)
        if vertex.ask_for(needed):
            plan = self._ledger.plan
            self._ledger.grow(self._graph.snapshot(plan.root.task, plan.workspace))
        self._enlist(fresh)
        return needed

    def _abandon(self) -> None:
        """End an interrupted build: running tasks become interrupted, waiting ones are again as they were planned."""
        self._executor.close(at_once=True)
        self._take_last_outcomes()
        for key, state in list(self._ledger.states.items()):
            if state is TaskState.RUNNING:
                self._ledger.change(key, TaskState.INTERRUPTED)
            elif state in (TaskState.QUEUED, TaskState.WAITING):
                self._ledger.change(key, self._graph.vertices[key].verdict.state)

    def _take_last_outcomes(self) -> None:
        """Count tasks as done that succeeded while the executor was being closed."""
        while not self._inbox.empty():
            message = self._inbox.get()
            if isinstance(message, tuple):
                key, outcome = message
                if outcome.is_done and key in self._running:
                    self._ledger.spend(key, outcome)
                    self._ledger.change(key, TaskState.DONE)
            elif isinstance(message, TaskEvent):
                self._emit(message)


class Ledger:
    """States, times and errors of the tasks of one build, by node key; emits the events of their changes."""

    def __init__(self, plan: Plan, build_id: str, emit: Callable[[Event], None], verbose: bool, mask: Masker) -> None:
        self._status = BuildStatus(plan)
        self.durations: dict[str, float] = {}
        self.memory: dict[str, MemoryUse] = {}
        self.errors: dict[str, BaseException] = {}
        self._earlier: dict[str, list[BaseException]] = {}
        self._build_id = build_id
        self._emit = emit
        self._notes: list[str] = []
        self._verbose = verbose
        self._is_open = False
        self._mask = mask

    @property
    def plan(self) -> Plan:
        """The plan, with what running tasks have asked for."""
        assert self._status.plan is not None
        return self._status.plan

    @property
    def states(self) -> dict[str, TaskState]:
        """The state of every task that the build has taken in, by node key."""
        return self._status.states

    def begin(self) -> None:
        """The build begins."""
        self._is_open = True
        self._apply(BuildStarted(self._build_id, self.plan))

    def note(self, note: str) -> None:
        """Something that must be known of the build when it has ended."""
        self._notes.append(note)

    def end(self) -> None:
        """The build has ended; another call changes nothing."""
        if not self._is_open:
            return
        self._is_open = False
        self._apply(BuildFinished(self._build_id, dict(self.states), notes=tuple(self._notes)))

    def grow(self, plan: Plan) -> None:
        """The plan has more tasks."""
        self._apply(PlanGrew(self._build_id, plan))

    def change(self, key: str, state: TaskState, error: str = '') -> None:
        """A task enters a state."""
        self._apply(TaskStateChanged(self._build_id, key, state, error))

    def _apply(self, event: Event) -> None:
        self._status.apply(event)
        self._emit(event)

    def wait_for(self, key: str, holder: Holder) -> None:
        """A task waits for another process that runs it."""
        self.log('%s waits for %s', key, holder)
        self._apply(TaskStateChanged(self._build_id, key, TaskState.WAITING, holder=str(holder)))

    def fail(self, key: str, error: BaseException) -> None:
        """A task has failed for good."""
        self._mask.hide_in(error)
        self.errors[key] = error
        self.change(key, TaskState.FAILED, error_line(error, self._mask))

    def retry_later(self, key: str, error: BaseException) -> None:
        """A task has failed and will be tried again."""
        self._mask.hide_in(error)
        self._earlier.setdefault(key, []).append(error)
        self.change(key, TaskState.QUEUED, error_line(error, self._mask))

    def retry_now(self, key: str) -> None:
        """A task that had failed for good is tried again (luigi's scheduler gave it out once more)."""
        error = self.errors.pop(key, None)
        if error is not None:
            self._earlier.setdefault(key, []).append(error)

    def spend(self, key: str, outcome: Outcome) -> None:
        """A task has used time, and memory where that is known."""
        self.durations[key] = outcome.spent
        if outcome.memory is not None:
            self.memory[key] = outcome.memory

    def is_met(self, key: str) -> bool:
        """Whether tasks that need this one can run."""
        return self.states[key] in (TaskState.CACHED, TaskState.EXTERNAL, TaskState.DONE)

    def is_lost(self, key: str) -> bool:
        """Whether tasks that need this one cannot run in this build any more."""
        return self.states[key] in (TaskState.FAILED, TaskState.BLOCKED)

    def log(self, message: str, *args: Any) -> None:
        """Log at INFO if that is shown anywhere: a log record costs as much as writing a file."""
        if self._verbose:
            logger.info(message, *args)

    def interrupt_message(self) -> str:
        """How far the build got before it was interrupted, in one line."""
        to_run = [node for node in self.plan if node.will_run]
        done = sum(self._status.state(node) is TaskState.DONE for node in to_run)
        return f'the build was interrupted; {done} of {len(to_run)} tasks are done and kept, build again to go on'

    def report(self, seconds: float) -> BuildReport:
        """How the build ended."""
        plan = self.plan
        failures = tuple(
            failure_of(plan[key], error, tuple(self._earlier.get(key, ())), self._mask)
            for key, error in self.errors.items()
        )
        memory = {key: use.added for key, use in self.memory.items()}
        return BuildReport(
            self._build_id,
            plan,
            seconds,
            dict(self.durations),
            failures,
            dict(self.states),
            memory,
            {key: tuple(errors) for key, errors in self._earlier.items()},
            mask=self._mask,
        )


class WorkItems:
    """Makes the runs of one build, which report to the inbox of its loop and to its listeners."""

    def __init__(
        self,
        build_id: str,
        inbox: Inbox,
        emit: Callable[[Event], None],
        results: KnownResults,
        durable: bool,
        mask: Masker,
    ) -> None:
        self._build_id = build_id
        self._durable = durable
        self._inbox = inbox
        self._emit = emit
        self._results = results
        self._mask = mask
        self._kept: set[tuple[str, str]] = set()
        self._granted: dict[str, frozenset[str]] = {}
        self._directory = working_directory()
        self._maker = current_maker()
        #: Whether tasks run in this process, so that a run uses what is edited while it is under way.
        self.shares_memory = True
        #: When the code of classes was looked at, where a person may edit it while the build runs.
        self._looked_at: dict[type, float] = {}
        #: The prints of these with which tasks have run.
        self._used: dict[type, set[str]] = {}

    def new_run(self, vertex: Vertex) -> TaskRun:
        """A run of a task, from its start."""
        key, build_id, inbox, emit = vertex.key, self._build_id, self._inbox, self._emit

        def report(what: str, value: Any) -> None:
            if what == 'resources':
                inbox.put(ResourcesFreed(key, value))
            else:
                emit(TaskProgress(build_id, key, **{what: value}))

        outputs = tuple(vertex.outputs)
        item = WorkItem(
            vertex.task, vertex.unique_id, key, build_id, (), outputs, vertex.paths, None, maker=self._maker
        )
        item.value_wanted, item.shape = vertex.value_wanted, vertex.shape
        item.on_code_change, item.on_version_change = self._results.asked, self._results.asked_for_versions
        if vertex.place is not None:
            code = self._code_of(type(vertex.task))
            item.versions, item.readers, item.caches = versions_of(code.packages), code.readers, code.caches
            item.unexplained = unexplained(vertex.task, code.words)
        item.granted = self._granted.get(key, item.granted)
        item.durable = self._durable
        item.settled_by = self._settled_by(vertex)
        item.mask = self._mask
        run = TaskRun(item, report, directory=self._directory)
        if vertex.place is not None and self.shares_memory and not in_main_thread():
            run.code_now = lambda: self._results.code.print_again(type(vertex.task)).key
        self.renew(run, vertex)
        return run

    def _code_of(self, cls: type) -> CodePrint:
        """The print of the code that a run of a class would use now; classes are sent to workers once in a build."""
        if in_main_thread():
            return self._results.code.print_of(cls)
        now, before = time.monotonic(), self._looked_at.get(cls)
        if before is not None and (now - before < EDITING_SECONDS or not self.shares_memory):
            return self._results.code.print_of(cls)
        self._looked_at[cls] = now
        code = self._results.code.print_again(cls)
        self._used.setdefault(cls, set()).add(code.key)
        return code

    def was_edited(self, cls: type) -> bool:
        """Whether the code of a class is not the one with which its tasks have run, or were planned."""
        used = self._used.get(cls) or {self._results.code.print_of(cls).key}
        return registry.is_older(cls) or used != {self._results.code.print_again(cls).key}

    def renew(self, run: TaskRun, vertex: Vertex) -> None:
        """Update what a run knows of results, its task's and those it needs, before it begins or goes on."""
        item = run.item
        item.take(self.inputs(vertex, run.result_id))
        item.files = self._results.given_files(vertex)
        directory = self._results.directory(vertex)
        if directory is None or vertex.place is None:
            return
        # as the plan saw it: what another build has made since is looked at when the task is locked
        item.record = item.record or directory.slot(vertex.stem, self._results.seen_records(vertex))
        item.unknown = self._code(vertex, vertex.place[0])
        if not run.started:
            item.replaces = self._results.replaced(vertex)

    def inputs(self, vertex: Vertex, result_id: str) -> Inputs:
        """The present results of what a task needs."""
        results = self._results
        result = None if vertex.place is None else results.next_result(vertex, result_id)
        return Inputs(results.inputs(vertex), results.reads(vertex), result)

    def grant(self, vertex: Vertex, asked: frozenset[str]) -> None:
        """Note what a task in a worker has yielded: its next run begins when that is complete."""
        if asked:
            self._granted[vertex.key] = self._granted.get(vertex.key, frozenset()) | asked

    def still_holds(self, vertex: Vertex, has_run: Callable[[Vertex], bool]) -> bool:
        """Whether the result of a task that was stale on a condition is what a run would give."""
        return still_holds(vertex, self._results, has_run)

    def asked_ahead(self, vertex: Vertex, has_run: Callable[[Vertex], bool]) -> Sequence[luigi.Task]:
        """What the run of a task would ask for, and would have to be made, if nothing else makes the task run."""
        return asked_tasks(vertex, self._results) if holds_but_for_requests(vertex, self._results, has_run) else ()

    def is_brought_back(self, vertex: Vertex) -> bool:
        """Put back a superseded result that a run would give again, if there is one; gives whether there was."""
        vertex.result = replace(vertex.result, is_conditional=False)
        find_variant(vertex, self._results)
        return bring_one_back(vertex, self._results) is not None

    def may_come_back(self, vertex: Vertex) -> bool:
        """Whether a superseded result of today's code is kept of a task that is stale, or has no present one."""
        if vertex.place is None or (vertex.result.reason is None and self._results.result(vertex) is not None):
            return False  # who has deleted the file of today's result wants it to be made again
        return self._results.keeps_any(vertex.place[0], vertex.stem, type(vertex.task))

    def _settled_by(self, vertex: Vertex) -> SettledBy:
        task: Any = vertex.task
        reason = vertex.verdict.reason
        if TaskOnKart not in type(task).__mro__ or reason is None or vertex.rerun is not None or not vertex.outputs:
            return 'run'
        if not task.complete_check_at_run or vertex.key in self._results.of_others:
            return 'run'
        if not judges_by_outputs(task) and reason.kind in (ReasonKind.OUTPUT_MISSING, ReasonKind.INCOMPLETE):
            return 'complete'
        return 'any result' if self._results.policy(type(task)) == 'ignore' else 'same result'

    def holder(self, vertex: Vertex) -> Holder | None:
        """Who runs a task that was held back; None when nobody does."""
        directory = self._results.directory(vertex)
        return None if directory is None else present_holder(directory, vertex.stem, vertex.task)

    def wait_for_itself(self, vertex: Vertex) -> Exception | None:
        """What keeps this thread from waiting for the run of a task; None where it may wait."""
        directory = self._results.directory(vertex)
        if directory is None or '://' in directory.path:
            return None
        return wait_for_itself(directory.slot(vertex.stem).lock_path)

    def holder_at_hand(self, run: TaskRun) -> Holder | None:
        """Who has the lock of a task that is about to run, where that costs no more than a look at a disk."""
        slot = run.item.record
        return None if slot is None or '://' in slot.directory else waits_for(slot.lock_path)

    def _code(self, vertex: Vertex, workspace: str) -> tuple[str, ...]:
        """Keep the source of a task, once for each print; gives the parts of it that cannot be compared."""
        code = self._results.code.print_of(type(vertex.task))
        place = (workspace, code.key)
        if place not in self._kept:
            self._kept.add(place)
            keep_code(*place, code.to_json())
        return code.unknown
