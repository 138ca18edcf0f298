"""What a plan says before anything runs: `announcement` of what changed and what is kept, `estimate` of the time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass

from kartnb.history.log_store import TypicalTimes
from kartnb.model import HELD, UNSEEDED, Node, Plan, ReasonKind, TaskState
from kartnb.planning.staleness import BROUGHT_BACK, CANNOT_TELL, FOREIGN, KEPT, OTHERS
from kartnb.task.code import loaded
from kartnb.task.held import OLDER_BASE

_MOST_NAMED = 6
_CHANGES = (
    ReasonKind.CODE_CHANGED,
    ReasonKind.NEWER_RESULT,
    ReasonKind.OTHER_REQUIRES,
    ReasonKind.INPUT_NEWER,
    ReasonKind.UNFINISHED,
    ReasonKind.CUT_SHORT,
    ReasonKind.FILE_CHANGED,
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
    unseeded = [note for note in plan.notes if note.startswith(UNSEEDED)]
    notes = [] if announced else [f'{note}.' for note in (*loaded.untold(plan.notes), *unseeded)]
    return [*notes, *_lines(plan, announced)]


def _lines(plan: Plan, known: Container[str]) -> Iterator[str]:
    nodes = [node for node in plan if node.key not in known]
    changing = [node for node in nodes if node.reason is not None and node.reason.kind in _CHANGES]
    changed = [node for node in changing if HELD not in node.note]  # for what another build runs, this one waits
    if changed:
        first = Counter(f'{node.name} ({node.reason})' for node in changed)
        downstream = Counter(node.name for node in nodes if _follows(node))
        after = f'; then, downstream: {_listed(downstream)}' if downstream else ''
        conditional = Counter(node.name for node in nodes if _may_follow(node))
        after += f'; then, if the contents change: {_listed(conditional)}' if conditional else ''
        yield f'Recomputed because code or inputs changed: {_listed(first)}{after}.'
    kept = Counter(_kept_name(node) for node in nodes if not node.will_run and node.note.startswith(KEPT))
    if kept:
        yield f"Kept although their code has changed: {_listed(kept)}. To recompute them: on_code_change='rerun'."
    unknown = [node for node in nodes if not node.will_run and node.note.startswith(CANNOT_TELL)]
    for note, names in _by_note(unknown).items():
        yield f'{_listed(names)}: {note}. The result counts as cached.'
    for note in dict.fromkeys(part for node in nodes for part in node.note.split('; ') if OLDER_BASE in part):
        yield f'{note}.'
    back = brought_back_line(plan, known)
    if back:
        yield back
    foreign = Counter(node.name for node in nodes if not node.will_run and node.note == FOREIGN)
    if foreign:
        yield f'Modified outside kartnb; using the files as they are: {_listed(foreign)}.'
    taken = [node for node in nodes if node.note.startswith(OTHERS)]
    others = Counter(f'{node.name} ({node.note.removeprefix(OTHERS)})' for node in taken)
    if others:
        yield f'Results of others are replaced: {_listed(others)}. restore_result brings them back.'


def note_on_seeds(drawing: Mapping[str, Iterable[str]]) -> str:
    """What a plan says of tasks that draw from random states and will run beside others; `drawing` has what each uses.

    >>> note_on_seeds({'Sample': ['random.choice']}).partition('. ')[0]
    'Tasks in one process share one random state, which cannot be seeded for each task'
    """
    names = _listed(Counter(dict.fromkeys(drawing, 1)))
    draws = sorted({draw for found in drawing.values() for draw in found})
    more = f' and {len(draws) - 3} more' if len(draws) > 3 else ''
    verb = 'uses' if len(drawing) == 1 else 'use'
    return (
        f'{UNSEEDED}, which cannot be seeded for each task. {names} {verb} {", ".join(draws[:3])}{more}, so results '
        'may differ each time: draw from self.rng, or build inline or with workers'
    )


def kept_line(plan: Plan) -> str:
    """How many results of other code a build has used as they are; '' for none."""
    kept = sum(not node.will_run and node.note.startswith(KEPT) for node in plan)
    if not kept:
        return ''
    what = '1 result was kept although its' if kept == 1 else f'{kept:,} results were kept although their'
    return f"{what} code has changed (on_code_change='warn')."


def _by_note(nodes: Iterable[Node]) -> dict[str, Counter[str]]:
    found: dict[str, Counter[str]] = {}
    for node in nodes:
        found.setdefault(node.note, Counter())[node.name] += 1
    return found


def _follows(node: Node) -> bool:
    return node.reason is not None and node.reason.kind is ReasonKind.UPSTREAM_RUNS


def brought_back_line(plan: Plan, known: Container[str] = ()) -> str:
    """Which superseded results stand in for runs, without the tasks whose keys are `known`; '' for none."""
    back = [node for node in plan if node.note.startswith(BROUGHT_BACK) and node.key not in known]
    made = sorted({node.note.partition(';')[0].removeprefix(BROUGHT_BACK) for node in back})
    if not made:
        return ''
    when = made[0] if len(made) == 1 else f'{made[0]} to {made[-1]}'
    return f'Brought back from {when}: {_listed(Counter(node.name for node in back))}.'


def _may_follow(node: Node) -> bool:
    return node.reason is not None and node.reason.kind is ReasonKind.UPSTREAM_MAY_CHANGE


def cutoff_line(plan: Plan) -> str:
    """What a build has not run because what is upstream of it was recomputed with the same contents; '' for nothing.

    `plan` has the states in which the build has left its tasks.
    """
    cached = [node for node in plan if node.state is TaskState.CACHED and _may_follow(node)]
    if not cached:
        return ''
    stay = '1 task stays cached' if len(cached) == 1 else f'{len(cached):,} tasks stay cached'
    causes = [plan.nodes[i] for i in _recomputed_upstream(plan, cached)]
    own = Counter(node.name for node in causes if node.state is TaskState.DONE)
    if own:
        return f'{_listed(own)} recomputed, same contents: {stay}.'
    others = Counter(node.name for node in causes)
    return f'{_listed(others)} recomputed by another build, same contents: {stay}.' if others else f'{stay}.'


def _recomputed_upstream(plan: Plan, cached: Iterable[Node]) -> list[int]:
    """The tasks that have run, here or in another build, from which others go on through tasks that have not."""
    pending = [i for node in cached for i in node.requires]
    seen: set[int] = set()
    found = set()
    while pending:
        i = pending.pop()
        node = plan.nodes[i]
        if node.state is TaskState.DONE or (node.state is TaskState.CACHED and node.reason and not node.is_conditional):
            found.add(i)
        elif node.is_conditional and i not in seen:
            seen.add(i)
            pending += node.requires
    return sorted(found)


def recomputed_alike(plan: Plan) -> frozenset[int]:
    """The positions of the tasks that a build has recomputed with the contents of before, as far as that is known."""
    cached = [node for node in plan if node.state is TaskState.CACHED and _may_follow(node)]
    return frozenset(i for i in _recomputed_upstream(plan, cached) if plan.nodes[i].state is TaskState.DONE)


def may_cut_off(plan: Plan) -> frozenset[int]:
    """The positions of the tasks on whose contents it depends whether others run."""
    return frozenset(i for node in plan if node.is_conditional for i in node.requires)


def _kept_name(node: Node) -> str:
    detail = node.note.partition(';')[0].removeprefix(KEPT).removeprefix(': ')
    return f'{node.name} ({detail})' if detail else node.name


def _listed(names: Counter[str]) -> str:
    shown = [f'{name} ×{number:,}' if number > 1 else name for name, number in [*names.items()][:_MOST_NAMED]]
    more = len(names) - _MOST_NAMED
    return ', '.join(shown) + (f' and {more:,} more' if more > 0 else '')
