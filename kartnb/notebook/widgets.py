"""The anywidget classes, with their scripts and traits, and what feeds the live tables of outputs and logs.

Only this module imports anywidget, so it is imported only where `screen.can_be_live` says that anywidget is installed.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections import deque
from collections.abc import Iterable
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

import anywidget
import traitlets
from IPython.core.interactiveshell import InteractiveShell

from kartnb.execution.background import BackgroundBuild
from kartnb.inspection.logs import Logs, TaskLine
from kartnb.inspection.outputs import Outputs
from kartnb.model import Event, LogLine, TaskOutput
from kartnb.notebook.screen import Screen
from kartnb.view.html import stylesheet
from kartnb.view.live import Totals, earlier, file_lines, logs_heading, outputs_heading, row_dicts, row_of
from kartnb.view.previews.show import preview_html, preview_target
from kartnb.view.scene import live_stylesheet

logger = logging.getLogger('kartnb')

_FOLDER = Path(__file__).parent / 'static'
#: The parts of the graph's script; the last one has the export.
_GRAPH_PARTS = (
    'base', 'data', 'frame', 'table', 'header', 'picture', 'pan_zoom', 'search', 'inspector', 'log', 'messages'
)  # fmt: skip


@cache
def _read(name: str) -> str:
    return (_FOLDER / name).read_text(encoding='utf-8')


def _script(*names: str) -> str:
    """One ES module of what the scripts share and the named files: a widget's script can import no other file."""
    return '\n'.join(_read(f'{name}.js') for name in ('parts', *names))


def _style(*names: str) -> str:
    return stylesheet() + ''.join(_read(f'{name}.css') for name in names)


class CopyWidget(anywidget.AnyWidget):
    """A line of code with a button that copies it."""

    _esm = _read('copy.js')
    _css = _style()

    code = traitlets.Unicode().tag(sync=True)


class _LiveWidget(anywidget.AnyWidget):
    """A live form of something that is stored too.

    `key` names the stored form, which the front end hides while this one lives.
    """

    key = traitlets.Unicode().tag(sync=True)

    def __repr__(self) -> str:
        return 'A live view: it needs a running kernel. The stored form is next to it.'


class GraphWidget(_LiveWidget):
    """The graph of a plan; `LiveGraph` feeds it.

    `scene` (boxes and arrows), `tasks` (all of them), `record` (what they did so far) and `details` (what records and
    logs hold of those drawn) are JSON. `states` has one letter a task; `status` has the build's phase and times.
    """

    _esm = _script(*(f'graph/{part}' for part in _GRAPH_PARTS))
    _css = _style('graph') + live_stylesheet()

    looks: traitlets.List[Any] = traitlets.List().tag(sync=True)
    scene = traitlets.Unicode('{}').tag(sync=True)
    tasks = traitlets.Unicode('{}').tag(sync=True)
    record = traitlets.Unicode('{}').tag(sync=True)
    details = traitlets.Unicode('{}').tag(sync=True)
    states = traitlets.Unicode().tag(sync=True)
    progress = traitlets.Dict().tag(sync=True)
    status = traitlets.Dict().tag(sync=True)


class OutputsWidget(_LiveWidget):
    """A table of outputs: JSON of the heading, the rows, and how many rows there are besides."""

    _esm = _script('outputs')
    _css = _style('graph', 'outputs')

    table = traitlets.Unicode('{}').tag(sync=True)


class LogsWidget(_LiveWidget):
    """Log lines: JSON of the heading, the lines, the files, and whether more will come."""

    _esm = _script('logs')
    _css = _style('graph', 'logs')

    content = traitlets.Unicode('{}').tag(sync=True)


#: Rows of a table that are sent to the front end.
MOST_ROWS = 2_000


def show_outputs(outputs: Outputs, shell: InteractiveShell) -> None:
    """Show outputs as a stored table, with a live one below it."""
    screen = Screen(shell)
    screen.show_with_live(outputs, LiveOutputs(outputs, screen.key).widget)


class LiveOutputs:
    """A table that loads and previews a result on request; `key` names the stored table that it replaces."""

    def __init__(self, outputs: Outputs, key: str) -> None:
        self._outputs = outputs[:MOST_ROWS]
        table = {
            'heading': outputs_heading(outputs),
            'rows': row_dicts(self._outputs),
            'omitted': max(len(outputs) - MOST_ROWS, 0),
        }
        self.widget = OutputsWidget(key=key, table=json.dumps(table))
        self.widget.on_msg(self._on_message)

    def _on_message(self, _widget: Any, message: Any, _buffers: Any) -> None:
        if not isinstance(message, dict) or message.get('kind') != 'preview':
            return
        index = message.get('index')
        if isinstance(index, int) and 0 <= index < len(self._outputs):
            html = preview_html(preview_target(self._outputs[index].target))
            self.widget.send({'kind': 'preview', 'index': index, 'html': html})


#: Lines that the front end has, the last ones, and their characters together.
MOST_LINES = 2_000
MOST_CHARACTERS = 300_000
#: Seconds between two messages with new lines, and between two updates of the trait that has all of them.
_INTERVAL = 0.1
_CONTENT_INTERVAL = 2.0


def show_logs(logs: Logs, shell: InteractiveShell) -> None:
    """Show log lines as stored ones, with live ones below them."""
    screen = Screen(shell)
    live = LiveLogs(logs, screen.key)
    if screen.show_with_live(logs, live.widget) and live.build is not None:
        follow = threading.Thread(target=_follow, args=(live, live.build, screen), name='kartnb log', daemon=True)
        follow.start()


def _follow(live: LiveLogs, build: BackgroundBuild, screen: Screen) -> None:
    try:
        screen.show_object(live.follow(build))
    except Exception:
        logger.warning('The log of a running build is no longer updated', exc_info=True)


class LiveLogs:
    """Log lines that can be filtered, and that grow while their build runs; `key` names the stored lines."""

    def __init__(self, logs: Logs, key: str) -> None:
        self._lock = threading.Lock()
        self._waiting: list[TaskLine] = []
        self._rows: deque[dict[str, Any]] = deque()
        self._room = MOST_CHARACTERS
        self._number = 0
        self._build = logs.build
        self._start_with(logs)
        self.widget = LogsWidget(key=key, content=self._content())

    @property
    def build(self) -> BackgroundBuild | None:
        """The build that more lines come from, or None."""
        return self._build

    def follow(self, build: BackgroundBuild) -> Logs:
        """Show the new lines of a build until it has ended; gives all lines then."""
        try:
            build.follow(self._take)
            self._push_until_end(build)
        finally:
            build.unfollow(self._take)
        self._build = None
        self._start_with(self._logs.refresh())
        self.widget.content = self._content()
        return self._logs

    def push(self) -> bool:
        """Send the front end the new lines; gives whether there were any."""
        with self._lock:
            waiting, self._waiting = self._waiting, []
        rows = self._add(waiting)
        if rows:
            self.widget.send({'kind': 'lines', 'rows': rows, 'heading': self._heading()})
        return bool(rows)

    def _push_until_end(self, build: BackgroundBuild) -> None:
        updated, is_new = time.monotonic(), False
        while not build.wait(_INTERVAL):
            is_new |= self.push()
            if is_new and time.monotonic() - updated > _CONTENT_INTERVAL:
                updated, is_new = time.monotonic(), False
                self.widget.content = self._content()

    def _take(self, event: Event) -> None:
        if isinstance(event, LogLine | TaskOutput):
            lines = [line for line in self._logs.lines_of(event) if line.time > self._filed.get(line.unique_id, 0.0)]
            with self._lock:
                self._waiting += lines

    def _start_with(self, logs: Logs) -> None:
        """Begin with lines; while a build runs, those of tasks without a file come again from its events."""
        self._logs = logs
        self._several = len(logs.files) > 1 or logs.build is not None
        with_file = {key.rpartition('_')[2] for key in logs.files}
        kept = [line for line in logs if self._build is None or line.unique_id in with_file]
        self._filed = {line.unique_id: line.time + 0.001 for line in kept}  # files hold milliseconds, events more
        self._totals = Totals()
        self._rows.clear()
        self._room = MOST_CHARACTERS
        self._add(kept)

    def _add(self, lines: Iterable[TaskLine]) -> list[dict[str, Any]]:
        added = []
        for line in lines:
            self._totals = self._totals.with_line(line)
            self._number += 1
            row = {'number': self._number, **asdict(row_of(line, self._several)), 'weight': line.weight}
            added.append(row)
            self._rows.append(row)
            self._room -= len(row['text'])
        while len(self._rows) > MOST_LINES or (self._room < 0 and len(self._rows) > 1):
            self._room += len(self._rows.popleft()['text'])
        return added[-MOST_LINES:]

    def _heading(self) -> str:
        return logs_heading(self._logs.title, self._totals)

    def _content(self) -> str:
        return json.dumps(
            {
                'heading': self._heading(),
                'earlier': earlier(self._totals.lines - len(self._rows)),
                'rows': list(self._rows),
                'files': file_lines(self._logs, many=50),
                'live': self._build is not None,
                'most': MOST_LINES,
            }
        )
