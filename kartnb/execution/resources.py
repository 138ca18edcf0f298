"""luigi's resources, and the queue of ready tasks: a task runs while nobody else takes what it needs."""

from __future__ import annotations

import heapq
import math
from collections.abc import Mapping
from typing import Any, TypeAlias

import luigi

from kartnb.errors import TaskSettingError

#: What a task takes of each resource while it runs.
Demand: TypeAlias = tuple[tuple[str, float], ...]

#: The rank of a ready task: higher priority first, then first come, first served.
_Rank: TypeAlias = tuple[float, int, str]


class Resources:
    """How much of each resource there is, and how much of it running tasks take.

    Parameters
    ----------
    limits
        How much there is; of a resource that has no limit there is 1 (luigi's rule).
    """

    def __init__(self, limits: Mapping[str, float]) -> None:
        self._limits = limits
        self._used: dict[str, float] = {}
        self._held: dict[str, dict[str, float]] = {}

    @classmethod
    def configured(cls) -> Resources:
        """With the limits of the section ``[resources]`` of luigi's configuration.

        Raises
        ------
        TaskSettingError
            When one of them is no number.
        """
        try:
            limits = dict(luigi.configuration.get_config().getintdict('resources'))
        except ValueError as error:
            raise TaskSettingError(
                f"A limit in [resources] of luigi's configuration is no whole number: {error}"
            ) from None
        for name, limit in limits.items():
            if not _is_amount(limit):
                raise TaskSettingError(f"The limit of {name} in [resources] of luigi's configuration is {limit!r}.")
        return cls(limits)

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
        """A task has ended, or gives some of what it takes back while it runs; the names of what is freer now."""
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
    """What a task takes.

    Raises
    ------
    TaskSettingError
        When it asks for what makes no sense, or for more than there is.
    """
    asked = task.process_resources()
    if not asked:
        return ()
    name = type(task).__name__
    if not isinstance(asked, Mapping):
        raise TaskSettingError(f'{name}.resources is {asked!r:.80}: write a dict of amounts, such as {{"gpu": 1}}.')
    for resource, amount in asked.items():
        if not _is_amount(amount):
            raise TaskSettingError(
                f'{name} takes {amount!r:.40} of the resource {resource!r}: the amount is a number from 0.'
            )
        if amount > resources.limit(resource):
            raise TaskSettingError(
                f'{name} takes {amount} of the resource {resource!r}, of which there is {resources.limit(resource)}: '
                f"raise {resource} in the section [resources] of luigi's configuration."
            )
    return tuple((resource, amount) for resource, amount in asked.items() if amount)


def _is_amount(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < math.inf


class ReadyQueue:
    """The tasks that are ready to run, best first: one of higher priority keeps others off the resource it waits for.

    Parameters
    ----------
    resources
        What the tasks take.
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

    def push(self, key: str, priority: float, demand: Demand = ()) -> None:
        """Add a task."""
        self._order += 1
        self._count += 1
        if demand:
            self._demands[key] = demand
        heapq.heappush(self._ready, (-priority, self._order, key))

    def pop(self) -> str | None:
        """Take out the best task whose resources are free, and take these; None when there is none now."""
        while self._ready:
            rank = heapq.heappop(self._ready)
            key = rank[2]
            demand = self._demands.get(key)
            if demand is None:
                self._count -= 1
                return key
            lacking = self._lacking(rank, demand)
            if lacking is None:
                self._resources.take(key, demand)
            else:
                heapq.heappush(self._waiting.setdefault(lacking, []), rank)
            woken_by = self._woken.pop(key, None)
            if woken_by is not None and woken_by != lacking:
                self._wake(woken_by)
            if lacking is None:
                self._count -= 1
                del self._demands[key]
                return key
        return None

    def give_back(self, key: str, amounts: Mapping[str, float] | None = None) -> None:
        """A task has ended, or gives back some of what it takes."""
        for name in self._resources.give_back(key, amounts):
            self._wake(name)

    def _lacking(self, rank: _Rank, demand: Demand) -> str | None:
        """The first resource that is taken, or that a better task waits for."""
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
