"""A task's results: its targets, which of them `load` and `dump` mean, and whether they are complete."""

from __future__ import annotations

import difflib
import functools
import inspect
import os
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import TYPE_CHECKING, Any

import luigi

from kartnb.errors import InputError, OutputError, UnloadedResultError, WrongValueError
from kartnb.storage import targets as storage
from kartnb.storage.filesystem import file_system
from kartnb.storage.formats.base import processor_of
from kartnb.storage.locks import TaskLockParams, make_task_lock_params
from kartnb.storage.places import LogKind, log_file
from kartnb.storage.targets import FileTarget, SingleFileTarget, TargetOnKart, is_luigis_file, make_target
from kartnb.task import held
from kartnb.task.describe import described_task
from kartnb.task.identity import required_tasks
from kartnb.task.parameters import data_frame_type
from kartnb.task.registry import base_task
from kartnb.task.values import flatten, map_nested

if TYPE_CHECKING:
    from kartnb.task.base import TaskOnKart


def result_of(task: luigi.Task) -> Any:
    """Load the outputs of a task that is complete, in their shape; tuples give lists, as in gokart."""
    return load(held.today(task).output())


def input_targets(task: TaskOnKart[Any], wanted: Any) -> Any:
    """The targets that `task.load(wanted)` reads, nested as they are to be given back."""
    if wanted is None:
        return task.input()
    if isinstance(wanted, str):
        return _named(task, wanted, task.input(), 'input', InputError)
    if isinstance(wanted, luigi.Task):
        return _output_of_required(task, wanted)
    if isinstance(wanted, Iterable) and not isinstance(wanted, luigi.Target):
        return [task._get_input_targets(item) for item in wanted]
    return wanted


def output_target(task: TaskOnKart[Any], wanted: Any) -> TargetOnKart:
    """The target that `task.dump(obj, wanted)` writes."""
    if wanted is not None and isinstance(wanted, TargetOnKart):
        return wanted
    output = task.output()
    if wanted is None and type(output) is SingleFileTarget:
        return output
    if isinstance(wanted, str):
        output = _named(task, wanted, output, 'output', OutputError)
    elif isinstance(output, dict):
        names = ', '.join(map(repr, output))
        raise OutputError(
            f'{_name(task)} has several outputs ({names}): '
            f'say which one, as in dump(obj, {next(iter(output), "name")!r}).'
        )
    if not isinstance(output, TargetOnKart):
        raise OutputError(
            f'{_name(task)} has the output {output!r:.120}, which dump cannot write: make it with self.make_target(…).'
        )
    return output


def refuse_unawaited(task: TaskOnKart[Any], value: Any) -> None:
    """Raise `WrongValueError` for a coroutine, which is a result only when it has been awaited."""
    if not inspect.iscoroutine(value):
        return
    value.close()  # or Python warns of it once more
    raise WrongValueError(
        f'{_name(task)} dumps the coroutine {value.__name__}, which was not awaited: '
        f'write self.dump(await {value.__name__}(…)) in an `async def run`.'
    )


def load(targets: Any, read: Callable[[Any], Any] | None = None) -> Any:
    """Load nested targets, or read each in another way; tuples give lists, as in gokart."""
    if isinstance(targets, dict):
        return {key: load(target, read) for key, target in targets.items()}
    if isinstance(targets, list | tuple):
        return [load(target, read) for target in targets]
    return (read or load_target)(targets)


def load_target(target: Any) -> Any:
    """Load one target, a plain luigi file target by its extension; raises InputError for other kinds of targets."""
    if hasattr(target, 'load'):
        return target.load()
    if isinstance(target, luigi.target.FileSystemTarget):
        return make_target(str(target.path)).load()
    raise InputError(f'A {type(target).__name__} cannot be loaded: open it through self.input().')


def peek_target(target: Any) -> Any:
    """What can be read of one target without running code that its file may bring along.

    Raises MissingResultError when it has not been made, and UnloadedResultError when it has to be loaded.
    """
    if isinstance(target, TargetOnKart):
        return target.peek()
    if isinstance(target, luigi.target.FileSystemTarget):
        return make_target(str(target.path)).peek()
    raise UnloadedResultError(f'A {type(target).__name__} has to be loaded')


def _named(
    task: TaskOnKart[Any], name: str, targets: Any, word: str, error: type[InputError] | type[OutputError]
) -> Any:
    if not isinstance(targets, dict):
        raise error(
            f'{word} must be dict[str, TargetOnKart], but {type(targets)} is passed: '
            f'{_name(task)} has no {word} named {name!r}.'
        )
    if name not in targets:
        known = ', '.join(map(repr, targets))
        near = difflib.get_close_matches(name, [str(key) for key in targets], n=1)
        hint = f'did you mean {near[0]!r}?' if near else f'it has {known}.'
        raise error(f'{_name(task)} has no {word} named {name!r}: {hint}')
    return targets[name]


def _output_of_required(task: TaskOnKart[Any], wanted: luigi.Task) -> Any:
    required = required_tasks(task)
    if any(_same(wanted, other) for other in required):
        return held.today(wanted).output()
    raise InputError(
        f'{described_task(wanted)} should be in requires method of {_name(task)}: '
        'only results of required tasks can be loaded.'
    )


def _same(task: luigi.Task, other: luigi.Task) -> bool:
    if hasattr(task, 'make_unique_id') and hasattr(other, 'make_unique_id'):
        return bool(task.make_unique_id() == other.make_unique_id())
    return bool(task == other)


def _name(task: luigi.Task) -> str:
    return type(task).__name__


def make_file_target(
    task: TaskOnKart[Any], relative_path: str | None, use_unique_id: bool, processor: Any
) -> TargetOnKart:
    """The target of one file."""
    if relative_path is None and processor is None:
        return _default_target(task, use_unique_id)
    path = _path(task, relative_path, 'pkl')
    unique_id = task.make_unique_id() if use_unique_id else None
    if processor is None and relative_path is not None:
        kind = data_frame_type(type(task))
        if kind != 'pandas':
            from kartnb.storage.formats.base import make_file_processor

            processor = make_file_processor(path, task.store_index_in_feather, dataframe_type=kind)
    return storage.make_target(
        path,
        unique_id=unique_id,
        processor=processor,
        task_lock_params=_lock(task, path, unique_id),
        store_index_in_feather=task.store_index_in_feather,
    )


def _default_target(task: TaskOnKart[Any], use_unique_id: bool) -> TargetOnKart:
    cls = type(task)
    stem = _default_stem(task.workspace_directory, cls.__module__, cls.__name__)
    unique_id = task.make_unique_id() if use_unique_id else None
    path = f'{stem}.pkl' if unique_id is None else f'{stem}_{unique_id}.pkl'
    return storage.SingleFileTarget(
        path, processor_of('.pkl', task.store_index_in_feather), _lock(task, f'{stem}.pkl', unique_id)
    )


@functools.lru_cache(maxsize=1024)
def _default_stem(workspace: str, module: str, name: str) -> str:
    return os.path.join(workspace, module.replace('.', '/'), name)


def make_model_target(
    task: TaskOnKart[Any], relative_path: str, save_function: Any, load_function: Any, use_unique_id: bool
) -> TargetOnKart:
    """The target of a model that saves itself, in one zip file."""
    if not relative_path.endswith('zip'):
        raise AssertionError(f'extension must be zip, but {relative_path} is passed.')
    from kartnb.storage.formats import models

    path = _path(task, relative_path, 'zip')
    unique_id = task.make_unique_id() if use_unique_id else None
    return models.make_model_target(
        path,
        temporary_directory=task.local_temporary_directory,
        save_function=save_function,
        load_function=load_function,
        unique_id=unique_id,
        task_lock_params=_lock(task, path, unique_id),
    )


def make_large_data_frame_target(
    task: TaskOnKart[Any], relative_path: str | None, use_unique_id: bool, max_byte: int
) -> TargetOnKart:
    """The target of a data frame in parts, in one zip file."""
    from kartnb.storage.formats.models import LargeDataFrameProcessor

    relative = relative_path if relative_path is not None else _default_path(task, 'zip')
    return make_model_target(
        task, relative, LargeDataFrameProcessor(max_byte=max_byte).save, LargeDataFrameProcessor.load, use_unique_id
    )


def outputs_are_complete(task: TaskOnKart[Any]) -> bool:
    """Whether all outputs exist, together with what `strict_check` and `modification_time_check` ask of the inputs."""
    outputs = flatten(task.output())
    if not outputs or not all(target.exists() for target in outputs):
        return False
    if any(map(is_luigis_file, outputs)) and _was_broken_off(task):
        return False
    if not (task.strict_check or task.modification_time_check):
        return True
    inputs = flatten(task.input())
    if not all(required.complete() for required in held.all_today(flatten(task.requires()))) or not all(
        target.exists() for target in inputs
    ):
        return False
    return not (task.modification_time_check and inputs) or task._check_modification_time()


def _was_broken_off(task: TaskOnKart[Any]) -> bool:
    """Whether the last run of a task was killed: a file that it writes in place may be there in part."""
    from kartnb.storage.run_records import present_records

    records = present_records(task.workspace_directory, type(task).__module__)
    stem = f'{type(task).__name__}_{task.make_unique_id()}'
    if not records.is_marked(stem) or not file_system(records.path).has_locks or records.holder(stem) is not None:
        return False
    return records.is_under_way(stem)  # it may have ended between these questions


def were_made_again(task: TaskOnKart[Any]) -> bool:
    """Whether the outputs of a task are others than when this was asked first.

    A worker that luigi has forked runs a task with `rerun`; nothing else tells this process that it has.
    """
    now = [_look_of(target) for target in flatten(task.output())]
    return bool(task.__dict__.setdefault('_before_rerun', now) != now)


def _look_of(target: Any) -> Any:
    if isinstance(target, FileTarget):
        return file_system(target.path()).mark(target.path())
    return _modified(target) if target.exists() else None


def newer_input(inputs: list[Any], outputs: list[Any]) -> str | None:
    """The path of an input that is newer than an output, or None; a file that is both does not count."""
    input_times = {path_of(target): target for target in inputs}
    output_times = {path_of(target): target for target in outputs}
    shared = input_times.keys() & output_times.keys()
    made = [_modified(target) for path, target in output_times.items() if path not in shared]
    oldest = min((time for time in made if time is not None), default=None)
    if oldest is None:
        return None
    for path, target in input_times.items():
        time = _modified(target) if path not in shared else None
        if time is not None and time > oldest:
            return path
    return None


def _modified(target: Any) -> datetime | None:
    """When a target was made; None where unknown, as for a row in a database."""
    if hasattr(target, 'last_modification_time'):
        time: datetime = target.last_modification_time()
        return time
    if isinstance(target, luigi.target.FileSystemTarget):
        return file_system(str(target.path)).modified(str(target.path))
    return None


#: The methods of tasks, gokart's, that say where each log is.
_LOG_METHODS: dict[str, str] = {
    'module_versions': '_get_module_versions_target',
    'processing_time': '_get_processing_time_target',
    'random_seed': '_get_random_seeds_target',
    'task_log': '_get_task_log_target',
    'task_params': '_get_task_params_target',
}


def log_target(task: TaskOnKart[Any], kind: LogKind) -> TargetOnKart:
    """The target of one of the logs, made as all targets of the task are."""
    return task.make_target(log_file(kind, type(task).__name__))


def own_log_target(task: TaskOnKart[Any], kind: LogKind) -> TargetOnKart | None:
    """The target of a log whose place the class itself decides, by a method of its own; None at the usual place."""
    cls: Any = type(task)
    base: Any = base_task()
    method = _LOG_METHODS[kind]
    if getattr(cls, method) is getattr(base, method) and cls.make_target is base.make_target:
        return None
    target: TargetOnKart = getattr(task, method)()
    return target


def path_of(target: Any) -> str:
    """The path of a target: kartnb's is a method, luigi's an attribute; a target without one is named by its text."""
    if type(target) is storage.SingleFileTarget:
        return target.path()
    path = getattr(target, 'path', None)
    return str(path() if callable(path) else path if path is not None else target)


def output_paths(task: luigi.Task) -> tuple[str, ...]:
    """The paths of a task's outputs as given, in order."""
    return tuple(path_of(target) for target in flatten(task.output()))


def workspace_of(task: luigi.Task) -> str:
    """The absolute workspace directory of a task; a URL as it is; the working directory for a plain luigi task."""
    workspace = task.workspace_directory if isinstance(task, base_task()) else '.'
    return workspace if '://' in workspace else os.path.abspath(workspace)


def is_external(task: luigi.Task) -> bool:
    """Whether a task's output is made outside, so that there is nothing to run."""
    return task.run is None or task.run is NotImplemented


def outside_files(outputs: Iterable[Any]) -> list[str]:
    """The paths of the outputs of an external or plain luigi task that are files: nothing is recorded of them."""
    return [
        path_of(target)
        for target in outputs
        if isinstance(target, storage.FileTarget | luigi.target.FileSystemTarget)
        and type(target).__module__ != 'luigi.mock'
    ]


def check_run_lock(task: TaskOnKart[Any]) -> None:
    """Refuse `should_lock_run` without a Redis server to hold the lock."""
    for name in ('redis_host', 'redis_port'):
        if getattr(task, name) is None:
            raise AssertionError(f'{name} must be set when should_lock_run is True.')


def object_metadata(
    task: TaskOnKart[Any], target: TargetOnKart, custom_labels: dict[Any, Any] | None
) -> dict[str, Any]:
    """What is written to an object's metadata on Google Cloud Storage; nothing for other places."""
    if not target.path().startswith('gs://'):
        return {}
    return {
        'task_params': task.to_str_params(only_significant=True, only_public=True),
        'custom_labels': custom_labels,
        'required_task_outputs': map_nested(_required_outputs, held.today_nested(task.requires())),
    }


def _required_outputs(task: luigi.Task) -> Any:
    family = task.get_task_family()
    return map_nested(
        lambda target: {'__gokart_task_name': family, '__gokart_output_path': path_of(target)},
        task.output(),
    )


def _path(task: TaskOnKart[Any], relative_path: str | None, extension: str) -> str:
    return os.path.join(
        task.workspace_directory, relative_path if relative_path is not None else _default_path(task, extension)
    )


def _default_path(task: TaskOnKart[Any], extension: str) -> str:
    return os.path.join(task.__module__.replace('.', '/'), f'{type(task).__name__}.{extension}')


def _lock(task: TaskOnKart[Any], path: str, unique_id: str | None) -> TaskLockParams | None:
    # a timeout up to 10 s goes on to be refused, with or without a server, as in gokart
    if task.redis_host is None and task.redis_timeout > 10:
        return None
    return make_task_lock_params(
        file_path=path,
        unique_id=unique_id,
        redis_host=task.redis_host,
        redis_port=task.redis_port,
        redis_timeout=task.redis_timeout,
        raise_task_lock_exception_on_collision=False,
    )
