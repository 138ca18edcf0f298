"""Tracebacks that show the user's own code, without the frames of kartnb, luigi and IPython around it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType

from IPython.core.interactiveshell import InteractiveShell
from luigi.parameter import ParameterException

from kartnb.errors import KartError, described
from kartnb.execution.report import entries_of, is_kartnbs, is_user_code, module_of

#: The file name of the expression of a magic.
EXPRESSION_FILE = '<expression>'
#: Exceptions whose message says everything: where in kartnb they were raised helps nobody.
_CLEAR = (KartError, ParameterException, KeyboardInterrupt)


def traceback_lines(error: BaseException, shell: InteractiveShell) -> list[str]:
    """Format an exception as the shell does; nothing for an error of kartnb's that the user's code did not lead to.

    The message of such an error is in the error of the build anyway.
    """
    if isinstance(error, _CLEAR) and not _has_user_code(own_part(error.__traceback__)):
        return []
    with _bared(error):
        draw = shell.InteractiveTB.structured_traceback
        lines: list[str] = draw(type(error), error, error.__traceback__, tb_offset=0)
        return lines


def show_own_part(error: BaseException, shell: InteractiveShell) -> None:
    """Let the shell show, of an exception that a magic raises, only what happened below the magic."""
    if hasattr(error, '_render_traceback_'):
        return
    try:
        error._render_traceback_ = lambda: own_lines(error, shell)  # type: ignore[attr-defined]
    except AttributeError:
        pass  # an exception with __slots__ is shown with all its frames


def own_lines(error: BaseException, shell: InteractiveShell) -> list[str]:
    """How an exception is shown: the traceback of the user's own code, or one line where there is none."""
    return traceback_lines(error, shell) or [described(error)]


def own_part(trace: TracebackType | None) -> TracebackType | None:
    """The part of a traceback from the user's code below the last magic on; None where there is none."""
    entries = entries_of(trace)
    magics = [i for i, entry in enumerate(entries) if module_of(entry).startswith('kartnb.notebook')]
    return next((entry for entry in entries[magics[-1] + 1 if magics else 0 :] if _is_users(entry)), None)


@contextmanager
def _bared(error: BaseException) -> Iterator[None]:
    """While it is formatted, an exception has only the frames and the causes that help a user."""
    chain = _chain(error)
    kept = [(e, e.__traceback__, e.__cause__, e.__context__, e.__suppress_context__) for e in chain]
    try:
        for e in chain:
            e.__traceback__ = _shown_frames(e)
            if isinstance(e, _CLEAR) and not any(_has_user_code(other.__traceback__) for other in _chain(e)[1:]):
                e.__cause__ = e.__context__ = None
        yield
    finally:  # %debug, and whoever raises it again, need all of it
        for e, trace, cause, context, suppressed in kept:
            e.__traceback__, e.__cause__, e.__context__ = trace, cause, context
            e.__suppress_context__ = suppressed


def _shown_frames(error: BaseException) -> TracebackType | None:
    entries = entries_of(own_part(error.__traceback__))
    users = [i for i, entry in enumerate(entries) if _is_users(entry)]
    if not users:
        return error.__traceback__
    if isinstance(error, _CLEAR):
        entries = entries[: users[-1] + 1]
    if not is_kartnbs(entries[-1]):  # else it is a bug in kartnb, and every frame helps
        entries = [entry for entry in entries if not is_kartnbs(entry)]
    return _linked(entries)


def _linked(entries: list[TracebackType]) -> TracebackType | None:
    following = None
    for entry in reversed(entries):
        following = TracebackType(following, entry.tb_frame, entry.tb_lasti, entry.tb_lineno)
    return following


def _chain(error: BaseException) -> list[BaseException]:
    """An exception and those that are shown before it."""
    found: list[BaseException] = []
    following: BaseException | None = error
    while following is not None and not any(following is other for other in found):
        found.append(following)
        following = following.__cause__ or (None if following.__suppress_context__ else following.__context__)
    return found


def _has_user_code(trace: TracebackType | None) -> bool:
    return any(_is_users(entry) for entry in entries_of(trace))


def _is_users(entry: TracebackType) -> bool:
    filename = entry.tb_frame.f_code.co_filename
    return filename != EXPRESSION_FILE and is_user_code(filename)
