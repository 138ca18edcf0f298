"""Big values: dump and load with kartnb, with gokart, and as a raw write and read of the same bytes, in one run.

``python benchmarks/payloads.py`` prints two tables: medians of the CPU time of each step, interleaved, each file in a
new directory; and the memory that dumping 800 MB needs above the value itself. ``--quick`` is a smoke test.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

COLUMNS = list('abcdefghij')
#: The project's targets for a payload: at most so many times the raw bytes.
TARGETS = {'array .pkl': 1.3, 'frame .pkl': 1.3, 'array .npz': 1.3, 'frame .feather': 1.3}
#: Steps of one payload: write or read, with which library.
STEPS = [(who, step) for step in ('write', 'read') for who in ('raw', 'kartnb', 'gokart')]

Seconds = dict[tuple[str, str], float]


def payloads(scale: float) -> dict[str, tuple[str, Callable[[], Any]]]:
    """The payloads by name: the extension, and what makes the value."""
    rows = int(1_000_000 * scale)

    def frame() -> pd.DataFrame:
        return pd.DataFrame(np.random.default_rng(0).random((rows, 10)), columns=COLUMNS)

    def array() -> Any:
        return np.random.default_rng(0).random(int(100 * 2**20 * scale) // 8)

    return {
        'array .pkl': ('.pkl', array),
        'array .npz': ('.npz', array),
        'frame .pkl': ('.pkl', frame),
        'frame .feather': ('.feather', frame),
        'frame .parquet': ('.parquet', frame),
        'dict .pkl': ('.pkl', lambda: {f'key {i}': (i, str(i), float(i)) for i in range(int(200_000 * scale))}),
        'text .txt': ('.txt', lambda: [f'line {i:>30}' for i in range(int(1_150_000 * scale))]),
    }


def timed(act: Callable[[], Any]) -> float:
    """CPU seconds, those of the system included, that a step takes."""
    began = time.process_time()
    act()
    return time.process_time() - began


class Raw:
    """The bytes of a payload, written and read at once."""

    def __init__(self, path: Path, data: bytes) -> None:
        self.path = path
        self.data = data

    def dump(self, _: Any) -> None:
        """One write."""
        with open(self.path, 'wb', 0) as file:
            file.write(self.data)

    def load(self) -> bytes:
        """One read."""
        return self.path.read_bytes()


def measure(extension: str, value: Any, place: str, gokart: Any, turn: int) -> Seconds:
    """Each step once, in a new directory; who comes first takes turns."""
    from kartnb.storage.targets import make_target

    directory = Path(tempfile.mkdtemp(dir=place))
    sample = make_target(str(directory / f'sample{extension}'))
    sample.dump(value)
    competitors: list[tuple[str, Any]] = [
        ('raw', Raw(directory / 'raw', Path(sample.path()).read_bytes())),
        ('kartnb', make_target(str(directory / f'kartnb{extension}'))),
    ]
    if gokart is not None:
        competitors.append(('gokart', gokart.make_target(str(directory / f'gokart{extension}'))))
    turn %= len(competitors)
    competitors = competitors[turn:] + competitors[:turn]
    found = {(who, 'write'): timed(partial(target.dump, value)) for who, target in competitors}
    found |= {(who, 'read'): timed(target.load) for who, target in competitors}
    for file in directory.iterdir():
        file.open('wb').close()  # frees the space but keeps the name: deleting slows what comes next
    return found


def table(scale: float, repeats: int, place: str, gokart: Any) -> None:
    """Measure all payloads and print their medians, in milliseconds and as ratios."""
    every: dict[str, dict[tuple[str, str], list[float]]] = {}
    made = {name: (extension, make()) for name, (extension, make) in payloads(scale).items()}
    for turn in range(-1, repeats):  # the first round warms up: memory that was never touched is slow to get
        for name, (extension, value) in made.items():
            for step, seconds in measure(extension, value, place, gokart, turn).items():
                if turn >= 0:
                    every.setdefault(name, defaultdict(list))[step].append(seconds)
    print(f'| payload | {" | ".join(f"{who} {step}, ms" for who, step in STEPS)} | ÷ raw | gokart ÷ |')
    print(f'|---|{"---:|" * (len(STEPS) + 2)}')
    for name, steps in every.items():
        median = {step: statistics.median(values) for step, values in steps.items()}
        total = {
            who: median.get((who, 'write'), 0) + median.get((who, 'read'), 0) for who in ('raw', 'kartnb', 'gokart')
        }
        cells = [f'{1000 * median[step]:.0f}' if step in median else '–' for step in STEPS]
        target = f' (≤ {TARGETS[name]})' if name in TARGETS else ''
        ratio = f'{total["kartnb"] / total["raw"]:.2f}{target}'
        against = f'{total["gokart"] / total["kartnb"]:.1f}' if total['gokart'] else '–'
        print(f'| {name} | {" | ".join(cells)} | {ratio} | {against} |')


PEAK = """
import resource, sys
import numpy as np, pandas as pd
from kartnb.storage.targets import make_target
kind, megabytes, directory = sys.argv[1], int(sys.argv[2]), sys.argv[3]
rows = megabytes * 10**6 // 80
frame = pd.DataFrame(np.ones((rows, 10)), columns=list('abcdefghij'))
value = frame if kind.startswith('frame') else np.ones(rows * 10)
del frame
extension = '.' + kind.split('.')[1]
make_target(directory + '/small' + extension).dump(value[:10])
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
make_target(directory + '/large' + extension).dump(value)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 / (rows * 80))
"""


def memory(megabytes: int, place: str) -> None:
    """Print how much more memory than the value itself a dump needs."""
    print(f'\n| {megabytes} MB | memory above the value (≤ 10 %) |\n|---|---:|')
    for kind in ('array .pkl', 'array .npz', 'frame .pkl', 'frame .feather'):
        directory = tempfile.mkdtemp(dir=place)
        command = [sys.executable, '-c', PEAK, kind, str(megabytes), directory]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
        print(f'| {kind} | {100 * float(done.stdout):.1f} % |')
        for file in Path(directory).iterdir():
            file.unlink()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--quick', action='store_true', help='small values, each once')
    parser.add_argument('--repeats', type=int, default=5)
    parser.add_argument('--place', default=None, help='a directory on the disk to measure, such as /dev/shm for memory')
    parser.add_argument('--without', nargs='*', default=[], choices=['gokart'])
    options = parser.parse_args()
    gokart = None
    if 'gokart' not in options.without:
        import gokart.target as gokart  # type: ignore[no-redef]
    with tempfile.TemporaryDirectory(dir=options.place) as place:
        table(0.02 if options.quick else 1, 1 if options.quick else options.repeats, place, gokart)
        memory(100 if options.quick else 800, place)


if __name__ == '__main__':
    main()
