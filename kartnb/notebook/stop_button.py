"""A button that stops what goes on behind the cell; when that has ended, nothing of it is left in the notebook."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from IPython.core.interactiveshell import InteractiveShell

from kartnb.notebook.screen import Screen

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
