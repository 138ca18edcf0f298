"""Recorded results as rows: `Run` is one of them, `Runs` the table, `runs_frame` the same as a DataFrame."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, overload

from kartnb import display
from kartnb.errors import HistoryError
from kartnb.history.run_record import InputResult, RunRecord, encodable
from kartnb.history.select import SORTS, Selection, sort_value
from kartnb.storage.targets import TargetOnKart, make_target

if TYPE_CHECKING:
    import pandas as pd

Origin: TypeAlias = Literal['kartnb', 'adopted', 'gokart', 'file']

#: Columns of the frame before and after those of the parameters.
_FIRST = ('task', 'id', 'result_id', 'state', 'when', 'seconds', 'size')
_MEMORY = ('added_memory', 'peak_memory')
_LAST = (*_MEMORY, 'module', 'versions', 'error', 'host', 'notebook', 'user', 'commit', 'origin', 'path')


class RunState(StrEnum):
    """What became of a run: its result is there, is gone, was replaced, or never was made."""

    CACHED = 'cached'
    MISSING = 'missing'
    FAILED = 'failed'
    INTERRUPTED = 'interrupted'
    SUPERSEDED = 'superseded'


@dataclass(frozen=True, slots=True)
class Run:
    """One recorded result, or one run that gave none.

    Attributes
    ----------
    task, module
        The class; the module is '' where it is unknown.
    unique_id, result_id
        Which task, and which of its results; the latter is '' for what gokart wrote and for failures.
    parameters
        The public parameters as text.
    state
        See `RunState`.
    when
        When it ended, with a zone; None where it is unknown.
    seconds, size
        How long it ran, and how many bytes its files have; None where it is unknown.
    versions
        Of Python and of packages, by name.
    outputs
        The files of the result, as absolute paths or URLs.
    error
        One line, '' where nothing went wrong.
    inputs
        The results that it was made from.
    origin
        Who tells of it: 'kartnb' for a run record, 'adopted' for that of a result that was there before, as what gokart
        made; 'gokart' for its logs, 'file' where only the name of the result is left.
    record
        The run record, where there is one.
    place
        The path of the file in which it is recorded.
    """

    task: str
    unique_id: str
    state: RunState
    module: str = ''
    result_id: str = ''
    parameters: Mapping[str, str] = field(default_factory=dict)
    when: datetime | None = None
    seconds: float | None = None
    size: int | None = None
    versions: Mapping[str, str] = field(default_factory=dict)
    outputs: tuple[str, ...] = ()
    error: str = ''
    host: str = ''
    notebook: str = ''
    inputs: tuple[InputResult, ...] = ()
    origin: Origin = 'file'
    record: RunRecord | None = field(default=None, repr=False)
    place: str = ''

    @property
    def id(self) -> str:
        """The result id, or the unique id where there is none."""
        return self.result_id or self.unique_id

    @property
    def has_result(self) -> bool:
        """Whether there are files to be loaded."""
        return self.state in (RunState.CACHED, RunState.SUPERSEDED) and bool(self.outputs)

    @property
    def user(self) -> str:
        """Who ran it; '' where it is unknown."""
        return '' if self.record is None else self.record.user

    @property
    def commit(self) -> str:
        """The git commit of the notebook or script that ran it, or ''."""
        return '' if self.record is None else self.record.commit

    @property
    def added_memory(self) -> int | None:
        """How many bytes of memory its process took at most beside what it had before; None where it is unknown."""
        return None if self.record is None else self.record.added_memory

    @property
    def peak_memory(self) -> int | None:
        """How many bytes of memory its process had at most while it ran; None where it is unknown."""
        return None if self.record is None else self.record.peak_memory

    def require_result(self) -> None:
        """Raise a `HistoryError` where there is nothing to be loaded."""
        if not self.has_result:
            raise HistoryError(f'{self.task}[{self.id[:8]}] has no result to load: it is {self.state}.')

    def targets(self) -> list[TargetOnKart]:
        """The targets of the result's files, by their extensions."""
        return [file_target(path) for path in self.outputs]

    def load(self) -> Any:
        """The result: the value of its file, or a list of values when it has several.

        Raises
        ------
        kartnb.HistoryError
            When the result is gone, or never was made.
        """
        self.require_result()
        values = [target.load() for target in self.targets()]
        return values[0] if len(values) == 1 else values


class Runs(display.Displayed, Sequence[Run]):
    """A table of recorded results, newest first unless sorted otherwise.

    It is a sequence of `Run`; shown in a notebook it is a table.

    Parameters
    ----------
    runs
        The rows.
    workspace
        Where they were found.
    problems
        What could not be read there, a sentence each.
    total
        How many there were before a limit was put to them.
    """

    def __init__(
        self, runs: Sequence[Run], workspace: str = '', problems: Sequence[str] = (), total: int | None = None
    ) -> None:
        self._runs = tuple(runs)
        self.workspace = workspace
        self.problems = tuple(problems)
        self.total = len(self._runs) if total is None else total

    def __len__(self) -> int:
        return len(self._runs)

    @overload
    def __getitem__(self, index: int) -> Run: ...
    @overload
    def __getitem__(self, index: slice) -> Runs: ...
    def __getitem__(self, index: int | slice) -> Run | Runs:
        if isinstance(index, slice):
            return Runs(self._runs[index], self.workspace, self.problems, self.total)
        return self._runs[index]

    def __iter__(self) -> Iterator[Run]:
        return iter(self._runs)

    def filter(
        self,
        task: str | type | Sequence[str] | None = None,
        *,
        since: Any = None,
        until: Any = None,
        state: str | Sequence[str] | None = None,
        where: Mapping[str, Any] | None = None,
        limit: int | None = None,
    ) -> Runs:
        """The rows that match.

        Parameters
        ----------
        task
            A class or its name, with ``*`` and ``?`` as in file names, or several; ``module.Class`` too.
        since, until
            A datetime or date, ISO 8601 text, a timedelta or a text such as '2 days' or '3h' (before now), 'today' or
            'yesterday'.
        state
            One or several of 'cached', 'missing', 'failed', 'interrupted', 'superseded'.
        where
            Parameter values, as text or as they are.
        limit
            At most so many rows.

        Raises
        ------
        kartnb.HistoryError
            When a time or a state is not valid.
        """
        chosen = Selection.of(task, since, until, state, where, [str(known) for known in RunState])
        kept = [run for run in self._runs if chosen.takes(run)]
        return Runs(kept if limit is None else kept[: max(limit, 0)], self.workspace, self.problems, len(kept))

    def sort(self, by: str = 'when', *, ascending: bool | None = None) -> Runs:
        """The rows in another order: by 'when', 'seconds', 'size', 'task', 'state', 'id', or a parameter.

        Times, durations and sizes come largest first by default; what has no value comes last.
        """
        if by not in SORTS and not any(by in run.parameters for run in self._runs):
            raise HistoryError(f'Column {by} not found: sort by {", ".join(SORTS)} or a parameter.')
        upwards = by not in ('when', 'seconds', 'size') if ascending is None else ascending
        known = [(value, run) for run in self._runs if (value := sort_value(run, by)) is not None]
        unknown = [run for run in self._runs if sort_value(run, by) is None]
        known.sort(key=lambda item: item[0], reverse=not upwards)
        return Runs([*(run for _, run in known), *unknown], self.workspace, self.problems, self.total)

    def to_dataframe(self) -> pd.DataFrame:
        """The rows as a pandas DataFrame, the parameters as columns of their own."""
        return runs_frame(self._runs)


def file_target(path: str) -> TargetOnKart:
    """The target of a result's file, by its extension alone."""
    if not path.endswith('.zip'):
        return make_target(path)
    from kartnb.storage.formats.models import make_model_target

    # without functions: a zip file brings its load function along
    return make_model_target(path, os.path.join(tempfile.gettempdir(), 'kartnb-model'), None, None)


def runs_frame(runs: Sequence[Run]) -> pd.DataFrame:
    """A row for each run: what is known of it, each parameter as a column of its own.

    Columns of parameters whose texts are all whole numbers, numbers, or True and False have such values, so that they
    can be compared and plotted. A parameter with the name of another column has ``(parameter)`` after it.
    """
    import pandas as pd

    names = list(dict.fromkeys(name for run in runs for name in run.parameters))
    taken = {*_FIRST, *_LAST}
    columns: dict[str, Any] = {
        'task': [encodable(run.task) for run in runs],
        'id': [encodable(run.unique_id) for run in runs],
        'result_id': [encodable(run.result_id) for run in runs],
        'state': [str(run.state) for run in runs],
        'when': pd.to_datetime(pd.Series([run.when for run in runs], dtype=object), utc=True),
        'seconds': pd.array([run.seconds for run in runs], dtype='Float64'),
        'size': pd.array([run.size for run in runs], dtype='Int64'),
    }
    for name in names:
        label = f'{name} (parameter)' if name in taken else name
        columns[encodable(label)] = _typed([run.parameters.get(name) for run in runs])
    for name in _MEMORY:
        columns[name] = pd.array([getattr(run, name) for run in runs], dtype='Int64')
    columns['module'] = [encodable(run.module) for run in runs]
    columns['versions'] = [encodable(versions_text(run)) for run in runs]
    for name in ('error', 'host', 'notebook', 'user', 'commit', 'origin'):
        columns[name] = [encodable(getattr(run, name)) for run in runs]
    columns['path'] = [encodable(run.outputs[0]) if run.outputs else '' for run in runs]
    return pd.DataFrame(columns)


def versions_text(run: Run) -> str:
    """The versions in one line, sorted by name."""
    return ', '.join(f'{name} {version}' for name, version in sorted(run.versions.items()))


def _typed(texts: list[str | None]) -> Any:
    import pandas as pd

    given = {text for text in texts if text is not None}
    if given <= {'True', 'False'}:
        return pd.array([None if text is None else text == 'True' for text in texts], dtype='boolean')
    if all(_is_whole(text) for text in given):
        return pd.array([None if text is None else int(text) for text in texts], dtype='Int64')
    if all(_is_number(text) for text in given):
        return pd.array([None if text is None else float(text) for text in texts], dtype='Float64')
    return pd.Series([None if text is None else encodable(text) for text in texts], dtype=object)


def _is_whole(text: str) -> bool:
    """Whether a text is a whole number as Python writes it: 001 is a name, and 19 digits may not fit Int64."""
    return text.removeprefix('-').isdecimal() and len(text) < 19 and str(int(text)) == text


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return text[:1].isdecimal() or text[:1] in '-.'
