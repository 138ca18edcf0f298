"""Which modules are the user's own, so that their code counts: not the standard library, not what is installed."""

from __future__ import annotations

import os
import sys
import sysconfig
from functools import cache

_NEVER = frozenset({'kartnb', 'luigi', 'gokart', 'builtins'})
_INSTALLED = ('site-packages', 'dist-packages')
_also_own: set[str] = set()


def count_as_own(package: str) -> None:
    """Let the code of an installed package count too, for instance because `%autoreload` watches it."""
    _also_own.add(package)


def is_own(module: str | None) -> bool:
    """Whether the code of a module counts: the notebook, and the user's own packages, editable installs included.

    Examples
    --------
    >>> is_own('__main__'), is_own('json'), is_own('numpy'), is_own('luigi')
    (True, False, False, False)
    """
    if not module:
        return False
    if module in ('__main__', '__mp_main__'):
        return True
    top = module.partition('.')[0]
    if top in _NEVER:
        return False
    if module in _also_own or top in _also_own:
        return True
    if top in sys.stdlib_module_names:
        return False
    loaded = sys.modules.get(module)
    if loaded is None:
        return True  # made by hand, or taken out of sys.modules: installed code stays there
    file = getattr(loaded, '__file__', None)
    if file is None:
        return not getattr(loaded, '__spec__', None) or _is_own_path(next(iter(getattr(loaded, '__path__', ())), ''))
    return _is_own_path(file)


@cache
def _is_own_path(file: str) -> bool:
    path = os.path.abspath(file)
    if any(part in _INSTALLED for part in path.split(os.sep)):
        return False
    standard = [sysconfig.get_path(name) for name in ('stdlib', 'platstdlib')]
    return not any(place and path.startswith(os.path.join(place, '')) for place in standard)
