"""The unique id of a task, which names its files: gokart's, byte for byte.

It is the md5 of a text made of the ids of the required tasks, the significant parameters as text, and the class name.
It is computed once for each instance, upstream first and without recursion, and forgotten when a task class is defined
again.
"""

from __future__ import annotations

import functools
import hashlib
import operator
from collections.abc import Collection, Iterator
from itertools import compress
from typing import TYPE_CHECKING, Any

import luigi

from kartnb._luigi import adds_requirements
from kartnb.errors import CyclicRequirementsError, RequirementError, TaskArgumentError
from kartnb.task import held
from kartnb.task.registry import base_task, definition_epoch
from kartnb.task.values import flatten, shape_of

if TYPE_CHECKING:
    from kartnb.task.base import TaskOnKart


_SCALARS = frozenset({str, int, bool, float, type(None)})


def required_tasks(task: luigi.Task) -> list[luigi.Task]:
    """The tasks that `requires()` gives, in order; raises RequirementError when one is not a task."""
    return _checked(task, flatten(task.requires()))


def required_with_shape(task: luigi.Task) -> tuple[list[luigi.Task], str]:
    """As `required_tasks`, and where in what `requires()` gives they are, as `shape_of` says it."""
    given = task.requires()
    leaves = flatten(given)
    shape = shape_of(given, leaves)  # before a held task is replaced by today's
    return _checked(task, leaves), shape


def dependencies(task: luigi.Task, required: list[luigi.Task]) -> list[luigi.Task]:
    """The tasks that must be complete before `task` runs: the required ones, and what luigi's template methods add."""
    return _checked(task, flatten(task.deps())) if adds_requirements(type(task)) else required


def id_of(task: luigi.Task) -> str:
    """The unique id of any task: the one that it makes, or luigi's task id."""
    identify = getattr(task, 'make_unique_id', None)
    return str(task.task_id if identify is None else identify())


def unique_id(task: TaskOnKart[Any]) -> str:
    """The unique id of a task.

    Raises CyclicRequirementsError when a task requires itself, directly or through others, and RequirementError when
    some `requires()` gives something that is not a task.
    """
    known = known_id(task)
    if known is not None:
        return known
    current = held.today(task)
    if current is not task:
        found = id_of(current)
        if task.cache_unique_id:
            adopt_id(task, found)
        return found
    under_way: dict[int, luigi.Task] = {id(task): task}
    required = required_tasks(task)
    stack: list[tuple[TaskOnKart[Any], list[luigi.Task], Iterator[luigi.Task]]] = [(task, required, iter(required))]
    fresh: dict[int, str] = {}
    while True:
        current, required, rest = stack[-1]
        following = next((other for other in rest if _needs_id(other, fresh)), None)
        if following is not None:
            if id(following) in under_way:
                raise cycle_error([*under_way.values()], following)
            under_way[id(following)] = following
            deeper = required_tasks(following)
            stack.append((following, deeper, iter(deeper)))  # type: ignore[arg-type]
            continue
        fresh[id(current)] = identify(current, [_id_part(other, fresh) for other in required])
        stack.pop()
        under_way.pop(id(current))
        if not stack:
            return fresh[id(task)]


def identify(task: TaskOnKart[Any], required_parts: list[Any]) -> str:
    """The unique id of a task whose required tasks are identified already; remembered unless the task says otherwise.

    `required_parts` are, for each required task in order, its unique id; for a plain luigi task its significant
    parameters as a dict; None for a task that is not significant.
    """
    known = known_id(task)
    if known is not None:
        return known
    has_own_rule = type(task)._make_hash_id is not _standard_hash()
    result = task._make_hash_id() if has_own_rule else hash_id(task, required_parts)
    if task.cache_unique_id:
        task.__dict__['task_unique_id'] = result
        task.__dict__['_id_epoch'] = definition_epoch()
    return result


def hash_id(task: TaskOnKart[Any], required_parts: list[Any]) -> str:
    """The unique id, worked out."""
    # gokart's recipe: the md5 of the text of this list, so its order and Python's repr of it are the format
    parts = [part for part in required_parts if part is not None]
    parts.append(task.to_str_params(only_significant=True))
    parts.append(type(task).__name__)
    if task.serialized_task_definition_check:
        parts.append(task.get_own_code())
    return hashlib.md5(str(parts).encode(), usedforsecurity=False).hexdigest()


def adopt_id(task: luigi.Task, unique_id: str) -> None:
    """Give a task that came from another process the unique id that it has there."""
    task.__dict__['task_unique_id'] = unique_id
    task.__dict__['_id_epoch'] = definition_epoch()


def id_parts(required: list[luigi.Task]) -> list[Any]:
    """What required tasks contribute to the id of the task that requires them, in order."""
    # asked once for all: this runs for every edge of a plan, and most tasks have their ids already
    epoch, rule = definition_epoch(), _standard_rule()
    parts = []
    for task in required:
        attributes: Any = task.__dict__
        known = attributes.get('task_unique_id')
        is_usual = attributes.get('significant') is True and getattr(type(task), 'make_unique_id', None) is rule
        parts.append(known if known and is_usual and attributes.get('_id_epoch') == epoch else _id_part(task, {}))
    return parts


def cycle_error(path: list[luigi.Task], again: luigi.Task) -> CyclicRequirementsError:
    """The error that names the tasks of a cycle: those on `path` from `again` on."""
    start = next(i for i, task in enumerate(path) if task is again)
    names = [type(task).__name__ for task in [*path[start:], again]]
    return CyclicRequirementsError(
        f'{names[0]} requires itself: {" → ".join(names)}. '
        'Take one of these out of the requires() of the one before it.'
    )


def warm_text_forms(task: luigi.Task) -> None:
    """Make the text forms of all task-valued parameters below `task`, innermost first, so that none has to recurse."""
    if not task_values(task):
        return
    stack = [task]
    done: set[int] = set()
    while stack:
        current = stack[-1]
        pending = [
            value for value in task_values(current) if id(value) not in done and '_text_forms' not in vars(value)
        ]
        if pending:
            stack.extend(pending)
            continue
        stack.pop()
        done.add(id(current))
        if current is not task:
            current.to_str_params(only_significant=True)


def task_values(task: luigi.Task) -> list[luigi.Task]:
    """The tasks that a task holds in its parameters."""
    found: list[luigi.Task] = []
    for value in _unlike_scalars(task.param_kwargs.values()):
        if type(value) is tuple:
            found.extend(item for item in _unlike_scalars(value) if isinstance(item, luigi.Task))
        elif isinstance(value, luigi.Task):
            found.append(value)
    return found


def _unlike_scalars(values: Collection[Any]) -> Iterator[Any]:
    # without a step of Python for each value: every task has twenty parameters, nearly all of them scalars
    return compress(values, map(operator.not_, map(_SCALARS.__contains__, map(type, values))))


def known_id(task: luigi.Task) -> str | None:
    """The unique id of a task where it has been computed, and no definition has changed since; else None."""
    attributes = task.__dict__
    known: str | None = attributes.get('task_unique_id')
    return known if known and attributes.get('_id_epoch') == definition_epoch() else None


def _needs_id(task: luigi.Task, fresh: dict[int, str]) -> bool:
    return _is_ours(task) and id(task) not in fresh and _is_significant(task) and known_id(task) is None


def _id_part(task: luigi.Task, fresh: dict[int, str]) -> Any:
    if not hasattr(task, 'make_unique_id'):
        return task.to_str_params(only_significant=True)
    if not _is_significant(task):
        return None
    return fresh.get(id(task)) or task.make_unique_id()


def _is_ours(task: luigi.Task) -> bool:
    """Whether a task has the id of this module: plain luigi tasks have none, and a class may have a rule of its own."""
    return getattr(type(task), 'make_unique_id', None) is _standard_rule()


@functools.cache
def _standard_rule() -> Any:
    return base_task().make_unique_id


@functools.cache
def _standard_hash() -> Any:
    return base_task()._make_hash_id


def _is_significant(task: luigi.Task) -> bool:
    return bool(getattr(task, 'significant', True))


def is_task(value: object) -> bool:
    """`isinstance(value, luigi.Task)`, without the slow way of abstract base classes."""
    return luigi.Task in type(value).__mro__ or isinstance(value, luigi.Task)


def _checked(task: luigi.Task, found: list[Any]) -> list[luigi.Task]:
    for item in found:
        if not is_task(item):
            raise RequirementError(_not_a_task(task, item))
        if 'param_kwargs' not in item.__dict__:  # asked here too: this is done for each edge of a plan
            refuse_uninitialized(item)
    return held.all_today(found)


def refuse_uninitialized(task: luigi.Task) -> None:
    """Raise TaskArgumentError for a task without parameters, because its class has an `__init__` of its own."""
    if 'param_kwargs' not in task.__dict__ and not task.initialized():
        raise TaskArgumentError(
            f'Task of class {type(task).__name__} not initialized. Did you override __init__ and forget to call '
            'super(...).__init__?'
        )


def _not_a_task(task: luigi.Task, item: Any) -> str:
    name = type(task).__name__
    if isinstance(item, type) and issubclass(item, luigi.Task):
        return f'{name}.requires() gives the class {item.__name__}: give an instance, {item.__name__}(…).'
    return f'{name}.requires() gives {item!r:.80} ({type(item).__name__}), which is not a task: give task instances.'
