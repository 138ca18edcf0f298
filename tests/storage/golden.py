"""Files that stay: what gokart and kartnb wrote with old and new versions of what they use.

``python tests/storage/golden.py gokart|kartnb|pandas DIRECTORY`` writes them; committed ones are never written again.

| directory      | written by                                                                |
|----------------|---------------------------------------------------------------------------|
| gokart-new     | gokart 1.12.2, dill 0.4.1, pandas 3.1.1, numpy 2.4.6, pyarrow 26           |
| gokart-old     | gokart 1.12.2, dill 0.4.1, pandas 2.1.4, numpy 1.26.0, pyarrow 15          |
| kartnb-new     | kartnb, cloudpickle 3.1.2, pandas 3.1.1, numpy 2.4.6, pyarrow 26           |
| kartnb-old     | kartnb, cloudpickle 3.0.0, pandas 2.1.0, numpy 1.26.0, pyarrow 15          |
| pandas-1.5     | pickle 4, pandas 1.5.3, numpy 1.23.5                                       |
"""

from __future__ import annotations

import collections
import datetime as dt
import enum
import functools
import os
import pickle
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple
from xml.etree import ElementTree

import numpy as np
import pandas as pd

DIRECTORY = Path(__file__).with_name('golden')


class Point:
    """An object of a notebook class."""

    def __init__(self, x: int) -> None:
        self.x = x


class Pair(NamedTuple):
    """A named tuple of a notebook class."""

    a: int
    b: str


class Colour(enum.Enum):
    """An enum of a notebook."""

    RED = 1


def double(x: int) -> int:
    """Return twice a number."""
    return np.add(x, x)  # type: ignore[no-any-return]


def save(model: Any, path: str) -> None:
    """Save a model."""
    np.save(path, model)


def load(path: str) -> Any:
    """Load a model."""
    return np.load(path + '.npy')


def frame() -> pd.DataFrame:
    """Return a frame whose pickle every version of pandas reads: there is no text in it, not even in its names."""
    return pd.DataFrame({0: [1, 2, 3], 1: [0.5, np.nan, -1.0], 2: [True, False, True]}, index=pd.Index([10, 20, 30]))


def text_frame() -> pd.DataFrame:
    """Return a frame for files of text and columns."""
    return pd.DataFrame({'a': [1, 2], 'b': ['x', 'ü'], 'c': [0.5, 1.5]})


def values() -> dict[str, Any]:
    """Return what the files hold, by their names."""
    return {
        'text.pkl': 'Hello, world!',
        'nested.pkl': {'a': [1, (2.5, None)], 'b': {'c', 'd'}, 'c': dt.date(2024, 1, 2)},
        'array.pkl': np.arange(6.0).reshape(2, 3),
        'frame.pkl': frame(),
        'series.pkl': pd.Series([1.0, 2.0], index=[3, 4]),
        'categories.pkl': pd.Series(pd.Categorical([1, 2, 1])),
        'days.pkl': pd.DatetimeIndex(['2024-01-01', '2024-01-02']),
        'defaultdict.pkl': collections.defaultdict(list, {'a': [1]}),
        'partial.pkl': functools.partial(int, base=2),
        'range.pkl': range(3),
        'array.npz': np.arange(6.0).reshape(2, 3),
        'lines.txt': ['a', 'ü'],
        'lines.gz': ['a', 'ü'],
        'frame.csv': text_frame(),
        'frame.tsv': text_frame(),
        'frame.json': text_frame(),
        'frame.ndjson': text_frame(),
        'frame.parquet': text_frame(),
        'frame.feather': text_frame().set_index(pd.Index([5, 6])),
        'picture.png': b'\x89PNG',
        'large.zip': pd.concat([frame()] * 40, ignore_index=True),
    }


def notebook_values() -> dict[str, Any]:
    """Return what the files hold that need the classes of this module, as of a notebook."""
    return {
        'point.pkl': [Point(1)],
        'pair.pkl': Pair(1, 'x'),
        'function.pkl': double,
        'lambda.pkl': lambda x: x + 1,
        'model.zip': np.arange(3),
    }


def write_with_pandas(directory: Path) -> None:
    """Write what an old pandas pickled."""
    os.makedirs(directory)
    for name, value in values().items():
        if isinstance(value, pd.DataFrame | pd.Series | pd.Index) and name.endswith('.pkl'):
            (directory / name).write_bytes(pickle.dumps(value, protocol=4))


def write(writer: str, directory: Path) -> None:
    """Write all files."""
    if writer == 'gokart':
        from gokart.target import LargeDataFrameProcessor, make_model_target, make_target
    else:
        from kartnb.storage.formats.models import (
            LargeDataFrameProcessor,
            make_model_target,  # type: ignore[assignment]
        )
        from kartnb.storage.targets import make_target  # type: ignore[assignment]
    large = LargeDataFrameProcessor(max_byte=1000)
    functions: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {
        'large.zip': (large.save, large.load),
        'model.zip': (save, load),
    }
    every: dict[str, Any] = {**values(), **notebook_values()}
    if writer == 'kartnb':
        every |= {'tree.xml': ElementTree.ElementTree(ElementTree.fromstring('<a>ü</a>')), 'colour.pkl': Colour.RED}
    for name, value in every.items():
        path = str(directory / name)
        if name in functions:
            make_model_target(path, str(directory / 'tmp'), *functions[name]).dump(value)
        else:
            make_target(path).dump(value)
    if writer == 'gokart':
        from gokart.tree.task_info_formatter import RequiredTask, TaskInfo

        info = TaskInfo('A', 'u', ['a.pkl'], {}, '1s', 'COMPLETE', {}, RequiredTask('B', 'v'), [])  # type: ignore[arg-type]
        make_target(str(directory / 'task_info.pkl')).dump(info)
    os.rmdir(directory / 'tmp')


if __name__ == '__main__':
    if sys.argv[1] == 'pandas':
        write_with_pandas(Path(sys.argv[2]))
    else:
        write(sys.argv[1], Path(sys.argv[2]))
