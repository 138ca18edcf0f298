"""How many superseded results a workspace keeps: looked at when a build has superseded some.

What is known of each is kept in one file, ``log/superseded.json``, so that a build reads only the manifests of those
that are new. The file can be lost: then they are all read again.
"""

from __future__ import annotations

import contextlib
import filecmp
import hashlib
import json
import logging
import os
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, NamedTuple

from kartnb.errors import HistoryError, KartError, TaskSettingError
from kartnb.history.run_record import iso_moment, parsed_record
from kartnb.history.select import Bounds, byte_count, span
from kartnb.storage.files import temporary_path
from kartnb.storage.filesystem import file_system
from kartnb.storage.superseded import Superseded, superseded_names, superseded_result

logger = logging.getLogger('kartnb')

_INDEX = 'log/superseded.json'
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

    stem: str  #: ``<Class>_<unique id>``.
    module: str
    time: str  #: When it was superseded.
    size: int
    content: str  #: A digest of sizes and checks of its files; '' when one of them has none.


def bound_superseded(workspace: str, bounds: Bounds) -> None:
    """Remove the superseded results of a workspace that are beyond bounds, and keep equal ones of a task once.

    The latest of each task stays, and so do all of a task that is running: its run may put one back.
    """
    known = _read_index(workspace)
    found = {name: known.get(name) or _entry(workspace, name) for name in superseded_names(workspace)}
    entries = {name: entry for name, entry in found.items() if entry is not None}
    if '://' not in workspace:
        for name in sorted(entries.keys() - known.keys()):
            _share_content(workspace, name, entries)
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
        content: Any = json.loads(file_system(path).read_bytes(path))
        return {str(name): _checked(*values) for name, values in content.items()}
    except (KartError, OSError, ValueError, TypeError, AttributeError, RecursionError):
        return {}


def _checked(stem: Any, module: Any, time: Any, size: Any, content: Any) -> _Entry:
    return _Entry(str(stem), str(module), str(time), int(size), str(content))


def _entry(workspace: str, name: str) -> _Entry | None:
    result = superseded_result(workspace, name)
    if result is None:
        return None
    record = parsed_record(_record_text(result))
    content = ''
    if record is not None and record.checks and all(record.checks):
        facts = [record.checks, [output.size for output in record.outputs]]
        content = hashlib.blake2b(json.dumps(facts).encode(), digest_size=12).hexdigest()
    return _Entry(result.stem, result.module, result.time, result.size(), content)


def _record_text(result: Superseded) -> str | None:
    try:
        return result.record_text()
    except (KartError, OSError, ValueError):
        return None


def _share_content(workspace: str, name: str, entries: Mapping[str, _Entry]) -> None:
    """Let the files of a result be other names of those of an equal one of its task."""
    entry = entries[name]
    key = (entry.stem, entry.module, entry.content)
    equal = (other for other, its in entries.items() if other != name and (its.stem, its.module, its.content) == key)
    other = next(equal, None) if entry.content else None
    if other is None:
        return
    result, earlier = superseded_result(workspace, name), superseded_result(workspace, other)
    if result is None or earlier is None or len(result.files) != len(earlier.files):
        return
    for (_, own), (_, its) in zip(result.files, earlier.files, strict=True):
        with contextlib.suppress(OSError):  # such as a disk that has no hard links
            _link(os.path.join(earlier.directory, its), os.path.join(result.directory, own))


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
    now = datetime.now(UTC)
    moments = {name: iso_moment(entry.time) or now for name, entry in entries.items()}
    newest_first = sorted(entries, key=lambda name: moments[name], reverse=True)
    sizes = _sizes(workspace, [entries[name] for name in newest_first])
    tasks = {name: f'{entry.module}.{entry.stem}' for name, entry in entries.items()}
    results = [(tasks[name], moments[name], size) for name, size in zip(newest_first, sizes, strict=True)]
    latest = {tasks[name]: name for name in reversed(newest_first)}
    beyond = [
        name
        for name, stays in zip(newest_first, bounds.kept(results), strict=True)
        if not stays and latest[tasks[name]] != name
    ]
    running = _running(workspace, {entries[name].module for name in beyond})
    return [name for name in beyond if tasks[name] not in running]


def _sizes(workspace: str, newest_first: Iterable[_Entry]) -> list[int]:
    """How many bytes each result takes: none where it shares its content with a later one."""
    counted: set[tuple[str, ...]] = set()
    sizes = []
    for entry in newest_first:
        key = (entry.stem, entry.module, entry.content)
        sizes.append(0 if key in counted and '://' not in workspace else entry.size)
        counted |= {key} if entry.content else set()
    return sizes


def _running(workspace: str, modules: Iterable[str]) -> set[str]:
    """The tasks that are running, as ``<module>.<Class>_<unique id>``."""
    found: set[str] = set()
    for module in modules:
        directory = os.path.join(workspace, 'log/run_record', module.replace('.', '/'))
        names = file_system(directory).names(directory)
        found |= {f'{module}.{name.rpartition("~")[0]}' for name in names if '~running' in name}
    return found
