"""What a plan says before anything runs: `announcement` of what changed and what is kept, `estimate` of the time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from kartnb.history.log_store import TypicalTimes
from kartnb.model import HELD, Node, Plan, ReasonKind
from kartnb.planning.staleness import FOREIGN, KEPT, OTHERS

_MOST_NAMED = 6
_CHANGES = (
    ReasonKind.CODE_CHANGED,
    ReasonKind.NEWER_RESULT,
    ReasonKind.INPUT_NEWER,
    ReasonKind.UNFINISHED,
    ReasonKind.CUT_SHORT,
)


@dataclass(frozen=True, slots=True)
class Estimate:
    """About how long a build will take."""

    #: Of the tasks whose time is known, one after the other or as many at a time as there are workers.
    seconds: float
    #: How many tasks are of classes without a recorded run.
    unknown: int
    #: Seconds of each task that will run and whose time is known, by node key.
    by_key: dict[str, float]


def estimate(plan: Plan, workers: int = 1, times: TypicalTimes | None = None) -> Estimate:
    """About how long a build of a plan will take; without `times` the records are read again.

    >>> import kartnb, tempfile
    >>> class One(kartnb.TaskOnKart[int]):
    ...     def run(self):
    ...         self.dump(1)
    >>> estimate(kartnb.plan(One(workspace_directory=tempfile.mkdtemp()))).unknown
    1
    """
    times = times or TypicalTimes()
    to_run = plan.to_run()
    found = {node.key: times.seconds(node.task) for node in to_run}
    known = {key: seconds for key, seconds in found.items() if seconds is not None}
    total = sum(known.values())
    if workers > 1 and known:
        total = max(total / workers, _longest_path(plan, known))
    return Estimate(total, len(found) - len(known), known)


def _longest_path(plan: Plan, known: dict[str, float]) -> float:
    ends: list[float] = []
    for node in plan.nodes:
        begin = max((ends[i] for i in node.requires), default=0.0)
        ends.append(begin + known.get(node.key, 0.0))
    return max(ends, default=0.0)


def announcement(plan: Plan, known: Iterable[str] = ()) -> list[str]:
    """The lines to be shown of a plan before anything runs, without the tasks whose keys are `known`; often none."""
    announced = set(known)
    return list(_lines([node for node in plan if node.key not in announced]))


def _lines(nodes: list[Node]) -> Iterator[str]:
    changing = [node for node in nodes if node.reason is not None and node.reason.kind in _CHANGES]
    changed = [node for node in changing if HELD not in node.note]  # for what another build runs, this one waits
    if changed:
        first = Counter(f'{node.name} ({node.reason})' for node in changed)
        downstream = Counter(node.name for node in nodes if _follows(node))
        after = f'; then, downstream: {_listed(downstream)}' if downstream else ''
        yield f'Recomputed because code or inputs changed: {_listed(first)}{after}.'
    kept = Counter(_kept_name(node) for node in nodes if not node.will_run and node.note.startswith(KEPT))
    if kept:
        yield f"Kept although their code has changed: {_listed(kept)}. To recompute them: on_code_change='rerun'."
    foreign = Counter(node.name for node in nodes if not node.will_run and node.note == FOREIGN)
    if foreign:
        yield f'Modified outside kartnb; using the files as they are: {_listed(foreign)}.'
    taken = [node for node in nodes if node.note.startswith(OTHERS)]
    others = Counter(f'{node.name} ({node.note.removeprefix(OTHERS)})' for node in taken)
    if others:
        yield f'Results of others are replaced: {_listed(others)}. restore_result brings them back.'


def _follows(node: Node) -> bool:
    return node.reason is not None and node.reason.kind is ReasonKind.UPSTREAM_RUNS


def _kept_name(node: Node) -> str:
    detail = node.note.partition(';')[0].removeprefix(KEPT).removeprefix(': ')
    return f'{node.name} ({detail})' if detail else node.name


def _listed(names: Counter[str]) -> str:
    shown = [f'{name} ×{number:,}' if number > 1 else name for name, number in [*names.items()][:_MOST_NAMED]]
    more = len(names) - _MOST_NAMED
    return ', '.join(shown) + (f' and {more:,} more' if more > 0 else '')
