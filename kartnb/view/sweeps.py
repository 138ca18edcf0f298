"""Sweeps as text and HTML: the table of points, one point, what a sweep would do, and how far a running one is."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from kartnb.errors import KartError
from kartnb.planning.estimate import Estimate
from kartnb.sweeps.points import SweepPoint
from kartnb.sweeps.result import SweepResult
from kartnb.sweeps.run import SweepPlan, SweepRun, best_so_far
from kartnb.sweeps.sweep import BackgroundSweep
from kartnb.view.html import render_template
from kartnb.view.inspect import inspect, inspection_html
from kartnb.view.live import Progress, bar_segments, progress_text
from kartnb.view.previews.preview import Preview
from kartnb.view.previews.show import preview, preview_unloaded
from kartnb.view.sanitise import about_text, counted, one_line, seconds_text, short_id
from kartnb.view.sweep_plot import sweep_plot
from kartnb.view.text import table_lines
from kartnb.view.words import (
    Look,
    count_states,
    counts_text,
    look,
    memory_text,
    number_text,
    tasks,
    value_text,
    will_run,
)

#: The hint below a table.
HINT = 'found[#] shows a point in full: its values, files, log lines and result.'
#: The same where the table belongs to a sweep in the background.
HANDLE_HINT = 'handle.result()[#] shows a point in full: its values, files, log lines and result.'
#: How many rows a table of points has at most.
MAX_ROWS = 50
_MAX_CONSTANTS = 12
_MAX_NOTES = 3


@dataclass(frozen=True, slots=True)
class PointRow:
    """One point in the table; every text is fit to be shown."""

    position: int
    values: tuple[str, ...]
    metrics: tuple[str, ...]
    look: Look
    seconds: str
    memory: str
    id: str
    error: str
    is_best: bool
    details: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class SweepTable:
    """A sweep as it is shown: its points as rows, the best first, of which `omitted` have no row.

    `constants` are the parameters that are the same in all points, as ``name=value``.
    """

    heading: str
    columns: tuple[str, ...]
    metric_columns: tuple[str, ...]
    constants: str
    rows: tuple[PointRow, ...]
    omitted: str
    notes: tuple[str, ...]

    @property
    def has_memory(self) -> bool:
        """Whether the memory of any task is known."""
        return any(row.memory for row in self.rows)


def sweep_table(result: SweepResult, most: int = MAX_ROWS) -> SweepTable:
    """A sweep as a table that shows only what differs, the best point first."""
    ranked, varied, metrics = result.ranked(), result.varied, result.metrics
    best = ranked[0] if ranked and result.metric in ranked[0].metrics else None
    return SweepTable(
        heading=_heading(result),
        columns=tuple(one_line(name, 40) for name in varied),
        metric_columns=tuple(_metric_title(name, result) for name in metrics),
        constants=_constants(result, varied),
        rows=tuple(_row(point, varied, metrics, point is best) for point in ranked[:most]),
        omitted=f'… {len(ranked) - most:,} more: to_dataframe() has them all' if len(ranked) > most else '',
        notes=_notes(result, best),
    )


def sweep_plan_text(planned: SweepPlan) -> str:
    """A grid in one line: how many points are cached, what will run and about how long, or what has run."""
    counts = counts_text(count_states(point.state for point in planned.points))
    begin = f'{counted(len(planned.points), "point")} of {one_line(planned.name, 80)}: {counts}'
    if planned.report is not None:
        ran = f'{tasks(len(planned.report.durations))} ran in {seconds_text(planned.report.seconds)}'
        return f'{begin} · {ran}{_best_text(planned)}'
    if planned.is_over:
        return f'{begin} · nothing had to run{_best_text(planned)}'
    parts = [begin, will_run(planned.plan) if planned.plan else 'nothing will run']
    if planned.estimate is not None:
        parts.append(estimate_text(planned.estimate))
    return ' · '.join(parts)


def sweep_run_text(run: SweepRun) -> str:
    """How a sweep stands, in one line: its points by their states, and the best metric so far."""
    counts = counts_text(count_states(point.state for point in run.points))
    if isinstance(run, SweepPlan):
        begin = f'Sweep of {one_line(run.name, 80)}: {counted(run.total, "point")}'
    else:
        begin = f'Search of {one_line(run.name, 80)}: {run.progress.ended:,} of {run.total:,} trials'
    words = f'{begin}: {counts}' if counts else begin
    return f'{words}{_best_text(run)}{" · stopped" if run.stopped else ""}'


def _best_text(run: SweepRun) -> str:
    best = best_so_far(run.points, run.direction)
    if best is None:
        return ''
    return f' · best {one_line(best[0], 40)}{"" if run.is_over else " so far"} {number_text(best[1])}'


def estimate_text(expected: Estimate) -> str:
    """About how long, in words."""
    if not expected.by_key:
        return 'duration unknown'
    length = about_text(expected.seconds)
    if expected.unknown:
        return f'{length}, plus {tasks(expected.unknown)} never run before'
    return length


def point_pairs(point: SweepPoint) -> tuple[tuple[str, str], ...]:
    """What is known of one point, as pairs."""
    found = [('values', ', '.join(f'{one_line(name, 40)}={value_text(value)}' for name, value in point.values.items()))]
    found.append(('state', str(look(point.state))))
    found += [(one_line(name, 40), number_text(value)) for name, value in point.metrics.items()]
    if point.seconds is not None:
        found.append(('time', seconds_text(point.seconds)))
    if point.memory is not None:
        found.append(('memory', memory_text(point.memory)))
    if point.unique_id:
        found.append(('unique id', one_line(point.unique_id, 80)))
    error = point.error or point.problem
    return (*found, ('error', one_line(error, 300))) if error else tuple(found)


def result_preview(point: SweepPoint) -> Preview | None:
    """The result of a point as it can be looked at; None where there is none."""
    if point.task is None or not point.is_complete:
        return None
    # the sweep that has measured it has loaded it
    return preview(point.task) if point.metrics else preview_unloaded(point.task)[0]


def _heading(result: SweepResult) -> str:
    counts = counts_text(count_states(point.state for point in result.points)) or 'none'
    return (
        f'Sweep of {one_line(result.name, 80)}: {counted(len(result.points), "point")} in '
        f'{seconds_text(result.seconds)}: {counts}'
    )


def _metric_title(name: str, result: SweepResult) -> str:
    if name != result.metric:
        return one_line(name, 40)
    return f'{one_line(name, 40)} {"▼" if result.direction == "maximize" else "▲"}'


def _constants(result: SweepResult, varied: Sequence[str]) -> str:
    first: Mapping[str, Any] = result.points[0].values if result.points else {}
    same = [name for name in result.parameters if name not in varied]
    given = [f'{one_line(name, 40)}={value_text(first.get(name))}' for name in same[:_MAX_CONSTANTS]]
    return ', '.join([*given, *(['…'] if len(same) > _MAX_CONSTANTS else [])])


def _row(point: SweepPoint, varied: Sequence[str], metrics: Sequence[str], is_best: bool) -> PointRow:
    return PointRow(
        position=point.position,
        values=tuple(value_text(point.values[name]) if name in point.values else '–' for name in varied),
        metrics=tuple(number_text(point.metrics[name]) if name in point.metrics else '–' for name in metrics),
        look=look(point.state),
        seconds='' if point.seconds is None else seconds_text(point.seconds),
        memory=memory_text(point.memory),
        id=short_id(point.unique_id) if point.unique_id else '',
        error=one_line(point.error or point.problem, 160),
        is_best=is_best,
        details=point_pairs(point),
    )


def _notes(result: SweepResult, best: SweepPoint | None) -> tuple[str, ...]:
    found = [one_line(note, 300) for note in result.notes[:_MAX_NOTES]]
    problems = sum(bool(point.problem) for point in result.points)
    if problems:
        found.append(f'The metric is missing from {counted(problems, "result")}.')
    if best is not None and result.metric is not None:
        values = ', '.join(f'{one_line(name, 40)}={value_text(best.values.get(name))}' for name in result.varied)
        found_best = f'best {one_line(result.metric, 40)}: {number_text(best.metrics[result.metric])}'
        at = f' with {values}' if values else ''
        found.append(f'{found_best}{at} (point {best.position})')
    return tuple(found)


def sweep_plan_html(planned: SweepPlan) -> str:
    """What a sweep would do."""
    return render_template('line.html', line=sweep_plan_text(planned))


def sweep_point_html(point: SweepPoint) -> str:
    """One point of a sweep, with its result where there is one."""
    fragment = render_template('sweep_point.html', position=point.position, pairs=point_pairs(point))
    fragment += _inspected(point)
    shown = result_preview(point)
    return fragment if shown is None else f'{fragment}\n{shown._repr_html_()}'


def sweep_html(result: SweepResult, hint: str = HINT, plot: str = '', plot_description: str = '') -> str:
    """A sweep: how it went, the best point, what all points share, a table of what differs, and perhaps a plot."""
    table = sweep_table(result)
    return render_template('sweep.html', table=table, hint=hint, plot=plot, plot_description=plot_description)


def sweep_run_html(run: SweepRun) -> str:
    """A sweep that runs, or could be run."""
    return render_template('line.html', line=sweep_run_text(run))


def background_sweep_html(handle: BackgroundSweep) -> str:
    """A sweep in the background: its handle, and what there is by now."""
    return render_template('line.html', line=repr(handle).strip('<>')) + sweep_html(handle.partial(), HANDLE_HINT)


def _inspected(point: SweepPoint) -> str:
    """The inspection of the task of a point, folded."""
    if point.task is None:
        return ''
    try:
        inner = inspection_html(inspect(point.task))
    except Exception:  # the error of the point already says why its task cannot be planned
        return ''
    return f'\n<details><summary>Details of its task</summary>{inner}</details>'


def background_sweep_text(handle: BackgroundSweep) -> str:
    """A sweep in the background: its handle, and what there is by now."""
    return f'{handle!r}\n{sweep_text(handle.partial(), HANDLE_HINT)}'


def sweep_point_text(point: SweepPoint) -> str:
    """One point of a sweep."""
    lines = [f'Point {point.position}', *(f'  {name}: {text}' for name, text in point_pairs(point))]
    if point.task is not None:
        lines.append('  kartnb.inspect(point.task) shows all details of its task')
    shown = result_preview(point)
    return '\n'.join(lines if shown is None else [*lines, repr(shown)])


def sweep_text(result: SweepResult, hint: str = HINT) -> str:
    """A sweep: how it went, the best point, what all points share, and a table of what differs."""
    table = sweep_table(result)
    found = [table.heading, *table.notes]
    if table.constants:
        found.append(f'the same for all points: {table.constants}')
    return '\n'.join([*found, *sweep_table_lines(table), *([hint] if table.rows and hint else [])])


def sweep_table_lines(table: SweepTable) -> list[str]:
    """The table of a sweep, in lines."""
    memory = ['memory'] if table.has_memory else []
    head = ['#', *table.columns, *table.metric_columns, 'state', 'time', *memory, 'id', '']
    rows = []
    for row in table.rows:
        took = [row.seconds, row.memory] if memory else [row.seconds]
        rows.append([str(row.position), *row.values, *row.metrics, str(row.look), *took, row.id, row.error])
    return [*table_lines(head, rows), *([table.omitted] if table.omitted else [])]


#: How many rows the table has while the sweep runs: none of it has to be scrolled.
_ROWS = 10


@dataclass(frozen=True, slots=True)
class PlotPicture:
    """A plot as it is stored: the source of an image, and what it shows in words."""

    source: str
    description: str


@dataclass(frozen=True, slots=True)
class LiveSweep:
    """What is shown of a sweep while it runs; there is no table of the best points before one has ended."""

    heading: str
    progress: Progress
    notes: tuple[str, ...]
    table: SweepTable | None


def sweep_progress(run: SweepRun, build: Progress | None) -> Progress:
    """How far a sweep is: a grid by its tasks in the running build, a search by its trials."""
    if isinstance(run, SweepPlan) and build is not None:
        return build
    now = run.progress
    running = () if build is None else build.running
    counts = count_states(point.state for point in run.points)
    return Progress(now.ended, now.total, running, None, counts, waits=() if build is None else build.waits)


def live_sweep(run: SweepRun, progress: Progress, hint: str) -> LiveSweep:
    """What is shown of a sweep while it runs; `hint` says how it is stopped."""
    partial = run.partial()
    over = replace(partial, points=tuple(point for point in partial.points if point.is_over))
    table = sweep_table(over, _ROWS) if over.points else None
    if table is not None and table.omitted:
        more = len(over.points) - _ROWS
        table = replace(table, omitted=f'… {more:,} more {"has" if more == 1 else "have"} ended')
    problem = next((point.problem for point in over.points if point.problem), '')
    return LiveSweep(sweep_run_text(run), progress, tuple(note for note in (hint, problem) if note), table)


def live_sweep_text(live: LiveSweep) -> str:
    """A sweep while it runs, as text."""
    lines = [live.heading, progress_text(live.progress), *live.notes]
    return '\n'.join([*lines, *(sweep_table_lines(live.table) if live.table else [])])


def live_sweep_html(live: LiveSweep, plot: PlotPicture | None = None) -> str:
    """A sweep while it runs, as an HTML fragment."""
    return render_template('sweep_live.html', live=live, segments=bar_segments(live.progress), **_picture_context(plot))


def ended_sweep_html(result: SweepResult, hint: str, plot: PlotPicture | None) -> str:
    """A sweep that has ended, with its plot; `hint` says how a point is looked at."""
    return sweep_html(result, hint, **_picture_context(plot))


def plot_picture(result: SweepResult) -> PlotPicture | None:
    """The plot of a sweep as it is stored; None where there is nothing to plot, or nothing to plot with."""
    if len([point for point in result.points if point.metrics]) < 2:
        return None
    try:
        drawn = sweep_plot(result)
    except KartError:
        return None
    source = 'data:image/png;base64,' + base64.b64encode(drawn.png()).decode('ascii')
    return PlotPicture(source, drawn.description)


def _picture_context(plot: PlotPicture | None) -> dict[str, Any]:
    if plot is None:
        return {'plot': '', 'plot_description': ''}
    return {'plot': plot.source, 'plot_description': plot.description}
