"""Which results are stale, and which tasks will run: two ordered lists of rules, `RESULT_RULES` and `TASK_RULES`.

`RESULT_RULES`, for every task, downstream: is its result what a run would give now? It is stale when its code or an
input has changed, or something upstream is stale. Staleness travels downstream, also through tasks whose results are
missing; that a result is missing does not travel. Where it is unknown whether something has changed, a result counts
as cached, and its note says so. A result that is stale only because something upstream is, is so on a condition: when
that has run and its contents are those of before, the result still holds (`still_holds`, early cutoff).

`TASK_RULES`, upstream, for every task that something needs: will it run? As in luigi and gokart, a task runs by demand:
when what needs it runs, and a rule gives a reason. So a stale result that nothing needs is only reported.

Each rule looks at one task and gives a verdict, or None where it does not apply. The first verdict with a reason
counts; verdicts that are only a note are kept beside it. To add a rule, write a function and put its name into a list.
`kartnb.planning.planner` applies the lists in topological order.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeAlias

import luigi

from kartnb.errors import OutdatedResultError
from kartnb.history.run_record import newest_failure
from kartnb.model import Reason, ReasonKind, TaskState
from kartnb.planning.code_changes import NOT_COMPARED
from kartnb.planning.expiry import expiry
from kartnb.planning.known_results import KnownResults, is_made_of
from kartnb.planning.recorded_staleness import DynamicInputs, of_another_class
from kartnb.planning.result_files import Files, is_plain_file, what_is_written_over
from kartnb.storage.run_records import RecordedResult
from kartnb.task.base import TaskOnKart
from kartnb.task.code.attributes import unexplained
from kartnb.task.results import newer_input
from kartnb.task.values import flatten

if TYPE_CHECKING:
    from kartnb.planning.graph import Vertex

#: Beginnings of notes: of a result that is kept although its code has changed, and of one that another notebook made.
KEPT, OTHERS = 'code changed', 'replaces the result of '
_MOST_REFUSED = 5
#: The note of a result that was not written by a recorded run.
FOREIGN = 'modified outside kartnb; using the file as it is'
#: The beginning of the note on a result of which it is unknown whether something has changed.
CANNOT_TELL = 'cannot tell'
#: So many files that have changed are named.
_MOST_NAMED = 3


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a plan says of a result (cached or stale) or of a task (any state of a plan)."""

    state: TaskState
    #: Why the result is stale, or why the task will run.
    reason: Reason | None = None
    #: What a person must know of the result, or ''.
    note: str = ''
    #: Whether the task runs only if the contents of what it requires change.
    is_conditional: bool = False


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
    if known.result(vertex) is None and known.all_exist(vertex):
        other = of_another_class(vertex, known)
        if other is not None:
            return _made_by_another(vertex, known, *other)
    return Verdict(TaskState.CACHED, note=FOREIGN) if changed is Files.FOREIGN else None


def _made_by_another(vertex: Vertex, known: KnownResults, name: str, result: RecordedResult) -> Verdict | None:
    """A class of the same name in another module writes to the same place, and has made what is there."""
    task: Any = vertex.task
    change = known.code.compare(task.workspace_directory, result, type(task))
    if change.answer == 'same':
        return None
    known.of_others.add(vertex.key)
    if change.answer == 'changed':
        return _other_code(vertex, known, f'the result is that of {name}')
    return Verdict(TaskState.CACHED, note=f'{CANNOT_TELL} whether {name}, which has made the result, has the same code')


def code_changed(vertex: Vertex, known: KnownResults) -> Verdict | None:
    """Other code made the result: a reason to run, or only a note where the policy is 'warn' or the code is unknown."""
    if known.result(vertex) is None:
        return None
    change = known.code_change(vertex)
    if change.answer == 'unknown':
        return Verdict(TaskState.CACHED, note=f'{CANNOT_TELL} whether the code has changed: {change.detail}')
    if change.answer == 'same':
        return Verdict(TaskState.CACHED, note=change.detail) if change.detail else None
    return _other_code(vertex, known, change.detail)


def _other_code(vertex: Vertex, known: KnownResults, detail: str) -> Verdict:
    policy = known.policy(type(vertex.task))
    if policy == 'rerun':
        return Verdict(TaskState.STALE, Reason(ReasonKind.CODE_CHANGED, detail))
    changed = f'{KEPT}: {detail}' if detail else KEPT
    what = 'a build fails' if policy == 'error' else 'the result is kept'
    return Verdict(TaskState.CACHED, note=f'{changed}; {what}, because on_code_change is {policy!r}')


#: The beginning of the note on a result that had been superseded, and what stands before it until a build begins.
BROUGHT_BACK, WILL_BE = 'brought back from ', 'will be '
#: Reasons that hold for a result, and not for another one of the same code and inputs.
_OF_RESULT = frozenset(
    {
        ReasonKind.CODE_CHANGED,
        ReasonKind.NEWER_RESULT,
        ReasonKind.OTHER_REQUIRES,
        ReasonKind.UPSTREAM_RUNS,
        ReasonKind.UPSTREAM_MAY_CHANGE,
        ReasonKind.FILE_CHANGED,
        ReasonKind.CUT_SHORT,
    }
)


def find_variant(vertex: Vertex, known: KnownResults) -> None:
    """Let a superseded result of today's code and inputs stand for one that is stale or missing, if there is one."""
    found = vertex.result
    if vertex.rerun is not None or vertex.is_external or known.policy(type(vertex.task)) == 'ignore':
        return
    if found.reason is None:
        if found.state is not TaskState.CACHED or known.all_exist(vertex) or not judges_by_outputs(vertex.task):
            return
    elif found.is_conditional or found.reason.kind not in _OF_RESULT:
        return
    for kept, result in known.variants(vertex):
        known.assume(vertex, kept, result)
        judged = judge_result(vertex, known)
        record = known.record(vertex) if judged.reason is None else None
        changed = what_is_written_over(record.written if record is not None else ())
        if changed:
            known.written_over[vertex.key] = changed
        elif judged.reason is None:
            vertex.variant = kept
            note = f'{WILL_BE}{BROUGHT_BACK}{record.made if record is not None else "an earlier run"}'
            # what lies there is still the other result
            vertex.result = Verdict(TaskState.STALE, note=f'{note}; {judged.note}' if judged.note else note)
            return
        known.assume(vertex, None)
        known.returning.pop(vertex.key, None)


def restored(vertex: Vertex, known: KnownResults) -> Verdict | None:
    """`restore_result` has put back a result of other code, to be kept until the code changes again."""
    result = known.result(vertex)
    if result is None or result.kept_for is None:
        return None
    if result.made_by == known.code.print_of(type(vertex.task)).key or known.code_change(vertex).answer != 'same':
        return None
    record = known.record(vertex)
    if record is not None and record.accepted.get('code') == result.kept_for[0]:
        return None
    return Verdict(TaskState.CACHED, note='restored, and kept until the code changes again')


def expired(vertex: Vertex, known: KnownResults) -> Verdict | None:
    """The result is older than `expires` of its class lets it be."""
    if getattr(type(vertex.task), 'expires', None) is None:  # as of most
        return None
    age = expiry(vertex, known)
    return Verdict(TaskState.STALE, Reason(ReasonKind.EXPIRED, age)) if age else None


def file_changed(vertex: Vertex, known: KnownResults) -> Verdict | None:
    """A file that the run read has changed since: a reason to run, or only a note where 'warn' was chosen."""
    result = known.result(vertex)
    if result is None or not result.reads_files:
        return None
    found = known.files_read(vertex)
    if not found:
        return None
    changed, notes = [], []
    outside = {path for path, name in known.given_files(vertex) if not name}
    for file, compared in found:
        if compared.answer == 'unknown':
            notes.append(f'{CANNOT_TELL} whether this has changed: {compared.detail}')
        elif compared.answer == 'gone' and file.path in outside:  # as for other results: it is not made from nothing
            notes.append(f'{compared.detail}; the result is kept')
        else:
            changed.append(compared.detail)
    if changed and known.chosen_policy(type(vertex.task)) == 'warn':
        notes.insert(0, f"{_some(changed)}; the result is kept, because on_code_change is 'warn'")
        changed = []
    note = '; '.join(notes[:_MOST_NAMED])
    if changed:
        return Verdict(TaskState.STALE, Reason(ReasonKind.FILE_CHANGED, _some(changed)), note)
    return Verdict(TaskState.CACHED, note=note) if note else None


def _some(every: Iterable[str]) -> str:
    details = list(dict.fromkeys(every))  # one path may have been listed and declared
    more = f' and {len(details) - _MOST_NAMED} more' if len(details) > _MOST_NAMED else ''
    return ', '.join(details[:_MOST_NAMED]) + more


def spoilt_by_a_failure(vertex: Vertex, known: KnownResults) -> Verdict | None:
    """A run that failed has written over what the one that gave the result had written beside it."""
    directory = known.directory(vertex)
    if directory is None or known.result(vertex) is None or not directory.has_failure(vertex.stem):
        return None
    failure, record = newest_failure(directory, vertex.stem), known.record(vertex)
    if failure is None or record is None or not failure.written:
        return None
    touched = {file.path for file in failure.written}
    changed = what_is_written_over(file for file in record.written if file.path in touched)
    if not changed:
        return None
    return Verdict(TaskState.STALE, Reason(ReasonKind.FILE_CHANGED, f'{changed} by a run that failed'))


def attribute_set(vertex: Vertex, known: KnownResults) -> Verdict | None:
    """Something was put on the task that its code uses and that neither a parameter nor its class gives."""
    if known.result(vertex) is None or vertex.place is None:
        return None
    found = unexplained(vertex.task, known.code.print_of(type(vertex.task)).words)
    if not found:
        return None
    record = known.record(vertex)  # which may say it already
    recorded = {file.path for file in record.files} if record is not None else set()
    told = [f'{CANNOT_TELL} whether this has changed: {name} ({why})' for name, why in found if name not in recorded]
    return Verdict(TaskState.CACHED, note='; '.join(told)) if told else None


def version_changed(vertex: Vertex, known: KnownResults) -> Verdict | None:
    """Other versions of the packages that the code reaches made the result, and a policy says that this counts."""
    cls = type(vertex.task)
    record = known.record(vertex) if known.version_policy(cls) else None
    by_policy = {} if record is None else known.other_versions(cls, record)
    if 'rerun' in by_policy:
        return Verdict(TaskState.STALE, Reason(ReasonKind.VERSION_CHANGED, _some(by_policy['rerun'])))
    if 'warn' in by_policy:
        told = _some(by_policy['warn'])
        return Verdict(TaskState.CACHED, note=f"{told}; the result is kept, because on_version_change is 'warn'")
    return None


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
    required = [x.unique_id for x in vertex.requires[: vertex.declared]]
    given = [item.unique_id for item in record.inputs if not item.asked_later]
    if sorted(given) == sorted(required) and (given != required or record.shape not in (None, vertex.shape)):
        return Verdict(TaskState.STALE, Reason(ReasonKind.OTHER_REQUIRES))
    newer = dict.fromkeys(
        x.name
        for x in vertex.requires[: vertex.declared]
        # that a result is missing does not travel; that it is another class's does
        if used.get(x.unique_id) != known.input_text(vertex, x)
        and (known.as_input(x) or known.all_exist(x) or known.is_of_other_class(x, record))
    )
    if not newer and used.keys() >= {x.unique_id for x in vertex.requires[: vertex.declared]}:
        return None
    return Verdict(TaskState.STALE, Reason(ReasonKind.NEWER_RESULT, ', '.join(newer)))


def dynamic_input_changed(vertex: Vertex, known: KnownResults) -> Verdict | None:
    """What the task asked for while it ran was recomputed since, or would be if the task ran."""
    result = known.result(vertex)
    if result is None or not result.asked_later:
        return None
    record = known.record(vertex)
    if record is None or record.result_id != result.result_id:  # another build replaces it now
        return Verdict(TaskState.STALE, Reason(ReasonKind.NEWER_RESULT))
    task: Any = vertex.task
    walk = DynamicInputs(task.workspace_directory, known, type(task))
    for item in record.inputs:
        reason = walk.changed(item) if item.asked_later else None
        if reason is not None:
            return Verdict(TaskState.STALE, reason)
    if walk.returning:
        known.returning[vertex.key] = tuple(walk.returning.values())
    if walk.kept:
        changed = f'{KEPT}: {_some(walk.kept.values())}'
        return Verdict(TaskState.CACHED, note=f'{changed}; what the task has asked for is kept, by on_code_change')
    return None


def is_stale_by_what_it_asked_for(vertex: Vertex, known: KnownResults) -> bool:
    """Whether a task is stale for no other reason than that what it asked for while it ran would run."""
    reason = vertex.result.reason
    return (
        reason is not None
        and reason.kind is ReasonKind.UPSTREAM_RUNS
        and not vertex.result.is_conditional
        and vertex.rerun is None
        and len(vertex.requires) == vertex.declared
        and known.all_exist(vertex)
    )


def stale_upstream(vertex: Vertex, known: KnownResults) -> Verdict | None:
    """The result of a required task is stale itself, or would be if there were one: its contents may change."""
    for other in vertex.requires:
        if other.result.reason is not None:
            return Verdict(TaskState.STALE, Reason(ReasonKind.UPSTREAM_MAY_CHANGE, other.name), is_conditional=True)
    return None


#: Reasons that hold where changes are ignored too.
_CHOSEN = frozenset({ReasonKind.EXPIRED, ReasonKind.VERSION_CHANGED})


def expired_upstream(vertex: Vertex, known: KnownResults) -> Verdict | None:
    """What a result is made from has expired, or is to be recomputed with other versions of packages."""
    for other in vertex.requires:
        if other.result.reason is not None and _is_chosen(other, known):
            return Verdict(TaskState.STALE, Reason(ReasonKind.UPSTREAM_MAY_CHANGE, other.name), is_conditional=True)
    return None


def asked_for_expired(vertex: Vertex, known: KnownResults) -> Verdict | None:
    """As `expired_upstream`, of what a task has asked for while it ran."""
    result = known.result(vertex)
    record = known.record(vertex) if result is not None and result.asked_later else None
    walk = DynamicInputs(getattr(vertex.task, 'workspace_directory', ''), known, type(vertex.task))
    for item in record.inputs if record is not None else ():
        if item.asked_later and item.module and walk.has_expired(item):
            return Verdict(TaskState.STALE, Reason(ReasonKind.UPSTREAM_RUNS, item.task))
    return None


def _is_chosen(vertex: Vertex, known: KnownResults) -> bool:
    pending, seen = [vertex], set()
    while pending:
        found = pending.pop()
        reason = found.result.reason
        if reason is None or found.key in seen:
            continue
        seen.add(found.key)
        if reason.kind in _CHOSEN:
            return True
        if found.result.is_conditional:
            if known.policy(type(found.task)) == 'ignore':  # it has this reason from here
                return True
            pending += found.requires
    return False


#: In this order; not asked for external tasks, and few of them where `on_code_change` is 'ignore' (gokart's behaviour).
RESULT_RULES: tuple[Rule, ...] = (
    # of files that are not those of the record, nothing that it says of code and inputs holds
    written_since,
    # the task's own code before its inputs: it is what the person has just edited
    code_changed,
    restored,
    expired,
    version_changed,
    # opens the records that say of themselves that files were read, each once in a process
    file_changed,
    spoilt_by_a_failure,
    attribute_set,
    # before the inputs are compared: what they will be is not known yet
    stale_upstream,
    input_recomputed,
    # opens records, where the rules above look at their names only
    dynamic_input_changed,
)
#: Those of them that may say something where nothing is known of a result, as in a first build.
_RULES_OF_UNKNOWN: tuple[Rule, ...] = (written_since, expired, stale_upstream)
#: Those that ask for nothing but what was chosen by itself, so that they hold where changes are ignored too.
_RULES_OF_CHOICE: tuple[Rule, ...] = (expired, version_changed, expired_upstream, asked_for_expired)


def judge_result(vertex: Vertex, known: KnownResults) -> Verdict:
    """Whether the result of a task is cached or stale, when all that it requires has been judged."""
    if vertex.is_external:
        return UP_TO_DATE
    if known.is_unfinished(vertex):
        return _UNFINISHED
    noted = UP_TO_DATE
    for rule in _rules_for(vertex, known):
        found = rule(vertex, known)
        if found is None:
            continue
        if found.reason is not None:
            return Verdict(found.state, found.reason, noted.note, found.is_conditional)
        # what a build tells comes first
        notes = sorted(filter(None, (noted.note, found.note)), key=lambda note: note.startswith(NOT_COMPARED))
        noted = Verdict(found.state, note='; '.join(notes))
    return noted


def _rules_for(vertex: Vertex, known: KnownResults) -> tuple[Rule, ...]:
    if known.policy(type(vertex.task)) == 'ignore':
        return _RULES_OF_CHOICE
    return RESULT_RULES if known.result(vertex) is not None else _RULES_OF_UNKNOWN


def still_holds(vertex: Vertex, known: KnownResults, has_run: Callable[[Vertex], bool]) -> bool:
    """Whether a result that was stale on a condition is what a run would give, now that nothing upstream will run.

    `has_run` says of a required task whether it has run since the plan was made.
    """
    if not holds_but_for_requests(vertex, known, has_run):
        return False
    changed = dynamic_input_changed(vertex, known)
    return changed is None or changed.reason is None


def holds_but_for_requests(vertex: Vertex, known: KnownResults, has_run: Callable[[Vertex], bool]) -> bool:
    """As `still_holds`, whatever became of what the task has asked for while it ran."""
    result = known.result(vertex)
    if result is not None and result.reads_files:
        # what ran upstream may have written them, whatever the contents of its result
        known.look_again_at_files(vertex)
        judged = file_changed(vertex, known)
        if judged is not None and judged.reason is not None:
            return False
    if result is None or not result.made_of:  # it is unknown what it was made from
        return not any(map(has_run, vertex.requires[: vertex.declared]))
    return is_made_of(result, known.made_of(vertex))


def refuse_outdated(vertices: Iterable[Vertex], known: KnownResults) -> None:
    """Raise OutdatedResultError where results of other code would be used that `on_code_change='error'` refuses."""
    found = [
        vertex
        for vertex in vertices
        if vertex.verdict.reason is None
        and vertex.verdict.note.startswith(KEPT)
        and known.policy(type(vertex.task)) == 'error'
    ]
    if found:
        named = ', '.join(dict.fromkeys(f'{x.name}{_part(x.verdict.note)}' for x in found[:_MOST_REFUSED]))
        more = f' and {len(found) - _MOST_REFUSED} more' if len(found) > _MOST_REFUSED else ''
        raise OutdatedResultError(
            f"Results of other code would be used: {named}{more}. They are refused, because on_code_change is 'error': "
            "recompute them with on_code_change='rerun', take them over as they are with kartnb.accept(…), or use them "
            "once with on_code_change='ignore'."
        )


def _part(note: str) -> str:
    """What has changed, in brackets."""
    detail = note.partition(';')[0].removeprefix(KEPT).removeprefix(': ')
    return f' ({detail})' if detail else ''


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
    if says_complete(vertex.task) if vertex.found_complete is None else vertex.found_complete:
        return None
    pairs = zip(vertex.outputs, vertex.paths, strict=True)
    missing = next((path for target, path in pairs if not target.exists()), None)
    if missing is not None:
        return Verdict(TaskState.MISSING, Reason(ReasonKind.OUTPUT_MISSING, missing))
    return Verdict(TaskState.MISSING, Reason(ReasonKind.INCOMPLETE))


def output_missing(vertex: Vertex, known: KnownResults) -> Verdict | None:
    """An output does not exist, or the task declares none: luigi runs such a task in each build."""
    if not judges_by_outputs(vertex.task) or vertex.found_complete:
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
    found = vertex.result
    return None if found.reason is None else will_replace(vertex, found.reason, known, found.is_conditional)


def will_replace(vertex: Vertex, reason: Reason, known: KnownResults, is_conditional: bool = False) -> Verdict:
    """The verdict on a task that will run although its result is there; the note says when it is another notebook's."""
    record = known.record(vertex)
    notes = []
    if record is not None and record.notebook and not known.makers.is_here(record):
        notes.append(f'{OTHERS}{os.path.basename(record.notebook)}, {record.made}')
    changed = known.written_over.get(vertex.key)
    if changed:
        notes.append(f'an earlier result would do, but of what its run wrote beside it, {changed}')
    return Verdict(TaskState.STALE, reason, '; '.join(notes), is_conditional)


def may_be_left_out(vertex: Vertex, known: KnownResults) -> bool:
    """Whether a task whose files are missing need not run where only the contents of its result count.

    Its record says what they are.
    """
    if vertex.verdict.state is not TaskState.MISSING or vertex.rerun is not None or not judges_by_outputs(vertex.task):
        return False
    reason = vertex.verdict.reason
    if reason is None or reason.kind is not ReasonKind.OUTPUT_MISSING or known.policy(type(vertex.task)) == 'ignore':
        return False
    is_certain = vertex.result.reason is not None and not vertex.result.is_conditional
    result = known.result(vertex)
    return not is_certain and result is not None and bool(result.contents)


def follows_inputs(vertex: Vertex, known: KnownResults) -> bool:
    """Whether a task may run too when one that it requires runs: where it is known what its result was made from."""
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
    if found is None:
        return vertex.result
    is_told = found.reason is not None and found.reason.kind is ReasonKind.FILE_CHANGED
    missing = [] if is_told else known.missing_files(vertex)
    return replace(found, note='; '.join(filter(None, (found.note, *missing)))) if missing else found


def judge_idle(vertex: Vertex, known: KnownResults) -> Verdict:
    """The state of a task that nothing needs; only files are looked at, no method of the task's is called."""
    if not all(map(is_plain_file, vertex.outputs)) or not known.all_exist(vertex):
        vertex.variant = None
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


def says_complete(task: luigi.Task) -> bool:
    """Whether a task says that it is complete; raises TypeError where its own `complete()` gives no such answer."""
    if judges_by_outputs(task):
        outputs = flatten(task.output())
        return bool(outputs) and all(target.exists() for target in outputs)
    answer = task.complete()
    if answer not in (True, False):
        raise TypeError(f'{type(task).__name__}.complete() gives {answer!r:.40}: it must give True or False.')
    return bool(answer)


def judges_by_outputs(task: luigi.Task) -> bool:
    """Whether a task is complete when its outputs exist, and nothing else is asked."""
    complete = type(task).complete
    return (complete is TaskOnKart.complete or complete is luigi.Task.complete) and 'complete' not in task.__dict__


def asks_for_more(task: luigi.Task) -> bool:
    """Whether gokart's `strict_check` or `modification_time_check` is set."""
    return isinstance(task, TaskOnKart) and (task.strict_check or task.modification_time_check)
