"""The versions of the modules that are imported now."""

from __future__ import annotations

import sys
from types import ModuleType

_known: tuple[int, str] = (0, '')


def imported_versions() -> str:
    """List the imported top-level modules that say their version, a line each, as ``name==version``, sorted.

    Examples
    --------
    >>> import luigi
    >>> f'luigi=={luigi.__version__}' in imported_versions().splitlines()
    True
    """
    global _known
    count = len(sys.modules)
    if _known[0] != count:
        _known = (count, '\n'.join(_lines()))
    return _known[1]


def _lines() -> list[str]:
    tops = {name: module for name, module in list(sys.modules.items()) if '.' not in name and name != '__main__'}
    return sorted(f'{name}=={version}' for name, module in tops.items() if (version := _version(module)) is not None)


def _version(module: ModuleType | None) -> str | None:
    # vars: a module's __getattr__ could import things, or warn
    version = vars(module).get('__version__') if isinstance(module, ModuleType) else None
    if isinstance(version, tuple | list):
        return '.'.join(map(str, version))
    if isinstance(version, str) and version.strip():
        return version.split()[0]
    return None
