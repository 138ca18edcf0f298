"""What the files of tasks tell, read ahead for the tasks that are drawn, so that a click needs no kernel."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from typing import Any

from kartnb.execution.planning.plan import Plan
from kartnb.history.log_store import LogStore
from kartnb.view.inspector import Inspector

#: All that is kept ready for clicks, in characters of JSON; what is beyond is read when somebody clicks.
MAX_TOLD = 400_000


class Teller:
    """Reads what is remembered of tasks, a little at a time.

    Parameters
    ----------
    plan
        The plan that the tasks are in.
    """

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._inspector = Inspector(plan)
        self._wanted: dict[int, None] = {}
        self._told: dict[int, str] = {}

    def want(self, positions: Iterable[int]) -> None:
        """Ask for the details of some tasks."""
        self._wanted.update(dict.fromkeys(positions))

    @property
    def is_done(self) -> bool:
        """Whether nothing more is wanted."""
        return not self._wanted

    def details(self, position: int) -> dict[str, Any]:
        """What the files of one task tell now."""
        found = dict(self._inspector.details(self._plan.nodes[position].key))
        self._keep(position, json.dumps(found))
        return found

    def go_on(self, seconds: float) -> dict[int, Any]:
        """Read for at most about so many seconds; gives the new details by position."""
        end = time.monotonic() + seconds
        store = LogStore()
        found: dict[int, Any] = {}
        while self._wanted and time.monotonic() < end:
            position = next(iter(self._wanted))
            del self._wanted[position]
            details = dict(self._inspector.details(self._plan.nodes[position].key, store))
            if self._keep(position, json.dumps(details)):
                found[position] = details
        return found

    def record(self) -> str:
        """All that was read, as JSON."""
        return '{' + ','.join(f'"{position}":{text}' for position, text in self._told.items()) + '}'

    def _keep(self, position: int, text: str) -> bool:
        others = sum(len(other) for i, other in self._told.items() if i != position)
        if others + len(text) > MAX_TOLD:
            return False
        self._told[position] = text
        return True
