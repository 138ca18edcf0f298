"""The files of results: whether they are what their record says, now, or where a superseded result is kept."""

from __future__ import annotations

import os
from collections.abc import Iterable
from enum import Enum
from typing import Any

from kartnb.errors import KartError
from kartnb.history.run_record import RunRecord, iso_seconds, newest_record, parsed_record
from kartnb.storage.file_inputs import FileInput, compare
from kartnb.storage.files import is_digest, is_whole, joint_mark
from kartnb.storage.filesystem import file_system
from kartnb.storage.run_records import RecordDirectory, RecordedResult
from kartnb.storage.superseded import Superseded
from kartnb.storage.targets import SingleFileTarget, TargetOnKart

#: Some disks and servers keep the time of a file less exactly after a while: in steps of at most so many seconds.
_CLOCK_STEP = 2.0
#: A record's file that cannot be given the time at which its run ended is at most so many seconds younger.
_WRITING_TIME = 0.1
_ROUNDING = 1e-6
_MOST_REMEMBERED = 1 << 18


class Files(Enum):
    """What became of the files of a result that have another size or time than recorded."""

    SAME = 'the same contents'
    FOREIGN = 'modified outside kartnb'
    UNFINISHED = 'written by a run that has not ended'
    CUT_SHORT = 'shorter than what was written'


_found_same: set[tuple[str, str]] = set()


def examine(directory: RecordDirectory, stem: str, paths: tuple[str, ...], mark: str) -> Files:
    """Find out whether the files of a result are still what was recorded, by their contents.

    `mark` is their joint mark as they are now: contents that were found the same under it are not compared again.
    """
    key = (os.path.abspath(os.path.join(directory.path, directory.newest(stem) or '')), mark)
    if key in _found_same:
        return Files.SAME
    record = newest_record(directory, stem)
    if _is_same(record, paths, directory.written(stem)):
        if len(_found_same) > _MOST_REMEMBERED:
            _found_same.clear()
        if joint_mark(marks_of(paths)) == mark:  # as it was while they were read
            _found_same.add(key)
        return Files.SAME
    return Files.CUT_SHORT if _is_cut_short(record, paths) else Files.FOREIGN


def _is_cut_short(record: RunRecord | None, paths: tuple[str, ...]) -> bool:
    """Whether a file was lost in part, as when the power fails: it is empty, or shorter with the time of then."""
    if record is None or len(record.outputs) != len(paths):
        return False
    now = [file_system(path).stamp(path) for path in paths]
    return any(
        file.size is not None and size < file.size and (size == 0 or _is_one_moment(file.modified or 0.0, modified))
        for file, (size, modified) in zip(record.outputs, now, strict=True)
    )


def _is_same(record: RunRecord | None, paths: tuple[str, ...], record_written: float) -> bool:
    if record is None:
        return False
    if len(record.outputs) != len(paths):
        return True  # the task has other outputs now: there is nothing to compare
    checks = record.checks if len(record.checks) == len(paths) else ('',) * len(paths)
    sizes = [file_system(path).stamp(path)[0] for path in paths]
    if any(file.size not in (None, size) for file, size in zip(record.outputs, sizes, strict=True)):
        return False  # without reading it
    seen = [file_system(path).seen(path, not is_digest(check)) for path, check in zip(paths, checks, strict=True)]
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


def is_intact(kept: Superseded, result: RecordedResult) -> bool:
    """Whether the files of a superseded result are still what its record says."""
    paths = tuple(os.path.join(kept.directory, name) for _, name in kept.files)
    try:
        if joint_mark(marks_of(paths)) == result.files:
            return True
        return _is_same(record_of(kept), paths, 0.0)
    except OSError:
        return False


def record_of(kept: Superseded) -> RunRecord | None:
    """The record of a superseded result; None when it cannot be read."""
    try:
        return parsed_record(kept.record_text())
    except (KartError, OSError, ValueError):
        return None


def what_is_written_over(written: Iterable[FileInput]) -> str:
    """What became of a file that a run wrote beside its result; '' while all are as it left them.

    Who reads them after a superseded result has been put back would get those of another one.
    """
    for file in written:
        compared = compare(file)
        if compared.answer != 'same':
            return compared.detail
    return ''


def is_plain_file(target: Any) -> bool:
    """Whether a target exists where its path exists, so that one listing answers for many."""
    # the first question is much quicker than the second, which goes through an abstract base class
    is_ours = type(target) is SingleFileTarget or isinstance(target, TargetOnKart)
    return is_ours and target.is_plain_file


def marks_of(paths: Iterable[str]) -> list[str]:
    """The marks of files as they are now."""
    return [file_system(path).mark(path) for path in paths]
