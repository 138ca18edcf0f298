"""Which task runs in this context: printed text and log lines are told apart by it."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Final

#: The build and the node key of the task that runs in this context; None where nobody has said so.
current_task: ContextVar[tuple[str, str] | None] = ContextVar('kartnb_current_task', default=None)

#: The value of `current_task` while kartnb's own code and listeners run: what they write belongs to no task.
NOBODY: Final = ('', '')
