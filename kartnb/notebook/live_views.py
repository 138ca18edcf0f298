"""Objects that have a live view, and where it can be shown."""

from __future__ import annotations

import sys

from kartnb.notebook.faces import can_be_live
from kartnb.notebook.screen import Screen


def show(shown: object) -> None:
    """Show an object live.

    Raises
    ------
    NotImplementedError
        Where that cannot be; IPython then takes the other forms of the object.
    """
    from kartnb.execution.outputs import Outputs

    shell = sys.modules['IPython'].get_ipython()
    if shell is None or not isinstance(shown, Outputs) or not can_be_live(Screen(shell)):
        raise NotImplementedError
    from kartnb.notebook.outputs_widget import show_outputs

    show_outputs(shown, shell)
