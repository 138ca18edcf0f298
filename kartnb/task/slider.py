"""A range of numbers for a parameter: what a slider moves over, what a sweep samples, what a search looks through."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

import luigi

from kartnb.errors import ParameterValueError

P = TypeVar('P', bound=luigi.Parameter[Any])


@dataclass(frozen=True, slots=True)
class Slider:
    """A range of numbers, as `kartnb.slider` gives it.

    Attributes
    ----------
    min, max
        The ends, both included.
    step
        From one value to the next (of a logarithmic range: the factor), or None.
    log
        Whether equal ways on the slider are equal factors.
    """

    min: float
    max: float
    step: float | None = None
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
        """The values step by step; None where there is no step and the range is not one of whole numbers."""
        if self.is_whole and not self.log:
            return range(int(self.min), int(self.max) + 1, int(self.step or 1))
        return list(self._stepped()) if self.step is not None else None

    def _stepped(self) -> Iterator[float]:
        assert self.step is not None
        ratio = math.log(self.max / self.min, self.step) if self.log else (self.max - self.min) / self.step
        for i in range(math.floor(ratio + 1e-9) + 1):
            # not by adding up, which would add up the errors too
            value = self.min * self.step**i if self.log else self.min + i * self.step
            yield float(f'{value:.12g}')


def slider(min: float, max: float, step: float | None = None, *, log: bool = False) -> Slider:
    """Give a range of numbers, for a parameter in its class, for `kartnb.interact`, and for samples and searches.

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
        When there is no such range.

    Examples
    --------
    >>> import kartnb
    >>> class Train(kartnb.TaskOnKart):
    ...     rate = kartnb.slider(0.001, 1, log=True)(kartnb.luigi.FloatParameter(default=0.1))
    >>> Train.rate.kart_slider
    Slider(min=0.001, max=1, step=None, log=True)
    """
    if not all(is_finite(number) for number in (min, max, *([] if step is None else [step]))):
        raise ParameterValueError(f'A range needs numbers: slider({min!r}, {max!r}, step={step!r}) has others.')
    if min >= max:
        raise ParameterValueError(f'A range goes from a smaller number to a larger one, not from {min} to {max}.')
    if log and min <= 0:
        raise ParameterValueError(f'A logarithmic range begins above 0, not at {min}.')
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
