"""The notebook (or script) in worker processes: what tasks reach of ``__main__`` is in ``__main__`` there too.

So what looks a class or function up by its name works in a worker as it does where the build is: pickling by
reference, pools of processes that a task starts, ``inspect``, ``import __main__``. Each name is pickled by itself, and
names another one where it refers to its value, so that every value exists once in a worker, and is the same for all.

In the building process: `SentMain`. In a worker: `ReceivedMain`.
"""

from __future__ import annotations

import copyreg
import hashlib
import itertools
import os
import pickle
import sys
import threading
import warnings
from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from enum import EnumType
from functools import cached_property, partial, reduce
from importlib import import_module
from multiprocessing.process import BaseProcess
from types import (
    BuiltinFunctionType,
    CellType,
    ClassMethodDescriptorType,
    CodeType,
    FunctionType,
    GetSetDescriptorType,
    MemberDescriptorType,
    MethodDescriptorType,
    MethodType,
    ModuleType,
    WrapperDescriptorType,
    resolve_bases,
)
from typing import Any, NamedTuple

import luigi

from kartnb.errors import TransportError, described
from kartnb.task.code.loaded import loaded_modules
from kartnb.task.code.own import is_own

#: What the names of values of ``__main__`` begin with in pickles; alone it names the dict of all of them.
NAMED = 'main:'
#: What the digests of parts of ``__main__`` begin with.
PARTS = 'part of main:'
#: Values that are no less the same when they are copied, or are found by their names elsewhere.
_COPIED = (
    *(type(None), bool, int, float, complex, str, bytes, tuple, frozenset, range, slice),
    *(ModuleType, BuiltinFunctionType, MethodType, CodeType, luigi.Task),
)
#: Types of most of what a module and its classes hold, and nothing that a notebook has put there.
_NOT_OF_NOTEBOOKS = frozenset(
    [
        *(type(None), bool, int, float, complex, str, bytes, tuple, frozenset),
        *(ModuleType, CodeType, BuiltinFunctionType, WrapperDescriptorType, MethodDescriptorType),
        *(ClassMethodDescriptorType, GetSetDescriptorType, MemberDescriptorType),
    ]
)
#: Containers that are made empty, and then filled.
_FILLED = (dict, list, set)
_FILLED_BY_PICKLE = (defaultdict, deque, OrderedDict)
_PLAIN_KEYS = (str, bytes, int, float, type(None))
#: The names of a notebook's own module.
_OF_MAIN = ('__main__', '__mp_main__')
#: How deep in the classes and objects of a user's module it is looked for what a notebook has put there.
_DEPTH = 2
#: A container with more items is a table, and no register of functions and classes.
_MOST_ITEMS = 10_000
#: How a function looks variables up by their names.
_LOOKS = frozenset(['__main__', 'globals', 'eval', 'exec'])
_ABSENT = object()
#: In a worker: the values of the parts that are being read, and the ids of those that are not whole.
_made: dict[str, Any] = {}
_not_whole: set[int] = set()
#: The variables that functions share, by name.
_cells: dict[str, CellType] = {}
#: Containers that wait for keys to be whole, and what is put into them.
_waiting: list[tuple[Any, list[Any]]] = []


class SentMain:
    """What the tasks of a build reach of ``__main__``, as it was when they were sent.

    `dumps` pickles a value for a worker: it asks `name_of` for the names of other values, tells `reach` of functions,
    and lets `making` put what it makes under its name.
    """

    def __init__(self, dumps: Callable[[Any], bytes]) -> None:
        self.space = vars(sys.modules['__main__'])
        #: The pickles of the parts that make it up, by digest and in order.
        self.parts: dict[str, bytes] = {}
        self._dumps = dumps
        self._names: dict[int, str] = {}
        self._sent: dict[str, _Sent] = {}
        self._in_work: list[_Sent] = []
        self._added: dict[str, bytes] = {}
        self._are_replaced_sent = False
        #: The names of cells by id, and the cells, which keep their ids so.
        self._cells: dict[int, tuple[str, CellType]] = {}

    def name_of(self, value: Any) -> str | None:
        """The name by which a value is known in workers; None for values that are pickled where they are used."""
        if value is self.space:
            return NAMED
        name = self._names.get(id(value))
        if name is None or not self._in_work or self._value_now(name) is not value:
            return None
        if name == self._in_work[-1].name and type(value) not in _FILLED:  # this is its definition
            return None
        if not self._is_ready(name, value):
            return None
        self._in_work[-1].reached[name] = True
        self._in_work[-1].named.add(name)
        return f'{NAMED}{name}'

    def reach(self, code: CodeType, names: Iterable[str]) -> None:
        """Note which variables a function uses, and which it may look up by their names."""
        reached = self._in_work[-1].reached
        reached.update(dict.fromkeys(names, True))
        words = _words(code)
        if not words.isdisjoint(_LOOKS):
            for word in words & self.space.keys():
                reached.setdefault(word, False)

    def making(self, value: Any) -> str | None:
        """The name of a value whose definition is being pickled."""
        name = self._names.get(id(value))
        return name if name is not None and self._in_work and name == self._in_work[-1].name else None

    def cells_of(self, function: FunctionType) -> dict[str, CellType]:
        """The variables that a function may share with others, by name; none if they are not of a variable's value."""
        names = [self._cell_name(cell) for cell in function.__closure__ or ()]
        named = {name: cell for name, cell in zip(names, function.__closure__ or (), strict=True) if name is not None}
        return named if len(named) == len(names) else {}

    def _cell_name(self, cell: CellType) -> str | None:
        known = self._cells.get(id(cell))
        if known is None and self._in_work[-1].name:
            number = self._in_work[-1].cells = self._in_work[-1].cells + 1
            known = self._cells[id(cell)] = (f'{self._in_work[-1].name}:{number}', cell)
        return None if known is None else known[0]

    def value_of(self, name: str) -> Any:
        """The value that was sent under a name."""
        return self._sent[name].value

    def _value_now(self, name: str) -> Any:
        return self._sent[name].value if name in self._sent else self.space.get(name)

    def dumps(self, value: Any, dumps: Callable[[Any], bytes] | None = None) -> tuple[bytes, dict[str, bool]]:
        """Pickle a value, and everything that it reaches; gives the pickle, and the names of what it reaches.

        Raises TransportError where one of these cannot be pickled.
        """
        if dumps is None or not self._names:
            self.look()
        unnamed = _Sent('', value)
        self._pickle(unnamed, dumps or self._dumps)
        if unnamed.error is not None:
            raise unnamed.error
        self._complete(unnamed.reached)
        return unnamed.data, unnamed.reached

    def look_up(self, name: str) -> None:
        """Pickle a variable, and everything that it reaches; raises TransportError as `dumps`, KeyError without one."""
        if name not in self.space:
            raise KeyError(name)
        self.look()
        self._complete({name: True})

    def sizes(self, reached: Iterable[str]) -> Iterator[tuple[str, int]]:
        """What is reached by way of these names, and how large it is in bytes when pickled."""
        pending, seen = set(reached), set()
        while pending:
            name = pending.pop()
            if name in self._sent and name not in seen:
                seen.add(name)
                pending.update(self._sent[name].reached)
                yield name, len(self._sent[name].data)

    def agrees_with(self, other: SentMain) -> bool:
        """Whether the names that both have stand for the same."""
        return all(self._sent[name].data == other._sent[name].data for name in self._sent.keys() & other._sent.keys())

    def look(self) -> None:
        """Take in the names of ``__main__`` as it is now; a value is known by its own name, if it has one."""
        for name, value in sorted(self.space.items(), key=lambda item: item[0].startswith('_')):
            if isinstance(value, _COPIED) or name in self._sent or name.startswith('__'):
                continue
            if isinstance(value, type | FunctionType) and value.__module__ != '__main__':
                continue
            known = self._names.get(id(value))
            if known is None or (known not in self._sent and getattr(value, '__qualname__', None) == name):
                self._names[id(value)] = name
        self._send_replaced()

    def _send_replaced(self) -> None:
        if self._are_replaced_sent:
            return
        self._are_replaced_sent = True
        for name, value in _replaced(self.space):
            sent = self._sent[name] = _Sent(name, value)
            self._pickle(sent, self._dumps)
            try:
                if sent.error is not None:
                    raise sent.error
                self._complete(sent.reached)
            except Exception as error:
                warnings.warn(
                    f'{name.replace(":", ".")} was replaced by something that cannot be sent to worker processes '
                    f'({described(error)}): tasks use the original there.',
                    stacklevel=2,
                )
            else:
                self._added[name] = sent.data

    def _is_ready(self, name: str, value: Any) -> bool:
        """Whether a worker can have the value by the time at which it meets the name in what is pickled now."""
        if isinstance(value, type | FunctionType):
            return True
        if not can_be_made_first(value):
            below = itertools.takewhile(lambda sent: not can_be_made_first(sent.value), reversed(self._in_work))
            in_work = {sent.name for sent in below}
            if name in in_work:
                return False
            self._define(name)
            return self._sent[name].error is None and in_work.isdisjoint(self._needed_at_once(name))
        if all(sent.name != name for sent in self._in_work):
            self._define(name)
        return name not in self._sent or self._sent[name].error is None

    def _needed_at_once(self, name: str) -> set[str]:
        """What has to be read before a value can be made at all."""
        pending, seen = [name], {name}
        while pending:
            sent = self._sent[pending.pop()]
            if not can_be_made_first(sent.value):
                pending += [other for other in sent.named - seen if other in self._sent]
                seen |= sent.named
        return seen

    def _define(self, name: str) -> None:
        """Pickle a value under its name, once: its variable may stand for something else later in the build."""
        if name in self._sent:
            return
        sent = self._sent[name] = _Sent(name, _as_sent(name, self.space[name]))
        self._pickle(sent, self._dumps)
        if sent.error is None:
            self._added[name] = sent.data

    def _pickle(self, sent: _Sent, dumps: Callable[[Any], bytes]) -> None:
        self._in_work.append(sent)
        try:
            is_by_its_name = sent.name and self._names.get(id(sent.value)) == sent.name
            sent.data = dumps(_in_order(sent.name, sent.value) if is_by_its_name else sent.value)
        except Exception as error:  # whatever a value does when it is pickled
            sent.error = error
        finally:
            self._in_work.pop()

    def _complete(self, reached: Mapping[str, bool]) -> None:
        pending = list(reached.items())
        seen: set[tuple[str, bool]] = set()
        while pending:
            name, is_needed = pending.pop()
            if name not in self.space or (name, is_needed) in seen:
                continue
            seen.add((name, is_needed))
            self._define(name)
            sent = self._sent[name]
            if sent.error is None:
                pending += [(other, needed and is_needed) for other, needed in sent.reached.items()]
            elif is_needed:
                raise TransportError(
                    f'{name}, which it uses, cannot be pickled ({described(sent.error)})'
                ) from sent.error
        if self._added:
            data = pickle.dumps(self._added)
            self.parts[f'{PARTS}{hashlib.blake2b(data, digest_size=16).hexdigest()}'] = data
            self._added = {}


class _Sent:
    """A value on its way, with the name of its variable."""

    __slots__ = ('cells', 'data', 'error', 'name', 'named', 'reached', 'value')

    def __init__(self, name: str, value: Any) -> None:
        self.name = name
        self.value = value
        self.data = b''
        #: How many cells of functions have been met first in it.
        self.cells = 0
        self.error: Exception | None = None
        #: The variables that it reaches, and whether it cannot do without them.
        self.reached: dict[str, bool] = {}
        #: Those that are read together with it.
        self.named: set[str] = set()


class _InOrder:
    """Pickles a value so that a worker makes it first and then fills it, as what it holds may hold it in turn.

    Keys may have a hash of their own, and so are put in when they are whole; a class has its methods before its data.
    """

    def __init__(self, name: str, value: Any) -> None:
        self._name = name
        self._value = value

    def __reduce__(self) -> Any:
        value = self._value
        if isinstance(value, type):
            return itself, (value,), data_of(value), None, None, put_attributes
        make = made, (self._name, type(value))
        if type(value) is list:
            return *make, None, iter(value)
        if type(value) is dict and all(isinstance(key, _PLAIN_KEYS) for key in value):
            return *make, None, None, iter(value.items())
        return *make, list(value.items() if type(value) is dict else value), None, None, put_items


def _in_order(name: str, value: Any) -> Any:
    is_with_data = isinstance(value, type) and value.__module__ == '__main__' and data_of(value)
    return _InOrder(name, value) if type(value) in _FILLED or is_with_data else value


def data_of(cls: type) -> dict[str, Any]:
    """The attributes of a class that may hold objects of it."""
    if isinstance(cls, EnumType):
        return {}
    return {
        name: value
        for name, value in vars(cls).items()
        if not name.startswith('__')
        and (type(value) in (*_FILLED, tuple) or (type(value).__module__ == '__main__' and not isinstance(value, type)))
    }


def can_be_made_first(value: Any) -> bool:
    """Whether a worker can make a value before it has read what it holds, as pickle does with most objects."""
    cls: Any = type(value)
    if cls in (*_FILLED, *_FILLED_BY_PICKLE) or isinstance(value, type | FunctionType):
        return True
    return (
        cls.__reduce_ex__ is object.__reduce_ex__
        and cls.__reduce__ is object.__reduce__
        and cls not in copyreg.dispatch_table
        and not hasattr(cls, '__getnewargs__')
        and not hasattr(cls, '__getnewargs_ex__')
    )


def _as_sent(name: str, value: Any) -> Any:
    """What a variable is in workers: what IPython puts into a notebook belongs to its own process."""
    if name == 'get_ipython' and isinstance(value, MethodType) and 'IPython' in sys.modules:
        return sys.modules['IPython'].get_ipython
    return value


def _replaced(space: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """What a notebook has put into modules, by module and path in it: ``statistics:mean``, ``plugins:REGISTRY``."""
    names = {getattr(value, '__module__', None) for value in space.values() if isinstance(value, type | FunctionType)}
    names |= {value.__name__ for value in space.values() if isinstance(value, ModuleType)}
    names |= loaded_modules().keys()
    for module in [sys.modules[name] for name in sorted(filter(None, names)) if name in sys.modules]:
        if isinstance(module, ModuleType) and module.__name__ not in _OF_MAIN:
            own = is_own(module.__name__)
            yield from _held(vars(module), f'{module.__name__}:', space, own, _DEPTH if own else 1)


def _held(holder: Mapping[str, Any], path: str, space: Mapping[str, Any], own: bool, depth: int) -> Iterator[Any]:
    """What of a notebook is in a module, or in one of its classes or of its own objects."""
    package = path.partition(':')[0].partition('.')[0]
    for name, value in list(holder.items()):
        kind = type(value)
        if kind in _NOT_OF_NOTEBOOKS:  # as most are
            continue
        if kind is FunctionType:
            if value.__globals__ is space:
                yield f'{path}{name}', value
        elif _is_of_notebook(value, space):
            yield f'{path}{name}', value
        elif kind in _FILLED:
            added = _Added.of(value, space)
            if added is not None:
                yield f'{path}{name}', added
        elif depth and not name.startswith('__') and _is_part(value, package, own):
            yield from _held(vars(value), f'{path}{name}.', space, own, depth - 1)


def _is_part(value: Any, package: str, own: bool) -> bool:
    """Whether something is a class of this package, or, of a package of the user's, an object of such a class."""
    cls = value if isinstance(value, type) else type(value)
    is_object = own and not isinstance(value, type) and type(getattr(value, '__dict__', None)) is dict
    return (isinstance(value, type) or is_object) and str(cls.__module__).partition('.')[0] == package


def _is_of_notebook(value: Any, space: Mapping[str, Any]) -> bool:
    """Whether something was made in the notebook, is of a class of it, or was made for such a thing, as accessors."""
    if isinstance(value, type | FunctionType | property | staticmethod | classmethod | partial | cached_property):
        return is_of_main(value)
    cls = type(value)
    if cls.__module__ == 'builtins' or issubclass(cls, threading.Thread | BaseProcess):
        return False
    if cls.__module__ == '__main__':
        return True
    attributes = getattr(value, '__dict__', None)
    return type(attributes) is dict and any(
        (type(item) is FunctionType and item.__globals__ is space)
        or (isinstance(item, type) and item.__module__ == '__main__')
        for item in list(attributes.values())
    )


class _Added:
    """What a notebook has put into a container of a module, which has a worker's own besides."""

    def __init__(self, items: Any) -> None:
        self.items = items

    @classmethod
    def of(cls, container: Any, space: Mapping[str, Any]) -> _Added | None:
        """What is of the notebook in a container; None if there is nothing, or it is no register but a table."""
        if not container or len(container) > _MOST_ITEMS:
            return None
        if type(container) is dict:
            found = {
                key: item
                for key, item in list(container.items())
                if type(item) not in _NOT_OF_NOTEBOOKS and _is_of_notebook(item, space)
            }
            return cls(found) if found else None
        # in a list and a set what is not of the notebook cannot be told from what a worker has
        items = list(container)
        return cls(type(container)(items)) if any(_is_of_notebook(item, space) for item in items) else None

    def put_into(self, container: Any) -> Any:
        """Put it into the container of a worker; gives what that held before."""
        before = container.copy()
        if type(container) is dict:
            container.update(self.items)
        else:
            _fill_anew(container, self.items)
        return _Before(container, before)


class _Before(NamedTuple):
    """What a container held."""

    container: Any
    items: Any

    def put_back(self) -> None:
        """Let the container hold it again."""
        _fill_anew(self.container, self.items)


def _fill_anew(container: Any, items: Any) -> None:
    container.clear()
    (container.extend if type(container) is list else container.update)(items)


def is_of_main(value: Any) -> bool:
    """Whether a function, method or class was made in the notebook or script."""
    if isinstance(value, property | cached_property):
        value = getattr(value, 'fget', None) or getattr(value, 'func', None)
    value = getattr(value, '__func__', value)
    if isinstance(value, partial):
        value = value.func
    if isinstance(value, FunctionType):
        return value.__globals__.get('__name__') == '__main__'
    return isinstance(value, type) and value.__module__ == '__main__'


def _words(code: CodeType) -> set[str]:
    """The names and texts in the code of a function."""
    words = {*code.co_names, *(constant for constant in code.co_consts if isinstance(constant, str))}
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            words |= _words(constant)
    return words


class _AlreadyReadError(Exception):
    """A value whose reading has begun has been read meanwhile: what it is made of holds it."""


def made(name: str, make: Callable[..., Any], *arguments: Any) -> Any:
    """In a worker: make a value, to be filled later, and put it under its name."""
    if name in _made:
        raise _AlreadyReadError
    value = _made[name] = vars(sys.modules['__main__'])[name] = make(*arguments)
    _not_whole.add(id(value))
    return value


def made_as_it_is(make: Callable[..., type], metaclass: type, name: str, bases: tuple[type, ...], *rest: Any) -> type:
    """Make a class without a call of what users do with classes: its attributes follow, and have all that this gave."""
    classes = list(dict.fromkeys(cls for base in resolve_bases(bases) for cls in base.__mro__))
    with _set_aside('__init_subclass__', classes):
        return make(metaclass if not _is_users(metaclass) else partial(_new, metaclass), name, bases, *rest)


def filled_as_it_is(cls: type, state: Any, fill: Callable[[type, Any], type]) -> type:
    """Give a class its attributes without a call of what users do when one is set."""
    with _set_aside('__setattr__', type.mro(type(cls))):
        return fill(cls, state)


def _new(metaclass: type, *arguments: Any) -> type:
    maker: Any = next(base for base in metaclass.__mro__ if not _is_users(base))
    cls: type = maker.__new__(metaclass, *arguments)
    maker.__init__(cls, *arguments)
    return cls


def _is_users(cls: type) -> bool:
    return cls.__module__ == '__main__' or is_own(cls.__module__)


@contextmanager
def _set_aside(name: str, classes: Iterable[type]) -> Iterator[None]:
    """Let the users' classes among these be without a method meanwhile."""
    found = [(cls, vars(cls)[name]) for cls in classes if name in vars(cls) and _is_users(cls)]
    for cls, _ in found:
        type.__delattr__(cls, name)
    try:
        yield
    finally:
        for cls, method in found:
            type.__setattr__(cls, name, method)


class SharedCell:
    """Pickles a variable of functions so that all that share it share it in a worker; `filled_function` fills it."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __reduce__(self) -> Any:
        return made_cell, (self._name,)


def made_cell(name: str) -> CellType:
    """In a worker: the variable that functions share under a name."""
    return _cells.setdefault(name, CellType())


def filled_function(function: FunctionType, state: Any, fill: Callable[[FunctionType, Any], object]) -> None:
    """Give a function its state, and the variables that it shares with others their values, once."""
    state, variables = state
    fill(function, state)
    for name, value in variables.items():
        if _is_empty(_cells[name]):
            _cells[name].cell_contents = value


def contents_of(cells: Mapping[str, CellType]) -> dict[str, Any]:
    """The values of variables that functions share, without those that have none."""
    return {name: cell.cell_contents for name, cell in cells.items() if not _is_empty(cell)}


def _is_empty(cell: CellType) -> bool:
    try:
        cell.cell_contents  # noqa: B018
    except ValueError:
        return True
    return False


def filled_enum(cls: EnumType, state: Any, fill: Callable[[type, Any], type]) -> type:
    """Give an enumeration its attributes, and its members theirs."""
    attributes, members = state
    fill(cls, attributes)
    for name, values in members.items():
        member: Any = cls[name]
        vars(member).update(values)
    return cls


def itself(value: Any) -> Any:
    """Give back what is to be filled now."""
    return value


def put_attributes(cls: type, attributes: dict[str, Any]) -> None:
    """Give a class its data."""
    for name, value in attributes.items():
        type.__setattr__(cls, name, value)


def put_items(container: Any, items: list[Any]) -> None:
    """Fill a dict or set, later if what it holds is not whole."""
    keys = [item[0] for item in items] if type(container) is dict else items
    parts = [part for key in keys for part in (key if isinstance(key, tuple) else (key,))]
    if any(id(part) in _not_whole for part in parts):
        _waiting.append((container, items))
    else:
        container.update(items)


class ReceivedMain:
    """In a worker process: what has arrived of ``__main__``; `loads` unpickles something that may name parts of it."""

    def __init__(self, loads: Callable[[bytes], Any]) -> None:
        self._loads = loads
        self._parts: list[str] = []
        self._unread: dict[str, bytes] = {}
        #: What held the values of names before, and which; the names are those of all that has arrived.
        self._before: dict[str, tuple[Any, str, Any]] = {}

    @property
    def space(self) -> dict[str, Any]:
        """The variables of ``__main__``."""
        return vars(sys.modules['__main__'])

    def fits(self, parts: Sequence[str]) -> bool:
        """Whether ``__main__`` is as these parts say, or becomes so when the last ones are added."""
        shorter = min(len(parts), len(self._parts))
        return list(parts[:shorter]) == self._parts[:shorter]

    def use(self, parts: Sequence[str], pickled: Mapping[str, bytes]) -> None:
        """Put the values of parts into ``__main__`` that are not there yet."""
        for part in parts[len(self._parts) :]:
            self._parts.append(part)
            self._unread |= pickle.loads(pickled[part])
        for kept in (_made, _not_whole, _waiting):
            kept.clear()
        while self._unread:
            self.load(next(iter(self._unread)))
            for container, items in _waiting:
                container.update(items)
            _waiting.clear()
        _made.clear()

    def look_up_by(self, ask: Callable[[str, int], dict[str, bytes] | None]) -> None:
        """Let modules that look up a variable of ``__main__``, as pickle does, ask the building process for it.

        `ask` is given the name, and how many parts are here.
        """
        process = os.getpid()

        def look_up(name: str) -> Any:
            if not name.startswith('__') and os.getpid() == process:
                parts = ask(name, len(self._parts))
                if parts:
                    self.use([*self._parts, *parts], parts)
                if name in self._before:
                    return self.space[name]
            raise AttributeError(f"module '__main__' has no attribute {name!r}")

        self.space['__getattr__'] = look_up

    def load(self, name: str) -> Any:
        """The value of a variable, which is read first where that has not been done yet; '' gives all variables."""
        if not name:
            return self.space
        if name in _made:
            return _made[name]
        if name in self._unread:
            holder, last = self._place(name)
            present = vars(holder).get(last, _ABSENT)
            value = self._read(name)
            if isinstance(value, _Added):
                del self._unread[name]
                if type(present) is type(value.items):
                    self._before.setdefault(name, (holder, last, value.put_into(present)))
                    return present
                value = value.items
                setattr(holder, last, value)
            self._before.setdefault(name, (holder, last, present))
            # what it is made of may need the whole of it, as a base class that knows its subclass: it is there then
            if name in self._unread:
                setattr(holder, last, value)
                del self._unread[name]
            _not_whole.discard(id(value))
            return getattr(holder, last)
        return self.space[name]

    def _read(self, name: str) -> Any:
        try:
            return self._loads(self._unread[name])
        except _AlreadyReadError:
            return _made[name]

    def _place(self, name: str) -> tuple[Any, str]:
        """What holds a value, and by which name."""
        module, _, path = name.rpartition(':')
        *outer, last = path.split('.')
        return reduce(getattr, outer, import_module(module or '__main__')), last

    def name_of(self, cls: type) -> str | None:
        """The name under which a class has arrived."""
        name = cls.__qualname__
        return f'{NAMED}{name}' if name in self._before and self.space.get(name) is cls else None

    def forget(self) -> None:
        """Let ``__main__`` be as it was before anything arrived."""
        # where that was: a module may have been imported anew since then
        for holder, last, value in self._before.values():
            if isinstance(value, _Before):
                value.put_back()
            elif value is not _ABSENT:
                setattr(holder, last, value)
            elif last in vars(holder):
                delattr(holder, last)
        self._parts, self._unread, self._before = [], {}, {}
        _cells.clear()
