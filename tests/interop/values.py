"""Every parameter type, with how it is declared and which values it may be given."""

from __future__ import annotations

import datetime
import enum
import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import luigi
from hypothesis import strategies as st
from luigi import date_interval

from tests.interop.twins import Library


class Colour(enum.Enum):
    RED = 1
    GREEN = 'g'
    BLUE = None


@dataclass(frozen=True)
class Range:
    """A value of a SerializableParameter; the label is left out of its text."""

    low: float
    high: float
    label: str = ''

    def gokart_serialize(self) -> str:
        return json.dumps([self.low, self.high])

    @classmethod
    def gokart_deserialize(cls, s: str) -> Range:
        return cls(*json.loads(s))


@dataclass(frozen=True)
class Kind:
    """A parameter type: `declare(library, **options)` makes the parameter, `values` are values that it may be given."""

    declare: Callable[..., luigi.Parameter[Any]]
    values: st.SearchStrategy[Any]


def _luigi(name: str, values: st.SearchStrategy[Any], **fixed: Any) -> Kind:
    return Kind(lambda library, **options: getattr(luigi, name)(**fixed, **options), values)


def _kart(name: str, values: st.SearchStrategy[Any], *fixed: Any) -> Kind:
    return Kind(lambda library, **options: getattr(library, name)(*fixed, **options), values)


texts = st.text(max_size=12)
integers = st.integers(-(10**20), 10**20) | st.integers(-3, 3)
floats = st.floats() | st.sampled_from([0.0, -0.0, 1.0, 0.1, 1e22, math.inf, math.nan])
scalars = st.none() | st.booleans() | integers | floats | texts
dates = st.dates(datetime.date(1000, 1, 1))
moments = st.datetimes(datetime.datetime(1000, 1, 1))
structures = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3), max_leaves=8
)
lists = st.lists(structures, max_size=4)
tuples = lists.map(tuple) | st.lists(st.tuples(integers, texts), max_size=3).map(tuple)
mappings = st.dictionaries(texts, structures, max_size=4)
paths = st.lists(st.sampled_from(['a', 'b.txt', '..', '日本', '']), min_size=1, max_size=4).map('/'.join)
zoned = st.datetimes(
    datetime.datetime(1900, 1, 1),
    timezones=st.integers(-12, 14).map(lambda hours: datetime.timezone(datetime.timedelta(hours=hours))),
)
intervals = st.one_of(
    dates.map(lambda day: date_interval.Date(day.year, day.month, day.day)),
    dates.map(lambda day: date_interval.Month(day.year, day.month)),
    dates.map(lambda day: date_interval.Year(day.year)),
    dates.map(lambda day: date_interval.Week(*day.isocalendar()[:2])),
    st.tuples(dates, dates).map(lambda pair: date_interval.Custom(min(pair), max(pair))),
)
spans = st.timedeltas(datetime.timedelta(-(10**6)), datetime.timedelta(10**6))

#: By the name of the class, with a suffix where one class is declared in several ways.
KINDS: dict[str, Kind] = {
    'Parameter': _luigi('Parameter', texts),
    'Parameter, any value': _luigi('Parameter', scalars | dates | structures),
    'StrParameter': _luigi('StrParameter', texts),
    'OptionalParameter': _luigi('OptionalParameter', st.none() | texts),
    'OptionalStrParameter': _luigi('OptionalStrParameter', st.none() | texts),
    'IntParameter': _luigi('IntParameter', integers | st.booleans() | floats),
    'OptionalIntParameter': _luigi('OptionalIntParameter', st.none() | integers),
    'FloatParameter': _luigi('FloatParameter', floats | integers),
    'OptionalFloatParameter': _luigi('OptionalFloatParameter', st.none() | floats),
    'BoolParameter': _luigi('BoolParameter', st.booleans() | st.sampled_from(['true', 'FALSE', 'yes', 1, None])),
    'OptionalBoolParameter': _luigi('OptionalBoolParameter', st.none() | st.booleans()),
    'DateParameter': _luigi('DateParameter', dates | moments),
    'DateParameter, every week': _luigi('DateParameter', dates, interval=7, start=datetime.date(2000, 1, 3)),
    'MonthParameter': _luigi('MonthParameter', dates | dates.map(lambda d: date_interval.Month(d.year, d.month))),
    'YearParameter': _luigi('YearParameter', dates | dates.map(lambda d: date_interval.Year(d.year))),
    'DateHourParameter': _luigi('DateHourParameter', moments | dates),
    'DateMinuteParameter': _luigi('DateMinuteParameter', moments, interval=5),
    'DateSecondParameter': _luigi('DateSecondParameter', moments),
    'DateIntervalParameter': _luigi('DateIntervalParameter', intervals),
    'TimeDeltaParameter': _luigi('TimeDeltaParameter', spans),
    'EnumParameter': _luigi('EnumParameter', st.sampled_from(Colour), enum=Colour),
    'EnumListParameter': _luigi('EnumListParameter', st.lists(st.sampled_from(Colour), max_size=4), enum=Colour),
    'ListParameter': _luigi('ListParameter', lists),
    'OptionalListParameter': _luigi('OptionalListParameter', st.none() | lists),
    'TupleParameter': _luigi('TupleParameter', tuples),
    'OptionalTupleParameter': _luigi('OptionalTupleParameter', st.none() | tuples),
    'DictParameter': _luigi('DictParameter', mappings),
    'OptionalDictParameter': _luigi('OptionalDictParameter', st.none() | mappings),
    'NumericalParameter': _luigi(
        'NumericalParameter', st.integers(-5, 5), var_type=int, min_value=-5, max_value=5, right_op=lambda a, b: a <= b
    ),
    'NumericalParameter, float': _luigi('NumericalParameter', floats, var_type=float, min_value=0, max_value=1),
    'OptionalNumericalParameter': _luigi(
        'OptionalNumericalParameter', st.none() | st.integers(0, 9), var_type=int, min_value=0, max_value=10
    ),
    'ChoiceParameter': _luigi('ChoiceParameter', st.sampled_from(['a', 'b', 'not one']), choices=['a', 'b']),
    'ChoiceParameter, float': _luigi(
        'ChoiceParameter', st.sampled_from([0.1, 1.0, 1]), choices=[0.1, 1.0], var_type=float
    ),
    'ChoiceListParameter': _luigi(
        'ChoiceListParameter', st.lists(st.sampled_from(['a', 'b']), max_size=4), choices=['a', 'b']
    ),
    'OptionalChoiceParameter': _luigi(
        'OptionalChoiceParameter', st.none() | st.sampled_from(['a', 'b']), choices=['a', 'b']
    ),
    'PathParameter': _luigi('PathParameter', paths | paths.map(Path)),
    'OptionalPathParameter': _luigi('OptionalPathParameter', st.none() | paths | paths.map(Path)),
    'TaskParameter': _luigi('TaskParameter', st.sampled_from([luigi.Task, luigi.ExternalTask, luigi.WrapperTask])),
    'ExplicitBoolParameter': _kart('ExplicitBoolParameter', st.booleans() | st.sampled_from(['True', 'no', None])),
    'SerializableParameter': _kart('SerializableParameter', st.builds(Range, floats, floats, texts), Range),
    'ZonedDateSecondParameter': _kart('ZonedDateSecondParameter', zoned | moments),
}


def declared(library: Library, kinds: dict[str, str], **options: Any) -> dict[str, luigi.Parameter[Any]]:
    """Parameters by name, each of the kind that `kinds` gives it."""
    return {name: KINDS[kind].declare(library, **options) for name, kind in kinds.items()}
