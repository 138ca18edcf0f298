"""Files that functions with a cache (`functools.lru_cache`) have read, for tasks that get their values from the cache.

Such a function reads for the first task only; the others depend on it as well. What it reads is noted by the name of
the function, from the first run on of a task that reaches it. What it read before is unknown.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

from kartnb.task.code.attributes import may_read

#: A function by its module and its qualified name.
CachedFunction = tuple[str, str]

#: What has noted what each function has read while it was watched.
_notes: dict[CachedFunction, Any] = {}
_watched: set[str] = set()
#: Functions that had values already when they were first watched, and that may have read files for them.
_filled_before: set[CachedFunction] = set()


def watch(name: CachedFunction, make_notes: Callable[[], Any]) -> None:
    """From now on, note what a function reads."""
    if name in _notes:
        return
    _notes[name] = make_notes()
    _watched.add(name[1])
    function = _function(name)
    if function is not None and function.cache_info().currsize and may_read(function.__wrapped__):
        _filled_before.add(name)


def is_watching() -> bool:
    """Whether any function is watched."""
    return bool(_watched)


def at_work(frame: FrameType | None) -> Iterator[Any]:
    """What notes the reading of the watched functions that are at work in a frame."""
    while frame is not None:
        code = frame.f_code
        if code.co_qualname in _watched:
            notes = _notes.get((str(frame.f_globals.get('__name__')), code.co_qualname))
            if notes is not None:
                yield notes
        frame = frame.f_back


def hits(name: CachedFunction) -> int | None:
    """How often a function has given a value from its cache; None where that cannot be told."""
    function = _function(name)
    return None if function is None else function.cache_info().hits


def notes_of(name: CachedFunction) -> Any:
    """What has noted the reading of a function; None for one that is not watched."""
    return _notes.get(name)


def may_have_read(name: CachedFunction) -> bool:
    """Whether a function may have read files that were not seen, because it had values before it was watched."""
    return name in _filled_before


def _function(name: CachedFunction) -> Any:
    found: Any = sys.modules.get(name[0])
    for attribute in name[1].split('.'):
        found = getattr(found, attribute, None)
    return found if hasattr(found, 'cache_info') and hasattr(found, '__wrapped__') else None
