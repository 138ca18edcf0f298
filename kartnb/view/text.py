"""Plans and builds as text, for terminals, logs and `repr`. It says what `html` says."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from kartnb.execution.background import BackgroundBuild
from kartnb.execution.report import BuildReport
from kartnb.model import Node, Plan
from kartnb.view import words
from kartnb.view.sanitise import ELLIPSIS, columns_of, one_line
from kartnb.view.words import look, reason_text, title

MAX_LINES = 200
_MAX_INDENT = 20
_PARAMETERS_LIMIT = 80


def tree_lines(plan: Plan, most: int = MAX_LINES) -> list[str]:
    """The lines of the tree, at most `most` of tasks and one with the number of tasks left out.

    A task that several others need has its requirements listed once; where it comes up again an ellipsis follows.
    """
    found: list[str] = []
    named: set[int] = set()
    for prefix, position, again in _walk(plan):
        if len(found) == most:
            break
        named.add(position)
        found.append(f'{prefix}{_node_line(plan.nodes[position])}{" " + ELLIPSIS if again else ""}')
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


def _node_line(node: Node) -> str:
    shown = ', '.join(words.short(words.shown(node.task)))
    why = reason_text(node)
    reason = f' · {one_line(why, 160)}' if why else ''
    return f'{look(node.state)} {title(node)}({one_line(shown, _PARAMETERS_LIMIT)}){reason}'


_MAX_FAILURES = 10
_MAX_SLOWEST = 5
_MAX_CELL = 1000


def table_lines(
    names: Sequence[str],
    rows: Sequence[Sequence[str]],
    types: Sequence[str] = (),
    numeric: Sequence[bool] = (),
) -> Iterator[str]:
    r"""Rows below their headings in aligned columns, as wide on a terminal as they look there.

    What would act on a terminal is made visible. `types` is a second line of headings; `numeric` columns stand at the
    right.

    >>> print('\n'.join(table_lines(['都市', 'n'], [['東京', '1'], ['Ōsaka', '20']], numeric=[False, True])))
    都市    n
    東京    1
    Ōsaka  20
    """
    every = [[one_line(cell, _MAX_CELL) for cell in row] for row in [names, *([types] if types else []), *rows]]
    columns = list(zip(*every, strict=True))
    widths = [max(map(columns_of, column)) for column in columns]
    for row in every:
        cells = []
        for i, cell in enumerate(row):
            room = ' ' * (widths[i] - columns_of(cell))
            cells.append(room + cell if numeric and numeric[i] else cell + room)
        yield '  '.join(cells).rstrip()


def plan_text(plan: Plan) -> str:
    """A plan: what it is, the counts per state, the workspace, and the tree."""
    return '\n'.join([*_head(plan), *tree_lines(plan)])


def report_text(report: BuildReport) -> str:
    """A build: how it ended, the counts per state, what failed and where, and the slowest tasks."""
    found = [words.verdict(report), *_counts_and_workspace(report.plan), *words.left_alone(report.plan)]
    for failure in words.failures(report, _MAX_FAILURES):
        found += ['', *_failure_lines(failure)]
    if len(report.failures) > _MAX_FAILURES:
        found += ['', f'… {len(report.failures) - _MAX_FAILURES:,} more failures']
    slowest = words.slowest(report, _MAX_SLOWEST)
    if slowest:
        found += ['', 'slowest: ' + ', '.join(f'{name} {seconds}' for name, seconds, _ in slowest)]
    most_memory = words.most_memory(report)
    if most_memory:
        found.append(most_memory)
    return '\n'.join(found)


def background_text(build: BackgroundBuild) -> str:
    """A build in the background: how it ended, or how far it is."""
    return report_text(build.report) if build.report is not None else f'{build!r}\n{plan_text(build.plan)}'


def _head(plan: Plan) -> list[str]:
    remarks = list(filter(None, [words.remarks(plan)]))
    return [f'Plan of {words.title(plan.root)}: {words.will_run(plan)}', *_counts_and_workspace(plan), *remarks]


def _counts_and_workspace(plan: Plan) -> list[str]:
    counts = ', '.join(map(str, words.counts(plan)))
    return [f'{words.tasks(len(plan))}: {counts}', f'workspace: {words.workspace(plan)}']


def _failure_lines(failure: words.Failure) -> list[str]:
    found = [f'✗ {failure.name}({failure.parameters})', f'  id {failure.unique_id}']
    if failure.location:
        found.append(f'  at {failure.location}')
    return [*found, *(f'  {line}' for line in failure.error.split('\n'))]
