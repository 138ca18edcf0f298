"""The two kinds of front end: those that show HTML and replace what they have shown, and terminals.

What needs widgets is imported only where `can_be_live` says that there are some.
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
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, TextIO

from IPython.core.displaypub import DisplayPublisher
from IPython.core.interactiveshell import InteractiveShell

from kartnb import display
from kartnb.view.html import Tail, stylesheet, tails_html, tails_text
from kartnb.view.sanitise import columns_of

if TYPE_CHECKING:
    from anywidget import AnyWidget

logger = logging.getLogger('kartnb')

_FOLDER = Path(__file__).parent / 'static'

#: The key is for the live picture that hides this output. Where the notebook is opened again without that picture, the
#: front end would say in the next output that it cannot be loaded; this one needs no such words.
_MARKED = (
    '<div data-kart="{key}"><style>.jp-OutputArea-child:has([data-kart="{key}"])'
    '+.jp-OutputArea-child:has(>.jp-OutputArea-output:not([data-mime-type])):not(:has(.kartnb-live)){{display:none}}'
    '</style>{html}</div>'
)


Phase = Literal['plan', 'running', 'stopping', 'done', 'failed', 'stopped']

#: The environment variable that switches live pictures off, for runs whose outputs are stored.
SWITCH = 'KARTNB_LIVE_GRAPH'


@dataclass(slots=True)
class Wishes:
    """What a person has set with `%config KartMagics`."""

    live: bool = True


wishes = Wishes()


class Face(Protocol):
    """What shows a build beside the stored picture."""

    def push(self) -> None:
        """Show what is new."""

    def end(self, phase: Phase) -> None:
        """Show that the build has ended."""


class Screen:
    """One output of a cell, that can be replaced while the cell runs and after.

    Parameters
    ----------
    shell
        The shell whose cell is running.

    Attributes
    ----------
    key
        Names this output on the page.
    has_live_neighbour
        Whether a live picture comes right below, which hides this output while it lives.
    """

    def __init__(self, shell: InteractiveShell) -> None:
        # kept, because `%%capture` puts another one in its place for a while
        self._publisher: Any = shell.display_pub
        self.key = uuid.uuid4().hex
        self._transient = {'display_id': self.key}
        self._shown = False
        self.has_live_neighbour = False

    @property
    def is_rich(self) -> bool:
        """Whether HTML is shown, and an output can be replaced."""
        return type(self._publisher) is not DisplayPublisher

    def show(self, text: str, html: str) -> None:
        """Show both forms, in the place of what this output showed before; a terminal prints the text."""
        bundle = {'text/plain': text, 'text/html': html}
        if self.is_rich:
            if self.has_live_neighbour:
                bundle['text/html'] = _MARKED.format(key=self.key, html=html)
            self._publisher.publish(bundle, transient=self._transient, update=self._shown)
        else:
            self._publisher.publish(bundle)
        self._shown = True

    def show_bundle(self, bundle: dict[str, Any]) -> None:
        """Show what a front end makes of a bundle, in the place of what this output showed before."""
        self._publisher.publish(bundle, transient=self._transient, update=self._shown)
        self._shown = True

    def show_below(self, bundle: dict[str, Any], metadata: dict[str, Any]) -> None:
        """Show something live in an output of its own, right below this one; nothing where nothing can be live."""
        # exports and code hosts take the HTML in place of a widget that they do not know
        self._publisher.publish({'text/html': '', **bundle}, metadata)

    def show_object(self, shown: object, tails: Sequence[Tail] = ()) -> None:
        """Show what kartnb can draw; as text where drawing fails, since no value may be lost for a picture.

        Parameters
        ----------
        shown
            What is drawn.
        tails
            Last lines of tasks to stand below, where the output is stored.
        """
        text = display.render(shown, 'text')
        if not self.is_rich:
            self.show(text, '')
        elif tails:
            self.show(f'{text}\n\n{tails_text(tails)}', _html(shown, text) + tails_html(tails))
        else:
            self.show(text, _html(shown, text))

    def show_object_under(self, live: AnyWidget, shown: object) -> bool:
        """Show what kartnb can draw, to be stored, and a live form of it that hides it; gives whether that is there."""
        self.has_live_neighbour = True
        self.show_object(shown)
        try:
            bundle = live._repr_mimebundle_()
            assert bundle is not None  # only a widget without a view has none
            self.show_below(*bundle)
        except Exception:
            self.has_live_neighbour = False
            logger.warning('The live form cannot be shown; the stored one stands for it', exc_info=True)
        return self.has_live_neighbour


def _html(shown: object, text: str) -> str:
    try:
        return display.render(shown, 'html')
    except Exception:
        logger.warning('The picture could not be drawn', exc_info=True)
        return f'<pre>{html.escape(text)}</pre>'


class StatusLine:
    """The line of a terminal that is written over; nothing where standard error is no terminal."""

    def __init__(self) -> None:
        self._terminal = _own_terminal()
        self._width = 0

    def write(self, text: str) -> None:
        """Put `text` in the place of the line."""
        if self._terminal is not None:
            columns = columns_of(text)
            self._terminal.write('\r' + text + ' ' * (self._width - columns))
            self._terminal.flush()
            self._width = columns

    def close(self) -> None:
        """Take the line away, and write no other."""
        if self._terminal is not None:
            self._terminal.write('\r' + ' ' * self._width + '\r')
            self._terminal.close()
            self._terminal = None


def _own_terminal() -> TextIO | None:
    """A way to the terminal besides `sys.stderr`: what is written there while a task runs counts as the task's."""
    try:
        if not sys.stderr.isatty():
            return None
        return open(os.dup(sys.stderr.fileno()), 'w', encoding='utf-8', errors='replace', newline='')
    except (OSError, ValueError, AttributeError):
        return None


def can_be_live(screen: Screen) -> bool:
    """Whether live pictures are wanted, and there are a front end and anywidget for them."""
    wanted = wishes.live and os.environ.get(SWITCH, '').lower() not in ('0', 'off', 'false', 'no')
    return wanted and screen.is_rich and importlib.util.find_spec('anywidget') is not None


@cache
def script(*names: str) -> str:
    """One ES module of the shared parts and some files.

    Parameters
    ----------
    names
        Files in `static`, without their ending; the last one has the export.
    """
    return '\n'.join(_read(f'{name}.js') for name in ('parts', *names))


@cache
def style(*names: str) -> str:
    """One style sheet of what all HTML of kartnb has and some files in `static`."""
    return stylesheet() + ''.join(_read(f'{name}.css') for name in names)


def _read(name: str) -> str:
    return (_FOLDER / name).read_text(encoding='utf-8')


#: In a notebook that was saved meanwhile the button is dead: the front end shows nothing instead of an error.
_NOTHING_DEAD = (
    '<style>.jp-OutputArea-child:has(>.jp-OutputArea-output:not([data-mime-type])):not(:has(.kartnb-live))'
    ':has(+.jp-OutputArea-child [data-kart="{key}"]){{display:none}}</style><span data-kart="{key}"></span>'
)


class StopButton:
    """A button in an output of its own.

    Parameters
    ----------
    shell
        The shell whose cell is running.
    what
        What it stops, in a word.
    stop
        Is called when it is pressed; it must not wait.
    """

    def __init__(self, shell: InteractiveShell, what: str, stop: Callable[[], object]) -> None:
        import ipywidgets

        self._screen = Screen(shell)
        self._stop = stop
        self._button = ipywidgets.Button(description='Stop', icon='stop', tooltip=f'Stop the {what}')
        self._button.add_class('kartnb-live')
        self._button.on_click(self._press)
        self.mark = _NOTHING_DEAD.format(key=self._screen.key)
        bundle: dict[str, Any] = self._button._repr_mimebundle_()
        self._screen.show_bundle({**bundle, 'text/plain': 'A button: it needs a running kernel.'})

    def close(self) -> None:
        """Take it away."""
        self._button.close()
        self._screen.show_bundle({'text/plain': '', 'text/html': ''})

    def _press(self, _button: Any) -> None:
        self._button.disabled = True
        self._button.description = 'Stopping …'
        self._stop()
