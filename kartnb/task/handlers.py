"""Calling the event handlers that users have put on task classes with luigi's `event_handler`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from logging import getLogger
from typing import Any

import luigi

from kartnb._luigi import event_handlers, is_gokarts

_logger = getLogger('luigi-interface')


def trigger(task: luigi.Task, event: str, *args: Any, **kwargs: Any) -> None:
    """Call the handlers of an event; what a handler raises is logged, not raised (luigi's rule).

    gokart's own handlers, which are on every luigi task once gokart is imported, are for gokart's tasks only: others
    they fail on.
    """
    for handler in list(_handlers(task, event)):
        try:
            handler(*args, **kwargs)
        except Exception:
            _logger.exception('A handler of %s failed for %s', event, type(task).__name__)


def _handlers(task: luigi.Task, event: str) -> Iterator[Callable[..., Any]]:
    of_gokart = is_gokarts(task)
    for kind, by_event in event_handlers().items():
        if isinstance(task, kind):
            for handler in by_event.get(event, ()):
                if of_gokart or getattr(handler, '__module__', '') != 'gokart.task':
                    yield handler
