"""Targets: a result with its place and format, in a file or in memory, and the metadata of objects in the cloud."""

from __future__ import annotations

import contextlib
import errno
import functools
import io
import json
import os
import re
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from datetime import datetime
from typing import IO, Any, ClassVar

import luigi
import luigi.format

from kartnb.errors import (
    KartError,
    MissingPackageError,
    MissingResultError,
    StorageError,
    UnloadedResultError,
    UnreadableResultError,
    described,
)
from kartnb.storage import locks
from kartnb.storage.files import storage_error
from kartnb.storage.filesystem import at_home, file_system, has_other_disk
from kartnb.storage.formats.base import FileProcessor, make_file_processor
from kartnb.storage.locks import TaskLockParams, make_task_lock_params

_BYTES = luigi.format.Nop
_MOST_BYTES = 8 * 1024  # Google's limit for one object
#: Bytes of a result that are read without its being asked for.
_MOST_PEEKED = 64 << 20
_LOGS = re.compile(
    r'^gs://.+?/log/(processing_time|task_info|task_log|module_versions|random_seed|task_params|run_record)/'
)


#: Whether a run goes on here that holds the lock of its task.
runs_alone: ContextVar[bool] = ContextVar('kartnb_runs_alone', default=False)


class TargetOnKart(luigi.Target):
    """A result that can be loaded and dumped. Derive from it and define the methods that start with an underscore."""

    @property
    def is_plain_file(self) -> bool:
        """Whether the result exists where its path exists, so that a directory listing answers `exists`."""
        return False

    @property
    def is_read_by_kartnb(self) -> bool:
        """Whether kartnb itself makes the value of the file, so that equal files are equal values."""
        return False

    def exists(self) -> bool:
        """Whether the result has been made."""
        return self._exists()

    def load(self) -> Any:
        """Return the result.

        Raises MissingResultError (also a FileNotFoundError) when it has not been made, and UnreadableResultError when
        its file cannot be read.
        """
        lock = self._lock()
        if lock is not None:
            locks.wait(lock)
        return self._load()

    def peek(self) -> Any:
        """Return the result as far as it can be read without running code that its file may bring along.

        Parts that are not plain are `kartnb.storage.peek.Unread`. Raises MissingResultError when it has not been made,
        and UnloadedResultError when it has to be loaded.
        """
        raise UnloadedResultError(f'{self.path()} has to be loaded: its target is a {type(self).__name__}', self.path())

    def dump(
        self,
        obj: Any,
        lock_at_dump: bool = True,
        task_params: dict[str, str] | None = None,
        custom_labels: dict[str, str] | None = None,
        required_task_outputs: Any = None,
    ) -> None:
        """Keep a result.

        With `lock_at_dump`, the lock is taken if there is one; then a result that another process made meanwhile is
        kept. `task_params`, `custom_labels` and `required_task_outputs` are written as metadata to Google Cloud
        Storage, and nowhere else.
        """
        lock = self._lock() if lock_at_dump else None
        if lock is None:
            self._dump(obj, task_params, custom_labels, required_task_outputs)
            return
        with locks.hold(lock):
            # a run that has its task to itself replaces what is there
            if runs_alone.get() or not self.exists():
                self._dump(obj, task_params, custom_labels, required_task_outputs)

    def remove(self) -> None:
        """Remove the result, if it has been made."""
        if self.exists():
            with locks.hold(self._get_task_lock_params()):
                self._remove()

    def undo_point(self) -> Callable[[], None] | None:
        """What removes the result of a run that fails, where it is not a plain file; None where nothing need be done.

        It is asked for before the run, and called after it.
        """
        if self.is_plain_file:
            return None
        return None if self.exists() else self._remove_if_made

    def _remove_if_made(self) -> None:
        if self.exists():
            self._remove()

    def last_modification_time(self) -> datetime:
        """When the result was made."""
        return self._last_modification_time()

    def path(self) -> str:
        """The place of the result, as it was given."""
        return self._path()

    def __repr__(self) -> str:
        return f'{type(self).__name__}({self.path()!r})'

    def _lock(self) -> TaskLockParams | None:
        params = self._get_task_lock_params()
        return params if params.should_task_lock else None

    @abstractmethod
    def _exists(self) -> bool: ...

    @abstractmethod
    def _get_task_lock_params(self) -> TaskLockParams: ...

    @abstractmethod
    def _load(self) -> Any: ...

    @abstractmethod
    def _dump(
        self,
        obj: Any,
        task_params: dict[str, str] | None = None,
        custom_labels: dict[str, str] | None = None,
        required_task_outputs: Any = None,
    ) -> None: ...

    @abstractmethod
    def _remove(self) -> None: ...

    @abstractmethod
    def _last_modification_time(self) -> datetime: ...

    @abstractmethod
    def _path(self) -> str: ...


class FileTarget(TargetOnKart):
    """A result at a path; what targets of one file have in common."""

    _place: str
    _task_lock_params: TaskLockParams | None

    @property
    def is_plain_file(self) -> bool:
        """Whether the result exists where its path exists."""
        return True

    def _exists(self) -> bool:
        return file_system(self._place).exists(self._place)

    def _lock(self) -> TaskLockParams | None:
        return None if self._task_lock_params is None else super()._lock()

    def _get_task_lock_params(self) -> TaskLockParams:
        if self._task_lock_params is None:
            self._task_lock_params = make_task_lock_params(self._place, None)
        return self._task_lock_params

    def _remove(self) -> None:
        file_system(self._place).remove(self._place)

    def _last_modification_time(self) -> datetime:
        return file_system(self._place).modified(self._place)

    def _path(self) -> str:
        return self._place


def is_luigis_file(target: Any) -> bool:
    """Whether a target is luigi's for a file of this computer, which a task may write in place.

    It may also be a directory, which is not.
    """
    return (
        not has_other_disk()
        and isinstance(target, luigi.LocalTarget)
        and type(target).exists is luigi.LocalTarget.exists
        and not target.is_tmp
        and not os.path.isdir(at_home(str(target.path)))
    )


def is_rolled_back(target: Any) -> bool:
    """Whether a target is a file that a run without a result leaves as it was: one of kartnb's, or luigi's."""
    return bool(target.is_plain_file) if isinstance(target, TargetOnKart) else is_luigis_file(target)


class SingleFileTarget(FileTarget):
    """A result in one file (a path, or a luigi target), written and read by a processor."""

    def __init__(self, target: Any, processor: FileProcessor, task_lock_params: TaskLockParams | None = None) -> None:
        self._place: str = target if isinstance(target, str) else target.path
        # a target of another kind, such as luigi's for S3 or for tests, knows best how to reach its place
        self._luigi_target = None if isinstance(target, str) or type(target) is luigi.LocalTarget else target
        self._processor = processor
        self._task_lock_params = task_lock_params

    @property
    def _target(self) -> Any:
        # gokart's name for the luigi target, by which code opens the file
        return self._luigi_target or luigi.LocalTarget(self._place, format=self._processor.format())

    @property
    def is_plain_file(self) -> bool:
        """Whether the result exists where its path exists, and not in a luigi target of another kind."""
        return self._luigi_target is None

    @property
    def is_read_by_kartnb(self) -> bool:
        """Whether the processor of the file is one of kartnb's."""
        return type(self._processor).__module__.startswith('kartnb.')

    def _exists(self) -> bool:
        return super()._exists() if self._luigi_target is None else bool(self._luigi_target.exists())

    def _load(self) -> Any:
        with self._naming(), self._open_read() as file:
            return self._processor.load(file)

    def peek(self) -> Any:
        with self._naming():
            if self._luigi_target is not None or self._processor.format() not in (_BYTES, None):
                raise UnloadedResultError('has to be loaded')
            # whatever is in the place of the file, not more than this is read
            data: Any = io.BytesIO(file_system(self._place).read_small(self._place, _MOST_PEEKED))
            file = data if self._processor.format() is _BYTES else io.TextIOWrapper(data, encoding='utf-8')
            # processors that were written for gokart have none
            return getattr(self._processor, 'peek', _has_to_be_loaded)(file)

    @contextlib.contextmanager
    def _naming(self) -> Iterator[None]:
        """Give errors in reading the name of the file."""
        try:
            yield
        except (KartError, OSError) as error:
            named = _named(error, self._place)
            if named is error:
                raise
            raise named from error
        except Exception as error:
            raise _unreadable(error, self._place) from error

    def _dump(
        self,
        obj: Any,
        task_params: dict[str, str] | None = None,
        custom_labels: dict[str, str] | None = None,
        required_task_outputs: Any = None,
    ) -> None:
        check = getattr(self._processor, 'check', None)  # processors that were written for gokart have none
        if check is not None:
            check(obj)  # before anything is opened, so that a wrong value touches no file
        if self._luigi_target is not None:
            with self._luigi_target.open('w') as file:
                self._processor.dump(obj, file)
            return
        small = getattr(self._processor, 'small_bytes', _never)(obj)
        if small is not None:
            file_system(self._place).write_bytes(self._place, small)
        else:
            with file_system(self._place).writing(self._place, getattr(self._processor, 'buffering', -1)) as file:
                _dump_through(self._processor, obj, file)
        if has_labels(self._place):
            labels = object_labels(task_params, custom_labels, required_task_outputs)
            file_system(self._place).label(self._place, labels)

    def _remove(self) -> None:
        if self._luigi_target is not None:
            self._luigi_target.remove()
        else:
            super()._remove()

    def _open_read(self) -> Any:
        if self._luigi_target is not None:
            return self._luigi_target.open('r')
        file = file_system(self._place).open_read(self._place, getattr(self._processor, 'buffering', -1))
        kind = self._processor.format()
        if kind is _BYTES:
            return file
        if kind is None:
            return io.TextIOWrapper(file, encoding='utf-8')
        return kind.pipe_reader(file)


def _has_to_be_loaded(file: IO[Any]) -> Any:
    """The `peek` of processors that were written for gokart, which have none."""
    raise UnloadedResultError('has to be loaded')


def _never(obj: Any) -> None:
    """The `small_bytes` of processors that were written for gokart, which have none."""


def _dump_through(processor: FileProcessor, obj: Any, file: IO[bytes]) -> None:
    """Dump through the luigi format that a processor asks for."""
    kind = processor.format()
    if kind is _BYTES:
        processor.dump(obj, file)
    elif kind is None:
        text = io.TextIOWrapper(file, encoding='utf-8', newline='\n')
        processor.dump(obj, text)
        text.detach()  # or the file would be closed with it, before its owner renames it
    else:
        with kind.pipe_writer(_StaysOpen(file)) as wrapped:
            processor.dump(obj, wrapped)


class _StaysOpen:
    """A file that luigi's formats cannot close: its owner does, and renames it."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def __enter__(self) -> _StaysOpen:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._file.flush()


def _named(error: Exception, path: str) -> Exception:
    if isinstance(error, UnloadedResultError):
        return error if error.path else UnloadedResultError(f'{path} {error}', path)
    if isinstance(error, UnreadableResultError) and not error.path:
        return _unreadable(error, path)
    if isinstance(error, MissingPackageError):
        return MissingPackageError(f'{path} cannot be read: {error}')
    if isinstance(error, OSError) and not isinstance(error, StorageError):
        # a damaged file may ask for a position that no file has
        is_from_disk = error.errno not in (None, errno.EINVAL)
        return storage_error(error, path, 'read') if is_from_disk else _unreadable(error, path)
    return error


def _unreadable(error: Exception, path: str) -> UnreadableResultError | MissingPackageError:
    if isinstance(error, ModuleNotFoundError):
        if error.name is None:  # a module of gokart's that kartnb does not have, and says what to use instead
            return MissingPackageError(f'{path} holds a value of gokart that kartnb cannot load: {error}')
        return MissingPackageError(f'{path} holds a value that needs the module {error.name!r}, which is not installed')
    detail = str(error) if isinstance(error, KartError) else described(error)
    return UnreadableResultError(
        f'{path} cannot be read ({detail}): it is truncated or was not written as its extension says. '
        'Delete it, or build its task with rerun=True.',
        path,
    )


def add_unique_id(path: str, unique_id: str | None) -> str:
    """Put a unique id before the extension of a path.

    >>> add_unique_id('a.b/c.tar.gz', '0f')
    'a.b/c.tar_0f.gz'
    """
    if unique_id is None:
        return path
    base, extension = os.path.splitext(path)
    return f'{base}_{unique_id}{extension}'


def make_target(
    file_path: str,
    unique_id: str | None = None,
    processor: FileProcessor | None = None,
    task_lock_params: TaskLockParams | None = None,
    store_index_in_feather: bool = True,
) -> TargetOnKart:
    """Return the target for a file: a local path, or ``scheme://...``, used as it is.

    `unique_id` is put before the extension, by which the format is chosen if there is no `processor`.
    `store_index_in_feather` keeps the index of a pandas frame. Raises UnknownFormatError when no format has the
    extension.

    >>> make_target('resources/words.txt', 'e3b0')
    SingleFileTarget('resources/words_e3b0.txt')
    """
    path = add_unique_id(file_path, unique_id)
    if processor is None:
        processor = make_file_processor(path, store_index_in_feather)
    elif isinstance(processor, type):
        raise TypeError(f'processor is a class: make one, processor={processor.__name__}().')
    return SingleFileTarget(path, processor, task_lock_params)


class InMemoryCacheRepository:
    """The values of this process by key; all instances share them, as in gokart.

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
        """Return a value; raises KeyError when the key is not known."""
        return self._cache[key][0]

    def get_last_modification_time(self, key: str) -> datetime:
        """When a value was set, in local time; raises KeyError when the key is not known."""
        return self._cache[key][1]

    def set_value(self, key: str, obj: Any) -> None:
        """Keep a value; it is not copied."""
        self._cache[key] = (obj, datetime.now())

    def has(self, key: str) -> bool:
        """Whether there is a value."""
        return key in self._cache

    def entry(self, key: str) -> tuple[Any, datetime] | None:
        """A value with its time, None when the key is not known."""
        return self._cache.get(key)

    def put_back(self, key: str, entry: tuple[Any, datetime] | None) -> None:
        """Keep what `entry` gave, and forget the value when that was None."""
        if entry is None:
            self._cache.pop(key, None)
        else:
            self._cache[key] = entry

    def remove(self, key: str) -> None:
        """Forget a value; raises AssertionError when the key is not known, as gokart does."""
        if key not in self._cache:
            raise AssertionError(f'{key} does not exist.')
        del self._cache[key]

    def empty(self) -> bool:
        """Whether it holds no values."""
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

    #: Whether there is any: looking for them takes time.
    were_made: ClassVar[bool] = False

    def __init__(self, data_key: str, task_lock_param: TaskLockParams) -> None:
        InMemoryTarget.were_made = True
        if task_lock_param.should_task_lock:
            raise ValueError('An InMemoryTarget cannot be locked by Redis: leave redis_host and redis_port out.')
        self._data_key = data_key
        self._task_lock_params = task_lock_param
        self._repository = InMemoryCacheRepository()

    def _exists(self) -> bool:
        return self._repository.has(self._data_key)

    def peek(self) -> Any:
        """The result: it is in memory already."""
        return self._load()

    def _get_task_lock_params(self) -> TaskLockParams:
        return self._task_lock_params

    def undo_point(self) -> Callable[[], None]:
        """What brings back the value of now, or removes the one of the run."""
        repository, key = self._repository, self._data_key
        return functools.partial(repository.put_back, key, repository.entry(key))

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
    """Return the target of a key.

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


def has_labels(path: str) -> bool:
    """Whether an object gets metadata: those in Google Cloud Storage do, but not the logs.

    >>> has_labels('gs://bucket/module/Task_0f.pkl'), has_labels('gs://bucket/log/task_log/Task_0f.pkl')
    (True, False)
    """
    return path.startswith('gs://') and _LOGS.match(path) is None


def object_labels(
    task_params: Mapping[str, Any] | None = None,
    custom_labels: Mapping[str, Any] | None = None,
    required_task_outputs: Any = None,
) -> dict[str, str]:
    """Return the metadata of an object: at most 8 KiB of names and values, without the last ones where there are more.

    The user's own labels come first, and win where a parameter has the same name. `required_task_outputs` is what the
    task's inputs were made by, in any nesting of lists and dicts; objects with a ``serialize()`` too. Empty values are
    left out.

    >>> object_labels({'n': 1, 'empty': ''}, {'n': 'mine', 'owner': 'me'})
    {'n': 'mine', 'owner': 'me'}
    """
    outputs = (
        {'__required_task_outputs': json.dumps(_serialized(required_task_outputs))} if required_task_outputs else {}
    )
    labels: dict[str, str] = {}
    for source in (custom_labels or {}, task_params or {}, outputs):
        for name, value in source.items():
            if str(value):
                labels.setdefault(str(name), str(value))
    return _within_limit(labels)


def _serialized(outputs: Any) -> Any:
    if hasattr(outputs, 'serialize'):
        return outputs.serialize()
    if isinstance(outputs, Mapping):
        return {name: _serialized(output) for name, output in outputs.items()}
    if isinstance(outputs, list | tuple):
        return [_serialized(output) for output in outputs]
    return outputs


def _within_limit(labels: dict[str, str]) -> dict[str, str]:
    size = sum(len(name.encode()) + len(value.encode()) for name, value in labels.items())
    while size > _MOST_BYTES:
        name, value = labels.popitem()
        size -= len(name.encode()) + len(value.encode())
    return labels
