"""What gokart writes kartnb reads, and what kartnb writes gokart reads: every format, one process."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import gokart.file_processor
import gokart.target
import numpy as np
import pandas as pd
import polars as pl
import pytest

from kartnb.errors import KartError
from kartnb.storage import targets
from kartnb.storage.formats import models, tables
from tests.storage.examples import arrays, assert_equal, frames, objects

TABLES = ('.csv', '.tsv', '.json', '.ndjson', '.parquet', '.feather')
# what kartnb does better, or cannot do worse: see the documentation of the formats
BETTER = {
    ('.feather', 'zoned index'): 'gokart loses the zone of an index',
    ('.feather', 'multi columns'): 'gokart cannot read what it wrote',
}


@pytest.fixture(autouse=True)
def _old_ways() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        yield


def outcome(act: Any) -> Any:
    """Return what a function gives, or its error."""
    try:
        return act()
    except Exception as error:
        return error


def four_ways(name: str, value: Any, theirs: Any = None, ours: Any = None) -> list[Any]:
    """Dump with both, load each with both: gokart/gokart, gokart/kartnb, kartnb/gokart, kartnb/kartnb."""
    loaded = []
    for write, directory in ((gokart.target.make_target, 'gokart'), (targets.make_target, 'kartnb')):
        path = f'{directory}/{name}'
        dumped = outcome(
            lambda write=write, path=path: write(path, processor=theirs if directory == 'gokart' else ours).dump(value)  # noqa: B023
        )
        for read, processor in ((gokart.target.make_target, theirs), (targets.make_target, ours)):
            if isinstance(dumped, Exception):
                loaded.append(dumped)
            else:
                loaded.append(outcome(lambda read=read, path=path, p=processor: read(path, processor=p).load()))
    return loaded


@pytest.mark.parametrize('extension', TABLES)
@pytest.mark.parametrize('name', frames())
def test_tables(extension: str, name: str) -> None:
    results = four_ways(f'a{extension}', frames()[name])
    reference = results[0]
    if (extension, name) in BETTER:
        assert_equal(results[3], frames()[name])
    elif isinstance(reference, Exception):
        assert all(isinstance(result, Exception) for result in results)
        assert isinstance(results[3], KartError)
    else:
        for result in results[1:]:
            assert_equal(result, reference)


@pytest.mark.parametrize('extension', ['.csv', '.tsv', '.json', '.ndjson'])
@pytest.mark.parametrize('name', frames())
def test_tables_as_text_have_gokarts_bytes(extension: str, name: str) -> None:
    four_ways(f'a{extension}', frames()[name])
    ours, theirs = Path(f'kartnb/a{extension}'), Path(f'gokart/a{extension}')
    assert ours.exists() == theirs.exists()
    if ours.exists():
        assert ours.read_bytes() == theirs.read_bytes()


@pytest.mark.parametrize('extension', ['.csv', '.json', '.ndjson', '.parquet', '.feather'])
@pytest.mark.parametrize('kind', ['polars', 'polars-lazy'])
@pytest.mark.parametrize('lazy', [False, True])
def test_polars_frames(extension: str, kind: Any, lazy: bool) -> None:
    theirs, ours = gokart.file_processor, vars(tables)
    options: dict[str, Any] = {
        '.json': {},
        '.ndjson': {'orient': 'records'},
        '.parquet': {'compression': 'gzip'},
        '.feather': {'store_index_in_feather': True},
    }.get(extension, {})
    family = {'.csv': 'Csv', '.json': 'Json', '.ndjson': 'Json', '.parquet': 'Parquet', '.feather': 'Feather'}[
        extension
    ]
    processors = [
        getattr(theirs, f'{family}FileProcessor')(**options, dataframe_type=kind),
        ours[f'{family}FileProcessor'](**options, dataframe_type=kind),
    ]
    frame = pl.DataFrame({'a': [1, 2], 'b': ['x', None], 'c': [1.5, 2.5]})
    for result in four_ways(f'a{extension}', frame.lazy() if lazy else frame, *processors):
        assert isinstance(result, pl.LazyFrame if kind == 'polars-lazy' else pl.DataFrame)
        assert (result.collect() if isinstance(result, pl.LazyFrame) else result).equals(frame)
    for result in four_ways(f'wrong{extension}', pd.DataFrame({'a': [1]}), *processors):
        assert isinstance(result, TypeError)


@pytest.mark.parametrize('name', arrays())
def test_arrays(name: str) -> None:
    for result in four_ways('a.npz', arrays()[name]):
        np.testing.assert_array_equal(result, arrays()[name])
        assert result.dtype == arrays()[name].dtype


@pytest.mark.parametrize('extension', ['.txt', '.ini', '.gz'])
@pytest.mark.parametrize(
    'value', ['a\nb', ['x ', 1, None], [], '', 'a\r\nb\x0b c\u2028d', '\n\n', 5, 'ü' * 10_000, ['日本']]
)
def test_text(extension: str, value: Any) -> None:
    reference, *others = four_ways(f'a{extension}', value)
    assert others == [reference] * 3


@pytest.mark.parametrize('value', [b'', b'\x89PNG', bytes(100_000)])
def test_bytes(value: bytes) -> None:
    assert four_ways('a.png', value) == [value] * 4


def test_xml_works() -> None:
    """gokart's always raises TypeError; it reads kartnb's."""
    tree = ElementTree.ElementTree(ElementTree.fromstring('<a k="ü"><b>日本 &amp; x</b></a>'))
    theirs, _, crossed, ours = four_ways('a.xml', tree)
    assert isinstance(theirs, TypeError)
    for loaded in (crossed, ours):
        assert ElementTree.tostring(loaded.getroot()) == ElementTree.tostring(tree.getroot())


@pytest.mark.parametrize('name', objects())
def test_pickles(name: str) -> None:
    value = objects()[name]
    of_gokart, *others = four_ways('a.pkl', value)
    for result in others[1:]:
        assert_equal(result, value)
    if name == 'array big-endian':  # dill turns the bytes round
        assert list(of_gokart) == list(others[0]) == list(value)
    else:
        assert_equal(of_gokart, value)
        assert_equal(others[0], value)


def test_plain_values_are_the_same_files() -> None:
    for value in ('Hello, world!', 3, 0.5, None, True, b'x'):
        four_ways('a.pkl', value)
        assert Path('kartnb/a.pkl').read_bytes() == Path('gokart/a.pkl').read_bytes()


@pytest.mark.parametrize('name', ['mixed', 'categories', 'times', 'nullable', 'multi index', 'nothing', 'no rows'])
def test_large_frames(name: str) -> None:
    frame = pd.concat([frames()[name]] * 40)
    loaded = {}
    for module, label in ((gokart.target, 'gokart'), (models, 'kartnb')):
        large = module.LargeDataFrameProcessor(200)
        module.make_model_target(f'{label}.zip', 'tmp', large.save, large.load, 'x').dump(frame)
    for label in ('gokart', 'kartnb'):
        loaded[label] = models.make_model_target(f'{label}.zip', 'tmp', None, None, 'x').load()
        pd.testing.assert_frame_equal(loaded[label], frame)
    # gokart gives the pieces in any order
    back = gokart.target.make_model_target('kartnb.zip', 'tmp', None, None, 'x').load()
    assert sorted(map(str, back.to_dict('records'))) == sorted(map(str, frame.to_dict('records')))


def save_model(model: Any, path: str) -> None:
    np.save(path, model)


def load_model(path: str) -> Any:
    return np.load(f'{path}.npy')


def test_models() -> None:
    for module, label in ((gokart.target, 'gokart'), (models, 'kartnb')):
        module.make_model_target(f'{label}.zip', 'tmp', save_model, load_model).dump(np.arange(3))
    for module in (gokart.target, models):
        for label in ('gokart', 'kartnb'):
            assert list(module.make_model_target(f'{label}.zip', 'tmp', None, None).load()) == [0, 1, 2]


def test_paths_are_gokarts() -> None:
    for path in ('./resources/a.pkl', 'a.b/c.tar.gz', '日本/x.csv', '/abs//y.txt', 's p/ü.json'):
        for unique_id in ('8441', None):
            ours, theirs = targets.make_target(path, unique_id), gokart.target.make_target(path, unique_id)
            assert ours.path() == theirs.path()
            ours_zip = models.make_model_target(path, 'tmp', save_model, load_model, unique_id)
            theirs_zip = gokart.target.make_model_target(path, 'tmp', save_model, load_model, unique_id)
            assert ours_zip.path() == theirs_zip.path()


def test_a_series_comes_back_from_json_whoever_wrote_it(tmp_path: Path) -> None:
    """gokart writes a series and cannot read it."""
    series = pd.Series([1, 2], index=['a', 'b'])
    for make in (targets.make_target, gokart.target.make_target):
        path = str(tmp_path / f'{make.__module__}.json')
        make(path).dump(series)
        pd.testing.assert_series_equal(targets.make_target(path).load(), series)
