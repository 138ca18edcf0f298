"""How much is kept of results that were replaced."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from kartnb.errors import HistoryError
from kartnb.records.selecting import span

_SIZE = re.compile(r'(?P<number>\d+(?:\.\d+)?)\s*(?P<unit>[kmgt]?)i?b?', re.IGNORECASE)
_UNITS = {'': 0, 'k': 1, 'm': 2, 'g': 3, 't': 4}


@dataclass(frozen=True, slots=True)
class Bounds:
    """Age, number for each task, and bytes; None for no bound."""

    age: timedelta | None
    number: int | None
    bytes: int | None

    @classmethod
    def of(cls, age: Any, number: int | None, size: int | str | None) -> Bounds:
        """Make sense of what a person gave.

        Raises
        ------
        kartnb.HistoryError
            When a bound is none.
        """
        if number is not None and (isinstance(number, bool) or not isinstance(number, int) or number < 0):
            raise HistoryError(f'{number!r:.60} is no number of results to keep: give 0, 1, 2, …')
        return cls(None if age is None else span(age), number, None if size is None else byte_count(size))

    def kept(self, results: Sequence[tuple[str, datetime, int]]) -> list[bool]:
        """Whether each result stays, given as task, time and bytes, the newest first."""
        if self.age is None and self.number is None and self.bytes is None:
            return [False] * len(results)
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
    """A number of bytes of what a person gave.

    Examples
    --------
    >>> byte_count('1.5 GB'), byte_count('200k'), byte_count(7)
    (1500000000, 200000, 7)
    """
    if isinstance(given, int) and not isinstance(given, bool) and given >= 0:
        return given
    found = _SIZE.fullmatch(str(given).strip())
    if found is None:
        raise HistoryError(f"{given!r:.60} is no number of bytes: give for instance '500 MB' or a number.")
    return int(float(found['number']) * 1000 ** _UNITS[found['unit'].lower()])
