"""luigi's retries: whether a task that failed is tried again, and when."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import luigi

from kartnb.errors import CyclicRequirementsError, RequirementError, TaskSettingError, TransportError

#: What another try would raise again.
_FINAL = (TransportError, RequirementError, CyclicRequirementsError)

#: luigi's scheduler forgets failures that are older than this many seconds.
_DISABLE_WINDOW = 3600


@dataclass(slots=True)
class _Failures:
    first: float
    recent: deque[float] = field(default_factory=deque)


class Retries:
    """Decides by luigi's settings: a task's own, or else those of ``[scheduler]`` in luigi's configuration.

    A task is run `retry_count` times at most. Without such a setting it is run once, as by `luigi.build`. A failure
    that is older than `disable_window` seconds does not count; no try begins later than `disable_hard_timeout` seconds
    after the first failure. Tries begin `retry_delay` seconds after a failure, by default at once.

    Parameters
    ----------
    clock
        Tells the time in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._failures: dict[str, _Failures] = {}
        self._count: float | None = _setting('retry_count')
        self._window: float | None = _setting('disable_window')
        self._hard_timeout: float | None = _setting('disable_hard_timeout')
        self._delay: float = _setting('retry_delay') or 0

    def delay(self, key: str, task: luigi.Task, error: BaseException) -> float | None:
        """Note a failure; gives the seconds to wait before the next try, or None when there is none.

        Raises
        ------
        TaskSettingError
            When a setting of the task is no number.
        """
        count = _own(task, 'retry_count', self._count)
        if count is None or self._delay < 0 or isinstance(error, _FINAL):
            return None
        now = self._clock()
        failures = self._failures.setdefault(key, _Failures(now))
        failures.recent.append(now)
        window = _own(task, 'disable_window', self._window)
        while failures.recent and failures.recent[0] < now - (_DISABLE_WINDOW if window is None else window):
            failures.recent.popleft()
        hard_timeout = _own(task, 'disable_hard_timeout', self._hard_timeout)
        if len(failures.recent) >= count:
            return None
        if hard_timeout is not None and now + self._delay >= failures.first + hard_timeout:
            return None
        return self._delay


def _setting(name: str) -> float | None:
    """A number of luigi's section [scheduler]; None when it is not set."""
    config = luigi.configuration.get_config()
    if not config.has_option('scheduler', name):
        return None
    value = config.get('scheduler', name)
    try:
        return float(value)
    except (TypeError, ValueError):
        raise TaskSettingError(f"{name} in [scheduler] of luigi's configuration is no number: {value!r}.") from None


def _own(task: luigi.Task, name: str, default: float | None) -> float | None:
    value: Any = getattr(task, name)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TaskSettingError(f'{type(task).__name__}.{name} is {value!r:.40}: it must be a number.')
    return value
