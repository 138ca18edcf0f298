"""`kartnb.why`: the reason for everything that a build would run, and for every result that is stale."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import luigi

from kartnb import display
from kartnb.config import Rerun
from kartnb.history.package_versions import changed_versions, versions_of
from kartnb.history.run_record import RunRecord, accepted_text, newest_record
from kartnb.model import Node, Plan, ReasonKind, TaskState, split_note
from kartnb.planning.code_changes import changed_names
from kartnb.planning.graph import TaskGraph, Vertex
from kartnb.planning.known_results import KnownResults
from kartnb.planning.moved_classes import MovedClasses
from kartnb.planning.planner import draw_up
from kartnb.storage.run_records import RecordDirectory, RecordedResult
from kartnb.task.base import TaskOnKart
from kartnb.task.code.parts import Part, shown_name
from kartnb.task.describe import shown_parameters

#: Records of a class that are read to find the one that is nearest to a new task.
_MOST_READ = 200
_MOST_EXPLAINED = 200


@dataclass(frozen=True, slots=True)
class CodeChange:
    """One function, class or constant that is not what it was: its name, and the lines of a unified diff."""

    name: str
    diff: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ParameterChange:
    """A parameter that differs from the nearest recorded run: its name, the value there, and the value now."""

    name: str
    before: str
    now: str


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why tasks run, or why their results are not what they would be now."""

    #: Several where many tasks of one class have the same reason.
    nodes: tuple[Node, ...]
    reason: str
    #: What else is known, a sentence each.
    details: tuple[str, ...] = ()
    code: tuple[CodeChange, ...] = ()
    #: Where the first task differs from the nearest recorded run of its class.
    parameters: tuple[ParameterChange, ...] = ()


@dataclass(frozen=True, eq=False, repr=False)
class Why(display.Displayed):
    """The reasons in a plan, upstream first: what `kartnb.why` gives.

    Attributes
    ----------
    plan
        The plan.
    explanations
        A reason each; empty where nothing will run and nothing is stale.
    returned
        A sentence for results that were superseded, and then brought back by a build or restored by hand: when they
        were made, and when they came back; and for those that somebody has accepted.
    """

    plan: Plan
    explanations: tuple[Explanation, ...]
    returned: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.explanations)

    def __iter__(self) -> Iterator[Explanation]:
        return iter(self.explanations)


def why(
    task: luigi.Task,
    *,
    rerun: Rerun = False,
    on_code_change: str | None = None,
    on_version_change: str | None = None,
) -> Why:
    """Explain what a build of a task would run, and which results are stale.

    Parameters
    ----------
    task
        The root task.
    rerun, on_code_change, on_version_change
        As for `kartnb.build`.

    Returns
    -------
    Why
        For each task that will run or is stale: the difference of the code, the parameters that differ from the nearest
        recorded run of the class, the upstream task that causes it, or the input that is newer.

    Raises
    ------
    TaskArgumentError
        When `task` is not a task instance, or `rerun` names nothing in the graph.

    Examples
    --------
    >>> import kartnb, tempfile
    >>> class Double(kartnb.TaskOnKart[int]):
    ...     number = kartnb.luigi.IntParameter()
    ...
    ...     def run(self):
    ...         self.dump(2 * self.number)
    >>> place = tempfile.mkdtemp()
    >>> kartnb.build(Double(number=21, workspace_directory=place))
    42
    >>> [explanation] = kartnb.why(Double(number=22, workspace_directory=place))
    >>> explanation.parameters
    (ParameterChange(name='number', before='21', now='22'),)
    """
    graph, plan = draw_up(task, rerun, on_code_change=on_code_change, on_version_change=on_version_change)
    explainer = _Explainer(graph, plan)
    return Why(plan, tuple(explainer.explain()), tuple(explainer.returned()))


class _Explainer:
    def __init__(self, graph: TaskGraph, plan: Plan) -> None:
        self._graph = graph
        self._plan = plan
        self._results: KnownResults = graph.results
        self._stems: dict[tuple[str, str], list[str]] = {}
        self._moved = MovedClasses(graph.results, thorough=True)

    def explain(self) -> Iterator[Explanation]:
        """The explanations, upstream first."""
        groups: dict[tuple[str, ...], list[Node]] = {}
        for node in self._plan:
            if node.why or node.state is TaskState.STALE:
                groups.setdefault(self._group(node), []).append(node)
        for nodes in [*groups.values()][:_MOST_EXPLAINED]:
            yield self._explanation(nodes)

    def returned(self) -> Iterator[str]:
        """What is said of present results that have come back, or that somebody has accepted.

        The records of the last tasks of the plan are read.
        """
        groups: dict[str, list[Node]] = {}
        for node in self._plan.nodes[-_MOST_READ:]:
            vertex = self._graph.vertices[node.key]
            result = None if node.why else self._results.result(vertex)
            record = None if result is None else self._results.record(vertex)
            if result is None or record is None:
                continue
            how = [_how_returned(result, record)] if record.brought_back else []
            how += [accepted_text(record.accepted)] if record.accepted else []
            if how:
                groups.setdefault(', '.join([f'made {_when(record)}', *how]), []).append(node)
        for text, nodes in groups.items():
            names = Counter(node.name for node in nodes)
            yield f'{", ".join(f"{name} ×{n}" if n > 1 else name for name, n in names.items())}: {text}.'

    def _group(self, node: Node) -> tuple[str, ...]:
        """What tasks share that are explained together."""
        if node.reason is not None and node.reason.kind is ReasonKind.OUTPUT_MISSING:
            return (node.key,) if self._is_recorded(node) else (node.name, 'missing', split_note(node.note)[1])
        return node.name, type(node.task).__module__, node.why

    def _is_recorded(self, node: Node) -> bool:
        return self._results.result(self._graph.vertices[node.key]) is not None

    def _explanation(self, nodes: list[Node]) -> Explanation:
        node = nodes[0]
        vertex = self._graph.vertices[node.key]
        code = tuple(self._code_changes(vertex)) if _is_of_code(node) else ()
        details = [*self._details(node, vertex, bool(code))]
        parameters: tuple[ParameterChange, ...] = ()
        if node.reason is not None and node.reason.kind is ReasonKind.OUTPUT_MISSING and not self._is_recorded(node):
            # no record under this id: if the class has run before, a parameter or an input was another
            elsewhere = self._moved.note_on(vertex)
            nearest, parameters = ('', ()) if elsewhere else self._nearest(vertex)
            details.append('' if elsewhere and elsewhere in node.note else _sentence(elsewhere or nearest))
        reason = node.why or 'stale, and kept: a task downstream uses results as they are'
        return Explanation(tuple(nodes), reason, tuple(filter(None, details)), code, parameters)

    def _details(self, node: Node, vertex: Vertex, has_diff: bool) -> Iterator[str]:
        record = self._results.record(vertex)
        kind = node.reason.kind if node.reason is not None else None
        if record is not None and record.state != 'adopted':
            gone = ', and its file has been removed since' if kind is ReasonKind.OUTPUT_MISSING else ''
            yield f'The result was made {_when(record)}{gone}.'
            if record.accepted:
                yield f'It was {accepted_text(record.accepted)}.'
        elif record is not None:
            yield f'The result is older than its first record: its file is from {record.made}.'
        if record is not None and record.brought_back:
            yield f'It was superseded then, and {_how_returned(self._results.result(vertex), record)}.'
        if record is not None and vertex.place is not None:
            now = versions_of(self._results.code.print_of(type(vertex.task)).packages)
            changed = changed_versions(record.versions, now).values()
            yield f'Versions since then: {", ".join(changed)}.' if changed else ''
        if kind is ReasonKind.CODE_CHANGED and not has_diff:
            yield 'The source that made it was not kept, so its difference cannot be shown.'
        if kind is ReasonKind.NEWER_RESULT and record is not None:
            yield from self._newer(vertex, record)

    def _newer(self, vertex: Vertex, record: RunRecord) -> Iterator[str]:
        used = {item.unique_id: item for item in record.inputs}
        for other in vertex.requires:
            present = self._results.record(other)
            before = used.get(other.unique_id)
            if present is not None and (before is None or before.as_input != self._results.input_text(vertex, other)):
                earlier = f'its result {before.result_id}' if before and before.result_id else 'an earlier result'
                yield f'{other.name} was made {_when(present)}; this result was made from {earlier}.'

    def _code_changes(self, vertex: Vertex) -> Iterator[CodeChange]:
        result = self._results.result(vertex)
        task: Any = vertex.task
        if result is None or not result.made_by:
            return
        before = self._results.code.parts(task.workspace_directory, result.made_by)
        if before is not None:
            yield from code_differences(before, self._results.code.print_of(type(task)).parts)

    def _nearest(self, vertex: Vertex) -> tuple[str, tuple[ParameterChange, ...]]:
        """The recorded run of a class whose parameters are nearest to those of a task, and where they differ."""
        task = vertex.task
        if not isinstance(task, TaskOnKart):
            return '', ()
        now = {parameter.name: parameter.text for parameter in shown_parameters(task) if parameter.significant}
        directory = self._results.directory_of(task.workspace_directory, type(task).__module__)
        found = [
            (parameter_changes(record.parameters, now), record) for record in self._records(directory, vertex.name)
        ]
        if not found:
            return f'New: no run of {vertex.name} is recorded in this workspace.', ()
        changes, record = min(found, key=lambda item: len(item[0]))
        other_code = record.code != self._results.code.print_of(type(task)).key
        code = ' by other code' if record.code and other_code else ''
        name = f'{vertex.name}[{record.unique_id[:8]}]'
        if not changes:
            return f'New: {name}, made {_when(record)}{code}, has these parameters, but other inputs.', ()
        return f'New parameters: the nearest recorded run is {name}, made {_when(record)}{code}.', changes

    def _records(self, directory: RecordDirectory, name: str) -> Iterator[RunRecord]:
        key = (directory.path, name)
        if key not in self._stems:
            own = [stem for stem in directory.stems() if stem.rpartition('_')[0] == name]
            self._stems[key] = own[:_MOST_READ]
        for stem in self._stems[key]:
            record = newest_record(directory, stem)
            if record is not None:
                yield record


def _is_of_code(node: Node) -> bool:
    of_code = node.reason is not None and node.reason.kind is ReasonKind.CODE_CHANGED
    return of_code or node.note.startswith(ReasonKind.CODE_CHANGED.value)


def _how_returned(result: RecordedResult | None, record: RunRecord) -> str:
    is_restored = result is not None and result.kept_for is not None
    how = 'restored' if is_restored and not record.accepted else 'brought back'
    return f'{how} {record.brought_back[:16].replace("T", " ")} UTC'


def _sentence(text: str) -> str:
    return f'{text[:1].upper()}{text[1:].removesuffix(".")}.' if text else ''


def _when(record: RunRecord) -> str:
    place = f' in {record.notebook}' if record.notebook else ''
    user = f' by {record.user}' if record.user else ''
    commit = f' at commit {record.commit}' if record.commit else ''
    return f'{record.made}{user}{place}{commit}'


def parameter_changes(before: dict[str, str], now: dict[str, str]) -> tuple[ParameterChange, ...]:
    """Where parameters differ; of those of a record, only the ones that count now.

    >>> parameter_changes({'depth': '5', 'jobs': '2'}, {'depth': '6'})
    (ParameterChange(name='depth', before='5', now='6'),)
    """
    return tuple(
        ParameterChange(name, before.get(name, '(none)'), text)
        for name, text in now.items()
        if before.get(name) != text
    )


def code_differences(before: Iterable[Part], now: Iterable[Part]) -> list[CodeChange]:
    """What differs between the parts of two prints, each as a unified diff."""
    old, new = tuple(before), tuple(now)
    was, is_now = ({part.name: part for part in parts} for parts in (old, new))
    return [CodeChange(shown_name(name), _diff(was.get(name), is_now.get(name))) for name in changed_names(old, new)]


def _diff(before: Part | None, now: Part | None) -> tuple[str, ...]:
    if (before is None or before.kind == 'code') and (now is None or now.kind == 'code'):
        return ('the compiled code differs; its source is not available',)
    old, new = ([] if part is None else _lines(part) for part in (before, now))
    lines = difflib.unified_diff(old, new, 'before', 'now', lineterm='', n=3)
    return tuple(lines)


def _lines(part: Part) -> list[str]:
    if part.kind == 'code':
        return ['(compiled code, source not available)']
    return part.text.split('\n') if part.kind == 'source' else [f'{shown_name(part.name)} = {part.text}']
