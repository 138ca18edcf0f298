"""Fixtures for tests of tasks: ``pytest_plugins = ['kartnb.testing.plugin']`` in the topmost `conftest.py`.

Or ``pytest -p kartnb.testing.plugin``. They are not there by themselves, so that no other run of pytest imports kartnb.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Iterator, Mapping
from configparser import ConfigParser
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import luigi
import pytest
from luigi.configuration import LuigiTomlParser

from kartnb._luigi import instance_cache
from kartnb.task.base import TaskOnKart
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
    with ExitStack() as stack:
        for task in _known_tasks():
            unset = {name: value for name, value in now.items() if vars(task).get(name) == earlier[name]}
            stack.enter_context(replaced(task, unset))
        stack.enter_context(_configured('TaskOnKart', now))
        yield


def _known_tasks() -> list[TaskOnKart[Any]]:
    """The tasks that luigi has in its cache, which keeps all whose parameter values can be hashed."""
    by_class = [instances for instances in (instance_cache() or {}).values() if isinstance(instances, dict)]
    found = {id(task): task for tasks in by_class for task in tasks.values() if isinstance(task, TaskOnKart)}
    return list(found.values())


@contextmanager
def _configured(section: str, values: Mapping[str, str]) -> Iterator[None]:
    """Within the block a section of luigi's configuration has other values."""
    config: Any = luigi.configuration.get_config()
    if isinstance(config, LuigiTomlParser):
        before = copy.deepcopy(config.data)
        config.data.setdefault(section, {}).update(values)
        try:
            yield
        finally:
            config.data.clear()
            config.data.update(before)
        return
    is_new = not config.has_section(section)
    if is_new:
        config.add_section(section)
    kept = {name: ConfigParser.get(config, section, name, raw=True, fallback=None) for name in values}
    for name, value in values.items():
        config.set(section, name, value.replace('%', '%%'))
    try:
        yield
    finally:
        for name, old in kept.items():
            config.remove_option(section, name) if old is None else config.set(section, name, old)
        if is_new:
            config.remove_section(section)
