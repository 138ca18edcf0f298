"""The build loop: which tasks are ready, and in what order they run."""

from __future__ import annotations

import heapq
import logging
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import luigi

from kartnb.errors import CyclicRequirementsError, RequirementError, TaskLockException, TaskSettingError, TransportError
from kartnb.execution.engine import Engine, EngineParts, Terms, TermsReader
from kartnb.execution.recording import TaskRun, fire_broken
from kartnb.execution.report import BuildReport, HasLockedTaskException, error_line, trim_traceback
from kartnb.execution.resources import ReadyQueue, Resources
from kartnb.model import TaskState
from kartnb.planning.graph import Vertex
from kartnb.planning.planner import missing_external

#: What another try would raise again.
_FINAL = (TransportError, RequirementError, CyclicRequirementsError)

#: luigi's scheduler forgets failures that are older than this many seconds.
_DISABLE_WINDOW = 3600


@dataclass(slots=True)
class _Failures:
    first: float
    recent: deque[float] = field(default_factory=deque)


class Retries:
    """Decides by luigi's settings: a task's own, or else those of ``[scheduler]`` in luigi's configuration.

    A task is run `retry_count` times at most. Without such a setting it is run once, as by `luigi.build`. A failure
    that is older than `disable_window` seconds does not count; no try begins later than `disable_hard_timeout` seconds
    after the first failure. Tries begin `retry_delay` seconds after a failure, by default at once.

    Parameters
    ----------
    clock
        Tells the time in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._failures: dict[str, _Failures] = {}
        self._count: float | None = _setting('retry_count')
        self._window: float | None = _setting('disable_window')
        self._hard_timeout: float | None = _setting('disable_hard_timeout')
        self._delay: float = _setting('retry_delay') or 0

    def delay(self, key: str, task: luigi.Task, error: BaseException) -> float | None:
        """Note a failure; gives the seconds to wait before the next try, or None when there is none.

        Raises
        ------
        TaskSettingError
            When a setting of the task is no number.
        """
        count = _own(task, 'retry_count', self._count)
        if count is None or self._delay < 0 or isinstance(error, _FINAL):
            return None
        now = self._clock()
        failures = self._failures.setdefault(key, _Failures(now))
        failures.recent.append(now)
        window = _own(task, 'disable_window', self._window)
        while failures.recent and failures.recent[0] < now - (_DISABLE_WINDOW if window is None else window):
            failures.recent.popleft()
        hard_timeout = _own(task, 'disable_hard_timeout', self._hard_timeout)
        if len(failures.recent) >= count:
            return None
        if hard_timeout is not None and now + self._delay >= failures.first + hard_timeout:
            return None
        return self._delay


def _setting(name: str) -> float | None:
    """A number of luigi's section [scheduler]; None when it is not set."""
    config = luigi.configuration.get_config()
    if not config.has_option('scheduler', name):
        return None
    value = config.get('scheduler', name)
    try:
        return float(value)
    except (TypeError, ValueError):
        raise TaskSettingError(f"{name} in [scheduler] of luigi's configuration is no number: {value!r}.") from None


def _own(task: luigi.Task, name: str, default: float | None) -> float | None:
    value: Any = getattr(task, name)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TaskSettingError(f'{type(task).__name__}.{name} is {value!r:.40}: it must be a number.')
    return value


def retried_while_locked(run: Callable[[], BuildReport], tries: int, longest_wait: float) -> BuildReport:
    """Run a build until no task of it fails for a lock, waiting 1, 2, 4, … seconds in between.

    Raises
    ------
    HasLockedTaskException
        When a lock was still held at the last try.
    """
    for attempt in range(tries):
        report = run()
        locked = [failure for failure in report.failures if isinstance(failure.error, TaskLockException)]
        if not locked:
            return report
        if attempt + 1 < tries:
            time.sleep(min(2**attempt, longest_wait))
    raise HasLockedTaskException(
        f'Another process held the lock of {locked[0].name} through {tries} tries: build again when it has finished.'
    )


logger = logging.getLogger('kartnb')


class BuildLoop(Engine):
    """One build of one planned graph: a task runs as soon as what it needs is complete and its resources are free.

    Raises
    ------
    TaskSettingError
        When luigi's configuration has a limit or a retry setting that is no number.
    """

    def __init__(self, parts: EngineParts) -> None:
        super().__init__(parts)
        resources = Resources.configured()
        self._ready = ReadyQueue(resources)
        self._terms_reader = TermsReader(resources)
        self._retries = Retries()
        self._terms: dict[str, Terms] = {}
        self._priorities: dict[str, float] = {}
        self._unmet: dict[str, int] = {}
        self._dependents: dict[str, list[str]] = {}
        #: Tasks that are tried again later: when, and which.
        self._put_off: list[tuple[float, str]] = []

    def _go(self) -> None:
        while self._ready or self._running or self._put_off:
            self._take_up_again()
            self._hand_out()
            if self._running or self._put_off:
                self._wait(max(0.0, self._put_off[0][0] - time.monotonic()) if self._put_off else None)

    def _hand_out(self) -> None:
        """Give ready tasks to the executor while it has places."""
        executor = self._executor
        while self._ready and len(self._running) < executor.places:
            # only what has a long way is sent together
            alone = executor.shares_memory
            size = 1 if alone else executor.batch_size(len(self._ready), self._ledger.typical_seconds())
            keys = [key for key in (self._ready.pop() for _ in range(size)) if key is not None]
            if not keys:
                return
            runs = [run for run in map(self._take_up, keys) if run is not None]
            if runs:
                self._launch(runs)

    def _take_up(self, key: str) -> TaskRun | None:
        """The run of a ready task; None, and its resources are free again, when it was made meanwhile."""
        run = self._next_run(self._graph.vertices[key])
        if run is None:
            self._freed(key, None)
        return run

    def _enlist(self, vertices: Sequence[Vertex]) -> None:
        for vertex in vertices:
            self._ledger.states[vertex.key] = TaskState.QUEUED if vertex.reason is not None else vertex.state
        refused: dict[Vertex, BaseException] = {**missing_external(vertices)}
        for vertex in vertices:
            error = self._read_terms(vertex)
            if error is not None:
                refused[vertex] = error
        self._raise_priorities(vertices)
        for vertex in vertices:
            self._announce(vertex)
            if vertex in refused:
                self._fail(vertex, refused[vertex])
            elif vertex.reason is not None:
                self._await(vertex, vertex.requires)

    def _read_terms(self, vertex: Vertex) -> BaseException | None:
        """Read on what terms a task runs; gives what was raised instead, by the user's properties perhaps."""
        if vertex.broken is not None:
            fire_broken(vertex.task, vertex.broken)
            trim_traceback(vertex.broken)
            return vertex.broken
        if vertex.reason is None:
            return None
        try:
            terms = self._terms_reader.read(vertex.task)
        except Exception as error:
            trim_traceback(error)
            return error
        self._terms[vertex.key] = terms
        if terms.priority:
            self._priorities[vertex.key] = terms.priority
        self._limit_time(vertex, terms.timeout)
        return None

    def _raise_priorities(self, vertices: Sequence[Vertex]) -> None:
        """What a task of high priority needs is as urgent as the task itself (luigi's rule)."""
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
        self._ready.push(key, self._priorities.get(key, 0), self._terms[key].demand)

    def _freed(self, key: str, amounts: dict[str, float] | None) -> None:
        self._ready.give_back(key, amounts)

    def _completed(self, vertex: Vertex, state: TaskState) -> None:
        self._ledger.change(vertex.key, state)
        for key in self._dependents.pop(vertex.key, ()):
            self._unmet[key] -= 1
            if self._unmet[key] == 0 and self._ledger.states[key] is TaskState.QUEUED:
                self._make_ready(key)

    def _failed(self, vertex: Vertex, error: BaseException) -> None:
        try:
            delay = self._retries.delay(vertex.key, vertex.task, error)
        except Exception as second:
            error.add_note(f'It is not tried again: {error_line(second)}')
            delay = None
        if delay is None:
            self._fail(vertex, error)
            return
        logger.warning('%s is tried again in %g s: %s', vertex.key, delay, error_line(error))
        self._ledger.put_off(vertex.key, error)
        heapq.heappush(self._put_off, (time.monotonic() + delay, vertex.key))

    def _take_up_again(self) -> None:
        """Make the tasks ready that have waited long enough since their failure."""
        while self._put_off and self._put_off[0][0] <= time.monotonic():
            self._make_ready(heapq.heappop(self._put_off)[1])

    def _fail(self, vertex: Vertex, error: BaseException) -> None:
        self._ledger.fail(vertex.key, error)
        for key in self._dependents.pop(vertex.key, ()):
            self._block(key)

    def _block(self, key: str) -> None:
        """Mark all that waits for a task that cannot be complete."""
        pending = [key]
        while pending:
            key = pending.pop()
            if self._ledger.states[key] is not TaskState.BLOCKED:
                self._ledger.change(key, TaskState.BLOCKED)
                pending.extend(self._dependents.pop(key, ()))
