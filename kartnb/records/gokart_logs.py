"""The five logs that gokart keeps of a run, each at its moment."""

from __future__ import annotations

import logging
from typing import Any

from kartnb.errors import WrongValueError
from kartnb.records.modules import imported_versions
from kartnb.storage import gokart_logs as files
from kartnb.storage import pickling
from kartnb.task.base import TaskOnKart

logger = logging.getLogger('kartnb')


class RunLogs:
    """Writes the logs of one run of one task, if the task wants them."""

    def __init__(self, task: TaskOnKart[Any]) -> None:
        self._task = task
        self._wanted = task.should_dump_supplementary_log_files
        self._place = (type(task).__name__, task.make_unique_id())
        self._versions = ''

    def write_start(self, seeding: dict[str, Any]) -> None:
        """Write what is known when the task begins: its parameters, its seed, the modules."""
        self._versions = imported_versions()
        self._write('task_params', self._task.to_str_params(only_significant=True))
        self._write('random_seed', seeding)
        self._write('module_versions', self._versions)

    def write_success(self, seconds: float, paths: list[str]) -> None:
        """Write what is known when the task has succeeded: its time, its own log, the modules that it imported."""
        self._write('processing_time', seconds)
        self._task.task_log['file_path'] = paths
        self._write_task_log(self._task.task_log)
        versions = imported_versions()
        if versions != self._versions:
            self._write('module_versions', versions)

    def _write_task_log(self, log: dict[str, Any]) -> None:
        """Write what the task has noted; the result is made already, so an odd entry is named, and kept as text."""
        try:
            self._write('task_log', log)
        except WrongValueError:
            odd = [key for key, value in log.items() if not _can_be_kept(value)]
            logger.warning(
                '%s.task_log has entries that cannot be pickled, which are kept as text: %s',
                type(self._task).__name__,
                ', '.join(map(repr, odd)),
            )
            self._write('task_log', {key: repr(value) if key in odd else value for key, value in log.items()})

    def _write(self, kind: files.LogKind, value: Any) -> None:
        if self._wanted:
            files.write_log(files.log_path(self._task.workspace_directory, kind, *self._place), value)


def _can_be_kept(value: Any) -> bool:
    try:
        pickling.dumps(value)
    except WrongValueError:
        return False
    return True
