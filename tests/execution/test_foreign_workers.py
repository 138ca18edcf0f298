"""Workers of others that lack what they need, or die: said in one sentence, with what to do."""

from __future__ import annotations

import importlib
import multiprocessing
import os
import sys
import threading
import time
from collections import namedtuple
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import cloudpickle
import executorlib
import luigi
import pytest
import submitit

import kartnb
from kartnb.execution.workers import remote
from tests.execution.luigi_settings import luigi_settings


@contextmanager
def _workers(prepare: Callable[..., None], *arguments: Any) -> Iterator[ProcessPoolExecutor]:
    context = multiprocessing.get_context('spawn')
    with ProcessPoolExecutor(1, mp_context=context, initializer=prepare, initargs=arguments) as pool:
        yield pool


def _leave(folder: str) -> None:
    sys.path.remove(folder)


def _be_another_version(name: str) -> None:
    if name == 'kartnb':
        remote.__version__ = '0.0.1'  # type: ignore[misc]
    elif name == 'cloudpickle':
        cloudpickle.__version__ = '0.0.1'
    else:
        sys.version_info = namedtuple('Version', 'major minor')(0, 0)  # type: ignore[assignment]


@pytest.fixture
def shop(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A module in a folder that workers do not have on their path; gives the folder."""
    folder = tmp_path / request.param
    folder.mkdir()
    (folder / 'shop_of_mine.py').write_text(
        'import kartnb\n\n\nclass Sold(kartnb.TaskOnKart):\n    def run(self):\n        self.dump(1)\n'
    )
    monkeypatch.syspath_prepend(str(folder))
    importlib.import_module('shop_of_mine')
    yield folder
    del sys.modules['shop_of_mine']


@pytest.mark.parametrize('shop', ['site-packages'], indirect=True)
def test_a_worker_without_a_package_is_said(shop: Path) -> None:
    with _workers(_leave, str(shop)) as pool, pytest.raises(kartnb.GokartBuildError) as caught:
        kartnb.build(sys.modules['shop_of_mine'].Sold(), executor=pool)
    assert "A worker lacks the module 'shop_of_mine'" in str(caught.value)
    assert 'install' in str(caught.value)


@pytest.mark.parametrize('shop', ['project'], indirect=True)
def test_a_worker_is_given_the_users_own_modules(shop: Path) -> None:
    with _workers(_leave, str(shop)) as pool:
        assert kartnb.build(sys.modules['shop_of_mine'].Sold(), executor=pool) == 1


def _classes(place: Path) -> tuple[Any, Any]:
    """A task that waits, or ends its process, and one that needs some of these."""

    class Sold(kartnb.TaskOnKart[int]):
        n = luigi.IntParameter(default=0)
        kills = luigi.BoolParameter(default=False)
        waits = luigi.BoolParameter(default=False)

        def run(self) -> None:
            if self.kills:
                os._exit(1)
            (place / 'runs').touch()
            while self.waits and not (place / 'go').exists():
                time.sleep(0.02)
            self.dump(self.n)

    class All(kartnb.TaskOnKart[list[int]]):
        tasks = kartnb.ListTaskInstanceParameter(expected_elements_type=Sold)

        def run(self) -> None:
            self.dump(self.load('tasks'))

    return Sold, All


@pytest.mark.parametrize('name', ['kartnb', 'cloudpickle', 'Python'])
def test_a_worker_with_another_version_is_said(name: str, tmp_path: Path) -> None:
    sold, _ = _classes(tmp_path)
    message = rf'A worker has {name} 0\.0(\.1)?, not .*: install the same version there'
    with _workers(_be_another_version, name) as pool, pytest.raises(kartnb.GokartBuildError, match=message):
        kartnb.build(sold(), executor=pool)
    assert kartnb.build(sold()) == 0


def test_an_executor_that_a_dead_worker_has_broken_is_said(tmp_path: Path) -> None:
    sold, everything = _classes(tmp_path)
    with ProcessPoolExecutor(2) as pool, pytest.raises(kartnb.GokartBuildError) as caught:
        kartnb.build(everything(tasks=[sold(n=n, kills=n == 2) for n in range(4)]), executor=pool)
    assert 'A worker of the ProcessPoolExecutor died (killed, crashed or out of memory)' in str(caught.value)
    assert 'give a new one, or build with workers=N' in str(caught.value)


@pytest.mark.parametrize('pool', [ProcessPoolExecutor(1), ThreadPoolExecutor(1)], ids=['processes', 'threads'])
def test_an_executor_that_was_shut_down_is_said(pool: Any, tmp_path: Path) -> None:
    sold, _ = _classes(tmp_path)
    pool.shutdown()
    with pytest.raises(kartnb.GokartBuildError, match=r'takes no tasks \(cannot schedule .*\): give a new one'):
        kartnb.build(sold(), executor=pool)


@pytest.mark.parametrize('kind', [ProcessPoolExecutor, ThreadPoolExecutor])
def test_a_build_ends_whose_executor_is_shut_down_meanwhile(kind: Any, tmp_path: Path) -> None:
    sold, everything = _classes(tmp_path)
    pool = kind(1)

    def shut_down() -> None:
        deadline = time.monotonic() + 60
        while not (tmp_path / 'runs').exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        pool.shutdown(wait=False, cancel_futures=True)
        (tmp_path / 'go').touch()

    thread = threading.Thread(target=shut_down)
    thread.start()
    with pytest.raises(kartnb.GokartBuildError) as caught:
        kartnb.build(everything(tasks=[sold(n=n, waits=True) for n in range(8)]), executor=pool)
    thread.join()
    assert 'has cancelled this task' in str(caught.value) or 'takes no tasks' in str(caught.value)
    assert sold(n=0, waits=True).complete()


@contextmanager
def _executorlib(folder: Path) -> Iterator[tuple[Any, dict[str, Any]]]:
    with executorlib.SingleNodeExecutor(max_workers=2, block_allocation=True) as pool:
        yield pool, {}


@contextmanager
def _submitit(folder: Path) -> Iterator[tuple[Any, dict[str, Any]]]:
    executor = submitit.AutoExecutor(folder, cluster='local')
    executor.update_parameters(timeout_min=5)
    yield executor, {'workers': 2}


@pytest.mark.parametrize('cluster', [_executorlib, _submitit])
def test_tasks_run_in_the_jobs_of_a_cluster(cluster: Any, tmp_path: Path) -> None:
    sold, everything = _classes(tmp_path)

    class Asks(sold):  # type: ignore[misc]
        def run(self) -> Any:
            target = yield sold(n=5)
            self.dump(target.load() + 1)

    class Fails(kartnb.TaskOnKart[int]):
        def run(self) -> None:
            raise ValueError('no such price')

    with cluster(tmp_path / 'jobs') as (pool, options):
        assert kartnb.build(everything(tasks=[sold(n=1), sold(n=2), Asks()]), executor=pool, **options) == [1, 2, 6]
        with pytest.raises(kartnb.GokartBuildError, match='no such price'):
            kartnb.build(Fails(), executor=pool, **options)


def test_executorlib_gives_a_task_the_threads_that_it_takes(tmp_path: Path) -> None:
    class Threaded(kartnb.TaskOnKart[list[float]]):
        n = luigi.IntParameter()
        resources: ClassVar[dict[str, float]] = {'threads_per_core': 2}

        def run(self) -> None:
            began = time.time()
            time.sleep(0.3)
            self.dump([began, time.time()])

    class Both(kartnb.TaskOnKart[list[list[float]]]):
        def requires(self) -> Any:
            return [Threaded(n=0), Threaded(n=1)]

        def run(self) -> None:
            self.dump(self.load())

    with luigi_settings('resources', threads_per_core=4), executorlib.SingleNodeExecutor(max_cores=2) as pool:
        first, second = sorted(kartnb.build(Both(), executor=pool, workers=2))
    assert first[1] <= second[0]


def test_a_job_of_submitit_that_dies_is_said(tmp_path: Path) -> None:
    sold, _ = _classes(tmp_path)
    with _submitit(tmp_path / 'jobs') as (pool, options), pytest.raises(kartnb.GokartBuildError) as caught:
        kartnb.build(sold(kills=True), executor=pool, **options)
    assert 'The job of this task ended without a result' in str(caught.value)
