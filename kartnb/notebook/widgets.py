"""The live lines of tasks: filtered on the page, and while a build goes on in the background the new ones come."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections import deque
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import anywidget
import traitlets
from IPython.core.interactiveshell import InteractiveShell

from kartnb.execution.background import BackgroundBuild
from kartnb.inspection.logs import Logs, TaskLine
from kartnb.inspection.outputs import Outputs
from kartnb.model import Event, LogLine, TaskOutput
from kartnb.notebook.screen import Screen, script, style
from kartnb.view.html import stylesheet
from kartnb.view.live import Totals, earlier, file_lines, logs_heading, outputs_heading, row_dicts, row_of
from kartnb.view.previews.show import preview_html, preview_target
from kartnb.view.scene import live_stylesheet


class CopyWidget(anywidget.AnyWidget):
    """A line of code with a button that copies it.

    Attributes
    ----------
    code
        The line.
    """

    _esm = (Path(__file__).parent / 'static' / 'copy.js').read_text(encoding='utf-8')
    _css = stylesheet()

    code = traitlets.Unicode().tag(sync=True)


#: Rows that are sent to the front end.
MOST_ROWS = 2_000


class OutputsWidget(anywidget.AnyWidget):
    """What a front end knows of a table of outputs.

    Attributes
    ----------
    key
        Names the stored table that the front end hides while this one lives.
    table
        JSON text: the heading, the rows, and how many rows there are besides.
    """

    _esm = script('outputs')
    _css = style('graph', 'outputs')

    key = traitlets.Unicode().tag(sync=True)
    table = traitlets.Unicode('{}').tag(sync=True)

    def __repr__(self) -> str:
        return 'A live table: it needs a running kernel. The table stands beside it.'


class LiveOutputs:
    """A table that answers: it loads and previews a result when that is asked for.

    Parameters
    ----------
    outputs
        The outputs.
    key
        Names the stored table that it takes the place of.
    """

    def __init__(self, outputs: Outputs, key: str) -> None:
        self._outputs = outputs[:MOST_ROWS]
        told = {
            'heading': outputs_heading(outputs),
            'rows': row_dicts(self._outputs),
            'omitted': max(len(outputs) - MOST_ROWS, 0),
        }
        self.widget = OutputsWidget(key=key, table=json.dumps(told))
        self.widget.on_msg(self._answer)

    def _answer(self, _widget: Any, message: Any, _buffers: Any) -> None:
        if not isinstance(message, dict) or message.get('kind') != 'preview':
            return
        index = message.get('index')
        if isinstance(index, int) and 0 <= index < len(self._outputs):
            html = preview_html(preview_target(self._outputs[index].target))
            self.widget.send({'kind': 'preview', 'index': index, 'html': html})


def show_outputs(outputs: Outputs, shell: InteractiveShell) -> None:
    """Show outputs as a stored table, and a live one below it."""
    screen = Screen(shell)
    screen.show_object_under(LiveOutputs(outputs, screen.key).widget, outputs)


_PARTS = ('head', 'known', 'frame', 'table', 'header', 'picture', 'moving', 'finding', 'inspector', 'log', 'talk')


class GraphWidget(anywidget.AnyWidget):
    """What a front end knows of one plan.

    Attributes
    ----------
    key
        Names the stored picture that the front end hides while this one lives.
    looks
        How each state is shown.
    scene, tasks, record, details
        JSON texts: boxes and arrows, all tasks, what the tasks did so far, and what the files of those drawn tell.
    states
        One letter a task.
    progress
        How far the build is: words, counts and the segments of the bar.
    status
        The phase of the build and its times.
    """

    _esm = script(*(f'graph/{part}' for part in _PARTS))
    _css = style('graph') + live_stylesheet()

    key = traitlets.Unicode().tag(sync=True)
    looks: traitlets.List[Any] = traitlets.List().tag(sync=True)
    scene = traitlets.Unicode('{}').tag(sync=True)
    tasks = traitlets.Unicode('{}').tag(sync=True)
    record = traitlets.Unicode('{}').tag(sync=True)
    details = traitlets.Unicode('{}').tag(sync=True)
    states = traitlets.Unicode().tag(sync=True)
    progress = traitlets.Dict().tag(sync=True)
    status = traitlets.Dict().tag(sync=True)

    def bundle(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """What a front end shows of it, and the metadata of that."""
        bundle = self._repr_mimebundle_()
        assert bundle is not None  # only a widget without a view has none
        return bundle

    def __repr__(self) -> str:
        return 'A live graph: it needs a running kernel. The picture stands beside it.'


#: Lines that the front end has, the last ones, and characters of them.
MOST_LINES = 2_000
MOST_CHARACTERS = 300_000
#: Seconds between two messages, and between two full tellings.
_INTERVAL = 0.1
_FULL_INTERVAL = 2.0

logger = logging.getLogger('kartnb')


class LogsWidget(anywidget.AnyWidget):
    """What a front end knows of lines.

    Attributes
    ----------
    key
        Names the stored lines that the front end hides while this one lives.
    told
        JSON text: the heading, the lines, the files, and whether more will come.
    """

    _esm = script('logs')
    _css = style('graph', 'logs')

    key = traitlets.Unicode().tag(sync=True)
    told = traitlets.Unicode('{}').tag(sync=True)

    def __repr__(self) -> str:
        return 'Live lines: they need a running kernel. The lines stand beside them.'


class LiveLogs:
    """Lines that can be filtered, and that grow while their build goes on.

    Parameters
    ----------
    logs
        The lines.
    key
        Names the stored lines that these take the place of.
    """

    def __init__(self, logs: Logs, key: str) -> None:
        self._lock = threading.Lock()
        self._waiting: list[TaskLine] = []
        self._rows: deque[dict[str, Any]] = deque()
        self._room = MOST_CHARACTERS
        self._number = 0
        self._build = logs.build
        self._take_all(logs)
        self.widget = LogsWidget(key=key, told=self._told())

    @property
    def build(self) -> BackgroundBuild | None:
        """The build from which more lines will come, or None."""
        return self._build

    def follow(self, build: BackgroundBuild) -> Logs:
        """Show the new lines of a build until it has ended; gives all lines then."""
        try:
            build.follow(self._hear)
            self._push_until_end(build)
        finally:
            build.unfollow(self._hear)
        self._build = None
        self._take_all(self._logs.refresh())
        self.widget.told = self._told()
        return self._logs

    def push(self) -> bool:
        """Tell the front end what is new; gives whether there was something."""
        with self._lock:
            waiting, self._waiting = self._waiting, []
        rows = self._add(waiting)
        if rows:
            self.widget.send({'kind': 'lines', 'rows': rows, 'heading': self._heading()})
        return bool(rows)

    def _push_until_end(self, build: BackgroundBuild) -> None:
        told, is_new = time.monotonic(), False
        while not build.wait(_INTERVAL):
            is_new |= self.push()
            if is_new and time.monotonic() - told > _FULL_INTERVAL:
                told, is_new = time.monotonic(), False
                self.widget.told = self._told()

    def _hear(self, event: Event) -> None:
        if isinstance(event, LogLine | TaskOutput):
            lines = [line for line in self._logs.lines_of(event) if line.time > self._filed.get(line.unique_id, 0.0)]
            with self._lock:
                self._waiting += lines

    def _take_all(self, logs: Logs) -> None:
        """Begin with lines; those of tasks without a file come from the build once more."""
        self._logs = logs
        self._several = len(logs.files) > 1 or logs.build is not None
        of_files = {key.rpartition('_')[2] for key in logs.files}
        kept = [line for line in logs if self._build is None or line.unique_id in of_files]
        self._filed = {line.unique_id: line.time + 0.001 for line in kept}  # files tell milliseconds
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

    def _told(self) -> str:
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


def show_logs(logs: Logs, shell: InteractiveShell) -> None:
    """Show lines as stored ones, and live ones below them."""
    screen = Screen(shell)
    live = LiveLogs(logs, screen.key)
    if screen.show_object_under(live.widget, logs) and live.build is not None:
        follow = threading.Thread(target=_follow, args=(live, live.build, screen), name='kartnb log', daemon=True)
        follow.start()


def _follow(live: LiveLogs, build: BackgroundBuild, screen: Screen) -> None:
    try:
        screen.show_object(live.follow(build))
    except Exception:
        logger.warning('The lines of a build could not be followed', exc_info=True)
