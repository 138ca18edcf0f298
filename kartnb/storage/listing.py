"""Which of many files exist, with as few questions to the disk as possible."""

from __future__ import annotations

import os
from collections.abc import Container, Iterable

from kartnb.storage.filesystem import FileSystem, file_system
from kartnb.storage.litter import sweep_litter

# One listing of a directory is cheaper than this many questions about single files; on an object store, than two.
_SHARED_LOCALLY = 20
_SHARED_REMOTELY = 2
#: To read so many names of a directory takes longer than one question.
_NAMES_A_QUESTION = 10


class Listing:
    """Answers `exists` for many paths, by one listing where many of them share a directory.

    It remembers what it learnt, so one listing serves one plan; make a new one for the next.

    Examples
    --------
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
        """A short text that is another one when a file has been written since; '' where nobody knows."""
        known = self._marks.get(path)
        if known is None:
            known = self._marks[path] = file_system(path).mark(path)
        return known

    def existing(self, paths: Iterable[str]) -> set[str]:
        """Give those of `paths` that exist."""
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
    # a disk may keep other forms of a name than the one asked for (accents on macOS), or none of '' and '..'
    return (not name.isascii() or name in ('', '.', '..')) and place.exists(path)
