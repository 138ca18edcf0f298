"""Importing luigi without what it imports in vain."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import sys
import types
from typing import Any

_GRAMMAR = 'rfc3987_syntax'


def lighten_luigi() -> None:
    """Let the first import of luigi in this process, by whomever, spare the grammar of international addresses.

    luigi imports jsonschema, and that, where JupyterLab is installed, a package that compiles a grammar as it is
    imported: three times as long as luigi itself takes. The grammar is needed only to check strings of the format
    'iri', and is compiled now when the first of them comes.
    """
    if 'luigi' not in sys.modules:
        sys.meta_path.insert(0, _BeforeLuigi())


def _import_jsonschema_lightly() -> None:
    if 'jsonschema' in sys.modules or _GRAMMAR in sys.modules or importlib.util.find_spec(_GRAMMAR) is None:
        return
    sys.modules[_GRAMMAR] = _Grammar(_GRAMMAR)
    try:
        importlib.import_module('jsonschema')
    except ImportError:  # luigi works without it
        pass
    finally:
        sys.modules.pop(_GRAMMAR, None)


class _BeforeLuigi:
    """Comes before the finders of modules until luigi is imported."""

    def find_spec(self, name: str, *_: Any) -> None:
        """Import what luigi imports of jsonschema, before luigi; find nothing."""
        if name == 'luigi':
            with contextlib.suppress(ValueError):  # another thread imports it too
                sys.meta_path.remove(self)
            _import_jsonschema_lightly()


class _Grammar(types.ModuleType):
    """Takes the place of the package until it is used."""

    @staticmethod
    def is_valid_syntax(*arguments: Any, **named: Any) -> bool:
        """Check a string, by the package itself."""
        return bool(importlib.import_module(_GRAMMAR).is_valid_syntax(*arguments, **named))
