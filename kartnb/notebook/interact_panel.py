"""The widgets of `kartnb.interact`: controls, state, buttons, result. Only traits are written: any thread may tell."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import ipywidgets

from kartnb.events import TaskState
from kartnb.notebook.controls import Control
from kartnb.notebook.copy_widget import CopyWidget
from kartnb.notebook.explorer import Explorer
from kartnb.view.glance import Glance, status_html

_THERE = (TaskState.CACHED, TaskState.DONE, TaskState.EXTERNAL)


class Panel:
    """What a person sees and moves.

    Parameters
    ----------
    controls
        The controls.
    explorer
        Is told of the buttons.
    key
        Names the stored output that is hidden while this one lives.
    """

    def __init__(self, controls: Sequence[Control], explorer: Explorer, key: str) -> None:
        self._explorer = explorer
        self._lock = threading.RLock()
        self._status = ipywidgets.HTML()
        self._result = ipywidgets.HTML()
        self._run = ipywidgets.Button(description='Run', icon='play', tooltip='Build what is shown as missing')
        self._stop = ipywidgets.Button(description='Stop', icon='stop', tooltip='Stop the build that runs')
        self._auto = ipywidgets.Checkbox(
            value=explorer.auto, description='run by itself', indent=False, tooltip='Build as soon as the controls rest'
        )
        self._keep = ipywidgets.Checkbox(
            value=explorer.keep,
            description='let builds end',
            indent=False,
            tooltip='A build that is no longer wanted goes on, and its result is kept',
        )
        for box in (self._auto, self._keep):
            box.layout.width = 'auto'
            box.layout.margin = '2px 2px 2px 12px'
        self._copy = CopyWidget()
        self._run.on_click(lambda _: explorer.run())
        self._stop.on_click(lambda _: explorer.stop())
        self._auto.observe(self._choose_auto, names='value')
        self._keep.observe(self._choose_keep, names='value')
        buttons = ipywidgets.HBox([self._run, self._stop, self._auto, self._keep])
        hides = ipywidgets.HTML(f'<style>[data-kart="{key}"]{{display:none}}</style>')
        self.widget = ipywidgets.VBox(
            [*(control.widget for control in controls), self._status, buttons, self._result, self._copy, hides]
        )
        # the stored output makes room for outputs with this class
        self.widget.add_class('kartnb-live')
        self.widget.add_class('kartnb-interact')

    def bundle(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """What a front end shows of it, and the metadata of that."""
        bundle: dict[str, Any] = self.widget._repr_mimebundle_()
        return {**bundle, 'text/plain': 'Controls: they need a running kernel. What they stood at is beside them.'}, {}

    def tell(self, glance: Glance) -> None:
        """Show what is seen, the result too."""
        with self._lock:
            self.tell_task(glance)
            if glance.result is not None:
                self._result.value = glance.result._repr_html_()
            elif glance.state not in _THERE:
                self._result.value = ''

    def tell_task(self, glance: Glance) -> None:
        """Show which task it is; the result that is shown stays until the next one is there."""
        with self._lock:
            self._status.value = status_html(glance)
            self._copy.code = glance.code
            running = glance.state is TaskState.RUNNING
            self._run.disabled = running or glance.state in _THERE or not glance.unique_id
            self._stop.disabled = not running

    def _choose_auto(self, change: Any) -> None:
        self._explorer.auto = bool(change['new'])
        self._explorer.look_again()

    def _choose_keep(self, change: Any) -> None:
        self._explorer.keep = bool(change['new'])
