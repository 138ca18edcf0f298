"""Controls from parameters: each type of parameter has a widget that fits it, and a mark for what it does not take."""

from __future__ import annotations

import enum
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from html import escape
from typing import Any

import ipywidgets
import luigi

from kartnb._luigi import NO_VALUE, number_range
from kartnb.errors import ParameterValueError, SweepError
from kartnb.execution.sweeps.template import Template
from kartnb.notebook.control_widgets import Choices, Reader, choices_of, from_text, number_in_range, plain_widget
from kartnb.task.parameters import ListTaskInstanceParameter, TaskInstanceParameter
from kartnb.task.secrets import is_private
from kartnb.task.slider import Slider, hint_of, slider
from kartnb.task.values import bounds, number_type
from kartnb.view.clean import one_line

_MOST_CHOICES = 1000


class Control:
    """The control of one parameter.

    Parameters
    ----------
    name
        The parameter's name, perhaps with dots.
    settle
        Makes a value what the parameter means, or refuses it.
    reader
        The widget that a person moves, and how its value is read.
    help_text
        What the parameter is, or ''.

    Attributes
    ----------
    widget
        What is shown: the widget, and below it the mark where its value is refused.
    error
        Why the present value is refused, or ''.
    """

    def __init__(self, name: str, settle: Callable[[Any], Any], reader: Reader, help_text: str = '') -> None:
        self.name = name
        self.error = ''
        self._settle = settle
        self._reader = reader
        self._mark = ipywidgets.HTML(layout=ipywidgets.Layout(display='none'))
        label = ipywidgets.Label(name, tooltip=help_text or name, layout=ipywidgets.Layout(width='150px'))
        self.input = reader.widget
        for widget in reader.observed:  # a box of several takes none
            widget.tooltip = help_text or name
        self.input.add_class('kartnb-control')
        row = ipywidgets.HBox([label, self.input])
        self.widget = ipywidgets.VBox([row, self._mark])

    @property
    def value(self) -> Any:
        """The present value, as the parameter means it.

        Raises
        ------
        ParameterValueError
            When the parameter does not take it; the control is marked then.
        """
        try:
            found = self._settle(self._reader.read())
        except ParameterValueError as error:
            self._tell(str(error))
            raise
        self._tell('')
        return found

    def observe(self, callback: Callable[[], object]) -> None:
        """Call `callback` whenever the control is moved."""
        for widget in self._reader.observed:
            widget.observe(lambda _: callback(), names='value')

    def _tell(self, error: str) -> None:
        if error == self.error:
            return
        self.error = error
        # the words carry the mark, not the colour alone
        self._mark.value = f'<span role="alert" style="color:#c21c28">✗ {escape(one_line(error, 200))}</span>'
        self._mark.layout.display = None if error else 'none'
        self.input.layout.border = '2px solid #c21c28' if error else None


def controls_for(template: Template, space: Mapping[str, Any]) -> tuple[list[Control], dict[str, Any]]:
    """The controls of a task, and the values that hold without one.

    Parameters
    ----------
    template
        The task.
    space
        What the caller gives by parameter name: a ``(min, max)`` or ``(min, max, step)`` tuple, a `Slider`, a list of
        choices, None for the parameter's own control, or one value that holds. When it is empty, every public parameter
        of the task's own has a control.

    Raises
    ------
    SweepError
        When there is no such parameter, or nothing to choose from.
    ParameterValueError
        When a parameter does not take a value.
    """
    asked = dict(space) or dict.fromkeys(own_names(template))
    if not asked:
        raise SweepError(f'{template.cls.__name__} has no parameters of its own, so there is nothing to move.')
    controls, fixed = [], {}
    for name, given in asked.items():
        parameter = template.parameter(name)
        if is_private(parameter):
            raise SweepError(f'{name!r} is secret, so it has no control: give it with the task, Task({name}=…).')
        if given is not None and not is_several(given):
            fixed[name] = template.settle(name, given)
        else:
            controls.append(control(template, name, given))
    return controls, fixed


def own_names(template: Template) -> list[str]:
    """The parameters of a task that have a control where none is asked for by name."""
    from kartnb.notebook.cell import own_parameters

    return [
        name
        for name, parameter in own_parameters(template.cls)
        if not isinstance(parameter, TaskInstanceParameter | ListTaskInstanceParameter)
    ]


def is_several(given: Any) -> bool:
    """Whether something gives values to choose from, not one value."""
    if isinstance(given, Slider) or (isinstance(given, type) and issubclass(given, enum.Enum)):
        return True
    return isinstance(given, Iterable) and not isinstance(given, str | bytes | Mapping | luigi.Task)


def control(template: Template, name: str, given: Any = None) -> Control:
    """The control of one parameter; `given` is as in `controls_for`.

    Raises
    ------
    SweepError
        When there is nothing to choose from.
    """
    parameter = template.parameter(name)
    start = template.start(name)

    def settle(value: Any) -> Any:
        return template.settle(name, value)

    reader = _reader(parameter, name, start, given, settle)
    help_text = one_line(parameter.description or '', 300)
    return Control(name, settle, reader, help_text)


def _reader(parameter: luigi.Parameter[Any], name: str, start: Any, given: Any, settle: Callable[[Any], Any]) -> Reader:
    if given is None:
        given = hint_of(parameter) or _own_range(parameter)
    span = _as_slider(parameter, given)
    if span is not None:
        _check_range(span, settle)
        return number_in_range(span, start, number_type(parameter) is int)
    if given is not None:
        values = [settle(value) for value in _listed(name, given)]
        return choices_of(Choices(values, start))
    if isinstance(parameter, TaskInstanceParameter | ListTaskInstanceParameter):
        return _task_choice(parameter, name, start)
    return plain_widget(parameter, start) or from_text(parameter, start)


def _task_choice(parameter: luigi.Parameter[Any], name: str, start: Any) -> Reader:
    if start is NO_VALUE:
        raise SweepError(f'There are no tasks to choose from for {name!r}: give a list of them, {name}=[…].')
    several = isinstance(parameter, ListTaskInstanceParameter)
    if several:
        return choices_of(Choices(list(start), tuple(start)), several=True)
    return choices_of(Choices([start], start))


def _own_range(parameter: luigi.Parameter[Any]) -> Slider | None:
    found = bounds(parameter)
    if found is None or not all(map(math.isfinite, found)):
        return None
    if number_type(parameter) is float:
        ends, (low, high) = number_range(parameter), map(float, found)
        step = (high - low) / 100
        return slider(low + step * (not ends.includes_low), high - step * (not ends.includes_high))
    return slider(*found) if found[0] < found[1] else None


def _as_slider(parameter: luigi.Parameter[Any], given: Any) -> Slider | None:
    if isinstance(given, Slider):
        return given
    if isinstance(given, range) and len(given) > 1 and given.step > 0:
        return Slider(given[0], given[-1], given.step)
    is_range = isinstance(given, tuple) and len(given) in (2, 3) and number_type(parameter) is not None
    return slider(*given) if is_range else None


def _check_range(span: Slider, settle: Callable[[Any], Any]) -> None:
    """Refuse a range whose ends the parameter does not take; open ends are left out by the slider's first step."""
    for end in (span.min, span.max):
        settle(end)


def _listed(name: str, given: Any) -> Sequence[Any]:
    values = list(given)
    if not values:
        raise SweepError(f'There is nothing to choose from for {name!r}.')
    if len(values) > _MOST_CHOICES:
        raise SweepError(f'{name!r} has {len(values):,} choices: give a range, such as {name}=(min, max).')
    return values
