"""The state of each task, and the reason for which it will run: by demand, from the root upstream."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import luigi

from kartnb.errors import ExternalTaskMissingError, KartError
from kartnb.events import Reason, ReasonKind, TaskState
from kartnb.execution.planning.graph import Vertex, all_paths
from kartnb.execution.planning.known_results import KnownResults
from kartnb.execution.planning.staleness import find_outdated, follows_its_inputs, note_owners
from kartnb.storage.listing import Listing
from kartnb.storage.targets import SingleFileTarget, TargetOnKart
from kartnb.task.base import TaskOnKart
from kartnb.task.structure import flatten
from kartnb.task.targets import newer_input


class Existence:
    """Which outputs exist: files by listings, other targets by asking them."""

    def __init__(self, vertices: Iterable[Vertex]) -> None:
        self.listing = Listing(all_paths(vertex for vertex in vertices if has_file_outputs(vertex)))

    def all_exist(self, vertex: Vertex) -> bool:
        """Whether a vertex has outputs and all of them exist."""
        return self.first_missing(vertex) is None and bool(vertex.outputs)

    def first_missing(self, vertex: Vertex) -> str | None:
        """The path of the first output that does not exist, or None."""
        for target, path in zip(vertex.outputs, vertex.paths, strict=True):
            if not (self.listing.exists(path) if _is_file(target) else target.exists()):
                return path
        return None


def has_file_outputs(vertex: Vertex) -> bool:
    """Whether a listing can tell that the outputs of a vertex exist."""
    return all(_is_file(target) for target in vertex.outputs)


def is_complete(vertex: Vertex) -> bool:
    """Whether a task is complete now."""
    task = vertex.task
    if not _judges_by_outputs(task) or _asks_for_more(task):
        return bool(task.complete())
    return bool(vertex.outputs) and all(target.exists() for target in vertex.outputs)


def missing_external(vertices: Iterable[Vertex]) -> dict[Vertex, ExternalTaskMissingError]:
    """Those of some vertices that are made outside, are needed and are not there, each with the error that says so."""
    return {
        vertex: _missing(vertex)
        for vertex in vertices
        if vertex.state is TaskState.MISSING and vertex.reason is None and vertex.is_external
    }


def _missing(vertex: Vertex) -> ExternalTaskMissingError:
    where = f': {vertex.paths[0]} does not exist' if vertex.paths else ''
    return ExternalTaskMissingError(
        f'{vertex.name} is made outside of this pipeline and is not there{where}. Make it, then build again.'
    )


def assess(vertices: Sequence[Vertex], demanded: Iterable[Vertex], results: KnownResults) -> None:
    """Set state and reason of vertices.

    Parameters
    ----------
    vertices
        In topological order, upstream first. Those that a vertex requires may be outside of it, assessed before.
    demanded
        The vertices that must be complete in the end.
    results
        What is recorded of their results.
    """
    _spread_reruns(vertices)
    existence = Existence(vertices)
    results.listing = existence.listing
    find_outdated(vertices, results)
    wanted = {vertex.key for vertex in demanded}
    for vertex in reversed(vertices):
        if vertex.key in wanted:
            _judge(vertex, existence)
            if vertex.reason is not None:
                wanted.update(other.key for other in vertex.requires)
        else:
            vertex.state = _idle_state(vertex, existence)
    _follow_runs(vertices, wanted, existence, results)
    for vertex in vertices:
        if vertex.note and (vertex.reason is not None or vertex.state not in (TaskState.CACHED, TaskState.STALE)):
            vertex.note = ''
    note_owners(vertices, results)


def _follow_runs(vertices: Sequence[Vertex], wanted: set[str], existence: Existence, results: KnownResults) -> None:
    """Let what was made from the earlier result of a task that will run, run too, and what that needs in turn."""
    pending = [vertex for vertex in vertices if vertex.reason is not None]
    waiting: dict[str, list[Vertex]] = {}
    for vertex in vertices if pending else ():
        if vertex.reason is None and vertex.state is TaskState.CACHED and follows_its_inputs(vertex, results):
            for other in vertex.requires:
                waiting.setdefault(other.key, []).append(vertex)
    if not waiting:
        return
    own = {vertex.key for vertex in vertices}
    while pending:
        cause = pending.pop()
        for vertex in waiting.pop(cause.key, ()):
            if vertex.reason is None:
                vertex.outdated = vertex.reason = Reason(ReasonKind.UPSTREAM_RUNS, cause.name)
                vertex.state = TaskState.STALE
                pending.append(vertex)
        for other in cause.requires:
            if other.key in own and other.key not in wanted:
                wanted.add(other.key)
                _judge(other, existence)
                if other.reason is not None:
                    pending.append(other)


def _spread_reruns(vertices: Sequence[Vertex]) -> None:
    for vertex in vertices:
        if vertex.rerun:
            vertex.reason = Reason(ReasonKind.RERUN)
            continue
        cause = next((other for other in vertex.requires if other.rerun), None)
        if cause is not None and not vertex.is_external:
            vertex.rerun = True
            vertex.reason = Reason(ReasonKind.UPSTREAM_RUNS, cause.name)


def _judge(vertex: Vertex, existence: Existence) -> None:
    if vertex.rerun and not vertex.is_external:
        vertex.state = TaskState.STALE if existence.all_exist(vertex) else TaskState.MISSING
        return
    try:
        reason = _reason_to_run(vertex, existence)
    except KartError:
        raise
    except Exception as error:
        vertex.state, vertex.reason, vertex.broken = TaskState.MISSING, None, error
        return
    if vertex.is_external:
        vertex.state = TaskState.EXTERNAL if reason is None else TaskState.MISSING
        vertex.reason = None
        return
    stale = reason is None or reason.kind is ReasonKind.INPUT_NEWER
    vertex.reason = reason = reason or vertex.outdated
    vertex.state = TaskState.CACHED if reason is None else TaskState.STALE if stale else TaskState.MISSING


def _reason_to_run(vertex: Vertex, existence: Existence) -> Reason | None:
    task = vertex.task
    if not _judges_by_outputs(task):
        return None if _says_complete(task) else _incomplete(vertex)
    if not vertex.outputs:
        return Reason(ReasonKind.NO_OUTPUT)
    missing = existence.first_missing(vertex)
    if missing is not None:
        return Reason(ReasonKind.OUTPUT_MISSING, missing)
    if _asks_for_more(task) and not task.complete():
        return _failed_check(vertex)
    return None


def _says_complete(task: luigi.Task) -> bool:
    answer = task.complete()
    if answer not in (True, False):
        raise TypeError(f'{type(task).__name__}.complete() gives {answer!r:.40}: it must give True or False.')
    return bool(answer)


def _failed_check(vertex: Vertex) -> Reason:
    inputs = flatten(vertex.task.input())
    absent = next((target for target in inputs if not target.exists()), None)
    if absent is None and getattr(vertex.task, 'modification_time_check', False):
        newer = newer_input(inputs, vertex.outputs)
        if newer is not None:
            return Reason(ReasonKind.INPUT_NEWER, newer)
    incomplete = next((other for other in vertex.requires if not other.task.complete()), None)
    return (
        Reason(ReasonKind.UPSTREAM_RUNS, incomplete.name) if incomplete is not None else Reason(ReasonKind.INCOMPLETE)
    )


def _incomplete(vertex: Vertex) -> Reason:
    missing = next(
        (path for target, path in zip(vertex.outputs, vertex.paths, strict=True) if not target.exists()), None
    )
    return Reason(ReasonKind.OUTPUT_MISSING, missing) if missing is not None else Reason(ReasonKind.INCOMPLETE)


def _judges_by_outputs(task: luigi.Task) -> bool:
    return type(task).complete in (TaskOnKart.complete, luigi.Task.complete) and 'complete' not in vars(task)


def _asks_for_more(task: luigi.Task) -> bool:
    return isinstance(task, TaskOnKart) and (task.strict_check or task.modification_time_check)


def _idle_state(vertex: Vertex, existence: Existence) -> TaskState:
    if not has_file_outputs(vertex) or not existence.all_exist(vertex):
        return TaskState.NOT_NEEDED
    if vertex.is_external:
        return TaskState.EXTERNAL
    return TaskState.CACHED if vertex.outdated is None else TaskState.STALE


def _is_file(target: Any) -> bool:
    is_ours = type(target) is SingleFileTarget or isinstance(target, TargetOnKart)
    return is_ours and target.is_plain_file
