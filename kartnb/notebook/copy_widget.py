"""A line of code with a button that copies it."""

from __future__ import annotations

from pathlib import Path

import anywidget
import traitlets

from kartnb.view.html import stylesheet


class CopyWidget(anywidget.AnyWidget):
    """A line of code with a button that copies it.

    Attributes
    ----------
    code
        The line.
    """

    _esm = (Path(__file__).parent / 'static' / 'copy.js').read_text(encoding='utf-8')
    _css = stylesheet()

    code = traitlets.Unicode().tag(sync=True)
