"""The files of run records: where they are, and what their names tell without opening them.

A record of a result is ``log/run_record/<module path>/<Class>_<unique id>~r<result id>.json``, so that one directory
listing tells the result id of every task. The latest run that gave no result is ``<Class>_<unique id>~failed.json``.
"""

from __future__ import annotations

import os

from kartnb.storage.filesystem import file_system

_FAILED = 'failed'
_SUFFIX = '.json'


class RecordDirectory:
    """The run records of one module in one workspace, listed once and kept up to date with what is written through it.

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
        for name in self._files.names(self.path):
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
        name = f'{stem}~{_FAILED}{_SUFFIX}'
        if name not in self._names.get(stem, ()):
            return None
        return self._files.read_bytes(os.path.join(self.path, name)).decode('utf-8')

    def write(self, stem: str, result_id: str, text: str) -> None:
        """Write a record and remove the ones that it replaces; without a result id, those of results stay."""
        name = f'{stem}~{f"r{result_id}" if result_id else _FAILED}{_SUFFIX}'
        self._files.write_bytes(os.path.join(self.path, name), text.encode('utf-8'))
        known = self._names.setdefault(stem, set())
        for older in [
            other for other in known if other != name and (result_id or other.endswith(f'~{_FAILED}{_SUFFIX}'))
        ]:
            self._files.remove(os.path.join(self.path, older))
            known.discard(older)
        known.add(name)

    def _newest(self, stem: str) -> str | None:
        results = [name for name in self._names.get(stem, ()) if not name.endswith(f'~{_FAILED}{_SUFFIX}')]
        if len(results) <= 1:
            return results[0] if results else None
        # two processes may have written one task's record at the same time
        return max(results, key=lambda name: (self._files.modified(os.path.join(self.path, name)), name))
