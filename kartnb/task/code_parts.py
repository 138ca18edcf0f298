"""What code prints are made of: parts and their digests, whose code counts, and what one function uses and changes.

`kartnb.task.code_print` walks from function to function with these. The names that a function uses are read from its
instructions, which are always there; what it changes in place only a syntax tree tells.
"""

from __future__ import annotations

import ast
import dis
import functools
import hashlib
import inspect
import json
import os
import platform
import re
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from functools import cache
from itertools import islice
from types import BuiltinMethodType, CodeType, FunctionType, MethodType
from typing import Any, Literal

from kartnb.task.source import once_per_code

# ----- parts and digests ----------------------------------------------------------------------------------------------

Kind = Literal['source', 'code', 'value', 'unknown']
#: Each Python version writes syntax trees in its own way, so prints are compared under one version only.
PYTHON = ''.join(platform.python_version_tuple()[:2])
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
    """The digest of a syntax tree, whose docstrings are dropped in place."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Module):
            _drop_docstring(node)
        elif isinstance(node, ast.Constant):
            # the u of u'text' is not a change
            node.kind = None
    return _digest(ast.dump(tree, annotate_fields=False))


def _drop_docstring(node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Module) -> None:
    first = node.body[0] if node.body else None
    if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str):
        node.body = node.body[1:] or [ast.Pass()]


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


# ----- whose code counts ----------------------------------------------------------------------------------------------

_NEVER = frozenset({'kartnb', 'luigi', 'gokart', 'builtins'})
_INSTALLED = ('site-packages', 'dist-packages')
_also_own: set[str] = set()


def count_as_own(package: str) -> None:
    """Let the code of an installed package count too, for instance because `%autoreload` watches it."""
    _also_own.add(package)


def is_own(module: str | None) -> bool:
    """Whether the code of a module counts: the notebook, and the user's own packages, editable installs included.

    >>> is_own('__main__'), is_own('json'), is_own('numpy'), is_own('luigi')
    (True, False, False, False)
    """
    if not module:
        return False
    if module in ('__main__', '__mp_main__'):
        return True
    top = module.partition('.')[0]
    if top in _NEVER:
        return False
    if module in _also_own or top in _also_own:
        return True
    if top in sys.stdlib_module_names:
        return False
    loaded = sys.modules.get(module)
    if loaded is None:
        return True  # made by hand, or taken out of sys.modules: installed code stays there
    file = getattr(loaded, '__file__', None)
    if file is None:
        return not getattr(loaded, '__spec__', None) or _is_own_path(next(iter(getattr(loaded, '__path__', ())), ''))
    return _is_own_path(file)


@cache
def _is_own_path(file: str) -> bool:
    path = os.path.abspath(file)
    if any(part in _INSTALLED for part in path.split(os.sep)):
        return False
    standard = [sysconfig.get_path(name) for name in ('stdlib', 'platstdlib')]
    return not any(place and path.startswith(os.path.join(place, '')) for place in standard)


# ----- the names that a function uses ---------------------------------------------------------------------------------

_ATTRIBUTES = ('LOAD_ATTR', 'LOAD_METHOD')
_LOCALS = ('LOAD_FAST', 'LOAD_FAST_BORROW', 'LOAD_FAST_CHECK', 'LOAD_DEREF', 'LOAD_CLASSDEREF', 'LOAD_NAME')
_TWO_IN_ONE = re.compile('((?:LOAD|STORE)_FAST(?:_BORROW)?)_((?:LOAD|STORE)_FAST(?:_BORROW)?)')
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
    _collect_names(code, code, {}, chains, assigned)
    return Names(tuple(chains), frozenset(assigned))


def _collect_names(
    code: CodeType, outermost: CodeType, modules: dict[str, Chain], chains: dict[Chain, None], assigned: set[str]
) -> None:
    modules = dict(modules)
    instructions = list(_instructions(code))
    for i, item in enumerate(instructions):
        if item.opname == 'STORE_GLOBAL':
            assigned.add(item.argval)
        if item.opname == 'IMPORT_NAME':
            for chain in _imported(instructions, i, modules):
                chains.setdefault(chain)
            continue
        start = _start(item, code, outermost, modules)
        if start is not None:
            chains.setdefault(Chain(start.kind, (*start.names, *_attributes(instructions, i + 1)), start.level))
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            _collect_names(constant, outermost, modules, chains, assigned)


def _instructions(code: CodeType) -> Iterator[dis.Instruction]:
    """What does something, one thing at a time: ``STORE_FAST_LOAD_FAST``, of Python 3.13, is two."""
    for item in dis.get_instructions(code):
        if item.opname in ('CACHE', 'EXTENDED_ARG', 'NOP'):
            continue
        both = _TWO_IN_ONE.fullmatch(item.opname)
        if both is None:
            yield item
        else:
            for opname, argval in zip(both.groups(), item.argval, strict=True):
                yield item._replace(opname=opname, argval=argval)


def _start(item: dis.Instruction, code: CodeType, outermost: CodeType, modules: dict[str, Chain]) -> Chain | None:
    if item.opname == 'LOAD_GLOBAL':
        return Chain('global', (item.argval,))
    if not item.opname.startswith(_LOCALS):
        return None
    name = item.argval
    if name in modules:
        return modules[name]
    if name in outermost.co_freevars and name in code.co_freevars:
        return Chain('closure', (name,))
    return Chain('global', (name,)) if item.opname == 'LOAD_NAME' else None


def _attributes(instructions: list[dis.Instruction], start: int) -> Iterator[str]:
    for item in islice(instructions, start, None):
        if item.opname not in _ATTRIBUTES or not isinstance(item.argval, str):
            return
        yield item.argval


def _imported(instructions: list[dis.Instruction], at: int, modules: dict[str, Chain]) -> Iterator[Chain]:
    """The chains of one import; what it gives a local name is noted in `modules`."""
    path = tuple(instructions[at].argval.split('.')) if instructions[at].argval else ()
    level, wanted = (item.argval for item in instructions[at - 2 : at])
    bound = Chain('module', path if wanted is None and _is_renamed(instructions, at) else path[:1], level)
    for item in islice(instructions, at + 1, None):
        if item.opname == 'IMPORT_FROM':
            if wanted is not None:
                bound = Chain('module', (*path, item.argval), level)
                yield bound
        elif item.opname in _STORES:
            modules[item.argval] = bound
            if wanted is None:
                return
        elif item.opname not in ('SWAP', 'ROT_TWO', 'COPY', 'POP_TOP'):
            return


def _is_renamed(instructions: list[dis.Instruction], at: int) -> bool:
    """Whether an import is ``import a.b as c``, or binds a module by its whole name."""
    path, following = instructions[at].argval, instructions[at + 1]
    return following.opname == 'IMPORT_FROM' or '.' not in path


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


def usage_of(node: ast.AST) -> Usage:
    """What a function changes and reads.

    >>> usage = usage_of(ast.parse('calls.append(n); seen[n] = 1; print(table[n])'))
    >>> sorted(usage.changed), sorted(usage.read & {'calls', 'seen', 'table'})
    (['calls', 'seen'], ['table'])
    """
    visitor = _Visitor()
    visitor.visit(node)
    return Usage(frozenset(visitor.changed), frozenset(visitor.rebound), frozenset(visitor.read))


class _Visitor(ast.NodeVisitor):
    def __init__(self) -> None:
        self.changed: set[str] = set()
        self.rebound: set[str] = set()
        self.read: set[str] = set()

    def visit_Expr(self, node: ast.Expr) -> None:
        # a statement such as `calls.append(n)` fills the container without reading what is in it
        call = node.value
        if isinstance(call, ast.Call) and self._is_change(call.func):
            held = call.func.value if isinstance(call.func, ast.Attribute) else None
            for part in (*call.args, *call.keywords, *_indexes(held)):
                self.visit(part)
            return
        self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        self._is_change(node.func)
        self.generic_visit(node)

    def visit_Subscript(self, node: ast.Subscript) -> None:
        name = _base(node)
        if name is None or isinstance(node.ctx, ast.Load):
            self.generic_visit(node)
            return
        self.changed.add(name)
        while isinstance(node, ast.Subscript):
            self.visit(node.slice)
            node = node.value  # type: ignore[assignment]

    def visit_Attribute(self, node: ast.Attribute) -> None:
        name = _dotted(node)
        if name is None:
            self.generic_visit(node)
        elif isinstance(node.ctx, ast.Load):
            self._note_read(name)
        else:
            self.changed.add(name.rpartition('.')[0])
            self.rebound.add(name)

    def visit_Name(self, node: ast.Name) -> None:
        if isinstance(node.ctx, ast.Load):
            self.read.add(node.id)

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


# ----- functions inside of wrappers -----------------------------------------------------------------------------------

#: A bound method of one of these, such as `table.get`, counts by the content of the container.
_CONTAINERS = (dict, list, tuple, set, frozenset, str, bytes, re.Pattern)


def held_functions(value: Any) -> tuple[Any, ...] | None:
    """What a wrapper of functions holds; None for anything else."""
    if isinstance(value, classmethod | staticmethod):
        return (value.__func__,)
    if isinstance(value, MethodType):
        is_seen = isinstance(value.__self__, type) or is_own(type(value.__self__).__module__)
        return (value.__func__, *((value.__self__,) if is_seen else ()))
    if isinstance(value, BuiltinMethodType) and isinstance(value.__self__, _CONTAINERS):
        return (value.__self__,)
    if isinstance(value, property):
        return tuple(item for item in (value.fget, value.fset, value.fdel) if item is not None)
    if isinstance(value, functools.cached_property | functools.partial | functools.partialmethod):
        arguments = () if isinstance(value, functools.cached_property) else (*value.args, *value.keywords.values())
        return (value.func, *arguments)
    if isinstance(value, functools.singledispatchmethod):
        return tuple(value.dispatcher.registry.values())
    wrapped = inspect.getattr_static(value, '__wrapped__', None)
    return (wrapped,) if callable(wrapped) else _held_by_library(value)


def _held_by_library(value: Any) -> tuple[Any, ...] | None:
    """The user's functions in a callable object of a library, such as `numpy.vectorize`; None where there are none."""
    if isinstance(value, type | FunctionType) or not callable(value) or is_own(type(value).__module__):
        return None
    held = getattr(value, '__dict__', None)
    kinds = (FunctionType, functools.partial, MethodType)
    found = tuple(item for item in held.values() if isinstance(item, kinds)) if isinstance(held, dict) else ()
    return found or None
