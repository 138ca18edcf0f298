"""Leaving out what luigi's import would import in vain."""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import sys
import types
from collections.abc import Iterable
from typing import Any

_TREE = 'kartnb.plan(task) shows the tasks, with their states, as a tree'
#: Public names of gokart, and what to use here.
_NAMES = {
    'WorkerSchedulerFactory': 'build(task, workers=…, executor=…, scheduler_url=…) says who runs the tasks',
    'make_task_info_as_tree_str': _TREE,
    'make_tree_info': _TREE,
    'tree_info': _TREE,
    'test_run': 'kartnb.build(task) with a workspace_directory of its own tries a pipeline',
}
#: Modules of gokart, and where their names are here.
_MODULES = {
    'config_params': 'kartnb.inherits_config_params',
    'errors': 'kartnb.GokartBuildError, kartnb.EmptyDumpError, …',
    'file_processor': 'kartnb.FileProcessor',
    'in_memory': 'kartnb.InMemoryTarget and kartnb.make_in_memory_target',
    'info': _TREE,
    'pandas_type_config': 'kartnb.PandasTypeConfig and kartnb.PandasTypeError',
    'parameter': 'kartnb.TaskInstanceParameter, kartnb.ExplicitBoolParameter, …',
    'target': 'self.make_target(…) of a task',
    'tree': _TREE,
    'utils': 'kartnb.add_config',
    'workspace_management': 'kartnb.delete_local_unnecessary_outputs',
    **dict.fromkeys(('slack', 'testing', 'worker', 'zip_client'), 'nothing yet'),
}


def absent(name: str, known: Iterable[str]) -> str:
    """The message for a name that `kartnb` does not have.

    Parameters
    ----------
    name
        The name.
    known
        The names that it has.

    Examples
    --------
    >>> absent('bild', ['build', 'plan'])
    "module 'kartnb' has no attribute 'bild': did you mean 'build'?"
    """
    said = f"module 'kartnb' has no attribute {name!r}"
    if name in _NAMES:
        return f'{said}, which gokart has: {_NAMES[name]}.'
    if name in _MODULES:
        return f'{said}, which is a module of gokart: here there is {_MODULES[name]}.'
    near = difflib.get_close_matches(name, known, n=1)
    return f'{said}: did you mean {near[0]!r}?' if near and not name.startswith('_') else said


_GRAMMAR = 'rfc3987_syntax'


def import_luigi_lightly() -> None:
    """Import what luigi imports of jsonschema, without the grammar of international addresses.

    luigi imports jsonschema, and that, where JupyterLab is installed, a package that compiles a grammar as it is
    imported: three times as long as luigi itself takes. The grammar is needed only to check strings of the format
    'iri', and is compiled now when the first of them comes.
    """
    if 'jsonschema' in sys.modules or _GRAMMAR in sys.modules or importlib.util.find_spec(_GRAMMAR) is None:
        return
    sys.modules[_GRAMMAR] = _Grammar(_GRAMMAR)
    try:
        importlib.import_module('jsonschema')
    except ImportError:  # luigi does without
        pass
    finally:
        sys.modules.pop(_GRAMMAR, None)


class _Grammar(types.ModuleType):
    """Stands for the package as long as nobody uses it."""

    @staticmethod
    def is_valid_syntax(*arguments: Any, **named: Any) -> bool:
        """Check a string, by the package itself."""
        return bool(importlib.import_module(_GRAMMAR).is_valid_syntax(*arguments, **named))
