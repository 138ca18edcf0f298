"""Making the task instance of a recorded result again."""

from __future__ import annotations

import logging
from typing import Any

from kartnb.errors import HistoryError, KartError
from kartnb.records.runs import Run
from kartnb.storage.census import absolute_place
from kartnb.storage.filesystem import file_system
from kartnb.storage.gokart_logs import log_path
from kartnb.storage.peeking import peek
from kartnb.task import registry
from kartnb.task.base import TaskOnKart
from kartnb.task.parameters import parsed_exactly

logger = logging.getLogger('kartnb')


def restored_task(
    run: Run, workspace: str, cls: type[TaskOnKart[Any]] | None = None, quiet: bool = False
) -> TaskOnKart[Any]:
    """The task whose run this was.

    Parameters
    ----------
    run
        The run.
    workspace
        The workspace in which it was found; the task will use it too.
    cls
        The class; by default the one of the recorded name.
    quiet
        Whether nothing is said when the task has another id today.

    Raises
    ------
    kartnb.HistoryError
        When the class is not defined here, or the parameters are not known or do not fit it.
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
            f'{kind.__name__}[{run.unique_id[:8]}] cannot be made of its recorded parameters '
            f'({type(error).__name__}: {error}): its class is another one than it was.'
        ) from error
    if unique_id != run.unique_id and not quiet:
        logger.warning(
            '%s is not defined as it was when %s was made: the restored task has another id, %s.',
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
        raise HistoryError(f'Two classes are called {run.task}, {places}: say which one, with cls=….')
    if not found:
        raise HistoryError(_gone(run))
    return found[0]


def _gone(run: Run) -> str:
    if run.module and run.module != '__main__':
        return f'The class {run.task} is not defined here: import {run.module} first, or give the class with cls=….'
    return f'The class {run.task} is not defined here: run the cell that defines it, or give the class with cls=….'


def _logged(run: Run, workspace: str) -> dict[str, str]:
    """The significant parameters as gokart's log has them: HIDDEN ones too, and tasks in full."""
    path = log_path(workspace, 'task_params', run.task, run.unique_id)
    try:
        params = peek(file_system(path).read_bytes(path))
    except (KartError, FileNotFoundError):
        return {}
    given = params.items() if isinstance(params, dict) else ()
    return {str(name): text for name, text in given if isinstance(text, str)}


def _moved(task: TaskOnKart[Any], workspace: str) -> TaskOnKart[Any]:
    """The task in the workspace, and so are the tasks that it holds: their text forms do not tell where they were."""
    changes: dict[str, Any] = {}
    for name, value in task.param_kwargs.items():
        if isinstance(value, TaskOnKart):
            changes[name] = _moved(value, workspace)
        elif isinstance(value, tuple) and value and all(isinstance(item, TaskOnKart) for item in value):
            changes[name] = tuple(_moved(item, workspace) for item in value)
    if absolute_place(task.workspace_directory) != workspace:
        changes['workspace_directory'] = workspace
    return task.clone(**changes) if changes else task
