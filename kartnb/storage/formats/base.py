"""The table of file formats, and what a format is."""

from __future__ import annotations

import contextlib
import importlib
import io
import os
from collections.abc import Callable, Iterator
from typing import IO, Any, Literal, TypeAlias

import luigi.format

from kartnb.errors import KartError, UnknownFormatError, UnloadedResultError, WrongValueError, text_of

DataFrameType: TypeAlias = Literal['pandas', 'polars', 'polars-lazy']
ProcessorFactory: TypeAlias = Callable[[bool, DataFrameType], 'FileProcessor']


class FileProcessor:
    """How values of one format become bytes and come back. Derive from it, define `load` and `dump`, and it is yours.

    Attributes
    ----------
    buffering
        0 for a processor that reads and writes in large pieces and wants an unbuffered file.

    Examples
    --------
    >>> class Rot13(FileProcessor):
    ...     def load(self, file):
    ...         return codecs.decode(file.read().decode(), 'rot13')
    ...
    ...     def dump(self, obj, file):
    ...         file.write(codecs.encode(obj, 'rot13').encode())
    """

    buffering: int = -1

    def format(self) -> Any:
        """Return the luigi format of the file that `load` and `dump` get: bytes, unless a subclass says otherwise."""
        return luigi.format.Nop

    def check(self, obj: Any) -> None:
        """Raise `WrongValueError` for a value that the format cannot keep; called before any byte is written."""

    def small_bytes(self, obj: Any) -> bytes | None:
        """Return at once what `dump` would write of a value, where that is known to be little; else None."""
        return None

    def load(self, file: IO[Any]) -> Any:
        """Read a value from an open file."""
        raise NotImplementedError(f'{type(self).__name__} has no load')

    def peek(self, file: IO[Any]) -> Any:
        """Read what can be read without running code that is in the file; formats that hold none read all of it."""
        raise UnloadedResultError(f'has to be loaded by {self!r:.80}')

    def dump(self, obj: Any, file: IO[Any]) -> None:
        """Write a value to an open file."""
        raise NotImplementedError(f'{type(self).__name__} has no dump')

    def __repr__(self) -> str:
        return f'{type(self).__name__}()'


ENTRY_POINTS = 'kartnb.formats'

# extension -> module that knows it, in gokart's order; the module is imported when a file of its kind is first met
_MODULES: dict[str, str] = {
    '.txt': 'simple',
    '.ini': 'simple',
    '.csv': 'tables',
    '.tsv': 'tables',
    '.pkl': 'simple',
    '.gz': 'simple',
    '.json': 'tables',
    '.ndjson': 'tables',
    '.xml': 'simple',
    '.npz': 'simple',
    '.parquet': 'tables',
    '.feather': 'tables',
    '.png': 'simple',
    '.jpg': 'simple',
}
_factories: dict[str, ProcessorFactory] = {}
_registered: dict[str, ProcessorFactory] = {}
_made: dict[tuple[str, bool, DataFrameType], FileProcessor] = {}


@contextlib.contextmanager
def refusing(kind: str) -> Iterator[None]:
    """Turn what a library says of a value that it cannot write into a `WrongValueError`."""
    try:
        yield
    except (KartError, OSError, MemoryError):
        raise
    except Exception as error:
        raise WrongValueError(f'{kind} cannot keep this value, a .pkl file can: {text_of(error)}') from error


def rereadable(file: IO[Any]) -> IO[Any]:
    """Return a file that can be read twice: this one, or a copy of its bytes in memory."""
    return file if file.seekable() else io.BytesIO(file.read())


def make_file_processor(
    file_path: str, store_index_in_feather: bool = True, *, dataframe_type: DataFrameType = 'pandas'
) -> FileProcessor:
    """Return the processor for a file, by the extension of its path.

    `store_index_in_feather` keeps the index of a pandas frame in feather files; `dataframe_type` is what tables are
    loaded as. Raises UnknownFormatError when no format has the extension.

    >>> make_file_processor('resources/words.txt')
    TextFileProcessor()
    """
    return processor_of(os.path.splitext(file_path)[1], store_index_in_feather, dataframe_type, file_path)


def processor_of(
    extension: str,
    store_index_in_feather: bool = True,
    dataframe_type: DataFrameType = 'pandas',
    file_path: str = '',
) -> FileProcessor:
    """Return the processor for an extension, as `make_file_processor` does; the path is for its error message."""
    key = (extension, store_index_in_feather, dataframe_type)
    processor = _made.get(key)
    if processor is None:
        processor = _made[key] = _factory(extension, file_path)(store_index_in_feather, dataframe_type)
    return processor


def _factory(extension: str, file_path: str) -> ProcessorFactory:
    found = _registered.get(extension) or _factories.get(extension)
    if found is None and extension in _MODULES:
        module = importlib.import_module(f'kartnb.storage.formats.{_MODULES[extension]}')
        _factories.update(module.FORMATS)
        found = _factories[extension]
    if found is None:
        found = _from_package(extension)
    if found is None:
        raise UnknownFormatError(_unknown(extension, file_path))
    return found


def _from_package(extension: str) -> ProcessorFactory | None:
    """Find a format that an installed package brings, by an entry point named like the extension."""
    name = extension.removeprefix('.')
    for entry in _entry_points():
        if entry.name.removeprefix('.') == name:
            processor = entry.load()()
            _factories[extension] = always(processor)
            return _factories[extension]
    return None


def _entry_points() -> Any:
    from importlib.metadata import entry_points  # takes a while, and is seldom needed

    return entry_points(group=ENTRY_POINTS)


def always(processor: FileProcessor) -> ProcessorFactory:
    """Return the factory of a format that has one processor for all purposes."""
    return lambda store_index, frames: processor


def set_format(extension: str, factory: ProcessorFactory | None) -> None:
    """Put a format of the user's in front of all others, or with None take it away."""
    if factory is None:
        _registered.pop(extension, None)
    else:
        _registered[extension] = factory
    for key in [key for key in _made if key[0] == extension]:
        del _made[key]


def registered_formats() -> dict[str, ProcessorFactory]:
    """Return the formats that the user registered in this process."""
    return dict(_registered)


def known_extensions() -> list[str]:
    """Return the extensions that have a format, gokart's first."""
    from_packages = [f'.{entry.name.removeprefix(".")}' for entry in _entry_points()]
    return list(dict.fromkeys([*_MODULES, *_registered, *from_packages]))


def _unknown(extension: str, file_path: str) -> str:
    return (
        f'{extension or repr(file_path)} is not supported. The supported extensions are {known_extensions()}. '
        f'Add one with kartnb.register_format({extension or ".ext"!r}, load=..., dump=...), '
        'or give the target a processor.'
    )
