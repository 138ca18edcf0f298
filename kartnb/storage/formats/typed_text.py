"""Typed tables as csv, tsv, json and ndjson: the types stand in front of the cells."""

from __future__ import annotations

import csv
import io
import json
from typing import TYPE_CHECKING, Any, Literal

from kartnb.errors import UnreadableResultError
from kartnb.storage.formats import typed_tables

if TYPE_CHECKING:
    import pandas as pd

_MARK = 'kartnb-table'
_CSV_HEAD = f'# {_MARK}: '
_JSON_HEAD = f'{{"{_MARK}": '
HEAD_LENGTH = max(len(_CSV_HEAD), len(_JSON_HEAD))
_MISSING = '\\N'
_SEPARATORS = {'.csv': ',', '.tsv': '\t'}


def is_typed(head: str) -> bool:
    """Whether a text that begins like this has types in front."""
    return head.startswith((_CSV_HEAD, _JSON_HEAD))


def write(frame: pd.DataFrame, extension: str) -> str:
    """Give the text of a file for a frame."""
    schema, cells = typed_tables.encode(frame)
    head = json.dumps(schema, ensure_ascii=False, allow_nan=False)
    if extension == '.json':
        return f'{_JSON_HEAD}{head},\n"cells": {json.dumps(cells, ensure_ascii=False, allow_nan=False)}}}\n'
    rows = zip(*cells, strict=True)
    if extension == '.ndjson':
        lines = [json.dumps(row, ensure_ascii=False, allow_nan=False) for row in rows]
        return '\n'.join([f'{_JSON_HEAD}{head}}}', *lines, ''])
    names = [str(name) for name in [*frame.index.names[: _levels(schema)], *frame.columns]]
    body = _csv_text([names, *([_csv_cell(cell) for cell in row] for row in rows)], extension)
    return f'{_CSV_HEAD}{head}\n{body}'


def _csv_text(rows: list[list[str]], extension: str) -> str:
    # csv.writer leaves a lone carriage return without quotes, and csv.reader takes that for the end of a row
    quoting: Literal[0, 1] = csv.QUOTE_ALL if any('\r' in cell for row in rows for cell in row) else csv.QUOTE_MINIMAL
    text = io.StringIO()
    csv.writer(text, delimiter=_SEPARATORS[extension], lineterminator='\n', quoting=quoting).writerows(rows)
    return text.getvalue()


def _levels(schema: typed_tables.Schema) -> int:
    return len(schema['index'].get('levels', ()))


def _csv_cell(cell: typed_tables.Cell) -> str:
    if cell is None:
        return _MISSING
    return f'\\{cell}' if isinstance(cell, str) and cell.startswith('\\') else str(cell)


def _cell_of_csv(text: str) -> str | None:
    if text == _MISSING:
        return None
    return text[1:] if text.startswith('\\') else text


def read(text: str, extension: str) -> pd.DataFrame:
    """Give the frame of a text with types in front."""
    if not text.endswith('\n'):
        raise UnreadableResultError('its end is missing')
    if extension in _SEPARATORS:
        return read_csv(text, _SEPARATORS[extension])
    return read_json(text, by_line=extension == '.ndjson')


def read_csv(text: str, sep: str) -> pd.DataFrame:
    """Give the frame of a csv file with types in front."""
    head, _, body = text.partition('\n')
    schema = json.loads(head[len(_CSV_HEAD) :])
    rows = [[_cell_of_csv(cell) for cell in row] for row in csv.reader(io.StringIO(body, newline=''), delimiter=sep)]
    return _decoded(schema, rows[1:])


def read_json(text: str, by_line: bool) -> pd.DataFrame:
    """Give the frame of a json file with types in front."""
    if not by_line:
        table = json.loads(text)
        return typed_tables.decode(table[_MARK], table['cells'])
    head, *rows = [json.loads(line) for line in text.split('\n') if line]
    return _decoded(head[_MARK], rows)


def _decoded(schema: typed_tables.Schema, rows: list[list[Any]]) -> pd.DataFrame:
    width = _levels(schema) + len(schema['columns'])
    if (len(rows) != schema['rows'] and width) or any(len(row) != width for row in rows if width):
        raise UnreadableResultError(f'it should hold {schema["rows"]} rows of {width} cells, but does not')
    return typed_tables.decode(schema, [list(column) for column in zip(*rows, strict=True)] or [[]] * width)
