"""Names of cells, and tracebacks that show the user's own code and nothing of the machinery around it."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from types import TracebackType

from IPython.core.interactiveshell import InteractiveShell

from kartnb.errors import KartError
from kartnb.execution.build_error import is_user_code

#: The file name of the expression of a magic.
EXPRESSION_FILE = '<expression>'


def cell_namer(shell: InteractiveShell) -> Callable[[str], str | None]:
    """Name the file of a cell as the front end does, ``Cell In[3]``."""

    def name(filename: str) -> str | None:
        found = shell.compile.format_code_name(filename)
        return None if found is None else ' '.join(found)

    return name


def traceback_formatter(shell: InteractiveShell) -> Callable[[BaseException], list[str]]:
    """Draw an exception as the shell draws its own; nothing for one of kartnb's that no code of the user's led to.

    What is to be said of such a one is its message, which stands in the error of the build anyway.
    """

    def lines(error: BaseException) -> list[str]:
        trace = own_part(error.__traceback__)
        if isinstance(error, KartError) and not reaches_user_code(trace):
            return []
        shown = trace or error.__traceback__
        drawn: list[str] = shell.InteractiveTB.structured_traceback(type(error), error, shown, tb_offset=0)
        return drawn

    return lines


def show_own_part(error: BaseException, shell: InteractiveShell) -> None:
    """Let the shell show, of an exception that passes a magic, what happened behind the magic and nothing else."""
    if hasattr(error, '_render_traceback_'):
        return
    formatter, message = traceback_formatter(shell), f'{type(error).__name__}: {error}'
    try:
        error._render_traceback_ = lambda: formatter(error) or [message]  # type: ignore[attr-defined]
    except AttributeError:
        pass  # an exception that takes no attributes is shown with all its frames


def own_part(trace: TracebackType | None) -> TracebackType | None:
    """The part of a traceback that begins in the user's code behind the last magic; all of it without a magic."""
    entries = _entries(trace)
    magics = [i for i, entry in enumerate(entries) if _module(entry).startswith('kartnb.notebook')]
    behind = entries[magics[-1] + 1 :] if magics else entries
    users = [entry for entry in behind if _is_users(entry.tb_frame.f_code.co_filename)]
    return users[0] if users else None if magics else trace


def reaches_user_code(trace: TracebackType | None) -> bool:
    """Whether a line of the user's own is on a traceback."""
    return any(_is_users(frame.f_code.co_filename) for frame, _ in traceback.walk_tb(trace))


def _is_users(filename: str) -> bool:
    return filename != EXPRESSION_FILE and is_user_code(filename)


def _entries(trace: TracebackType | None) -> list[TracebackType]:
    found = []
    while trace is not None:
        found.append(trace)
        trace = trace.tb_next
    return found


def _module(entry: TracebackType) -> str:
    return str(entry.tb_frame.f_globals.get('__name__', ''))
