"""The graph of tasks while it grows: found by walking `requires()` without recursion, each task identified once."""

from __future__ import annotations

import bisect
import functools
import gc
import posixpath
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import luigi

from kartnb.errors import KartError, SharedOutputError
from kartnb.model import Node, Plan, Reason, ReasonKind
from kartnb.planning.known_results import KnownResults
from kartnb.planning.staleness import NOT_NEEDED, UP_TO_DATE, Verdict, judges_by_outputs, says_complete
from kartnb.storage.run_lock import sharing_of
from kartnb.storage.superseded import Superseded
from kartnb.task import held, identity, registry
from kartnb.task.base import TaskOnKart
from kartnb.task.code import loaded
from kartnb.task.metaclass import KartRegister
from kartnb.task.results import is_external, path_of
from kartnb.task.secrets import Masker
from kartnb.task.values import flatten

#: From so many levels of tasks within tasks on a plan takes noticeably longer: 0.2 s at 100 levels, 2 s at 200, a
#: minute at 400.
DEEP = 100
_RERUN = Reason(ReasonKind.RERUN)


@dataclass(slots=True, eq=False, repr=False)
class Vertex:
    """One task of a graph under construction; two instances with one identity and one set of outputs share a vertex."""

    task: luigi.Task
    unique_id: str
    outputs: list[Any]
    key: str = ''
    requires: list[Vertex] = field(default_factory=list)
    #: How many of these are known before the task runs; it asks for the others while it runs.
    declared: int = 0
    #: How many there were after each of its requests.
    asked: list[int] = field(default_factory=list)
    #: Where in what `requires()` gives these are; '' for one, and a flat list.
    shape: str = ''
    #: The task's state in the plan, and the reason when it will run.
    verdict: Verdict = NOT_NEEDED
    #: Whether its result is stale, even where the task need not run; staleness travels by it.
    result: Verdict = UP_TO_DATE
    #: What the task's own `complete()` raised: it is unknown whether it has to run.
    broken: Exception | None = None
    #: What a plain luigi task said of itself when it was found; None where it was not asked.
    found_complete: bool | None = None
    #: What its `complete()` or `requires()` raised then; that counts only if it is needed.
    trouble: Exception | None = None
    #: Whether its result will be loaded: that of a root may not be, and what others require is.
    value_wanted: bool = True
    #: The superseded result that is put back instead of a run, or None.
    variant: Superseded | None = None
    #: Why it runs whatever its result is, or None.
    rerun: Reason | None = field(init=False)
    paths: tuple[str, ...] = field(init=False)
    #: The class name.
    name: str = field(init=False)
    #: What the names of the task's files begin with.
    stem: str = field(init=False)
    #: Whether the task's output is made outside, so that there is nothing to run.
    is_external: bool = field(init=False)
    #: Workspace and module, which say where its record is; None for a task that has none.
    place: tuple[str, str] | None = field(init=False)

    def __post_init__(self) -> None:
        task: Any = self.task
        cls = type(task)
        self.rerun = _RERUN if _wants_rerun(task) else None
        self.paths = tuple([path_of(target) for target in self.outputs])
        self.name = cls.__name__
        self.stem = f'{self.name}_{self.unique_id}'
        self.is_external = is_external(task)
        # isinstance goes through the abstract base classes
        self.place = (task.workspace_directory, cls.__module__) if TaskOnKart in cls.__mro__ else None

    def ask_for(self, others: Iterable[Vertex]) -> bool:
        """Require what the task asks for while it runs; gives whether any of that is new."""
        before = len(self.requires)
        self.requires = list(dict.fromkeys([*self.requires, *others]))
        if len(self.requires) > before:
            self.asked.append(len(self.requires))
        return len(self.requires) > before

    def forget_later(self) -> None:
        """Require no more than what `requires()` gives."""
        self.requires, self.asked = self.requires[: self.declared], []

    def request_of(self, index: int) -> int:
        """The number of the request by which the task asked for one of what it requires; 0 for what was declared."""
        return 0 if index < self.declared else bisect.bisect_right(self.asked, index) + 1

    def ask_rerun(self) -> None:
        """Let it run whatever its result is."""
        self.rerun = _RERUN


class TaskGraph:
    """Vertices by task instance, by identity and by key.

    `on_broken` is called with a task whose `requires()` or `output()` raises something, before that is raised on.
    """

    def __init__(
        self,
        on_broken: Callable[[luigi.Task, Exception], object] = lambda task, error: None,
        on_code_change: str | None = None,
        on_version_change: str | None = None,
    ) -> None:
        self._on_broken = on_broken
        #: What is recorded of the results of these tasks.
        self.results = KnownResults(on_code_change, on_version_change)
        #: Whether a new vertex was asked to run again.
        self.rerun_asked: Callable[[Vertex], bool] = lambda vertex: False
        #: Whether a task that is found was asked to run again, so that it counts for nothing that it is complete.
        self.is_to_rerun: Callable[[luigi.Task], bool] = lambda task: False
        #: Tasks that are wanted besides the root of a snapshot.
        self.also: list[luigi.Task] = []
        self.vertices: dict[str, Vertex] = {}
        self._by_instance: dict[int, Vertex] = {}
        #: Instances are known by their address, so none of them may be freed while the graph lives.
        self._instances: list[luigi.Task] = []
        self._by_identity: dict[Any, Vertex] = {}
        self._writers: dict[str, Vertex] = {}
        self._nesting = Nesting()
        self._notes: tuple[str, ...] | None = None

    def vertex_of(self, task: luigi.Task) -> Vertex:
        """The vertex of a task instance that was added."""
        return self._by_instance[id(task)]

    def add(self, root: luigi.Task) -> list[Vertex]:
        """Add a task and all that it needs; gives the vertices that are new, upstream first.

        Raises CyclicRequirementsError, RequirementError or SharedOutputError when the tasks do not make a graph.
        """
        if id(root) in self._by_instance:
            return []
        current = held.require_today(root)
        if current is not root:
            new = self.add(current)
            self._instances.append(root)
            self._by_instance[id(root)] = self._by_instance[id(current)]
            return new
        new = []
        stack = [self._visit(root)]
        under_way = {id(root): root}
        while stack:
            visit = stack[-1]
            following = next((task for task in visit.rest if id(task) not in self._by_instance), None)
            if following is None:
                stack.pop()
                del under_way[id(visit.task)]
                if self._settle_or_report(visit):
                    new.append(self._by_instance[id(visit.task)])
                continue
            if id(following) in under_way:
                raise identity.cycle_error([*under_way.values()], following)
            under_way[id(following)] = following
            stack.append(self._visit(following))
        return new

    def add_with_inputs(self, task: luigi.Task) -> Vertex:
        """Add a task with what it requires, but not what that requires in turn."""
        visit = _Visit(task)
        visit.walk()
        for other in visit.rest:
            self.add_alone(other)
        self._settle(visit)
        return self._by_instance[id(task)]

    def add_alone(self, task: luigi.Task) -> Vertex:
        """Add a task without what it requires."""
        if id(task) not in self._by_instance:
            self._settle(_Visit(task), identity.id_of(task))
        return self._by_instance[id(task)]

    def _visit(self, task: luigi.Task) -> _Visit:
        try:
            self._nesting.watch(task)
            visit = _Visit(task)
            visit.begin(self.is_to_rerun)
            return visit
        except Exception as error:
            self._report(task, error)
            raise

    def _settle_or_report(self, visit: _Visit) -> bool:
        try:
            return self._settle(visit)
        except Exception as error:
            self._report(visit.task, error)
            raise

    def _report(self, task: luigi.Task, error: Exception) -> None:
        Masker.of_build([task]).hide_in(error)
        self._on_broken(task, error)

    def snapshot(self, root: luigi.Task, workspace: str) -> Plan:
        """The graph as an immutable plan: first what is wanted `also`, `root` last."""
        order = self.upstream_of(self._by_instance[id(task)] for task in (*self.also, root))
        position = {vertex.key: i for i, vertex in enumerate(order)}
        return Plan(
            tuple(
                Node(
                    vertex.task,
                    vertex.key,
                    vertex.name,
                    vertex.unique_id,
                    vertex.verdict.state,
                    vertex.verdict.reason,
                    tuple(position[other.key] for other in vertex.requires),
                    vertex.paths,
                    vertex.verdict.note,
                    vertex.verdict.is_conditional,
                )
                for vertex in order
            ),
            workspace,
            _sharing(order),
            self._notes_on(order),
        )

    def _notes_on(self, order: list[Vertex]) -> tuple[str, ...]:
        """What is said of a plan as a whole; found once."""
        if self._notes is None:
            classes = {type(vertex.task) for vertex in order}
            self._notes = tuple(loaded.notes_on_changes(self.results.changed_modules, classes))
        return self._notes

    def _settle(self, visit: _Visit, known_id: str = '') -> bool:
        """Give a visited task, whose requirements are settled, its vertex; False when it shares another instance's."""
        task = visit.task
        self._instances.append(task)
        unique_id = known_id or self._unique_id(visit)
        vertex = Vertex(task, unique_id, _outputs(visit))
        vertex.found_complete, vertex.trouble = visit.found_complete, visit.trouble
        own_identity = _identity(vertex)
        known = self._by_identity.get(own_identity)
        if known is not None:
            _refuse_other_definition(known, task)
            self._by_instance[id(task)] = known
            # `rerun` is not significant: any of the equal instances may be the one that asks for it
            known.rerun = known.rerun or vertex.rerun
            return False
        vertex.requires = list(dict.fromkeys(self._by_instance[id(other)] for other in visit.needed))
        vertex.declared = len(vertex.requires)
        vertex.shape = visit.shape
        self._refuse_shared_outputs(vertex)
        self._by_instance[id(task)] = self._by_identity[own_identity] = vertex
        vertex.key = self._free_key(vertex)
        if self.rerun_asked(vertex):
            vertex.ask_rerun()
        self.vertices[vertex.key] = vertex
        return True

    def _unique_id(self, visit: _Visit) -> str:
        task = visit.task
        known = identity.known_id(task)
        if known is not None and type(task).make_unique_id is TaskOnKart.make_unique_id:  # type: ignore[attr-defined]
            return known
        if not isinstance(task, TaskOnKart):
            foreign = getattr(task, 'make_unique_id', None)
            return str(foreign()) if foreign is not None else str(task.task_id)
        if type(task).make_unique_id is not TaskOnKart.make_unique_id:
            return task.make_unique_id()
        return identity.identify(task, identity.id_parts(visit.required))

    def _refuse_shared_outputs(self, vertex: Vertex) -> None:
        if vertex.is_external:
            return
        for path in vertex.paths:
            writer = self._writers.setdefault(_place(path), vertex)
            # one class may write one path under several ids, as with gokart's use_unique_id=False
            if writer is vertex or _definition(writer.task) == _definition(vertex.task):
                continue
            # a task may pass on the output of one that it requires as its own
            if not any(path in other.paths for other in vertex.requires):
                raise SharedOutputError(
                    f'{_described(writer.task)} and {_described(vertex.task)} would both write {path}: '
                    'rename one of the classes, or give one another path in output().'
                )

    def _free_key(self, vertex: Vertex) -> str:
        ours = TaskOnKart in type(vertex.task).__mro__
        stem = vertex.stem if ours else vertex.unique_id
        # one id may have several outputs, as in two workspaces, which are not significant
        key, again = stem, 1
        while key in self.vertices:
            again += 1
            key = f'{stem}#{again}'
        return key

    def upstream_of(self, roots: Iterable[Vertex]) -> list[Vertex]:
        """These vertices and all that they need, upstream first."""
        order: list[Vertex] = []
        seen: set[str] = set()
        for root in roots:
            if root.key in seen:
                continue
            seen.add(root.key)
            stack: list[tuple[Vertex, Iterator[Vertex]]] = [(root, iter(root.requires))]
            while stack:
                vertex, rest = stack[-1]
                for following in rest:
                    if following.key not in seen:
                        seen.add(following.key)
                        stack.append((following, iter(following.requires)))
                        break
                else:
                    stack.pop()
                    order.append(vertex)
        return order


class _Visit:
    """A task whose requirements are being walked.

    The id of a task of kartnb or gokart is made from what it requires. A plain luigi task is asked for that by demand
    only, as by luigi's worker: not when it is complete, nor when it is external. In a chain such as "today needs
    yesterday" there would be no end otherwise.
    """

    __slots__ = ('found_complete', 'needed', 'required', 'rest', 'shape', 'task', 'trouble')

    def __init__(self, task: luigi.Task) -> None:
        self.task = task
        self.found_complete: bool | None = None
        self.trouble: Exception | None = None
        self.required: list[luigi.Task] = []
        self.needed: list[luigi.Task] = []
        self.shape = ''
        self.rest: Iterator[luigi.Task] = iter(())

    def begin(self, is_to_rerun: Callable[[luigi.Task], bool]) -> None:
        """Ask the task what it requires, if it is one that has to be asked."""
        task = self.task
        if not _is_plain(task):
            self.walk()
            return
        try:
            if not is_external(task) and (self._is_incomplete() or is_to_rerun(task)):
                self.walk()
        except KartError:
            raise
        except Exception as error:
            self.trouble = error

    def _is_incomplete(self) -> bool:
        if type(self.task).complete is luigi.WrapperTask.complete:  # which asks for what the task requires
            return True
        self.found_complete = says_complete(self.task)
        return not self.found_complete

    def walk(self) -> None:
        """Ask the task what it requires."""
        task = self.task
        self.required, self.shape = identity.required_with_shape(task)
        self.needed = identity.dependencies(task, self.required)
        extra = [] if self.needed is self.required else self.required
        if registry.has_older_definitions():
            for other in (*self.needed, *extra):
                held.require_today(other, required_by=task)
        self.rest = iter([*self.needed, *extra])


def _is_plain(task: luigi.Task) -> bool:
    return TaskOnKart not in type(task).__mro__ and not hasattr(task, 'make_unique_id')


def _outputs(visit: _Visit) -> list[Any]:
    """The outputs of a task; one whose own `complete()` decides may give things that are not targets."""
    task = visit.task
    if visit.trouble is not None:  # it fails, if it is needed
        return []
    outputs = flatten(task.output())
    if judges_by_outputs(task):
        return outputs
    return [output for output in outputs if hasattr(output, 'exists')]


def _place(path: str) -> str:
    """One name for each place, however its path is written."""
    if '://' in path:
        return path
    directory, _, name = path.rpartition('/')
    return posixpath.normpath(path) if name in ('', '.', '..') else f'{_normal(directory)}/{name}'


@functools.lru_cache(maxsize=1024)
def _normal(directory: str) -> str:
    return posixpath.normpath(directory)


def _identity(vertex: Vertex) -> Any:
    return (_definition(vertex.task), vertex.unique_id, vertex.paths, vertex.is_external)


def _definition(task: luigi.Task) -> tuple[str, str]:
    return (type(task).__module__, type(task).__qualname__)


def _refuse_other_definition(known: Vertex, task: luigi.Task) -> None:
    if not registry.is_same_definition(type(known.task), type(task)):
        result = f'write {known.paths[0]}' if known.paths else 'be the same task'
        raise SharedOutputError(
            f'Two different definitions of {_described(task)} are in this plan, and both would {result}: '
            'create the tasks of the older one again, or rename one of the classes.'
        )


def _described(task: luigi.Task) -> str:
    return f'{type(task).__module__}.{type(task).__qualname__}'


def _wants_rerun(task: luigi.Task) -> bool:
    # gokart's own tasks keep in `_rerun_state` whether they have run again already; asking their `complete()` would
    # delete their outputs
    own = task.__dict__
    if TaskOnKart not in type(task).__mro__:
        return bool(own.get('_rerun_state'))
    return bool(own['_rerun_asked'] if '_rerun_asked' in own else own.get('rerun'))


class Nesting:
    """How deep tasks are nested in the parameters of tasks, of one graph; it warns once.

    >>> import kartnb
    >>> class Source(kartnb.TaskOnKart):
    ...     pass
    >>> class Step(kartnb.TaskOnKart):
    ...     data = kartnb.TaskInstanceParameter()
    >>> Nesting().depth(Step(data=Step(data=Source())))
    2
    """

    def __init__(self) -> None:
        self._depths: dict[int, int] = {}
        self._has_warned = False

    def depth(self, task: luigi.Task) -> int:
        """How many levels of tasks a task holds in its parameters; found without recursion."""
        depths = self._depths
        stack = [task]
        while stack:
            current = stack[-1]
            values = identity.task_values(current)
            pending = [value for value in values if id(value) not in depths]
            if pending:
                stack.extend(pending)
                continue
            stack.pop()
            depths[id(current)] = 1 + max((depths[id(value)] for value in values), default=-1)
        return depths[id(task)]

    def watch(self, task: luigi.Task) -> None:
        """Warn of a task that is nested too deep, before its id is made."""
        cls: Any = type(task)
        if self._has_warned or type(cls) is not KartRegister or not cls.parameter_table().holds_tasks:
            return
        depth = self.depth(task)
        if depth >= DEEP:
            self._has_warned = True
            warnings.warn(_sentence(cls.__name__, depth), stacklevel=2)


def _sentence(name: str, depth: int) -> str:
    return (
        f'{name} holds tasks in its parameters, {depth} levels deep. The id of each contains all that it holds (a rule '
        f'of gokart), so that planning takes seconds from 200 levels on, and minutes from 400. Make the upstream tasks '
        f'in requires() of plain parameters instead: a chain of 10,000 is fast then.'
    )


class no_collections:  # noqa: N801 - it is used as a function is
    """Within the block garbage is not collected: each collection would take longer the larger the graph has grown."""

    def __init__(self) -> None:
        self._was_enabled = gc.isenabled()

    def __enter__(self) -> None:
        gc.disable()

    def __exit__(self, *_: object) -> None:
        if self._was_enabled:
            gc.enable()


def _sharing(vertices: Iterable[Vertex]) -> str:
    """What is not promised about the tasks that will run when other builds run at the same time, each thing once."""
    running = [vertex for vertex in vertices if vertex.verdict.reason is not None and vertex.place is not None]
    workspaces = dict.fromkeys([vertex.place[0] for vertex in running if vertex.place is not None])
    if not any(sharing_of(workspace, redis=False) for workspace in workspaces):  # as on local disks
        return ''
    tasks: list[Any] = [vertex.task for vertex in running]
    places = dict.fromkeys(
        (task.workspace_directory, task.redis_host is not None and task.redis_port is not None) for task in tasks
    )
    return '; '.join(dict.fromkeys(filter(None, (sharing_of(*place) for place in places))))
