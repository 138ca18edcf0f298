"""`kartnb.Workspace`: the recorded results of a directory as a table, and values and tasks from its rows."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import luigi

from kartnb import display
from kartnb.errors import HistoryError, KartError, UnloadedResultError, described
from kartnb.history.gather import gather, take_inventory
from kartnb.history.runs import Run, Runs, RunState
from kartnb.storage.census import absolute_place, require_directory
from kartnb.storage.places import log_path, read_params
from kartnb.task import registry, results
from kartnb.task.base import TaskOnKart
from kartnb.task.parameters import parsed_exactly
from kartnb.task.results import output_paths

if TYPE_CHECKING:
    import pandas as pd

logger = logging.getLogger('kartnb')

#: How a result is named: a run or its row, an id or the beginning of one, a task, a row of the DataFrame.
RunName: TypeAlias = 'Run | int | str | luigi.Task | Mapping[str, Any] | Any'

_SHORTEST_ID = 4
_MOST_NAMED = 4


class Workspace:
    """The history of a workspace: its recorded results as a table, whose values can be loaded and tasks restored.

    Parameters
    ----------
    path
        The workspace directory, or a URL such as ``s3://bucket/results``; by default the one that tasks use.

    Raises
    ------
    kartnb.StorageError
        When the directory does not exist.

    Examples
    --------
    >>> import kartnb, luigi, tempfile
    >>> class Square(kartnb.TaskOnKart[int]):
    ...     n = luigi.IntParameter()
    ...
    ...     def run(self):
    ...         self.dump(self.n**2)
    >>> place = tempfile.mkdtemp()
    >>> [kartnb.build(Square(n=n, workspace_directory=place)) for n in (2, 3)]
    [4, 9]
    >>> workspace = kartnb.Workspace(place)
    >>> [(run.task, run.parameters['n'], str(run.state)) for run in workspace.runs(sort='n')]
    [('Square', '2', 'cached'), ('Square', '3', 'cached')]
    >>> workspace.load(workspace.runs(where={'n': 3})[0])
    9
    >>> workspace.task(workspace.runs(where={'n': 3})[0]).n
    3
    """

    def __init__(self, path: str | os.PathLike[str] | None = None) -> None:
        self.path = absolute_place(TaskOnKart().workspace_directory if path is None else path)
        self._last: Runs | None = None
        require_directory(self.path)

    def runs(
        self,
        task: str | type | Sequence[str] | None = None,
        *,
        since: Any = None,
        until: Any = None,
        state: str | Sequence[str] | None = None,
        where: Mapping[str, Any] | None = None,
        sort: str = 'when',
        ascending: bool | None = None,
        limit: int | None = None,
    ) -> Runs:
        """The recorded results, newest first; the workspace is looked at each time.

        Parameters
        ----------
        task, since, until, state, where, limit
            Which of them; see `Runs.filter`.
        sort, ascending
            In which order; see `Runs.sort`.

        Raises
        ------
        kartnb.HistoryError
            When a time, a state or a column is not valid.
        """
        every = self._every().filter(task, since=since, until=until, state=state, where=where)
        ordered = every.sort(sort, ascending=ascending) if len(every) else every
        self._last = ordered if limit is None else ordered[: max(limit, 0)]
        return self._last

    def to_dataframe(self, **filters: Any) -> pd.DataFrame:
        """The recorded results as a pandas DataFrame; the arguments are those of `runs`."""
        return self.runs(**filters).to_dataframe()

    def run(self, name: RunName) -> Run:
        """One recorded result.

        Parameters
        ----------
        name
            Its row in the table that was made last, as a number; a unique id or result id, or the beginning of one; a
            task; or a row of the DataFrame. Where a task has several, the one that is there now is meant.

        Raises
        ------
        kartnb.HistoryError
            When none matches, or more than one.
        """
        if isinstance(name, Run):
            return name
        if isinstance(name, int) and not isinstance(name, bool):
            return self._row(name)
        if isinstance(name, luigi.Task):
            return self._of_task(name)
        if not isinstance(name, str):
            name = _id_of_row(name)
        return self._named(name)

    def load(self, name: RunName) -> Any:
        """The value of a recorded result; `name` as in `run`.

        Where the task's class is defined, its outputs are loaded as the task declares them; otherwise each file by its
        extension, and several of them give a list.

        Raises
        ------
        kartnb.HistoryError
            When there is no such result, or its files are gone.
        """
        run = self.run(name)
        task = self._declared(run)
        return run.load() if task is None else results.load(task.output())

    def peek(self, name: RunName) -> Any:
        """As `load`, as far as that is possible without running code that the files may bring along.

        Of a pickle, plain values are read; arrays, frames and objects are replaced by placeholders that name their
        types.

        Raises
        ------
        kartnb.HistoryError
            When there is no such result, or its files are gone.
        kartnb.UnreadableResultError
            When it has to be loaded, or its files are not in this workspace.
        """
        run = self.run(name)
        task = self._declared(run)
        if task is not None:
            return results.load(task.output(), results.peek_target)
        run.require_result()
        # a record may name any file
        below = self.path.rstrip('/') + ('/' if '://' in self.path else os.sep)
        if not all(path.startswith(below) for path in run.outputs):
            raise UnloadedResultError(f'{run.task}[{run.id[:8]}] has to be loaded: its files are not in this workspace')
        values = [target.peek() for target in run.targets()]
        return values[0] if len(values) == 1 else values

    def task(self, name: RunName, cls: type[TaskOnKart[Any]] | None = None) -> TaskOnKart[Any]:
        """The task instance of a recorded result; `name` as in `run`. It is not run.

        Parameters
        ----------
        cls
            The class, where the recorded one has another name or place by now.

        Raises
        ------
        kartnb.HistoryError
            When its class is not defined here, or its parameters are not known.
        """
        return restored_task(self.run(name), self.path, cls)

    def __repr__(self) -> str:
        return display.render(self.runs(), 'text')

    def _repr_html_(self) -> str:
        return display.render(self.runs(), 'html')

    def _every(self, task: str | None = None) -> Runs:
        found = take_inventory(self.path)
        return Runs(gather(found, task), self.path, found.problems)

    def _row(self, number: int) -> Run:
        rows = self._last if self._last is not None else self.runs()
        if not -len(rows) <= number < len(rows):
            raise HistoryError(f'Row {number} not found: the table has {len(rows):,} rows.')
        return rows[number]

    def _of_task(self, task: luigi.Task) -> Run:
        if not isinstance(task, TaskOnKart):
            raise HistoryError(f'{type(task).__name__} is not a TaskOnKart: no results of it are recorded.')
        unique_id = task.make_unique_id()
        found = [run for run in self._every(type(task).__name__) if run.unique_id == unique_id]
        if not found:
            raise HistoryError(f'{self.path} has no result of {type(task).__name__}[{unique_id[:8]}].')
        return _most_current(found)

    def _named(self, name: str) -> Run:
        text = name.strip().rpartition('[')[2].removesuffix(']')
        if len(text) < _SHORTEST_ID:
            raise HistoryError(f'{name!r:.60} is not an id: give at least its first {_SHORTEST_ID} characters.')
        every = self._every()
        exact = [run for run in every if text in (run.unique_id, run.result_id)]
        found = exact or [run for run in every if run.unique_id.startswith(text) or run.result_id.startswith(text)]
        if not found:
            raise HistoryError(f'{self.path} has no result whose id begins with {text!r:.60}.')
        by_result = [run for run in found if run.result_id.startswith(text)]
        tasks = {(run.task, run.unique_id, run.module) for run in found}
        if len(tasks) > 1 or (len(by_result) > 1 and by_result == found):
            raise HistoryError(_several(text, found))
        return _most_current(by_result or found)

    def _declared(self, run: Run) -> TaskOnKart[Any] | None:
        """The task of a result, if it is defined here and would write exactly these files."""
        if run.state is not RunState.CACHED:
            return None
        try:
            task = restored_task(run, self.path, None, quiet=True)
            given = [absolute_place(path) for path in output_paths(task)]
        except Exception:  # a class that was changed may fail in any way; the files are still there
            return None
        return task if sorted(given) == sorted(run.outputs) else None


def _most_current(found: Sequence[Run]) -> Run:
    ranks = (RunState.CACHED, RunState.MISSING, RunState.SUPERSEDED, RunState.FAILED, RunState.INTERRUPTED)
    newest = sorted(found, key=lambda run: run.when.timestamp() if run.when else 0.0, reverse=True)
    return min(newest, key=lambda run: ranks.index(run.state))


def _several(text: str, found: Sequence[Run]) -> str:
    names = ', '.join(f'{run.module}.{run.task}[{run.id[:12]}]'.lstrip('.') for run in found[:_MOST_NAMED])
    more = f' and {len(found) - _MOST_NAMED:,} more' if len(found) > _MOST_NAMED else ''
    return f'{text!r:.60} matches several ids ({names}{more}): give more characters, or a row.'


def _id_of_row(row: Any) -> str:
    try:
        return str(row['result_id'] or row['id'])
    except (KeyError, TypeError, IndexError):
        raise HistoryError(
            f'A result is given by a row, an id or a task, not by {row!r:.60} ({type(row).__name__}).'
        ) from None


def restored_task(
    run: Run, workspace: str, cls: type[TaskOnKart[Any]] | None = None, quiet: bool = False
) -> TaskOnKart[Any]:
    """The task whose run this was, for the workspace in which the run was found.

    Its class is the one of the recorded name unless `cls` is given; `quiet` does not warn when it has another id today.
    Raises HistoryError when the class is not defined here, or the parameters are not known or do not fit it.
    """
    kind = cls or _class_of(run)
    texts = {**run.parameters, **_logged(run, workspace)}
    names = dict(kind.get_params())
    try:
        values = {name: parsed_exactly(names[name], text) for name, text in texts.items() if name in names}
        task = _moved(kind(**values), workspace)
        unique_id = task.make_unique_id()
    except Exception as error:
        raise HistoryError(
            f'{kind.__name__}[{run.unique_id[:8]}] cannot be created from its recorded parameters '
            f'({described(error)}): its class has changed since.'
        ) from error
    if unique_id != run.unique_id and not quiet:
        logger.warning(
            'The definition of %s has changed since %s was made: the restored task has another id, %s.',
            kind.__name__,
            run.unique_id,
            unique_id,
        )
    return task


def _class_of(run: Run) -> type[TaskOnKart[Any]]:
    exact = registry.definition_named(run.module, run.task)
    if exact is not None and issubclass(exact, TaskOnKart):
        return exact
    named = [cls for cls in registry.task_classes() if cls.__name__ == run.task and issubclass(cls, TaskOnKart)]
    nested = [cls for cls in named if cls.__module__ == run.module]
    found = nested if len(nested) == 1 else named
    if len(found) > 1:
        places = ' and '.join(f'{cls.__module__}.{cls.__qualname__}' for cls in found[:5])
        raise HistoryError(f'Two classes are called {run.task}, {places}: pass one of them as cls=….')
    if not found:
        first = f'import {run.module} first' if run.module not in ('', '__main__') else 'run the cell that defines it'
        raise HistoryError(f'The class {run.task} is not defined here: {first}, or pass the class as cls=….')
    return found[0]


def _logged(run: Run, workspace: str) -> dict[str, str]:
    """The significant parameters as gokart's log has them: HIDDEN ones too, and tasks in full."""
    path = log_path(workspace, 'task_params', run.task, run.unique_id)
    try:
        return read_params(path)
    except (KartError, FileNotFoundError):
        return {}


def _moved(task: TaskOnKart[Any], workspace: str) -> TaskOnKart[Any]:
    """The task in the workspace, with the tasks that it holds: their text forms do not say where they were."""
    changes: dict[str, Any] = {}
    for name, value in task.param_kwargs.items():
        if isinstance(value, TaskOnKart):
            changes[name] = _moved(value, workspace)
        elif isinstance(value, tuple) and value and all(isinstance(item, TaskOnKart) for item in value):
            changes[name] = tuple(_moved(item, workspace) for item in value)
    if absolute_place(task.workspace_directory) != workspace:
        changes['workspace_directory'] = workspace
    return task.clone(**changes) if changes else task
