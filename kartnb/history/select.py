"""Choosing among recorded results: which rows a person means (`Selection`), which replaced ones stay (`Bounds`).

What a person writes for a time, a duration or a size becomes a value here, or an error that says what can be written.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from kartnb.errors import HistoryError

if TYPE_CHECKING:
    from kartnb.history.runs import Run

SORTS = ('when', 'seconds', 'size', 'task', 'state', 'id')
_SPAN = re.compile(r'(?P<number>\d+(?:\.\d+)?)\s*(?P<unit>[a-z]+)')
_SECONDS = {
    **dict.fromkeys(('s', 'sec', 'second', 'seconds'), 1),
    **dict.fromkeys(('min', 'minute', 'minutes'), 60),
    **dict.fromkeys(('h', 'hour', 'hours'), 3600),
    **dict.fromkeys(('d', 'day', 'days'), 86_400),
    **dict.fromkeys(('w', 'week', 'weeks'), 604_800),
}
_SIZE = re.compile(r'(?P<number>\d+(?:\.\d+)?)\s*(?P<unit>[kmgt]?)(?P<binary>i?)b?', re.IGNORECASE)
_POWERS = {'': 0, 'k': 1, 'm': 2, 'g': 3, 't': 4}


@dataclass(frozen=True, slots=True)
class Selection:
    """Which of the recorded results are wanted; made by `of`."""

    tasks: tuple[str, ...]
    since: datetime | None
    until: datetime | None
    states: frozenset[str]
    where: Mapping[str, frozenset[str]]

    @classmethod
    def of(
        cls,
        task: str | type | Sequence[str] | None,
        since: Any,
        until: Any,
        state: str | Sequence[str] | None,
        where: Mapping[str, Any] | None,
        states: Sequence[str],
    ) -> Selection:
        """Read what a person gave; see `kartnb.history.runs.Runs.filter`."""
        tasks = () if task is None else tuple(_names(task))
        wanted = frozenset([state] if isinstance(state, str) else state or ())
        unknown = sorted(str(name) for name in wanted if str(name) not in states)
        if unknown:
            raise HistoryError(f'{unknown[0]!r:.60} is not a state: the states are {", ".join(states)}.')
        return cls(
            tasks,
            moment(since),
            moment(until),
            frozenset(map(str, wanted)),
            {name: _texts(value) for name, value in (where or {}).items()},
        )

    def takes(self, run: Run) -> bool:
        """Whether a run is wanted."""
        if self.states and run.state not in self.states:
            return False
        if self.tasks and not any(_is_named(run, name) for name in self.tasks):
            return False
        if (self.since or self.until) and not self._is_in_time(run.when):
            return False
        return all(run.parameters.get(name) in texts for name, texts in self.where.items())

    def _is_in_time(self, when: datetime | None) -> bool:
        if when is None:
            return False
        return (self.since is None or when >= self.since) and (self.until is None or when <= self.until)


def moment(given: Any, now: datetime | None = None) -> datetime | None:
    """A point in time, with a zone, from what a person gave; None for None.

    Raises HistoryError when it is not a time.

    >>> from datetime import UTC, datetime
    >>> moment('2 days', datetime(2024, 5, 3, tzinfo=UTC)).isoformat()
    '2024-05-01T00:00:00+00:00'
    """
    now = now or datetime.now(UTC)
    if given is None:
        return None
    if isinstance(given, str):
        given = _moment_of_text(given.strip().lower(), now)
    if isinstance(given, timedelta):
        return now - given
    if isinstance(given, datetime):
        return given if given.tzinfo else given.astimezone()
    if isinstance(given, date):
        return datetime.combine(given, time()).astimezone()
    raise HistoryError(_not_a_time(given))


def span(given: Any) -> timedelta:
    """A duration from what a person gave: a timedelta, a number of days, or a text such as '2 weeks'."""
    if isinstance(given, timedelta):
        return given
    if isinstance(given, int | float) and not isinstance(given, bool):
        return timedelta(days=given)
    found = _SPAN.fullmatch(str(given).strip().lower())
    if found is None or found['unit'] not in _SECONDS:
        raise HistoryError(f"{given!r:.60} is not a duration: give for instance '2 days', '3h' or a timedelta.")
    return timedelta(seconds=float(found['number']) * _SECONDS[found['unit']])


def sort_value(run: Run, by: str) -> Any:
    """What a run is sorted by; None where it has no such value. Numbers come before texts."""
    if by in ('when', 'seconds', 'size'):
        return getattr(run, by)
    if by in ('task', 'state', 'id'):
        return str(getattr(run, by))
    text = run.parameters.get(by)
    if text is None:
        return None
    try:
        return (0, float(text), '')
    except ValueError:
        return (1, 0.0, text)


def _moment_of_text(text: str, now: datetime) -> datetime | timedelta | date | str:
    today = now.astimezone().date()
    if text in ('today', 'yesterday'):
        return today if text == 'today' else today - timedelta(days=1)
    if _SPAN.fullmatch(text):
        return span(text)
    try:
        return datetime.fromisoformat(text.upper())
    except ValueError:
        raise HistoryError(_not_a_time(text)) from None


def _not_a_time(given: Any) -> str:
    return f"{given!r:.60} is not a time: give for instance '2 days', '3h', 'today', '2024-05-01' or a datetime."


def _names(task: str | type | Sequence[str]) -> list[str]:
    given = [task] if isinstance(task, str | type) else list(task)
    return [f'{item.__module__}.{item.__name__}' if isinstance(item, type) else str(item) for item in given]


def _is_named(run: Run, name: str) -> bool:
    module, _, cls = name.rpartition('.')
    return fnmatchcase(run.task, cls or name) and (not module or not run.module or fnmatchcase(run.module, module))


def _texts(value: Any) -> frozenset[str]:
    values = value if isinstance(value, list | tuple | set | frozenset) else [value]
    return frozenset(str(item) for item in values)


@dataclass(frozen=True, slots=True)
class Bounds:
    """Age, number for each task, and bytes; None for no bound."""

    age: timedelta | None
    number: int | None
    bytes: int | None

    @classmethod
    def of(cls, age: Any, number: int | None, size: int | str | None) -> Bounds:
        """Read what a person gave; raises HistoryError when a bound is not valid."""
        if number is not None and (isinstance(number, bool) or not isinstance(number, int) or number < 0):
            raise HistoryError(f'{number!r:.60} is not a number of results to keep: give 0, 1, 2, …')
        return cls(None if age is None else span(age), number, None if size is None else byte_count(size))

    def kept(self, results: Sequence[tuple[str, datetime, int]]) -> list[bool]:
        """Whether each result stays, given as task, time and bytes, the newest first."""
        if self.age is None and self.number is None and self.bytes is None:
            return [False] * len(results)  # without a bound none stays: a person who cleans up says what to keep
        counted: Counter[str] = Counter()
        total, stay = 0, []
        now = datetime.now(UTC)
        for task, replaced, size in results:
            fits = (
                (self.age is None or now - replaced <= self.age)
                and (self.number is None or counted[task] < self.number)
                and (self.bytes is None or total + size <= self.bytes)
            )
            counted[task] += fits
            total += size if fits else 0
            stay.append(fits)
        return stay


def byte_count(given: int | str) -> int:
    """A number of bytes from what a person gave.

    >>> byte_count('1.5 GB'), byte_count('200k'), byte_count('1 KiB'), byte_count(7)
    (1500000000, 200000, 1024, 7)
    """
    if isinstance(given, int) and not isinstance(given, bool) and given >= 0:
        return given
    found = _SIZE.fullmatch(str(given).strip())
    if found is None:
        raise HistoryError(f"{given!r:.60} is not a number of bytes: give for instance '500 MB' or a number.")
    return int(float(found['number']) * (1024 if found['binary'] else 1000) ** _POWERS[found['unit'].lower()])
