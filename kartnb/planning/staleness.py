"""Which results are stale, and which tasks will run: two ordered lists of rules, `RESULT_RULES` and `TASK_RULES`.

`RESULT_RULES`, for every task, downstream: is its result what a run would give now? It is stale when its code or an
input has changed, or something upstream is stale. Staleness travels downstream, also through tasks whose results are
missing; that a result is missing does not travel. Where it is unknown whether something has changed, a result counts
as cached, and its note says so.

`TASK_RULES`, upstream, for every task that something needs: will it run? As in luigi and gokart, a task runs by demand:
when what needs it runs, and a rule gives a reason. So a stale result that nothing needs is only reported.

Each rule looks at one task and gives a verdict, or None where it does not apply. The first verdict with a reason
counts; verdicts that are only a note are kept beside it. To add a rule, write a function and put its name into a list.
`kartnb.planning.planner` applies the lists in topological order.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import luigi

from kartnb.model import Reason, ReasonKind, TaskState
from kartnb.planning.known_results import Files, KnownResults, is_made_of, is_plain_file
from kartnb.planning.recorded_staleness import DynamicInputs
from kartnb.task.base import TaskOnKart
from kartnb.task.results import newer_input
from kartnb.task.values import flatten

if TYPE_CHECKING:
    from kartnb.planning.graph import Vertex

#: Beginnings of notes: of a result that is kept although its code has changed, and of one that another notebook made.
KEPT, OTHERS = 'code changed', 'replaces the result of '
#: The note of a result that was not written by a recorded run.
FOREIGN = 'modified outside kartnb; using the file as it is'


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a plan says of a result (cached or stale) or of a task (any state of a plan)."""

    state: TaskState
    #: Why the result is stale, or why the task will run.
    reason: Reason | None = None
    #: What a person must know of the result, or ''.
    note: str = ''


#: Looks at one task, with what is known of the results of its plan.
Rule: TypeAlias = Callable[['Vertex', KnownResults], Verdict | None]

UP_TO_DATE = Verdict(TaskState.CACHED)
NOT_NEEDED = Verdict(TaskState.NOT_NEEDED)
_MISSING = Verdict(TaskState.MISSING)
_EXTERNAL = Verdict(TaskState.EXTERNAL)
_UNFINISHED = Verdict(TaskState.STALE, Reason(ReasonKind.UNFINISHED))


# --- Is a result what a run would give now? -------------------------------------------------------------------------


def written_since(vertex: Vertex, known: KnownResults) -> Verdict | None:
    """The files are not those of the record: of an unfinished run, or of another program; these count, as in gokart."""
    changed = known.changed_files(vertex)
    if changed is Files.CUT_SHORT:
        return Verdict(TaskState.STALE, Reason(ReasonKind.CUT_SHORT))
    return Verdict(TaskState.CACHED, note=FOREIGN) if changed is Files.FOREIGN else None


def code_changed(vertex: Vertex, known: KnownResults) -> Verdict | None:
    """Other code made the result: a reason to run, or only a note where the policy is 'warn' or the code is unknown."""
    if known.result(vertex) is None:
        return None
    change = known.code_change(vertex)
    if change.answer == 'unknown':
        return Verdict(TaskState.CACHED, note=f'cannot tell whether the code has changed: {change.detail}')
    if change.answer == 'same':
        return None
    if known.policy(type(vertex.task)) == 'rerun':
        return Verdict(TaskState.STALE, Reason(ReasonKind.CODE_CHANGED, change.detail))
    changed = f'{KEPT}: {change.detail}' if change.detail else KEPT
    return Verdict(TaskState.CACHED, note=f"{changed}; the result is kept, because on_code_change is 'warn'")


def restored(vertex: Vertex, known: KnownResults) -> Verdict | None:
    """`restore_result` has put back a result of other code, to be kept until the code changes again."""
    result = known.result(vertex)
    if result is None or result.kept_for is None:
        return None
    if result.made_by == known.code.print_of(type(vertex.task)).key or known.code_change(vertex).answer != 'same':
        return None
    return Verdict(TaskState.CACHED, note='restored, and kept until the code changes again')


def input_recomputed(vertex: Vertex, known: KnownResults) -> Verdict | None:
    """The result of a required task is not the one that this result was made from."""
    result = known.result(vertex)
    # `made_of` comes last: a digest for each task costs more than all other rules
    if result is None or not result.made_of or is_made_of(result, known.made_of(vertex)):
        return None
    record = known.record(vertex)
    if record is None:  # the name of the file is enough to know that, but not to know which input it is
        return Verdict(TaskState.STALE, Reason(ReasonKind.NEWER_RESULT))
    used = record.used
    newer = dict.fromkeys(x.name for x in vertex.requires if used.get(x.unique_id) != known.result_id(x))
    return Verdict(TaskState.STALE, Reason(ReasonKind.NEWER_RESULT, ', '.join(newer)))


def dynamic_input_changed(vertex: Vertex, known: KnownResults) -> Verdict | None:
    """What the task asked for while it ran was recomputed since, or would be if the task ran."""
    result = known.result(vertex)
    record = known.record(vertex) if result is not None and result.asked_later else None
    if record is None:
        return None
    task: Any = vertex.task
    walk = DynamicInputs(task.workspace_directory, known)
    for item in record.inputs:
        reason = walk.changed(item) if item.asked_later else None
        if reason is not None:
            return Verdict(TaskState.STALE, reason)
    return None


def stale_upstream(vertex: Vertex, known: KnownResults) -> Verdict | None:
    """The result of a required task is stale itself, or would be if there were one."""
    for other in vertex.requires:
        if other.result.reason is not None:
            return Verdict(TaskState.STALE, Reason(ReasonKind.UPSTREAM_RUNS, other.name))
    return None


#: In this order; not asked for external tasks, nor where `on_code_change` is 'ignore' (gokart's behaviour).
RESULT_RULES: tuple[Rule, ...] = (
    # of files that are not those of the record, nothing that it says of code and inputs holds
    written_since,
    # the task's own code before its inputs: it is what the person has just edited
    code_changed,
    restored,
    input_recomputed,
    # opens records, where the rules above look at their names only
    dynamic_input_changed,
    # last: a reason of the task's own says more than one of its neighbours
    stale_upstream,
)
#: Those of them that may say something where nothing is known of a result, as in a first build.
_RULES_OF_UNKNOWN: tuple[Rule, ...] = (written_since, stale_upstream)


def judge_result(vertex: Vertex, known: KnownResults) -> Verdict:
    """Whether the result of a task is cached or stale, when all that it requires has been judged."""
    if vertex.is_external:
        return UP_TO_DATE
    if known.is_unfinished(vertex):
        return _UNFINISHED
    if known.policy(type(vertex.task)) == 'ignore':
        return UP_TO_DATE
    noted = UP_TO_DATE
    for rule in RESULT_RULES if known.result(vertex) is not None else _RULES_OF_UNKNOWN:
        found = rule(vertex, known)
        if found is None:
            continue
        if found.reason is not None:
            return Verdict(found.state, found.reason, noted.note)
        noted = found if not noted.note else Verdict(found.state, note=f'{noted.note}; {found.note}')
    return noted


# --- Will a task run that is needed? --------------------------------------------------------------------------------


def rerun_asked(vertex: Vertex, known: KnownResults) -> Verdict | None:
    """A run was asked for, of the task or of one upstream; its own `complete()` is not called then."""
    if vertex.rerun is None or vertex.is_external:
        return None
    if known.all_exist(vertex):
        return will_replace(vertex, vertex.rerun, known)
    return Verdict(TaskState.MISSING, vertex.rerun)


def says_incomplete(vertex: Vertex, known: KnownResults) -> Verdict | None:
    """The class has its own `complete()`, which then decides alone whether the result is there."""
    if judges_by_outputs(vertex.task):
        return None
    answer = vertex.task.complete()
    if answer not in (True, False):
        raise TypeError(f'{vertex.name}.complete() gives {answer!r:.40}: it must give True or False.')
    if answer:
        return None
    pairs = zip(vertex.outputs, vertex.paths, strict=True)
    missing = next((path for target, path in pairs if not target.exists()), None)
    if missing is not None:
        return Verdict(TaskState.MISSING, Reason(ReasonKind.OUTPUT_MISSING, missing))
    return Verdict(TaskState.MISSING, Reason(ReasonKind.INCOMPLETE))


def output_missing(vertex: Vertex, known: KnownResults) -> Verdict | None:
    """An output does not exist, or the task declares none: luigi runs such a task in each build."""
    if not judges_by_outputs(vertex.task):
        return None
    if not vertex.outputs:
        return Verdict(TaskState.MISSING, Reason(ReasonKind.NO_OUTPUT))
    missing = known.first_missing(vertex)
    return None if missing is None else Verdict(TaskState.MISSING, Reason(ReasonKind.OUTPUT_MISSING, missing))


def check_failed(vertex: Vertex, known: KnownResults) -> Verdict | None:
    """gokart's `strict_check` or `modification_time_check` does not let the result count."""
    task = vertex.task
    if not judges_by_outputs(task) or not asks_for_more(task) or task.complete():
        return None
    inputs = flatten(task.input())
    if getattr(task, 'modification_time_check', False) and all(target.exists() for target in inputs):
        newer = newer_input(inputs, vertex.outputs)
        if newer is not None:
            return will_replace(vertex, Reason(ReasonKind.INPUT_NEWER, newer), known)
    for other in vertex.requires:
        if not other.task.complete():
            return Verdict(TaskState.MISSING, Reason(ReasonKind.UPSTREAM_RUNS, other.name))
    return Verdict(TaskState.MISSING, Reason(ReasonKind.INCOMPLETE))


def stale_result(vertex: Vertex, known: KnownResults) -> Verdict | None:
    """The result is there, and stale."""
    return None if vertex.result.reason is None else will_replace(vertex, vertex.result.reason, known)


def will_replace(vertex: Vertex, reason: Reason, known: KnownResults) -> Verdict:
    """The verdict on a task that will run although its result is there; the note says when it is another notebook's."""
    record = known.record(vertex)
    if record is None or not record.notebook or known.makers.is_here(record):
        return Verdict(TaskState.STALE, reason)
    return Verdict(TaskState.STALE, reason, f'{OTHERS}{os.path.basename(record.notebook)}, {record.made}')


def follows_inputs(vertex: Vertex, known: KnownResults) -> bool:
    """Whether a task runs too when one that it requires runs: where it is known what its result was made from."""
    if vertex.verdict.reason is not None or vertex.verdict.state is not TaskState.CACHED:
        return False
    result = known.result(vertex)
    return result is not None and bool(result.made_of) and known.policy(type(vertex.task)) != 'ignore'


#: In this order, for each task that is needed.
TASK_RULES: tuple[Rule, ...] = (
    # first, so that `complete()` is not called: with `rerun`, gokart's own tasks would delete their outputs in it
    rerun_asked,
    says_incomplete,
    # before staleness: where nothing is there, nothing is replaced
    output_missing,
    check_failed,
    stale_result,
)


def judge_needed(vertex: Vertex, known: KnownResults) -> Verdict:
    """Whether a task that is needed will run, and why."""
    found = next(filter(None, (rule(vertex, known) for rule in TASK_RULES)), None)
    if vertex.is_external:
        return _EXTERNAL if found is None else _MISSING
    return vertex.result if found is None else found


def judge_idle(vertex: Vertex, known: KnownResults) -> Verdict:
    """The state of a task that nothing needs; only files are looked at, no method of the task's is called."""
    if not all(map(is_plain_file, vertex.outputs)) or not known.all_exist(vertex):
        return NOT_NEEDED
    if vertex.is_external:
        return _EXTERNAL
    return vertex.result if vertex.result.reason is None else Verdict(TaskState.STALE, note=vertex.result.note)


def is_complete(vertex: Vertex) -> bool:
    """Whether a task is complete now."""
    task = vertex.task
    if not judges_by_outputs(task) or asks_for_more(task):
        return bool(task.complete())
    return bool(vertex.outputs) and all(target.exists() for target in vertex.outputs)


def judges_by_outputs(task: luigi.Task) -> bool:
    """Whether a task is complete when its outputs exist, and nothing else is asked."""
    complete = type(task).complete
    return (complete is TaskOnKart.complete or complete is luigi.Task.complete) and 'complete' not in task.__dict__


def asks_for_more(task: luigi.Task) -> bool:
    """Whether gokart's `strict_check` or `modification_time_check` is set."""
    return isinstance(task, TaskOnKart) and (task.strict_check or task.modification_time_check)
