"""Reading run records that anybody may have edited, truncated, or written with another version."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from kartnb.records.run_record import InputResult, OutputFile, RunRecord
from kartnb.records.times import iso_seconds

_MOST_PROBLEMS = 20
_TEXTS = ('task', 'module', 'unique_id', 'state', 'result_id', 'started', 'ended', 'error', 'build_id', 'host')


@dataclass(frozen=True, slots=True)
class RecordName:
    """What the name of a record's file tells; the result id is '' for a run without a result."""

    task: str
    unique_id: str
    result_id: str


def record_name(name: str) -> RecordName:
    """Take the name of a record's file apart.

    Examples
    --------
    >>> record_name('Train_0f~r77aa-311-0123456789ab-abcdef0123.json')
    RecordName(task='Train', unique_id='0f', result_id='77aa')
    """
    stem, _, told = name.removesuffix('.json').rpartition('~')
    task, _, unique_id = stem.rpartition('_')
    return RecordName(task or stem, unique_id, told[1:].partition('-')[0] if told[:1] == 'r' else '')


def read_record(data: bytes | str, path: str, problems: list[str]) -> RunRecord | None:
    """The record that a file holds, or None and one problem more.

    Parameters
    ----------
    data
        The bytes of the file, or a sentence that says why there are none.
    path
        The file, for the problem's sentence.
    problems
        Takes the sentence.
    """
    try:
        if isinstance(data, str):
            raise ValueError(data)
        return _checked(RunRecord.from_json(data.decode('utf-8')))
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        if len(problems) < _MOST_PROBLEMS:
            problems.append(f'{path} cannot be read as a run record: {error}')
        return None


def record_end(text: str) -> float | None:
    """When the run of a record has ended, in epoch seconds; None where the record does not tell."""
    try:
        return iso_seconds(RunRecord.from_json(text).ended)
    except (ValueError, TypeError, AttributeError, RecursionError):
        return None


def _checked(record: RunRecord) -> RunRecord:
    """The record, if its values have the types that they are to have."""
    for name in _TEXTS:
        _require(isinstance(getattr(record, name), str), name)
    for name in ('parameters', 'versions'):
        value = getattr(record, name)
        _require(isinstance(value, dict), name)
        if not all(isinstance(item, str) for item in value.values()):
            changes: dict[str, Any] = {name: {key: str(item) for key, item in value.items()}}
            record = dataclasses.replace(record, **changes)
    _require(isinstance(record.seconds, int | float), 'seconds')
    _require(isinstance(record.notebook, str), 'notebook')
    _require(all(map(_is_output, record.outputs)), 'outputs')
    _require(all(map(_is_input, record.inputs)), 'inputs')
    return record


def _is_output(output: OutputFile) -> bool:
    return isinstance(output.path, str) and isinstance(output.size, int | float | None)


def _is_input(given: InputResult) -> bool:
    return all(isinstance(value, str) for value in (given.task, given.unique_id, given.result_id))


def _require(holds: Any, name: str) -> None:
    if not holds:
        raise ValueError(f'its {name} is not what it should be')
