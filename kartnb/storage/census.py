"""What lies on a disk or an object store: all files of a workspace, which paths exist, and how full the disk is.

Many questions are answered by one listing of a directory or prefix, because single ones cost a round trip each.
"""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass, field

from kartnb.errors import KartError, StorageError
from kartnb.storage.files import SUFFIX, FileSystem, is_temporary, sweep_litter
from kartnb.storage.filesystem import file_system

#: The largest file, in bytes, that is read while a workspace is listed.
MOST_BYTES = 4 << 20
_REMOTE_BATCH = 500
_MARGIN = 1 << 12


@dataclass(frozen=True, slots=True)
class FileFound:
    """A file: its path below the workspace with ``/`` in between, its bytes, and its last change in epoch seconds."""

    path: str
    size: int
    modified: float

    @property
    def name(self) -> str:
        """The last part of the path."""
        return self.path.rpartition('/')[2]


@dataclass(slots=True)
class Census:
    """The files of a workspace, and what could not be listed, a sentence each."""

    files: list[FileFound] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def take_census(root: str) -> Census:
    """List all files below a directory, or below a prefix of an object store.

    Raises StorageError when the directory does not exist, or cannot be listed.
    """
    if '://' in root:
        from kartnb.storage.remote import files_below

        return Census([FileFound(*found) for found in files_below(root) if not is_temporary(found[0])])
    require_directory(root)
    return _local_census(root)


def require_directory(root: str) -> None:
    """Raise a `StorageError` for what is not a directory of this computer; a URL may be anything."""
    if '://' not in root and not os.path.isdir(root):
        what = 'it is a file' if os.path.exists(root) else 'the directory does not exist'
        raise StorageError(f'{root} is not a workspace: {what}', root)


def _local_census(root: str) -> Census:
    found = Census()
    pending = ['']
    while pending:
        below = pending.pop()
        try:
            with os.scandir(os.path.join(root, below)) as entries:
                pending.extend(_take(entries, below, found.files))
        except OSError as error:
            found.problems.append(f'{os.path.join(root, below)} cannot be listed: {error.strerror or error}')
    return found


def _take(entries: Iterable[os.DirEntry[str]], below: str, files: list[FileFound]) -> list[str]:
    """Add the files of one directory; gives the directories in it. Links to directories are not followed."""
    directories = []
    for entry in entries:
        name = entry.name
        path = f'{below}/{name}' if below else name
        try:
            if entry.is_dir(follow_symlinks=False):
                directories.append(path)
            elif not (name.endswith(SUFFIX) and is_temporary(name)):
                status = entry.stat()
                files.append(FileFound(path, status.st_size, status.st_mtime))
        except OSError:  # removed meanwhile, or a link to nowhere
            continue
    return directories


def read_all(root: str, files: Iterable[FileFound]) -> Iterator[tuple[FileFound, bytes | str]]:
    """Read small files; gives each with its bytes, or with a sentence that says why it cannot be read."""
    wanted = list(files)
    if '://' in root:
        yield from _read_remote(root, wanted)
        return
    for file in wanted:
        yield file, _read_local(os.path.join(root, file.path), file.size)


def _read_local(path: str, size: int) -> bytes | str:
    if size > MOST_BYTES:
        return f'{size:,} bytes are too many to be read here'
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, 'O_BINARY', 0))
        try:
            # as much as the directory listing says, and a little more: it may have been written again meanwhile
            return os.read(descriptor, size + _MARGIN)
        finally:
            os.close(descriptor)
    except OSError as error:
        return error.strerror or str(error)


def _read_remote(root: str, files: list[FileFound]) -> Iterator[tuple[FileFound, bytes | str]]:
    from kartnb.storage.remote import read_many

    for first in range(0, len(files), _REMOTE_BATCH):
        batch = files[first : first + _REMOTE_BATCH]
        yield from zip(batch, read_many(root, [file.path for file in batch]), strict=True)


def absolute_place(path: str | os.PathLike[str]) -> str:
    """A workspace as an absolute path; a URL as it is, without the slash at its end.

    >>> absolute_place('memory://results/')
    'memory://results'
    """
    text = os.fspath(path)
    return text.rstrip('/') if '://' in text else os.path.abspath(os.path.expanduser(text))


def path_below(root: str, path: str) -> str:
    """The path of a file of a workspace, given by its path below it."""
    return f'{root}/{path}' if '://' in root else os.path.join(root, path)


def unchanged(root: str, file: FileFound) -> bool:
    """Whether a file is as it was when it was found, or gone; on an object store that is not asked."""
    if '://' in root:
        return True
    try:
        status = os.stat(path_below(root, file.path))
    except OSError:
        return True
    return (status.st_size, status.st_mtime) == (file.size, file.modified)


def remove_file(path: str) -> str:
    """Remove a file; '' when it is gone, or why it is not."""
    try:
        file_system(path).remove(path)
    except FileNotFoundError:
        return ''
    except KartError as error:
        return str(error)
    return ''


logger = logging.getLogger('kartnb')

_LEAST_SHARE = 0.05
_LEAST_BYTES = 10_000_000_000
_warned: set[str] = set()


def warn_of_full_disk(workspace: str) -> None:
    """Log a warning, once a process, when little is left of the disk that a workspace is on."""
    if workspace in _warned or '://' in workspace:
        return
    _warned.add(workspace)
    place = absolute_place(workspace)
    while not os.path.isdir(place) and place != os.path.dirname(place):
        place = os.path.dirname(place)
    try:
        disk = shutil.disk_usage(place)
    except OSError:
        return
    if disk.free < _LEAST_BYTES and disk.free < _LEAST_SHARE * disk.total:
        logger.warning(
            'The disk of %s is %.0f %% full, %.1f GB are free: kartnb.clean(…) shows which results can be removed.',
            absolute_place(workspace),
            100 * (1 - disk.free / disk.total),
            disk.free / 1e9,
        )


# One listing of a directory is cheaper than this many questions about single files; on an object store, than two.
_SHARED_LOCALLY = 20
_SHARED_REMOTELY = 2
#: Listing this many names of a directory takes longer than one question.
_NAMES_A_QUESTION = 10


class Listing:
    """Answers `exists` for many paths, by one listing where many of them share a directory.

    It remembers what it learnt, so one listing serves one plan; make a new one for the next.

    >>> listing = Listing(['/nowhere/a.pkl', '/nowhere/b.pkl'])
    >>> listing.exists('/nowhere/a.pkl')
    False
    """

    def __init__(self, paths: Iterable[str] = ()) -> None:
        self._known: dict[str, bool] = {}
        self._marks: dict[str, str] = {}
        self.existing(paths)

    def exists(self, path: str) -> bool:
        """Whether a path exists (or did, when the listing was made)."""
        known = self._known.get(path)
        if known is None:
            known = self._known[path] = file_system(path).exists(path)
        return known

    def mark(self, path: str) -> str:
        """A short text that changes when the file is written; '' where it is unknown."""
        known = self._marks.get(path)
        if known is None:
            known = self._marks[path] = file_system(path).mark(path)
        return known

    def look_again(self, paths: Iterable[str]) -> None:
        """Forget what was learnt of paths."""
        for path in paths:
            self._known.pop(path, None)
            self._marks.pop(path, None)

    def existing(self, paths: Iterable[str]) -> set[str]:
        """Return those of `paths` that exist."""
        asked = set(paths)
        unknown = asked - self._known.keys()
        for directory, members in _by_directory(unknown).items():
            self._learn(directory, members)
        return {path for path in asked if self._known[path]}

    def _learn(self, directory: str, members: list[tuple[str, str]]) -> None:
        place = file_system(members[0][0])
        remote = '://' in directory
        if len(members) < (_SHARED_REMOTELY if remote else _SHARED_LOCALLY):
            self._known.update((path, place.exists(path)) for path, _ in members)
            return
        if remote:
            marks = place.marks(directory)
            self._marks.update((path, marks.get(name, '')) for path, name in members)
            self._known.update((path, _is_among(marks, name, path, place)) for path, name in members)
            return
        names = place.few_names(directory, _NAMES_A_QUESTION * len(members))
        if names is None:
            self._known.update((path, place.exists(path)) for path, _ in members)
            return
        sweep_litter(directory, names)
        self._known.update((path, _is_among(names, name, path, place)) for path, name in members)


def _by_directory(paths: Iterable[str]) -> dict[str, list[tuple[str, str]]]:
    found: dict[str, list[tuple[str, str]]] = {}
    for path in paths:
        directory, separator, name = path.rpartition('/')
        if not separator or directory.endswith('/') or not directory or '\\' in path:
            directory, name = os.path.split(path)
        found.setdefault(directory, []).append((path, name))
    return found


def _is_among(names: Container[str], name: str, path: str, place: FileSystem) -> bool:
    if name in names:
        return True
    # a disk may keep other forms of a name than the one asked for (accents on macOS), or list '' and '..' not at all
    return (not name.isascii() or name in ('', '.', '..')) and place.exists(path)
