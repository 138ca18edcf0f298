"""Controls for parameters: a widget for each type of parameter, and a mark on values that it does not take.

`controls_for` is the entrance; below it, how a widget is chosen and made.
"""

from __future__ import annotations

import datetime
import enum
import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from html import escape
from typing import Any

import ipywidgets
import luigi

from kartnb._luigi import NO_VALUE, enumeration_of, listed_choices, number_range
from kartnb.errors import ParameterValueError, SweepError
from kartnb.notebook.cell import own_parameters
from kartnb.sweeps.space import Template
from kartnb.task.parameters import ListTaskInstanceParameter, TaskInstanceParameter
from kartnb.task.secrets import is_private
from kartnb.task.values import Slider, bounds, hint_of, is_optional, number_type, slider, takes
from kartnb.view.sanitise import one_line
from kartnb.view.words import value_text

_WIDE = {'width': '360px'}
_STEPS = 100
_MOST_CHOICES = 1000
#: Earlier ones are not read back from the form in which they are written.
_FIRST_YEAR = 1000


def controls_for(template: Template, space: Mapping[str, Any]) -> tuple[list[Control], dict[str, Any]]:
    """The controls for a task, and the values that are fixed.

    The space has by parameter name a ``(min, max)`` or ``(min, max, step)`` tuple, a `Slider`, a list of choices, None
    for the control of the parameter's type, or a single value, which is fixed. When it is empty, every public parameter
    of the task itself has a control. Raises SweepError when a parameter does not exist or there is nothing to choose
    from, ParameterValueError when one does not take a value.
    """
    asked = dict(space) or dict.fromkeys(_own_names(template))
    if not asked:
        raise SweepError(f'{template.cls.__name__} has no parameters of its own, so there is nothing to move.')
    controls, fixed = [], {}
    for name, given in asked.items():
        parameter = template.parameter(name)
        if is_private(parameter):
            raise SweepError(f'{name!r} is secret, so it has no control: give it with the task, Task({name}=…).')
        if given is not None and not _is_several(given):
            fixed[name] = template.settle(name, given)
        else:
            controls.append(control(template, name, given))
    return controls, fixed


def _own_names(template: Template) -> list[str]:
    """The parameters of a task that have a control when none are named."""
    return [
        name
        for name, parameter in own_parameters(template.cls)
        if not isinstance(parameter, TaskInstanceParameter | ListTaskInstanceParameter)
    ]


def _is_several(given: Any) -> bool:
    """Whether it is values to choose from, not a single value."""
    if isinstance(given, Slider) or (isinstance(given, type) and issubclass(given, enum.Enum)):
        return True
    return isinstance(given, Iterable) and not isinstance(given, str | bytes | Mapping | luigi.Task)


def control(template: Template, name: str, given: Any = None) -> Control:
    """The control of one parameter; `given` is as in `controls_for`.

    Raises SweepError when there is nothing to choose from.
    """
    parameter = template.parameter(name)
    settle = partial(template.settle, name)
    reader = _reader(parameter, name, template.start(name), given, settle)
    return Control(name, settle, reader, one_line(parameter.description or '', 300))


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
        raise SweepError(f'No tasks to choose from for {name!r}: give a list of them, {name}=[…].')
    if isinstance(parameter, ListTaskInstanceParameter):
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
    """Raise for a range whose ends the parameter does not take; `_own_range` leaves out open ends."""
    for end in (span.min, span.max):
        settle(end)


def _listed(name: str, given: Any) -> Sequence[Any]:
    values = list(given)
    if not values:
        raise SweepError(f'Nothing to choose from for {name!r}: give at least one value.')
    if len(values) > _MOST_CHOICES:
        raise SweepError(f'{name!r} has {len(values):,} choices: give a range, such as {name}=(min, max).')
    return values


class Control:
    """The control of one parameter, whose name may have dots.

    `settle` converts a value to what the parameter holds, or raises; `reader` has the input and how to read its value.
    The `widget` is the whole control: a label, the input, and below it the mark of a value that the parameter does not
    take; `error` says why not, or is ''.
    """

    def __init__(self, name: str, settle: Callable[[Any], Any], reader: Reader, help_text: str = '') -> None:
        self.name = name
        self.error = ''
        self._settle = settle
        self._reader = reader
        self._mark = ipywidgets.HTML(layout=ipywidgets.Layout(display='none'))
        label = ipywidgets.Label(name, tooltip=help_text or name, layout=ipywidgets.Layout(width='150px'))
        self.input = reader.widget
        for widget in reader.observed:  # a box of several widgets has no tooltip
            widget.tooltip = help_text or name
        self.input.add_class('kartnb-control')
        row = ipywidgets.HBox([label, self.input])
        self.widget = ipywidgets.VBox([row, self._mark])

    @property
    def value(self) -> Any:
        """The present value, converted by the parameter.

        Raises ParameterValueError when the parameter does not take it; the control then shows a mark.
        """
        try:
            found = self._settle(self._reader.read())
        except ParameterValueError as error:
            self._show_error(str(error))
            raise
        self._show_error('')
        return found

    def observe(self, callback: Callable[[], object]) -> None:
        """Call `callback` whenever the control is moved."""
        for widget in self._reader.observed:
            widget.observe(lambda _: callback(), names='value')

    def _show_error(self, error: str) -> None:
        if error == self.error:
            return
        self.error = error
        # a sign and words, because colour alone does not reach everybody
        self._mark.value = f'<span role="alert" style="color:#c21c28">✗ {escape(one_line(error, 200))}</span>'
        self._mark.layout.display = None if error else 'none'
        self.input.layout.border = '2px solid #c21c28' if error else None


@dataclass(frozen=True, slots=True)
class Reader:
    """A widget, how to read its value, and the widgets to observe for a change."""

    widget: Any
    read: Callable[[], Any]
    observed: Sequence[Any] = field(default=())

    @classmethod
    def of(cls, widget: Any, read: Callable[[Any], Any] = lambda value: value) -> Reader:
        """The reader of one widget with a value."""
        return cls(widget, lambda: read(widget.value), (widget,))


@dataclass(frozen=True, slots=True)
class Choices:
    """Values to choose from, and the initial one."""

    values: Sequence[Any]
    start: Any

    @property
    def first(self) -> int:
        """The index of the initial value."""
        return next((i for i, value in enumerate(self.values) if _is_same(value, self.start)), 0)

    @property
    def labels(self) -> list[str]:
        """A distinct label for each value."""
        texts = [value_text(value, 60) for value in self.values]
        return [text if texts.count(text) == 1 else f'{text} ({i})' for i, text in enumerate(texts)]


def _layout() -> Any:
    return ipywidgets.Layout(**_WIDE)


def number_in_range(span: Slider, start: Any, whole: bool) -> Reader:
    """A slider over a range of numbers."""
    values: Sequence[float] | None = span.values() if span.log or (whole and not span.is_whole) else None
    if whole and span.log:
        values = _whole_by_factors(span)
    if values is not None:
        kind = int if whole else float
        return choices_of(Choices([kind(value) for value in values], start), sliding=True)
    begin = start if isinstance(start, int | float) and span.min <= start <= span.max else span.min
    options = {'layout': _layout(), 'continuous_update': True, 'value': begin}
    if span.log:
        ends = {'min': math.log10(span.min), 'max': math.log10(span.max)}
        step = _step_through(ends['min'], ends['max'], math.log10(begin))
        widget = ipywidgets.FloatLogSlider(base=10, **ends, step=step, readout_format='.4g', **options)
        # it computes its ends as powers of ten, so they are off by a rounding error
        return Reader.of(widget, lambda value: min(max(float(f'{value:.6g}'), span.min), span.max))
    if whole:
        return Reader.of(
            ipywidgets.IntSlider(min=int(span.min), max=int(span.max), step=int(span.step or 1), **options)
        )
    step = span.step or _step_through(span.min, span.max, begin)
    widget = ipywidgets.FloatSlider(min=span.min, max=span.max, step=step, readout_format='.4g', **options)
    # without the rounding errors of the steps, which would give another unique id
    return Reader.of(widget, lambda value: float(f'{value:.12g}'))


def _step_through(low: float, high: float, start: float) -> float:
    """About a hundredth of a range, chosen so that the initial value is a multiple: a slider rounds to its steps."""
    step = (high - low) / _STEPS
    for finer in (1, 2, 5, 10, 20, 50, 100):
        number = (start - low) / step * finer
        if abs(number - round(number)) < 1e-9:
            return step / finer
    return (start - low) / max(round((start - low) / step), 1)


def _whole_by_factors(span: Slider) -> list[int]:
    factor = span.step or (span.max / span.min) ** (1 / _STEPS)
    steps = round(math.log(span.max / span.min, factor))
    found = {round(span.min * factor**i) for i in range(steps + 1)}
    return sorted(value for value in {*found, int(span.min)} if span.min <= value <= span.max)


def choices_of(choices: Choices, *, several: bool = False, sliding: bool | None = None) -> Reader:
    """A list to choose from, or a slider over it where the values are numbers in order."""
    values, options = choices.values, list(zip(choices.labels, range(len(choices.values)), strict=True))
    if several:
        chosen = choices.start if isinstance(choices.start, list | tuple) else ()
        begin = tuple(i for i, value in enumerate(values) if any(_is_same(value, each) for each in chosen))
        rows = min(len(values), 6)
        many = ipywidgets.SelectMultiple(options=options, value=begin, rows=rows, layout=_layout())
        return Reader.of(many, lambda numbers: [values[i] for i in numbers])
    if sliding is None:
        numbers = [value for value in values if isinstance(value, int | float) and not isinstance(value, bool)]
        sliding = len(values) > 1 and len(numbers) == len(values) and numbers == sorted(numbers)
    kind = ipywidgets.SelectionSlider if sliding else ipywidgets.Dropdown
    widget = kind(options=options, value=choices.first, layout=_layout())
    return Reader.of(widget, lambda number: values[number])


def plain_widget(parameter: luigi.Parameter[Any], start: Any) -> Reader | None:
    """The widget for a type of parameter; None for types that are entered as text."""
    if isinstance(parameter, luigi.BoolParameter) and not is_optional(parameter):
        return Reader.of(ipywidgets.Checkbox(value=bool(start) and start is not NO_VALUE, indent=False))
    if isinstance(parameter, luigi.ChoiceListParameter):
        return choices_of(Choices(_ordered(listed_choices(parameter)), start), several=True)
    if isinstance(parameter, luigi.EnumListParameter):
        return choices_of(Choices(_members(parameter), start), several=True)
    found = _alternatives(parameter)
    if found is not None:
        return choices_of(Choices([*([None] if is_optional(parameter) else []), *found], start), sliding=False)
    if is_optional(parameter):
        return None  # the empty text is None
    return _number(parameter, start) or _date(parameter, start)


def _alternatives(parameter: luigi.Parameter[Any]) -> list[Any] | None:
    if isinstance(parameter, luigi.BoolParameter):
        return [True, False]
    if isinstance(parameter, luigi.ChoiceParameter):
        return _ordered(listed_choices(parameter))
    if isinstance(parameter, luigi.EnumParameter):
        return _members(parameter)
    return None


def _number(parameter: luigi.Parameter[Any], start: Any) -> Reader | None:
    kind = number_type(parameter)
    if kind is None:
        return None
    begin = start if isinstance(start, int | float) else kind()
    widget = ipywidgets.IntText if kind is int else ipywidgets.FloatText
    return Reader.of(widget(value=begin, layout=_layout()))


def _date(parameter: luigi.Parameter[Any], start: Any) -> Reader | None:
    if type(parameter) is luigi.DateParameter:
        day = start if isinstance(start, datetime.date) else datetime.date.today()
        return Reader.of(ipywidgets.DatePicker(value=day, layout=_layout()))
    if isinstance(parameter, luigi.DateHourParameter | luigi.DateMinuteParameter | luigi.DateSecondParameter):
        moment = start if isinstance(start, datetime.datetime) else datetime.datetime.now().replace(microsecond=0)
        return Reader.of(ipywidgets.NaiveDatetimePicker(value=moment, layout=_layout()))
    return _month(parameter, start) if isinstance(parameter, luigi.MonthParameter | luigi.YearParameter) else None


def _month(parameter: luigi.MonthParameter | luigi.YearParameter, start: Any) -> Reader:
    """A year, and for a month its number; the parameter reads them in the form that it writes."""
    day = start if isinstance(start, datetime.date) else datetime.date.today()
    year = ipywidgets.BoundedIntText(
        value=day.year, min=_FIRST_YEAR, max=datetime.MAXYEAR, layout=ipywidgets.Layout(width='90px')
    )
    if isinstance(parameter, luigi.YearParameter):
        year.step = max(parameter.interval, 1)
        return Reader.of(year, lambda value: parameter.serialize(datetime.date(value, 1, 1)))
    months = [(f'{number:02d}', number) for number in range(1, 13)]
    month = ipywidgets.Dropdown(options=months, value=day.month, layout=ipywidgets.Layout(width='70px'))
    row = ipywidgets.HBox([year, month])
    return Reader(row, lambda: parameter.serialize(datetime.date(year.value, month.value, 1)), (year, month))


def from_text(parameter: luigi.Parameter[Any], start: Any) -> Reader:
    """A line of text (for a dict: several) that the parameter parses; empty is None for an optional parameter."""
    text = '' if start is NO_VALUE or start is None else str(parameter.serialize(start))
    options = {'placeholder': _placeholder(parameter), 'continuous_update': True, 'layout': _layout()}
    if isinstance(parameter, luigi.DictParameter):
        text = _indented(text)
        widget = ipywidgets.Textarea(value=text, rows=min(max(text.count('\n') + 1, 2), 8), **options)
    else:
        widget = ipywidgets.Text(value=text, **options)
    optional = is_optional(parameter)
    return Reader.of(widget, lambda value: None if optional and not value.strip() else value)


def _placeholder(parameter: luigi.Parameter[Any]) -> str:
    if is_optional(parameter):
        return 'none'
    expected = takes(parameter)
    return '' if expected == 'another value' else expected


def _indented(text: str) -> str:
    try:
        return json.dumps(json.loads(text), indent=1, ensure_ascii=False)
    except ValueError:
        return text


def _members(parameter: Any) -> list[Any]:
    return list(enumeration_of(parameter))


def _ordered(choices: Any) -> list[Any]:
    try:
        return sorted(choices)
    except TypeError:
        return list(choices)


def _is_same(one: Any, other: Any) -> bool:
    try:
        return one is other or bool(one == other)
    except Exception:  # a value may be anything
        return False
