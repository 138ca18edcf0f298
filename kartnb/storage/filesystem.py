"""The file system of a path: the local disk, luigi's targets in tests, or anything that fsspec reaches.

Every file is written beside its place under a temporary name and renamed, so that it appears whole or not at all.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import os
import shutil
from collections.abc import Iterator
from contextvars import ContextVar
from datetime import datetime
from typing import IO, Any, ClassVar, NamedTuple, cast

import luigi

from kartnb.errors import KartError, MissingResultError
from kartnb.interrupts import in_main_thread
from kartnb.storage.contents import DigestingFile, may_name_code
from kartnb.storage.files import (
    ON_WINDOWS,
    FileSystem,
    Seen,
    raise_storage_error,
    see_file,
    storage_error,
    sweep_litter,
    temporary_name,
    temporary_path,
    windows_problem,
)
from kartnb.storage.locks import try_lock

_luigis_own_local_target = luigi.LocalTarget
_swept: set[str] = set()
#: Up to this many bytes a file is copied instead of linked: a user's code may write to it in place.
_SMALL = 1 << 20
_SETS_TIMES_OF_OPEN_FILES = os.utime in os.supports_fd
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, 'O_BINARY', 0)


_durable: ContextVar[bool] = ContextVar('kartnb_durable', default=False)
is_durable = _durable.get


@contextlib.contextmanager
def durable_writes() -> Iterator[None]:
    """Within the block every file is on the disk, and so is its name, before the next one is written."""
    token = _durable.set(True)
    try:
        yield
    finally:
        _durable.reset(token)


def sync(descriptor: int) -> None:
    """Wait until what was written to an open file is on the disk."""
    os.fsync(descriptor)


def sync_directory(directory: str) -> None:
    """Wait until the names in a directory are on the disk."""
    if ON_WINDOWS:  # a directory cannot be opened there
        return
    descriptor = os.open(directory or '.', os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class _Local(FileSystem):
    """The disks of this computer."""

    has_locks = True

    def exists(self, path: str) -> bool:
        # without the exception that `os.path.exists` has made and caught for what is not there
        try:
            return os.access(path, os.F_OK)
        except ValueError:  # not a path, such as one with a null character
            return False

    def open_read(self, path: str, buffering: int = -1) -> IO[bytes]:
        try:
            return open(path, 'rb', buffering)
        except OSError as error:
            raise_storage_error(error, path, 'read')
        except ValueError as error:  # not a path, such as one with a null character
            raise MissingResultError(f'{path!r} is not the path of a file', path) from error

    @contextlib.contextmanager
    def writing(self, path: str, buffering: int = -1, scratch: str | None = None) -> Iterator[IO[bytes]]:
        beside, name = os.path.split(path)
        directory = beside if scratch is None else scratch
        _prepare(path, directory)
        temporary = os.path.join(directory, temporary_name(name))
        try:
            raw = _create(temporary, path)
            with raw if buffering == 0 else io.BufferedWriter(raw) as file:
                with contextlib.suppress(OSError):  # a disk without locks
                    try_lock(file.fileno())
                yield cast(IO[bytes], file)
                if is_durable():
                    file.flush()
                    sync(file.fileno())
            raw.remember(temporary)
            _put_in_place(temporary, path)
        except BaseException as error:
            _discard(temporary)
            if isinstance(error, OSError) and _is_about(error, path, temporary):
                raise_storage_error(error, path, 'written')
            raise

    def write_bytes(self, path: str, data: bytes, scratch: str | None = None) -> None:
        directory = os.path.dirname(path) if scratch is None else scratch
        if directory not in _swept or ON_WINDOWS:
            _prepare(path, directory)
        temporary = temporary_path(directory)
        durable = is_durable()
        try:
            try:
                _write(temporary, data, durable)
                os.replace(temporary, path)
            except FileNotFoundError:  # directories are made when they turn out to be missing, not looked for each time
                _discard(temporary)
                _make_directories(temporary, path)
                _write(temporary, data, durable)
                os.replace(temporary, path)
            if durable:
                sync_directory(os.path.dirname(path))
        except BaseException as error:
            _discard(temporary)
            if isinstance(error, OSError):
                raise_storage_error(error, path, 'written')
            raise

    def write_alike(self, path: str, data: bytes, scratch: str | None = None) -> None:
        global _last_alike
        last = _last_alike
        # of one workspace only: who changes the owner or the mode of one means no other
        is_alike = last.data == data and last.scratch == scratch and (last.is_synced or not is_durable())
        if is_alike and _linked(last, path):
            return
        self.write_bytes(path, data, scratch)
        with contextlib.suppress(OSError):
            _last_alike = _Alike(data, path, scratch, _identity(path), is_durable())

    def duplicate(self, path: str, target: str, *, keep_time: bool = False, apart: bool = False) -> None:
        if not apart and self.size(path) > _SMALL:
            os.makedirs(os.path.dirname(target), exist_ok=True)
            with contextlib.suppress(OSError):  # such as a disk that has no hard links
                _discard(target)
                os.link(path, target)
                return
        with self.open_read(path, 0) as source, self.writing(target, 0) as file:
            shutil.copyfileobj(source, file, 1 << 20)
            if keep_time and _SETS_TIMES_OF_OPEN_FILES:  # before anybody can see it in its place
                with contextlib.suppress(OSError):
                    os.utime(file.fileno(), ns=_times(os.fstat(source.fileno())))
        if keep_time and not _SETS_TIMES_OF_OPEN_FILES:
            with contextlib.suppress(OSError):
                os.utime(target, ns=_times(os.stat(path)))

    def remove(self, path: str) -> None:
        try:
            os.unlink(path)
        except OSError as error:
            raise_storage_error(error, path, 'removed')

    def modified(self, path: str) -> datetime:
        try:
            return datetime.fromtimestamp(os.stat(path).st_mtime)
        except OSError as error:
            raise_storage_error(error, path, 'read')

    def size(self, path: str) -> int:
        try:
            return os.stat(path).st_size
        except OSError as error:
            raise_storage_error(error, path, 'read')

    def stamp(self, path: str) -> tuple[int, float]:
        try:
            status = os.stat(path)
        except OSError as error:
            raise_storage_error(error, path, 'read')
        return status.st_size, status.st_mtime

    def mark(self, path: str) -> str:
        try:
            status = os.stat(path)
        except (OSError, ValueError):
            return ''
        return f'{status.st_size}.{status.st_mtime_ns}'

    def set_time(self, path: str, moment: float) -> None:
        with contextlib.suppress(OSError):
            os.utime(path, (moment, moment))

    def seen(self, path: str, in_part: bool = False) -> Seen:
        try:
            return see_file(path, in_part)
        except OSError as error:
            raise storage_error(error, path, 'read') from error
        except ValueError as error:  # not a path, such as one with a null character
            raise MissingResultError(f'{path!r} is not the path of a file', path) from error

    def names(self, directory: str) -> set[str]:
        return self._names(directory, None)

    def few_names(self, directory: str, most: int) -> set[str] | None:
        found = self._names(directory, most + 1)
        return found if len(found) <= most else None

    def _names(self, directory: str, most: int | None) -> set[str]:
        try:
            with os.scandir(directory or '.') as entries:
                some = itertools.islice(entries, most)
                return {e.name for e in some if not e.is_symlink() or os.path.exists(e.path)}
        except (FileNotFoundError, ValueError):  # the latter for what is not a path
            return set()
        except OSError as error:
            raise_storage_error(error, directory, 'listed')


def _times(status: os.stat_result) -> tuple[int, int]:
    return status.st_atime_ns, status.st_mtime_ns


def _prepare(path: str, directory: str) -> None:
    """Make sure that a path may be written, by a temporary file in a directory."""
    if ON_WINDOWS:
        problem = windows_problem(path)
        if problem:
            raise storage_error(OSError(problem), path, 'written')
    if directory not in _swept:
        _sweep(directory)


def _sweep(directory: str) -> None:
    """Remove what killed processes left in a directory, when this process first writes there."""
    _swept.add(directory)
    with contextlib.suppress(OSError):
        sweep_litter(directory, os.listdir(directory or '.'))


def _make_directories(temporary: str, path: str) -> None:
    for file in (temporary, path):
        directory = os.path.dirname(file)
        if directory:
            make_directory(directory)


def make_directory(directory: str) -> None:
    """Make a directory and those above it, where they are missing."""
    missing = []
    above = directory
    while is_durable() and above and not os.path.isdir(above):
        missing.append(above)
        above = os.path.dirname(above)
    os.makedirs(directory, exist_ok=True)
    for made in missing:
        sync_directory(os.path.dirname(made))


def _create(temporary: str, path: str) -> DigestingFile:
    search = may_name_code(path)
    try:
        return DigestingFile(temporary, search)
    except FileNotFoundError:
        _make_directories(temporary, path)
        return DigestingFile(temporary, search)


def _write(temporary: str, data: bytes, durable: bool) -> None:
    # an interrupt is raised at the end of a call, and would leave the file open; what an iterator gives is kept first
    (descriptor,) = map(os.open, (temporary,), (_NEW_FILE,), (0o666,))
    try:
        written = os.write(descriptor, data)
        while written < len(data):
            written += os.write(descriptor, memoryview(data)[written:])
        if durable:
            sync(descriptor)
    finally:
        os.close(descriptor)


class _Alike(NamedTuple):
    """A file that was written to be like others."""

    data: bytes
    path: str
    scratch: str | None
    identity: tuple[int, ...]
    is_synced: bool


_last_alike = _Alike(b'', '', None, (), False)


def _identity(path: str) -> tuple[int, ...]:
    status = os.stat(path)
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def _linked(file: _Alike, path: str) -> bool:
    """Give a file another name, at a third of the cost of another file, if it is still the one that was written."""
    try:
        os.link(file.path, path)
        if _identity(path) != file.identity:
            os.unlink(path)
            return False
        if is_durable():
            sync_directory(os.path.dirname(path))
        return True
    except OSError:  # such as a name that is taken, or a disk without links
        return False


def _put_in_place(temporary: str, path: str) -> None:
    try:
        os.replace(temporary, path)
    except FileNotFoundError:
        # a temporary file in another directory does not show that this one exists
        _make_directories(temporary, path)
        os.replace(temporary, path)
    if is_durable():
        sync_directory(os.path.dirname(path))


def _discard(temporary: str) -> None:
    with contextlib.suppress(OSError):
        os.unlink(temporary)


def _is_about(error: OSError, path: str, temporary: str) -> bool:
    """Whether an error is about this file, and not about another one that the code in the block used."""
    return error.errno is not None and not isinstance(error, KartError) and error.filename in (None, path, temporary)


def local_path(file: Any) -> str | None:
    """Return the path of an open file of the local disk, for libraries that are faster with one; else None."""
    name = getattr(file, 'name', None)
    return name if isinstance(name, str) and isinstance(file, io.BufferedIOBase | io.RawIOBase) else None


class _Luigi(FileSystem):
    """Files behind luigi targets, for tests that put a `luigi.mock.MockTarget` in the place of `luigi.LocalTarget`."""

    #: When the present contents of a file that is not on the disk were first seen.
    _seen: ClassVar[dict[str, tuple[bytes, datetime]]] = {}

    def __init__(self, make_target: Any) -> None:
        self._make_target = make_target

    def _target(self, path: str) -> Any:
        return self._make_target(path, format=luigi.format.Nop)

    def exists(self, path: str) -> bool:
        return bool(self._target(path).exists())

    def open_read(self, path: str, buffering: int = -1) -> IO[bytes]:
        target = self._target(path)
        if not target.exists():  # each kind of target has another error for that
            raise MissingResultError(f'{path} does not exist: build the task that makes it', path)
        file: IO[bytes] = target.open('r')
        return file

    @contextlib.contextmanager
    def writing(self, path: str, buffering: int = -1, scratch: str | None = None) -> Iterator[IO[bytes]]:
        with self._target(path).open('w') as file:
            yield file

    def remove(self, path: str) -> None:
        self._target(path).remove()

    def modified(self, path: str) -> datetime:
        if _local.exists(path):
            return _local.modified(path)
        data = self.read_bytes(path)
        if self._seen.get(path, (None,))[0] != data:
            self._seen[path] = (data, datetime.now())
        return self._seen[path][1]

    def size(self, path: str) -> int:
        return len(self.read_bytes(path))

    def names(self, directory: str) -> set[str]:
        found = self._target(directory).fs.listdir(directory)
        return {os.path.basename(path) for path in found if os.path.dirname(path) == directory}


_local = _Local()
#: The directory that relative paths of a build start from, also after a task has left it.
home: ContextVar[str | None] = ContextVar('kartnb_home', default=None)
#: What runs now and may leave the working directory, and `_LEFT` when something has. It is empty most of the time, for
#: it takes long to ask the system for each file.
_leaving: set[object] = set()
_LEFT = object()


class may_leave:  # noqa: N801 - it is used as a function is
    """While the block runs, code of the user's may leave the working directory: relative paths start from `home`."""

    def __enter__(self) -> None:
        _leaving.add(self)

    def __exit__(self, *_: object) -> None:
        directory = home.get()
        if directory is not None and working_directory() != directory:
            _leaving.add(_LEFT)
        _leaving.discard(self)


def has_left() -> bool:
    """Whether code in a block of `may_leave` has left the working directory."""
    return _LEFT in _leaving


def go_back(directory: str) -> None:
    """Make a directory the working directory again."""
    os.chdir(directory)
    _leaving.discard(_LEFT)


class _From:
    """The disks of this computer, where relative paths start from a directory that is not the working directory."""

    def __init__(self, directory: str) -> None:
        self._directory = directory

    def __getattr__(self, name: str) -> Any:
        method = getattr(_local, name)
        given = self._absolute
        return lambda *paths, **options: method(*map(given, paths), **{key: given(options[key]) for key in options})

    def _absolute(self, argument: Any) -> Any:
        return os.path.join(self._directory, argument) if isinstance(argument, str) else argument


def working_directory() -> str | None:
    """The working directory; None when it has been removed."""
    try:
        return os.getcwd()
    except FileNotFoundError:
        return None


def left_home() -> str | None:
    """The directory that relative paths start from; None while that is the working directory."""
    directory = home.get() if _leaving else None
    # a task in another thread may leave it at any moment
    is_alone = directory is None or in_main_thread()
    return None if is_alone and (directory is None or working_directory() == directory) else directory


def at_home(path: str) -> str:
    """A local path as it was meant at the plan, from wherever it is used."""
    if not _leaving or os.path.isabs(path):
        return path
    directory = left_home()
    return path if directory is None else os.path.join(directory, path)


def has_other_disk() -> bool:
    """Whether a test has put another class in the place of `luigi.LocalTarget`: then that keeps the local files."""
    return luigi.LocalTarget is not _luigis_own_local_target


def file_system(path: str) -> FileSystem:
    """Return the file system of a path: fsspec's for ``scheme://...``, else the local one.

    Raises MissingPackageError, which says what to install, when the packages for the scheme are not installed.
    """
    if '://' in path:
        from kartnb.storage.remote import remote_file_system

        return remote_file_system(path)
    if has_other_disk():
        return _Luigi(luigi.LocalTarget)
    if not _leaving:
        return _local
    directory = None if os.path.isabs(path) else left_home()
    return _local if directory is None else cast(FileSystem, _From(directory))
