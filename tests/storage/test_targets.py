"""Targets: where results are, that they load as they were dumped, and what is said when they cannot."""

from __future__ import annotations

import io
import os
import pickle
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import luigi
import luigi.format
import luigi.mock
import numpy as np
import pandas as pd
import pytest

from kartnb.errors import (
    KartError,
    MissingResultError,
    StorageError,
    UnknownFormatError,
    UnreadableResultError,
    WrongValueError,
)
from kartnb.storage.formats.base import FileProcessor, make_file_processor
from kartnb.storage.targets import SingleFileTarget, TargetOnKart, make_target
from tests.machine import cost


@pytest.mark.parametrize(
    'path, unique_id, expected',
    [
        ('./resources/__main__/Example.pkl', '8441', './resources/__main__/Example_8441.pkl'),
        ('a.b/c.tar.gz', 'x', 'a.b/c.tar_x.gz'),
        ('a//b/../c.txt', 'x', 'a//b/../c_x.txt'),
        ('c.txt', None, 'c.txt'),
        ('日本 語/ü.csv', 'x', '日本 語/ü_x.csv'),
    ],
)
def test_paths_are_used_as_given(path: str, unique_id: str | None, expected: str) -> None:
    target = make_target(path, unique_id)
    assert target.path() == expected
    assert repr(target) == f'SingleFileTarget({expected!r})'


def test_plain_values_have_gokarts_bytes() -> None:
    target = make_target('./resources/__main__/Example.pkl', '8441')
    assert not target.exists()
    target.dump('Hello, world!')
    assert Path('resources/__main__/Example_8441.pkl').read_bytes() == pickle.dumps('Hello, world!', protocol=4)
    assert target.exists()
    assert target.load() == 'Hello, world!'
    assert abs(target.last_modification_time().timestamp() - time.time()) < 60
    target.remove()
    assert not target.exists()
    target.remove()


@pytest.mark.parametrize(
    'name, value, written, loaded',
    [
        ('a.txt', ['x ', 1, None], 'x \n1\nNone\n', ['x', '1', 'None']),
        ('a.txt', 'one\r\ntwo\rthree', 'one\r\ntwo\rthree', ['one', 'two', 'three']),
        ('a.txt', '', '', []),
        ('a.ini', '[s]\nk = ü', '[s]\nk = ü', ['[s]', 'k = ü']),
        ('a.csv', pd.DataFrame({'a': [1], 'b': ['x']}), 'a,b\n1,x\n', pd.DataFrame({'a': [1], 'b': ['x']})),
        ('a.tsv', pd.Series([1], name='a'), 'a\n1\n', pd.DataFrame({'a': [1]})),
        ('a.csv', pd.DataFrame(), '\n', pd.DataFrame()),
        ('a.json', {'a': [1]}, '{"a":{"0":1}}', pd.DataFrame({'a': [1]})),
        ('a.ndjson', pd.DataFrame({'a': [1, 2]}), '{"a":1}\n{"a":2}\n', pd.DataFrame({'a': [1, 2]})),
        ('a.ndjson', pd.DataFrame(), '\n', pd.DataFrame()),
        ('a.png', b'\x89PNG', b'\x89PNG', b'\x89PNG'),
        ('a.jpg', memoryview(b'x'), b'x', b'x'),
    ],
)
def test_text_and_bytes_are_written_as_gokart_writes_them(name: str, value: Any, written: Any, loaded: Any) -> None:
    target = make_target(name)
    target.dump(value)
    assert Path(name).read_bytes() == (written.encode() if isinstance(written, str) else written)
    found = target.load()
    if isinstance(loaded, pd.DataFrame):
        pd.testing.assert_frame_equal(found, loaded, check_column_type=False, check_index_type=False)
    else:
        assert found == loaded


@pytest.mark.parametrize(
    'name, value, takes',
    [
        ('a.csv', [1], 'pandas DataFrame or Series'),
        ('a.json', [1], 'a Series or a dict'),
        ('a.parquet', pd.Series([1]), 'pandas DataFrame'),
        ('a.feather', {'a': [1]}, 'pandas DataFrame'),
        ('a.npz', [1], 'numpy array'),
        ('a.npz', np.array([None]), 'Python objects'),
        ('a.npz', np.ma.array([1], mask=[True]), 'mask'),
        ('a.xml', '<a/>', 'ElementTree'),
        ('a.png', 'text', 'bytes'),
        ('a.feather', pd.DataFrame({'a': [1]}, index=pd.Index([1], name='None')), "named 'None'"),
    ],
)
def test_a_wrong_value_is_refused_before_any_byte(name: str, value: Any, takes: str) -> None:
    Path(name).write_bytes(b'before')
    with pytest.raises(WrongValueError, match=takes) as caught:
        make_target(name).dump(value)
    assert isinstance(caught.value, TypeError)
    assert isinstance(caught.value, AssertionError)
    assert Path(name).read_bytes() == b'before'
    assert os.listdir() == [name]


@pytest.mark.parametrize('extension', ['.pkl', '.csv', '.json', '.parquet', '.feather'])
def test_a_value_that_cannot_be_written_leaves_nothing(extension: str) -> None:
    values: dict[str, Any] = {'.pkl': (x for x in ()), '.csv': 'x', '.json': {'a': [1], 'b': [1, 2]}}
    value = values.get(extension, pd.DataFrame([[1, {'a'}]], columns=['a', 'a']))
    with pytest.raises(WrongValueError):
        make_target(f'new/a{extension}').dump(value)
    assert not Path('new').exists() or os.listdir('new') == []


def test_an_unknown_extension_names_the_known_and_how_to_add_one() -> None:
    with pytest.raises(
        UnknownFormatError, match=r"^\.yaml is not supported.*'\.txt', '\.ini'.*register_format"
    ) as caught:
        make_target('a.yaml')
    assert isinstance(caught.value, AssertionError)
    with pytest.raises(UnknownFormatError, match='no_extension'):
        make_target('no_extension')


def test_a_missing_result_is_a_file_not_found_error() -> None:
    with pytest.raises(FileNotFoundError, match=r'gone\.pkl does not exist') as caught:
        make_target('gone.pkl').load()
    assert isinstance(caught.value, MissingResultError)
    with pytest.raises(FileNotFoundError):
        make_target('gone.pkl').last_modification_time()


@pytest.mark.parametrize('extension', ['.pkl', '.txt', '.csv', '.npz', '.parquet', '.feather'])
def test_a_directory_in_the_place_of_a_file(extension: str) -> None:
    target = make_target(f'place{extension}')
    os.makedirs(target.path())
    value: Any = np.arange(3) if extension == '.npz' else pd.DataFrame({'a': [1]})
    for act in (target.load, lambda: target.dump(value)):
        with pytest.raises(StorageError, match=rf'place\{extension} is a directory'):
            act()
    assert os.listdir() == [target.path()]


def test_a_file_in_the_place_of_a_directory() -> None:
    Path('file').write_text('')
    with pytest.raises(StorageError, match='move file away'):
        make_target('file/below/a.pkl').dump(1)


def test_a_name_that_is_too_long() -> None:
    with pytest.raises(StorageError, match='too long'):
        make_target('x' * 300 + '.pkl').dump(1)
    assert os.listdir() == []


@pytest.mark.skipif(not hasattr(os, 'fork'), reason='platform: no fork')
def test_a_workspace_that_may_not_be_written() -> None:
    os.makedirs('closed', mode=0o555)
    os.chmod('.', 0o755)
    said = as_nobody(lambda: make_target('closed/a.pkl').dump(1))
    assert said == (
        'closed/a.pkl cannot be written, permission is denied: closed has the mode dr-xr-xr-x and is not yours, '
        'so ask its owner for access; what is there is kept'
    )
    assert os.listdir('closed') == []


def as_nobody(function: Callable[[], Any]) -> str:
    """Return the message of the `StorageError` that a function raises in a process that is not root's."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            if os.geteuid() == 0:
                os.setuid(65534)
            function()
        except StorageError as error:
            os.write(writer, str(error).encode())
        finally:
            os._exit(0)
    os.close(writer)
    os.waitpid(child, 0)
    with os.fdopen(reader) as file:
        return file.read()


def test_an_unreadable_file_is_named_and_chained() -> None:
    Path('bad.pkl').write_bytes(b'\x80\x04bad')
    with pytest.raises(UnreadableResultError, match=r'^bad\.pkl cannot be read .*Delete it.*rerun=True') as caught:
        make_target('bad.pkl').load()
    assert isinstance(caught.value.__cause__, pickle.UnpicklingError)
    assert caught.value.path == 'bad.pkl'


def test_targets_are_cheap() -> None:
    make_target('a/b.pkl', 'x')
    assert cost(lambda: [make_target('./resources/module/Task.pkl', '0123456789abcdef') for _ in range(10_000)]) < 15


def test_targets_can_be_pickled() -> None:
    target = make_target('a.csv', 'x')
    again = pickle.loads(pickle.dumps(target))
    again.dump(pd.DataFrame({'a': [1]}))
    assert target.exists()


class OldProcessor:
    """A processor as it was written for gokart: it derives from nothing here and asks for luigi's formats."""

    def __init__(self, kind: Any) -> None:
        self.kind = kind

    def format(self) -> Any:
        return self.kind

    def load(self, file: Any) -> Any:
        return file.read()

    def dump(self, obj: Any, file: Any) -> None:
        file.write(obj)


@pytest.mark.parametrize(
    'kind, value',
    [
        (None, 'ü\n'),
        (luigi.format.Nop, b'\xff'),
        (luigi.format.UTF8, 'ü\n'),
        (luigi.format.TextFormat(encoding='utf-16'), 'ü\n'),
        (luigi.format.Gzip, b'compressed'),
    ],
)
def test_processors_that_were_written_for_gokart(kind: Any, value: Any) -> None:
    target = make_target('sub/a.own', processor=OldProcessor(kind))  # type: ignore[arg-type]
    target.dump(value)
    assert target.load() == value
    assert os.listdir('sub') == ['a.own']


def test_a_dump_that_fails_midway_keeps_the_old_result() -> None:
    class Failing(FileProcessor):
        def load(self, file: Any) -> Any:
            return file.read()

        def dump(self, obj: Any, file: Any) -> None:
            file.write(obj)
            if obj == b'new':
                raise KeyboardInterrupt

    target = make_target('a.own', processor=Failing())
    target.dump(b'old')
    with pytest.raises(KeyboardInterrupt):
        target.dump(b'new')
    assert target.load() == b'old'
    assert os.listdir() == ['a.own']


def test_an_error_of_the_users_own_code_is_left_as_it_is() -> None:
    class Failing(FileProcessor):
        def dump(self, obj: Any, file: Any) -> None:
            open('some/other/file')  # noqa: SIM115

    with pytest.raises(FileNotFoundError) as caught:
        make_target('a.own', processor=Failing()).dump(1)
    assert not isinstance(caught.value, KartError)


def test_results_in_a_mocked_luigi_target(monkeypatch: pytest.MonkeyPatch) -> None:
    stored: dict[str, bytes] = {}
    monkeypatch.setattr(luigi.mock.MockFileSystem, '_data', stored)
    monkeypatch.setattr(luigi, 'LocalTarget', luigi.mock.MockTarget)
    target = make_target('mocked/a.csv', 'x')
    assert not target.exists()
    target.dump(pd.DataFrame({'a': [1]}))
    assert stored['mocked/a_x.csv'] == b'a\n1\n'
    assert target.exists()
    assert list(target.load()['a']) == [1]
    assert os.listdir() == []


def test_any_luigi_target_can_be_the_place() -> None:
    target = SingleFileTarget(luigi.LocalTarget('plain.pkl'), make_target('a.pkl')._processor)  # type: ignore[attr-defined]
    target.dump([1])
    assert target.load() == [1]
    assert target.path() == 'plain.pkl'
    assert target.is_plain_file

    class Elsewhere(luigi.LocalTarget):
        def exists(self) -> bool:
            return False

    odd = SingleFileTarget(Elsewhere('odd.pkl', format=luigi.format.Nop), make_target('a.pkl')._processor)  # type: ignore[attr-defined]
    odd.dump([2])
    assert odd.load() == [2]
    assert not odd.exists()
    assert not odd.is_plain_file


def test_a_target_of_ones_own() -> None:
    class Memory(TargetOnKart):
        kept: Any = None

        def _exists(self) -> bool:
            return self.kept is not None

        def _load(self) -> Any:
            return self.kept

        def _dump(self, obj: Any, *_: Any) -> None:
            self.kept = obj

        def _get_task_lock_params(self) -> Any:
            return make_target('a.pkl')._get_task_lock_params()

        def _remove(self) -> None:
            self.kept = None

        def _last_modification_time(self) -> Any:
            return None

        def _path(self) -> str:
            return 'memory'

    target = Memory()
    target.dump(3)
    assert target.load() == 3
    target.remove()
    assert not target.exists()


@pytest.mark.parametrize('extension', ['.pkl', '.csv', '.json', '.parquet', '.feather', '.npz', '.txt', '.gz', '.png'])
def test_processors_work_on_luigis_files_and_on_files_of_ones_own(extension: str) -> None:
    values: dict[str, Any] = {'.npz': np.arange(3), '.txt': ['x'], '.gz': ['x'], '.png': b'x'}
    value = values.get(extension, pd.DataFrame({'a': [1, 2], 'b': ['x', 'y']}))
    processor = make_file_processor(f'a{extension}')
    place = luigi.LocalTarget(f'a{extension}', format=processor.format())
    memory = io.BytesIO()
    with place.open('w') as file:
        processor.dump(value, file)
    processor.dump(value, memory)
    memory.seek(0)
    with place.open('r') as file:
        found = [processor.load(file), processor.load(memory)]
    if extension in ('.csv', '.json', '.txt'):
        with open('text', 'w') as file:
            processor.dump(value, file)
        with open('text') as file:
            found.append(processor.load(file))
    for loaded in found:
        assert loaded.equals(value) if isinstance(value, pd.DataFrame) else np.array_equal(loaded, value)


def test_an_error_of_a_missing_result_is_not_its_own_cause(tmp_path: Path) -> None:
    with pytest.raises(MissingResultError) as caught:
        make_target(str(tmp_path / 'nothing.pkl')).load()
    assert isinstance(caught.value.__cause__, FileNotFoundError)
    assert caught.value.__cause__ is not caught.value


@pytest.mark.parametrize('extension', ['.csv', '.tsv'])
def test_a_table_is_read_in_the_encoding_of_an_open_text_file(extension: str) -> None:
    frame = pd.DataFrame({'città': ['è', '日本']})
    processor = make_file_processor(f'a{extension}')
    with open('text', 'w', encoding='utf-16') as file:
        processor.dump(frame, file)
    with open('text', encoding='utf-16') as file:
        assert processor.load(file).equals(frame)


@pytest.mark.parametrize('store_index', [True, False])
@pytest.mark.parametrize('columns', [{'a': [1.5, 2.5]}, {'a': [1.5, 2.5], 'b': ['x', None]}], ids=['numbers', 'mixed'])
def test_feather_in_a_place_without_a_local_path(columns: dict[str, Any], store_index: bool) -> None:
    frame = pd.DataFrame(columns)
    target = make_target(f'memory://feather-{uuid.uuid4().hex}/a.feather', store_index_in_feather=store_index)
    target.dump(frame)
    pd.testing.assert_frame_equal(target.load(), frame)
    memory = io.BytesIO()
    processor = make_file_processor('a.feather', store_index)
    processor.dump(frame, memory)
    memory.seek(0)
    pd.testing.assert_frame_equal(processor.load(memory), frame)
