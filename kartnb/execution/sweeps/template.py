"""Tasks from parameter values by name, also the parameters of tasks that are parameters (``data.rows``)."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any

import luigi

from kartnb._luigi import NO_VALUE
from kartnb.errors import SweepError, TaskArgumentError
from kartnb.task.parameters import TaskInstanceParameter
from kartnb.task.registry import current_definition
from kartnb.task.values import settled


class Template:
    """A task of which some parameters are still to be given.

    Parameters
    ----------
    task
        A task class, or a task, whose parameter values hold where no others are given.
    fixed
        Values that hold for every task that is made.

    Raises
    ------
    TaskArgumentError
        When `task` is neither.
    """

    def __init__(self, task: type[luigi.Task] | luigi.Task, fixed: Mapping[str, Any] | None = None) -> None:
        self.cls = task_class(task)
        self._base = dict(task.param_kwargs) if isinstance(task, luigi.Task) else {}
        self._base.update({name: self.settle(name, value) for name, value in (fixed or {}).items()})
        self._below: dict[str, Template] = {}

    @property
    def parameters(self) -> dict[str, luigi.Parameter[Any]]:
        """The parameters of the task by name."""
        return dict(self.cls.get_params())

    def parameter(self, name: str) -> luigi.Parameter[Any]:
        """The parameter of a name, which may have dots.

        Raises
        ------
        SweepError
            When there is none.
        """
        head, dot, rest = name.partition('.')
        if dot:
            return self._template_below(head).parameter(rest)
        found = self.parameters.get(name)
        if found is None:
            raise SweepError(self._unknown(name))
        return found

    def settle(self, name: str, value: Any) -> Any:
        """A value as the parameter of that name means it.

        Raises
        ------
        ParameterValueError
            When the parameter does not take it.
        """
        return settled(self.parameter(name), value, f'{self.cls.__name__}.{name}')

    def start(self, name: str) -> Any:
        """The value that the parameter has where none is given, or `kartnb._luigi.NO_VALUE`."""
        head, dot, rest = name.partition('.')
        if dot:
            return self._template_below(head).start(rest)
        if name in self._base:
            return self._base[name]
        parameter = self.parameter(name)
        family = self.cls.get_task_family()
        return parameter.task_value(family, name) if parameter.has_task_value(family, name) else NO_VALUE

    def make(self, values: Mapping[str, Any]) -> luigi.Task:
        """The task that has these (settled) values.

        Raises
        ------
        SweepError
            When a parameter has no value.
        """
        own = {name: value for name, value in values.items() if '.' not in name}
        below: dict[str, dict[str, Any]] = {}
        for name, value in values.items():
            head, dot, rest = name.partition('.')
            if dot:
                below.setdefault(head, {})[rest] = value
        for head, inner in below.items():
            own[head] = (Template(own[head]) if head in own else self._template_below(head)).make(inner)
        try:
            task: luigi.Task = self.cls(**{**self._base, **own})
        except luigi.parameter.ParameterException as error:
            raise SweepError(' '.join(str(error).split())) from None
        return task

    def _template_below(self, head: str) -> Template:
        """The template of the task that a parameter holds."""
        found = self._below.get(head)
        if found is None:
            parameter = self.parameter(head)
            if not isinstance(parameter, TaskInstanceParameter):
                raise SweepError(f'{self.cls.__name__}.{head} holds no task, so there is nothing behind its dot.')
            start = self.start(head)
            if not isinstance(start, luigi.Task):
                start = parameter.expected_type
            found = self._below[head] = Template(start)
        return found

    def _unknown(self, name: str) -> str:
        known = [own for own, parameter in self.parameters.items() if parameter.significant]
        if not known:
            return f'{self.cls.__name__} has no parameter {name!r}: it has none of its own.'
        near = difflib.get_close_matches(name, self.parameters, n=1)
        hint = f'did you mean {near[0]!r}?' if near else f'it has {", ".join(known)}.'
        return f'{self.cls.__name__} has no parameter {name!r}: {hint}'


def task_class(task: Any) -> type[luigi.Task]:
    """The class of a task or task class, in its newest definition.

    Raises
    ------
    TaskArgumentError
        When it is neither.
    """
    cls = task if isinstance(task, type) else type(task)
    if not issubclass(cls, luigi.Task):
        raise TaskArgumentError(
            f'A task class is needed, such as Train, or a task, such as Train(…), not {task!r:.80}.'
        )
    return current_definition(cls)
