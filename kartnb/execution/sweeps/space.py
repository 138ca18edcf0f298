"""The points of a sweep: a grid, a list of points, a random sample of either."""

from __future__ import annotations

import enum
import itertools
import math
import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import luigi

from kartnb.errors import SweepError
from kartnb.execution.sweeps.template import Template
from kartnb.task.slider import Slider

#: How many points are built without being asked for by number.
MOST_POINTS = 10_000
_SHUFFLED_AT_MOST = 100_000
_LISTS = (luigi.ListParameter, luigi.EnumListParameter, luigi.ChoiceListParameter)

#: Values by parameter name.
Point: TypeAlias = dict[str, Any]
#: What a caller gives: values to try by name, or points.
Space: TypeAlias = Mapping[str, Any] | Iterable[Mapping[str, Any]] | None


class Axis:
    """The values that one parameter is tried with.

    Parameters
    ----------
    name
        The parameter's name, perhaps with dots.
    given
        A range, a list or anything else to be iterated over; a `Slider`; an enum class; or a single value.
    settle
        Makes a value what the parameter means.

    Attributes
    ----------
    slider
        The continuous range, where the values are not to be counted.
    """

    def __init__(self, name: str, given: Any, settle: Callable[[str, Any], Any]) -> None:
        self.name = name
        self.slider = given if isinstance(given, Slider) and given.values() is None else None
        #: The range of numbers that the values are, or None.
        self.range = _as_range(given)
        self._settle = settle
        self._values: Sequence[Any] = () if self.slider else _values(given)
        if not self.slider and not len(self._values):
            raise SweepError(f'There is no value to try for {name!r}.')

    def __len__(self) -> int:
        return len(self._values)

    def __getitem__(self, i: int) -> Any:
        return self.settle(self._values[i])

    def settle(self, value: Any) -> Any:
        """A value as the parameter means it."""
        return self._settle(self.name, value)

    def first(self) -> Any:
        """One of the values."""
        return self[0] if self.slider is None else self.settle(self.slider.min)

    def draw(self, source: random.Random) -> Any:
        """A value at random."""
        if self.slider is None:
            return self[source.randrange(len(self))]
        low, high = self.slider.min, self.slider.max
        if self.slider.log:
            value = math.exp(source.uniform(math.log(low), math.log(high)))
            return self.settle(min(max(value, low), high))
        return self.settle(source.uniform(low, high))


def axes_of(template: Template, space: Mapping[str, Any]) -> list[Axis]:
    """The axes of a grid, each with its own values.

    Raises
    ------
    SweepError
        When a name is none of a parameter, or a parameter has no values.
    """
    for name, given in space.items():
        parameter = template.parameter(name)
        if isinstance(parameter, _LISTS) and isinstance(given, list | tuple) and not _holds_lists(given):
            raise SweepError(f'{name!r} takes lists: give a list of them, such as {name}=[{list(given)!r:.60}].')
    return [Axis(name, given, template.settle) for name, given in space.items()]


def points_of(template: Template, space: Space, sample: int | None, seed: int) -> list[Point]:
    """The points of a space, settled, each once, in the order of the grid; a sample in the order of drawing.

    Raises
    ------
    SweepError
        When there is nothing to vary, or there are too many points.
    ParameterValueError
        When a parameter does not take one of its values.
    """
    if sample is not None and (isinstance(sample, bool) or not isinstance(sample, int) or sample < 1):
        raise SweepError(f'sample must be a whole number from 1 on, not {sample!r}.')
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
            f'This grid has {described}; more than {MOST_POINTS:,} are not built unasked: '
            'give sample=N (--sample N) for N of them, chosen at random.'
        )


def _drawn(axes: Sequence[Axis], sample: int, seed: int) -> Iterator[Point]:
    """Random points, of which a larger sample with the same seed has the same ones first."""
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
        return sorted(given, key=lambda value: (str(type(value)), value))
    found = list(itertools.islice(given, 1_000_001))
    return found


def _holds_lists(given: Sequence[Any]) -> bool:
    return all(isinstance(item, list | tuple | str | None) for item in given)
