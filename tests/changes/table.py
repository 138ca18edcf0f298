"""All kinds of change, by group, and the table of them in the documentation.

``python -m tests.changes.table`` writes docs/changes.md.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from tests.changes.kinds import Kind, Outcome
from tests.changes.of_code import CODE, NO_CODE
from tests.changes.of_files import FILES, OUTSIDE
from tests.changes.of_modules import MODULES
from tests.changes.of_tasks import TASKS
from tests.changes.of_values import CONSTANTS, LIBRARY, OBJECTS, SECRETS

PAGE = Path(__file__).parents[2] / 'docs' / 'changes.md'
#: The groups, by the heading that they have in the documentation.
GROUPS: dict[str, list[Kind]] = {
    'Code in the notebook': CODE,
    'What does not count': NO_CODE,
    'Modules and scripts': MODULES,
    'Tasks': TASKS,
    'Constants': CONSTANTS,
    'Names of library objects': LIBRARY,
    'Objects and classes': OBJECTS,
    'Names like those of secrets': SECRETS,
    'Files that a task reads': FILES,
    'Outside': OUTSIDE,
}
_MEANINGS = {
    Outcome.NOTICED: 'the result is stale, the plan says why, and the task runs again',
    Outcome.CACHED: 'the result would be the same, and is used',
    Outcome.UNKNOWN: 'the result is used, and the plan, the card and the build say *cannot tell*',
    Outcome.KEPT: 'the earlier result is used, and the plan and the build say so',
    Outcome.UNSEEN: 'the earlier result is used, and nothing is said: make what matters a parameter',
}
_HEAD = """# Kinds of change

<!-- Written by `python -m tests.changes.table`. -->

What [](staleness.md) describes, kind by kind. Each row is a small program in two versions that the tests run in a
kernel, where a cell or a file is edited, and in new processes, with another hash seed and other modules imported.
"""


def page() -> str:
    """The page of the documentation."""
    return '\n'.join(_lines())


def _lines() -> Iterator[str]:
    kinds = [kind for group in GROUPS.values() for kind in group]
    counts = Counter(kind.outcome for kind in kinds)
    yield _HEAD
    yield f'| of {len(kinds)} kinds | | what happens |\n|---|---|---|'
    for outcome in Outcome:
        yield f'| {counts[outcome]} | **{outcome}** | {_MEANINGS[outcome]} |'
    for heading, group in GROUPS.items():
        yield f'\n## {heading}\n\n| what changes | |\n|---|---|'
        for kind in group:
            yield f'| {kind.title.replace("|", chr(92) + "|")} | {_outcome(kind)} |'
    yield ''


def _outcome(kind: Kind) -> str:
    runs = ', '.join(f'`{name}`' for name in kind.runs)
    upstream = f'; of what is upstream, {runs} runs' if kind.outcome is Outcome.CACHED and kind.runs else ''
    return f'{kind.outcome}{upstream}'


if __name__ == '__main__':
    PAGE.write_text(page(), encoding='utf-8')
