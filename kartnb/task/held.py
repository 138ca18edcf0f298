"""Tasks that are held for longer than the definition of their class lasts, taken as tasks of today's definition.

A parameter's default, a variable of the notebook or another task may hold a task whose class is defined again. In
plans, and in tasks that are made from then on, it counts as today's class with the same parameter values (`today`);
where that is not possible, `require_today` says what to do. Each task is looked at once for each generation of
definitions, and none where no class was ever replaced.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import islice
from types import FunctionType
from typing import Any, NamedTuple

import luigi

from kartnb._luigi import declared_default
from kartnb.errors import OlderDefinitionError, described
from kartnb.task import registry

#: What every note on a class that derives from an older definition says.
OLDER_BASE = 'is defined on an older'
_SCALARS = frozenset({str, int, bool, float, type(None)})
_CONTAINERS = frozenset({list, tuple, dict})
#: How many items of a list, a tuple or a dict are searched for tasks.
_MOST_SEARCHED = 2000
#: Attributes of tasks that are luigi's or kartnb's own.
_OWN = frozenset({'param_kwargs', 'param_args', 'task_log', 'run', '_text_forms', '_resolved', '_today'})
#: Names of a notebook's namespace that IPython gives.
_IPYTHONS = frozenset({'In', 'Out'})
_MOST_NAMED = 3


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a task cannot be taken as one of today's definition."""

    task: luigi.Task
    #: What is in the way, as in ``has no parameter 'n'``.
    why: str
    #: The class whose parameter holds it, if one does, and the parameter's name.
    holder: type[luigi.Task] | None = None
    parameter: str = ''

    def held_by(self, holder: type[luigi.Task], parameter: str) -> Problem:
        """The problem as that of a parameter that holds the task; the innermost one counts."""
        return self if self.holder is not None else replace(self, holder=holder, parameter=parameter)

    def sentence(self, required_by: luigi.Task | None = None) -> str:
        """What is wrong, and what to do."""
        name = type(self.task).__name__
        variables = ' and '.join(_variables_with(self.task))
        advice = f'run the cell that makes {variables} again' if variables else 'create the task again'
        if self.holder is not None:
            subject = f'{self.holder.__name__}.{self.parameter}'
            if self._is_default():
                subject, advice = f'The default of {subject}', define_again(self.holder)
        elif variables:
            subject = variables
        elif required_by is not None:
            subject, advice = f'What {type(required_by).__name__} requires', define_again(type(required_by))
        else:
            subject = f'This {name}'
        return f"{subject} is a task of an older definition of {name}, and today's {name} {self.why}: {advice}."

    def _is_default(self) -> bool:
        assert self.holder is not None
        parameter = dict(self.holder.get_params()).get(self.parameter)
        return any(task is self.task for task in _tasks_in(declared_default(parameter)))


class _Today(NamedTuple):
    """What a task is taken as under one generation of definitions."""

    epoch: int
    #: None for the task itself.
    task: luigi.Task | None = None
    problem: Problem | None = None


class _NotPossibleError(Exception):
    """A task cannot be taken as one of today's definition."""


#: Whether the classes of this process came from another one, which has taken all tasks as today's before.
_is_worker = False


def leave_to_the_building_process() -> None:
    """In a worker process: take all tasks as they come."""
    global _is_worker
    _is_worker = True


def today(task: luigi.Task) -> Any:
    """The task of today's definitions with the same parameter values; the task itself where that is not possible."""
    if not registry.has_older_definitions() or _is_worker:
        return task
    return _settled(task).task or task


def require_today(task: luigi.Task, required_by: luigi.Task | None = None) -> Any:
    """The task of today's definitions with the same parameter values.

    Raises `OlderDefinitionError` where that is not possible.
    """
    if not registry.has_older_definitions() or _is_worker:
        return task
    found = _settled(task)
    if found.problem is not None:
        raise OlderDefinitionError(found.problem.sentence(required_by))
    return found.task or task


def all_today(tasks: list[Any]) -> list[Any]:
    """Some tasks, each as `today` gives it; other things as they are."""
    if not registry.has_older_definitions() or _is_worker:
        return tasks
    return [_settled(task).task or task if _is_task(task) else task for task in tasks]


def today_nested(tasks: Any) -> Any:
    """Tasks in any nested structure, each as `today` gives it; the structure itself where none of them is older."""
    if not registry.has_older_definitions() or _is_worker:
        return tasks
    if _is_task(tasks):
        return today(tasks)
    if isinstance(tasks, dict):
        return {key: today_nested(item) for key, item in tasks.items()}
    if isinstance(tasks, tuple):
        return tuple(map(today_nested, tasks))
    if isinstance(tasks, str) or not hasattr(type(tasks), '__iter__'):
        return tasks
    return [today_nested(item) for item in tasks]


def warnings(values: Iterable[Any]) -> list[str]:
    """What a person must know after a class was defined again, a sentence each.

    That is which of the tasks among some values, and among the defaults of today's classes, cannot be taken as today's,
    and which classes derive from older ones.
    """
    if not registry.has_older_definitions():
        return []
    problems: dict[int, Problem] = {}
    classes = registry.task_classes()
    for cls in classes:
        for name, parameter in cls.get_params():
            for problem in _problems_of(declared_default(parameter)):
                problems.setdefault(id(problem.task), problem.held_by(cls, name))
    for value in values:
        for problem in _problems_of(value):
            problems.setdefault(id(problem.task), problem)
    notes = [f'{note}.' for note in map(note_on_bases, classes) if note]
    return [*dict.fromkeys([*[problem.sentence() for problem in problems.values()], *notes])]


def _problems_of(value: Any) -> Iterator[Problem]:
    for task in _tasks_in(value):
        problem = _settled(task).problem
        if problem is not None:
            yield problem


def note_on_bases(cls: type) -> str:
    """What a person must know of a class that derives from an older definition of a task class; '' of any other."""
    bases = [base for base in cls.__mro__[1:] if issubclass(base, luigi.Task) and registry.is_older(base)]
    if not bases:
        return ''
    return f'{cls.__name__} {OLDER_BASE} {bases[0].__name__}: {define_again(cls)}'


def define_again(cls: type) -> str:
    """What to do so that a class is defined again."""
    file = getattr(sys.modules.get(cls.__module__), '__file__', None)
    if cls.__module__ == '__main__' or file is None:
        return f'run the cell of {cls.__name__} again'
    return f'reload the module {cls.__module__}, which defines {cls.__name__}'


def _settled(task: luigi.Task) -> _Today:
    """What a task is taken as now; found without recursion, what it holds first."""
    epoch = registry.definition_epoch()
    known: _Today | None = vars(task).get('_today')
    if known is not None and known.epoch == epoch:
        return known
    stack = [task]
    begun: set[int] = set()
    while stack:
        current = stack[-1]
        if id(current) not in begun:
            begun.add(id(current))
            stack.extend(other for other in _held_in(current) if _is_unsettled(other, epoch) and id(other) not in begun)
            continue
        stack.pop()
        if _is_unsettled(current, epoch):
            found = vars(current)['_today'] = _found(current, epoch)
            # what its own `__init__` has put into it may be older again
            if found.task is not None and id(found.task) not in begun and _is_unsettled(found.task, epoch):
                stack.append(found.task)
    settled: _Today = vars(task)['_today']
    return settled


def _is_unsettled(task: luigi.Task, epoch: int) -> bool:
    known: _Today | None = vars(task).get('_today')
    return known is None or known.epoch != epoch


def _found(task: luigi.Task, epoch: int) -> _Today:
    cls = type(task)
    newest = registry.replacement(cls)
    values: dict[str, Any] = dict(task.param_kwargs)
    for name, value in values.items():
        problem = next((held.problem for held in _memos_in(value) if held.problem is not None), None)
        if problem is not None:
            return _Today(epoch, problem=problem.held_by(cls, name))
        values[name] = _replaced(value)
    if newest is cls and all(value is task.param_kwargs[name] for name, value in values.items()):
        _renew_attributes(task)
        return _Today(epoch)
    try:
        return _Today(epoch, _made(newest, cls, values))
    except _NotPossibleError as error:
        return _Today(epoch, problem=Problem(task, str(error)))


def _made(newest: Any, older: Any, values: Mapping[str, Any]) -> luigi.Task:
    """The task of a class with the parameter values of a task of an older definition."""
    before, now = dict(older.get_params()), dict(newest.get_params())
    for name, value in values.items():
        if name not in now:
            raise _NotPossibleError(f'has no parameter {name!r}')
        if name in before and _kind(before[name]) != _kind(now[name]):
            _check_value(now[name], name, value)
    try:
        task: luigi.Task = newest(**values)
    except luigi.parameter.MissingParameterException:
        missing = next(name for name in now if name not in values)
        raise _NotPossibleError(f'needs a value for its new parameter {missing!r}') from None
    except Exception as error:  # whatever a class's own `__init__` raises
        raise _NotPossibleError(f'does not take its parameter values ({described(error)})') from error
    return task


def _kind(parameter: luigi.Parameter[Any]) -> tuple[str, str]:
    return type(parameter).__module__, type(parameter).__qualname__


def _check_value(parameter: luigi.Parameter[Any], name: str, value: Any) -> None:
    """Refuse a value of a parameter that was of another type, and would mean another value."""
    try:
        same = parameter.parse(parameter.serialize(value)) == value
    except Exception:  # whatever a parameter raises for a value that it does not take
        same = False
    if not same:
        raise _NotPossibleError(f'has a parameter {name!r} of another type')


def _renew_attributes(task: luigi.Task) -> None:
    """Let the attributes of a task, such as those that its `__init__` has set, hold the tasks of today."""
    attributes = vars(task)
    for name, value in [*attributes.items()]:
        if type(value) not in _SCALARS and name not in _OWN and name not in task.param_kwargs:
            renewed = _replaced(value)
            if renewed is not value:
                attributes[name] = renewed


def _held_in(task: luigi.Task) -> Iterator[luigi.Task]:
    values = task.param_kwargs
    for name, value in [*vars(task).items()]:
        if type(value) not in _SCALARS and name not in _OWN:
            yield from _tasks_in(value)
    for value in values.values():
        if type(value) not in _SCALARS:
            yield from _tasks_in(value)


def _memos_in(value: Any) -> Iterator[_Today]:
    for task in _tasks_in(value):
        memo = vars(task).get('_today')
        if memo is not None:
            yield memo


def _replaced(value: Any) -> Any:
    """A value with the tasks in it as they are taken today; the value itself where all of them are of today."""
    return _rebuilt(value) if any(memo.task is not None for memo in _memos_in(value)) else value


def _rebuilt(value: Any) -> Any:
    if _is_task(value):
        memo: _Today | None = vars(value).get('_today')
        return value if memo is None or memo.task is None else memo.task
    if type(value) is dict:
        return {key: _rebuilt(item) for key, item in value.items()}
    return type(value)(map(_rebuilt, value)) if type(value) in _CONTAINERS else value


def _tasks_in(value: Any) -> Iterator[luigi.Task]:
    """The tasks that a value is or holds in lists, tuples and dicts; of very large ones not all."""
    if type(value) in _SCALARS:
        return
    pending, left = [value], _MOST_SEARCHED
    while pending and left:
        left -= 1
        item = pending.pop()
        if _is_task(item):
            yield item
        elif type(item) in _CONTAINERS:
            inner = item.values() if type(item) is dict else item
            pending.extend([other for other in islice(inner, _MOST_SEARCHED) if type(other) not in _SCALARS])


def _is_task(value: object) -> bool:
    return luigi.Task in type(value).__mro__


def _variables_with(task: luigi.Task) -> list[str]:
    """The variables of the module that defines a task's class, or of the notebook, that hold the task."""
    spaces = [vars(sys.modules['__main__']), vars(sys.modules.get(type(task).__module__, sys.modules['__main__']))]
    spaces += [method.__globals__ for method in vars(type(task)).values() if isinstance(method, FunctionType)]
    names = {
        name: None
        for space in {id(space): space for space in spaces}.values()
        for name, value in [*space.items()]
        if not name.startswith('_') and name not in _IPYTHONS and any(other is task for other in _tasks_in(value))
    }
    return [*names][:_MOST_NAMED]
