"""Measure what the live graph costs a build: ``python benchmarks/live.py [--tasks N] [--seconds S] [--repeats R]``.

A real kernel builds many short tasks in a blocking cell, alternately with and without the live graph. The time is
measured from the first task to the last, after the graph has appeared; all updates are received.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tests.notebook.kernel import Kernel, running_kernel  # noqa: E402

TASKS = """%%kart
import time

class Short(TaskOnKart):
    number = luigi.IntParameter()
    tried = luigi.Parameter()

    def run(self):
        moments.append(time.perf_counter())
        time.sleep({seconds})
        self.dump(self.number)

class All(TaskOnKart):
    tried = luigi.Parameter()

    def requires(self):
        return [Short(number=i, tried=self.tried) for i in range({tasks})]

    def run(self):
        moments.append(time.perf_counter())
        self.dump(0)
"""


def seconds_of(kernel: Kernel, live: bool, tried: str) -> float:
    """One build, from the first task to the last."""
    kernel.ok(f'%config KartMagics.live_graph = {live}')
    kernel.ok('moments = []')
    cell = kernel.ok(f'%kart_build --no-value All(tried={tried!r})', timeout=600)
    if cell.widgets != int(live):
        raise SystemExit('The live graph was not there, or was there when it should not.')
    value = kernel.ok('moments[-1] - moments[0]').value
    assert value is not None
    return float(value)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--tasks', type=int, default=1000)
    parser.add_argument('--seconds', type=float, default=0.01, help='how long each task sleeps')
    parser.add_argument('--repeats', type=int, default=3)
    options = parser.parse_args()
    found: dict[bool, list[float]] = {False: [], True: []}
    with tempfile.TemporaryDirectory() as place:
        work = Path(place, 'work')
        work.mkdir()
        with running_kernel(Path(place), work) as kernel:
            kernel.ok('%load_ext kartnb')
            kernel.ok(TASKS.format(tasks=options.tasks, seconds=options.seconds))
            for i in range(options.repeats):
                for live in (False, True):
                    found[live].append(seconds_of(kernel, live, f'{i}{live}'))
    without, with_live = (statistics.median(found[live]) for live in (False, True))
    times = f'{without:.2f} s without, {with_live:.2f} s with the live graph'
    share = f'{100 * (with_live / without - 1):+.1f} %'
    sys.stdout.write(f'{options.tasks} tasks of {options.seconds * 1000:g} ms: {times}, {share}\n')


if __name__ == '__main__':
    main()
