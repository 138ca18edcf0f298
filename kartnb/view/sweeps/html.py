"""Sweeps as HTML fragments. They say what `text` says."""

from __future__ import annotations

from kartnb.execution.sweeps.result import SweepPoint, SweepResult
from kartnb.execution.sweeps.sweep import SweepPlan
from kartnb.view.html import render_template
from kartnb.view.inspection import inspect, inspection_html
from kartnb.view.sweeps.told import HINT, plan_words, point_words, result_preview, sweep_table


def sweep_plan_html(planned: SweepPlan) -> str:
    """What a sweep would do."""
    return render_template('line.html', line=plan_words(planned))


def sweep_point_html(point: SweepPoint) -> str:
    """One point of a sweep, with its result where there is one."""
    fragment = render_template('sweep_point.html', position=point.position, pairs=point_words(point))
    fragment += _inspected(point)
    shown = result_preview(point)
    return fragment if shown is None else f'{fragment}\n{shown._repr_html_()}'


def sweep_html(result: SweepResult) -> str:
    """A sweep: how it went, the best point, what all points share, and a table of what differs."""
    return render_template('sweep.html', table=sweep_table(result), hint=HINT)


def _inspected(point: SweepPoint) -> str:
    """All that is known of the task of a point, to be opened."""
    if point.task is None:
        return ''
    try:
        inner = inspection_html(inspect(point.task))
    except Exception:  # a task whose plan fails is told of by its error
        return ''
    return f'\n<details><summary>All that is known of its task</summary>{inner}</details>'
