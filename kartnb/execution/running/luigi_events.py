"""luigi's own events, so that handlers that users have put on their tasks go on firing, in worker processes too."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import luigi

from kartnb._luigi import event_handlers
from kartnb.task.handlers import trigger

Handler: TypeAlias = Callable[..., Any]
#: A class, and the handlers that were put on it by event.
HandlersOf: TypeAlias = tuple[type, dict[str, list[Handler]]]

#: Importing these puts their handlers on their classes in a worker too.
_BRING_THEIR_OWN = ('gokart', 'kartnb', 'luigi')


def fire(task: luigi.Task, event: str, *args: Any) -> None:
    """Call the handlers of an event; what a handler raises is logged, not raised (luigi's rule)."""
    callbacks = event_handlers()
    if callbacks and any(event in handlers for handlers in callbacks.values()):
        if type(task).trigger_event is luigi.Task.trigger_event:
            trigger(task, event, *args)
        else:
            task.trigger_event(event, *args)


def fire_broken(task: luigi.Task, error: Exception) -> None:
    """Tell the handlers of luigi's BROKEN_TASK that a task could not be planned."""
    fire(task, luigi.Event.BROKEN_TASK, task, error)


def handlers_of(cls: type) -> HandlersOf | None:
    """The handlers that somebody has put on a class, and that a worker process has to be sent; None without any."""
    found = {
        event: [handler for handler in handlers if _root(handler) not in _BRING_THEIR_OWN]
        for event, handlers in event_handlers().get(cls, {}).items()
    }
    found = {event: handlers for event, handlers in found.items() if handlers}
    return (cls, found) if found else None


def _root(handler: Handler) -> str:
    return str(getattr(handler, '__module__', '')).partition('.')[0]


class SentHandlers:
    """In a worker process: the handlers that the build whose tasks run just now has sent."""

    def __init__(self) -> None:
        self._in_use: dict[str, list[tuple[type, str, Handler]]] = {}

    def use(self, sent: Mapping[str, HandlersOf]) -> None:
        """Put these handlers on their classes, and take away those of another build.

        Parameters
        ----------
        sent
            Handlers by what names them; the same name is the same handlers.
        """
        for name in [name for name in self._in_use if name not in sent]:
            for cls, event, handler in self._in_use.pop(name):
                event_handlers()[cls][event].discard(handler)
        for name, handlers in sent.items():
            if name not in self._in_use:
                self._in_use[name] = _put(handlers)


def _put(handlers: HandlersOf) -> list[tuple[type, str, Handler]]:
    cls, by_event = handlers
    added = []
    for event, sent in by_event.items():
        present = event_handlers().setdefault(cls, {}).setdefault(event, set())
        for handler in [handler for handler in sent if not _is_there(handler, present)]:
            added.append((cls, event, handler))
        present.update(handler for _, its_event, handler in added if its_event == event)
    return added


def _is_there(handler: Handler, present: set[Handler]) -> bool:
    """Whether a handler, or what it is a copy of, is on the class already (a forked worker has its parent's)."""
    code = getattr(handler, '__code__', None)
    return handler in present or (code is not None and any(getattr(x, '__code__', None) == code for x in present))
