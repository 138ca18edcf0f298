"""The code print of a task class: a short digest of all the user's code that makes its results.

It covers the class's methods and attributes, inherited ones up to `TaskOnKart` too, and the functions, classes and
constants that they reach in the notebook and in the user's own packages. Code counts by its syntax tree, what belongs
to a library by its qualified name. Parameters do not count, because they are in the unique id, and neither do other
task classes, because they have prints of their own.

The print is a function of the source alone: equal in every process, whatever is imported there already.
"""

from __future__ import annotations

import ast
import functools
import inspect
import re
import sys
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any

import luigi

from kartnb._luigi import CLASS_ATTRIBUTES, registered_classes
from kartnb.task.code.imported import (
    LOOKING_UP_ATTRIBUTES,
    ImportedCode,
    file_as_loaded,
    imports_by_text,
    looked_up_by,
)
from kartnb.task.code.libraries import (
    CACHED_FUNCTION,
    DECORATED,
    NOT_FOUND,
    extended_classes,
    held_functions,
    held_under,
    is_code,
    is_ours,
    is_own_class,
    is_patch,
    is_shared_random,
    is_unseen_reader,
    library_name,
    own_code_in,
    public_name,
)
from kartnb.task.code.own import find_module, is_library, is_own, look_up_packages
from kartnb.task.code.parts import (
    CHANGING,
    MADE_BY,
    Chain,
    Kind,
    Names,
    Part,
    Usage,
    names_in,
    part_digest,
    parts_to_json,
    print_of_digests,
    tree_digest,
    usage_of,
    words_in,
)
from kartnb.task.code.source import (
    FunctionSource,
    check_files_again,
    code_text,
    function_source,
    node_text,
    once_per_code,
)
from kartnb.task.code.values import CannotTellError, class_fields, is_generated, is_slot, value_text
from kartnb.task.registry import is_task_class


def method_sources(target_class: Any) -> set[str]:
    """The source texts of the functions and methods of a class or an instance.

    Raises OSError when the source of one is not available.
    """
    cls = target_class if isinstance(target_class, type) else type(target_class)
    found = [member for _, member in inspect.getmembers(cls)]
    if target_class is not cls:
        found.extend(vars(target_class).values())
    return {inspect.getsource(member) for member in found if inspect.isfunction(member) or inspect.ismethod(member)}


def own_source(task: Any, base: type) -> str:
    """The source of the methods of a task that `base` does not have, sorted and joined."""
    return ''.join(sorted(method_sources(task) - method_sources(base)))


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
        'expires',
        'on_version_change',
        '_kart_table',
        *CLASS_ATTRIBUTES,
    }
)
#: What an attribute `memory` holds that says how much a task needs.
_AMOUNT = re.compile(r'\d+(\.\d+)?\s*[kmgt]i?b', re.IGNORECASE)
_UNREAD = Usage()


@dataclass(frozen=True, slots=True)
class _Read:
    """What is known of one code object."""

    name: str
    kind: Kind
    text: str
    digest: str
    names: Names
    usage: Usage | None


@once_per_code
def _read(code: CodeType) -> _Read:
    return _read_source(code, function_source(code))


def _read_source(code: CodeType, source: FunctionSource) -> _Read:
    names, name = names_in(code), (source.name or code.co_qualname).rpartition('<locals>.')[2]
    if source.node is not None:
        return _Read(name, 'source', source.text, tree_digest(_as_module(source.node)), names, usage_of(source.node))
    text = part_digest(Part('', 'value', code_text(code)))
    return _Read(name, 'code', text, part_digest(Part('', 'code', text)), names, None)


def _read_function(function: FunctionType) -> _Read:
    read = _read(function.__code__)
    if read.kind == 'source' or function.__module__ in ('__main__', None):
        return read
    # the file was edited since, or IPython's autoreload has compiled the function apart from its file
    place = getattr(sys.modules.get(function.__module__), '__file__', None) or ''
    if function.__code__.co_filename not in (place, '<string>'):
        return read
    file = file_as_loaded(function.__module__, place)
    found = None if file is None else file.function_of(function.__code__, anywhere=True)
    if file is None or found is None:
        return read
    return _read_source(function.__code__, FunctionSource(node_text(found[0], file.lines), *found))


def _as_module(node: Any) -> ast.Module:
    """The tree that parsing the node's own text gives."""
    return ast.Module([ast.Expr(node) if isinstance(node, ast.Lambda) else node], [])


@dataclass(slots=True)
class _Constant:
    """A name that has a value which is neither a function nor a class of the same name."""

    name: str
    value: Any
    #: The last word of the name, which says whether its texts are secrets.
    word: str
    changed: bool = False
    read: bool = False
    text: str | None = None
    problem: str = ''


class Reach:
    """Explores what one task class or function reaches."""

    def __init__(self, root: Any) -> None:
        self._root = root
        self._found: list[tuple[Part, str]] = []
        self._seen: dict[int, Any] = {}
        self._under_way: set[int] = set()
        self._pending: list[FunctionType] = []
        self._constants: dict[tuple[int, str], _Constant] = {}
        self._unwritten: deque[_Constant] = deque()
        self._imported = ImportedCode(self)
        #: Whether a module is the user's, asked once.
        self._is_own_module = functools.cache(is_own)
        #: Attributes that methods change in place, and those that they read, of `self`.
        self._filled: set[str] = set()
        self._used: set[str] = set()
        #: Attributes that say how much memory a task needs, unless its code reads them.
        self._amounts: set[str] = set()
        self._library_classes: dict[int, type] = {}
        #: Words of which it is known already which library classes have them.
        self._looked_for: set[str] = set()
        self.packages: set[str] = set()
        self.readers: set[str] = set()
        self.draws: set[str] = set()
        self.caches: set[tuple[str, str]] = set()
        self.not_compared: set[str] = set()
        self.words: set[str] = set()
        self.task_classes: set[tuple[str, str]] = set()

    def explore(self) -> None:
        """Go through all that is reached."""
        look_up_packages()
        check_files_again()
        if isinstance(self._root, type) and issubclass(self._root, luigi.Task):
            self._follow_class(self._root)
        else:
            self._note_constant((0, ''), getattr(self._root, '__name__', type(self._root).__name__), self._root, None)
        while True:
            while self._pending:
                self._enter(self._pending.pop())
            if self._unwritten:
                self._write(self._unwritten.popleft())
            elif not self._follow_patches():
                return

    def parts(self) -> list[tuple[Part, str]]:
        """The parts, each with the digest of what counts of it, in a fixed order."""
        found = list(self._found)
        names = {part.name for part, _ in found}
        for (_, name), constant in self._constants.items():
            if constant.name in self._amounts and 'memory' not in self.words:
                continue  # it says how the task runs, not what it makes
            constant.changed |= name in self._filled
            part = _constant_part(constant, constant.read or name in self._used)
            if part is not None:
                part = Part(f'{part.name} is', part.kind, part.text) if part.name in names else part
                found.append((part, part_digest(part)))
        # numbered in the end: the order in which things are found is that of sets, too
        numbers: dict[str, int] = {}
        named = []
        for part, digest in sorted(set(found), key=lambda item: (item[0].name, item[0].kind, item[1], item[0].text)):
            number = numbers[part.name] = numbers.get(part.name, 0) + 1
            named.append((part if number == 1 else Part(f'{part.name} #{number}', part.kind, part.text), digest))
        return named

    # --- what is found ---

    def note(self, part: Part, digest: str | None = None) -> None:
        """Note a part."""
        self._found.append((part, digest if digest is not None else part_digest(part)))

    def note_unknown(self, name: str, problem: str) -> None:
        """Note that something cannot be compared."""
        self.note(Part(name, 'unknown', problem))

    def note_secret(self, name: str) -> None:
        """Note that a secret was left out."""
        self.not_compared.add(name)

    def note_words(self, words: frozenset[str], by: str) -> None:
        """Note all names in some code."""
        self.words |= words
        for word in sorted(LOOKING_UP_ATTRIBUTES & words):
            self.note_unknown(by, f'{by} looks names up by {word}')

    def note_library(self, name: str) -> None:
        """Note that a library is used, or something of it by its qualified name."""
        if is_unseen_reader(name):
            self.readers.add(name)
        if is_shared_random(name):
            self.draws.add(name)
        top = name.partition('.')[0]
        if not is_library(top) and not self._is_own_module(top):
            self.packages.add(top)

    def _write(self, constant: _Constant) -> None:
        try:
            written = value_text(constant.value, self._follow, constant.word)
        except CannotTellError as error:
            constant.problem = f'{constant.name} cannot be compared: {error}'
        except Exception as error:  # whatever the methods of a user's class raise
            constant.problem = f'{constant.name} cannot be compared: {type(error).__name__}'
        else:
            constant.text = written.text
            self.not_compared.update(written.not_compared)

    # --- what a name is bound to ---

    def _take(
        self,
        key: tuple[int, str],
        name: str,
        value: Any,
        usage: Usage | None = None,
        *,
        assigned: bool = False,
        word: str = '',
    ) -> None:
        """Take into account that a name has a value."""
        if isinstance(value, luigi.Parameter):
            self._follow_parameter(value)
            return
        if is_code(value) and _name_of(value) == name.rpartition('.')[2]:
            if self._is_own(value):
                self._follow(value)  # its own parts say everything
                return
        elif isinstance(value, DECORATED):
            # the decorator is in the source of the function
            for item in held_functions(value) or ():
                if isinstance(item, FunctionType) and _name_of(item) != name.rpartition('.')[2]:
                    break
                self._follow(item)
            else:
                return
        self._note_constant(key, name, value, usage, assigned=assigned, word=word)

    def _note_constant(
        self, key: tuple[int, str], name: str, value: Any, usage: Usage | None, assigned: bool = False, word: str = ''
    ) -> None:
        constant = self._constants.get(key)
        if constant is None:
            constant = self._constants[key] = _Constant(name, value, word or name.rpartition('.')[2])
            self._unwritten.append(constant)
        constant.name = min(constant.name, name)  # whichever was found first
        constant.changed |= assigned or (usage is not None and (name in usage.changed or name in usage.rebound))
        constant.read |= usage is None or name in usage.read

    def _is_own(self, value: Any) -> bool:
        if issubclass(type(value), type):
            return self._is_own_class(value)
        # `%run` takes the name of the script's module away
        return value is self._root or self._is_own_module(value.__globals__.get('__name__', '__main__'))

    def _is_own_class(self, cls: type) -> bool:
        if (self._is_own_module(cls.__module__) and is_own_class(cls)) or cls is self._root:
            return True
        # `type(…)` and `types.new_class` give a class the module of the code that calls its metaclass
        library = sys.modules.get(cls.__module__)
        return not hasattr(library, cls.__qualname__.partition('.')[0]) and any(
            isinstance(value, FunctionType) and self._is_own(value) for value in vars(cls).values()
        )

    def _follow(self, value: Any) -> str | None:
        """Take a function, class or module into account; gives its name, None for anything else."""
        if isinstance(value, luigi.Parameter):
            self._follow_parameter(value)
            return 'parameter'
        if issubclass(type(value), type):
            return self._follow_class(value)
        if issubclass(type(value), ModuleType):
            return self._follow_module(value)
        if type(value) is FunctionType:
            return self._follow_function(value)
        if isinstance(value, CACHED_FUNCTION) and self._is_own_module(value.__module__):
            self.caches.add((value.__module__, value.__wrapped__.__qualname__))
        name = library_name(value)
        if name is not None:
            self.note_library(name)
            self._note_lookup('', name.split('.'))
        return name

    def _follow_parameter(self, parameter: luigi.Parameter[Any]) -> None:
        """Take into account of which classes the values of a parameter are; the values are in the unique id."""
        for code in own_code_in(parameter):
            if isinstance(code, type) and issubclass(code, luigi.Task):
                continue
            self._follow(code)
            if code is not type(parameter):
                # where its cell was run again, what a task is given is of today's class
                self._follow(_of_today(code))

    def _follow_function(self, function: FunctionType) -> str | None:
        if id(function) not in self._seen:
            self._seen[id(function)] = function
            self._pending.append(function)
        if hasattr(function, 'registry') and hasattr(function, 'dispatch'):
            return f'{function.__qualname__} for {self._text(dict(function.registry))}'
        if not self._is_own(function):
            module = function.__module__ or ''
            name = function.__qualname__
            self.note_library(f'{module}.{name}')
            self._note_lookup('', f'{module}.{name}'.split('.'))
            return name if self._is_own_module(module) else public_name(f'{module}.{name}')
        read = _read_function(function)
        if '<' not in function.__code__.co_qualname or id(function) in self._under_way:
            return read.name
        # several functions may have this name: they differ in their code, and in what they were made with
        self._under_way.add(id(function))
        try:
            made_with = [_content(cell) for cell in function.__closure__ or ()]
            held = [item for item in (*made_with, *(function.__defaults__ or ())) if item is not NOT_FOUND]
            return f'{read.name}@{part_digest(Part("", "value", read.digest + self._text(held)))[:8]}'
        finally:
            self._under_way.discard(id(function))

    def _text(self, value: Any) -> str:
        try:
            return value_text(value, self._follow).text
        except CannotTellError:
            return ''  # it is a constant by itself too, which says so

    def _follow_class(self, cls: type) -> str:
        own = self._is_own_class(cls)
        if not own:
            self.note_library(f'{cls.__module__}.{cls.__qualname__}')
            self._note_lookup('', f'{cls.__module__}.{cls.__qualname__}'.split('.'))
            self._library_classes[id(cls)] = cls
        name = cls.__qualname__ if own or is_ours(cls) else public_name(f'{cls.__module__}.{cls.__qualname__}')
        if id(cls) in self._seen or not own:
            return name
        if issubclass(cls, luigi.Task) and not self._is_root_or_base(cls):
            self.task_classes.add((cls.__module__, cls.__name__))
            return name  # its own print tells whether it has changed
        self._seen[id(cls)] = cls
        bases = [self._follow_class(base) for base in cls.__bases__ if base is not object]
        self.note(Part(f'{name} is a', 'value', ', '.join(bases)))
        registered = sorted(other.__qualname__ for other in registered_classes(cls))
        if registered:
            self.note(Part(f'the classes registered with {name}', 'value', ', '.join(registered)))
        self._follow_class(type(cls))
        fields = class_fields(cls)
        if fields is not None:
            self._note_constant((id(cls), 'fields'), f'the fields of {name}', fields, None)
        for attribute, value in sorted(vars(cls).items()):
            if isinstance(value, luigi.Parameter):
                self._follow_parameter(value)
            elif _counts(attribute, value) and not (fields is not None and is_generated(cls, attribute, value)):
                if attribute == 'memory' and type(value) is str and _AMOUNT.fullmatch(value.strip()):
                    self._amounts.add(f'{name}.{attribute}')
                self._take((id(cls), attribute), f'{name}.{attribute}', value, _UNREAD)
        return name

    def _is_root_or_derived(self, cls: type) -> bool:
        return isinstance(self._root, type) and issubclass(cls, self._root)

    def _is_root_or_base(self, cls: type) -> bool:
        return cls is self._root or (isinstance(self._root, type) and issubclass(self._root, cls))

    def _follow_module(self, module: ModuleType) -> str:
        name = module.__name__
        if not self._is_own_module(name):
            self.note_library(name)
        elif id(module) not in self._seen and module is not sys.modules.get('__main__'):
            self._seen[id(module)] = module
            for attribute, value in sorted(vars(module).items()):
                if not attribute.startswith('__'):
                    self._take((id(module), attribute), f'{name}.{attribute}', value)
        return name

    # --- functions ---

    def _enter(self, function: FunctionType) -> None:
        """Take the code of a function into account, and all that it uses."""
        # a library's wrapper has the name of what it wraps, and of its module too
        if not self._is_own(function):
            self._look_through(function)
            return
        read = _read_function(function)
        self.note_words(words_in(function.__code__), read.name)
        self.note(Part(read.name, read.kind, read.text), read.digest)
        for parameter, value in _defaults(function):
            self._take((id(function), parameter), f'{read.name}({parameter})', value, word=parameter)
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
        """Find the user's functions in a wrapper that a library made of them, and what it was made with."""
        names = function.__code__.co_freevars
        held = dict(zip(names, map(_content, function.__closure__ or ()), strict=False))
        for name, value in [*held.items(), ('', vars(function).get('__wrapped__'))]:
            for item in value.values() if isinstance(value, dict) else (value,):
                if id(item) in self._seen:
                    continue
                if type(item) in (FunctionType, functools.partial, MethodType) or next(own_code_in(item), None):
                    self._take((id(function), name), f'{function.__name__}({name})', item)
            if isinstance(value, str | int | float | tuple) and self._is_own_module(function.__module__):
                self._take((id(function), name), f'{function.__name__}({name})', value)

    def _resolve(self, function: FunctionType, chain: Chain, read: _Read) -> None:
        if chain.kind == 'module':
            self._imported.follow(chain.names, chain.level, function.__globals__.get('__package__') or '')
            self._import_by_text(chain, read)
            return
        name = chain.names[0]
        if chain.kind == 'global':
            key, value = (id(function.__globals__), name), function.__globals__.get(name, NOT_FOUND)
        else:
            cell = (function.__closure__ or ())[function.__code__.co_freevars.index(name)]
            key, value = (id(cell), name), NOT_FOUND if name == '__class__' else _content(cell)
        if value is not NOT_FOUND:
            self._walk(key, value, chain.names, 1, function, read)
            self._import_by_text(chain, read)
        elif chain.kind == 'global':
            self.follow_library(('builtins', *chain.names), read.name)
            self._import_by_text(chain, read)

    def _note_lookup(self, by: str, names: Sequence[str]) -> None:
        word = looked_up_by(names)
        if word:
            self.note_unknown(by or word, f'{by} looks names up by {word}' if by else f'names are looked up by {word}')

    def _import_by_text(self, chain: Chain, read: _Read) -> None:
        if read.usage is not None:
            for name in imports_by_text(chain, read.usage.calls):
                self._imported.follow_text(name, read.name)

    def follow_loaded(self, module: ModuleType, names: Sequence[str]) -> None:
        """Take into account what a module holds under a name and its attributes; all of it without a name."""
        if not names:
            self._follow_module(module)
        else:
            self._walk((0, module.__name__), module, (module.__name__, *names), 1, None, None)

    def follow_library(self, names: Sequence[str], by: str = '') -> None:
        """Say where a function of a library looks names up, and follow code that was put under a library's name."""
        value: Any = sys.modules.get(names[0])
        for end, name in enumerate(names[1:], 2):
            self._note_lookup(by, names[:end])
            holder = value
            value = held_under(holder, name)
            self._follow_patch(holder, '.'.join(names[:end]), value)

    def _follow_patch(self, holder: Any, name: str, value: Any) -> bool:
        if type(value).__module__ == 'unittest.mock':
            self.note_unknown(name, f'{name} is a mock')
        elif is_patch(value):
            self._take((id(holder), name), name, value)
        else:
            return False
        return True

    def _follow_patches(self) -> bool:
        """Follow the user's methods of library classes, such as accessors of pandas; gives whether there were words."""
        words = sorted(self.words - self._looked_for)
        self._looked_for.update(words)
        bases = {base for cls in (*self._library_classes.values(), *extended_classes()) for base in cls.__mro__}
        for cls in bases if words else ():
            held = vars(cls)
            for word in words:
                if word in held:
                    self._follow_patch(cls, f'{cls.__name__}.{word}', held[word])
        return bool(words)

    def _follow_subclasses(self, cls: type) -> None:
        all_derived: list[type] = type.__subclasses__(cls)
        # of a class that was defined again, the last definition
        named = {derived.__qualname__: derived for derived in all_derived if derived.__module__ == cls.__module__}
        for derived in named.values():
            self._follow_class(derived)
            self._follow_subclasses(derived)

    def _is_followed_by_source(self, module: ModuleType, path: Sequence[str], taken_of_it: int) -> bool:
        """Follow a name of a module that the module does not hold, or only since it was asked for."""
        end = len(path) - taken_of_it + 1
        attribute = path[end - 1]
        computed = self._imported.is_computed(module, attribute)
        if not computed and attribute in vars(module):
            return False
        if find_module('.'.join(path[:end])) is not None:
            self._imported.follow(path)
        elif computed:
            self._follow(vars(module)['__getattr__'])
            self.note_unknown(attribute, f'{module.__name__}.__getattr__ computes what {attribute} is')
        return computed

    def _walk(
        self,
        key: tuple[int, str],
        value: Any,
        names: Sequence[str],
        taken: int,
        function: FunctionType | None,
        read: _Read | None,
    ) -> None:
        """Take into account what a name and its attributes give, as far as modules and classes of tasks go."""
        while taken < len(names) and (isinstance(value, ModuleType) or is_task_class(value)):
            attribute = names[taken]
            if isinstance(value, ModuleType):
                path = (*value.__name__.split('.'), *names[taken:])
                if not self._is_own_module(value.__name__):
                    self.note_library('.'.join(path))
                    self.follow_library(path, '.'.join(names) if read is None else read.name)
                    break
                if attribute == '__dict__':
                    break
                if self._is_followed_by_source(value, path, len(names) - taken):
                    return
            key = (id(vars(value)) if isinstance(value, ModuleType) else id(value), attribute)
            value, taken = inspect.getattr_static(value, attribute, NOT_FOUND), taken + 1
            if value is NOT_FOUND:
                return
        if isinstance(value, type) and '__class__' in names and self._is_root_or_derived(value):
            return
        if isinstance(value, FunctionType) and taken < len(names) and names[taken] in vars(value):
            self._follow(value)
            key = (id(value), names[taken])
            value, taken = vars(value)[names[taken]], taken + 1
        if '__subclasses__' in names[taken:] and isinstance(value, type):
            self._follow_subclasses(value)
        name = '.'.join(names[:taken])
        usage = None if read is None else read.usage
        if usage is None and taken < len(names) and names[taken] in CHANGING:
            usage = Usage(changed=frozenset({name}))  # without a syntax tree the call shows it
        assigned = read is not None and names[0] in read.names.assigned
        self._take(key, name, value, usage, assigned=assigned)


def _of_today(code: Any) -> Any:
    """What a function's or class's name gives now in its module."""
    found: Any = sys.modules.get(code.__module__)
    for name in code.__qualname__.split('.'):
        found = inspect.getattr_static(found, name, None)
    return found if is_code(found) else code


def _name_of(value: Any) -> str:
    return str(value.__name__)


def _defaults(function: FunctionType) -> Iterator[tuple[str, Any]]:
    """The parameters of a function that have defaults."""
    code, values = function.__code__, function.__defaults__ or ()
    yield from zip(code.co_varnames[code.co_argcount - len(values) : code.co_argcount], values, strict=False)
    yield from sorted((function.__kwdefaults__ or {}).items())


def _constant_part(constant: _Constant, read: bool) -> Part | None:
    if constant.changed:
        if not read:
            return None  # the code only fills it
        return Part(constant.name, 'unknown', f'{constant.name} is changed by the code itself')
    if constant.text is None:
        return Part(constant.name, 'unknown', constant.problem)
    # a secret text that is not compared
    return None if constant.text == '…' else Part(constant.name, 'value', constant.text)


def _content(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:
        return NOT_FOUND


#: The special attributes that Python itself, or a decorator, sets on a class.
_SET_BY_PYTHON = frozenset(
    {
        '__doc__',
        '__final__',
        '__firstlineno__',
        '__module__',
        '__parameters__',
        '__qualname__',
        '__static_attributes__',
        '__type_params__',
    }
)
_OF_GENERATORS = ('__attrs_', '__dataclass_', '__pydantic_')
#: What special attributes hold that a class gives itself: ``__hash__ = None``, ``__array_priority__ = 10``.
_PLAIN = (type(None), bool, int, float, str, tuple)


def _counts(attribute: str, value: Any) -> bool:
    if attribute in _NOT_COUNTED or isinstance(value, luigi.Parameter):
        return False
    if not (attribute.startswith('__') and attribute.endswith('__')):
        return not is_slot(value)
    if isinstance(value, FunctionType | classmethod | staticmethod | property) or attribute == '__slots__':
        return True
    return type(value) in _PLAIN and attribute not in _SET_BY_PYTHON and not attribute.startswith(_OF_GENERATORS)


# ----- the print ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class CodePrint:
    """The code print of one class or function."""

    #: Equal for classes that do the same; 12 hexadecimal digits.
    digest: str
    parts: tuple[Part, ...]
    #: The name of the class.
    title: str = ''
    #: What cannot be compared, and why; usually empty.
    unknown: tuple[str, ...] = ()
    #: The name under which the parts are kept: what made it (`MADE_BY`), and the digest.
    key: str = ''
    #: The names of texts that are left out because they are secrets.
    not_compared: tuple[str, ...] = ()
    #: The top-level names of the installed packages that the code reaches.
    packages: tuple[str, ...] = ()
    #: All names in the code that it reaches.
    words: frozenset[str] = frozenset()
    #: Modules and names of other task classes that it reaches. They do not count, as these have their own prints.
    task_classes: frozenset[tuple[str, str]] = frozenset()
    #: What of libraries it reaches that reads files which kartnb does not see.
    readers: tuple[str, ...] = ()
    #: The functions with a cache that it reaches, by module and qualified name.
    caches: tuple[tuple[str, str], ...] = ()
    #: What of libraries it reaches that draws from a random state of the process.
    draws: tuple[str, ...] = ()

    def uses_class(self, cls: type) -> bool:
        """Whether the code may use more of a task class than its result: it has a name of the class's own."""
        return not self.words.isdisjoint(_own_names(cls))

    def to_json(self) -> str:
        """The parts as the text of a file."""
        return parts_to_json(self.parts, self.title)


#: What every task class has, and what is said of a task by its result.
_USUAL_NAMES = frozenset({'run', 'requires', 'output', 'complete'})


def _own_names(cls: type) -> set[str]:
    """The names that a task class and its bases give themselves, without parameters and what all tasks define."""
    own = [base for base in cls.__mro__ if is_task_class(base) and is_own(base.__module__)]
    names = {name for base in own for name, value in vars(base).items() if _counts(name, value)}
    return {name for name in names - _USUAL_NAMES if not name.startswith('__')}


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

    def print_again(self, cls: type) -> CodePrint:
        """The code print of a class, which may have been edited since it was printed."""
        self._prints.pop(cls, None)
        return self.print_of(cls)


def print_of_function(function: Any) -> CodePrint:
    """The code print of a function, or of anything else that can be called.

    >>> print_of_function(lambda x: x + 1).digest == print_of_function(lambda x: x + 2).digest
    False
    """
    return _print_of(function)


def _print_of(root: Any) -> CodePrint:
    title = getattr(root, '__qualname__', type(root).__name__)
    reach = Reach(root)
    try:
        reach.explore()
        found = reach.parts()
    except Exception as error:  # metaclasses and descriptors of the user's may raise anything; the task itself may run
        part = Part(title, 'unknown', f'the code of {title} cannot be read ({type(error).__name__})')
        found = [(part, part_digest(part))]
    digest = print_of_digests((part.name, part.kind, counted) for part, counted in found)
    parts = tuple(part for part, _ in found)
    unknown = tuple(part.text for part in parts if part.kind == 'unknown')
    secrets, packages, readers = (tuple(sorted(names)) for names in (reach.not_compared, reach.packages, reach.readers))
    words, classes, caches = frozenset(reach.words), frozenset(reach.task_classes), tuple(sorted(reach.caches))
    draws = tuple(sorted(reach.draws))
    key = f'{MADE_BY}-{digest}'
    return CodePrint(digest, parts, title, unknown, key, secrets, packages, words, classes, readers, caches, draws)
