"""Seeding a task, and leaving the process's random state as it was found.

Seeds are process-wide. So a task is seeded only where nobody else draws numbers: inline in the main thread, or in a
worker process of its own. In another thread the task is not seeded, and its log says so.
"""

from __future__ import annotations

import functools
import importlib
import operator
import random
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kartnb.task.base import TaskOnKart

_LARGEST_SEED = 2**32 - 1
_thread = threading.local()


def seed_of(task: TaskOnKart[Any]) -> int:
    """The seed of a task: the one that it asks for, or else one that follows from its unique id (gokart's rule)."""
    if task.fix_random_seed_value != task.FIX_RANDOM_SEED_VALUE_NONE_MAGIC_NUMBER:
        return task.fix_random_seed_value
    return int(task.make_unique_id(), 16) % _LARGEST_SEED


def seed_for(task: TaskOnKart[Any]) -> dict[str, Any]:
    """Seed the process for a task.

    Returns
    -------
    dict
        ``seed``, and ``seed_methods``: the functions, by dotted name, that really were given it.
    """
    seed = seed_of(task)
    methods = task.fix_random_seed_methods if _is_ours() else ()
    return {'seed': seed, 'seed_methods': [name for name in methods if _give(name, seed)]}


@contextmanager
def seeding_allowed() -> Iterator[None]:
    """Within the block, this thread may seed: it is the only one that runs tasks in a worker process."""
    _thread.may_seed = True
    try:
        yield
    finally:
        _thread.may_seed = False


@contextmanager
def kept_random_state() -> Iterator[None]:
    """Put the random state of Python, numpy and torch back at the end; what is imported meanwhile starts afresh."""
    if not _is_ours():
        yield
        return
    state = random.getstate()
    keepers = {name: _KEEPERS[name](sys.modules[name]) for name in _KEEPERS if name in sys.modules}
    try:
        yield
    finally:
        random.setstate(state)
        for name in _KEEPERS:
            if name in keepers:
                keepers[name]()
            elif name in sys.modules:
                _RESEEDERS[name](sys.modules[name])


def seed_anew() -> None:
    """In a forked process: let it draw numbers of its own, where nobody seeds it. Python sees to `random` by itself."""
    for name, reseed in _RESEEDERS.items():
        if name in sys.modules:
            reseed(sys.modules[name])


def _is_ours() -> bool:
    return threading.current_thread() is threading.main_thread() or getattr(_thread, 'may_seed', False)


@functools.cache
def _finder(dotted_name: str) -> tuple[str, Callable[[Any], Any]]:
    """The package of a function, and how to find the function in it."""
    package, _, attributes = dotted_name.partition('.')
    return package, operator.attrgetter(attributes) if attributes else lambda module: module


def _give(dotted_name: str, seed: int) -> bool:
    package, find = _finder(dotted_name)
    try:
        found: Any = find(sys.modules.get(package) or importlib.import_module(package))
    except (ImportError, AttributeError):
        return False
    found(seed)
    return True


def _keep_numpy(numpy: Any) -> Callable[[], None]:
    state = numpy.random.get_state()
    return lambda: numpy.random.set_state(state)


def _keep_torch(torch: Any) -> Callable[[], None]:
    state = torch.random.get_rng_state()
    return lambda: torch.random.set_rng_state(state)


_KEEPERS: dict[str, Callable[[Any], Callable[[], None]]] = {'numpy': _keep_numpy, 'torch': _keep_torch}
_RESEEDERS: dict[str, Callable[[Any], object]] = {
    'numpy': lambda numpy: numpy.random.seed(),
    'torch': lambda torch: torch.seed(),
}
