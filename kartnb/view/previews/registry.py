"""Which function previews a value: by its type, then by its base classes.

Nothing of a library is imported before a value of that library is there to be shown.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any, TypeAlias

#: Gives what stands for a value: a preview, a text, or any other value that has a preview.
PreviewFunction: TypeAlias = Callable[[Any], Any]

#: The module that knows a library, by the library's top-level package.
_LIBRARIES = {
    'PIL': 'pictures',
    'matplotlib': 'figures',
    'numpy': 'arrays',
    'pandas': 'frames',
    'plotly': 'figures',
    'polars': 'frames',
    'pyarrow': 'frames',
    'scipy': 'arrays',
    'sklearn': 'estimators',
    'xml': 'texts',
}
_own: dict[type, PreviewFunction] = {}
_own_named: dict[str, PreviewFunction] = {}
_builtin: dict[tuple[str, str], PreviewFunction] = {}
_loaded: set[str] = set()


def register_preview(kind: type | str, function: PreviewFunction) -> None:
    """Say how values of a type are previewed.

    Parameters
    ----------
    kind
        The type, whose subclasses are previewed likewise; or its full name, as ``'torch.nn.modules.module.Module'``:
        then its library need not be imported.
    function
        Is given a value and gives what stands for it: a text, a figure, a data frame, a dict, or anything else that has
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
        raise TypeError(f'a preview is a function that takes a value, not {function!r:.80}')
    if isinstance(kind, type):
        _own[kind] = function
    elif isinstance(kind, str) and '.' in kind:
        _own_named[kind] = function
    else:
        raise TypeError(f'a type is needed, or its full name such as "package.module.Class", not {kind!r:.80}')


def unregister_preview(kind: type | str) -> None:
    """Take back what `register_preview` was told of a type; nothing happens where it was told nothing."""
    if isinstance(kind, type):
        _own.pop(kind, None)
    else:
        _own_named.pop(kind, None)


def add(package: str, functions: dict[str, PreviewFunction]) -> None:
    """Register the previews of a library by the names of its classes."""
    _builtin.update({(package, name): function for name, function in functions.items()})


def find(value: object) -> PreviewFunction | None:
    """The function for a value, or None."""
    classes = type(value).__mro__
    for cls in classes:
        function = _own.get(cls) or _own_named.get(f'{cls.__module__}.{cls.__qualname__}')
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
