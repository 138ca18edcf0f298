"""Real servers of object stores on this computer: moto's for S3, an emulator of Google Cloud Storage."""

from __future__ import annotations

import contextlib
import itertools
import threading
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import fsspec
import pytest
from luigi.task_register import Register

#: What clients of S3 read, also in other processes.
KEYS = {'AWS_ACCESS_KEY_ID': 'a-key', 'AWS_SECRET_ACCESS_KEY': 'pa55w0rd', 'AWS_DEFAULT_REGION': 'us-east-1'}
_numbers = itertools.count()


@dataclass
class Server:
    """An S3 server that writes down what it is asked."""

    url: str
    requests: list[str] = field(default_factory=list)
    #: Called with each request before it is answered.
    before: Callable[[str], object] = len

    def let_pass(self, count: str) -> None:
        """Check keys after so many requests."""
        request = urllib.request.Request(
            f'{self.url}/moto-api/reset-auth', count.encode(), {'Content-Type': 'text/plain'}
        )
        urllib.request.urlopen(request).close()


@contextlib.contextmanager
def running_s3() -> Iterator[Server]:
    """Moto's server of S3 and its neighbours, for the length of a block."""
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import make_server

    application = DomainDispatcherApplication(create_backend_app)
    server = Server('')

    def noting(environ: dict[str, Any], start: Any) -> Any:
        request = f'{environ["REQUEST_METHOD"]} {environ["PATH_INFO"]} {environ["QUERY_STRING"]}'
        server.requests.append(request)
        server.before(request)
        return application(environ, start)

    listening = make_server('127.0.0.1', 0, noting, threaded=True)
    server.url = f'http://127.0.0.1:{listening.server_port}'
    thread = threading.Thread(target=listening.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        listening.shutdown()
        listening.server_close()
        thread.join()


@pytest.fixture(scope='module')
def s3_server() -> Iterator[Server]:
    """An S3 server for the tests of a module."""
    pytest.importorskip('moto')
    with running_s3() as server:
        yield server


@pytest.fixture
def bucket(s3_server: Server, monkeypatch: pytest.MonkeyPatch) -> str:
    """A new bucket; every client of S3 in this process and its children finds the server."""
    s3fs: Any = pytest.importorskip('s3fs')
    for name, value in {**KEYS, 'AWS_ENDPOINT_URL': s3_server.url}.items():
        monkeypatch.setenv(name, value)
    for name in ('AWS_PROFILE', 'AWS_SESSION_TOKEN'):
        monkeypatch.delenv(name, raising=False)
    s3fs.S3FileSystem.clear_instance_cache()
    Register.clear_instance_cache()  # the configurations keep luigi's clients, which know the server of another test
    name = f'bucket-{next(_numbers)}'
    fsspec.filesystem('s3').mkdir(name)
    return f's3://{name}'


def objects(place: str) -> dict[str, bytes]:
    """All objects below a place with what they hold."""
    backend, base = fsspec.core.url_to_fs(place, use_listings_cache=False)
    return {path.removeprefix(f'{base}/'): backend.cat_file(path) for path in backend.find(base)}


@pytest.fixture(scope='module')
def gcs_server() -> Iterator[str]:
    """The address of a server of Google Cloud Storage for the tests of a module."""
    emulator: Any = pytest.importorskip('gcp_storage_emulator.server')
    core: Any = pytest.importorskip('gcsfs.core')
    read = emulator._read_data
    server = emulator.create_server('127.0.0.1', 0, in_memory=True)
    server.start()
    address = 'http://{}:{}'.format(*server._api._httpd.socket.getsockname())
    import gcsfs

    # gcsfs asks for the kind of a bucket over gRPC, which the emulator does not speak, for a minute at each request
    settings = {
        'STORAGE_EMULATOR_HOST': address,
        'GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT': 'false',
        'FSSPEC_GS_TOKEN': 'anon',
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in settings.items():
            patch.setenv(name, value)
        # it does not know that an object may be empty
        empty = {True: b'', False: None}
        patch.setattr(emulator, '_read_data', lambda *of: read(*of) or empty['media' in of[1].get('uploadType', '')])
        patch.setitem(fsspec.config.conf, 'gs', {'token': 'anon'})
        fsspec.register_implementation('gs', core.GCSFileSystem, clobber=True)
        yield address
        fsspec.register_implementation('gs', gcsfs.GCSFileSystem, clobber=True)
    server.stop()


@pytest.fixture
def gcs_bucket(gcs_server: str) -> str:
    """A new bucket on the server."""
    fsspec.filesystem('gs').clear_instance_cache()
    name = f'bucket-{next(_numbers)}'
    fsspec.filesystem('gs').mkdir(name)
    return f'gs://{name}'


@pytest.fixture(params=['s3', 'gs'])
def store(request: pytest.FixtureRequest) -> str:
    """A new bucket, of S3 and then of Google Cloud Storage."""
    place: str = request.getfixturevalue('bucket' if request.param == 's3' else 'gcs_bucket')
    return place
