"""Looking at a pickle gives plain values, and runs nothing that it names."""

from __future__ import annotations

import collections
import datetime
import fractions
import os
import pickle
import pickletools
import zoneinfo
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kartnb.errors import UnreadableResultError
from kartnb.storage.peek import Unread, peek

PROTOCOLS = range(pickle.HIGHEST_PROTOCOL + 1)
UTC = datetime.UTC
SCALARS = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary() | st.datetimes()
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4) | st.tuples(inner, inner),
    max_leaves=12,
)


class _Runs:
    """Pickles as a call, as an attacker would write it."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self._call = function, arguments

    def __reduce__(self) -> Any:
        return self._call


@settings(max_examples=80, deadline=None)
@given(VALUES, st.sampled_from(PROTOCOLS))
def test_plain_values_come_back(value: Any, protocol: int) -> None:
    assert peek(pickle.dumps(value, protocol)) == value


@pytest.mark.parametrize('protocol', PROTOCOLS)
def test_scalars_of_numpy_dates_and_collections_come_back(protocol: int) -> None:
    values = {
        'numpy': [np.float64(0.5), np.float32(0.25), np.int8(-3), np.uint64(2**63), np.bool_(True), np.str_('日本')],
        'days': [datetime.date(2024, 2, 29), datetime.datetime(2024, 1, 1, tzinfo=UTC), datetime.timedelta(1)],
        'sets': [{1, 2}, frozenset('a'), collections.Counter('aab'), collections.OrderedDict(b=1, a=2)],
    }
    assert peek(pickle.dumps(values, protocol)) == values
    assert peek(pickle.dumps(np.datetime64('2024-03-01T12:00', 'ns'), protocol)) == datetime.datetime(2024, 3, 1, 12)
    assert peek(pickle.dumps(np.bytes_(b'ab'), protocol)) == b'ab'


@pytest.mark.parametrize('protocol', PROTOCOLS)
def test_nothing_runs(protocol: int, tmp_path: Path) -> None:
    touched = tmp_path / 'touched'
    attacks = [
        _Runs(os.system, f'touch {touched}'),
        _Runs(eval, f'open({str(touched)!r}, "w")'),
        _Runs(Path.touch, touched),
        _Runs(getattr, os, 'system'),
        {'inside': [_Runs(exec, f'open({str(touched)!r}, "w")')]},
    ]
    for attack in attacks[:3] + attacks[4:]:
        value = peek(pickle.dumps(attack, protocol))
        assert isinstance(value, Unread) or isinstance(value['inside'][0], Unread)
    assert not touched.exists()


def test_other_values_are_told_by_their_type() -> None:
    value = peek(pickle.dumps({'f': fractions.Fraction(1, 3), 'd': pd.DataFrame({'a': [1]}), 'a': np.arange(3)}))
    assert {key: repr(part) for key, part in value.items()} == {
        'f': '<fractions.Fraction>',
        'd': '<pandas.DataFrame>' if pd.__version__ >= '3' else '<pandas.core.frame.DataFrame>',
        'a': '<numpy.ndarray>',
    }


@pytest.mark.parametrize(
    'pickled',
    [
        b'',
        b'no pickle',
        pickle.dumps([1, 2, 3])[:-4],
        b'\x80\x05\x96\xff\xff\xff\xff\xff\xff\xff\x0fab.',
        b'\x80\x04\x8e\xff\xff\xff\xff\xff\xff\xff\x0fab.',
    ],
)
def test_what_is_no_pickle_is_an_error_that_takes_no_memory(pickled: bytes) -> None:
    with pytest.raises(UnreadableResultError, match='pickle'):
        peek(pickled)


def test_dates_in_zones_and_of_pandas_come_back_too() -> None:
    zone = zoneinfo.ZoneInfo('UTC')
    values = [datetime.datetime(2024, 1, 1, tzinfo=zone), pd.Timestamp('2024-01-01T12:00')]
    assert peek(pickle.dumps(values)) == [datetime.datetime(2024, 1, 1), datetime.datetime(2024, 1, 1, 12)]


@pytest.mark.parametrize('protocol', PROTOCOLS)
def test_keys_that_would_hash_for_ever_are_told_by_their_type(protocol: int) -> None:
    nested: Any = ()
    for _ in range(60):
        nested = (nested, nested)
    assert peek(pickle.dumps([{1: nested, (1, 'a'): 2}], protocol))[0][1, 'a'] == 2
    # a dict with the nested tuple as its key, as no pickler could write it
    keyed = pickle.dumps(nested, 2)[:-1].replace(b'\x80\x02', b'\x80\x02}', 1) + b'K\x01s.'
    assert [repr(key) for key in peek(keyed)] == ['<tuple>']


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.sampled_from([code.code.encode('latin-1') for code in pickletools.opcodes]), max_size=12), st.binary()
)
def test_any_bytes_end_in_a_value_or_in_one_error(codes: list[bytes], rest: bytes) -> None:
    pickled = b''.join(codes) + rest
    try:
        repr(peek(pickled))
    except UnreadableResultError as error:
        assert str(error)  # noqa: PT017 - other bytes are a pickle
