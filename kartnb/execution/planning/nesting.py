"""Tasks that hold tasks that hold tasks: gokart's rule for their ids makes deep ones costly, and a person is told."""

from __future__ import annotations

import warnings
from typing import Any

import luigi

from kartnb.task.identity import task_values
from kartnb.task.metaclass import KartRegister

#: From so many levels on a plan takes noticeably longer: 0.2 s at 100 levels, 2 s at 200, a minute at 400.
DEEP = 100


class Nesting:
    """How deep tasks are nested in the parameters of tasks, of one graph; it warns once.

    Examples
    --------
    >>> import kartnb
    >>> class Source(kartnb.TaskOnKart):
    ...     pass
    >>> class Step(kartnb.TaskOnKart):
    ...     data = kartnb.TaskInstanceParameter()
    >>> Nesting().depth(Step(data=Step(data=Source())))
    2
    """

    def __init__(self) -> None:
        self._depths: dict[int, int] = {}
        self._has_warned = False

    def depth(self, task: luigi.Task) -> int:
        """How many levels of tasks a task holds in its parameters; found without recursion."""
        depths = self._depths
        stack = [task]
        while stack:
            current = stack[-1]
            values = task_values(current)
            pending = [value for value in values if id(value) not in depths]
            if pending:
                stack.extend(pending)
                continue
            stack.pop()
            depths[id(current)] = 1 + max((depths[id(value)] for value in values), default=-1)
        return depths[id(task)]

    def watch(self, task: luigi.Task) -> None:
        """Warn of a task that is nested too deep, before its id is made."""
        cls: Any = type(task)
        if self._has_warned or type(cls) is not KartRegister or not cls.parameter_table().holds_tasks:
            return
        depth = self.depth(task)
        if depth >= DEEP:
            self._has_warned = True
            warnings.warn(_sentence(cls.__name__, depth), stacklevel=2)


def _sentence(name: str, depth: int) -> str:
    return (
        f'{name} holds tasks in its parameters, {depth} levels deep. The id of each contains all that it holds (a rule '
        f'of gokart), so that planning takes seconds from 200 levels on, and minutes from 400. Make the upstream tasks '
        f'in requires() of plain parameters instead: a chain of 10,000 is fast then.'
    )
