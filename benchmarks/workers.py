"""How well kartnb keeps workers busy, beside joblib and Dask's `client.map`: ratios of elapsed times in one run.

``python -m benchmarks.workers`` prints the table. Each line is measured in processes of its own, where both sides take
turns; a ratio is the median of its rounds. joblib is warm: its workers are there and wait. kartnb is as in a later
build of a process: it starts its workers in each build. 'first' is the first time of both, with everything cold.

A busy task runs a loop of a fixed length; others sleep, which needs no more processors than there are. ``--quick`` is a
smoke test, ``--place /dev/shm`` measures in memory, ``--without dask`` leaves Dask out.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple

import luigi

import kartnb
from benchmarks.build import ROOT, Case
from benchmarks.targets import Target, table

#: Does some work and waits until all of it is done.
_Doing = Callable[[], Any]


class Load(NamedTuple):
    """Tasks that need nothing from each other."""

    name: str
    tasks: int
    seconds: float
    workers: int
    is_busy: bool


LOADS = {
    load.name: load
    for load in (
        Load('200 × 10 ms, 2 workers', 200, 0.010, 2, True),
        Load('100 × 20 ms, 2 workers', 100, 0.020, 2, True),
        Load('400 × 10 ms asleep, 8 workers', 400, 0.010, 8, False),
        Load('400 × 1 ms, 2 workers', 400, 0.001, 2, True),
        Load('1,000 × 5 ms asleep, Dask, 2 workers', 1000, 0.005, 2, False),
    )
}


def work(seconds: float, turns: int) -> None:
    """What one task does: it goes through a loop so often, or else sleeps."""
    total = 0
    for n in range(turns):
        total += n
    if not turns:
        time.sleep(seconds)


class One(kartnb.TaskOnKart[int]):
    """One of the tasks."""

    n = luigi.IntParameter()
    round = luigi.IntParameter()
    seconds = luigi.FloatParameter()
    turns = luigi.IntParameter()

    def run(self) -> None:
        """Work."""
        work(self.seconds, self.turns)
        self.dump(self.n)


class All(kartnb.TaskOnKart[int]):
    """Is done when all of them are."""

    tasks = luigi.IntParameter()
    round = luigi.IntParameter()
    seconds = luigi.FloatParameter()
    turns = luigi.IntParameter()

    def requires(self) -> Any:
        """The tasks."""
        given = {'round': self.round, 'seconds': self.seconds, 'turns': self.turns}
        return [One(n=n, **given) for n in range(self.tasks)]

    def run(self) -> None:
        """Note that they are done."""
        self.dump(self.tasks)


def measure(load: Load, rounds: int) -> dict[str, float]:
    """How long the other side takes, divided by how long kartnb does: the first time, and the median of the rounds."""
    turns = _turns(load.seconds) if load.is_busy else 0
    ratios = []
    with _sides(load, turns) as (other, ours):
        for n in range(rounds + 1):
            theirs = _seconds(partial(other, n))
            ratios.append(theirs / _seconds(partial(ours, n)))
    return {'first': ratios[0], 'ratio': statistics.median(ratios[1:])}


def _turns(seconds: float) -> int:
    """How often a loop has to run to take so long on a free processor."""
    fastest = min(_seconds(partial(work, 0, 100_000)) for _ in range(50))
    return int(100_000 * seconds / fastest)


def _seconds(do: _Doing) -> float:
    began = time.perf_counter()
    do()
    return time.perf_counter() - began


@contextmanager
def _sides(load: Load, turns: int) -> Iterator[tuple[Callable[[int], Any], Callable[[int], Any]]]:
    """What is compared, each to be called with the number of a round."""

    def build(number: int, **options: Any) -> None:
        task = All(tasks=load.tasks, round=number, seconds=load.seconds, turns=turns)
        kartnb.build(task, return_value=False, **options)

    if 'Dask' in load.name:
        from distributed import Client, LocalCluster

        cluster = LocalCluster(n_workers=load.workers, threads_per_worker=1, dashboard_address=None)
        with cluster, Client(cluster) as client:
            each = [load.seconds] * load.tasks
            yield (
                lambda n: client.gather(client.map(work, each, [turns] * load.tasks, pure=False)),
                lambda n: build(n, executor=client),
            )
    elif load.seconds <= 0.001:
        yield lambda n: build(-1 - n), lambda n: build(n, workers=load.workers)
    else:
        from joblib import Parallel, delayed

        yield (
            lambda n: Parallel(load.workers)(delayed(work)(load.seconds, turns) for _ in range(load.tasks)),
            lambda n: build(n, workers=load.workers),
        )


def _measured(case: Case, place: str) -> dict[str, float]:
    """`measure` in a process of its own, in a new directory."""
    _, name, rounds = case
    code = f'from benchmarks import workers; workers.print_measured({name!r}, {rounds})'
    done = subprocess.run(
        [sys.executable, '-c', code],
        cwd=tempfile.mkdtemp(dir=place),
        env={**os.environ, 'PYTHONPATH': str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f'{name} failed:\n{done.stderr[-2000:]}')
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def print_measured(name: str, rounds: int) -> None:
    """Print what `measure` gives, as JSON."""
    warnings.simplefilter('ignore')
    load = LOADS[name]
    print(json.dumps(measure(load if rounds > 1 else load._replace(tasks=load.tasks // 20), rounds)))


def targets(rounds: int) -> Iterator[Target]:
    """What kartnb has to reach: joblib ÷ kartnb, inline ÷ workers, and kartnb ÷ `client.map`."""
    for name in LOADS:
        case: Case = ('kartnb', name, rounds)
        if 'Dask' in name:
            limit, sides = 1.3, 'kartnb ÷ client.map'
        else:
            limit, sides = (1.0, 'inline ÷ workers') if LOADS[name].seconds <= 0.001 else (0.87, 'joblib ÷ kartnb')
        for what, label in (('ratio', ''), ('first', ', first')):
            yield Target(f'{name}: {sides}{label}', limit, _figure(case, what), (case,), at_least='Dask' not in name)


def _figure(case: Case, what: str) -> Callable[[dict[Case, dict[str, float]]], float]:
    is_inverse = 'Dask' in case[1]
    return lambda found: 1 / found[case][what] if is_inverse else found[case][what]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--quick', action='store_true', help='a few tasks, each once')
    parser.add_argument('--rounds', type=int, default=5, help='how often both sides take turns in a process')
    parser.add_argument('--repeats', type=int, default=3, help='how many processes')
    parser.add_argument('--place', default=None, help='a directory on the disk to measure, such as /dev/shm for memory')
    parser.add_argument('--without', nargs='*', default=[], choices=['dask'])
    options = parser.parse_args()
    rounds, repeats = (1, 1) if options.quick else (options.rounds, options.repeats)
    wanted = [target for target in targets(rounds) if not ('Dask' in target.name and options.without)]
    place = tempfile.mkdtemp(dir=options.place)
    try:
        table(wanted, repeats, place, _measured)
    finally:
        shutil.rmtree(place)


if __name__ == '__main__':
    main()
