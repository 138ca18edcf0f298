"""Frames as cells of text or JSON together with the types that the cells had, so that nothing is lost.

A table is a ``schema`` (JSON) and its columns, index levels first, as lists of cells; a cell is None, a bool, an int, a
float or a str. `kartnb.storage.formats.lossless` writes them to files and makes sure that they can be read back.
"""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any, TypeAlias

from kartnb.errors import WrongValueError

if TYPE_CHECKING:
    import pandas as pd

VERSION = 1

Cell: TypeAlias = bool | int | float | str | None
Schema: TypeAlias = dict[str, Any]


def encode(frame: pd.DataFrame) -> tuple[Schema, list[list[Cell]]]:
    """Give the schema and the columns of a frame.

    Raises
    ------
    kartnb.errors.WrongValueError
        When a column has a type that has no cells; the message names the column.
    """
    levels, cells = _encode_index(frame.index)
    columns = []
    for position, label in enumerate(frame.columns):
        kind, column = _encode_values(frame.iloc[:, position], f'column {label!r}')
        columns.append(kind)
        cells.append(column)
    labels, label_cells = _encode_index(frame.columns)
    schema = {
        'version': VERSION,
        'rows': len(frame),
        'index': levels,
        'columns': columns,
        'labels': {**labels, 'cells': label_cells},
    }
    return schema, cells


def decode(schema: Schema, cells: list[list[Cell]]) -> pd.DataFrame:
    """Give the frame of a schema and its columns."""
    import pandas as pd

    depth = len(schema['index'].get('levels', ()))
    index = _decode_index(schema['index'], cells[:depth])
    labels = _decode_index(schema['labels'], schema['labels']['cells'])
    arrays = [_decode_values(kind, column) for kind, column in zip(schema['columns'], cells[depth:], strict=True)]
    # with its type given, no column of objects is taken for one of text
    series = [pd.Series(array, index=index, dtype=array.dtype) for array in arrays]
    frame = pd.DataFrame(dict(enumerate(series)), index=index)
    frame.columns = labels
    return frame


def _encode_index(index: pd.Index[Any]) -> tuple[Schema, list[list[Cell]]]:
    import pandas as pd

    names = [_name(name) for name in index.names]
    if isinstance(index, pd.RangeIndex):
        return {'names': names, 'range': [index.start, index.stop, index.step]}, []
    kinds, cells = [], []
    for level in range(index.nlevels):
        kind, column = _encode_values(index.get_level_values(level).to_series(), 'the index')
        kinds.append(kind)
        cells.append(column)
    found: Schema = {'names': names, 'levels': kinds, 'multi': isinstance(index, pd.MultiIndex)}
    freq = getattr(index, 'freqstr', None)
    return ({**found, 'freq': freq} if freq else found), cells


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


def _name(name: Any) -> Any:
    if name is None or isinstance(name, str | int | float | bool):
        return name
    if isinstance(name, tuple) and all(isinstance(part, str | int) for part in name):
        return list(name)
    raise WrongValueError(f'the name {name!r} of an index cannot be kept as text')


def _encode_values(values: pd.Series[Any], what: str) -> tuple[Schema, list[Cell]]:
    import numpy as np
    import pandas as pd

    dtype = values.dtype
    kind: Schema = {'dtype': str(dtype)}
    if isinstance(dtype, pd.CategoricalDtype):
        categories, category_cells = _encode_values(dtype.categories.to_series(), f'the categories of {what}')
        kind |= {'ordered': dtype.ordered, 'categories': categories, 'cells': category_cells}
        return kind, [int(code) for code in values.cat.codes]
    if isinstance(dtype, pd.StringDtype):
        kind |= {'text': dtype.storage, 'missing': 'nan' if isinstance(dtype.na_value, float) else 'NA'}
        return kind, [None if missing else text for text, missing in zip(values, values.isna(), strict=True)]
    if isinstance(dtype, pd.DatetimeTZDtype):
        return kind, _moments(values.dt.tz_convert('UTC').dt.tz_localize(None))
    if dtype.kind == 'O' and all(value is None or isinstance(value, str) for value in values):
        return {**kind, 'plain': True}, list(values)
    if isinstance(dtype, np.dtype):
        return kind, _encode_numpy(values, dtype, what)
    if str(dtype) in _MASKED:
        return kind, [None if value is pd.NA else _plain(value) for value in values]
    raise WrongValueError(f'{what} has the type {dtype}, which cannot be kept as text: use a .pkl file')


_MASKED = {
    'boolean',
    *(f'{sign}Int{bits}' for sign in ('', 'U') for bits in (8, 16, 32, 64)),
    'Float32',
    'Float64',
}


def _encode_numpy(values: pd.Series[Any], dtype: Any, what: str) -> list[Cell]:
    if dtype.kind == 'b':
        return [bool(value) for value in values]
    if dtype.kind in 'iu':
        return [int(value) for value in values]
    if dtype.kind == 'f' and dtype.itemsize <= 8:
        return [_float_cell(float(value)) for value in values]
    if dtype.kind == 'M':
        return _moments(values)
    if dtype.kind == 'm':
        return [None if missing else int(n) for n, missing in zip(values.array.asi8, values.isna(), strict=True)]
    if dtype.kind == 'O':
        return [_object_cell(value, what) for value in values]
    raise WrongValueError(f'{what} has the type {dtype}, which cannot be kept as text: use a .pkl file')


def _moments(values: pd.Series[Any]) -> list[Cell]:
    import numpy as np

    return [None if text == 'NaT' else str(text) for text in np.datetime_as_string(values.to_numpy())]


def _plain(value: Any) -> Cell:
    if isinstance(value, bool) or type(value).__name__ == 'bool_' or type(value).__name__ == 'bool':
        return bool(value)
    return _float_cell(float(value)) if math.modf(value)[0] or isinstance(value, float) else int(value)


def _float_cell(value: float) -> Cell:
    return value if math.isfinite(value) else str(value)


def _object_cell(value: Any, what: str) -> Cell:
    """Give an object as JSON text."""
    try:
        text = json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError) as error:
        raise WrongValueError(f'{what} holds a {type(value).__name__}, which cannot be kept as text') from error
    return text


def _decode_values(kind: Schema, cells: list[Cell]) -> Any:
    import numpy as np
    import pandas as pd

    name = kind['dtype']
    if 'categories' in kind:
        categories = pd.Index(_decode_values(kind['categories'], kind['cells']))
        return pd.Categorical.from_codes([int(c) for c in cells], categories=categories, ordered=kind['ordered'])  # type: ignore[arg-type]
    if 'text' in kind:
        return _text(cells, kind['text'], kind['missing'] == 'nan')
    if name in _MASKED:
        return pd.array([None if cell is None else _number(name.lower(), cell) for cell in cells], dtype=name)
    if name.startswith('datetime64'):
        return _decode_moments(name, cells)
    if name.startswith('timedelta64'):
        return np.array(['NaT' if cell is None else int(cell) for cell in cells], dtype=name)
    if name == 'object':
        return _objects(cells if 'plain' in kind else [json.loads(cell) for cell in cells])  # type: ignore[arg-type]
    return np.array([_number(name, cell) for cell in cells], dtype=name)


def _text(cells: list[Cell], storage: str, missing_is_nan: bool) -> Any:
    import numpy as np
    import pandas as pd

    text: Any = pd.StringDtype
    if not missing_is_nan:
        return pd.array(cells, dtype=text(storage))
    try:
        return pd.array(cells, dtype=text(storage.removesuffix('_numpy'), na_value=np.nan))
    except TypeError:  # pandas 2, whose text is objects
        return _objects([np.nan if cell is None else cell for cell in cells])


def _objects(values: list[Any]) -> Any:
    import numpy as np

    array = np.empty(len(values), dtype=object)
    for i, value in enumerate(values):  # one by one: a list is a value here, and no row of an array
        array[i] = value
    return array


def _number(dtype: str, cell: Cell) -> Any:
    if dtype.startswith('bool'):
        return {True: True, False: False, 'True': True, 'False': False}[cell]
    return float(cell) if dtype.startswith('float') else int(cell)  # type: ignore[arg-type]


def _decode_moments(dtype: str, cells: list[Cell]) -> Any:
    import numpy as np
    import pandas as pd

    unit = dtype[len('datetime64[') :].partition(',')[0].rstrip(']')
    moments = np.array(['NaT' if cell is None else cell for cell in cells], dtype=f'datetime64[{unit}]')
    if ',' not in dtype:
        return moments
    zoned: Any = pd.DatetimeTZDtype.construct_from_string(dtype)
    return pd.DatetimeIndex(moments).tz_localize('UTC').tz_convert(zoned.tz)
