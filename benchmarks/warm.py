"""Workers of a notebook that uses scikit-learn: ``python -m benchmarks.warm``; it needs ipykernel and a minute.

In a real kernel, in which an earlier cell has imported scikit-learn: four tasks of 0.6 s inline and with two workers,
in the first build and in later ones, when their first task begins and what passes after the last one; and how long the
slider of `kartnb.interact` takes from a missing point to its result, for a task of 0.08 s.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from tests.notebook.kernel import Kernel, running_kernel

_IMPORTS = '%load_ext kartnb\nimport time\nimport sklearn.ensemble, sklearn.linear_model\nimport pandas as pd'
_CLASSES = """
import luigi, kartnb

class Fit(kartnb.TaskOnKart[float]):
    number = luigi.IntParameter()
    seconds = luigi.FloatParameter(default=0.6)

    def run(self):
        from sklearn.ensemble import RandomForestClassifier
        import numpy as np
        began = time.process_time()
        data = np.random.default_rng(self.number).random((200, 5))
        while time.process_time() - began < self.seconds:
            fitted = RandomForestClassifier(3).fit(data, data[:, 0] > 0.5)
        self.dump(float(fitted.score(data, data[:, 0] > 0.5)))

class All(kartnb.TaskOnKart[int]):
    round = luigi.IntParameter()
    def requires(self):
        return [Fit(number=10 * self.round + i) for i in range(4)]
    def run(self):
        self.dump(1)
"""
_BUILD = """
seen = []
def note(event):
    if getattr(event, 'state', None) in ('running', 'done'):
        seen.append(event.time)
began = time.time()
kartnb.build(All(round={round}), workers={workers}, listeners=[note], return_value=False)
ended = time.time()
print(ended - began, seen[0] - began, ended - seen[-1])
"""
_SLIDER = """
from kartnb.config import BuildOptions
shown = kartnb.interact(Fit, number=(1000, 2000), seconds=0.08, auto=True)
"""
_MOVE = """
began = time.time()
shown.controls[0].input.value = {number}
while shown.status is None or shown.status.result is None or not shown.task.complete():
    time.sleep(0.002)
print(time.time() - began)
"""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--pause', type=float, default=4.0, help='seconds between the cells that a person would take')
    parser.add_argument('--builds', type=int, default=3, help='with workers')
    parser.add_argument('--moves', type=int, default=5, help='of the slider')
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        (place / 'work').mkdir()
        with running_kernel(place, place / 'work', KARTNB_WARM_WORKERS='true') as kernel:
            for cell in (_IMPORTS, _CLASSES, f'time.sleep({options.pause})'):
                kernel.ok(cell)
            _builds(kernel, options.builds)
            _moves(kernel, options.moves, options.pause)


def _builds(kernel: Kernel, builds: int) -> None:
    for number in range(builds):
        inline, _, _ = _build(kernel, 2 * number, 1)
        seconds, first, last = _build(kernel, 2 * number + 1, 2)
        print(
            f'2 workers, build {number + 1}: {seconds:.2f} s, inline {inline:.2f}, ratio {seconds / inline:.2f}; '
            f'first task after {first:.2f} s, {last:.2f} s after the last one'
        )


def _build(kernel: Kernel, number: int, workers: int) -> list[float]:
    """Seconds of a build, until its first task, and after its last one."""
    return list(map(float, kernel.ok(_BUILD.format(round=number, workers=workers), timeout=120).stdout.split()))


def _moves(kernel: Kernel, moves: int, pause: float) -> None:
    kernel.ok(_SLIDER + f'time.sleep({pause})')
    for number in range(moves):
        seconds = float(kernel.ok(_MOVE.format(number=1001 + number), timeout=120).stdout)
        print(f'slider to a missing point of 0.08 s, move {number + 1}: {seconds:.2f} s')


if __name__ == '__main__':
    sys.exit(main())
