"""Names that gokart has and `kartnb` does not, and what to use for each."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

_TREE = 'kartnb.plan(task) shows the tasks, with their states, as a tree'
#: Public names of gokart, and what to use here.
_NAMES = {
    'WorkerSchedulerFactory': 'build(task, workers=…, executor=…, scheduler_url=…) says who runs the tasks',
    'make_task_info_as_tree_str': _TREE,
    'make_tree_info': _TREE,
    'tree_info': _TREE,
    'test_run': 'kartnb.build(task) with a workspace_directory of its own tries a pipeline',
}
#: Modules of gokart, and what to use here.
_MODULES = {
    'config_params': 'use kartnb.inherits_config_params',
    'errors': 'use kartnb.GokartBuildError, kartnb.EmptyDumpError, …',
    'file_processor': 'use kartnb.FileProcessor',
    'in_memory': 'use kartnb.InMemoryTarget and kartnb.make_in_memory_target',
    'info': _TREE,
    'pandas_type_config': 'use kartnb.PandasTypeConfig and kartnb.PandasTypeError',
    'parameter': 'use kartnb.TaskInstanceParameter, kartnb.ExplicitBoolParameter, …',
    'target': 'use self.make_target(…) of a task',
    'tree': _TREE,
    'utils': 'use kartnb.add_config',
    'workspace_management': 'use kartnb.delete_local_unnecessary_outputs',
    **dict.fromkeys(('slack', 'testing', 'worker', 'zip_client'), 'kartnb does not have it yet'),
}


def missing_name(name: str, known: Iterable[str]) -> str:
    """The message for a name that `kartnb` does not have, with the nearest of the known ones.

    Examples
    --------
    >>> missing_name('bild', ['build', 'plan'])
    "module 'kartnb' has no attribute 'bild': did you mean 'build'?"
    """
    message = f"module 'kartnb' has no attribute {name!r}"
    if name in _NAMES:
        return f'{message}, which gokart has: {_NAMES[name]}.'
    if name in _MODULES:
        return f'{message}, which is a module of gokart: {_MODULES[name]}.'
    near = difflib.get_close_matches(name, known, n=1)
    return f'{message}: did you mean {near[0]!r}?' if near and not name.startswith('_') else message
