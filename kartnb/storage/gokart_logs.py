"""The log files that gokart writes for each task: where they are, and how they are written and read."""

from __future__ import annotations

import functools
import os
from typing import Any, Literal, TypeAlias

from kartnb.errors import KartError, MissingResultError, UnreadableResultError
from kartnb.storage import pickling
from kartnb.storage.filesystem import file_system

LogKind: TypeAlias = Literal['module_versions', 'processing_time', 'random_seed', 'task_log', 'task_params']

_EXTENSIONS: dict[str, str] = {
    'module_versions': '.txt',
    'processing_time': '.pkl',
    'random_seed': '.pkl',
    'task_log': '.pkl',
    'task_params': '.pkl',
}
LOG_KINDS: tuple[LogKind, ...] = ('module_versions', 'processing_time', 'random_seed', 'task_log', 'task_params')


def log_path(workspace: str, kind: LogKind, class_name: str, unique_id: str) -> str:
    """Give the place of one log of one task.

    Examples
    --------
    >>> log_path('./resources/', 'processing_time', 'Example', '8441')
    './resources/log/processing_time/Example_8441.pkl'
    """
    return f'{_beginning(workspace, kind)}{class_name}_{unique_id}{_EXTENSIONS[kind]}'


@functools.lru_cache(maxsize=256)
def _beginning(workspace: str, kind: LogKind) -> str:
    return os.path.join(workspace, f'log/{kind}/')


def write_log(path: str, value: Any) -> None:
    """Write a log: text as it is, anything else pickled as gokart does."""
    # readers of gokart's log directories take every file in them for a log, so the temporary name lies above
    file_system(path).write_bytes(path, _encoded(value), scratch=os.path.dirname(os.path.dirname(path)))


class LogWriter:
    """Writes the logs of one task.

    Parameters
    ----------
    workspace
        The workspace directory as the task gives it.
    class_name, unique_id
        The task.
    """

    def __init__(self, workspace: str, class_name: str, unique_id: str) -> None:
        self._workspace = workspace
        self._stem = f'{class_name}_{unique_id}'
        self._scratch = _scratch(workspace)
        self._files = file_system(workspace)

    def write(self, kind: LogKind, value: Any) -> None:
        """Write one of them, as `write_log` does."""
        path = f'{_beginning(self._workspace, kind)}{self._stem}{_EXTENSIONS[kind]}'
        self._files.write_bytes(path, _encoded(value), self._scratch)


@functools.lru_cache(maxsize=256)
def _scratch(workspace: str) -> str:
    return os.path.join(workspace, 'log')


def _encoded(value: Any) -> bytes:
    return value.encode('utf-8') if type(value) is str else pickling.dumps(value, protocol=4)


def read_log(path: str) -> Any:
    """Read a log: the text, or the value.

    Raises
    ------
    kartnb.errors.MissingResultError
        When it has not been written.
    kartnb.errors.UnreadableResultError
        When it cannot be read.
    """
    data = file_system(path).read_bytes(path)
    try:
        return data.decode('utf-8') if path.endswith('.txt') else pickling.loads(data)
    except KartError:
        raise
    except Exception as error:
        raise UnreadableResultError(
            f'{path} is no readable log ({type(error).__name__}: {error}): delete it', path
        ) from error


def read_params(workspace: str, class_name: str, unique_id: str) -> dict[str, str]:
    """Read the parameters, as text by name, that were logged of a task.

    Raises
    ------
    kartnb.errors.MissingResultError
        When the workspace has no log of such a task.
    """
    path = log_path(workspace, 'task_params', class_name, unique_id)
    try:
        params: dict[str, str] = read_log(path)
    except MissingResultError:
        raise MissingResultError(f'No {class_name} with the id {unique_id} was built in {workspace}.', path) from None
    return params
