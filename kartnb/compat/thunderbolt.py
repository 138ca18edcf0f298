"""thunderbolt's names over `kartnb.Workspace`: ``from kartnb.compat.thunderbolt import Thunderbolt``."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from kartnb.errors import HistoryError
from kartnb.history.runs import Run, file_target
from kartnb.history.workspace import Workspace
from kartnb.storage.census import absolute_place
from kartnb.storage.places import LogKind, log_path, read_log

if TYPE_CHECKING:
    import pandas as pd

_COLUMNS = ('task_id', 'task_name', 'last_modified', 'task_params')
_ALL_COLUMNS = (*_COLUMNS, 'task_hash', 'task_log')


class Client:
    """The task logs of one workspace, on a disk or in an object store.

    Parameters
    ----------
    workspace_directory, task_filters, tqdm_disable, use_cache
        As for `Thunderbolt`.
    """

    def __init__(
        self,
        workspace_directory: str | os.PathLike[str] = '',
        task_filters: Sequence[str] | None = None,
        tqdm_disable: bool = False,
        use_cache: bool = True,
    ) -> None:
        del tqdm_disable, use_cache
        self.workspace_directory = absolute_place(workspace_directory or '.')
        self.task_filters = [text for text in task_filters or () if text]
        #: Where the files are that the logs name: those of an absolute or nested workspace too.
        self._places: dict[str, str] = {}

    def get_tasks(self) -> list[dict[str, Any]]:
        """What thunderbolt lists of each result that is there: names, parameters, log, time and unique id."""
        runs = Workspace(self.workspace_directory).runs(state=('cached',), sort='when', ascending=True)
        named = [(f'{run.task}_{run.unique_id}.pkl', run) for run in runs if run.origin != 'file' and run.outputs]
        filters = self.task_filters
        return [self._entry(run) for name, run in named if not filters or any(text in name for text in filters)]

    def to_absolute_path(self, x: str) -> str:
        """The place of a file, as a task log names it: from the directory where its task was built."""
        if x in self._places:
            return self._places[x]
        workspace = self.workspace_directory.rstrip('/')
        if '://' in x or os.path.isabs(x):
            return x
        parts = posixpath.normpath(x).split('/')
        below = parts[1:] if parts[0] == posixpath.basename(workspace) else parts
        return absolute_place('/'.join([workspace, *below]))

    def _entry(self, run: Run) -> dict[str, Any]:
        when = run.when or datetime.fromtimestamp(0).astimezone()
        log = self._log(run, 'task_log') or {'file_path': list(run.outputs)}
        paths = log.get('file_path')
        if not isinstance(paths, list | tuple) or len(paths) != len(run.outputs):
            log = {**log, 'file_path': (paths := list(run.outputs))}
        self._places.update(zip(map(str, paths), (str(target.path()) for target in run.targets()), strict=True))
        return {
            'task_name': run.task,
            'task_params': self._log(run, 'task_params') or dict(run.parameters),
            'task_log': log,
            'last_modified': when.astimezone().replace(tzinfo=None),
            'task_hash': run.unique_id,
        }

    def _log(self, run: Run, kind: LogKind) -> dict[str, Any]:
        path = log_path(self.workspace_directory, kind, run.task, run.unique_id)
        try:
            value = read_log(path)
        except Exception:  # a log that is not there, or damaged: the row still has what else is known
            return {}
        return value if isinstance(value, dict) else {}


class Thunderbolt:
    """The results of a workspace by number and by task name, as thunderbolt gives them.

    Parameters
    ----------
    workspace_directory
        The workspace: a directory, absolute or not, or a URL; by default the environment's TASK_WORKSPACE_DIRECTORY, or
        the working directory.
    task_filters
        Only tasks in whose file names one of these texts is.
    use_tqdm, tmp_path, use_cache
        Accepted for thunderbolt's sake, without effect: the workspace is listed each time.

    Examples
    --------
    >>> import kartnb, tempfile
    >>> class Two(kartnb.TaskOnKart[int]):
    ...     def run(self):
    ...         self.dump(2)
    >>> place = tempfile.mkdtemp()
    >>> kartnb.build(Two(workspace_directory=place))
    2
    >>> bolt = Thunderbolt(place)
    >>> bolt.get_task_df()[['task_id', 'task_name']].values.tolist()
    [[0, 'Two']]
    >>> bolt.load(0), bolt.get_data('Two')
    (2, 2)

    Notes
    -----
    From thunderbolt, of gokart's family. Results without a task log, and removed ones, are left out.
    """

    def __init__(
        self,
        workspace_directory: str | os.PathLike[str] | None = '',
        task_filters: str | Sequence[str] = '',
        use_tqdm: bool = False,
        tmp_path: str = './tmp',
        use_cache: bool = True,
    ) -> None:
        self.tmp_path = tmp_path
        place = workspace_directory or os.environ.get('TASK_WORKSPACE_DIRECTORY') or '.'
        filters = [task_filters] if isinstance(task_filters, str) else list(task_filters)
        self.client = self._get_client(place, filters, not use_tqdm, use_cache)
        self.tasks: dict[Any, dict[str, Any]] = self._get_tasks_dic(self.client.get_tasks())

    def _get_client(
        self, workspace_directory: str | os.PathLike[str], filters: list[str], tqdm_disable: bool, use_cache: bool
    ) -> Client:
        return Client(workspace_directory, filters, tqdm_disable, use_cache)

    def _get_tasks_dic(self, tasks_list: list[dict[str, Any]]) -> dict[Any, dict[str, Any]]:
        return dict(enumerate(sorted(tasks_list, key=lambda entry: entry['last_modified'])))

    def get_task_df(self, all_data: bool = False) -> pd.DataFrame:
        """The results as a pandas DataFrame, the oldest first.

        Parameters
        ----------
        all_data
            Whether the unique id and the task log are among the columns.
        """
        import pandas as pd

        rows = [{'task_id': number, **entry} for number, entry in self.tasks.items()]
        return pd.DataFrame(rows, columns=list(_ALL_COLUMNS if all_data else _COLUMNS))

    def get_data(self, task_name: str, top_k: int = 1) -> Any:
        """The newest value of a task, or a list of the newest `top_k`, the newest first.

        Raises
        ------
        kartnb.HistoryError
            When there are fewer.
        """
        named = [(entry['last_modified'], key) for key, entry in self.tasks.items() if entry['task_name'] == task_name]
        newest = sorted(named, key=lambda item: item[0], reverse=True)
        if len(newest) < max(top_k, 1):
            known = ', '.join(sorted({entry['task_name'] for entry in self.tasks.values()})[:10]) or 'none'
            found = f'{len(newest)} of {task_name}' if newest else f'none of {task_name}'
            raise HistoryError(
                f'{self.client.workspace_directory} has {found}, but top_k is {top_k}; its tasks: {known}.'
            )
        values = [self.load(key) for _, key in newest[:top_k]]
        return values[0] if len(values) == 1 else values

    def load(self, task_id: int) -> Any:
        """The value of a result, by its number in the table; a list when it has several files.

        Raises
        ------
        kartnb.HistoryError
            When the number is unknown.
        """
        if task_id not in self.tasks:
            raise HistoryError(f'Task number {task_id} not found: the numbers are 0 to {len(self.tasks) - 1}.')
        values = [self._target_load(path) for path in self.tasks[task_id]['task_log']['file_path']]
        return values[0] if len(values) == 1 else values

    def _target_load(self, file_name: str) -> Any:
        return file_target(self.client.to_absolute_path(file_name)).load()
