"""The run record: what made a result, as JSON that can be looked at without running anything.

This is its only writer, reader and validator: anybody may have edited a record, or written it with another version.
Where the files are, and what their names say, is in `kartnb.storage.run_records`.
"""

from __future__ import annotations

import functools
import json
import platform
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from kartnb._version import __version__
from kartnb.errors import KartError
from kartnb.history.makers import current_maker, host_name
from kartnb.storage.file_inputs import KINDS, FileInput
from kartnb.storage.files import own_pid
from kartnb.storage.places import as_seconds, is_on_calendars

if TYPE_CHECKING:
    from kartnb.storage.run_records import RecordDirectory

#: Grows when a reader of older records could misread newer ones. Format 1 had no digests of contents.
FORMAT_VERSION = 2
#: Bytes or seconds of a file: more cannot be, could not be shown, or kept in a data frame.
_LARGEST_AMOUNT = 1 << 60


@dataclass(frozen=True)
class InputResult:
    """A result that another one was made from."""

    task: str
    unique_id: str
    result_id: str  #: '' when no record says it.
    module: str = field(default='', compare=False)
    #: The number of the request, from 1, if the task was asked for while the other one ran; else 0.
    asked_later: int = field(default=0, compare=False)
    contents: str = field(default='', compare=False)  #: A digest of its contents; '' where it is not known.
    #: The code that made it, where the task that is made from it uses more of its class than its result; else ''.
    code: str = field(default='', compare=False)
    #: Where it is, if that is not the workspace of what was made from it.
    workspace: str = field(default='', compare=False)

    @property
    def as_input(self) -> str:
        """What stands for it in digests."""
        return input_text(self.contents or self.result_id, self.code)


def input_text(contents: str, code: str) -> str:
    """What stands for a result in the digests of those that are made from it."""
    return f'{contents}+{code}' if code else contents


class OutputFile(NamedTuple):
    """A file that a run has written: its path as the target gives it, bytes, and seconds since the epoch of its change.

    Size and time are None for a result that is not in a file, such as one in memory.
    """

    path: str
    size: int | None
    modified: float | None


@dataclass
class RunRecord:
    """One run of one task."""

    task: str
    module: str
    unique_id: str
    parameters: dict[str, str]  #: The public parameters as text; secret ones are never here.
    state: str  #: 'done', 'failed' or 'interrupted'; 'adopted' for a result that was there before its first record.
    result_id: str  #: A random id of the result that this run has made; '' when it has made none.
    inputs: tuple[InputResult, ...]
    outputs: tuple[OutputFile, ...]
    started: str  #: ISO 8601, in UTC, as is `ended`.
    ended: str
    seconds: float  #: How long `run` took.
    error: str  #: One line, '' unless it failed.
    build_id: str
    host: str = field(default_factory=host_name)
    pid: int = field(default_factory=own_pid)
    #: The path of the notebook or script whose build it was, or the name of its session; '' when it is unknown.
    notebook: str = field(default_factory=lambda: current_maker().notebook)
    notebook_inode: int = field(default_factory=lambda: current_maker().inode)  #: 0 when it is unknown.
    versions: dict[str, str] = field(default_factory=lambda: present_versions())
    format_version: int = FORMAT_VERSION
    #: The print of the code that made the result, which names the file of its source; '' when it is unknown.
    code: str = ''
    unknown: tuple[str, ...] = ()  #: What of the code could not be compared, and why.
    checks: tuple[str, ...] = ()  #: A digest of the content of each output; '' where there is none.
    replaces: str = ''  #: The id of the result that it has replaced, or ''.
    #: The files outside the workspace that the run read, as they were then.
    files: tuple[FileInput, ...] = ()
    #: Of a result that was restored, those of them that had changed, as they were then.
    kept_files: tuple[FileInput, ...] = ()
    #: The files that the run wrote besides its result, as it left them.
    written: tuple[FileInput, ...] = ()
    #: Where in what `requires()` gave its inputs were; '' for one, and a flat list; None when it is unknown.
    shape: str | None = ''
    user: str = ''  #: Who ran it; '' when it is unknown.
    commit: str = ''  #: The git commit of the notebook or script, or ''.
    brought_back: str = ''  #: When the result was put back after it had been superseded, or ''.
    #: Who took over a result of other code as it is, when, and why; empty for most.
    accepted: dict[str, str] = field(default_factory=dict)
    #: The resident memory of the process at most while the task ran, and before it began, in bytes; None for unknown.
    peak_memory: int | None = None
    memory_before: int | None = None

    @property
    def made(self) -> str:
        """When the run ended, to the minute, for people."""
        return f'{self.ended[:16].replace("T", " ")} UTC'

    @property
    def added_memory(self) -> int | None:
        """How many bytes the process took at most above what it had when the task began; None where it is unknown."""
        if self.peak_memory is None or self.memory_before is None:
            return None
        return max(self.peak_memory - self.memory_before, 0)

    @property
    def used(self) -> dict[str, str]:
        """What stands for the results that it was made from, by unique id."""
        return {item.unique_id: item.as_input for item in self.inputs}

    def to_json(self) -> str:
        """The record as JSON text."""
        own = vars(self).copy()
        shared = list(map(own.pop, _SHARED))
        own['outputs'] = [item._asdict() for item in self.outputs]
        for name in _FILES:
            own[name] = [item._asdict() for item in own[name]] if own[name] else ()
        return f'{_encoded(own)[:-1]}, {_shared_text(shared)}'

    @classmethod
    def from_json(cls, text: str | bytes) -> RunRecord:
        """Read and check a record; raises ValueError when the text is not one, or has a newer format."""
        try:
            values = json.loads(text)
        except RecursionError as error:
            raise ValueError(f'this run record is damaged: {error}') from error
        if not isinstance(values, dict) or not isinstance(values.get('format_version'), int):
            raise ValueError('this is not a run record')
        if values['format_version'] > FORMAT_VERSION:
            raise ValueError(
                f'this run record is of format {values["format_version"]}: install a newer kartnb to read it'
            )
        try:
            return cls(**_checked(values))
        except (AttributeError, KeyError, OverflowError, RecursionError, TypeError, ValueError) as error:
            raise ValueError(f'this run record is damaged: {error}') from error


_FILES = ('files', 'kept_files', 'written')
#: What the records of one build have in common, at the end of each; and these members of the last one with their text.
_SHARED = ('build_id', 'host', 'pid', 'notebook', 'notebook_inode', 'user', 'commit', 'versions', 'format_version')
_last_shared: tuple[list[Any], str] = ([], '')


def _shared_text(values: list[Any]) -> str:
    global _last_shared
    known, text = _last_shared
    if known != values:
        text = _encoded(dict(zip(_SHARED, values, strict=True)))[1:]
        _last_shared = (values, text)
    return text


#: Made once: a build writes a record for each task.
_encoded = json.JSONEncoder(ensure_ascii=False, check_circular=False, default=vars).encode


def parsed_record(text: str | bytes | None) -> RunRecord | None:
    """The record that a text holds; None where there is none, or where it is damaged or of a newer format."""
    try:
        return None if text is None else RunRecord.from_json(text)
    except ValueError:
        return None


def accepted_text(accepted: dict[str, str]) -> str:
    """Who has accepted a result, in words; '' where nobody has."""
    if not accepted:
        return ''
    commit = f' at commit {accepted["commit"]}' if accepted.get('commit') else ''
    when = accepted.get('when', '')[:16].replace('T', ' ')
    why = f': {accepted["why"]}' if accepted.get('why') else ''
    return f'accepted by {accepted.get("user") or "somebody"} on {when} UTC{commit}{why}'


def newest_record(directory: RecordDirectory, stem: str, name: str | None = None) -> RunRecord | None:
    """The newest record of a result, or the one of this name; None when there is none that can be read."""
    return _read(lambda stem: directory.read(stem, name), stem)


def newest_failure(directory: RecordDirectory, stem: str) -> RunRecord | None:
    """The record of the latest run that gave no result; None when there is none that can be read."""
    return _read(directory.read_failure, stem)


def _read(read: Callable[[str], str | None], stem: str) -> RunRecord | None:
    try:
        return parsed_record(read(stem))
    except (KartError, OSError, UnicodeDecodeError):  # removed since the directory was listed, or damaged
        return None


def encodable(text: str) -> str:
    """A text without lone surrogates, which neither files nor the columns of pandas can keep."""
    return text.encode('utf-8', 'backslashreplace').decode()


_TEXTS = tuple(name for name, kind in RunRecord.__annotations__.items() if kind == 'str')


#: What the first records did not have.
_ADDED: dict[str, Any] = {
    'code': '',
    'unknown': (),
    'checks': (),
    'replaces': '',
    'files': (),
    'kept_files': (),
    'written': (),
    'shape': None,
    'user': '',
    'commit': '',
    'brought_back': '',
    'accepted': {},
    'peak_memory': None,
    'memory_before': None,
}


def _checked(values: dict[str, Any]) -> dict[str, Any]:
    """The members of a record with the types that they are to have; what a newer version has added is left out."""
    values = {**_ADDED, **values}
    return {
        **{name: encodable(str(values[name])) for name in _TEXTS},
        'shape': None if values['shape'] is None else encodable(str(values['shape'])),
        'parameters': {name: str(text) for name, text in values['parameters'].items()},
        'versions': {name: str(text) for name, text in values['versions'].items()},
        'seconds': _checked_seconds(values['seconds']),
        **{name: _checked_bytes(values[name]) for name in ('peak_memory', 'memory_before')},
        'pid': int(values['pid']) % (1 << 31),
        'notebook_inode': int(values.get('notebook_inode', 0)),
        'format_version': values['format_version'],
        'inputs': tuple(map(_checked_input, values['inputs'])),
        'outputs': tuple(map(_checked_output, values['outputs'])),
        'unknown': tuple(map(str, values['unknown'])),
        'checks': tuple(map(str, values['checks'])),
        **{name: tuple(map(_checked_file, values[name])) for name in _FILES},
        'accepted': {name: encodable(str(text)) for name, text in values['accepted'].items()},
    }


def _checked_seconds(given: Any) -> float:
    seconds = as_seconds(given)
    if seconds is None:
        raise ValueError(f'{given!r:.40} is not a number of seconds')
    return float(seconds)


def _checked_bytes(given: Any) -> int | None:
    if given is not None and not _is_amount(given):
        raise TypeError('an amount of memory is not a number')
    return None if given is None else int(given)


def _checked_input(item: dict[str, Any]) -> InputResult:
    return InputResult(
        task=encodable(str(item['task'])),
        unique_id=encodable(str(item['unique_id'])),
        result_id=encodable(str(item['result_id'])),
        module=encodable(str(item.get('module', ''))),
        asked_later=_checked_number(item.get('asked_later', 0)),
        contents=encodable(str(item.get('contents', ''))),
        code=encodable(str(item.get('code', ''))),
        workspace=encodable(str(item.get('workspace', ''))),
    )


def _checked_number(given: Any) -> int:
    if not isinstance(given, int) or given < 0:  # early records have True
        raise TypeError('the number of a request is not one')
    return int(given)


def _checked_output(item: dict[str, Any]) -> OutputFile:
    numbers = item['size'], item['modified']
    if not all(number is None or _is_amount(number) for number in numbers):
        raise TypeError('an output has a size or time that is not a number')
    return OutputFile(str(item['path']), *numbers)


def _checked_file(item: dict[str, Any]) -> FileInput:
    numbers = [item['size'], item['modified_ns'], item.get('changed_ns', 0)]
    if not all(isinstance(number, int) and number >= 0 for number in numbers):
        raise TypeError('a file that was read has a size or time that is not a number')
    if item['kind'] not in KINDS:
        return FileInput(encodable(str(item['path'])), 'unknown', digest='a newer kartnb has recorded it')
    size, modified, changed = numbers
    return FileInput(
        encodable(str(item['path'])), item['kind'], size, modified, encodable(str(item['digest'])), changed
    )


def _is_amount(value: Any) -> bool:
    return isinstance(value, int | float) and 0 <= value < _LARGEST_AMOUNT


def present_versions() -> dict[str, str]:
    """The versions of Python, and of the packages that make most results."""
    return _versions('numpy' in sys.modules, 'pandas' in sys.modules)


@functools.cache
def _versions(numpy: bool, pandas: bool) -> dict[str, str]:
    """The versions of what makes results: of numpy and pandas where they are imported."""
    found = {'python': platform.python_version(), 'kartnb': __version__}
    for name in ('luigi', *['numpy'] * numpy, *['pandas'] * pandas):
        version = vars(sys.modules[name]).get('__version__')
        if isinstance(version, str):
            found[name] = version
    return found


def utc_text(seconds: float) -> str:
    """A time in seconds since the epoch as ISO 8601 text in UTC."""
    whole, milliseconds = divmod(int(seconds * 1000), 1000)
    return f'{_second_text(whole)}.{milliseconds:03}+00:00'


def told_seconds(seconds: float) -> float:
    """What `iso_seconds` reads from the text of a time in seconds since the epoch.

    >>> told_seconds(1795880993.2179) == iso_seconds(utc_text(1795880993.2179)) == 1795880993.217
    True
    """
    return int(seconds * 1000) * 1000 / 1_000_000


@functools.lru_cache(maxsize=16)
def _second_text(seconds: int) -> str:
    # cached, because a build has many times within one second
    return datetime.fromtimestamp(seconds, UTC).strftime('%Y-%m-%dT%H:%M:%S')


def iso_moment(text: Any) -> datetime | None:
    """ISO 8601 text as a time in UTC; None for anything else."""
    try:
        found = datetime.fromisoformat(text)
        if not is_on_calendars(found):
            return None
        return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    except (TypeError, ValueError, OverflowError):
        return None


def iso_seconds(text: Any) -> float | None:
    """ISO 8601 text as a time in seconds since the epoch; None for anything else."""
    moment = iso_moment(text)
    return None if moment is None else moment.timestamp()


def epoch_moment(seconds: float) -> datetime | None:
    """A time in seconds since the epoch as a time in UTC; None for 0, and for what is out of range."""
    try:
        found = datetime.fromtimestamp(seconds, UTC) if seconds else None
        return found if found is not None and is_on_calendars(found) else None
    except (ValueError, OverflowError, OSError):
        return None
