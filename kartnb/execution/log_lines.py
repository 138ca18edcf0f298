"""Where the lines of tasks come from: the files of those that have ended, and a running build for the others."""

from __future__ import annotations

import heapq
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import luigi

from kartnb.events import LogLine
from kartnb.execution.background import BackgroundBuild, Heard, running_builds
from kartnb.execution.subjects import Subject, build_id_of, plan_of
from kartnb.history.log_store import LogStore, captured_path
from kartnb.history.run_record import iso_seconds
from kartnb.storage.captured_logs import CapturedLine, Source, read_build_id
from kartnb.task.base import TaskOnKart

logger = logging.getLogger('kartnb')


@dataclass(frozen=True, slots=True)
class TaskLine:
    """One thing that a task printed or logged.

    Attributes
    ----------
    time
        In seconds since the epoch.
    task, unique_id
        Whose it is.
    source
        'stdout', 'stderr', 'log', or 'left out' for the words that stand in the place of too many lines.
    level, logger
        Of a logged line; 0 and '' otherwise.
    text
        One printed line, or the whole text of a logged one.
    """

    time: float
    task: str
    unique_id: str
    source: Source
    level: int
    logger: str
    text: str

    @property
    def weight(self) -> int:
        """The level that it counts as: what is printed counts as INFO."""
        if self.source == 'left out':
            return logging.CRITICAL
        return self.level if self.source == 'log' else logging.INFO


@dataclass(frozen=True, slots=True)
class Owner:
    """A task that has lines, by its key in plans and events."""

    task: Any
    key: str
    name: str
    unique_id: str


@dataclass(frozen=True, slots=True)
class Gathered:
    """The lines of some tasks in the order of time.

    Attributes
    ----------
    title
        Whose lines these are.
    lines
        The lines.
    files
        The files that hold all lines, by the key of the task.
    owners
        The tasks by key.
    build
        A build that goes on, from which more will come; or None.
    """

    title: str
    lines: tuple[TaskLine, ...]
    files: dict[str, str]
    owners: Mapping[str, Owner]
    build: BackgroundBuild | None


def gather(subject: Subject) -> Gathered:
    """The lines of a task, of the tasks of a plan, or of a build.

    Raises
    ------
    TaskArgumentError
        When `subject` is none of these.
    """
    build_id = build_id_of(subject)
    title, owners = _owners_of(subject)
    build = _running_build(subject, owners)
    heard = {} if build is None else _heard(build, owners)
    store, files, found = LogStore(), {}, []
    for key, owner in owners.items():
        of_build = build_id or (build.build_id if build is not None and key in heard else '')
        lines = _kept_lines(owner, store, of_build)
        if lines:
            files[f'{owner.name}_{owner.unique_id}'] = captured_path(owner.task)
        found.append([*(lines or heard.get(key, [])), *_failure(owner, store, of_build)])
    merged = tuple(heapq.merge(*found, key=lambda line: line.time))
    return Gathered(title, merged, files, owners, build)


def heard_lines(event: Heard, owner: Owner) -> Iterator[TaskLine]:
    """What a build tells of a task as lines."""
    if isinstance(event, LogLine):
        yield TaskLine(event.time, owner.name, owner.unique_id, 'log', event.level, event.logger, event.text)
        return
    source: Source = 'stderr' if event.stream == 'stderr' else 'stdout'
    for text in event.text.split('\n'):
        yield TaskLine(event.time, owner.name, owner.unique_id, source, 0, '', text)


def _owners_of(subject: Subject) -> tuple[str, dict[str, Owner]]:
    if isinstance(subject, luigi.Task):
        unique_id = subject.make_unique_id() if isinstance(subject, TaskOnKart) else subject.task_id
        name = type(subject).__name__
        return name, {f'{name}_{unique_id}': Owner(subject, f'{name}_{unique_id}', name, unique_id)}
    plan = plan_of(subject)
    owners = {node.key: Owner(node.task, node.key, node.name, node.unique_id) for node in plan}
    return f'{"build" if build_id_of(subject) else "tasks"} of {plan.root.name}', owners


def _running_build(subject: Subject, owners: Mapping[str, Owner]) -> BackgroundBuild | None:
    """The build that more lines will come from: the one that was asked about, or one that has the task in it."""
    if isinstance(subject, BackgroundBuild):
        return None if subject.done() else subject
    if build_id_of(subject):
        return None
    root = list(owners)[-1]
    return next((build for build in running_builds() if root in build.plan), None)


def _heard(build: BackgroundBuild, owners: Mapping[str, Owner]) -> dict[str, list[TaskLine]]:
    found: dict[str, list[TaskLine]] = {}
    for event in build.heard():
        if event.key in owners:
            found.setdefault(event.key, []).extend(heard_lines(event, owners[event.key]))
    return found


def _kept_lines(owner: Owner, store: LogStore, build_id: str) -> list[TaskLine]:
    """The lines of the file of a task; of a build, where it is from that build."""
    if not isinstance(owner.task, TaskOnKart):
        return []
    lines = store.captured(owner.task)
    if not lines or (build_id and read_build_id(captured_path(owner.task)) != build_id):
        return []
    return [_told(line, owner) for line in lines]


def _failure(owner: Owner, store: LogStore, build_id: str) -> Iterator[TaskLine]:
    """How the last run of a task ended, as its record has it, if it gave no result."""
    record = store.failure(owner.task) if isinstance(owner.task, TaskOnKart) else None
    if record is None or not record.error or (build_id and record.build_id != build_id):
        return
    ended = iso_seconds(record.ended) or 0.0
    yield TaskLine(ended, owner.name, owner.unique_id, 'log', logging.ERROR, logger.name, record.error)


def _told(line: CapturedLine, owner: Owner) -> TaskLine:
    return TaskLine(line.time, owner.name, owner.unique_id, line.source, line.level, line.logger, line.text)
