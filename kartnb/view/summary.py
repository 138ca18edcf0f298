"""What is said of plans and builds, before it is text or HTML.

`text` and `html` both say what stands here, so that they cannot differ.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from kartnb.events import TaskState
from kartnb.execution.planning.plan import Node, Plan
from kartnb.execution.report import BuildReport, TaskFailure
from kartnb.planning.estimate import announcement
from kartnb.view import parameters
from kartnb.view.clean import error_text, one_line, seconds_text, short_id
from kartnb.view.reasons import reason_text
from kartnb.view.states import Look, count_states, look, urgency

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
    return f'{one_line(node.name, 120)}[{short_id(node.unique_id)}]'


def tasks(number: int) -> str:
    """``'1 task'``, ``'7 tasks'``."""
    return '1 task' if number == 1 else f'{number:,} tasks'


def will_run(plan: Plan) -> str:
    """What a build of the plan would do, in a few words."""
    number = sum(node.will_run for node in plan)
    return f'{number:,} will run' if number else 'nothing will run'


def workspace(plan: Plan) -> str:
    """The workspace of a plan, in full; the home directory in it is written ``~``, as a shell does."""
    home, place = os.path.expanduser('~').rstrip(os.sep), plan.workspace
    if len(home) > 1 and (place + os.sep).startswith(home + os.sep):
        place = f'~{place[len(home) :]}'
    return one_line(place, 300)


def plan_rows(plan: Plan, durations: Mapping[str, float] | None = None, most: int = MAX_ROWS) -> Rows:
    """The tasks as rows, the root first; where there are too many, the most urgent ones of them."""
    nodes = plan.nodes[::-1]
    order = range(len(nodes))
    chosen = sorted(sorted(order, key=lambda i: (i != 0, urgency(nodes[i].state), i))[:most])
    kept = set(chosen)
    omitted = count_states(nodes[i].state for i in order if i not in kept) if len(nodes) > most else {}
    return Rows(tuple(_row(nodes[i], durations or {}) for i in chosen), omitted)


def _row(node: Node, durations: Mapping[str, float]) -> Row:
    outputs = [one_line(path, 300) for path in node.outputs[:_MAX_OUTPUTS]]
    if len(node.outputs) > _MAX_OUTPUTS:
        outputs.append(f'{len(node.outputs) - _MAX_OUTPUTS:,} more')
    return Row(
        look=look(node.state),
        name=one_line(node.name, 120),
        parameters=parameters.listed(parameters.shown(node.task)),
        unique_id=one_line(node.unique_id, 80),
        reason=one_line(reason_text(node)),
        outputs=tuple(outputs),
        seconds=seconds_text(durations[node.key]) if node.key in durations else '',
    )


def changes(plan: Plan) -> list[str]:
    """What runs because of a change, and what is kept in spite of one, in a few lines."""
    return [one_line(line, 600) for line in announcement(plan)]


def verdict(report: BuildReport) -> str:
    """How a build ended, in a few words."""
    glyph = look(TaskState.DONE if report.succeeded else TaskState.FAILED).glyph
    word = 'succeeded' if report.succeeded else 'failed'
    return f'{glyph} Build of {title(report.plan.root)} {word} in {seconds_text(report.seconds)}'


def failures(report: BuildReport, most: int = MAX_ROWS) -> tuple[Failure, ...]:
    """The failed tasks, in the order of their failing."""
    return tuple(_failure(failure) for failure in report.failures[:most])


def _failure(failure: TaskFailure) -> Failure:
    return Failure(
        name=one_line(failure.name, 120),
        parameters=parameters.listed(failure.parameters),
        unique_id=one_line(failure.unique_id, 80),
        location=one_line(failure.location, 300),
        error=error_text(failure.error),
    )


def slowest(report: BuildReport, most: int = MAX_ROWS) -> tuple[tuple[str, str], ...]:
    """The tasks that ran, the slowest first, each with its time."""
    keys = sorted(
        (key for key in report.durations if key in report.plan), key=lambda key: (-report.durations[key], key)
    )
    return tuple((title(report.plan[key]), seconds_text(report.durations[key])) for key in keys[:most])


def notes(report: BuildReport) -> dict[str, str]:
    """The time of each task that ran, to stand in its box."""
    return {key: seconds_text(seconds) for key, seconds in report.durations.items()}
