"""A sweep while it runs, as text and HTML: how far it is, the best points so far, and the plot."""

from __future__ import annotations

import base64
from dataclasses import dataclass, replace
from typing import Any

from kartnb.errors import KartError
from kartnb.execution.sweeps.planned import SweepPlan
from kartnb.execution.sweeps.result import SweepResult
from kartnb.execution.sweeps.running import SweepRun
from kartnb.view.html import render_template
from kartnb.view.progress import Progress, bar_segments, progress_text
from kartnb.view.states import count_states
from kartnb.view.sweeps.html import sweep_html
from kartnb.view.sweeps.plot import sweep_plot
from kartnb.view.sweeps.text import sweep_table_lines, sweep_text
from kartnb.view.sweeps.told import SweepTable, run_words, sweep_table

#: How many rows the table has while the sweep runs: none of it has to be scrolled.
_ROWS = 10


@dataclass(frozen=True, slots=True)
class PlotPicture:
    """A plot as it is stored: the source of an image, and what it shows in words."""

    source: str
    description: str


@dataclass(frozen=True, slots=True)
class LiveSweep:
    """What is shown of a sweep while it runs.

    Attributes
    ----------
    heading
        How its points stand.
    progress
        How far it is, as a bar and in words.
    notes
        What else is worth knowing.
    table
        The best points so far; None where none has ended.
    """

    heading: str
    progress: Progress
    notes: tuple[str, ...]
    table: SweepTable | None


def sweep_progress(run: SweepRun, build: Progress | None) -> Progress:
    """How far a sweep is: a grid by its tasks, a search by its trials.

    Parameters
    ----------
    run
        The sweep.
    build
        How far the build is that runs now, or None.
    """
    if isinstance(run, SweepPlan) and build is not None:
        return build
    now = run.progress
    running = () if build is None else build.running
    return Progress(now.ended, now.total, running, None, count_states(point.state for point in run.points))


def live_sweep(run: SweepRun, progress: Progress, hint: str) -> LiveSweep:
    """What is shown of a sweep while it runs; `hint` says how it is stopped."""
    partial = run.partial()
    over = replace(partial, points=tuple(point for point in partial.points if point.is_over))
    table = sweep_table(over, _ROWS) if over.points else None
    if table is not None and table.omitted:
        more = len(over.points) - _ROWS
        table = replace(table, omitted=f'… {more:,} more {"has" if more == 1 else "have"} ended')
    problem = next((point.problem for point in over.points if point.problem), '')
    return LiveSweep(run_words(run), progress, tuple(note for note in (hint, problem) if note), table)


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


def ended_sweep_text(result: SweepResult, hint: str) -> str:
    """A sweep that has ended, as text."""
    return sweep_text(result, hint)


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
