"""The files of run records: where they are, and what their names tell without opening them.

A record of a result is ``log/run_record/<module path>/<Class>_<unique id>~r<result id>.json``, so that one directory
listing tells the result id of every task. The latest run that gave no result is ``<Class>_<unique id>~failed.json``.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from dataclasses import dataclass

from kartnb.storage.captured_logs import (
    CapturedLine,
    captured_log_name,
    remove_captured_lines,
    write_captured_lines,
)
from kartnb.storage.filesystem import file_system

_FAILED = 'failed'
_SUFFIX = '.json'


@dataclass(frozen=True, slots=True)
class RecordSlot:
    """The place of one task's next record, and the names of the older ones. It can be sent to another process.

    Attributes
    ----------
    directory
        The directory of the records.
    stem
        ``<Class>_<unique id>``.
    older
        The names of the records that the task has.
    may_have_log
        Whether there may be captured lines of an earlier run.
    """

    directory: str
    stem: str
    older: tuple[str, ...]
    may_have_log: bool = False

    def write(self, result_id: str, text: str) -> None:
        """Write a record and remove the ones that it replaces; without a result id, those of results stay."""
        name = _name(self.stem, result_id)
        files = file_system(self.directory)
        files.write_bytes(os.path.join(self.directory, name), text.encode('utf-8'))
        for other in self.older:
            if _replaces(result_id, name, other):
                with contextlib.suppress(FileNotFoundError):  # another process was faster
                    files.remove(os.path.join(self.directory, other))

    def write_log(self, lines: Sequence[CapturedLine], build_id: str) -> None:
        """Keep what a run has printed and logged, in the place of what the run before it has."""
        if lines or self.may_have_log:
            path = os.path.join(self.directory, captured_log_name(self.stem))
            write_captured_lines(path, lines, build_id) if lines else remove_captured_lines(path)


class RecordDirectory:
    """The run records of one module in one workspace, listed once and kept up to date with what is written since.

    Parameters
    ----------
    workspace
        The workspace directory as the task gives it.
    module
        The module of the task classes.
    """

    def __init__(self, workspace: str, module: str) -> None:
        self.path = os.path.join(workspace, 'log/run_record', module.replace('.', '/'))
        self._files = file_system(self.path)
        self._names: dict[str, set[str]] = {}
        names = self._files.names(self.path)
        self._logs = {name for name in names if name.endswith('.log')}
        for name in names:
            stem, separator, _ = name.removesuffix(_SUFFIX).rpartition('~')
            if separator and name.endswith(_SUFFIX):
                self._names.setdefault(stem, set()).add(name)

    def result_id(self, stem: str) -> str:
        """The id of the newest recorded result of a task, '' when there is none.

        Parameters
        ----------
        stem
            ``<Class>_<unique id>``.
        """
        name = self._newest(stem)
        return name.removesuffix(_SUFFIX).rpartition('~r')[2] if name else ''

    def read(self, stem: str) -> str | None:
        """The text of the newest record of a result, or None."""
        name = self._newest(stem)
        return None if name is None else self._files.read_bytes(os.path.join(self.path, name)).decode('utf-8')

    def read_failure(self, stem: str) -> str | None:
        """The text of the record of the latest run without a result, or None."""
        name = _name(stem, '')
        if name not in self._names.get(stem, ()):
            return None
        return self._files.read_bytes(os.path.join(self.path, name)).decode('utf-8')

    def slot(self, stem: str) -> RecordSlot:
        """Where the next record of a task goes, for whoever runs it."""
        return RecordSlot(
            self.path, stem, tuple(self._names.get(stem, ())), may_have_log=captured_log_name(stem) in self._logs
        )

    def note(self, stem: str, result_id: str) -> None:
        """Remember that a record was written in a slot of this directory."""
        name = _name(stem, result_id)
        kept = {other for other in self._names.get(stem, ()) if not _replaces(result_id, name, other)}
        self._names[stem] = {*kept, name}
        self._logs.add(captured_log_name(stem))

    def _newest(self, stem: str) -> str | None:
        results = [name for name in self._names.get(stem, ()) if name != _name(stem, '')]
        if len(results) <= 1:
            return results[0] if results else None
        # two processes may have written one task's record at the same time
        return max(results, key=lambda name: (self._files.modified(os.path.join(self.path, name)), name))


def _name(stem: str, result_id: str) -> str:
    return f'{stem}~{f"r{result_id}" if result_id else _FAILED}{_SUFFIX}'


def _replaces(result_id: str, name: str, other: str) -> bool:
    return other != name and (result_id != '' or other.endswith(f'~{_FAILED}{_SUFFIX}'))
