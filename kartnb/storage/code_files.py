"""The files of code prints: the source that a print was made of, once for each print of a workspace."""

from __future__ import annotations

import os

from kartnb.errors import StorageError
from kartnb.storage.filesystem import file_system


def code_path(workspace: str, key: str) -> str:
    """Where the parts of a code print are kept.

    Parameters
    ----------
    workspace
        The workspace directory.
    key
        The print, with the Python that printed it.
    """
    return os.path.join(workspace, 'log/run_record/code', f'{key}.code')


def keep_code(workspace: str, key: str, text: str) -> None:
    """Write the parts of a code print, unless they are there."""
    path = code_path(workspace, key)
    if not file_system(path).exists(path):
        file_system(path).write_bytes(path, text.encode('utf-8', 'surrogatepass'))


def read_code(workspace: str, key: str) -> str | None:
    """The parts of a code print as text, None when they are not there or cannot be read."""
    path = code_path(workspace, key)
    try:
        if not file_system(path).exists(path):
            return None
        return file_system(path).read_bytes(path).decode('utf-8', 'surrogatepass')
    except (StorageError, ValueError):
        return None
