"""luigi's own events, so that handlers that users have put on their tasks go on firing."""

from __future__ import annotations

from typing import Any

import luigi

from kartnb.task.handlers import trigger


def fire(task: luigi.Task, event: str, *args: Any) -> None:
    """Call the handlers of an event; what a handler raises is logged, not raised (luigi's rule)."""
    if any(event in handlers for handlers in luigi.Task._event_callbacks.values()):
        if type(task).trigger_event is luigi.Task.trigger_event:
            trigger(task, event, *args)
        else:
            task.trigger_event(event, *args)
