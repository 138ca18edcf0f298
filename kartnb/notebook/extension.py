"""What `%load_ext kartnb` and `%unload_ext kartnb` call."""

from __future__ import annotations

from IPython.core.interactiveshell import InteractiveShell


def load_ipython_extension(shell: InteractiveShell) -> None:
    """Add the magics of kartnb to a shell, with completion and with tracebacks that show the user's own code."""
    from kartnb.notebook.session import Session

    Session.start(shell)


def unload_ipython_extension(shell: InteractiveShell) -> None:
    """Take back everything that loading has added."""
    from kartnb.notebook.session import Session

    Session.end(shell)
