"""What is said of sweeps, before it is text or HTML."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kartnb.execution.sweeps.planned import SweepPlan
from kartnb.execution.sweeps.point import SweepPoint
from kartnb.execution.sweeps.result import SweepResult
from kartnb.execution.sweeps.running import SweepRun, best_so_far
from kartnb.planning.estimate import Estimate
from kartnb.view.clean import one_line, seconds_text, short_id
from kartnb.view.parameters import number_text, value_text
from kartnb.view.previews.preview import Preview
from kartnb.view.previews.show import preview
from kartnb.view.states import Look, count_states, counts_text, look

#: Said below a table.
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
    id: str
    error: str
    is_best: bool
    details: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class SweepTable:
    """A sweep as it is shown.

    Attributes
    ----------
    heading
        What it is and how it went.
    columns, metric_columns
        The names over the values and the metrics of a row.
    constants
        The parameters that are the same in all points, as ``name=value``.
    rows
        The points, the best first.
    omitted
        How many points have no row.
    notes
        What else is worth knowing.
    """

    heading: str
    columns: tuple[str, ...]
    metric_columns: tuple[str, ...]
    constants: str
    rows: tuple[PointRow, ...]
    omitted: str
    notes: tuple[str, ...]


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


def plan_words(planned: SweepPlan) -> str:
    """A grid in one line: how many points are cached, what will run and about how long, or what has run."""
    number = len(planned.points)
    counts = counts_text(count_states(point.state for point in planned.points))
    begin = f'{number:,} {"point" if number == 1 else "points"} of {one_line(planned.name, 80)}: {counts}'
    if planned.report is not None:
        ran = f'{_tasks(len(planned.report.durations))} ran in {seconds_text(planned.report.seconds)}'
        return f'{begin} · {ran}{_best_words(planned)}'
    if planned.is_over:
        return f'{begin} · nothing had to run{_best_words(planned)}'
    parts = [begin, f'{_tasks(planned.to_run)} will run' if planned.to_run else 'nothing will run']
    if planned.estimate is not None:
        parts.append(estimate_words(planned.estimate))
    return ' · '.join(parts)


def _tasks(number: int) -> str:
    return f'{number:,} {"task" if number == 1 else "tasks"}'


def run_words(run: SweepRun) -> str:
    """How a sweep stands, in one line: its points by their states, and the best metric so far."""
    counts = counts_text(count_states(point.state for point in run.points))
    if isinstance(run, SweepPlan):
        begin = f'Sweep of {one_line(run.name, 80)}: {run.total:,} {"point" if run.total == 1 else "points"}'
    else:
        begin = f'Search of {one_line(run.name, 80)}: {run.progress.ended:,} of {run.total:,} trials'
    words = f'{begin}: {counts}' if counts else begin
    return f'{words}{_best_words(run)}{" · stopped" if run.stopped else ""}'


def _best_words(run: SweepRun) -> str:
    best = best_so_far(run.points, run.direction)
    if best is None:
        return ''
    return f' · best {one_line(best[0], 40)}{"" if run.is_over else " so far"} {number_text(best[1])}'


def estimate_words(expected: Estimate) -> str:
    """About how long, in words."""
    if not expected.by_key:
        return 'how long is not known yet'
    length = f'about {seconds_text(expected.seconds)}' if expected.seconds >= 1 else 'under 1 s'
    if expected.unknown:
        return f'{length} and what {expected.unknown:,} take that have never run'
    return length


def point_words(point: SweepPoint) -> tuple[tuple[str, str], ...]:
    """What is known of one point, as pairs."""
    found = [('values', ', '.join(f'{one_line(name, 40)}={value_text(value)}' for name, value in point.values.items()))]
    found.append(('state', str(look(point.state))))
    found += [(one_line(name, 40), number_text(value)) for name, value in point.metrics.items()]
    if point.seconds is not None:
        found.append(('time', seconds_text(point.seconds)))
    if point.unique_id:
        found.append(('unique id', one_line(point.unique_id, 80)))
    error = point.error or point.problem
    return (*found, ('error', one_line(error, 300))) if error else tuple(found)


def result_preview(point: SweepPoint) -> Preview | None:
    """The result of a point as it can be looked at; None where there is none."""
    if point.task is None or not point.is_complete:
        return None
    return preview(point.task)


def _heading(result: SweepResult) -> str:
    number = len(result.points)
    counts = counts_text(count_states(point.state for point in result.points)) or 'none'
    return (
        f'Sweep of {one_line(result.name, 80)}: {number:,} {"point" if number == 1 else "points"} in '
        f'{seconds_text(result.seconds)}: {counts}'
    )


def _metric_title(name: str, result: SweepResult) -> str:
    if name != result.metric:
        return one_line(name, 40)
    return f'{one_line(name, 40)} {"▼" if result.direction == "maximize" else "▲"}'


def _constants(result: SweepResult, varied: Sequence[str]) -> str:
    first: Mapping[str, Any] = result.points[0].values if result.points else {}
    same = [name for name in result.parameters if name not in varied]
    told = [f'{one_line(name, 40)}={value_text(first.get(name))}' for name in same[:_MAX_CONSTANTS]]
    return ', '.join([*told, *(['…'] if len(same) > _MAX_CONSTANTS else [])])


def _row(point: SweepPoint, varied: Sequence[str], metrics: Sequence[str], is_best: bool) -> PointRow:
    return PointRow(
        position=point.position,
        values=tuple(value_text(point.values[name]) if name in point.values else '–' for name in varied),
        metrics=tuple(number_text(point.metrics[name]) if name in point.metrics else '–' for name in metrics),
        look=look(point.state),
        seconds='' if point.seconds is None else seconds_text(point.seconds),
        id=short_id(point.unique_id) if point.unique_id else '',
        error=one_line(point.error or point.problem, 160),
        is_best=is_best,
        details=point_words(point),
    )


def _notes(result: SweepResult, best: SweepPoint | None) -> tuple[str, ...]:
    found = [one_line(note, 300) for note in result.notes[:_MAX_NOTES]]
    problems = sum(bool(point.problem) for point in result.points)
    if problems:
        found.append(f'{problems:,} of the results have no such metric.')
    if best is not None and result.metric is not None:
        values = ', '.join(f'{one_line(name, 40)}={value_text(best.values.get(name))}' for name in result.varied)
        told = f'best {one_line(result.metric, 40)}: {number_text(best.metrics[result.metric])}'
        found.append(f'{told} with {values} (point {best.position})' if values else f'{told} (point {best.position})')
    return tuple(found)
