"""The space of a sweep: how tasks are made from parameter values, and a grid, a list of points, or a random sample."""

from __future__ import annotations

import difflib
import enum
import itertools
import math
import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import luigi

from kartnb._luigi import NO_VALUE
from kartnb.errors import SweepError, TaskArgumentError
from kartnb.task import held
from kartnb.task.parameters import TaskInstanceParameter
from kartnb.task.registry import current_definition
from kartnb.task.values import Slider, settled

#: How many points are built unless a sample of more is asked for.
MOST_POINTS = 10_000
#: Of larger grids, no list of all points is made to draw some of them.
_SHUFFLED_AT_MOST = 100_000
#: Where an endless iterator is cut: a grid of so many values is refused anyway.
_LONGEST = 1_000_001
_LISTS = (luigi.ListParameter, luigi.EnumListParameter, luigi.ChoiceListParameter)

#: Values by parameter name.
Point: TypeAlias = dict[str, Any]
#: What a caller gives: values to try by name, or points.
Space: TypeAlias = Mapping[str, Any] | Iterable[Mapping[str, Any]] | None


class Template:
    """A task whose parameters are only partly given: by `fixed`, and by `task` if it is not a class.

    Raises `TaskArgumentError` when `task` is neither a task nor a task class.
    """

    def __init__(self, task: type[luigi.Task] | luigi.Task, fixed: Mapping[str, Any] | None = None) -> None:
        self.cls = task_class(task)
        self._base = dict(held.require_today(task).param_kwargs) if isinstance(task, luigi.Task) else {}
        self._base.update({name: self.settle(name, value) for name, value in (fixed or {}).items()})
        self._below: dict[str, Template] = {}

    @property
    def parameters(self) -> dict[str, luigi.Parameter[Any]]:
        """The parameters of the task by name."""
        return dict(self.cls.get_params())

    def parameter(self, name: str) -> luigi.Parameter[Any]:
        """The parameter of this name, which may have dots; a `SweepError` where it does not exist."""
        head, dot, rest = name.partition('.')
        if dot:
            return self._template_below(head).parameter(rest)
        found = self.parameters.get(name)
        if found is None:
            raise SweepError(self._unknown(name))
        return found

    def settle(self, name: str, value: Any) -> Any:
        """A value converted by the parameter of this name; a `ParameterValueError` where it does not take the value."""
        return settled(self.parameter(name), value, f'{self.cls.__name__}.{name}')

    def start(self, name: str) -> Any:
        """The value that the parameter has when none is given, or `kartnb._luigi.NO_VALUE`."""
        head, dot, rest = name.partition('.')
        if dot:
            return self._template_below(head).start(rest)
        if name in self._base:
            return self._base[name]
        parameter = self.parameter(name)
        family = self.cls.get_task_family()
        return parameter.task_value(family, name) if parameter.has_task_value(family, name) else NO_VALUE

    def make(self, values: Mapping[str, Any]) -> luigi.Task:
        """The task with these (converted) values; a `SweepError` where a parameter has no value."""
        own = {name: value for name, value in values.items() if '.' not in name}
        below: dict[str, dict[str, Any]] = {}
        for name, value in values.items():
            head, dot, rest = name.partition('.')
            if dot:
                below.setdefault(head, {})[rest] = value
        for head, inner in below.items():
            own[head] = (Template(own[head]) if head in own else self._template_below(head)).make(inner)
        try:
            task: luigi.Task = self.cls(**{**self._base, **own})
        except luigi.parameter.ParameterException as error:
            raise SweepError(' '.join(str(error).split())) from None
        # the class may have been defined again since the template was made
        return held.require_today(task)  # type: ignore[no-any-return]

    def _template_below(self, head: str) -> Template:
        """The template of the task that a parameter holds."""
        found = self._below.get(head)
        if found is None:
            parameter = self.parameter(head)
            if not isinstance(parameter, TaskInstanceParameter):
                raise SweepError(
                    f'{self.cls.__name__}.{head} does not hold a task, so it has no parameters after a dot.'
                )
            start = self.start(head)
            if not isinstance(start, luigi.Task):
                start = parameter.expected_type
            found = self._below[head] = Template(start)
        return found

    def _unknown(self, name: str) -> str:
        known = [own for own, parameter in self.parameters.items() if parameter.significant]
        if not known:
            return f'{self.cls.__name__} has no parameter {name!r}: it has none of its own.'
        near = difflib.get_close_matches(name, self.parameters, n=1)
        hint = f'did you mean {near[0]!r}?' if near else f'it has {", ".join(known)}.'
        return f'{self.cls.__name__} has no parameter {name!r}: {hint}'


def task_class(task: Any) -> type[luigi.Task]:
    """The newest definition of a task class or the class of a task; a `TaskArgumentError` where it is neither."""
    cls = task if isinstance(task, type) else type(task)
    if not issubclass(cls, luigi.Task):
        raise TaskArgumentError(
            f'A task class is needed, such as Train, or a task, such as Train(…), not {task!r:.80}.'
        )
    return current_definition(cls)


class Axis:
    """The values that one parameter, whose name may have dots, is tried with.

    They are given as a range, a list or any other iterable; a `Slider`; an enum class; or a single value. `settle`
    converts a value to what the parameter holds. `slider` is the continuous range, where the values cannot be counted;
    else None.
    """

    def __init__(self, name: str, given: Any, settle: Callable[[str, Any], Any]) -> None:
        self.name = name
        self.slider = given if isinstance(given, Slider) and given.values() is None else None
        #: The range of numbers that the values are, or None.
        self.range = _as_range(given)
        self._settle = settle
        self._values: Sequence[Any] = () if self.slider else _values(given)
        if not self.slider and not len(self._values):
            raise SweepError(f'No values to try for {name!r}.')

    def __len__(self) -> int:
        return len(self._values)

    def __getitem__(self, i: int) -> Any:
        return self.settle(self._values[i])

    def settle(self, value: Any) -> Any:
        """A value, converted by the parameter."""
        return self._settle(self.name, value)

    def first(self) -> Any:
        """One of the values."""
        return self[0] if self.slider is None else self.settle(self.slider.min)

    def draw(self, source: random.Random) -> Any:
        """A random value."""
        if self.slider is None:
            return self[source.randrange(len(self))]
        low, high = self.slider.min, self.slider.max
        if self.slider.log:
            value = math.exp(source.uniform(math.log(low), math.log(high)))
            return self.settle(min(max(value, low), high))
        return self.settle(source.uniform(low, high))


def axes_of(template: Template, space: Mapping[str, Any]) -> list[Axis]:
    """The axes of a grid, each with its own values; a `SweepError` for an unknown name, or one without values."""
    for name, given in space.items():
        parameter = template.parameter(name)
        if isinstance(parameter, _LISTS) and isinstance(given, list | tuple) and not _holds_lists(given):
            raise SweepError(f'{name!r} takes lists: give a list of them, such as {name}=[{list(given)!r:.60}].')
    return [Axis(name, given, template.settle) for name, given in space.items()]


def points_of(template: Template, space: Space, sample: int | None, seed: int) -> list[Point]:
    """The points of a space, with converted values, in the order of the grid; a sample in the order of drawing.

    Raises `SweepError` when there is nothing to vary or there are too many points, and `ParameterValueError` when a
    parameter does not take one of its values.
    """
    if sample is not None and (isinstance(sample, bool) or not isinstance(sample, int) or sample < 1):
        raise SweepError(f'sample must be a whole number of at least 1, not {sample!r}.')
    if isinstance(space, Mapping):
        axes = axes_of(template, space)
        return list(_drawn(axes, sample, seed) if sample else _grid(axes))
    points = [_settled_point(template, point) for point in space or ()]
    if sample is not None and sample < len(points):
        order = list(range(len(points)))
        random.Random(seed).shuffle(order)
        return [points[i] for i in order[:sample]]
    _refuse_too_many(len(points), f'{len(points):,} points')
    return points


def _settled_point(template: Template, point: Any) -> Point:
    if not isinstance(point, Mapping):
        raise SweepError(f'A point is a dict of parameter values, not {point!r:.60}.')
    return {name: template.settle(name, value) for name, value in point.items()}


def _grid(axes: Sequence[Axis]) -> Iterator[Point]:
    endless = next((axis.name for axis in axes if axis.slider), None)
    if endless is not None:
        raise SweepError(
            f'The range of {endless!r} is continuous: give it a step, or sample=N (--sample N) for N random points.'
        )
    sizes = [f'{axis.name} {len(axis):,}' for axis in axes if len(axis) > 1]
    _refuse_too_many(math.prod(map(len, axes)), f'{math.prod(map(len, axes)):,} points ({" × ".join(sizes)})')
    columns = [[axis[i] for i in range(len(axis))] for axis in axes]
    for values in itertools.product(*columns):
        yield {axis.name: value for axis, value in zip(axes, values, strict=True)}


def _refuse_too_many(number: int, described: str) -> None:
    if number > MOST_POINTS:
        raise SweepError(
            f'This grid has {described}; more than {MOST_POINTS:,} are not built '
            'by default: give sample=N (--sample N) for N random ones.'
        )


def _drawn(axes: Sequence[Axis], sample: int, seed: int) -> Iterator[Point]:
    """Random points; a larger sample with the same seed starts with the same ones."""
    source = random.Random(seed)
    if any(axis.slider for axis in axes):
        for _ in range(sample):
            yield {axis.name: axis.draw(source) for axis in axes}
        return
    sizes = [len(axis) for axis in axes]
    for number in itertools.islice(_numbers(math.prod(sizes), source), sample):
        point = {}
        for axis, size in zip(reversed(axes), reversed(sizes), strict=True):
            number, i = divmod(number, size)
            point[axis.name] = axis[i]
        yield {axis.name: point[axis.name] for axis in axes}


def _numbers(total: int, source: random.Random) -> Iterator[int]:
    """All numbers below `total` in random order."""
    if total <= _SHUFFLED_AT_MOST:
        order = list(range(total))
        source.shuffle(order)
        yield from order
        return
    seen: set[int] = set()
    while len(seen) < total:
        number = source.randrange(total)
        if number not in seen:
            seen.add(number)
            yield number


def _as_range(given: Any) -> Slider | None:
    """What is given as a range of numbers, or None."""
    if isinstance(given, range) and len(given) > 1 and given.step > 0:
        return Slider(given[0], given[-1], given.step)
    return given if isinstance(given, Slider) and not (given.log and given.step) else None


def _values(given: Any) -> Sequence[Any]:
    if isinstance(given, Slider):
        return given.values() or ()
    if isinstance(given, type) and issubclass(given, enum.Enum):
        return list(given)
    if isinstance(given, str | bytes | Mapping | luigi.Task) or not isinstance(given, Iterable):
        return [given]
    if isinstance(given, range | list | tuple):
        return given
    if isinstance(given, set | frozenset):
        # the order of a set of strings differs from process to process
        return sorted(given, key=lambda value: (str(type(value)), value))
    return list(itertools.islice(given, _LONGEST))


def _holds_lists(given: Sequence[Any]) -> bool:
    return all(isinstance(item, list | tuple | str | None) for item in given)
