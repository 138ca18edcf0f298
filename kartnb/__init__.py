"""kartnb: cached machine-learning pipelines, made native to notebooks.

>>> import kartnb
>>> sorted(set(kartnb.__all__) & {'TaskOnKart', 'build', 'plan'})
['TaskOnKart', 'build', 'plan']

In a notebook, ``%load_ext kartnb`` adds the magics. Everything else is here: each name is imported when it is first
used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from kartnb._deferred import lighten_luigi
from kartnb._version import __version__
from kartnb.compat.doors import from_home, open_doors

lighten_luigi()
open_doors('kartnb')

if TYPE_CHECKING:
    import luigi

    from kartnb.cli.run import run
    from kartnb.compat.doors import as_gokart
    from kartnb.errors import (
        BuildStoppedError,
        CyclicRequirementsError,
        EmptyDumpError,
        FileInputError,
        FilterError,
        HistoryError,
        KartError,
        PandasTypeError,
        ParameterValueError,
        StorageError,
        SweepError,
        UnreadableResultError,
        WrongValueError,
    )
    from kartnb.execution.background import BackgroundBuild
    from kartnb.execution.build import build, build_async
    from kartnb.execution.luigid import WorkerSchedulerFactory
    from kartnb.execution.report import GokartBuildError, HasLockedTaskException
    from kartnb.execution.report import GokartBuildError as KartBuildError
    from kartnb.history.clean import Cleaning, clean, delete_local_unnecessary_outputs
    from kartnb.history.runs import Run, Runs
    from kartnb.history.workspace import Workspace
    from kartnb.inspection.accept import Accepted, accept
    from kartnb.inspection.adopt import Adopted, adopt
    from kartnb.inspection.diff import Difference, diff
    from kartnb.inspection.logs import Logs, logs
    from kartnb.inspection.outputs import Output, Outputs, load_result, outputs
    from kartnb.inspection.restore import restore_result
    from kartnb.inspection.why import Why, why
    from kartnb.model import Plan, TaskState
    from kartnb.notebook.extension import load_ipython_extension, unload_ipython_extension
    from kartnb.notebook.interact import Interactive, interact
    from kartnb.notebook.live_graph import Graph, graph
    from kartnb.planning.planner import plan
    from kartnb.planning.task_info import make_task_info_as_tree_str, make_tree_info, tree_info
    from kartnb.storage.formats.base import FileProcessor
    from kartnb.storage.formats.exact_text import lossless
    from kartnb.storage.formats.registry import register_format, unregister_format
    from kartnb.storage.targets import InMemoryTarget, make_in_memory_target
    from kartnb.sweeps.points import SweepPoint
    from kartnb.sweeps.result import SweepResult
    from kartnb.sweeps.run import SweepPlan
    from kartnb.sweeps.sweep import BackgroundSweep, sweep
    from kartnb.task.base import TaskOnKart
    from kartnb.task.config import add_config, inherits_config_params
    from kartnb.task.parameters import (
        ExplicitBoolParameter,
        FileParameter,
        ListTaskInstanceParameter,
        PandasTypeConfig,
        SerializableParameter,
        TaskInstanceParameter,
        ZonedDateSecondParameter,
    )
    from kartnb.task.values import slider
    from kartnb.testing import test_run
    from kartnb.view.inspect import Inspection, inspect
    from kartnb.view.previews.preview import Preview, register_preview, unregister_preview
    from kartnb.view.previews.show import preview

#: Where each public name is: 'module', or 'module:name' where it has another name there, or 'module:' itself.
_MODULES = {
    name: module
    for module, names in {
        'kartnb.cli.run': 'run',
        'kartnb.compat.doors': 'as_gokart',
        'kartnb.errors': (
            'BuildStoppedError CyclicRequirementsError EmptyDumpError FileInputError FilterError HistoryError '
            'KartError PandasTypeError ParameterValueError StorageError SweepError UnreadableResultError '
            'WrongValueError'
        ),
        'kartnb.execution.background': 'BackgroundBuild',
        'kartnb.execution.build': 'build build_async',
        'kartnb.execution.luigid': 'WorkerSchedulerFactory',
        'kartnb.execution.report': 'GokartBuildError HasLockedTaskException',
        'kartnb.history.clean': 'Cleaning clean delete_local_unnecessary_outputs',
        'kartnb.history.runs': 'Run Runs',
        'kartnb.history.workspace': 'Workspace',
        'kartnb.inspection.accept': 'Accepted accept',
        'kartnb.inspection.adopt': 'Adopted adopt',
        'kartnb.inspection.diff': 'Difference diff',
        'kartnb.inspection.logs': 'Logs logs',
        'kartnb.inspection.outputs': 'Output Outputs load_result outputs',
        'kartnb.inspection.restore': 'restore_result',
        'kartnb.inspection.why': 'Why why',
        'kartnb.model': 'Plan TaskState',
        'kartnb.notebook.extension': 'load_ipython_extension unload_ipython_extension',
        'kartnb.notebook.interact': 'Interactive interact',
        'kartnb.notebook.live_graph': 'Graph graph',
        'kartnb.planning.planner': 'plan',
        'kartnb.planning.task_info': 'make_task_info_as_tree_str make_tree_info tree_info',
        'kartnb.storage.formats.base': 'FileProcessor',
        'kartnb.storage.formats.exact_text': 'lossless',
        'kartnb.storage.formats.registry': 'register_format unregister_format',
        'kartnb.storage.targets': 'InMemoryTarget make_in_memory_target',
        'kartnb.sweeps.points': 'SweepPoint',
        'kartnb.sweeps.result': 'SweepResult',
        'kartnb.sweeps.run': 'SweepPlan',
        'kartnb.sweeps.sweep': 'BackgroundSweep sweep',
        'kartnb.task.base': 'TaskOnKart',
        'kartnb.task.config': 'add_config inherits_config_params',
        'kartnb.task.parameters': (
            'ExplicitBoolParameter FileParameter ListTaskInstanceParameter PandasTypeConfig SerializableParameter '
            'TaskInstanceParameter ZonedDateSecondParameter'
        ),
        'kartnb.task.values': 'slider',
        'kartnb.testing': 'test_run',
        'kartnb.view.inspect': 'Inspection inspect',
        'kartnb.view.previews.preview': 'Preview register_preview unregister_preview',
        'kartnb.view.previews.show': 'preview',
    }.items()
    for name in names.split()
} | {'KartBuildError': 'kartnb.execution.report:GokartBuildError', 'luigi': 'luigi:'}

__all__ = [
    'Accepted',
    'Adopted',
    'BackgroundBuild',
    'BackgroundSweep',
    'BuildStoppedError',
    'Cleaning',
    'CyclicRequirementsError',
    'Difference',
    'EmptyDumpError',
    'ExplicitBoolParameter',
    'FileInputError',
    'FileParameter',
    'FileProcessor',
    'FilterError',
    'GokartBuildError',
    'Graph',
    'HasLockedTaskException',
    'HistoryError',
    'InMemoryTarget',
    'Inspection',
    'Interactive',
    'KartBuildError',
    'KartError',
    'ListTaskInstanceParameter',
    'Logs',
    'Output',
    'Outputs',
    'PandasTypeConfig',
    'PandasTypeError',
    'ParameterValueError',
    'Plan',
    'Preview',
    'Run',
    'Runs',
    'SerializableParameter',
    'StorageError',
    'SweepError',
    'SweepPlan',
    'SweepPoint',
    'SweepResult',
    'TaskInstanceParameter',
    'TaskOnKart',
    'TaskState',
    'UnreadableResultError',
    'Why',
    'WorkerSchedulerFactory',
    'Workspace',
    'WrongValueError',
    'ZonedDateSecondParameter',
    '__version__',
    'accept',
    'add_config',
    'adopt',
    'as_gokart',
    'build',
    'build_async',
    'clean',
    'delete_local_unnecessary_outputs',
    'diff',
    'graph',
    'inherits_config_params',
    'inspect',
    'interact',
    'load_ipython_extension',
    'load_result',
    'logs',
    'lossless',
    'luigi',
    'make_in_memory_target',
    'make_task_info_as_tree_str',
    'make_tree_info',
    'outputs',
    'plan',
    'preview',
    'register_format',
    'register_preview',
    'restore_result',
    'run',
    'slider',
    'sweep',
    'test_run',
    'tree_info',
    'unload_ipython_extension',
    'unregister_format',
    'unregister_preview',
    'why',
]


def __getattr__(name: str) -> Any:
    home = _MODULES.get(name)
    if home is None:
        from kartnb.compat.names import HOMES, missing_name

        if name in HOMES:  # a module of gokart's
            return importlib.import_module(f'kartnb.{name}')
        raise AttributeError(missing_name(name, __all__))
    value = from_home(home if ':' in home else f'{home}:{name}')
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
