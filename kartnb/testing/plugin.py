"""Fixtures for tests of tasks: ``pytest_plugins = ['kartnb.testing.plugin']`` in the topmost `conftest.py`.

Or ``pytest -p kartnb.testing.plugin``. They are not there by themselves, so that no other run of pytest imports kartnb.
"""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from luigi.configuration import LuigiTomlParser

from kartnb._luigi import instance_cache, kept_configuration
from kartnb.task.base import TaskOnKart
from kartnb.task.config import SHARED_SECTION, USUAL, section
from kartnb.testing.bench import replaced

#: What clients of S3 read, also in worker processes; the server takes any key.
_KEYS = {
    'AWS_ACCESS_KEY_ID': 'testing',
    'AWS_SECRET_ACCESS_KEY': 'testing',
    'AWS_SESSION_TOKEN': 'testing',
    'AWS_DEFAULT_REGION': 'us-east-1',
}
_buckets = itertools.count()


@pytest.fixture
def kart_workspace(tmp_path: Path) -> Iterator[Path]:
    """A directory in which all tasks of the test that have no workspace of their own keep their results.

    It is also that of tasks which were made before, such as defaults of parameters. Afterwards all is as it was.
    """
    workspace = tmp_path / 'workspace'
    workspace.mkdir()
    with temporary_workspace(str(workspace)):
        yield workspace


@pytest.fixture(scope='session')
def kart_s3_server() -> Iterator[str]:
    """The address of an S3 server on this computer (moto's), which each process of the tests has for itself."""
    try:
        import s3fs  # noqa: F401
        from moto.server import ThreadedMotoServer
    except ImportError as error:
        pytest.fail(f"The fixture kart_s3 needs {error.name}: pip install 'kartnb[testing]'.")
    server = ThreadedMotoServer(ip_address='127.0.0.1', port=0)
    server.start()
    try:
        host, port = server.get_host_and_port()
        yield f'http://{host}:{port}'
    finally:
        server.stop()


@pytest.fixture
def kart_s3(kart_s3_server: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The URL of a new bucket, such as ``s3://kartnb-0``: a workspace, and whatever else the test reads from S3.

    Within the test every client of S3 finds the server, by the environment: boto3's and those of worker processes too.
    """
    from s3fs import S3FileSystem

    for name, value in {**_KEYS, 'AWS_ENDPOINT_URL': kart_s3_server}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv('AWS_PROFILE', raising=False)
    S3FileSystem.clear_instance_cache()
    bucket = f'kartnb-{next(_buckets)}'
    S3FileSystem().mkdir(bucket)
    yield f's3://{bucket}'
    S3FileSystem.clear_instance_cache()


@contextmanager
def temporary_workspace(directory: str) -> Iterator[None]:
    """Let tasks that have no workspace of their own keep their results in a directory, for as long as the block runs.

    Examples
    --------
    >>> import kartnb
    >>> with temporary_workspace('elsewhere'):
    ...     kartnb.TaskOnKart().make_target('a.csv', use_unique_id=False)
    SingleFileTarget('elsewhere/a.csv')
    """
    usual: TaskOnKart[Any] = TaskOnKart()
    now = {'workspace_directory': directory, 'local_temporary_directory': f'{directory}/tmp'}
    earlier = {name: getattr(usual, name) for name in now}
    with kept_configuration() as config, ExitStack() as stack:
        # what is configured holds for classes with a default of their own too
        configured = section(config, SHARED_SECTION).keys() & now
        for task in _known_tasks():
            usual_ones = {name for name in now if name in configured or not _has_own_default(type(task), name)}
            unset = {name: now[name] for name in usual_ones if vars(task).get(name) == earlier[name]}
            stack.enter_context(replaced(task, unset))
        _configure(config, {name if name in configured else f'{USUAL}{name}': value for name, value in now.items()})
        yield


def _has_own_default(cls: type, name: str) -> bool:
    return inspect.getattr_static(cls, name, None) is not vars(TaskOnKart)[name]


def _known_tasks() -> list[TaskOnKart[Any]]:
    """The tasks that luigi has in its cache, which keeps all whose parameter values can be hashed."""
    by_class = [instances for instances in (instance_cache() or {}).values() if isinstance(instances, dict)]
    found = {id(task): task for tasks in by_class for task in tasks.values() if isinstance(task, TaskOnKart)}
    return list(found.values())


def _configure(config: Any, values: Mapping[str, str]) -> None:
    """Give the section for all tasks other values."""
    is_toml = isinstance(config, LuigiTomlParser)
    if not is_toml and not config.has_section(SHARED_SECTION):
        config.add_section(SHARED_SECTION)
    for name, value in values.items():
        config.set(SHARED_SECTION, name, value if is_toml else value.replace('%', '%%'))
