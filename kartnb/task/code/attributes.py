"""Values that are put on a task: by a run, for which they are forgotten when the next one begins, and by others.

Of others nothing tells where they come from, if the code of the task uses them: what was put on it from outside
(``task.limit = 5``), and what its `__init__`, `requires` or a cached property has read from a file before it runs.
"""

from __future__ import annotations

import dis
import functools
import operator
from itertools import islice
from types import CodeType, FunctionType
from typing import Any

from kartnb.task.code.own import is_own

#: What kartnb, gokart and luigi keep on a task.
_OF_TASKS = frozenset(
    {
        'param_kwargs',
        'param_args',
        'task_log',
        'task_unique_id',
        'task_id',
        'run',
        'set_status_message',
        'set_progress_percentage',
        'set_tracking_url',
        'decrease_running_resources',
        'scheduler_messages',
        '_lock_at_dump',
        '_rerun_asked',
        '_rerun_pending',
        '_text_forms',
        '_id_epoch',
        '_packed_params',
        '_resolved',
        '_rng',
        '_today',
        '_set_by_run',
        '_made_with',
        '_started_by_luigi',
        '_before_rerun',
        'on_success',
    }
)


class BoundRun(functools.partial[Any]):
    """The `run` that kartnb gives an instance; its source and signature are those of the class's."""

    @property
    def __wrapped__(self) -> Any:
        return class_run(self.args[0])


def own_run(task: Any) -> Any:
    """A `run` that was set on the instance, by its `__init__`, a test or a cell; None without one."""
    found = vars(task).get('run')
    return None if type(found) is BoundRun else found


def class_run(task: Any) -> Any:
    """The `run` of a task's class, bound to the task where it is a method: a test may have put a mock there."""
    cls: type = type(task)
    found = next(vars(base)['run'] for base in cls.__mro__ if 'run' in vars(base))
    bind = getattr(type(found), '__get__', None)
    return found if bind is None else bind(found, task, cls)


def run_of(task: Any) -> Any:
    """What runs a task: the `run` of the instance, if it was given one, or that of the class."""
    own = own_run(task)
    return class_run(task) if own is None else own


class _Unset:
    """Stands for no value, also after a pickle: a class is the same one there."""


#: Names of what reads files, and beginnings of such names.
_READING = frozenset({'open', 'fromfile', 'genfromtxt', 'memmap', 'connect', 'urlopen', 'glob', 'iterdir', 'listdir'})
_READING_LIKE = ('read', 'load', 'scan_', 'parse')
_MOST_ENTERED = 50
_SET_ON_TASK = 'it was set on the task, not by a parameter'
#: What a run may fill; the next one begins with what was in it before.
_FILLED = (list, dict, set)


def begin_run(task: Any) -> dict[str, Any]:
    """Let a task be as if it had just been made; gives what is on it then.

    luigi gives the same instance for the same parameters, so that a run would use what the one before it has loaded or
    filled, and what `__init__` and cached properties have made of constants that are others now.
    """
    present: dict[str, Any] = vars(task)
    cls: Any = type(task)
    _forget_run(present)
    for name in _cached_properties(cls).intersection(present):
        del present[name]
    _make_again(task, present)
    made = present.get('_made_with', ((), {}, {}))[2]  # it is made again, whatever a run has filled it with
    found = present.copy()
    for name, value in present.items():
        if type(value) in _FILLED and name not in made:
            found[name] = value.copy()
    return found


@functools.lru_cache(maxsize=256)
def _cached_properties(cls: Any) -> frozenset[str]:
    """The names of the cached properties of the user's classes."""
    own = [vars(base).items() for base in cls.__mro__ if is_own(base.__module__)]
    return frozenset(name for items in own for name, value in items if isinstance(value, functools.cached_property))


def _make_again(task: Any, present: dict[str, Any]) -> None:
    """Run `__init__` of a task's class once more, and take what it gives now, but not for what was set since."""
    if '_made_with' not in present:
        return
    args, kwargs, before = present['_made_with']
    fresh: Any = object.__new__(type(task))
    try:
        fresh.__init__(*args, **kwargs)
    except Exception:  # it was made once: what is there has to do
        return
    now = vars(fresh)
    for name, value in before.items():
        if name not in present or present[name] is value:
            present.pop(name, None)
            present.update({name: now[name]} if name in now else {})
    present['_made_with'] = (args, kwargs, {name: now[name] for name in before if name in now})


def _forget_run(present: dict[str, Any]) -> None:
    for name, (value, before) in present.pop('_set_by_run', {}).items():
        if present.get(name, _Unset) is not value:
            continue  # it was set again since
        if before is _Unset:
            del present[name]
        else:
            present[name] = before


def end_run(task: Any, before: dict[str, Any]) -> None:
    """Note what a run has put on its task, which stays there for whoever looks at it."""
    present: dict[str, Any] = vars(task)
    changed = [name for name, value in present.items() if before.get(name, _Unset) is not value]
    found = {name: (present[name], before.get(name, _Unset)) for name in changed if name not in _OF_TASKS}
    if found:
        present['_set_by_run'] = found


def unexplained(task: Any, words: frozenset[str]) -> tuple[tuple[str, str], ...]:
    """The attributes of a task that its code names (`words`) and whose origin is unknown, each with what is known."""
    known = task.__dict__
    values = known.get('param_kwargs')
    if values is None:
        return ()
    cls: Any = type(task)
    if own_run(task) is not None and 'run' not in _setters(cls):
        return ((f'{cls.__name__}.run', _SET_ON_TASK), *_named(task, values, words))
    return _named(task, values, words)


def _named(task: Any, values: Any, words: frozenset[str]) -> tuple[tuple[str, str], ...]:
    known = task.__dict__
    if all(map(operator.is_, known.values(), values.values())):
        # this is asked of every task of a plan: parameters come first in the dictionary
        extra = [name for name in islice(reversed(known), len(known) - len(values)) if name in words]
    else:
        extra = [name for name in known if name in words and not _is_value(known[name], values.get(name, known))]
    of_run = known.get('_set_by_run', {})
    extra = [name for name in extra if name not in _OF_TASKS and not (name in of_run and of_run[name][1] is _Unset)]
    if not extra:
        return ()
    cls: Any = type(task)
    setters = _setters(cls)
    found = []
    for name in sorted(set(extra)):
        if name not in setters:
            found.append((name, _SET_ON_TASK))
        elif setters[name]:
            found.append((name, 'it was set before the run, maybe from a file'))
    return tuple((f'{cls.__name__}.{name}', why) for name, why in found)


def _is_value(found: Any, value: Any) -> bool:
    """Whether an attribute is the value of its parameter; a task that was pickled holds its numbers twice."""
    return found is value or (type(found) in (int, float) and type(found) is type(value) and repr(found) == repr(value))


@functools.lru_cache(maxsize=256)
def _setters(cls: Any) -> dict[str, bool]:
    """The attributes that the methods of a class set, and whether one that does it before a run may read files."""
    found: dict[str, bool] = {}
    for base in cls.__mro__:
        if not is_own(base.__module__):
            continue
        for name, value in vars(base).items():
            if isinstance(value, functools.cached_property):
                found[name] = found.get(name, False) or may_read(value.func)
                continue
            function = getattr(value, 'fget', None) or getattr(value, '__func__', value)
            if isinstance(function, FunctionType):
                reads = name != 'run' and may_read(function)
                for attribute in _stored(function.__code__):
                    found[attribute] = found.get(attribute, False) or reads
    return found


def _stored(code: CodeType) -> set[str]:
    found = {str(item.argval) for item in dis.get_instructions(code) if item.opname == 'STORE_ATTR'}
    return found.union(*(_stored(constant) for constant in code.co_consts if isinstance(constant, CodeType)))


def may_read(function: Any) -> bool:
    """Whether the code of a function, and of those of its module that it calls, names something that reads files."""
    pending, seen = [function.__code__], set[CodeType]()
    while pending and len(seen) < _MOST_ENTERED:
        code = pending.pop()
        if code in seen:
            continue
        seen.add(code)
        for name in code.co_names:
            if name in _READING or name.startswith(_READING_LIKE):
                return True
            called = getattr(function.__globals__.get(name), '__code__', None)
            if called is not None:
                pending.append(called)
        pending += [constant for constant in code.co_consts if isinstance(constant, CodeType)]
    return False
