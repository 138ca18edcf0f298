"""A task as it is shown when a cell ends with it: its plan, drawn, and what is known of it without opening a file."""

from __future__ import annotations

import time
from typing import Any

import luigi

from kartnb.execution.planning.plan import Plan
from kartnb.planning.planner import plan as make_plan
from kartnb.task import identity, registry
from kartnb.task.base import TaskOnKart
from kartnb.view.clean import error_text, one_line
from kartnb.view.html import plan_html, render_template
from kartnb.view.inspection import Section, brief_sections
from kartnb.view.inspector import Inspector
from kartnb.view.parameters import listed, shown
from kartnb.view.text import plan_text

#: A larger graph, one that takes longer to walk, or one on an object store is not planned just for being looked at.
MOST_TASKS = 2_000
MOST_SECONDS = 0.5


def task_text(task: TaskOnKart[Any]) -> str:
    """A task as text: its plan, or what is known without one."""
    planned, note = _planned(task)
    if planned is None:
        return f'{one_line(repr(task), 400)}\n{note}'
    age = registry.note_on_age(task).removeprefix(' – ')
    return '\n'.join(filter(None, [plan_text(planned), age and f'This task is {age}.']))


def task_html(task: TaskOnKart[Any]) -> str:
    """A task as an HTML fragment: its plan, drawn, and the task itself."""
    planned, note = _planned(task)
    name = one_line(type(task).__name__, 120)
    if planned is None:
        lines = [listed(shown(task)) or 'It has no parameters.']
        found = [Section('Parameters', lines, open=True)]
        return render_template('task.html', title=name, unique_id=_unique_id(task), sections=found, note=note)
    inspector = Inspector(planned)
    found = list(brief_sections(inspector.brief(planned.root.key)))
    age = registry.note_on_age(task).removeprefix(' – ')
    note = f'This task is {age}.' if age else ''
    task_part = render_template('task.html', title=name, unique_id=_unique_id(task), sections=found, note=note)
    return f'{plan_html(planned)}\n{task_part}'


def _planned(task: TaskOnKart[Any]) -> tuple[Plan | None, str]:
    """The plan of a task, or why there is none."""
    if '://' in task.workspace_directory:
        return None, 'Its workspace is not on this computer: kartnb.plan(…) asks it for the states.'
    try:
        if not _is_soon_walked(task):
            return None, 'It needs many tasks: kartnb.plan(…) finds them all, with their states.'
        return make_plan(task), ''
    except Exception as error:  # whatever requires(), output() or complete() raises, the task itself can be shown
        return None, f'It cannot be planned: {one_line(error_text(error), 300)}'


def _is_soon_walked(task: luigi.Task) -> bool:
    """Whether a task needs few enough tasks, and they are found quickly."""
    until = time.monotonic() + MOST_SECONDS
    seen, pending = {id(task): task}, [task]
    while pending:
        if len(seen) > MOST_TASKS or time.monotonic() > until:
            return False
        for other in identity.required_tasks(pending.pop()):
            if id(other) not in seen:
                seen[id(other)] = other
                pending.append(other)
    return True


def _unique_id(task: TaskOnKart[Any]) -> str:
    try:
        return one_line(task.make_unique_id(), 80)
    except Exception:  # its requires() may fail, which the note says
        return ''
