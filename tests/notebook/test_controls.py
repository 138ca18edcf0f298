"""Controls: each type of parameter has a fitting one, starts at the default, and marks what it does not take."""

from __future__ import annotations

import datetime
import enum
import operator
import pathlib
from typing import Any

import ipywidgets
import luigi
import pytest

import kartnb
from kartnb.errors import ParameterValueError, SweepError


class Kind(enum.Enum):
    A = 1
    B = 2


def control(task: Any, name: str, given: Any = None) -> Any:
    """Return the control of one parameter."""
    (found,) = kartnb.interact(task, {name: given}).controls
    return found


class Rows(kartnb.TaskOnKart[Any]):
    rows = luigi.IntParameter(default=3)


NOON = datetime.datetime(2024, 1, 2, 12)


class Every(kartnb.TaskOnKart[Any]):
    """Every type of parameter, each with a default."""

    whole = luigi.IntParameter(default=3, description='how <deep>')
    real = luigi.FloatParameter(default=0.5)
    bounded = luigi.NumericalParameter(var_type=int, min_value=1, max_value=9, default=4)
    share = luigi.NumericalParameter(
        var_type=float, min_value=0, max_value=1, left_op=operator.lt, right_op=operator.lt, default=0.5
    )
    log = kartnb.slider(1e-4, 1, log=True)(luigi.FloatParameter(default=0.1))
    log_whole = kartnb.slider(1, 1000, log=True)(luigi.IntParameter(default=1))
    flag = luigi.BoolParameter()
    explicit = kartnb.ExplicitBoolParameter(default=True)
    choice = luigi.ChoiceParameter(choices=['x', 'y'], default='y')
    choices = luigi.ChoiceListParameter(choices=['x', 'y'], default=('y',))
    kind = luigi.EnumParameter(enum=Kind, default=Kind.B)
    kinds = luigi.EnumListParameter(enum=Kind, default=(Kind.A,))
    day = luigi.DateParameter(default=NOON.date())
    month = luigi.MonthParameter(default=datetime.date(2024, 1, 1))
    year = luigi.YearParameter(default=datetime.date(2024, 1, 1))
    hour = luigi.DateHourParameter(default=NOON)
    minute = luigi.DateMinuteParameter(default=NOON)
    second = luigi.DateSecondParameter(default=NOON)
    zoned = kartnb.ZonedDateSecondParameter(default=NOON.replace(tzinfo=datetime.UTC))
    delta = luigi.TimeDeltaParameter(default=datetime.timedelta(hours=2))
    interval = luigi.DateIntervalParameter(default=luigi.date_interval.Month(2024, 1))
    many = luigi.ListParameter(default=[1, 2])
    several = luigi.TupleParameter(default=(1, 2))
    named = luigi.DictParameter(default={'a': 1})
    path = luigi.PathParameter(default=pathlib.Path('a'))
    text = luigi.Parameter(default='日本')
    maybe = luigi.OptionalParameter(default=None)
    maybe_whole = luigi.OptionalIntParameter(default=None)
    maybe_flag = luigi.OptionalBoolParameter(default=None)
    maybe_path = luigi.OptionalPathParameter(default=None)
    task = kartnb.TaskInstanceParameter(default=Rows())
    tasks = kartnb.ListTaskInstanceParameter(default=[Rows()])
    secret = luigi.Parameter(default='s3cret', visibility=luigi.parameter.ParameterVisibility.PRIVATE)


KINDS = {
    'whole': 'IntText', 'real': 'FloatText', 'bounded': 'IntSlider', 'share': 'FloatSlider', 'log': 'FloatLogSlider',
    'log_whole': 'SelectionSlider', 'flag': 'Checkbox', 'explicit': 'Checkbox', 'choice': 'Dropdown',
    'choices': 'SelectMultiple', 'kind': 'Dropdown', 'kinds': 'SelectMultiple', 'day': 'DatePicker', 'month': 'HBox',
    'year': 'BoundedIntText', 'hour': 'NaiveDatetimePicker', 'minute': 'NaiveDatetimePicker',
    'second': 'NaiveDatetimePicker', 'zoned': 'Text', 'delta': 'Text',
    'interval': 'Text', 'many': 'Text', 'several': 'Text', 'named': 'Textarea',
    'path': 'Text', 'text': 'Text', 'maybe': 'Text', 'maybe_whole': 'Text', 'maybe_flag': 'Dropdown',
    'maybe_path': 'Text', 'task': 'Dropdown', 'tasks': 'SelectMultiple',
}  # fmt: skip


@pytest.mark.parametrize('name', KINDS)
def test_each_type_has_its_widget_and_begins_at_its_default(name: str) -> None:
    found = control(Every, name)
    assert type(found.input).__name__ == KINDS[name]
    assert Every(**{name: found.value}).make_unique_id() == Every().make_unique_id()


@pytest.mark.parametrize(
    'name, typed, value',
    [
        ('interval', '2024-03', luigi.date_interval.Month(2024, 3)),
        ('delta', '3h', datetime.timedelta(hours=3)),
        ('many', '[1, {"a": 2}]', (1, {'a': 2})),
        ('named', '{"b": [1]}', {'b': (1,)}),
        ('path', 'b/c', pathlib.Path('b/c')),
        ('maybe', '', None),
        ('maybe_whole', '7', 7),
        ('text', '', ''),
    ],
)
def test_the_parameter_reads_what_is_typed(name: str, typed: str, value: Any) -> None:
    found = control(Every, name)
    found.input.value = typed
    assert found.value == value


@pytest.mark.parametrize(
    'name, typed', [('interval', 'March'), ('many', '[1,'), ('delta', 'long'), ('maybe_whole', 'x')]
)
def test_what_it_does_not_take_is_marked_until_it_is_right(name: str, typed: str) -> None:
    found = control(Every, name)
    before = found.input.value
    found.input.value = typed
    with pytest.raises(ParameterValueError):
        found.value
    mark = found.widget.children[1]
    assert '✗' in mark.value
    assert mark.layout.display is None
    found.input.value = before
    found.value
    assert mark.layout.display == 'none'


def test_months_and_years_are_chosen_as_such() -> None:
    moved: list[int] = []
    found = control(Every, 'month')
    found.observe(lambda: moved.append(1))
    year, month = found.input.children
    assert [label for label, _ in month.options] == [f'{number:02d}' for number in range(1, 13)]
    year.value, month.value = 2031, 11
    assert (found.value, len(moved)) == (datetime.date(2031, 11, 1), 2)
    year.value = 99
    assert found.value == datetime.date(1000, 11, 1)
    found = control(Every, 'year')
    found.input.value = 2031
    assert found.value == datetime.date(2031, 1, 1)


def test_a_month_of_ones_own_reads_and_writes_its_own_form() -> None:
    class Reiwa(luigi.MonthParameter):
        date_format = '%Y年%m月'

    class Report(kartnb.TaskOnKart[int]):
        month = Reiwa(default=datetime.date(2024, 5, 1))
        every_other = luigi.YearParameter(default=datetime.date(2024, 1, 1), interval=2)
        maybe = luigi.MonthParameter(default=None)

    found = control(Report, 'month')
    found.input.children[1].value = 12
    assert found.value == datetime.date(2024, 12, 1)
    year = control(Report, 'every_other')
    assert (year.input.step, year.value) == (2, datetime.date(2024, 1, 1))
    maybe = control(Report, 'maybe')
    assert maybe.value is None
    maybe.input.value = '2024-07'
    assert maybe.value == datetime.date(2024, 7, 1)


@pytest.mark.parametrize(
    'low, high, start', [(-3, 0, -1), (0, 1, 0.123), (0, 1, 0.5), (0, 1, 1 / 3), (0, 1, 0), (0, 1, 1), (0, 1, 0.0001)]
)
def test_the_grid_of_a_slider_goes_through_where_it_begins(low: float, high: float, start: float) -> None:
    step = control(Every(real=start), 'real', (low, high)).input.step
    assert step > 0
    assert abs((start - low) / step - round((start - low) / step)) < 1e-6


def test_hostile_text_stays_text() -> None:
    found = control(Every, 'interval')
    found.input.value = '<img src=x onerror=alert(1)>'
    with pytest.raises(ParameterValueError):
        found.value
    assert '<img' not in found.widget.children[1].value


def test_the_description_is_help() -> None:
    assert control(Every, 'whole').input.tooltip == 'how <deep>'


@pytest.mark.parametrize(
    'name, given, widget, value',
    [
        ('whole', (1, 10), 'IntSlider', 3),
        ('whole', (5, 10), 'IntSlider', 5),
        ('whole', range(1, 11, 2), 'IntSlider', 3),
        ('real', (0.0, 1.0, 0.25), 'FloatSlider', 0.5),
        ('real', [0.01, 0.5, 1], 'SelectionSlider', 0.5),
        ('real', kartnb.slider(0.01, 1, log=True), 'FloatLogSlider', 0.5),
        ('text', ['a', '日本'], 'Dropdown', '日本'),
        ('kind', Kind, 'Dropdown', Kind.B),
    ],
)
def test_the_caller_gives_ranges_and_choices(name: str, given: Any, widget: str, value: Any) -> None:
    found = control(Every, name, given)
    assert type(found.input).__name__ == widget
    assert (found.value, type(found.value)) == (value, type(value))


def test_tasks_are_chosen_among_those_given() -> None:
    found = control(Every, 'task', [Rows(rows=1), Rows(rows=2)])
    found.input.value = 1
    assert found.value is Rows(rows=2)
    below = control(Every, 'task.rows', (1, 5))
    assert below.value == 3


def test_without_values_all_of_the_tasks_own_parameters_have_controls() -> None:
    found = kartnb.interact(Every)
    assert [control.name for control in found.controls] == [name for name in KINDS if name not in ('task', 'tasks')]
    found = kartnb.interact(Every, whole=(1, 5), text='held')
    assert ([control.name for control in found.controls], found.task.text) == (['whole'], 'held')


class Bare(kartnb.TaskOnKart[Any]):
    rows = kartnb.TaskInstanceParameter()


@pytest.mark.parametrize(
    'task, space, message',
    [
        (Every, {'whoel': (1, 2)}, "Every has no parameter 'whoel': did you mean 'whole'?"),
        (Every, {'secret': ['a', 'b']}, "'secret' is secret, so it has no control"),
        (Every, {'text': []}, "Nothing to choose from for 'text'"),
        (Every, {'whole': range(0, 5000, -1)}, "Nothing to choose from for 'whole'"),
        (Bare, {'rows': None}, "No tasks to choose from for 'rows'"),
        (Bare, {}, 'Bare has no parameters of its own, so there is nothing to move.'),
    ],
)
def test_bad_input_is_one_sentence(task: Any, space: dict[str, Any], message: str) -> None:
    with pytest.raises(SweepError) as found:
        kartnb.interact(task, space)
    assert str(found.value).startswith(message)


@pytest.mark.parametrize('given', [(5, 1), (0, 10, 0), ('a', 'b')])
def test_ranges_make_sense(given: Any) -> None:
    with pytest.raises(ParameterValueError):
        control(Every, 'whole', given)
    with pytest.raises(ParameterValueError, match='takes a whole number in'):
        control(Every, 'bounded', (0, 100))


def test_a_move_is_reported() -> None:
    heard: list[int] = []
    found = control(Every, 'whole', (1, 9))
    found.observe(lambda: heard.append(found.value))
    found.input.value = 5
    assert heard == [5]
    assert isinstance(found.widget, ipywidgets.VBox)
