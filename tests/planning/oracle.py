"""What a build must give, and what it must and may run, worked out without a cache: a model of tasks and results.

It knows a result by what made it: the code of its task, the values of what it required, and the contents of the files
that it read. So a result is right today where these are today's, whoever made it and when; and a task need not run
where there is such a result, in its place or among those that were superseded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

#: What made a value: the code, the values of the tasks that it needs in their order, and the contents of files.
Cause = tuple[tuple[Any, ...], tuple[Any, ...], tuple[Any, ...]]


@dataclass(frozen=True)
class Rule:
    """A task of the model."""

    #: What it makes of the world and of the values of the tasks that it needs.
    value: Callable[[Mapping[str, Any], tuple[Any, ...]], Any]
    requires: tuple[str, ...] = ()
    #: What it asks for while it runs.
    asks: tuple[str, ...] = ()
    #: The names of the constants and functions that its code reaches, and of the files that it reads.
    code: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    #: After how many hours its result expires.
    expires: float | None = None

    @property
    def needs(self) -> tuple[str, ...]:
        """All tasks that it needs."""
        return (*self.requires, *self.asks)


@dataclass(frozen=True)
class Result:
    """A result: what made it, and when."""

    cause: Cause
    hour: float


@dataclass
class Oracle:
    """The results of a workspace, and what is to become of them."""

    rules: Mapping[str, Rule]
    #: The constants, functions and files of today, each by what is in it.
    world: dict[str, Any]
    #: All results of each task by their ids, in their place or superseded.
    results: dict[str, dict[str, Result]] = field(default_factory=dict)
    #: The result in the place of each task, and the tasks of which its file was deleted: only its record is left.
    placed: dict[str, str] = field(default_factory=dict)
    deleted: set[str] = field(default_factory=set)
    hour: float = 0.0

    def pure(self, task: str) -> Any:
        """What a task gives without any cache."""
        rule = self.rules[task]
        return rule.value(self.world, tuple(self.pure(other) for other in rule.needs))

    def upstream(self, task: str) -> list[str]:
        """All that a task needs, and the task itself, upstream first."""
        found: dict[str, None] = {}
        for other in self.rules[task].needs:
            found.update(dict.fromkeys(self.upstream(other)))
        return [*found, task]

    def downstream(self, task: str) -> set[str]:
        """A task and all that needs it."""
        return {other for other in self.rules if task in self.upstream(other)}

    def cause(self, task: str) -> Cause:
        """What would make the result of a task today."""
        rule = self.rules[task]
        return (
            tuple(self.world[name] for name in rule.code),
            tuple(self.pure(other) for other in rule.needs),
            tuple(self.world[name] for name in rule.files),
        )

    def right(self, task: str) -> set[str]:
        """The results of a task that are what a run would give today, and have not expired."""
        limit = self.rules[task].expires
        return {
            key
            for key, result in self.results.get(task, {}).items()
            if result.cause == self.cause(task) and (limit is None or self.hour - result.hour < limit)
        }

    def must_run(self, root: str, rerun: str = '') -> set[str]:
        """What a build must run: its contents of today are not known, or its file is needed and nowhere."""
        return _Build(self, {rerun}).runs_for(root)

    def may_run(self, root: str, rerun: str = '') -> set[str]:
        """What a build may run beside that.

        These are tasks that would have to run to say what they ask for today, where a result of something upstream
        is not in its place; and what is downstream of a task that is to run again.
        """
        asking = {task for task in self.upstream(root) if self.rules[task].asks}
        unsettled = {task for task in asking if not all(map(self._is_placed, self.upstream(task)))}
        again = self.downstream(rerun) & set(self.upstream(root)) if rerun else set()
        return _Build(self, unsettled | again).runs_for(root)

    def has_run(self, task: str) -> None:
        """A task has run, and `settle` will tell of its result."""
        self.results.setdefault(task, {})[''] = Result(self.cause(task), self.hour)

    def settle(self, placed: Mapping[str, str]) -> None:
        """Know the ids of the results that are in their places now."""
        for task, key in placed.items():
            results = self.results.setdefault(task, {})
            before = self.placed.get(task)
            if task in self.deleted and before != key:
                results.pop(before, None)
                self.deleted.discard(task)
            if '' in results:
                results[key] = results.pop('')
            self.placed[task] = key

    def delete(self, task: str) -> None:
        """The file of the result in its place is deleted."""
        self.deleted.add(task)

    def _is_placed(self, task: str) -> bool:
        return task not in self.deleted and self.placed.get(task) in self.right(task)

    def _has_file(self, task: str) -> bool:
        right = self.right(task)
        # who deletes the file of today's result wants it to be made again, whatever is kept of earlier runs
        return bool(right) and not (task in self.deleted and self.placed[task] in right)


class _Build:
    """What a build runs, if these tasks run whatever is known of them."""

    def __init__(self, oracle: Oracle, again: Iterable[str]) -> None:
        self._oracle = oracle
        self._again = set(again)
        self._runs: set[str] = set()
        self._known: set[str] = set()

    def runs_for(self, root: str) -> set[str]:
        """The tasks that run so that the value of a task is there."""
        self._have(root)
        return self._runs

    def _know(self, task: str) -> None:
        """Know the contents that a task gives today: from a record, or by a run where there is none."""
        if task in self._known:
            return
        self._known.add(task)
        for other in self._oracle.rules[task].needs:
            self._know(other)
        if task in self._again or not self._oracle.right(task):
            self._run(task)

    def _have(self, task: str) -> None:
        """Have the file of a task's result of today."""
        self._know(task)
        if task not in self._runs and not self._oracle._has_file(task):
            self._run(task)

    def _run(self, task: str) -> None:
        self._runs.add(task)
        for other in self._oracle.rules[task].needs:
            self._have(other)
