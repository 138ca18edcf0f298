"""How far a running build is: a line of text for terminals, a bar with the same words for notebooks.

Everything is a function of what is passed in, so that a front end may draw as rarely or as often as it likes. Nothing
here lays out a graph.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from kartnb.build_status import BuildProgress, BuildStatus
from kartnb.events import TaskState
from kartnb.execution.planning.plan import Node
from kartnb.view.clean import one_line, seconds_text
from kartnb.view.states import count_states, counts_text, look

_MAX_NAMED = 2
_BAR_CELLS = 20
#: The segments of the bar from left to right.
_SEGMENTS = (TaskState.DONE, TaskState.FAILED, TaskState.INTERRUPTED, TaskState.BLOCKED, TaskState.RUNNING)


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a build is.

    Attributes
    ----------
    finished, total
        How many of the tasks to run have ended, well or not, and how many there are.
    running
        The running tasks, the longest running first: class name, and seconds since the start.
    remaining
        The seconds that are probably left, or None where nothing is known to say it from.
    counts
        How many of the tasks to run are in each state, the most urgent first.
    starting
        How many worker processes are being started.
    """

    finished: int
    total: int
    running: tuple[tuple[str, float], ...]
    remaining: float | None
    counts: Mapping[TaskState, int]
    starting: int = 0

    @property
    def percentage(self) -> int:
        """The share of tasks that have ended, 0 to 100."""
        return 100 * self.finished // self.total if self.total else 100

    @property
    def words(self) -> str:
        """One line, as in ``'running 3/10 · Train (4 s) · about 12 s left'``."""
        if not self.total:
            return 'nothing to run'
        parts = [f'{"running" if self.finished < self.total else "finished"} {self.finished:,}/{self.total:,}']
        parts += [f'{one_line(name, 40)} ({_whole(seconds)})' for name, seconds in self.running[:_MAX_NAMED]]
        if self.starting and not self.running and self.finished < self.total:
            parts.append(starting_words(self.starting))
        if len(self.running) > _MAX_NAMED:
            parts.append(f'{len(self.running) - _MAX_NAMED:,} more')
        failed = {state: self.counts[state] for state in (TaskState.FAILED, TaskState.BLOCKED) if state in self.counts}
        if failed:
            parts.append(counts_text(failed))
        if self.remaining is not None:
            parts.append(f'about {_whole(max(self.remaining, 1.0))} left')
        return ' · '.join(parts)


def starting_words(number: int) -> str:
    """What a build waits for while so many worker processes start; '' for none."""
    if number <= 1:
        return 'starting a worker' if number else ''
    return f'starting {number:,} workers'


def phase_words(now: BuildProgress, phase: str) -> str:
    """How far a build in some phase is, in words, as in ``'running 3/10'``."""
    share = f'{now.ended:,}/{now.total:,}'
    if phase == 'running' and not now.total:
        return 'nothing to run'
    if phase in ('running', 'stopping'):
        return f'{phase} {share}'
    if phase == 'plan':
        return f'{now.total:,} will run' if now.total else 'nothing will run'
    if phase == 'stopped':
        return f'■ stopped after {now.counts.get(TaskState.DONE, 0):,}/{now.total:,}'
    return '✓ succeeded' if phase == 'done' else '✗ failed'


def progress(
    status: BuildStatus, now: float, expected: Mapping[str, float] | None = None, workers: int = 1
) -> Progress:
    """How far a build is.

    Parameters
    ----------
    status
        How the build stands.
    now
        The present time, in seconds since the epoch.
    expected
        Seconds that tasks took in earlier builds, by node key.
    workers
        How many tasks run at a time.
    """
    part = status.taking_part()
    spent = {node.key: _seconds_since_start(status, node, now) for node, state in part if state is TaskState.RUNNING}
    running = [(node.name, spent[node.key]) for node, state in part if state is TaskState.RUNNING]
    left = [node for node, _ in part if not status.has_ended(node)]
    return Progress(
        finished=len(part) - len(left),
        total=len(part),
        running=tuple(sorted(running, key=_longest)),
        remaining=_remaining(left, spent, _Expectation(status, expected or {}), workers),
        counts=count_states(state for _, state in part),
        starting=status.starting_workers,
    )


def _seconds_since_start(status: BuildStatus, node: Node, now: float) -> float:
    activity = status.activities.get(node.key)
    return 0.0 if activity is None else now - activity.started


def _longest(named: tuple[str, float]) -> float:
    return -named[1]


class _Expectation:
    """How long a task will probably take: what it took before, else what others of its class took, else the average."""

    def __init__(self, status: BuildStatus, expected: Mapping[str, float]) -> None:
        self._expected = expected
        by_class: dict[str, list[float]] = {}
        for key, activity in status.activities.copy().items():
            if activity.seconds is not None and status.plan is not None and key in status.plan:
                by_class.setdefault(status.plan[key].name, []).append(activity.seconds)
        self._by_class = {name: sum(seconds) / len(seconds) for name, seconds in by_class.items()}
        every = [seconds for found in by_class.values() for seconds in found]
        self._average = sum(every) / len(every) if every else None

    def seconds(self, node: Node) -> float | None:
        """The probable seconds of one task, or None."""
        if node.key in self._expected:
            return self._expected[node.key]
        return self._by_class.get(node.name, self._average)


def _remaining(
    left: Sequence[Node], spent: Mapping[str, float], expectation: _Expectation, workers: int
) -> float | None:
    total = longest = 0.0
    for node in left:
        seconds = expectation.seconds(node)
        if seconds is None:
            return None
        if node.key in spent:
            seconds = max(seconds - spent[node.key], 0.0)
        total += seconds
        longest = max(longest, seconds)
    return max(total / max(workers, 1), longest) if total else None


def _whole(seconds: float) -> str:
    if seconds < 1:
        return 'under 1 s'
    return f'{round(seconds)} s' if round(seconds) < 60 else seconds_text(seconds)


def progress_text(state: Progress) -> str:
    """One line with a bar, for a terminal that overwrites it."""
    filled = _BAR_CELLS * state.finished // state.total if state.total else _BAR_CELLS
    return f'[{"█" * filled}{"·" * (_BAR_CELLS - filled)}] {state.words}'


def progress_html(state: Progress, changes: Sequence[str] = ()) -> str:
    """The same as a bar with one segment per state, named for screen readers; above it, what changes make run."""
    from kartnb.view.html import render_template

    return render_template('progress.html', progress=state, segments=bar_segments(state), changes=changes)


def bar_segments(state: Progress) -> list[tuple[str, float, str]]:
    """The parts of the bar: the name of the state, its share in percent, and what it says."""
    return [
        (look(s).slug, round(100 * state.counts[s] / state.total, 2), f'{state.counts[s]:,} {look(s).word}')
        for s in _SEGMENTS
        if s in state.counts
    ]
