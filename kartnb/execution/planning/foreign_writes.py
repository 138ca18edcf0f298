"""Results that another program has written again under their record, such as gokart or a person with an editor.

A plan compares size and time of a result's files with what the name of its record tells. Where these differ, the
record is opened and the contents are compared: copies of a workspace, and files that were only touched, still count.
"""

from __future__ import annotations

import os
from enum import Enum

from kartnb.history.run_record import RunRecord, iso_seconds, newest_record
from kartnb.storage.contents import is_whole
from kartnb.storage.filesystem import file_system
from kartnb.storage.run_records import RecordDirectory
from kartnb.storage.superseded import is_kept

#: Some disks and servers tell the time of a file less exactly after a while: in steps of so many seconds at the most.
_CLOCK_STEP = 2.0
#: Where a record's file cannot be given the time of its run's end, it is so much younger at the most.
_WRITING_TIME = 0.1
_ROUNDING = 1e-6
_MOST_REMEMBERED = 1 << 18


class Files(Enum):
    """What the files of a result are that have another size or time than its record tells."""

    SAME = 'the same contents'
    FOREIGN = 'written by another program'
    UNFINISHED = 'written by a run that has not ended'


_found_same: set[tuple[str, str]] = set()


def examine(workspace: str, directory: RecordDirectory, stem: str, paths: tuple[str, ...], mark: str) -> Files:
    """Find out whether the files of a result are still what was recorded, by their contents.

    Parameters
    ----------
    workspace
        The workspace directory as the task gives it.
    directory, stem
        Where the record is.
    paths
        The files.
    mark
        Their joint mark as they are now: contents that were found the same under it are not compared again.
    """
    key = (os.path.abspath(os.path.join(directory.path, directory.newest(stem) or '')), mark)
    if key in _found_same:
        return Files.SAME
    if _is_same(newest_record(directory, stem), paths, directory.written(stem)):
        if len(_found_same) > _MOST_REMEMBERED:
            _found_same.clear()
        _found_same.add(key)
        return Files.SAME
    # what a run replaces is kept under its id before the run begins
    return Files.UNFINISHED if is_kept(workspace, directory.result_id(stem)) else Files.FOREIGN


def _is_same(record: RunRecord | None, paths: tuple[str, ...], record_written: float) -> bool:
    if record is None:
        return False
    if len(record.outputs) != len(paths):
        return True  # the task has other outputs now: there is nothing to compare
    seen = [file_system(path).seen(path) for path in paths]
    if any(file.size not in (None, now.size) for file, now in zip(record.outputs, seen, strict=True)):
        return False
    checks = record.checks if len(record.checks) == len(paths) else ('',) * len(paths)
    if any(check not in ('', now.check) for check, now in zip(checks, seen, strict=True)):
        return False
    in_part = [
        (file.modified or 0.0, now.modified)
        for check, file, now in zip(checks, record.outputs, seen, strict=True)
        if not is_whole(check)
    ]
    return all(_is_one_moment(*times) for times in in_part) or _was_copied(record, record_written)


def _is_one_moment(recorded: float, now: float) -> bool:
    return recorded == now or (now == int(now) and abs(recorded - now) < _CLOCK_STEP)


def _was_copied(record: RunRecord, record_written: float) -> bool:
    """Whether the record is a copy without its time: then the times of the results say nothing either."""
    ended = iso_seconds(record.ended)
    if ended is None:
        return True
    if '://' in record.outputs[0].path:
        return abs(record_written - ended) > _WRITING_TIME
    return abs(record_written - ended) > _ROUNDING and not _is_one_moment(ended, record_written)
