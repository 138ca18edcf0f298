"""Sending tasks to other processes and getting their outcomes back.

A class of a notebook (or of a script, or from inside a function) cannot be imported elsewhere, so it travels by value.
It travels once to each worker: what is sent names such classes by a digest, and a worker that does not know one asks
for it. The event handlers that users have put on classes travel in the same way.
"""

from __future__ import annotations

import functools
import hashlib
import importlib
import io
import pickle
import sys
import threading
import types
import warnings
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, TypeAlias

import luigi

from kartnb._luigi import by_value_id, class_of_by_value_id, event_handlers
from kartnb.errors import TransportError, described
from kartnb.execution.workers.main_module import NAMED, PARTS, ReceivedMain, SentMain
from kartnb.interrupts import in_main_thread
from kartnb.task import registry
from kartnb.task.base import TaskOnKart

#: Pickled classes of more bytes than this are worth a warning.
LARGE = 10_000_000
_NOT_DATA = (types.ModuleType, types.FunctionType, types.BuiltinFunctionType, type)
#: Packages whose handlers need not be sent: importing them in a worker puts the handlers on their classes.
_BRING_THEIR_OWN = ('gokart', 'kartnb', 'luigi')
_UNKNOWN_PART = 'something that it uses cannot be pickled ({})'
#: What the digests of event handlers begin with.
_HANDLERS = 'handlers:'
Handler: TypeAlias = Callable[..., Any]
#: A class, and the handlers that were put on it by event.
HandlersOf: TypeAlias = tuple[type, dict[str, list[Handler]]]


class ClassStore:
    """The classes and event handlers that one build sends by value, with what they reach of ``__main__``."""

    def __init__(self, also: Mapping[str, bytes] = MappingProxyType({})) -> None:
        self._digests: dict[type, str] = {}
        self._classes: dict[str, type] = {}
        self._taken: set[type] = set()
        self._handlers_seen: set[type] = set()
        self._pickled: dict[str, bytes] = dict(also)
        self._main = SentMain(self._dumps)
        #: Workers ask for more while tasks are sent.
        self._gate = threading.RLock()

    @property
    def pickled(self) -> dict[str, bytes]:
        """All that workers have to know, pickled, by digest."""
        return {**self._pickled, **self._main.parts}

    def agrees_with(self, other: ClassStore) -> bool:
        """Whether both send the same of ``__main__``, as far as both send it."""
        return self._main.agrees_with(other._main)

    def take(self, cls: type) -> None:
        """Take in a class whose tasks will be sent, with its event handlers; one that cannot be pickled is warned of.

        Raises TransportError when the class cannot be sent.
        """
        if cls in self._taken:
            return
        if travels_by_value(cls):
            self._dumps_class(cls)
        self._taken.add(cls)
        for base in cls.__mro__:
            handlers = handlers_of(base) if base not in self._handlers_seen else None
            self._handlers_seen.add(base)
            if handlers is not None:
                self._add_handlers(*handlers)

    def _add_handlers(self, cls: type, by_event: dict[str, list[Any]]) -> None:
        for event, handlers in by_event.items():
            for handler in handlers:
                try:
                    data = self.dumps((cls, {event: [handler]}))
                except TransportError as error:
                    warnings.warn(
                        f'The handler {getattr(handler, "__qualname__", handler)} of {cls.__name__} does not fire in '
                        f'worker processes: {error.__cause__}',
                        stacklevel=2,
                    )
                else:
                    self._pickled[f'{_HANDLERS}{hashlib.blake2b(data, digest_size=16).hexdigest()}'] = data

    def dumps(self, value: Any, planned: frozenset[int] = frozenset()) -> bytes:
        """Pickle a value, with classes by their names or digests; a `TransportError` says what cannot be pickled."""
        from kartnb.execution.workers import task_pickler

        try:
            with self._gate:
                data, _ = self._main.dumps(
                    value, lambda value: task_pickler.dumps(value, self._name, planned=planned, main=self._main)
                )
        except Exception as error:
            raise TransportError(_culprit(value, error)) from error
        return data

    def look_up(self, name: str, known: int) -> dict[str, bytes]:
        """The parts of ``__main__`` that a worker lacks, which knows the first ones, with a variable in them.

        Raises TransportError when it cannot be pickled, and KeyError when there is none.
        """
        with self._gate:
            self._main.look_up(name)
            return dict(list(self._main.parts.items())[known:])

    def loads(self, data: bytes) -> Any:
        """Unpickle what a worker sent: its copies of classes become the classes of this process again."""
        return _Unpickler(io.BytesIO(data), self._find).load()

    def _find(self, name: str) -> Any:
        return self._main.value_of(name.removeprefix(NAMED)) if name.startswith(NAMED) else self._classes.get(name)

    def _name(self, cls: type) -> str | None:
        return self._digest(cls) if travels_by_value(cls) else None

    def _digest(self, cls: type) -> str:
        known = self._digests.get(cls)
        if known is None:
            data = self._dumps_class(cls)
            known = self._digests[cls] = hashlib.blake2b(data, digest_size=16).hexdigest()
            self._pickled[known] = data
            self._classes[known] = cls
        return known

    def _dumps_class(self, cls: type) -> bytes:
        try:
            with self._gate:
                data, reached = self._main.dumps(cls)
        except Exception as error:
            why = str(error) if isinstance(error, TransportError) else _UNKNOWN_PART.format(described(error))
            raise TransportError(
                f'{cls.__qualname__} cannot be sent to a worker process, because {why}: create it in run(), or build '
                'without workers.'
            ) from error
        if len(data) + sum(size for _, size in self._main.sizes(reached)) > LARGE:
            _warn_of_large_payload(cls)
        return data

    def _dumps(self, value: Any) -> bytes:
        from kartnb.execution.workers import task_pickler

        return task_pickler.dumps(value, main=self._main)


class ClassStores:
    """What one build sends of classes, with something else that goes along each time.

    A person may edit the notebook while a build runs in the background. A class goes on as it was sent first, and so
    does what it reaches; classes that are sent later and reach something that differs are in a store of their own.
    """

    def __init__(self, also: Mapping[str, bytes]) -> None:
        self._also = also
        self._stores: dict[type, ClassStore] = {}
        self._newest = self._new()

    def of(self, cls: type) -> ClassStore:
        """The store of a class; raises `TransportError` when the class cannot be sent."""
        store = self._stores.get(cls)
        if store is None:
            if not in_main_thread():
                again = self._new()
                again.take(cls)
                if not again.agrees_with(self._newest):
                    self._newest = again
            self._newest.take(cls)
            store = self._stores[cls] = self._newest
        return store

    def _new(self) -> ClassStore:
        return ClassStore(self._also)


class WorkerClasses:
    """The classes that have arrived in a worker process, by digest, with what they reach of ``__main__``."""

    def __init__(self) -> None:
        self._pickled: dict[str, bytes] = {}
        self._classes: dict[str, type] = {}
        self._digests: dict[type, str] = {}
        self._handlers: dict[str, HandlersOf] = {}
        #: Classes that tasks have made in their functions, which the building process does not know.
        self._made_here: weakref.WeakSet[type] = weakref.WeakSet()
        self._main = ReceivedMain(self.loads)

    def missing(self, digests: Iterable[str]) -> list[str]:
        """Those of some digests that have not arrived."""
        return [digest for digest in digests if digest not in self._pickled]

    def receive(self, pickled: Mapping[str, bytes]) -> None:
        """Take in what was sent."""
        self._pickled |= pickled

    def use(self, digests: Sequence[str], *, anew: bool = False) -> None:
        """Let ``__main__`` be as these digests say; `anew` when modules that classes use are other ones now."""
        parts = [digest for digest in digests if digest.startswith(PARTS)]
        if anew or not self._main.fits(parts):
            self._pickled = {digest: self._pickled[digest] for digest in digests}
            self._classes, self._digests, self._handlers = {}, {}, {}
            self._main.forget()
        self._main.use(parts, self._pickled)

    def look_up_by(self, ask: Callable[[str, int], dict[str, bytes] | None]) -> None:
        """Let a task that looks up a variable of the notebook find it, though nothing has said that it would."""
        self._main.look_up_by(ask)

    def handlers(self, digests: Iterable[str]) -> dict[str, HandlersOf]:
        """The event handlers among some digests."""
        wanted = [digest for digest in digests if digest.startswith(_HANDLERS)]
        for digest in wanted:
            if digest not in self._handlers:
                self._handlers[digest] = self.loads(self._pickled[digest])
        return {digest: self._handlers[digest] for digest in wanted}

    def loads(self, data: bytes) -> Any:
        """Unpickle what the building process sent."""
        return _Unpickler(io.BytesIO(data), self._find).load()

    def dumps(self, value: Any) -> bytes:
        """Pickle a value for the building process; the classes that it has sent are named as it named them."""
        from kartnb.execution.workers import task_pickler

        return task_pickler.dumps(value, self._name, with_sources=False)

    def _find(self, name: str) -> Any:
        if name.startswith(NAMED):
            return self._main.load(name.removeprefix(NAMED))
        if name not in self._classes and name in self._pickled:
            cls = self._classes[name] = self.loads(self._pickled[name])
            self._digests[cls] = name
        return self._classes.get(name)

    def _name(self, cls: type) -> str | None:
        known = self._digests.get(cls) or self._main.name_of(cls)
        if known is None and travels_by_value(cls):
            # a class that came inside another one: the building process knows it by cloudpickle's id, or by name
            its_id = by_value_id(cls)  # which a class that was made here gets when it is pickled
            if not its_id and not issubclass(cls, luigi.Task) and _importable(cls) is None:
                self._made_here.add(cls)
            if cls in self._made_here:
                return None
            return f'{cls.__module__}:{cls.__qualname__}:{its_id}'
        return known


class _Unpickler(pickle.Unpickler):
    def __init__(self, file: io.BytesIO, find: Callable[[str], Any]) -> None:
        super().__init__(file)
        self._find = find

    def persistent_load(self, pid: str) -> Any:
        known = self._find(pid)
        return known if known is not None else _class_known_as(*pid.split(':'))


def travels_by_value(cls: type) -> bool:
    """Whether a class cannot be imported by name in another process."""
    if cls.__module__ in ('builtins', 'luigi', 'kartnb'):
        return False
    return cls.__module__ == '__main__' or _importable(cls) is not cls


def _importable(cls: type) -> Any:
    found: Any = sys.modules.get(cls.__module__)
    try:
        return functools.reduce(getattr, cls.__qualname__.split('.'), found)
    except AttributeError:
        return None


def _class_known_as(module: str, qualname: str, cloudpickles_id: str) -> type:
    found = class_of_by_value_id(cloudpickles_id) or registry.definition_named(module, qualname)
    if found is not None:
        return found
    value: Any = functools.reduce(getattr, qualname.split('.'), importlib.import_module(module))
    return value  # type: ignore[no-any-return]


def _culprit(value: Any, error: Exception) -> str:
    """The message of an error in pickling; for a task it names the attribute."""
    if isinstance(value, list) and len(value) == 1:
        [value] = value
    task = getattr(value, 'task', value)
    if isinstance(error, TransportError):
        return str(error)
    if isinstance(task, luigi.Task):
        state = task.__getstate__() if isinstance(task, TaskOnKart) else vars(task)
        for name, attribute in state.items():
            if not _can_be_pickled(attribute):
                return (
                    f'{type(task).__name__}.{name} ({type(attribute).__name__}) cannot be sent to a worker process: '
                    f'{described(error)}. Create it in run(), or build without workers.'
                )
    return f'This cannot be sent to a worker process: {described(error)}'


def _can_be_pickled(value: Any) -> bool:
    from kartnb.execution.workers import task_pickler

    try:
        task_pickler.dumps(value)
    except Exception:
        return False
    return True


def _warn_of_large_payload(cls: type) -> None:
    """Warn of the large variables that are sent to every worker together with a class."""
    heavy = [(name, size) for name, value in _payload(cls) if (size := _size(value)) > LARGE]
    names = ', '.join(f'{name} ({size / 1e6:,.0f} MB)' for name, size in heavy) or 'what its methods use'
    warnings.warn(
        f'{cls.__name__} takes {names} along to every worker process: make that the result of a task, or load it in '
        'run().',
        stacklevel=2,
    )


def _payload(cls: type) -> Iterator[tuple[str, Any]]:
    """The names and values of class attributes, and of global variables that methods reach."""
    seen: set[int] = set()
    functions: list[types.FunctionType] = []
    for name, value in vars(cls).items():
        if name.startswith(('__', '_kart')):
            continue
        found = _function_in(value)
        if found is not None:
            functions.append(found)
        else:
            yield f'{cls.__name__}.{name}', value
    while functions:
        function = functions.pop()
        for name in _names(function.__code__):
            value = function.__globals__.get(name)
            if value is None or id(value) in seen:
                continue
            seen.add(id(value))
            if isinstance(value, types.FunctionType) and value.__module__ == cls.__module__:
                functions.append(value)
            elif not isinstance(value, _NOT_DATA):
                yield name, value


def _function_in(value: Any) -> types.FunctionType | None:
    inner = getattr(value, '__func__', None) or getattr(value, 'fget', None) or getattr(value, '__wrapped__', value)
    return inner if isinstance(inner, types.FunctionType) else None


def _names(code: types.CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _names(constant)


def _size(value: Any) -> int:
    from kartnb.execution.workers import task_pickler

    try:
        return len(task_pickler.dumps(value))
    except Exception:
        return 0


def handlers_of(cls: type) -> HandlersOf | None:
    """The handlers on a class that a worker process has to be sent; None without any."""
    found = {
        event: [handler for handler in handlers if _root(handler) not in _BRING_THEIR_OWN]
        for event, handlers in event_handlers().get(cls, {}).items()
    }
    found = {event: handlers for event, handlers in found.items() if handlers}
    return (cls, found) if found else None


def _root(handler: Handler) -> str:
    return str(getattr(handler, '__module__', '')).partition('.')[0]


class SentHandlers:
    """In a worker process: the event handlers of the build whose tasks run there now."""

    def __init__(self) -> None:
        self._in_use: dict[str, list[tuple[type, str, Handler]]] = {}

    def use(self, sent: Mapping[str, HandlersOf]) -> None:
        """Put these handlers, by digest, on their classes, and remove those of another build."""
        for name in [name for name in self._in_use if name not in sent]:
            for cls, event, handler in self._in_use.pop(name):
                event_handlers()[cls][event].discard(handler)
        for name, handlers in sent.items():
            if name not in self._in_use:
                self._in_use[name] = _put(handlers)


def _put(handlers: HandlersOf) -> list[tuple[type, str, Handler]]:
    cls, by_event = handlers
    added = []
    for event, sent in by_event.items():
        present = event_handlers().setdefault(cls, {}).setdefault(event, set())
        for handler in [handler for handler in sent if not _is_present(handler, present)]:
            added.append((cls, event, handler))
        present.update(handler for _, its_event, handler in added if its_event == event)
    return added


def _is_present(handler: Handler, present: set[Handler]) -> bool:
    """Whether a handler, or what it is a copy of, is on the class already (a forked worker has its parent's)."""
    code = getattr(handler, '__code__', None)
    return handler in present or (code is not None and any(getattr(x, '__code__', None) == code for x in present))
