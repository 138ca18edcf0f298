"""What luigi lets a task and its configuration say of when it runs: priority, resources, time limit, retries.

`TaskLimits` are those of one task; `ReadyQueue`, `Timeouts` and `Retries` hold the tasks of one build to them.
"""

from __future__ import annotations

import heapq
import math
import time
import warnings
from collections import deque
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias, TypeVar

import luigi
from luigi.worker import worker as worker_settings

from kartnb.errors import (
    CyclicRequirementsError,
    ExternalTaskMissingError,
    RequirementError,
    TaskDisabledError,
    TaskSettingError,
    TransportError,
)
from kartnb.execution.memory import MEMORY, MemoryNeeds

_Default = TypeVar('_Default', float, float | None)

#: luigi's section for its worker, and gokart's, which counts before it.
_WORKER, _GOKARTS_WORKER = worker_settings.get_task_family(), 'gokart_worker'
#: What a task takes of each resource while it runs.
Demand: TypeAlias = tuple[tuple[str, float], ...]


@dataclass(frozen=True, slots=True)
class TaskLimits:
    """How urgent a task is, what it takes of luigi's resources, and how long it may run."""

    #: Higher ones run first.
    priority: float
    demand: Demand
    #: Seconds after which it is ended; 0 for never.
    timeout: float


def limits_of(task: luigi.Task, resources: Resources, usual: float, memory: MemoryNeeds) -> TaskLimits:
    """The limits of a task that has to run; `usual` is the time limit of tasks without one of their own.

    Raises `TaskSettingError` when one of its attributes is not valid, and `TaskDisabledError` when it is disabled.
    """
    if task.disabled:
        raise TaskDisabledError(f'{type(task).__name__} is disabled: its attribute `disabled` is set.')
    demand = demand_of(task, resources)
    bytes_needed = memory.need(task)
    if bytes_needed:
        demand = (*demand, (MEMORY, bytes_needed))
    return TaskLimits(_number(task, 'priority'), demand, timeout_of(task, usual))


class gokart_worker(worker_settings):  # noqa: N801 - gokart's name, and that of the section
    """Options of ``[gokart_worker]``: those of luigi's section ``[worker]``, before which they count; from gokart."""

    # as for `TaskOnKart`: gokart, where it is imported too, lists a class of this name
    _visible_in_registry = False

    task_completion_check_at_run = luigi.BoolParameter(
        default=True,
        description='Look again whether a task is complete just before it runs; kartnb does so in any case.',
    )


def _worker_option(name: str) -> Any:
    """What the configuration says of an option of workers."""
    # not luigi's whole worker configuration: reading all of it takes as long as planning a dozen tasks
    config: Any = luigi.configuration.get_config()
    section = _GOKARTS_WORKER if config.has_option(_GOKARTS_WORKER, name) else _WORKER
    return getattr(worker_settings, name).task_value(section, name)


def usual_timeout() -> float:
    """The time limit in seconds of tasks without one of their own, from luigi's configuration; 0 for none."""
    seconds: float = _worker_option('timeout')
    return seconds


def _keeps_alive() -> bool:
    found: bool = worker_settings.keep_alive.task_value(_WORKER, 'keep_alive')
    return found


def retries_external() -> bool:
    """Whether luigi's configuration says that missing external tasks are looked for again while a build runs."""
    found: bool = _worker_option('retry_external_tasks')
    return found


def checks_complete_on_run() -> bool:
    """Whether luigi's configuration says that a task whose own `complete()` decides is asked again after its run."""
    found: bool = _worker_option('check_complete_on_run')
    return found


def task_limit() -> int | None:
    """How many tasks a build may take in, by luigi's configuration; None for any number."""
    limit: int | None = _worker_option('task_limit')
    return limit


def timeout_of(task: luigi.Task, usual: float) -> float:
    """The time limit of a task in seconds, 0 for none; raises `TaskSettingError` when it is not a number."""
    return max(_own(task, 'worker_timeout', usual), 0)


def _own(task: luigi.Task, name: str, default: _Default) -> float | _Default:
    """A number that a task may set itself."""
    return default if getattr(task, name) is None else _number(task, name)


def _number(task: luigi.Task, name: str) -> float:
    value = getattr(task, name)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TaskSettingError(f'{type(task).__name__}.{name} is {value!r:.40}: it must be a number.')
    return value


class Resources:
    """How much of each of luigi's resources there is (1 without a limit, luigi's rule), and what running tasks take."""

    def __init__(self, limits: Mapping[str, float]) -> None:
        self._limits = limits
        self._used: dict[str, float] = {}
        self._held: dict[str, dict[str, float]] = {}

    @classmethod
    def configured(cls) -> Resources:
        """With the limits in ``[resources]`` of luigi's configuration; `TaskSettingError` for what is not a number."""
        try:
            limits = dict(luigi.configuration.get_config().getintdict('resources'))
        except ValueError as error:
            raise TaskSettingError(
                f"A limit in [resources] of luigi's configuration is not a whole number: {error}"
            ) from None
        for name, limit in limits.items():
            if not _is_amount(limit):
                raise TaskSettingError(
                    f"The limit of {name} in [resources] of luigi's configuration is {limit!r}: write a number from 0."
                )
        return cls(limits)

    def add(self, limits: Mapping[str, float]) -> None:
        """Let there be so much of these."""
        self._limits = {**self._limits, **limits}

    def limit(self, name: str) -> float:
        """How much there is of a resource."""
        return self._limits.get(name, 1)

    def has_free(self, name: str, amount: float) -> bool:
        """Whether so much of a resource is free."""
        return self._used.get(name, 0) + amount <= self.limit(name)

    def take(self, key: str, demand: Demand) -> None:
        """A task begins to run."""
        if demand:
            self._held[key] = dict(demand)
            for name, amount in demand:
                self._used[name] = self._used.get(name, 0) + amount

    def give_back(self, key: str, amounts: Mapping[str, float] | None = None) -> list[str]:
        """Free what a task takes, all or some of it; gives the names of what is freer now."""
        held = self._held.get(key)
        if held is None:
            return []
        freed = dict(held) if amounts is None else {name: min(n, held.get(name, 0)) for name, n in amounts.items()}
        for name, amount in freed.items():
            self._used[name] = self._used.get(name, 0) - amount
            held[name] = held.get(name, 0) - amount
        if amounts is None:
            del self._held[key]
        return [name for name, amount in freed.items() if amount > 0]


def demand_of(task: luigi.Task, resources: Resources) -> Demand:
    """What a task takes; raises `TaskSettingError` where that is not an amount, or more than the limit."""
    asked = task.process_resources()
    if not asked:
        return ()
    name = type(task).__name__
    if not isinstance(asked, Mapping):
        raise TaskSettingError(f'{name}.resources is {asked!r:.80}: write a dict of amounts, such as {{"gpu": 1}}.')
    for resource, amount in asked.items():
        if not _is_amount(amount):
            raise TaskSettingError(
                f'{name} takes {amount!r:.40} of the resource {resource!r}: the amount must be a number from 0.'
            )
        if amount > resources.limit(resource):
            raise TaskSettingError(
                f'{name} takes {amount} of the resource {resource!r}, of which there is {resources.limit(resource)}: '
                f"raise {resource} in the section [resources] of luigi's configuration."
            )
    return tuple((resource, amount) for resource, amount in asked.items() if amount)


def _is_amount(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < math.inf


#: How many times of each class are remembered.
_REMEMBERED = 20
#: Seconds that a task takes that does nothing.
_LEAST_SECONDS = 0.0005
#: The rank of a ready task: higher priority first, then first come, first served.
_Rank: TypeAlias = tuple[float, int, str]


@dataclass(frozen=True, slots=True)
class Room:
    """What an executor takes at once: so many tasks, to run one after the other."""

    tasks: int
    #: How many seconds they may take together.
    seconds: float
    #: How many seconds a single one may take.
    seconds_alone: float


#: Room for any task.
ONE_TASK = Room(1, 0.0, math.inf)


class RecentTimes:
    """How long the last tasks of each class ran."""

    def __init__(self) -> None:
        self._spent: dict[type, deque[float]] = {}
        self._expected: dict[type, float] = {}

    def note(self, cls: type, seconds: float) -> None:
        """A task of a class ran for so many seconds."""
        self._spent.setdefault(cls, deque(maxlen=_REMEMBERED)).append(seconds)
        self._expected.pop(cls, None)

    def expected(self, cls: type) -> float:
        """The seconds that hardly any task of a class runs longer than; infinite where none has run yet."""
        known = self._expected.get(cls)
        if known is None:
            known = self._expected[cls] = _upper(self._spent.get(cls, ()))
        return known


def _upper(spent: Collection[float]) -> float:
    """The mean of some times and twice their standard deviation."""
    if not spent:
        return math.inf
    mean = sum(spent) / len(spent)
    return mean + 2 * math.sqrt(sum((seconds - mean) ** 2 for seconds in spent) / len(spent)) + _LEAST_SECONDS


class ReadyQueue:
    """The tasks that are ready to run, best first.

    A task that waits for a resource is overtaken on that resource by none of lower priority; tasks that need other
    resources go ahead.
    """

    def __init__(self, resources: Resources) -> None:
        self._resources = resources
        self._demands: dict[str, Demand] = {}
        self._ready: list[_Rank] = []
        self._waiting: dict[str, list[_Rank]] = {}
        #: For a task that has waited: the resource that became free.
        self._woken: dict[str, str] = {}
        self._order = 0
        self._count = 0

    def __len__(self) -> int:
        return self._count

    @property
    def unlimited(self) -> int:
        """How many of the tasks take no resources."""
        return self._count - len(self._demands)

    def push(self, key: str, priority: float, demand: Demand = ()) -> None:
        """Add a task."""
        self._order += 1
        self._count += 1
        if demand:
            self._demands[key] = demand
        heapq.heappush(self._ready, (-priority, self._order, key))

    def take(self, room: Room, seconds: Callable[[str], float]) -> list[str]:
        """Take out the best tasks, as many as there is room for, as `pop` does; `seconds` says how long one may run.

        A task that takes resources is taken alone: among others it would hold them while it waits for its turn.
        """
        taken: list[str] = []
        left = room.seconds
        while len(taken) < room.tasks and (best := self._best()) is not None:
            is_alone, expected = best[2] in self._demands, seconds(best[2])
            if (is_alone or expected > left) if taken else expected > room.seconds_alone:
                break
            self._take_out(best)
            taken.append(best[2])
            left -= expected
            if is_alone:
                break
        return taken

    def pop(self) -> str | None:
        """Take out the best task whose resources are free, and reserve these; None if all wait."""
        best = self._best()
        if best is None:
            return None
        self._take_out(best)
        return best[2]

    def _best(self) -> _Rank | None:
        """The best task whose resources are free, which is the first one then; None if all wait."""
        while self._ready:
            rank = self._ready[0]
            demand = self._demands.get(rank[2])
            lacking = None if demand is None else self._lacking(rank, demand)
            if lacking is None:
                return rank
            heapq.heappop(self._ready)
            heapq.heappush(self._waiting.setdefault(lacking, []), rank)
            woken_by = self._woken.pop(rank[2], None)
            if woken_by is not None and woken_by != lacking:
                self._wake(woken_by)
        return None

    def _take_out(self, best: _Rank) -> None:
        heapq.heappop(self._ready)
        self._count -= 1
        key = best[2]
        demand = self._demands.pop(key, None)
        if demand is None:
            return
        self._resources.take(key, demand)
        woken_by = self._woken.pop(key, None)
        if woken_by is not None:
            self._wake(woken_by)

    def give_back(self, key: str, amounts: Mapping[str, float] | None = None) -> None:
        """Free what a task takes, all or some of it, and let the best of those that wait for it try again."""
        for name in self._resources.give_back(key, amounts):
            self._wake(name)

    def _lacking(self, rank: _Rank, demand: Demand) -> str | None:
        """The first resource that is used up, or that a better task waits for."""
        for name, amount in demand:
            waiting = self._waiting.get(name)
            if not self._resources.has_free(name, amount) or (waiting and waiting[0] < rank):
                return name
        return None

    def _wake(self, name: str) -> None:
        """Let the best task that waits for a resource try again; it wakes the next one when it goes on."""
        waiting = self._waiting.get(name)
        if waiting:
            rank = heapq.heappop(waiting)
            self._woken[rank[2]] = name
            heapq.heappush(self._ready, rank)


class Timeouts:
    """The clocks of the running tasks with a time limit."""

    def __init__(self) -> None:
        self._limits: dict[str, float] = {}
        self._ends: dict[str, float] = {}
        self._warned = False

    def __bool__(self) -> bool:
        """Whether any task has a time limit."""
        return bool(self._limits)

    def limit(self, key: str, seconds: float) -> None:
        """Give a task so many seconds from its start."""
        self._limits[key] = seconds

    def has_limit(self, key: str) -> bool:
        """Whether a task has a time limit."""
        return key in self._limits

    def start(self, key: str) -> None:
        """A task starts to run."""
        seconds = self._limits.get(key)
        if seconds is not None:
            self._ends[key] = time.monotonic() + seconds

    def forget(self, key: str) -> None:
        """A task has ended."""
        self._ends.pop(key, None)

    def wait(self) -> float | None:
        """Seconds until the next time limit is over; None without any."""
        return max(0.0, min(self._ends.values()) - time.monotonic()) if self._ends else None

    def expired(self) -> list[tuple[str, float]]:
        """The tasks whose time is over, each with its limit in seconds; their clocks are removed."""
        now = time.monotonic()
        keys = [key for key, end in self._ends.items() if end <= now]
        for key in keys:
            del self._ends[key]
        return [(key, self._limits[key]) for key in keys]

    def warn_of_no_effect(self, task: luigi.Task) -> None:
        """Warn once that tasks cannot be ended where they run."""
        if not self._warned:
            self._warned = True
            warnings.warn(
                f'{type(task).__name__}.worker_timeout has no effect: only tasks in worker processes can be ended; '
                "build with workers=2 or executor='processes'.",
                stacklevel=3,
            )


#: Errors that another try would raise again.
_FINAL = (TransportError, RequirementError, CyclicRequirementsError)
#: luigi's scheduler forgets failures that are older than this many seconds.
_DISABLE_WINDOW = 3600
#: By default it tries again after so many seconds.
_RETRY_DELAY = 900.0
#: Seconds between two looks for what is missing, at least.
_LEAST_PATIENCE = 0.01


@dataclass(slots=True)
class _Failures:
    first: float
    recent: deque[float] = field(default_factory=deque)


class Retries:
    """Decides whether and when a failed task is tried again.

    luigi's settings count: a task's own, or else those of ``[scheduler]`` in luigi's configuration.

    A task is run `retry_count` times at most. Without such a setting it is run once, as by `luigi.build`. A failure
    that is older than `disable_window` seconds does not count; no try begins later than `disable_hard_timeout` seconds
    after the first failure. Tries begin `retry_delay` seconds after a failure, by default at once.

    With ``[worker] keep_alive`` external tasks that are looked for again are waited for without such a limit.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._failures: dict[str, _Failures] = {}
        self._count: float | None = _setting('retry_count')
        self._window: float | None = _setting('disable_window')
        self._hard_timeout: float | None = _setting('disable_hard_timeout')
        delay = _setting('retry_delay')
        self._delay: float = delay or 0
        self._patience = _RETRY_DELAY if delay is None else max(delay, _LEAST_PATIENCE)

    def delay(self, key: str, task: luigi.Task, error: BaseException) -> float | None:
        """Count a failure; gives the seconds to wait before the next try, or None for no further try.

        Raises `TaskSettingError` when a setting of the task is not a number.
        """
        count = _own(task, 'retry_count', self._count)
        if self._delay < 0 or isinstance(error, _FINAL):
            return None
        if count is None:
            return self._patience if isinstance(error, ExternalTaskMissingError) and _keeps_alive() else None
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
        raise TaskSettingError(f"{name} in [scheduler] of luigi's configuration is not a number: {value!r}.") from None
