"""What type checkers know of tasks: mypy and pyright read this file, nothing runs it.

Each `type: ignore` must be needed by both.
"""

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
    anything = kartnb.TaskInstanceParameter()
    one_of_lists: kartnb.TaskInstanceParameter[kartnb.TaskOnKart[list[int]]] = kartnb.TaskInstanceParameter()
    some = kartnb.TaskInstanceParameter(default=Numbers())
    flag = kartnb.ExplicitBoolParameter(default=True)
    at = kartnb.ZonedDateSecondParameter()

    def run(self) -> None:
        assert_type(self.numbers, Numbers)
        assert_type(self.texts, list[Text])
        assert_type(self.flag, bool)
        assert_type(self.load(self.numbers), list[int])
        assert_type(self.load(self.one_of_lists), list[int])
        assert_type(self.load(self.some), list[int])
        assert_type(self.anything, kartnb.TaskOnKart[Any])
        assert_type(self.load(self.anything), Any)
        assert_type(self.load([Text(), Text()]), list[str])
        assert_type(self.load(self.texts), list[str])
        assert_type(self.load((Text(), Text())), list[str])
        assert_type(self.load(['texts', 'numbers']), list[Any])
        assert_type(self.load('numbers'), Any)
        assert_type(self.load(), Any)
        assert_type(self.load_generator([Text()]), Generator[str, None, None])
        assert_type(self.load_generator(self.texts), Generator[str, None, None])
        assert_type(self.load_generator(self.numbers), Generator[Any, None, None])
        assert_type(self.load_generator(), Generator[Any, None, None])
        self.dump(0.5)
        self.dump('text')  # type: ignore[call-overload]


class Untyped(kartnb.TaskOnKart):  # type: ignore[type-arg]
    def run(self) -> None:
        self.dump(object())  # pyright: ignore[reportUnknownMemberType]


class Plain(luigi.Task):
    pass


def results(plain: luigi.Task) -> None:
    assert_type(kartnb.build(Numbers()), list[int])
    assert_type(kartnb.build(Text(), True), str)
    assert_type(kartnb.build(Holder(numbers=Numbers())), float)
    assert_type(kartnb.build(Text(), True, False, workers=2), str)
    assert_type(kartnb.build(Text(), return_value=True), str)
    kartnb.build(Text(), return_value=False)
    assert_type(kartnb.build(plain), Any)
    wrong: int = kartnb.build(Text())  # type: ignore[assignment]
    print(wrong)


async def results_later() -> None:
    handle = kartnb.build(Text(), background=True)
    assert_type(handle, kartnb.BackgroundBuild[str])
    assert_type(handle.result(timeout=10), str)
    assert_type(await handle, str)
    assert_type(await kartnb.build_async(Text(), workers=2), str)
    assert_type(await kartnb.build_async(Text(), return_value=False), None)


def calls() -> None:
    Numbers(count=4, name='x', workspace_directory='w', rerun=True)
    Numbers(count='4')  # type: ignore[arg-type]
    Numbers(cuont=4)  # type: ignore[call-arg]
    Holder(numbers=Numbers(), one_of_lists=Numbers())
    Holder(numbers=Text())  # type: ignore[arg-type]
    Holder(one_of_lists=Text())  # type: ignore[arg-type]


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
