"""Parameters that are annotated with the type of their values, as gokart's users write them; with the plugin."""

from __future__ import annotations

import datetime
from typing import assert_type

import luigi

import kartnb as gokart


class Numbers(gokart.TaskOnKart[int]):
    n: int = luigi.IntParameter(default=3)
    word: str = luigi.Parameter(default='w')
    flag: bool = gokart.ExplicitBoolParameter(default=True)
    at: datetime.datetime | None = luigi.OptionalParameter(default=None)
    plain = luigi.FloatParameter(default=0.5)
    declared: luigi.IntParameter = luigi.IntParameter(default=1)

    def run(self) -> None:
        assert_type(self.n, int)
        assert_type(self.plain, float)
        assert_type(self.declared, int)
        self.dump(self.n)


class Holder(gokart.TaskOnKart[int]):
    numbers: Numbers = gokart.TaskInstanceParameter(expected_type=Numbers)
    all_of_them: list[gokart.TaskOnKart[int]] = gokart.ListTaskInstanceParameter(default=[])

    def run(self) -> None:
        assert_type(self.load(self.numbers), int)
        assert_type(self.load(self.all_of_them), list[int])


def calls() -> None:
    assert_type(gokart.build(Numbers(n=4, flag=False)), int)
    Numbers(n='4')  # type: ignore[arg-type]
    Numbers(m=4)  # type: ignore[call-arg]
    Holder(numbers=Numbers())
