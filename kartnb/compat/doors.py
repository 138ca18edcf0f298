"""gokart's modules, each of which opens on the names that kartnb has for it: ``from kartnb.target import make_target``.

`as_gokart` makes them gokart's own, for code that cannot be edited.
"""

from __future__ import annotations

import importlib
import importlib.util
import logging
import sys
import threading
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

from kartnb.compat.names import HOMES, INSTEAD, hint_for, missing_name
from kartnb.errors import KartError

#: These are functions of the package too, and stay them when the modules are imported.
_FUNCTIONS_TOO = ('build', 'run')
#: Threads that import modules of one package in different orders would be given unfinished ones.
_one_at_a_time = threading.RLock()


class Door(ModuleType):
    """A module of gokart's; each name is imported from where kartnb has it when it is first used."""

    def __init__(self, package: str, module: str) -> None:
        super().__init__(f'{package}.{module}'.rstrip('.'), f"gokart's names, from kartnb: see {__name__}.")
        self._at = package, module
        self.__all__ = [name for name in HOMES[module] if not name.startswith('_')]

    def __getattr__(self, name: str) -> Any:
        if name.startswith('__'):
            raise AttributeError(name)
        package, module = self._at
        home = HOMES[module].get(name)
        below = f'{module}.{name}'.lstrip('.')
        if home is not None:
            value = from_home(home)
        elif below in HOMES:
            return importlib.import_module(f'{package}.{below}')
        elif not module and below not in INSTEAD:
            return getattr(importlib.import_module('kartnb'), name)
        else:
            raise AttributeError(missing_name(name, HOMES[module], module, package))
        vars(self)[name] = value
        return value

    def __reduce__(self) -> tuple[Any, ...]:
        return importlib.import_module, (self.__name__,)  # picklers know only modules of the plain type

    def __dir__(self) -> list[str]:
        module = self._at[1]
        more = () if module else [name for name in dir(importlib.import_module('kartnb')) if not name.startswith('_')]
        return sorted({*vars(self), *HOMES[module], *more})


def from_home(home: str) -> Any:
    """What is at a home, 'module:attribute' or 'module:'."""
    module, _, attribute = home.partition(':')
    with _one_at_a_time:
        found = importlib.import_module(module)
    return getattr(found, attribute) if attribute else found


class _Doorkeeper:
    """Finds the doors of one package, before any module of that name on the disk."""

    def __init__(self, package: str) -> None:
        self._package = package

    def find_spec(self, fullname: str, path: Sequence[str] | None = None, target: Any = None) -> ModuleSpec | None:
        package, _, module = fullname.partition('.')
        if package != self._package or (package == 'kartnb' and module in _ROOMS):
            return None
        if module in HOMES:
            return ModuleSpec(fullname, self, is_package=True)  # type: ignore[arg-type]
        parent, _, name = module.rpartition('.')
        # a name that is not like any other is left to Python: who only asks whether a module is there gets an answer
        is_ours = package == 'gokart' or module in INSTEAD or (parent in HOMES and parent not in _ROOMS)
        if is_ours and hint_for(name, HOMES.get(parent, ()), parent):
            # without its `name`, by which `from … import …` would take it for one of its own and hide the message
            raise ModuleNotFoundError(missing_name(name, HOMES.get(parent, ()), parent, package))
        return None

    def create_module(self, spec: ModuleSpec) -> Door:
        package, _, module = spec.name.partition('.')
        return Door(package, module)

    def exec_module(self, module: ModuleType) -> None:
        """Nothing is left to do: names are found when they are used."""


#: Modules of gokart's whose names are those of rooms of kartnb, which have gokart's names themselves.
_ROOMS = frozenset({'', 'errors', 'mypy', 'task', 'testing'})
_keepers = {package: _Doorkeeper(package) for package in ('kartnb', 'gokart')}


def open_doors(package: str) -> None:
    """Let the modules below `package`, 'kartnb' or 'gokart', be imported."""
    keeper: Any = _keepers[package]
    if keeper in sys.meta_path:
        return
    sys.meta_path.insert(0, keeper)
    for name in _FUNCTIONS_TOO:
        # Python binds a module in its package when it loads it: one that is loaded already leaves the function alone
        sys.modules[f'{package}.{name}'] = importlib.util.module_from_spec(keeper.find_spec(f'{package}.{name}'))


def as_gokart() -> None:
    r"""Let ``import gokart`` mean kartnb from now on, in this process and in the workers of its builds.

    gokart need not be installed. It is for libraries that cannot be edited; in your own code ``import kartnb as
    gokart`` does the same. In tests, ``pytest -p kartnb.compat.pytest`` calls it before any test is imported.

    Raises
    ------
    kartnb.KartError
        When the real gokart has been imported in this process: its tasks and kartnb's would be mixed.

    Examples
    --------
    >>> import subprocess, sys
    >>> program = 'import kartnb; kartnb.as_gokart(); import gokart; print(gokart.TaskOnKart is kartnb.TaskOnKart)'
    >>> subprocess.run([sys.executable, '-c', program], capture_output=True, text=True).stdout
    'True\n'
    """
    if is_gokart():
        return
    real = sorted(name for name in sys.modules if name.partition('.')[0] == 'gokart')
    if real:
        raise KartError(
            'The real gokart has been imported already: call kartnb.as_gokart() before anything imports gokart, in a '
            'new process or after a restart of the kernel.'
        )
    open_doors('gokart')
    # so that a handler or a level of the logger `gokart` is one of kartnb's messages too
    logging.getLogger('kartnb').parent = logging.getLogger('gokart')


def is_gokart() -> bool:
    """Whether ``import gokart`` means kartnb in this process."""
    return _keepers['gokart'] in sys.meta_path
