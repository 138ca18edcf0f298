"""`kartnb.plan`: what a build of a task would do, without doing it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from enum import IntEnum
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
from kartnb.interrupts import kept_event_loop, within
from kartnb.model import HELD, Plan, Reason, ReasonKind, TaskState, split_note
from kartnb.planning.graph import TaskGraph, Vertex, no_collections
from kartnb.planning.known_results import KnownResults
from kartnb.planning.moved_classes import MovedClasses
from kartnb.planning.recorded_staleness import asked_tasks
from kartnb.planning.staleness import (
    Verdict,
    find_variant,
    follows_inputs,
    is_stale_by_what_it_asked_for,
    judge_idle,
    judge_needed,
    judge_result,
    may_be_left_out,
    refuse_outdated,
    will_replace,
)
from kartnb.task import held, registry
from kartnb.task.identity import refuse_uninitialized
from kartnb.task.results import workspace_of
from kartnb.task.values import flatten


def plan(
    task: luigi.Task,
    *,
    rerun: Rerun = False,
    on_code_change: str | None = None,
    on_version_change: str | None = None,
) -> Plan:
    """Find out what a build of a task would do.

    Parameters
    ----------
    task
        The root: a `TaskOnKart` or any luigi task.
    rerun
        What to run again, together with all that is downstream of it: True for the root, or tasks, task classes or
        class names.
    on_code_change
        What happens to results whose code has changed: 'rerun', 'warn', 'error' or 'ignore'. By default what the class,
        the session, the environment or the configuration says; else 'rerun' for classes of the notebook, 'warn' for
        others.
    on_version_change
        What happens to results that other versions of packages have made: 'ignore', 'warn' or 'rerun'. By default what
        the class, the environment or the configuration says; else 'ignore'.

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
    graph, planned = draw_up(task, rerun, on_code_change=on_code_change, on_version_change=on_version_change)
    for vertex in graph.vertices.values():
        if vertex.broken is not None:
            raise vertex.broken
    return planned


def draw_up(
    task: luigi.Task,
    rerun: Rerun = False,
    graph: TaskGraph | None = None,
    on_code_change: str | None = None,
    on_version_change: str | None = None,
    also: Sequence[luigi.Task] = (),
) -> tuple[TaskGraph, Plan]:
    """The plan of a task, and of those that are wanted `also`, together with the graph that a build goes on to grow."""
    require_task(task)
    graph = graph or TaskGraph(on_code_change=on_code_change, on_version_change=on_version_change)
    graph.also = list(also)
    return graph, within([no_collections(), kept_event_loop()], lambda: _drawn_up(task, graph, _wanted(rerun, task)))


def _drawn_up(task: luigi.Task, graph: TaskGraph, wanted: list[Any]) -> Plan:
    roots = (*graph.also, task)
    graph.is_to_rerun = lambda task: any(item == task.task_id or _is_meant_by(task, item) for item in wanted)
    vertices = [vertex for root in roots for vertex in graph.add(root)]
    for vertex in _to_rerun(vertices, wanted):
        vertex.ask_rerun()
    # tasks that are asked for while others run are not known yet
    graph.rerun_asked = lambda vertex: any(_is_meant(vertex, item) for item in wanted)
    vertices = assess(vertices, [graph.vertex_of(root) for root in roots], graph)
    _note_moved_classes(vertices, graph.results)
    return graph.snapshot(task, workspace_of(task))


def require_task(task: object) -> None:
    """Refuse anything but a task instance, with a sentence that says what to write."""
    if isinstance(task, type) and issubclass(task, luigi.Task):
        raise TaskArgumentError(f'{task.__name__} is a task class: make a task of it, {task.__name__}(…).')
    if isinstance(task, type):
        raise TaskArgumentError(f'{task.__name__} is not a task class: derive it from kartnb.TaskOnKart.')
    if isinstance(task, list | tuple):
        raise TaskArgumentError('One task is needed, not several: give one task that requires them all.')
    if isinstance(task, luigi.Task):
        refuse_uninitialized(task)
    else:
        raise TaskArgumentError(f'A task is needed, such as MyTask(…), not {task!r:.80} ({type(task).__name__}).')


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
    return item == vertex.key or _is_meant_by(vertex.task, item)


def _is_meant_by(task: luigi.Task, item: str | type | luigi.Task) -> bool:
    if isinstance(item, str):
        return item in (type(task).__name__, task.get_task_family())
    if isinstance(item, type):
        return isinstance(task, (item, registry.replacement(item)))
    item = held.today(item)
    return task is item or task == item


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


def assess(vertices: Sequence[Vertex], demanded: Iterable[Vertex], graph: TaskGraph) -> list[Vertex]:
    """Give vertices of a graph their verdicts, by the rules of `kartnb.planning.staleness`.

    They are in topological order, upstream first; what they require may be outside of them, assessed before. Those that
    are `demanded` must be complete in the end. What tasks have asked for while they ran enters the graph where it would
    run: if it gives the same contents, they need not run again. Gives all of these vertices, upstream first.
    """
    known = graph.results
    known.look_for_files(vertices)
    for vertex in vertices:  # reruns and staleness travel downstream
        _judge_result(vertex, known)
    asked = list(_with_what_they_asked_for(vertices, graph))
    if asked:
        every = {*asked, *vertices}
        vertices = [vertex for vertex in graph.upstream_of(vertices) if vertex in every]
    demand = _Demand(vertices, known)
    for vertex in (*demanded, *[vertex for vertex in vertices if vertex.rerun is not None and not vertex.is_external]):
        demand.want(vertex, _Need.RESULT)
    demand.travel()
    _note_holders(vertices, known)
    _note_older_bases(vertices)
    return [*vertices]


def _judge_result(vertex: Vertex, known: KnownResults) -> None:
    vertex.rerun = vertex.rerun or _rerun_upstream(vertex)
    vertex.result = judge_result(vertex, known)
    if vertex.result.reason is not None or known.result(vertex) is None:
        find_variant(vertex, known)
    if known.brought_back and vertex.key in known.brought_back and vertex.result.reason is None:
        vertex.result = replace(vertex.result, note=known.brought_back[vertex.key])


def _with_what_they_asked_for(vertices: Iterable[Vertex], graph: TaskGraph) -> Iterator[Vertex]:
    """Let tasks require what they asked for, where that alone makes them stale; gives what is new in the graph."""
    known = graph.results
    pending = [vertex for vertex in vertices if is_stale_by_what_it_asked_for(vertex, known)]
    while pending:
        vertex = pending.pop()
        tasks = asked_tasks(vertex, known)
        new: list[Vertex] = []
        try:
            for task in tasks:
                new += graph.add(task)
        except Exception:  # as its own run will say
            tasks = []
        for other in new:
            _judge_result(other, known)
        yield from new
        pending += [other for other in new if is_stale_by_what_it_asked_for(other, known)]
        asked = [graph.vertex_of(task) for task in tasks]
        if vertex in graph.upstream_of(asked):
            continue
        vertex.ask_for(asked)
        _judge_result(vertex, known)
        if not vertex.result.is_conditional:
            vertex.forget_later()


def _note_older_bases(vertices: Iterable[Vertex]) -> None:
    """Say of tasks that their classes were defined on classes that have been defined again since: old code runs."""
    if not registry.has_older_definitions():
        return
    notes = {cls: held.note_on_bases(cls) for cls in {type(vertex.task) for vertex in vertices}}
    for vertex in vertices if any(notes.values()) else ():
        if notes[type(vertex.task)]:
            _add_note(vertex, notes[type(vertex.task)])


def _note_moved_classes(vertices: Iterable[Vertex], known: KnownResults) -> None:
    """Say of missing tasks that their results are recorded under another module or name of their classes."""
    moved = MovedClasses(known)
    for vertex in vertices:
        reason = vertex.verdict.reason
        if reason is not None and reason.kind is ReasonKind.OUTPUT_MISSING:
            note = moved.note_on(vertex)
            if note:
                _add_note(vertex, note)


def _add_note(vertex: Vertex, note: str) -> None:
    # who runs the task stays at the end, where it can be told from the rest
    before, held = split_note(vertex.verdict.note)
    vertex.verdict = replace(vertex.verdict, note='; '.join(filter(None, (before, note, held))))


class _Need(IntEnum):
    """What is needed of a task."""

    NOTHING = 0
    #: Its contents have to be known: what requires it runs only if they change.
    CONTENTS = 1
    #: Its result has to be there.
    RESULT = 2


class _Demand:
    """Demand travels upstream: which tasks will run, and which ones only if something upstream changes.

    That is not a rule of `staleness`, because each task that runs may demand more, and what was made from the earlier
    result of a task that runs may have to run too.
    """

    def __init__(self, vertices: Sequence[Vertex], known: KnownResults) -> None:
        self._vertices = {vertex.key: vertex for vertex in vertices}
        self._known = known
        self._needs: dict[str, _Need] = {}
        self._found: dict[str, Verdict] = {}
        #: Tasks that run, or may, and whose consequences have not been drawn yet.
        self._pending: list[Vertex] = []
        self._followers: dict[str, list[Vertex]] | None = None

    def want(self, vertex: Vertex, need: _Need) -> None:
        """Take into account that something needs a task."""
        key = vertex.key
        if key not in self._vertices or self._needs.get(key, _Need.NOTHING) >= need:
            return
        self._needs[key] = need
        if key not in self._found:
            _judge(vertex, self._known)
            self._found[key] = vertex.verdict
        vertex.verdict = found = self._found[key]
        if found.reason is None:
            return
        if need is _Need.CONTENTS and may_be_left_out(vertex, self._known):
            vertex.verdict = replace(found, is_conditional=True)
        self._pending.append(vertex)

    def travel(self) -> None:
        """Draw all consequences, and judge what nothing needs."""
        if self._pending:
            while self._pending:
                self._draw(self._pending.pop())
        known, needs = self._known, self._needs
        for key, vertex in self._vertices.items():
            if key not in needs:
                vertex.verdict = judge_idle(vertex, known)

    def _draw(self, cause: Vertex) -> None:
        need = _Need.CONTENTS if cause.verdict.is_conditional else _Need.RESULT
        for other in cause.requires:
            self.want(other, need)
        for vertex in self._follow(cause):
            if vertex.key not in self._needs:
                vertex.verdict = judge_idle(vertex, self._known)
            if follows_inputs(vertex, self._known):
                reason = Reason(ReasonKind.UPSTREAM_MAY_CHANGE, cause.name)
                vertex.verdict = vertex.result = will_replace(vertex, reason, self._known, is_conditional=True)
                self._found[vertex.key] = vertex.verdict
                self._needs.setdefault(vertex.key, _Need.CONTENTS)
                self._pending.append(vertex)

    def _follow(self, cause: Vertex) -> list[Vertex]:
        if self._followers is None:
            self._followers = {}
            for vertex in self._vertices.values():
                for other in vertex.requires:
                    self._followers.setdefault(other.key, []).append(vertex)
        return self._followers.get(cause.key, [])


def _note_holders(vertices: Iterable[Vertex], known: KnownResults) -> None:
    """Say of tasks that another build runs now, who does."""
    for vertex in vertices if known.has_marks else ():
        holder = known.holder(vertex)
        if holder is not None:
            _add_note(vertex, f'{HELD}: {holder}')


def _rerun_upstream(vertex: Vertex) -> Reason | None:
    cause = next((other for other in vertex.requires if other.rerun is not None), None)
    return None if cause is None or vertex.is_external else Reason(ReasonKind.UPSTREAM_RUNS, cause.name)


def _judge(vertex: Vertex, known: KnownResults) -> None:
    if vertex.variant is not None:
        vertex.verdict = vertex.result
        return
    try:
        if vertex.trouble is not None:
            raise vertex.trouble
        vertex.verdict = judge_needed(vertex, known)
    except KartError:
        raise
    except Exception as error:
        # as in luigi, a complete() that raises is a failure of this task, and the rest of the build goes on
        vertex.verdict, vertex.broken = Verdict(TaskState.MISSING), error


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
    # in a build, STALE is what nothing has needed so far
    unused = (TaskState.NOT_NEEDED, TaskState.STALE)
    fresh = [other for other in upstream if states.get(other.key, TaskState.NOT_NEEDED) in unused]
    fresh = assess(fresh, needed, graph)
    refuse_outdated(fresh, graph.results)
    return needed, fresh


def _checked(vertex: Vertex, task: Any) -> luigi.Task:
    if isinstance(task, luigi.Task):
        refuse_uninitialized(task)
        return task
    raise RequirementError(
        f'{vertex.name}.run() yields {task!r:.80} ({type(task).__name__}), which is not a task: yield task instances.'
    )
