"""Says in one sentence what is wrong with a place where results are kept."""

from __future__ import annotations

import errno
import os
import re
from typing import Literal, NoReturn

from kartnb.errors import MissingResultError, StorageError

Doing = Literal['read', 'written', 'removed', 'listed']

ON_WINDOWS = os.name == 'nt'

FULL = {errno.ENOSPC, getattr(errno, 'EDQUOT', errno.ENOSPC)}
_FORBIDDEN = {errno.EACCES, errno.EPERM}
_RESERVED_NAMES = {'con', 'prn', 'aux', 'nul', *(f'{port}{n}' for port in ('com', 'lpt') for n in '123456789')}
_WINDOWS_PATH_LIMIT = 259
_ELSEWHERE = 'choose another workspace_directory'


def storage_error(error: OSError, path: str, doing: Doing) -> StorageError:
    """Give the error that names `path` and says what to do, for an error of the operating system."""
    if isinstance(error, StorageError):
        return error
    if doing in ('read', 'removed') and isinstance(error, FileNotFoundError):
        return MissingResultError(f'{path} does not exist: build the task that makes it', path, error.errno)
    return StorageError(_sentence(error, path, doing), path, error.errno)


def raise_storage_error(error: OSError, path: str, doing: Doing) -> NoReturn:
    """Raise what `storage_error` gives, from the error that it is made of."""
    told = storage_error(error, path, doing)
    if told is error:
        raise error  # raised from itself it would be its own cause, and who follows causes would never come to an end
    raise told from error


def _sentence(error: OSError, path: str, doing: Doing) -> str:
    windows = windows_problem(path) if ON_WINDOWS else None
    if windows:
        return windows
    if os.path.isdir(path) and error.errno in {errno.EISDIR, errno.EEXIST, errno.ENOTEMPTY, *_FORBIDDEN}:
        return f'{path} is a directory, where a result file belongs: move it away or remove it'
    if error.errno in FULL:
        return f'{path} cannot be written, the disk is full: free some space or {_ELSEWHERE}'
    if error.errno in _FORBIDDEN:
        return f'{path} cannot be {doing}, permission is denied: {_ELSEWHERE}'
    if error.errno == errno.EROFS:
        return f'{path} cannot be {doing}, the disk is read-only: {_ELSEWHERE}'
    if error.errno in {errno.ENOTDIR, errno.EEXIST, errno.EISDIR}:
        return (
            f'{path} cannot be {doing}, a file lies where one of its directories belongs: move {_file_above(path)} away'
        )
    if error.errno == errno.ENAMETOOLONG:
        return f'{path} cannot be {doing}, its name or path ({len(path)} characters) is too long for this disk'
    return f'{path} cannot be {doing}: {error.strerror or error}'


def _file_above(path: str) -> str:
    above = os.path.dirname(path)
    while above and not os.path.exists(above) and above != os.path.dirname(above):
        above = os.path.dirname(above)
    return above or 'that file'


def windows_problem(path: str) -> str | None:
    """Say why Windows would refuse a local path, or give None.

    Examples
    --------
    >>> windows_problem('results/aux.csv')
    "results/aux.csv cannot be written on Windows, which reserves the name 'aux.csv'"
    >>> windows_problem('results/model.pkl') is None
    True
    """
    for part in re.split(r'[/\\]', re.sub(r'^[A-Za-z]:', '', path)):
        if part.partition('.')[0].strip().lower() in _RESERVED_NAMES:
            return f'{path} cannot be written on Windows, which reserves the name {part!r}'
        bad = next((c for c in part if c in '<>:"|?*' or ord(c) < 32), None)
        if bad:
            return f'{path} cannot be written on Windows, which forbids {bad!r} in a name'
        if part.endswith((' ', '.')) and part not in ('.', '..'):
            return f'{path} cannot be written on Windows, where the name {part!r} may not end in a space or a full stop'
    length = len(os.path.abspath(path))
    if length > _WINDOWS_PATH_LIMIT:
        return (
            f'{path} cannot be written on Windows: of the {length} characters of its full path Windows allows '
            f'{_WINDOWS_PATH_LIMIT} unless long paths are enabled; choose a shorter workspace_directory'
        )
    return None
