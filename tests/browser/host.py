"""A small host of widgets in a bare page: in place of the front ends that cannot run in a test.

It gives the script an `el` and a `model` and nothing else, as VS Code, Colab and marimo do. Messages go both ways
between the script and the real Python widget, whenever `pump` is called.
"""

from __future__ import annotations

import json
from typing import Any

from kartnb.model import Plan
from kartnb.notebook.live_graph import LiveGraph
from kartnb.notebook.monitor import BuildMonitor

HARNESS = """async ({esm, css, state}) => {
    const style = document.createElement('style');
    style.textContent = css;
    document.head.append(style);
    const handlers = {};
    const tell = (name, ...values) => (handlers[name] || []).forEach((handler) => handler(...values));
    const model = {
        get: (name) => state[name],
        on: (name, handler) => { (handlers[name] ||= []).push(handler); },
        off: (name, handler) => { handlers[name] = (handlers[name] || []).filter((other) => other !== handler); },
        send: (message) => window.sent.push(message),
    };
    window.sent = [];
    window.host = {
        update: (changes) => {
            Object.assign(state, changes);
            Object.keys(changes).forEach((name) => tell('change:' + name));
        },
        message: (message) => tell('msg:custom', message),
        listening: () => Object.values(handlers).flat().length,
    };
    const { default: widget } = await import(URL.createObjectURL(new Blob([esm], { type: 'text/javascript' })));
    const el = document.createElement('div');
    document.body.append(el);
    window.host.close = await widget.render({ model, el });
}"""
PAGE = '<!doctype html><meta charset="utf-8"><body {attributes} style="margin:8px;width:1000px"></body>'
DARK = 'data-jp-theme-light="false" style="background:#111;--jp-layout-color0:#111;--jp-content-font-color1:#fff"'
NOT_TRAITS = ('_esm', '_css')


class Host:
    """One live graph in a bare page.

    Parameters
    ----------
    browser
        Playwright's browser.
    plan, monitor, stop
        As for `LiveGraph`.
    dark
        Whether the page looks as JupyterLab's dark theme.
    """

    def __init__(
        self, browser: Any, plan: Plan, monitor: BuildMonitor | None = None, stop: Any = None, dark: bool = False
    ) -> None:
        self.live = LiveGraph(plan, 'somekey', monitor, stop)
        self.problems: list[str] = []
        self.page = browser.new_page(viewport={'width': 1040, 'height': 800})
        self.page.set_default_timeout(10_000)
        self.page.on('request', self._note_request)
        self.page.on('pageerror', lambda error: self.problems.append(str(error)))
        self.page.on('dialog', lambda dialog: self.problems.append(dialog.message))
        self.page.set_content(PAGE.format(attributes=DARK if dark else ''))
        self._known = self._state()
        self._messages: list[Any] = []
        self.live.widget.send = lambda content, buffers=None: self._messages.append(content)
        traits = {name: value for name, value in self._known.items() if name not in NOT_TRAITS}
        widget = {'esm': self._known['_esm'], 'css': self._known['_css'], 'state': traits}
        self.page.evaluate(HARNESS, json.loads(json.dumps(widget)))
        self.root = self.page.locator('.kartnb-live')
        self.boxes = self.page.locator('g.box')
        self.inspector = self.page.locator('.kartnb-live-inspector')

    def pump(self) -> None:
        """Let Python answer what the script has sent, and give the script what is new."""
        for message in self.page.evaluate('() => window.sent.splice(0)'):
            self.live.widget._handle_custom_msg(message, [])
        state = self._state()
        changes = {name: value for name, value in state.items() if value != self._known[name]}
        self._known = state
        if changes:
            self.page.evaluate('changes => window.host.update(changes)', json.loads(json.dumps(changes)))
        while self._messages:
            message = json.loads(json.dumps(self._messages.pop(0)))
            self.page.evaluate('message => window.host.message(message)', message)
        self.page.evaluate('() => new Promise(requestAnimationFrame)')

    def click(self, text: str) -> None:
        """Click on what has a text, and pump."""
        self.root.get_by_text(text, exact=True).first.click()
        self.pump()

    @property
    def is_untouched(self) -> bool:
        """Whether no text was interpreted, no script failed, and nothing was asked of any other place."""
        return self.page.evaluate('window.pwned === undefined') and self.problems == []

    def close(self) -> None:
        """Take the widget away, and the page."""
        self.page.close()
        self.live.close()

    def _state(self) -> dict[str, Any]:
        state = self.live.widget.get_state()
        return {name: value for name, value in state.items() if not name.startswith('_') or name in NOT_TRAITS}

    def _note_request(self, request: Any) -> None:
        if not request.url.startswith(('data:', 'blob:')):
            self.problems.append(request.url)
