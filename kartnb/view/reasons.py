"""Why a task runs, in words that are true in its state: what will run has a reason, what ran had one."""

from __future__ import annotations

from kartnb.events import Reason, ReasonKind, TaskState
from kartnb.execution.planning.plan import Node

#: What is said once a task runs or has run.
PAST = {
    ReasonKind.OUTPUT_MISSING: 'output was missing',
    ReasonKind.NO_OUTPUT: 'declares no output',
    ReasonKind.INCOMPLETE: 'complete() said no',
    ReasonKind.RERUN: 'rerun was asked for',
    ReasonKind.UPSTREAM_RUNS: 'an upstream task ran',
    ReasonKind.INPUT_NEWER: 'an input was newer',
    ReasonKind.CODE_CHANGED: 'code had changed',
    ReasonKind.NEWER_RESULT: 'was made from an older upstream result',
    ReasonKind.UNFINISHED: 'a run that replaces the result had not ended',
}
#: What is said of a task that cannot run any more, in the place of its reason.
BLOCKED = 'a task that it needs did not succeed'
#: States in which a task runs or has run.
BEGUN = frozenset({TaskState.RUNNING, TaskState.DONE, TaskState.FAILED, TaskState.INTERRUPTED})


def kind_text(reason: Reason, state: TaskState) -> str:
    """The kind of a reason, in the words that fit a state.

    Examples
    --------
    >>> kind_text(Reason(ReasonKind.UPSTREAM_RUNS), TaskState.MISSING)
    'an upstream task will run'
    >>> kind_text(Reason(ReasonKind.UPSTREAM_RUNS), TaskState.DONE)
    'an upstream task ran'
    """
    if state is TaskState.BLOCKED:
        return BLOCKED
    return PAST.get(reason.kind, reason.kind.value) if state in BEGUN else reason.kind.value


def reason_text(node: Node) -> str:
    """Why a task runs or ran, and what a person must know of its result; or ''."""
    told = []
    if node.reason is not None:
        detail = '' if node.state is TaskState.BLOCKED else node.reason.detail
        words = kind_text(node.reason, node.state)
        told.append(f'{words}: {detail}' if detail else words)
    return '; '.join([*told, node.note] if node.note else told)


def heading(state: TaskState) -> str:
    """What stands above the reason of a task."""
    if state is TaskState.BLOCKED:
        return 'Why it does not run'
    return 'Why it ran' if state in BEGUN and state is not TaskState.RUNNING else 'Why it runs'
