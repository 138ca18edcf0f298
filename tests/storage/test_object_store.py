"""Results on real servers of S3 and of Google Cloud Storage; what goes wrong is one sentence that says what to do."""

from __future__ import annotations

import os
import socket
import tempfile
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import fsspec.config
import numpy as np
import pandas as pd
import pytest

import kartnb
from kartnb.errors import MissingResultError, StorageError
from kartnb.storage.filesystem import file_system, local_path
from kartnb.storage.formats.models import LargeDataFrameProcessor, make_model_target
from kartnb.storage.remote import files_below, read_many
from kartnb.storage.targets import make_target
from tests.storage.examples import assert_equal
from tests.storage.servers import Server, bucket, gcs_bucket, gcs_server, objects, s3_server, store

__all__ = ['bucket', 'gcs_bucket', 'gcs_server', 's3_server', 'store']

s3fs: Any = pytest.importorskip('s3fs')

FRAME = pd.DataFrame({'a': [1, 2], 'b': ['x', '日本']})
VALUES: list[tuple[str, Any]] = [
    ('a.pkl', {'a': 1}),
    ('large.pkl', b'x' * 3_000_000),
    ('exactly.png', b'x' * (1 << 20)),
    ('a.txt', ['x', 'y']),
    ('empty.txt', []),
    ('empty.png', b''),
    ('a.ini', ['[a]']),
    ('a.gz', ['x']),
    ('a.png', b'x'),
    ('a.npz', np.arange(3)),
    ('large.npz', np.arange(300_000.0)),
    ('a.csv', FRAME),
    ('a.tsv', FRAME),
    ('empty.csv', pd.DataFrame()),
    ('a.json', FRAME),
    ('a.ndjson', FRAME),
    ('a.parquet', FRAME),
    ('large.parquet', pd.DataFrame({'x': np.random.default_rng(1).random(300_000)})),
    ('a.feather', FRAME),
]


@pytest.mark.parametrize('name, value', VALUES, ids=[name for name, _ in VALUES])
def test_results_of_every_format(store: str, name: str, value: Any) -> None:
    target = make_target(f'{store}/some deep/prefix+é/{name}', 'x')
    assert not target.exists()
    target.dump(value)
    assert target.exists()
    assert_equal(target.load(), value)
    assert list(objects(store)) == [f'some deep/prefix+é/{name.replace(".", "_x.")}']
    assert target.last_modification_time().tzinfo is None
    assert abs(target.last_modification_time() - datetime.now()) < timedelta(hours=1)
    target.remove()
    assert not target.exists()
    assert os.listdir() == []
    with pytest.raises(MissingResultError, match='does not exist: build the task that makes it'):
        target.load()


def test_models_and_large_frames(store: str) -> None:
    def save(model: str, path: str) -> None:
        Path(path).write_text(model)

    target = make_model_target(f'{store}/a.zip', 'tmp', save, lambda path: Path(path).read_text())
    target.dump('model')
    assert make_model_target(f'{store}/a.zip', 'tmp', None, None).load() == 'model'
    target.remove()
    assert not target.exists()
    large = LargeDataFrameProcessor(1000)
    frame = pd.DataFrame({'x': np.random.default_rng(1).random(200_000)})
    target = make_model_target(f'{store}/b.zip', 'tmp', large.save, large.load)
    target.dump(frame)
    pd.testing.assert_frame_equal(target.load(), frame)
    assert os.listdir('tmp') == []


def test_a_failed_dump_keeps_the_old_result(store: str) -> None:
    target = make_target(f'{store}/a.pkl')
    target.dump('old')

    class Fails:
        def __reduce__(self) -> Any:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        target.dump(['x' * 3_000_000, Fails()])
    assert target.load() == 'old'
    assert list(objects(store)) == ['a.pkl']


def test_a_large_result_is_copied_here_while_it_is_read(
    store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, 'tempdir', str(tmp_path))
    before = os.listdir(tmp_path)
    data = os.urandom(3_000_000)
    place = file_system(store)
    place.write_bytes(f'{store}/a', data)
    with place.open_read(f'{store}/a') as file:
        assert len(os.listdir(tmp_path)) == len(before) + 1
        assert file.seek(-5, os.SEEK_END) == len(data) - 5
        assert file.read() == data[-5:]
        assert Path(str(local_path(file))).read_bytes() == data
    assert os.listdir(tmp_path) == before
    make_target(f'{store}/a.pkl').dump(data)
    assert make_target(f'{store}/a.pkl').load() == data
    assert os.listdir(tmp_path) == before


def test_a_look_at_many_objects(store: str) -> None:
    place = file_system(store)
    for n in range(12):
        place.write_bytes(f'{store}/many/{n}', b'x' * n)
    names = {str(n) for n in range(12)}
    assert place.names(f'{store}/many') == names
    assert place.names(f'{store}/none') == set()
    marks = place.marks(f'{store}/many')
    assert marks.keys() == names
    assert all(mark == place.mark(f'{store}/many/{name}') for name, mark in marks.items())
    place.write_bytes(f'{store}/many/3', b'abc')
    assert place.mark(f'{store}/many/3') != marks['3']
    assert [(path, size) for path, size, _ in sorted(files_below(f'{store}/many'))] == sorted(
        (str(n), n) for n in range(12)
    )
    found = read_many(f'{store}/many', ['0', '3', 'none', '11'])
    assert [found[0], found[1], found[3]] == [b'', b'abc', b'x' * 11]
    assert isinstance(found[2], str)
    place.duplicate(f'{store}/many/3', f'{store}/copy')
    assert place.read_bytes(f'{store}/copy') == b'abc'
    with pytest.raises(MissingResultError, match='/none does not exist'):
        place.duplicate(f'{store}/none', f'{store}/copy')


def test_a_copy_of_an_object_in_parts_is_known_by_its_etag(bucket: str) -> None:
    Path('large').write_bytes(os.urandom(12 << 20))
    fsspec.filesystem('s3').put_file('large', f'{bucket}/large', chunksize=5 << 20)
    place = file_system(bucket)
    place.duplicate(f'{bucket}/large', f'{bucket}/copy')
    assert place.mark(f'{bucket}/large').endswith('-3')
    assert place.mark(f'{bucket}/copy') == place.mark(f'{bucket}/large')


def test_a_small_result_takes_one_request_each_way(bucket: str, s3_server: Server) -> None:
    target = make_target(f'{bucket}/a.pkl')
    for act, most in ((target.exists, 1), (lambda: target.dump(1), 1), (target.load, 1), (target.remove, 2)):
        s3_server.requests.clear()
        act()
        assert len(s3_server.requests) == most
    assert not target.exists()
    assert file_system(bucket).exists(bucket)


ACTIONS: dict[str, Callable[[str], object]] = {
    'write': lambda bucket: file_system(bucket).write_bytes(f'{bucket}/a', b'x'),
    'upload': lambda bucket: make_target(f'{bucket}/a.pkl').dump([1]),
    'list': lambda bucket: file_system(bucket).marks(f'{bucket}/below'),
    'find': lambda bucket: files_below(bucket),
    'look': lambda bucket: file_system(bucket).exists(f'{bucket}/a'),
    'load': lambda bucket: make_target(f'{bucket}/a.pkl').load(),
    'stat': lambda bucket: file_system(bucket).seen(f'{bucket}/a'),
    'remove': lambda bucket: file_system(bucket).remove(f'{bucket}/a'),
}


@pytest.fixture
def connect(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Let s3:// mean a server, with the seconds to wait for its answers."""

    def use(url: str, patience: float = 60) -> None:
        once = {'connect_timeout': patience, 'read_timeout': patience, 'retries': {'max_attempts': 0}}
        given = {'endpoint_url': url, 'key': 'key', 'secret': 'pa55w0rd', 'config_kwargs': once}
        monkeypatch.setitem(fsspec.config.conf, 's3', given)
        monkeypatch.setattr(s3fs.S3FileSystem, 'retries', 1)
        s3fs.S3FileSystem.clear_instance_cache()

    return use


@pytest.fixture
def denied(s3_server: Server) -> Iterator[str]:
    """The same server while it wants keys that it knows."""
    fsspec.filesystem('s3', endpoint_url=s3_server.url, key='any', secret='any').makedirs('denied', exist_ok=True)
    s3_server.let_pass('0')
    yield s3_server.url
    s3_server.let_pass('inf')


def problem_of(action: str, bucket: str) -> str:
    with pytest.raises(StorageError) as caught:
        ACTIONS[action](bucket)
    message = str(caught.value)
    assert bucket in message
    assert '\n' not in message
    assert 'pa55w0rd' not in message
    return message


@pytest.mark.parametrize('action', ['write', 'upload', 'load', 'stat'])
def test_a_missing_bucket(action: str, s3_server: Server, connect: Callable[[str], None]) -> None:
    connect(s3_server.url)
    message = problem_of(action, 's3://nowhere')
    assert message.endswith('s3://nowhere does not exist: create it, or correct workspace_directory')


def test_a_missing_bucket_of_google(gcs_server: str) -> None:
    for action in ('write', 'upload'):
        message = problem_of(action, 'gs://nowhere')
        assert message.endswith('gs://nowhere does not exist: create it, or correct workspace_directory')
    assert ACTIONS['list']('gs://nowhere') == {}
    assert ACTIONS['look']('gs://nowhere') is False


def test_a_missing_bucket_is_empty_for_a_plan(s3_server: Server, connect: Callable[[str], None]) -> None:
    connect(s3_server.url)
    assert ACTIONS['list']('s3://nowhere') == {}
    assert ACTIONS['look']('s3://nowhere') is False


@pytest.mark.parametrize('action', ACTIONS)
def test_wrong_credentials(action: str, denied: str, connect: Callable[[str], None]) -> None:
    connect(denied)
    message = problem_of(action, 's3://denied')
    assert message.endswith('check the credentials, and that they may read and write s3://denied')


@pytest.mark.parametrize('action', ACTIONS)
def test_a_server_that_is_down(action: str, connect: Callable[[str], None]) -> None:
    with socket.socket() as unused:
        unused.bind(('127.0.0.1', 0))  # and nobody listens
        connect(f'http://127.0.0.1:{unused.getsockname()[1]}')
        message = problem_of(action, 's3://bucket')
    assert message.endswith('check the connection and the endpoint, and build again; finished results are kept')


@pytest.mark.parametrize('action', ['look', 'stat', 'list'])
def test_a_server_that_does_not_answer(action: str, connect: Callable[..., None]) -> None:
    with socket.create_server(('127.0.0.1', 0)) as silent:
        connect(f'http://127.0.0.1:{silent.getsockname()[1]}', patience=2)
        message = problem_of(action, 's3://bucket')
    assert message.endswith('check the connection and the endpoint, and build again; finished results are kept')


class Count(kartnb.TaskOnKart[int]):
    def run(self) -> None:
        self.dump(3)


def test_a_build_says_it_and_goes_on_when_it_is_mended(s3_server: Server, connect: Callable[[str], None]) -> None:
    connect(s3_server.url)
    task = Count(workspace_directory='s3://later')
    with pytest.raises((StorageError, kartnb.GokartBuildError), match='s3://later does not exist: create it'):
        kartnb.build(task)
    fsspec.filesystem('s3').mkdir('later')
    assert kartnb.build(task) == 3
