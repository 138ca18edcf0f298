"""The code print of a task class: a short digest of all the user's code that makes its results.

It covers the class's methods and attributes, inherited ones up to `TaskOnKart` too, and the functions, classes and
constants that they reach in the notebook and in the user's own packages. Code counts by its syntax tree. Parameters do
not count, because they are in the unique id, and neither do other task classes, because they have prints of their own.

What cannot be compared counts by the text that says why. Another wording of such a text would make results stale that
lie on disk, so these stay as they are, and `CodePrint.unknown` words them for people.
"""

from __future__ import annotations

import ast
import copy
import enum
import functools
import importlib.util
import inspect
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any

import luigi

from kartnb._luigi import CLASS_ATTRIBUTES
from kartnb.task.code_parts import (
    CHANGING,
    PYTHON,
    Chain,
    Kind,
    Names,
    Part,
    Usage,
    held_functions,
    is_own,
    names_in,
    part_digest,
    parts_to_json,
    print_of_digests,
    tree_digest,
    usage_of,
)
from kartnb.task.code_values import CannotTellError, value_text
from kartnb.task.registry import is_task_class
from kartnb.task.secrets import is_secret_constant
from kartnb.task.source import code_text, function_source, once_per_code


def method_sources(owner: Any) -> set[str]:
    """The source texts of the functions and methods of a class or an instance.

    Raises OSError when the source of one is not available.
    """
    cls = owner if isinstance(owner, type) else type(owner)
    found = [member for _, member in inspect.getmembers(cls)]
    if owner is not cls:
        # `run` on the instance is the class's, with the check for completeness around it
        found.extend(member for name, member in vars(owner).items() if name != 'run')
    return {inspect.getsource(member) for member in found if inspect.isfunction(member) or inspect.ismethod(member)}


def own_source(task: Any, base: type) -> str:
    """The source of the methods of a task that `base` does not have, sorted and joined."""
    return ''.join(sorted(method_sources(task) - method_sources(base)))


_NOT_FOUND = object()
#: How a task runs, not what it makes; and what Python, luigi and kartnb put into a class by themselves.
_NOT_COUNTED = frozenset(
    {
        'priority',
        'resources',
        'retry_count',
        'worker_timeout',
        'disable_hard_timeout',
        'disable_window_seconds',
        'disabled',
        'owner_email',
        'accepts_messages',
        'batchable',
        'max_batch_size',
        'task_namespace',
        'on_code_change',
        '_kart_table',
        *CLASS_ATTRIBUTES,
    }
)
_UNREAD = Usage()
#: Functions of Python that look up names which are unknown before the code runs.
_LOOKING_UP = frozenset({'eval', 'exec', 'globals', '__import__'})
#: The marks of classes with fields, and with methods that were generated for them.
_MARKS = ('__dataclass_fields__', '__attrs_attrs__', '_fields', '__pydantic_fields__')


@dataclass(frozen=True, slots=True)
class _Read:
    """What is known of one code object."""

    kind: Kind
    text: str
    digest: str
    names: Names
    usage: Usage | None


@once_per_code
def _read(code: CodeType) -> _Read:
    source = function_source(code)
    names = names_in(code)
    if source.node is not None:
        usage = usage_of(source.node)
        return _Read('source', source.text, tree_digest(_as_module(source.node)), names, usage)
    kind: Kind = 'code' if source.rewritten else 'unknown'
    text = part_digest(Part('', 'value', code_text(code))) if source.rewritten else source.problem
    return _Read(kind, text, part_digest(Part('', kind, text)), names, None)


def _as_module(node: ast.AST) -> ast.AST:
    """The tree that parsing the node's own text gives."""
    own: Any = copy.deepcopy(node)
    return ast.Module([ast.Expr(own) if isinstance(own, ast.Lambda) else own], [])


@dataclass(slots=True)
class _Constant:
    """A name that has a value which is neither a function nor a class."""

    name: str
    value: Any
    changed: bool = False
    read: bool = False
    text: str | None = None
    problem: str = ''


class Reach:
    """Explores what one task class reaches."""

    def __init__(self, cls: type) -> None:
        self._cls = cls
        self._found: list[tuple[Part, str]] = []
        self._names: dict[str, int] = {}
        self._seen: dict[int, Any] = {}
        self._pending: list[FunctionType] = []
        self._constants: dict[tuple[int, str], _Constant] = {}
        #: Attributes that methods change in place, and those that they read, of `self`.
        self._filled: set[str] = set()
        self._used: set[str] = set()

    def explore(self) -> None:
        """Go through all that is reached."""
        self._follow_class(self._cls)
        while True:
            while self._pending:
                self._enter(self._pending.pop())
            constant = next((item for item in self._constants.values() if item.text is None and not item.problem), None)
            if constant is None:
                return
            self._write(constant)

    def parts(self) -> Iterator[tuple[Part, str]]:
        """The parts, each with the digest of what counts of it, in a fixed order."""
        found = list(self._found)
        for (_, name), constant in self._constants.items():
            constant.changed |= name in self._filled
            part = _constant_part(constant, constant.read or name in self._used)
            if part is not None:
                found.append((part, part_digest(part)))
        yield from sorted(found, key=lambda item: (item[0].name, item[0].kind, item[1]))

    def _write(self, constant: _Constant) -> None:
        try:
            constant.text = value_text(constant.value, self._follow)
        except CannotTellError as error:
            constant.problem = f'{constant.name} cannot be compared: {error}'
        except Exception as error:  # whatever the methods of a user's class raise
            constant.problem = f'{constant.name} cannot be compared: {type(error).__name__}'

    def _follow(self, value: Any) -> str | None:
        """Take a function or class into account; gives its name, None for anything else."""
        if id(value) in self._seen and not isinstance(value, type):
            return getattr(value, '__qualname__', type(value).__name__)
        if isinstance(value, luigi.Parameter):
            return 'parameter'
        if isinstance(value, type):
            return self._follow_class(value)
        if isinstance(value, ModuleType):
            return self._follow_module(value)
        if isinstance(value, FunctionType):
            self._seen[id(value)] = value
            self._pending.append(value)
            return value.__qualname__
        return self._unwrap(value) or _library_name(value)

    def _unwrap(self, value: Any) -> str | None:
        held = held_functions(value)
        if held is None:
            return None
        self._seen[id(value)] = value
        for item in held:
            if self._follow(item) is None:
                self._note_constant((id(value), str(len(self._constants))), type(value).__name__, item, None)
        return type(value).__name__

    def _follow_class(self, cls: type) -> str:
        name = cls.__qualname__ if is_own(cls.__module__) else f'{cls.__module__}.{cls.__qualname__}'
        if id(cls) in self._seen or not is_own(cls.__module__):
            return name
        if issubclass(cls, luigi.Task) and cls is not self._cls and not issubclass(self._cls, cls):
            return name  # its own print tells whether it has changed
        self._seen[id(cls)] = cls
        bases = [base.__qualname__ for base in cls.__mro__[1:] if base is not object]
        self._note(Part(f'{cls.__qualname__} is a', 'value', ', '.join(bases)))
        for base in (*cls.__mro__[1:], type(cls)):
            self._follow_class(base)
        fields = class_fields(cls)
        if fields is not None:
            self._note_constant((id(cls), 'fields'), f'the fields of {cls.__qualname__}', fields, None)
        for attribute, value in sorted(vars(cls).items()):
            if _counts(attribute, value) and not (fields is not None and _is_generated(attribute, value)):
                self._follow_attribute(cls, attribute, value)
        return name

    def _follow_attribute(self, cls: type, attribute: str, value: Any) -> None:
        if self._follow(value) is None:
            self._note_constant((id(cls), attribute), f'{cls.__qualname__}.{attribute}', value, _UNREAD)

    def _follow_module(self, module: ModuleType) -> str:
        name = module.__name__
        if id(module) not in self._seen and is_own(name) and name != '__main__':
            self._seen[id(module)] = module
            for _, value in sorted(vars(module).items()):
                if getattr(value, '__module__', None) == name:
                    self._follow(value)
        return name

    def _enter(self, function: FunctionType) -> None:
        """Take the code of a function into account, and all that it uses."""
        # a library's wrapper has the name of what it wraps, and of its module too
        if not is_own(function.__globals__.get('__name__')):
            self._look_through(function)
            return
        read = _read(function.__code__)
        name = function.__code__.co_qualname.rpartition('<locals>.')[2]
        self._note(Part(name, read.kind, read.text), read.digest)
        for i, value in enumerate((*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values())):
            if self._follow(value) is None:
                self._note_constant((id(function), str(i)), f'a default of {name}', value, None)
        if '__wrapped__' in vars(function):
            self._follow(function.__wrapped__)  # type: ignore[attr-defined]
        self._note_own_attributes(function.__code__, read.usage)
        for chain in read.names.chains:
            self._resolve(function, chain, read)

    def _note_own_attributes(self, code: CodeType, usage: Usage | None) -> None:
        own = f'{code.co_varnames[0]}.' if code.co_argcount else ''
        if own and usage is not None:
            self._filled.update(name.removeprefix(own) for name in usage.changed if name.startswith(own))
            self._used.update(name.removeprefix(own) for name in usage.read if name.startswith(own))

    def _look_through(self, function: FunctionType) -> None:
        """Find the user's functions in a wrapper that a library made of them."""
        held = [vars(function).get('__wrapped__'), *(_content(cell) for cell in function.__closure__ or ())]
        for value in held:
            for item in value.values() if isinstance(value, dict) else (value,):
                if isinstance(item, FunctionType | functools.partial | MethodType) and id(item) not in self._seen:
                    self._follow(item)

    def _resolve(self, function: FunctionType, chain: Chain, read: _Read) -> None:
        key, value, taken = _first(function, chain)
        if value is _NOT_FOUND:
            if chain.kind == 'global' and chain.names[0] in _LOOKING_UP:
                problem = f'{function.__qualname__} looks names up by {chain.names[0]}'
                self._note_unknown(function.__code__, chain.names[0], problem)
            return
        while taken < len(chain.names) and (isinstance(value, ModuleType) or is_task_class(value)):
            if isinstance(value, ModuleType) and not is_own(value.__name__):
                return
            attribute = chain.names[taken]
            key = (id(value), attribute)
            value, taken = inspect.getattr_static(value, attribute, _NOT_FOUND), taken + 1
            if value is _NOT_FOUND:
                return
        if isinstance(value, type) and issubclass(value, self._cls) and '__class__' in chain.names:
            return
        if isinstance(value, FunctionType) and taken < len(chain.names) and chain.names[taken] in vars(value):
            self._follow(value)
            key = (id(value), chain.names[taken])
            value, taken = vars(value)[chain.names[taken]], taken + 1
        if self._follow(value) is None:
            name = '.'.join(chain.names[:taken])
            usage = None if chain.kind == 'module' else read.usage
            if usage is None and taken < len(chain.names) and chain.names[taken] in CHANGING:
                usage = Usage(changed=frozenset({name}))  # without a syntax tree the call shows it
            self._note_constant(key, name, value, usage, assigned=chain.names[0] in read.names.assigned)

    def _note_unknown(self, owner: object, name: str, problem: str) -> None:
        """Note that something cannot be compared."""
        self._constants.setdefault((id(owner), name), _Constant(name, None, read=True, problem=problem))

    def _note_constant(
        self, key: tuple[int, str], name: str, value: Any, usage: Usage | None, assigned: bool = False
    ) -> None:
        if is_secret_constant(name.rpartition('.')[2]):
            return
        constant = self._constants.setdefault(key, _Constant(name, value))
        constant.changed |= assigned or (usage is not None and (name in usage.changed or name in usage.rebound))
        constant.read |= usage is None or name in usage.read

    def _note(self, part: Part, digest: str | None = None) -> None:
        number = self._names[part.name] = self._names.get(part.name, 0) + 1
        named = part if number == 1 else Part(f'{part.name} #{number}', part.kind, part.text)
        self._found.append((named, digest if digest is not None else part_digest(part)))


def _constant_part(constant: _Constant, read: bool) -> Part | None:
    if constant.changed:
        if not read:
            return None  # the code only fills it
        return Part(constant.name, 'unknown', f'{constant.name} is changed by the code itself')
    if constant.text is None:
        return Part(constant.name, 'unknown', constant.problem)
    return Part(constant.name, 'value', constant.text)


def _first(function: FunctionType, chain: Chain) -> tuple[tuple[int, str], Any, int]:
    """Where the first name of a chain was found, its value, and how many names of the chain that took."""
    name = chain.names[0]
    if chain.kind == 'global':
        return (id(function.__globals__), name), function.__globals__.get(name, _NOT_FOUND), 1
    if chain.kind == 'closure':
        cell = (function.__closure__ or ())[function.__code__.co_freevars.index(name)]
        value = _content(cell)
        return (id(cell), name), _NOT_FOUND if name == '__class__' else value, 1
    path = '.'.join(chain.names)
    if chain.level:
        package = function.__globals__.get('__package__') or ''
        try:
            path = importlib.util.resolve_name('.' * chain.level + path, package)
        except ImportError:
            return (0, name), _NOT_FOUND, 0
    names = path.split('.')
    for end in range(len(names), 0, -1):
        module = sys.modules.get('.'.join(names[:end]))
        if module is not None:
            return (id(module), name), module, max(len(chain.names) - (len(names) - end), 0)
    return (0, name), _NOT_FOUND, 0


def _content(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:
        return _NOT_FOUND


def _counts(attribute: str, value: Any) -> bool:
    if attribute in _NOT_COUNTED or isinstance(value, luigi.Parameter):
        return False
    if not (attribute.startswith('__') and attribute.endswith('__')):
        return not _is_slot(value)
    return isinstance(value, FunctionType | classmethod | staticmethod | property) or attribute == '__slots__'


def class_fields(cls: type) -> dict[str, Any] | None:
    """What the fields of a dataclass, an enumeration and the like are; None for a class that has methods only."""
    if issubclass(cls, enum.Enum):
        return {name: member.value for name, member in cls.__members__.items()}
    written = vars(cls)
    if not any(mark in written for mark in _MARKS):
        return None
    annotations = {name: _kind_name(kind) for name, kind in _annotations(cls).items()}
    fields = written.get('__dataclass_fields__', {})
    factories = [field.default_factory for field in fields.values() if callable(field.default_factory)]
    defaults = {name: value for name, value in written.items() if name in annotations and not _is_slot(value)}
    return {'fields': annotations, 'defaults': defaults, **written.get('_field_defaults', {}), 'made by': factories}


def _annotations(cls: type) -> dict[str, Any]:
    try:
        return inspect.get_annotations(cls)
    except Exception:  # they may name what is not there
        return {}


def _kind_name(kind: Any) -> str:
    return kind.__qualname__ if isinstance(kind, type) else str(kind)


def _is_slot(value: Any) -> bool:
    return type(value).__name__ in ('getset_descriptor', 'member_descriptor', '_tuplegetter')


def _is_generated(attribute: str, value: Any) -> bool:
    """Whether a decorator or a metaclass has written an attribute of a class with fields; those count as a whole."""
    inner = value.__func__ if isinstance(value, classmethod | staticmethod) else value
    if isinstance(inner, FunctionType):
        written: Any = inspect.unwrap(inner)
        return bool(function_source(written.__code__).problem)
    return not isinstance(inner, property | functools.cached_property | type)


def _library_name(value: Any) -> str | None:
    """The name of a function of a library, whatever it is made of; None for anything else."""
    if not callable(value) or not hasattr(value, '__name__'):
        return None
    module = getattr(value, '__module__', None) or type(value).__module__
    return None if is_own(module) else f'{module}.{value.__name__}'


@dataclass(frozen=True, slots=True)
class CodePrint:
    """The code print of one class."""

    #: Equal for classes that do the same; 12 hexadecimal digits.
    digest: str
    parts: tuple[Part, ...]
    #: The name of the class.
    title: str = ''
    #: What cannot be compared, and why, in words for people; usually empty.
    unknown: tuple[str, ...] = ()
    #: The name under which the parts are kept: the Python version that made it, and the digest.
    key: str = ''

    def to_json(self) -> str:
        """The parts as the text of a file."""
        return parts_to_json(self.parts, self.title)


class Printer:
    """Makes the prints of task classes, each once: what is changed meanwhile is seen by the next printer."""

    def __init__(self) -> None:
        self._prints: dict[type, CodePrint] = {}

    def print_of(self, cls: type) -> CodePrint:
        """The code print of a class."""
        known = self._prints.get(cls)
        if known is None:
            known = self._prints[cls] = _print_of(cls)
        return known


def _print_of(cls: type) -> CodePrint:
    try:
        reach = Reach(cls)
        reach.explore()
        found = list(reach.parts())
    except Exception as error:  # metaclasses and descriptors of the user's may raise anything; the task itself may run
        why = f'the code of {cls.__qualname__} cannot be read ({type(error).__name__})'
        part = Part(cls.__qualname__, 'unknown', why)
        found = [(part, part_digest(part))]
    digest = print_of_digests((part.name, part.kind, counted) for part, counted in found)
    parts = tuple(part for part, _ in found)
    unknown = tuple(_in_words(part) for part in parts if part.kind == 'unknown')
    return CodePrint(digest, parts, cls.__qualname__, unknown, f'{PYTHON}-{digest}')


def _in_words(part: Part) -> str:
    return part.text.replace(' is not to be had', ' is not available')
