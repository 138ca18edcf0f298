"""What goes wrong with an object store is one sentence: which place, and what to do. The store is a real S3 server."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from typing import Any

import fsspec.config
import pytest

import kartnb
from kartnb.errors import StorageError
from kartnb.storage.filesystem import file_system
from kartnb.storage.remote import files_below
from kartnb.storage.targets import make_target
from tests.storage.servers import Server, s3_server

__all__ = ['s3_server']

s3fs: Any = pytest.importorskip('s3fs')

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
