"""Calls that leave parameters out, with the plugin's ``disallow_missing_parameters``."""

from __future__ import annotations

from typing import Any

import luigi

import kartnb


class Numbers(kartnb.TaskOnKart[int]):
    n: int = luigi.IntParameter()
    with_default: int = luigi.IntParameter(default=3)
    by_place = luigi.IntParameter(3)
    # these have one without being given it
    flag = luigi.BoolParameter()
    maybe = luigi.OptionalParameter()


class Explicit(kartnb.TaskOnKart[int]):
    flag = kartnb.ExplicitBoolParameter()


class Text(kartnb.TaskOnKart[str]):
    text = luigi.Parameter()


class Longer(Text):
    more = luigi.Parameter()


class Holder(kartnb.TaskOnKart[str]):
    source: Text = kartnb.TaskInstanceParameter(expected_type=Text)


class Declared(kartnb.TaskOnKart[Any]):
    n: luigi.IntParameter = luigi.IntParameter()


def calls() -> None:
    Numbers(n=1)
    Numbers()  # type: ignore[call-arg]
    Explicit(flag=True)
    Explicit()  # type: ignore[call-arg]
    Text(text='a')
    Text()  # type: ignore[call-arg]
    Longer(text='a', more='b')
    Longer(text='a')  # type: ignore[call-arg]
    Longer(more='b')  # type: ignore[call-arg]
    Holder(source=Text(text='a'))
    Holder()  # type: ignore[call-arg]
    Declared(n=1)
    Declared()  # type: ignore[call-arg]
