"""Tables without loss: what is loaded is what was dumped, or the dump says why it cannot be kept.

Text files get their types in front: the first line of a csv file is ``# kartnb-table: {...}``, a json file is an object
with ``"kartnb-table"``. That is a *schema* (JSON), after which come the cells: each None, a bool, an int, a float or a
str, in columns with the levels of the index first. pandas' own ``orient='table'`` keeps neither int8, nanoseconds,
categories with types nor several columns of one name, and csv has nothing of the kind. Parquet and feather files keep
the index as pandas does. Each file is read back and compared before it takes its place.
"""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterable, Sequence
from typing import IO, TYPE_CHECKING, Any, Literal, TypeAlias

from kartnb.errors import UnknownFormatError, UnreadableResultError, WrongValueError
from kartnb.storage.filesystem import local_path
from kartnb.storage.formats.base import FileProcessor, make_file_processor, refusing, rereadable

if TYPE_CHECKING:
    import pandas as pd

Cell: TypeAlias = bool | int | float | str | None
Schema: TypeAlias = dict[str, Any]

_VERSION = 1
_MARK = 'kartnb-table'
_CSV_HEAD = f'# {_MARK}: '
_JSON_HEAD = f'{{"{_MARK}": '
_MISSING = '\\N'
_SEPARATORS = {'.csv': ',', '.tsv': '\t'}
_TEXT = (*_SEPARATORS, '.json', '.ndjson')
_COLUMN_FILES = ('.parquet', '.feather')
_MASKED = {
    'boolean',
    *(f'{sign}Int{bits}' for sign in ('', 'U') for bits in (8, 16, 32, 64)),
    'Float32',
    'Float64',
}


def lossless(extension: str) -> FileProcessor:
    """Return a processor that keeps pandas frames without loss, for ``make_target(..., processor=...)``.

    Parameters
    ----------
    extension
        '.csv', '.tsv', '.json', '.ndjson', '.parquet' or '.feather'.

    Examples
    --------
    >>> import pandas as pd
    >>> from kartnb.storage.targets import make_target
    >>> target = make_target('codes.csv', processor=lossless('.csv'))
    >>> target.dump(pd.DataFrame({'code': ['001', '002']}, index=['a', 'b']))
    >>> target.load()
      code
    a  001
    b  002
    """
    known = (*_TEXT, *_COLUMN_FILES)
    if extension not in known:
        raise UnknownFormatError(f'{extension!r} has no lossless form; those of {", ".join(known)} have')
    return LosslessFileProcessor(extension)


class LosslessFileProcessor(FileProcessor):
    """Keeps frames without loss; made by `lossless`."""

    def __init__(self, extension: str) -> None:
        self._extension = extension

    def __repr__(self) -> str:
        return f'lossless({self._extension!r})'

    def check(self, obj: Any) -> None:
        """Take frames."""
        import pandas as pd

        if not isinstance(obj, pd.DataFrame):
            raise WrongValueError(
                f'a lossless {self._extension} file takes a pandas DataFrame, not {type(obj).__name__}'
            )

    def load(self, file: IO[Any]) -> pd.DataFrame:
        """Read a frame that was written without loss."""
        if self._extension in _TEXT:
            file = rereadable(file)
            if not is_typed(file):
                raise UnreadableResultError('it does not begin with types, so `lossless` did not write it')
        frame: pd.DataFrame = make_file_processor(f'table{self._extension}', store_index_in_feather=False).load(file)
        return frame

    peek = load

    def dump(self, obj: Any, file: IO[Any]) -> None:
        """Write a frame, and make sure that it can be read as it was."""
        self.check(obj)
        start = file.tell()
        with refusing(f'a {self._extension} file'):
            self._write(obj, file)
        file.flush()
        _make_sure(self._read_back(file, start), obj, self._extension)

    def _write(self, frame: pd.DataFrame, file: IO[Any]) -> None:
        if self._extension == '.parquet':
            frame.to_parquet(local_path(file) or file, index=None, compression='zstd')
        elif self._extension == '.feather':
            make_file_processor('table.feather', store_index_in_feather=False).dump(frame, file)
        else:
            file.write(_typed_text(frame, self._extension).encode('utf-8'))

    def _read_back(self, file: IO[Any], start: int) -> pd.DataFrame:
        path = local_path(file)
        if path is not None:
            with open(path, 'rb') as again:
                return self.load(again)
        file.seek(start)
        return self.load(io.BytesIO(file.read()))


def _make_sure(read: pd.DataFrame, given: pd.DataFrame, extension: str) -> None:
    import pandas as pd

    try:
        # the frequency of a DatetimeIndex follows from its values; column files do not keep it
        pd.testing.assert_frame_equal(read, given, check_exact=True, check_column_type=True, check_freq=False)
    except AssertionError as error:
        detail = ' '.join(str(error).split())
        raise WrongValueError(
            f'a {extension} file cannot keep this frame without loss: use a .pkl file ({detail})'
        ) from error


def is_typed(file: IO[Any]) -> bool:
    """Whether a file has types in front; it is left where it was."""
    start = file.tell()
    head = file.read(max(len(_CSV_HEAD), len(_JSON_HEAD)))
    file.seek(start)
    text = head if isinstance(head, str) else head.decode('utf-8', 'replace')
    return text.startswith((_CSV_HEAD, _JSON_HEAD))


def read_csv(file: IO[Any], sep: str) -> pd.DataFrame:
    """Return the frame of a csv file with types in front."""
    head, _, body = _whole(file).partition('\n')
    rows = [[_csv_value(cell) for cell in row] for row in csv.reader(io.StringIO(body, newline=''), delimiter=sep)]
    return _from_rows(json.loads(head[len(_CSV_HEAD) :]), rows[1:])


def read_json(file: IO[Any], by_line: bool) -> pd.DataFrame:
    """Return the frame of a json file with types in front."""
    text = _whole(file)
    if not by_line:
        table = json.loads(text)
        return _decode(table[_MARK], table['cells'])
    head, *rows = [json.loads(line) for line in text.split('\n') if line]
    return _from_rows(head[_MARK], rows)


def _whole(file: IO[Any]) -> str:
    data = file.read()
    text = data if isinstance(data, str) else data.decode('utf-8')
    if not text.endswith('\n'):
        raise UnreadableResultError('the end of the file is missing')
    return text


def _from_rows(schema: Schema, rows: list[list[Any]]) -> pd.DataFrame:
    width = _levels(schema) + len(schema['columns'])
    if (len(rows) != schema['rows'] and width) or any(len(row) != width for row in rows if width):
        raise UnreadableResultError(f'it should hold {schema["rows"]} rows of {width} cells, but does not')
    return _decode(schema, [list(column) for column in zip(*rows, strict=True)] or [[]] * width)


def _levels(schema: Schema) -> int:
    return len(schema['index'].get('levels', ()))


def _typed_text(frame: pd.DataFrame, extension: str) -> str:
    schema, cells = _encode(frame)
    head = _json(schema)
    if extension == '.json':
        return f'{_JSON_HEAD}{head},\n"cells": {_json(cells)}}}\n'
    rows = list(zip(*cells, strict=True))
    if extension == '.ndjson':
        return '\n'.join([f'{_JSON_HEAD}{head}}}', *map(_json, rows), ''])
    names = [str(name) for name in [*frame.index.names[: _levels(schema)], *frame.columns]]
    table = [names, *([_csv_cell(cell) for cell in row] for row in rows)]
    # csv.writer leaves a lone carriage return without quotes, and csv.reader takes that for the end of a row
    returns = any('\r' in cell for row in table for cell in row)
    text = io.StringIO()
    quoting: Literal[0, 1] = csv.QUOTE_ALL if returns else csv.QUOTE_MINIMAL
    csv.writer(text, delimiter=_SEPARATORS[extension], lineterminator='\n', quoting=quoting).writerows(table)
    return f'{_CSV_HEAD}{head}\n{text.getvalue()}'


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


def _csv_cell(cell: Cell) -> str:
    if cell is None:
        return _MISSING
    return f'\\{cell}' if isinstance(cell, str) and cell.startswith('\\') else str(cell)


def _csv_value(text: str) -> str | None:
    return None if text == _MISSING else text.removeprefix('\\')


def _encode(frame: pd.DataFrame) -> tuple[Schema, list[list[Cell]]]:
    """Return the schema and the columns of a frame; a `WrongValueError` names the column that has no cells."""
    index, cells = _encode_index(frame.index)
    columns = []
    for position, label in enumerate(frame.columns):
        kind, column = _encode_values(frame.iloc[:, position], f'column {label!r}')
        columns.append(kind)
        cells.append(column)
    labels, label_cells = _encode_index(frame.columns)
    labels['cells'] = label_cells
    return {'version': _VERSION, 'rows': len(frame), 'index': index, 'columns': columns, 'labels': labels}, cells


def _encode_index(index: pd.Index[Any]) -> tuple[Schema, list[list[Cell]]]:
    import pandas as pd

    found: Schema = {'names': [_index_name(name) for name in index.names]}
    if isinstance(index, pd.RangeIndex):
        return {**found, 'range': [index.start, index.stop, index.step]}, []
    levels = [_encode_values(index.get_level_values(i).to_series(), 'the index') for i in range(index.nlevels)]
    found |= {'levels': [kind for kind, _ in levels], 'multi': isinstance(index, pd.MultiIndex)}
    if freq := getattr(index, 'freqstr', None):
        found['freq'] = freq
    return found, [cells for _, cells in levels]


def _index_name(name: Any) -> Any:
    if name is None or isinstance(name, str | int | float | bool):
        return name
    if isinstance(name, tuple) and all(isinstance(part, str | int) for part in name):
        return list(name)
    raise WrongValueError(f'the name {name!r} of an index cannot be kept as text')


def _encode_values(values: pd.Series[Any], what: str) -> tuple[Schema, list[Cell]]:
    import numpy as np
    import pandas as pd

    dtype: Any = values.dtype
    kind: Schema = {'dtype': str(dtype)}
    if isinstance(dtype, pd.CategoricalDtype):
        categories, cells = _encode_values(dtype.categories.to_series(), f'the categories of {what}')
        kind |= {'ordered': dtype.ordered, 'categories': categories, 'cells': cells}
        return kind, list(values.cat.codes.tolist())
    if isinstance(dtype, pd.StringDtype):
        kind |= {'text': dtype.storage, 'missing': 'nan' if isinstance(dtype.na_value, float) else 'NA'}
        return kind, [None if missing else text for text, missing in zip(values, values.isna(), strict=True)]
    if isinstance(dtype, pd.DatetimeTZDtype):
        return kind, _moment_cells(values.dt.tz_convert('UTC').dt.tz_localize(None))
    if dtype.kind == 'O' and all(value is None or isinstance(value, str) for value in values):
        return {**kind, 'plain': True}, list(values)
    if str(dtype) == 'object':
        return kind, [_object_cell(value, what) for value in values]
    if str(dtype) in _MASKED or (isinstance(dtype, np.dtype) and dtype.kind in 'biuf' and dtype.itemsize <= 8):
        return kind, _number_cells(values.tolist())
    if str(dtype).startswith('datetime64'):
        return kind, _moment_cells(values)
    if str(dtype).startswith('timedelta64'):
        return kind, [None if missing else int(n) for n, missing in zip(values.array.asi8, values.isna(), strict=True)]
    raise WrongValueError(f'{what} has the type {dtype}, which cannot be kept as text: use a .pkl file')


def _number_cells(values: Iterable[Any]) -> list[Cell]:
    import pandas as pd

    # JSON has no infinities
    return [None if value is pd.NA else value if math.isfinite(value) else str(value) for value in values]


def _moment_cells(values: pd.Series[Any]) -> list[Cell]:
    import numpy as np

    return [None if text == 'NaT' else str(text) for text in np.datetime_as_string(values.to_numpy())]


def _object_cell(value: Any, what: str) -> str:
    try:
        return json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError) as error:
        raise WrongValueError(f'{what} holds a {type(value).__name__}, which cannot be kept as text') from error


def _decode(schema: Schema, cells: list[list[Cell]]) -> pd.DataFrame:
    import pandas as pd

    depth = _levels(schema)
    index = _decode_index(schema['index'], cells[:depth])
    arrays = [_decode_values(kind, column) for kind, column in zip(schema['columns'], cells[depth:], strict=True)]
    # with its type given, no column of objects is taken for one of text
    series = [pd.Series(array, index=index, dtype=array.dtype) for array in arrays]
    frame = pd.DataFrame(dict(enumerate(series)), index=index)
    frame.columns = _decode_index(schema['labels'], schema['labels']['cells'])
    return frame


def _decode_index(schema: Schema, cells: list[list[Cell]]) -> Any:
    import pandas as pd

    names = [tuple(name) if isinstance(name, list) else name for name in schema['names']]
    if 'range' in schema:
        start, stop, step = schema['range']
        return pd.RangeIndex(start, stop, step, name=names[0])
    levels = [pd.Index(_decode_values(kind, column)) for kind, column in zip(schema['levels'], cells, strict=True)]
    if schema['multi']:
        return pd.MultiIndex.from_arrays(levels, names=names)
    index: Any = levels[0].rename(names[0])
    if 'freq' in schema:
        index.freq = schema['freq']
    return index


def _decode_values(kind: Schema, cells: Sequence[Any]) -> Any:
    import numpy as np
    import pandas as pd

    name = kind['dtype']
    if 'categories' in kind:
        categories = pd.Index(_decode_values(kind['categories'], kind['cells']))
        return pd.Categorical.from_codes([int(c) for c in cells], categories=categories, ordered=kind['ordered'])
    if 'text' in kind:
        return _decode_text(cells, kind['text'], kind['missing'] == 'nan')
    if name in _MASKED:
        return pd.array([None if cell is None else _number(name.lower(), cell) for cell in cells], dtype=name)
    if name.startswith('datetime64'):
        return _decode_moments(name, cells)
    if name.startswith('timedelta64'):
        return np.array(['NaT' if cell is None else int(cell) for cell in cells], dtype=name)
    if name == 'object':
        return _objects(cells if 'plain' in kind else [json.loads(cell) for cell in cells])
    return np.array([_number(name, cell) for cell in cells], dtype=name)


def _decode_text(cells: Sequence[Cell], storage: str, missing_is_nan: bool) -> Any:
    import numpy as np
    import pandas as pd

    text: Any = pd.StringDtype
    if not missing_is_nan:
        return pd.array(list(cells), dtype=text(storage))
    try:
        return pd.array(list(cells), dtype=text(storage.removesuffix('_numpy'), na_value=np.nan))
    except TypeError:  # pandas 2, whose text is objects
        return _objects([np.nan if cell is None else cell for cell in cells])


def _objects(values: Sequence[Any]) -> Any:
    import numpy as np

    array = np.empty(len(values), dtype=object)
    for i, value in enumerate(values):  # one by one: a list is a value here, and no row of an array
        array[i] = value
    return array


def _number(dtype: str, cell: Any) -> Any:
    if dtype.startswith('bool'):
        return {True: True, False: False, 'True': True, 'False': False}[cell]
    return float(cell) if dtype.startswith('float') else int(cell)


def _decode_moments(dtype: str, cells: Sequence[Cell]) -> Any:
    import numpy as np
    import pandas as pd

    unit = dtype[len('datetime64[') :].partition(',')[0].rstrip(']')
    moments = np.array(['NaT' if cell is None else cell for cell in cells], dtype=f'datetime64[{unit}]')
    if ',' not in dtype:
        return moments
    zoned: Any = pd.DatetimeTZDtype.construct_from_string(dtype)
    return pd.DatetimeIndex(moments).tz_localize('UTC').tz_convert(zoned.tz)
