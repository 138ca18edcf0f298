"""Tables by column: parquet and feather."""

from __future__ import annotations

import io
from typing import IO, TYPE_CHECKING, Any, Literal, TypeAlias

from kartnb.errors import MissingPackageError, WrongValueError
from kartnb.storage.filesystem import local_path
from kartnb.storage.formats import polars_frames
from kartnb.storage.formats.base import DataFrameType, FileProcessor, ProcessorFactory, refusing

if TYPE_CHECKING:
    import pandas as pd

Compression: TypeAlias = Literal['zstd', 'gzip', 'snappy', 'brotli', 'lz4'] | None

_NUMBERS = 'biufmM'
_PIECE = 1 << 24
INDEX_COLUMN_PREFIX = '__feather_gokart_index__'


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

    Parameters
    ----------
    engine
        As in `pandas.DataFrame.to_parquet`.
    compression
        'zstd' (files as small as gokart's gzip, several times faster), 'gzip', 'snappy', 'brotli', 'lz4' or None.
    dataframe_type
        What to keep and load: 'pandas', 'polars' or 'polars-lazy'.
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
            polars_frames.check(obj)

    def load(self, file: IO[bytes]) -> Any:
        """Read a frame."""
        if self._dataframe_type != 'pandas':
            return polars_frames.read_parquet(file, self._dataframe_type)
        import pandas as pd

        checked: Any = {} if self._engine == 'fastparquet' else {'page_checksum_verification': True}
        _pyarrow()
        engine: Any = self._engine
        return pd.read_parquet(_source(file), engine=engine, **checked)

    def dump(self, obj: Any, file: IO[bytes]) -> None:
        """Write a frame."""
        self.check(obj)
        if self._dataframe_type != 'pandas':
            frame = polars_frames.eager(obj)
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

    Parameters
    ----------
    store_index_in_feather
        Whether the index is kept, in one more column that gokart knows.
    dataframe_type
        What to keep and load: 'pandas', 'polars' or 'polars-lazy'.
    """

    def __init__(self, store_index_in_feather: bool, dataframe_type: DataFrameType = 'pandas') -> None:
        self._store_index_in_feather = store_index_in_feather
        self._dataframe_type = dataframe_type

    def check(self, obj: Any) -> None:
        """Take frames; the name of their index must be free as the name of a column."""
        if self._dataframe_type != 'pandas':
            polars_frames.check(obj)
            return
        _check_frame(obj, 'feather')
        if self._store_index_in_feather:
            _check_index(obj)

    def load(self, file: IO[bytes]) -> Any:
        """Read a frame."""
        if self._dataframe_type != 'pandas':
            return polars_frames.read_feather(file, self._dataframe_type)
        import pandas as pd

        _pyarrow()
        with _feather_source(file) as source:
            frame = pd.read_feather(source)
        return _with_index_from_column(frame) if self._store_index_in_feather else frame

    def dump(self, obj: Any, file: IO[bytes]) -> None:
        """Write a frame."""
        self.check(obj)
        if self._dataframe_type != 'pandas':
            frame = polars_frames.eager(obj)
            with refusing('a feather file'):
                frame.write_ipc(file)
            return
        _pyarrow()
        with refusing('a feather file'):
            _write_feather(_with_column_from_index(obj) if self._store_index_in_feather else obj, file)


def _source(file: IO[bytes]) -> Any:
    """Give what pandas reads from: the path of a local file, else a file that it can seek in."""
    path = local_path(file)
    if path is not None:
        return path
    return file if file.seekable() else io.BytesIO(file.read())


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
    """Give what pandas reads a feather file from, looked over for damage that would crash the process."""
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


FORMATS: dict[str, ProcessorFactory] = {
    '.parquet': lambda store_index, frames: ParquetFileProcessor(compression='zstd', dataframe_type=frames),
    '.feather': lambda store_index, frames: FeatherFileProcessor(store_index, dataframe_type=frames),
}
