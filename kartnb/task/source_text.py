"""The source text of a task class, also of one that was defined in a notebook."""

from __future__ import annotations

import ast
import inspect
import linecache
from dataclasses import dataclass
from functools import lru_cache
from types import FunctionType

import luigi

from kartnb._luigi import declared_default
from kartnb.task.secrets import is_secret, masked


@dataclass(frozen=True, slots=True)
class SourceText:
    """The text of a class, the file (or cell) where it stands, and the number of its first line."""

    text: str
    file: str
    line: int


def class_source(cls: type) -> SourceText | None:
    """The source of a class as it was when it was defined, or None where it is not to be had.

    Defaults of parameters that are not public are left out of it.

    Examples
    --------
    >>> import luigi
    >>> class_source(luigi.ExternalTask).text.splitlines()[0]
    'class ExternalTask(Task):'
    """
    found = _found_source(cls)
    return found and SourceText(_without_secrets(cls, found.text), found.file, found.line)


def _found_source(cls: type) -> SourceText | None:
    # Python cannot tell where a class of a notebook stands, but it can for a method
    for method in vars(cls).values():
        function = inspect.unwrap(getattr(method, '__func__', None) or getattr(method, 'fget', None) or method)
        if isinstance(function, FunctionType) and function.__module__ == cls.__module__:
            code = function.__code__
            found = _around(code.co_filename, code.co_firstlineno, cls.__name__)
            if found is not None:
                return found
    try:
        lines, line = inspect.getsourcelines(cls)
    except (OSError, TypeError):
        return None
    return SourceText(''.join(lines), inspect.getsourcefile(cls) or '', line)


def _without_secrets(cls: type, text: str) -> str:
    parameters = cls.get_params() if isinstance(cls, type) and issubclass(cls, luigi.Task) else []
    defaults = [declared_default(parameter) for _, parameter in parameters if is_secret(parameter)]
    return masked(text, [default for default in defaults if isinstance(default, str)])


def _around(file: str, line: int, name: str) -> SourceText | None:
    lines = linecache.getlines(file)
    around = [
        (first, last) for first, last in _classes(''.join(lines)).get(name, ()) if first <= line <= last <= len(lines)
    ]
    if not around:
        return None
    first, last = around[-1]
    return SourceText(inspect.cleandoc('\n' + ''.join(lines[first - 1 : last])), file, first)


@lru_cache(maxsize=32)
def _classes(text: str) -> dict[str, list[tuple[int, int]]]:
    """The first and the last line of each class statement, with its decorators, by name."""
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError):
        return {}
    found: dict[str, list[tuple[int, int]]] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
            found.setdefault(node.name, []).append((first, node.end_lineno or node.lineno))
    return found
