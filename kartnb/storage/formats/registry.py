"""The registry of file formats: formats of your own, and how they get into workers."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import IO, Any, cast

from kartnb.storage import pickling
from kartnb.storage.formats.base import FileProcessor, always, registered_formats, set_format


class FunctionFileProcessor(FileProcessor):
    r"""Keeps values through two functions.

    ``load(file)`` gives the value; the file holds bytes, or text when `text` is set. ``dump(value, file)`` writes the
    value; the file takes bytes and text (which it encodes as UTF-8).

    >>> import json
    >>> pretty = FunctionFileProcessor(json.load, lambda value, file: json.dump(value, file, indent=1))
    >>> file = io.BytesIO()
    >>> pretty.dump([1], file)
    >>> file.getvalue()
    b'[\n 1\n]'
    """

    def __init__(self, load: Callable[[IO[Any]], Any], dump: Callable[[Any, IO[Any]], Any], text: bool = False) -> None:
        self._load = load
        self._dump = dump
        self._text = text

    def load(self, file: IO[Any]) -> Any:
        """Read a value."""
        if not self._text or isinstance(file, io.TextIOBase):
            return self._load(file)
        text = io.TextIOWrapper(file, encoding='utf-8')
        try:
            return self._load(text)
        finally:
            if not text.closed:
                text.detach()

    def dump(self, obj: Any, file: IO[Any]) -> None:
        """Write a value."""
        self._dump(obj, cast(IO[Any], _TextOrBytes(file)))


class _TextOrBytes(io.BufferedIOBase):
    """A file for writing that takes text too: many libraries write the one, many the other."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    @property
    def name(self) -> str:
        return self._file.name

    def write(self, data: Any) -> int:
        if isinstance(data, str):
            self._file.write(data.encode('utf-8'))
            return len(data)
        return self._file.write(data)

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return self._file.seekable()

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def flush(self) -> None:
        if not self._file.closed:
            self._file.flush()

    def fileno(self) -> int:
        return self._file.fileno()

    def close(self) -> None:
        """Leave the file open: who opened it renames it when all went well."""


def register_format(
    extension: str,
    processor: FileProcessor | type[FileProcessor] | None = None,
    *,
    load: Callable[[IO[Any]], Any] | None = None,
    dump: Callable[[Any, IO[Any]], Any] | None = None,
    text: bool = False,
) -> None:
    """Let all targets whose path ends in `extension` use a format of your own; again to change it.

    Parameters
    ----------
    extension
        Such as '.yaml'. One of the built-in ones gets the new format in this process.
    processor
        A `FileProcessor`, or a class of them that takes no arguments; or else:
    load, dump
        ``load(file)`` gives the value, ``dump(value, file)`` writes it.
    text
        Whether `load` reads text and not bytes.

    Examples
    --------
    >>> import json
    >>> register_format('.geojson', load=json.load, dump=json.dump)
    >>> from kartnb.storage.targets import make_target
    >>> target = make_target('place.geojson')
    >>> target.dump({'type': 'Point'})
    >>> target.load()
    {'type': 'Point'}
    >>> unregister_format('.geojson')
    """
    _check_extension(extension)
    if processor is None:
        if load is None or dump is None:
            raise TypeError(f'register_format({extension!r}) needs a processor, or both load and dump')
        if not (callable(load) and callable(dump)):
            raise TypeError(f'register_format({extension!r}) needs functions as load and dump')
        processor = FunctionFileProcessor(load, dump, text)
    elif load is not None or dump is not None:
        raise TypeError(f'register_format({extension!r}) takes a processor, or load and dump, but not both')
    set_format(extension, always(processor() if isinstance(processor, type) else processor))


def unregister_format(extension: str) -> None:
    """Forget a format that `register_format` added."""
    _check_extension(extension)
    set_format(extension, None)


def _check_extension(extension: str) -> None:
    if not isinstance(extension, str) or not extension.startswith('.') or extension.count('.') != 1 or extension == '.':
        raise ValueError(f"an extension looks like '.yaml', with one full stop at its beginning, not {extension!r}")


def packed_formats() -> bytes:
    """Return the formats that were registered in this process, for `unpack_formats` in a worker; b'' for none."""
    formats = {extension: factory(True, 'pandas') for extension, factory in registered_formats().items()}
    return pickling.dumps(formats) if formats else b''


def unpack_formats(packed: bytes) -> None:
    """Register the formats of another process in this one, in the place of those registered before."""
    formats: dict[str, FileProcessor] = pickling.loads(packed) if packed else {}
    for extension in registered_formats().keys() - formats.keys():
        set_format(extension, None)
    for extension, processor in formats.items():
        set_format(extension, always(processor))
