"""The user's modules on their way to worker processes, which run the code that is loaded where the build is.

A worker would import a module from its file, which may have been edited since the building process has imported it, or
is edited while the build runs. So the source as it is loaded is sent once to each worker, and the worker imports that.
"""

from __future__ import annotations

import hashlib
import linecache
import marshal
import pickle
import sys
from collections.abc import Mapping, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, SourceFileLoader
from importlib.util import spec_from_file_location
from types import CodeType, ModuleType
from typing import Any, NamedTuple

from kartnb.errors import TransportError
from kartnb.execution.workers.module_values import ModuleValues, put, values_of
from kartnb.history.makers import host_name
from kartnb.task.code.loaded import LoadedModule, loaded_modules, reached_modules

#: What the digests of modules begin with.
MODULES = 'modules:'
#: How many sets of modules a worker keeps, for builds that take turns in it.
_MOST_KEPT = 4


class SentModule(NamedTuple):
    """A module as it is sent."""

    file: str
    folders: list[str] | None
    source: bytes
    #: The compiled code, where the source is not known.
    code: bytes
    #: What it holds besides.
    values: ModuleValues


class ModuleSender:
    """The user's modules as they were loaded when a build began."""

    def __init__(self) -> None:
        known = loaded_modules()
        self._unknown = {name: module for name, module in known.items() if not module.is_known}
        self._problems: dict[str, list[str]] = {}
        sent = {}
        for name, module in sorted(known.items()):
            if name not in self._unknown:
                values, self._problems[name] = values_of(sys.modules[name], module.source)
                sent[name] = SentModule(module.file, module.folders, module.source, module.code, values)
        self.pickled = pickle.dumps((host_name(), sent), pickle.HIGHEST_PROTOCOL)
        self.digest = f'{MODULES}{hashlib.blake2b(self.pickled, digest_size=16).hexdigest()}'

    def check(self, cls: type) -> None:
        """Raise a `TransportError` for a class that reaches a module whose code, or what it holds, cannot be sent."""
        for name in sorted(reached_modules([cls])) if self._unknown or any(self._problems.values()) else ():
            if name in self._unknown:
                raise TransportError(_unknown_code(self._unknown[name]))
            for problem in self._problems.get(name, ()):
                raise TransportError(problem)


def _unknown_code(module: LoadedModule) -> str:
    return (
        f'{module.name} ({module.file}) has changed on disk since it was imported, and what is loaded cannot be sent '
        'to worker processes: reload it (importlib.reload, %autoreload) or restart, or build without workers.'
    )


class ModuleReceiver:
    """In a worker process: the modules of the build whose tasks run there now."""

    def __init__(self) -> None:
        self._kept: dict[str, tuple[str, dict[str, SentModule]]] = {}
        self._in_use = ''
        self._finder = _Finder()
        #: The modules that were imported here by themselves, and the values that they were given since.
        self._given: dict[str, tuple[ModuleType, ModuleValues]] = {}

    def receive(self, pickled: Mapping[str, bytes]) -> None:
        """Take in what was sent."""
        for digest, data in pickled.items():
            if digest.startswith(MODULES):
                self._kept[digest] = pickle.loads(data)
        while len(self._kept) > _MOST_KEPT:
            del self._kept[next(iter(self._kept))]

    def missing(self, digests: Sequence[str]) -> list[str]:
        """Those of some digests whose modules have not arrived."""
        return [digest for digest in digests if digest.startswith(MODULES) and digest not in self._kept]

    def use(self, digests: Sequence[str]) -> bool:
        """Let imports give these modules; True when other versions of them were forgotten, and all that uses them."""
        wanted = next((digest for digest in digests if digest.startswith(MODULES)), '')
        if not wanted or wanted == self._in_use:
            return False
        host, modules = self._kept[wanted]
        present = {name: sys.modules[name] for name in modules if name in sys.modules}
        known = loaded_modules() if present else {}
        differ = any(not self._is(module, modules[name], known.get(name)) for name, module in present.items())
        self._finder.modules, self._finder.is_same_computer = modules, host == host_name()
        if self._finder not in sys.meta_path:
            sys.meta_path.insert(0, self._finder)
        self._in_use = wanted
        if differ:
            for name in modules:
                sys.modules.pop(name, None)
            return True
        for name, module in present.items():
            if _loader_of(module) is None and not self._was_given(module, modules[name]):
                put(module, modules[name].values, is_same_computer=self._finder.is_same_computer)
                self._given[name] = (module, modules[name].values)
        return False

    def _is(self, module: ModuleType, sent: SentModule, known: LoadedModule | None) -> bool:
        """Whether a module of this process is the one that was sent, or can be made so."""
        loader = _loader_of(module)
        if loader is not None:
            return loader.sent[2:] == sent[2:]
        is_same = known is not None and known.is_known and (known.source, known.code) == (sent.source, sent.code)
        return is_same and (self._given.get(module.__name__, (None,))[0] is not module or self._was_given(module, sent))

    def _was_given(self, module: ModuleType, sent: SentModule) -> bool:
        given = self._given.get(module.__name__)
        return given is not None and given[0] is module and given[1] == sent.values


def _loader_of(module: ModuleType) -> _Loader | None:
    loader = getattr(module.__spec__, 'loader', None)
    return loader if isinstance(loader, _Loader) else None


class _Finder(MetaPathFinder):
    def __init__(self) -> None:
        self.modules: dict[str, SentModule] = {}
        self.is_same_computer = True

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        sent = self.modules.get(fullname)
        if sent is None:
            return None
        loader = _Loader(fullname, sent, self.is_same_computer)
        return spec_from_file_location(fullname, sent.file, loader=loader, submodule_search_locations=sent.folders)


class _Loader(SourceFileLoader):
    """Loads a module from the source that was sent, under the name of its file."""

    def __init__(self, fullname: str, sent: SentModule, is_same_computer: bool) -> None:
        super().__init__(fullname, sent.file)
        self.sent = sent
        self._is_same_computer = is_same_computer

    def get_code(self, fullname: str) -> CodeType | None:
        if self.sent.code:
            code: CodeType = marshal.loads(self.sent.code)
            return code
        return self.source_to_code(self.sent.source, self.sent.file)

    def get_data(self, path: str) -> bytes:
        return self.sent.source if path == self.sent.file and self.sent.source else super().get_data(path)

    def exec_module(self, module: ModuleType) -> None:
        text: Any = self.get_source(self.name) if self.sent.source else None
        if text is not None:
            # tracebacks show the lines that run, whatever the file holds by now
            linecache.cache[self.sent.file] = (len(text), None, text.splitlines(keepends=True), self.sent.file)
        super().exec_module(module)
        put(module, self.sent.values, is_same_computer=self._is_same_computer)
