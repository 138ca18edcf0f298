"""Sliders and sweeps: ``python benchmarks/interact.py``; it needs Chromium, JupyterLab, gokart, and three minutes.

Prints how long it takes in a real browser from a key press on a slider until the cached result of a pipeline of five
stages is on the page, what a drag of 25 events a second builds, and the time of a sweep of 100 points over five stages,
three of them shared, compared with gokart in one interleaved run.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import nbformat
from nbformat.v4 import new_code_cell, new_notebook

from benchmarks.build import medians
from tests.browser.front_end import FrontEnd, browsing, opened, serving
from tests.browser.test_interact import AUTO, SETUP, SWEEP, WATCH, drag, handle, shown


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--presses', type=int, default=40, help='key presses on the slider')
    parser.add_argument('--repeats', type=int, default=3, help='of the sweep')
    parser.add_argument('--without-browser', action='store_true')
    options = parser.parse_args()
    if not options.without_browser:
        _in_a_browser(options.presses)
    _sweep(options.repeats)


def _in_a_browser(presses: int) -> None:
    chromium = shutil.which('chromium') or shutil.which('google-chrome')
    if chromium is None:
        raise SystemExit('There is no Chromium to measure in: use --without-browser.')
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        folder = place / 'served'
        folder.mkdir()
        _write(folder / 'cached.ipynb', SETUP, SWEEP, '%kart_interact Stage number=5 depth=0:40')
        _write(folder / 'auto.ipynb', SETUP.replace('runs.txt', 'auto.txt'), "import os; os.chdir('auto')", AUTO)
        (folder / 'auto').mkdir()
        with serving(place / 'jupyter', folder) as server, browsing(chromium) as browser:
            with opened(browser, server, 'cached.ipynb') as front_end:
                _presses(front_end, presses)
            with opened(browser, server, 'auto.ipynb') as front_end:
                _drag(front_end, folder / 'auto' / 'auto.txt')


def _presses(front_end: FrontEnd, presses: int) -> None:
    front_end.run_all()
    handle(front_end, 2).focus()
    front_end.page.evaluate(WATCH)
    waits = []
    for i in range(presses):
        key, depth = ('ArrowRight', i % 40 + 1) if i < 40 else ('ArrowLeft', 79 - i)
        pressed = front_end.page.evaluate('() => performance.now()')
        front_end.page.keyboard.press(key)
        front_end.page.wait_for_function('depth => window.seen.at(-1)?.[0] === depth', arg=depth)
        waits.append(front_end.page.evaluate('() => window.seen.at(-1)[1]') - pressed)
    waits.sort()
    print(
        f'slider to cached result on the page, {len(waits)} presses: median {statistics.median(waits):.0f} ms, '
        f'p95 {waits[int(0.95 * len(waits))]:.0f} ms'
    )


def _drag(front_end: FrontEnd, runs: Path) -> None:
    front_end.run_all()
    slider = handle(front_end, 2)
    rate = drag(front_end, slider, 50)
    shown(front_end, 'value-40-end')
    counts = Counter(runs.read_text().split())
    ends = [run for run in counts if run.startswith('5-')]
    print(
        f'drag over 40 missing values at {rate:.0f} events a second: {len(ends)} built, the last one shown, '
        f'no task more than {max(counts.values())} time(s)'
    )


def _sweep(repeats: int) -> None:
    with tempfile.TemporaryDirectory() as place:
        cases = [('kartnb', 'sweep-at-once', 100), ('gokart', 'sweep', 100)]
        found = medians(cases, repeats, place)
    ours, theirs = (found[case] for case in cases)
    for name, seconds in ours.items():
        if name in ('first', 'again') and seconds:
            ratio = theirs[name] / seconds
            print(f'sweep of 100 × 5, {name}: kartnb {seconds:.3f}, gokart {theirs[name]:.3f}, ratio {ratio:.1f}')


def _write(path: Path, *sources: str) -> None:
    metadata: Any = {'kernelspec': {'name': 'python3', 'display_name': 'Python 3', 'language': 'python'}}
    nbformat.write(new_notebook(cells=[new_code_cell(source) for source in sources], metadata=metadata), path)


if __name__ == '__main__':
    sys.exit(main())
