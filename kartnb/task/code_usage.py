"""Which names a function changes in place: what is only filled by the code is its result, and no part of it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass

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

    Examples
    --------
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
