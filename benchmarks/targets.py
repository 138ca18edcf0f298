"""Every target that the project has for building, planning, sweeps, memory, workers and imports, as ratios in one run.

``python -m benchmarks.targets`` prints the table of docs/performance.md. kartnb, gokart, luigi and the bare files
(the floor) are measured in turns, each measurement in a process of its own in a new directory, and a ratio is the
median of the ratios of the rounds. It takes a while: ``--repeats 1`` and ``--size 200`` are quicker, ``--quick`` is a
smoke test, ``--place /dev/shm`` measures in memory instead of on disk.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.build import SHAPES, Case, run  # noqa: E402

#: The figures of one round.
Round = dict[Case, dict[str, float]]


@dataclass(frozen=True)
class Target:
    """One line of the table.

    Attributes
    ----------
    name
        What is measured.
    limit
        The target: at most this, or at least this where `at_least` is set.
    value
        Gives the figure of one round.
    cases
        What has to be measured for it.
    unit
        '×' for a ratio.
    """

    name: str
    limit: float
    value: Callable[[Round], float]
    cases: tuple[Case, ...]
    unit: str = '×'
    at_least: bool = False

    def met(self, value: float) -> bool:
        """Whether a figure meets the target."""
        return value >= self.limit if self.at_least else value <= self.limit

    def row(self, values: list[float]) -> str:
        """The line of the table."""
        value = statistics.median(values)
        spread = f'{min(values):.3g} – {max(values):.3g}' if len(values) > 1 else ''
        sign = '≥' if self.at_least else '≤'
        answer = 'met' if self.met(value) else 'missed'
        return f'| {self.name} | {sign} {self.limit:g} {self.unit} | {value:.3g} {self.unit} | {spread} | {answer} |'


def part(case: Case, what: str, of: str) -> Callable[[Round], float]:
    """One figure of a case over another."""
    return lambda found: found[case][what] / found[case][of]


def compared(
    name: str, limit: float, above: Case, below: Case, what: str = 'first', *, at_least: bool = False
) -> Target:
    """The target of a ratio."""

    def value(found: Round) -> float:
        return found[above][what] / max(found[below][what], 1e-9)

    return Target(name, limit, value, (above, below), at_least=at_least)


def figure(name: str, limit: float, case: Case, what: str, unit: str, scale: float = 1) -> Target:
    """The target of a plain figure."""
    return Target(name, limit, lambda found: scale * found[case][what], (case,), unit)


def building(size: int, floor_limit: float) -> Iterator[Target]:
    """Builds of tasks that do nothing, and builds of the same again."""
    for shape, limit in zip(SHAPES, (30, 40, 100), strict=True):
        ours: Case = ('kartnb', shape, size)
        theirs: Case = ('gokart', shape, size)
        yield compared(f'build of {size:,}, {shape}: kartnb ÷ floor', floor_limit, ours, ('floor7', shape, size))
        yield compared('… gokart ÷ kartnb', limit, theirs, ours, at_least=True)
        yield compared('… luigi, which keeps no logs ÷ kartnb', 10, ('luigi', shape, size), ours, at_least=True)
        yield compared('… everything cached: gokart ÷ kartnb', 20, theirs, ours, 'again', at_least=True)
        yield figure('… planning with everything cached, a task', 0.1, ours, 'plan', 'ms', 1000 / size)
        yield figure('… root check, instances alive', 1, ours, 'check', 'ms', 1000)
        yield figure('… build again, instances alive, a task', 0.1, ours, 'alive', 'ms', 1000 / size)


def large(size: int) -> Iterator[Target]:
    """Builds of many tasks."""
    middle, most = 5 * size, 10 * size
    ours: Case = ('kartnb', 'chain', middle)
    yield compared(f'{middle:,} chain: gokart ÷ kartnb', 60, ('gokart', 'chain', middle), ours, at_least=True)
    yield compared(f'{middle:,} chain: luigi ÷ kartnb', 50, ('luigi', 'chain', middle), ours, at_least=True)
    yield compared(f'{middle:,} chain: memory, kartnb ÷ luigi', 1, ours, ('luigi', 'chain', middle), 'memory')
    for shape in SHAPES:
        few: Case = ('kartnb', shape, size)
        many: Case = ('kartnb', shape, most)

        def growth(found: Round, few: Case = few, many: Case = many) -> float:
            return found[many]['first'] / found[few]['first'] / 10

        yield Target(f'{shape}: time a task at {most:,} ÷ at {size:,}', 1.2, growth, (few, many))
        yield figure(f'… planning {most:,} cached, a task', 0.1, many, 'plan', 'ms', 1000 / most)


def sweeping(points: int) -> Iterator[Target]:
    """A sweep: values over five stages, three of them shared."""
    ours: Case = ('kartnb', 'sweep-at-once', points)
    each: Case = ('kartnb', 'sweep', points)
    theirs: Case = ('gokart', 'sweep', points)
    for what, limit in (('first', 10), ('again', 20)):
        name = f'sweep {points} × 5, {what}: gokart ÷ kartnb'
        yield compared(f'{name}.sweep', limit, theirs, ours, what, at_least=True)
        yield compared(f'{name}, a build for each value', limit, theirs, each, what, at_least=True)


def working(tasks: int, busy: int, results: int) -> Iterator[Target]:
    """Worker processes, and a workspace with many results."""
    tiny: Case = ('kartnb', 'tiny', tasks)
    spun: Case = ('kartnb', 'busy', busy)
    full: Case = ('kartnb', 'large workspace', results)
    started = '… with the start and end of the workers'
    yield Target('CPU-bound, 2 processes ÷ bare fork', 1.1, part(spun, 'workers span', 'fork'), (spun,))
    again = '… in a later build of the process'
    yield Target(started, 1.1, part(spun, 'workers', 'fork'), (spun,))
    yield Target(again, 1.1, part(spun, 'workers again', 'fork'), (spun,))
    yield Target(f'{tasks} tiny tasks, 2 workers ÷ inline', 2, part(tiny, 'workers', 'inline'), (tiny,))
    yield Target(f'{again}, tiny tasks', 2, part(tiny, 'workers again', 'inline again'), (tiny,))
    waits: Case = ('kartnb', 'waiting', tasks // 2)
    name = f'{tasks // 2} coroutines that wait 50 ms, 20 at once: asyncio alone ÷ tasks'
    yield Target(name, 0.75, part(waits, 'alone', 'tasks'), (waits,), at_least=True)
    yield figure(f'planning 100 tasks among {results:,} results', 0.5, full, 'plan', 's')
    yield figure('… again', 0.5, full, 'plan again', 's')


def import_seconds(module: str) -> float:
    """CPU seconds of importing a module in a new process."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, '-c', f'import {module}'], check=True, capture_output=True, cwd=ROOT)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def importing() -> Target:
    """What importing the package costs."""
    cases: tuple[Case, Case] = (('kartnb', 'import', 0), ('luigi', 'import', 0))
    return compared('import kartnb ÷ import luigi', 1.3, *cases)


def measured(case: Case, place: str) -> dict[str, float]:
    """One measurement."""
    if case[1] == 'import':
        return {'first': import_seconds('kartnb, kartnb.execution.build' if case[0] == 'kartnb' else case[0])}
    return run(*case, place)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--quick', action='store_true', help='tiny sizes, each once')
    parser.add_argument('--size', type=int, default=1000)
    parser.add_argument('--repeats', type=int, default=5)
    parser.add_argument('--place', default=None, help='a directory on the disk to measure, such as /dev/shm for memory')
    parser.add_argument('--without', nargs='*', default=[], choices=['gokart', 'luigi'])
    parser.add_argument('--only', default='', help='measure only targets whose name contains this')
    options = parser.parse_args()
    size, repeats = (20, 1) if options.quick else (options.size, options.repeats)
    in_memory = (options.place or '').startswith('/dev/shm')
    targets = [
        *building(size, 1.5 if in_memory else 1.25),
        *large(size),
        *sweeping(max(size // 10, 2)),
        *working(20 if options.quick else 400, 4 if options.quick else 24, 100 * size),
        importing(),
    ]
    targets = [
        target
        for target in targets
        if not any(case[0] in options.without for case in target.cases) and options.only in target.name
    ]
    place = tempfile.mkdtemp(dir=options.place)
    os.environ['TMPDIR'] = place  # what tasks print goes through temporary files
    try:
        table(targets, repeats, place)
    finally:
        shutil.rmtree(place)


def table(
    targets: list[Target], repeats: int, place: str, measure: Callable[[Case, str], dict[str, float]] = measured
) -> None:
    """Measure in rounds, and print the table."""
    cases = list(dict.fromkeys(case for target in targets for case in target.cases))
    rounds: list[Round] = []
    for n in range(repeats):
        rounds.append({case: measure(case, place) for case in cases})
        print(f'round {n + 1} of {repeats}', file=sys.stderr, flush=True)
    print('| measure | target | found | rounds | |\n|---|---:|---:|---:|---|')
    for target in targets:
        print(target.row([target.value(found) for found in rounds]))


if __name__ == '__main__':
    main()
