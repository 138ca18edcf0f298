"""What a kind of change is: a small program in two versions, and what kartnb makes of the change."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, TypeAlias

from tests.changes.forks import Step

START = 'import kartnb, luigi'
TASK = """
class T(kartnb.TaskOnKart):
    def run(self):
        self.dump({uses})
"""
#: A version: the text of a cell, or the texts of files by name (None: there is none), or both, the cell under ''.
Version: TypeAlias = str | Mapping[str, str | None]
#: Where a version follows another: in the same kernel, or in a new process.
PLACES = ('kernel', 'restart')


class Outcome(StrEnum):
    """What kartnb makes of a change."""

    NOTICED = 'noticed'  #: The task runs again, and its value is the new one.
    CACHED = 'rightly cached'  #: The value would be the same, and nothing runs.
    UNKNOWN = 'cannot tell'  #: The earlier value is kept, and kartnb says that it may be another now.
    KEPT = 'kept, and said'  #: The earlier value is kept because a policy says so; the plan and the build say it.
    UNSEEN = 'not seen'  #: The earlier value is kept; the documentation says that such a change is not seen.


@dataclass(frozen=True)
class Kind:
    """A kind of change."""

    title: str
    outcome: Outcome
    before: Version
    after: Version
    #: What the task dumps, as an expression; it is not used where `task` is given.
    uses: str = 'K'
    #: A cell that comes before, and is run only once in a kernel.
    setup: str = ''
    task: str = ''
    #: The values of `root` before and after.
    values: tuple[Any, Any] = (1, 2)
    root: str = 'T()'
    #: The classes of the tasks that run because of the change.
    runs: tuple[str, ...] = ('T',)
    #: What the plan says of the reason.
    because: str = 'code changed'
    #: In a kernel: how it comes to know of files that have changed.
    again: str = ''
    options: Mapping[str, Any] = field(default_factory=dict)
    places: tuple[str, ...] = PLACES
    #: What a build says after the change.
    says: str = ''
    #: Whether it needs a process of its own, because it leaves something behind.
    alone: bool = False
    #: Whether the first version can be made again by what has made it; its result is there then.
    comes_back: bool = True
    #: Whether its result does so without a run.
    returns: bool = True

    @property
    def versions(self) -> tuple[Version, ...]:
        """The versions in the order in which they are looked at."""
        again = self.before if self.comes_back else self.after
        return (self.before, self.before, self.after, self.after, again)

    def steps(self, *, edits: bool) -> list[Step]:
        """The steps of the versions: a person edits a cell or files, or opens the notebook anew each time."""
        # nobody needs to look at the plan where the value of the build and what it runs are enough
        return [self.step(version, edits=edits and i > 0, looks=i in (1, 2)) for i, version in enumerate(self.versions)]

    def step(self, version: Version, *, edits: bool, looks: bool = False) -> Step:
        """The step of one version."""
        # what a version does not speak of is as in the first one
        first = {} if isinstance(self.before, str) else self.before
        texts = {'': version} if isinstance(version, str) else {**first, **version}
        cell = texts.pop('', '') or ''
        task = self.task or TASK.format(uses=self.uses)
        cells = (cell, self.again) if edits else (START, self.setup, cell, task)
        return Step(tuple(filter(None, cells)), texts, self.root, dict(self.options), looks)


def noticed(title: str, before: Version, after: Version, uses: str = 'K', **more: Any) -> Kind:
    """A change that kartnb notices."""
    return Kind(title, Outcome.NOTICED, before, after, uses, **more)


def cached(title: str, before: Version, after: Version, uses: str = 'K', **more: Any) -> Kind:
    """A change after which the result is still right, and is kept."""
    return Kind(title, Outcome.CACHED, before, after, uses, **{'values': (1, 1), 'runs': (), **more})


def unknown(title: str, before: Version, after: Version, uses: str = 'K', **more: Any) -> Kind:
    """A change of which kartnb says that it cannot tell."""
    return Kind(title, Outcome.UNKNOWN, before, after, uses, **{'runs': (), **more})


def kept(title: str, before: Version, after: Version, uses: str = 'K', **more: Any) -> Kind:
    """A change that is noticed, and whose result is kept."""
    return Kind(title, Outcome.KEPT, before, after, uses, **{'runs': (), 'says': 'Kept although', **more})


def unseen(title: str, before: Version, after: Version, uses: str = 'K', **more: Any) -> Kind:
    """A change that kartnb cannot see."""
    return Kind(title, Outcome.UNSEEN, before, after, uses, **{'runs': (), **more})
