"""Sweeps as text. It says what `html` says."""

from __future__ import annotations

from kartnb.execution.sweeps.result import SweepPoint, SweepResult
from kartnb.execution.sweeps.sweep import SweepPlan
from kartnb.view.sweeps.told import HINT, plan_words, point_words, result_preview, sweep_table


def sweep_plan_text(planned: SweepPlan) -> str:
    """What a sweep would do."""
    return plan_words(planned)


def sweep_point_text(point: SweepPoint) -> str:
    """One point of a sweep."""
    lines = [f'Point {point.position}', *(f'  {name}: {text}' for name, text in point_words(point))]
    if point.task is not None:
        lines.append('  kartnb.inspect(point.task) tells all that is known of its task')
    shown = result_preview(point)
    return '\n'.join(lines if shown is None else [*lines, repr(shown)])


def sweep_text(result: SweepResult) -> str:
    """A sweep: how it went, the best point, what all points share, and a table of what differs."""
    table = sweep_table(result)
    head = ['#', *table.columns, *table.metric_columns, 'state', 'time', 'id', '']
    rows = [
        [str(row.position), *row.values, *row.metrics, str(row.look), row.seconds, row.id, row.error]
        for row in table.rows
    ]
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    found = [table.heading, *table.notes]
    if table.constants:
        found.append(f'the same in all: {table.constants}')
    found += ['  '.join(map(str.ljust, line, widths)).rstrip() for line in [head, *rows]]
    return '\n'.join([*found, *([table.omitted] if table.omitted else []), *([HINT] if table.rows else [])])
