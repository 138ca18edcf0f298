"""The run record: what made a result, as JSON that can be looked at without running anything."""

from __future__ import annotations

import functools
import json
import os
import platform
import socket
import sys
from dataclasses import dataclass, field
from datetime import UTC, datetime
from json.encoder import encode_basestring as _text
from typing import Any, NamedTuple

from kartnb._version import __version__

#: Grows when a reader of older records could misread newer ones.
FORMAT_VERSION = 1


@functools.cache
def _host() -> str:
    return socket.gethostname()


@dataclass(frozen=True, slots=True)
class InputResult:
    """A result that another one was made from.

    Attributes
    ----------
    task, unique_id, module
        The task that made it.
    result_id
        Which of its results; '' when no record tells it.
    asked_later
        Whether the task was asked for while the other one ran.
    """

    task: str
    unique_id: str
    result_id: str
    module: str = field(default='', compare=False)
    asked_later: bool = field(default=False, compare=False)


class OutputFile(NamedTuple):
    """A file that a run has written: its path as the target gives it, bytes, and seconds since the epoch of its change.

    Size and time are None for what is no file.
    """

    path: str
    size: int | None
    modified: float | None


@dataclass(slots=True)
class RunRecord:
    """One run of one task.

    Attributes
    ----------
    task, module, unique_id
        Which task.
    parameters
        The public parameters as text; secret ones are never here.
    state
        'done', 'failed' or 'interrupted'; 'adopted' for a result that was there before its first record.
    result_id
        A random id of the result that this run has made; '' when it has made none.
    inputs
        The results that it was made from.
    outputs
        The files that it has written.
    started, ended
        ISO 8601, in UTC.
    seconds
        How long `run` took.
    error
        One line, '' unless it failed.
    build_id, host, pid, notebook, versions
        Where it ran.
    code
        The print of the code that made the result, which names the file of its source; '' when it is not known.
    unknown
        What of the code could not be compared, and why.
    checks
        What the content of each output is known by; '' where it is not.
    """

    task: str
    module: str
    unique_id: str
    parameters: dict[str, str]
    state: str
    result_id: str
    inputs: tuple[InputResult, ...]
    outputs: tuple[OutputFile, ...]
    started: str
    ended: str
    seconds: float
    error: str
    build_id: str
    host: str = field(default_factory=_host)
    pid: int = field(default_factory=os.getpid)
    notebook: str = field(default_factory=lambda: current_notebook())
    versions: dict[str, str] = field(default_factory=lambda: _versions())
    format_version: int = FORMAT_VERSION
    code: str = ''
    unknown: tuple[str, ...] = ()
    checks: tuple[str, ...] = ()

    def to_json(self) -> str:
        """The record as JSON text."""
        # written out, because a general encoder takes three times as long, for every task of a build
        parameters = ', '.join([f'{_text(name)}: {_text(value)}' for name, value in self.parameters.items()])
        return (
            f'{{"task": {_text(self.task)}, "module": {_text(self.module)}, "unique_id": {_text(self.unique_id)}, '
            f'"parameters": {{{parameters}}}, "state": {_text(self.state)}, "result_id": {_text(self.result_id)}, '
            f'"inputs": [{", ".join(map(_input_json, self.inputs))}], '
            f'"outputs": [{", ".join(map(_output_json, self.outputs))}], '
            f'"started": {_text(self.started)}, "ended": {_text(self.ended)}, "seconds": {self.seconds!r}, '
            f'"error": {_text(self.error)}, "build_id": {_text(self.build_id)}, '
            f'{_circumstances(self.host, self.pid, self.notebook, tuple(self.versions.items()))}, '
            f'"format_version": {self.format_version}, "code": {_text(self.code)}, '
            f'"unknown": [{", ".join(map(_text, self.unknown))}], "checks": [{", ".join(map(_text, self.checks))}]}}'
        )

    @classmethod
    def from_json(cls, text: str) -> RunRecord:
        """Read a record.

        Raises
        ------
        ValueError
            When the text is no record, or one of a newer format.
        """
        values = json.loads(text)
        if not isinstance(values, dict) or not isinstance(values.get('format_version'), int):
            raise ValueError('this is no run record')
        if values['format_version'] > FORMAT_VERSION:
            raise ValueError(
                f'this run record is of format {values["format_version"]}: install a newer kartnb to read it'
            )
        _mend_kinds(values)
        try:
            values['inputs'] = tuple(InputResult(**item) for item in values['inputs'])
            values['outputs'] = tuple(OutputFile(**item) for item in values['outputs'])
            values['unknown'] = tuple(values.get('unknown', ()))
            values['checks'] = tuple(map(str, values.get('checks', ())))
            return cls(**{name: values[name] for name in cls.__slots__ if name in values or name != 'code'})
        except (KeyError, TypeError) as error:
            raise ValueError(f'this run record is damaged: {error}') from error


_TEXTS = ('task', 'module', 'unique_id', 'state', 'result_id', 'started', 'ended', 'error', 'host', 'notebook')


def _mend_kinds(values: dict[str, Any]) -> None:
    """Give values the types that they have in a record: somebody may have edited the file.

    Raises
    ------
    ValueError
        When that is not possible.
    """
    try:
        values.update({name: str(values[name]) for name in _TEXTS if name in values})
        values['parameters'] = {name: str(text) for name, text in values['parameters'].items()}
        values['seconds'] = float(values['seconds'])
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f'this run record is damaged: {error}') from error


_notebook = ''


def set_current_notebook(path: str) -> None:
    """Say which notebook the tasks of this process are run from; '' for none."""
    global _notebook
    _notebook = path


def current_notebook() -> str:
    """The notebook that the tasks of this process are run from, '' when it is not known."""
    return _notebook


def utc_text(seconds: float) -> str:
    """A time in seconds since the epoch as ISO 8601 text in UTC."""
    whole, milliseconds = divmod(int(seconds * 1000), 1000)
    return f'{_second_text(whole)}.{milliseconds:03}+00:00'


@functools.lru_cache(maxsize=16)
def _second_text(seconds: int) -> str:
    # a build has many times within one second
    return datetime.fromtimestamp(seconds, UTC).strftime('%Y-%m-%dT%H:%M:%S')


def _input_json(item: InputResult) -> str:
    return (
        f'{{"task": {_text(item.task)}, "unique_id": {_text(item.unique_id)}, "result_id": {_text(item.result_id)}, '
        f'"module": {_text(item.module)}, "asked_later": {"true" if item.asked_later else "false"}}}'
    )


def _output_json(item: OutputFile) -> str:
    size, modified = ('null' if number is None else repr(number) for number in item[1:])
    return f'{{"path": {_text(item.path)}, "size": {size}, "modified": {modified}}}'


@functools.lru_cache(maxsize=16)
def _circumstances(host: str, pid: int, notebook: str, versions: tuple[tuple[str, str], ...]) -> str:
    """The members that are the same for all records of a process."""
    members = {'host': host, 'pid': pid, 'notebook': notebook, 'versions': dict(versions)}
    return json.dumps(members, ensure_ascii=False)[1:-1]


def _versions() -> dict[str, str]:
    return _versions_of(tuple(name for name in ('numpy', 'pandas') if name in sys.modules))


@functools.cache
def _versions_of(imported: tuple[str, ...]) -> dict[str, str]:
    found = {'python': platform.python_version(), 'kartnb': __version__}
    for name in ('luigi', *imported):
        version = vars(sys.modules[name]).get('__version__')
        if isinstance(version, str):
            found[name] = version
    return found
