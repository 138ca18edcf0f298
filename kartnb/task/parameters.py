"""gokart's parameter types, and the types of columns that dumped data frames must have.

The parameters hold task instances, strict booleans, any serialisable object, and times with a zone.
"""

from __future__ import annotations

import ast
import bz2
import datetime
import functools
import inspect
import json
import os
import sys
import warnings
from abc import abstractmethod
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Generic, Literal, Protocol, Self, cast, get_args, get_origin

import luigi
from luigi.task_register import Register
from typing_extensions import TypeVar

from kartnb._luigi import NO_VALUE, NoValue, parsed_list, plain_parser_options
from kartnb.errors import FileInputError, PandasTypeError, ParameterValueError, TaskArgumentError
from kartnb.storage.file_inputs import checked_path
from kartnb.task import held
from kartnb.task.describe import described_task
from kartnb.task.registry import (
    base_task,
    drop_superseded,
    is_instance_of_definition,
    is_superseded,
    task_classes,
)

if TYPE_CHECKING:
    from kartnb.task.base import TaskOnKart

#: Bytes of the parameters of a task in a text: a short text can be made to unpack to any number of them.
_MOST_UNPACKED = 64 << 20

FrameLibrary = Literal['pandas', 'polars', 'polars-lazy']


class PandasTypeConfig(luigi.Config):
    """The types that columns of dumped pandas data frames must have, for the tasks of one namespace.

    Subclass it, set `task_namespace`, and give `type_dict`.

    Notes
    -----
    From gokart. There a config that is defined after the first dump is never enforced; here each dump checks all
    configs.
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
        """The type of each column, by name; columns that a frame lacks are ignored."""

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


def get_dataframe_type_from_task(task: Any) -> FrameLibrary:
    """The library of the frames that a task, or a task class, dumps: 'pandas', 'polars' or 'polars-lazy'; from gokart.

    >>> get_dataframe_type_from_task(type('Any', (), {}))
    'pandas'
    """
    return data_frame_type(task if isinstance(task, type) else type(task))


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


TaskT = TypeVar('TaskT', bound=luigi.Task, default='TaskOnKart[Any]')


def _checked_type(expected: Any, name: str) -> type:
    if not isinstance(expected, type):
        raise TypeError(f'{name} must be a type, not {type(expected)}')
    return expected


def _refuse(value: object, expected: type) -> TypeError:
    hint = f'; write {value.__name__}(…)' if isinstance(value, type) and issubclass(value, luigi.Task) else ''
    shown = described_task(value) if isinstance(value, luigi.Task) else value
    return TaskArgumentError(f'{shown} is not an instance of {expected}{hint}')


class TaskInstanceParameter(luigi.Parameter[TaskT], Generic[TaskT]):
    """A parameter whose value is a task, so that a pipeline is put together outside of the classes that do its work.

    Parameters
    ----------
    expected_type
        The class that the value must be an instance of; `TaskOnKart` by default.
    default
        A task instance.
    **kwargs
        As for `luigi.Parameter`.

    Raises
    ------
    TypeError
        When `expected_type` is not a type, and, on construction of a task, when the value is not an instance of it.

    Examples
    --------
    >>> import kartnb
    >>> class Source(kartnb.TaskOnKart):
    ...     pass
    >>> class Train(kartnb.TaskOnKart):
    ...     data = kartnb.TaskInstanceParameter(expected_type=Source)
    >>> Train(data=Source()).requires()['data'] is Source()
    True

    Notes
    -----
    From gokart. The text form, which the unique id is made of, is gokart's: the task's family and its significant
    parameters, compressed. Insignificant parameters are lost in it.
    """

    holds_tasks = True

    def __init__(
        self, expected_type: type[TaskT] | None = None, default: TaskT | NoValue = NO_VALUE, **kwargs: Any
    ) -> None:
        self._expected_type = None if expected_type is None else _checked_type(expected_type, 'expected_type')
        super().__init__(default=default, **kwargs)

    @property
    def expected_type(self) -> type:
        """The class that values must be instances of."""
        return self._expected_type or base_task()

    def normalize(self, x: Any) -> Any:
        """Take a task of an older definition of its class as one of today's."""
        return held.today(x) if isinstance(x, luigi.Task) else x

    def parse(self, x: str | dict[str, Any]) -> TaskT:
        """Make the task of a text form (or of its uncompressed dict); its class must be registered."""
        return cast(TaskT, _task_of(_decompressed(x) if isinstance(x, str) else x))

    def serialize(self, x: TaskT) -> str:
        """The text form of a task."""
        return serialized_task(x)

    def _warn_on_wrong_param_type(self, param_name: str, param_value: Any) -> None:
        if not is_instance_of_definition(param_value, self.expected_type):
            raise _refuse(param_value, self.expected_type)


class ListTaskInstanceParameter(luigi.Parameter[list[TaskT]], Generic[TaskT]):
    """A parameter whose value is a list of tasks (kept as a tuple).

    Parameters
    ----------
    expected_elements_type
        The class that each element must be an instance of; `TaskOnKart` by default.
    default
        A list of task instances.
    **kwargs
        As for `luigi.Parameter`.
    """

    holds_tasks = True

    def __init__(
        self,
        expected_elements_type: type[TaskT] | None = None,
        default: list[TaskT] | NoValue = NO_VALUE,
        **kwargs: Any,
    ) -> None:
        checked = (
            None if expected_elements_type is None else _checked_type(expected_elements_type, 'expected_elements_type')
        )
        self._expected_elements_type = checked
        super().__init__(default=default, **kwargs)

    @property
    def expected_elements_type(self) -> type:
        """The class that elements must be instances of."""
        return self._expected_elements_type or base_task()

    def normalize(self, x: Any) -> Any:
        """Take tasks of older definitions of their classes as ones of today's."""
        return held.today_nested(x) if isinstance(x, list | tuple) else x

    def parse(self, x: str) -> list[TaskT]:
        """Make the tasks of a text form."""
        parameter: TaskInstanceParameter[TaskT] = TaskInstanceParameter()
        return [parameter.parse(item) for item in json.loads(x)]

    def serialize(self, x: Any) -> str:
        """The text form of a list of tasks."""
        return json.dumps([serialized_task(task) for task in x])

    def _warn_on_wrong_param_type(self, param_name: str, param_value: Any) -> None:
        if not isinstance(param_value, list | tuple):
            raise TypeError(f'{param_name} must be a list of tasks, not {type(param_value).__name__}.')
        for value in param_value:
            if not is_instance_of_definition(value, self.expected_elements_type):
                raise _refuse(value, self.expected_elements_type)


class ExplicitBoolParameter(luigi.BoolParameter):
    """A boolean that is given as true or false, on the command line too (``--flag true``)."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        # Not BoolParameter's: it would make False the default of a parameter that was declared without one.
        super(luigi.BoolParameter, self).__init__(*args, **kwargs)

    @classmethod
    def _parser_kwargs(cls, param_name: Any, task_name: Any = None) -> Any:
        return plain_parser_options(param_name, task_name)


class FileParameter(luigi.Parameter[str]):
    r"""A parameter whose value is the path of a file, or of a directory, whose *contents* count.

    When they have changed, the task's result is stale; when the file was only touched, it is not. The unique id is that
    of the path as it was given, as for `luigi.Parameter`. Paths may be relative to the working directory, begin with
    ``~``, be patterns such as ``data/*.csv``, and URLs such as ``s3://bucket/sales.parquet``.

    Parameters
    ----------
    *args, **kwargs
        As for `luigi.Parameter`.

    Raises
    ------
    ParameterValueError
        On construction of a task, when the value is not a path.

    Examples
    --------
    >>> import kartnb, pathlib, tempfile
    >>> class Lines(kartnb.TaskOnKart[int]):
    ...     path = kartnb.FileParameter()
    ...
    ...     def run(self):
    ...         self.dump(len(pathlib.Path(self.path).read_text().splitlines()))
    >>> place = pathlib.Path(tempfile.mkdtemp())
    >>> lines = Lines(path=place / 'sales.csv', workspace_directory=str(place / 'resources'))
    >>> _ = (place / 'sales.csv').write_text('day,amount\n')
    >>> kartnb.build(lines)
    1
    >>> _ = (place / 'sales.csv').write_text('day,amount\n1,100\n')
    >>> kartnb.build(lines)
    2
    """

    holds_files = True

    def normalize(self, x: Any) -> Any:
        """The text of a path."""
        return os.fspath(x) if isinstance(x, os.PathLike) else x

    def _warn_on_wrong_param_type(self, param_name: str, param_value: Any) -> None:
        try:
            checked_path(param_value)
        except FileInputError as error:
            raise ParameterValueError(f'{param_name}: {error}') from None


def given_files(task: Any) -> list[tuple[str, str]]:
    """The values of the file parameters of a task, each with its name."""
    names = type(task).parameter_table().files
    return [(name, task.param_kwargs[name]) for name in names if task.param_kwargs.get(name) is not None]


class Serializable(Protocol):
    """What a value of a `SerializableParameter` offers."""

    def gokart_serialize(self) -> str:
        """Return the text form; what is left out of it does not change the unique id."""
        ...

    @classmethod
    def gokart_deserialize(cls, s: str) -> Self:
        """Make a value of its text form."""
        ...


SerializableT = TypeVar('SerializableT', bound=Serializable)


class SerializableParameter(luigi.Parameter[SerializableT], Generic[SerializableT]):
    """A parameter whose value is an object of the user's own that says how it becomes text.

    Parameters
    ----------
    object_type
        A class with `gokart_serialize` and the class method `gokart_deserialize`.
    *args, **kwargs
        As for `luigi.Parameter`.
    """

    def __init__(self, object_type: type[SerializableT], *args: Any, **kwargs: Any) -> None:
        self._object_type = object_type
        super().__init__(*args, **kwargs)

    def parse(self, x: str) -> SerializableT:
        """Make the object of its text form."""
        return self._object_type.gokart_deserialize(x)

    def serialize(self, x: SerializableT) -> str:
        """The object's text form."""
        return x.gokart_serialize()


class ZonedDateSecondParameter(luigi.Parameter[datetime.datetime]):
    """A date and time with its zone, to the second, in ISO 8601: ``2013-07-10T19:07:38+09:00``; ``Z`` is UTC."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)

    def parse(self, x: str) -> datetime.datetime:
        """Read ISO 8601 text; a text without a zone gives a warning."""
        value = datetime.datetime.fromisoformat(x)
        if value.tzinfo is None:
            warnings.warn(f'{x!r} has no time zone: add one, or use luigi.DateSecondParameter.', stacklevel=2)
        return value

    def serialize(self, x: datetime.datetime) -> str:
        """ISO 8601 text."""
        return x.isoformat()

    def normalize(self, x: datetime.datetime) -> datetime.datetime:
        """Drop the microseconds."""
        return x.replace(microsecond=0)


def serialized_task(task: Any) -> str:
    """The text form of a task in a parameter, which parents' unique ids are made of (gokart's rule)."""
    if not isinstance(task, luigi.Task):
        raise TypeError(f'Object of type {type(task).__name__} is not a task.')
    # kept on the instance: each task that holds it asks for it, more than once
    packed = vars(task).get('_packed_params')
    if packed is None:
        packed = bz2.compress(json.dumps(task.to_str_params(only_significant=True)).encode()).hex()
        vars(task)['_packed_params'] = packed
    return json.dumps({'type': task.get_task_family(), 'params': packed})


def parsed_exactly(parameter: luigi.Parameter[Any], text: Any) -> Any:
    """The value that has this text form; where the parameter makes another one of it, the plain number that has it.

    A `FloatParameter` that was given 3 has the text 3, which it parses to 3.0: another value, with another id.
    """
    if not isinstance(text, str):
        return parsed_list(parameter, text) if isinstance(text, list) else parameter.parse(text)
    value = parameter.parse(text)
    if isinstance(value, int | float) and not _has_text(parameter, value, text):
        try:
            number = ast.literal_eval(text)
        except (ValueError, SyntaxError):
            return value
        if isinstance(number, int | float) and _has_text(parameter, number, text):
            return number
    return value


def _has_text(parameter: luigi.Parameter[Any], value: Any, text: str) -> bool:
    try:
        return bool(parameter.serialize(value) == text)
    except Exception:
        return False


def _decompressed(text: str) -> dict[str, Any]:
    try:
        form = dict(json.loads(text))
        if 'params' in form:
            packed = bz2.BZ2Decompressor()
            form['params'] = json.loads(packed.decompress(bytes.fromhex(form['params']), _MOST_UNPACKED))
    except (ValueError, TypeError, OSError, RecursionError):
        raise _not_a_task_text(text) from None
    return form


def _not_a_task_text(form: object) -> ParameterValueError:
    return ParameterValueError(f'{form!r:.80} is not the text of a task: serialize(task) of the parameter gives one.')


def _task_class(family: str) -> Any:
    base: Any = base_task()
    # luigi does not list the base class, so that command lines do not offer it; it may list gokart's
    if family == base.get_task_family() and not any(
        cls.get_task_family() == family and issubclass(cls, base) for cls in task_classes()
    ):
        return base
    return Register.get_task_cls(family)


def _task_of(form: dict[str, Any]) -> luigi.Task:
    given = form.get('params')
    if 'type' not in form or not isinstance(given, dict):
        raise _not_a_task_text(form)
    cls = _task_class(form['type'])
    values = {name: parsed_exactly(parameter, given[name]) for name, parameter in cls.get_params() if name in given}
    unknown = [name for name in given if name not in values]
    task: luigi.Task = cls(**values, **{name: given[name] for name in unknown})
    return task
