"""Plans and builds as text, for terminals, logs and `repr`. It says what `html` says."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from kartnb.execution.background import BackgroundBuild
from kartnb.execution.planning.plan import Plan
from kartnb.execution.report import BuildReport
from kartnb.view import summary
from kartnb.view.clean import one_line
from kartnb.view.measure import columns_of
from kartnb.view.tree import tree_lines

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

    Parameters
    ----------
    names
        The headings.
    rows
        A text for each column; what would act on a terminal is made visible.
    types
        A second line of headings.
    numeric
        For each column, whether it stands at the right.

    Examples
    --------
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
    found = [summary.verdict(report), *_counts_and_workspace(report.plan)]
    for failure in summary.failures(report, _MAX_FAILURES):
        found += ['', *_failure_lines(failure)]
    if len(report.failures) > _MAX_FAILURES:
        found += ['', f'… {len(report.failures) - _MAX_FAILURES:,} more failures']
    slowest = summary.slowest(report, _MAX_SLOWEST)
    if slowest:
        found += ['', 'slowest: ' + ', '.join(f'{name} {seconds}' for name, seconds in slowest)]
    return '\n'.join(found)


def background_text(build: BackgroundBuild) -> str:
    """A build in the background: how it ended, or how far it is."""
    return report_text(build.report) if build.report is not None else f'{build!r}\n{plan_text(build.plan)}'


def _head(plan: Plan) -> list[str]:
    return [f'Plan of {summary.title(plan.root)}: {summary.will_run(plan)}', *_counts_and_workspace(plan)]


def _counts_and_workspace(plan: Plan) -> list[str]:
    counts = ', '.join(map(str, summary.counts(plan)))
    return [f'{summary.tasks(len(plan))}: {counts}', f'workspace: {summary.workspace(plan)}']


def _failure_lines(failure: summary.Failure) -> list[str]:
    found = [f'✗ {failure.name}({failure.parameters})', f'  id {failure.unique_id}']
    if failure.location:
        found.append(f'  at {failure.location}')
    return [*found, *(f'  {line}' for line in failure.error.split('\n'))]
