"""Graphs of tasks that do nothing, for any base class: what is measured is the pipeline library alone."""

from __future__ import annotations

import asyncio
from typing import Any

import luigi

LAYER = 10


def make_root(base: type, shape: str, size: int) -> Any:
    """Make the root task of a graph of `size` tasks.

    Parameters
    ----------
    base
        `TaskOnKart` of kartnb or of gokart, or a luigi task with `dump` and a default output.
    shape
        'chain'; 'fan' (one source, size - 2 tasks, one join); 'layered' (layers of ten, each task on all of the one
        before).
    size
        How many tasks.
    """
    return _MAKERS[shape](base, size)


def _chain(base: Any, size: int) -> Any:
    class Link(base):
        n = luigi.IntParameter()

        def requires(self) -> Any:
            return Link(n=self.n - 1) if self.n else []

        def run(self) -> None:
            self.dump(self.n)

    return Link(n=size - 1)


def _fan(base: Any, size: int) -> Any:
    class Source(base):
        def run(self) -> None:
            self.dump(0)

    class Ray(base):
        n = luigi.IntParameter()

        def requires(self) -> Any:
            return Source()

        def run(self) -> None:
            self.dump(self.n)

    class Join(base):
        def requires(self) -> Any:
            return [Ray(n=n) for n in range(size - 2)]

        def run(self) -> None:
            self.dump(0)

    return Join()


def _layered(base: Any, size: int) -> Any:
    class Cell(base):
        layer = luigi.IntParameter()
        n = luigi.IntParameter()

        def requires(self) -> Any:
            return [Cell(layer=self.layer - 1, n=n) for n in range(LAYER)] if self.layer else []

        def run(self) -> None:
            self.dump(self.n)

    class Top(base):
        def requires(self) -> Any:
            return [Cell(layer=(size - 1) // LAYER - 1, n=n) for n in range(LAYER)]

        def run(self) -> None:
            self.dump(0)

    return Top()


def make_sweep(base: Any, points: int) -> list[Any]:
    """The roots of a sweep: `points` values over five stages, of which three are shared."""

    class Load(base):
        def run(self) -> None:
            self.dump(list(range(100)))

    class Clean(base):
        def requires(self) -> Any:
            return Load()

        def run(self) -> None:
            self.dump(self.load())

    class Split(base):
        def requires(self) -> Any:
            return Clean()

        def run(self) -> None:
            self.dump(self.load())

    class Train(base):
        depth = luigi.IntParameter()

        def requires(self) -> Any:
            return Split()

        def run(self) -> None:
            self.dump(self.depth)

    class Evaluate(base):
        depth = luigi.IntParameter()

        def requires(self) -> Any:
            return {'model': Train(depth=self.depth), 'data': Split()}

        def run(self) -> None:
            self.dump(self.load('model'))

    return [Evaluate(depth=depth) for depth in range(points)]


def spin() -> None:
    """Keep a processor busy for about a quarter of a second."""
    total = 0
    for n in range(4_000_000):
        total += n


def make_busy(base: Any, size: int) -> Any:
    """Make a task that needs `size` tasks, each of which keeps a processor busy."""

    class Busy(base):
        n = luigi.IntParameter()

        def run(self) -> None:
            spin()
            self.dump(self.n)

    class AllBusy(base):
        def requires(self) -> Any:
            return [Busy(n=n) for n in range(size)]

        def run(self) -> None:
            self.dump(0)

    return AllBusy()


#: Seconds that each of the tasks below waits, as for the answer of a server.
WAIT_SECONDS = 0.05


def make_waiting(base: Any, size: int) -> Any:
    """Make a task that needs `size` tasks, each of which waits."""

    class Waiting(base):
        n = luigi.IntParameter()

        async def run(self) -> None:
            await asyncio.sleep(WAIT_SECONDS)
            self.dump(self.n)

    class AllWaiting(base):
        def requires(self) -> Any:
            return [Waiting(n=n) for n in range(size)]

        def run(self) -> None:
            self.dump(0)

    return AllWaiting()


_MAKERS = {'chain': _chain, 'fan': _fan, 'layered': _layered}
SHAPES = tuple(_MAKERS)
