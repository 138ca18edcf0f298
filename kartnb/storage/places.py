"""The files below ``log/`` that go with a result: gokart's five logs, captured output, and the parts of code prints.

The captured output of a task lies beside its run record, as ``<Class>_<unique id>.log``. It is UTF-8 text. Its first
line names the build; each further one is a time, the stream or the level with the logger's name, and the text, with
tabs in between. A line that begins with a tab goes on with the text of the one above.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import logging
import os
import pickle
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal, TypeAlias, cast

from kartnb.errors import KartError, UnloadedResultError, UnreadableResultError
from kartnb.storage import pickling
from kartnb.storage.filesystem import file_system
from kartnb.storage.peek import peek, unread_types


def code_path(workspace: str, key: str) -> str:
    """Where the parts of a code print are kept; `key` is the print, with the Python that printed it."""
    return os.path.join(workspace, 'log/run_record/code', f'{key}.code')


def keep_code(workspace: str, key: str, text: str) -> None:
    """Write the parts of a code print, unless they are there."""
    path = code_path(workspace, key)
    if not file_system(path).exists(path):
        file_system(path).write_bytes(path, text.encode('utf-8', 'surrogatepass'))


def read_code(workspace: str, key: str) -> str | None:
    """The parts of a code print as text, None when they do not exist or cannot be read."""
    path = code_path(workspace, key)
    try:
        if not file_system(path).exists(path):
            return None
        return file_system(path).read_small(path).decode('utf-8', 'surrogatepass')
    except (KartError, ValueError):
        return None


#: Most disks allow 255 bytes for a name; what follows the class name takes up to 143 of them.
_LONGEST_CLASS_NAME = 112
#: So many characters of a class name, each of at most four bytes, with a unique id.
_SURELY_SHORT = _LONGEST_CLASS_NAME // 4 + len('_') + 32


def record_class_name(name: str) -> str:
    """The class name as it is in the names of records and captured logs: of a long one the beginning and a digest.

    >>> record_class_name('Train')
    'Train'
    >>> len(record_class_name('Train' * 40))
    112
    """
    return name if len(name) * 4 <= _LONGEST_CLASS_NAME else _shortened(name)


@functools.lru_cache(maxsize=1024)
def _shortened(name: str) -> str:
    whole = name.encode('utf-8', 'backslashreplace')
    if len(whole) <= _LONGEST_CLASS_NAME:
        return name
    digest = hashlib.blake2b(whole, digest_size=6).hexdigest()
    return f'{whole[: _LONGEST_CLASS_NAME - 1 - len(digest)].decode("utf-8", "ignore")}-{digest}'


def record_stem(stem: str) -> str:
    """What the names of a task's records begin with, from ``<Class>_<unique id>``."""
    if len(stem) <= _SURELY_SHORT:
        return stem
    name, _, unique_id = stem.rpartition('_')
    return f'{_shortened(name)}_{unique_id}'


LogKind: TypeAlias = Literal['module_versions', 'processing_time', 'random_seed', 'task_log', 'task_params']

_EXTENSIONS: dict[str, str] = {
    'module_versions': '.txt',
    'processing_time': '.pkl',
    'random_seed': '.pkl',
    'task_log': '.pkl',
    'task_params': '.pkl',
}
LOG_KINDS: tuple[LogKind, ...] = ('module_versions', 'processing_time', 'random_seed', 'task_log', 'task_params')


def log_path(workspace: str, kind: LogKind, class_name: str, unique_id: str) -> str:
    """Return the place of one log of one task.

    >>> log_path('./resources/', 'processing_time', 'Example', '8441')
    './resources/log/processing_time/Example_8441.pkl'
    """
    beginning, extension = _places(workspace)[kind]
    return f'{beginning}{class_name}_{unique_id}{extension}'


def log_file(kind: LogKind, class_name: str) -> str:
    """The file of one log in a workspace, before the unique id is put into its name."""
    return f'log/{kind}/{class_name}{_EXTENSIONS[kind]}'


@functools.lru_cache(maxsize=256)
def _places(workspace: str) -> dict[LogKind, tuple[str, str]]:
    """What the paths of the logs begin and end with."""
    return {kind: (os.path.join(workspace, f'log/{kind}/'), _EXTENSIONS[kind]) for kind in LOG_KINDS}


def write_log(path: str, value: Any) -> None:
    """Write a log: text as it is, anything else pickled as gokart does."""
    # readers of gokart's log directories take every file in them for a log, so the temporary name lies above
    file_system(path).write_bytes(path, _encoded(value), scratch=os.path.dirname(os.path.dirname(path)))


class LogWriter:
    """Writes the logs of one task."""

    def __init__(self, workspace: str, class_name: str, unique_id: str) -> None:
        self._places = _places(workspace)
        self._stem = f'{class_name}_{unique_id}'
        self._scratch = _scratch(workspace)

    def write(self, kind: LogKind, value: Any) -> None:
        """Write one of them, as `write_log` does."""
        beginning, extension = self._places[kind]
        path = f'{beginning}{self._stem}{extension}'
        # asked for each: another thread may have left the working directory since the last one
        files = file_system(path)
        if kind == 'module_versions':  # the same for all tasks until one of them imports more
            files.write_alike(path, value.encode('utf-8'), self._scratch)
        else:
            # only the task's own log may hold what takes more than a plain pickle
            data = pickling.dumps(value, protocol=4) if kind == 'task_log' else pickle.dumps(value, protocol=4)
            files.write_bytes(path, data, self._scratch)


@functools.lru_cache(maxsize=256)
def _scratch(workspace: str) -> str:
    return os.path.join(workspace, 'log')


def _encoded(value: Any) -> bytes:
    return value.encode('utf-8') if type(value) is str else pickling.dumps(value, protocol=4)


def read_log(path: str) -> Any:
    """Read a log: the text, or the value as far as it is plain; nothing that it names is imported or called.

    Raises MissingResultError when it has not been written, and UnreadableResultError when it cannot be read.
    """
    data = file_system(path).read_small(path)
    try:
        if path.endswith('.txt'):
            return data.decode('utf-8')
        value = peek(data)
        unread_types(value)  # a value that nothing can print or compare is refused
        return value
    except UnloadedResultError as error:
        raise UnloadedResultError(f'{path} {error}: kartnb.load_result loads it', path) from error
    except (UnicodeDecodeError, UnreadableResultError) as error:
        raise _unreadable(path, str(error)) from error


def _unreadable(path: str, why: str) -> UnreadableResultError:
    return UnreadableResultError(f'{path} is not a readable log ({why}): delete it', path)


def read_params(path: str) -> dict[str, str]:
    """Read the parameters, as text by name, that were logged of a task; raises as `read_log`."""
    params = read_log(path)
    if not isinstance(params, dict) or not all(isinstance(text, str) for item in params.items() for text in item):
        raise _unreadable(path, 'it does not hold parameters as text')
    return params


def read_seconds(path: str) -> float:
    """Read the logged time of a run; raises as `read_log`."""
    seconds = as_seconds(read_log(path))
    if seconds is None:
        raise _unreadable(path, 'it does not hold a number of seconds')
    return seconds


def as_seconds(value: Any) -> float | None:
    """A number of seconds that was read from a log; None for anything else."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return value if is_number and 0 <= value < _LONGEST_RUN else None


Source: TypeAlias = Literal['stdout', 'stderr', 'log', 'left out']

#: Seconds, ten thousand years: a greater time of a run is not one, and could not be added up or shown.
_LONGEST_RUN = 3e11
#: Bytes of captured lines that are read.
_MOST_CAPTURED = 64 << 20
_HEADER = '# kartnb captured log 1'
_LEVELS = ('DEBUG', 'INFO', 'WARNING', 'ERROR', 'CRITICAL')
_ENTRY_END = re.compile(r'\n(?!\t)')
_BREAKS = re.compile('[\x00-\x1f\x7f-\x9f]+')


@dataclass(frozen=True, slots=True)
class CapturedLine:
    """Something that a task has printed or logged."""

    time: float  #: In seconds since the epoch.
    source: Source  #: 'left out' is for the words that stand in the place of too many lines.
    text: str  #: One printed line, or the whole text of a logged one.
    level: int = 0  #: Of a logged line, as is `logger`; 0 and '' otherwise.
    logger: str = ''


def captured_log_name(stem: str) -> str:
    """The name of the file of a task, given ``<Class>_<unique id>``."""
    return f'{record_stem(stem)}.log'


def captured_log_path(workspace: str, module: str, stem: str) -> str:
    """The place of the captured lines of a task, from the module of its class and ``<Class>_<unique id>``.

    >>> captured_log_path('./resources/', 'pipelines.words', 'Count_0f')
    './resources/log/run_record/pipelines/words/Count_0f.log'
    """
    return os.path.join(workspace, 'log/run_record', module.replace('.', '/'), captured_log_name(stem))


def write_captured_lines(path: str, lines: Iterable[CapturedLine], build_id: str) -> None:
    """Write the captured lines of a run, in the place of those of earlier runs."""
    text = '\n'.join([f'{_HEADER}, build {build_id}', *map(_line_text, lines), ''])
    # what a task prints may hold lone surrogates, which UTF-8 cannot encode
    file_system(path).write_bytes(path, text.encode('utf-8', 'backslashreplace'))


def read_captured_lines(path: str) -> list[CapturedLine]:
    """Read the captured lines of the latest run that had some; an empty list when the file does not exist."""
    try:
        data = file_system(path).read_small(path, _MOST_CAPTURED)
    except FileNotFoundError:
        return []
    entries = _ENTRY_END.split(data.decode('utf-8', 'replace'))
    return [line for entry in entries[1:] if (line := _parsed(entry)) is not None]


def read_build_id(path: str) -> str:
    """The id of the build that wrote captured lines; '' when the file does not exist."""
    try:
        with file_system(path).open_read(path) as file:
            head = file.readline(200).decode('utf-8', 'replace').rstrip('\n')
    except FileNotFoundError:
        return ''
    return head.partition(f'{_HEADER}, build ')[2]


def remove_captured_lines(path: str) -> None:
    """Remove the captured lines of an earlier run, if there are some."""
    with contextlib.suppress(FileNotFoundError):
        file_system(path).remove(path)


def _line_text(line: CapturedLine) -> str:
    tag = f'{_level_text(line.level)} {_BREAKS.sub(" ", line.logger)}' if line.source == 'log' else line.source
    time = datetime.fromtimestamp(line.time, UTC).isoformat(timespec='milliseconds')
    return '\t'.join((time, tag, line.text.replace('\n', '\n\t')))


def _parsed(entry: str) -> CapturedLine | None:
    """The line of an entry; None for what kartnb has not written."""
    parts = entry.split('\t', 2)
    if len(parts) != 3:
        return None
    tag, text = parts[1], parts[2].replace('\n\t', '\n')
    level, _, logger = tag.partition(' ')
    try:
        moment = datetime.fromisoformat(parts[0])
        if not is_on_calendars(moment):
            return None
        time = moment.timestamp()
        if tag in ('stdout', 'stderr', 'left out'):
            return CapturedLine(time, cast(Source, tag), text)
        return CapturedLine(time, 'log', text, _level_number(level), logger)
    except ValueError:
        return None


def is_on_calendars(moment: datetime) -> bool:
    """Whether a time can be shown on any clock and kept in a data frame, which end in the year 2262."""
    return 1900 <= moment.year < 2200


def _level_text(level: int) -> str:
    name = logging.getLevelName(level)
    return name if name in _LEVELS else str(level)


def _level_number(text: str) -> int:
    return int(getattr(logging, text)) if text in _LEVELS else min(max(int(text), 0), 2 * logging.CRITICAL)
