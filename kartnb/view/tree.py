"""A plan as a text tree, the root first, in the manner of gokart's tree."""

from __future__ import annotations

from collections.abc import Iterator

from kartnb.execution.planning.plan import Node, Plan
from kartnb.view import parameters
from kartnb.view.clean import ELLIPSIS, one_line
from kartnb.view.reasons import reason_text
from kartnb.view.states import look
from kartnb.view.summary import title

MAX_LINES = 200
_MAX_INDENT = 20
_PARAMETERS_LIMIT = 80


def tree_lines(plan: Plan, most: int = MAX_LINES) -> list[str]:
    """The lines of the tree, at most `most` of tasks and one that tells how many tasks are left out.

    A task that several others need has its requirements listed once; where it comes again an ellipsis follows.
    """
    found: list[str] = []
    named: set[int] = set()
    for prefix, position, again in _walk(plan):
        if len(found) == most:
            break
        named.add(position)
        found.append(f'{prefix}{_told(plan.nodes[position])}{" " + ELLIPSIS if again else ""}')
    left = len(plan) - len(named)
    if left:
        found.append(f'{ELLIPSIS} {left:,} more')
    return found


def _walk(plan: Plan) -> Iterator[tuple[str, int, bool]]:
    """Each line's prefix, task, and whether its requirements stand elsewhere; depth first without recursion."""
    visited: set[int] = set()
    pending: list[tuple[int, tuple[bool, ...], int]] = [(len(plan) - 1, (), 0)]
    while pending:
        position, lasts, depth = pending.pop()
        requires = plan.nodes[position].requires
        again = position in visited and bool(requires)
        yield _prefix(lasts, depth), position, again
        if position in visited:
            continue
        visited.add(position)
        for i in range(len(requires) - 1, -1, -1):
            pending.append((requires[i], (*lasts[-_MAX_INDENT:], i == len(requires) - 1), depth + 1))


def _prefix(lasts: tuple[bool, ...], depth: int) -> str:
    if not lasts:
        return ''
    bars = ''.join('   ' if last else '│  ' for last in lasts[:-1])
    skipped = f'({depth}) ' if depth > _MAX_INDENT else ''
    return f'{skipped}{bars}{"└─ " if lasts[-1] else "├─ "}'


def _told(node: Node) -> str:
    shown = ', '.join(parameters.short(parameters.shown(node.task)))
    why = reason_text(node)
    reason = f' · {one_line(why, 160)}' if why else ''
    return f'{look(node.state)} {title(node)}({one_line(shown, _PARAMETERS_LIMIT)}){reason}'
