"""Results without a record, such as gokart's: at their first use they get one, with the code of today."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from kartnb.events import TaskState
from kartnb.execution.planning.graph import TaskGraph, Vertex
from kartnb.execution.planning.known_results import KnownResults
from kartnb.execution.running.recording import output_file
from kartnb.records.run_record import RunRecord, utc_text
from kartnb.storage.code_files import keep_code
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
    unwritable: set[str] = set()
    for vertex in vertices:
        if not _is_unrecorded(vertex, graph.results):
            continue
        task: Any = vertex.task
        if task.workspace_directory in unwritable:
            continue
        try:
            _adopt(vertex, graph.results)
        except OSError:  # a workspace that one can only read is used as it is
            unwritable.add(task.workspace_directory)


def _is_unrecorded(vertex: Vertex, results: KnownResults) -> bool:
    return (
        vertex.state is TaskState.CACHED
        and isinstance(vertex.task, TaskOnKart)
        and bool(vertex.outputs)
        and results.policy(type(vertex.task)) != 'ignore'
        and results.result(vertex) is None
        and all(getattr(target, 'is_plain_file', False) for target in vertex.outputs)
    )


def _adopt(vertex: Vertex, results: KnownResults) -> None:
    task: Any = vertex.task
    outputs = tuple(output_file(target) for target in vertex.outputs)
    made = utc_text(max(file.modified or 0.0 for file in outputs))
    result = replace(results.next_result(vertex), result_id=uuid.uuid4().hex[:12])
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
    )
    keep_code(task.workspace_directory, code.key, code.to_json())
    results.directory_of(task.workspace_directory, type(task).__module__).slot(vertex.stem).write(
        result, record.to_json()
    )
    results.put(vertex, result)
