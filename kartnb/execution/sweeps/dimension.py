"""The dimensions of a search: ranges of numbers, and choices."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kartnb.execution.sweeps.space import Axis, axes_of
from kartnb.execution.sweeps.template import Template
from kartnb.task.slider import Slider
from kartnb.task.values import number_type

_CHOICES = (bool, int, float, str, type(None))


def dimensions_of(template: Template, space: Mapping[str, Any]) -> list[Dimension]:
    """The dimensions of a search space.

    Raises
    ------
    SweepError
        When a name is none of a parameter, or a parameter has no values.
    """
    axes = axes_of(template, _as_ranges(template, space))
    return [Dimension(axis) for axis in axes]


class Dimension:
    """One parameter of a search: a range of numbers, or choices."""

    def __init__(self, axis: Axis) -> None:
        self.name = axis.name
        self.range = axis.slider or axis.range
        self.choices = [] if self.range else [axis[i] for i in range(len(axis))]
        self._axis = axis
        self._is_plain = all(isinstance(choice, _CHOICES) for choice in self.choices)

    def first(self) -> Any:
        """One of the values."""
        return self._axis.first()

    def suggest(self, trial: Any) -> Any:
        """Ask the sampler for a value."""
        if self.range is None:
            if self._is_plain:
                return trial.suggest_categorical(self.name, self.choices)
            # Optuna keeps plain values only
            return self.choices[trial.suggest_categorical(f'{self.name} (number)', list(range(len(self.choices))))]
        low, high, log = self.range.min, self.range.max, self.range.log
        if self.range.is_whole:
            value = trial.suggest_int(self.name, low, high, step=1 if log else int(self.range.step or 1), log=log)
        else:
            value = trial.suggest_float(self.name, low, high, step=None if log else self.range.step, log=log)
        return self._axis.settle(value)

    def value(self, params: Mapping[str, Any]) -> Any:
        """The value that a finished trial has; KeyError where it has none."""
        if self.name in params:
            return self._axis.settle(params[self.name])
        return self.choices[params[f'{self.name} (number)']]

    def __repr__(self) -> str:
        return f'{self.name}: {self.range or [_described(choice) for choice in self.choices]}'


def _as_ranges(template: Template, space: Mapping[str, Any]) -> dict[str, Any]:
    """A tuple of two numbers is a range here, as in `kartnb.interact`."""
    found = {}
    for name, given in space.items():
        kind = number_type(template.parameter(name))
        is_range = kind is not None and isinstance(given, tuple) and len(given) == 2 and given[0] < given[1]
        if is_range and kind is int:
            given = Slider(int(given[0]), int(given[1]))
        elif is_range:
            given = Slider(float(given[0]), float(given[1]))
        found[name] = given
    return found


def _described(choice: Any) -> str:
    identify = getattr(choice, 'make_unique_id', None)
    return str(identify()) if identify is not None else repr(choice)
