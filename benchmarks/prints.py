"""What the first code print of a class costs, beside reading the source files that it needs.

``python -m benchmarks.prints`` prints the milliseconds of CPU time that a print takes: of classes in a notebook's cell
with their helpers, of a class that reaches the functions of a module, and of one that imports them inside `run`. Each
print is of other source, so none is found in a cache. 'parsed' is the time in which Python alone parses and compiles
the same files, once; 'again' is a later print of the same class, as each plan makes one.
"""

from __future__ import annotations

import argparse
import ast
import importlib
import linecache
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kartnb.task.code.prints import Printer

HELPER = '''
def step_{n}(table, depth=DEPTH, *, names=()):
    """Prepare a part of a table."""
    # rows without a value say nothing
    table = table.dropna(subset=list(names)) if names else table
    columns = [column for column in table.columns if column not in SKIPPED]
    values = np.log1p(table[columns].to_numpy(dtype=float)) * WEIGHTS['{n}']
    frame = pd.DataFrame(values, columns=columns)
    model = make_pipeline(StandardScaler(), Ridge(alpha={n} + 1.0))
    return {following} if depth > {n} else model.fit(frame, np.zeros(len(frame)))
'''
HEAD = """import numpy as np
import pandas as pd
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

DEPTH = {seed}
SKIPPED = frozenset(('id', 'name', 'day'))
WEIGHTS = {{str(n): n / 10 for n in range(60)}}
"""
CLASS = """
class {name}(kartnb.TaskOnKart):
    depth = luigi.IntParameter(default=3)

    def run(self):
        {before}self.dump({body})
"""


@dataclass(frozen=True)
class Cost:
    """Milliseconds of CPU time for a class."""

    first: float
    parsed: float
    again: float


def helpers(seed: int, count: int) -> str:
    """The source of functions of which each calls the next one."""
    calls = [f'step_{n + 1}(frame, depth, names=columns)' for n in range(count - 1)] + ['frame']
    steps = [HELPER.format(n=n, following=following) for n, following in enumerate(calls)]
    return HEAD.format(seed=seed) + '\n'.join(steps)


def cell(seed: int) -> tuple[list[type], list[str]]:
    """Define five classes and five functions as a notebook's cell does; gives the classes, and the source."""
    classes = [CLASS.format(name=f'Task{n}', before='', body=f'step_{n}(self.load())') for n in range(5)]
    text = 'import luigi\nimport kartnb\n' + helpers(seed, 5) + '\n'.join(classes)
    file = f'<cell {seed}>'
    linecache.cache[file] = (len(text), None, text.splitlines(keepends=True), file)
    names: dict[str, Any] = {'__name__': '__main__'}
    exec(compile(text, file, 'exec', dont_inherit=True), names)
    return [names[f'Task{n}'] for n in range(5)], [text]


def module(seed: int, *, inside: bool = False) -> tuple[list[type], list[str]]:
    """Define a class that reaches the fifty functions of a module; `inside`: it imports them when it runs."""
    text, name = helpers(seed, 50), f'steps_{seed}_{inside}'
    Path(f'{name}.py').write_text(text)
    imported = f'from {name} import step_0'
    before = f'{imported}; ' if inside else ''
    task = CLASS.format(name='Task', before=before, body='step_0(self.load())')
    source = f'import luigi\nimport kartnb\n{"" if inside else imported}\n{task}'
    Path(f'task_{name}.py').write_text(source)
    importlib.invalidate_caches()
    return [importlib.import_module(f'task_{name}').Task], [text, source]


CASES: dict[str, Callable[[int], tuple[list[type], list[str]]]] = {
    'a cell: 5 classes, 5 functions': cell,
    'a module: 50 functions': module,
    'the module, imported in run': lambda seed: module(seed, inside=True),
}


def measure(make: Callable[[int], tuple[list[type], list[str]]], repeats: int) -> Iterator[Cost]:
    """The cost for a class, as often as wanted."""
    for seed in range(repeats):
        classes, sources = make(seed)
        parsed = _milliseconds(lambda sources=sources: [_parse(source) for source in sources])  # type: ignore[misc]
        first, again = (
            _milliseconds(lambda classes=classes: [Printer().print_of(cls) for cls in classes])  # type: ignore[misc]
            for _ in range(2)
        )
        yield Cost(*(spent / len(classes) for spent in (first, parsed, again)))


def _parse(source: str) -> None:
    ast.parse(source)
    compile(source, '<file>', 'exec', dont_inherit=True)


def _milliseconds(act: Callable[[], object]) -> float:
    began = time.process_time()
    act()
    return (time.process_time() - began) * 1000


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--repeats', type=int, default=15)
    parser.add_argument('--quick', action='store_true', help='a smoke test')
    parser.add_argument('--place', default=None)
    options = parser.parse_args()
    place = tempfile.mkdtemp(dir=options.place)
    os.chdir(place)
    sys.path.insert(0, place)
    try:
        say = sys.stdout.write
        say(f'{"ms of CPU time a class":32} {"first":>8} {"parsed":>8} {"beyond":>8} {"again":>8}\n')
        for case, make in CASES.items():
            # the first one imports what all prints need
            costs = [*measure(make, 2 if options.quick else options.repeats + 1)][1:]
            first, parsed, again = (
                statistics.median(getattr(c, n) for c in costs) for n in ('first', 'parsed', 'again')
            )
            say(f'{case:32} {first:8.2f} {parsed:8.2f} {first - parsed:8.2f} {again:8.2f}\n')
    finally:
        os.chdir('/')
        shutil.rmtree(place)


if __name__ == '__main__':
    main()
