"""Where things are shown: an output of a cell that can be replaced, the status line of a terminal, a stop button.

There are two kinds of front end: those that show HTML and can replace an output, and terminals. What needs widgets is
imported only where `can_be_live` says that they are there.
"""

from __future__ import annotations

import html
import importlib.util
import logging
import os
import sys
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TextIO

from IPython.core.displaypub import DisplayPublisher
from IPython.core.interactiveshell import InteractiveShell

from kartnb import display
from kartnb.errors import DrawingError
from kartnb.view.html import Tail, tails_html, tails_text
from kartnb.view.sanitise import columns_of, cut

logger = logging.getLogger('kartnb')

#: The key is how a live picture finds this output to hide it. When the notebook is opened again, that picture is gone,
#: and JupyterLab reports an error in its place; the style hides this report, since the stored picture is all there.
_MARKED = (
    '<div data-kart="{key}"><style>.jp-OutputArea-child:has([data-kart="{key}"])'
    '+.jp-OutputArea-child:has(>.jp-OutputArea-output:not([data-mime-type])):not(:has(.kartnb-live)){{display:none}}'
    '</style>{html}</div>'
)


#: The environment variable that switches live pictures off, for runs whose outputs are stored.
SWITCH = 'KARTNB_LIVE_GRAPH'


@dataclass(slots=True)
class Settings:
    """What a person has set with `%config KartMagics`."""

    live: bool = True


settings = Settings()


class Screen:
    """One output of a cell, which can be replaced while the cell runs and after; `key` names it on the page.

    With `has_live_neighbour`, a live picture is right below, which hides this output while it lives.
    """

    def __init__(self, shell: InteractiveShell) -> None:
        # kept, because `%%capture` replaces the publisher of the shell for a while
        self._publisher: Any = shell.display_pub
        self.key = uuid.uuid4().hex
        self._transient = {'display_id': self.key}
        self._shown = False
        self.has_live_neighbour = False

    @property
    def is_rich(self) -> bool:
        """Whether HTML is shown, and an output can be replaced."""
        # a terminal has the base class, which prints; kernels and `%%capture` have subclasses
        return type(self._publisher) is not DisplayPublisher

    def show(self, text: str, html: str) -> None:
        """Show both forms, replacing what this output showed before; a terminal prints the text."""
        bundle = {'text/plain': text, 'text/html': html}
        if self.is_rich:
            if self.has_live_neighbour:
                bundle['text/html'] = _MARKED.format(key=self.key, html=html)
            self._publisher.publish(bundle, transient=self._transient, update=self._shown)
        else:
            self._publisher.publish(bundle)
        self._shown = True

    def show_bundle(self, bundle: dict[str, Any]) -> None:
        """Show a MIME bundle, replacing what this output showed before."""
        self._publisher.publish(bundle, transient=self._transient, update=self._shown)
        self._shown = True

    def show_object(self, shown: object, tails: Sequence[Tail] = ()) -> None:
        """Show an object that kartnb can draw; as text where drawing fails, since no value may be lost for a picture.

        The tails, the last lines of tasks, are shown below it where the output is stored.
        """
        text = display.render(shown, 'text')
        if not self.is_rich:
            self.show(text, '')
        elif tails:
            self.show(f'{text}\n\n{tails_text(tails)}', _html(shown, text) + tails_html(tails))
        else:
            self.show(text, _html(shown, text))

    def show_with_live(self, shown: object, live: Any) -> bool:
        """Show an object, to be stored, and a live form that hides it; gives whether the live form is shown."""
        self.has_live_neighbour = True
        self.show_object(shown)
        return self.show_below(live)

    def show_below(self, live: Any, text: str = '') -> bool:
        """Show a widget, or `text`, in an output of its own right below this one; gives whether that worked."""
        try:
            bundle = live._repr_mimebundle_()
            bundle, metadata = bundle if isinstance(bundle, tuple) else (bundle, {})
            # exports and sites that host code show the HTML instead of a widget that they do not know
            self._publisher.publish({'text/html': '', **bundle, **({'text/plain': text} if text else {})}, metadata)
        except Exception:
            self.has_live_neighbour = False
            logger.warning('The live view is not available; the stored one is shown instead', exc_info=True)
        return self.has_live_neighbour


def _html(shown: object, text: str) -> str:
    try:
        return display.render(shown, 'html')
    except DrawingError:  # a warning has said why
        return f'<pre>{html.escape(text)}</pre>'
    except Exception:
        logger.warning('Drawing failed; the text is shown instead', exc_info=True)
        return f'<pre>{html.escape(text)}</pre>'


class StatusLine:
    """The line at the bottom of a terminal that is overwritten; nothing where standard error is not a terminal."""

    def __init__(self) -> None:
        self._terminal = _own_terminal()
        self._width = 0

    def write(self, text: str) -> None:
        """Overwrite the line with `text`, or with what fits on it: nothing takes back a line that has wrapped."""
        if self._terminal is not None:
            room = _columns_of_terminal(self._terminal)
            while room > 1 and columns_of(text) >= room:
                text = cut(text, len(text) - 1)
            columns = columns_of(text)
            self._terminal.write('\r' + text + ' ' * (self._width - columns))
            self._terminal.flush()
            self._width = columns

    def close(self) -> None:
        """Clear the line, for good."""
        if self._terminal is not None:
            self._terminal.write('\r' + ' ' * self._width + '\r')
            self._terminal.close()
            self._terminal = None


def _own_terminal() -> TextIO | None:
    """The terminal, opened again: what is written to `sys.stderr` while a task runs is captured as the task's."""
    try:
        if not sys.stderr.isatty():
            return None
        return open(os.dup(sys.stderr.fileno()), 'w', encoding='utf-8', errors='replace', newline='')
    except (OSError, ValueError, AttributeError):
        return None


def _columns_of_terminal(terminal: TextIO) -> int:
    """How many columns it has; 0 where it does not say."""
    try:
        return os.get_terminal_size(terminal.fileno()).columns
    except OSError:
        return 0


def can_be_live(screen: Screen) -> bool:
    """Whether live pictures are switched on, and the front end and anywidget are there for them."""
    wanted = settings.live and os.environ.get(SWITCH, '').lower() not in ('0', 'off', 'false', 'no')
    return wanted and screen.is_rich and importlib.util.find_spec('anywidget') is not None


#: In a notebook that was saved while the button was there, it cannot be loaded: the style hides the error.
_HIDES_DEAD_BUTTON = (
    '<style>.jp-OutputArea-child:has(>.jp-OutputArea-output:not([data-mime-type])):not(:has(.kartnb-live))'
    ':has(+.jp-OutputArea-child [data-kart="{key}"]){{display:none}}</style><span data-kart="{key}"></span>'
)


class StopButton:
    """A stop button in an output of its own; `what` says in a word what it stops.

    `stop` must not wait, because it runs on the thread that answers the front end. `mark` is HTML for a neighbouring
    output, which hides the button where it cannot be loaded any more.
    """

    def __init__(self, shell: InteractiveShell, what: str, stop: Callable[[], object]) -> None:
        import ipywidgets

        self._screen = Screen(shell)
        self._stop = stop
        self._button = ipywidgets.Button(description='Stop', icon='stop', tooltip=f'Stop the {what}')
        self._button.add_class('kartnb-live')
        self._button.on_click(self._press)
        self.mark = _HIDES_DEAD_BUTTON.format(key=self._screen.key)
        bundle: dict[str, Any] = self._button._repr_mimebundle_()
        self._screen.show_bundle({**bundle, 'text/plain': 'A stop button: it needs a running kernel.'})

    def close(self) -> None:
        """Remove it."""
        self._button.close()
        self._screen.show_bundle({'text/plain': '', 'text/html': ''})

    def _press(self, _button: Any) -> None:
        self._button.disabled = True
        self._button.description = 'Stopping …'
        self._stop()
