"""Cuts and flips bytes of files, in a process of its own: ``python -m tests.storage.damage .npz``."""

from __future__ import annotations

import os
import resource
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from kartnb.errors import KartError, MissingPackageError, UnreadableResultError
from kartnb.storage.formats.exact_text import lossless
from kartnb.storage.formats.models import LargeDataFrameProcessor, make_model_target
from kartnb.storage.targets import TargetOnKart, make_target
from tests.storage.examples import assert_equal

# these carry checksums, so a wrong value is never given
CHECKED = {'.gz', '.npz', '.zip'}
# what is cut off of these is always missed
WHOLE = {'.pkl', '.gz', '.npz', '.zip', '.parquet', '.feather', '.json', '.typed.csv', '.typed.ndjson'}
EXAMPLES = 60
FRAME = pd.DataFrame({'a': [1, 2, 3], 'b': ['x', 'yy', 'ü'], 'c': [0.5, 1.5, -2.5], 'd': [True, False, True]})


def target_and_value(extension: str) -> tuple[TargetOnKart, Any]:
    if extension.startswith('.typed'):
        suffix = extension.removeprefix('.typed')
        return make_target(f'file{suffix}', processor=lossless(suffix)), FRAME
    if extension == '.zip':
        large = LargeDataFrameProcessor(60)
        return make_model_target('file.zip', 'tmp', large.save, large.load), FRAME
    value: Any = {
        '.pkl': {'array': np.arange(5.0), 'text': ['a', 'ü'], 'frame': FRAME},
        '.gz': ['some', 'lines', 'of text'],
        '.npz': np.arange(20).reshape(4, 5),
    }.get(extension, FRAME)
    return make_target(f'file{extension}'), value


def outcome(target: TargetOnKart, data: bytes) -> tuple[bool, Any]:
    """Return whether damaged bytes were read, and what was read. Errors must name the file."""
    Path(target.path()).write_bytes(data)
    try:
        return True, target.load()
    except KartError as error:
        if isinstance(error, UnreadableResultError | MissingPackageError) and target.path() in str(error):
            return False, None
        raise AssertionError(f'{type(error)}: {error}') from error


def check(extension: str) -> None:
    target, value = target_and_value(extension)
    target.dump(value)
    data = Path(target.path()).read_bytes()
    options = settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
        derandomize=True,
    )

    @options
    @given(st.integers(0, len(data) - 1))
    def cut(position: int) -> None:
        read, _ = outcome(target, data[:position])
        assert not (read and extension in WHOLE), position

    @options
    @given(st.integers(0, len(data) - 1), st.integers(1, 255))
    def flip(position: int, bits: int) -> None:
        damaged = bytearray(data)
        damaged[position] ^= bits
        read, found = outcome(target, bytes(damaged))
        if read and extension in CHECKED:
            same(found, value)

    cut()
    flip()
    for foreign in (b'', b'<html>not found</html>', bytes(1000), data + b'x' * 10):
        outcome(target, foreign)


def same(found: Any, wanted: Any) -> None:
    if isinstance(wanted, np.ndarray):
        np.testing.assert_array_equal(found, wanted)
    else:
        assert_equal(found, wanted)


if __name__ == '__main__':
    # a flipped length may ask for any amount of memory
    resource.setrlimit(resource.RLIMIT_AS, (8 << 30, 8 << 30))
    os.environ.setdefault('ARROW_DEFAULT_MEMORY_POOL', 'system')
    check(sys.argv[1])
