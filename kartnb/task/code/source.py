"""The source of classes and functions as they run: looked up by code object, and compared with it.

A file may have been edited after it was imported, and a tool may have rewritten what it holds. So the text is compiled
again, and believed only where that gives the code that runs.
"""

from __future__ import annotations

import ast
import functools
import importlib.util
import inspect
import io
import linecache
import textwrap
import warnings
import weakref
from collections.abc import Callable, Iterable, Iterator
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
            first = _first_line(node)
            found.setdefault(node.name, []).append((first, node.end_lineno or node.lineno))
    return found


# ----- trees ----------------------------------------------------------------------------------------------------------

#: Fields that hold no expression and no statement, and those that hold statements.
_LEAVES = frozenset({'ctx', 'op', 'ops', 'id', 'attr', 'kind', 'type_comment'})
_BODIES = ('body', 'orelse', 'finalbody', 'handlers', 'cases')


def child_nodes(node: ast.AST) -> list[ast.AST]:
    """The nodes in a node, contexts and operators left out."""
    kind: Any = type(node)
    return _nodes_in(node, _fields(kind))


def child_statements(node: ast.AST) -> list[ast.AST]:
    """The statements in a statement, with the clauses that hold statements."""
    return [] if isinstance(node, ast.expr) else _nodes_in(node, _BODIES)


def _nodes_in(node: ast.AST, fields: Iterable[str]) -> list[ast.AST]:
    found: list[ast.AST] = []
    for name in fields:
        value = getattr(node, name, None)
        if isinstance(value, ast.AST):
            found.append(value)
        elif isinstance(value, list):
            found += [item for item in value if isinstance(item, ast.AST)]
    return found


@functools.cache
def _fields(kind: type[ast.AST]) -> tuple[str, ...]:
    return tuple(name for name in kind._fields if name not in _LEAVES)


def walk(node: ast.AST, children: Callable[[ast.AST], list[ast.AST]] = child_nodes) -> Iterator[ast.AST]:
    """The nodes of a tree, those that are further out first: as `ast.walk`, in half the time."""
    level = [node]
    while level:
        yield from level
        level = [child for node in level for child in children(node)]


# ----- functions of a file --------------------------------------------------------------------------------------------

_FunctionNode: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
_MOST_FILES = 200
#: The functions of files, and the lines that `linecache` had of each: another list where the file has changed.
_files: dict[str, tuple[list[str], SourceFile]] = {}
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
    #: None where there is no source, or where it gives other code than runs: then only the code can be compared.
    node: _FunctionNode | None
    #: The qualified name that the source gives it, if there is one.
    name: str = ''


@once_per_code
def function_source(code: CodeType) -> FunctionSource:
    """The source of a function.

    >>> function_source(textwrap.dedent.__code__).text.startswith('def dedent(text)')
    True
    >>> exec('def hidden(): pass')
    >>> function_source(hidden.__code__)
    FunctionSource(text='', node=None, name='')
    """
    file = source_file(code.co_filename)
    found = None if file is None else file.function_of(code)
    if file is None or found is None:
        return FunctionSource('', None)
    node, name = found
    return FunctionSource(node_text(node, file.lines), node, name)


#: The files of which it was seen already whether they have changed since they were read.
_checked: set[str] = set()


def check_files_again() -> None:
    """Let files that were edited be read again when they are next needed."""
    _checked.clear()


def source_file(filename: str) -> SourceFile | None:
    """The functions of a file or cell as it is now; None where it is not available, or not Python."""
    if filename not in _checked:
        linecache.checkcache(filename)
        _checked.add(filename)
    lines = linecache.getlines(filename)
    known = _files.get(filename)
    if known is not None and known[0] is lines:
        return known[1]
    text = ''.join(lines)
    if known is not None and known[1].text == text:
        file: SourceFile | None = known[1]
    else:
        file = _parsed(text, filename) if text else None
    if file is not None:
        if len(_files) >= _MOST_FILES:
            del _files[next(iter(_files))]
        _files[filename] = (lines, file)
    return file


@lru_cache(maxsize=32)
def source_of_text(source: bytes, filename: str) -> SourceFile | None:
    """The functions of a file that held a text."""
    try:
        return _parsed(importlib.util.decode_source(source), filename)
    except (SyntaxError, UnicodeDecodeError):
        return None


def _parsed(text: str, filename: str) -> SourceFile | None:
    try:
        return SourceFile(text, filename)
    except (SyntaxError, ValueError, RecursionError):
        return None


class SourceFile:
    """The functions of one file or cell, by name, each with its syntax tree."""

    def __init__(self, text: str, filename: str) -> None:
        self.text = text
        self.lines = io.StringIO(text, newline=None).readlines()  # a form feed ends no line
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')  # they were shown when the file was imported
            self.tree = ast.parse(text, filename)
        self._filename = filename

    @functools.cached_property
    def _functions(self) -> dict[tuple[str, int], list[_FunctionNode]]:
        """The functions by name and first line; lambdas, for which every expression is looked at, are apart."""
        return _by_place(walk(self.tree, child_statements))

    @functools.cached_property
    def _lambdas(self) -> dict[tuple[str, int], list[_FunctionNode]]:
        return _by_place(node for node in walk(self.tree) if isinstance(node, ast.Lambda))

    def function_of(self, code: CodeType, anywhere: bool = False) -> tuple[_FunctionNode, str] | None:
        """The syntax tree that gives this code, and its qualified name; or None.

        With `anywhere`, a function of this name in any class will do.
        """
        return self._found(self._codes, code, anywhere) or self._found(self._codes_of_statements, code, anywhere)

    @functools.cached_property
    def _codes(self) -> dict[str, list[CodeType]]:
        """The codes of the functions; none in a text that can be parsed, but not compiled."""
        return _by_name(self._compiled([self.tree]))

    @functools.cached_property
    def _codes_of_statements(self) -> dict[str, list[CodeType]]:
        """The codes that come of compiling each statement alone, as IPython does.

        From 3.11 on Python compiles `np.sum(x)` in another way where `import numpy as np` is in the same text.
        """
        return _by_name(self._compiled(ast.Module([statement], []) for statement in self.tree.body))

    def _compiled(self, trees: Iterable[ast.Module]) -> list[CodeType]:
        # cells may await at top level; and without dont_inherit this module's own `annotations` import would apply
        flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')
            try:
                return [compile(tree, self._filename, 'exec', flags, dont_inherit=True) for tree in trees]
            except (SyntaxError, ValueError, RecursionError):
                return []

    def _found(
        self, codes: dict[str, list[CodeType]], code: CodeType, anywhere: bool
    ) -> tuple[_FunctionNode, str] | None:
        alike = [other for other in codes.get(code.co_name, ()) if anywhere or _is_named_alike(other, code)]
        alike = [other for other in alike if other == code or _essence(other) == _essence(code)]
        # a file may have grown above the function since it was imported
        alike.sort(key=lambda other: abs(other.co_firstlineno - code.co_firstlineno))
        for other in alike:
            places = self._lambdas if other.co_name == '<lambda>' else self._functions
            nodes = places.get((other.co_name, other.co_firstlineno), [])
            if len(nodes) > 1:
                nodes = [node for node in nodes if _holds(node, other)]
            if nodes:
                return nodes[-1], other.co_qualname  # the innermost one
        return None


def _is_named_alike(code: CodeType, running: CodeType) -> bool:
    """Whether a function may be the one that runs: IPython's autoreload compiles methods in a class of its own."""
    name = running.co_qualname
    return code.co_qualname == name or name == f'__autoreload_class__.{code.co_name}'


def _by_name(codes: Iterable[CodeType]) -> dict[str, list[CodeType]]:
    """The codes of functions and classes in codes of modules, by name."""
    found: dict[str, list[CodeType]] = {}
    for whole in codes:
        for code in _nested(whole):
            found.setdefault(code.co_name, []).append(code)
    return found


def _nested(code: CodeType) -> Iterator[CodeType]:
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield constant
            yield from _nested(constant)


def _by_place(nodes: Iterable[ast.AST]) -> dict[tuple[str, int], list[_FunctionNode]]:
    found: dict[tuple[str, int], list[_FunctionNode]] = {}
    for node in nodes:
        if isinstance(node, _FunctionNode):
            found.setdefault(_place(node), []).append(node)
    return found


def _place(node: _FunctionNode) -> tuple[str, int]:
    if isinstance(node, ast.Lambda):
        return '<lambda>', node.lineno
    return node.name, _first_line(node)


def _first_line(node: ast.stmt) -> int:
    decorators: list[ast.expr] = getattr(node, 'decorator_list', [])
    return min([node.lineno, *(decorator.lineno for decorator in decorators)])


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


def _segment(node: ast.expr, lines: list[str]) -> str:
    """The text of an expression; `ast.get_source_segment` splits the whole file for each."""
    last = node.end_lineno or node.lineno
    found = [line.encode() for line in lines[node.lineno - 1 : last]]
    found[-1] = found[-1][: node.end_col_offset]
    found[0] = found[0][node.col_offset :]
    return b''.join(found).decode()


def node_text(node: ast.stmt | ast.Lambda, lines: list[str]) -> str:
    """The text of a function or a statement, with its decorators, and not indented."""
    if isinstance(node, ast.Lambda):
        text = _segment(node, lines)
    else:
        text = textwrap.dedent(''.join(lines[_first_line(node) - 1 : node.end_lineno]))
        if not text[:1].isspace():
            return text.rstrip('\n')
    try:
        ast.parse(text)
    except SyntaxError:  # a string over several lines may reach further to the left, a lambda go on after its line
        return ast.unparse(node)
    return text.rstrip('\n')
