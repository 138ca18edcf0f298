"""Exceptions of tasks: as one line, and with a traceback that begins in the user's code."""

from __future__ import annotations

import traceback
from collections.abc import Sequence
from types import TracebackType

from kartnb.errors import KartError


def one_line(error: BaseException) -> str:
    """An exception as one line of at most 300 characters."""
    text = ' '.join(''.join(traceback.format_exception_only(error)).split())
    return text if len(text) <= 300 else f'{text[:299]}…'


def trim_traceback(error: BaseException) -> None:
    """Let an exception's traceback begin in the user's code; for kartnb's own errors let it end there too."""
    frames = list(_chain(error.__traceback__))
    outside = [i for i, entry in enumerate(frames) if not _is_kartnb(entry)]
    if not outside:
        return
    kept = frames[outside[0] :]
    if isinstance(error, KartError):
        kept[outside[-1] - outside[0]].tb_next = None
    error.__traceback__ = kept[0]


def _chain(start: TracebackType | None) -> Sequence[TracebackType]:
    found = []
    while start is not None:
        found.append(start)
        start = start.tb_next
    return found


def _is_kartnb(entry: TracebackType) -> bool:
    return str(entry.tb_frame.f_globals.get('__name__', '')).partition('.')[0] == 'kartnb'
