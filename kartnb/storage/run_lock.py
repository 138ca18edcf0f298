"""Which run has a task: one file a task is first the intent and the lock of its run, and in the end its record.

``<Class>_<unique id>~running.json`` lies beside the records. A run locks it, writes into it what it is going to do, and
at the end writes its record into it and renames it. The system releases the lock when the process dies. So a file of
that name that nobody has locked is of a run that was broken off: what lies in the places of the task is not a result.

Object stores and some network disks have no locks. There each run has a file of its own,
``…~running-<result id>.json``, and two builds at the same time may run a task twice.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import json
import os
import platform
import threading
import time
from dataclasses import dataclass
from json.encoder import encode_basestring
from typing import Any

from kartnb.errors import KartError, StorageError
from kartnb.storage.files import is_process_alive, process_mark, raise_storage_error
from kartnb.storage.filesystem import (
    at_home,
    file_system,
    is_durable,
    make_directory,
    sync,
    sync_directory,
)
from kartnb.storage.locks import NETWORK_DISKS, file_system_type, has_no_locks, is_locked, try_lock

RUNNING = 'running'
_SUFFIX = f'~{RUNNING}.json'
_MOST_BYTES = 1 << 20
_TAKE_OVER_TRIES = 1000
#: Whose process is unknown, counts as ended after so many seconds.
_LONGEST_RUN = 7 * 24 * 3600.0
#: Later than any change of a file, in nanoseconds.
_NEVER = 1 << 63
_AS_IT_IS = getattr(os, 'O_BINARY', 0)
_OLD = os.O_RDWR | _AS_IT_IS
_NEW = _OLD | os.O_CREAT | os.O_EXCL
#: Where a file that is open cannot be renamed, the lock lies beside it.
_LOCKS_BESIDE = os.name == 'nt'
_HAS_PWRITE = hasattr(os, 'pwrite')
_SETS_TIMES_OF_OPEN_FILES = os.utime in os.supports_fd


class TaskLocksItselfError(KartError, RuntimeError):
    """A running task builds itself, and would wait for its own end."""


@dataclass(frozen=True, slots=True)
class Holder:
    """The process that runs a task."""

    pid: int = 0
    host: str = ''
    notebook: str = ''
    #: When the run began, in epoch seconds; 0 when it is unknown.
    since: float = 0.0

    def __str__(self) -> str:
        if not self.pid:
            return f'another process ({self.host})' if self.host else 'another process'
        where = f' on {self.host}' if self.host else ''
        notebook = f' ({os.path.basename(self.notebook)})' if self.notebook else ''
        since = time.strftime(', since %H:%M', time.localtime(self.since)) if self.since else ''
        if (self.pid, self.host) == (os.getpid(), platform.node()):
            return f'another build of this process{since}'
        return f'pid {self.pid}{where}{notebook}{since}'


@dataclass(frozen=True, slots=True)
class Intent:
    """What a run said, when it began, that it was going to do."""

    holder: Holder = Holder()
    #: Where its process runs: of the same mark, its pid says whether it lives.
    process: str = ''
    writes: tuple[str, ...] = ()  #: The files of the result.
    replaces: str = ''  #: The id of the result that is set aside, or ''.

    @property
    def is_written(self) -> bool:
        """Whether it was written whole: else its run has not begun."""
        return self.holder.pid != 0

    def is_dead(self) -> bool | None:
        """Whether its process has ended; None when that cannot be told."""
        if self.process and self.process == process_mark():
            return not is_process_alive(self.holder.pid)
        return True if self.holder.since and time.time() - self.holder.since > _LONGEST_RUN else None


def intent_text(writes: tuple[str, ...], replaces: str, notebook: str) -> str:
    """What a run of this process writes into its file before it begins: the beginning of a JSON object, in one line."""
    # not the whole as one object: encoding a text alone takes a tenth of the time
    paths = ', '.join(map(encode_basestring, writes))
    head = _head(notebook)
    return f'{head}"writes": [{paths}], "replaces": "{replaces}", "since": {time.time()!r}}}{_END}'


_BEGINNING, _END = '{"intent": ', ',\n'
_encoded = json.JSONEncoder(ensure_ascii=False).encode


@functools.lru_cache(maxsize=4)
def _head(notebook: str) -> str:
    words = {'pid': os.getpid(), 'host': platform.node(), 'process': process_mark(), 'notebook': notebook}
    return f'{_BEGINNING}{_encoded(words)[:-1]}, '


def read_intent(data: bytes) -> Intent | None:
    """The intent in a file; None for anything else, such as half of one: anybody may have written there.

    >>> read_intent(b'[1]') is None
    True
    """
    text = data.partition(b'\n')[0].decode('utf-8', 'replace') + '\n'
    if not text.startswith(_BEGINNING) or not text.endswith(_END):
        return None
    try:
        words: Any = json.loads(text[len(_BEGINNING) : -len(_END)])
        holder = Holder(int(words['pid']), str(words['host']), str(words['notebook']), float(words['since']))
        writes = tuple(words['writes'])
        if not all(isinstance(text, str) for text in (words['process'], *writes)):
            return None
        return Intent(holder, words['process'], writes, _checked_id(words['replaces']))
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
        return None


def _checked_id(text: Any) -> str:
    if not isinstance(text, str) or (text and not (text.isalnum() and text.isascii())):
        raise ValueError('not the id of a result')
    return text


def intent_at(path: str) -> Intent:
    """What the run of a file has said, in a directory without locks."""
    try:
        data = file_system(path).read_bytes(path)
    except (OSError, KartError):
        return Intent()
    return read_intent(data) or Intent()


def is_intent(suffix: str) -> bool:
    """Whether the part of a file's name after ``~`` is that of a run under way."""
    return suffix.startswith(RUNNING)


def lock_path(directory: str, stem: str) -> str:
    """The file that is locked while a task runs."""
    return f'{directory}/{stem}{_SUFFIX}'


class RunLock:
    """The lock of a task while this process has it, and the file that becomes its record."""

    #: Whether no other process can have it at the same time.
    is_exclusive = True

    def __init__(
        self, directory: str, path: str, descriptor: int, status: os.stat_result, was_there: bool, beside: Any = None
    ) -> None:
        self.directory = directory
        self.path = path
        #: The run before has left its file: it was broken off.
        self.was_broken = was_there
        self.thread = threading.get_ident()
        self.build_id = ''
        #: Whether other runs of its thread go on meanwhile: it is a coroutine of an event loop.
        self.is_interleaved = False
        #: Whether this is a process that a task has forked: the run is its parent's.
        self.is_of_parent = False
        #: Of the open file; less than 0 when it has been closed.
        self._descriptor = descriptor
        self._file = status.st_dev, status.st_ino
        self._beside = beside
        self._head = 0
        self._size = status.st_size
        #: When this run has begun, or the one before as long as it has not: in nanoseconds, by the disk's clock.
        #: It is 0 when that is unknown.
        self.begun = _changed(status)

    def earlier(self) -> Intent:
        """What the run that was broken off has said; nothing if that was not written whole, for then it did nothing."""
        head, separator, rest = _read(self.path).partition(b'\n')
        intent = read_intent(head + separator)
        if intent is None:
            return Intent()
        if not intent.writes:
            self.begun = _NEVER
        elif rest:  # its record was being written: the results are older than the last change of the file
            self.begun = 0
        return intent

    def announce(self, text: str) -> None:
        """Write down what the run is going to do: the first line."""
        data = text.encode('utf-8', 'backslashreplace')
        self._write(data, 0)
        self._head = len(data)
        if self.was_broken:
            self.begun = _changed(os.fstat(self._descriptor))

    def finish(self, name: str, text: str, moment: float | None = None) -> None:
        """Let the file be the record of this name, with this time of its last change; the lock is released.

        What the run has announced stays the first line, which is readable whatever happens meanwhile, and the record
        goes on from there: together they are one JSON object.
        """
        target = f'{self.directory}/{name}'
        try:
            self._write((text[1:] if self._head else text).encode('utf-8'), self._head)
            if is_durable():
                sync(self._descriptor)
            if moment is not None:
                try:
                    os.utime(self._descriptor if _SETS_TIMES_OF_OPEN_FILES else self.path, (moment, moment))
                except OSError:  # the times say less than the record
                    pass
            if self._beside is not None:
                self._close_file()
            os.replace(self.path, target)
        except FileNotFoundError as error:
            gone = f'{target} cannot be written: its directory was removed or renamed while the task ran; build again.'
            raise StorageError(gone, target, error.errno) from error
        except OSError as error:
            raise_storage_error(error, target, 'written')
        self._close()
        if is_durable():
            sync_directory(self.directory)

    def release(self) -> None:
        """Remove the file and release the lock: nothing of this run is left. After `finish` it does nothing."""
        if _held.get(self.path) is not self:
            return
        with contextlib.suppress(OSError):
            if self._beside is not None:
                self._close_file()
            os.unlink(self.path)
        self._close()

    def abandon(self) -> None:
        """Release the lock and leave the file: it says that the run was broken off. After `finish` it does nothing."""
        if _held.get(self.path) is self:
            self._close()

    def _close(self) -> None:
        if _held.get(self.path) is self:
            del _held[self.path]
        self._close_file()
        if self._beside is not None:
            self._beside.release()
            self._beside = None

    def _close_file(self) -> None:
        is_own = self._has_its_file()
        descriptor, self._descriptor = self._descriptor, -1
        if is_own:
            try:
                os.close(descriptor)
            except OSError:  # such as one of a network disk that is gone: it is closed all the same
                pass

    def _has_its_file(self) -> bool:
        """Whether its file is open: a task may have closed it, and the descriptor be that of another file by now."""
        if self._descriptor < 0:
            return False
        try:
            status = os.fstat(self._descriptor)
        except OSError:
            return False
        return (status.st_dev, status.st_ino) == self._file

    def _write(self, data: bytes, at: int) -> None:
        if self._descriptor >= 0 and not self._has_its_file():
            raise StorageError(
                f'{self.path} was closed while its task ran: a task may close only the file descriptors that it has '
                'opened (os.closerange closes others too).',
                self.path,
                errno.EBADF,
            )
        try:
            if self._descriptor < 0:  # where an open file cannot be renamed, and the renaming has failed
                self._descriptor = os.open(self.path, _OLD)
            descriptor = self._descriptor
            if self._size > at:
                os.ftruncate(descriptor, at)
            self._size = at + len(data)
            if _HAS_PWRITE:
                done = os.pwrite(descriptor, data, at)
            else:
                os.lseek(descriptor, at, os.SEEK_SET)
                done = os.write(descriptor, data)
            if done < len(data):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as error:
            raise_storage_error(error, self.path, 'written')


class RunMark:
    """The file of a run where nothing can be locked; two processes may have one of a task at the same time."""

    is_exclusive = False

    def __init__(self, directory: str, stem: str, result_id: str, was_broken: bool) -> None:
        self.directory = directory
        self.path = f'{directory}/{stem}~{RUNNING}-{result_id}.json'
        self.was_broken = was_broken
        self.thread = threading.get_ident()
        self.build_id = ''
        self._pid = os.getpid()
        self.begun = 0
        self._is_written = False

    @property
    def is_of_parent(self) -> bool:
        """Whether this is a process that a task has forked: the run is its parent's."""
        return self._pid != os.getpid()

    def earlier(self) -> Intent:
        """Of runs that were broken off only the names are known."""
        return Intent()

    def announce(self, text: str) -> None:
        """Write down what the run is going to do."""
        self._is_written = True
        file_system(self.path).write_bytes(self.path, text.encode('utf-8', 'backslashreplace'), self.directory)

    def finish(self, name: str, text: str, moment: float | None = None) -> None:
        """Write the record, and remove the file of the run."""
        files = file_system(self.path)
        target = f'{self.directory}/{name}'
        files.write_bytes(target, text.encode('utf-8'), scratch=self.directory)
        if moment is not None:
            files.set_time(target, moment)
        self.release()

    def release(self) -> None:
        """Remove the file of the run."""
        if self._is_written:
            with contextlib.suppress(OSError):
                file_system(self.path).remove(self.path)
        self._is_written = False

    def abandon(self) -> None:
        """Leave the file: it says that the run was broken off."""


#: Those that this process has, by path.
_held: dict[str, RunLock] = {}
#: The builds of this process that have not ended.
_builds: set[str] = set()


def _forget_all() -> None:
    """In a forked process: it has the open files too, and would hold the locks of its parent."""
    for lock in list(_held.values()):
        lock.is_of_parent = True
        lock._close_file()
    _held.clear()
    _builds.clear()
    _head.cache_clear()


if hasattr(os, 'register_at_fork'):
    os.register_at_fork(after_in_child=_forget_all)


def build_begins(build_id: str) -> None:
    """Locks that are taken for this build are held until they are released, or the build ends."""
    _builds.add(build_id)


def build_ends(build_id: str) -> None:
    """Give up all locks of a build that an interrupt may have left; their runs count as broken off."""
    _builds.discard(build_id)
    for lock in [lock for lock in list(_held.values()) if lock.build_id == build_id]:
        lock.abandon()


def lock_run(
    directory: str,
    stem: str,
    result_id: str,
    build_id: str = '',
    marks: tuple[str, ...] = (),
    interleaved: bool = False,
) -> RunLock | RunMark | Holder:
    """Take the lock of a task, or give its holder.

    `marks` are the names of files of runs under way that are known in a directory without locks. Other runs of this
    thread go on meanwhile if they are `interleaved`.

    Raises StorageError when the directory cannot be written, and TaskLocksItselfError when this thread has the lock and
    would wait for itself.
    """
    if not file_system(directory).has_locks or directory in _lockless:
        return RunMark(directory, stem, result_id, bool(marks))
    directory = at_home(directory)
    path = lock_path(directory, stem)
    try:
        for _ in range(_TAKE_OVER_TRIES):
            found = _beside(directory, path) if _LOCKS_BESIDE else _within(directory, path)
            if isinstance(found, RunLock):
                found.build_id, found.is_interleaved = build_id, interleaved
                _held[path] = found
                return found
            if found is not None and not _freed(path, interleaved):
                return found
    except OSError as error:
        if not has_no_locks(error):
            raise_storage_error(error, path, 'written')
        _lockless.add(directory)
        with contextlib.suppress(OSError):
            os.unlink(path)
        return lock_run(directory, stem, result_id, build_id, marks, interleaved)
    return Holder()


#: Directories on disks without locks.
_lockless: set[str] = set()


def _within(directory: str, path: str) -> RunLock | Holder | None:
    """The lock by the file itself, or its holder; None when the file has just become a record."""
    was_there = False
    try:
        descriptor = os.open(path, _NEW, 0o666)
    except FileExistsError:
        was_there = True
        try:
            descriptor = os.open(path, _OLD)
        except FileNotFoundError:
            return None
    except FileNotFoundError:
        make_directory(directory)
        return None
    lock = None
    try:
        if not try_lock(descriptor):
            return _holder_in(os.pread(descriptor, _MOST_BYTES, 0))
        status = os.fstat(descriptor)
        if _is_at(path, status, was_there):
            # another process may have opened a new file too, locked it first, begun its run and died
            lock = RunLock(directory, path, descriptor, status, was_there or status.st_size > 0)
        return lock
    finally:
        if lock is None:
            os.close(descriptor)


def _is_at(path: str, own: os.stat_result, was_there: bool) -> bool:
    """Whether an open file is still the one of this name: its holder may have renamed it meanwhile."""
    if not was_there and own.st_size == 0:  # nobody has used it since it was made, unless it was removed
        return own.st_nlink == 1
    try:
        there = os.stat(path)
    except FileNotFoundError:
        return False
    return there.st_ino == own.st_ino and there.st_dev == own.st_dev


def _beside(directory: str, path: str) -> RunLock | Holder | None:
    """The lock by a file beside the one of the run, or its holder."""
    from filelock import FileLock, Timeout

    make_directory(directory)
    lock = FileLock(f'{path}.lock', thread_local=False)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return _holder_in(_read(path))
    try:
        was_there = os.path.exists(path)
        descriptor = os.open(path, _OLD) if was_there else os.open(path, _NEW, 0o666)
    except BaseException:
        lock.release()
        raise
    return RunLock(directory, path, descriptor, os.fstat(descriptor), was_there, _Removed(lock))


class _Removed:
    """A lock beside a file, removed when it is released."""

    def __init__(self, lock: Any) -> None:
        self._lock = lock

    def release(self) -> None:
        """Release it; who opened it meanwhile keeps it from being removed."""
        self._lock.release()
        if os.name == 'nt':
            with contextlib.suppress(OSError):
                os.unlink(self._lock.lock_file)


def _freed(path: str, interleaved: bool = False) -> bool:
    """Whether a lock of this process was left by a build that has ended, and is free now.

    Raises TaskLocksItselfError when this thread has it, and not another one of its `interleaved` runs.
    """
    own = _held.get(path)
    if own is None:
        return False
    if own.build_id and own.build_id not in _builds:
        own.abandon()
        return True
    if own.thread == threading.get_ident() and not interleaved:
        stem = os.path.basename(path).removesuffix(_SUFFIX)
        if own.is_interleaved:
            raise TaskLocksItselfError(
                f'{stem} runs in the event loop of this thread, which cannot go on while this build waits: write '
                "`await kartnb.build_async(…, executor='async')`."
            )
        raise TaskLocksItselfError(f'{stem} is built while it runs, and would wait for its own end: leave that out.')
    return False


def holder_of(path: str) -> Holder | None:
    """Who has locked the file of a run; None when nobody has. The lock is not touched."""
    return _holder_at(at_home(path))


def _holder_at(path: str) -> Holder | None:
    if not os.access(path, os.F_OK):
        return None
    try:
        if _LOCKS_BESIDE:
            return _holder_in(_read(path)) if _is_locked_beside(path) else None
        descriptor = os.open(path, os.O_RDONLY | _AS_IT_IS)
    except OSError:
        return None
    try:
        return _holder_in(os.pread(descriptor, _MOST_BYTES, 0)) if is_locked(descriptor) else None
    finally:
        os.close(descriptor)


def waits_for(path: str) -> Holder | None:
    """As `holder_of`; None too where waiting makes no sense, and taking the lock says why."""
    path = at_home(path)
    holder = _holder_at(path)
    try:
        return None if holder is None or _freed(path) else holder
    except TaskLocksItselfError:
        return None


def wait_for_itself(path: str) -> TaskLocksItselfError | None:
    """What to say where a build in this thread would wait for a run of this thread; None where it may wait."""
    try:
        _freed(at_home(path))
    except TaskLocksItselfError as error:
        return error
    return None


def _is_locked_beside(path: str) -> bool:
    from filelock import FileLock, Timeout

    lock = FileLock(f'{path}.lock', thread_local=False)
    if not os.path.exists(f'{path}.lock'):
        return False
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return True
    _Removed(lock).release()
    return False


def _holder_in(data: bytes) -> Holder:
    intent = read_intent(data)
    return Holder() if intent is None else intent.holder


def _read(path: str) -> bytes:
    try:
        with open(path, 'rb') as file:
            return file.read(_MOST_BYTES)
    except OSError:
        return b''


def _changed(status: os.stat_result) -> int:
    # not the time of the last change of the content: a file that was renamed or copied here keeps an older one
    return status.st_ctime_ns if os.name == 'posix' else max(status.st_mtime_ns, status.st_ctime_ns)


def changed_since(path: str, begun: int) -> bool:
    """Whether a file was put in its place, or written, after a moment in nanoseconds; False when it does not exist."""
    try:
        return _changed(os.stat(at_home(path))) >= begun
    except OSError:
        return False


_TWICE = 'at the same time may run a task twice; each result is whole'


def sharing_of(workspace: str, redis: bool) -> str:
    """What does not hold for builds at the same time in a workspace; '' where each task runs exactly once.

    >>> sharing_of('s3://bucket/results', redis=True)
    ''
    >>> sharing_of('s3://bucket/results', redis=False)
    'without redis_host, builds at the same time may run a task twice; each result is whole'
    """
    if redis:
        return ''
    if '://' in workspace:
        return f'without redis_host, builds {_TWICE}'
    if any(directory.startswith(workspace) for directory in _lockless):
        return f'on a disk without locks and without redis_host, builds {_TWICE}'
    kind = file_system_type(workspace)
    if kind.removeprefix('fuse.') in NETWORK_DISKS:
        return f'on a network disk ({kind}) without redis_host, builds on several computers {_TWICE}'
    return ''
