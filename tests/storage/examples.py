"""Values of every kind that tasks keep, and what it means that two of them are equal."""

from __future__ import annotations

import collections
import datetime as dt
import decimal
import functools
import operator
import pathlib
import re
import types
import uuid
from typing import Any

import numpy as np
import pandas as pd

NUMBERS = ('int8', 'uint8', 'int16', 'uint32', 'int64', 'float32', 'float64', 'bool')


def frames() -> dict[str, pd.DataFrame]:
    """Return frames of every type of column, index and header."""
    days = pd.date_range('2024-01-01', periods=3)
    return {
        'numbers': pd.DataFrame({kind: np.array([0, 1, 2], dtype=kind) for kind in NUMBERS}),
        'mixed': pd.DataFrame({'a': [1, 2, 3], 'b': [0.1, 0.2, 0.3], 'c': ['x', 'y', 'z']}),
        'text': pd.DataFrame({'s': ['001', '', None, 'a,b"c\n d', '日本']}),
        'floats': pd.DataFrame({'f': [np.nan, np.inf, -np.inf, 1e-300, 0.1 + 0.2]}),
        'categories': pd.DataFrame({'a': pd.Categorical(['x', 'y', 'x'], categories=['y', 'x', 'z'], ordered=True)}),
        'nullable': pd.DataFrame(
            {
                'i': pd.array([1, None, 3], dtype='Int64'),
                'b': pd.array([True, None, False], dtype='boolean'),
                's': pd.array(['a', None, 'c'], dtype='string'),
            }
        ),
        'times': pd.DataFrame(
            {
                'naive': days,
                'zoned': days.tz_localize('Europe/Berlin'),
                'spans': pd.to_timedelta([1, 2, None], unit='h'),
            }
        ),
        'multi index': pd.DataFrame(
            {'v': range(4)}, index=pd.MultiIndex.from_product([['a', 'b'], [1, 2]], names=['k', 'n'])
        ),
        'multi columns': pd.DataFrame([[0, 1], [2, 3]], columns=pd.MultiIndex.from_tuples([('a', 'x'), ('a', 'y')])),
        'named index': pd.DataFrame({'v': [1, 2]}, index=pd.Index(['p', 'q'], name='key')),
        'zoned index': pd.DataFrame(
            {'v': [1, 2, 3]}, index=pd.DatetimeIndex(days.tz_localize('Asia/Tokyo'), freq=None)
        ),
        'duplicate columns': pd.DataFrame([[1, 2], [3, 4]], columns=['a', 'a']),
        'number columns': pd.DataFrame([[1, 2], [3, 4]], columns=[0, 1]),
        'lists': pd.DataFrame({'o': [[1], [1, 2], None]}),
        'no rows': pd.DataFrame({'a': np.array([], dtype='int64'), 'b': np.array([], dtype='float64')}),
        'nothing': pd.DataFrame(),
    }


def arrays() -> dict[str, np.ndarray[Any, Any]]:
    """Return arrays of every kind that an npz file keeps."""
    return {
        'matrix': np.arange(6).reshape(2, 3),
        'number': np.array(5),
        'nothing': np.array([]),
        'by column': np.asfortranarray(np.arange(6.0).reshape(3, 2)),
        'every second': np.arange(10)[::2],
        'text': np.array(['a', 'bc']),
        'records': np.array([(1, 2.0)], dtype=[('a', 'i4'), ('b', 'f8')]),
        'days': np.array(['2024-01-01'], dtype='M8[D]'),
        'half': np.float16([1.5]),
        'complex': np.array([1 + 2j]),
        'big-endian': np.arange(3, dtype='>i4'),
    }


def objects() -> dict[str, Any]:
    """Return Python values that any process can read."""
    return {
        'none': None,
        'text': '日本',
        'nested': {'a': [1, 'b', None, {2.5}, (b'c',)]},
        'moment': dt.datetime(2024, 1, 1, tzinfo=dt.UTC),
        'path': pathlib.PurePosixPath('a/b'),
        'decimal': decimal.Decimal('1.1'),
        'uuid': uuid.UUID(int=5),
        'pattern': re.compile('a+'),
        'default dict': collections.defaultdict(list, {'a': [1]}),
        'ordered': collections.OrderedDict(a=1),
        'counter': collections.Counter('aab'),
        'queue': collections.deque([1, 2], maxlen=4),
        'partial': Partial(int, base=2),
        'type': int,
        'no type': type(None),
        'slice': slice(1, 2),
        'range': range(3),
        'ellipsis': ...,
        'module': operator,
        'getter': Getter('a'),
        'function': operator.add,
        'namespace': types.SimpleNamespace(a=1),
        'error': Error('x'),
        'numpy number': np.float64(1.5),
        'numpy objects': np.array([1, 'a', None], dtype=object),
        'masked': np.ma.array([1, 2], mask=[False, True]),
        'series': pd.Series([1.0, 2.0], index=['a', 'b'], name='s'),
        'timestamp': pd.Timestamp('2024-01-01', tz='UTC'),
        'not a time': pd.NaT,
        'intervals': pd.interval_range(0, 2),
        'periods': pd.period_range('2024-01', periods=2, freq='D'),
        **{f'array {name}': array for name, array in arrays().items()},
        **{f'frame {name}': frame for name, frame in frames().items()},
    }


class Partial(functools.partial):  # type: ignore[type-arg]
    """A partial that can be compared."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Partial) and self.__reduce__()[2] == other.__reduce__()[2]

    __hash__ = functools.partial.__hash__


class Getter:
    """A getter that can be compared."""

    def __init__(self, name: str) -> None:
        self.get = operator.attrgetter(name)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Getter) and repr(self.get) == repr(other.get)

    __hash__ = object.__hash__


class Error(ValueError):
    """An error that can be compared."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Error) and self.args == other.args

    __hash__ = ValueError.__hash__


def assert_equal(found: Any, wanted: Any) -> None:
    """Make sure that two values are equal and of one type."""
    assert type(found) is type(wanted)
    if isinstance(wanted, pd.DataFrame):
        pd.testing.assert_frame_equal(found, wanted)
    elif isinstance(wanted, pd.Series):
        pd.testing.assert_series_equal(found, wanted)
    elif isinstance(wanted, pd.Index):
        pd.testing.assert_index_equal(found, wanted)
    elif isinstance(wanted, np.ndarray):
        assert found.dtype == wanted.dtype
        assert found.shape == wanted.shape
        assert repr(found) == repr(wanted)
    elif wanted is pd.NaT:
        assert found is wanted
    else:
        assert found == wanted
