"""Files on object stores and other computers, through fsspec."""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import IO, Any

from kartnb.errors import KartError, MissingPackageError, StorageError, text_of
from kartnb.storage.files import FileSystem, Seen, raise_storage_error, seen_object, temporary_name

_PACKAGES = {
    's3': "'kartnb[s3]'",
    's3a': "'kartnb[s3]'",
    'gs': "'kartnb[gcs]'",
    'gcs': "'kartnb[gcs]'",
    'az': 'adlfs',
    'abfs': 'adlfs',
    'abfss': 'adlfs',
}
# An upload to these shows the whole object or nothing, and renaming is a copy.
_OBJECT_STORES = frozenset(_PACKAGES)

# What each store's library calls its errors, in the names of their classes and in their texts.
_NO_BUCKET = re.compile(r'NoSuchBucket|ContainerNotFound|(bucket|container) (does not exist|not found)', re.IGNORECASE)
_REGION = re.compile(r'\bregion|PermanentRedirect|IllegalLocationConstraint', re.IGNORECASE)
_CREDENTIALS = re.compile(
    r'PermissionError|credentials|access ?denied|forbidden|unauthori[sz]ed|authenticat|signature|access key|\b40[13]\b',
    re.IGNORECASE,
)
_CONNECTION = re.compile(
    r'timeout|timed out|connect|endpoint|unreachable|name resolution|\bSSL|\b50[0234]\b', re.IGNORECASE
)

# of gcsfs' setxattrs; a label cannot have these names
_ARGUMENTS = frozenset({'content_type', 'content_encoding', 'fixed_key_metadata'})


def remote_file_system(path: str) -> FileSystem:
    """Return the file system for a path with a scheme, such as ``s3://bucket/results``."""
    scheme = path.partition('://')[0]
    packages = _PACKAGES.get(scheme, 'fsspec')
    try:
        import fsspec
        from fsspec.core import url_to_fs
    except ImportError as error:
        raise MissingPackageError(f'{path} needs fsspec: pip install {packages}') from error
    try:
        with _named(path, 'reached'):
            # what other processes write must be seen
            backend, _ = url_to_fs(path, use_listings_cache=False)
    except ImportError as error:
        raise MissingPackageError(
            f'{path} needs a package for {scheme}:// ({error}): pip install {packages}'
        ) from error
    except ValueError as error:
        if scheme not in fsspec.available_protocols():
            raise StorageError(f'{path} has a scheme that fsspec does not know: {scheme}://', path) from error
        raise
    return _Fsspec(backend, scheme)


class _Fsspec(FileSystem):
    """A file system of fsspec."""

    def __init__(self, backend: Any, scheme: str) -> None:
        self._backend = backend
        self._uploads_whole = scheme in _OBJECT_STORES

    def exists(self, path: str) -> bool:
        with _named(path, 'read'):
            return bool(self._backend.exists(path))

    def open_read(self, path: str, buffering: int = -1) -> IO[bytes]:
        with _named(path, 'read'):
            file: IO[bytes] = self._backend.open(path, 'rb')
            return file

    @contextlib.contextmanager
    def writing(self, path: str, buffering: int = -1, scratch: str | None = None) -> Iterator[IO[bytes]]:
        # on this disk first, so that a dump that fails halfway uploads nothing
        spool_name = temporary_name(os.path.basename(path))
        spool = os.path.join(tempfile.gettempdir(), spool_name)
        try:
            with open(spool, 'xb', buffering) as file:
                yield file
            with _named(path, 'written'):
                self._upload(spool, path, scratch)
        finally:
            with contextlib.suppress(OSError):
                os.unlink(spool)

    def _upload(self, spool: str, path: str, scratch: str | None) -> None:
        directory, _, name = path.rpartition('/')
        if self._uploads_whole:
            self._backend.put_file(spool, path)
            return
        self._backend.makedirs(directory, exist_ok=True)
        beside = f'{directory if scratch is None else scratch}/{temporary_name(name)}'
        try:
            self._backend.put_file(spool, beside)
            self._backend.mv(beside, path)
        except BaseException:
            with contextlib.suppress(Exception):
                self._backend.rm_file(beside)
            raise

    def duplicate(self, path: str, target: str, *, keep_time: bool = False) -> None:
        if not self._uploads_whole:
            self._backend.makedirs(target.rpartition('/')[0], exist_ok=True)
        with _named(target, 'written'):
            self._backend.cp_file(path, target)

    def remove(self, path: str) -> None:
        with _named(path, 'removed'):
            self._backend.rm_file(path)

    def modified(self, path: str) -> datetime:
        with _named(path, 'read'):
            moment: datetime = self._backend.modified(path)
        return moment.astimezone().replace(tzinfo=None) if moment.tzinfo else moment

    def size(self, path: str) -> int:
        with _named(path, 'read'):
            return int(self._backend.size(path))

    def stamp(self, path: str) -> tuple[int, float]:
        return self.seen(path)[:2]

    def mark(self, path: str) -> str:
        try:
            return self.seen(path).mark
        except OSError:
            return ''

    def seen(self, path: str, in_part: bool = False) -> Seen:
        with _named(path, 'read'):
            return _seen(self._backend.info(path))

    def names(self, directory: str) -> set[str]:
        return {_last_part(entry) for entry in self._listed(directory, detail=False)}

    def marks(self, directory: str) -> dict[str, str]:
        entries = self._listed(directory, detail=True)
        return {_last_part(entry['name']): _seen(entry).mark for entry in entries}

    def _listed(self, directory: str, detail: bool) -> list[Any]:
        with _named(directory, 'listed'):
            try:
                return list(self._backend.ls(directory, detail=detail, refresh=True))
            except FileNotFoundError:
                return []
            except TypeError:  # a backend without a listing cache takes no `refresh`
                return list(self._backend.ls(directory, detail=detail))

    def label(self, path: str, labels: Mapping[str, str]) -> None:
        if labels and hasattr(self._backend, 'setxattrs'):
            with _named(path, 'written'):
                self._backend.setxattrs(
                    path, **{name: value for name, value in labels.items() if name not in _ARGUMENTS}
                )

    def write_bytes(self, path: str, data: bytes, scratch: str | None = None) -> None:
        if not self._uploads_whole:
            super().write_bytes(path, data, scratch)
            return
        with _named(path, 'written'):
            self._backend.pipe_file(path, data)

    def read_bytes(self, path: str) -> bytes:
        with _named(path, 'read'):
            return bytes(self._backend.cat_file(path))

    def _beginning(self, path: str, size: int) -> bytes:
        with _named(path, 'read'):
            return bytes(self._backend.cat_file(path, start=0, end=size))


@contextlib.contextmanager
def _named(path: str, doing: Any) -> Iterator[None]:
    """Raise what goes wrong in the block as a `StorageError`, whatever library of the store raised it."""
    try:
        yield
    except KartError:
        raise
    except Exception as error:
        if not isinstance(error, OSError) and type(error).__module__ == 'builtins':
            raise  # a wrong call, not the store
        sentence = '' if _is_of_a_disk(error) else _sentence(error, path, doing)
        if sentence:
            raise StorageError(sentence, path, getattr(error, 'errno', None)) from error
        raise_storage_error(error if isinstance(error, OSError) else OSError(_detail(error)), path, doing)


def _sentence(error: BaseException, path: str, doing: str) -> str:
    """What a store's error means and what to do, where it is one of the store and not of the file; else ''."""
    chain: list[BaseException] = []
    found: BaseException | None = error
    while found is not None and found not in chain:
        chain.append(found)
        found = found.__cause__ or found.__context__
    words = ' '.join(f'{" ".join(cls.__name__ for cls in type(e).__mro__)} {text_of(e)}' for e in chain)
    scheme, _, rest = path.partition('://')
    words = words.replace(rest, '')  # which may hold any word
    bucket = f'{scheme}://{rest.partition("/")[0]}'
    if _NO_BUCKET.search(words):
        return f'{path} cannot be {doing}, {bucket} does not exist: create it, or correct workspace_directory'
    if isinstance(error, FileNotFoundError):
        return ''
    because = f'{path} cannot be {doing} ({_detail(error)})'
    if _REGION.search(words):
        return f'{because}: set the region of {bucket} in the configuration of its client'
    if _CREDENTIALS.search(words):
        return f'{because}: check the credentials, and that they may read and write {bucket}'
    if _CONNECTION.search(words):
        return f'{because}: check the connection and the endpoint, and build again; finished results are kept'
    return ''


def _is_of_a_disk(error: Exception) -> bool:
    """Whether an error is one that `storage_error` knows, such as a full disk's."""
    if not isinstance(error, OSError) or isinstance(error, ConnectionError | TimeoutError):
        return False
    return type(error).__module__ == 'builtins' and error.errno is not None


def _detail(error: BaseException) -> str:
    """The text of a store's error as one line, without the queries of URLs, which may be signed."""
    text = re.sub(r'\?[^\s"\']+', '', ' '.join(text_of(error).split()))
    return text[:200] or type(error).__name__


def _last_part(entry: object) -> str:
    return str(entry).rstrip('/').rpartition('/')[2]


def _seen(info: Mapping[str, Any]) -> Seen:
    etag = info.get('ETag') or info.get('etag') or ''
    return seen_object(int(info.get('size') or 0), _changed(info), str(etag).strip('"'))


def files_below(root: str) -> list[tuple[str, int, float]]:
    """All files below a prefix, each with its path below it, its bytes and its last change in epoch seconds."""
    backend, base = _backend(root)
    with _named(root, 'listed'):
        found = backend.find(base, detail=True)
    start = base.rstrip('/') + '/'
    return [(str(path).removeprefix(start), int(info.get('size') or 0), _changed(info)) for path, info in found.items()]


def read_many(root: str, paths: list[str]) -> list[bytes | str]:
    """The bytes of files below a prefix, or a sentence in the place of those that cannot be read."""
    backend, base = _backend(root)
    names = [f'{base.rstrip("/")}/{path}' for path in paths]
    with _named(root, 'read'):
        found = backend.cat(names, on_error='return') if names else {}
    values = [found.get(name, FileNotFoundError('it is gone')) for name in names]
    return [
        _sentence(value, root, 'read') or text_of(value) if isinstance(value, Exception) else bytes(value)
        for value in values
    ]


def _backend(root: str) -> tuple[Any, str]:
    remote_file_system(root)  # says which packages are missing
    from fsspec.core import url_to_fs

    backend, base = url_to_fs(root, use_listings_cache=False)
    return backend, str(base)


def _changed(info: Mapping[str, Any]) -> float:
    """When a file was changed: each file system has its own name for it."""
    for name in ('LastModified', 'mtime', 'last_modified', 'updated', 'created'):
        moment = info.get(name)
        if isinstance(moment, datetime):
            return moment.timestamp()
        if isinstance(moment, int | float):
            return float(moment)
        if isinstance(moment, str):
            with contextlib.suppress(ValueError):
                return datetime.fromisoformat(moment).timestamp()
    return 0.0
