"""Which results are not what a run would give now: the code or an input has changed, or something upstream has.

Staleness travels downstream, through tasks whose results are missing too; that a result is missing does not. Where
nobody can tell whether something has changed, a result counts as cached, and its note says so.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from kartnb.events import Reason, ReasonKind, TaskState
from kartnb.execution.planning.announce import FOREIGN, KEPT, OTHERS
from kartnb.execution.planning.asked_later import changed_since
from kartnb.execution.planning.foreign_writes import Files
from kartnb.history.run_record import current_notebook
from kartnb.task.base import TaskOnKart

if TYPE_CHECKING:
    from kartnb.execution.planning.graph import Vertex
    from kartnb.execution.planning.known_results import KnownResults


def find_outdated(vertices: Sequence[Vertex], results: KnownResults) -> None:
    """Set `outdated` and `note` of vertices.

    Parameters
    ----------
    vertices
        In topological order, upstream first. Those that a vertex requires may be outside of it.
    results
        What is recorded of them.
    """
    for vertex in vertices:
        vertex.outdated, vertex.note = None, ''
        if vertex.is_external or results.policy(type(vertex.task)) == 'ignore':
            continue
        own = _own_reason(vertex, results) if isinstance(vertex.task, TaskOnKart) else None
        vertex.outdated = own or _upstream_reason(vertex)


def note_owners(vertices: Sequence[Vertex], results: KnownResults) -> None:
    """Note of results that will be replaced when another notebook has made them."""
    here = current_notebook()
    for vertex in vertices if here else ():
        if vertex.reason is not None and vertex.state is TaskState.STALE:
            record = results.record(vertex)
            if record is not None and record.notebook not in ('', here):
                vertex.note = f'{OTHERS}{os.path.basename(record.notebook)}, {record.ended[:16].replace("T", " ")} UTC'


def follows_its_inputs(vertex: Vertex, results: KnownResults) -> bool:
    """Whether it is known of what inputs a result was made, so that another input makes it stale."""
    result = results.result(vertex)
    return result is not None and bool(result.made_of) and results.policy(type(vertex.task)) != 'ignore'


def _own_reason(vertex: Vertex, results: KnownResults) -> Reason | None:
    result = results.result(vertex)
    if result is None:
        return _reason_without_record(vertex, results)
    verdict = results.verdict(vertex)
    if verdict.answer == 'changed':
        if results.policy(type(vertex.task)) == 'rerun':
            return Reason(ReasonKind.CODE_CHANGED, verdict.detail)
        changed = f'{KEPT}: {verdict.detail}' if verdict.detail else KEPT
        vertex.note = f"{changed}; the result is kept, because on_code_change is 'warn'"
    elif verdict.answer == 'unknown':
        vertex.note = f'cannot tell whether the code has changed: {verdict.detail}'
    elif result.kept_for is not None and result.made_by != results.code.print_of(type(vertex.task)).key:
        vertex.note = 'brought back, and kept until the code changes again'
    newer = results.newer_input(vertex)
    if newer is None and result.asked_later:
        newer = changed_since(vertex, results)
    return newer


def _reason_without_record(vertex: Vertex, results: KnownResults) -> Reason | None:
    found = results.files.get(vertex.key)
    if found is Files.UNFINISHED:
        return Reason(ReasonKind.UNFINISHED)
    if found is Files.FOREIGN:
        vertex.note = FOREIGN
    return None


def _upstream_reason(vertex: Vertex) -> Reason | None:
    cause = next((other for other in vertex.requires if other.outdated is not None), None)
    return None if cause is None else Reason(ReasonKind.UPSTREAM_RUNS, cause.name)
