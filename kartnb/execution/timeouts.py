"""luigi's `worker_timeout`: which running tasks have had their time."""

from __future__ import annotations

import time
import warnings

import luigi


class Timeouts:
    """The clocks of the running tasks that may run for a limited time only."""

    def __init__(self) -> None:
        self._limits: dict[str, float] = {}
        self._ends: dict[str, float] = {}
        self._warned = False

    def __bool__(self) -> bool:
        """Whether any task's time is limited."""
        return bool(self._limits)

    def limit(self, key: str, seconds: float) -> None:
        """A task will have so many seconds from when it starts."""
        self._limits[key] = seconds

    def has_limit(self, key: str) -> bool:
        """Whether a task's time is limited."""
        return key in self._limits

    def start(self, key: str) -> None:
        """A task starts to run."""
        seconds = self._limits.get(key)
        if seconds is not None:
            self._ends[key] = time.monotonic() + seconds

    def forget(self, key: str) -> None:
        """A task has ended."""
        self._ends.pop(key, None)

    def wait(self) -> float | None:
        """Seconds until the next task has had its time; None when none is limited."""
        return max(0.0, min(self._ends.values()) - time.monotonic()) if self._ends else None

    def expired(self) -> list[tuple[str, float]]:
        """The tasks that have had their time, each with its limit in seconds; their clocks are taken away."""
        now = time.monotonic()
        keys = [key for key, end in self._ends.items() if end <= now]
        for key in keys:
            del self._ends[key]
        return [(key, self._limits[key]) for key in keys]

    def warn_of_no_effect(self, task: luigi.Task) -> None:
        """Say once that tasks cannot be ended where they run."""
        if not self._warned:
            self._warned = True
            warnings.warn(
                f'{type(task).__name__}.worker_timeout has no effect: only tasks in worker processes can be ended; '
                "build with workers=2 or executor='processes'.",
                stacklevel=3,
            )
