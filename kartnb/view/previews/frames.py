"""Tables of pandas, polars and pyarrow: shape, types, and some rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kartnb.view import told
from kartnb.view.clean import one_line
from kartnb.view.previews import registry
from kartnb.view.previews.blocks import Block, Column, Note, Table
from kartnb.view.previews.preview import Preview
from kartnb.view.previews.values import counted, short

_FIRST = 10
_LAST = 3
_MOST_COLUMNS = 20
_CELL = 60


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
        return f', {told.size_text(int(frame.memory_usage(deep=False).sum()))}'
    except UnicodeError:  # pandas cannot list columns whose names are no text that can be encoded
        return ''


def _pandas_rows(part: Any) -> list[list[str]]:
    columns = [[_name(label) for label in part.index]]
    columns += [[short(item, _CELL) for item in part.iloc[:, i]] for i in range(part.shape[1])]
    return [list(row) for row in zip(*columns, strict=True)]


def preview_series(series: Any) -> Preview:
    """Preview a series of pandas."""
    frame = preview_frame(series.to_frame(series.name if series.name is not None else 'value'))
    size = told.size_text(int(series.memory_usage(deep=False)))
    title = f'pandas.{type(series).__name__} of {counted(len(series), "value")}, {size}'
    return Preview(title, frame.blocks)


def preview_index(index: Any) -> Preview:
    """Preview an index of pandas."""
    frame = preview_frame(index[: _FIRST + _LAST].to_frame(index=False))
    rest = len(index) - _FIRST - _LAST
    more = (Note(f'… {counted(rest, "more entry")}'),) if rest > 0 else ()
    return Preview(f'pandas.{type(index).__name__} of {counted(len(index), "entry")}', (*frame.blocks, *more))


def preview_polars(frame: Any) -> Preview:
    """Preview a data frame of polars."""
    height, width = frame.shape
    title = f'polars.DataFrame of {_shape(height, width)}, {told.size_text(int(frame.estimated_size()))}'
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
    note = f'… {len(schema) - 60:,} more columns' if len(schema) > 60 else ''
    table = Table([Column('column'), Column('type')], rows, note)
    return Preview(f'polars.LazyFrame of {counted(len(schema), "column")}', (table, Note('It has not been collected.')))


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
    size = told.size_text(int(table.nbytes))
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


registry.add('pandas', {'DataFrame': preview_frame, 'Series': preview_series, 'Index': preview_index})
registry.add('polars', {'DataFrame': preview_polars, 'Series': preview_polars_series, 'LazyFrame': preview_lazy})
registry.add('pyarrow', {'Table': preview_arrow, 'RecordBatch': preview_arrow})
