"""Results that are kept in this process and nowhere else (gokart's `in_memory`)."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any, ClassVar

from kartnb.errors import MissingResultError
from kartnb.storage.locks import TaskLockParams, make_task_lock_params
from kartnb.storage.targets import TargetOnKart


class InMemoryCacheRepository:
    """The values of this process by key; all instances share them, as in gokart.

    Examples
    --------
    >>> repository = InMemoryCacheRepository()
    >>> repository.set_value('numbers', [1, 2])
    >>> repository.get_value('numbers')
    [1, 2]
    >>> repository.remove('numbers')
    >>> repository.has('numbers')
    False
    """

    _cache: ClassVar[dict[str, tuple[Any, datetime]]] = {}

    def get_value(self, key: str) -> Any:
        """Give a value; KeyError when there is none."""
        return self._cache[key][0]

    def get_last_modification_time(self, key: str) -> datetime:
        """When a value was set, in local time; KeyError when there is none."""
        return self._cache[key][1]

    def set_value(self, key: str, obj: Any) -> None:
        """Keep a value; it is not copied."""
        self._cache[key] = (obj, datetime.now())

    def has(self, key: str) -> bool:
        """Whether there is a value."""
        return key in self._cache

    def remove(self, key: str) -> None:
        """Forget a value; AssertionError when there is none, as in gokart."""
        if key not in self._cache:
            raise AssertionError(f'{key} does not exist.')
        del self._cache[key]

    def empty(self) -> bool:
        """Whether there is nothing."""
        return not self._cache

    def clear(self) -> None:
        """Forget everything."""
        self._cache.clear()

    def get_gen(self) -> Iterator[tuple[str, Any]]:
        """Keys and values."""
        for key, (value, _) in self._cache.items():
            yield key, value

    @property
    def size(self) -> int:
        """How many values there are."""
        return len(self._cache)


class InMemoryTarget(TargetOnKart):
    """A result in the memory of this process. Tasks that make or need one run in the process that builds.

    Parameters
    ----------
    data_key
        Its key.
    task_lock_param
        Must ask for no lock.

    Raises
    ------
    ValueError
        When it asks for a lock: one for other processes makes no sense here.
    """

    def __init__(self, data_key: str, task_lock_param: TaskLockParams) -> None:
        if task_lock_param.should_task_lock:
            raise ValueError('An InMemoryTarget cannot be locked by Redis: leave redis_host and redis_port out.')
        self._data_key = data_key
        self._task_lock_params = task_lock_param
        self._repository = InMemoryCacheRepository()

    def _exists(self) -> bool:
        return self._repository.has(self._data_key)

    def _get_task_lock_params(self) -> TaskLockParams:
        return self._task_lock_params

    def _load(self) -> Any:
        if not self._exists():
            raise MissingResultError(f'{self._data_key} is not in memory: it was made in another process, or not yet.')
        return self._repository.get_value(self._data_key)

    def _dump(
        self,
        obj: Any,
        task_params: dict[str, str] | None = None,
        custom_labels: dict[str, str] | None = None,
        required_task_outputs: Any = None,
    ) -> None:
        self._repository.set_value(self._data_key, obj)

    def _remove(self) -> None:
        self._repository.remove(self._data_key)

    def _last_modification_time(self) -> datetime:
        if not self._exists():
            raise ValueError(f'{self._data_key} is not in memory.')
        return self._repository.get_last_modification_time(self._data_key)

    def _path(self) -> str:
        return self._data_key


def make_in_memory_target(target_key: str, task_lock_params: TaskLockParams | None = None) -> InMemoryTarget:
    """Give the target of a key.

    Parameters
    ----------
    target_key
        For instance the unique id of the task.
    task_lock_params
        None, or parameters that ask for no lock.

    Examples
    --------
    >>> target = make_in_memory_target('words')
    >>> target.dump(['a', 'b'])
    >>> target.load()
    ['a', 'b']
    """
    return InMemoryTarget(target_key, task_lock_params or make_task_lock_params(target_key, None))
