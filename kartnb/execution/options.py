"""The options of a build that come from luigi, and the names of log levels."""

from __future__ import annotations

import difflib
import logging
from typing import Any

import luigi

from kartnb.errors import UnknownOptionError

#: The executors that have a name.
EXECUTOR_NAMES = ('inline', 'processes', 'threads')
LOG_LEVELS = ('DEBUG', 'INFO', 'WARNING', 'ERROR', 'CRITICAL')


def check_log_level(level: object) -> None:
    """Refuse a level that is not one of logging's numbers."""
    if isinstance(level, bool) or not isinstance(level, int):
        hint = f'logging.{level.upper()}' if isinstance(level, str) and level.upper() in LOG_LEVELS else 'logging.INFO'
        raise TypeError(f'log_level must be a number such as {hint}, not {level!r}.')


def log_level_named(name: str) -> int:
    """The number of a log level that is given by name or number.

    Raises
    ------
    ValueError
        When there is no such level.

    Examples
    --------
    >>> log_level_named('debug')
    10
    """
    if name.isdigit():
        return int(name)
    level = logging.getLevelName(name.upper())
    if not isinstance(level, int):
        raise ValueError(f'{name!r} is no log level: the levels are {", ".join(LOG_LEVELS)}.')
    return level


def check_env_params(env_params: dict[str, Any]) -> None:
    """Refuse options that luigi does not know, and warn of those that do nothing here."""
    known = {name for name, _ in luigi.interface.core.get_params()} - {'local_scheduler', 'log_level'}
    for name in env_params:
        if name not in known:
            near = difflib.get_close_matches(name, [*known, 'rerun', 'listeners', 'log_level', 'return_value'], n=1)
            hint = f': did you mean {near[0]!r}?' if near else '.'
            raise UnknownOptionError(f'build has no option {name!r}{hint}')
