"""Exceptions of tasks: as one line, and with a traceback that begins in the user's code."""

from __future__ import annotations

import traceback
from types import TracebackType

from kartnb.errors import KartError


def error_line(error: BaseException) -> str:
    """An exception as one line of at most 300 characters."""
    text = ' '.join(''.join(traceback.format_exception_only(error)).split())
    return text if len(text) <= 300 else f'{text[:299]}…'


def trim_traceback(error: BaseException) -> None:
    """Let an exception's traceback begin in the user's code; for kartnb's own errors let it end there too."""
    frames = entries_of(error.__traceback__)
    outside = [i for i, entry in enumerate(frames) if not is_kartnbs(entry)]
    if not outside:
        return
    kept = frames[outside[0] :]
    if isinstance(error, KartError):
        kept[outside[-1] - outside[0]].tb_next = None
    error.__traceback__ = kept[0]


def entries_of(trace: TracebackType | None) -> list[TracebackType]:
    """The entries of a traceback, outermost first."""
    found = []
    while trace is not None:
        found.append(trace)
        trace = trace.tb_next
    return found


def module_of(entry: TracebackType) -> str:
    """The module whose code an entry of a traceback is in."""
    return str(entry.tb_frame.f_globals.get('__name__', ''))


def is_kartnbs(entry: TracebackType) -> bool:
    """Whether an entry of a traceback is in kartnb's own code."""
    return module_of(entry).partition('.')[0] == 'kartnb'
