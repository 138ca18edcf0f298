"""`kartnb.plan`: what a build of a task would do, without doing it."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any, TypeAlias

import luigi

from kartnb.errors import TaskArgumentError
from kartnb.execution.assess import assess
from kartnb.execution.graph import TaskGraph, Vertex
from kartnb.execution.plan import Plan
from kartnb.task.base import TaskOnKart

#: What can be asked to run again: True is the root; a class or its name stands for all its tasks in the plan.
Rerun: TypeAlias = bool | str | type | luigi.Task | Iterable['str | type | luigi.Task']


def plan(task: luigi.Task, *, rerun: Rerun = False) -> Plan:
    """Find out what a build of a task would do.

    Parameters
    ----------
    task
        The root: a `TaskOnKart` or any luigi task.
    rerun
        What is to run again, together with all that is downstream of it: True for the root, or tasks, task classes or
        class names.

    Returns
    -------
    Plan
        The graph, upstream first, each task with its state and, when it will run, the reason.

    Raises
    ------
    TaskArgumentError
        When `task` is no task instance, or `rerun` names nothing in the graph.
    CyclicRequirementsError, RequirementError, SharedOutputError
        When the graph is no graph of tasks.

    Examples
    --------
    >>> import kartnb, tempfile
    >>> class Example(kartnb.TaskOnKart):
    ...     def run(self):
    ...         self.dump('Hello, world!')
    >>> plan = kartnb.plan(Example(workspace_directory=tempfile.mkdtemp()))
    >>> [(node.name, str(node.state)) for node in plan]
    [('Example', 'missing')]
    """
    graph, planned = draw_up(task, rerun)
    for vertex in graph.vertices.values():
        if vertex.broken is not None:
            raise vertex.broken
    return planned


def draw_up(task: luigi.Task, rerun: Rerun = False, graph: TaskGraph | None = None) -> tuple[TaskGraph, Plan]:
    """The plan of a task together with the graph that a build goes on to grow."""
    require_task(task)
    graph = graph or TaskGraph()
    vertices = graph.add(task)
    for vertex in _to_rerun(vertices, rerun):
        vertex.rerun = True
    assess(vertices, [vertices[-1]])
    return graph, graph.snapshot(task, workspace_of(task))


def require_task(task: object) -> None:
    """Refuse what is no task instance, with a sentence that says what to write."""
    if isinstance(task, type) and issubclass(task, luigi.Task):
        raise TaskArgumentError(f'{task.__name__} is a task class: make a task of it, {task.__name__}(…).')
    if isinstance(task, type):
        raise TaskArgumentError(f'{task.__name__} is no task class: derive it from kartnb.TaskOnKart.')
    if isinstance(task, list | tuple):
        raise TaskArgumentError('One task is needed, not several: give one task that requires them all.')
    if not isinstance(task, luigi.Task):
        raise TaskArgumentError(f'A task is needed, such as MyTask(…), not {task!r:.80} ({type(task).__name__}).')


def workspace_of(task: luigi.Task) -> str:
    """The absolute workspace directory of a task; a URL as it is; the working directory for a plain luigi task."""
    workspace = task.workspace_directory if isinstance(task, TaskOnKart) else '.'
    return workspace if '://' in workspace else os.path.abspath(workspace)


def _to_rerun(vertices: list[Vertex], rerun: Rerun) -> list[Vertex]:
    if rerun is False:
        return []
    if rerun is True:
        return [vertices[-1]]
    wanted: list[Any] = [rerun] if isinstance(rerun, str | type | luigi.Task) else list(rerun)
    chosen: list[Vertex] = []
    for item in wanted:
        found = [vertex for vertex in vertices if _is_meant(vertex, item)]
        if not found:
            names = ', '.join(sorted({vertex.name for vertex in vertices}))
            name = item if isinstance(item, str) else getattr(item, '__name__', repr(item))
            raise TaskArgumentError(f'Nothing to rerun is called {name}: the tasks of this plan are {names}.')
        chosen.extend(found)
    return chosen


def _is_meant(vertex: Vertex, item: str | type | luigi.Task) -> bool:
    if isinstance(item, str):
        return item in (vertex.name, vertex.key, vertex.task.get_task_family())
    if isinstance(item, type):
        return isinstance(vertex.task, item)
    return vertex.task is item or vertex.task == item
