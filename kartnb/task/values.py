"""Values of parameters: the range of a slider, nested structures, and given values converted to a parameter's type.

A value from code hashes as it serialises, so that 1 and 1.0 are two tasks. A value from a slider, a magic's line or a
sweep has no such type of its own: it takes the parameter's.
"""

from __future__ import annotations

import datetime
import hashlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

import luigi
from luigi.parameter import OptionalParameterMixin

from kartnb._luigi import check_type, choice_type, declared_default, enumeration_of, listed_choices, number_range
from kartnb.errors import ParameterValueError
from kartnb.task.parameters import ListTaskInstanceParameter, TaskInstanceParameter
from kartnb.task.secrets import is_secret

# ----- the range of a slider ------------------------------------------------------------------------------------------

P = TypeVar('P', bound=luigi.Parameter[Any])


@dataclass(frozen=True, slots=True)
class Slider:
    """A range of numbers, both ends included, as `kartnb.slider` gives it."""

    min: float
    max: float
    #: From one value to the next (of a logarithmic range: the factor), or None.
    step: float | None = None
    #: Whether equal distances on the slider are equal factors.
    log: bool = False

    def __call__(self, parameter: P) -> P:
        """Give a parameter this range, in the class that declares it."""
        parameter.__dict__['kart_slider'] = self
        return parameter

    @property
    def is_whole(self) -> bool:
        """Whether the range is one of whole numbers."""
        return isinstance(self.min, int) and isinstance(self.max, int) and float(self.step or 1).is_integer()

    def values(self) -> list[float] | range | None:
        """The values step by step; None for a continuous range."""
        if self.is_whole and not self.log:
            return range(int(self.min), int(self.max) + 1, int(self.step or 1))
        return list(self._stepped()) if self.step is not None else None

    def _stepped(self) -> Iterator[float]:
        assert self.step is not None
        ratio = math.log(self.max / self.min, self.step) if self.log else (self.max - self.min) / self.step
        for i in range(math.floor(ratio + 1e-9) + 1):
            # each from the start: adding up would add up the rounding errors too
            value = self.min * self.step**i if self.log else self.min + i * self.step
            yield float(f'{value:.12g}')


def slider(min: float, max: float, step: float | None = None, *, log: bool = False) -> Slider:
    """Return a range of numbers, for a parameter in its class, for `kartnb.interact`, and for samples and searches.

    Parameters
    ----------
    min, max
        The ends, both included.
    step
        From one value to the next; for a logarithmic range the factor. By default whole numbers go by 1, and other
        ranges are continuous.
    log
        Whether the range is logarithmic.

    Raises
    ------
    ParameterValueError
        When the numbers do not make a range.

    Examples
    --------
    >>> import kartnb
    >>> class Train(kartnb.TaskOnKart):
    ...     rate = kartnb.slider(0.001, 1, log=True)(kartnb.luigi.FloatParameter(default=0.1))
    >>> Train.rate.kart_slider
    Slider(min=0.001, max=1, step=None, log=True)
    """
    if not all(is_finite(number) for number in (min, max, *([] if step is None else [step]))):
        raise ParameterValueError(f'A range needs finite numbers, not slider({min!r}, {max!r}, step={step!r}).')
    if min >= max:
        raise ParameterValueError(f'A range goes from a smaller number to a larger one, not from {min} to {max}.')
    if log and min <= 0:
        raise ParameterValueError(f'A logarithmic range starts above 0, not at {min}.')
    if step is not None and step <= (1 if log else 0):
        least = 'a factor above 1' if log else 'above 0'
        raise ParameterValueError(f'The step of this range must be {least}, not {step}.')
    return Slider(min, max, step, log)


def hint_of(parameter: luigi.Parameter[Any]) -> Slider | None:
    """The range that a class gives its parameter, or None."""
    found = vars(parameter).get('kart_slider')
    return found if isinstance(found, Slider) else None


def is_finite(value: object) -> bool:
    """Whether something is a number, and neither infinite nor NaN."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


# ----- nested structures ----------------------------------------------------------------------------------------------

T = TypeVar('T')
K = TypeVar('K')

Nested: TypeAlias = T | list['Nested[T]'] | tuple['Nested[T]', ...] | dict[Any, 'Nested[T]']


def flatten(targets: Any) -> list[Any]:
    """List the leaves of a nested structure, in order; None has none, a string is a leaf, a dict counts by its values.

    >>> flatten({'a': 1, 'b': [2, (3, None)]})
    [1, 2, 3]
    >>> flatten('foo')
    ['foo']
    """
    if targets is None:
        return []
    if not _is_nest(targets):
        return [targets]
    if isinstance(targets, dict):
        targets = targets.values()
    leaves: list[Any] = []
    for item in targets:
        if item is None or hasattr(type(item), '__iter__'):
            leaves.extend(flatten(item))
        else:
            leaves.append(item)
    return leaves


def shape_of(items: Any, leaves: Sequence[Any]) -> str:
    """A short text for where the leaves of a nested structure are, by position and key; '' for one, and a flat list.

    `leaves` is what `flatten` gives of it.

    >>> one, other = [object(), object()]
    >>> shape_of([one, other], [one, other])
    ''
    >>> shape_of({'a': one, 'b': other}, [one, other]) == shape_of({'b': one, 'a': other}, [one, other])
    False
    """
    if not leaves or (len(leaves) == 1 and items is leaves[0]):
        return ''
    positions = {id(leaf): i for i, leaf in enumerate(leaves)}
    is_flat = isinstance(items, list | tuple) and all(one is other for one, other in zip(items, leaves, strict=False))
    if is_flat and len(items) == len(leaves) == len(positions) > 1:
        return ''
    text = _shape_text(items, positions)
    return hashlib.blake2b(text.encode('utf-8', 'backslashreplace'), digest_size=5).hexdigest()


def _shape_text(items: Any, positions: Mapping[int, int]) -> str:
    if isinstance(items, dict):
        every = [f'{_key_text(key)}: {_shape_text(value, positions)}' for key, value in items.items()]
        return f'{{{", ".join(sorted(every))}}}'  # sorted, because keys may come from a set
    if isinstance(items, list | tuple):
        return f'[{", ".join([_shape_text(item, positions) for item in items])}]'
    return str(positions.get(id(items), ''))


def _key_text(key: Any) -> str:
    text = repr(key)
    return type(key).__qualname__ if ' at 0x' in text else text


def map_nested(func: Callable[[Any], K], items: Any) -> Nested[K]:
    """Apply `func` to each leaf of a nested structure and keep its shape; other iterables become lists.

    >>> map_nested(str, {'a': 1, 'b': [2, (3,)]})
    {'a': '1', 'b': ['2', ('3',)]}
    """
    if isinstance(items, dict):
        return {key: map_nested(func, value) for key, value in items.items()}
    if isinstance(items, tuple):
        return tuple(map_nested(func, item) for item in items)
    if not _is_nest(items):
        return func(items)
    return [map_nested(func, item) for item in items]


def required(asked: Any) -> Any:
    """The tasks that a ``yield`` in `run()` asks for, nested as they were."""
    return asked.requirements if isinstance(asked, luigi.DynamicRequirements) else asked


def _is_nest(items: Any) -> bool:
    # many times faster than isinstance(items, Iterable), and asked for every task and target
    return hasattr(type(items), '__iter__') and not isinstance(items, str)


# ----- a given value as its parameter means it ------------------------------------------------------------------------

_DATES = (luigi.DateParameter, luigi.MonthParameter, luigi.YearParameter)
_TIMES = (luigi.DateHourParameter, luigi.DateMinuteParameter, luigi.DateSecondParameter)
_TASKS = (TaskInstanceParameter, ListTaskInstanceParameter)


def settled(parameter: luigi.Parameter[Any], value: Any, label: str) -> Any:
    """A given value as the parameter means it: of the parameter's own type, within its bounds, normalised.

    The value may be given as text too. `label` is what a message calls the parameter, as in ``Train.depth``. Raises
    ParameterValueError when the parameter does not take the value; the value of a secret parameter is not in the
    message.

    >>> settled(luigi.IntParameter(), 3.0, 'depth'), settled(luigi.FloatParameter(), '3', 'lr')
    (3, 3.0)
    >>> settled(luigi.IntParameter(), 2.5, 'depth')
    Traceback (most recent call last):
        ...
    kartnb.errors.ParameterValueError: depth takes a whole number, not 2.5.
    """
    value = _plain(value)
    if value is None and is_optional(parameter):
        return None
    try:
        found = _converted(parameter, value)
        return found if isinstance(parameter, _TASKS) else parameter.normalize(found)
    except Exception as error:
        raise ParameterValueError(_refusal(parameter, value, label)) from (
            None if isinstance(error, ParameterValueError) or is_secret(parameter) else error
        )


def is_optional(parameter: luigi.Parameter[Any]) -> bool:
    """Whether None is a value of the parameter."""
    return isinstance(parameter, OptionalParameterMixin) or declared_default(parameter) is None


def number_type(parameter: luigi.Parameter[Any]) -> type | None:
    """Which numbers are a parameter's values: int, float, or None when they are something else."""
    if isinstance(parameter, luigi.IntParameter):
        return int
    if isinstance(parameter, luigi.FloatParameter):
        return float
    if isinstance(parameter, luigi.NumericalParameter):
        kind = number_range(parameter).kind
        return kind if kind in (int, float) else None
    return None


def bounds(parameter: luigi.Parameter[Any]) -> tuple[Any, Any] | None:
    """The smallest and the largest number that a `NumericalParameter` takes (whole ones exactly), or None."""
    if not isinstance(parameter, luigi.NumericalParameter):
        return None
    kind, low, high, includes_low, includes_high = number_range(parameter)
    return (low + (not includes_low), high - (not includes_high)) if kind is int else (low, high)


def takes(parameter: luigi.Parameter[Any]) -> str:
    """What a parameter takes, in words, as in ``'a whole number'``."""
    kind = number_type(parameter)
    if isinstance(parameter, luigi.NumericalParameter):
        return _numbers_between(parameter)
    if kind is not None:
        return 'a whole number' if kind is int else 'a number'
    if isinstance(parameter, luigi.ChoiceListParameter):
        return f'a list of some of {_listed(listed_choices(parameter))}'
    if isinstance(parameter, luigi.ChoiceParameter):
        return f'one of {_listed(listed_choices(parameter))}'
    if isinstance(parameter, luigi.EnumListParameter | luigi.EnumParameter):
        names = _listed(member.name for member in enumeration_of(parameter))
        return f'{"one" if isinstance(parameter, luigi.EnumParameter) else "a list of some"} of {names}'
    if isinstance(parameter, TaskInstanceParameter):
        return f'a task of the class {parameter.expected_type.__name__}'
    if isinstance(parameter, (*_DATES, *_TIMES)):
        return f'a time like {_EXAMPLE_TIME.strftime(parameter.date_format)}'
    return next((words for kinds, words in _WORDS if isinstance(parameter, kinds)), 'another value')


_EXAMPLE_TIME = datetime.datetime(2024, 1, 31, 12, 30, 5)
_WORDS: tuple[tuple[Any, str], ...] = (
    (luigi.BoolParameter, 'true or false'),
    (luigi.DictParameter, 'a dict, or one as JSON text'),
    (luigi.ListParameter, 'a list, or one as JSON text'),
    (ListTaskInstanceParameter, 'a list of tasks'),
    (luigi.PathParameter, 'a path'),
    (luigi.TimeDeltaParameter, 'a duration like 1h30m'),
    (luigi.DateIntervalParameter, 'dates like 2024-01 or 2024-01-01-2024-02-01'),
    (luigi.TaskParameter, 'the name of a task class'),
)


def _refusal(parameter: luigi.Parameter[Any], value: Any, label: str) -> str:
    if is_secret(parameter):
        return f'{label} takes {takes(parameter)}, which the given value is not.'
    shown = type(value).__name__ if isinstance(value, luigi.Task) else f'{value!r:.60}'
    return f'{label} takes {takes(parameter)}, not {shown}.'


def _plain(value: Any) -> Any:
    """Python's own value for a scalar of NumPy or a timestamp of pandas."""
    if type(value).__module__.partition('.')[0] == 'numpy' and getattr(value, 'shape', None) == ():
        return value.item()
    if hasattr(value, 'to_pydatetime'):
        return value.to_pydatetime()
    return value


def _converted(parameter: luigi.Parameter[Any], value: Any) -> Any:
    kind = number_type(parameter)
    if kind is not None:
        return _number(parameter, kind, value)
    if isinstance(parameter, luigi.BoolParameter):
        return value if isinstance(value, bool) else parameter.parse(_text(value))
    if isinstance(parameter, _TASKS):
        check_type(parameter, '', value)
        return value
    if isinstance(parameter, luigi.ChoiceListParameter):
        return parameter.parse(value) if isinstance(value, str) else [choice_type(parameter)(item) for item in value]
    if isinstance(parameter, luigi.ChoiceParameter):
        return choice_type(parameter)(value)
    if isinstance(value, str):
        return parameter.parse(value)
    return _checked(parameter, value)


def _checked(parameter: luigi.Parameter[Any], value: Any) -> Any:
    """A value that is not text, of a type that the parameter can mean."""
    expected: Any = next((types for kinds, types in _TYPES if isinstance(parameter, kinds)), None)
    if expected is not None and not isinstance(value, expected):
        raise TypeError
    if isinstance(parameter, luigi.EnumParameter):
        return enumeration_of(parameter)(value)
    means_text = type(parameter).parse is luigi.Parameter.parse or isinstance(parameter, luigi.parameter.StrParameter)
    if means_text and isinstance(value, int | float | datetime.date):
        return str(value)
    if isinstance(parameter, luigi.DateParameter) and isinstance(value, datetime.datetime):
        return value.date()
    return value


_TYPES: tuple[tuple[Any, Any], ...] = (
    (luigi.DictParameter, Mapping),
    (luigi.ListParameter, (list, tuple)),
    (luigi.MonthParameter, (datetime.date, luigi.date_interval.Month)),
    (luigi.YearParameter, (datetime.date, luigi.date_interval.Year)),
    (luigi.DateParameter, datetime.date),
    (_TIMES, datetime.datetime),
    (luigi.TimeDeltaParameter, datetime.timedelta),
    (luigi.DateIntervalParameter, luigi.date_interval.DateInterval),
    (luigi.EnumListParameter, (list, tuple)),
    (luigi.TaskParameter, type),
)


def _number(parameter: luigi.Parameter[Any], kind: type, value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise TypeError
    number = float(value) if kind is float else _whole(value)
    if isinstance(parameter, luigi.NumericalParameter):
        return parameter.parse(number)
    return number


def _whole(value: int | float | str) -> int:
    if isinstance(value, str):
        try:
            return int(value)
        except ValueError:
            value = float(value)
    if not math.isfinite(value) or value != int(value):
        raise ValueError
    return int(value)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _numbers_between(parameter: Any) -> str:
    kind, low, high, includes_low, includes_high = number_range(parameter)
    words = 'a whole number' if kind is int else 'a number'
    return f'{words} in {"[" if includes_low else "("}{low}, {high}{"]" if includes_high else ")"}'


def _listed(names: Any) -> str:
    texts = sorted(map(str, names)) if isinstance(names, set | frozenset) else [str(name) for name in names]
    return ', '.join(texts[:12]) + (', …' if len(texts) > 12 else '')
