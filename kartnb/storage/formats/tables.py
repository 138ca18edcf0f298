"""Tables: csv, tsv, json, ndjson, parquet and feather, as frames of pandas or polars.

Lazy frames of polars are collected when they are written.
"""

from __future__ import annotations

import io
import os
from typing import IO, TYPE_CHECKING, Any, Literal, TypeAlias

from kartnb.errors import MissingPackageError, WrongValueError
from kartnb.storage.filesystem import local_path
from kartnb.storage.formats import exact_text
from kartnb.storage.formats.base import DataFrameType, FileProcessor, ProcessorFactory, refusing, rereadable

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl

JsonOrient: TypeAlias = Literal['split', 'records', 'index', 'table', 'columns', 'values']
Compression: TypeAlias = Literal['zstd', 'gzip', 'snappy', 'brotli', 'lz4'] | None

_NUMBERS = 'biufmM'
_PIECE = 1 << 24
INDEX_COLUMN_PREFIX = '__feather_gokart_index__'


class CsvFileProcessor(FileProcessor):
    """Keeps frames and series as delimited text, without the index."""

    def __init__(self, sep: str = ',', encoding: str = 'utf-8', dataframe_type: DataFrameType = 'pandas') -> None:
        self._sep = sep
        self._encoding = encoding
        self._dataframe_type = dataframe_type

    def check(self, obj: Any) -> None:
        """Take frames and series."""
        if self._dataframe_type != 'pandas':
            _check_polars(obj)
            return
        import pandas as pd

        if not isinstance(obj, pd.DataFrame | pd.Series):
            raise WrongValueError(f'a csv file takes a pandas DataFrame or Series, not {type(obj).__name__}')

    def load(self, file: IO[Any]) -> Any:
        """Read a frame; an empty file gives an empty one."""
        if self._dataframe_type != 'pandas':
            return _polars_read_csv(file, self._sep, self._encoding, self._dataframe_type)
        import pandas as pd

        file = rereadable(file)
        if exact_text.is_typed(file):
            return exact_text.read_csv(file, self._sep)
        try:
            # pandas compares a text file's encoding letter by letter
            return pd.read_csv(file, sep=self._sep, encoding=getattr(file, 'encoding', None) or self._encoding)
        except pd.errors.EmptyDataError:
            return pd.DataFrame()

    peek = load

    def dump(self, obj: Any, file: IO[Any]) -> None:
        """Write a frame or a series."""
        self.check(obj)
        if self._dataframe_type != 'pandas':
            frame = _eager(obj)
            with refusing('a csv file'):
                frame.write_csv(file, separator=self._sep, include_header=True)
            return
        if isinstance(file, io.TextIOBase):
            obj.to_csv(file, index=False, sep=self._sep, header=True, lineterminator='\n')
            return
        # newline='': the same bytes on Windows
        text = io.TextIOWrapper(file, encoding=self._encoding, newline='', write_through=True)
        obj.to_csv(text, index=False, sep=self._sep, header=True, lineterminator='\n')
        text.flush()
        text.detach()  # or the file would be closed with it, before its owner renames it


class JsonFileProcessor(FileProcessor):
    """Keeps frames, series, and dicts that are columns as JSON.

    `orient` is that of `pandas.DataFrame.to_json`; 'records' writes one line for each row.
    """

    def __init__(self, orient: JsonOrient | None = None, dataframe_type: DataFrameType = 'pandas') -> None:
        self._orient = orient
        self._dataframe_type = dataframe_type

    def check(self, obj: Any) -> None:
        """Take frames, series and dicts."""
        if self._dataframe_type != 'pandas':
            _check_polars(obj)
            return
        import pandas as pd

        if not isinstance(obj, pd.DataFrame | pd.Series | dict):
            raise WrongValueError(
                f'a json file takes a pandas DataFrame, a Series or a dict of columns, not {type(obj).__name__}'
            )

    def load(self, file: IO[Any]) -> Any:
        """Read a frame, or a series."""
        if self._dataframe_type != 'pandas':
            return _polars_read_json(file, self._orient == 'records', self._dataframe_type)
        import pandas as pd

        file = rereadable(file)
        if exact_text.is_typed(file):
            return exact_text.read_json(file, self._orient == 'records')
        try:
            return pd.read_json(file, orient=self._orient, lines=self._orient == 'records')
        except ValueError as error:
            if 'all scalar values' not in str(error):
                raise
            file.seek(0)
            return pd.read_json(file, typ='series')  # as a Series is written

    peek = load

    def dump(self, obj: Any, file: IO[Any]) -> None:
        """Write a frame, a series or a dict of columns."""
        self.check(obj)
        if self._dataframe_type != 'pandas':
            frame = _eager(obj)
            write: Any = frame.write_ndjson if self._orient == 'records' else frame.write_json
            with refusing('a json file'):
                write(file)
            return
        import pandas as pd

        with refusing('a json file'):
            table = pd.DataFrame.from_dict(obj) if isinstance(obj, dict) else obj
            table.to_json(file, orient=self._orient, lines=self._orient == 'records')


def _pyarrow() -> Any:
    try:
        import pyarrow
    except ImportError as error:
        raise MissingPackageError("parquet and feather files need pyarrow: pip install 'kartnb[parquet]'") from error
    return pyarrow


def _check_frame(obj: Any, kind: str) -> None:
    import pandas as pd

    if not isinstance(obj, pd.DataFrame):
        raise WrongValueError(f'a {kind} file takes a pandas DataFrame, not {type(obj).__name__}')


class ParquetFileProcessor(FileProcessor):
    """Keeps frames without their index. Pages carry checksums, so a damaged file is noticed.

    `engine` is that of `pandas.DataFrame.to_parquet`; `compression` is 'zstd' (files as small as gokart's gzip, several
    times faster), 'gzip', 'snappy', 'brotli', 'lz4' or None.
    """

    def __init__(
        self,
        engine: Literal['auto', 'pyarrow', 'fastparquet'] = 'pyarrow',
        compression: Compression = None,
        dataframe_type: DataFrameType = 'pandas',
    ) -> None:
        self._engine = engine
        self._compression = compression
        self._dataframe_type = dataframe_type

    def check(self, obj: Any) -> None:
        """Take frames."""
        if self._dataframe_type == 'pandas':
            _check_frame(obj, 'parquet')
        else:
            _check_polars(obj)

    def load(self, file: IO[bytes]) -> Any:
        """Read a frame."""
        if self._dataframe_type != 'pandas':
            return _polars_read_parquet(file, self._dataframe_type)
        import pandas as pd

        checked: Any = {} if self._engine == 'fastparquet' else {'page_checksum_verification': True}
        _pyarrow()
        engine: Any = self._engine
        return pd.read_parquet(_source(file), engine=engine, **checked)

    peek = load

    def dump(self, obj: Any, file: IO[bytes]) -> None:
        """Write a frame."""
        self.check(obj)
        if self._dataframe_type != 'pandas':
            frame = _eager(obj)
            with refusing('a parquet file'):
                frame.write_parquet(file, compression=self._compression or 'zstd')
            return
        checked: Any = {} if self._engine == 'fastparquet' else {'write_page_checksum': True}
        target = local_path(file) or file
        _pyarrow()
        with refusing('a parquet file'):
            obj.to_parquet(target, index=False, engine=self._engine, compression=self._compression, **checked)


class FeatherFileProcessor(FileProcessor):
    """Keeps frames as Arrow files, uncompressed: about as fast as the disk.

    `store_index_in_feather` keeps the index in one more column, which gokart knows.
    """

    def __init__(self, store_index_in_feather: bool, dataframe_type: DataFrameType = 'pandas') -> None:
        self._store_index_in_feather = store_index_in_feather
        self._dataframe_type = dataframe_type

    def check(self, obj: Any) -> None:
        """Take frames; the name of their index must be free as the name of a column."""
        if self._dataframe_type != 'pandas':
            _check_polars(obj)
            return
        _check_frame(obj, 'feather')
        if self._store_index_in_feather:
            _check_index(obj)

    def load(self, file: IO[bytes]) -> Any:
        """Read a frame."""
        if self._dataframe_type != 'pandas':
            return _polars_read_feather(file, self._dataframe_type)
        import pandas as pd

        _pyarrow()
        with _feather_source(file) as source:
            frame = pd.read_feather(source)
        return _with_index_from_column(frame) if self._store_index_in_feather else frame

    peek = load

    def dump(self, obj: Any, file: IO[bytes]) -> None:
        """Write a frame."""
        self.check(obj)
        if self._dataframe_type != 'pandas':
            frame = _eager(obj)
            with refusing('a feather file'):
                frame.write_ipc(file)
            return
        _pyarrow()
        with refusing('a feather file'):
            _write_feather(_with_column_from_index(obj) if self._store_index_in_feather else obj, file)


def _source(file: IO[bytes]) -> Any:
    """Return what pandas reads from: the path of a local file, else a file that it can seek in."""
    path = local_path(file)
    return rereadable(file) if path is None else path


def _check_index(frame: pd.DataFrame) -> None:
    name = frame.index.name
    if name == 'None':
        raise WrongValueError("a feather file cannot keep an index named 'None': give it another name")
    if f'{INDEX_COLUMN_PREFIX}{name}' in frame.columns:
        raise WrongValueError(
            f'a feather file keeps the index in a column {INDEX_COLUMN_PREFIX}{name}, which this frame has already: '
            'rename it, or set store_index_in_feather=False'
        )


def _feather_source(file: IO[bytes]) -> Any:
    """What pandas reads a feather file from, checked for damage that would crash the process."""
    import pyarrow as pa

    path = local_path(file)
    if path is None:
        data = file.read()
        pa.ipc.open_file(pa.BufferReader(data)).read_all().validate(full=True)
        return pa.BufferReader(data)
    with pa.memory_map(path) as mapped:
        table = pa.ipc.open_file(mapped).read_all()
        table.validate(full=True)
    # numbers are copied into the frame; what is not must not depend on a file that somebody may change
    numbers = all(pa.types.is_integer(kind) or pa.types.is_floating(kind) for kind in table.schema.types)
    return pa.memory_map(path) if numbers else pa.OSFile(path)


def _write_feather(frame: pd.DataFrame, file: IO[bytes]) -> None:
    import pandas as pd
    import pyarrow as pa

    plain = all(getattr(dtype, 'kind', 'O') in _NUMBERS and not hasattr(dtype, 'na_value') for dtype in frame.dtypes)
    if not plain or not isinstance(frame.index, pd.RangeIndex):
        table = pa.Table.from_pandas(frame)
        with pa.ipc.new_file(local_path(file) or file, table.schema) as writer:
            writer.write_table(table)
        return
    # a block of numbers that lie row by row is turned into columns a piece at a time
    schema = pa.Schema.from_pandas(frame)
    columns = [frame.iloc[:, i] for i in range(frame.shape[1])]
    rows = max(1, _PIECE // max(1, 8 * frame.shape[1]))
    with pa.ipc.new_file(local_path(file) or file, schema) as writer:
        for start in range(0, max(1, len(frame)), rows):
            pieces = [column.iloc[start : start + rows] for column in columns]
            arrays = [pa.Array.from_pandas(piece, type=kind) for piece, kind in zip(pieces, schema.types, strict=True)]
            writer.write_batch(pa.RecordBatch.from_arrays(arrays, schema=schema))


def _with_column_from_index(frame: pd.DataFrame) -> pd.DataFrame:
    import pandas as pd

    column = frame.index
    copy = frame.copy(deep=False)
    copy.index = pd.RangeIndex(len(frame))
    copy[f'{INDEX_COLUMN_PREFIX}{column.name}'] = column
    return copy


def _with_index_from_column(frame: pd.DataFrame) -> pd.DataFrame:
    import pandas as pd

    # of several levels the first has the name
    labels = [str(name[0] if isinstance(name, tuple) else name) for name in frame.columns]
    found = [i for i, label in enumerate(labels) if label.startswith(INDEX_COLUMN_PREFIX)]
    if not found:
        return frame
    name = labels[found[-1]][len(INDEX_COLUMN_PREFIX) :]
    index = pd.Index(frame.iloc[:, found[-1]]).rename(None if name == 'None' else name)
    restored = frame.drop(columns=[frame.columns[found[-1]]])
    restored.index = index
    return restored


def _check_polars(obj: Any) -> None:
    """Take eager and lazy frames."""
    pl = _polars()
    if not isinstance(obj, pl.DataFrame | pl.LazyFrame):
        library = type(obj).__module__.partition('.')[0].replace('builtins', '')
        given = f'{library} {type(obj).__name__}'.strip()
        raise WrongValueError(f'this file takes a polars DataFrame or LazyFrame, not a {given}')


def _eager(obj: Any) -> pl.DataFrame:
    """Return the frame itself, collected if it is lazy."""
    frame: pl.DataFrame = obj.collect() if isinstance(obj, _polars().LazyFrame) else obj
    return frame


def _as_type(frame: Any, kind: DataFrameType) -> Any:
    """Return a frame as the type that is asked for."""
    return frame.lazy() if kind == 'polars-lazy' else frame


def _polars_read_csv(file: IO[Any], sep: str, encoding: str, kind: DataFrameType) -> Any:
    """Read delimited text; an empty file gives an empty frame."""
    pl = _polars()
    path = _path_to_scan(file, kind)
    if path is not None and encoding.lower() in ('utf-8', 'utf8'):
        return pl.scan_csv(path, separator=sep)
    data = _bytes_of(file)
    if not data.strip():
        return _as_type(pl.DataFrame(), kind)
    if encoding.lower().replace('-', '') != 'utf8':
        data = data.decode(encoding).encode()
    return _as_type(pl.read_csv(data, separator=sep), kind)


def _polars_read_json(file: IO[Any], by_line: bool, kind: DataFrameType) -> Any:
    """Read JSON, or one object a line; an empty file gives an empty frame."""
    pl = _polars()
    path = _path_to_scan(file, kind)
    if path is not None and by_line:
        return pl.scan_ndjson(path)
    data = _bytes_of(file)
    if not data.strip():
        return _as_type(pl.DataFrame(), kind)
    read = pl.read_ndjson if by_line else pl.read_json
    return _as_type(read(io.BytesIO(data)), kind)


def _polars_read_parquet(file: IO[bytes], kind: DataFrameType) -> Any:
    """Read a parquet file; a lazy frame reads it when it is collected, so the file must stay."""
    pl = _polars()
    path = _path_to_scan(file, kind)
    if path is not None:
        return pl.scan_parquet(path)
    return _as_type(pl.read_parquet(local_path(file) or io.BytesIO(file.read())), kind)


def _polars_read_feather(file: IO[bytes], kind: DataFrameType) -> Any:
    """Read a feather file; a lazy frame reads it when it is collected, so the file must stay."""
    pl = _polars()
    path = _path_to_scan(file, kind)
    if path is not None:
        return pl.scan_ipc(path)
    return _as_type(pl.read_ipc(local_path(file) or io.BytesIO(file.read())), kind)


def _path_to_scan(file: IO[Any], kind: DataFrameType) -> str | None:
    """Return the absolute path of a file that a lazy frame may read later: a local one with more than an empty line."""
    path = local_path(file)
    if kind != 'polars-lazy' or path is None or os.path.getsize(path) <= len('\r\n'):
        return None
    return os.path.abspath(path)


def _bytes_of(file: IO[Any]) -> bytes:
    data = file.read()
    return data.encode() if isinstance(data, str) else data


def _polars() -> Any:
    try:
        import polars
    except ImportError as error:
        raise MissingPackageError("polars frames need polars: pip install 'kartnb[polars]'") from error
    return polars


FORMATS: dict[str, ProcessorFactory] = {
    '.csv': lambda store_index, frames: CsvFileProcessor(sep=',', dataframe_type=frames),
    '.tsv': lambda store_index, frames: CsvFileProcessor(sep='\t', dataframe_type=frames),
    '.json': lambda store_index, frames: JsonFileProcessor(dataframe_type=frames),
    '.ndjson': lambda store_index, frames: JsonFileProcessor(orient='records', dataframe_type=frames),
    '.parquet': lambda store_index, frames: ParquetFileProcessor(compression='zstd', dataframe_type=frames),
    '.feather': lambda store_index, frames: FeatherFileProcessor(store_index, dataframe_type=frames),
}
