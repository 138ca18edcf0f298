"""What a preview is: a title and blocks, which functions make them by the type of a value, and values on one line.

Text and HTML are drawn from the same blocks, so they say the same. Nothing of a library is imported before a value of
that library is there to be shown.
"""

from __future__ import annotations

import importlib
import reprlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, TypeAlias

from kartnb import display
from kartnb.view import sanitise
from kartnb.view.sanitise import more, one_line

#: Turns a value into what is shown for it: a preview, a text, or any other value that has a preview.
PreviewFunction: TypeAlias = Callable[[Any], Any]

#: The module that knows a library, by the library's top-level package.
_LIBRARIES = {
    'PIL': 'pictures',
    'matplotlib': 'pictures',
    'numpy': 'tables',
    'pandas': 'tables',
    'plotly': 'pictures',
    'polars': 'tables',
    'pyarrow': 'tables',
    'scipy': 'tables',
    'sklearn': 'plain',
    'xml': 'plain',
}
_functions: dict[type, PreviewFunction] = {}
_functions_by_name: dict[str, PreviewFunction] = {}
_builtin: dict[tuple[str, str], PreviewFunction] = {}
_loaded: set[str] = set()

LONGEST = 80
_MOST_LINES = 60
_MOST_CHARACTERS = 8_000


@dataclass(frozen=True, slots=True)
class Facts:
    """Names and values, one pair a line."""

    pairs: Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table: its name, its type, and whether it holds numbers."""

    name: str
    type: str = ''
    numeric: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of texts; `note` says what is left out."""

    columns: Sequence[Column]
    rows: Sequence[Sequence[str]]
    note: str = ''


@dataclass(frozen=True, slots=True)
class Text:
    """Text as it is, with line breaks; `note` says what is left out."""

    text: str
    note: str = ''


@dataclass(frozen=True, slots=True)
class Branch:
    """One entry of a tree: a name, what it is, and what is in it."""

    name: str
    text: str
    children: Sequence[Branch] = ()


@dataclass(frozen=True, slots=True)
class Tree:
    """Nested entries; `note` says what is left out."""

    branches: Sequence[Branch]
    note: str = ''


@dataclass(frozen=True, slots=True)
class Image:
    """A picture that carries its data, and what it shows in words."""

    mime: str
    data: bytes = field(repr=False)
    description: str
    pixelated: bool = False


@dataclass(frozen=True, slots=True)
class Foreign:
    """HTML that an object draws of itself: shown where it can run nothing and load nothing, with a text beside it."""

    html: str = field(repr=False)
    text: str


@dataclass(frozen=True, slots=True)
class Note:
    """A sentence, for instance why there is nothing to be seen."""

    text: str


Block: TypeAlias = Facts | Table | Text | Tree | Image | Foreign | Note


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
        return display.render(self, 'text')

    def _repr_html_(self) -> str:
        return display.render(self, 'html')

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        return {'text/plain': repr(self), 'text/html': self._repr_html_()}


def register_preview(kind: type | str, function: PreviewFunction) -> None:
    """Say how values of a type are previewed.

    Parameters
    ----------
    kind
        The type, whose subclasses are previewed likewise; or its full name, as ``'torch.nn.modules.module.Module'``:
        then its library need not be imported.
    function
        Takes a value and returns what to show for it: a text, a figure, a data frame, a dict, or anything else that has
        a preview.

    Raises
    ------
    TypeError
        When `kind` is neither a type nor a name, or `function` cannot be called.

    Examples
    --------
    >>> import kartnb
    >>> class Temperature:
    ...     def __init__(self, celsius):
    ...         self.celsius = celsius
    >>> kartnb.register_preview(Temperature, lambda value: f'{value.celsius} °C')
    >>> print(kartnb.preview(Temperature(21)).blocks[0].text)
    21 °C
    """
    if not callable(function):
        raise TypeError(f'a preview must be a function that takes a value, not {function!r:.80}')
    if isinstance(kind, type):
        _functions[kind] = function
    elif isinstance(kind, str) and '.' in kind:
        _functions_by_name[kind] = function
    else:
        raise TypeError(f'expected a type, or its full name such as "package.module.Class", not {kind!r:.80}')


def unregister_preview(kind: type | str) -> None:
    """Undo `register_preview` for a type; for a type that was not registered, do nothing."""
    if isinstance(kind, type):
        _functions.pop(kind, None)
    else:
        _functions_by_name.pop(kind, None)


def add_previews(package: str, functions: dict[str, PreviewFunction]) -> None:
    """Register the previews of a library by the names of its classes."""
    _builtin.update({(package, name): function for name, function in functions.items()})


def find_preview(value: object) -> PreviewFunction | None:
    """The function for a value, or None."""
    classes = type(value).__mro__
    # what the user has registered goes first, even where it is for a base class
    for cls in classes:
        function = _functions.get(cls) or _functions_by_name.get(f'{cls.__module__}.{cls.__qualname__}')
        if function is not None:
            return function
    for cls in classes:
        package = str(cls.__module__).partition('.')[0]
        _load(package)
        function = _builtin.get((package, cls.__name__))
        if function is not None:
            return function
    return None


def _load(package: str) -> None:
    if package in _LIBRARIES and package not in _loaded:
        importlib.import_module(f'kartnb.view.previews.{_LIBRARIES[package]}')
        _loaded.add(package)


class _Short(reprlib.Repr):
    """`repr` of nested containers that looks at a few items only."""

    def __init__(self) -> None:
        super().__init__()
        self.maxlevel = 3
        self.maxlist = self.maxtuple = self.maxset = self.maxfrozenset = self.maxdeque = self.maxarray = 6
        self.maxdict = 5
        self.maxstring = self.maxother = LONGEST
        self.maxlong = 60

    def repr_dict(self, x: Any, level: int) -> str:
        """A dict in its own order: sorting would look at all of it."""
        if level <= 0:
            return '{…}'
        shown = [
            f'{self.repr1(key, level - 1)}: {self.repr1(item, level - 1)}'
            for key, item in islice(x.items(), self.maxdict)
        ]
        return '{' + ', '.join([*shown, *(['…'] if len(x) > self.maxdict else [])]) + '}'

    def repr_instance(self, x: Any, level: int) -> str:
        """What a class says of its own objects; a numpy array by its shape, since it would be drawn in full lines."""
        shape = shape_of(x)
        return f'<{shape}>' if shape else super().repr_instance(x, level)


_short = _Short()


def short(value: Any, limit: int = LONGEST) -> str:
    """A value on one line, as in a cell of a table.

    >>> short(0.1 + 0.2), short('text'), short({'a': list(range(1000))})
    ('0.3', 'text', "{'a': [0, 1, 2, 3, 4, 5, ...]}")
    """
    if isinstance(value, str):
        return one_line(value, limit)
    if isinstance(value, float):
        return f'{value:.6g}'
    try:
        if type(value).__module__ == 'numpy' and getattr(value, 'shape', None) == ():
            return (
                short(value.item(), limit) if not hasattr(value, 'dtype') or value.dtype.kind in 'biufU' else str(value)
            )
        if hasattr(value, 'isoformat'):
            return one_line(str(value), limit)
        return one_line(shape_of(value) or _short.repr(value), limit)
    except Exception:  # a class may draw its objects badly, and the others are still to be seen
        return f'<{type_name(value)}>'


def shape_of(value: Any) -> str:
    """An array or table in a few words: its type, its shape, and the type of what it holds; '' for anything else."""
    shape = getattr(value, 'shape', None)
    if not isinstance(shape, tuple) or not shape or not all(isinstance(size, int) for size in shape):
        return ''
    dtype = getattr(value, 'dtype', None)
    return f'{type(value).__name__} {" × ".join(f"{size:,}" for size in shape)}' + (
        f' {dtype}' if dtype is not None else ''
    )


def type_name(value: Any) -> str:
    """The type of a value with its module, without that of builtins."""
    cls = type(value)
    name = getattr(cls, '__qualname__', str(cls))
    return one_line(name if cls.__module__ in ('builtins', '__main__') else f'{cls.__module__}.{name}', 160)


def text_block(text: str) -> Text:
    """A text, or its beginning."""
    shown = sanitise.several_lines(text, _MOST_CHARACTERS, _MOST_LINES)
    return Text(shown, more(len(text) - _MOST_CHARACTERS, 'character'))
