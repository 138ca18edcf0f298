"""Parameters of tasks that take their values from a luigi config class."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any, TypeVar, cast

import luigi

from kartnb._luigi import NAMESPACE_ATTRIBUTE

TaskClass = TypeVar('TaskClass', bound=type[luigi.Task])


def inherits_config_params(
    config_class: type[luigi.Config], parameter_alias: Mapping[str, str] | None = None
) -> Callable[[TaskClass], TaskClass]:
    """Decorate a task class so that parameters that nobody gives have the values that a config class has.

    Parameters
    ----------
    config_class
        The config class. Only its parameters that the task has too are inherited.
    parameter_alias
        Where the names differ: the task's name of a parameter by the name that it has in the config class.

    Returns
    -------
    Callable
        The decorator. The class that it gives keeps name, module and unique ids.

    Examples
    --------
    >>> import kartnb, luigi
    >>> class Shared(luigi.Config):
    ...     seed = luigi.IntParameter(default=7)
    >>> @inherits_config_params(Shared, parameter_alias={'seed': 'random_state'})
    ... class Split(kartnb.TaskOnKart):
    ...     random_state = luigi.IntParameter(default=0)
    >>> Split().random_state, Split(random_state=3).random_state
    (7, 3)

    Notes
    -----
    From gokart.
    """
    alias = dict(parameter_alias or {})

    def config_values() -> dict[str, Any]:
        given: dict[str, Any] = config_class().param_kwargs
        values: dict[str, Any] = {}
        for name, value in given.items():
            values.setdefault(alias.get(name, name), value)
        return values

    def decorate(task_class: TaskClass) -> TaskClass:
        base: Any = task_class

        class Inheriting(base):  # type: ignore[misc]
            @classmethod
            def get_param_values(cls, params: Any, args: Any, kwargs: Any) -> Any:
                positional = [name for name, parameter in params if parameter.positional]
                free = {name for name, _ in params}.difference(positional[: len(args)])
                inherited = {name: value for name, value in config_values().items() if name in free}
                return super().get_param_values(params, args, {**inherited, **kwargs})

        names = (*functools.WRAPPER_ASSIGNMENTS, NAMESPACE_ATTRIBUTE)
        wrapped: Any = functools.wraps(base, assigned=names, updated=())(Inheriting)
        return cast('TaskClass', wrapped)

    return decorate
