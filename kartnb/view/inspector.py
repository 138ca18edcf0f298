"""What is told of one task in a plan, as plain dicts that are JSON as they stand.

`brief` opens no file, so that a graph of many tasks shows at once; `details` reads what the workspace remembers of one
task, when somebody looks at it. Nothing is run, no result is loaded, and no pickle is loaded but for plain values.
Both are bounded, whatever the task: a brief is at most about 20 kB, details at most about 60 kB.
`kartnb.view.inspector_text` and `kartnb.view.inspector_html` draw them.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from datetime import datetime
from typing import Any, TypedDict

import luigi

from kartnb import display
from kartnb.errors import KartError
from kartnb.execution.planning.plan import Node, Plan
from kartnb.history.log_store import LogStore, LookedAt, captured_path
from kartnb.history.run_record import RunRecord
from kartnb.storage.captured_logs import CapturedLine
from kartnb.storage.filesystem import file_system
from kartnb.task.base import TaskOnKart
from kartnb.task.shown import shown_parameters
from kartnb.task.source_text import class_source
from kartnb.view import clean, told
from kartnb.view.clean import one_line
from kartnb.view.reasons import heading as reasons_heading
from kartnb.view.reasons import reason_text
from kartnb.view.states import look

_MAX_PARAMETERS = 40
_MAX_NEIGHBOURS = 20
_MAX_OUTPUTS = 10
_MAX_LINES = 60
_MAX_LOG_ROWS = 40
_MAX_SOURCE_LINES = 300
_LINE = 300
_PATH = 1000


class ParameterTold(TypedDict):
    """One parameter that may be shown."""

    name: str
    text: str
    significant: bool


class NeighbourTold(TypedDict):
    """A task that the inspected one requires, or that requires it; `position` is where it stands in the plan."""

    position: int
    name: str
    unique_id: str
    state: str
    glyph: str


class OutputTold(TypedDict):
    """One output; what only the file tells is in the details, and None or '' in the brief."""

    path: str
    format: str
    exists: bool | None
    size: int | None
    size_text: str
    modified: str


class RunTold(TypedDict):
    """One recorded run; times are ISO 8601 in UTC, and as a person reads them."""

    state: str
    glyph: str
    started: str
    started_text: str
    ended: str
    seconds: float
    seconds_text: str
    error: str
    host: str
    notebook: str
    result_id: str
    build_id: str
    versions: dict[str, str]


class LineTold(TypedDict):
    """One captured line; `level` is '' for a printed one, `stream` stdout, stderr, log or 'left out'."""

    time: float
    clock: str
    level: str
    stream: str
    logger: str
    text: str


class LogTold(TypedDict):
    """The last captured lines, how many there are before them, and the file with all of them."""

    lines: list[LineTold]
    omitted: int
    path: str


class GokartLogTold(TypedDict):
    """One of gokart's five logs in lines; `problem` says why it has none."""

    kind: str
    path: str
    lines: list[str]
    omitted: int
    problem: str


class SourceTold(TypedDict):
    """The text of the task class and where it stands; `problem` says why there is none."""

    text: str
    place: str
    omitted: int
    problem: str


class Brief(TypedDict):
    """What is known of a task without opening a file; `position` is where it stands in the plan."""

    position: int
    name: str
    module: str
    unique_id: str
    state: str
    glyph: str
    reason: str
    reason_heading: str
    parameters: list[ParameterTold]
    parameters_omitted: int
    requires: list[NeighbourTold]
    requires_omitted: int
    required_by: list[NeighbourTold]
    required_by_omitted: int
    outputs: list[OutputTold]
    outputs_omitted: int


class Details(TypedDict):
    """What the files of a task tell: `run` made the result, `failure` is the latest run without one."""

    position: int
    outputs: list[OutputTold]
    run: RunTold | None
    failure: RunTold | None
    log: LogTold
    gokart_logs: list[GokartLogTold]
    source: SourceTold


class Inspector:
    """Tells of the tasks of one plan.

    Parameters
    ----------
    plan
        The plan; give a new inspector the plan with new states.

    Examples
    --------
    >>> import kartnb, tempfile
    >>> class Two(kartnb.TaskOnKart[int]):
    ...     def run(self):
    ...         print('one and one')
    ...         self.dump(2)
    >>> task = Two(workspace_directory=tempfile.mkdtemp())
    >>> kartnb.build(task)
    one and one
    2
    >>> plan = kartnb.plan(task)
    >>> inspector = Inspector(plan)
    >>> inspector.brief(plan.root.key)['state']
    'cached'
    >>> [line['text'] for line in inspector.details(plan.root.key)['log']['lines']]
    ['one and one']
    """

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._requiring: dict[int, list[int]] = {}
        self._position: dict[str, int] = {}
        for i, node in enumerate(plan.nodes):
            self._position[node.key] = i
            for required in node.requires:
                self._requiring.setdefault(required, []).append(i)

    def brief(self, key: str) -> Brief:
        """What is known of a task without opening a file."""
        node = self._plan[key]
        parameters = sorted(shown_parameters(node.task), key=lambda parameter: not parameter.significant)
        requiring = self._requiring.get(self._position[key], [])
        return {
            'position': self._position[key],
            'name': one_line(node.name, 120),
            'module': one_line(type(node.task).__module__, 200),
            'unique_id': one_line(node.unique_id, 200),
            'state': look(node.state).word,
            'glyph': look(node.state).glyph,
            'reason': one_line(reason_text(node), _LINE),
            'reason_heading': reasons_heading(node.state),
            'parameters': [
                {'name': one_line(p.name, 80), 'text': one_line(p.text, 200), 'significant': p.significant}
                for p in parameters[:_MAX_PARAMETERS]
            ],
            'parameters_omitted': max(len(parameters) - _MAX_PARAMETERS, 0),
            'requires': self._neighbours(node.requires),
            'requires_omitted': max(len(node.requires) - _MAX_NEIGHBOURS, 0),
            'required_by': self._neighbours(requiring),
            'required_by_omitted': max(len(requiring) - _MAX_NEIGHBOURS, 0),
            'outputs': [output_told(path) for path in node.outputs[:_MAX_OUTPUTS]],
            'outputs_omitted': max(len(node.outputs) - _MAX_OUTPUTS, 0),
        }

    def details(self, key: str, store: LogStore | None = None) -> Details:
        """What the files of a task tell; give several tasks one store, so that directories are listed once.

        A file that cannot be read is told as a problem, and raises nothing.
        """
        node = self._plan[key]
        task = node.task
        found: Details = {
            'position': self._position[key],
            'outputs': [output_told(path, look_at_file=True) for path in node.outputs[:_MAX_OUTPUTS]],
            'run': None,
            'failure': None,
            'log': {'lines': [], 'omitted': 0, 'path': ''},
            'gokart_logs': [],
            'source': _source(type(task)),
        }
        if isinstance(task, TaskOnKart):
            _add_recorded(found, task, store or LogStore())
        return found

    def _neighbours(self, positions: Iterable[int]) -> list[NeighbourTold]:
        return [_neighbour(i, self._plan.nodes[i]) for i in list(positions)[:_MAX_NEIGHBOURS]]


def _neighbour(position: int, node: Node) -> NeighbourTold:
    shown = look(node.state)
    return {
        'position': position,
        'name': one_line(node.name, 120),
        'unique_id': one_line(node.unique_id, 200),
        'state': shown.word,
        'glyph': shown.glyph,
    }


def output_told(path: str, look_at_file: bool = False) -> OutputTold:
    """What is told of an output, by its path alone or by the file too."""
    exists: bool | None = None
    size: int | None = None
    modified = ''
    if look_at_file:
        try:
            size, seconds = file_system(path).stamp(path)
            exists, modified = True, datetime.fromtimestamp(seconds).strftime('%Y-%m-%d %H:%M:%S')
        except (KartError, OSError, ValueError):
            exists = False
    return {
        'path': one_line(path, _PATH),
        'format': one_line(os.path.splitext(path)[1].removeprefix('.') or 'no extension', 40),
        'exists': exists,
        'size': size,
        'size_text': '' if size is None else told.size_text(size),
        'modified': modified,
    }


def _add_recorded(found: Details, task: TaskOnKart[Any], store: LogStore) -> None:
    try:
        found['run'] = _run(store.record(task))
        found['failure'] = _run(store.failure(task))
        lines = store.captured(task)
        if lines:
            found['log'] = log_told(lines, captured_path(task))
        found['gokart_logs'] = [_gokart_log(log) for log in store.gokart_logs(task)]
    except (KartError, OSError):  # a workspace that cannot be reached: what is known without it is told
        return


def _run(record: RunRecord | None) -> RunTold | None:
    if record is None:
        return None
    glyph = {'done': '✓', 'failed': '✗', 'interrupted': '■'}.get(record.state, '')
    return {
        'state': one_line(record.state, 20),
        'glyph': glyph,
        'started': one_line(record.started, 40),
        'started_text': told.local_time(record.started),
        'ended': one_line(record.ended, 40),
        'seconds': record.seconds,
        'seconds_text': clean.seconds_text(record.seconds),
        'error': one_line(record.error, _LINE),
        'host': one_line(record.host, 80),
        'notebook': one_line(record.notebook, 200),
        'result_id': one_line(record.result_id, 40),
        'build_id': one_line(record.build_id, 40),
        'versions': {one_line(name, 40): one_line(text, 40) for name, text in list(record.versions.items())[:20]},
    }


def log_told(lines: list[CapturedLine], path: str, most: int = _MAX_LINES) -> LogTold:
    """The last captured lines of a task."""
    kept = lines[-most:]
    return {
        'lines': [line_told(line) for line in kept],
        'omitted': len(lines) - len(kept),
        'path': one_line(path, _PATH),
    }


def line_told(line: CapturedLine, limit: int = _LINE) -> LineTold:
    """One captured line."""
    return {
        'time': line.time,
        'clock': datetime.fromtimestamp(line.time).strftime('%H:%M:%S'),
        'level': told.level_name(line.level) if line.source == 'log' else '',
        'stream': line.source,
        'logger': one_line(line.logger, 80),
        'text': one_line(line.text, limit),
    }


def _gokart_log(log: LookedAt) -> GokartLogTold:
    rows = [] if log.problem else told.value_lines(log.value)
    return {
        'kind': log.kind,
        'path': one_line(log.path, _PATH),
        'lines': [one_line(row, 200) for row in rows[:_MAX_LOG_ROWS]],
        'omitted': max(len(rows) - _MAX_LOG_ROWS, 0),
        'problem': one_line(log.problem, _LINE),
    }


def _source(cls: type[luigi.Task]) -> SourceTold:
    found = class_source(cls)
    if found is None:
        problem = f'The source of {one_line(cls.__name__, 120)} is not to be had.'
        return {'text': '', 'place': '', 'omitted': 0, 'problem': problem}
    rows = found.text.rstrip().split('\n')
    return {
        'text': clean.lines('\n'.join(rows[:_MAX_SOURCE_LINES]), 16_000, _MAX_SOURCE_LINES),
        'place': one_line(f'{display.source_name(found.file)}:{found.line}', _LINE),
        'omitted': max(len(rows) - _MAX_SOURCE_LINES, 0),
        'problem': '',
    }
