"""Sweeps as text. It says what `html` says."""

from __future__ import annotations

from kartnb.execution.sweeps.background import BackgroundSweep
from kartnb.execution.sweeps.planned import SweepPlan
from kartnb.execution.sweeps.point import SweepPoint
from kartnb.execution.sweeps.result import SweepResult
from kartnb.execution.sweeps.running import SweepRun
from kartnb.view.sweeps.told import (
    HANDLE_HINT,
    HINT,
    SweepTable,
    plan_words,
    point_words,
    result_preview,
    run_words,
    sweep_table,
)
from kartnb.view.text import table_lines


def sweep_plan_text(planned: SweepPlan) -> str:
    """What a sweep would do."""
    return plan_words(planned)


def sweep_run_text(run: SweepRun) -> str:
    """A sweep that runs, or could be run."""
    return run_words(run)


def background_sweep_text(handle: BackgroundSweep) -> str:
    """A sweep in the background: its handle, and what there is by now."""
    return f'{handle!r}\n{sweep_text(handle.partial(), HANDLE_HINT)}'


def sweep_point_text(point: SweepPoint) -> str:
    """One point of a sweep."""
    lines = [f'Point {point.position}', *(f'  {name}: {text}' for name, text in point_words(point))]
    if point.task is not None:
        lines.append('  kartnb.inspect(point.task) tells all that is known of its task')
    shown = result_preview(point)
    return '\n'.join(lines if shown is None else [*lines, repr(shown)])


def sweep_text(result: SweepResult, hint: str = HINT) -> str:
    """A sweep: how it went, the best point, what all points share, and a table of what differs."""
    table = sweep_table(result)
    found = [table.heading, *table.notes]
    if table.constants:
        found.append(f'the same in all: {table.constants}')
    return '\n'.join([*found, *sweep_table_lines(table), *([hint] if table.rows and hint else [])])


def sweep_table_lines(table: SweepTable) -> list[str]:
    """The table of a sweep, in lines."""
    head = ['#', *table.columns, *table.metric_columns, 'state', 'time', 'id', '']
    rows = [
        [str(row.position), *row.values, *row.metrics, str(row.look), row.seconds, row.id, row.error]
        for row in table.rows
    ]
    return [*table_lines(head, rows), *([table.omitted] if table.omitted else [])]
