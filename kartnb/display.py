"""How displayable objects find their renderers without importing the rooms that draw.

A plan or a build result knows that it can be shown, not how. `kartnb.view` registers the renderers when it is imported,
and it is imported the first time that something is shown.
"""

from __future__ import annotations

import importlib
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Literal, TypeAlias

Form: TypeAlias = Literal['text', 'html', 'svg', 'terminal']
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
        'text', 'html' (a fragment), 'svg' (a document) or 'terminal' (text with colours).

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


_drawers: dict[type, Callable[..., Any]] = {}


def register_drawer(kind: type, drawer: Callable[..., Any]) -> None:
    """Let `drawer` plot objects of `kind` (and its subclasses)."""
    _drawers[kind] = drawer


def draw(obj: object, *options: Any) -> Any:
    """Plot an object; what is given shows itself in a notebook.

    Raises
    ------
    LookupError
        When nothing plots this kind of object.
    """
    importlib.import_module('kartnb.view')
    for kind in type(obj).__mro__:
        if kind in _drawers:
            return _drawers[kind](obj, *options)
    raise LookupError(f'nothing plots {type(obj).__name__}')


#: Show something long while it goes on: given what is begun, a context that gives a listener for its events, or None.
#: A notebook puts its own here.
live_views: list[Callable[[object], AbstractContextManager[Callable[[Any], None]] | None]] = []


@contextmanager
def shown_live(begun: object) -> Iterator[Callable[[Any], None] | None]:
    """Show something long as long as the context lasts, where there is somebody to show it to."""
    for view in reversed(live_views):
        context = view(begun)
        if context is not None:
            with context as listener:
                yield listener
            return
    yield None


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
