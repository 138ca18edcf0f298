"""The five logs that gokart keeps of a run: `RunLogs` writes them, `GokartLogs` reads runs that have no record."""

from __future__ import annotations

import bz2
import functools
import json
import logging
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

from kartnb.errors import UnreadableResultError, WrongValueError
from kartnb.history.run_record import epoch_moment
from kartnb.history.runs import Run, RunState
from kartnb.storage import pickling
from kartnb.storage.census import FileFound, path_below, read_all
from kartnb.storage.peek import peek
from kartnb.storage.places import LogKind, LogWriter, as_seconds
from kartnb.task import registry
from kartnb.task.base import TaskOnKart
from kartnb.task.results import own_log_target
from kartnb.task.secrets import MASK, NO_SECRETS, Masker, is_secret_name, public_names

if TYPE_CHECKING:
    from kartnb.history.gather import Inventory

logger = logging.getLogger('kartnb')

_MOST_UNPACKED = 1 << 20  # bytes
_DEEPEST = 5
#: The number of modules that were imported when the versions were listed, and the list.
_versions_known: tuple[int, str] = (0, '')


class RunLogs:
    """Writes the logs of one run of one task, if the task wants them; secrets are masked in what the task has noted."""

    def __init__(self, task: TaskOnKart[Any], unique_id: str, mask: Masker = NO_SECRETS) -> None:
        self._task = task
        self._mask = mask
        self._writer: LogWriter | None = None
        if task.should_dump_supplementary_log_files:
            self._writer = LogWriter(task.workspace_directory, type(task).__name__, unique_id)
        self._versions = ''

    def write_start(self, seeding: dict[str, Any]) -> None:
        """Write what is known when the task begins: its parameters, its seed, the modules."""
        writer = self._writer
        if writer is not None:
            self._versions = imported_versions()
            self._write(writer, 'task_params', self._task.to_str_params(only_significant=True))
            self._write(writer, 'random_seed', seeding)
            self._write(writer, 'module_versions', self._versions)

    def write_success(self, seconds: float, paths: list[str]) -> None:
        """Write what is known when the task has succeeded: its time, its own log, the modules that it imported."""
        self._task.task_log['file_path'] = paths
        writer = self._writer
        if writer is not None:
            self._write(writer, 'processing_time', seconds)
            log = self._task.task_log
            self._write_task_log(writer, {**self._mask.value(dict(log)), 'file_path': paths} if self._mask else log)
            versions = imported_versions()
            if versions != self._versions:
                self._write(writer, 'module_versions', versions)

    def _write_task_log(self, writer: LogWriter, log: dict[str, Any]) -> None:
        """Write what the task has noted; the result is there already, so an odd entry is named, and kept as text."""
        try:
            self._write(writer, 'task_log', log)
        except WrongValueError:
            odd = [key for key, value in log.items() if not _can_be_kept(value)]
            logger.warning(
                '%s.task_log has entries that cannot be pickled, which are kept as text: %s',
                type(self._task).__name__,
                ', '.join(map(repr, odd)),
            )
            kept = {key: repr(value) if key in odd else value for key, value in log.items()}
            self._write(writer, 'task_log', kept)

    def _write(self, writer: LogWriter, kind: LogKind, value: Any) -> None:
        target = own_log_target(self._task, kind)
        if target is None:
            writer.write(kind, value)
        else:
            target.dump(value)


def _can_be_kept(value: Any) -> bool:
    try:
        pickling.dumps(value)
    except WrongValueError:
        return False
    return True


def imported_versions() -> str:
    """List the imported top-level modules that have a version, a line each, as ``name==version``, sorted.

    >>> import luigi
    >>> f'luigi=={luigi.__version__}' in imported_versions().splitlines()
    True
    """
    global _versions_known
    count = len(sys.modules)
    if _versions_known[0] != count:
        _versions_known = (count, '\n'.join(_version_lines()))
    return _versions_known[1]


def _version_lines() -> list[str]:
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


_NOT_ENDED = 'its run has not ended: it is under way, or its process was killed'


class GokartLogs:
    """gokart's logs among the files of one workspace."""

    def __init__(self, found: Inventory) -> None:
        self._root = found.root
        self._logs = found.logs
        self._found = found

    def runs(self, known: set[tuple[str, str]], name: str | None = None) -> list[Run]:
        """The runs of tasks other than the known ones, given as class names and unique ids; of one class if given."""
        wanted: dict[str, tuple[str, str]] = {}
        for stem in {stem for files in self._logs.values() for stem in files}:
            task, _, unique_id = stem.rpartition('_')
            if task and (task, unique_id) not in known and name in (None, task):
                wanted[stem] = (task, unique_id)
        values = {kind: self._values(kind, wanted) for kind in ('task_params', 'task_log', 'processing_time')}
        return [self._run(stem, *names, values) for stem, names in wanted.items()]

    def _values(self, kind: str, stems: Any) -> dict[str, Any]:
        files = self._logs.get(kind, {})
        by_path = {files[stem].path: stem for stem in stems if stem in files}
        found = {}
        for file, data in read_all(self._root, [files[stem] for stem in by_path.values()]):
            try:
                found[by_path[file.path]] = peek(data) if isinstance(data, bytes) else None
            except UnreadableResultError as error:
                self._found.note_problem(f'{path_below(self._root, file.path)}: {error}')
        return found

    def _run(self, stem: str, task: str, unique_id: str, values: dict[str, dict[str, Any]]) -> Run:
        files = self._outputs(unique_id, values['task_log'].get(stem))
        logs = [of_kind[stem] for of_kind in self._logs.values() if stem in of_kind]
        newest = max(file.modified for file in files or logs)
        # gokart writes it when a run has succeeded
        log = self._logs.get('task_log', {}).get(stem)
        seconds = values['processing_time'].get(stem)
        ended_well = log is not None or bool(files)
        is_open = not ended_well and unique_id in self._found.running
        params = values['task_params'].get(stem)
        given = params.items() if isinstance(params, dict) else ()
        return Run(
            task,
            unique_id,
            RunState.CACHED if files else RunState.MISSING if ended_well or is_open else RunState.FAILED,
            module=_module(task, files),
            parameters={str(name): _shown_text(task, str(name), x) for name, x in given if isinstance(x, str)},
            when=epoch_moment(log.modified if log is not None else newest),
            seconds=as_seconds(seconds),
            size=sum(file.size for file in files) if files else None,
            outputs=tuple(path_below(self._root, file.path) for file in files),
            error='' if ended_well else _NOT_ENDED if is_open else 'it did not succeed: gokart records no details',
            origin='gokart',
            place=path_below(self._root, (log or logs[0]).path),
        )

    def _outputs(self, unique_id: str, task_log: Any) -> list[FileFound]:
        """The result's files: those that the task log names, or those that have the unique id in their names."""
        logged = task_log.get('file_path') if isinstance(task_log, dict) else None
        given = [path for path in logged if isinstance(path, str)] if isinstance(logged, list | tuple) else []
        paths = [self._found.real_path(path, './resources/') for path in given]
        files = [file for path in paths if (file := self._found.file(path)) is not None]
        return files or list(self._found.by_id.get(unique_id, ()))


def _module(task: str, files: list[FileFound]) -> str:
    """The module of the class, where a result is at its default place."""
    for file in files:
        directory, _, name = file.path.rpartition('/')
        if name.startswith(f'{task}_'):
            return directory.replace('/', '.')
    return ''


def _shown_text(task: str, name: str, text: str) -> str:
    """A logged parameter as it may be shown.

    gokart's logs hold HIDDEN parameters too. Where the class is defined here it says which ones those are; elsewhere
    parameters with the names of secrets count as hidden.
    """
    if _is_hidden(task, name):
        return MASK
    if text.startswith(('{"type"', '["{')):
        return _unpacked(text)
    return text


def _is_hidden(task: str, name: str) -> bool:
    public = _public_names(task, registry.definition_epoch())
    return is_secret_name(name) if public is None else name not in public


@functools.lru_cache(maxsize=1000)
def _public_names(task: str, _: int) -> frozenset[str] | None:
    classes: list[Any] = [cls for cls in registry.task_classes() if task in (cls.__name__, cls.get_task_family())]
    if not classes:
        return None
    return frozenset.intersection(*map(public_names, classes))


@functools.lru_cache(maxsize=10_000)  # many runs have the same upstream tasks, and unpacking is slow
def _unpacked(text: str) -> str:
    try:
        given = json.loads(text)
        if isinstance(given, list):
            return '[' + ', '.join(_task_text(json.loads(item), 0) for item in given) + ']'
        return _task_text(given, 0)
    except (ValueError, TypeError, OSError, KeyError, RecursionError):
        return text


def _task_text(form: Any, depth: int) -> str:
    task = str(form['type'])
    packed = bz2.BZ2Decompressor().decompress(bytes.fromhex(form['params']), _MOST_UNPACKED)
    inner = {str(name): value for name, value in json.loads(packed).items()}
    return f'{task}({", ".join(f"{name}={_inner_text(task, name, value, depth)}" for name, value in inner.items())})'


def _inner_text(task: str, name: str, value: Any, depth: int) -> str:
    if _is_hidden(task, name):
        return MASK
    if isinstance(value, str) and value.startswith('{"type"'):
        return _task_text(json.loads(value), depth + 1) if depth < _DEEPEST else '…'
    return str(value)
