"""Trying a build again while another process holds the lock of one of its tasks."""

from __future__ import annotations

import time
from collections.abc import Callable

from kartnb.errors import TaskLockException
from kartnb.execution.build_error import HasLockedTaskException
from kartnb.execution.report import BuildReport


def retried_while_locked(run: Callable[[], BuildReport], tries: int, longest_wait: float) -> BuildReport:
    """Run a build until no task of it fails for a lock, waiting 1, 2, 4, … seconds in between.

    Raises
    ------
    HasLockedTaskException
        When a lock was still held at the last try.
    """
    for attempt in range(tries):
        report = run()
        locked = [failure for failure in report.failures if isinstance(failure.error, TaskLockException)]
        if not locked:
            return report
        if attempt + 1 < tries:
            time.sleep(min(2**attempt, longest_wait))
    raise HasLockedTaskException(
        f'Another process held the lock of {locked[0].name} through {tries} tries: build again when it has finished.'
    )
