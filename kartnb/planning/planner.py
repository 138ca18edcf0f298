"""`kartnb.plan`: what a build of a task would do, without doing it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import luigi

from kartnb.config import Rerun
from kartnb.errors import (
    CyclicRequirementsError,
    ExternalTaskMissingError,
    KartError,
    RequirementError,
    TaskArgumentError,
)
from kartnb.interrupts import within
from kartnb.model import HELD, Plan, Reason, ReasonKind, TaskState
from kartnb.planning.graph import TaskGraph, Vertex, no_collections
from kartnb.planning.known_results import KnownResults
from kartnb.planning.staleness import Verdict, follows_inputs, judge_idle, judge_needed, judge_result, will_replace
from kartnb.task import registry
from kartnb.task.base import TaskOnKart
from kartnb.task.values import flatten


def plan(task: luigi.Task, *, rerun: Rerun = False, on_code_change: str | None = None) -> Plan:
    """Find out what a build of a task would do.

    Parameters
    ----------
    task
        The root: a `TaskOnKart` or any luigi task.
    rerun
        What to run again, together with all that is downstream of it: True for the root, or tasks, task classes or
        class names.
    on_code_change
        What happens to results whose code has changed: 'rerun', 'warn' or 'ignore'. By default what the class, the
        session, the environment or the configuration says; else 'rerun' for classes of the notebook, 'warn' for others.

    Returns
    -------
    Plan
        The graph, upstream first, each task with its state and, when it will run, the reason.

    Raises
    ------
    TaskArgumentError
        When `task` is not a task instance, or `rerun` names nothing in the graph.
    CyclicRequirementsError, RequirementError, SharedOutputError
        When the tasks do not make a graph.

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
    graph, planned = draw_up(task, rerun, on_code_change=on_code_change)
    for vertex in graph.vertices.values():
        if vertex.broken is not None:
            raise vertex.broken
    return planned


def draw_up(
    task: luigi.Task,
    rerun: Rerun = False,
    graph: TaskGraph | None = None,
    on_code_change: str | None = None,
    also: Sequence[luigi.Task] = (),
) -> tuple[TaskGraph, Plan]:
    """The plan of a task, and of those that are wanted `also`, together with the graph that a build goes on to grow."""
    require_task(task)
    graph = graph or TaskGraph(on_code_change=on_code_change)
    graph.also = list(also)
    return graph, within([no_collections()], lambda: _drawn_up(task, graph, _wanted(rerun, task)))


def _drawn_up(task: luigi.Task, graph: TaskGraph, wanted: list[Any]) -> Plan:
    roots = (*graph.also, task)
    vertices = [vertex for root in roots for vertex in graph.add(root)]
    for vertex in _to_rerun(vertices, wanted):
        vertex.ask_rerun()
    # tasks that are asked for while others run are not known yet
    graph.rerun_asked = lambda vertex: any(_is_meant(vertex, item) for item in wanted)
    assess(vertices, [graph.vertex_of(root) for root in roots], graph.results)
    return graph.snapshot(task, workspace_of(task))


def require_task(task: object) -> None:
    """Refuse anything but a task instance, with a sentence that says what to write."""
    if isinstance(task, type) and issubclass(task, luigi.Task):
        raise TaskArgumentError(f'{task.__name__} is a task class: make a task of it, {task.__name__}(…).')
    if isinstance(task, type):
        raise TaskArgumentError(f'{task.__name__} is not a task class: derive it from kartnb.TaskOnKart.')
    if isinstance(task, list | tuple):
        raise TaskArgumentError('One task is needed, not several: give one task that requires them all.')
    if not isinstance(task, luigi.Task):
        raise TaskArgumentError(f'A task is needed, such as MyTask(…), not {task!r:.80} ({type(task).__name__}).')


def workspace_of(task: luigi.Task) -> str:
    """The absolute workspace directory of a task; a URL as it is; the working directory for a plain luigi task."""
    workspace = task.workspace_directory if isinstance(task, TaskOnKart) else '.'
    return workspace if '://' in workspace else os.path.abspath(workspace)


def _wanted(rerun: Rerun, root: luigi.Task) -> list[Any]:
    if isinstance(rerun, bool):
        return [root] if rerun else []
    return [rerun] if isinstance(rerun, str | type | luigi.Task) else list(rerun)


def _to_rerun(vertices: list[Vertex], wanted: list[Any]) -> list[Vertex]:
    chosen: list[Vertex] = []
    missing = []
    for item in wanted:
        found = [vertex for vertex in vertices if _is_meant(vertex, item)]
        chosen.extend(found)
        if not found:
            missing.append(item)
    later = [item for item in missing if _may_come_later(item)]
    if missing and (missing != later or not chosen):
        names = ', '.join(sorted({vertex.name for vertex in vertices}))
        name = missing[0] if isinstance(missing[0], str) else getattr(missing[0], '__name__', repr(missing[0]))
        hint = ' If one of them requires it while it runs, name that one too.' if later else ''
        raise TaskArgumentError(f'Nothing to rerun is called {name}: the tasks of this plan are {names}.{hint}')
    return chosen


def _may_come_later(item: Any) -> bool:
    """Whether a running task may ask for what is meant."""
    if isinstance(item, str):
        return any(item in (cls.__name__, cls.get_task_family()) for cls in registry.task_classes())
    return True


def _is_meant(vertex: Vertex, item: str | type | luigi.Task) -> bool:
    if isinstance(item, str):
        return item in (vertex.name, vertex.key, vertex.task.get_task_family())
    if isinstance(item, type):
        return isinstance(vertex.task, item)
    return vertex.task is item or vertex.task == item


def missing_external(vertices: Iterable[Vertex]) -> dict[Vertex, ExternalTaskMissingError]:
    """The external vertices that are needed and missing, each with the error that says so."""
    return {
        vertex: _missing(vertex)
        for vertex in vertices
        if vertex.verdict.state is TaskState.MISSING and vertex.verdict.reason is None and vertex.is_external
    }


def _missing(vertex: Vertex) -> ExternalTaskMissingError:
    where = f': {vertex.paths[0]} does not exist' if vertex.paths else ''
    return ExternalTaskMissingError(
        f'{vertex.name} is made outside of this pipeline and is missing{where}. Provide it, then build again.'
    )


def assess(vertices: Sequence[Vertex], demanded: Iterable[Vertex], known: KnownResults) -> None:
    """Give vertices their verdicts, by the rules of `kartnb.planning.staleness`.

    They are in topological order, upstream first; what they require may be outside of them, assessed before. Those that
    are `demanded` must be complete in the end.
    """
    known.look_for_files(vertices)
    for vertex in vertices:  # reruns and staleness travel downstream
        vertex.rerun = vertex.rerun or _rerun_upstream(vertex)
        vertex.result = judge_result(vertex, known)
    wanted = {vertex.key for vertex in demanded}
    for vertex in reversed(vertices):  # demand travels upstream
        if vertex.key not in wanted and (vertex.rerun is None or vertex.is_external):
            vertex.verdict = judge_idle(vertex, known)
            continue
        _judge(vertex, known)
        if vertex.verdict.reason is not None:
            wanted.update(other.key for other in vertex.requires)
    _follow_runs(vertices, wanted, known)
    _note_holders(vertices, known)


def _note_holders(vertices: Iterable[Vertex], known: KnownResults) -> None:
    """Say of tasks that another build runs now, who does."""
    for vertex in vertices if known.has_marks else ():
        holder = known.holder(vertex)
        if holder is not None:
            note = f'{HELD}: {holder}'
            verdict = vertex.verdict
            vertex.verdict = replace(verdict, note=f'{verdict.note}; {note}' if verdict.note else note)


def _rerun_upstream(vertex: Vertex) -> Reason | None:
    cause = next((other for other in vertex.requires if other.rerun is not None), None)
    return None if cause is None or vertex.is_external else Reason(ReasonKind.UPSTREAM_RUNS, cause.name)


def _judge(vertex: Vertex, known: KnownResults) -> None:
    try:
        vertex.verdict = judge_needed(vertex, known)
    except KartError:
        raise
    except Exception as error:
        # as in luigi, a complete() that raises is a failure of this task, and the rest of the build goes on
        vertex.verdict, vertex.broken = Verdict(TaskState.MISSING), error


def _follow_runs(vertices: Sequence[Vertex], wanted: set[str], known: KnownResults) -> None:
    """Let what was made from the earlier result of a task that will run, run too, and what that needs in turn.

    This is not a rule of `staleness`: which tasks run is known only when demand has reached all of them, and each that
    is added here may demand more.
    """
    pending = [vertex for vertex in vertices if vertex.verdict.reason is not None]
    waiting: dict[str, list[Vertex]] = {}
    for vertex in vertices if pending else ():
        if follows_inputs(vertex, known):
            for other in vertex.requires:
                waiting.setdefault(other.key, []).append(vertex)
    if not waiting:
        return
    own = {vertex.key for vertex in vertices}
    while pending:
        cause = pending.pop()
        for vertex in waiting.pop(cause.key, ()):
            if vertex.verdict.reason is None:
                reason = Reason(ReasonKind.UPSTREAM_RUNS, cause.name)
                vertex.verdict = vertex.result = will_replace(vertex, reason, known)
                pending.append(vertex)
        for other in cause.requires:
            if other.key in own and other.key not in wanted:
                wanted.add(other.key)
                _judge(other, known)
                if other.verdict.reason is not None:
                    pending.append(other)


def grow(
    graph: TaskGraph, vertex: Vertex, requirements: Any, states: Mapping[str, TaskState]
) -> tuple[list[Vertex], list[Vertex]]:
    """Add to the graph what a running task has asked for, and all that this needs.

    Gives the vertices that were asked for, and, upstream first, those that were not needed in the build so far. Raises
    RequirementError or CyclicRequirementsError when the task asks for something that is not a task, or that needs the
    task itself.
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
        f'{vertex.name}.run() yields {task!r:.80} ({type(task).__name__}), which is not a task: yield task instances.'
    )
