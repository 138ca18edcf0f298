"""Which files a running task reads, and which it writes beside its result, as `kartnb.capture.file_hook` tells it.

What cannot be seen (readers in native code, other processes, the network) a task declares by `TaskOnKart.reads`.

Counted is what a run has read and not made itself. Left out are the results of required tasks, which are compared by
themselves, Python's own reading of source files, installed packages, the system's files, caches and settings.
"""

from __future__ import annotations

import functools
import inspect
import logging
import os
import re
import stat
import sys
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from types import FrameType

from kartnb.capture import cached_reads
from kartnb.errors import KartError
from kartnb.storage.file_inputs import (
    WRITE_AHEAD,
    FileInput,
    as_read,
    compare,
    counts,
    gathered,
    has_many_files,
    is_of_the_system,
    is_remote,
    is_same_status,
    local_place,
    look_at,
    look_at_matches,
    look_at_names,
    matches,
    shown_path,
)
from kartnb.storage.files import ResultFiles, settled_time

logger = logging.getLogger('kartnb')

#: More files than that are kept together, as patterns of which sizes and times are compared.
MOST_FILES = 5000
#: Why it is unknown what a native reader has read.
_UNSEEN = 'it may read files that kartnb does not see: name them with self.reads'
_UNSEEN_CHILD = 'it may read and write files that kartnb does not see: name those it reads with self.reads'
_FILLED = 'it had values in its cache before a task used it, and may have read files for them'
#: What is seen to start a process, if it does.
_STARTING = ('subprocess.', 'os.')
_ACCESS = os.O_RDONLY | os.O_WRONLY | os.O_RDWR
_MAGIC = re.compile(r'[*?[]')
_SOURCES = ('.py', '.pyw', '.pyi', '.pyc', '.pyo', '.so', '.pyd')
#: What reads source files for Python itself.
_READERS_OF_SOURCE = frozenset(
    {
        *('importlib', 'importlib_metadata', 'importlib_resources', 'zipimport', 'zipp'),
        *('tokenize', 'linecache', 'inspect', 'pkgutil', 'pkg_resources', 'py_compile'),
    }
)
_OWN_MODULES = frozenset({__name__, 'kartnb.capture.file_hook'})
_OF_FILES = frozenset({'os', 'pathlib', 'shutil', 'tempfile'})
_READERS_OF_PATTERNS = frozenset({'glob', 'pathlib'})


@dataclass(slots=True)
class _Notes:
    """What was seen of a run, by where it is."""

    #: The files that were read: the path as given, and how they looked then.
    files: dict[str, tuple[str, os.stat_result]] = field(default_factory=dict)
    #: The directories that were listed: the path as given, the names, and when it was changed.
    names: dict[str, tuple[str, frozenset[str], int]] = field(default_factory=dict)
    #: What patterns matched.
    matches: dict[str, frozenset[str]] = field(default_factory=dict)
    #: Declared directories, patterns and URLs.
    looks: dict[str, FileInput] = field(default_factory=dict)
    #: What would count if it were there: the path as given.
    absent: dict[str, str] = field(default_factory=dict)
    #: All that was declared.
    declared: set[str] = field(default_factory=set)
    #: What the run has written, what it has added to, the directories that it has made, and what it has removed.
    written: set[str] = field(default_factory=set)
    appended: set[str] = field(default_factory=set)
    made: list[str] = field(default_factory=list)
    removed: set[str] = field(default_factory=set)
    #: What of it another run would write over: the path as given. Logs and databases, to which it adds, are not.
    whole: dict[str, str] = field(default_factory=dict)
    #: Whether it has started other processes, which may write too.
    has_children: bool = False
    #: Whether that is done by the user's code, not by a library.
    has_own_children: bool = False

    @property
    def has_inputs(self) -> bool:
        return self.has_own_children or bool(self.files or self.names or self.matches or self.looks or self.absent)


class FileReads:
    """What one run reads, from its start to its end.

    Parameters
    ----------
    home
        The working directory of the build, where relative paths start.
    workspace, temporary
        The workspace of the task, and where it keeps temporary files.
    outputs
        The paths that the task writes.
    results
        Gives the files of the results that it is made from, as far as they are known: these are compared otherwise.
    readers
        What the task's code reaches of libraries that reads files which are not seen.
    caches
        The functions with a cache that the task's code reaches.
    """

    def __init__(
        self,
        home: str | None,
        workspace: str = '',
        temporary: str = '',
        outputs: tuple[str, ...] = (),
        results: Callable[[], tuple[ResultFiles, ...]] = tuple,
        readers: tuple[str, ...] = (),
        caches: tuple[cached_reads.CachedFunction, ...] = (),
    ) -> None:
        self._home = home
        for name in caches:
            cached_reads.watch(name, lambda: FileReads(None))
        #: How often each had given a value from its cache when the run began.
        self._caches = {name: cached_reads.hits(name) for name in caches}
        self._readers = readers
        self._results = results
        self._inputs: tuple[tuple[ResultFiles, ...], frozenset[str]] = ((), frozenset())
        self._directories = (workspace or '\0', temporary or '\0')
        self._outputs = outputs
        #: The files that kartnb has put in their places meanwhile.
        self.kept: list[str] = []

    # most runs read nothing, so these are made when they are needed

    @functools.cached_property
    def _notes(self) -> _Notes:
        return _Notes()

    @functools.cached_property
    def _workspace(self) -> str:
        return _directory(self._directories[0], self._home)

    @functools.cached_property
    def _temporary(self) -> str:
        return _directory(self._directories[1], self._home)

    @property
    def has_inputs(self) -> bool:
        """Whether the run may have read something."""
        return bool(self._readers or self._caches) or ('_notes' in self.__dict__ and self._notes.has_inputs)

    def declare(self, path: str) -> None:
        """A file, a directory or a pattern that the run reads, whether it is seen or not.

        Raises FileInputError when there is nothing that can be read.
        """
        place = path if is_remote(path) else self._place(local_place(path))
        if place in self._notes.declared:
            return
        status = None if is_remote(path) else _file_status(place)
        if status is None:
            look = look_at(path)
            self._notes.looks[place] = look._replace(path=self._given(path, place))
            if has_many_files(look):
                logger.warning(
                    '%s has %s files: their names, sizes and times are compared, not their contents.',
                    shown_path(path),
                    f'{look.size:,}',
                )
        elif not self._is_own(place):
            self._notes.files.setdefault(place, (self._given(path, place), status))
        self._notes.declared.add(place)

    def note_unknown(self, path: str, why: str) -> None:
        """Something that the run may use, and that cannot be compared."""
        self._notes.looks[path] = FileInput(path, 'unknown', digest=why)

    # --- what the hook sees ---

    def note_open(self, path: str, flags: int) -> None:
        access = flags & _ACCESS
        if access == os.O_RDONLY:
            # most that are opened are results of required tasks
            if not (path.startswith(self._directories) and self._is_input(path)):
                self._note_read(path)
            return
        if flags & os.O_EXCL and not self._is_new(path):
            return  # it fails
        if access == os.O_RDWR and not flags & os.O_TRUNC:
            self._note_read(path)
        elif flags & os.O_TRUNC or self._is_new(path):
            self.note_written_whole(path)
        else:
            self._note_appended(path)
            return
        self.note_write(path)

    def note_native(self, path: str) -> None:
        """A library reads a file in native code, or all files of a directory."""
        place = self._place(path)
        if os.path.isdir(place) and not self._is_left_out(place) and not self._is_own(place) and _reader() is not None:
            self.declare(path)
        else:
            self._note_read(path)

    def note_write(self, path: str) -> None:
        self._notes.written.add(self._place(path))

    def _note_appended(self, path: str) -> None:
        """Note a file that is written and keeps what is in it: who reads it then, reads that too."""
        place = self._place(path)
        if not self._is_own(place):
            self._notes.appended.add(place)

    def _is_new(self, path: str) -> bool:
        """Whether what is about to be written is not there yet."""
        place = self._place(path)
        return place in self._notes.removed or not os.path.exists(place)

    def note_written_whole(self, path: str) -> None:
        place = self._place(path)
        frame = _reader()
        while frame is not None and _is_of(frame, _OF_FILES):
            frame = frame.f_back
        if frame is not None and not _module(frame).startswith('kartnb.') and not self._is_log(place):
            self._notes.whole.setdefault(place, self._given(path, place))

    def _is_log(self, place: str) -> bool:
        return place.startswith(f'{self._workspace}log{os.sep}')

    def note_link(self, source: str, link: str) -> None:
        """What is read through a link of the run's own is not its own."""
        if os.path.isfile(source):
            self._note_read(source)
        self.note_written_whole(link)
        self.note_write(link)

    def note_made(self, path: str) -> None:
        if self._is_new(path):  # all that is in it is the run's
            self._notes.made.append(os.path.join(self._place(path), ''))
            self.note_written_whole(path)

    def note_moved(self, source: str, target: str) -> None:
        """A file or directory gets another name: what is read under that was there before, unless the run made it."""
        place = self._place(source)
        inside = os.path.join(place, '')
        if not self._is_own(place) and not inside.startswith(tuple(self._notes.made)) and os.path.exists(place):
            self._note_read(source)
            if not self._is_left_out(place):
                self._notes.absent.setdefault(place, self._given(source, place))
        self.note_removed(source)
        self.note_written_whole(target)
        self.note_write(target)

    def note_removed(self, path: str) -> None:
        self._notes.removed.add(self._place(path))
        self.note_written_whole(path)

    def note_child(self) -> None:
        self._notes.has_children = True
        frame = _reader()
        while frame is not None and _is_of(frame, sys.stdlib_module_names):
            frame = frame.f_back
        if frame is not None and not is_of_the_system(frame.f_code.co_filename):
            self._notes.has_own_children = True

    def note_names(self, path: str) -> None:
        place = self._place(path)
        inside = os.path.join(place, '')
        if place in self._notes.names or inside.startswith(self._workspace) or self._is_left_out(inside):
            return
        frame = _reader()
        if frame is None or _is_of(frame, _READERS_OF_SOURCE) or frame.f_code.co_name.startswith('_rmtree'):
            return
        if _is_of(frame, _READERS_OF_PATTERNS) and not _is_listing(frame):
            return
        modified = os.stat(place).st_mtime_ns
        self._notes.names[place] = self._given(path, place), frozenset(filter(counts, os.listdir(place))), modified

    def note_pattern(self, pattern: str) -> None:
        place = self._place(pattern)
        beginning = _MAGIC.split(place, maxsplit=1)[0]
        if beginning.startswith(self._workspace) or self._is_left_out(beginning):
            return
        frame = _reader()
        if frame is None or _is_of(frame, _READERS_OF_SOURCE):
            return
        given = self._given(pattern, place)
        if given not in self._notes.matches:
            self._notes.matches[given] = frozenset(matches(given))

    def note_database(self, path: str) -> None:
        self._note_read(path)
        place = self._place(path)
        if self._is_new(path):
            self.note_written_whole(path)
        if place in self._notes.files:
            log = f'{place}{WRITE_AHEAD}'
            if _size(log):
                self._note_read(f'{path}{WRITE_AHEAD}')
            else:
                self._notes.absent[log] = self._given(f'{path}{WRITE_AHEAD}', log)
        self.note_write(path)

    def _note_read(self, path: str) -> None:
        place = self._place(path)
        if place in self._notes.files or self._is_left_out(place) or self._is_own(place):
            return
        frame = _reader()
        if frame is None or (place.endswith(_SOURCES) and _is_of(frame, _READERS_OF_SOURCE)):
            return
        try:
            status = os.stat(place)
        except (FileNotFoundError, NotADirectoryError):
            if path not in sys.path:  # whose entries are opened as archives by what looks for packages
                self._notes.absent.setdefault(place, self._given(path, place))
            return
        if stat.S_ISREG(status.st_mode):
            self._notes.files[place] = self._given(path, place), status

    def _place(self, path: str) -> str:
        return path if os.path.isabs(path) and '/.' not in path else os.path.abspath(path)

    def _given(self, path: str, place: str) -> str:
        """How a path is recorded: as it was given, while it starts where those of the build do."""
        if is_remote(path) or os.path.isabs(path) or path.startswith('~') or self._home is None:
            return path
        return (
            os.path.normpath(path)
            if os.path.abspath(path) == os.path.join(self._home, os.path.normpath(path))
            else place
        )

    def _is_left_out(self, place: str) -> bool:
        if place.startswith(self._workspace):
            return self._is_log(place) or self._is_input(place)
        return place.startswith(self._temporary) or is_of_the_system(place)

    def _is_input(self, place: str) -> bool:
        """Whether a file is of a result that the task is made from; the result of another task counts as a file."""
        results = self._results()
        if self._inputs[0] is not results:
            paths = [path for files in results for path in files.paths]
            self._inputs = results, frozenset([*paths, *map(self._from_home, paths)])
        return place in self._inputs[1]

    def _is_own(self, place: str) -> bool:
        self._take_kept()
        return place in self._notes.written or place.startswith(tuple(self._notes.made))

    def _take_kept(self) -> None:
        for path in self.kept:
            place = self._from_home(path)
            self._notes.written.add(place)
            if not self._is_log(place):
                self._notes.whole.setdefault(place, path)
        self.kept.clear()

    # --- what is recorded ---

    def found(
        self, results: Callable[[], Iterable[str]] = tuple, mask: Callable[[str], str] = str
    ) -> tuple[FileInput, ...]:
        """What the run has read, as it was when it was first read.

        Parameters
        ----------
        results
            Gives the paths of the results of required tasks.
        mask
            Masks secrets in a text.
        """
        if not self.has_inputs:
            return ()
        left_out = {self._from_home(path) for path in (*self._outputs, *results())}
        self._take_from_caches()
        files = [
            self._file(place, *seen)
            for place, seen in list(self._notes.files.items())
            if place in self._notes.declared or place not in left_out
        ]
        found = gathered([file for file in files if file is not None], MOST_FILES)
        found += [
            self._listing(place, *seen) for place, seen in list(self._notes.names.items()) if os.path.isdir(place)
        ]
        found += [self._pattern(pattern, before) for pattern, before in list(self._notes.matches.items())]
        found += [self._declaration(place, look) for place, look in list(self._notes.looks.items())]
        found += [
            self._absence(place, given)
            for place, given in list(self._notes.absent.items())
            if place not in left_out and not self._is_own(place) and not self._is_made(place)
        ]
        if not self._notes.declared:
            unseen = [name for name in self._readers if self._may_read(name)]
            if not unseen and self._notes.has_own_children:
                found.append(FileInput('another process', 'unknown', digest=_UNSEEN_CHILD))
            found += [FileInput(name, 'unknown', digest=_UNSEEN) for name in unseen]
        return tuple([_masked(file, mask) for file in found])

    def written(self, mask: Callable[[str], str] = str) -> tuple[FileInput, ...]:
        """The files that the run has written besides its result, as they are now.

        Parameters
        ----------
        mask
            Masks secrets in a text.
        """
        if self.kept and not set(self._outputs).issuperset(self.kept):
            self._take_kept()
        if '_notes' not in self.__dict__ or not self._notes.written | self._notes.removed:
            return ()
        outputs = set(map(self._from_home, self._outputs))
        # what it has read, and then changed
        changed = {place: given for place, (given, _) in self._notes.files.items() if place in self._notes.written}
        found = []
        for place, given in sorted((self._notes.whole | changed).items()):
            if place in outputs or place.startswith(self._temporary) or is_of_the_system(place):
                continue
            with suppress(OSError, KartError):
                look = self._as_left(place, given)
                if look is not None:
                    found.append(look)
        return tuple([_masked(file, mask) for file in gathered(found, MOST_FILES)])

    def _as_left(self, place: str, given: str) -> FileInput | None:
        """What a run has left where it has written; None for a temporary file."""
        try:
            status = os.stat(place)
        except (FileNotFoundError, NotADirectoryError):
            was_there = place in self._notes.removed and place not in self._notes.written and not self._is_made(place)
            return FileInput(given, 'missing') if was_there else None
        if stat.S_ISREG(status.st_mode):
            return as_read(given, place, status)
        if not stat.S_ISDIR(status.st_mode):
            return None
        if self._is_made(place):  # what is in it was seen
            return look_at_names(given, os.listdir(place), 0)
        return look_at(given)

    def _take_from_caches(self) -> None:
        """Count what functions have read whose values the run got from their caches."""
        for name, before in self._caches.items():
            if before is not None and cached_reads.hits(name) == before:
                continue
            self._take_from(cached_reads.notes_of(name)._notes)
            if cached_reads.may_have_read(name):
                self._notes.looks[name[1]] = FileInput(name[1], 'unknown', digest=_FILLED)

    def _take_from(self, notes: _Notes) -> None:
        """Count what was noted of a function."""

        def counts_here(place: str) -> bool:
            return not self._is_left_out(place) and not self._is_own(place)

        for place, (path, status) in list(notes.files.items()):
            if counts_here(place):
                self._notes.files.setdefault(place, (self._given(path, place), status))
        for place, listed in list(notes.names.items()):
            if counts_here(os.path.join(place, '')):
                self._notes.names.setdefault(place, (self._given(listed[0], place), *listed[1:]))
        for pattern, found in list(notes.matches.items()):
            self._notes.matches.setdefault(pattern, found)
        for place, look in list(notes.looks.items()):
            self._notes.looks.setdefault(place, look)
        for place, path in list(notes.absent.items()):
            if counts_here(place):
                self._notes.absent.setdefault(place, self._given(path, place))

    def _may_read(self, name: str) -> bool:
        return self._notes.has_children or not name.startswith(_STARTING)

    def _from_home(self, path: str) -> str:
        return path if is_remote(path) or self._home is None else os.path.normpath(os.path.join(self._home, path))

    def _file(self, place: str, given: str, status: os.stat_result) -> FileInput | None:
        try:
            now = os.stat(place)
            if is_same_status(now, status):
                return as_read(given, place, status)
            seen = FileInput(given, 'file', status.st_size, status.st_mtime_ns)
            is_own = self._is_own(place) or place in self._notes.appended or place in self._notes.removed
            return self._rewritten(seen, is_own)
        except FileNotFoundError:  # it was a temporary one
            return FileInput(given, 'file') if place in self._notes.declared else None
        except OSError as error:
            return FileInput(given, 'unknown', digest=error.strerror or str(error))

    def _rewritten(self, file: FileInput, is_own: bool) -> FileInput:
        """What is recorded of something that is not what it was when the run began to use it."""
        if is_own:
            return FileInput(file.path, 'unknown', digest='the run itself writes it')
        if self._notes.has_children:
            return FileInput(file.path, 'unknown', digest='it was written while the run had other processes at work')
        return file._replace(digest='')

    def _listing(self, place: str, given: str, before: frozenset[str], modified: int) -> FileInput:
        now = os.stat(place).st_mtime_ns
        names = frozenset(filter(counts, os.listdir(place)))
        own = self._with_own(before, names, lambda name: os.path.join(place, name))
        return look_at_names(given, own, settled_time(now) if own == names else 0)

    def _pattern(self, pattern: str, before: frozenset[str]) -> FileInput:
        return look_at_matches(pattern, self._with_own(before, frozenset(matches(pattern)), self._from_home))

    def _with_own(self, before: frozenset[str], now: frozenset[str], place_of: Callable[[str], str]) -> frozenset[str]:
        """Names as they would be if nobody but the run had changed them since."""
        came = {name for name in now - before if self._is_own(place_of(name)) or self._is_made(place_of(name))}
        went = {name for name in before - now if place_of(name) in self._notes.removed}
        return (before | came) - went

    def _absence(self, place: str, given: str) -> FileInput:
        if _size(place) if place.endswith(WRITE_AHEAD) else os.path.exists(place):
            return FileInput(given, 'unknown', digest='it came while the run was under way')
        return FileInput(given, 'missing')

    def _is_made(self, place: str) -> bool:
        return os.path.join(place, '') in self._notes.made

    def _declaration(self, place: str, look: FileInput) -> FileInput:
        if look.kind == 'unknown' or compare(look).answer == 'same':
            return look
        inside = os.path.join(place, '')
        is_own = any(
            path.startswith(inside) for path in (*self._notes.written, *self._notes.removed, *self._notes.made)
        )
        return self._rewritten(look, is_own)


def _file_status(place: str) -> os.stat_result | None:
    """How a file looks now; None where there is none."""
    try:
        status = os.stat(place)
    except OSError:
        return None
    return status if stat.S_ISREG(status.st_mode) else None


def _size(place: str) -> int:
    try:
        return os.stat(place).st_size
    except OSError:
        return 0


@functools.lru_cache(maxsize=64)
def _directory(path: str, home: str | None) -> str:
    """The beginning of the paths below a directory; one that no path has where there is none."""
    if path == '\0' or is_remote(path):
        return '\0'
    return os.path.join(os.path.normpath(os.path.join(home or '', path)), '')


def _masked(file: FileInput, mask: Callable[[str], str]) -> FileInput:
    """What may be kept of a file: no secret, and no name that cannot be written."""
    shown = mask(file.path)
    if shown != file.path:
        return FileInput(shown, 'unknown', digest='a part of its path is secret')
    try:
        shown.encode()
    except UnicodeEncodeError:
        shown = shown.encode('utf-8', 'backslashreplace').decode()
        return FileInput(shown, 'unknown', digest='its name is not text')
    return file._replace(path=shown_path(shown), digest=mask(file.digest))


# --- Whose reading counts -------------------------------------------------------------------------------------------


def _reader() -> FrameType | None:
    """The frame that reads a file now; None where that is kartnb for itself."""
    frame = inspect.currentframe()
    while frame is not None and frame.f_globals.get('__name__') in _OWN_MODULES:
        frame = frame.f_back
    if frame is None or not _module(frame).startswith('kartnb.'):
        return frame
    # results that a task loads are read here
    return frame if frame.f_code.co_name == 'open_read' else None


def _module(frame: FrameType) -> str:
    return str(frame.f_globals.get('__name__') or '')


def _is_of(frame: FrameType, modules: frozenset[str]) -> bool:
    return _module(frame).partition('.')[0] in modules


def _is_listing(frame: FrameType) -> bool:
    """Whether `pathlib` lists a directory for its caller, not for a pattern."""
    outer: FrameType | None = frame
    name = ''
    while outer is not None and _is_of(outer, _READERS_OF_PATTERNS):
        name = outer.f_code.co_name
        outer = outer.f_back
    return name in ('iterdir', 'walk')
