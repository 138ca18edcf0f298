"""Take the pictures of the documentation: ``python scripts/screenshots.py [FOLDER]``; by default into docs/images.

The stored quickstart is opened in JupyterLab, run from the top below a home directory of its own, and photographed.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

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


if __name__ == '__main__':
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / 'docs' / 'images')
