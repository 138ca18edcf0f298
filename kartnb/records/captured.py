"""What a task printed and logged when it last ran."""

from __future__ import annotations

from typing import Any

from kartnb.storage.captured_logs import CapturedLine, captured_log_path, read_captured_lines
from kartnb.task.base import TaskOnKart


def read_captured(task: TaskOnKart[Any]) -> list[CapturedLine]:
    """What a task printed and logged when it last ran, in the order of time; nothing when it was silent.

    Parameters
    ----------
    task
        The task; it is not run.

    Examples
    --------
    >>> import kartnb, tempfile
    >>> class Greeting(kartnb.TaskOnKart[str]):
    ...     def run(self):
    ...         print('good morning')
    ...         self.dump('done')
    >>> task = Greeting(workspace_directory=tempfile.mkdtemp())
    >>> kartnb.build(task)
    good morning
    'done'
    >>> [line.text for line in read_captured(task)]
    ['good morning']
    """
    cls = type(task)
    stem = f'{cls.__name__}_{task.make_unique_id()}'
    return read_captured_lines(captured_log_path(task.workspace_directory, cls.__module__, stem))
