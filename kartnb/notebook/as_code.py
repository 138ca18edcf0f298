"""A task as the code that makes it."""

from __future__ import annotations

import datetime
import enum
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

import luigi
from luigi.parameter import ParameterVisibility

from kartnb._luigi import NO_VALUE


def as_code(task: luigi.Task) -> str:
    """The expression that makes a task, with the parameters that are not at their defaults; secret ones are left out.

    Examples
    --------
    >>> class Train(luigi.Task):
    ...     depth = luigi.IntParameter(default=3)
    ...     rate = luigi.FloatParameter(default=0.1)
    >>> as_code(Train(depth=5))
    'Train(depth=5)'
    """
    given = [
        f'{name}={value_code(task.param_kwargs[name])}'
        for name, parameter in task.get_params()
        if parameter.visibility != ParameterVisibility.PRIVATE and not _is_default(task, name, parameter)
    ]
    return f'{type(task).__name__}({", ".join(given)})'


def value_code(value: Any) -> str:
    """The expression that gives a parameter value."""
    if isinstance(value, luigi.Task):
        return as_code(value)
    if isinstance(value, enum.Enum):
        return f'{type(value).__qualname__}.{value.name}'
    if isinstance(value, datetime.date | datetime.timedelta):
        return f"__import__('datetime').{repr(value).replace('datetime.', '', 1)}"
    if isinstance(value, PurePath):
        return repr(str(value))
    if isinstance(value, Mapping):
        return '{' + ', '.join(f'{key!r}: {value_code(item)}' for key, item in value.items()) + '}'
    if isinstance(value, tuple | list):
        inner = ', '.join(map(value_code, value))
        return f'[{inner}]' if isinstance(value, list) else f'({inner}{"," if len(value) == 1 else ""})'
    return repr(value)


def _is_default(task: luigi.Task, name: str, parameter: luigi.Parameter[Any]) -> bool:
    family = task.get_task_family()
    default = parameter.task_value(family, name) if parameter.has_task_value(family, name) else NO_VALUE
    if default is NO_VALUE:
        return False
    default = parameter.normalize(default) if default is not None else None
    value = task.param_kwargs[name]
    return type(default) is type(value) and bool(default == value)
