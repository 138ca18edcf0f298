"""The five logs that gokart keeps of a run, each at its moment."""

from __future__ import annotations

import logging
from typing import Any

from kartnb.errors import WrongValueError
from kartnb.records.modules import imported_versions
from kartnb.storage import pickling
from kartnb.storage.gokart_logs import LogWriter
from kartnb.task.base import TaskOnKart

logger = logging.getLogger('kartnb')


class RunLogs:
    """Writes the logs of one run of one task, if the task wants them.

    Parameters
    ----------
    task, unique_id
        The task.
    """

    def __init__(self, task: TaskOnKart[Any], unique_id: str) -> None:
        self._task = task
        self._writer: LogWriter | None = None
        if task.should_dump_supplementary_log_files:
            self._writer = LogWriter(task.workspace_directory, type(task).__name__, unique_id)
        self._versions = ''

    def write_start(self, seeding: dict[str, Any]) -> None:
        """Write what is known when the task begins: its parameters, its seed, the modules."""
        writer = self._writer
        if writer is not None:
            self._versions = imported_versions()
            writer.write('task_params', self._task.to_str_params(only_significant=True))
            writer.write('random_seed', seeding)
            writer.write('module_versions', self._versions)

    def write_success(self, seconds: float, paths: list[str]) -> None:
        """Write what is known when the task has succeeded: its time, its own log, the modules that it imported."""
        self._task.task_log['file_path'] = paths
        writer = self._writer
        if writer is not None:
            writer.write('processing_time', seconds)
            self._write_task_log(writer, self._task.task_log)
            versions = imported_versions()
            if versions != self._versions:
                writer.write('module_versions', versions)

    def _write_task_log(self, writer: LogWriter, log: dict[str, Any]) -> None:
        """Write what the task has noted; the result is made already, so an odd entry is named, and kept as text."""
        try:
            writer.write('task_log', log)
        except WrongValueError:
            odd = [key for key, value in log.items() if not _can_be_kept(value)]
            logger.warning(
                '%s.task_log has entries that cannot be pickled, which are kept as text: %s',
                type(self._task).__name__,
                ', '.join(map(repr, odd)),
            )
            writer.write('task_log', {key: repr(value) if key in odd else value for key, value in log.items()})


def _can_be_kept(value: Any) -> bool:
    try:
        pickling.dumps(value)
    except WrongValueError:
        return False
    return True
