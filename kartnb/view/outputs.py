"""The outputs of a plan as a table, in text and in HTML."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from kartnb.execution.outputs import Output, Outputs
from kartnb.view import parameters, told
from kartnb.view.clean import one_line, short_id
from kartnb.view.states import Look, look
from kartnb.view.summary import title
from kartnb.view.summary import workspace as workspace_of
from kartnb.view.text import table_lines

MOST_ROWS = 200
_COLUMNS = ('state', 'task', 'parameters', 'id', 'format', 'size', 'modified', 'path')


@dataclass(frozen=True, slots=True)
class OutputRow:
    """One output; every text is fit to be shown."""

    look: Look
    task: str
    parameters: str
    unique_id: str
    short_id: str
    format: str
    size: str
    modified: str
    path: str


def rows(outputs: Sequence[Output], most: int = MOST_ROWS) -> list[OutputRow]:
    """The first outputs as rows."""
    return [_row(output) for output in outputs[:most]]


def _row(output: Output) -> OutputRow:
    return OutputRow(
        look=look(output.state),
        task=one_line(output.task, 120),
        parameters=parameters.listed(output.parameters, 160),
        unique_id=one_line(output.unique_id, 80),
        short_id=short_id(output.unique_id),
        format=one_line(output.format, 20),
        size='' if output.size is None else told.size_text(output.size),
        modified=output.modified.strftime('%Y-%m-%d %H:%M:%S') if output.modified else 'not made',
        path=one_line(output.path, 400),
    )


def row_dicts(outputs: Sequence[Output]) -> list[dict[str, Any]]:
    """Outputs as plain dicts, for a front end."""
    return [
        {
            'look': str(row.look),
            'slug': row.look.slug,
            'state': row.look.word,
            'task': row.task,
            'parameters': row.parameters,
            'id': row.short_id,
            'unique_id': row.unique_id,
            'format': row.format,
            'size': row.size,
            'bytes': output.size,
            'modified': row.modified,
            'exists': output.exists,
            'path': row.path,
            'place': output.path,
            'code': output.load_code,
        }
        for output, row in zip(outputs, rows(outputs, len(outputs)), strict=True)
    ]


def heading(outputs: Outputs) -> str:
    """How many outputs there are, and how large they are together."""
    number = f'{len(outputs):,} output{"" if len(outputs) == 1 else "s"}'
    sizes = [output.size for output in outputs if output.size is not None]
    made = sum(output.exists for output in outputs)
    return f'{number} of {title(outputs.plan.root)}: {made:,} made, {told.size_text(sum(sizes))}'


def outputs_text(outputs: Outputs) -> str:
    """Outputs as an aligned table."""
    shown = rows(outputs)
    found = [heading(outputs), f'workspace: {workspace_of(outputs.plan)}']
    if shown:
        cells = [(str(row.look), row.task, one_line(row.parameters, 40), row.short_id, *_file(row)) for row in shown]
        found += table_lines(_COLUMNS, cells, numeric=[name == 'size' for name in _COLUMNS])
    return '\n'.join([*found, *_left_out(outputs)])


def _file(row: OutputRow) -> tuple[str, ...]:
    return row.format, row.size, row.modified, row.path


def outputs_html(outputs: Outputs) -> str:
    """Outputs as an HTML fragment."""
    from kartnb.view.html import render_template

    return render_template(
        'outputs.html',
        heading=heading(outputs),
        workspace=workspace_of(outputs.plan),
        columns=_COLUMNS,
        rows=rows(outputs),
        left_out=_left_out(outputs),
    )


def _left_out(outputs: Outputs) -> list[str]:
    rest = len(outputs) - MOST_ROWS
    return [f'… {rest:,} more: filter(…) chooses, to_dataframe() gives all of them'] if rest > 0 else []
