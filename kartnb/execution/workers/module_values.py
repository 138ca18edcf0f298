"""What the user's modules hold besides what their source says, such as after ``config.LIMIT = 5`` in a notebook.

A worker process imports a module from its source, and is then given these values, so that a task finds there what it
finds where the build is.
"""

from __future__ import annotations

import ast
import pickle
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, time, timedelta
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from functools import lru_cache
from pathlib import PurePath
from types import FunctionType, ModuleType
from typing import Any, NamedTuple
from uuid import UUID

import luigi

from kartnb.errors import TransportError, described
from kartnb.execution.workers.main_module import is_of_main
from kartnb.storage.pickling import is_plain
from kartnb.task.code.loaded import NOT_CONSTANT, constant_of
from kartnb.task.code.own import is_own
from kartnb.task.code.parts import usage_of
from kartnb.task.code.values import is_plain_object

#: The names by which a value is reached from its module: ``('Settings', 'rate')``.
Path = tuple[str, ...]
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
#: Values that are compared and sent as a whole.
_VALUES = (Enum, PurePath, date, time, timedelta, Decimal, Fraction, UUID)
#: How deep the objects are looked at that modules hold.
_DEPTH = 3


class ModuleValues(NamedTuple):
    """Values on their way to a worker process: pickles, by `Path`."""

    #: Those that any import of the source gives otherwise: something has set them.
    replaced: bytes = b''
    #: Those that the source computes, perhaps from what differs from computer to computer.
    computed: bytes = b''


def values_of(module: ModuleType, source: bytes) -> tuple[ModuleValues, list[str]]:
    """What a module holds besides what its source says, and why some of that cannot be sent."""
    replaced: dict[Path, bytes] = {}
    computed: dict[Path, Any] = {}
    problems = []
    outline = _outline(source)
    for item in (*outline.items, *_added(module, outline)):
        found, value = _find(module, item.path)
        if not found:
            continue
        is_other = not _is_as_written(item, value, module) if item.is_fixed else _is_left_behind(item, value)
        if is_other or is_of_main(value):
            try:
                replaced[item.path] = _pickled(value)
            except Exception as error:  # whatever a value does when it is pickled
                if item.kind != 'constant' or item.constant is not None:  # each process may fill in its own
                    problems.append(_cannot_be_sent(module, item, error))
        # an object that came by an import belongs to the module that it came from
        elif not item.is_member and (_is_value(value) or (item.kind == 'computed' and _is_whole(value))):
            computed[item.path] = value
    try:
        others = _pickled(computed)
    except Exception:  # an object of the user's that is not made for it: the worker has one of its own
        others = _pickled({path: value for path, value in computed.items() if _is_value(value)})
    return ModuleValues(pickle.dumps(replaced) if replaced else b'', others if computed else b''), problems


def _cannot_be_sent(module: ModuleType, item: _Item, error: Exception) -> str:
    return (
        f'{module.__name__}.{".".join(item.path)} was replaced by something that cannot be sent to worker processes '
        f'({described(error)}): change the module instead, or build without workers.'
    )


def put(module: ModuleType, values: ModuleValues, *, is_same_computer: bool) -> None:
    """Let a module hold these values.

    Raises TransportError when they cannot be unpickled here.
    """
    try:
        if values.computed and is_same_computer:
            for path, value in pickle.loads(values.computed).items():
                _set(module, path, value)
        if values.replaced:
            for path, data in pickle.loads(values.replaced).items():
                _set(module, path, pickle.loads(data))
    except Exception as error:
        raise TransportError(
            f'What {module.__name__} was given in the notebook cannot be read in a worker process: {described(error)}'
        ) from error


def _added(module: ModuleType, outline: _Outline) -> Iterator[_Item]:
    """The names of a module that its source does not bind."""
    for name, value in vars(module).items():
        if name not in outline.bound and not name.startswith('__') and not isinstance(value, ModuleType):
            yield _Item((name,), 'imported')


def _pickled(value: Any) -> bytes:
    from kartnb.execution.workers import task_pickler

    return task_pickler.dumps(value)


def _find(module: ModuleType, path: Path) -> tuple[bool, Any]:
    value: Any = module
    for name in path:
        held = vars(value) if isinstance(value, ModuleType | type) else {}
        if name not in held:
            return False, None
        value = held[name]
    return True, value


def _set(module: ModuleType, path: Path, value: Any) -> None:
    holder: Any = module
    for name in path[:-1]:
        holder = getattr(holder, name)
    present = vars(holder).get(path[-1])
    if type(present) is type(value) and is_plain(value) and repr(present) == repr(value):
        return
    # in place, for what has taken the object itself
    if type(present) is type(value):
        if type(present) is dict:
            present.clear()
            present.update(value)
            return
        if type(present) is list:
            present[:] = value
            return
        if _is_whole(value):
            vars(present).clear()
            vars(present).update(vars(value))
            return
    setattr(holder, path[-1], value)


def _is_left_behind(item: _Item, value: Any) -> bool:
    """Whether an imported function is not in the user's module any more from which it came."""
    if item.kind != 'imported' or not isinstance(value, FunctionType) or '.' in value.__qualname__:
        return False
    module = sys.modules.get(value.__module__) if is_own(value.__module__) else None
    return module is not None and not any(held is value for held in vars(module).values())


def _is_value(value: Any) -> bool:
    return is_plain(value) or isinstance(value, _VALUES)


def _is_whole(value: Any, depth: int = _DEPTH) -> bool:
    """Whether an object of a class of the user's holds nothing but plain values, and objects of this kind."""
    if isinstance(value, luigi.Task) or not depth or not is_own(type(value).__module__) or not is_plain_object(value):
        return False
    return all(is_plain(item) or _is_whole(item, depth - 1) for item in vars(value).values())


# ----- what a source says ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Item:
    """A name that the source of a module binds."""

    path: Path
    #: 'function', 'class', 'constant', 'computed' or 'imported'.
    kind: str
    constant: Any = None

    @property
    def is_member(self) -> bool:
        """Whether it is in a class."""
        return len(self.path) > 1

    @property
    def is_fixed(self) -> bool:
        """Whether every import gives the same."""
        return self.kind in ('function', 'class', 'constant')


class _Outline(NamedTuple):
    """What the top level of a module and of its classes binds."""

    items: tuple[_Item, ...]
    #: All names that the module binds, also those that are left to each process.
    bound: frozenset[str]


def _is_as_written(item: _Item, value: Any, module: ModuleType) -> bool:
    if item.kind == 'class':
        return isinstance(value, type) and value.__module__ == module.__name__
    if item.kind == 'constant':
        # a metaclass makes other things of constants, as that of enum does
        is_same = type(value) is type(item.constant) and repr(value) == repr(item.constant)
        return is_same or (item.is_member and not is_plain(value))
    if isinstance(value, FunctionType):
        names = value.__globals__
        is_of_library = not is_own(str(names.get('__name__')))
        return names is vars(module) or (is_of_library and (item.is_member or hasattr(value, '__wrapped__')))
    if item.is_member and type(value).__module__ != 'unittest.mock':
        return True
    inner = getattr(value, '__wrapped__', None)
    return isinstance(inner, FunctionType) and inner.__globals__ is vars(module)


@lru_cache(maxsize=512)
def _outline(source: bytes) -> _Outline:
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError):
        return _Outline((), frozenset())
    nodes = list(ast.walk(tree))
    by_functions = {name for node in nodes if isinstance(node, ast.Global) for name in node.names}
    for node in nodes:
        if isinstance(node, _FUNCTIONS):
            by_functions.update(name.partition('.')[0] for name in usage_of(node).changed)
    attributes = {node.attr for node in nodes if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store)}
    changed = {name.partition('.')[0] for name in usage_of(tree).changed}
    items = tuple(_items(tree.body, (), by_functions, attributes, changed))
    return _Outline(items, frozenset([*by_functions, *(item.path[0] for item in items)]))


def _items(
    body: list[ast.stmt], holder: Path, by_functions: set[str], attributes: set[str], changed: set[str]
) -> Iterator[_Item]:
    """The names that statements bind; without those that functions of the module, or methods, change."""
    bound = Counter(name for statement in body for name in _bound(statement))
    left = set(bound) - (attributes if holder else by_functions)
    for statement in body:
        for name in [name for name in _bound(statement) if name in left and not name.startswith('__')]:
            left.discard(name)
            path = (*holder, name)
            is_computed = bound[name] > 1 or (name in changed and not holder)
            yield _Item(path, 'computed') if is_computed else _Item(path, *_kind_of(statement))
            if isinstance(statement, ast.ClassDef):
                yield from _items(statement.body, path, by_functions, attributes, changed)


def _kind_of(statement: ast.stmt) -> tuple[str, Any]:
    match statement:
        case ast.FunctionDef(decorator_list=[]) | ast.AsyncFunctionDef(decorator_list=[]):
            return 'function', None
        case ast.ClassDef(decorator_list=[]):
            return 'class', None
        case (
            ast.Assign(targets=[ast.Name()], value=ast.expr() as written)
            | ast.AnnAssign(target=ast.Name(), value=ast.expr() as written)
        ):
            constant = constant_of(written)
            return ('computed', None) if constant is NOT_CONSTANT else ('constant', constant)
        case ast.Import() | ast.ImportFrom():
            return 'imported', None
    return 'computed', None


def _bound(statement: ast.AST) -> Iterator[str]:
    """The names that a statement binds."""
    if isinstance(statement, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
        yield statement.name
    elif isinstance(statement, ast.Import | ast.ImportFrom):
        yield from [alias.asname or alias.name.partition('.')[0] for alias in statement.names if alias.name != '*']
    elif isinstance(statement, ast.Name):
        if isinstance(statement.ctx, ast.Store):
            yield statement.id
    elif not isinstance(statement, ast.Lambda):
        for child in ast.iter_child_nodes(statement):
            yield from _bound(child)
