"""The log files that gokart writes for each task: where they are, and how they are written and read."""

from __future__ import annotations

import functools
import os
from typing import Any, Literal, TypeAlias

from kartnb.errors import KartError, UnreadableResultError
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
    data = value.encode('utf-8') if path.endswith('.txt') else pickling.dumps(value, protocol=4)
    # readers of gokart's log directories take every file in them for a log, so the temporary name lies above
    file_system(path).write_bytes(path, data, scratch=_above(os.path.dirname(path)))


@functools.lru_cache(maxsize=256)
def _above(directory: str) -> str:
    return os.path.dirname(directory)


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
