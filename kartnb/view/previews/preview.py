"""`kartnb.preview`: a value as it can be looked at, whatever its type and size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import luigi

from kartnb.execution.outputs import Output
from kartnb.storage.targets import TargetOnKart
from kartnb.view.clean import error_text, one_line
from kartnb.view.previews import registry
from kartnb.view.previews.blocks import Block, Note, Text
from kartnb.view.previews.values import type_name

_DEEPEST = 5


@dataclass(frozen=True, slots=True)
class Preview:
    """A value as it can be looked at; evaluate it in a notebook, or print it.

    Attributes
    ----------
    title
        The type of the value and its size.
    blocks
        What is shown of it.
    """

    title: str
    blocks: Sequence[Block]

    def __repr__(self) -> str:
        from kartnb.view.previews.text import preview_text

        return preview_text(self)

    def _repr_html_(self) -> str:
        from kartnb.view.previews.html import preview_html

        return preview_html(self)

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        return {'text/plain': repr(self), 'text/html': self._repr_html_()}


def preview(value: Any) -> Preview:
    """Show a value: tables, arrays, texts, images, figures, estimators, nested containers, and what can draw itself.

    Of a large value a part is shown, and how much there is. What it holds is shown as text and never interpreted.

    Parameters
    ----------
    value
        Any value. For a task, a target or one of `kartnb.outputs`, the result is loaded and shown, or why it cannot be.

    Returns
    -------
    Preview
        Evaluate it in a notebook to see it, or print it.

    Examples
    --------
    >>> import kartnb
    >>> kartnb.preview({'accuracy': 0.93, 'labels': ['cat', 'dog']})
    dict of 2 entries
    accuracy: 0.93
    labels: list of 2 items
      0: cat
      1: dog
    """
    if isinstance(value, Preview):
        return value
    if isinstance(value, luigi.Task):
        from kartnb.view.previews.results import preview_result

        return preview_result(value)
    if isinstance(value, Output | TargetOnKart):
        from kartnb.view.previews.results import preview_target

        return preview_target(value.target if isinstance(value, Output) else value)
    return _preview(value, 0)


def _preview(value: Any, depth: int) -> Preview:
    function = registry.find(value)
    if function is None:
        from kartnb.view.previews.plain import preview_plain

        function = preview_plain
    try:
        found = function(value)
        return _as_preview(found, value, depth)
    except Exception as error:  # nothing that a value does may keep the others from being seen
        return Preview(type_name(value), (Note(f'It cannot be shown: {one_line(error_text(error), 300)}'),))


def _as_preview(found: Any, value: Any, depth: int) -> Preview:
    if isinstance(found, Preview):
        return found
    if isinstance(found, str):
        from kartnb.view.previews.texts import text_block

        return Preview(type_name(value), (text_block(found),))
    if depth == _DEEPEST or found is value:
        return Preview(type_name(value), (Text(object.__repr__(value)),))
    return Preview(type_name(value), _preview(found, depth + 1).blocks)
