"""What a type checker knows of tasks: mypy reads this file, nothing runs it. Each `type: ignore` must be needed."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, assert_type

import luigi

import kartnb


class Numbers(kartnb.TaskOnKart[list[int]]):
    # a parameter with an annotation is one that the checker accepts, and asks for, in a call
    count: luigi.IntParameter = luigi.IntParameter(default=3)
    name: luigi.Parameter[str] = luigi.Parameter(default='n')
    note = luigi.OptionalParameter(default=None)

    def run(self) -> None:
        self.dump(list(range(self.count)))
        self.dump('not a list')  # type: ignore[call-overload]


class Text(kartnb.TaskOnKart[str]):
    def run(self) -> None:
        self.dump('text')
        self.dump({'any': 'value'}, 'by name')


class Holder(kartnb.TaskOnKart[float]):
    numbers: kartnb.TaskInstanceParameter[Numbers] = kartnb.TaskInstanceParameter(expected_type=Numbers)
    texts = kartnb.ListTaskInstanceParameter(expected_elements_type=Text)
    flag = kartnb.ExplicitBoolParameter(default=True)
    at = kartnb.ZonedDateSecondParameter()

    def run(self) -> None:
        assert_type(self.numbers, Numbers)
        assert_type(self.texts, list[Text])
        assert_type(self.flag, bool)
        assert_type(self.load(self.numbers), list[int])
        assert_type(self.load([Text(), Text()]), list[str])
        assert_type(self.load('numbers'), Any)
        assert_type(self.load(), Any)
        assert_type(self.load_generator([Text()]), Generator[str, None, None])
        assert_type(self.load_generator(), Generator[Any, None, None])
        self.dump(0.5)
        self.dump('text')  # type: ignore[call-overload]


class Untyped(kartnb.TaskOnKart):  # type: ignore[type-arg]
    def run(self) -> None:
        self.dump(object())


class Plain(luigi.Task):
    pass


def results() -> None:
    assert_type(kartnb.build(Numbers()), list[int])
    assert_type(kartnb.build(Text(), True), str)
    assert_type(kartnb.build(Holder(numbers=Numbers())), float)
    assert_type(kartnb.build(Text(), return_value=True), str)
    kartnb.build(Text(), return_value=False)
    assert_type(kartnb.build(Plain()), Any)  # type: ignore[no-untyped-call]
    wrong: int = kartnb.build(Text())  # type: ignore[assignment]
    print(wrong)


def calls() -> None:
    Numbers(count=4, name='x', workspace_directory='w', rerun=True)
    Numbers(count='4')  # type: ignore[arg-type]
    Numbers(cuont=4)  # type: ignore[call-arg]
    Holder(numbers=Text())  # type: ignore[arg-type]


def instances() -> None:
    assert_type(Numbers().count, int)
    assert_type(Numbers().note, str | None)
    assert_type(Numbers().clone(), Numbers)
    assert_type(Numbers().clone(count=4), Numbers)
    assert_type(Numbers().clone(Text), Text)
    assert_type(Numbers().clone(Plain), Plain)
    assert_type(Numbers.restore('id'), Numbers)
    assert_type(Numbers.from_str_params({'count': '3'}), Numbers)
    assert_type(Numbers().make_unique_id(), str)
    assert_type(Numbers().to_str_params(), dict[str, str])
    assert_type(Numbers().get_info(), dict[str, str])
    assert_type(Numbers().complete(), bool)
    assert_type(kartnb.plan(Numbers()), kartnb.Plan)
    Numbers().missing  # type: ignore[attr-defined]
    kartnb.plan('a text')  # type: ignore[arg-type]
