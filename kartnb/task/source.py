"""The source of classes and functions as they run: looked up by code object, and compared with it.

A file may have been edited after it was imported, and a tool may have rewritten what it holds. So the text is compiled
again, and believed only where that gives the code that runs.
"""

from __future__ import annotations

import ast
import functools
import inspect
import linecache
import textwrap
import warnings
import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from types import CodeType, FunctionType
from typing import Any, TypeAlias, TypeVar

import luigi

from kartnb._luigi import declared_default
from kartnb.task.secrets import Masker, is_secret


@dataclass(frozen=True, slots=True)
class SourceText:
    """The text of a class, its file (or cell), and the number of its first line."""

    text: str
    file: str
    line: int


def class_source(cls: type) -> SourceText | None:
    """The source of a class as it was when it was defined, or None where it is not available.

    Defaults of parameters that are not public are masked.

    >>> import luigi
    >>> class_source(luigi.ExternalTask).text.splitlines()[0]
    'class ExternalTask(Task):'
    """
    found = _found_source(cls)
    return found and SourceText(_without_secrets(cls, found.text), found.file, found.line)


def _found_source(cls: type) -> SourceText | None:
    # Python cannot find a class of a notebook in its cell, but it can find a method
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
    return Masker.of_values(defaults)(text)


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


_FunctionNode: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
_MOST_FILES = 200
_files: dict[str, tuple[str, _File]] = {}
T = TypeVar('T')


def once_per_code(function: Callable[[CodeType], T]) -> Callable[[CodeType], T]:
    """Let a function be called once for each code object, for as long as that lives; equal ones are kept apart."""
    known: dict[int, tuple[weakref.ref[CodeType], T]] = {}

    def forget(key: int, gone: weakref.ref[CodeType]) -> None:
        entry = known.get(key)
        if entry is not None and entry[0] is gone:
            del known[key]

    @functools.wraps(function)
    def look_up(code: CodeType) -> T:
        key = id(code)
        entry = known.get(key)
        if entry is not None and entry[0]() is code:
            return entry[1]
        found = function(code)
        known[key] = (weakref.ref(code, functools.partial(forget, key)), found)
        return found

    return look_up


@dataclass(frozen=True, slots=True)
class FunctionSource:
    """What is known of the source of a function."""

    #: Decorators included, and not indented; '' where it is not available.
    text: str
    node: _FunctionNode | None
    #: Why the source is not available, or ''. It is a part of code prints: another wording makes results stale.
    problem: str = ''
    #: Whether the code that runs differs from the text that was found: then only the code itself can be compared.
    rewritten: bool = False


@once_per_code
def function_source(code: CodeType) -> FunctionSource:
    """The source of a function.

    >>> function_source(textwrap.dedent.__code__).text.startswith('def dedent(text)')
    True
    >>> exec('def hidden(): pass')
    >>> function_source(hidden.__code__).problem
    'the source of hidden is not to be had'
    """
    file = _file(code.co_filename)
    if file is None:
        return FunctionSource('', None, f'the source of {code.co_qualname} is not to be had')
    node = file.node_of(code)
    if node is None:
        return FunctionSource('', None, rewritten=True)
    return FunctionSource(_text(node, file.lines), node)


def _file(filename: str) -> _File | None:
    linecache.checkcache(filename)
    text = ''.join(linecache.getlines(filename))
    known = _files.get(filename)
    if known is not None and known[0] == text:
        return known[1]
    if not text:
        return None
    try:
        file = _File(text, filename)
    except (SyntaxError, ValueError, RecursionError):
        return None
    if len(_files) >= _MOST_FILES:
        del _files[next(iter(_files))]
    _files[filename] = (text, file)
    return file


class _File:
    """The functions of one file or cell, by name, each with its syntax tree."""

    def __init__(self, text: str, filename: str) -> None:
        self.lines = text.splitlines(keepends=True)
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')  # they were shown when the file was imported
            tree = ast.parse(text, filename)
            # cells may await at top level; and without dont_inherit this module's own `annotations` import would apply
            whole = compile(text, filename, 'exec', ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
        self._codes: dict[str, list[CodeType]] = {}
        for code in _nested(whole):
            self._codes.setdefault(code.co_qualname, []).append(code)
        self._nodes: dict[tuple[str, int], list[_FunctionNode]] = {}
        for node in ast.walk(tree):
            if isinstance(node, _FunctionNode):
                self._nodes.setdefault(_place(node), []).append(node)

    def node_of(self, code: CodeType) -> _FunctionNode | None:
        """The syntax tree that gives this code, or None."""
        alike = [other for other in self._codes.get(code.co_qualname, ()) if _essence(other) == _essence(code)]
        # a file may have grown above the function since it was imported
        alike.sort(key=lambda other: abs(other.co_firstlineno - code.co_firstlineno))
        for other in alike:
            nodes = self._nodes.get((other.co_name, other.co_firstlineno), [])
            if len(nodes) > 1:
                nodes = [node for node in nodes if _holds(node, other)]
            if nodes:
                return nodes[-1]  # the innermost one
        return None


def _nested(code: CodeType) -> Iterator[CodeType]:
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield constant
            yield from _nested(constant)


def _place(node: _FunctionNode) -> tuple[str, int]:
    if isinstance(node, ast.Lambda):
        return '<lambda>', node.lineno
    return node.name, min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])


def _holds(node: _FunctionNode, code: CodeType) -> bool:
    """Whether the instructions of a code lie in the body of a node: several lambdas may share a line."""
    body: Any = node.body if isinstance(node, ast.Lambda) else node
    start, end = (body.lineno, body.col_offset), (body.end_lineno, body.end_col_offset)
    places = [
        (line, column)
        for line, _, column, end_column in code.co_positions()
        if line is not None and column is not None and end_column
    ]
    return all(start <= place <= end for place in places)


def _essence(code: CodeType) -> tuple[Any, ...]:
    """What a code does, whatever its place."""
    return (
        code.co_code,
        tuple(_constant(value) for value in code.co_consts),
        code.co_names,
        code.co_varnames,
        code.co_freevars,
        code.co_cellvars,
        code.co_argcount,
        code.co_kwonlyargcount,
        code.co_posonlyargcount,
    )


def code_text(code: CodeType) -> str:
    """A text that is equal for codes that do the same under one Python version."""
    return repr(_essence(code))


def _constant(value: Any) -> Any:
    if isinstance(value, CodeType):
        return _essence(value)
    if isinstance(value, tuple):
        return tuple(map(_constant, value))
    if isinstance(value, frozenset):
        return tuple(sorted(map(repr, value)))
    return type(value).__name__, repr(value)  # 1, 1.0 and True are equal


def _text(node: _FunctionNode, lines: list[str]) -> str:
    if isinstance(node, ast.Lambda):
        text = ast.get_source_segment(''.join(lines), node) or ''
    else:
        text = textwrap.dedent(''.join(lines[_place(node)[1] - 1 : node.end_lineno]))
    try:
        ast.parse(text)
    except SyntaxError:  # a string over several lines may reach further to the left, a lambda go on after its line
        return ast.unparse(node)
    return text.rstrip('\n')
