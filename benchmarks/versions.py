"""What a task costs in two versions of kartnb, side by side: processor time of builds, cached builds and plans.

An empty task dumps a number and shows what is kartnb's own; a small one loads a data frame of 1,000 rows and dumps
another.

``python -m benchmarks.versions OTHER`` compares the package of this tree with the one in the directory ``OTHER``, such
as a worktree of an older commit. Both are measured in turns, each time in a process of its own and in a new workspace,
and the least of all rounds is compared, because a machine adds to processor time and takes nothing off.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parents[1]
MEASURE = """
import gc, json, os, sys, time
import numpy as np, pandas as pd
import kartnb, luigi

class Item(kartnb.TaskOnKart):
    n = luigi.IntParameter()
    def requires(self):
        return [Item(n=self.n - 1)] if self.n % 2 else []
    def run(self):
        self.dump(self.n)

class Frame(kartnb.TaskOnKart):
    n = luigi.IntParameter()
    def requires(self):
        return [Frame(n=self.n - 1)] if self.n % 2 else []
    def run(self):
        numbers = np.arange(self.n, self.n + 1000)
        found = pd.DataFrame({'a': numbers, 'b': numbers % 7, 'c': numbers / 3})
        for other in self.load() if self.requires() else []:
            found['d'] = other['c'].rank()
        self.dump(found)

class All(kartnb.TaskOnKart):
    kind = luigi.Parameter()
    size = luigi.IntParameter()
    def requires(self):
        return [{'empty': Item, 'small': Frame}[self.kind](n=n) for n in range(self.size)]
    def run(self):
        self.dump(self.size)

def cpu(function):
    gc.collect()
    began = time.process_time()
    function()
    return time.process_time() - began

size = int(sys.argv[1])
found = {}
for kind in ('empty', 'small'):
    kartnb.build(All(kind=kind, size=2, workspace_directory='first'))
    found[f'build, {kind} tasks'] = cpu(lambda: kartnb.build(All(kind=kind, size=size)))
found['cached build'] = cpu(lambda: kartnb.build(All(kind='empty', size=size)))
found['plan'] = cpu(lambda: kartnb.plan(All(kind='empty', size=size)))
print(json.dumps({name: seconds / (size + 1) * 1e6 for name, seconds in found.items()}))
"""


def measured(tree: Path, place: str, size: int) -> dict[str, float]:
    """Microseconds of processor time a task, by what was measured, with the package in a source tree."""
    environment = os.environ | {'PYTHONPATH': str(tree), 'OPENBLAS_NUM_THREADS': '1'}
    with tempfile.TemporaryDirectory(dir=place) as workspace:
        done = subprocess.run(
            [sys.executable, '-c', MEASURE, str(size)],
            env=environment,
            cwd=workspace,
            capture_output=True,
            text=True,
            check=True,
        )
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
    parser.add_argument('other', type=Path, help='the source tree of another version')
    parser.add_argument('--size', type=int, default=1000, help='tasks of a build')
    parser.add_argument('--rounds', type=int, default=10)
    parser.add_argument('--place', default=None, help='the directory of the workspaces')
    options = parser.parse_args()
    least: dict[Path, dict[str, float]] = {}
    for _ in range(options.rounds):
        for tree in (options.other.resolve(), HERE):
            for name, cost in measured(tree, options.place, options.size).items():
                known = least.setdefault(tree, {})
                known[name] = min(cost, known.get(name, cost))
    other, here = least.values()
    print(f'{"µs of CPU a task":20}{"other":>10}{"here":>10}{"ratio":>8}')
    for name, cost in here.items():
        print(f'{name:20}{other[name]:10.1f}{cost:10.1f}{cost / other[name]:8.2f}')


if __name__ == '__main__':
    main()
