"""The reasons for what will run, as text and as HTML: both say the same."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from kartnb.execution.planning.plan import Node
from kartnb.execution.why import CodeChange, Explanation, Why
from kartnb.view import summary
from kartnb.view.clean import cut, one_line
from kartnb.view.clean import lines as clean_lines
from kartnb.view.diff_lines import DiffLine, diff_line
from kartnb.view.states import Look, look

_MOST_SHOWN = 40
_MOST_DIFF_LINES = 80
_MOST_PARTS = 12
_MOST_NODES = 3


@dataclass(frozen=True, slots=True)
class Shown:
    """One explanation, fit to be shown.

    Attributes
    ----------
    look
        How the state of the tasks is shown.
    tasks, reason
        Which tasks, and why.
    details
        What else is known, one line each.
    changes
        The parameters that differ.
    code
        The changed parts of the code, each with the lines of its difference.
    """

    look: Look
    tasks: str
    reason: str
    details: tuple[str, ...]
    changes: tuple[str, ...]
    code: tuple[tuple[str, tuple[DiffLine, ...]], ...]


def why_text(why: Why) -> str:
    """The reasons as text."""
    found = [_heading(why)]
    for shown in _shown(why):
        found += ['', f'{shown.look} {shown.tasks}: {shown.reason}']
        found += [f'  {line}' for line in (*shown.details, *shown.changes)]
        for name, diff in shown.code:
            found += [f'  {name}:', *(f'    {line.text}'.rstrip() for line in diff)]
    return '\n'.join([*found, *(['', _more(why)] if _more(why) else [])])


def why_html(why: Why) -> str:
    """The reasons as an HTML fragment."""
    from kartnb.view.html import render_template

    return render_template('why.html', heading=_heading(why), shown=[*_shown(why)], more=_more(why))


def _heading(why: Why) -> str:
    title = summary.title(why.plan.root)
    return f'Why, for {title}: {summary.will_run(why.plan)}' + ('' if len(why) else ', and nothing is stale')


def _more(why: Why) -> str:
    left = len(why) - _MOST_SHOWN
    return f'… {left:,} more reasons' if left > 0 else ''


def _shown(why: Why) -> Iterator[Shown]:
    for explanation in why.explanations[:_MOST_SHOWN]:
        yield Shown(
            look(explanation.nodes[0].state),
            _tasks(explanation.nodes),
            one_line(explanation.reason, 300),
            tuple(one_line(line, 400) for line in explanation.details),
            tuple(_changes(explanation)),
            tuple(_code(explanation.code)),
        )


def _tasks(nodes: Sequence[Node]) -> str:
    names = ', '.join(summary.title(node) for node in nodes[:_MOST_NODES])
    more = len(nodes) - _MOST_NODES
    return names + (f' and {more:,} more' if more > 0 else '')


def _changes(explanation: Explanation) -> Iterator[str]:
    for change in explanation.parameters:
        yield one_line(f'{change.name}: {cut(change.before, 100)} → {cut(change.now, 100)}', 260)


def _code(changes: Sequence[CodeChange]) -> Iterator[tuple[str, tuple[DiffLine, ...]]]:
    for change in changes[:_MOST_PARTS]:
        yield one_line(change.name, 120), tuple(_diff_lines(change.diff))
    if len(changes) > _MOST_PARTS:
        yield f'… {len(changes) - _MOST_PARTS:,} more parts of the code', ()


def _diff_lines(diff: Sequence[str]) -> Iterator[DiffLine]:
    kept = [line for line in diff if not line.startswith(('--- ', '+++ '))]
    for line in clean_lines('\n'.join(kept), 20_000, _MOST_DIFF_LINES).split('\n'):
        yield diff_line(cut(line, 400))
