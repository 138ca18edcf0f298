"""JupyterLab and Notebook 7 show the card, the progress and the picture, and load nothing from elsewhere."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import nbformat
import pytest

from tests.browser.conftest import Write
from tests.browser.front_end import FrontEndServer, Kind, opened
from tests.view.test_states import contrast

TASKS = """%%kart
import time

class Slow(TaskOnKart):
    number = luigi.IntParameter()

    def run(self):
        for step in range(4):
            print('step', step)
            time.sleep(0.25)
        self.dump(self.number)

class All(TaskOnKart):
    def requires(self):
        return [Slow(number=i) for i in range(3)]

    def run(self):
        self.dump(sum(self.load()))
"""
DARK = "() => window.jupyterapp.commands.execute('apputils:change-theme', {theme: 'JupyterLab Dark'})"
#: Notebook 7 has one of its own at load.
HARMLESS = "reading 'schema'"
#: Both have these parts from one package.
_IN_LAB = pytest.mark.parametrize('kind', ['lab'], indirect=True)


def test_a_pipeline_from_card_to_live_graph(
    browser: Any, server: FrontEndServer, kind: Kind, write: Write, folder: Path
) -> None:
    name = write('%load_ext kartnb', TASKS, '%kart_graph All()', '%kart_build All()')
    with opened(browser, server, name, kind) as front_end:
        front_end.run_cell(0)
        front_end.run_cell(1)
        assert 'new Slow(number)' in ' '.join(front_end.cell(1).inner_text().split())
        front_end.run_cell(2)
        planned = front_end.live(2)
        assert planned.locator('g.box').count() == 4
        assert not front_end.cell(2).locator('[data-kart]').is_visible(), 'the live graph stands for the stored one'
        front_end.run_cell(3, wait=False)
        built = front_end.live(3)
        built.locator('g.box.is-running').first.wait_for()
        assert 'to stop: interrupt the kernel' in built.inner_text()
        built.locator('g.box.is-running').first.click()
        built.locator('.kartnb-live-line').nth(1).wait_for()
        assert built.get_by_text('✓ succeeded').count() == 0, 'the log moves while the cell is running'
        built.get_by_text('✓ succeeded').wait_for()
        assert built.locator('g.box.is-done').count() == 4
        shown = front_end.cell(3).inner_text()
        assert '4 done' in shown
        assert shown.rstrip().endswith('3')
        front_end.save()
        stored = nbformat.read(folder / name, as_version=4).cells[3].outputs[0]['data']
        assert '4 done' in stored['text/plain']
        assert 'data:image/svg+xml' in stored['text/html']
        assert 'progressbar' not in stored['text/html']
        front_end.page.evaluate('() => window.jupyterapp.shell.currentWidget.sessionContext.shutdown()')
        assert front_end.left == []
        assert [error for error in front_end.errors if HARMLESS not in error] == []
    with opened(browser, server, name, kind) as front_end:
        (picture,) = front_end.pictures(3)
        assert picture['natural'] > 100, 'without its kernel the stored picture stands'
        front_end.page.get_by_text('model not found').first.wait_for(state='attached')
        assert not front_end.page.get_by_text('model not found').first.is_visible()


def test_a_build_in_the_background_is_stopped_and_dark_can_be_read(
    browser: Any, server: FrontEndServer, kind: Kind, write: Write
) -> None:
    tasks = TASKS.replace('range(4)', 'range(400)')
    name = write('%load_ext kartnb', tasks, 'build = %kart_build --background All()', '%kart_log build')
    with opened(browser, server, name, kind) as front_end:
        front_end.run_cell(0)
        front_end.run_cell(1)
        front_end.page.evaluate(DARK)
        front_end.run_cell(2)
        live = front_end.live(2)
        live.locator('g.box.is-running').first.wait_for()
        live.locator('g.box').last.click()
        live.get_by_text('What it needs').click()
        live.get_by_text('upstream of All').wait_for()
        for selector in ('.kartnb-live-title', '.kartnb-live-words', 'aside h4', 'aside .kartnb-state'):
            assert _contrast(live, selector) >= 4.5
        front_end.run_cell(3)
        log = front_end.cell(3).locator('.kartnb-logs-live')
        shown = log.locator('tbody tr').count()
        log.locator('tbody tr').nth(shown + 2).wait_for()
        assert log.get_by_text('the build is running').is_visible(), 'its lines keep coming'
        assert not front_end.cell(3).locator('[data-kart]').is_visible()
        live = front_end.live(2)
        live.get_by_text('■ Stop').click()
        live.get_by_text('■ stopped after 0/4').wait_for()
        log = front_end.cell(3).locator('.kartnb-logs-live')
        log.get_by_text('the build is running').wait_for(state='hidden')
        assert front_end.left == []
        front_end.page.evaluate(DARK.replace('Dark', 'Light'))


def _contrast(live: Any, selector: str) -> float:
    colour = 'one => [...getComputedStyle(one).color.matchAll(/[0-9]+/g)].slice(0, 3).map(Number)'
    surface = 'one => [...getComputedStyle(one).backgroundColor.matchAll(/[0-9]+/g)].slice(0, 3).map(Number)'
    text, ground = live.locator(selector).first.evaluate(colour), live.evaluate(surface)
    return contrast(*('#' + ''.join(f'{part:02x}' for part in parts) for parts in (text, ground)))


@_IN_LAB
def test_a_failure_shows_the_picture_and_the_traceback(
    browser: Any, server: FrontEndServer, kind: Kind, write: Write
) -> None:
    name = write(
        '%load_ext kartnb', '%%kart\nclass Fails(TaskOnKart):\n    def run(self):\n        1 / 0', '%kart_build Fails()'
    )
    with opened(browser, server, name, kind) as front_end:
        front_end.run_all()
        front_end.live(2).locator('g.box.is-failed').wait_for()
        shown = front_end.cell(2).inner_text()
        assert '1 failed' in shown
        assert 'Cell In[2], line 4, in Fails.run(self)' in shown
        assert shown.count('GokartBuildError') == 1


@_IN_LAB
def test_tab_completes_on_the_line_of_a_magic(browser: Any, server: FrontEndServer, kind: Kind, write: Write) -> None:
    name = write('%load_ext kartnb', TASKS, '')
    with opened(browser, server, name, kind) as front_end:
        front_end.run_cell(0)
        front_end.run_cell(1)
        for typed, offered in {
            '%kart_build --': '--log-level',
            '%kart_build --log-level ': 'DEBUG',
            '%kart_build --rerun-from ': 'Slow',
            'total = %kart_build Slow(': 'number=',
        }.items():
            front_end.write(2, typed)
            assert offered in front_end.offered(offered)


def test_a_saved_notebook_shows_its_pictures_untrusted(
    browser: Any, server: FrontEndServer, kind: Kind, folder: Path, repository: Path
) -> None:
    """Nobody has run it here, so the front end takes out scripts and styles."""
    stored = repository / 'notebooks' / '00-quickstart.ipynb'
    shutil.copy(stored, folder / 'stored.ipynb')
    cells = nbformat.read(stored, as_version=4).cells
    builds = [i for i, cell in enumerate(cells) if '<img src="data:image/svg+xml' in str(cell.get('outputs'))]
    assert len(builds) >= 6
    with opened(browser, server, 'stored.ipynb', kind) as front_end:
        for number in builds:
            (picture,) = front_end.pictures(number)
            assert picture['natural'] > 100
        assert front_end.left == []
