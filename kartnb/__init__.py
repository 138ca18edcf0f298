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

from kartnb._deferred import import_luigi_lightly
from kartnb._version import __version__

if TYPE_CHECKING:
    import luigi

    from kartnb.cli.run import run
    from kartnb.errors import (
        BuildStoppedError,
        CyclicRequirementsError,
        EmptyDumpError,
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
    from kartnb.events import TaskState
    from kartnb.execution.background import BackgroundBuild
    from kartnb.execution.build import build, build_async
    from kartnb.execution.build_error import GokartBuildError, HasLockedTaskException
    from kartnb.execution.build_error import GokartBuildError as KartBuildError
    from kartnb.execution.compare.differences import Difference, diff
    from kartnb.execution.logs import Logs, logs
    from kartnb.execution.outputs import Output, Outputs, load_result, outputs
    from kartnb.execution.planning.plan import Plan
    from kartnb.execution.restore import restore_result
    from kartnb.execution.sweeps.background import BackgroundSweep
    from kartnb.execution.sweeps.planned import SweepPlan
    from kartnb.execution.sweeps.point import SweepPoint
    from kartnb.execution.sweeps.result import SweepResult
    from kartnb.execution.sweeps.sweep import sweep
    from kartnb.execution.why import Why, why
    from kartnb.history.clean import Cleaning, clean, delete_local_unnecessary_outputs
    from kartnb.history.runs import Run, Runs
    from kartnb.history.workspace import Workspace
    from kartnb.notebook.extension import load_ipython_extension, unload_ipython_extension
    from kartnb.notebook.graph import Graph, graph
    from kartnb.notebook.interact import Interactive, interact
    from kartnb.planning.planner import plan
    from kartnb.storage.formats.base import FileProcessor
    from kartnb.storage.formats.exact_text import lossless
    from kartnb.storage.formats.registry import register_format, unregister_format
    from kartnb.storage.in_memory import InMemoryTarget, make_in_memory_target
    from kartnb.task.base import TaskOnKart
    from kartnb.task.config_files import add_config
    from kartnb.task.config_params import inherits_config_params
    from kartnb.task.data_frames import PandasTypeConfig
    from kartnb.task.parameters import (
        ExplicitBoolParameter,
        ListTaskInstanceParameter,
        SerializableParameter,
        TaskInstanceParameter,
        ZonedDateSecondParameter,
    )
    from kartnb.task.slider import slider
    from kartnb.view.inspection import Inspection, inspect
    from kartnb.view.previews.preview import Preview, register_preview, unregister_preview
    from kartnb.view.previews.show import preview

_HOMES = {
    'BackgroundBuild': 'kartnb.execution.background',
    'BackgroundSweep': 'kartnb.execution.sweeps.background',
    'BuildStoppedError': 'kartnb.errors',
    'Cleaning': 'kartnb.history.clean',
    'CyclicRequirementsError': 'kartnb.errors',
    'Difference': 'kartnb.execution.compare.differences',
    'EmptyDumpError': 'kartnb.errors',
    'ExplicitBoolParameter': 'kartnb.task.parameters',
    'FileProcessor': 'kartnb.storage.formats.base',
    'FilterError': 'kartnb.errors',
    'GokartBuildError': 'kartnb.execution.build_error',
    'Graph': 'kartnb.notebook.graph',
    'HasLockedTaskException': 'kartnb.execution.build_error',
    'HistoryError': 'kartnb.errors',
    'InMemoryTarget': 'kartnb.storage.in_memory',
    'Inspection': 'kartnb.view.inspection',
    'Interactive': 'kartnb.notebook.interact',
    'KartBuildError': 'kartnb.execution.build_error:GokartBuildError',
    'KartError': 'kartnb.errors',
    'ListTaskInstanceParameter': 'kartnb.task.parameters',
    'Logs': 'kartnb.execution.logs',
    'Output': 'kartnb.execution.outputs',
    'Outputs': 'kartnb.execution.outputs',
    'PandasTypeConfig': 'kartnb.task.data_frames',
    'PandasTypeError': 'kartnb.errors',
    'ParameterValueError': 'kartnb.errors',
    'Plan': 'kartnb.execution.planning.plan',
    'Preview': 'kartnb.view.previews.preview',
    'Run': 'kartnb.history.runs',
    'Runs': 'kartnb.history.runs',
    'SerializableParameter': 'kartnb.task.parameters',
    'StorageError': 'kartnb.errors',
    'SweepError': 'kartnb.errors',
    'SweepPlan': 'kartnb.execution.sweeps.planned',
    'SweepPoint': 'kartnb.execution.sweeps.point',
    'SweepResult': 'kartnb.execution.sweeps.result',
    'TaskInstanceParameter': 'kartnb.task.parameters',
    'TaskOnKart': 'kartnb.task.base',
    'TaskState': 'kartnb.events',
    'UnreadableResultError': 'kartnb.errors',
    'Why': 'kartnb.execution.why',
    'Workspace': 'kartnb.history.workspace',
    'WrongValueError': 'kartnb.errors',
    'ZonedDateSecondParameter': 'kartnb.task.parameters',
    'add_config': 'kartnb.task.config_files',
    'build': 'kartnb.execution.build',
    'build_async': 'kartnb.execution.build',
    'clean': 'kartnb.history.clean',
    'delete_local_unnecessary_outputs': 'kartnb.history.clean',
    'diff': 'kartnb.execution.compare.differences',
    'graph': 'kartnb.notebook.graph',
    'inherits_config_params': 'kartnb.task.config_params',
    'inspect': 'kartnb.view.inspection',
    'interact': 'kartnb.notebook.interact',
    'load_ipython_extension': 'kartnb.notebook.extension',
    'load_result': 'kartnb.execution.outputs',
    'logs': 'kartnb.execution.logs',
    'lossless': 'kartnb.storage.formats.exact_text',
    'luigi': 'luigi:',
    'make_in_memory_target': 'kartnb.storage.in_memory',
    'outputs': 'kartnb.execution.outputs',
    'plan': 'kartnb.planning.planner',
    'preview': 'kartnb.view.previews.show',
    'register_format': 'kartnb.storage.formats.registry',
    'register_preview': 'kartnb.view.previews.preview',
    'restore_result': 'kartnb.execution.restore',
    'run': 'kartnb.cli.run',
    'slider': 'kartnb.task.slider',
    'sweep': 'kartnb.execution.sweeps.sweep',
    'unload_ipython_extension': 'kartnb.notebook.extension',
    'unregister_format': 'kartnb.storage.formats.registry',
    'unregister_preview': 'kartnb.view.previews.preview',
    'why': 'kartnb.execution.why',
}

__all__ = [
    'BackgroundBuild',
    'BackgroundSweep',
    'BuildStoppedError',
    'Cleaning',
    'CyclicRequirementsError',
    'Difference',
    'EmptyDumpError',
    'ExplicitBoolParameter',
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
    'Workspace',
    'WrongValueError',
    'ZonedDateSecondParameter',
    '__version__',
    'add_config',
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
    'outputs',
    'plan',
    'preview',
    'register_format',
    'register_preview',
    'restore_result',
    'run',
    'slider',
    'sweep',
    'unload_ipython_extension',
    'unregister_format',
    'unregister_preview',
    'why',
]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        from kartnb._absent import absent

        raise AttributeError(absent(name, __all__))
    import_luigi_lightly()
    module_name, _, attribute = home.partition(':')
    module = importlib.import_module(module_name)
    value = module if home.endswith(':') else getattr(module, attribute or name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
