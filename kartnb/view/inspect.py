"""The facts about one task of a plan, as plain dicts that can be written as JSON, and what `inspect` makes of them.

`brief` opens no file, so that a graph of many tasks shows at once; `details` reads what the workspace remembers of one
task, when somebody looks at it. Nothing is run, no result is loaded, and no pickle is loaded but for plain values.
Both are bounded, whatever the task: a brief is at most about 20 kB, details at most about 60 kB.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypedDict

import luigi

from kartnb import display
from kartnb.errors import KartError
from kartnb.history.log_store import GokartLog, LogStore, captured_path
from kartnb.history.run_record import RunRecord
from kartnb.model import Node, Plan
from kartnb.planning.planner import plan as make_plan
from kartnb.storage.filesystem import file_system
from kartnb.storage.places import CapturedLine
from kartnb.task import identity, registry
from kartnb.task.base import TaskOnKart
from kartnb.task.code.source import class_source
from kartnb.task.describe import shown_parameters
from kartnb.view import sanitise
from kartnb.view.html import plan_html, render_template
from kartnb.view.sanitise import ELLIPSIS, error_text, one_line
from kartnb.view.text import plan_text
from kartnb.view.words import heading as reasons_heading
from kartnb.view.words import listed, look, reason_text, shown

_MAX_PARAMETERS = 40
_MAX_NEIGHBOURS = 20
_MAX_OUTPUTS = 10
_MAX_LINES = 60
_MAX_LOG_ROWS = 40
_MAX_SOURCE_LINES = 300
_LINE = 300
_PATH = 1000


class ParameterFacts(TypedDict):
    """One parameter that may be shown."""

    name: str
    text: str
    significant: bool


class NeighbourFacts(TypedDict):
    """A task that the inspected one requires, or that requires it; `position` is where it stands in the plan."""

    position: int
    name: str
    unique_id: str
    state: str
    glyph: str


class OutputFacts(TypedDict):
    """One output; what only the file shows is in the details, and None or '' in the brief."""

    path: str
    format: str
    exists: bool | None
    size: int | None
    size_text: str
    modified: str


class RunFacts(TypedDict):
    """One recorded run; times are ISO 8601 in UTC, and as a person reads them."""

    state: str
    glyph: str
    started: str
    started_text: str
    ended: str
    seconds: float
    seconds_text: str
    #: Bytes of memory of its process at most, how much was added to what it had before, and both in words.
    peak_memory: int | None
    added_memory: int | None
    memory_text: str
    error: str
    host: str
    notebook: str
    user: str
    commit: str
    result_id: str
    build_id: str
    versions: dict[str, str]


class LineFacts(TypedDict):
    """One captured line; `level` is '' for a printed one, `stream` stdout, stderr, log or 'left out'."""

    time: float
    clock: str
    level: str
    stream: str
    logger: str
    text: str


class LogFacts(TypedDict):
    """The last captured lines, how many there are before them, and the file with all of them."""

    lines: list[LineFacts]
    omitted: int
    path: str


class GokartLogFacts(TypedDict):
    """One of gokart's five logs in lines; `problem` says why it has none."""

    kind: str
    path: str
    lines: list[str]
    omitted: int
    problem: str


class SourceFacts(TypedDict):
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
    parameters: list[ParameterFacts]
    parameters_omitted: int
    requires: list[NeighbourFacts]
    requires_omitted: int
    required_by: list[NeighbourFacts]
    required_by_omitted: int
    outputs: list[OutputFacts]
    outputs_omitted: int


class Details(TypedDict):
    """What is in the files of a task: `run` made the result, `failure` is the latest run without one."""

    position: int
    outputs: list[OutputFacts]
    run: RunFacts | None
    failure: RunFacts | None
    log: LogFacts
    gokart_logs: list[GokartLogFacts]
    source: SourceFacts


class Inspector:
    """Collects the facts about tasks of one plan; a plan with new states needs a new inspector.

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
            'outputs': [output_facts(path) for path in node.outputs[:_MAX_OUTPUTS]],
            'outputs_omitted': max(len(node.outputs) - _MAX_OUTPUTS, 0),
        }

    def details(self, key: str, store: LogStore | None = None) -> Details:
        """What is in the files of a task; give several tasks one store, so that directories are listed once.

        A file that cannot be read is reported as a problem and raises nothing.
        """
        node = self._plan[key]
        task = node.task
        found: Details = {
            'position': self._position[key],
            'outputs': [output_facts(path, look_at_file=True) for path in node.outputs[:_MAX_OUTPUTS]],
            'run': None,
            'failure': None,
            'log': {'lines': [], 'omitted': 0, 'path': ''},
            'gokart_logs': [],
            'source': _source(type(task)),
        }
        if isinstance(task, TaskOnKart):
            _add_recorded(found, task, store or LogStore())
        return found

    def _neighbours(self, positions: Iterable[int]) -> list[NeighbourFacts]:
        return [_neighbour(i, self._plan.nodes[i]) for i in list(positions)[:_MAX_NEIGHBOURS]]


def _neighbour(position: int, node: Node) -> NeighbourFacts:
    shown = look(node.state)
    return {
        'position': position,
        'name': one_line(node.name, 120),
        'unique_id': one_line(node.unique_id, 200),
        'state': shown.word,
        'glyph': shown.glyph,
    }


def output_facts(path: str, look_at_file: bool = False) -> OutputFacts:
    """The facts about an output, from its path alone or from the file too."""
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
        'size_text': '' if size is None else sanitise.size_text(size),
        'modified': modified,
    }


def _add_recorded(found: Details, task: TaskOnKart[Any], store: LogStore) -> None:
    try:
        found['run'] = _run(store.record(task))
        found['failure'] = _run(store.failure(task))
        lines = store.captured(task)
        if lines:
            found['log'] = log_facts(lines, captured_path(task))
        found['gokart_logs'] = [_gokart_log(log) for log in store.gokart_logs(task)]
    except (KartError, OSError):  # a workspace that cannot be reached: show what is known without it
        return


def _run(record: RunRecord | None) -> RunFacts | None:
    if record is None:
        return None
    glyph = {'done': '✓', 'failed': '✗', 'interrupted': '■'}.get(record.state, '')
    return {
        'state': one_line(record.state, 20),
        'glyph': glyph,
        'started': one_line(record.started, 40),
        'started_text': sanitise.local_time(record.started),
        'ended': one_line(record.ended, 40),
        'seconds': record.seconds,
        'seconds_text': sanitise.seconds_text(record.seconds),
        'peak_memory': record.peak_memory,
        'added_memory': record.added_memory,
        'memory_text': _memory_text(record),
        'error': one_line(record.error, _LINE),
        'host': one_line(record.host, 80),
        'notebook': one_line(record.notebook, 200),
        'user': one_line(record.user, 80),
        'commit': one_line(record.commit, 40),
        'result_id': one_line(record.result_id, 40),
        'build_id': one_line(record.build_id, 40),
        'versions': {one_line(name, 40): one_line(text, 40) for name, text in list(record.versions.items())[:20]},
    }


def _memory_text(record: RunRecord) -> str:
    peak, added = record.peak_memory, record.added_memory
    if peak is None or added is None:
        return ''
    return f'memory +{sanitise.size_text(added)}, to a peak of {sanitise.size_text(peak)} in its process'


def log_facts(lines: list[CapturedLine], path: str, most: int = _MAX_LINES) -> LogFacts:
    """The last captured lines of a task."""
    kept = lines[-most:]
    return {
        'lines': [line_facts(line) for line in kept],
        'omitted': len(lines) - len(kept),
        'path': one_line(path, _PATH),
    }


def line_facts(line: CapturedLine, limit: int = _LINE) -> LineFacts:
    """One captured line."""
    return {
        'time': line.time,
        'clock': datetime.fromtimestamp(line.time).strftime('%H:%M:%S'),
        'level': sanitise.level_name(line.level) if line.source == 'log' else '',
        'stream': line.source,
        'logger': one_line(line.logger, 80),
        'text': one_line(line.text, limit),
    }


def _gokart_log(log: GokartLog) -> GokartLogFacts:
    rows = [] if log.problem else sanitise.value_lines(log.value)
    return {
        'kind': log.kind,
        'path': one_line(log.path, _PATH),
        'lines': [one_line(row, 200) for row in rows[:_MAX_LOG_ROWS]],
        'omitted': max(len(rows) - _MAX_LOG_ROWS, 0),
        'problem': one_line(log.problem, _LINE),
    }


def _source(cls: type[luigi.Task]) -> SourceFacts:
    found = class_source(cls)
    if found is None:
        problem = f'The source of {one_line(cls.__name__, 120)} is not available.'
        return {'text': '', 'place': '', 'omitted': 0, 'problem': problem}
    rows = found.text.rstrip().split('\n')
    return {
        'text': sanitise.several_lines('\n'.join(rows[:_MAX_SOURCE_LINES]), 16_000, _MAX_SOURCE_LINES),
        'place': one_line(f'{display.source_name(found.file)}:{found.line}', _LINE),
        'omitted': max(len(rows) - _MAX_SOURCE_LINES, 0),
        'problem': '',
    }


#: What marks a parameter that is part of the unique id.
SIGNIFICANT = '★'


@dataclass(frozen=True, slots=True)
class Section:
    """One section: a heading, its lines, and whether it is open at first."""

    heading: str
    lines: Sequence[str]
    open: bool = False
    code: bool = False


@dataclass(frozen=True, slots=True)
class Inspection:
    """All that is known of one task, what `kartnb.inspect` gives: evaluate it in a notebook, or print it.

    Attributes
    ----------
    brief, details
        The facts, as plain dicts.
    """

    brief: Brief
    details: Details

    def to_dict(self) -> dict[str, Any]:
        """The facts as one dict that can be written as JSON."""
        return {**self.brief, **self.details}

    def __repr__(self) -> str:
        return inspection_text(self)

    def _repr_html_(self) -> str:
        return inspection_html(self)


def inspect(task: luigi.Task | str, plan: Plan | None = None) -> Inspection:
    """Show all that is known of a task: parameters, state, reason, times, outputs, log lines, gokart's logs, source.

    Nothing is run, no result is loaded, and secret parameters are left out.

    Parameters
    ----------
    task
        The task; with a plan, also the key of a node.
    plan
        The plan to look in, for instance that of a larger task; by default that of the task itself.

    Raises
    ------
    TaskArgumentError
        When `task` is not a task.
    KeyError
        When the task is not in the plan.

    Examples
    --------
    >>> import kartnb, luigi, tempfile
    >>> class Greeting(kartnb.TaskOnKart):
    ...     name = luigi.Parameter('you')
    ...
    ...     def run(self):
    ...         self.dump(f'Hello, {self.name}!')
    >>> found = kartnb.inspect(Greeting(workspace_directory=tempfile.mkdtemp()))
    >>> found.brief['state'], found.brief['reason'].partition(':')[0]
    ('missing', 'output missing')
    """
    if plan is None:
        plan = make_plan(task)  # type: ignore[arg-type] # anything else is refused there
    key = plan[task].key
    inspector = Inspector(plan)
    return Inspection(inspector.brief(key), inspector.details(key))


def inspection_text(found: Inspection) -> str:
    """An inspection as text."""
    lines = [headline(found.brief)]
    for section in sections(found):
        lines += ['', f'{section.heading}:', *(f'  {line}' for line in section.lines)]
    return '\n'.join(lines)


def inspection_html(found: Inspection) -> str:
    """An inspection as an HTML fragment."""
    return render_template('inspection.html', **inspection_context(found))


def inspection_context(found: Inspection) -> dict[str, Any]:
    """What the template needs."""
    return {
        'brief': found.brief,
        'slug': found.brief['state'].replace(' ', '-'),
        'headline': headline(found.brief),
        'sections': list(sections(found)),
    }


def headline(brief: Brief) -> str:
    """The state, the task and its id on one line."""
    return f'{brief["glyph"]} {brief["state"]} {brief["name"]} [{brief["unique_id"]}]'


def sections(found: Inspection) -> Iterator[Section]:
    """The facts about a task, section by section; empty sections are left out."""
    yield from brief_sections(found.brief)
    details = found.details
    if details['outputs']:
        yield Section('Outputs', [_output_text(output) for output in details['outputs']], open=True)
    for heading, run in (('Last run', details['run']), ('Last run without a result', details['failure'])):
        if run is not None:
            yield Section(heading, _run_lines(run), open=run['state'] != 'done')
    log = details['log']
    if log['lines']:
        earlier = [f'{ELLIPSIS} {log["omitted"]:,} earlier lines'] if log['omitted'] else []
        lines = [*earlier, *(line_text(line) for line in log['lines']), f'full log: {log["path"]}']
        yield Section('Log', lines, code=True)
    for gokart_log in details['gokart_logs']:
        yield Section(f"gokart's log: {gokart_log['kind'].replace('_', ' ')}", _gokart_log_lines(gokart_log))
    source = details['source']
    text = source['text'].split('\n') if source['text'] else [source['problem']]
    more = [f'{ELLIPSIS} {source["omitted"]:,} more lines'] if source['omitted'] else []
    where = [f'# {source["place"]}'] if source['place'] else []
    yield Section('Source', [*where, *text, *more], code=True)


def brief_sections(brief: Brief) -> Iterator[Section]:
    """The facts about a task that need no file to be opened."""
    if brief['reason']:
        yield Section(brief['reason_heading'], [brief['reason']], open=True)
    if brief['parameters']:
        marked = [
            f'{parameter["name"]} = {parameter["text"]}{f"  {SIGNIFICANT}" if parameter["significant"] else ""}'
            for parameter in brief['parameters']
        ]
        heading = f'Parameters ({SIGNIFICANT} is part of the unique id)'
        yield Section(heading, [*marked, *_more(brief['parameters_omitted'])], open=True)
    for name, tasks, omitted in (
        ('Requires', brief['requires'], brief['requires_omitted']),
        ('Required by', brief['required_by'], brief['required_by_omitted']),
    ):
        if tasks:
            yield Section(name, [*map(_neighbour_text, tasks), *_more(omitted)])


def _more(omitted: int) -> list[str]:
    return [f'{ELLIPSIS} {omitted:,} more'] if omitted else []


def _neighbour_text(task: NeighbourFacts) -> str:
    return f'{task["glyph"]} {task["state"]} {task["name"]} [{task["unique_id"]}]'


def _output_text(output: OutputFacts) -> str:
    parts = [output['format'], output['size_text'], output['modified']] if output['exists'] else ['not created']
    return f'{output["path"]}  ({", ".join(part for part in parts if part)})'


def _run_lines(run: RunFacts) -> list[str]:
    lines = [f'{run["glyph"]} {run["state"]} {run["started_text"]}, took {run["seconds_text"]}']
    if run['memory_text']:
        lines.append(run['memory_text'])
    if run['error']:
        lines.append(run['error'])
    commit = f'commit {run["commit"]}' if run['commit'] else ''
    where = ', '.join(part for part in (run['host'], run['notebook'], commit) if part)
    where = f'{where} by {run["user"]}' if run['user'] else where
    versions = ', '.join(f'{name} {version}' for name, version in run['versions'].items())
    return [*lines, *([f'on {where}'] if where else []), *([f'with {versions}'] if versions else [])]


def line_text(line: LineFacts) -> str:
    """One captured line as text."""
    tag = line['level'] or ('' if line['stream'] == 'stdout' else line['stream'])
    return '  '.join(part for part in (line['clock'], tag, line['text']) if part)


def _gokart_log_lines(log: GokartLogFacts) -> list[str]:
    lines = log['lines'] or [log['problem'] or 'empty']
    return [*lines, *([f'{ELLIPSIS} {log["omitted"]:,} more lines'] if log['omitted'] else [])]


#: A larger graph, one that takes longer to walk, or one on an object store is not planned just for being looked at.
MOST_TASKS = 2_000
MOST_SECONDS = 0.5


def task_text(task: TaskOnKart[Any]) -> str:
    """A task as text: its plan, or what is known without one."""
    planned, note = _planned(task)
    if planned is None:
        return f'{one_line(repr(task), 400)}\n{note}'
    age = registry.note_on_age(task).removeprefix(' – ')
    return '\n'.join(filter(None, [plan_text(planned), age and f'This task is {age}.']))


def task_html(task: TaskOnKart[Any]) -> str:
    """A task as an HTML fragment: its plan, drawn, and the task itself."""
    planned, note = _planned(task)
    name = one_line(type(task).__name__, 120)
    if planned is None:
        lines = [listed(shown(task)) or 'This task has no parameters.']
        found = [Section('Parameters', lines, open=True)]
        return render_template('task.html', title=name, unique_id=_unique_id(task), sections=found, note=note)
    inspector = Inspector(planned)
    found = list(brief_sections(inspector.brief(planned.root.key)))
    age = registry.note_on_age(task).removeprefix(' – ')
    note = f'This task is {age}.' if age else ''
    task_part = render_template('task.html', title=name, unique_id=_unique_id(task), sections=found, note=note)
    return f'{plan_html(planned)}\n{task_part}'


def _planned(task: TaskOnKart[Any]) -> tuple[Plan | None, str]:
    """The plan of a task, or why there is none."""
    if '://' in task.workspace_directory:
        return None, 'The workspace is not on this computer: call kartnb.plan(…) to query the states.'
    try:
        if not _is_soon_walked(task):
            return None, 'This task requires many others: call kartnb.plan(…) to find them all, with their states.'
        return make_plan(task), ''
    except Exception as error:  # whatever requires(), output() or complete() raises, the task itself can be shown
        return None, f'The plan could not be made: {one_line(error_text(error), 300)}'


def _is_soon_walked(task: luigi.Task) -> bool:
    """Whether a task needs few enough tasks, and they are found quickly."""
    until = time.monotonic() + MOST_SECONDS
    seen, pending = {id(task): task}, [task]
    while pending:
        if len(seen) > MOST_TASKS or time.monotonic() > until:
            return False
        for other in identity.required_tasks(pending.pop()):
            if id(other) not in seen:
                seen[id(other)] = other
                pending.append(other)
    return True


def _unique_id(task: TaskOnKart[Any]) -> str:
    try:
        return one_line(task.make_unique_id(), 80)
    except Exception:  # its requires() may fail, which the note says
        return ''
