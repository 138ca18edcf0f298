"""Parameters as gokart's users write them, with the plugin: annotated with the type of their values, or not at all."""

from __future__ import annotations

import datetime
import enum
import functools
from typing import Any, assert_type

import luigi

import kartnb as gokart


class Colour(enum.Enum):
    RED = 'red'


class Model:
    pass


class EvenParameter(luigi.Parameter[int]):
    pass


class Numbers(gokart.TaskOnKart[int]):
    n: int = luigi.IntParameter(default=3)
    word: str = luigi.Parameter()
    flag: bool = gokart.ExplicitBoolParameter()
    at: datetime.datetime | None = luigi.OptionalParameter(default=None)
    names: list[str] = luigi.ListParameter()
    plain = luigi.FloatParameter(default=0.5)
    in_a_comment = luigi.ListParameter()  # type: list[int]
    declared: luigi.IntParameter = luigi.IntParameter(default=1)
    wrong: int = luigi.Parameter(default='three')  # type: ignore[assignment]
    # not parameters: no call asks for them
    model: Model
    limit: int = 3

    def run(self) -> None:
        assert_type(self.n, int)
        assert_type(self.plain, float)
        assert_type(self.declared, int)
        assert_type(self.in_a_comment, list[int])
        self.dump(self.n)

    @classmethod
    def of(cls, n: int) -> Numbers:
        return cls(n=n, plain=1.5)


class NotAnnotated(gokart.TaskOnKart[str]):
    text = luigi.Parameter()
    default_text = luigi.Parameter('a')
    anything = luigi.Parameter(default=[3])
    maybe = luigi.OptionalIntParameter()
    colour = luigi.EnumParameter(enum=Colour)
    choice = luigi.ChoiceParameter(var_type=int, choices=[1, 2])
    day = luigi.DateParameter()
    even = EvenParameter()
    task = gokart.TaskInstanceParameter()
    numbers = gokart.TaskInstanceParameter(expected_type=Numbers)
    all_of_them = gokart.ListTaskInstanceParameter(expected_elements_type=Numbers)
    if datetime.MINYEAR:
        inside = luigi.IntParameter()

    def run(self) -> None:
        assert_type(self.text, str)
        assert_type(self.default_text, str)
        assert_type(self.anything, Any)
        assert_type(self.maybe, int | None)
        assert_type(self.colour, Colour)
        assert_type(self.choice, int)
        assert_type(self.day, datetime.date)
        assert_type(self.even, int)
        assert_type(self.task, gokart.TaskOnKart[Any])
        assert_type(self.numbers, Numbers)
        assert_type(self.load(self.numbers), int)
        assert_type(self.load(self.all_of_them), list[int])


class Derived(Numbers):
    n = luigi.IntParameter(default=4)
    word = luigi.Parameter(default='other')
    more = luigi.IntParameter()


class Holder(gokart.TaskOnKart[int]):
    numbers: Numbers = gokart.TaskInstanceParameter(expected_type=Numbers)
    all_of_them: list[gokart.TaskOnKart[int]] = gokart.ListTaskInstanceParameter(default=[])
    some: gokart.TaskOnKart[int] = gokart.TaskInstanceParameter(default=Numbers())

    def run(self) -> None:
        assert_type(self.load(self.numbers), int)
        assert_type(self.load(self.all_of_them), list[int])
        assert_type(self.load(self.some), int)


class Settings(luigi.Config):
    rate = luigi.FloatParameter()


def calls() -> None:
    assert_type(gokart.build(Numbers(n=4, flag=False, complete_check_at_run=False)), int)
    Numbers(n='4')  # type: ignore[arg-type]
    Numbers(flag='no')  # type: ignore[arg-type]
    Numbers(complete_check_at_run='no')  # type: ignore[arg-type]
    Numbers(m=4)  # type: ignore[call-arg]
    Numbers(limit=4)  # type: ignore[call-arg]
    Numbers(plain='4')  # type: ignore[arg-type]
    Numbers(in_a_comment=[2])
    Numbers(in_a_comment=2)  # type: ignore[arg-type]
    Holder(numbers=Numbers())
    # what a call leaves out may be in the configuration
    NotAnnotated()
    NotAnnotated(text='a', anything=4, maybe=None, colour=Colour.RED, choice=1, even=2, task=Numbers(), inside=3)
    NotAnnotated(text=3)  # type: ignore[arg-type]
    NotAnnotated(colour='red')  # type: ignore[arg-type]
    NotAnnotated(choice='1')  # type: ignore[arg-type]
    NotAnnotated(even='2')  # type: ignore[arg-type]
    NotAnnotated(task=3)  # type: ignore[arg-type]
    NotAnnotated(numbers=Holder())  # type: ignore[arg-type]
    NotAnnotated(all_of_them=[Holder()])  # type: ignore[list-item]
    NotAnnotated('a')  # type: ignore[call-arg]
    Derived(n=5, plain=0.5, more=4)
    Derived(more='4')  # type: ignore[arg-type]
    functools.partial(NotAnnotated, text='a')()
    Settings(rate=0.5)
    Settings(rate='0.5')  # type: ignore[arg-type]


def local() -> None:
    class Inner(gokart.TaskOnKart[int]):
        n = luigi.IntParameter()

    class Innermost(Inner):
        m = luigi.IntParameter()

    Innermost(n=3, m=4)
    Innermost(n=3, m='4')  # type: ignore[arg-type]
