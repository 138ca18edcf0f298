"""Tables without loss: what is loaded is what was dumped, or the dump says why it cannot be."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kartnb.errors import UnknownFormatError, UnreadableResultError, WrongValueError
from kartnb.storage.formats.exact_text import lossless
from kartnb.storage.targets import make_target
from tests.storage.examples import frames

OLD_PANDAS = int(pd.__version__.partition('.')[0]) < 3
TEXT = ('.csv', '.tsv', '.json', '.ndjson')
COLUMNS = ('.parquet', '.feather')
# column files have unique names, and turn a missing list into something else
NOT_IN_COLUMNS = {'duplicate columns', 'lists', 'nothing', *(['offsets'] if OLD_PANDAS else [])}
MORE: dict[str, pd.DataFrame] = {
    'odd floats': pd.DataFrame({'a': [-0.0, 5e-324, 1 / 3, 1e308]}),
    'odd text': pd.DataFrame({'s': ['\\N', '\\', '\\x', 'a\r\nb', '"', ' ', '1', 'NaN', 'null']}),
    'carriage returns': pd.DataFrame({'a\rb': ['x\ry', '\r', 'z']}),
    'single floats': pd.DataFrame({'o': np.array([0.1, np.inf, np.nan], dtype='f4')}),
    'named range': pd.DataFrame({'a': [1, 2]}, index=pd.RangeIndex(5, 9, 2, name='r')),
    'day columns': pd.DataFrame([[1, 2]], columns=pd.DatetimeIndex(['2024-01-01', '2024-01-02'])),
    'nanoseconds': pd.DataFrame(
        {'d': [pd.NaT, pd.Timestamp('2024-01-01 01:02:03.123456789')], 't': [pd.NaT, pd.Timedelta('1ns')]}
    ),
    'offsets': pd.DataFrame({'z': pd.to_datetime(['2024-01-01T00:00:00+05:30'])}),
}
ONLY_IN_TEXT: dict[str, pd.DataFrame] = {
    'objects': pd.DataFrame({'o': pd.Series([1, '1', None, True, 1.5, [1], {'a': 2}], dtype=object)}),
    'no columns': pd.DataFrame(index=['a', 'b']),
}


@pytest.mark.parametrize('extension', TEXT + COLUMNS)
@pytest.mark.parametrize('name', [*frames(), *MORE, *ONLY_IN_TEXT])
def test_every_frame_comes_back(extension: str, name: str) -> None:
    if extension in COLUMNS and (name in NOT_IN_COLUMNS or name in ONLY_IN_TEXT):
        return
    frame = {**frames(), **MORE, **ONLY_IN_TEXT}[name]
    target = make_target(f'a{extension}', processor=lossless(extension))
    target.dump(frame)
    pd.testing.assert_frame_equal(target.load(), frame, check_exact=True)
    # who reads it need not know
    pd.testing.assert_frame_equal(make_target(f'a{extension}').load(), frame, check_exact=True)


def test_the_types_stand_in_front_of_a_csv() -> None:
    make_target('a.csv', processor=lossless('.csv')).dump(pd.DataFrame({'code': ['001', None]}, index=['x', 'y']))
    head, *rest = Path('a.csv').read_text().split('\n')
    assert head.startswith('# kartnb-table: {"version": 1, "rows": 2')
    assert rest == ['None,code', 'x,001', 'y,\\N', '']


def test_gokarts_loss_is_the_default() -> None:
    frame = pd.DataFrame({'code': ['001', '002']}, index=['x', 'y'])
    for extension in ('.csv', '.json'):
        target = make_target(f'a{extension}')
        target.dump(frame)
        assert list(target.load()['code']) == [1, 2]


@pytest.mark.parametrize(
    'extension, frame, problem',
    [
        ('.csv', pd.DataFrame({'p': pd.period_range('2024', periods=2, freq='D')}), "column 'p' has the type period"),
        ('.json', pd.DataFrame({'c': [1j]}), "column 'c' has the type complex128"),
        ('.ndjson', pd.DataFrame({'o': [object()]}), "column 'o' holds a object"),
        ('.parquet', pd.DataFrame([[1, 2]], columns=['a', 'a']), 'Duplicate column names'),
        ('.feather', pd.DataFrame({'o': [{'a': 1}, {'b': 2}]}), 'without loss'),
        ('.csv', pd.Series([1]), 'takes a pandas DataFrame, not Series'),
    ],
)
def test_what_would_be_lost_is_refused(extension: str, frame: Any, problem: str) -> None:
    with pytest.raises(WrongValueError, match=problem):
        make_target(f'a{extension}', processor=lossless(extension)).dump(frame)
    assert os.listdir() == []


def test_only_tables_have_a_lossless_form() -> None:
    with pytest.raises(UnknownFormatError, match='has no lossless form'):
        lossless('.npz')


def test_a_file_that_was_not_written_without_loss() -> None:
    Path('a.csv').write_text('a\n1\n')
    with pytest.raises(UnreadableResultError, match='does not begin with types'):
        make_target('a.csv', processor=lossless('.csv')).load()


CELLS = {
    'object': st.one_of(st.none(), st.text(st.characters(exclude_categories=['Cs']))),
    'int64': st.integers(-(2**63), 2**63 - 1),
    'float64': st.floats(allow_nan=True),
    'bool': st.booleans(),
    'uint8': st.integers(0, 255),
    'datetime64[ns]': st.datetimes(pd.Timestamp(1700, 1, 1), pd.Timestamp(2200, 1, 1)),
}


@st.composite
def tables(draw: st.DrawFn) -> pd.DataFrame:
    rows = draw(st.integers(0, 5))
    kinds = draw(st.lists(st.sampled_from(sorted(CELLS)), max_size=4))
    columns = [pd.Series(draw(st.lists(CELLS[k], min_size=rows, max_size=rows)), dtype=k) for k in kinds]
    frame = pd.DataFrame(dict(enumerate(columns)), index=pd.RangeIndex(rows))
    frame.columns = draw(
        st.lists(st.text(st.characters(exclude_categories=['Cs'])), min_size=len(kinds), max_size=len(kinds))
    )
    return frame


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(tables(), st.sampled_from(TEXT))
def test_any_table_comes_back(frame: pd.DataFrame, extension: str) -> None:
    target = make_target(f'a{extension}', processor=lossless(extension))
    target.dump(frame)
    pd.testing.assert_frame_equal(target.load(), frame, check_exact=True)
