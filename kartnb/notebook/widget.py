"""The live picture of a plan as a widget: one script, one style sheet, and what they are told.

Whatever goes to the front end is text or numbers; the script asks back by messages, never by setting a trait.
"""

from __future__ import annotations

from typing import Any

import anywidget
import traitlets

from kartnb.notebook.screen import script, style
from kartnb.view.scene import live_stylesheet

_PARTS = ('head', 'known', 'frame', 'table', 'header', 'picture', 'moving', 'finding', 'inspector', 'log', 'talk')


class GraphWidget(anywidget.AnyWidget):
    """What a front end knows of one plan.

    Attributes
    ----------
    key
        Names the stored picture that the front end hides while this one lives.
    looks
        How each state is shown.
    scene, tasks, record, details
        JSON texts: boxes and arrows, all tasks, what the tasks did so far, and what the files of those drawn tell.
    states
        One letter a task.
    progress
        How far the build is: words, counts and the segments of the bar.
    status
        The phase of the build and its times.
    """

    _esm = script(*(f'graph/{part}' for part in _PARTS))
    _css = style('graph') + live_stylesheet()

    key = traitlets.Unicode().tag(sync=True)
    looks: traitlets.List[Any] = traitlets.List().tag(sync=True)
    scene = traitlets.Unicode('{}').tag(sync=True)
    tasks = traitlets.Unicode('{}').tag(sync=True)
    record = traitlets.Unicode('{}').tag(sync=True)
    details = traitlets.Unicode('{}').tag(sync=True)
    states = traitlets.Unicode().tag(sync=True)
    progress = traitlets.Dict().tag(sync=True)
    status = traitlets.Dict().tag(sync=True)

    def bundle(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """What a front end shows of it, and the metadata of that."""
        bundle = self._repr_mimebundle_()
        assert bundle is not None  # only a widget without a view has none
        return bundle

    def __repr__(self) -> str:
        return 'A live graph: it needs a running kernel. The picture stands beside it.'
