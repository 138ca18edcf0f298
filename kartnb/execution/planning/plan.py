"""The plan: the graph of tasks, each with its state and, when it will run, the reason."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import luigi

from kartnb import display
from kartnb.events import Reason, TaskState

if TYPE_CHECKING:
    import pandas


@dataclass(frozen=True, slots=True, eq=False)
class Node:
    """One task in a plan.

    Attributes
    ----------
    task
        The task instance (a `TaskOnKart`, or any `luigi.Task`).
    key
        What names the node in events and lookups: ``Class_<unique id>``, the same as the stem of its files. Where two
        nodes would share it (one task, two workspaces), the later ones end in ``#2``, ``#3``, ...
    name
        The class name.
    unique_id
        gokart's unique id (32 hexadecimal digits), or luigi's task id for a plain luigi task.
    state
        Its state when the plan was made.
    reason
        Why it will run, or None when it will not.
    requires
        The positions in the plan of the tasks that it requires, without repetitions, in the order of `requires()`.
    outputs
        The paths of its outputs as given, in order; empty for a task without outputs.
    note
        What a person must know of its result, for instance that nobody can tell whether the code has changed; or ''.
    """

    # luigi's repr of a task shows its secrets; the key says which one it is
    task: luigi.Task = field(repr=False)
    key: str
    name: str
    unique_id: str
    state: TaskState
    reason: Reason | None = None
    requires: tuple[int, ...] = ()
    outputs: tuple[str, ...] = ()
    note: str = ''

    def in_state(self, state: TaskState) -> Node:
        """The same node in another state."""
        if state is self.state:
            return self
        # at half the cost of `dataclasses.replace`
        return Node(
            self.task,
            self.key,
            self.name,
            self.unique_id,
            state,
            self.reason,
            self.requires,
            self.outputs,
            self.note,
        )

    @property
    def why(self) -> str:
        """The reason for which it will run, and what a person must know of its result; or ''."""
        told = [str(self.reason)] if self.reason is not None else []
        return '; '.join([*told, self.note] if self.note else told)

    @property
    def will_run(self) -> bool:
        """Whether a build of this plan would run the task."""
        return self.reason is not None


@dataclass(frozen=True, eq=False)
class Plan:
    """The tasks that a root task needs, each with its state: what `kartnb.plan` gives.

    A plan is a sequence of nodes, upstream first, the root last. It does not change; a later plan of the same task may
    differ.

    Attributes
    ----------
    nodes
        The nodes in topological order: a node comes after all that it requires.
    workspace
        The absolute workspace directory of the root (a URL for an object store).
    """

    nodes: tuple[Node, ...]
    workspace: str
    _index: Mapping[str, int] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, '_index', {node.key: i for i, node in enumerate(self.nodes)})

    @property
    def root(self) -> Node:
        """The node of the task that was asked for."""
        return self.nodes[-1]

    def __len__(self) -> int:
        return len(self.nodes)

    def __iter__(self) -> Iterator[Node]:
        return iter(self.nodes)

    def __getitem__(self, key: str | luigi.Task) -> Node:
        """The node of a key or of a task; KeyError when the plan has none."""
        if isinstance(key, str):
            return self.nodes[self._index[key]]
        for node in self.nodes:
            if node.task is key or node.task == key:
                return node
        raise KeyError(key)

    def __contains__(self, key: object) -> bool:
        if isinstance(key, str):
            return key in self._index
        return any(node.task is key for node in self.nodes)

    def position(self, key: str) -> int | None:
        """Where the node of a key is in `nodes`; None when the plan has none."""
        return self._index.get(key)

    def counts(self) -> dict[TaskState, int]:
        """How many nodes are in each state, in the order of `TaskState`, without the empty ones."""
        found = Counter(node.state for node in self.nodes)
        return {state: found[state] for state in TaskState if found[state]}

    def to_run(self) -> tuple[Node, ...]:
        """The nodes that a build would run, upstream first."""
        return tuple(node for node in self.nodes if node.will_run)

    def upstream(self, node: Node) -> tuple[Node, ...]:
        """Every node that `node` needs, directly or not, upstream first."""
        wanted: set[int] = set()
        pending = list(node.requires)
        while pending:
            i = pending.pop()
            if i not in wanted:
                wanted.add(i)
                pending.extend(self.nodes[i].requires)
        return tuple(self.nodes[i] for i in sorted(wanted))

    def downstream(self, node: Node) -> tuple[Node, ...]:
        """Every node that needs `node`, directly or not, upstream first."""
        reached = {self._index[node.key]}
        found = []
        for i, other in enumerate(self.nodes):
            if not reached.isdisjoint(other.requires):
                reached.add(i)
                found.append(other)
        return tuple(found)

    def to_dataframe(self) -> pandas.DataFrame:
        """The plan as a pandas data frame, a row a task, upstream first.

        Columns: key, task, unique_id, state, reason (None where it will not run), requires (keys), outputs (paths).
        """
        import pandas

        rows = [
            {
                'key': node.key,
                'task': node.name,
                'unique_id': node.unique_id,
                'state': node.state.value,
                'reason': None if node.reason is None else str(node.reason),
                'requires': [self.nodes[i].key for i in node.requires],
                'outputs': list(node.outputs),
            }
            for node in self.nodes
        ]
        return pandas.DataFrame(rows, columns=['key', 'task', 'unique_id', 'state', 'reason', 'requires', 'outputs'])

    def with_states(self, states: Mapping[str, TaskState]) -> Plan:
        """The same graph with other states, for drawing how a build stands or ended."""
        return Plan(tuple(node.in_state(states.get(node.key, node.state)) for node in self.nodes), self.workspace)

    def __repr__(self) -> str:
        return display.render(self, 'text')

    def _repr_html_(self) -> str:
        return display.render(self, 'html')

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        return {'text/plain': repr(self), 'text/html': self._repr_html_()}
