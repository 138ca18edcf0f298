"""A task's parameters as they may be shown to a person: secret ones are never among them."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import luigi

from kartnb._luigi import declared_default
from kartnb.task.registry import base_task
from kartnb.task.secrets import is_secret

_PLAIN = frozenset({str, int, float, bool, type(None)})


@dataclass(frozen=True, slots=True)
class ShownParameter:
    """One parameter of one task: its name, its value as text, and whether it is part of the unique id."""

    name: str
    text: str
    significant: bool


def shown_parameters(task: luigi.Task) -> list[ShownParameter]:
    """The public parameters of any luigi task, in order; of those of `TaskOnKart` only what is not at its default.

    >>> import luigi
    >>> class Train(luigi.Task):
    ...     depth = luigi.IntParameter()
    ...     token = luigi.Parameter('s3cret', visibility=luigi.parameter.ParameterVisibility.PRIVATE)
    >>> [(parameter.name, parameter.text) for parameter in shown_parameters(Train(depth=3))]
    [('depth', '3')]
    """
    values = task.param_kwargs
    return [
        ShownParameter(name, _text(parameter, values[name]), parameter.significant)
        for name, parameter in _shown(task, values)
    ]


def shown_texts(task: luigi.Task) -> dict[str, str]:
    """The texts of `shown_parameters` by name."""
    values = task.param_kwargs
    return {name: _text(parameter, values[name]) for name, parameter in _shown(task, values)}


def described_task(task: luigi.Task) -> str:
    """A task as text for a message, without its secrets: luigi's own `repr` would show those of a plain luigi task."""
    if hasattr(task, 'make_unique_id'):
        return str(task)
    return f'{task.get_task_family()}({", ".join(f"{shown.name}={shown.text}" for shown in shown_parameters(task))})'


def _shown(task: luigi.Task, values: Mapping[str, Any]) -> list[tuple[str, Any]]:
    public = _public_parameters(type(task))
    own = [item for item in public.own if item[0] in values]
    if [*map(values.get, public.shared)] == public.defaults:
        return own
    shared = zip(public.shared.items(), public.defaults, strict=True)
    return [item for item, default in shared if item[0] in values and values[item[0]] != default] + own


class _PublicParameters:
    """The public parameters of a class: its own, and those of `TaskOnKart` with their defaults."""

    def __init__(self, cls: Any) -> None:
        public = [item for item in cls.get_params() if not is_secret(item[1])]
        self.own = [item for item in public if not _is_shared(*item)]
        self.shared = dict(item for item in public if _is_shared(*item))
        self.defaults = [declared_default(parameter) for parameter in self.shared.values()]


def _public_parameters(cls: Any) -> _PublicParameters:
    """The public parameters of a class. Kept with the class's parameter table."""
    parameters = cls.parameter_table() if hasattr(cls, 'parameter_table') else None
    kept: _PublicParameters | None = getattr(parameters, 'public', None)
    if kept is None:
        kept = _PublicParameters(cls)
        if parameters is not None:
            parameters.public = kept
    return kept


def _is_shared(name: str, parameter: Any) -> bool:
    gokart: Any = sys.modules.get('gokart.task')
    base = base_task()
    return any(vars(cls).get(name) is parameter for cls in (base, getattr(gokart, 'TaskOnKart', base)))


def _text(parameter: luigi.Parameter[Any], value: Any) -> str:
    if type(value) in _PLAIN:
        return str(parameter.serialize(value))
    if isinstance(value, luigi.Task):
        return _task_name(value)
    if isinstance(value, tuple) and value and all(isinstance(item, luigi.Task) for item in value):
        return ', '.join(map(_task_name, value))
    return str(parameter.serialize(value))


def _task_name(task: luigi.Task) -> str:
    return f'{type(task).__name__}-{task.make_unique_id()}' if hasattr(task, 'make_unique_id') else str(task.task_id)
