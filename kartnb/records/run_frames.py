"""Recorded results as a pandas DataFrame."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

    from kartnb.records.runs import Run

FIRST = ('task', 'id', 'result_id', 'state', 'when', 'seconds', 'size')
LAST = ('module', 'versions', 'error', 'host', 'notebook', 'origin', 'path')


def runs_frame(runs: Sequence[Run]) -> pd.DataFrame:
    """A row for each run: what is known of it, each parameter as a column of its own.

    Columns of parameters whose texts are all whole numbers, numbers, or True and False have such values, so that they
    can be compared and plotted. A parameter with the name of another column has ``(parameter)`` after it.
    """
    import pandas as pd

    names = list(dict.fromkeys(name for run in runs for name in run.parameters))
    taken = {*FIRST, *LAST}
    columns: dict[str, Any] = {
        'task': [run.task for run in runs],
        'id': [run.unique_id for run in runs],
        'result_id': [run.result_id for run in runs],
        'state': [str(run.state) for run in runs],
        'when': pd.to_datetime(pd.Series([run.when for run in runs], dtype=object), utc=True),
        'seconds': pd.array([run.seconds for run in runs], dtype='Float64'),
        'size': pd.array([run.size for run in runs], dtype='Int64'),
    }
    for name in names:
        label = f'{name} (parameter)' if name in taken else name
        columns[label] = _typed([run.parameters.get(name) for run in runs])
    columns['module'] = [run.module for run in runs]
    columns['versions'] = [versions_text(run) for run in runs]
    columns.update({name: [getattr(run, name) for run in runs] for name in ('error', 'host', 'notebook', 'origin')})
    columns['path'] = [run.outputs[0] if run.outputs else '' for run in runs]
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
    return pd.Series(texts, dtype=object)


def _is_whole(text: str) -> bool:
    """Whether a text is a whole number written as Python does: 001 is a name, and so are the largest ones."""
    return text.removeprefix('-').isdecimal() and len(text) < 19 and str(int(text)) == text


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return text[:1].isdecimal() or text[:1] in '-.'
