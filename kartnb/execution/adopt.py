"""Results without a record, such as gokart's: at their first use they get one, with the code of today."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from typing import Any

from kartnb.events import TaskState
from kartnb.execution.running.recording import seen_output
from kartnb.history.run_record import RunRecord, iso_seconds, utc_text
from kartnb.planning.graph import TaskGraph, Vertex
from kartnb.planning.known_results import Files, KnownResults
from kartnb.storage.code_files import keep_code
from kartnb.storage.contents import joint_mark
from kartnb.task.base import TaskOnKart
from kartnb.task.shown import shown_parameters


def adopt_results(graph: TaskGraph, vertices: Iterable[Vertex]) -> None:
    """Give a record to results that have none, so that later changes are noticed.

    Parameters
    ----------
    graph
        The graph, planned.
    vertices
        Which of its tasks to look at, upstream first.
    """
    results = graph.results
    unwritable: set[str] = set()
    for vertex in vertices:
        task: Any = vertex.task
        wanted = _is_unrecorded(vertex, results)
        if not (wanted or vertex.key in results.moved) or task.workspace_directory in unwritable:
            continue
        try:
            adopt(vertex, results) if wanted else _note_present_times(vertex, results)
        except OSError:  # a workspace that one can only read is used as it is
            unwritable.add(task.workspace_directory)


def _is_unrecorded(vertex: Vertex, results: KnownResults) -> bool:
    return (
        vertex.state in (TaskState.CACHED, TaskState.STALE)
        and isinstance(vertex.task, TaskOnKart)
        and bool(vertex.outputs)
        and results.policy(type(vertex.task)) != 'ignore'
        and results.result(vertex) is None
        and results.changed_files(vertex) is not Files.UNFINISHED
        and all(getattr(target, 'is_plain_file', False) for target in vertex.outputs)
    )


def _note_present_times(vertex: Vertex, results: KnownResults) -> None:
    """Let a record that was copied with its result tell the present times, so that plans open it no more."""
    task: Any = vertex.task
    directory = results.directory_of(task.workspace_directory, type(task).__module__)
    directory.rename(vertex.stem, results.moved.pop(vertex.key))


def adopt(vertex: Vertex, results: KnownResults) -> None:
    """Give a result a record that says that it was there before it."""
    task: Any = vertex.task
    seen = [seen_output(target) for target in vertex.outputs]
    outputs = tuple(file for file, _ in seen)
    made = utc_text(max(file.modified or 0.0 for file in outputs))
    files = joint_mark(told.mark for _, told in seen)
    result = results.next_result(vertex).with_id(uuid.uuid4().hex[:12], files)
    code = results.code.print_of(type(task))
    record = RunRecord(
        task=type(task).__name__,
        module=type(task).__module__,
        unique_id=vertex.unique_id,
        parameters={parameter.name: parameter.text for parameter in shown_parameters(task)},
        state='adopted',
        result_id=result.result_id,
        inputs=results.inputs(vertex),
        outputs=outputs,
        started=made,
        ended=made,
        seconds=0.0,
        error='',
        build_id='',
        host='',
        pid=0,
        notebook='',
        versions={},
        code=code.key,
        unknown=code.unknown,
        checks=tuple(told.check for _, told in seen),
    )
    keep_code(task.workspace_directory, code.key, code.to_json())
    results.directory_of(task.workspace_directory, type(task).__module__).slot(vertex.stem).write(
        result, record.to_json(), iso_seconds(made)
    )
    results.put(vertex, result)
