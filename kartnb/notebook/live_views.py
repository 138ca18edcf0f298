"""Objects that have a live view, and where it can be shown."""

from __future__ import annotations

import sys
import weakref

from IPython.core.interactiveshell import InteractiveShell

from kartnb import display
from kartnb.execution.handle import Handle
from kartnb.notebook.screen import Screen, can_be_live

#: The number of the cell that shows a build or a sweep already: as its value, it is one line there.
_shown_in: weakref.WeakKeyDictionary[Handle, int] = weakref.WeakKeyDictionary()


def note_shown(build: Handle, shell: InteractiveShell) -> None:
    """Take note that the cell which is running shows a build or a sweep."""
    _shown_in[build] = shell.execution_count


def show(shown: object) -> None:
    """Show an object live.

    Raises
    ------
    NotImplementedError
        Where that cannot be; IPython then takes the other forms of the object.
    """
    shell = sys.modules['IPython'].get_ipython()
    if shell is None:
        raise NotImplementedError
    if isinstance(shown, Handle) and _shown_in.get(shown) == shell.execution_count:
        print(repr(shown))  # noqa: T201 - it is the value of the cell
        return
    if not can_be_live(Screen(shell)):
        raise NotImplementedError
    try:
        show_in = display.renderer_of(type(shown), 'live')
    except LookupError:
        raise NotImplementedError from None
    show_in(shown, shell)
