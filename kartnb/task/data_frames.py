"""What a task may know of its data frames: their library, the types of their columns, whether they are empty."""

from __future__ import annotations

import functools
import inspect
import sys
from abc import abstractmethod
from collections.abc import Iterator
from typing import Any, Literal, TypeVar, get_args, get_origin

import luigi

from kartnb.errors import PandasTypeError
from kartnb.task.registry import drop_superseded, is_superseded

FrameLibrary = Literal['pandas', 'polars', 'polars-lazy']


class PandasTypeConfig(luigi.Config):
    """The types that columns of dumped pandas data frames must have, for the tasks of one namespace.

    Subclass it, set `task_namespace`, and give `type_dict`.

    Notes
    -----
    From gokart. There a config that is defined after the first dump is never enforced; here each dump looks at all of
    them.
    """

    # see TaskOnKart
    _visible_in_registry = False

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if PandasTypeConfig in cls.__bases__:
            cls._visible_in_registry = True

    @classmethod
    @abstractmethod
    def type_dict(cls) -> dict[str, Any]:
        """The type of each column, by name; columns that a frame does not have are passed over."""

    @classmethod
    def check(cls, df: Any) -> None:
        """Check a data frame.

        Raises
        ------
        PandasTypeError
            When a value of a column is not of its type.
        """
        for name, kind in cls.type_dict().items():
            if name not in df.columns:
                continue
            for value in df[name]:
                if not isinstance(value, kind):
                    raise PandasTypeError(
                        f'expected type is "{kind}", but "{type(value)}" is passed in column "{name}".'
                    )


def check_column_types(obj: Any, namespace: str | None) -> None:
    """Check a value that is dumped against the configs of its task's namespace, if it is a pandas data frame."""
    if not _is_pandas_frame(obj):
        return
    drop_superseded()
    for config in _subclasses(PandasTypeConfig):
        if config.task_namespace == namespace and not is_superseded(config) and not inspect.isabstract(config):
            config.check(obj)


def is_empty_data_frame(obj: Any) -> bool:
    """Whether a value is a pandas data frame without rows or without columns."""
    return _is_pandas_frame(obj) and bool(obj.empty)


@functools.cache
def data_frame_type(cls: type) -> FrameLibrary:
    """The library of the frames that a task class dumps, from the T of its ``TaskOnKart[T]``; pandas by default."""
    bindings: dict[Any, Any] = {}
    for base in (generic for kind in cls.__mro__ for generic in getattr(kind, '__orig_bases__', ())):
        origin = get_origin(base)
        if origin is None:
            continue
        for variable, argument in zip(getattr(origin, '__parameters__', ()), get_args(base), strict=False):
            bindings.setdefault(variable, argument)
        if origin.__name__ == 'TaskOnKart':
            return _library(_resolved(get_args(base)[0], bindings))
    return 'pandas'


def _library(kind: Any) -> FrameLibrary:
    if 'polars' not in getattr(kind, '__module__', ''):
        return 'pandas'
    return 'polars-lazy' if kind.__name__ == 'LazyFrame' else 'polars'


def _resolved(argument: Any, bindings: dict[Any, Any]) -> Any:
    seen: set[Any] = set()
    while isinstance(argument, TypeVar) and argument in bindings and argument not in seen:
        seen.add(argument)
        argument = bindings[argument]
    return argument


def _is_pandas_frame(obj: Any) -> bool:
    pandas = sys.modules.get('pandas')
    return pandas is not None and isinstance(obj, pandas.DataFrame)


def _subclasses(cls: Any) -> Iterator[Any]:
    for subclass in cls.__subclasses__():
        yield subclass
        yield from _subclasses(subclass)
