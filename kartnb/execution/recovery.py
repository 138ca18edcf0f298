"""What killed processes have left in a workspace: runs that were broken off are rolled back, litter is removed.

A build begins with it: then the plan is drawn up again, and sees finished results only. Nothing of a living process is
touched: it holds the lock of its task, or of the file that it writes.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator

from kartnb.errors import KartError
from kartnb.planning.known_results import KnownResults
from kartnb.storage.files import SUFFIX, sweep_litter
from kartnb.storage.filesystem import file_system
from kartnb.storage.places import LOG_KINDS
from kartnb.storage.run_lock import Holder, Intent, RunLock, RunMark, intent_at
from kartnb.storage.run_records import RecordDirectory
from kartnb.storage.superseded import roll_back, superseded_directory

#: Workspaces that were looked through by this process.
_tidied: set[str] = set()


def recover(results: KnownResults) -> bool:
    """Roll back what was broken off of the tasks in listed directories; gives whether there was anything."""
    found = False
    for workspace, directory, name in results.broken_off():
        try:
            found = _recover(workspace, directory, name) or found
        except (KartError, OSError):  # a read-only workspace; the run of the task says what is wrong
            continue
    return found


def _recover(workspace: str, directory: RecordDirectory, name: str) -> bool:
    slot = directory.slot(name.rpartition('~')[0])
    path = f'{directory.path}/{name}'
    lock = slot.lock(name.rpartition('-')[2].removesuffix('.json'))
    if isinstance(lock, Holder):
        return False
    leave = lock.abandon if lock.was_broken else lock.release
    try:
        if not lock.was_broken:  # it has ended by now
            return True
        intent = lock.earlier() if isinstance(lock, RunLock) else intent_at(path)
        if isinstance(lock, RunMark) and not intent.is_dead():
            return False
        slot.look_again()
        paths = _paths(workspace, intent)
        if paths is None:
            return False  # its files are not in the workspace: only the next run of the task may touch them
        roll_back(lock, slot, workspace, paths, intent.replaces)
        kept = superseded_directory(workspace, intent.replaces)
        _sweep({*map(os.path.dirname, paths), directory.path, os.path.join(workspace, 'log'), workspace, kept})
        leave = lock.release
        if isinstance(lock, RunMark):
            file_system(path).remove(path)
        return True
    finally:
        leave()


def _paths(workspace: str, intent: Intent) -> list[str] | None:
    """The files that a run was going to write; None when one of them is not in the workspace."""
    return list(intent.writes) if all(_is_within(workspace, path) for path in intent.writes) else None


def _is_within(workspace: str, path: str) -> bool:
    if '://' in workspace or '://' in path:
        return path.startswith(workspace.rstrip('/') + '/') and '/../' not in path
    root = os.path.realpath(workspace)
    return os.path.realpath(path).startswith(root.rstrip(os.sep) + os.sep)


def tidy(workspace: str) -> None:
    """Remove litter below ``log/`` of a workspace on this computer's disks, once in each process."""
    place = os.path.abspath(workspace)
    if '://' in workspace or place in _tidied:
        return
    _tidied.add(place)
    _sweep(_directories(os.path.join(place, 'log')))


def _directories(log: str) -> Iterator[str]:
    pending = [log]
    while pending:
        directory = pending.pop()
        yield directory
        try:
            with os.scandir(directory) as entries:
                pending += [
                    entry.path
                    for entry in entries
                    if '.' not in entry.name and entry.name not in LOG_KINDS and entry.is_dir(follow_symlinks=False)
                ]
        except OSError:
            continue


def _sweep(directories: Iterable[str]) -> None:
    for directory in directories:
        if directory and '://' not in directory:
            try:
                names = [name for name in os.listdir(directory) if name.endswith(SUFFIX)]
                sweep_litter(directory, names)
            except OSError:
                continue
