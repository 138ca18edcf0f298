"""thunderbolt's names over `kartnb.Workspace`: ``from kartnb.compat.thunderbolt import Thunderbolt``."""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from kartnb.errors import HistoryError
from kartnb.history.runs import Run
from kartnb.history.workspace import Workspace
from kartnb.storage.places import log_path, read_log

if TYPE_CHECKING:
    import pandas as pd

_COLUMNS = ('task_id', 'task_name', 'last_modified', 'task_params')
_ALL_COLUMNS = (*_COLUMNS, 'task_hash', 'task_log')


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
        workspace_directory: str = '',
        task_filters: str | Sequence[str] = '',
        use_tqdm: bool = False,
        tmp_path: str = './tmp',
        use_cache: bool = True,
    ) -> None:
        del use_tqdm, use_cache
        self.tmp_path = tmp_path
        self._workspace = Workspace(workspace_directory or os.environ.get('TASK_WORKSPACE_DIRECTORY') or '.')
        filters = [task_filters] if isinstance(task_filters, str) else list(task_filters)
        self._runs = self._listed([text for text in filters if text])
        self.tasks: dict[int, dict[str, Any]] = {i: self._entry(run) for i, run in enumerate(self._runs)}

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
        numbers = [number for number, entry in self.tasks.items() if entry['task_name'] == task_name][::-1]
        if len(numbers) < max(top_k, 1):
            known = ', '.join(sorted({entry['task_name'] for entry in self.tasks.values()})[:10]) or 'none'
            found = f'{len(numbers)} of {task_name}' if numbers else f'none of {task_name}'
            raise HistoryError(f'{self._workspace.path} has {found}, but top_k is {top_k}; its tasks: {known}.')
        values = [self.load(number) for number in numbers[:top_k]]
        return values[0] if len(values) == 1 else values

    def load(self, task_id: int) -> Any:
        """The value of a result, by its number in the table; a list when it has several files.

        Raises
        ------
        kartnb.HistoryError
            When the number is unknown.
        """
        number = int(task_id)
        if number not in self.tasks:
            raise HistoryError(f'Task number {task_id} not found: the numbers are 0 to {len(self.tasks) - 1}.')
        return self._runs[number].load()

    def _listed(self, filters: list[str]) -> list[Run]:
        every = self._workspace.runs(state=('cached',), sort='when', ascending=True)
        chosen = [run for run in every if run.origin != 'file' and run.outputs]
        named = [(f'{run.task}_{run.unique_id}.pkl', run) for run in chosen]
        return [run for name, run in named if not filters or any(text in name for text in filters)]

    def _entry(self, run: Run) -> dict[str, Any]:
        when = run.when or datetime.fromtimestamp(0).astimezone()
        return {
            'task_name': run.task,
            'task_params': self._log(run, 'task_params') or dict(run.parameters),
            'task_log': self._log(run, 'task_log') or {'file_path': list(run.outputs)},
            'last_modified': when.astimezone().replace(tzinfo=None),
            'task_hash': run.unique_id,
        }

    def _log(self, run: Run, kind: Any) -> dict[str, Any]:
        path = log_path(self._workspace.path, kind, run.task, run.unique_id)
        try:
            value = read_log(path)
        except Exception:  # a log that is not there, or damaged: the row still has what else is known
            return {}
        return value if isinstance(value, dict) else {}
