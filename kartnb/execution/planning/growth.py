"""Dynamic requirements: what a running task asks for becomes a part of the graph."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import luigi

from kartnb.errors import CyclicRequirementsError, RequirementError
from kartnb.events import TaskState
from kartnb.execution.planning.assess import assess
from kartnb.execution.planning.graph import TaskGraph, Vertex
from kartnb.task.structure import flatten


def required(asked: Any) -> Any:
    """The tasks that a ``yield`` has asked for, nested as they were."""
    return asked.requirements if isinstance(asked, luigi.DynamicRequirements) else asked


def grow(
    graph: TaskGraph, vertex: Vertex, requirements: Any, states: Mapping[str, TaskState]
) -> tuple[list[Vertex], list[Vertex]]:
    """Add to the graph what a running task has asked for, and all that this needs.

    Returns
    -------
    tuple
        The vertices that were asked for, and, upstream first, those that were not needed in the build so far.

    Raises
    ------
    RequirementError, CyclicRequirementsError
        When the task asks for what is no task, or needs the task itself.
    """
    tasks = [_checked(vertex, task) for task in flatten(requirements)]
    for task in tasks:
        graph.add(task)
    needed = [graph.vertex_of(task) for task in tasks]
    upstream = graph.upstream_of(needed)
    if vertex in upstream:
        raise CyclicRequirementsError(f'{vertex.name} yields a task that requires {vertex.name} itself.')
    fresh = [other for other in upstream if states.get(other.key, TaskState.NOT_NEEDED) is TaskState.NOT_NEEDED]
    assess(fresh, needed, graph.results)
    return needed, fresh


def _checked(vertex: Vertex, task: Any) -> luigi.Task:
    if isinstance(task, luigi.Task):
        return task
    raise RequirementError(
        f'{vertex.name}.run() yields {task!r:.80} ({type(task).__name__}), which is no task: yield task instances.'
    )
