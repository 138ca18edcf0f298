"""How many superseded results a workspace keeps: looked at when a build has superseded some.

What is known of each is kept in one file, ``log/superseded.json``, so that a build reads only the manifests of those
that are new. The file can be lost: then they are all read again.
"""

from __future__ import annotations

import contextlib
import filecmp
import hashlib
import json
import os
import time
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, NamedTuple

from kartnb.errors import HistoryError, KartError, TaskSettingError
from kartnb.history.run_record import iso_seconds, parsed_record
from kartnb.history.select import Bounds, byte_count, span
from kartnb.storage.files import temporary_path
from kartnb.storage.filesystem import file_system
from kartnb.storage.superseded import Superseded, superseded_names, superseded_result

_INDEX = 'log/superseded.json'
#: In the year 2200, in epoch seconds: whoever wrote the index, its times can be shown.
_LAST_TIME = 7_258_118_400
#: The word for no bound at all.
EVERYTHING = 'all'


def superseded_bounds(given: int | str, where: str) -> Bounds:
    """The bounds that a setting gives: how many of each task, for how long, how many bytes; or 'all'.

    Raises TaskSettingError, which names the setting as `where`, when it is none of these.

    >>> superseded_bounds('20, 90 days, 5 GB', 'keep_superseded')
    Bounds(age=datetime.timedelta(days=90), number=20, bytes=5000000000)
    """
    bounds = Bounds(None, None, None)
    text = str(given).strip().lower()
    for word in [] if text == EVERYTHING else text.split(','):
        try:
            bounds = replace(bounds, **_bound(word.strip()))
        except HistoryError:
            raise TaskSettingError(
                f"{where} must be a number, a duration and a size, such as '20, 90 days, 5 GB', or 'all', "
                f'not {given!r:.60}.'
            ) from None
    return bounds


def _bound(word: str) -> dict[str, Any]:
    if word.isascii() and word.isdigit():
        return {'number': int(word)}
    try:
        return {'age': span(word)}
    except HistoryError:
        return {'bytes': byte_count(word)}


class _Entry(NamedTuple):
    """What is known of one superseded result."""

    task: str  #: ``<module>.<Class>_<unique id>``.
    time: float  #: When it was superseded, in epoch seconds.
    size: int
    content: str  #: A digest of sizes and checks of its files; '' when one of them has none.


def bound_superseded(workspace: str, bounds: Bounds) -> None:
    """Remove the superseded results of a workspace that are beyond bounds, and keep equal ones of a task once.

    The latest of each task stays, and so do all of a task that is running: its run may put one back.
    """
    known = _read_index(workspace)
    found = {name: known.get(name) or _entry(workspace, name) for name in superseded_names(workspace)}
    entries = {name: entry for name, entry in found.items() if entry is not None}
    fresh = entries.keys() - known.keys()
    if fresh and '://' not in workspace:
        _share_contents(workspace, entries, fresh)
    for name in _beyond(workspace, entries, bounds):
        result = superseded_result(workspace, name)
        if result is not None:
            result.remove()
        del entries[name]
    if entries != known:
        data = json.dumps(entries, ensure_ascii=False).encode()
        file_system(workspace).write_bytes(os.path.join(workspace, _INDEX), data)


def _read_index(workspace: str) -> dict[str, _Entry]:
    path = os.path.join(workspace, _INDEX)
    try:
        content: Any = json.loads(file_system(path).read_small(path))
        return {str(name): _checked(*values) for name, values in content.items()}
    except (KartError, OSError, ValueError, TypeError, AttributeError, OverflowError, RecursionError):
        return {}


def _checked(task: Any, time: Any, size: Any, content: Any) -> _Entry:
    if not (0 <= time < _LAST_TIME and size >= 0):
        raise ValueError('not an entry of the index')
    return _Entry(str(task), float(time), int(size), str(content))


def _entry(workspace: str, name: str) -> _Entry | None:
    result = superseded_result(workspace, name)
    if result is None:
        return None
    record = parsed_record(_record_text(result))
    content = ''
    if record is not None and record.checks and all(record.checks):
        facts = [record.checks, [output.size for output in record.outputs]]
        content = hashlib.blake2b(json.dumps(facts).encode(), digest_size=12).hexdigest()
    return _Entry(f'{result.module}.{result.stem}', iso_seconds(result.time) or time.time(), result.size(), content)


def _record_text(result: Superseded) -> str | None:
    try:
        return result.record_text()
    except (KartError, OSError, ValueError):
        return None


def _share_contents(workspace: str, entries: Mapping[str, _Entry], fresh: Collection[str]) -> None:
    """Let the files of new results be other names of those of an equal one of their task."""
    equal = {(entry.task, entry.content): name for name, entry in entries.items() if name not in fresh}
    for name in sorted(fresh):
        entry = entries[name]
        other = equal.setdefault((entry.task, entry.content), name) if entry.content else name
        if other != name:
            _share_content(superseded_result(workspace, name), superseded_result(workspace, other))


def _share_content(result: Superseded | None, other: Superseded | None) -> None:
    if result is None or other is None or len(result.files) != len(other.files):
        return
    for (_, own), (_, its) in zip(result.files, other.files, strict=True):
        with contextlib.suppress(OSError):  # such as a disk that has no hard links
            _link(os.path.join(other.directory, its), os.path.join(result.directory, own))


def _link(path: str, target: str) -> None:
    if os.path.samefile(path, target) or not filecmp.cmp(path, target, shallow=False):
        return
    temporary = temporary_path(os.path.dirname(target))
    os.link(path, temporary)
    os.replace(temporary, target)


def _beyond(workspace: str, entries: Mapping[str, _Entry], bounds: Bounds) -> list[str]:
    """Which results are beyond the bounds, and can be removed."""
    if bounds == Bounds(None, None, None):
        return []
    newest_first = sorted(entries.items(), key=lambda item: item[1].time, reverse=True)
    results: list[tuple[str, datetime, int]] = []
    latest: set[str] = set()
    counted: set[tuple[str, str]] = set()
    tasks: set[str] = set()
    for name, entry in newest_first:
        task = entry.task
        if task not in tasks:
            tasks.add(task)
            latest.add(name)
        # it takes no bytes of its own where it shares its content with a later one
        shares = (task, entry.content) in counted and '://' not in workspace
        counted |= {(task, entry.content)} if entry.content else set()
        results.append((task, datetime.fromtimestamp(entry.time, UTC), 0 if shares else entry.size))
    stays = bounds.kept(results)
    beyond = [name for (name, _), kept in zip(newest_first, stays, strict=True) if not kept and name not in latest]
    running = _running(workspace, {entries[name].task.rpartition('.')[0] for name in beyond})
    return [name for name in beyond if entries[name].task not in running]


def _running(workspace: str, modules: Iterable[str]) -> set[str]:
    """The tasks that are running, as ``<module>.<Class>_<unique id>``."""
    found: set[str] = set()
    for module in modules:
        directory = os.path.join(workspace, 'log/run_record', module.replace('.', '/'))
        names = file_system(directory).names(directory)
        found |= {f'{module}.{name.rpartition("~")[0]}' for name in names if '~running' in name}
    return found
