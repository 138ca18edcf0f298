"""Tables and arrays: of pandas, polars and pyarrow, numpy and scipy: shape, types, statistics, and some values."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from kartnb.view.previews import pictures
from kartnb.view.previews.preview import (
    Block,
    Column,
    Facts,
    Image,
    Note,
    Preview,
    Table,
    Text,
    add_previews,
    short,
)
from kartnb.view.sanitise import counted, more, one_line, size_text

_FIRST = 10
_LAST = 3
_MOST_COLUMNS = 20
_CELL = 60
#: Statistics of a larger array are those of evenly spaced values.
_MOST_FOR_STATISTICS = 1_000_000
_SHOWN = 10
_LONGEST_SIDE = 256
_LEAST_SIDE = 16


def preview_frame(frame: Any) -> Preview:
    """Preview a data frame of pandas."""
    height, width = frame.shape
    title = f'pandas.{type(frame).__name__} of {_shape(height, width)}{_size(frame)}'
    shown = frame.iloc[:, :_MOST_COLUMNS]
    types = [shown.iloc[:, i].dtype for i in range(shown.shape[1])]
    columns = [Column('', _index_type(frame.index))] + [
        Column(_name(name), one_line(str(types[i]), 40), _is_numeric(types[i])) for i, name in enumerate(shown.columns)
    ]
    parts = [shown] if height <= _FIRST + _LAST else [shown.iloc[:_FIRST], shown.iloc[-_LAST:]]
    rows = [_pandas_rows(part) for part in parts]
    return Preview(title, _table(columns, rows, height, width))


def _size(frame: Any) -> str:
    try:
        return f', {size_text(int(frame.memory_usage(deep=False).sum()))}'
    except UnicodeError:  # pandas cannot list columns whose names are no text that can be encoded
        return ''


def _pandas_rows(part: Any) -> list[list[str]]:
    columns = [[_name(label) for label in part.index]]
    # by columns: pandas gives a row of several types as values of one type
    columns += [[short(item, _CELL) for item in part.iloc[:, i]] for i in range(part.shape[1])]
    return [list(row) for row in zip(*columns, strict=True)]


def preview_series(series: Any) -> Preview:
    """Preview a series of pandas."""
    frame = preview_frame(series.to_frame(series.name if series.name is not None else 'value'))
    size = size_text(int(series.memory_usage(deep=False)))
    title = f'pandas.{type(series).__name__} of {counted(len(series), "value")}, {size}'
    return Preview(title, frame.blocks)


def preview_index(index: Any) -> Preview:
    """Preview an index of pandas."""
    frame = preview_frame(index[: _FIRST + _LAST].to_frame(index=False))
    note = more(len(index) - _FIRST - _LAST, 'entry')
    blocks = (*frame.blocks, Note(note)) if note else frame.blocks
    return Preview(f'pandas.{type(index).__name__} of {counted(len(index), "entry")}', blocks)


def preview_polars(frame: Any) -> Preview:
    """Preview a data frame of polars."""
    height, width = frame.shape
    title = f'polars.DataFrame of {_shape(height, width)}, {size_text(int(frame.estimated_size()))}'
    shown = frame[:, :_MOST_COLUMNS]
    parts = [shown] if height <= _FIRST + _LAST else [shown.head(_FIRST), shown.tail(_LAST)]
    rows = [[[short(item, _CELL) for item in row] for row in part.iter_rows()] for part in parts]
    return Preview(title, _table(_polars_columns(shown.schema), rows, height, width))


def preview_polars_series(series: Any) -> Preview:
    """Preview a series of polars."""
    frame = preview_polars(series.to_frame())
    return Preview(f'polars.Series of {counted(len(series), "value")}', frame.blocks)


def preview_lazy(frame: Any) -> Preview:
    """Preview a lazy frame of polars by its columns; nothing is collected."""
    schema = frame.collect_schema()
    rows = [[one_line(name, _CELL), one_line(str(kind), 60)] for name, kind in list(schema.items())[:60]]
    note = more(len(schema) - 60, 'column')
    table = Table([Column('column'), Column('type')], rows, note)
    return Preview(f'polars.LazyFrame of {counted(len(schema), "column")}', (table, Note('Not collected yet.')))


def preview_arrow(table: Any) -> Preview:
    """Preview a table of pyarrow."""
    height, width = table.num_rows, table.num_columns
    names = table.schema.names[:_MOST_COLUMNS]
    columns = [
        Column(one_line(name, _CELL), one_line(str(table.schema.field(i).type), 40)) for i, name in enumerate(names)
    ]
    starts = [0] if height <= _FIRST + _LAST else [0, height - _LAST]
    rows = []
    for start in starts:
        part = table.slice(start, _LAST if start else _FIRST + (_LAST if len(starts) == 1 else 0))
        values = [part.column(i).to_pylist() for i in range(len(names))]
        rows.append([[short(item, _CELL) for item in row] for row in zip(*values, strict=True)])
    size = size_text(int(table.nbytes))
    return Preview(
        f'pyarrow.{type(table).__name__} of {_shape(height, width)}, {size}', _table(columns, rows, height, width)
    )


def _polars_columns(schema: Any) -> list[Column]:
    return [
        Column(one_line(name, _CELL), one_line(str(kind), 40), bool(kind.is_numeric())) for name, kind in schema.items()
    ]


def _table(columns: Sequence[Column], parts: list[list[list[str]]], height: int, width: int) -> tuple[Block, ...]:
    """The table of some rows, with a row of ellipses where rows are left out."""
    rows = list(parts[0])
    for part in parts[1:]:
        rows += [['…'] * len(columns), *part]
    left_out = []
    if len(parts) > 1:
        left_out.append(counted(height - _FIRST - _LAST, 'row'))
    if width > _MOST_COLUMNS:
        left_out.append(counted(width - _MOST_COLUMNS, 'column'))
    return (Table(columns, rows, f'{" and ".join(left_out)} not shown' if left_out else ''),)


def _shape(height: int, width: int) -> str:
    return f'{counted(height, "row")} × {counted(width, "column")}'


def _name(label: Any) -> str:
    """A label of a row or column; one of several levels with a stroke between them."""
    return (
        one_line(' / '.join(short(part, 30) for part in label), _CELL)
        if isinstance(label, tuple)
        else short(label, _CELL)
    )


def _index_type(index: Any) -> str:
    return 'index' if index.nlevels == 1 else f'index of {index.nlevels} levels'


def _is_numeric(dtype: Any) -> bool:
    return getattr(dtype, 'kind', '') in tuple('iufc')


def preview_array(array: Any) -> Preview:
    """Preview an array."""
    shape = ' × '.join(f'{size:,}' for size in array.shape) or 'no dimensions'
    title = f'{type(array).__name__} {shape} of {array.dtype}'
    blocks: list[Block] = [Facts(_facts(array))]
    image = _image(array)
    if image is not None:
        blocks.append(image)
    if array.dtype.names:
        blocks.append(_records(array))
    elif array.size and (not isinstance(image, Image) or array.dtype.kind == 'f'):
        blocks.append(_values(array))
    return Preview(title, tuple(blocks))


def preview_scalar(value: Any) -> Preview:
    """Preview a scalar of numpy."""
    return Preview(f'numpy.{type(value).__name__}', (Text(short(value, 400)),))


def _facts(array: Any) -> list[tuple[str, str]]:
    pairs = [('size', f'{counted(int(array.size), "value")}, {size_text(int(array.nbytes))}')]
    if array.dtype.kind in 'biuf' and array.size:
        pairs += _statistics(array)
    return pairs


def _sampled(array: Any) -> tuple[Any, bool]:
    """An array, or a view of it of evenly spaced values, and whether it is the latter."""
    if array.size <= _MOST_FOR_STATISTICS:
        return array, False
    step, view = 1, array
    while view.size > _MOST_FOR_STATISTICS:
        step *= 2
        view = array[tuple(slice(None, None, min(step, size)) for size in array.shape)]
    return view, True


def _statistics(array: Any) -> list[tuple[str, str]]:
    import numpy as np

    values, sampled = _sampled(array)
    if hasattr(values, 'compressed'):
        values = values.compressed()
    of = f' (of {values.size:,} evenly spaced values)' if sampled else ''
    if array.dtype.kind == 'b':
        return [('true', f'{int(values.sum()):,} of {values.size:,}{of}')]
    finite = values[np.isfinite(values)] if array.dtype.kind == 'f' else values
    pairs = []
    if finite.size:
        wide = finite.astype(np.float64)
        least, most, mean, deviation = (
            short(number) for number in (finite.min(), finite.max(), wide.mean(), wide.std())
        )
        pairs.append(('values', f'min {least}, max {most}, mean {mean}, std {deviation}{of}'))
    if array.dtype.kind == 'f' and finite.size < values.size:
        nan = int(np.isnan(values).sum())
        pairs.append(('not finite', f'{nan:,} NaN, {values.size - finite.size - nan:,} infinite{of}'))
    return pairs


def _values(array: Any) -> Table | Text:
    if array.ndim <= 1:
        flat = array.reshape(-1)
        shown = ', '.join(short(item, 40) for item in flat[:_SHOWN].tolist())
        return Text(shown, more(flat.size - _SHOWN, 'value'))
    plane = array[(0,) * (array.ndim - 2)]
    rows = [[short(item, 24) for item in row] for row in plane[:_SHOWN, :_SHOWN].tolist()]
    numeric = array.dtype.kind in 'biufc'
    columns = [Column(str(i), '', numeric) for i in range(min(plane.shape[1], _SHOWN))]
    return Table(columns, rows, _left_out(array, plane))


def _left_out(array: Any, plane: Any) -> str:
    where = f'the plane [{", ".join("0" * (array.ndim - 2))}] of ' if array.ndim > 2 else ''
    if where or plane.shape[0] > _SHOWN or plane.shape[1] > _SHOWN:
        return f'the first corner of {where}{" × ".join(f"{size:,}" for size in array.shape)} values'
    return ''


def _records(array: Any) -> Table:
    names = list(array.dtype.names)[:_SHOWN]
    columns = [Column(name, str(array.dtype[name]), array.dtype[name].kind in 'biuf') for name in names]
    flat = array.reshape(-1)
    rows = [[short(item, 40) for item in record[: len(names)]] for record in flat[:_SHOWN].tolist()]
    return Table(columns, rows, more(flat.size - _SHOWN, 'row'))


def _image(array: Any) -> Image | Note | None:
    """The picture of an array of pixels: bytes, truth values, or numbers from 0 to 1; of none that is too small."""
    if hasattr(array, 'mask') or not _may_be_image(array):
        return None
    import numpy as np

    height, width = array.shape[:2]
    step = max(1, math.ceil(max(height, width) / _LONGEST_SIDE))
    pixels = array[::step, ::step]
    if pixels.dtype.kind == 'f':
        with np.errstate(invalid='ignore'):
            if not (pixels.min() >= 0 and pixels.max() <= 1 and pixels.max() > pixels.min()):
                return None
        pixels = (pixels * 255).astype(np.uint8)
    elif pixels.dtype.kind == 'b':
        pixels = pixels.astype(np.uint8) * 255
    if not pictures.has_pillow():
        return Note('This looks like an image: install Pillow to display it.')
    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[:, :, 0]
    smaller = f', every {step}th pixel' if step > 1 else ''
    description = f'image of {width:,} × {height:,} pixels{smaller}'
    return pictures.picture_of_pixels(np.ascontiguousarray(pixels), description, max(height, width) < 100)


def _may_be_image(array: Any) -> bool:
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (1, 3, 4)):
        return False
    return min(array.shape[:2]) >= _LEAST_SIDE and (str(array.dtype) == 'uint8' or array.dtype.kind in 'bf')


def preview_sparse(matrix: Any) -> Preview:
    """Preview a sparse matrix."""
    shape = ' × '.join(f'{size:,}' for size in matrix.shape)
    stored = int(matrix.nnz)
    cells = math.prod(matrix.shape)
    share = f' ({100 * stored / cells:.3g} %)' if cells else ''
    data: Any = getattr(matrix, 'data', None)
    pairs = [('stored', f'{counted(stored, "value")}{share}')]
    if hasattr(data, 'dtype') and data.dtype.kind in 'biuf' and data.size:
        pairs += _statistics(data)
    return Preview(f'{type(matrix).__name__} {shape} of {matrix.dtype}', (Facts(pairs),))


add_previews('pandas', {'DataFrame': preview_frame, 'Series': preview_series, 'Index': preview_index})
add_previews('polars', {'DataFrame': preview_polars, 'Series': preview_polars_series, 'LazyFrame': preview_lazy})
add_previews('pyarrow', {'Table': preview_arrow, 'RecordBatch': preview_arrow})
add_previews('numpy', {'ndarray': preview_array, 'generic': preview_scalar})
add_previews('scipy', {'spmatrix': preview_sparse, 'sparray': preview_sparse, '_spbase': preview_sparse})
