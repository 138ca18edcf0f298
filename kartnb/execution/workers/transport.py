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
import types
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeAlias

import luigi

from kartnb._luigi import by_value_id, class_of_by_value_id, event_handlers
from kartnb.errors import TransportError, described
from kartnb.task import registry
from kartnb.task.base import TaskOnKart

#: Pickled classes of more bytes than this are worth a warning.
LARGE = 10_000_000
_NOT_DATA = (types.ModuleType, types.FunctionType, types.BuiltinFunctionType, type)
#: Packages whose handlers need not be sent: importing them in a worker puts the handlers on their classes.
_BRING_THEIR_OWN = ('gokart', 'kartnb', 'luigi')
#: What the digests of event handlers begin with.
_HANDLERS = 'handlers:'
Handler: TypeAlias = Callable[..., Any]
#: A class, and the handlers that were put on it by event.
HandlersOf: TypeAlias = tuple[type, dict[str, list[Handler]]]


class ClassStore:
    """The classes and event handlers that one build sends by value."""

    def __init__(self) -> None:
        self._digests: dict[type, str] = {}
        self._classes: dict[str, type] = {}
        self._handlers_seen: set[type] = set()
        self.pickled: dict[str, bytes] = {}

    def add_handlers(self, cls: type) -> None:
        """Send the event handlers on a class and its bases too, with a warning for any that cannot be pickled."""
        for base in cls.__mro__ if cls not in self._handlers_seen else ():
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
                    self.pickled[f'{_HANDLERS}{hashlib.blake2b(data, digest_size=16).hexdigest()}'] = data

    def digest(self, cls: type) -> str:
        """The name of a class that travels; the first call pickles it, or raises `TransportError`."""
        known = self._digests.get(cls)
        if known is None:
            data = _pickled_class(cls)
            known = self._digests[cls] = hashlib.blake2b(data, digest_size=16).hexdigest()
            self.pickled[known] = data
            self._classes[known] = cls
        return known

    def dumps(self, value: Any, planned: frozenset[int] = frozenset()) -> bytes:
        """Pickle a value, by-value classes named by digests; a `TransportError` says what cannot be pickled."""
        from kartnb.execution.workers import task_pickler

        try:
            return task_pickler.dumps(value, self._name, planned=planned)
        except Exception as error:
            raise TransportError(_culprit(value, error)) from error

    def loads(self, data: bytes) -> Any:
        """Unpickle what a worker sent: its copies of classes become the classes of this process again."""
        return _Unpickler(io.BytesIO(data), self._classes).load()

    def _name(self, cls: type) -> str | None:
        return self.digest(cls) if travels_by_value(cls) else None


class WorkerClasses:
    """The classes that have arrived in a worker process, by digest."""

    def __init__(self) -> None:
        self._classes: dict[str, type] = {}
        self._digests: dict[type, str] = {}
        self._pickled_handlers: dict[str, bytes] = {}
        self._handlers: dict[str, HandlersOf] = {}

    def forget(self) -> None:
        """Forget everything that has arrived: modules that it uses are other ones now."""
        self.__init__()  # type: ignore[misc]

    def missing(self, digests: Iterable[str]) -> list[str]:
        """Those of some digests whose classes or handlers have not arrived."""
        return [digest for digest in digests if digest not in self._classes and digest not in self._pickled_handlers]

    def handlers(self, digests: Iterable[str]) -> dict[str, HandlersOf]:
        """The event handlers among some digests."""
        wanted = [digest for digest in digests if digest in self._pickled_handlers]
        for digest in wanted:
            if digest not in self._handlers:
                self._handlers[digest] = self.loads(self._pickled_handlers[digest])
        return {digest: self._handlers[digest] for digest in wanted}

    def receive(self, pickled: Mapping[str, bytes]) -> None:
        """Take in classes and handlers that were sent."""
        for digest, data in pickled.items():
            if digest.startswith(_HANDLERS):
                self._pickled_handlers[digest] = data
            elif digest not in self._classes:
                cls = pickle.loads(data)
                self._classes[digest] = cls
                self._digests[cls] = digest

    def loads(self, data: bytes) -> Any:
        """Unpickle what the building process sent."""
        return _Unpickler(io.BytesIO(data), self._classes).load()

    def dumps(self, value: Any) -> bytes:
        """Pickle a value for the building process; the classes that it has sent are named by their digests."""
        from kartnb.execution.workers import task_pickler

        return task_pickler.dumps(value, self._digest, with_sources=False)

    def _digest(self, cls: type) -> str | None:
        known = self._digests.get(cls)
        if known is None and travels_by_value(cls):
            # a class that came inside another one: the building process knows it by cloudpickle's id, or by name
            its_id = by_value_id(cls)
            if not its_id and not issubclass(cls, luigi.Task) and _importable(cls) is None:
                return None  # made here, in a function
            return f'{cls.__module__}:{cls.__qualname__}:{its_id}'
        return known


class _Unpickler(pickle.Unpickler):
    def __init__(self, file: io.BytesIO, classes: Mapping[str, type]) -> None:
        super().__init__(file)
        self._classes = classes

    def persistent_load(self, pid: str) -> type:
        known = self._classes.get(pid)
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


def _pickled_class(cls: type) -> bytes:
    from kartnb.execution.workers import task_pickler

    try:
        data = task_pickler.dumps(cls)
    except Exception as error:
        raise TransportError(
            f'{cls.__qualname__} cannot be sent to a worker process, because something that it uses cannot be pickled '
            f'({described(error)}): create it in run(), or build without workers.'
        ) from error
    if len(data) > LARGE:
        _warn_of_large_payload(cls, task_pickler.dumps)
    return data


def _culprit(value: Any, error: Exception) -> str:
    """The message of an error in pickling; for a task it names the attribute."""
    task = getattr(value, 'task', value)
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


def _warn_of_large_payload(cls: type, dumps: Callable[[Any], bytes]) -> None:
    """Warn of the large variables that are sent to every worker together with a class."""
    heavy = [(name, size) for name, value in _payload(cls) if (size := _size(value, dumps)) > LARGE]
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


def _size(value: Any, dumps: Callable[[Any], bytes]) -> int:
    try:
        return len(dumps(value))
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
