"""Exceptions on their way back from a worker: the same class, text, attributes, notes, causes and lines.

Python pickles an exception as a call of its class with `args`, which fails or gives another text wherever `__init__`
takes something else, and loses causes and tracebacks. Here the object is made without a call of its class, and then
given all that the original holds. A class that has its own way to be pickled is pickled in that way, if it works.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from types import GetSetDescriptorType, MemberDescriptorType, TracebackType
from typing import Any, NamedTuple

from kartnb.errors import text_of

#: Where classes say how they are pickled.
_OWN_WAYS = ('__reduce_ex__', '__reduce__', '__getstate__', '__setstate__')
#: What is sent in another way, or (the object of an AttributeError, as large as it may be) not at all.
_NOT_FIELDS = frozenset(
    {
        '__cause__',
        '__class__',
        '__context__',
        '__dict__',
        '__suppress_context__',
        '__traceback__',
        '__weakref__',
        'args',
        'exceptions',
        'message',
        'obj',
    }
)
_SLOTS = (MemberDescriptorType, GetSetDescriptorType)
#: Sets an attribute also of a frozen dataclass.
_set = BaseException.__setattr__
#: How many causes of causes are sent.
_LONGEST_CHAIN = 100
#: The flag of classes that were made while Python runs: all but those in C.
_MADE_AT_RUNTIME = 1 << 9


class Surroundings(NamedTuple):
    """What every exception has beside its class and its own attributes."""

    cause: BaseException | None
    context: BaseException | None
    suppresses_context: bool
    trace: TracebackType | None
    notes: list[str] | None


_NONE = Surroundings(None, None, False, None, None)


class Held(NamedTuple):
    """What a rebuilt exception is given."""

    #: The state that its class's own way to be pickled gives.
    own: Any
    attributes: dict[str, Any]
    #: Attributes that are not in its dict.
    fields: dict[str, Any]
    around: Surroundings


class Shown:
    """Stands where an exception holds something that cannot be sent, and shows its text."""

    def __init__(self, value: object) -> None:
        self.texts = [_text(value, repr), _text(value, str)]

    def __repr__(self) -> str:
        return self.texts[0]

    def __str__(self) -> str:
        return self.texts[1]


def _text(value: object, how: Callable[[object], str]) -> str:
    try:
        return how(value)
    except Exception:  # whatever a user's class does
        return f'<{type(value).__name__}>'


def reduce_error(error: BaseException) -> Any:
    """Reduce an exception as `pickle` asks for it."""
    if not _has_own_way(type(error)):
        return _reduced(error, lambda value: value)
    own = error.__reduce_ex__(5)
    if not isinstance(own, tuple):
        return own
    make, arguments, state, *_ = (*own, None, None)
    return called, (make, arguments), Held(state, {}, {}, _surroundings(error)), None, None, fill


class ByAttributes:
    """An exception on its way, to be sent by its attributes whatever its class says, and those as text if need be.

    It arrives as the exception; `can_travel` says which of its attributes can be sent as they are.
    """

    def __init__(self, error: BaseException, can_travel: Callable[[Any], bool], left: int = 10) -> None:
        self._error = error
        self._can_travel = can_travel
        self._left = left

    def __reduce__(self) -> Any:
        make, (cls, arguments), held, *rest = _reduced(self._error, self._part)
        around = held.around
        rebuilt = rebuilt_error(cls, arguments)
        fill(rebuilt, held._replace(around=_NONE))
        text = text_of(self._error)
        shown = None if text_of(rebuilt) == text else text
        around = around._replace(cause=self._earlier(around.cause), context=self._earlier(around.context))
        return make, (cls, arguments, shown), held._replace(around=around), *rest

    def _part(self, value: Any) -> Any:
        if isinstance(value, BaseException):
            return self._earlier(value)
        return value if self._can_travel(value) else Shown(value)

    def _earlier(self, error: BaseException | None) -> Any:
        if error is None or self._can_travel(error):
            return error
        return ByAttributes(error, self._can_travel, self._left - 1) if self._left else None


def _has_own_way(cls: type) -> bool:
    return any(name in vars(base) for base in cls.__mro__ if base.__module__ != 'builtins' for name in _OWN_WAYS)


def _surroundings(error: BaseException) -> Surroundings:
    notes = getattr(error, '__notes__', None)
    return Surroundings(
        error.__cause__,
        error.__context__,
        error.__suppress_context__,
        error.__traceback__,
        list(map(str, notes)) if isinstance(notes, list | tuple) else None,
    )


def _reduced(error: BaseException, part: Callable[[Any], Any]) -> tuple[Any, ...]:
    """Reduce an exception by its attributes, each as `part` gives it."""
    cls = type(error)
    arguments: tuple[Any, ...] = tuple(map(part, error.args))
    if isinstance(error, BaseExceptionGroup):
        arguments = (error.message, list(map(part, error.exceptions)))
    fields = {name: part(value) for name, value in _fields(error)}
    attributes = {name: part(value) for name, value in vars(error).items() if name != '__notes__'}
    return rebuilt_error, (cls, arguments), Held(None, attributes, fields, _surroundings(error)), None, None, fill


def _fields(error: BaseException) -> Iterator[tuple[str, Any]]:
    """The attributes that are not in the dict of an exception."""
    for name, slot in _slots(type(error)).items():
        with suppress(AttributeError):
            value = slot.__get__(error)
            if value is not None:
                yield name, value


def _slots(cls: type) -> dict[str, Any]:
    return {
        name: value
        for base in reversed(cls.__mro__)
        for name, value in vars(base).items()
        if isinstance(value, _SLOTS) and name not in _NOT_FIELDS
    }


def rebuilt_error(cls: type[BaseException], arguments: tuple[Any, ...], shown: str | None = None) -> BaseException:
    """An exception of a class, made without its constructor; with the text `shown` if its own is not available here."""
    if shown is not None:
        cls = _showing(cls, shown)
    kind: type[BaseException] = cls
    while kind.__flags__ & _MADE_AT_RUNTIME:
        assert kind.__base__ is not None
        kind = kind.__base__
    if issubclass(cls, BaseExceptionGroup):
        return kind.__new__(cls, *arguments)
    error = kind.__new__(cls)
    _set(error, 'args', arguments)
    return error


def _showing(cls: type[BaseException], text: str) -> type[BaseException]:
    """A class like this one, whose exceptions show a text."""
    names = {'__module__': cls.__module__, '__qualname__': cls.__qualname__, '__str__': lambda self: text}
    metaclass: Any = type(cls)
    made: type[BaseException] = metaclass(cls.__name__, (cls,), names)
    return made


def called(make: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
    """What a class's own way to be pickled gives."""
    return make(*arguments)


def fill(error: BaseException, held: Held) -> None:
    """Give a rebuilt exception what the original held."""
    own, attributes, fields, around = held
    if own is not None:
        error.__setstate__(own)
    vars(error).update(attributes)
    slots = _slots(type(error))
    for name, value in fields.items():
        with suppress(AttributeError, TypeError):  # some cannot be set, and follow from others
            slots[name].__set__(error, value)
    if around.notes:
        vars(error)['__notes__'] = around.notes
    _set(error, '__cause__', around.cause)
    _set(error, '__context__', around.context)
    _set(error, '__suppress_context__', around.suppresses_context)
    _set(error, '__traceback__', around.trace)


def is_like(error: BaseException | None, arrived: BaseException | None) -> bool:
    """Whether an exception has arrived with its class and its text."""
    if error is None or arrived is None:
        return error is arrived
    return isinstance(arrived, type(error)) and text_of(arrived) == text_of(error)


def untie(error: BaseException, above: tuple[BaseException, ...] = ()) -> None:
    """Cut circles in the causes of an exception, and a chain of causes that is too long to be pickled."""
    above = (*above, error)
    for name in ('__cause__', '__context__'):
        earlier = getattr(error, name)
        if any(earlier is other for other in above) or len(above) > _LONGEST_CHAIN:
            is_suppressed = error.__suppress_context__
            _set(error, name, None)  # which suppresses the context, if it is the cause
            _set(error, '__suppress_context__', is_suppressed)
        elif earlier is not None and not (name == '__context__' and earlier is error.__cause__):
            untie(earlier, above)
