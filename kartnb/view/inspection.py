"""`kartnb.inspect`: all that is known of one task, as text, as HTML and as a dict."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import luigi

from kartnb.execution.planning.plan import Plan
from kartnb.planning.planner import plan as make_plan
from kartnb.view.clean import ELLIPSIS
from kartnb.view.inspector import (
    Brief,
    Details,
    GokartLogTold,
    Inspector,
    LineTold,
    NeighbourTold,
    OutputTold,
    RunTold,
)

#: What marks a parameter that is part of the unique id.
SIGNIFICANT = '★'


@dataclass(frozen=True, slots=True)
class Section:
    """One part of what is told: a heading, lines of it, and whether they are shown at once or when asked for."""

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
        What is told, as plain dicts.
    """

    brief: Brief
    details: Details

    def to_dict(self) -> dict[str, Any]:
        """What is told as one dict that is JSON as it stands."""
        return {**self.brief, **self.details}

    def __repr__(self) -> str:
        return inspection_text(self)

    def _repr_html_(self) -> str:
        return inspection_html(self)


def inspect(task: luigi.Task | str, plan: Plan | None = None) -> Inspection:
    """Tell all that is known of a task: parameters, state, reason, times, outputs, log lines, gokart's logs, source.

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
        When `task` is no task.
    KeyError
        When the plan has no such task.

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
        plan = make_plan(task)  # type: ignore[arg-type] # what is no task is refused there
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
    from kartnb.view.html import render_template

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
    """What is told of a task, part by part; parts without anything in them are left out."""
    yield from brief_sections(found.brief)
    details = found.details
    if details['outputs']:
        yield Section('Outputs', [_output(output) for output in details['outputs']], open=True)
    for heading, run in (('Last run', details['run']), ('Last run without a result', details['failure'])):
        if run is not None:
            yield Section(heading, _run(run), open=run['state'] != 'done')
    log = details['log']
    if log['lines']:
        earlier = [f'{ELLIPSIS} {log["omitted"]:,} earlier lines'] if log['omitted'] else []
        lines = [*earlier, *(line_text(line) for line in log['lines']), f'in full: {log["path"]}']
        yield Section('Log', lines, code=True)
    for gokart_log in details['gokart_logs']:
        yield Section(f"gokart's log: {gokart_log['kind'].replace('_', ' ')}", _gokart_log(gokart_log))
    source = details['source']
    text = source['text'].split('\n') if source['text'] else [source['problem']]
    more = [f'{ELLIPSIS} {source["omitted"]:,} more lines'] if source['omitted'] else []
    where = [f'# {source["place"]}'] if source['place'] else []
    yield Section('Source', [*where, *text, *more], code=True)


def brief_sections(brief: Brief) -> Iterator[Section]:
    """What is told of a task without opening a file."""
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
            yield Section(name, [*map(_neighbour, tasks), *_more(omitted)])


def _more(omitted: int) -> list[str]:
    return [f'{ELLIPSIS} {omitted:,} more'] if omitted else []


def _neighbour(task: NeighbourTold) -> str:
    return f'{task["glyph"]} {task["state"]} {task["name"]} [{task["unique_id"]}]'


def _output(output: OutputTold) -> str:
    told = [output['format'], output['size_text'], output['modified']] if output['exists'] else ['not made']
    return f'{output["path"]}  ({", ".join(part for part in told if part)})'


def _run(run: RunTold) -> list[str]:
    lines = [f'{run["glyph"]} {run["state"]} {run["started_text"]}, took {run["seconds_text"]}']
    if run['error']:
        lines.append(run['error'])
    where = ', '.join(part for part in (run['host'], run['notebook']) if part)
    versions = ', '.join(f'{name} {version}' for name, version in run['versions'].items())
    return [*lines, *([f'on {where}'] if where else []), *([f'with {versions}'] if versions else [])]


def line_text(line: LineTold) -> str:
    """One captured line as text."""
    tag = line['level'] or ('' if line['stream'] == 'stdout' else line['stream'])
    return '  '.join(part for part in (line['clock'], tag, line['text']) if part)


def _gokart_log(log: GokartLogTold) -> list[str]:
    lines = log['lines'] or [log['problem'] or 'empty']
    return [*lines, *([f'{ELLIPSIS} {log["omitted"]:,} more lines'] if log['omitted'] else [])]
