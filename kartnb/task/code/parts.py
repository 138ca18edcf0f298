"""What code prints are made of: parts and their digests, and what one function uses and changes.

`kartnb.task.code.prints` walks from function to function with these. The names that a function uses are read from its
instructions, which are always there; what it changes in place only a syntax tree tells.
"""

from __future__ import annotations

import ast
import dis
import functools
import hashlib
import json
import platform
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from itertools import islice
from types import CodeType
from typing import Any, Literal, TypeAlias

from kartnb._luigi import local_name
from kartnb.task.code.source import child_nodes, once_per_code

# ----- parts and digests ----------------------------------------------------------------------------------------------

Kind = Literal['source', 'code', 'value', 'unknown']
#: Each Python version writes syntax trees in its own way, so prints are compared under one version only.
PYTHON = ''.join(platform.python_version_tuple()[:2])
#: What begins the key of a print: the Python version, and a letter for the way in which prints are made. The letter
#: changes when equal code may give another print; `kartnb.planning.code_changes` then compares what both ways keep.
MADE_BY = f'{PYTHON}b'
_KINDS = ('source', 'code', 'value', 'unknown')


@dataclass(frozen=True, slots=True)
class Part:
    """One function, class or constant that counts."""

    #: As a person knows it: ``Train.run``, ``SCALE``.
    name: str
    kind: Kind
    #: By kind: 'source' is Python; 'code' the digest of compiled code, where only that could be compared; 'value' a
    #: constant; 'unknown' why it cannot be compared.
    text: str


def shown_name(name: str) -> str:
    """The name of a part in a sentence.

    >>> shown_name('Train is a'), shown_name('<lambda> #2'), shown_name('Train.run')
    ('the bases of Train', 'lambda (no. 2)', 'Train.run')
    """
    name = name.replace('<lambda>', 'lambda')
    if name.endswith(' is a'):
        return f'the bases of {name.removesuffix(" is a")}'
    first, mark, number = name.rpartition(' #')
    return f'{first} (no. {number})' if mark and number.isdigit() else name


def source_digest(text: str) -> str:
    """A digest of Python source that comments, docstrings and formatting do not change.

    >>> source_digest('def f(x): return x+1') == source_digest('def f(x): "Add."; return (x + 1)  # one more')
    True
    """
    try:
        tree: ast.AST = ast.parse(text)
    except SyntaxError:
        return _digest(text)
    return tree_digest(tree)


def tree_digest(tree: ast.AST) -> str:
    """The digest of a syntax tree, without docstrings, and without annotations where no decorator may read them."""
    texts: list[str] = []
    _write_tree(tree, texts.append)
    return _digest(' '.join(texts))


_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
_WITH_DOCSTRING = (*_FUNCTIONS, ast.ClassDef, ast.Module)
_ANNOTATIONS = frozenset({(ast.arg, 'annotation'), *((kind, 'returns') for kind in _FUNCTIONS)})
#: The u of u'text', and what only type checkers read.
_LEFT_OUT = frozenset(
    {(ast.Constant, 'kind'), *((kind, 'type_comment') for kind in (*_FUNCTIONS, ast.arg, ast.Assign))}
)
#: Nodes that are most of a tree, and hold nothing: what is written of them.
_CONTEXTS = {kind: f'{kind.__name__} ;' for kind in (ast.Load, ast.Store, ast.Del)}


def _write_tree(node: Any, write: Callable[[str], None], annotations: bool = True) -> None:
    kind: Any = type(node)
    # most nodes are of these two kinds
    if kind is ast.Name:
        write(f'Name {node.id!r} {_CONTEXTS[type(node.ctx)]} ;')
        return
    if kind is ast.Constant:
        write(f'Constant {node.value!r} ;')
        return
    if kind in _FUNCTIONS:
        annotations = bool(node.decorator_list)
    name, fields = _written_fields(kind, annotations)
    write(name)
    for field in fields:
        value: Any = getattr(node, field, None)
        kind_of_value: Any = type(value)
        if kind_of_value in _CONTEXTS:
            write(_CONTEXTS[kind_of_value])
        elif kind_of_value is list:
            write('[')
            for item in value[field == 'body' and kind in _WITH_DOCSTRING and _has_docstring(value) :]:
                if isinstance(item, ast.AST):
                    _write_tree(item, write, annotations)
                else:
                    write(repr(item))
            write(']')
        elif isinstance(value, ast.AST):
            _write_tree(value, write, annotations)
        else:
            write(repr(value))
    write(';')


@functools.cache
def _written_fields(kind: type[ast.AST], annotations: bool) -> tuple[str, tuple[str, ...]]:
    """The name of a kind of node, and the fields of it that count."""
    fields = [name for name in kind._fields if (kind, name) not in _LEFT_OUT]
    return kind.__name__, tuple(name for name in fields if annotations or (kind, name) not in _ANNOTATIONS)


def _has_docstring(body: list[ast.stmt]) -> bool:
    first = body[0] if body else None
    return isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str)


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode('utf-8', 'surrogatepass'), digest_size=10).hexdigest()


def part_digest(part: Part) -> str:
    """What counts of one part."""
    return source_digest(part.text) if part.kind == 'source' else _digest(part.text)


def print_of_digests(digests: Iterable[tuple[str, str, str]]) -> str:
    """The print of parts that are given by name, kind and digest."""
    return _digest('\n'.join('\t'.join(item) for item in sorted(digests)))[:12]


def print_of_parts(parts: Iterable[Part]) -> str:
    """The print of parts under the Python that runs."""
    return print_of_digests((part.name, part.kind, part_digest(part)) for part in parts)


def parts_to_json(parts: Iterable[Part], title: str) -> str:
    """Parts as the text of a file."""
    content = {'format_version': 1, 'of': title, 'python': PYTHON, 'parts': [asdict(part) for part in parts]}
    return json.dumps(content, ensure_ascii=False, indent=1)


def parts_from_json(text: str) -> tuple[Part, ...]:
    """Read parts; raises ValueError when the text does not hold parts of code."""
    try:
        content: Any = json.loads(text)
        parts = tuple(Part(**item) for item in content['parts'])
    except (KeyError, RecursionError, TypeError) as error:
        raise ValueError(f'these are not parts of code: {error}') from error
    if not all(isinstance(part.text, str) and isinstance(part.name, str) and part.kind in _KINDS for part in parts):
        raise ValueError('these are not parts of code')
    return parts


# ----- the names that a function uses ---------------------------------------------------------------------------------

_ATTRIBUTES = ('LOAD_ATTR', 'LOAD_METHOD')
_LOCALS = ('LOAD_FAST', 'LOAD_FAST_BORROW', 'LOAD_FAST_CHECK', 'LOAD_DEREF', 'LOAD_CLASSDEREF', 'LOAD_NAME')
_STORES = ('STORE_FAST', 'STORE_DEREF', 'STORE_NAME', 'STORE_GLOBAL')


@dataclass(frozen=True, slots=True)
class Chain:
    """A name with the attributes that are taken of it: ``helpers.scale`` is ``('helpers', 'scale')``."""

    #: Where the first name is found: among the globals, in the closure, or as a module to import.
    kind: Literal['global', 'closure', 'module']
    names: tuple[str, ...]
    #: The dots of a relative import.
    level: int = 0


@dataclass(frozen=True, slots=True)
class Names:
    """The chains that a function uses, and the globals that it assigns."""

    chains: tuple[Chain, ...]
    assigned: frozenset[str]


@once_per_code
def names_in(code: CodeType) -> Names:
    """What a function uses, nested functions and comprehensions included.

    >>> def area(r):
    ...     import math
    ...
    ...     return SCALE * math.pi * helpers.square(r)
    >>> [chain.names for chain in names_in(area.__code__).chains]
    [('SCALE',), ('math', 'pi'), ('helpers', 'square')]
    """
    chains: dict[Chain, None] = {}
    assigned: set[str] = set()
    imports: dict[Chain, Chain] = {}
    _collect_names(code, code, {}, chains, assigned, imports)
    for bound, whole in imports.items():
        # what is imported and not used is imported for what that does
        if not any(chain.kind == 'module' and chain.names[: len(bound.names)] == bound.names for chain in chains):
            chains.setdefault(whole)
    return Names(tuple(chains), frozenset(assigned))


@once_per_code
def words_in(code: CodeType) -> frozenset[str]:
    """The names that code has in any place, those of attributes and texts that could be names too."""
    words = {*code.co_names}
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            words |= words_in(constant)
        elif isinstance(constant, str) and constant.isidentifier():
            words.add(constant)
    return frozenset(words)


def _collect_names(
    code: CodeType,
    outermost: CodeType,
    modules: dict[str, Chain],
    chains: dict[Chain, None],
    assigned: set[str],
    imports: dict[Chain, Chain],
) -> None:
    modules = dict(modules)
    instructions = instructions_of(code)
    closure = {*code.co_freevars}.intersection(outermost.co_freevars)
    for i, (operation, value) in enumerate(instructions):
        if operation == 'STORE_GLOBAL':
            assigned.add(value)
        elif operation == 'IMPORT_NAME':
            imports.update(_imported(instructions, i, modules))
        elif operation in _STARTS:
            start = _start(operation, value, closure, modules)
            if start is not None:
                chains.setdefault(Chain(start.kind, (*start.names, *_attributes(instructions, i + 1)), start.level))
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            _collect_names(constant, outermost, modules, chains, assigned, imports)


#: What an instruction does, and the name or constant that it does it with; None where that does not matter here.
Instruction: TypeAlias = tuple[str, Any]


def instructions_of(code: CodeType) -> list[Instruction]:
    """What does something, one thing at a time: ``STORE_FAST_LOAD_FAST``, of Python 3.13, is two.

    Places, jumps and texts are left out; with them `dis.get_instructions` takes ten times as long.
    """
    found: list[Instruction] = []
    extended, raw = 0, code.co_code
    for number, argument in zip(raw[::2], raw[1::2], strict=True):
        operation = _OPERATIONS[number]
        if operation is None:
            continue
        name, read = operation
        if read is None:
            if number == dis.EXTENDED_ARG:
                extended = (extended | argument) << 8
                continue
            found.append(operation)
        elif name in _HALVES:
            found += zip(_HALVES[name], read(code, extended | argument), strict=True)
        else:
            found.append((name, read(code, extended | argument)))
        extended = 0
    return found


def _operation(name: str) -> tuple[str, Callable[[CodeType, int], Any] | None] | None:
    """How the argument of an instruction is read; None for one that does nothing."""
    if name in ('CACHE', 'NOP'):
        return None
    if name == 'LOAD_GLOBAL' or (name == 'LOAD_ATTR' and sys.version_info >= (3, 12)):
        return name, lambda code, argument: code.co_names[argument >> 1]
    if name in (*_ATTRIBUTES, 'IMPORT_NAME', 'IMPORT_FROM', 'LOAD_NAME', 'STORE_NAME', 'STORE_GLOBAL'):
        return name, lambda code, argument: code.co_names[argument]
    if name in _HALVES:
        return name, lambda code, argument: (local_name(code, argument >> 4), local_name(code, argument & 15))
    if name.startswith(_LOCALS) or name in _STORES:
        return name, local_name
    if name == 'LOAD_CONST':
        return name, lambda code, argument: code.co_consts[argument]
    return name, (lambda code, argument: argument) if name == 'LOAD_SMALL_INT' else None


_TWO_IN_ONE = re.compile('((?:LOAD|STORE)_FAST(?:_BORROW)?)_((?:LOAD|STORE)_FAST(?:_BORROW)?)')
_HALVES = {name: both.groups() for name in dis.opname if (both := _TWO_IN_ONE.fullmatch(name))}
_OPERATIONS = [_operation(name) for name in dis.opname]
#: The instructions with which chains may begin.
_STARTS = frozenset(name for name in dis.opname if name.startswith(('LOAD_GLOBAL', *_LOCALS)))


def _start(operation: str, name: str, closure: set[str], modules: dict[str, Chain]) -> Chain | None:
    if operation == 'LOAD_GLOBAL':
        return Chain('global', (name,))
    if name in modules:
        return modules[name]
    if name in closure:
        return Chain('closure', (name,))
    return Chain('global', (name,)) if operation == 'LOAD_NAME' else None


def _attributes(instructions: list[Instruction], start: int) -> Iterator[str]:
    for operation, name in islice(instructions, start, None):
        if operation not in _ATTRIBUTES:
            return
        yield name


def _imported(instructions: list[Instruction], at: int, modules: dict[str, Chain]) -> Iterator[tuple[Chain, Chain]]:
    """What one import binds, and what it imports for that; what it gives a local name is noted in `modules`."""
    path = tuple(instructions[at][1].split('.')) if instructions[at][1] else ()
    level, wanted = (value for _, value in instructions[at - 2 : at])
    bound = Chain('module', path if wanted is None and _is_renamed(instructions, at) else path[:1], level)
    for operation, name in islice(instructions, at + 1, None):
        if operation == 'IMPORT_FROM':
            if wanted is not None:
                bound = Chain('module', (*path, name), level)
                yield bound, bound
        elif operation in _STORES:
            modules[name] = bound
            if wanted is None:
                yield bound, Chain('module', path, level)
                return
        elif operation not in ('SWAP', 'ROT_TWO', 'COPY', 'POP_TOP'):
            return


def _is_renamed(instructions: list[Instruction], at: int) -> bool:
    """Whether an import is ``import a.b as c``, or binds a module by its whole name."""
    return instructions[at + 1][0] == 'IMPORT_FROM' or '.' not in instructions[at][1]


# ----- what a function changes and reads ------------------------------------------------------------------------------

#: The methods by which containers are changed.
CHANGING = frozenset(
    {
        'add',
        'append',
        'appendleft',
        'clear',
        'discard',
        'extend',
        'extendleft',
        'insert',
        'pop',
        'popitem',
        'popleft',
        'put',
        'remove',
        'reverse',
        'setdefault',
        'sort',
        'subtract',
        'update',
    }
)


@dataclass(frozen=True, slots=True)
class Usage:
    """Dotted names, as in ``helpers.calls``, that a function changes in place, gives another value, or reads."""

    changed: frozenset[str] = frozenset()
    rebound: frozenset[str] = frozenset()
    read: frozenset[str] = frozenset()
    #: The names of what is called, and the first argument where it is a text: ``import_module('helpers')``.
    calls: frozenset[tuple[str, str | None]] = frozenset()


def usage_of(node: ast.AST) -> Usage:
    """What a function changes and reads.

    >>> usage = usage_of(ast.parse('calls.append(n); seen[n] = 1; print(table[n])'))
    >>> sorted(usage.changed), sorted(usage.read & {'calls', 'seen', 'table'})
    (['calls', 'seen'], ['table'])
    """
    visitor = _Visitor()
    visitor.visit(node)
    names = (frozenset(visitor.changed), frozenset(visitor.rebound), frozenset(visitor.read))
    return Usage(*names, frozenset(visitor.calls))


class _Visitor:
    """Goes through a tree; `ast.NodeVisitor` would take three times as long."""

    def __init__(self) -> None:
        self.changed: set[str] = set()
        self.rebound: set[str] = set()
        self.read: set[str] = set()
        self.calls: set[tuple[str, str | None]] = set()

    def visit(self, node: ast.AST) -> None:
        pending = [node]
        while pending:
            node = pending.pop()
            enter = _ENTER.get(type(node))
            pending += child_nodes(node) if enter is None else enter(self, node)

    def enter_expression(self, node: ast.Expr) -> Iterable[ast.AST]:
        # a statement such as `calls.append(n)` fills the container without reading what is in it
        call = node.value
        if isinstance(call, ast.Call) and self._is_change(call.func):
            held = call.func.value if isinstance(call.func, ast.Attribute) else None
            return (*call.args, *call.keywords, *_indexes(held))
        return (call,)

    def enter_call(self, node: ast.Call) -> Iterable[ast.AST]:
        name, first = _dotted(node.func), node.args[0] if node.args else None
        if name is not None:
            is_text = isinstance(first, ast.Constant) and isinstance(first.value, str)
            self.calls.add((name, first.value if is_text else None))  # type: ignore[union-attr]
        self._is_change(node.func)
        return (node.func, *node.args, *node.keywords)

    def enter_subscript(self, node: ast.Subscript) -> Iterable[ast.AST]:
        name = None if isinstance(node.ctx, ast.Load) else _base(node)
        if name is None:
            return (node.value, node.slice)
        self.changed.add(name)
        return _indexes(node)

    def enter_attribute(self, node: ast.Attribute) -> Iterable[ast.AST]:
        name = _dotted(node)
        if name is None:
            return (node.value,)
        if isinstance(node.ctx, ast.Load):
            self._note_read(name)
        else:
            self.changed.add(name.rpartition('.')[0])
            self.rebound.add(name)
        return ()

    def enter_name(self, node: ast.Name) -> Iterable[ast.AST]:
        if isinstance(node.ctx, ast.Load):
            self.read.add(node.id)
        return ()

    def _is_change(self, function: ast.expr) -> bool:
        """Whether a call of this changes a named container; notes which."""
        if not isinstance(function, ast.Attribute) or function.attr not in CHANGING:
            return False
        name = _base(function.value)
        if name is not None:
            self.changed.add(name)
        return name is not None

    def _note_read(self, name: str) -> None:
        while name:
            self.read.add(name)
            name = name.rpartition('.')[0]


_ENTER: dict[type, Callable[[_Visitor, Any], Iterable[ast.AST]]] = {
    ast.Expr: _Visitor.enter_expression,
    ast.Call: _Visitor.enter_call,
    ast.Subscript: _Visitor.enter_subscript,
    ast.Attribute: _Visitor.enter_attribute,
    ast.Name: _Visitor.enter_name,
    # without these it would be the same, but slower
    ast.Constant: lambda visitor, node: (),
    ast.keyword: lambda visitor, node: (node.value,),
    ast.Assign: lambda visitor, node: (*node.targets, node.value),
}


def _base(node: ast.expr) -> str | None:
    """The dotted name of a container, of which items of items may be taken."""
    while isinstance(node, ast.Subscript):
        node = node.value
    return _dotted(node)


def _indexes(node: ast.expr | None) -> Iterator[ast.expr]:
    while isinstance(node, ast.Subscript):
        yield node.slice
        node = node.value


def _dotted(node: ast.AST) -> str | None:
    names: list[str] = []
    while isinstance(node, ast.Attribute):
        names.append(node.attr)
        node = node.value
    if not isinstance(node, ast.Name):
        return None
    return '.'.join([node.id, *reversed(names)])
