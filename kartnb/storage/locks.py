"""Locks: of files, held by a process of this computer, and of results and tasks, kept by a Redis server.

A lock of a file is released by the system when its holder dies. Whether it is held can be asked without taking it.

Without ``redis_host`` there is no lock in Redis and no cost. Keys and timing are gokart's: each respects the other's
locks.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import platform
import re
import struct
import threading
import uuid
from collections.abc import Iterator
from typing import Any, NamedTuple

from kartnb.errors import MissingPackageError, StorageError, TaskLockException

if os.name == 'posix':
    import fcntl

    #: Locks that belong to the open file, not to the process: two threads exclude each other, and others can ask.
    _OF_OPEN_FILES = hasattr(fcntl, 'F_OFD_SETLK') and struct.calcsize('P') == 8

#: What file systems without locks answer.
_NO_LOCKS = {errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL}
_TAKEN = {errno.EAGAIN, errno.EACCES}


def try_lock(descriptor: int) -> bool:
    """Lock an open file, unless somebody else has; gives whether it is locked now.

    Raises OSError, of which `has_no_locks` may be true.
    """
    try:
        if _OF_OPEN_FILES:
            fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, _whole_file(fcntl.F_WRLCK))
        else:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in _TAKEN:
            return False
        raise
    return True


def is_locked(descriptor: int) -> bool:
    """Whether somebody else has locked an open file; False too where that cannot be asked."""
    try:
        if _OF_OPEN_FILES:
            answer = fcntl.fcntl(descriptor, fcntl.F_OFD_GETLK, _whole_file(fcntl.F_WRLCK))
            return bool(struct.unpack_from('h', answer)[0] != fcntl.F_UNLCK)
        # there one can only try; who wants the lock in this moment tries again
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        fcntl.flock(descriptor, fcntl.LOCK_UN)
    except OSError as error:
        return error.errno in _TAKEN
    return False


def has_no_locks(error: OSError) -> bool:
    """Whether an error says that the file system has no locks."""
    return error.errno in _NO_LOCKS


@functools.cache
def _whole_file(kind: int) -> bytes:
    return struct.pack('hhqqi4x', kind, os.SEEK_SET, 0, 0, 0)


class TaskLockParams(NamedTuple):
    """Where a lock is kept and how it behaves."""

    redis_host: str | None  #: Without host and port, results are not locked.
    redis_port: int | None
    redis_timeout: int | None  #: Seconds after which the server drops a lock that is not extended.
    redis_key: str  #: The lock's name.
    should_task_lock: bool  #: Whether there is a lock at all.
    #: Whether to raise `TaskLockException` at once, instead of waiting, when another process has it.
    raise_task_lock_exception_on_collision: bool
    lock_extend_seconds: int  #: How often a held lock is extended.


def make_task_lock_key(file_path: str, unique_id: str | None) -> str:
    """Return the name of a result's lock.

    >>> make_task_lock_key('resources/module/Task.pkl', 'abc')
    'Task_abc'
    """
    return f'{os.path.splitext(os.path.basename(file_path))[0]}_{unique_id}'


def make_task_lock_params(
    file_path: str,
    unique_id: str | None,
    redis_host: str | None = None,
    redis_port: int | None = None,
    redis_timeout: int | None = None,
    raise_task_lock_exception_on_collision: bool = False,
    lock_extend_seconds: int = 10,
) -> TaskLockParams:
    """Describe the lock of a result, at the path and with the unique id that `make_target` gets."""
    _check_timeout(redis_timeout, lock_extend_seconds)
    return TaskLockParams(
        redis_host,
        redis_port,
        redis_timeout,
        make_task_lock_key(file_path, unique_id),
        redis_host is not None and redis_port is not None,
        raise_task_lock_exception_on_collision,
        lock_extend_seconds,
    )


def _check_timeout(redis_timeout: int | None, lock_extend_seconds: int) -> None:
    if redis_timeout is not None and redis_timeout <= lock_extend_seconds:
        raise AssertionError(  # type and words are gokart's
            f'`redis_timeout` must be set greater than lock_extend_seconds:{lock_extend_seconds}, not {redis_timeout}.'
        )


def make_task_lock_params_for_run(task_self: Any, lock_extend_seconds: int = 10) -> TaskLockParams:
    """Describe the lock that a running task holds."""
    return TaskLockParams(
        task_self.redis_host,
        task_self.redis_port,
        task_self.redis_timeout,
        f'{type(task_self).__name__}_{task_self.make_unique_id()}-run',
        task_self.redis_host is not None and task_self.redis_port is not None,
        True,  # gokart's rule: a run whose lock is taken fails at once instead of waiting
        lock_extend_seconds,
    )


#: Types of file systems that several computers use, as Linux names them, those in user space without `fuse.`.
NETWORK_DISKS = frozenset({
    'afs', 'beegfs', 'ceph', 'cifs', 'drive', 'gcsfuse', 'glusterfs', 'goofys', 'gpfs', 'juicefs', 'lustre', 'mount-s3',
    'nfs', 'nfs4', 'ocfs2', 'orangefs', 'rclone', 's3fs', 'smb3', 'smbfs', 'sshfs',
})  # fmt: skip


def file_system_type(path: str) -> str:
    """The type of the file system that holds a path, which need not exist yet; '' where unknown, as outside Linux."""
    place = os.path.realpath(path)
    while not os.path.exists(place) and os.path.dirname(place) != place:
        place = os.path.dirname(place)
    try:
        return _mounted_type(place, os.stat(place).st_dev)
    except OSError:
        return ''


@functools.lru_cache(maxsize=100)
def _mounted_type(place: str, device: int) -> str:  # another device: something else has been mounted there
    found = ('', '')
    with open('/proc/self/mountinfo', encoding='utf-8', errors='surrogateescape') as mounts:
        for line in mounts:
            mount, _, source = line.partition(' - ')
            # spaces are written in octal
            point = re.sub(r'\\([0-7]{3})', lambda octal: chr(int(octal[1], 8)), mount.split(' ')[4])
            if f'{place}/'.startswith(f'{point.rstrip("/")}/') and len(point) >= len(found[0]):
                found = (point, source.split(' ')[0])
    return found[1]


@functools.cache
def _client(host: str, port: int) -> Any:
    try:
        import redis
    except ImportError as error:
        raise MissingPackageError(
            "redis_host is set, which needs the redis package: pip install 'kartnb[redis]'"
        ) from error
    return redis.Redis(host=host, port=port)


class RedisClient(NamedTuple):
    """A Redis server, to which a process has one connection; from gokart."""

    host: str
    port: int

    def get_redis_client(self) -> Any:
        """The connection, a `redis.Redis`; raises MissingPackageError when the redis package is not installed."""
        return _client(self.host, self.port)


def _acquired(params: TaskLockParams) -> Any:
    client = _client(params.redis_host or 'localhost', params.redis_port or 6379)
    from redis.exceptions import ConnectionError as UnreachableError

    # not thread_local: the thread that extends the lock needs its token too
    lock = client.lock(params.redis_key, timeout=params.redis_timeout, thread_local=False)
    token = f'{os.getpid()}@{platform.node()}@{uuid.uuid4().hex}'
    try:
        taken = lock.acquire(blocking=not params.raise_task_lock_exception_on_collision, token=token)
    except (OSError, UnreachableError) as error:
        raise _unreachable(params, error) from error
    if not taken:
        raise TaskLockException(
            f'Lock already taken by other task: {params.redis_key} at {params.redis_host}:{params.redis_port}.'
        )
    return lock


def holder_of_key(params: TaskLockParams) -> tuple[int, str] | None:
    """Who has a lock, as pid and host, 0 and '' for one that gokart has taken; None when nobody has it."""
    from redis.exceptions import RedisError

    try:
        found = _client(params.redis_host or 'localhost', params.redis_port or 6379).get(params.redis_key)
    except (OSError, RedisError) as error:
        raise _unreachable(params, error) from error
    if found is None:
        return None
    pid, separator, rest = found.decode('utf-8', 'replace').partition('@')
    return (int(pid), rest.partition('@')[0]) if separator and pid.isdigit() else (0, '')


def _unreachable(params: TaskLockParams, error: Exception) -> StorageError:
    place = f'{params.redis_host}:{params.redis_port}'
    return StorageError(f'the Redis server at {place}, which keeps the locks, cannot be reached: {error}', place)


def _extend_until(done: threading.Event, lock: Any, params: TaskLockParams) -> None:
    while not done.wait(params.lock_extend_seconds):
        with contextlib.suppress(Exception):  # the server may be away for a moment; the next round tries again
            lock.extend(additional_time=params.redis_timeout or 0, replace_ttl=True)


@contextlib.contextmanager
def hold(params: TaskLockParams) -> Iterator[None]:
    """Hold a lock during a block; without a Redis server do nothing.

    Raises TaskLockException when another process has the lock and the parameters say not to wait, and
    MissingPackageError when the redis package is not installed.
    """
    if not params.should_task_lock:
        yield
        return
    lock = _acquired(params)
    done = threading.Event()
    if params.redis_timeout is not None:
        threading.Thread(target=_extend_until, args=(done, lock, params), daemon=True, name='kartnb-lock').start()
    try:
        yield
    finally:
        done.set()
        _release(lock)


def _release(lock: Any) -> None:
    from redis.exceptions import RedisError

    with contextlib.suppress(RedisError):  # it expired, or will: the work is done all the same
        lock.release()


def wait(params: TaskLockParams) -> None:
    """Wait until a lock is free; without a Redis server do nothing."""
    if params.should_task_lock:
        _release(_acquired(params))
