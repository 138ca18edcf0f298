"""Tasks for sweeps: one shared stage, one that takes it and fails for one depth."""

from __future__ import annotations

import enum

import luigi

import kartnb


class Kind(enum.Enum):
    PLAIN = 1
    FANCY = 2


class Rows(kartnb.TaskOnKart[list[int]]):
    rows = luigi.IntParameter(default=10)

    def run(self) -> None:
        with open(f'{self.workspace_directory}/runs.txt', 'a') as runs:
            runs.write(f'Rows {self.rows}\n')
        self.dump(list(range(self.rows)))


class Fit(kartnb.TaskOnKart[dict[str, object]]):
    data = kartnb.TaskInstanceParameter(expected_type=Rows)
    depth = luigi.IntParameter()
    rate = luigi.FloatParameter(default=0.1)
    kind = luigi.EnumParameter(enum=Kind, default=Kind.PLAIN)
    layers = luigi.ListParameter(default=())
    day = luigi.DateParameter(default=None)
    password = luigi.Parameter(default='s3cret', visibility=luigi.parameter.ParameterVisibility.PRIVATE)
    verbose = luigi.BoolParameter(default=False, significant=False)

    def run(self) -> None:
        if self.depth == 13:
            raise ValueError('thirteen <b>is</b> bad luck')
        score = 1 - 1 / (self.depth + self.rate) - 1 / len(self.load('data'))
        self.dump({'score': score, 'loss': 1 - score, 'name': 'fit', 'inner': {'depth': self.depth}})


class Number(kartnb.TaskOnKart[int]):
    number = luigi.IntParameter()

    def run(self) -> None:
        self.dump(self.number**2)


class Lonely(kartnb.TaskOnKart[int]):
    def run(self) -> None:
        self.dump(1)
