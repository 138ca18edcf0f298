"""Results that are stale by age: ``expires = timedelta(days=1)`` in the body of a class."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import luigi

from kartnb.errors import TaskSettingError
from kartnb.history.run_record import RunRecord, iso_seconds
from kartnb.storage.filesystem import file_system

if TYPE_CHECKING:
    from kartnb.planning.graph import Vertex
    from kartnb.planning.known_results import KnownResults

#: The unit of a duration, its seconds, and up to how many of them it is used.
_UNITS = (('s', 1, 120), ('min', 60, 120), ('h', 3600, 48))
_DAY = 86400


def lifetime(owner: Any) -> timedelta | None:
    """How long the results of a task, or of a class, count; None where they do not expire.

    Raises TaskSettingError when `expires` is not a duration. A parameter of that name counts where its value is one.
    """
    cls = owner if isinstance(owner, type) else type(owner)
    given = getattr(cls, 'expires', None)
    if given is None:
        return None
    if isinstance(given, luigi.Parameter):
        value = None if owner is cls else getattr(owner, 'expires', None)
        return value if isinstance(value, timedelta) else None
    if not isinstance(given, timedelta) or given < timedelta(0):
        raise TaskSettingError(
            f'{cls.__name__}.expires must be a duration such as timedelta(days=1), not {given!r:.60} '
            f'({type(given).__name__}).'
        )
    return given


def expiry(vertex: Vertex, known: KnownResults) -> str:
    """Since when the result of a task has expired, in words; '' where it has not, or is not there."""
    span = lifetime(vertex.task)
    if span is None or not known.all_exist(vertex):
        return ''
    record = known.record(vertex) if known.result(vertex) is not None else None
    made = None if record is None else iso_seconds(record.ended)
    if made is None:
        if not all(getattr(target, 'is_plain_file', False) for target in vertex.outputs):
            return ''  # in memory, or in a place that does not tell
        made = min(file_system(path).modified(path) for path in vertex.paths).timestamp()
    return _expired(made, span)


def has_expired(record: RunRecord, cls: type) -> bool:
    """Whether a recorded result of a class is older than the class lets it be."""
    span, made = lifetime(cls), iso_seconds(record.ended)
    return span is not None and made is not None and bool(_expired(made, span))


def _expired(made: float, span: timedelta) -> str:
    age, limit = time.time() - made, span.total_seconds()
    return '' if age < limit else f'made {duration_text(age)} ago, expires after {duration_text(limit)}'


def duration_text(seconds: float) -> str:
    """A duration in the largest unit that still tells it.

    >>> [duration_text(x) for x in (5, 300, 93600, 86400, 864000)]
    ['5 s', '5 min', '26 h', '1 day', '10 days']
    """
    if seconds == _DAY:
        return '1 day'
    for unit, size, limit in _UNITS:
        if seconds < size * limit:
            return f'{seconds / size:.3g} {unit}'
    return f'{seconds / _DAY:.3g} days'
