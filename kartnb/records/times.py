"""Points in time, as records and files tell them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any


def iso_moment(text: Any) -> datetime | None:
    """The time that ISO 8601 text tells, in UTC; None for what is none."""
    try:
        found = datetime.fromisoformat(text)
        return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    except (TypeError, ValueError, OverflowError):
        return None


def iso_seconds(text: Any) -> float | None:
    """The time that ISO 8601 text tells, in seconds since the epoch; None for what is none."""
    moment = iso_moment(text)
    return None if moment is None else moment.timestamp()


def epoch_moment(seconds: float) -> datetime | None:
    """The time that is so many seconds since the epoch, in UTC; None for none."""
    try:
        return datetime.fromtimestamp(seconds, UTC) if seconds else None
    except (ValueError, OverflowError, OSError):
        return None
