"""JupyterLab and Notebook 7 in Chromium: a private server, and a page that may not leave the machine."""

from __future__ import annotations

import json
import secrets
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from tests.test_project.jupyter import PrivateJupyter

ROOT = Path(__file__).parents[2]
ARGUMENTS = [
    *('--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run'),
    *('--disable-background-networking', '--disable-component-update', '--disable-sync'),
]
Kind = Literal['lab', 'notebook']
OPEN = 'name => window.jupyterapp?.shell.currentWidget?.context?.path === name'
READY = """async () => {
    const app = window.jupyterapp;
    await app.started;
    const panel = app.shell.currentWidget;
    await panel.context.ready;
    await panel.sessionContext.ready;
    await panel.sessionContext.session.kernel.info;
}"""
IDLE = "() => [...document.querySelectorAll('.jp-InputArea-prompt')].every(p => !p.textContent.includes('*'))"
CHOOSE = 'number => { window.jupyterapp.shell.currentWidget.content.activeCellIndex = number; }'
WRITE = 'text => window.jupyterapp.shell.currentWidget.content.activeCell.model.sharedModel.setSource(text)'
SCROLL = """number => {
    const content = window.jupyterapp.shell.currentWidget.content;
    content.activeCellIndex = number;
    return content.scrollToItem(number, 'auto');
}"""


class FrontEndServer(PrivateJupyter):
    """A Jupyter server with a random token; its kernels find this checkout."""

    def __init__(self, place: Path) -> None:
        super().__init__(place)
        self.token = secrets.token_hex(16)

    @property
    def environment(self) -> dict[str, str]:
        own = {'PYTHONPATH': str(ROOT), 'IPYTHONDIR': str(self.place / 'ipython'), 'HOME': str(self.place.parent)}
        return {'MPLCONFIGDIR': str(Path(tempfile.gettempdir()) / 'kartnb-matplotlib'), **super().environment, **own}

    def configure(self) -> None:
        """Write the settings: a token, no news, and the application within reach of the page."""
        super().configure()
        settings = self.place / 'config' / 'jupyter_server_config.json'
        known = json.loads(settings.read_text())
        known['IdentityProvider'] = {'token': self.token}
        for name in ('LabApp', 'JupyterNotebookApp'):
            known[name] = {'expose_app_in_browser': True}
        settings.write_text(json.dumps(known))
        news = self.place / 'lab' / '@jupyterlab' / 'apputils-extension' / 'notification.jupyterlab-settings'
        news.parent.mkdir(parents=True)
        news.write_text(json.dumps({'fetchNews': 'false', 'checkForUpdates': False, 'doNotDisturbMode': True}))


@dataclass
class FrontEnd:
    """One page that shows one notebook.

    Attributes
    ----------
    page
        Playwright's page.
    left
        Requests that would have left the machine; they were refused.
    errors
        Errors of scripts on the page.
    """

    page: Any
    left: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def run_all(self) -> None:
        """Run every cell, and wait for the last one."""
        self.page.evaluate("() => window.jupyterapp.commands.execute('notebook:run-all-cells')")
        self.page.wait_for_function(IDLE)

    def run_cell(self, number: int, wait: bool = True) -> None:
        """Run one cell, counted from 0."""
        self.page.evaluate(
            'number => { window.jupyterapp.shell.currentWidget.content.activeCellIndex = number; }', number
        )
        command = "window.jupyterapp.commands.execute('notebook:run-cell')"
        self.page.evaluate(f'() => {command}' if wait else f'() => {{ {command}; }}')
        if wait:
            self.page.wait_for_function(IDLE)

    def cell(self, number: int) -> Any:
        """Return the locator of a cell, scrolled to."""
        self.page.evaluate(SCROLL, number)
        return self.page.locator(f'.jp-Cell[data-windowed-list-index="{number}"]')

    def pictures(self, number: int) -> list[dict[str, float]]:
        """Return the graphs that a cell shows, each with its natural size and the size on the page."""
        images = self.cell(number).locator('img[src^="data:image/svg+xml"]')
        images.first.wait_for()
        found: list[dict[str, float]] = images.evaluate_all(
            'images => images.map(i => ({natural: i.naturalWidth, width: i.getBoundingClientRect().width}))'
        )
        return found

    def live(self, number: int) -> Any:
        """Return the locator of the live graph in a cell, when it is there."""
        found = self.cell(number).locator('.kartnb-live')
        found.locator('g.box').first.wait_for()
        return found

    def write(self, number: int, text: str) -> None:
        """Type a text into a cell, in the place of what is there."""
        self.page.evaluate(CHOOSE, number)
        self.page.evaluate(WRITE, text)
        self.cell(number).locator('.cm-content').click()
        self.page.keyboard.press('Control+End')

    def offered(self, wanted: str) -> list[str]:
        """Press Tab, wait until `wanted` is among what is offered, and give all of it."""
        self.page.keyboard.press('Tab')
        self.page.locator(f'.jp-Completer-item[data-value="{wanted}"]').wait_for(state='attached')
        items = self.page.locator('.jp-Completer-item')
        found: list[str] = items.evaluate_all('items => items.map(item => item.dataset.value)')
        return found

    def save(self) -> None:
        """Write the notebook with its outputs to its file."""
        self.page.evaluate('() => window.jupyterapp.shell.currentWidget.context.save()')


@contextmanager
def serving(place: Path, folder: Path, kind: Kind = 'lab') -> Iterator[FrontEndServer]:
    """Serve the notebooks of a folder."""
    server = FrontEndServer(place)
    server.configure()
    module = {'lab': 'jupyterlab', 'notebook': 'notebook'}[kind]
    with server.serving([sys.executable, '-m', module], cwd=folder) as process:
        server.get(f'/api/status?token={server.token}', process, within=60)
        yield server


@contextmanager
def browsing(chromium: str) -> Iterator[Any]:
    """Run Chromium without a screen."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=ARGUMENTS)
        yield browser
        browser.close()


@contextmanager
def opened(
    browser: Any,
    server: FrontEndServer,
    name: str,
    kind: Kind = 'lab',
    size: tuple[int, int] = (1280, 900),
    scale: float = 1,
) -> Iterator[FrontEnd]:
    """Open a notebook and wait until its kernel answers."""
    page = browser.new_page(viewport={'width': size[0], 'height': size[1]}, device_scale_factor=scale)
    page.set_default_timeout(30_000)
    front_end = FrontEnd(page)
    page.route('**/*', lambda route: _pass(route, front_end.left))
    page.on('pageerror', lambda error: front_end.errors.append(str(error)))
    tree = {'lab': 'lab/tree', 'notebook': 'notebooks'}[kind]
    page.goto(f'http://127.0.0.1:{server.port}/{tree}/{name}?reset&token={server.token}')
    page.wait_for_function(OPEN, arg=name)
    page.evaluate(READY)
    yield front_end
    page.close()


def _pass(route: Any, left: list[str]) -> None:
    address = urlsplit(route.request.url)
    if address.scheme in ('data', 'blob') or address.hostname == '127.0.0.1':
        route.continue_()
    else:
        left.append(route.request.url)
        route.abort()
