"""What a person is told before a build runs anything: what runs because of a change, what is kept in spite of one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

from kartnb.events import ReasonKind
from kartnb.execution.planning.plan import Node, Plan

_MOST_NAMED = 6
_CHANGES = (ReasonKind.CODE_CHANGED, ReasonKind.NEWER_RESULT, ReasonKind.INPUT_NEWER, ReasonKind.UNFINISHED)
#: How the note of a result begins that is kept although its code has changed, and of one that another notebook made.
KEPT, OTHERS = 'code changed', 'replaces the result of '
#: The note of a result that was not written by a recorded run.
FOREIGN = 'another program has written the result again; it is taken as it is'


def announcement(plan: Plan, known: Iterable[str] = ()) -> list[str]:
    """The lines that a person is told of a plan before anything runs; none where nothing has changed.

    Parameters
    ----------
    plan
        What a build will do.
    known
        Keys of tasks of which the person has been told already.
    """
    told = set(known)
    return list(_lines([node for node in plan if node.key not in told]))


def _lines(nodes: list[Node]) -> Iterator[str]:
    changed = [node for node in nodes if node.reason is not None and node.reason.kind in _CHANGES]
    if changed:
        first = Counter(f'{node.name} ({node.reason})' for node in changed)
        downstream = Counter(node.name for node in nodes if _follows(node))
        after = f'; then, downstream: {_listed(downstream)}' if downstream else ''
        yield f'Made anew because of changes: {_listed(first)}{after}.'
    kept = Counter(_kept_name(node) for node in nodes if not node.will_run and node.note.startswith(KEPT))
    if kept:
        yield f"Kept although their code has changed: {_listed(kept)}. To make them anew: on_code_change='rerun'."
    foreign = Counter(node.name for node in nodes if not node.will_run and node.note == FOREIGN)
    if foreign:
        yield f'Written again by another program, and taken as they are: {_listed(foreign)}.'
    taken = [node for node in nodes if node.note.startswith(OTHERS)]
    others = Counter(f'{node.name} ({node.note.removeprefix(OTHERS)})' for node in taken)
    if others:
        yield f'Results of another notebook are replaced: {_listed(others)}. restore_result brings them back.'


def _follows(node: Node) -> bool:
    return node.reason is not None and node.reason.kind is ReasonKind.UPSTREAM_RUNS


def _kept_name(node: Node) -> str:
    detail = node.note.partition(';')[0].removeprefix(KEPT).removeprefix(': ')
    return f'{node.name} ({detail})' if detail else node.name


def _listed(names: Counter[str]) -> str:
    shown = [f'{name} ×{number:,}' if number > 1 else name for name, number in [*names.items()][:_MOST_NAMED]]
    more = len(names) - _MOST_NAMED
    return ', '.join(shown) + (f' and {more:,} more' if more > 0 else '')
