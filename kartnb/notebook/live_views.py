"""Objects that have a live view, and where it can be shown."""

from __future__ import annotations

import sys
import weakref

from IPython.core.interactiveshell import InteractiveShell

from kartnb.execution.background import BackgroundBuild
from kartnb.execution.handle import Handle
from kartnb.execution.logs import Logs
from kartnb.execution.outputs import Outputs
from kartnb.execution.sweeps.background import BackgroundSweep
from kartnb.notebook.faces import can_be_live
from kartnb.notebook.graph import Graph
from kartnb.notebook.screen import Screen
from kartnb.notebook.shown import show_background, show_plan

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
    _show_live(shown, shell)


def _show_live(shown: object, shell: InteractiveShell) -> None:
    if isinstance(shown, Outputs):
        from kartnb.notebook.outputs_widget import show_outputs

        show_outputs(shown, shell)
    elif isinstance(shown, Logs):
        from kartnb.notebook.logs_widget import show_logs

        show_logs(shown, shell)
    elif isinstance(shown, BackgroundSweep):
        from kartnb.notebook.sweep_screen import show_background_sweep

        show_background_sweep(shown, shell)
    elif isinstance(shown, BackgroundBuild):
        show_background(shown, shell)
    elif isinstance(shown, Graph):
        show_plan(shown, shell)
    else:
        raise NotImplementedError
