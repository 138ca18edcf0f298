"""Tables as text: csv, tsv, json and ndjson."""

from __future__ import annotations

import io
from typing import IO, Any, Literal, TypeAlias

from kartnb.errors import WrongValueError
from kartnb.storage.formats import polars_frames, typed_text
from kartnb.storage.formats.base import DataFrameType, FileProcessor, ProcessorFactory, refusing

JsonOrient: TypeAlias = Literal['split', 'records', 'index', 'table', 'columns', 'values']


def _rereadable(file: IO[Any]) -> IO[Any]:
    return file if file.seekable() else io.BytesIO(file.read())


def _head(file: IO[Any]) -> str:
    start = file.tell()
    head = file.read(typed_text.HEAD_LENGTH)
    file.seek(start)
    return head if isinstance(head, str) else head.decode('utf-8', 'replace')


def _whole(file: IO[Any]) -> str:
    text = file.read()
    return text if isinstance(text, str) else text.decode('utf-8')


class CsvFileProcessor(FileProcessor):
    """Keeps frames and series as delimited text, without the index.

    Parameters
    ----------
    sep
        What stands between two values.
    encoding
        The encoding of the file.
    dataframe_type
        What to load: 'pandas', 'polars' or 'polars-lazy'.
    """

    def __init__(self, sep: str = ',', encoding: str = 'utf-8', dataframe_type: DataFrameType = 'pandas') -> None:
        self._sep = sep
        self._encoding = encoding
        self._dataframe_type = dataframe_type

    def check(self, obj: Any) -> None:
        """Take frames and series."""
        if self._dataframe_type != 'pandas':
            polars_frames.check(obj)
            return
        import pandas as pd

        if not isinstance(obj, pd.DataFrame | pd.Series):
            raise WrongValueError(f'a csv file takes a pandas DataFrame or Series, not {type(obj).__name__}')

    def load(self, file: IO[Any]) -> Any:
        """Read a frame; an empty file gives an empty one."""
        if self._dataframe_type != 'pandas':
            return polars_frames.read_csv(file, self._sep, self._encoding, self._dataframe_type)
        import pandas as pd

        file = _rereadable(file)
        if typed_text.is_typed(_head(file)):
            return typed_text.read_csv(_whole(file), self._sep)
        try:
            # pandas compares a text file's encoding letter by letter
            return pd.read_csv(file, sep=self._sep, encoding=getattr(file, 'encoding', None) or self._encoding)
        except pd.errors.EmptyDataError:
            return pd.DataFrame()

    def dump(self, obj: Any, file: IO[Any]) -> None:
        """Write a frame or a series."""
        self.check(obj)
        if self._dataframe_type != 'pandas':
            frame = polars_frames.eager(obj)
            with refusing('a csv file'):
                frame.write_csv(file, separator=self._sep, include_header=True)
            return
        if isinstance(file, io.TextIOBase):
            obj.to_csv(file, index=False, sep=self._sep, header=True, lineterminator='\n')
            return
        text = io.TextIOWrapper(file, encoding=self._encoding, newline='', write_through=True)
        obj.to_csv(text, index=False, sep=self._sep, header=True, lineterminator='\n')
        text.flush()
        text.detach()


class JsonFileProcessor(FileProcessor):
    """Keeps frames, series, and dicts that are columns as JSON.

    Parameters
    ----------
    orient
        As in `pandas.DataFrame.to_json`; 'records' writes one line for each row.
    dataframe_type
        What to load: 'pandas', 'polars' or 'polars-lazy'.
    """

    def __init__(self, orient: JsonOrient | None = None, dataframe_type: DataFrameType = 'pandas') -> None:
        self._orient = orient
        self._dataframe_type = dataframe_type

    def check(self, obj: Any) -> None:
        """Take frames, series and dicts."""
        if self._dataframe_type != 'pandas':
            polars_frames.check(obj)
            return
        import pandas as pd

        if not isinstance(obj, pd.DataFrame | pd.Series | dict):
            raise WrongValueError(
                f'a json file takes a pandas DataFrame, a Series or a dict of columns, not {type(obj).__name__}'
            )

    def load(self, file: IO[Any]) -> Any:
        """Read a frame, or a series."""
        if self._dataframe_type != 'pandas':
            return polars_frames.read_json(file, self._orient == 'records', self._dataframe_type)
        import pandas as pd

        file = _rereadable(file)
        if typed_text.is_typed(_head(file)):
            return typed_text.read_json(_whole(file), self._orient == 'records')
        try:
            return pd.read_json(file, orient=self._orient, lines=self._orient == 'records')
        except ValueError as error:
            if 'all scalar values' not in str(error):
                raise
            file.seek(0)
            return pd.read_json(file, typ='series')  # as a Series is written

    def dump(self, obj: Any, file: IO[Any]) -> None:
        """Write a frame, a series or a dict of columns."""
        self.check(obj)
        if self._dataframe_type != 'pandas':
            frame = polars_frames.eager(obj)
            write: Any = frame.write_ndjson if self._orient == 'records' else frame.write_json
            with refusing('a json file'):
                write(file)
            return
        import pandas as pd

        with refusing('a json file'):
            table = pd.DataFrame.from_dict(obj) if isinstance(obj, dict) else obj
            table.to_json(file, orient=self._orient, lines=self._orient == 'records')


FORMATS: dict[str, ProcessorFactory] = {
    '.csv': lambda store_index, frames: CsvFileProcessor(sep=',', dataframe_type=frames),
    '.tsv': lambda store_index, frames: CsvFileProcessor(sep='\t', dataframe_type=frames),
    '.json': lambda store_index, frames: JsonFileProcessor(dataframe_type=frames),
    '.ndjson': lambda store_index, frames: JsonFileProcessor(orient='records', dataframe_type=frames),
}
