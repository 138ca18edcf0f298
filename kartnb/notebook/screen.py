"""The two kinds of front end: those that show HTML and replace what they have shown, and terminals."""

from __future__ import annotations

import sys
import uuid
from typing import Any

from IPython.core.displaypub import DisplayPublisher
from IPython.core.interactiveshell import InteractiveShell

from kartnb import display


class Screen:
    """One output of a cell, that can be replaced while the cell runs and after.

    Parameters
    ----------
    shell
        The shell whose cell is running.
    """

    def __init__(self, shell: InteractiveShell) -> None:
        # kept, because `%%capture` puts another one in its place for a while
        self._publisher: Any = shell.display_pub
        self._transient = {'display_id': uuid.uuid4().hex}
        self._shown = False

    @property
    def is_rich(self) -> bool:
        """Whether HTML is shown, and an output can be replaced."""
        return type(self._publisher) is not DisplayPublisher

    def show(self, text: str, html: str) -> None:
        """Show both forms, in the place of what this output showed before; a terminal prints the text."""
        bundle = {'text/plain': text, 'text/html': html}
        if self.is_rich:
            self._publisher.publish(bundle, transient=self._transient, update=self._shown)
        else:
            self._publisher.publish(bundle)
        self._shown = True

    def show_object(self, shown: object) -> None:
        """Show what kartnb can draw."""
        self.show(display.render(shown, 'text'), display.render(shown, 'html') if self.is_rich else '')


class StatusLine:
    """The line of a terminal that is written over; nothing where standard error is no terminal."""

    def __init__(self) -> None:
        self._width = 0

    def write(self, text: str) -> None:
        """Put `text` in the place of the line."""
        if sys.stderr.isatty():
            sys.stderr.write('\r' + text.ljust(self._width))
            sys.stderr.flush()
            self._width = len(text)

    def clear(self) -> None:
        """Take the line away."""
        if self._width:
            self.write(' ' * self._width)
            sys.stderr.write('\r')
            self._width = 0
