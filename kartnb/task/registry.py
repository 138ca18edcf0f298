"""Generations of task classes: what happens when a cell or a module defines a class again.

luigi keeps every task class for ever and calls a name ambiguous once two classes have it. Here the newer definition
replaces the older one: names resolve to it, and unique ids that were computed from the older one are forgotten.
Instances of the older class go on working; what they are taken as in a plan is decided in `kartnb.task.held`.
"""

from __future__ import annotations

import threading
import weakref
from types import CodeType, FrameType, FunctionType
from typing import Any, TypeGuard

import luigi

from kartnb._luigi import CLASS_ATTRIBUTES, instance_cache, registered_tasks, unregister

#: What a class statement, luigi and kartnb put into a class by themselves.
_NOT_WRITTEN = CLASS_ATTRIBUTES | {'_kart_table'}


def is_same_definition(one: type, other: type) -> bool:
    """Whether two classes do the same as far as their own bodies say: methods, constants, parameters.

    Comments and docstrings do not count, and neither does what methods call. In doubt the answer is no.

    >>> def define(factor):
    ...     class Scale:
    ...         def run(self):
    ...             return 2 * factor
    ...
    ...     return Scale
    >>> is_same_definition(define(3), define(3)), is_same_definition(define(3), define(4))
    (True, False)
    """
    if one is other:
        return True
    shared = {*one.__mro__} & {*other.__mro__}
    return _same(_body(one, shared), _body(other, shared))


def _body(cls: type, shared: set[type]) -> dict[str, Any]:
    written: dict[str, Any] = {}
    for base in reversed(cls.__mro__):
        if base not in shared:
            written.update(vars(base))
    return {name: value for name, value in written.items() if name not in _NOT_WRITTEN and _counts(name, value)}


def _counts(name: str, value: Any) -> bool:
    return isinstance(value, FunctionType) or not (name.startswith('__') and name.endswith('__'))


def _same(one: Any, other: Any) -> bool:
    if one is other:
        return True
    if type(one) is not type(other):
        return False
    parts = _parts(one)
    if parts is not None:
        found = _parts(other) or ()
        return len(parts) == len(found) and all(map(_same, parts, found))
    if isinstance(one, luigi.Parameter):
        return True  # the values that tasks have of them are in their ids
    try:
        return bool(one == other)
    except Exception:
        return False


def _parts(value: Any) -> tuple[Any, ...] | None:
    if isinstance(value, FunctionType):
        cells = tuple(cell.cell_contents for cell in value.__closure__ or () if not _is_own_class(cell))
        code = value.__code__
        # Python keeps a docstring as the first constant of the code
        if code.co_consts and isinstance(value.__doc__, str) and code.co_consts[0] == value.__doc__:
            code = code.replace(co_consts=(None, *code.co_consts[1:]))
        return (code, value.__defaults__, value.__kwdefaults__, *cells)
    if isinstance(value, CodeType):
        return (value.co_code, value.co_names, value.co_varnames, value.co_freevars, value.co_consts)
    if isinstance(value, classmethod | staticmethod):
        return (value.__func__,)
    if isinstance(value, property):
        return (value.fget, value.fset, value.fdel)
    if isinstance(value, dict):
        return (*value.keys(), *value.values())
    return tuple(value) if isinstance(value, tuple | list) else None


def _is_own_class(cell: Any) -> bool:
    """Whether a cell is that of `super()`, which holds the class itself, or is empty."""
    try:
        return isinstance(cell.cell_contents, type)
    except ValueError:
        return True


_latest: weakref.WeakValueDictionary[tuple[str, str], type] = weakref.WeakValueDictionary()
_superseded: weakref.WeakSet[type] = weakref.WeakSet()
#: The code that made a class: of a cell, a module or a function.
_makers: weakref.WeakKeyDictionary[type, CodeType] = weakref.WeakKeyDictionary()
_has_superseded = False
_base: Any = None
_epoch = 0
_register_length = 0
_lock = threading.RLock()


def note_base_task(cls: type) -> None:
    """Note the class that all tasks of kartnb derive from."""
    global _base
    _base = cls


def base_task() -> Any:
    """`TaskOnKart`, for the modules that it imports itself."""
    return _base


def definition_epoch() -> int:
    """A number that grows whenever a task class is replaced or changed: ids from before are out of date."""
    # a plain luigi task that is defined again gives no notice
    if len(registered_tasks()) != _register_length:
        drop_superseded()
    return _epoch


def has_older_definitions() -> bool:
    """Whether any task class was ever replaced in this process."""
    if len(registered_tasks()) != _register_length:
        drop_superseded()
    return _has_superseded


def advance_epoch() -> None:
    """Outdate every unique id that was computed so far."""
    global _epoch
    _epoch += 1


def note_definition(cls: type) -> None:
    """Record a task class as the newest of its name; an older class of that name leaves luigi's register."""
    name = (cls.__module__, cls.__qualname__)
    older = _latest.get(name)
    _latest[name] = cls
    if older is not None and _replaces(cls, older, name):
        for replaced in _same_name(older, name):
            _supersede(replaced)


def note_maker(cls: type, frame: FrameType | None) -> None:
    """Record the code of the class's module that makes it, where `frame` or one of its callers runs that."""
    while frame is not None and frame.f_globals.get('__name__') != cls.__module__:
        frame = frame.f_back
    if frame is not None:
        _makers[cls] = frame.f_code


def forget_name(cls: type) -> None:
    """Forget `cls` under its present name, before a decorator gives it another."""
    name = (cls.__module__, cls.__qualname__)
    if _latest.get(name) is cls:
        del _latest[name]


def is_superseded(cls: type) -> bool:
    """Whether a newer definition has replaced this class."""
    return cls in _superseded


def current_definition(cls: type) -> type:
    """The newest class with this class's module and qualified name: `cls` itself unless it was replaced."""
    return _latest.get((cls.__module__, cls.__qualname__), cls) if cls in _superseded else cls


def replacement(cls: type) -> type:
    """Today's class for the tasks of `cls`: `cls` itself unless a later run of its definition has replaced it.

    Two classes of one name that the same code has made, as in a loop or by a function with other arguments, are not two
    versions of a definition: each stays what it is.
    """
    newest = current_definition(cls)
    return cls if newest is cls or _made_alike(cls, newest) else newest


def is_older(cls: type) -> bool:
    """Whether a later run of its definition has replaced a class."""
    return cls in _superseded and replacement(cls) is not cls


def _made_alike(one: type, other: type) -> bool:
    first, second = (_makers.get(_same_name(cls, (cls.__module__, cls.__qualname__))[-1]) for cls in (one, other))
    if first is not None and second is not None:
        return first is second
    if first is not None or second is not None:  # one of them is a plain luigi task, which gives no notice
        return True
    codes, others = _codes(one), _codes(other)
    return not (codes and others) or not codes.isdisjoint(others)


def _codes(cls: type) -> set[int]:
    return {id(value.__code__) for value in vars(cls).values() if isinstance(value, FunctionType)}


def is_task_class(value: object) -> TypeGuard[type[luigi.Task]]:
    """Whether something is a class of tasks."""
    return isinstance(value, type) and issubclass(value, luigi.Task)


def note_on_age(task: luigi.Task) -> str:
    """A remark for tasks of an older definition when they are shown; '' for any other."""
    if type(task) not in _superseded:
        return ''
    name = type(task).__name__
    if replacement(type(task)) is type(task):
        return f' – of an older definition of {name}: clone({name}) gives the task of the new one'
    return f" – of an older definition of {name}: a build takes it as today's {name}"


def definition_named(module: str, qualname: str) -> type | None:
    """The newest task class of a name, or None."""
    return _latest.get((module, qualname))


def is_instance_of_definition(value: object, cls: type) -> bool:
    """`isinstance` across generations of a definition.

    After a cell is run again, or `%autoreload` has patched a module, tasks of the older and of the newer class meet.
    """
    if isinstance(value, cls):
        return True
    wanted = (cls.__module__, cls.__qualname__)
    return any((base.__module__, base.__qualname__) == wanted for base in type(value).__mro__)


def drop_superseded() -> None:
    """Take replaced classes out of luigi's register, plain luigi tasks (which give no notice) included."""
    global _register_length
    with _lock:
        newest: dict[tuple[str, str], type] = {}
        for cls in tuple(registered_tasks()):
            name = (cls.__module__, cls.__qualname__)
            older = newest.get(name)
            newest[name] = cls
            if older is not None and _replaces(cls, older, name):
                _latest[name] = cls
                for replaced in _same_name(older, name):
                    _supersede(replaced)
        for cls in [cls for cls in registered_tasks() if cls in _superseded]:
            unregister(cls)
        _register_length = len(registered_tasks())


def task_classes() -> list[type[luigi.Task]]:
    """The current task classes, in the order of their definition, without luigi's and kartnb's own."""
    own = ('luigi', 'kartnb', 'gokart')
    return [cls for cls in registered_tasks() if cls.__module__.split('.')[0] not in own and cls not in _superseded]


def _replaces(cls: type, older: type, name: tuple[str, str]) -> bool:
    """Whether a class is a new definition of an older one's name, and does not build on the same definition as that."""
    return not any(base in older.__mro__ for base in _same_name(cls, name))


def _same_name(cls: type, name: tuple[str, str]) -> list[type]:
    """A class with those of its bases that share its name: what a decorator made of a class, and the class itself."""
    return [base for base in cls.__mro__ if (base.__module__, base.__qualname__) == name]


def _supersede(cls: type) -> None:
    global _has_superseded
    with _lock:
        _has_superseded = True
        _superseded.add(cls)
        unregister(cls)
    cache = instance_cache()
    if cache is not None:
        cache.pop(cls, None)
    advance_epoch()
