"""Sliders in a real browser: results at once, the last value always shown, no build lost or doubled."""

from __future__ import annotations

import json
import statistics
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest

from tests.browser.conftest import Write
from tests.browser.front_end import FrontEnd, FrontEndServer, opened

SETUP = """\
%load_ext kartnb
import time
import kartnb
from kartnb import TaskOnKart, luigi

class Stage(TaskOnKart):
    number = luigi.IntParameter()
    depth = luigi.IntParameter()

    def requires(self):
        return Stage(number=self.number - 1, depth=self.depth if self.number > 3 else 0) if self.number > 1 else []

    def run(self):
        with open('runs.txt', 'a') as runs:
            runs.write(f'{self.number}-{self.depth}\\n')
        time.sleep(0.02)
        self.dump({'stage': self.number, 'depth': self.depth, 'told': f'value-{self.depth}-end'})
"""
SWEEP = 'kartnb.sweep(Stage(number=5, depth=0), depth=range(0, 41))'
#: Watches what is shown: when which text came.
WATCH = """() => {
    window.seen = [];
    const look = () => {
        const found = document.querySelector('.kartnb-interact')?.textContent.match(/value-(\\d+)-end/);
        const last = window.seen.at(-1);
        if (found && (!last || last[0] !== Number(found[1]))) window.seen.push([Number(found[1]), performance.now()]);
        window.requestAnimationFrame(look);
    };
    look();
}"""


@pytest.fixture(scope='module')
def kind() -> str:
    return 'lab'


@pytest.fixture
def cells(request: pytest.FixtureRequest) -> list[str]:
    return list(request.param)


@pytest.fixture
def front_end(browser: Any, server: FrontEndServer, write: Write, cells: list[str]) -> Iterator[FrontEnd]:
    with opened(browser, server, write(SETUP, *cells)) as front_end:
        front_end.run_all()
        yield front_end
        assert front_end.left == []


def handle(front_end: FrontEnd, cell: int) -> Any:
    found = front_end.cell(cell).locator('.kartnb-interact .noUi-handle').first
    found.wait_for()
    return found


def shown(front_end: FrontEnd, text: str) -> None:
    front_end.page.locator('.kartnb-interact', has_text=text).first.wait_for()


def drag(front_end: FrontEnd, slider: Any, steps: int) -> float:
    """Drag the slider to its right end in so many steps, 25 a second if it can; gives the steps a second."""
    box = slider.bounding_box()
    page = front_end.page
    page.mouse.move(box['x'] + box['width'] / 2, box['y'] + box['height'] / 2)
    page.mouse.down()
    began = time.monotonic()
    for step in range(1, steps + 1):
        page.mouse.move(box['x'] + step * 500 / steps, box['y'] + box['height'] / 2)
        time.sleep(max(0.0, began + step / 25 - time.monotonic()))
    page.mouse.up()
    return steps / (time.monotonic() - began)


@pytest.mark.second_try('the time from a key press to the page is measured, and another program may take the machine')
@pytest.mark.parametrize('cells', [[SWEEP, '%kart_interact Stage number=5 depth=0:40']], indirect=True)
def test_cached_results_come_at_once_and_the_last_one_stays(front_end: FrontEnd) -> None:
    slider = handle(front_end, 2)
    slider.focus()
    front_end.page.evaluate(WATCH)
    waits = []
    for depth in range(1, 16):
        pressed = front_end.page.evaluate('() => performance.now()')
        front_end.page.keyboard.press('ArrowRight')
        front_end.page.wait_for_function('depth => window.seen.at(-1)?.[0] === depth', arg=depth)
        waits.append(front_end.page.evaluate('() => window.seen.at(-1)[1]') - pressed)
    print(f'slider to cached result: median {statistics.median(waits):.0f} ms, longest {max(waits):.0f} ms')
    assert statistics.median(waits) < 400  # a shared machine; benchmarks/interact.py gives the figure
    drag(front_end, slider, 25)
    front_end.page.wait_for_function('() => window.seen.at(-1)?.[0] === 40')


AUTO = "held = kartnb.interact(Stage, number=5, depth=(0, 40), auto=True, executor='threads')"


@pytest.mark.second_try('a person drags at 25 events a second, which a busy machine does not keep up with')
@pytest.mark.parametrize('cells', [[AUTO]], indirect=True)
def test_dragging_builds_the_last_value_once(front_end: FrontEnd, folder: Path) -> None:
    for file in (folder / 'resources').rglob('Stage_*'):
        file.unlink()
    (folder / 'runs.txt').unlink(missing_ok=True)
    slider = handle(front_end, 1)
    speed = drag(front_end, slider, 50)
    shown(front_end, 'value-40-end')
    runs = Counter((folder / 'runs.txt').read_text().split())
    assert runs['5-40'] == 1
    assert max(runs.values()) == 1
    # a machine that sends the events slowly makes pauses, in which values on the way are built too
    assert len([run for run in runs if run.startswith('5-')]) <= (4 if speed > 18 else 10)


MISSING = 'held = kartnb.interact(Stage, number=5, depth=(50, 90))'


@pytest.mark.parametrize('cells', [[MISSING]], indirect=True)
def test_what_is_missing_is_built_on_a_button_and_saved(
    front_end: FrontEnd, folder: Path, request: pytest.FixtureRequest
) -> None:
    panel = front_end.cell(1).locator('.kartnb-interact')
    shown(front_end, 'would run')
    shown(front_end, '○ missing')
    panel.get_by_role('button', name='Run').click()
    shown(front_end, 'value-50-end')
    shown(front_end, '%kart_build Stage(number=5, depth=50)')
    assert front_end.cell(1).locator('[data-kart]').first.is_hidden()
    time.sleep(1)
    front_end.save()
    saved = nbformat.read(folder / f'{request.node.originalname}.ipynb', as_version=4)
    htmls = [output.data.get('text/html', '') for output in saved.cells[1].outputs if 'data' in output]
    assert any('value-50-end' in html and 'cached' in html for html in htmls), json.dumps(saved.cells[1].outputs)[:2000]


SLOW = """\
class Slow(TaskOnKart):
    number = luigi.IntParameter()

    def run(self):
        time.sleep(0.05 if self.number < 3 else 120)
        self.dump(self.number)
"""
BEGIN = 'slow = %kart_sweep Slow number=0:9 --background'


@pytest.mark.parametrize('cells', [[SLOW, BEGIN, 'len(slow.to_dataframe())']], indirect=True)
def test_a_sweep_behind_the_cell_fills_in_and_is_stopped(
    front_end: FrontEnd, folder: Path, request: pytest.FixtureRequest
) -> None:
    cell = front_end.cell(2)
    cell.get_by_text('best value so far 2').wait_for(timeout=90_000)
    cell.locator('tr', has_text='done').nth(2).wait_for()
    cell.locator('img[alt*="value of 3 points over number"]').wait_for(timeout=60_000)
    cell.get_by_role('button', name='Stop').click()
    cell.get_by_text('Stopped early').wait_for(timeout=60_000)
    assert cell.get_by_role('button', name='Stop').count() == 0
    assert cell.locator('tr', has_text='interrupted').count() == 1
    front_end.save()
    saved = nbformat.read(folder / f'{request.node.originalname}.ipynb', as_version=4)
    outputs = saved.cells[2].outputs
    assert not any('application/vnd.jupyter.widget-view+json' in output.get('data', {}) for output in outputs)
    assert 'data:image/png' in outputs[-1].data['text/html']
    assert front_end.errors == []
