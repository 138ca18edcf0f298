"""How displayable objects find their renderers without importing the rooms that draw.

A plan or a build result knows that it can be shown, not how. `kartnb.view` registers the renderers when it is imported,
and it is imported the first time that something is shown.
"""

from __future__ import annotations

import importlib
import sys
import traceback
from collections.abc import Callable
from typing import Any, Literal, TypeAlias

Form: TypeAlias = Literal['text', 'html', 'svg']
Renderer: TypeAlias = Callable[[Any], str]

_renderers: dict[tuple[type, Form], Renderer] = {}


def register_renderer(kind: type, form: Form, renderer: Renderer) -> None:
    """Let `renderer` draw objects of `kind` (and its subclasses) in `form`."""
    _renderers[kind, form] = renderer


def render(obj: object, form: Form) -> str:
    """Draw an object.

    Parameters
    ----------
    obj
        Something that `kartnb.view` knows, for instance a plan.
    form
        'text', 'html' (a fragment) or 'svg' (a document).

    Raises
    ------
    LookupError
        When nothing draws this kind of object in this form.
    """
    importlib.import_module('kartnb.view')
    for kind in type(obj).__mro__:
        renderer = _renderers.get((kind, form))
        if renderer is not None:
            return renderer(obj)
    raise LookupError(f'nothing draws {type(obj).__name__} as {form}')


def show_live(obj: object) -> None:
    """Let the notebook show an object that has a live view.

    Raises
    ------
    NotImplementedError
        Where there is no front end for it; IPython then takes the other forms of the object.
    """
    if 'IPython' not in sys.modules:
        raise NotImplementedError
    importlib.import_module('kartnb.notebook.live_views').show(obj)


#: Give a file of code the name that a person knows it by, or None; a notebook adds one for its cells.
source_namers: list[Callable[[str], str | None]] = []

#: Draw the traceback of an exception as lines; a notebook puts its own here.
traceback_formatters: list[Callable[[BaseException], list[str]]] = []


def source_name(filename: str) -> str:
    """The name by which a person knows a file of code, for instance the cell that it is."""
    for namer in source_namers:
        name = namer(filename)
        if name is not None:
            return name
    return filename


def format_traceback(error: BaseException) -> list[str]:
    """The traceback of an exception as lines, the way that the front end shows its own."""
    for formatter in reversed(traceback_formatters):
        return formatter(error)
    return ''.join(traceback.format_exception(error)).rstrip('\n').split('\n')
