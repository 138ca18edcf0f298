"""`kartnb.outputs`: the hash-named files of a task and of all that it needs, as a table."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, overload

from kartnb import display
from kartnb.errors import FilterError, KartError
from kartnb.execution.background import Subject, plan_of
from kartnb.history.runs import file_target
from kartnb.model import Node, Plan, TaskState
from kartnb.storage.filesystem import file_system
from kartnb.storage.targets import TargetOnKart
from kartnb.task.describe import shown_parameters
from kartnb.task.results import load_target
from kartnb.task.values import flatten

if TYPE_CHECKING:
    import pandas


@dataclass(frozen=True, slots=True)
class Output:
    """One output of one task.

    Attributes
    ----------
    task, unique_id, parameters
        Whose output it is: the class name, the unique id, and the public parameters as pairs of name and text.
    state
        The state of the task in the plan.
    path, format
        Where it is, as given, and the extension of the file.
    size, modified
        Bytes, and when it was written, in local time; None where there is no file.
    """

    task: str
    unique_id: str
    parameters: tuple[tuple[str, str], ...]
    state: TaskState
    path: str
    format: str
    size: int | None
    modified: datetime | None
    _node: Node = field(repr=False)
    _number: int = field(repr=False)

    @property
    def exists(self) -> bool:
        """Whether there is something to load."""
        return self.modified is not None

    @property
    def load_code(self) -> str:
        """A line of Python that loads it anywhere."""
        return f'kartnb.load_result({self.path!r})'

    @property
    def target(self) -> Any:
        """The target of the task that this is."""
        return flatten(self._node.task.output())[self._number]

    def load(self) -> Any:
        """Load it.

        Raises
        ------
        MissingResultError, UnreadableResultError
            When it has not been made, or cannot be read.
        """
        return load_target(self.target)


_SORTED_BY: dict[str, Callable[[Output], Any]] = {
    'task': lambda output: output.task,
    'unique_id': lambda output: output.unique_id,
    'state': lambda output: output.state.value,
    'path': lambda output: output.path,
    'format': lambda output: output.format,
    'size': lambda output: -1 if output.size is None else output.size,
    'modified': lambda output: output.modified or datetime.min,
    'parameters': lambda output: output.parameters,
}
#: What outputs can be sorted by.
COLUMNS: tuple[str, ...] = tuple(_SORTED_BY)


class Outputs(display.Displayed, Sequence[Output]):
    """Outputs as a table, what `kartnb.outputs` gives: evaluate it in a notebook, or print it.

    Attributes
    ----------
    plan
        The plan whose outputs these are.
    """

    def __init__(self, plan: Plan, found: Iterable[Output]) -> None:
        self.plan = plan
        self._found = tuple(found)

    def __len__(self) -> int:
        return len(self._found)

    def __iter__(self) -> Iterator[Output]:
        return iter(self._found)

    @overload
    def __getitem__(self, index: int) -> Output: ...
    @overload
    def __getitem__(self, index: slice) -> Outputs: ...
    def __getitem__(self, index: int | slice) -> Output | Outputs:
        if isinstance(index, slice):
            return Outputs(self.plan, self._found[index])
        return self._found[index]

    def sort(self, by: str = 'task', *, descending: bool = False) -> Outputs:
        """The same outputs in the order of a column: task, parameters, unique_id, state, path, format, size, modified.

        Raises
        ------
        FilterError
            When the column is unknown.
        """
        if by not in _SORTED_BY:
            raise FilterError(f'Outputs cannot be sorted by {by!r}: the columns are {", ".join(COLUMNS)}.')
        return Outputs(self.plan, sorted(self._found, key=_SORTED_BY[by], reverse=descending))

    def filter(
        self, text: str = '', *, task: str = '', state: str = '', format: str = '', existing: bool | None = None
    ) -> Outputs:
        """The outputs that match all that is given.

        Parameters
        ----------
        text
            Stands somewhere in the task's name, parameters, id or path, in upper or lower case.
        task, state, format
            The class name, the state and the extension of the file.
        existing
            Whether there is a file.

        Raises
        ------
        FilterError
            When the state is unknown.
        """
        if state not in ('', *TaskState):
            raise FilterError(f'{state!r} is not a state: the states are {", ".join(TaskState)}.')
        return Outputs(
            self.plan,
            (
                output
                for output in self._found
                if _mentions(output, text.casefold())
                and (not task or output.task == task)
                and (not state or output.state == state)
                and (not format or output.format == format.removeprefix('.'))
                and (existing is None or output.exists is existing)
            ),
        )

    def to_dataframe(self) -> pandas.DataFrame:
        """The table as a pandas data frame; the parameters are dicts."""
        import pandas

        columns = ['task', 'parameters', 'unique_id', 'state', 'path', 'format', 'size', 'modified']
        rows = [
            {**{name: getattr(o, name) for name in columns}, 'parameters': dict(o.parameters), 'state': o.state.value}
            for o in self._found
        ]
        frame = pandas.DataFrame(rows, columns=columns)
        return frame.astype({'size': 'Int64', 'modified': 'datetime64[ns]'})

    def _ipython_display_(self) -> None:
        display.show_live(self)


def outputs(subject: Subject) -> Outputs:
    """The outputs of a task and of all that it needs, the task's own first.

    Parameters
    ----------
    subject
        A task, a plan, or a build: the handle of one in the background, a report, or the error of a failed one.

    Returns
    -------
    Outputs
        A table that can be sorted, filtered and shown; nothing is run or loaded for it.

    Raises
    ------
    TaskArgumentError
        When `subject` is none of these.

    Examples
    --------
    >>> import kartnb, tempfile
    >>> class Greeting(kartnb.TaskOnKart):
    ...     def run(self):
    ...         self.dump('Hello!')
    >>> task = Greeting(workspace_directory=tempfile.mkdtemp())
    >>> kartnb.build(task)
    'Hello!'
    >>> [(output.task, output.format, output.load()) for output in kartnb.outputs(task)]
    [('Greeting', 'pkl', 'Hello!')]
    """
    plan = plan_of(subject)
    return Outputs(plan, (output for node in reversed(plan.nodes) for output in _outputs_of(node)))


def _outputs_of(node: Node) -> Iterator[Output]:
    if not node.outputs:
        return
    parameters = tuple((parameter.name, parameter.text) for parameter in shown_parameters(node.task))
    for number, path in enumerate(node.outputs):
        size, modified = _stamp(node, number, path)
        extension = os.path.splitext(path)[1].removeprefix('.')
        yield Output(node.name, node.unique_id, parameters, node.state, path, extension, size, modified, node, number)


def _stamp(node: Node, number: int, path: str) -> tuple[int | None, datetime | None]:
    try:
        size, seconds = file_system(path).stamp(path)
        return size, datetime.fromtimestamp(seconds)
    except (KartError, OSError, ValueError):
        return None, _modified_elsewhere(node, number)


def _modified_elsewhere(node: Node, number: int) -> datetime | None:
    """When a result that is not a file, such as one in memory, was made."""
    try:
        target = flatten(node.task.output())[number]
        if not isinstance(target, TargetOnKart) or target.is_plain_file:
            return None
        return target.last_modification_time() if target.exists() else None
    except Exception:  # a target of the user's own may do anything, and this is only looking
        return None


def _mentions(output: Output, text: str) -> bool:
    if not text:
        return True
    parts = [output.task, output.unique_id, output.path, *(f'{name}={value}' for name, value in output.parameters)]
    return any(text in part.casefold() for part in parts)


def load_result(path: str) -> Any:
    """Load a result by its path alone: a file that a task has written, of any format that kartnb knows.

    Parameters
    ----------
    path
        The file; a path or a URL.

    Raises
    ------
    MissingResultError, UnreadableResultError
        When there is no such file, or it cannot be read.
    UnknownFormatError
        When no format has the extension.

    Examples
    --------
    >>> import kartnb, tempfile
    >>> class Greeting(kartnb.TaskOnKart):
    ...     def run(self):
    ...         self.dump('Hello!')
    >>> task = Greeting(workspace_directory=tempfile.mkdtemp())
    >>> kartnb.build(task)
    'Hello!'
    >>> kartnb.load_result(task.output().path())
    'Hello!'
    """
    return file_target(path).load()
