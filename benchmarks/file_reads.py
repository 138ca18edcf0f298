"""What it costs to see which files tasks read: builds of small tasks with and without it, by turns in one process.

``python -m benchmarks.file_reads`` prints the CPU time of a task either way, the audit events that a task raises, and
what the hook costs for each while nothing runs. The tasks do nothing but dump a number, so this is the largest share
that it can have; ``--reading`` lets each read a file of its own too.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import sys
import tempfile
import time
import timeit
from contextlib import nullcontext
from pathlib import Path
from typing import Any
from unittest import mock

import kartnb
from benchmarks.shapes import make_root
from kartnb.capture import file_hook, file_reads
from kartnb.execution import task_run


def measure(size: int, turns: int, reading: bool) -> tuple[list[float], list[float]]:
    """CPU seconds a task, with and without, of each turn."""
    seconds: tuple[list[float], list[float]] = ([], [])
    for turn in range(2 * turns):
        seen = turn % 2 == 0
        root = _root(size, reading)
        off = mock.patch.multiple(task_run.file_hook, begin=lambda reads: None, end=lambda reads, token: None)
        with nullcontext() if seen else off:
            began = time.process_time()
            kartnb.build(root, return_value=False)
            seconds[0 if seen else 1].append((time.process_time() - began) / size)
        shutil.rmtree('resources')
    return seconds


def _root(size: int, reading: bool) -> Any:
    if not reading:
        return make_root(kartnb.TaskOnKart, 'fan', size)

    class Reader(kartnb.TaskOnKart[int]):
        n = kartnb.luigi.IntParameter()

        def run(self) -> None:
            with open(f'data/{self.n}.txt') as file:
                self.dump(int(file.read()))

    class All(kartnb.TaskOnKart[int]):
        def requires(self) -> Any:
            return [Reader(n=n) for n in range(size - 1)]

        def run(self) -> None:
            self.dump(size)

    return All()


def count_events(size: int) -> float:
    """Audit events that a task raises."""
    events = 0
    counting = True

    def count(event: str, args: Any) -> None:
        nonlocal events
        events += counting

    root = _root(size, False)
    sys.addaudithook(count)
    kartnb.build(root, return_value=False)
    counting = False
    return events / size


def idle_cost(number: int = 200_000) -> float:
    """Seconds that the hook takes for one event while no task runs."""
    began = time.process_time()
    for _ in range(number):
        file_hook._hook('open', ('a', 'r', 0))
    return (time.process_time() - began) / number


def own_cost(number: int = 2000, repeats: int = 20) -> float:
    """Seconds that a task which only dumps spends for it: in a busy machine, more exact than a difference."""
    path, temporary = './resources/benchmarks/shapes/Ray.pkl', './resources/.new.0a1b2c3d.kart-tmp'

    def task() -> None:
        reads = file_reads.FileReads('.', './resources/', './resources/tmp/', (path,))
        token = file_hook.begin(reads)
        file_hook._hook('open', (temporary, None, os.O_WRONLY))
        file_hook._hook('os.rename', (temporary, path, -1, -1))
        file_hook.end(reads, token)

    return min(timeit.repeat(task, timer=time.process_time, number=number, repeat=repeats)) / number


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--size', type=int, default=1000)
    parser.add_argument('--turns', type=int, default=7)
    parser.add_argument('--reading', action='store_true')
    parser.add_argument('--place', default=None)
    options = parser.parse_args()
    place = tempfile.mkdtemp(dir=options.place)
    os.chdir(place)
    try:
        Path('data').mkdir()
        for n in range(options.size):
            Path(f'data/{n}.txt').write_text(str(n))
        measure(50, 1, options.reading)
        seen, unseen = measure(options.size, options.turns, options.reading)
        pairs = [one / other - 1 for one, other in zip(seen, unseen, strict=True)]
        say = sys.stdout.write
        say(f'with    {statistics.median(seen) * 1e6:8.1f} µs a task (least {min(seen) * 1e6:.1f})\n')
        say(f'without {statistics.median(unseen) * 1e6:8.1f} µs a task (least {min(unseen) * 1e6:.1f})\n')
        say(f'share   {statistics.median(pairs):+8.1%} (of the least {min(seen) / min(unseen) - 1:+.1%})\n')
        events, each = count_events(min(options.size, 200)), idle_cost()
        say(f'events  {events:8.1f} a task, {each * 1e9:.0f} ns each while nothing runs\n')
        own = own_cost() + events * each
        say(f'by parts {own * 1e6:7.1f} µs a task, {own / min(unseen):.1%} of the least\n')
    finally:
        os.chdir('/')
        shutil.rmtree(place)


if __name__ == '__main__':
    main()
