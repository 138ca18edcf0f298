"""What all file systems share: the interface, temporary names, the litter of killed processes, errors as sentences."""

from __future__ import annotations

import contextlib
import errno
import functools
import hashlib
import itertools
import os
import platform
import re
import secrets
import shlex
import shutil
import stat
import time
import zlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from datetime import datetime
from pathlib import Path
from typing import IO, Literal, NamedTuple, NoReturn, TypeAlias

from kartnb.errors import MissingResultError, ResultReplacedError, StorageError, UnloadedResultError
from kartnb.storage.contents import READ_FILE, content_digest, digest_when_written, may_name_code
from kartnb.storage.locks import is_locked

#: The largest record, manifest or log that is read, in bytes.
MOST_BYTES = 4 << 20
#: Up to this many bytes a file is quickly read.
_QUICKLY_READ = 1 << 18
_DIGEST = 'x'
#: Nanoseconds within which two changes of a disk, by clocks that differ, may have been one.
_ONE_MOMENT = 1_000_000_000
#: A change less than this many nanoseconds after another one may leave the same time.
_SAME_MOMENT = 100_000_000
#: The same where times are whole seconds: FAT keeps only every second one.
_SAME_MOMENT_ON_OLD_DISKS = 2_100_000_000
_IN_PART = '~'


#: Of each file the size, when it was written, which file it is, and when it was put there.
Look: TypeAlias = tuple[tuple[int, int, int, int], ...]


def _look(status: os.stat_result) -> tuple[int, int, int, int]:
    return status.st_size, status.st_mtime_ns, status.st_ino, status.st_ctime_ns


def look_at_files(paths: Iterable[str], home: str | None = None) -> Look:
    """What is another one when one of the files was written or replaced since; empty when one does not exist."""
    try:
        every = [os.stat(path if home is None else os.path.join(home, path)) for path in paths]
    except OSError:
        return ()
    return tuple(map(_look, every))


def settled_time(changed_ns: int, now_ns: int | None = None) -> int:
    """A time of change that a later change cannot leave as it is; 0 for one that is too near."""
    moment = _SAME_MOMENT if changed_ns % 1_000_000_000 else _SAME_MOMENT_ON_OLD_DISKS
    return changed_ns if (now_ns or time.time_ns()) - changed_ns > moment else 0


class Seen(NamedTuple):
    """What a look at a file shows."""

    size: int  #: In bytes.
    modified: float  #: In epoch seconds.
    mark: str = ''  #: A short text that changes when the file is written; '' where it is unknown.
    check: str = ''  #: A digest of its content, `is_whole` or in part; '' where it is unknown.
    look: Look = ()  #: Which file it is, on this computer's disks.
    #: Whether it is a pickle that names functions or classes of the user's.
    names_code: bool = False


def see_file(path: str, in_part: bool = False) -> Seen:
    """Look at a file of this computer; with `in_part` its check is that of `check_in_part`.

    >>> import tempfile
    >>> with tempfile.NamedTemporaryFile() as file:
    ...     see_file(file.name).check
    '0-x99aa06d3014798d86001c324468d497f'
    """
    (descriptor,) = map(os.open, (path,), (READ_FILE,))  # an interrupt at the end of a call would leave it open
    try:
        status = os.fstat(descriptor)
        size = status.st_size
        names_code = False
        if in_part:
            check = check_in_part(descriptor, size)
        else:
            known = digest_when_written(status) if size > _QUICKLY_READ else None
            digest, names_code = known or content_digest(descriptor, size, may_name_code(path))
            check = f'{size}-{_DIGEST}{digest}'
        return Seen(size, status.st_mtime, f'{size}.{status.st_mtime_ns}', check, (_look(status),), names_code)
    finally:
        os.close(descriptor)


def check_in_part(descriptor: int, size: int) -> str:
    """The check of an open file that reads little: of a large one, of its beginning and end together.

    It is that of records of format 1, and of what other programs have written.
    """
    if size <= _QUICKLY_READ:
        return f'{size}-{zlib.crc32(os.read(descriptor, size)):08x}'
    half = _QUICKLY_READ // 2
    found = zlib.crc32(os.read(descriptor, half))
    os.lseek(descriptor, -half, os.SEEK_END)
    return f'{size}-{zlib.crc32(os.read(descriptor, half), found):08x}{_IN_PART}'


def seen_object(size: int, modified: float, etag: str) -> Seen:
    """What an object store says of an object; the ETag, where it has one, names the content."""
    if not etag:
        return Seen(size, modified, f'{size}.{modified!r}' if modified else '', f'{size}-{_IN_PART}')
    return Seen(size, modified, f'{size}.{etag}', f'{size}-{etag}')


def is_whole(check: str) -> bool:
    """Whether a check is of the whole content."""
    return bool(check) and not check.endswith(_IN_PART)


def is_digest(check: str) -> bool:
    """Whether a check of a file of this computer is a digest, and not what `check_in_part` gives."""
    return f'-{_DIGEST}' in check


def joint_contents(checks: Iterable[str]) -> str:
    """One short text for the contents of several files; '' where they are not known."""
    every = list(checks)
    return joint_mark(every) if all(map(is_whole, every)) else ''


def joint_mark(marks: Iterable[str]) -> str:
    """One short text for the marks of several files; '' where one of them is unknown, or for no files.

    >>> joint_mark(['5.1700000000', '7.1700000001'])
    '6e562eee9b'
    >>> joint_mark(['5.1700000000', ''])
    ''
    """
    every = list(marks)
    return hashlib.blake2b(' '.join(every).encode(), digest_size=5).hexdigest() if all(every) and every else ''


class ResultFiles(NamedTuple):
    """The files of a recorded result on this computer's disks."""

    task: str  #: The name of its class.
    paths: tuple[str, ...]
    mark: str  #: Their joint mark.
    record: str  #: The path of its record.
    seen: Look = ()  #: What they looked like when this process has recorded them.

    def begin_use(self, home: str | None, since: int = 0) -> InUse:
        """What to compare with when the files have been used, of files that are named by their record.

        Raises ResultReplacedError when they are not: another build replaces the result, or has, perhaps since a moment
        in nanoseconds.
        """
        found = self.seen or look_at_files(self.paths, home)
        is_written = not self.seen and self._may_be_written(home, found)
        used = InUse(found, self._look_at_record(home))  # in this order: a run removes the record while it is marked
        if is_written or not used.record or not (self.seen or not found or self._are_recorded(found)):
            self._require_no_run(home, since, used.record)
        return used

    def end_use(self, home: str | None, used: InUse, since: int) -> None:
        """Raise ResultReplacedError when another build has replaced the files while they were used.

        A task may remove or change what it has used.
        """
        if look_at_files(self.paths, home) != used.files:
            self._require_no_run(home, since, used.record)

    def _look_at_record(self, home: str | None) -> Look:
        return look_at_files((self.record,), home)

    def _are_recorded(self, look: Look) -> bool:
        return joint_mark([f'{size}.{written}' for size, written, _, _ in look]) == self.mark

    def _may_be_written(self, home: str | None, look: Look) -> bool:
        """Whether a run that is under way may have put files there, perhaps with size and time of the recorded ones."""
        announced = self._announced(home)
        return announced is not None and any(changed > announced - _ONE_MOMENT for *_, changed in look)

    def _announced(self, home: str | None) -> int | None:
        """When a run that is under way has announced itself; None where there is none."""
        try:
            intent = os.stat(self._beside_record(home, 'running'))
        except OSError:
            return None
        return intent.st_mtime_ns if intent.st_size else None  # an empty one is the lock of a build that only looks

    def _beside_record(self, home: str | None, what: str) -> str:
        record = self.record if home is None else os.path.join(home, self.record)
        return f'{record.rpartition("~")[0]}~{what}.json'

    def _require_no_run(self, home: str | None, since: int, record: Look) -> None:
        # in this order: a run marks the task, and ends by removing the record, or by leaving that of its failure
        is_replaced = self._announced(home) is not None
        with contextlib.suppress(OSError):
            is_replaced = os.stat(self._beside_record(home, 'failed')).st_ctime_ns >= since or is_replaced
        # a result that was replaced and brought back has a new record of the same name
        if is_replaced or not record or self._look_at_record(home) != record:
            raise ResultReplacedError(
                f'The result of {self.task} was replaced by another build while it was being used: build again.'
            )


class InUse(NamedTuple):
    """What the files of a result, and its record, look like while they are used."""

    files: Look
    record: Look


SUFFIX = '.kart-tmp'
_PATTERN = re.compile(r'^\..*\.(?P<where>[0-9a-f]{8})-(?P<pid>\d+)-[0-9a-f]{16}\.kart-tmp$', re.DOTALL)
_ABANDONED_AFTER = 24 * 3600.0
_LONGEST_STEM = 40
#: Clocks of disks and of the system may differ by so many seconds.
_CLOCKS_DIFFER = 2.0
#: One look into the system's randomness a process: pids are used again, and a forked child counts on under its own pid.
_process_token = secrets.token_hex(4)
_numbers = itertools.count()


@functools.cache
def process_mark() -> str:
    """Where this process runs: among processes of the same mark, a pid says which one is meant."""
    found = [platform.node()]
    with contextlib.suppress(OSError):
        # two containers on one computer, and one computer before and after a start, have the same name
        found.append(os.readlink('/proc/self/ns/pid'))
        with open('/proc/sys/kernel/random/boot_id') as file:
            found.append(file.read())
    return hashlib.md5(' '.join(found).encode(), usedforsecurity=False).hexdigest()[:8]


def temporary_name(name: str) -> str:
    """Return a name that no other process and no other call uses, for something that will be called `name`."""
    return f'.{name[:_LONGEST_STEM]}.{_mark()}{next(_numbers):08x}{SUFFIX}'


def temporary_path(directory: str) -> str:
    """Return a path in a directory, as `temporary_name` does for its names."""
    return f'{_beginning(directory)}{next(_numbers):08x}{SUFFIX}'


@functools.cache
def _beginning(directory: str) -> str:
    """What is the same for every file of this process in a directory."""
    return f'{os.path.join(directory, ".new.")}{_mark()}'


@functools.cache
def _mark() -> str:
    return f'{process_mark()}-{own_pid()}-{_process_token}'


@functools.cache
def own_pid() -> int:
    """The id of this process, without asking the system for each file."""
    return os.getpid()


def _forget_marks() -> None:
    """In a forked process: it has a pid of its own."""
    own_pid.cache_clear()
    _mark.cache_clear()
    _beginning.cache_clear()


if hasattr(os, 'register_at_fork'):
    os.register_at_fork(after_in_child=_forget_marks)


def is_temporary(name: str) -> bool:
    """Whether a file name was made by `temporary_name`."""
    return name.endswith(SUFFIX) and _PATTERN.match(name) is not None


def sweep_litter(directory: str, names: Iterable[str]) -> list[str]:
    """Remove the temporary files and directories that no living process uses, and give their names.

    Names that are not temporary are left alone.
    """
    removed = []
    for name in names:
        if name.endswith(SUFFIX):
            path = os.path.join(directory, name)
            if _is_abandoned(path, name) and _removed(path):
                removed.append(name)
    return removed


def _is_abandoned(path: str, name: str) -> bool:
    match = _PATTERN.match(name)
    if match is None:
        return False
    try:
        modified = os.stat(path).st_mtime
        if _is_being_written(path):
            return False
    except OSError:
        return False
    if match['where'] == process_mark():
        return not is_process_alive(int(match['pid']), modified)
    # the pid of another computer says nothing: there only the age counts
    return time.time() - modified > _ABANDONED_AFTER


def _is_being_written(path: str) -> bool:
    """Whether a process has locked a file, in whatever container it runs."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        return is_locked(descriptor)
    finally:
        os.close(descriptor)


def is_process_alive(pid: int, seen: float | None = None) -> bool:
    """Whether a process lives here, and, if `seen` is given, has lived at that time, in epoch seconds."""
    if os.name == 'nt':  # os.kill(pid, 0) ends a process there; only the age counts
        return True
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:
        pass
    try:
        with open(f'/proc/{pid}/stat', 'rb') as file:
            state, *rest = file.read().rpartition(b')')[2].split()
        started = _boot_time() + int(rest[18]) / os.sysconf('SC_CLK_TCK')
    except (OSError, ValueError, IndexError):  # no such file system
        return True
    # a zombie has ended; and pids are used again
    return state != b'Z' and (seen is None or started < seen + _CLOCKS_DIFFER)


@functools.cache
def _boot_time() -> float:
    with open('/proc/stat') as file:
        return float(re.search(r'^btime (\d+)', file.read(), re.MULTILINE)[1])  # type: ignore[index]


def _removed(path: str) -> bool:
    with contextlib.suppress(OSError):
        if os.path.isdir(path):
            shutil.rmtree(path)
        else:
            os.unlink(path)
        return True
    return False


Doing = Literal['read', 'written', 'removed', 'listed']

ON_WINDOWS = os.name == 'nt'

FULL = {errno.ENOSPC, getattr(errno, 'EDQUOT', errno.ENOSPC)}
_FORBIDDEN = {errno.EACCES, errno.EPERM}
_RESERVED_NAMES = {'con', 'prn', 'aux', 'nul', *(f'{port}{n}' for port in ('com', 'lpt') for n in '123456789')}
_WINDOWS_PATH_LIMIT = 259
_KEPT = 'what is there is kept'


def storage_error(error: OSError, path: str, doing: Doing) -> StorageError:
    """Return the error that names `path` and says what to do, for an error of the operating system."""
    if isinstance(error, StorageError):
        return error
    if doing in ('read', 'removed') and isinstance(error, FileNotFoundError):
        return MissingResultError(f'{path} does not exist: build the task that makes it', path, error.errno)
    return StorageError(_sentence(error, path, doing), path, error.errno)


def raise_storage_error(error: OSError, path: str, doing: Doing) -> NoReturn:
    """Raise what `storage_error` gives, from the error that it is made of."""
    named = storage_error(error, path, doing)
    if named is error:
        raise error  # raised from itself it would be its own cause: a loop for whoever follows causes
    raise named from error


def _sentence(error: OSError, path: str, doing: Doing) -> str:
    windows = windows_problem(path) if ON_WINDOWS else None
    if windows:
        return windows
    if (
        doing != 'listed'
        and os.path.isdir(path)
        and error.errno in {errno.EISDIR, errno.EEXIST, errno.ENOTEMPTY, *_FORBIDDEN}
    ):
        return f'{path} is a directory, where a result file belongs: move it away or remove it'
    if error.errno in FULL:
        return f'{path} cannot be written, the disk is full: free some space and build again; {_KEPT}'
    if error.errno in _FORBIDDEN:
        return f'{path} cannot be {doing}, permission is denied: {_how_to_permit(path, doing)}; {_KEPT}'
    if error.errno == errno.EROFS:
        return f'{path} cannot be {doing}, the disk is read-only: mount it for writing and build again; {_KEPT}'
    if error.errno in {errno.ENOTDIR, errno.EEXIST, errno.EISDIR}:
        return (
            f'{path} cannot be {doing}, a file lies where one of its directories belongs: move {_file_above(path)} away'
        )
    if error.errno == errno.ENAMETOOLONG:
        return f'{path} cannot be {doing}, its name or path ({len(path)} characters) is too long for this disk'
    return f'{path} cannot be {doing}: {error.strerror or error}'


def _how_to_permit(path: str, doing: Doing) -> str:
    """What to do about the directory or file on the way to a path whose permissions are in the way."""
    above = list(reversed(Path(path).parents))
    closed = next((str(place) for place in above if os.path.isdir(place) and not os.access(place, os.X_OK)), None)
    if closed is None:
        changes = doing in ('written', 'removed')
        closed = next((str(place) for place in reversed(above) if place.is_dir()), '.') if changes else path
    try:
        status = os.stat(closed)
    except OSError:
        return f'ask the owner of {closed} for access'
    mode = f'{closed} has the mode {stat.filemode(status.st_mode)}'
    if ON_WINDOWS or status.st_uid != os.geteuid():
        return f'{mode} and is not yours, so ask its owner for access'
    wanted = stat.S_IRWXU if stat.S_ISDIR(status.st_mode) else stat.S_IRUSR | stat.S_IWUSR
    if status.st_mode & wanted != wanted:
        return f'{mode}, so run chmod u+rwX {shlex.quote(closed)}'
    return f'{mode}, so it may be marked as immutable (lsattr shows that)'


def _file_above(path: str) -> str:
    above = os.path.dirname(path)
    while above and not os.path.exists(above) and above != os.path.dirname(above):
        above = os.path.dirname(above)
    return above or 'that file'


def windows_problem(path: str) -> str | None:
    """Say why Windows would refuse a local path, or give None.

    >>> windows_problem('results/aux.csv')
    "results/aux.csv cannot be written on Windows, which reserves the name 'aux.csv'"
    >>> windows_problem('results/model.pkl') is None
    True
    """
    for part in re.split(r'[/\\]', re.sub(r'^[A-Za-z]:', '', path)):
        if part.partition('.')[0].strip().lower() in _RESERVED_NAMES:
            return f'{path} cannot be written on Windows, which reserves the name {part!r}'
        bad = next((c for c in part if c in '<>:"|?*' or ord(c) < 32), None)
        if bad:
            return f'{path} cannot be written on Windows, which forbids {bad!r} in a name'
        if part.endswith((' ', '.')) and part not in ('.', '..'):
            return f'{path} cannot be written on Windows, where the name {part!r} may not end in a space or a full stop'
    length = len(os.path.abspath(path))
    if length > _WINDOWS_PATH_LIMIT:
        return (
            f'{path} cannot be written on Windows: of the {length} characters of its full path Windows allows '
            f'{_WINDOWS_PATH_LIMIT} unless long paths are enabled; choose a shorter workspace_directory'
        )
    return None


class FileSystem(ABC):
    """What kartnb needs of a place that keeps files. Paths are used as given; errors are `StorageError`."""

    #: Whether open files can be locked there; some disks cannot all the same.
    has_locks = False

    @abstractmethod
    def exists(self, path: str) -> bool:
        """Whether something is there."""

    @abstractmethod
    def open_read(self, path: str, buffering: int = -1) -> IO[bytes]:
        """Open a file for reading bytes; ``buffering=0`` gives an unbuffered one where there is one."""

    @abstractmethod
    def writing(self, path: str, buffering: int = -1, scratch: str | None = None) -> AbstractContextManager[IO[bytes]]:
        """Open a file for writing bytes: it takes its place when the block ends well, and is discarded otherwise.

        ``buffering=0`` gives an unbuffered file. `scratch` is the directory of the temporary name, on the same disk; by
        default it is beside the place.
        """

    @abstractmethod
    def remove(self, path: str) -> None:
        """Remove a file."""

    @abstractmethod
    def modified(self, path: str) -> datetime:
        """When a file was last changed, in local time without a zone (as gokart has it)."""

    @abstractmethod
    def size(self, path: str) -> int:
        """How many bytes a file has."""

    def stamp(self, path: str) -> tuple[int, float]:
        """The size of a file in bytes and the time of its last change in seconds since the epoch."""
        return self.size(path), self.modified(path).timestamp()

    def mark(self, path: str) -> str:
        """A short text that changes when the file is written; '' where it is unknown."""
        return ''

    def seen(self, path: str, in_part: bool = False) -> Seen:
        """What a look at a file shows, its content too; with `in_part` no more is read of a large one than its ends."""
        return Seen(*self.stamp(path))

    @abstractmethod
    def names(self, directory: str) -> set[str]:
        """The names in a directory; none when it does not exist."""

    def marks(self, directory: str) -> dict[str, str]:
        """The names in a directory, each with the `mark` of its file; none when it does not exist."""
        return dict.fromkeys(self.names(directory), '')

    def few_names(self, directory: str, most: int) -> set[str] | None:
        """The names in a directory, or None where there are more than `most` and listing them all would take long."""
        return self.names(directory)

    def label(self, path: str, labels: Mapping[str, str]) -> None:  # noqa: B027 - most places have no metadata
        """Attach metadata to a file, where there is such a thing."""

    def set_time(self, path: str, moment: float) -> None:  # noqa: B027 - most places set the times themselves
        """Set the time of the last change of a file, in epoch seconds, where that is possible."""

    def write_bytes(self, path: str, data: bytes, scratch: str | None = None) -> None:
        """Write a whole file."""
        with self.writing(path, 0, scratch) as file:
            file.write(data)

    def write_alike(self, path: str, data: bytes, scratch: str | None = None) -> None:
        """Write a whole file like many others: where the disk allows it, they are one file of several names."""
        self.write_bytes(path, data, scratch)

    def read_bytes(self, path: str) -> bytes:
        """Read a whole file."""
        with self.open_read(path, 0) as file:
            return file.read()

    def read_small(self, path: str, most: int = MOST_BYTES) -> bytes:
        """Read a whole file that is known to be small where kartnb or gokart wrote it.

        Raises UnloadedResultError for a larger one: whoever wrote a workspace, looking at it takes little memory.
        """
        data = self._beginning(path, most + 1)
        if len(data) > most:
            raise UnloadedResultError(f'{path} is not read: it has more than {most:,} bytes', path)
        return data

    def _beginning(self, path: str, size: int) -> bytes:
        with self.open_read(path, 0) as file:
            return file.read(size)

    def duplicate(self, path: str, target: str, *, keep_time: bool = False, apart: bool = False) -> None:
        """Copy a file within its file system; the copy may be another name of the same content, unless `apart`.

        `keep_time` keeps the time of the last change, where that is possible.
        """
        with self.open_read(path, 0) as source, self.writing(target, 0) as file:
            shutil.copyfileobj(source, file, 1 << 20)
