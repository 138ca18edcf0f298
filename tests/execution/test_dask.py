"""Builds on a Dask cluster of processes with results on shared storage: what may happen to a cluster."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import luigi
import pytest

import kartnb
from kartnb.errors import ExecutorChoiceError, WorkerDiedError, WorkerError
from kartnb.execution.workers import worker_pools
from tests.execution.luigi_settings import luigi_settings

distributed = pytest.importorskip('distributed')


def _cluster(workers: int) -> Any:
    return distributed.LocalCluster(
        n_workers=workers, threads_per_worker=1, host='127.0.0.1', dashboard_address=None, silence_logs=50
    )


@pytest.fixture(scope='module')
def mixed() -> Iterator[Any]:
    """A client of a cluster that gives up a task with the first worker that dies; one of its two workers has a GPU."""
    import dask

    scheduler = {
        'cls': distributed.Scheduler,
        'options': {'host': '127.0.0.1', 'port': 0, 'dashboard_address': ':0', 'allowed_failures': 0},
    }
    options = {'nthreads': 1, 'silence_logs': 50}
    workers = {
        'plain': {'cls': distributed.Nanny, 'options': options},
        'gpu': {'cls': distributed.Nanny, 'options': {**options, 'resources': {'GPU': 2}}},
    }
    with (
        dask.config.set({'distributed.worker.daemon': True}),
        distributed.SpecCluster(workers, scheduler) as cluster,
        distributed.Client(cluster, set_as_default=False) as client,
    ):
        yield client


def _classes(place: Path) -> tuple[Any, Any]:
    """Tasks that come together, or kill their worker, and one that needs some of them."""

    class Leaf(kartnb.TaskOnKart):
        n = luigi.IntParameter()
        together = luigi.IntParameter(default=1)
        kills = luigi.BoolParameter(default=False)

        def run(self) -> None:
            if self.kills:
                os.kill(os.getpid(), 9)
            (place / f'{self.n}').touch()
            while len(list(place.iterdir())) < self.together:
                time.sleep(0.02)
            self.dump(self.n)

    class All(kartnb.TaskOnKart):
        tasks = kartnb.ListTaskInstanceParameter(expected_elements_type=Leaf)

        def run(self) -> None:
            self.dump(self.load('tasks'))

    return Leaf, All


def _once(condition: Callable[[], bool], then: Callable[[], None]) -> threading.Thread:
    """Do something from another thread as soon as a condition holds."""

    def wait() -> None:
        while not condition():
            time.sleep(0.02)
        then()

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    return thread


def test_a_task_that_kills_its_worker_fails_alone(mixed: Any, tmp_path: Path) -> None:
    leaf, everything = _classes(tmp_path)
    killer, others = leaf(n=3, kills=True), [leaf(n=n) for n in range(20, 30)]
    with pytest.raises(kartnb.GokartBuildError, match='1 task failed') as caught:
        kartnb.build(everything(tasks=[*others[:5], killer, *others[5:]]), executor=mixed)
    assert isinstance(caught.value.__cause__, WorkerDiedError)
    assert 'A Dask worker died with this task (killed, crashed or out of memory): see the log of' in str(caught.value)
    assert [task.complete() for task in others] == [True] * 10
    assert not killer.complete()
    assert kartnb.build(everything(tasks=others), executor=mixed) == list(range(20, 30))


def test_resources_choose_the_worker(mixed: Any) -> None:
    class OnGpu(kartnb.TaskOnKart):
        n = luigi.IntParameter()
        resources = {'GPU': 1, 'licence': 1}  # noqa: RUF012 - as luigi's tasks have it

        def run(self) -> None:
            self.dump(distributed.get_worker().name)

    class Both(kartnb.TaskOnKart):
        def requires(self) -> Any:
            return [OnGpu(n=n) for n in range(6)]

        def run(self) -> None:
            self.dump(set(self.load()))

    mixed.wait_for_workers(2)
    with luigi_settings('resources', GPU=2, licence=2):
        assert kartnb.build(Both(), executor=mixed) == {'gpu'}


def test_resources_that_no_worker_has_are_said(mixed: Any) -> None:
    class Huge(kartnb.TaskOnKart):
        resources = {'GPU': 4}  # noqa: RUF012

        def run(self) -> None:
            self.dump(1)

    mixed.wait_for_workers(2)
    message = 'No Dask worker has the resources GPU=4 that Huge takes: start one with --resources "GPU=4", or take less'
    with luigi_settings('resources', GPU=4), pytest.raises(kartnb.GokartBuildError, match=message):
        kartnb.build(Huge(), executor=mixed)


def test_a_worker_without_kartnb_is_said(mixed: Any, tmp_path: Path) -> None:
    def forget() -> None:
        for name in [name for name in sys.modules if name.partition('.')[0] == 'kartnb']:
            del sys.modules[name]
        sys.modules['kartnb'] = None  # type: ignore[assignment]

    leaf, _ = _classes(tmp_path)
    mixed.wait_for_workers(2)
    mixed.run(forget)
    try:
        with pytest.raises(kartnb.GokartBuildError, match='A worker has no kartnb: install the same version there'):
            kartnb.build(leaf(n=1), executor=mixed)
    finally:
        mixed.restart()


def test_workers_that_join_get_tasks(tmp_path: Path) -> None:
    leaf, everything = _classes(tmp_path)
    task = everything(tasks=[leaf(n=n, together=3) for n in range(3)])
    with _cluster(1) as cluster, distributed.Client(cluster, set_as_default=False) as client:
        _once(lambda: (tmp_path / '0').exists(), lambda: cluster.scale(3))
        assert kartnb.build(task, executor=client) == [0, 1, 2]


def test_a_cluster_without_workers_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    leaf, everything = _classes(tmp_path)
    task = everything(tasks=[leaf(n=n, together=9) for n in range(3)])
    with _cluster(1) as cluster, distributed.Client(cluster, set_as_default=False) as client:
        _once(lambda: (tmp_path / '0').exists(), lambda: cluster.scale(0))
        with monkeypatch.context() as patch:
            patch.setattr(worker_pools, '_NO_WORKERS_PATIENCE', 0.5)
            with pytest.raises(kartnb.GokartBuildError, match='3 tasks failed') as caught:
                kartnb.build(task, executor=client)
        assert 'The Dask cluster has had no workers for 0.5 s: start some, or scale it up' in str(caught.value)
        with pytest.raises(ExecutorChoiceError, match='The Dask cluster has no workers: start one'):
            kartnb.build(task, executor=cluster.scheduler_address.replace('tcp', 'dask'))
        cluster.adapt(minimum=0, maximum=1, interval='100 ms')
        assert kartnb.build(leaf(n=5), executor=client) == 5, 'an adaptive cluster starts a worker when there is a task'


def test_a_client_that_cannot_be_used_is_said(mixed: Any, tmp_path: Path) -> None:
    leaf, _ = _classes(tmp_path)
    address = mixed.cluster.scheduler_address
    with distributed.Client(address, set_as_default=False) as closed:
        pass
    with pytest.raises(ExecutorChoiceError, match='This Dask client is closed: create a new one'):
        kartnb.build(leaf(n=1), executor=closed)

    async def build() -> None:
        async with distributed.Client(address, asynchronous=True, set_as_default=False) as asynchronous:
            kartnb.build(leaf(n=1), executor=asynchronous)

    with pytest.raises(ExecutorChoiceError, match='This Dask client is asynchronous: give one with asynchronous=False'):
        asyncio.run(build())


def test_a_scheduler_that_goes_is_said_at_once(tmp_path: Path) -> None:
    leaf, everything = _classes(tmp_path / 'met')
    (tmp_path / 'met').mkdir()
    file = str(tmp_path / 'scheduler.json')
    start = [sys.executable, '-m', 'distributed.cli.dask_scheduler', '--host', '127.0.0.1', '--port', '0']
    scheduler = subprocess.Popen([*start, '--no-dashboard', '--scheduler-file', file], stderr=subprocess.DEVNULL)
    start = [sys.executable, '-m', 'distributed.cli.dask_worker', '--scheduler-file', file, '--no-nanny']
    worker = subprocess.Popen([*start, '--nthreads', '1', '--no-dashboard'], stderr=subprocess.DEVNULL)
    try:
        with distributed.Client(scheduler_file=file, set_as_default=False) as client:
            client.wait_for_workers(1)
            _once(lambda: (tmp_path / 'met' / '0').exists(), scheduler.kill)
            with pytest.raises(kartnb.GokartBuildError, match='4 tasks failed') as caught:
                kartnb.build(everything(tasks=[leaf(n=n, together=9) for n in range(4)]), executor=client)
        assert str(caught.value).count('The connection to the Dask scheduler is lost: see that the cluster runs') == 4
        assert isinstance(caught.value.__cause__, WorkerError)
    finally:
        for process in (scheduler, worker):
            process.kill()
            process.wait()
