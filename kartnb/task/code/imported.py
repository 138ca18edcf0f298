"""The code that an import inside a function reaches: read from the source of the module, which is not imported for it.

So the print of a task is the same before and after its first run. A module counts by the statements of its top level
that bind a name which is used, and by those that these use in turn. Where a module is loaded and is not what its file
says, because the file was edited or the module was patched, what is loaded counts.
"""

from __future__ import annotations
import __future__

import ast
import builtins
import importlib.util
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from types import CodeType, FunctionType, ModuleType
from typing import Any, Protocol

from kartnb.task.code.libraries import own_code_in
from kartnb.task.code.loaded import loaded_modules
from kartnb.task.code.own import ModulePlace, find_module, is_library
from kartnb.task.code.parts import Chain, Part, names_in, tree_digest, usage_of, words_in
from kartnb.task.code.source import SourceFile, child_nodes, node_text, source_file, source_of_text, walk
from kartnb.task.code.values import CannotTellError, value_text
from kartnb.task.secrets import is_secret_constant

#: Functions that look up names which are unknown before the code runs, by the package that has them.
_LOOKING_UP = {
    'builtins': ('eval', 'exec', 'globals'),
    'sys': ('modules',),
    'runpy': ('run_path', 'run_module'),
    'importlib': (
        'spec_from_file_location',
        'spec_from_loader',
        'module_from_spec',
        'SourceFileLoader',
        'entry_points',
    ),
    '_frozen_importlib_external': ('spec_from_file_location', 'SourceFileLoader'),
    'importlib_metadata': ('entry_points',),
    'pkg_resources': ('iter_entry_points', 'load_entry_point', 'get_entry_map'),
    'pkgutil': ('resolve_name', 'iter_modules', 'walk_packages'),
    'pydoc': ('locate', 'importfile', 'safeimport'),
    'imp': ('load_source', 'load_module'),
    'stevedore': ('ExtensionManager', 'DriverManager', 'NamedExtensionManager'),
    'hydra': ('instantiate', 'call', 'get_class', 'get_method', 'get_object'),
    'werkzeug': ('import_string',),
    'django': ('import_string',),
}
#: Names of attributes by which names are looked up, whatever they are taken of.
LOOKING_UP_ATTRIBUTES = frozenset(
    {'__globals__', '__subclasses__', 'exec_module', 'f_globals', 'f_locals', 'load_module'}
)
#: What holds no code.
_SIMPLE = (int, float, str, bytes, type(None))
_BOUND_BY = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


class Findings(Protocol):
    """What takes note of what is found."""

    def note(self, part: Part, digest: str | None = None) -> None:
        """Note a part."""

    def note_unknown(self, name: str, problem: str) -> None:
        """Note that something cannot be compared."""

    def note_secret(self, name: str) -> None:
        """Note that a secret was left out."""

    def note_library(self, name: str) -> None:
        """Note that a library is used."""

    def note_words(self, words: frozenset[str], by: str) -> None:
        """Note all names in some code."""

    def follow_loaded(self, module: ModuleType, names: Sequence[str]) -> None:
        """Take what is loaded into account."""

    def follow_library(self, names: Sequence[str], by: str = '') -> None:
        """Take the user's code into account that is found under a library's name."""


class ImportedCode:
    """Follows imports from module to module, each name once."""

    def __init__(self, findings: Findings) -> None:
        self._findings = findings
        self._seen: set[tuple[str, ...]] = set()
        self._sources: dict[str, ModuleSource | None] = {}

    def follow(self, names: Sequence[str], level: int = 0, package: str = '') -> None:
        """Take what an import names into account: ``('helpers', 'scale')`` is `scale` of the module `helpers`."""
        if level:
            path = _absolute(names, level, package)
            if path is None:
                self._findings.note_unknown('.'.join(names), f'{"." * level}{".".join(names)} cannot be resolved')
                return
            names = path
        place, rest = (None, names) if is_library(names[0]) else self._longest_module(names)
        if is_library(names[0]) or (place is not None and not place.is_own):
            self._findings.note_library('.'.join(names))
            self._findings.follow_library(names)
        elif place is None:
            self._findings.note_unknown(names[0], f'the module {names[0]} is not found')
        elif rest:
            self._follow_name(place, rest)
        else:
            self._follow_all(place)

    def is_computed(self, module: ModuleType, name: str) -> bool:
        """Whether a module's `__getattr__` gives a name, now or when it was first asked for."""
        if '__getattr__' not in vars(module):
            return False
        place = find_module(module.__name__)
        source = None if place is None else self._source(place)
        if source is None:
            return name not in vars(module)
        return name not in source.bound and not self._is_starred(source, name) and not name.startswith('__')

    def follow_text(self, name: str | None, by: str) -> None:
        """Take a module into account that is imported by `importlib.import_module`; None for a computed name."""
        if name is None or name.startswith('.'):
            self._findings.note_unknown(by, f'{by} imports a module whose name is known only when it runs')
        else:
            self.follow(name.split('.'))

    def _follow_all(self, place: ModulePlace) -> None:
        source = self._source(place)
        loaded = sys.modules.get(place.name)
        if source is not None:
            for name in sorted(source.bound):
                self._follow_name(place, (name,))
        elif loaded is not None:
            self._findings.follow_loaded(loaded, ())
        elif place.file:
            self._findings.note_unknown(place.name, f'the source of {place.name} is not available')

    def _follow_name(self, place: ModulePlace, names: Sequence[str]) -> None:
        name = names[0]
        loaded = sys.modules.get(place.name)
        source = self._source(place)
        if loaded is not None and (source is None or place.name == '__main__'):
            if (place.name, name) not in self._seen:
                self._seen.add((place.name, name))
                self._findings.follow_loaded(loaded, names)
        elif source is None:
            self._findings.note_unknown(name, f'the source of {place.name} is not available')
        elif name in source.bound:
            for statement in source.bound[name]:
                self._follow_statement(source, name, statement, names)
        else:
            self._follow_star(source, names)

    def _follow_star(self, source: ModuleSource, names: Sequence[str]) -> None:
        for module in source.stars:
            place = find_module(module)
            if place is None or not place.is_own:
                self._findings.note_library(module.partition('.')[0])
            elif self._binds(place, names[0]):
                self._follow_name(place, names)
                return
        if '__getattr__' in source.bound:
            self._follow_name(source.place, ('__getattr__',))
            self._findings.note_unknown(names[0], f'{source.place.name}.__getattr__ computes what {names[0]} is')
        elif not source.stars:
            self._findings.note_unknown(names[0], f'{names[0]} is not found in {source.place.name}')

    def _follow_statement(self, source: ModuleSource, name: str, statement: ast.stmt, names: Sequence[str]) -> None:
        key = (source.place.name, f'line {statement.lineno}', *names)
        if key in self._seen:
            return
        self._seen.add(key)
        for node in [] if isinstance(statement, _BOUND_BY) else _outside_functions(statement):
            if isinstance(node, ast.Import | ast.ImportFrom) and name in _names_bound(node):
                self.follow((*source.imported(node, name), *names[1:]))
        counted = (source.place.name, name, f'{statement.lineno}:{statement.col_offset}')
        if isinstance(statement, ast.Import | ast.ImportFrom) or counted in self._seen:
            return
        self._seen.add(counted)
        try:
            read = source.read(statement)
        except (SyntaxError, ValueError, RecursionError):  # what can be parsed cannot always be compiled
            self._findings.note_unknown(name, f'the source of {source.place.name} is not available')
            return
        if not _is_secret_text(name, statement):
            shown = statement.name if isinstance(statement, _BOUND_BY) else name
            self._findings.note(Part(shown, 'source', read.text), read.digest)
        else:
            self._findings.note_secret(name)
        self._findings.note_words(read.words, name)
        if not isinstance(statement, _BOUND_BY):
            self._follow_registered(source.place.name, name)
        self._follow_code(source, read)

    def _follow_registered(self, module: str, name: str) -> None:
        """Follow what other modules have put into a registry; what is in the module itself is in its source."""
        value = vars(sys.modules.get(module, object)).get(name)
        for code in () if isinstance(value, _SIMPLE) else own_code_in(value, of_objects=False):
            if code.__module__ not in (module, '__main__') and '<' not in code.__qualname__:
                self.follow((*code.__module__.split('.'), code.__qualname__.partition('.')[0]))

    def _longest_module(self, names: Sequence[str]) -> tuple[ModulePlace | None, Sequence[str]]:
        place = find_module(names[0])
        for end in range(1, len(names)):
            if place is None or not place.directories or not place.is_own or self._binds(place, names[end]):
                return place, names[end:]
            inner = find_module('.'.join(names[: end + 1]))
            if inner is None:
                return place, names[end:]
            place = inner
        return place, ()

    def _binds(self, place: ModulePlace | None, name: str) -> bool:
        """Whether a module gives a name a value, other than that of the submodule that it has under the name."""
        source = None if place is None else self._source(place)
        if source is None or name not in source.bound:
            return False
        own = (*source.place.name.split('.'), name)
        return any(
            not isinstance(statement, ast.Import | ast.ImportFrom) or source.imported(statement, name) != own
            for statement in source.bound[name]
        )

    def _is_starred(self, source: ModuleSource, name: str) -> bool:
        return any(self._binds(place, name) for place in map(find_module, source.stars))

    def _source(self, place: ModulePlace) -> ModuleSource | None:
        if place.name not in self._sources:
            self._sources[place.name] = _module_source(place)
        return self._sources[place.name]

    def _follow_code(self, source: ModuleSource, read: Statement) -> None:
        """Take into account what a statement uses, functions in it included."""
        package = source.place.package
        for chain in read.chains:
            if chain.kind == 'module':
                self.follow(chain.names, chain.level, package)
            elif chain.names[0] in source.bound or self._is_starred(source, chain.names[0]):
                self._follow_name(source.place, chain.names)
            elif chain.names[0] in vars(builtins):
                self._findings.follow_library(('builtins', *chain.names))
            for by in imports_by_text(chain, read.calls):
                self.follow_text(by, '.'.join(chain.names))


def looked_up_by(names: Sequence[str]) -> str:
    """How a person calls the function of a library that looks names up; '' where it is another function.

    >>> looked_up_by(['pydoc', 'locate']), looked_up_by(['builtins', 'eval']), looked_up_by(['math', 'sin'])
    ('pydoc.locate', 'eval', '')
    """
    first, last = names[0], names[-1]
    if last not in _LOOKING_UP.get(first, ()):
        return ''
    return {'builtins': last, 'runpy': first, '_frozen_importlib_external': last}.get(first, '.'.join(names))


def imports_by_text(chain: Chain, calls: Iterable[tuple[str, str | None]]) -> list[str | None]:
    """The modules that a function which is used may import by name; None for a computed name."""
    if 'import_module' not in chain.names and '__import__' not in chain.names:
        return []
    called = '.'.join(chain.names)
    found = [text for name, text in calls if called == name or called.endswith('.' + name) or name.startswith(called)]
    return found


def _absolute(names: Sequence[str], level: int, package: str) -> tuple[str, ...] | None:
    try:
        base = importlib.util.resolve_name('.' * level, package).rstrip('.')
    except (ImportError, ValueError):
        return None
    return (*base.split('.'), *names)


def _is_secret_text(name: str, statement: ast.stmt) -> bool:
    return is_secret_constant(name) and any(
        isinstance(node, ast.Constant) and isinstance(node.value, str | bytes) for node in walk(statement)
    )


# ----- one module -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Statement:
    """What counts of a statement of a top level: its text without secrets, the digest of it, and what it uses."""

    text: str
    digest: str
    chains: tuple[Chain, ...]
    calls: frozenset[tuple[str, str | None]]
    words: frozenset[str]


@dataclass(eq=False)
class ModuleSource:
    """What the top level of a module binds, by the source of the module."""

    place: ModulePlace
    file: SourceFile
    #: The statements that bind each name, or change what it is bound to.
    bound: dict[str, list[ast.stmt]] = field(default_factory=dict)
    #: The modules of which all names are imported.
    stars: list[str] = field(default_factory=list)
    _read: dict[int, Statement] = field(default_factory=dict)
    #: Code that was found in the file.
    _found: dict[int, CodeType] = field(default_factory=dict)

    def __post_init__(self) -> None:
        others: list[ast.stmt] = []
        for statement in _statements(self.file.tree.body):
            names = sorted(_names_bound(statement))
            for name in names:
                if name == '*':
                    path = self.imported(statement, '')
                    self.stars.append('.'.join(path))
                else:
                    self.bound.setdefault(name, []).append(statement)
            if not isinstance(statement, ast.Import | ast.ImportFrom):
                others.append(statement)
        changes = self._changes_by_definition()
        for statement in others:
            mentioned = _names_mentioned(statement) if not isinstance(statement, _BOUND_BY) else set()
            # such as a decorator that registers functions, and a base class that registers those derived of it
            by_call = {name for used in (mentioned or _names_used_outside(statement)) for name in changes.get(used, ())}
            for name in sorted(mentioned | by_call):
                known = self.bound.get(name)
                if known is not None and statement not in known and (name in by_call or _may_change(statement, name)):
                    known.append(statement)

    def _changes_by_definition(self) -> dict[str, set[str]]:
        """What functions and classes of the top level change of the other names there when they are used."""
        found = {}
        for name, statements in self.bound.items():
            for statement in statements:
                if isinstance(statement, _BOUND_BY):
                    changed = {item.partition('.')[0] for item in usage_of(statement).changed}
                    registers = changed and any(_names_bound(item) == {'__init_subclass__'} for item in statement.body)
                    found[name] = (changed & self.bound.keys() - {name}) | ({name} if registers else set())
        return {name: changed for name, changed in found.items() if changed}

    def imported(self, statement: ast.stmt, name: str) -> tuple[str, ...]:
        """The path of what an import statement binds to a name."""
        if isinstance(statement, ast.ImportFrom):
            module = tuple((statement.module or '').split('.')) if statement.module else ()
            base = _absolute(module, statement.level, self.place.package) if statement.level else module
            found = next((alias.name for alias in statement.names if (alias.asname or alias.name) == name), '')
            return (*(base or ()), *((found,) if found else ()))
        assert isinstance(statement, ast.Import)
        for alias in statement.names:
            if alias.asname == name:
                return tuple(alias.name.split('.'))
        return (name,)

    def read(self, statement: ast.stmt) -> Statement:
        """What counts of a statement."""
        found = self._read.get(id(statement))
        if found is None:
            if isinstance(statement, _BOUND_BY):
                text, tree = node_text(statement, self.file.lines), ast.Module([statement], [])
            else:
                tree = _WithoutSecrets().visit(ast.parse(ast.unparse(statement)))
                text = ast.unparse(tree)
            # annotations are not looked up
            flags = __future__.annotations.compiler_flag | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
            code = compile(ast.Module([statement], []), '<statement>', 'exec', flags, dont_inherit=True)
            calls = usage_of(statement).calls
            found = Statement(text, tree_digest(tree), names_in(code).chains, calls, words_in(code))
            self._read[id(statement)] = found
        return found

    @cached_property
    def changed_by_itself(self) -> frozenset[str]:
        """Names whose values functions of the module change."""
        rebound = {name for node in walk(self.file.tree) if isinstance(node, ast.Global) for name in node.names}
        return frozenset(rebound | usage_of(self.file.tree).changed)

    def is_loaded_as(self, module: ModuleType) -> bool:
        """Whether a module that is loaded is what its source says."""
        return all(self._is_loaded(vars(module), name, found) for name, found in self.bound.items() if len(found) == 1)

    def _is_loaded(self, names: dict[str, Any], name: str, statements: list[ast.stmt]) -> bool:
        statement, value = statements[0], names.get(name)
        if name not in names:
            return not isinstance(statement, _BOUND_BY)
        if isinstance(statement, ast.ClassDef):
            members = vars(value).values() if isinstance(value, type) else ()
            return all(self._is_function_of_file(member) for member in members)
        if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef):
            return self._is_function_of_file(value) and (
                statement.decorator_list != [] or isinstance(value, FunctionType)
            )
        if isinstance(statement, ast.Assign) and name not in self.changed_by_itself:
            return _is_value_of(statement.value, value)
        return True

    def _is_function_of_file(self, value: Any) -> bool:
        function = getattr(value, '__func__', value)
        seen = 0
        while hasattr(function, '__wrapped__') and seen < 20:
            function, seen = function.__wrapped__, seen + 1
        if not isinstance(function, FunctionType) or function.__code__.co_filename != self.place.file:
            return True  # made by a decorator, or a library's
        code = function.__code__
        if self._found.get(id(code)) is not code:
            if self.file.function_of(code) is None:
                return False
            self._found[id(code)] = code
        return True


_sources: dict[str, ModuleSource] = {}


def _module_source(place: ModulePlace) -> ModuleSource | None:
    """The source of a module; None where there is none, or where the module that is loaded is not what it says."""
    file = file_as_loaded(place.name, place.file)
    if file is None:
        return None
    source = _sources.get(place.name)
    if source is None or source.file is not file:
        source = _sources[place.name] = ModuleSource(place, file)
    loaded = sys.modules.get(place.name)
    return None if loaded is not None and not source.is_loaded_as(loaded) else source


def file_as_loaded(name: str, file: str) -> SourceFile | None:
    """The source of a module as it was when it was loaded, or as it is now if it is not loaded."""
    known = loaded_modules().get(name)
    if known is None or not known.differs_on_disk():
        return source_file(file) if file else None
    return source_of_text(known.source, file) if known.source else None


def _statements(body: list[ast.stmt]) -> list[ast.stmt]:
    return [item for item in body if not (isinstance(item, ast.If) and _is_for_scripts(item.test))]


def _is_for_scripts(test: ast.expr) -> bool:
    return isinstance(test, ast.Compare) and isinstance(test.left, ast.Name) and test.left.id == '__name__'


def _names_bound(statement: ast.AST) -> set[str]:
    """The names of the top level that a statement binds."""
    if isinstance(statement, _BOUND_BY):
        return {statement.name}
    found: set[str] = set()
    for node in _outside_functions(statement):
        if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
            found.add(node.id)
        elif isinstance(node, _BOUND_BY):
            found.add(node.name)
        elif isinstance(node, ast.Import):
            found.update(alias.asname or alias.name.partition('.')[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module != '__future__':
            found.update(alias.asname or alias.name for alias in node.names)
    return found


def _outside_functions(node: ast.AST) -> Iterator[ast.AST]:
    yield node
    if not isinstance(node, (*_BOUND_BY, ast.Lambda)):
        for child in child_nodes(node):
            yield from _outside_functions(child)


def _names_mentioned(statement: ast.stmt) -> set[str]:
    return {node.id for node in walk(statement) if isinstance(node, ast.Name)}


def _names_used_outside(statement: ast.stmt) -> set[str]:
    """The names that are used by the decorators and bases of a function or class."""
    outside = [*getattr(statement, 'decorator_list', ()), *getattr(statement, 'bases', ())]
    return {node.id for part in outside for node in walk(part) if isinstance(node, ast.Name)}


def _may_change(statement: ast.stmt, name: str) -> bool:
    """Whether a statement that mentions a name may change its value: by an assignment to a part of it, or a call."""
    if isinstance(statement, ast.Assign | ast.AnnAssign | ast.AugAssign):
        targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
        bases = {node.id for target in targets for node in walk(target) if isinstance(node, ast.Name)}
        return name in bases
    return True


def _is_value_of(written: ast.expr, value: Any) -> bool:
    """Whether a value is what a literal says; True for what is not a literal, of which that is not known."""
    try:
        literal = ast.literal_eval(written)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return True
    try:
        return value_text(literal, _no_name).text == value_text(value, _no_name).text
    except CannotTellError:
        return False


def _no_name(value: Any) -> str | None:
    return None


class _WithoutSecrets(ast.NodeTransformer):
    """Leaves out texts that are given under names of secrets."""

    def visit_Dict(self, node: ast.Dict) -> ast.Dict:
        self.generic_visit(node)
        for i, (key, value) in enumerate(zip(node.keys, node.values, strict=True)):
            if isinstance(key, ast.Constant) and is_secret_constant(key.value):
                node.values[i] = _without_text(value)
        return node

    def visit_keyword(self, node: ast.keyword) -> ast.keyword:
        self.generic_visit(node)
        if is_secret_constant(node.arg):
            node.value = _without_text(node.value)
        return node


def _without_text(value: ast.expr) -> ast.expr:
    is_text = isinstance(value, ast.Constant) and isinstance(value.value, str | bytes)
    return ast.Constant('…') if is_text else value
