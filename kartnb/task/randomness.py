"""The random numbers of a task: its seed, and a generator of its own, which is the same in every executor.

The random states of `random`, numpy and torch belong to the process. Tasks that run beside each other in threads would
seed those of each other, so there nothing is seeded; a generator of the task's own needs no such state.
"""

from __future__ import annotations

import functools
import hashlib
import importlib
import operator
import sys
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.random import Generator

    from kartnb.task.base import TaskOnKart

#: Ids are reduced to what numpy.random.seed takes (gokart's rule).
_LARGEST_SEED = 2**32 - 1
#: Where a task keeps its generator; a run begins with a new one.
GENERATOR = '_rng'

#: Libraries that draw from the state of another one.
_DRAW_FROM = {'sklearn': 'numpy'}


def seed_of(task: TaskOnKart[Any]) -> int:
    """The seed of a task: its own setting, or else a number from its unique id (gokart's rule)."""
    if task.fix_random_seed_value != task.FIX_RANDOM_SEED_VALUE_NONE_MAGIC_NUMBER:
        return task.fix_random_seed_value
    unique_id = task.make_unique_id()
    try:
        return int(unique_id, 16) % _LARGEST_SEED
    except ValueError:  # an id of the class's own making
        return int(hashlib.md5(unique_id.encode(), usedforsecurity=False).hexdigest(), 16) % _LARGEST_SEED


def seed_with(methods: Iterable[str], seed: int) -> list[str]:
    """Call functions, given by their dotted names, with a seed; gives the names of those that exist."""
    return [name for name in methods if _give(name, seed)]


def _give(dotted_name: str, seed: int) -> bool:
    package, find = _finder(dotted_name)
    try:
        found: Any = find(sys.modules.get(package) or importlib.import_module(package))
    except (ImportError, AttributeError):
        return False
    found(seed)
    return True


@functools.cache
def _finder(dotted_name: str) -> tuple[str, Callable[[Any], Any]]:
    """The package of a function, and how to find the function in it."""
    package, _, attributes = dotted_name.partition('.')
    return package, operator.attrgetter(attributes) if attributes else lambda module: module


class TaskGenerator:
    """The attribute `rng` of tasks. A parameter or an attribute of this name takes its place."""

    # without `__set__`, so that what is on a task comes first
    def __get__(self, task: TaskOnKart[Any] | None, owner: Any = None) -> Generator:
        """The task's generator; the first draws of each run are the same."""
        if task is None:
            return self  # type: ignore[return-value]
        kept: Generator | None = vars(task).get(GENERATOR)
        if kept is None:
            from numpy.random import default_rng

            kept = vars(task)[GENERATOR] = default_rng(task._get_random_seed())
        return kept


def seeded_draws(draws: Iterable[str], seed_methods: Iterable[str]) -> list[str]:
    """Those of what draws from random states that the seeding functions, by their dotted names, would seed."""
    seeded = {name.partition('.')[0] for name in seed_methods}
    roots = ((name, name.partition('.')[0]) for name in draws)
    return [name for name, root in roots if _DRAW_FROM.get(root, root) in seeded]
