"""The audit hook of Python that tells running tasks which files they read and write.

`open`, and all that is built on it, raises an audit event, and so do listings of directories, patterns and SQLite
databases. Methods of libraries that read or write in native code are made to raise one. A hook cannot be removed, so
this one asks first whether any task runs.
"""

from __future__ import annotations

import functools
import inspect
import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar, Token
from types import FunctionType
from typing import Any, Final, TypeAlias
from urllib.parse import unquote

from kartnb.capture import cached_reads
from kartnb.capture.file_reads import FileReads
from kartnb.errors import KartError, described
from kartnb.storage.file_inputs import checked_path, is_remote, without_magic
from kartnb.storage.files import SUFFIX

#: The event by which a task says that it reads a file.
READS = 'kartnb.reads'
#: The events by which a library does that reads or writes in native code, in one of these methods. Methods only: a
#: function of a module may have been imported by name, or be pickled by it.
_NATIVE, _NATIVE_WRITE = 'kartnb.native', 'kartnb.native.write'
#: Module, class, method, event, and which of its arguments is the path.
_NATIVE_METHODS = (
    ('pandas.io.parquet', 'PyArrowImpl', 'read', _NATIVE, 1),
    ('pandas.io.parquet', 'PyArrowImpl', 'write', _NATIVE_WRITE, 2),
    ('pyarrow.parquet.core', 'ParquetDataset', '__init__', _NATIVE, 1),
    ('pyarrow.parquet.core', 'ParquetFile', '__init__', _NATIVE, 1),
    ('pyarrow.parquet.core', 'ParquetWriter', '__init__', _NATIVE_WRITE, 1),
    *(
        ('polars.dataframe.frame', 'DataFrame', f'write_{kind}', _NATIVE_WRITE, 1)
        for kind in ('csv', 'parquet', 'ipc', 'ipc_stream', 'json', 'ndjson', 'avro', 'excel', 'delta')
    ),
)

#: The runs that are under way in this process.
_active: list[FileReads] = []
_is_installed = False


class _Nobody:
    """While this is the current one, nothing is seen: kartnb looks at files itself."""


_NOBODY: Final = _Nobody()
_current: ContextVar[FileReads | _Nobody | None] = ContextVar('kartnb_file_reads', default=None)


def begin(reads: FileReads) -> Token[Any]:
    """From now on, what is read in this context, and in threads that it starts, belongs to a run, until `end`."""
    if not _is_installed:
        _install()
    token = _current.set(reads)
    _active.append(reads)
    return token


def end(reads: FileReads, token: Token[Any]) -> None:
    """What is read from now on does not belong to a run any more."""
    if reads in _active:  # not in a forked child that goes on with the run
        _active.remove(reads)
    _current.reset(token)


@contextmanager
def unseen() -> Iterator[None]:
    """Within the block, what is read in this context belongs to no run, except to those that begin in it."""
    token = _current.set(_NOBODY)
    try:
        yield
    finally:
        _current.reset(token)


def _install() -> None:
    global _is_installed
    _is_installed = True
    sys.addaudithook(_hook)
    _watch_native_methods()


#: Those of `_NATIVE_METHODS` that have not been imported.
_unwatched = list(_NATIVE_METHODS)


def _watch_native_methods() -> None:
    """Let the native readers and writers that have been imported tell what they read and write."""
    for watched in list(_unwatched):
        module, name, method, event, index = watched
        cls = getattr(sys.modules.get(module), name, None)
        function = getattr(cls, '__dict__', {}).get(method)
        if function is not None and watched in _unwatched:
            _unwatched.remove(watched)
            if isinstance(function, FunctionType):
                setattr(cls, method, _telling(function, event, index))


def _telling(function: Any, event: str, index: int) -> Any:
    name = getattr(function, '__wrapped__', function).__code__.co_varnames[index]

    @functools.wraps(function)
    def tells(*args: Any, **kwargs: Any) -> Any:
        if _active:
            sys.audit(event, args[index] if len(args) > index else kwargs.get(name))
        return function(*args, **kwargs)

    return tells


def _hook(event: str, args: tuple[Any, ...]) -> None:
    note = _EVENTS.get(event)
    if note is None:
        return
    if event in _READING_EVENTS and cached_reads.is_watching() and _current.get() is not _NOBODY:
        for reads in cached_reads.at_work(inspect.currentframe()):
            _note(note, reads, args)
    if not _active:
        return
    current = _current.get()
    if current is None:
        _note_of_thread(note, args)
    elif current is not _NOBODY:
        _note(note, current, args)


_Note: TypeAlias = Callable[[Any, tuple[Any, ...]], None]


def _note(note: _Note, reads: Any, args: tuple[Any, ...]) -> None:
    try:
        note(reads, args)
    except KartError:  # of what a task declares
        raise
    except (OSError, TypeError, ValueError):
        pass  # no path, such as the number of an open file, or one that cannot be opened either
    except Exception as error:
        reads.note_unknown('a file or directory', f'kartnb could not see which: {described(error)}')


def _note_of_thread(note: _Note, args: tuple[Any, ...]) -> None:
    """Note what a thread does that has no context of its own: one that the running tasks have started."""
    thread = threading.current_thread()
    if thread is threading.main_thread() or thread.name.startswith('kartnb'):
        return
    for reads in list(_active):
        _note(note, reads, args)


def _unseen(note: _Note) -> _Note:
    """Let what is read while something is noted belong to no run."""

    @functools.wraps(note)
    def noted(reads: FileReads, args: tuple[Any, ...]) -> None:
        token = _current.set(_NOBODY)
        try:
            note(reads, args)
        finally:
            _current.reset(token)

    return noted


def _path(value: Any) -> str:
    """The text of a path; raises for what is none, such as the number of an open file."""
    if type(value) is str:
        return value
    return os.fsdecode(os.fspath(value))


def _on_open(reads: FileReads, args: tuple[Any, ...]) -> None:
    path = args[0]
    if type(path) is str and path.endswith(SUFFIX):  # one of kartnb's own
        return
    reads.note_open(_path(path), args[2])


def _on_rename(reads: FileReads, args: tuple[Any, ...]) -> None:
    source, target = args[0], args[1]
    if type(source) is str and source.endswith(SUFFIX):
        reads.kept.append(target)
        return
    reads.note_moved(_path(source), _path(target))


def _on_remove(reads: FileReads, args: tuple[Any, ...]) -> None:
    if args[1] == -1:
        reads.note_removed(_path(args[0]))


def _on_mkdir(reads: FileReads, args: tuple[Any, ...]) -> None:
    if args[-1] == -1:
        reads.note_made(_path(args[0]))


def _on_mkdtemp(reads: FileReads, args: tuple[Any, ...]) -> None:
    reads.note_made(_path(args[0]))


@_unseen
def _on_listing(reads: FileReads, args: tuple[Any, ...]) -> None:
    path = args[0]
    if isinstance(path, int):
        path = os.readlink(f'/proc/self/fd/{path}')
    reads.note_names('.' if path is None else _path(path))


@_unseen
def _on_glob(reads: FileReads, args: tuple[Any, ...]) -> None:
    pattern, recursive, root = _path(args[0]), args[1], args[2]
    if not recursive:
        pattern = pattern.replace('**', '*')
    reads.note_pattern(pattern if root is None else os.path.join(_path(root), pattern))


@_unseen
def _on_path_glob(reads: FileReads, args: tuple[Any, ...]) -> None:
    reads.note_pattern(os.path.join(without_magic(_path(args[0])), _path(args[1])))


@_unseen
def _on_path_rglob(reads: FileReads, args: tuple[Any, ...]) -> None:
    reads.note_pattern(os.path.join(without_magic(_path(args[0])), '**', _path(args[1])))


def _on_database(reads: FileReads, args: tuple[Any, ...]) -> None:
    path = _path(args[0])
    if path.startswith('file:'):
        path = unquote(path[len('file:') :].partition('?')[0].partition('#')[0])
        path = path[2:] if path.startswith('///') else path
    if path and path != ':memory:':
        reads.note_database(path)


def _on_child(reads: FileReads, args: tuple[Any, ...]) -> None:
    reads.note_child()


@_unseen
def _on_declared(reads: FileReads, args: tuple[Any, ...]) -> None:
    reads.declare(checked_path(args[0]))


@_unseen
def _on_native(reads: FileReads, args: tuple[Any, ...]) -> None:
    for path in args[0] if isinstance(args[0], list | tuple) else args:
        if isinstance(path, str | os.PathLike) and not is_remote(text := _path(path)):
            reads.note_native(text)


@_unseen
def _on_native_write(reads: FileReads, args: tuple[Any, ...]) -> None:
    path = args[0]
    if isinstance(path, str | os.PathLike) and not is_remote(text := _path(path)):
        reads.note_written_whole(text)
        reads.note_write(text)


def _on_import(reads: FileReads, args: tuple[Any, ...]) -> None:
    if _unwatched:
        _watch_native_methods()


def _on_write(reads: FileReads, args: tuple[Any, ...]) -> None:
    reads.note_write(_path(args[0]))


def _on_link(reads: FileReads, args: tuple[Any, ...]) -> None:
    reads.note_link(_path(args[0]), _path(args[1]))


def _on_symbolic_link(reads: FileReads, args: tuple[Any, ...]) -> None:
    link = _path(args[1])
    reads.note_link(os.path.join(os.path.dirname(link), _path(args[0])), link)


_EVENTS: dict[str, _Note] = {
    'open': _on_open,
    'os.rename': _on_rename,
    'os.remove': _on_remove,
    'os.rmdir': _on_remove,
    'os.mkdir': _on_mkdir,
    'os.truncate': _on_write,
    'os.link': _on_link,
    'os.symlink': _on_symbolic_link,
    'os.listdir': _on_listing,
    'os.scandir': _on_listing,
    'tempfile.mkdtemp': _on_mkdtemp,
    'glob.glob/2': _on_glob,
    'pathlib.Path.glob': _on_path_glob,
    'pathlib.Path.rglob': _on_path_rglob,
    'sqlite3.connect': _on_database,
    'subprocess.Popen': _on_child,
    'os.system': _on_child,
    'os.fork': _on_child,
    'os.forkpty': _on_child,
    'os.posix_spawn': _on_child,
    'os.spawn': _on_child,
    'import': _on_import,
    READS: _on_declared,
    _NATIVE: _on_native,
    _NATIVE_WRITE: _on_native_write,
}


#: What functions with a cache are watched for.
_READING_EVENTS = frozenset(
    {
        'open',
        'os.listdir',
        'os.scandir',
        'glob.glob/2',
        'pathlib.Path.glob',
        'pathlib.Path.rglob',
        'sqlite3.connect',
        READS,
        _NATIVE,
    }
)


def _forget() -> None:
    """In a forked process: what it reads cannot be recorded."""
    _active.clear()


if hasattr(os, 'register_at_fork'):
    os.register_at_fork(after_in_child=_forget)
