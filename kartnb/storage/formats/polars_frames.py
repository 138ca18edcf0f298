"""Polars frames in text and column files. Lazy frames are collected when they are written."""

from __future__ import annotations

import io
import os
from typing import IO, TYPE_CHECKING, Any

from kartnb.errors import MissingPackageError, WrongValueError
from kartnb.storage.filesystem import local_path
from kartnb.storage.formats.base import DataFrameType

if TYPE_CHECKING:
    import polars as pl


def check(obj: Any) -> None:
    """Take eager and lazy frames."""
    pl = _polars()
    if not isinstance(obj, pl.DataFrame | pl.LazyFrame):
        library = type(obj).__module__.partition('.')[0].replace('builtins', '')
        given = f'{library} {type(obj).__name__}'.strip()
        raise WrongValueError(f'this file takes a polars DataFrame or LazyFrame, not a {given}')


def eager(obj: Any) -> pl.DataFrame:
    """Give the frame itself, collected if it is lazy."""
    frame: pl.DataFrame = obj.collect() if isinstance(obj, _polars().LazyFrame) else obj
    return frame


def as_type(frame: Any, kind: DataFrameType) -> Any:
    """Give a frame as the type that is asked for."""
    return frame.lazy() if kind == 'polars-lazy' else frame


def read_csv(file: IO[Any], sep: str, encoding: str, kind: DataFrameType) -> Any:
    """Read delimited text; an empty file gives an empty frame."""
    pl = _polars()
    path = _path_to_scan(file, kind)
    if path is not None and encoding.lower() in ('utf-8', 'utf8'):
        return pl.scan_csv(path, separator=sep)
    data = _bytes(file)
    if not data.strip():
        return as_type(pl.DataFrame(), kind)
    if encoding.lower().replace('-', '') != 'utf8':
        data = data.decode(encoding).encode()
    return as_type(pl.read_csv(data, separator=sep), kind)


def read_json(file: IO[Any], by_line: bool, kind: DataFrameType) -> Any:
    """Read JSON, or one object a line; an empty file gives an empty frame."""
    pl = _polars()
    path = _path_to_scan(file, kind)
    if path is not None and by_line:
        return pl.scan_ndjson(path)
    data = _bytes(file)
    if not data.strip():
        return as_type(pl.DataFrame(), kind)
    read = pl.read_ndjson if by_line else pl.read_json
    return as_type(read(io.BytesIO(data)), kind)


def read_parquet(file: IO[bytes], kind: DataFrameType) -> Any:
    """Read a parquet file; a lazy frame reads it when it is collected, so the file must stay."""
    pl = _polars()
    path = _path_to_scan(file, kind)
    if path is not None:
        return pl.scan_parquet(path)
    return as_type(pl.read_parquet(local_path(file) or io.BytesIO(file.read())), kind)


def read_feather(file: IO[bytes], kind: DataFrameType) -> Any:
    """Read a feather file; a lazy frame reads it when it is collected, so the file must stay."""
    pl = _polars()
    path = _path_to_scan(file, kind)
    if path is not None:
        return pl.scan_ipc(path)
    return as_type(pl.read_ipc(local_path(file) or io.BytesIO(file.read())), kind)


def _path_to_scan(file: IO[Any], kind: DataFrameType) -> str | None:
    """Give the absolute path of a file that a lazy frame may read later: a local one with more than an empty line."""
    path = local_path(file)
    if kind != 'polars-lazy' or path is None or os.path.getsize(path) <= len('\r\n'):
        return None
    return os.path.abspath(path)


def _bytes(file: IO[Any]) -> bytes:
    data = file.read()
    return data.encode() if isinstance(data, str) else data


def _polars() -> Any:
    try:
        import polars
    except ImportError as error:
        raise MissingPackageError("polars frames need polars: pip install 'kartnb[polars]'") from error
    return polars
