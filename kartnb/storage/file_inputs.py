"""Files that a run reads: what they looked like then, and whether they have changed since.

A look at a file of this computer costs one question to the system while size and times are the recorded ones; only
where they differ its contents are digested, so that a file that was copied or touched counts as unchanged. Directories
and patterns (``data/*.csv``) are compared in the same order: names, sizes and times first, contents then.
"""

from __future__ import annotations

import errno
import functools
import glob
import os
import re
import stat
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from typing import Literal, NamedTuple, TypeAlias, get_args

import xxhash

from kartnb.errors import FileInputError, KartError, StorageError
from kartnb.storage.files import SUFFIX, is_temporary, settled_time
from kartnb.storage.filesystem import at_home, file_system

#: What of a path counts: the contents of a file; those of all files below a directory, or of those that match a
#: pattern; only the names in a directory, or of those that match; or that there is nothing. 'unknown' is what cannot be
#: compared.
Kind: TypeAlias = Literal['file', 'directory', 'files', 'names', 'matches', 'missing', 'unknown']
KINDS: tuple[str, ...] = get_args(Kind)

#: The contents of more files than that, or of more bytes, are not read when a directory or a pattern is looked at.
MOST_DIGESTED = 10_000
_MOST_BYTES = 4 << 30
_CHUNK = 1 << 20
_MOST_REMEMBERED = 1 << 16
#: What editors, notebooks, Python and other tools keep beside the files of a person.
_NOT_COUNTED = frozenset({'.ipynb_checkpoints', '__pycache__', '.DS_Store', 'Thumbs.db', 'desktop.ini', '.git'})
_OF_EDITORS = ('.swp', '.swx', '.tmp', '~', '.part', '.crdownload')
_MAGIC = frozenset('*?[')
#: Stands before a digest of names, sizes and times where contents were not read.
_UNREAD = '~'
#: The end of the name of the log of an SQLite database; that one is empty says as much as that there is none.
WRITE_AHEAD = '-wal'
#: In the place of what is secret in a URL.
_MASKED = '…'
_LOGIN = re.compile(r'(?<=://)[^/@\s]+@')


class FileInput(NamedTuple):
    """A file, a directory or a pattern that a run has read, as it was then.

    `size` is in bytes, or the number of files; `modified_ns` and `changed_ns` are nanoseconds since the epoch, 0 where
    they say nothing. The digest is '' for what was written while it was being read; of what is 'unknown' it is the
    reason.
    """

    path: str  #: As it was given: relative to the working directory of the build, absolute, or a URL.
    kind: Kind
    size: int = 0
    modified_ns: int = 0
    digest: str = ''
    changed_ns: int = 0

    @property
    def shown(self) -> str:
        """The path for people: relative, below the working directory."""
        if '://' in self.path or not os.path.isabs(self.path):
            return self.path
        try:
            beginning = os.path.join(os.getcwd(), '')
        except OSError:
            return self.path
        return self.path.removeprefix(beginning) or self.path


class FileComparison(NamedTuple):
    """Whether a file is what it was, and what of it has changed (or why that is unknown), for people."""

    answer: Literal['same', 'changed', 'gone', 'unknown']
    detail: str = ''


SAME = FileComparison('same')


def checked_path(path: object) -> str:
    """The text of a path; raises FileInputError for what is not one.

    >>> from pathlib import PurePosixPath
    >>> checked_path(PurePosixPath('data/sales.csv'))
    'data/sales.csv'
    """
    try:
        text = os.fspath(path)  # type: ignore[call-overload]
    except TypeError:
        raise FileInputError(
            f'{path!r:.80} ({type(path).__name__}) is not a path: give a text or a pathlib.Path.'
        ) from None
    found = os.fsdecode(text)
    if not found.strip() or '\0' in found:
        raise FileInputError(f'{found!r:.80} is not a path: give the path of a file or a directory.')
    return found


def shown_path(path: str) -> str:
    """A path as it may be kept: a URL without its login and its query, which may be signed.

    >>> shown_path('https://me:pa55@host/sales.csv?signature=0a1b')
    'https://…@host/sales.csv?…'
    """
    if not is_remote(path):
        return path
    place, mark, _ = _LOGIN.sub(f'{_MASKED}@', path).partition('?')
    return f'{place}?{_MASKED}' if mark else place


def is_masked(path: str) -> bool:
    """Whether a part of a path that was kept is masked, so that it cannot be looked at."""
    return is_remote(path) and _MASKED in path


def look_at(path: str) -> FileInput:
    """Look at a file, a directory or a pattern whose contents count.

    Raises FileInputError when there is nothing, when it cannot be read, and for what has no contents, such as a pipe.
    """
    if is_remote(path):
        return _look_at_remote(path)
    place = local_place(path)
    try:
        status = os.stat(place)
    except OSError as error:
        if not _has_magic(path):
            raise _error(path, error) from error
        return _look_at_files(path, 'files')
    if stat.S_ISDIR(status.st_mode):
        return _look_at_files(path, 'directory')
    if not stat.S_ISREG(status.st_mode):
        raise FileInputError(f'{path} is neither a file nor a directory, so its contents cannot be compared.')
    try:
        return as_read(path, place, status)
    except OSError as error:
        raise _error(path, error) from error


def problem_of(path: object) -> str:
    """Why a file cannot be read, as far as a quick look says; '' where nothing is known to be wrong."""
    try:
        given = checked_path(path)
        if is_remote(given) or os.path.exists(local_place(given)) or (_has_magic(given) and matches(given)):
            return ''
    except KartError as error:
        return str(error)
    return f'{path} does not exist.'


def look_again(recorded: FileInput) -> FileInput:
    """What is recorded of a path, as it is now."""
    place = local_place(recorded.path)
    if recorded.kind == 'names':
        return look_at_names(recorded.path, os.listdir(place), settled_time(os.stat(place).st_mtime_ns))
    if recorded.kind == 'matches':
        return look_at_matches(recorded.path, matches(recorded.path))
    return look_at(recorded.path)


def look_at_names(path: str, names: Iterable[str], modified_ns: int) -> FileInput:
    """What was seen of a directory of which only the names count; `modified_ns` is 0 where it may not be relied on."""
    counted = sorted(filter(counts, names))
    return FileInput(path, 'names', len(counted), modified_ns, _digest_of(counted))


def look_at_matches(path: str, found: Iterable[str]) -> FileInput:
    """What was seen of a pattern of which only the names count."""
    counted = sorted(set(found))
    return FileInput(path, 'matches', len(counted), 0, _digest_of(counted))


def as_read(path: str, place: str, status: os.stat_result) -> FileInput:
    """A file that had this status when it was read; its digest is '' when it has another one now."""
    digest = contents_digest(place, status) if is_same_status(os.stat(place), status) else ''
    if digest and not is_same_status(os.stat(place), status):
        digest = ''
    modified = settled_time(status.st_mtime_ns)
    return FileInput(path, 'file', status.st_size, modified, digest, status.st_ctime_ns if modified else 0)


def is_same_status(one: os.stat_result, other: os.stat_result) -> bool:
    """Whether a file has not been written or replaced between two looks at it."""
    return (one.st_size, one.st_mtime_ns, one.st_ino, one.st_dev) == (
        other.st_size,
        other.st_mtime_ns,
        other.st_ino,
        other.st_dev,
    )


def compare(recorded: FileInput, path: str | None = None) -> FileComparison:
    """Whether what was read is the same now; `path` is the real one where a part of it was masked."""
    if recorded.kind == 'unknown':
        return FileComparison('unknown', f'{recorded.shown} ({recorded.digest})')
    place = path or recorded.path
    if path is None and is_masked(place):
        return FileComparison('unknown', f'{place} (a part of it is secret)')
    try:
        if is_remote(place):
            return _compare_remote(recorded, place)
        if recorded.kind in ('directory', 'files'):
            return _compare_files(recorded)
        if recorded.kind == 'matches':
            return _compare_names(recorded, look_at_matches(place, matches(place)))
        return _compare_place(recorded, local_place(place))
    except StorageError as error:
        return FileComparison('unknown', str(error))
    except (OSError, ValueError) as error:
        reason = getattr(error, 'strerror', None) or str(error)
        return FileComparison('unknown', f'{recorded.shown} cannot be read ({reason})')


def _compare_place(recorded: FileInput, place: str) -> FileComparison:
    try:
        status = os.stat(place)
    except (FileNotFoundError, NotADirectoryError):
        return SAME if recorded.kind == 'missing' else FileComparison('gone', f'{recorded.shown} is gone')
    if recorded.kind == 'missing':
        is_empty_log = recorded.path.endswith(WRITE_AHEAD) and not status.st_size
        return SAME if is_empty_log else FileComparison('changed', f'{recorded.shown} is new')
    if recorded.kind == 'names':
        if not stat.S_ISDIR(status.st_mode):
            return FileComparison('changed', f'{recorded.shown} is not a directory any more')
        if status.st_mtime_ns == recorded.modified_ns:
            return SAME
        return _compare_names(recorded, look_at_names(recorded.path, os.listdir(place), 0))
    if not stat.S_ISREG(status.st_mode):
        what = 'is a directory now' if stat.S_ISDIR(status.st_mode) else 'is not a file any more'
        return FileComparison('changed', f'{recorded.shown} {what}')
    changed = FileComparison('changed', f'{recorded.shown} changed')
    if not recorded.digest or status.st_size != recorded.size:
        return changed
    if (status.st_mtime_ns, status.st_ctime_ns) == (recorded.modified_ns, recorded.changed_ns):
        return SAME
    return SAME if contents_digest(place, status) == recorded.digest else changed


def _compare_names(recorded: FileInput, now: FileInput) -> FileComparison:
    if now.digest == recorded.digest:
        return SAME
    return FileComparison('changed', _difference(recorded, now.size))


def _difference(recorded: FileInput, number: int) -> str:
    """How files differ, by their number."""
    more = number - recorded.size
    if more > 0:
        return f'{recorded.shown}: {more} new file{"s" * (more > 1)}'
    if more < 0:
        return f'{recorded.shown}: {-more} {"files are" if more < -1 else "file is"} gone'
    return f'{recorded.shown} changed'


# --- Directories and patterns whose contents count ------------------------------------------------------------------


def _look_at_files(path: str, kind: Literal['directory', 'files']) -> FileInput:
    found = _found(path, kind)
    if kind == 'files' and not found:
        raise FileInputError(f'{path} matches no file.')
    contents = _contents_of(found) or f'{_UNREAD}{_outside_of(found, strict=False)}'
    return FileInput(path, kind, len(found), 0, f'{_outside_of(found, strict=True)}-{contents}')


def _compare_files(recorded: FileInput) -> FileComparison:
    if recorded.kind == 'directory' and not os.path.isdir(local_place(recorded.path)):
        if os.path.exists(local_place(recorded.path)):
            return FileComparison('changed', f'{recorded.shown} is not a directory any more')
        return FileComparison('gone', f'{recorded.shown} is gone')
    found = _found(recorded.path, recorded.kind)
    outside, _, contents = recorded.digest.partition('-')
    if outside and _outside_of(found, strict=bool(contents)) == outside:
        return SAME
    if contents.startswith(_UNREAD):
        loose = contents.removeprefix(_UNREAD)
        if loose and _outside_of(found, strict=False) == loose:
            why = 'too many or too large to be read; sizes and times are the same, but something was written since'
            return FileComparison('unknown', f'{recorded.shown} ({why})')
        return FileComparison('changed', _difference(recorded, len(found)))
    if contents and len(found) == recorded.size and _contents_of(found) == contents:
        return SAME
    return FileComparison('changed', _difference(recorded, len(found)))


#: A file by its name below a directory, or by its path; where it is; and what it looks like.
_Found: TypeAlias = list[tuple[str, str, os.stat_result]]


def _found(path: str, kind: Kind) -> _Found:
    if kind == 'directory':
        return sorted(_below(local_place(path)), key=lambda item: item[0])
    found = []
    for name in sorted(set(matches(path))):
        place = local_place(name)
        try:
            status = os.stat(place)
        except OSError:  # removed meanwhile
            continue
        if stat.S_ISREG(status.st_mode):
            found.append((name, place, status))
    return found


def _below(root: str) -> Iterator[tuple[str, str, os.stat_result]]:
    pending = ['']
    entered = set()
    while pending:
        directory = pending.pop()
        with os.scandir(os.path.join(root, directory)) as entries:
            for entry in entries:
                if not counts(entry.name):
                    continue
                name = os.path.join(directory, entry.name)
                try:
                    status = entry.stat()
                except OSError:  # a link to nowhere, or removed meanwhile
                    continue
                identity = status.st_dev, status.st_ino
                if stat.S_ISREG(status.st_mode):
                    yield name, entry.path, status
                elif stat.S_ISDIR(status.st_mode) and identity not in entered:  # links may make circles
                    entered.add(identity)
                    pending.append(name)


def _outside_of(found: _Found, strict: bool) -> str:
    """A digest of names, sizes and times; '' when a file was written just now, so that its time says nothing.

    If `strict`, the times of the last change count too, which nobody can set, but which copies do not keep.
    """
    latest = max((max(status.st_mtime_ns, status.st_ctime_ns * strict) for _, _, status in found), default=0)
    if latest and not settled_time(latest):
        return ''
    return _digest_of(
        f'{name}\0{status.st_size}\0{status.st_mtime_ns}\0{status.st_ctime_ns * strict}' for name, _, status in found
    )


def _contents_of(found: _Found) -> str:
    """A digest of names and contents; '' when these are too many to be read."""
    if len(found) > MOST_DIGESTED or sum(status.st_size for _, _, status in found) > _MOST_BYTES:
        return ''
    return _digest_of(f'{name}\0{contents_digest(place, status)}' for name, place, status in found)


def matches(pattern: str) -> list[str]:
    """The paths that match a pattern, relative ones if it is relative; ``**`` stands for any directories."""
    place = local_place(pattern)
    beginning = place.removesuffix(pattern) if place != pattern and place.endswith(pattern) else ''
    found = glob.glob(place, recursive=True, include_hidden=True)
    return [name.removeprefix(beginning) for name in found if all(map(counts, name[len(beginning) :].split(os.sep)))]


def counts(name: str) -> bool:
    """Whether a name in a directory is one that a person has put there, not one that a tool leaves for a while."""
    if name in _NOT_COUNTED or name.startswith(('.~', '.#', '~$')):
        return False
    return not name.endswith(_OF_EDITORS) and not is_temporary(name)


def has_many_files(found: FileInput) -> bool:
    """Whether of a directory or pattern only names, sizes and times are compared, because it has too many files."""
    return found.kind in ('directory', 'files') and f'-{_UNREAD}' in found.digest


# --- Many files ---------------------------------------------------------------------------------------------------


def gathered(files: list[FileInput], most: int) -> list[FileInput]:
    """Many files as a few patterns, of which names, sizes and times count."""
    if len(files) <= most:
        return files
    alone = [file for file in files if file.kind != 'file' or not file.digest]
    groups: dict[str, list[FileInput]] = {}
    for file in files:
        if file.kind == 'file' and file.digest:
            beginning, name = os.path.split(file.path)
            groups.setdefault(os.path.join(without_magic(beginning), _like(name)), []).append(file)
    if len(groups) > most:
        kinds = sorted({_like(file.path) for file in files})
        top = os.path.commonpath([os.path.abspath(file.path) for file in files])
        return alone + [_look_at_pattern(os.path.join(without_magic(top), '**', kind)) for kind in kinds]
    alone += [group[0] for group in groups.values() if len(group) == 1]
    return alone + [_look_at_pattern(pattern) for pattern, group in groups.items() if len(group) > 1]


def _like(name: str) -> str:
    """The pattern of names with the same extension."""
    return f'*{without_magic(os.path.splitext(name)[1])}'


def without_magic(text: str) -> str:
    """The pattern that only this text matches."""
    return ''.join(f'[{letter}]' if letter in _MAGIC else letter for letter in text)


def _look_at_pattern(pattern: str) -> FileInput:
    try:
        return look_at(pattern)
    except KartError as error:
        return FileInput(pattern, 'unknown', digest=str(error))


# --- Files of the system ------------------------------------------------------------------------------------------

#: Parts of paths that say what a file is, wherever it is.
_TOOLS = ('/__pycache__/', '/.git/', '/.ipynb_checkpoints/', '.dist-info/', '.egg-info/')
#: What the settings and caches of a person are called, below the home directory.
_OF_HOME = """
    .aws .azure .bash_history .cache .conda .condarc .config .docker .git-credentials .gitconfig .gnupg .huggingface
    .ipython .jupyter .kaggle .keras .kube .local .matplotlib .mozilla .netrc .npm .nv .pgpass .pip .plotly .pyenv
    .pypirc .python_history .ssh .streamlit .triton Library AppData
"""
_OF_SYSTEM = """
    /bin /boot /etc /lib /lib32 /lib64 /proc /run /sbin /sys /usr/bin /usr/include /usr/lib /usr/lib32 /usr/lib64
    /usr/libexec /usr/local/bin /usr/local/etc /usr/local/include /usr/local/lib /usr/local/share /usr/sbin /usr/share
    /System /Library /Applications /private/etc
"""


def is_of_the_system(place: str) -> bool:
    """Whether a file belongs to the system, to an installed package, or to the settings and caches of a person."""
    if place.startswith(_system_beginnings()):
        return not place.startswith(_of_persons())
    if place.startswith('/dev/'):  # a disk in memory is one of a person's
        return not place.startswith('/dev/shm/')
    slashed = place.replace(os.sep, '/')
    return slashed.endswith(('.pyc', SUFFIX)) or any(part in slashed for part in _TOOLS)


@functools.cache
def _of_persons() -> tuple[str, ...]:
    """What is a person's below directories of the system: disks that are plugged in, and what is synchronized."""
    return '/run/media/', os.path.join(os.path.expanduser('~'), 'Library', 'CloudStorage', '')


@functools.cache
def _system_beginnings() -> tuple[str, ...]:
    installed = {path for name, path in sysconfig.get_paths().items() if name != 'data'}
    installed.update(path for path in sys.path if os.path.basename(path) in ('site-packages', 'dist-packages'))
    for prefix in {sys.prefix, sys.base_prefix}:
        installed.update(os.path.join(prefix, name) for name in ('bin', 'conda-meta', 'etc', 'include', 'lib', 'share'))
    person = os.path.expanduser('~')
    settings = [os.path.join(person, name) for name in _OF_HOME.split()] if person != '~' else []
    caches = [
        os.environ[name] for name in ('XDG_CACHE_HOME', 'XDG_CONFIG_HOME', 'MPLCONFIGDIR') if os.environ.get(name)
    ]
    windows = [os.environ[name] for name in ('SystemRoot',) if os.environ.get(name)]
    own = os.path.dirname(os.path.dirname(__file__))
    every = {*installed, *settings, *caches, *windows, *_OF_SYSTEM.split(), own}
    beginnings = {path for found in every for path in (os.path.abspath(found), os.path.realpath(found))}
    # a file of such a name may be one of a person's: only directories are left out, and single settings
    return tuple(sorted([path if os.path.isfile(path) else os.path.join(path, '') for path in beginnings]))


# --- Contents -------------------------------------------------------------------------------------------------------

_digests: dict[tuple[str, int, int, int, int], str] = {}


def contents_digest(place: str, status: os.stat_result) -> str:
    """A digest of the contents of a local file that has this status; each is read once by a process."""
    key = (place, status.st_size, status.st_mtime_ns, status.st_ino, status.st_ctime_ns)
    found = _digests.get(key)
    if found is None:
        found = _digest_file(place)
        if len(_digests) >= _MOST_REMEMBERED:
            _digests.clear()
        if settled_time(max(status.st_mtime_ns, status.st_ctime_ns)):
            _digests[key] = found
    return found


def _digest_file(place: str) -> str:
    digest = xxhash.xxh3_128()
    # a pipe in the place of the file would wait for a writer
    descriptor = os.open(place, os.O_RDONLY | getattr(os, 'O_NONBLOCK', 0) | getattr(os, 'O_BINARY', 0))
    try:
        while chunk := os.read(descriptor, _CHUNK):
            digest.update(chunk)
    finally:
        os.close(descriptor)
    return digest.hexdigest()


def _digest_of(texts: Iterable[str]) -> str:
    digest = xxhash.xxh3_128()
    for text in texts:
        digest.update(text.encode('utf-8', 'surrogateescape'))
        digest.update(b'\n')
    return digest.hexdigest()


# --- Places ---------------------------------------------------------------------------------------------------------


def is_remote(path: str) -> bool:
    """Whether a path is a URL of another computer or of an object store."""
    return '://' in path


def local_place(path: str) -> str:
    """Where a local path is: ``~`` is the home directory, and relative ones start where the build does."""
    return at_home(os.path.expanduser(path) if path.startswith('~') else path)


def _has_magic(path: str) -> bool:
    return not _MAGIC.isdisjoint(path)


def _look_at_remote(path: str) -> FileInput:
    try:
        seen = file_system(path).seen(path)
    except FileNotFoundError as error:
        raise FileInputError(f'{path} does not exist.') from error
    except KartError as error:
        raise FileInputError(f'{error}.') from error
    return FileInput(path, 'file', seen.size, int(seen.modified * 1e9), seen.check)


def _compare_remote(recorded: FileInput, path: str) -> FileComparison:
    try:
        seen = file_system(path).seen(path)
    except FileNotFoundError:
        return FileComparison('gone', f'{recorded.shown} is gone')
    is_timed = recorded.digest.endswith('~')  # without an ETag, only size and time say whether it is the same
    same = seen.check == recorded.digest and not (is_timed and int(seen.modified * 1e9) != recorded.modified_ns)
    return SAME if same else FileComparison('changed', f'{recorded.shown} changed')


def _error(path: str, error: OSError) -> FileInputError:
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return FileInputError(f'{path} does not exist.')
    if error.errno in (errno.EACCES, errno.EPERM):
        return FileInputError(f'{path} cannot be read: permission is denied.')
    return FileInputError(f'{path} cannot be read: {error.strerror or error}.')
