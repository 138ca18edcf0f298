"""Builds of tasks that do nothing: kartnb, bare files, gokart and luigi, interleaved in one run.

``python benchmarks/build.py`` prints the table of docs/performance.md; ``--quick`` is a smoke test of a minute.
Figures are medians of CPU seconds, each of a process of its own in a new directory.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SHAPES = ('chain', 'fan', 'layered')

#: A library, what it builds, and how many tasks that is.
Case = tuple[str, str, int]
Results = dict[Case, dict[str, float]]


def run(library: str, case: str, size: int, place: str) -> dict[str, float]:
    """One measurement in a new directory; deleting it at once would slow the next ones down."""
    directory = tempfile.mktemp(dir=place)
    command = [sys.executable, '-m', 'benchmarks.measure', library, case, str(size), directory]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f'{library} {case} {size} failed:\n{done.stderr[-2000:]}')
    result: dict[str, float] = json.loads(done.stdout)
    return result


def medians(cases: Iterable[Case], repeats: int, place: str) -> Results:
    """The medians of each case, all of them measured once before any is measured again."""
    cases = list(cases)
    found: dict[Case, dict[str, list[float]]] = {case: defaultdict(list) for case in cases}
    for _ in range(repeats):
        for case in cases:
            for name, value in run(*case, place).items():
                found[case][name].append(value)
    return {case: {name: statistics.median(values) for name, values in by.items()} for case, by in found.items()}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--quick', action='store_true', help='small sizes, each once')
    parser.add_argument('--size', type=int, default=1000)
    parser.add_argument('--repeats', type=int, default=5)
    parser.add_argument('--place', default=None, help='a directory on the disk to measure, such as /dev/shm for memory')
    parser.add_argument('--without', nargs='*', default=[], choices=['gokart', 'luigi'])
    options = parser.parse_args()
    size, repeats = (50, 1) if options.quick else (options.size, options.repeats)
    others = [name for name in ('gokart', 'luigi') if name not in options.without]
    place = tempfile.mkdtemp(dir=options.place)
    try:
        cases = [(name, shape, size) for shape in SHAPES for name in ('floor7', 'kartnb', *others)]
        cases += [(name, 'sweep', max(size // 10, 5)) for name in ('kartnb', *others)]
        print_table(medians(cases, repeats, place), size, others)
    finally:
        shutil.rmtree(place)


def print_table(found: Results, size: int, others: list[str]) -> None:
    """Print CPU seconds and ratios."""
    say = sys.stdout.write
    say(
        f'{"case":<24}{"floor":>9}{"kartnb":>9}{"÷ floor":>9}'
        + ''.join(f'{name:>10}{"÷":>7}' for name in others)
        + '\n'
    )
    for shape in SHAPES:
        floor, ours = found['floor7', shape, size]['first'], found['kartnb', shape, size]
        line = f'{f"{size} {shape}":<24}{floor:>9.3f}{ours["first"]:>9.3f}{ours["first"] / floor:>9.2f}'
        say(line + _compared(found, shape, size, 'first', others) + '\n')
        say(
            f'{"  again":<24}{"":>9}{ours["again"]:>9.3f}{"":>9}'
            + _compared(found, shape, size, 'again', others)
            + '\n'
        )
        say(
            f'{"  memory, MB":<24}{"":>9}{ours["memory"]:>9.1f}{"":>9}'
            + _compared(found, shape, size, 'memory', others)
            + '\n'
        )
    points = max(size // 10, 5)
    for name in ('first', 'again'):
        ours_seconds = found['kartnb', 'sweep', points][name]
        line = f'{f"sweep {points} × 5, {name}":<24}{"":>9}{ours_seconds:>9.3f}{"":>9}'
        say(line + _compared(found, 'sweep', points, name, others) + '\n')


def _compared(found: Results, case: str, size: int, name: str, others: list[str]) -> str:
    ours = found['kartnb', case, size][name]
    theirs = [found[other, case, size][name] for other in others]
    return ''.join(f'{value:>10.3f}{value / ours if ours else 0:>7.1f}' for value in theirs)


if __name__ == '__main__':
    main()
