"""Sweeps as HTML fragments. They say what `text` says."""

from __future__ import annotations

from kartnb.execution.sweeps.background import BackgroundSweep
from kartnb.execution.sweeps.planned import SweepPlan
from kartnb.execution.sweeps.point import SweepPoint
from kartnb.execution.sweeps.result import SweepResult
from kartnb.execution.sweeps.running import SweepRun
from kartnb.view.html import render_template
from kartnb.view.inspection import inspect, inspection_html
from kartnb.view.sweeps.told import HANDLE_HINT, HINT, plan_words, point_words, result_preview, run_words, sweep_table


def sweep_plan_html(planned: SweepPlan) -> str:
    """What a sweep would do."""
    return render_template('line.html', line=plan_words(planned))


def sweep_point_html(point: SweepPoint) -> str:
    """One point of a sweep, with its result where there is one."""
    fragment = render_template('sweep_point.html', position=point.position, pairs=point_words(point))
    fragment += _inspected(point)
    shown = result_preview(point)
    return fragment if shown is None else f'{fragment}\n{shown._repr_html_()}'


def sweep_html(result: SweepResult, hint: str = HINT, plot: str = '', plot_description: str = '') -> str:
    """A sweep: how it went, the best point, what all points share, a table of what differs, and perhaps a plot."""
    table = sweep_table(result)
    return render_template('sweep.html', table=table, hint=hint, plot=plot, plot_description=plot_description)


def sweep_run_html(run: SweepRun) -> str:
    """A sweep that runs, or could be run."""
    return render_template('line.html', line=run_words(run))


def background_sweep_html(handle: BackgroundSweep) -> str:
    """A sweep in the background: its handle, and what there is by now."""
    return render_template('line.html', line=repr(handle).strip('<>')) + sweep_html(handle.partial(), HANDLE_HINT)


def _inspected(point: SweepPoint) -> str:
    """All that is known of the task of a point, to be opened."""
    if point.task is None:
        return ''
    try:
        inner = inspection_html(inspect(point.task))
    except Exception:  # a task whose plan fails is told of by its error
        return ''
    return f'\n<details><summary>All that is known of its task</summary>{inner}</details>'
