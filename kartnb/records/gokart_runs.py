"""Runs that only gokart's five logs tell of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kartnb.errors import UnreadableResultError
from kartnb.records.packed_parameters import shown_text
from kartnb.records.runs import Run, RunState
from kartnb.records.times import epoch_moment
from kartnb.storage.census import FileFound, path_below, read_all
from kartnb.storage.peeking import peek

if TYPE_CHECKING:
    from kartnb.records.gathering import Inventory

_MOST_PROBLEMS = 20


class GokartLogs:
    """gokart's logs of one workspace.

    Parameters
    ----------
    root
        The workspace.
    logs
        The files by kind and by ``<Class>_<unique id>``.
    found
        All files of the workspace.
    """

    def __init__(self, root: str, logs: dict[str, dict[str, FileFound]], found: Inventory) -> None:
        self._root = root
        self._logs = logs
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
                if len(self._found.problems) < _MOST_PROBLEMS:
                    self._found.problems.append(f'{path_below(self._root, file.path)}: {error}')
        return found

    def _run(self, stem: str, task: str, unique_id: str, values: dict[str, dict[str, Any]]) -> Run:
        files = self._outputs(unique_id, values['task_log'].get(stem))
        newest = max((file.modified for file in self._files_of(stem, files)), default=0.0)
        log = self._logs.get('task_log', {}).get(stem)
        seconds = values['processing_time'].get(stem)
        ended_well = log is not None or bool(files)
        params = values['task_params'].get(stem)
        return Run(
            task,
            unique_id,
            RunState.CACHED if files else RunState.MISSING if ended_well else RunState.FAILED,
            module=_module(task, files),
            parameters=_shown(task, params) if isinstance(params, dict) else {},
            when=epoch_moment(log.modified if log is not None else newest),
            seconds=float(seconds) if isinstance(seconds, int | float) else None,
            size=sum(file.size for file in files) if files else None,
            outputs=tuple(path_below(self._root, file.path) for file in files),
            error='' if ended_well else 'it did not end well: gokart keeps no more of it',
            origin='gokart',
            place=path_below(self._root, (log or self._any(stem)).path),
        )

    def _outputs(self, unique_id: str, task_log: Any) -> list[FileFound]:
        """The result's files: those that the task log names, or those that have the unique id in their names."""
        logged = task_log.get('file_path') if isinstance(task_log, dict) else None
        given = [path for path in logged if isinstance(path, str)] if isinstance(logged, list | tuple) else []
        paths = [self._found.real_path(path, './resources/') for path in given]
        files = [file for path in paths if (file := self._found.file(path)) is not None]
        return files or list(self._found.by_id.get(unique_id, ()))

    def _files_of(self, stem: str, files: list[FileFound]) -> list[FileFound]:
        return files or [logs[stem] for logs in self._logs.values() if stem in logs]

    def _any(self, stem: str) -> FileFound:
        return next(logs[stem] for logs in self._logs.values() if stem in logs)


def _shown(task: str, params: dict[Any, Any]) -> dict[str, str]:
    return {str(name): shown_text(task, str(name), text) for name, text in params.items() if isinstance(text, str)}


def _module(task: str, files: list[FileFound]) -> str:
    """The module of the class, where a result is at its default place."""
    for file in files:
        directory, _, name = file.path.rpartition('/')
        if name.startswith(f'{task}_'):
            return directory.replace('/', '.')
    return ''
