"""Whose code counts, and where modules lie: nothing of the user's is imported to find that out.

The notebook counts, and so do modules outside `site-packages`. Of what is installed, those packages count that the
configuration names (``[kartnb] packages = churn``), those that were installed from a local directory or file, and the
project in whose directory the process runs. So a wheel and an editable install of a project have equal code prints.
"""

from __future__ import annotations

import glob
import importlib.metadata
import inspect
import json
import os
import sys
import sysconfig
import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from importlib.machinery import ModuleSpec
from types import FunctionType

from kartnb.config import configured_packages

_NEVER = frozenset({'kartnb', 'luigi', 'gokart', 'builtins'})
_NOTEBOOK = ('__main__', '__mp_main__')
_INSTALLED = ('site-packages', 'dist-packages')
_also_own: set[str] = set()
_project_packages: frozenset[str] | None = None
_looked_up_for: tuple[tuple[str, ...], str] | None = None


def count_as_own(package: str) -> None:
    """Let the code of an installed package count too, for instance because `%autoreload` watches it."""
    _also_own.add(package)


def is_of_notebook(cls: type) -> bool:
    """Whether a class is worked on in this session: of the notebook, or of a module that `%autoreload` watches."""
    module = cls.__module__
    if module == '__main__' or module in _also_own:
        return True
    # `type(…)` and `types.new_class` give a class the module of the code that calls its metaclass
    return not is_own(module) and any(
        isinstance(value, FunctionType) and value.__module__ == '__main__' for value in vars(cls).values()
    )


def is_library(top: str) -> bool:
    """Whether a top-level name is one of Python's own modules, or of kartnb's."""
    return top in _NEVER or (top in sys.stdlib_module_names and top not in _also_own)


def is_own(module: str | None) -> bool:
    """Whether the code of a module counts: the notebook, and the user's own packages, editable installs included.

    >>> is_own('__main__'), is_own('json'), is_own('numpy'), is_own('luigi')
    (True, False, False, False)
    """
    if not module:
        return False
    if module in _NOTEBOOK:
        return True
    top = module.partition('.')[0]
    if top in _NEVER:
        return False
    if module in _also_own or top in _also_own:
        return True
    if top in sys.stdlib_module_names:
        return False
    loaded = vars(sys.modules[module]) if module in sys.modules else None
    if loaded is not None and loaded.get('__file__') is None and not loaded.get('__spec__'):
        return True  # made by hand
    if loaded is not None and isinstance(loaded.get('__file__'), str) and _is_own_path(loaded['__file__']):
        return True
    place = find_module(module)
    return place is None or place.is_own


@cache
def _is_own_path(file: str) -> bool:
    return not _is_installed(file) and not os.path.abspath(file).startswith(_standard_library())


@cache
def _standard_library() -> tuple[str, ...]:
    places = map(sysconfig.get_path, ('stdlib', 'platstdlib'))  # which takes a millisecond
    return tuple(os.path.join(place, '') for place in places if place)


@cache
def _is_installed(file: str) -> bool:
    return any(part in _INSTALLED for part in os.path.abspath(file).split(os.sep))


# ----- installed packages of the user's -------------------------------------------------------------------------------


def own_packages() -> frozenset[str]:
    """The top-level names of installed packages whose code counts."""
    return look_up_packages() if _project_packages is None else _project_packages


def look_up_packages() -> frozenset[str]:
    """Find out again whose code counts, if the configuration or the working directory is another now."""
    global _project_packages, _looked_up_for
    configured, here = configured_packages(), os.getcwd()
    if _project_packages is None or (configured, here) != _looked_up_for:
        found = {*configured, *_names_of_distributions(here)} - _NEVER
        _project_packages, _looked_up_for = frozenset(found), (configured, here)
    return _project_packages


def _names_of_distributions(here: str) -> Iterator[str]:
    for distribution in _installed_from_here():
        yield from _top_level(distribution)
    project = _project_name(here)
    if project:
        try:
            yield from _top_level(importlib.metadata.distribution(project))
        except (importlib.metadata.PackageNotFoundError, ValueError):
            return


@cache
def _installed_from_here() -> tuple[importlib.metadata.Distribution, ...]:
    """Distributions that were installed from a directory or a file, as their ``direct_url.json`` (PEP 610) says."""
    places = [place for place in dict.fromkeys(sys.path) if os.path.basename(place) in _INSTALLED]
    files = [file for place in places for file in glob.glob(os.path.join(glob.escape(place), '*', 'direct_url.json'))]
    found = [importlib.metadata.PathDistribution.at(os.path.dirname(file)) for file in files]
    return tuple(distribution for distribution in found if _is_local(distribution))


def _is_local(distribution: importlib.metadata.Distribution) -> bool:
    try:
        origin = json.loads(distribution.read_text('direct_url.json') or '')
    except ValueError:
        return False
    # conda builds every package from a local file
    made_by = (distribution.read_text('INSTALLER') or '').strip()
    return isinstance(origin, dict) and str(origin.get('url')).startswith('file:') and made_by != 'conda'


def _top_level(distribution: importlib.metadata.Distribution) -> Iterator[str]:
    named = (distribution.read_text('top_level.txt') or '').split()
    if named:
        yield from named
        return
    for path in distribution.files or ():
        first = path.parts[0]
        if first.endswith('.py'):
            yield first.removesuffix('.py')
        elif len(path.parts) > 1 and first.isidentifier() and first != '__pycache__':
            yield first


@cache
def _project_name(here: str) -> str:
    """The name of the project in whose directory one is, '' where there is none."""
    while True:
        try:
            with open(os.path.join(here, 'pyproject.toml'), 'rb') as file:
                content = tomllib.load(file)
            tables = (content.get('project'), content.get('tool', {}).get('poetry'))
            return next((str(table['name']) for table in tables if isinstance(table, dict) and 'name' in table), '')
        except (OSError, ValueError, AttributeError):
            above = os.path.dirname(here)
            if above == here:
                return ''
            here = above


# ----- where modules lie ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ModulePlace:
    """Where a module lies, loaded or not."""

    name: str
    #: Its source file; '' for a namespace package, and for a module that was made by hand.
    file: str
    #: The directories in which its submodules lie, if it is a package.
    directories: tuple[str, ...] = ()

    @property
    def package(self) -> str:
        """The package to which its relative imports refer."""
        return self.name if self.directories else self.name.rpartition('.')[0]

    @property
    def is_own(self) -> bool:
        """Whether its code counts."""
        top = self.name.partition('.')[0]
        if top in _NEVER:
            return False
        where = self.file or next(iter(self.directories), '')
        if top in _also_own or not where or _is_own_path(where):
            return True
        return _is_installed(where) and top in own_packages()


def find_module(name: str) -> ModulePlace | None:
    """Where a module lies, or None; no parent package is imported for that, as `importlib.util.find_spec` would.

    >>> find_module('json.decoder').package
    'json'
    """
    loaded = sys.modules.get(name)
    if loaded is not None:
        # no `__getattr__` of the module's is asked
        file, places = (inspect.getattr_static(loaded, attribute, None) for attribute in ('__file__', '__path__'))
        return ModulePlace(name, file if isinstance(file, str) else '', tuple(_paths(places)))
    parent, _, last = name.rpartition('.')
    within = find_module(parent) if parent else None
    if not last or (parent and (within is None or not within.directories)):
        return None
    spec = _spec(name, None if within is None else list(within.directories))
    if spec is None:
        return None
    file = spec.origin if spec.has_location and spec.origin else ''
    return ModulePlace(name, file, tuple(_paths(spec.submodule_search_locations)))


def _paths(places: Iterable[str] | None) -> list[str]:
    try:
        return [place for place in places or () if isinstance(place, str)]
    except (KeyError, TypeError):  # a namespace package within one that is not imported
        return list(getattr(places, '_path', ()))


def _spec(name: str, path: list[str] | None) -> ModuleSpec | None:
    for finder in sys.meta_path:
        try:
            spec = finder.find_spec(name, path)
        except (AttributeError, ImportError, KeyError, TypeError):
            continue
        if spec is not None:
            return spec
    return None
