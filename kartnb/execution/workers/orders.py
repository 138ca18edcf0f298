"""Making the orders that tell a worker what to run, and keeping the ids of the results that come of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kartnb.events import Event, TaskProgress
from kartnb.execution.running.runs import Outcome, TaskOrder, TaskRun
from kartnb.execution.workers.executors import Inbox, ResourcesFreed
from kartnb.planning.graph import Vertex
from kartnb.planning.known_results import KnownResults
from kartnb.storage.code_files import keep_code
from kartnb.storage.run_records import RecordedResult


class Orders:
    """The orders of one build.

    Parameters
    ----------
    build_id
        Names the build.
    inbox
        Takes what running tasks tell the build's loop.
    emit
        Is given what running tasks report.
    results
        What is recorded of the tasks.
    """

    def __init__(self, build_id: str, inbox: Inbox, emit: Callable[[Event], None], results: KnownResults) -> None:
        self._build_id = build_id
        self._inbox = inbox
        self._emit = emit
        self._results = results
        self._expected: dict[str, RecordedResult] = {}
        self._kept: set[tuple[str, str]] = set()

    def new_run(self, vertex: Vertex) -> TaskRun:
        """A run of a task, from its start."""
        key, build_id, inbox, emit = vertex.key, self._build_id, self._inbox, self._emit

        def report(what: str, value: Any) -> None:
            if what == 'resources':
                inbox.put(ResourcesFreed(key, value))
            else:
                emit(TaskProgress(build_id, key, **{what: value}))

        order = TaskOrder(vertex.task, vertex.unique_id, key, build_id, (), tuple(vertex.outputs), None)
        order.value_wanted = vertex.value_wanted
        run = TaskRun(order, report)
        self.renew(run, vertex)
        return run

    def renew(self, run: TaskRun, vertex: Vertex) -> None:
        """Let a run know of the present results of all that its task needs, before it begins or goes on."""
        order = run.order
        order.inputs = self._results.inputs(vertex)
        directory = self._results.directory(vertex.task)
        if directory is None:
            return
        order.record = order.record or directory.slot(vertex.stem)
        order.result = self._expected[vertex.key] = self._results.next_result(vertex, run.result_id)
        order.unknown = self._code(vertex)
        if not run.started:
            order.replaces = self._results.replaced(vertex)

    def note(self, vertex: Vertex, outcome: Outcome) -> None:
        """Take down what came of a run that has ended."""
        if outcome.requirements is not None or vertex.key not in self._expected:
            return
        expected = self._expected.pop(vertex.key)
        made = outcome.error is None and bool(outcome.result_id)
        self._results.put(vertex, expected.with_id(outcome.result_id, outcome.files) if made else None)

    def _code(self, vertex: Vertex) -> tuple[str, ...]:
        """Keep the source of a task, once for each print; gives what of it nobody can compare."""
        task: Any = vertex.task
        code = self._results.code.print_of(type(task))
        place = (task.workspace_directory, code.key)
        if place not in self._kept:
            self._kept.add(place)
            keep_code(*place, code.to_json())
        return code.unknown
