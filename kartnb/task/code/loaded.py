"""The user's modules as they are loaded: what their files held when they were imported or reloaded.

A file may be edited under a process that has imported it. `note_modules` keeps the source of each of the user's modules
soon after its import, so that `LoadedModule` can tell whether the file has changed since, and what the code was.
"""

from __future__ import annotations

import ast
import importlib.util
import marshal
import os
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.machinery import SourceFileLoader
from types import CodeType, FunctionType, ModuleType
from typing import Any

from kartnb._luigi import is_being_imported
from kartnb.storage.contents import watch_for
from kartnb.task import registry
from kartnb.task.code.own import is_own

#: Size and time of a file.
_Stat = tuple[int, int]
#: What a file of compiled code begins with: 4 bytes each for Python's version, flags, time and size of the source.
_HEADER = 16
_MAIN = frozenset({'__main__', '__mp_main__'})


@dataclass(slots=True, eq=False)
class LoadedModule:
    """One of the user's modules, as it is loaded."""

    name: str
    file: str
    #: Where its submodules are; None for a module that is not a package.
    folders: list[str] | None
    #: The spec that the import system gave it, another one after each reload.
    spec: Any
    #: Size and time of the file when its source was read.
    stat: _Stat
    source: bytes
    #: Whether the file may have been edited between the import and the time when the source was read.
    is_doubtful: bool = False
    #: How many times it was reloaded in this process.
    reloads: int = 0
    #: The compiled code, where that is known and the source is not.
    code: bytes = b''
    #: Size and time of the file when the user was last told that it has changed.
    told: _Stat | None = None
    #: What was found of a file that has another time or size: the file's, and whether the code in it differs.
    _compared: tuple[_Stat, bool] | None = field(default=None, repr=False)

    @property
    def is_known(self) -> bool:
        """Whether its code, as it is loaded, is known."""
        self._settle()
        return bool(self.source or self.code)

    def differs_on_disk(self) -> bool:
        """Whether the file holds other code than what is loaded; formatting and comments do not count."""
        self._settle()
        now = _stat(self.file)
        if now is None or (now == self.stat and self.source):
            return False
        if self._compared is None or self._compared[0] != now:
            self._compared = (now, self._compare(now))
        return self._compared[1]

    def _compare(self, now: _Stat) -> bool:
        text = _read(self.file)
        if self.source and _outline(text) == _outline(self.source):
            return False
        module = sys.modules.get(self.name)
        # %autoreload may have changed functions and constants in place; where anything else has changed, it reloads
        constants = _changed_constants(self.source, text)
        if module is None or not _holds(text, module, self.file):
            return True
        if not all(_has(module, name, new) for name, (_, new) in constants.items()):
            return True
        before = marshal.loads(self.code) if self.code else self.source
        has_old = all(_has(module, name, old) for name, (old, _) in constants.items())
        if before and has_old and _holds(before, module, self.file):
            return True
        self._take(text, now)
        return False

    def _take(self, text: bytes, stat: _Stat) -> None:
        self.source, self.stat, self.code = text, stat, b''
        self.reloads += 1
        registry.advance_epoch()  # what tasks require may be different now

    def _settle(self) -> None:
        """Find out whether the source is the one that was imported, where that is in doubt."""
        if not self.is_doubtful:
            return
        self.is_doubtful = False
        module = sys.modules.get(self.name)
        if module is None or type(getattr(self.spec, 'loader', None)) is not SourceFileLoader:
            return  # what rewrites code while it is imported leaves nothing to compare
        compiled = _compiled(self.file)
        if compiled is not None and compiled[0] == (self.stat[0] & 0xFFFFFFFF, self.stat[1] // 10**9 & 0xFFFFFFFF):
            return
        if compiled is not None and _codes_of(module, self.file) <= _codes_in(compiled[1]):
            if marshal.dumps(compiled[1]) != marshal.dumps(compile(self.source, self.file, 'exec', dont_inherit=True)):
                self.source, self.code = b'', marshal.dumps(compiled[1])
        elif not _holds(self.source, module, self.file):
            self.source = b''


_modules: dict[str, LoadedModule] = {}
#: How many modules there were when it was last looked, and the last of them: new ones come after it.
_seen: tuple[int, Any] = (0, None)
#: The specs of all modules that were looked at, the user's or not.
_looked_at: dict[str, Any] = {}


def note_modules() -> None:
    """Keep the source of the user's modules that were imported or reloaded since."""
    global _seen
    for known in [*_modules.values()]:
        module = sys.modules.get(known.name)
        spec = getattr(module, '__spec__', None)
        if spec is not None and spec is not known.spec:
            _note(known.name, module, known.reloads + 1)
    now = _newest()
    if now == _seen:
        return
    _seen = now
    for name, module in [*sys.modules.items()]:
        spec = getattr(module, '__spec__', None)
        if name not in _looked_at or _looked_at[name] is not spec:
            _looked_at[name] = spec
            if name not in _modules:
                _note(name, module, 0)


def _newest() -> tuple[int, Any]:
    """What differs after any import: also after one under the name of a module that was taken away."""
    return len(sys.modules), next(reversed(sys.modules.values()))


def _note(name: str, module: Any, reloads: int) -> None:
    if name in _MAIN or not isinstance(module, ModuleType) or not is_own(name):
        return
    spec, file = module.__spec__, getattr(module, '__file__', None)
    if spec is None or spec.name != name or not isinstance(file, str) or not file.endswith('.py'):
        return
    stat = _stat(file)
    if stat is None:
        return
    folders = None if spec.submodule_search_locations is None else [*spec.submodule_search_locations]
    doubtful = not is_being_imported(spec) and not reloads
    _modules[name] = LoadedModule(name, file, folders, spec, stat, _read(file), doubtful, reloads)


def loaded_modules() -> dict[str, LoadedModule]:
    """The user's modules that are loaded now, by name."""
    note_modules()
    return {name: known for name, known in _modules.items() if name in sys.modules}


_watched_modules: tuple[int, Any] | None = None


def watch_code() -> None:
    """Let pickles that name code of the user's be told from others."""
    global _watched_modules
    now = _newest()
    if now != _watched_modules:
        _watched_modules = now
        watch_for([*_MAIN, *loaded_modules()])


def changed_modules() -> list[LoadedModule]:
    """The user's modules whose files hold other code than what is loaded."""
    return [known for known in loaded_modules().values() if known.differs_on_disk()]


def notes_on_changes(changed: Iterable[LoadedModule], classes: Iterable[type]) -> list[str]:
    """What a person must know of the modules among `changed` that classes reach."""
    found = {known.name: known for known in changed}
    reached = reached_modules(classes) if found else set()
    return [_note_on(name) for name in found if name in reached]


def untold(notes: Iterable[str]) -> list[str]:
    """Those of `notes_on_changes` that are to be told now: each once, until the file changes again."""
    wanted = set(notes)
    found = []
    for known in [*_modules.values()] if wanted else ():
        note, now = _note_on(known.name), _stat(known.file)
        if note in wanted and known.told != now:
            known.told = now
            found.append(note)
    return found


def _note_on(name: str) -> str:
    return (
        f'{name} has changed on disk since it was imported; reload it (importlib.reload, %autoreload) or restart to '
        'use it'
    )


def was_reloaded(cls: type) -> bool:
    """Whether a module whose code a class reaches was reloaded in this process: somebody is working on it."""
    reloaded = {known.name for known in _modules.values() if known.reloads}
    return bool(reloaded) and not reloaded.isdisjoint(reached_modules([cls]))


# ----- which modules a class reaches ----------------------------------------------------------------------------------


def reached_modules(classes: Iterable[type]) -> set[str]:
    """The names of the user's modules whose code classes reach: of their bases, and of what these import and use.

    A module counts as a whole; of the notebook only what methods and functions name does.
    """
    found: set[str] = set()
    seen: set[int] = set()
    pending: list[Any] = [base for cls in classes for base in cls.__mro__]
    while pending:
        item = pending.pop()
        if id(item) in seen:
            continue
        seen.add(id(item))
        if isinstance(item, ModuleType):
            if item.__name__ not in _MAIN and is_own(item.__name__):
                found.add(item.__name__)
                pending.extend(value for value in [*vars(item).values()] if _leads_on(value))
            continue
        name = getattr(item, '__module__', None)
        if not isinstance(name, str) or not is_own(name):
            continue
        if name not in _MAIN:
            module = sys.modules.get(name)
            if module is not None:
                pending.append(module)
        else:
            pending.extend(_used_by(item))
    return found


def _leads_on(value: Any) -> bool:
    if isinstance(value, ModuleType):
        return True
    return isinstance(value, type | FunctionType) or type(value).__module__ not in ('builtins', '__main__')


def _used_by(item: Any) -> Iterator[Any]:
    """What a function or class of the notebook uses."""
    if isinstance(item, type):
        yield from item.__mro__[1:]
        for value in vars(item).values():
            yield value
            yield from (getattr(value, name, None) for name in ('__func__', 'fget', '__wrapped__'))
    elif isinstance(item, FunctionType):
        yield from (getattr(item, '__wrapped__', None), *(item.__defaults__ or ()))
        for cell in item.__closure__ or ():
            try:
                yield cell.cell_contents
            except ValueError:
                continue
        for name in _names(item.__code__):
            yield item.__globals__.get(name)
            yield sys.modules.get(name)
    else:
        yield type(item)


def _names(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names(constant)


# ----- files ----------------------------------------------------------------------------------------------------------


def _stat(file: str) -> _Stat | None:
    try:
        found = os.stat(file)
    except OSError:
        return None
    return found.st_size, found.st_mtime_ns


def _read(file: str) -> bytes:
    try:
        with open(file, 'rb') as opened:
            return opened.read()
    except OSError:
        return b''


def _compiled(file: str) -> tuple[tuple[int, int], CodeType] | None:
    """The compiled code that Python keeps of a source file, and size and time of the source that it is of."""
    try:
        data = _read(importlib.util.cache_from_source(file))
        if len(data) <= _HEADER or data[:4] != importlib.util.MAGIC_NUMBER or any(data[4:8]):
            return None
        time, size = (int.from_bytes(data[start : start + 4], 'little') for start in (8, 12))
        code = marshal.loads(data[_HEADER:])
    except (NotImplementedError, ValueError, EOFError, TypeError):
        return None
    return ((size, time), code) if isinstance(code, CodeType) else None


@lru_cache(maxsize=64)
def _outline(text: bytes) -> str:
    """What counts of a source text; '' where it cannot be parsed."""
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError):
        return ''
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0] if node.body else None
            if (
                isinstance(first, ast.Expr)
                and isinstance(first.value, ast.Constant)
                and isinstance(first.value.value, str)
            ):
                del node.body[0]
    return ast.dump(tree)


def _changed_constants(before: bytes, now: bytes) -> dict[str, tuple[Any, Any]]:
    """The names of the top level that have constants in two source texts, other ones: %autoreload sets them."""
    old, new = _constants(before), _constants(now)
    return {name: (old[name], new[name]) for name in old.keys() & new.keys() if repr(old[name]) != repr(new[name])}


@lru_cache(maxsize=64)
def _constants(text: bytes) -> dict[str, Any]:
    try:
        body = ast.parse(text).body
    except (SyntaxError, ValueError, RecursionError):
        return {}
    assigned = [
        (target.id, constant_of(node.value))
        for node in body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    ]
    return {name: value for name, value in assigned if value is not NOT_CONSTANT}


NOT_CONSTANT = object()
_NO_CONSTANT = (ast.Name, ast.Call, ast.Attribute, ast.Lambda, ast.Await, ast.NamedExpr, ast.comprehension)


def constant_of(written: ast.expr) -> Any:
    """The value of an expression that uses no name, such as ``60 * 60``; else `NOT_CONSTANT`."""
    if any(isinstance(node, _NO_CONSTANT) for node in ast.walk(written)):
        return NOT_CONSTANT
    try:
        return eval(compile(ast.Expression(written), '<constant>', 'eval'), {})
    except Exception:  # the module could not have been imported
        return NOT_CONSTANT


def _has(module: ModuleType, name: str, value: Any) -> bool:
    return name in vars(module) and repr(vars(module)[name]) == repr(value)


def _holds(text: bytes | CodeType, module: ModuleType, file: str) -> bool:
    """Whether a source text, or compiled code, holds the functions of a module."""
    try:
        code = text if isinstance(text, CodeType) else compile(text, file, 'exec', dont_inherit=True)
    except (SyntaxError, ValueError, RecursionError):
        return False
    return _codes_of(module, file) <= _codes_in(code)


def _codes_in(code: CodeType) -> set[Any]:
    found: set[Any] = set()
    pending = [code]
    while pending:
        inner = [constant for constant in pending.pop().co_consts if isinstance(constant, CodeType)]
        found.update(map(_essence, inner))
        pending += inner
    return found


def _codes_of(module: ModuleType, file: str) -> set[Any]:
    """The code of the functions and methods that a module defines."""
    values = [*vars(module).values()]
    for cls in [value for value in values if isinstance(value, type) and value.__module__ == module.__name__]:
        for value in vars(cls).values():
            values += [value, *(getattr(value, name, None) for name in ('__func__', 'fget', 'fset', '__wrapped__'))]
    functions = [value for value in values if isinstance(value, FunctionType) and value.__globals__ is vars(module)]
    return {_essence(function.__code__) for function in functions if function.__code__.co_filename == file}


def _essence(code: CodeType) -> Any:
    """What a code does; texts without regard to white space, which %autoreload changes in docstrings."""
    constants = tuple(
        _essence(constant)
        if isinstance(constant, CodeType)
        else ' '.join(constant.split())
        if isinstance(constant, str)
        else f'{type(constant).__name__} {constant!r}'
        if not isinstance(constant, frozenset)
        else tuple(sorted(map(repr, constant)))
        for constant in code.co_consts
    )
    return (code.co_name, code.co_code, constants, code.co_names, code.co_varnames, code.co_freevars)
