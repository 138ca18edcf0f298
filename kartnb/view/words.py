"""The words for plans and builds: parameters, reasons, states, rows; `text` and `html` both use them."""

from __future__ import annotations

import enum
import math
import os
import re
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import luigi

from kartnb.execution.report import BuildReport, TaskFailure
from kartnb.model import EDITED, MOVED, BuildProgress, Node, Plan, Reason, ReasonKind, TaskState, Wait, split_note
from kartnb.planning.estimate import announcement, brought_back_line, cutoff_line, kept_line, recomputed_alike
from kartnb.planning.staleness import BROUGHT_BACK, CANNOT_TELL, FOREIGN, KEPT, WILL_BE
from kartnb.task.identity import id_of
from kartnb.view.sanitise import abbreviated, counted, one_line, seconds_text, several_lines, short_id, size_text

Pairs = tuple[tuple[str, str], ...]


def shown(task: luigi.Task) -> Pairs:
    """The public parameters of a task as pairs of name and text, those that are part of its identity first."""
    from kartnb.task import shown_parameters

    found = sorted(shown_parameters(task), key=lambda parameter: not parameter.significant)
    return tuple((parameter.name, parameter.text) for parameter in found)


def distinguishing_first(nodes: Sequence[Node]) -> list[Pairs]:
    """For each of some tasks of one class the parameters that tell it apart first, then its other significant ones.

    >>> distinguishing_first([])
    []
    """
    return [apart + rest for apart, rest in _split(nodes)]


def distinguishing(nodes: Sequence[Node]) -> list[Pairs]:
    """For each of some tasks of one class only the parameters that tell it apart."""
    return [apart for apart, _ in _split(nodes)]


def _split(nodes: Sequence[Node]) -> list[tuple[Pairs, Pairs]]:
    """For each task the parameters that tell it apart, and its other significant ones."""
    from kartnb.task import shown_parameters

    sets = [shown_parameters(node.task) for node in nodes]
    texts: dict[str, set[str]] = {}
    for parameters in sets:
        for parameter in parameters:
            texts.setdefault(parameter.name, set()).add(parameter.text)
    found = []
    for parameters in sets:
        apart = tuple((p.name, p.text) for p in parameters if len(texts[p.name]) > 1)
        rest = tuple((p.name, p.text) for p in parameters if len(texts[p.name]) == 1 and p.significant)
        found.append((apart, rest))
    return found


def short(pairs: Pairs, limit: int = 28) -> list[str]:
    """Each parameter as ``name=text``, cut for a small place."""
    return [f'{one_line(name, limit)}={abbreviated(text, limit)}' for name, text in pairs]


def listed(pairs: Pairs, limit: int = 200) -> str:
    """All parameters on one line, ids in full, at most `limit` characters of it."""
    return one_line(
        ', '.join(f'{one_line(name, limit)}={one_line(text, limit)}' for name, text in pairs[:limit]), limit
    )


def value_text(value: Any, limit: int = 40) -> str:
    """A parameter value in a cell."""
    if isinstance(value, float):
        return number_text(value)
    if isinstance(value, luigi.Task):
        return f'{type(value).__name__}[{short_id(id_of(value))}]'
    if isinstance(value, tuple) and any(isinstance(item, luigi.Task) for item in value):
        return one_line(', '.join(value_text(item, limit) for item in value), limit)
    return one_line(value.name if isinstance(value, enum.Enum) else str(value), limit)


def number_text(value: float) -> str:
    """A number in few digits: ``0.9123``, ``12,345``, ``1e-05``."""
    if isinstance(value, int) or (math.isfinite(value) and value == int(value) and abs(value) < 1e15):
        return f'{int(value):,}' if abs(value) >= 10_000 else str(int(value))
    return f'{value:.4g}'


#: Reasons in the past tense, for a task that runs or has run.
PAST = {
    ReasonKind.OUTPUT_MISSING: 'output was missing',
    ReasonKind.NO_OUTPUT: 'declares no output',
    ReasonKind.INCOMPLETE: 'complete() returned False',
    ReasonKind.RERUN: 'rerun was requested',
    ReasonKind.UPSTREAM_RUNS: 'an upstream task ran',
    ReasonKind.UPSTREAM_MAY_CHANGE: 'an upstream result changed',
    ReasonKind.INPUT_NEWER: 'an input was newer',
    ReasonKind.CODE_CHANGED: 'code had changed',
    ReasonKind.NEWER_RESULT: 'made from an older upstream result',
    ReasonKind.OTHER_REQUIRES: 'requires() had given its inputs in another order or shape',
    ReasonKind.UNFINISHED: 'a run had not ended, or was broken off',
    ReasonKind.CUT_SHORT: 'the file was shorter than it was written',
    ReasonKind.FILE_CHANGED: 'a file that it reads had changed',
    ReasonKind.EXPIRED: 'had expired',
    ReasonKind.VERSION_CHANGED: 'package versions had changed',
}
#: What replaces the reason of a task that was to run, and does not: it cannot any more, or need not.
INSTEAD = {
    TaskState.BLOCKED: 'a required task did not succeed',
    TaskState.CACHED: 'its result appeared meanwhile',
    TaskState.NOT_NEEDED: 'nothing needs it, because nothing upstream has changed',
}
#: The same of tasks that were to run only if something upstream changed.
UNCHANGED = {TaskState.CACHED: 'same contents upstream'}
#: What is said of a task that was recomputed, and left what is downstream cached.
ALIKE = 'recomputed, same contents'
#: States in which a task runs or has run.
BEGUN = frozenset({TaskState.RUNNING, TaskState.DONE, TaskState.FAILED, TaskState.INTERRUPTED})


def kind_text(reason: Reason, state: TaskState) -> str:
    """The kind of a reason, in the words that fit a state.

    >>> kind_text(Reason(ReasonKind.UPSTREAM_RUNS), TaskState.MISSING)
    'an upstream task will run'
    >>> kind_text(Reason(ReasonKind.UPSTREAM_RUNS), TaskState.DONE)
    'an upstream task ran'
    """
    if state in INSTEAD:
        return instead(reason, state)
    return PAST.get(reason.kind, reason.kind.value) if state in BEGUN else reason.kind.value


def instead(reason: Reason, state: TaskState) -> str:
    """Why a task does not run that was to run, in one of the states of `INSTEAD`."""
    return (UNCHANGED if reason.kind is ReasonKind.UPSTREAM_MAY_CHANGE else INSTEAD).get(state) or INSTEAD[state]


def brief_reason(reason: Reason, state: TaskState, is_alike: bool = False) -> str:
    """What a box says of the reason of a task in some state, of one that was recomputed with the same contents too.

    >>> brief_reason(Reason(ReasonKind.FILE_CHANGED, 'data/sales.csv changed'), TaskState.STALE)
    'sales.csv changed'
    >>> brief_reason(Reason(ReasonKind.CODE_CHANGED, 'Load.run'), TaskState.DONE, is_alike=True)
    'recomputed, same contents'
    """
    if state in INSTEAD:
        return UNCHANGED.get(state, '') if reason.kind is ReasonKind.UPSTREAM_MAY_CHANGE else ''
    if is_alike and state is TaskState.DONE:
        return ALIKE
    if reason.kind is ReasonKind.FILE_CHANGED and reason.detail:
        return one_line(_FOLDERS.sub('', reason.detail), _MOST_BRIEF)
    return kind_text(reason, state)


_MOST_BRIEF = 36
_FOLDERS = re.compile(r'[^\s,]*/(?=[^\s,/])')
#: What a box says of a result that does not run, by the beginning of its note.
_BRIEF = {
    f'{WILL_BE}{BROUGHT_BACK}': 'will be brought back',
    f'{CANNOT_TELL} whether the code': 'cannot tell: code',
    CANNOT_TELL: 'cannot tell: a file',
    KEPT: 'kept, code changed',
    FOREIGN: 'modified outside kartnb',
    'restored': 'restored',
}


def brief_note(node: Node) -> str:
    """What a person must know of a result, in a few words; '' for most.

    >>> from kartnb import TaskOnKart
    >>> node = Node(
    ...     TaskOnKart(), 'A_0', 'A', '0', TaskState.CACHED, note='modified outside kartnb; using the file as it is'
    ... )
    >>> brief_note(node)
    'modified outside kartnb'
    """
    if node.note.startswith(BROUGHT_BACK):
        return f'{BROUGHT_BACK}{moment_text(node.note.removeprefix(BROUGHT_BACK))}'
    return next((words for begin, words in _BRIEF.items() if node.note.startswith(begin)), '') if node.note else ''


def brief(node: Node, is_alike: bool = False) -> str:
    """What a box says of why a task runs, or of its result; '' if the state says it.

    `is_alike` is a task that was recomputed with the contents of before.
    """
    if node.reason is None:
        return brief_note(node)
    if node.reason.kind is ReasonKind.OUTPUT_MISSING:
        return 'exists under another name: adopt' if MOVED in node.note else ''
    return brief_reason(node.reason, node.state, is_alike)


def moment_text(words: str) -> str:
    """The time of today, or the day, with which a text begins; without one '…'.

    >>> moment_text('2026-11-28 14:02 UTC; its inputs are the same')
    '2026-11-28'
    """
    day, _, rest = words.partition(' ')
    if day != datetime.now(UTC).date().isoformat():
        return day or '…'
    return rest.partition(';')[0]


def reason_text(node: Node) -> str:
    """Why a task runs or ran, and what a person must know of its result; or ''."""
    note, held = split_note(node.note)
    if node.state is TaskState.WAITING:
        note, held = '', node.note
    reason = ''
    if node.reason is not None:
        # a path is long, and would push a note out of a line
        is_left_out = node.state in INSTEAD or (note and node.reason.detail in node.outputs)
        detail = '' if is_left_out else node.reason.detail
        reason = node.reason.kind.with_detail(detail, kind_text(node.reason, node.state))
    # who has the task comes first: a long path in the reason would push it out of a line
    return '; '.join(part for part in (held, reason, note) if part)


def heading(state: TaskState) -> str:
    """What stands above the reason of a task."""
    if state in INSTEAD:
        return 'Why it does not run'
    return 'Why it ran' if state in BEGUN and state is not TaskState.RUNNING else 'Why it runs'


#: What coloured text is drawn on, light and dark.
LIGHT_SURFACE = '#ffffff'
DARK_SURFACE = '#1d2329'


@dataclass(frozen=True, slots=True)
class Look:
    """How one state is shown: a glyph, a word, and a colour for light and for dark surfaces."""

    glyph: str
    word: str
    light: str
    dark: str

    @property
    def slug(self) -> str:
        """The word as the name of a CSS class."""
        return self.word.replace(' ', '-')

    def __str__(self) -> str:
        return f'{self.glyph} {self.word}'


LOOKS: Mapping[TaskState, Look] = {
    TaskState.CACHED: Look('●', 'cached', '#0f6f6a', '#4fc9bd'),
    TaskState.STALE: Look('◐', 'stale', '#8a5a00', '#e0b040'),
    TaskState.MISSING: Look('○', 'missing', '#5b4bc4', '#b3a7ff'),
    TaskState.NOT_NEEDED: Look('–', 'not needed', '#626b75', '#98a2ad'),
    TaskState.EXTERNAL: Look('◇', 'external', '#4f5f7a', '#a4b5d1'),
    TaskState.QUEUED: Look('…', 'queued', '#57606a', '#a9b4bf'),
    TaskState.WAITING: Look('‖', 'waiting', '#7a5c1e', '#d3b878'),
    TaskState.RUNNING: Look('►', 'running', '#0a5ec2', '#6cb6ff'),
    TaskState.DONE: Look('✓', 'done', '#1a7233', '#5fd079'),
    TaskState.FAILED: Look('✗', 'failed', '#c21c28', '#ff8a80'),
    TaskState.BLOCKED: Look('⊘', 'blocked', '#96420a', '#f0a070'),
    TaskState.INTERRUPTED: Look('■', 'interrupted', '#9a2f7f', '#f08fd4'),
}

#: A result that another one has replaced; no task is in this state.
SUPERSEDED = Look('↺', 'superseded', '#626b75', '#98a2ad')

#: The states that a person looks for first.
URGENCY: tuple[TaskState, ...] = (
    TaskState.FAILED,
    TaskState.INTERRUPTED,
    TaskState.RUNNING,
    TaskState.WAITING,
    TaskState.BLOCKED,
    TaskState.QUEUED,
    TaskState.STALE,
    TaskState.MISSING,
    TaskState.EXTERNAL,
    TaskState.DONE,
    TaskState.CACHED,
    TaskState.NOT_NEEDED,
)
_URGENCY_RANK = {state: rank for rank, state in enumerate(URGENCY)}

#: The segments of a bar from left to right: what has ended, what is going on, what is left.
BAR_ORDER: tuple[TaskState, ...] = (
    TaskState.DONE,
    TaskState.CACHED,
    TaskState.EXTERNAL,
    TaskState.FAILED,
    TaskState.INTERRUPTED,
    TaskState.BLOCKED,
    TaskState.RUNNING,
    TaskState.WAITING,
    TaskState.QUEUED,
    TaskState.STALE,
    TaskState.MISSING,
    TaskState.NOT_NEEDED,
)

#: One letter a state, for a text that holds the states of many tasks.
LETTERS: Mapping[TaskState, str] = {state: chr(ord('a') + i) for i, state in enumerate(TaskState)}


def look(state: TaskState) -> Look:
    """How a state is shown."""
    return LOOKS[state]


def urgency(state: TaskState) -> int:
    """The rank of a state among those that a person looks for first; 0 is the most urgent."""
    return _URGENCY_RANK[state]


def count_states(states: Iterable[TaskState]) -> dict[TaskState, int]:
    """How many there are of each state, the most urgent first, without the empty ones."""
    found = Counter(states)
    return {state: found[state] for state in URGENCY if found[state]}


#: A wait of so many seconds may be for a process that hangs.
LONG_WAIT = 60.0
_MAX_HOLDERS = 2


def waits_text(waits: Iterable[Wait], now: float) -> list[str]:
    """For whom tasks wait at `now` (epoch seconds): a phrase for each holder, those waited for longest first.

    >>> waits_text([Wait('pid 4711 on host-a', 100.0), Wait('pid 4711 on host-a', 90.0)], 120.0)
    ['‖ 2 waiting for pid 4711 on host-a']
    >>> waits_text([Wait('pid 4711 on host-a', 100.0)], 400.0)
    ['‖ 1 waiting for pid 4711 on host-a, for 5 min now: if that hangs, end it']
    """
    since: dict[str, list[float]] = {}
    for wait in waits:
        since.setdefault(str(wait), []).append(wait.since)
    order = sorted(since, key=lambda text: min(since[text]))
    found: list[str] = []
    for text in order[:_MAX_HOLDERS]:
        seconds = now - min(since[text])
        long = '' if seconds < LONG_WAIT else f', for {seconds_text(seconds // 60 * 60)} now'
        hint = ': if that hangs, end it' if long and not found else ''
        found.append(f'{LOOKS[TaskState.WAITING].glyph} {len(since[text]):,} {one_line(text, 160)}{long}{hint}')
    rest = sum(len(since[text]) for text in order[_MAX_HOLDERS:])
    return [*found, f'{rest:,} more waiting'] if rest else found


def counts_text(counts: Mapping[TaskState, int]) -> str:
    """Counts per state in words, as in ``'✗ 1 failed, ● 2 cached'``."""
    return ', '.join(f'{LOOKS[state].glyph} {number:,} {LOOKS[state].word}' for state, number in counts.items())


#: How many rows a table has at most.
MAX_ROWS = 50
_MAX_OUTPUTS = 3


@dataclass(frozen=True, slots=True)
class Row:
    """One task in a table; every text is fit to be shown."""

    look: Look
    name: str
    parameters: str
    unique_id: str
    reason: str
    outputs: tuple[str, ...]
    seconds: str


@dataclass(frozen=True, slots=True)
class Rows:
    """The rows of a table, and how many tasks of each state have none."""

    shown: tuple[Row, ...]
    omitted: Mapping[TaskState, int]

    @property
    def omitted_total(self) -> int:
        """How many tasks have no row."""
        return sum(self.omitted.values())


@dataclass(frozen=True, slots=True)
class Failure:
    """One failed task; every text is fit to be shown."""

    name: str
    parameters: str
    unique_id: str
    location: str
    error: str


@dataclass(frozen=True, slots=True)
class Count:
    """How many tasks are in a state."""

    look: Look
    number: int

    def __str__(self) -> str:
        return f'{self.look.glyph} {self.number:,} {self.look.word}'


def counts(plan: Plan) -> tuple[Count, ...]:
    """How many tasks are in each state, the most urgent first."""
    return tuple(Count(look(state), number) for state, number in count_states(node.state for node in plan).items())


def title(node: Node) -> str:
    """A task by its class and the short form of its id."""
    known = f'[{short_id(node.unique_id)}]' if node.unique_id else ''
    return f'{one_line(node.name, 120)}{known}'


def tasks(number: int) -> str:
    """``'1 task'``, ``'7 tasks'``."""
    return counted(number, 'task')


def will_run(plan: Plan) -> str:
    """What a build of the plan would do, in a few words."""
    every = [node.is_conditional for node in plan if node.will_run]
    back = sum(node.note.startswith(f'{WILL_BE}{BROUGHT_BACK}') for node in plan)
    returns = f', {back:,} will be brought back' if back else ''
    return will_run_text(every.count(False), every.count(True)) + returns


def will_run_text(number: int, conditional: int = 0) -> str:
    """How many tasks will run, and how many more if what they require changes.

    >>> will_run_text(3, 12)
    '3 will run, 12 more if the contents change'
    """
    more = f', {conditional:,} more if the contents change' if conditional else ''
    return f'{number:,} will run{more}' if number or conditional else 'nothing will run'


def workspace(plan: Plan) -> str:
    """The workspace of a plan, in full; the home directory in it is written ``~``, as a shell does."""
    home, place = os.path.expanduser('~').rstrip(os.sep), plan.workspace
    if len(home) > 1 and (place + os.sep).startswith(home + os.sep):
        place = f'~{place[len(home) :]}'
    return one_line(place, 300)


def remarks(plan: Plan) -> str:
    """What a plan says of itself as a whole, in sentences; or ''."""
    found = [f'{note}.' for note in plan.notes]
    if plan.sharing:
        found.append(f'{plan.sharing[:1].upper()}{plan.sharing[1:]}.')
    return ' '.join(one_line(sentence, 300) for sentence in found)


def plan_rows(plan: Plan, durations: Mapping[str, float] | None = None, most: int = MAX_ROWS) -> Rows:
    """The tasks as rows, the root first; where there are too many, the most urgent ones of them."""
    nodes = plan.nodes[::-1]
    order = range(len(nodes))
    alike = {len(nodes) - 1 - i for i in recomputed_alike(plan)}
    chosen = sorted(sorted(order, key=lambda i: (i != 0, urgency(nodes[i].state), i))[:most])
    kept = set(chosen)
    omitted = count_states(nodes[i].state for i in order if i not in kept) if len(nodes) > most else {}
    return Rows(tuple(_row(nodes[i], durations or {}, i in alike) for i in chosen), omitted)


def _row(node: Node, durations: Mapping[str, float], is_alike: bool) -> Row:
    outputs = [one_line(path, 300) for path in node.outputs[:_MAX_OUTPUTS]]
    if len(node.outputs) > _MAX_OUTPUTS:
        outputs.append(f'{len(node.outputs) - _MAX_OUTPUTS:,} more')
    return Row(
        look=look(node.state),
        name=one_line(node.name, 120),
        parameters=listed(shown(node.task)),
        unique_id=one_line(node.unique_id, 80),
        reason=one_line('; '.join(filter(None, (reason_text(node), ALIKE if is_alike else '')))),
        outputs=tuple(outputs),
        seconds=seconds_text(durations[node.key]) if node.key in durations else '',
    )


def changes(plan: Plan) -> list[str]:
    """What runs because of a change, and what is kept in spite of one, in a few lines."""
    return [one_line(line, 600) for line in announcement(plan)]


def progress_text(progress: BuildProgress) -> str:
    """How far a build is, what runs and for whom it waits: ``'3/10 · Train · ‖ 2 waiting for pid 7 on host-a'``."""
    if not progress.total:
        return 'nothing to run'
    running = [', '.join(progress.running)] if progress.running else []
    ended = progress.ended - progress.counts.get(TaskState.INTERRUPTED, 0)
    return ' · '.join([f'{ended}/{progress.total}', *running, *waits_text(progress.waits, time.time())])


_ENDINGS = {TaskState.DONE: 'succeeded in', TaskState.INTERRUPTED: 'was stopped after', TaskState.FAILED: 'failed in'}


def ending(report: BuildReport) -> Look:
    """How a build as a whole ended, as the look of a state."""
    return look(_ending(report))


def verdict(report: BuildReport) -> str:
    """How a build ended, in a few words."""
    words = _ENDINGS[_ending(report)]
    return f'{ending(report).glyph} Build of {title(report.plan.root)} {words} {seconds_text(report.seconds)}'


def _ending(report: BuildReport) -> TaskState:
    if report.succeeded:
        return TaskState.DONE
    if report.failures or any(node.state is TaskState.FAILED for node in report.plan) or not report.interrupted:
        return TaskState.FAILED
    return TaskState.INTERRUPTED


def failures(report: BuildReport, most: int = MAX_ROWS) -> tuple[Failure, ...]:
    """The failed tasks, in the order of their failing."""
    return tuple(_failure(failure) for failure in report.failures[:most])


def _failure(failure: TaskFailure) -> Failure:
    return Failure(
        name=one_line(failure.name, 120),
        parameters=listed(failure.parameters),
        unique_id=one_line(failure.unique_id, 80),
        location=one_line(failure.location, 300),
        error=several_lines(failure.text),
    )


def left_alone(plan: Plan) -> list[str]:
    """What a build has left as it was, by its plan: what came back, follows equal contents, or is of other code."""
    edited = [f'{note}.' for note in plan.notes if note.startswith(EDITED)]
    lines = filter(None, (brought_back_line(plan), cutoff_line(plan), kept_line(plan), *edited))
    return [one_line(line, 600) for line in lines]


def slowest(report: BuildReport, most: int = MAX_ROWS) -> tuple[tuple[str, str, str], ...]:
    """The tasks that ran, the slowest first, each with its time, and the memory that it added to its process, or ''."""
    keys = sorted(
        (key for key in report.durations if key in report.plan), key=lambda key: (-report.durations[key], key)
    )
    return tuple(
        (title(report.plan[key]), seconds_text(report.durations[key]), memory_text(report.memory.get(key)))
        for key in keys[:most]
    )


def memory_text(added: int | None) -> str:
    """What a task has added to the memory of its process; '' where that is unknown."""
    if added is None:
        return ''
    return size_text(added) if added >= _UNSEEN else 'under 1 MB'


#: Less memory, in bytes, says nothing of a task: it may have used what one before it has freed.
_UNSEEN = 1_000_000
#: Less memory, in bytes, is not worth a line.
_LITTLE = 10_000_000


def most_memory(report: BuildReport, most: int = 5) -> str:
    """The tasks that took much memory, the largest first, each with what it took at most; '' for none."""
    found = [(key, added) for key, added in report.memory.items() if added >= _LITTLE and key in report.plan]
    found.sort(key=lambda item: (-item[1], item[0]))
    named = ', '.join(f'{title(report.plan[key])} {size_text(added)}' for key, added in found[:most])
    return f'most memory: {named}' if named else ''


def notes(report: BuildReport) -> dict[str, str]:
    """The time of each task that ran, to stand in its box."""
    return {key: seconds_text(seconds) for key, seconds in report.durations.items()}
