"""The tasks in a module that `compatibility.py` builds with one version of kartnb and opens with another."""

from __future__ import annotations

import datetime as dt
import enum
from typing import Any
from xml.etree import ElementTree

import luigi
import numpy as np
import pandas as pd

import kartnb


class Colour(enum.Enum):
    """A choice."""

    RED = 1
    BLUE = 2


def frame() -> pd.DataFrame:
    """Return a table of numbers and text, with what no text format keeps left out."""
    return pd.DataFrame({'a': [1, 2, 3], 'b': ['x', 'ü', 'z'], 'c': [0.5, 1.5, -2.0]})


VALUES: dict[str, Any] = {
    'nested.pkl': {'a': [1, (2.5, None)], 'b': {'c', 'd'}, 'c': dt.date(2024, 1, 2)},
    'array.npz': np.arange(6.0).reshape(2, 3),
    'lines.txt': ['a', 'ü'],
    'lines.ini': ['[a]', 'b = 1'],
    'lines.gz': ['a', 'ü'],
    'frame.csv': frame(),
    'frame.tsv': frame(),
    'frame.json': frame(),
    'frame.ndjson': frame(),
    'frame.parquet': frame(),
    'frame.feather': frame(),
    'tree.xml': ElementTree.ElementTree(ElementTree.fromstring('<a>b</a>')),
    'picture.png': b'\x89PNG',
    'picture.jpg': b'\xff\xd8\xff',
}
LOSSLESS = ('.csv', '.tsv', '.json', '.ndjson', '.parquet', '.feather')


class Format(kartnb.TaskOnKart[Any]):
    """A result in one of the formats."""

    name = luigi.Parameter()

    def output(self) -> Any:
        return self.make_target(self.name)

    def run(self) -> None:
        self.dump(VALUES[self.name])


class Lossless(kartnb.TaskOnKart[Any]):
    """A table that keeps its index and types in a text format."""

    extension = luigi.Parameter()

    def output(self) -> Any:
        return self.make_target(f'lossless{self.extension}', processor=kartnb.lossless(self.extension))

    def run(self) -> None:
        self.dump(frame().set_index(pd.Index(['001', '002', '003'], name='key')))


class Large(kartnb.TaskOnKart[Any]):
    """A large table in a zip file."""

    def output(self) -> Any:
        return self.make_large_data_frame_target('large.zip', max_byte=1000)

    def run(self) -> None:
        self.dump(pd.concat([frame()] * 40, ignore_index=True))


def save_model(model: Any, path: str) -> None:
    """Save a model."""
    np.save(path, model)


def load_model(path: str) -> Any:
    """Load a model."""
    return np.load(path + '.npy')


class Model(kartnb.TaskOnKart[Any]):
    """A model that saves itself."""

    def output(self) -> Any:
        return self.make_model_target('model.zip', save_function=save_model, load_function=load_model)

    def run(self) -> None:
        self.dump(np.arange(3))


class Parameters(kartnb.TaskOnKart[Any]):
    """A parameter of every kind."""

    text = luigi.Parameter(default='ü')
    number = luigi.IntParameter(default=3)
    ratio = luigi.FloatParameter(default=0.25)
    flag = luigi.BoolParameter(default=True)
    explicit = kartnb.ExplicitBoolParameter(default=False)
    day = luigi.DateParameter(default=dt.date(2024, 1, 2))
    month = luigi.MonthParameter(default=dt.date(2024, 1, 1))
    second = luigi.DateSecondParameter(default=dt.datetime(2024, 1, 2, 3, 4, 5))
    zoned = kartnb.ZonedDateSecondParameter(default=dt.datetime(2024, 1, 2, 3, 4, 5, tzinfo=dt.UTC))
    interval = luigi.DateIntervalParameter(default=luigi.date_interval.Month(2024, 2))
    span = luigi.TimeDeltaParameter(default=dt.timedelta(hours=3))
    items = luigi.ListParameter(default=[1, 'a', [2.5]])
    pair = luigi.TupleParameter(default=((1, 2), (3, 4)))
    table = luigi.DictParameter(default={'a': {'b': 1}})
    colour = luigi.EnumParameter(enum=Colour, default=Colour.RED)
    colours = luigi.EnumListParameter(enum=Colour, default=(Colour.RED, Colour.BLUE))
    choice = luigi.ChoiceParameter(choices=['a', 'b'], default='b')
    within = luigi.NumericalParameter(var_type=int, min_value=0, max_value=9, default=4)
    optional = luigi.OptionalParameter(default=None)
    insignificant = luigi.IntParameter(default=1, significant=False)
    hidden = luigi.Parameter(default='hush', visibility=luigi.parameter.ParameterVisibility.HIDDEN)
    task = kartnb.TaskInstanceParameter(default=Format(name='lines.txt'))
    tasks = kartnb.ListTaskInstanceParameter(default=[Format(name='nested.pkl'), Format(name='frame.csv')])

    def requires(self) -> Any:
        return {'one': self.task, 'several': list(self.tasks)}

    def run(self) -> None:
        print('the number is', self.number)
        self.dump({'number': self.number, 'one': self.load('one'), 'several': len(self.load('several'))})


class Several(kartnb.TaskOnKart[Any]):
    """Two results of one task."""

    def output(self) -> Any:
        return {'low': self.make_target('low.pkl'), 'high': self.make_target('high.csv')}

    def run(self) -> None:
        self.dump(1, 'low')
        self.dump(frame(), 'high')


class Plain(kartnb.TaskOnKart[int]):
    """A result whose name holds no id."""

    def output(self) -> Any:
        return self.make_target('plain/result.pkl', use_unique_id=False)

    def run(self) -> None:
        self.dump(7)


class Dynamic(kartnb.TaskOnKart[int]):
    """A task that asks for others while it runs."""

    def run(self) -> Any:
        targets = yield [Leaf(depth=n) for n in range(2)]
        self.dump(sum(target.load() for target in targets))


class Leaf(kartnb.TaskOnKart[int]):
    """A point of a sweep."""

    depth = luigi.IntParameter()

    def run(self) -> None:
        self.dump(10 * self.depth)


class Failing(kartnb.TaskOnKart[int]):
    """A task that fails."""

    def run(self) -> None:
        print('before the end')
        raise ValueError('this is meant to fail')


class Replaced(kartnb.TaskOnKart[int]):
    """A task whose result is replaced by another."""

    def run(self) -> None:
        with open(f'{self.workspace_directory}/replaced.txt') as file:
            self.dump(int(file.read()))


def tasks() -> dict[str, kartnb.TaskOnKart[Any]]:
    """Return the tasks that are built and stay, by a name of each."""
    found: dict[str, kartnb.TaskOnKart[Any]] = {
        **{name: Format(name=name) for name in VALUES},
        **{f'lossless{extension}': Lossless(extension=extension) for extension in LOSSLESS},
        'large': Large(),
        'model': Model(),
        'parameters': Parameters(),
        'other parameters': Parameters(number=4, hidden='other', items=[], colour=Colour.BLUE),
        'several': Several(),
        'plain': Plain(),
        'dynamic': Dynamic(),
        'replaced': Replaced(),
    }
    return found
