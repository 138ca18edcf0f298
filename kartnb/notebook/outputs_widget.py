"""The live table of outputs: sorted, filtered and copied in the front end, previewed by the kernel."""

from __future__ import annotations

import json
from typing import Any

import anywidget
import traitlets
from IPython.core.interactiveshell import InteractiveShell

from kartnb.execution.outputs import Outputs
from kartnb.notebook.screen import Screen, script, style
from kartnb.view.outputs import heading, row_dicts
from kartnb.view.previews.show import preview_html, preview_target

#: Rows that are sent to the front end.
MOST_ROWS = 2_000


class OutputsWidget(anywidget.AnyWidget):
    """What a front end knows of a table of outputs.

    Attributes
    ----------
    key
        Names the stored table that the front end hides while this one lives.
    table
        JSON text: the heading, the rows, and how many rows there are besides.
    """

    _esm = script('outputs')
    _css = style('graph', 'outputs')

    key = traitlets.Unicode().tag(sync=True)
    table = traitlets.Unicode('{}').tag(sync=True)

    def __repr__(self) -> str:
        return 'A live table: it needs a running kernel. The table stands beside it.'


class LiveOutputs:
    """A table that answers: it loads and previews a result when that is asked for.

    Parameters
    ----------
    outputs
        The outputs.
    key
        Names the stored table that it takes the place of.
    """

    def __init__(self, outputs: Outputs, key: str) -> None:
        self._outputs = outputs[:MOST_ROWS]
        told = {
            'heading': heading(outputs),
            'rows': row_dicts(self._outputs),
            'omitted': max(len(outputs) - MOST_ROWS, 0),
        }
        self.widget = OutputsWidget(key=key, table=json.dumps(told))
        self.widget.on_msg(self._answer)

    def _answer(self, _widget: Any, message: Any, _buffers: Any) -> None:
        if not isinstance(message, dict) or message.get('kind') != 'preview':
            return
        index = message.get('index')
        if isinstance(index, int) and 0 <= index < len(self._outputs):
            html = preview_html(preview_target(self._outputs[index].target))
            self.widget.send({'kind': 'preview', 'index': index, 'html': html})


def show_outputs(outputs: Outputs, shell: InteractiveShell) -> None:
    """Show outputs as a stored table, and a live one below it."""
    screen = Screen(shell)
    screen.show_object_under(LiveOutputs(outputs, screen.key).widget, outputs)
