"""The processors of tables with the files that a caller opened: of text in its own encoding, and in memory."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from kartnb.storage.formats.tables import CsvFileProcessor, FeatherFileProcessor, JsonFileProcessor

FRAME = pd.DataFrame({'都市': ['東京', '大阪'], 'n': [1, 2]})


@pytest.mark.parametrize('encoding', ['cp932', 'utf-8', 'UTF-8', 'utf-16'])
def test_an_open_text_file_keeps_its_encoding(encoding: str) -> None:
    processor = CsvFileProcessor()
    with open('a.csv', 'w', encoding=encoding, newline='') as file:
        processor.dump(FRAME, file)
    assert Path('a.csv').read_text(encoding) == '都市,n\n東京,1\n大阪,2\n'
    with open('a.csv', encoding=encoding) as file:
        pd.testing.assert_frame_equal(processor.load(file), FRAME)


def test_bytes_have_the_encoding_of_the_processor() -> None:
    processor, file = CsvFileProcessor(sep=';', encoding='cp932'), io.BytesIO()
    processor.dump(FRAME, file)
    assert file.getvalue() == '都市;n\n東京;1\n大阪;2\n'.encode('cp932')
    file.seek(0)
    pd.testing.assert_frame_equal(processor.load(file), FRAME)


@pytest.mark.parametrize('orient', [None, 'records'])
def test_json_of_an_open_text_file(orient: str | None) -> None:
    processor = JsonFileProcessor(orient=orient)  # type: ignore[arg-type]
    with open('a.json', 'w', encoding='utf-8') as file:
        processor.dump(FRAME, file)
    with open('a.json', encoding='utf-8') as file:
        pd.testing.assert_frame_equal(processor.load(file), FRAME)


@pytest.mark.parametrize(
    'frame',
    [
        pd.DataFrame(np.arange(40.0).reshape(10, 4), columns=list('abcd')),
        pd.DataFrame(np.arange(4).reshape(2, 2), columns=list('ab'), index=pd.Index(['x', 'y'], name='key')),
        FRAME.set_index('都市'),
        pd.DataFrame({'a': []}, dtype=float),
    ],
    ids=['numbers', 'index of text', 'wide names', 'empty'],
)
def test_feather_in_memory(frame: pd.DataFrame) -> None:
    processor, file = FeatherFileProcessor(store_index_in_feather=True), io.BytesIO()
    processor.dump(frame, file)
    file.seek(0)
    found = processor.load(file)
    pd.testing.assert_frame_equal(found, frame, check_index_type=False)
    # the frame is the reader's own: it may be written to, and the file may go
    file.close()
    assert float(found.select_dtypes('number').sum().sum()) == float(frame.select_dtypes('number').sum().sum())
