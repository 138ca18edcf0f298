"""Which names of its surroundings a function uses, read from its code as the compiler has resolved them."""

from __future__ import annotations

import dis
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from types import CodeType
from typing import Literal

from kartnb.task.code_source import once_per_code

_ATTRIBUTES = ('LOAD_ATTR', 'LOAD_METHOD')
_LOCALS = ('LOAD_FAST', 'LOAD_FAST_BORROW', 'LOAD_FAST_CHECK', 'LOAD_DEREF', 'LOAD_CLASSDEREF', 'LOAD_NAME')
_TWO_IN_ONE = re.compile('((?:LOAD|STORE)_FAST(?:_BORROW)?)_((?:LOAD|STORE)_FAST(?:_BORROW)?)')
_STORES = ('STORE_FAST', 'STORE_DEREF', 'STORE_NAME', 'STORE_GLOBAL')


@dataclass(frozen=True, slots=True)
class Chain:
    """A name with the attributes that are taken of it: ``helpers.scale`` is ``('helpers', 'scale')``.

    Attributes
    ----------
    kind
        Where the first name is found: among the globals, in the closure, or as a module to import.
    names
        The name, then the attributes.
    level
        The dots of a relative import.
    """

    kind: Literal['global', 'closure', 'module']
    names: tuple[str, ...]
    level: int = 0


class Names:
    """The chains that a function uses, and the globals that it assigns."""

    def __init__(self, chains: tuple[Chain, ...], assigned: frozenset[str]) -> None:
        self.chains = chains
        self.assigned = assigned


@once_per_code
def names_in(code: CodeType) -> Names:
    """What a function uses, nested functions and comprehensions included.

    Examples
    --------
    >>> def area(r):
    ...     import math
    ...
    ...     return SCALE * math.pi * helpers.square(r)
    >>> [chain.names for chain in names_in(area.__code__).chains]
    [('SCALE',), ('math', 'pi'), ('helpers', 'square')]
    """
    chains: dict[Chain, None] = {}
    assigned: set[str] = set()
    _read(code, code, {}, chains, assigned)
    return Names(tuple(chains), frozenset(assigned))


def _read(
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
            _read(constant, outermost, modules, chains, assigned)


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
