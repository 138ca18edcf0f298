"""The pickler of tasks, classes, code and tracebacks on their way between processes.

Only `transport` imports it, and only when something is sent: it needs cloudpickle, which is slow to import.
"""

from __future__ import annotations

import itertools
import linecache
import sys
import weakref
from collections.abc import Callable, Sequence
from functools import partial
from io import BytesIO
from types import CodeType, FunctionType, TracebackType
from typing import Any, NamedTuple

import luigi

from kartnb._luigi import class_maker, enum_maker
from kartnb.execution.report import entries_of
from kartnb.execution.task_run import REPORTERS
from kartnb.execution.workers.main_module import (
    SentMain,
    SharedCell,
    can_be_made_first,
    contents_of,
    data_of,
    filled_as_it_is,
    filled_enum,
    filled_function,
    made,
    made_as_it_is,
)
from kartnb.execution.workers.sent_errors import reduce_error
from kartnb.storage.by_value import ByValuePickler
from kartnb.task import held

_make_class = class_maker()
_make_enum = enum_maker()
#: Gives the name under which a class travels, or None where it is imported by name or pickled in place.
Naming = Callable[[type], str | None]

#: Attributes that the constructor of gokart's tasks sets on each instance, and sets again in the other process.
_SET_BY_GOKART = ('to_str_params', 'run')


#: The types of values that are pickled where they are used.
_NEVER_NAMED = frozenset([type(None), bool, int, float, complex, str, bytes, tuple])

#: Classes of kartnb's that are imported where they arrive, as pickle does by itself: asking each time takes longer.
_ORDINARY: set[type] = set()


class SentFrame(NamedTuple):
    """One frame of a traceback on its way to another process; columns count bytes, the end is None on a later line."""

    file: str
    name: str
    qualname: str
    first_line: int
    names: dict[str, Any]
    line: int
    column: int
    end_column: int | None


class TaskPickler(ByValuePickler):
    """Pickles tasks, with classes by the names under which they travel, and the text of cells beside their code."""

    def __init__(
        self, file: BytesIO, naming: Naming, with_sources: bool, planned: frozenset[int], main: SentMain | None
    ) -> None:
        super().__init__(file, {TracebackType: reduce_traceback, **_WEAK})
        self._planned = planned
        self._naming = naming
        self._with_sources = with_sources
        self._main = main
        self._sources: dict[str, str] = {}

    def persistent_id(self, value: Any) -> str | None:
        """The name of a value of ``__main__``, or of a class."""
        if type(value) in _NEVER_NAMED:  # as most are
            return None
        name = self._main.name_of(value) if self._main is not None else None
        return self._naming(value) if name is None and isinstance(value, type) else name

    def reducer_override(self, value: Any) -> Any:
        """Send tasks of older definitions as those of today, and rebuild gokart's own: these cannot be pickled.

        Those that run are sent as they were planned, with the print of that code, though edited meanwhile.
        """
        if type(value) in _ORDINARY or (isinstance(value, type) and value in _ORDINARY):
            return NotImplemented
        if isinstance(value, luigi.Task) and id(value) not in self._planned and held.today(value) is not value:
            return (_itself, (held.today(value),))
        if isinstance(value, luigi.Task) and 'to_str_params' in vars(value):
            left_out = (*_SET_BY_GOKART, *REPORTERS)
            state = {name: item for name, item in vars(value).copy().items() if name not in left_out}
            return (rebuilt_task, (type(value), value.param_kwargs, state))
        if isinstance(value, luigi.Task) and not vars(value).keys().isdisjoint(REPORTERS):
            return _reduced_task(value)
        if isinstance(value, BaseException):
            return reduce_error(value)
        if type(value).__module__ == '_ctypes' and isinstance(value, type) and _is_made_by_ctypes(value):
            raise TypeError(f'the type {value.__name__}, which ctypes has made, belongs to its process')
        if 'ctypes' in sys.modules and isinstance(value, sys.modules['ctypes'].CDLL):
            return type(value), (value._name,)
        reduced = super().reducer_override(value)
        if reduced is NotImplemented:
            cls = value if isinstance(value, type) else type(value)
            if cls.__module__.startswith('kartnb.') and not issubclass(cls, type | luigi.Task | BaseException):
                _ORDINARY.add(cls)
        if self._main is None:
            return reduced
        if reduced is NotImplemented and self._main.making(value) is not None and can_be_made_first(value):
            reduced = value.__reduce_ex__(5)
        return self._in_main(value, reduced) if isinstance(reduced, tuple) else reduced

    def _in_main(self, value: Any, reduced: tuple[Any, ...]) -> tuple[Any, ...]:
        """Let a function of ``__main__`` use the variables of ``__main__``, and a definition be put under its name."""
        assert self._main is not None
        make, arguments, *rest = reduced
        if make is _make_class:
            make, arguments = made_as_it_is, (make, *arguments)
            rest[-1] = partial(filled_as_it_is, fill=rest[-1])
        if make is _make_enum:
            rest[0] = (rest[0], {member.name: vars(member) for member in value})
            rest[-1] = partial(filled_enum, fill=rest[-1])
        if isinstance(value, FunctionType) and value.__globals__ is self._main.space:
            attributes, slots = rest[0]
            self._main.reach(value.__code__, slots['__globals__'])
            arguments = (arguments[0], self._main.space, *arguments[2:])
            rest[0] = (attributes, {**slots, '__globals__': {}})
            cells = self._main.cells_of(value)
            if cells:
                arguments = (*arguments[:4], tuple(map(SharedCell, cells)), *arguments[5:])
                rest[0] = ((attributes, {**rest[0][1], '__closure__': None}), contents_of(cells))
                rest[-1] = partial(filled_function, fill=rest[-1])
        name = self._main.making(value) if can_be_made_first(value) else None
        if name is None:
            return (make, arguments, *rest)
        if isinstance(value, type) and data_of(value):  # that follows
            attributes, slots = rest[0]
            left = attributes.keys() - data_of(value).keys()
            rest[0] = ({key: item for key, item in attributes.items() if key in left}, slots)
        return (made, (name, make, *arguments), *rest)

    def reduce_code(self, code: CodeType) -> tuple[Any, tuple[Any, ...]]:
        """Send the source of a cell along: the other process has no file to read it from."""
        make, arguments = super().reduce_code(code)
        source = self._source(code.co_filename) if self._with_sources else ''
        return (code_with_source, (make, arguments, source)) if source else (make, arguments)

    def _source(self, file: str) -> str:
        if file not in self._sources:
            # IPython keeps cells here; an entry that was not read from a file has no time
            match linecache.cache.get(file):
                case (_, None, lines, _):
                    self._sources[file] = ''.join(lines)
                case _:
                    self._sources[file] = ''
        return self._sources[file]


def dumps(
    value: Any,
    naming: Naming = lambda cls: None,
    *,
    with_sources: bool = True,
    planned: frozenset[int] = frozenset(),
    main: SentMain | None = None,
) -> bytes:
    """Pickle a value; `planned` are the ids of task objects that are sent as they are."""
    buffer = BytesIO()
    TaskPickler(buffer, naming, with_sources, planned, main).dump(value)
    return buffer.getvalue()


def code_with_source(make: Callable[..., CodeType], arguments: tuple[Any, ...], source: str) -> CodeType:
    """Code whose source is in `linecache`, where tracebacks and `inspect` look for it."""
    code = make(*arguments)
    file = code.co_filename
    linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)
    return code


def _reduced_task(task: luigi.Task) -> Any:
    """Reduce a task without what luigi lends it while it runs: another build may run the same object now."""
    reduced: list[Any] = list(task.__reduce_ex__(5))
    if len(reduced) > 2 and isinstance(reduced[2], dict):
        reduced[2] = {name: value for name, value in reduced[2].copy().items() if name not in REPORTERS}
    return tuple(reduced)


def _is_made_by_ctypes(cls: type) -> bool:
    return getattr(sys.modules.get(cls.__module__), cls.__qualname__, None) is not cls


def _reduced_reference(reference: weakref.ref[Any]) -> Any:
    return (weakref.ref, (reference(),)) if reference() is not None else (_dead_reference, ())


def _reduced_by_key(known: weakref.WeakKeyDictionary[Any, Any]) -> Any:
    return weakref.WeakKeyDictionary, (dict(known.items()),)


def _reduced_by_value(known: weakref.WeakValueDictionary[Any, Any]) -> Any:
    return weakref.WeakValueDictionary, (dict(known.items()),)


def _dead_reference() -> weakref.ref[Any]:
    return weakref.ref(_Gone())


class _Gone:
    """What nothing holds."""


#: Weak references, and what is made of them: what they refer to is sent too.
_WEAK: dict[type, Callable[[Any], Any]] = {
    weakref.ref: _reduced_reference,
    weakref.WeakKeyDictionary: _reduced_by_key,
    weakref.WeakValueDictionary: _reduced_by_value,
}


def _itself(task: luigi.Task) -> luigi.Task:
    return task


def rebuilt_task(cls: type[luigi.Task], values: dict[str, Any], state: dict[str, Any]) -> luigi.Task:
    """One of gokart's tasks, with its state."""
    task = cls(**values)
    vars(task).update(state)
    return task


def reduce_traceback(trace: TracebackType) -> tuple[Any, tuple[Any, ...]]:
    """Pickle a traceback without the variables of its frames."""
    return rebuilt_traceback, (tuple(map(_sent, entries_of(trace))),)


def rebuilt_traceback(frames: Sequence[SentFrame]) -> TracebackType | None:
    """A traceback that looks like the one that was sent: the same files, functions, lines and columns.

    >>> import traceback
    >>> frame = SentFrame('task.py', 'run', 'Task.run', 3, {'__name__': 'task'}, 5, 8, 12)
    >>> rebuilt = rebuilt_traceback([frame])
    >>> print(''.join(traceback.format_tb(rebuilt)).rstrip())
      File "task.py", line 5, in run
    """
    following = None
    for frame in reversed(frames):
        try:
            exec(_failing_code(frame), dict(frame.names), {})
        except NameError as error:
            [*_, made] = entries_of(error.__traceback__)
            following = TracebackType(following, made.tb_frame, made.tb_lasti, made.tb_lineno)
    return following


def _sent(entry: TracebackType) -> SentFrame:
    code, names = entry.tb_frame.f_code, entry.tb_frame.f_globals
    positions = next(itertools.islice(code.co_positions(), entry.tb_lasti // 2, None), (None,) * 4)
    _, end_line, column, end_column = positions
    line = entry.tb_lineno or code.co_firstlineno
    return SentFrame(
        code.co_filename,
        code.co_name,
        code.co_qualname,
        min(code.co_firstlineno, line),
        {name: names[name] for name in ('__name__', '__file__') if name in names},
        line,
        column or 0,
        end_column if end_line == line else None,
    )


def _failing_code(frame: SentFrame) -> Any:
    """Code that fails at the place of a frame: Python makes frames only by running code."""
    end = frame.end_column
    if end is None:
        end = len(linecache.getline(frame.file, frame.line).rstrip().encode())
    name = 'q' * max(1, end - frame.column)  # not a name of anything, builtins included
    above, before = '\n' * (frame.line - frame.first_line), ' ' * frame.column
    text = f'({above}{before if above else before[1:]}{name})' if above or before else name
    return compile(text, frame.file, 'exec').replace(
        co_name=frame.name, co_qualname=frame.qualname, co_firstlineno=frame.first_line
    )
