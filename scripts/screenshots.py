"""Take the screenshots of the documentation: ``python scripts/screenshots.py [FOLDER]``, by default in docs/images.

The stored quickstart is opened in JupyterLab, run from the top below its own home directory, and captured. So is a
running build of another pipeline, light and dark.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import nbformat
from nbformat.v4 import new_code_cell, new_notebook

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tests.browser.front_end import CHOOSE, browsing, opened, serving  # noqa: E402

NAME = '00-quickstart.ipynb'
SIZE = (1060, 1100)
SCALE = 1.5
#: The README shows these cells of the quickstart, by their identifiers.
FIRST, LAST = 'graph', 'build'
MARGIN = 8
INDEX = 'id => window.jupyterapp.shell.currentWidget.content.widgets.findIndex(cell => cell.model.id === id)'
DARK = "() => window.jupyterapp.commands.execute('apputils:change-theme', {theme: 'JupyterLab Dark'})"
#: A pipeline that takes a while.
PIPELINE = '''%%kart
import logging, time

class Sales(TaskOnKart):
    year = luigi.IntParameter()

    def run(self):
        time.sleep(0.1)
        self.dump(list(range(self.year)))

class Clean(TaskOnKart):
    def requires(self):
        return [Sales(year=year) for year in range(2001, 2025)]

    def run(self):
        time.sleep(0.1)
        self.dump([1, 2, 3])

class Train(TaskOnKart):
    """Fit a model."""

    depth = luigi.IntParameter()
    rate = luigi.FloatParameter(default=0.1)

    def requires(self):
        return Clean()

    def run(self):
        for epoch in range(200):
            print(f'epoch {epoch}: loss {1 / (epoch + self.depth):.4f}')
            if epoch == 1:
                logging.getLogger('train').warning('the loss falls slowly')
            time.sleep(0.5)
        self.dump(self.depth)

class Compare(TaskOnKart):
    def requires(self):
        return [Train(depth=depth) for depth in (2, 3, 5)]

    def run(self):
        self.dump(max(self.load()))
'''
METADATA = {'kernelspec': {'name': 'python3', 'display_name': 'Python 3', 'language': 'python'}}
CELLS = ['%load_ext kartnb', PIPELINE, 'build = %kart_build --background --workers 2 Compare()']
ALONE = """async () => {
    const { commands, shell } = window.jupyterapp;
    shell.collapseLeft();
    await commands.execute('application:set-mode', { mode: 'single-document' });
}"""


def photograph(browser: Any, folder: Path) -> None:
    """Run the quickstart and store the picture of its first pipeline."""
    with (
        tempfile.TemporaryDirectory() as home,
        serving(Path(home, 'jupyter'), _copy(Path(home))) as server,
        opened(browser, server, NAME, size=SIZE, scale=SCALE) as front_end,
    ):
        front_end.page.evaluate(ALONE)
        front_end.run_all()
        page = front_end.page
        last = front_end.cell(page.evaluate(INDEX, LAST))
        first = front_end.cell(page.evaluate(INDEX, FIRST))
        page.evaluate(CHOOSE, 0)  # no toolbar on the cells that are shown
        page.wait_for_timeout(1000)
        page.screenshot(path=folder / 'quickstart.png', clip=_around(first.bounding_box(), last.bounding_box()))


def photograph_graph(browser: Any, folder: Path) -> None:
    """Build a pipeline, and store the live graph with the log of a running task, light and dark."""
    with tempfile.TemporaryDirectory() as home:
        place = Path(home, 'notebooks')
        place.mkdir()
        cells = [new_code_cell(source) for source in CELLS]
        nbformat.write(new_notebook(cells=cells, metadata=METADATA), place / 'graph.ipynb')
        with (
            serving(Path(home, 'jupyter'), place) as server,
            opened(browser, server, 'graph.ipynb', size=SIZE, scale=SCALE) as front_end,
        ):
            front_end.page.evaluate(ALONE)
            for number in range(3):
                front_end.run_cell(number)
            live = front_end.live(2)
            live.locator('g.box.is-running', has_text='Train').first.wait_for()
            live.locator('g.box.is-running', has_text='Train').first.click()
            live.locator('.kartnb-live-line').nth(3).wait_for()
            live.screenshot(path=folder / 'graph-light.png')
            front_end.page.evaluate(DARK)
            front_end.page.wait_for_timeout(1000)
            live.screenshot(path=folder / 'graph-dark.png')
            front_end.page.evaluate(DARK.replace('Dark', 'Light'))


def _around(first: dict[str, float], last: dict[str, float]) -> dict[str, float]:
    top, bottom = first['y'] - MARGIN, last['y'] + last['height'] + MARGIN
    return {'x': first['x'], 'y': top, 'width': first['width'] + MARGIN, 'height': bottom - top}


def _copy(home: Path) -> Path:
    place = home / 'notebooks'
    place.mkdir()
    shutil.copy(ROOT / 'notebooks' / NAME, place)
    return place


def main(folder: Path) -> None:
    """Take all pictures."""
    folder.mkdir(parents=True, exist_ok=True)
    chromium = shutil.which('chromium') or shutil.which('google-chrome')
    if chromium is None:
        raise SystemExit('Chromium is needed, and is not on this machine.')
    with browsing(chromium) as browser:
        photograph(browser, folder)
        photograph_graph(browser, folder)


if __name__ == '__main__':
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / 'docs' / 'images')
