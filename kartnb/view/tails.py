"""The last lines of tasks that failed, to stand below the picture of their build in a stored notebook."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from kartnb.events import TaskState
from kartnb.execution.planning.plan import Plan
from kartnb.view.clean import one_line
from kartnb.view.html import render_template
from kartnb.view.summary import title

#: What is stored of a build: the tails of so many tasks, so many lines each, so many characters a line.
MAX_TASKS = 3
MAX_LINES = 20
_MAX_TEXT = 200


@dataclass(frozen=True, slots=True)
class Tail:
    """The last lines of one task, fit to be shown."""

    title: str
    lines: tuple[str, ...]


def failed_tails(plan: Plan, lines_of: Callable[[str], Sequence[str]]) -> list[Tail]:
    """The tails of the first failed tasks of a build that have printed or logged something.

    Parameters
    ----------
    plan
        The plan with its final states.
    lines_of
        The last lines of a task by its key.
    """
    found: list[Tail] = []
    for node in plan:
        lines = lines_of(node.key) if node.state is TaskState.FAILED else ()
        if lines and len(found) < MAX_TASKS:
            found.append(Tail(title(node), tuple(one_line(line, _MAX_TEXT) for line in lines[-MAX_LINES:])))
    return found


def tails_text(tails: Sequence[Tail]) -> str:
    """The tails as text.

    Examples
    --------
    >>> print(tails_text([Tail('Train[0f0f0f0f]', ('epoch 1', 'loss is nan'))]))
    Last lines of Train[0f0f0f0f]:
      epoch 1
      loss is nan
    """
    return '\n'.join('\n  '.join([f'Last lines of {tail.title}:', *tail.lines]) for tail in tails)


def tails_html(tails: Sequence[Tail]) -> str:
    """The tails as an HTML fragment."""
    return render_template('tails.html', tails=tails)
