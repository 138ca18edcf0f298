"""Which tasks are sent to workers together, and when: all workers are busy until the end."""

from __future__ import annotations

import concurrent.futures
import multiprocessing
import os
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import luigi
import pytest

import kartnb
from kartnb.execution.executors import ParcelExecutor
from kartnb.execution.limits import ONE_TASK, ReadyQueue, RecentTimes, Resources, Room
from kartnb.model import TaskStateChanged

PARCELS = Room(100, 0.05, 0.1)


@pytest.fixture(params=['processes', 'spawned pool', 'dask'])
def options(request: pytest.FixtureRequest) -> Iterator[dict[str, Any]]:
    if request.param == 'processes':
        yield {'workers': 2}
    elif request.param == 'spawned pool':
        context = multiprocessing.get_context('spawn')
        with concurrent.futures.ProcessPoolExecutor(2, mp_context=context) as pool:
            yield {'executor': pool}
    else:
        distributed = pytest.importorskip('distributed')
        cluster = distributed.LocalCluster(n_workers=2, threads_per_worker=2, host='127.0.0.1', dashboard_address=None)
        with cluster, distributed.Client(cluster) as client:
            yield {'executor': client}


@pytest.fixture
def sizes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many tasks were in each parcel that was sent."""
    found: list[int] = []
    submit = ParcelExecutor.submit

    def counting(self: ParcelExecutor, runs: Sequence[Any]) -> None:
        found.append(len(runs))
        submit(self, runs)

    monkeypatch.setattr(ParcelExecutor, 'submit', counting)
    return found


@pytest.fixture
def one_parcel(monkeypatch: pytest.MonkeyPatch) -> None:
    """All tasks that are ready go into one parcel."""
    monkeypatch.setattr(ParcelExecutor, 'room', lambda self, running, ready: Room(100, float('inf'), float('inf')))
    monkeypatch.setattr(RecentTimes, 'expected', lambda self, cls: 0.0)


def _placed(seconds: float) -> Any:
    """A task whose value is how many of 200 short tasks each worker has run."""

    class Short(kartnb.TaskOnKart[int]):
        n = luigi.IntParameter()

        def run(self) -> None:
            time.sleep(seconds)
            self.dump(os.getpid())

    class Placed(kartnb.TaskOnKart[list[int]]):
        def requires(self) -> Any:
            return [Short(n=n) for n in range(200)]

        def run(self) -> None:
            self.dump(list(Counter(self.load()).values()))

    return Placed()


def _meeting(place: Path) -> Any:
    """A task that ends when two workers are there and have run a task."""

    class Guest(kartnb.TaskOnKart[int]):
        n = luigi.IntParameter()

        def run(self) -> None:
            (place / str(self.n)).touch()
            deadline = time.monotonic() + 60
            while not (place / str(1 - self.n)).exists():
                assert time.monotonic() < deadline, 'the two do not run at once'
                time.sleep(0.01)
            self.dump(0)

    class Meeting(kartnb.TaskOnKart[int]):
        def requires(self) -> Any:
            return [Guest(n=0), Guest(n=1)]

        def run(self) -> None:
            self.dump(0)

    return Meeting()


def test_each_worker_gets_its_share(options: dict[str, Any], tmp_path: Path) -> None:
    kartnb.build(_meeting(tmp_path), **options)
    counts = kartnb.build(_placed(0.005), **options)
    assert sum(counts) == 200
    assert len(counts) == 2
    assert min(counts) >= 70, counts


def test_short_tasks_are_sent_together_but_not_the_last_ones(sizes: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RecentTimes, 'expected', lambda self, cls: 0.0)
    kartnb.build(_placed(0), workers=2)
    assert sum(sizes) == 201
    assert sizes[0] == 25
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[-5:] == [1] * 5


def test_what_waits_for_a_task_does_not_wait_for_its_parcel(one_parcel: None, tmp_path: Path) -> None:
    made = tmp_path / 'made'

    class Part(kartnb.TaskOnKart[int]):
        n = luigi.IntParameter()

        def run(self) -> None:
            deadline = time.monotonic() + 60
            while self.n == 1 and not made.exists():
                assert time.monotonic() < deadline, 'After has not run although Part 0 is done'
                time.sleep(0.01)
            self.dump(self.n)

    class After(kartnb.TaskOnKart[int]):
        def requires(self) -> Any:
            return Part(n=0)

        def run(self) -> None:
            made.touch()
            self.dump(0)

    class Root(kartnb.TaskOnKart[int]):
        def requires(self) -> Any:
            return [Part(n=0), Part(n=1), After()]

        def run(self) -> None:
            self.dump(1)

    assert kartnb.build(Root(), workers=2) == 1


def test_nothing_is_run_twice_when_the_worker_of_a_parcel_dies(
    one_parcel: None, sizes: list[int], tmp_path: Path
) -> None:
    runs = tmp_path / 'runs'

    class Part(kartnb.TaskOnKart[int]):
        n = luigi.IntParameter()

        def run(self) -> None:
            with runs.open('a') as file:
                file.write(f'{self.n} ')
            if self.n == 2:
                os._exit(1)
            self.dump(self.n)

    class Root(kartnb.TaskOnKart[int]):
        def requires(self) -> Any:
            return [Part(n=n) for n in range(5)]

        def run(self) -> None:
            self.dump(1)

    with pytest.raises(kartnb.GokartBuildError, match='The worker process that ran this task died') as caught:
        kartnb.build(Root(), workers=2)
    assert list(caught.value.raised_exceptions) == [Part(n=2).make_unique_id()]
    assert sizes == [5, 1, 1]
    assert sorted(runs.read_text().split()) == ['0', '1', '2', '3', '4']
    assert [n for n in range(5) if kartnb.plan(Part(n=n)).to_run()] == [2]


def test_an_urgent_task_does_not_queue_behind_long_ones() -> None:
    class First(kartnb.TaskOnKart[int]):
        def run(self) -> None:
            self.dump(1)

    class Urgent(kartnb.TaskOnKart[int]):
        priority = 10

        def requires(self) -> Any:
            return First()

        def run(self) -> None:
            self.dump(1)

    class Long(kartnb.TaskOnKart[int]):
        n = luigi.IntParameter()

        def run(self) -> None:
            time.sleep(0.5)
            self.dump(1)

    class Root(kartnb.TaskOnKart[int]):
        def requires(self) -> Any:
            return [*(Long(n=n) for n in range(4)), Urgent()]

        def run(self) -> None:
            self.dump(1)

    changes: list[str] = []

    def note(event: Any) -> None:
        if isinstance(event, TaskStateChanged):
            changes.append(f'{event.key.partition("_")[0]} {event.state.value}')

    kartnb.build(Root(), workers=2, listeners=[note])
    waited = changes[changes.index('First done') : changes.index('Urgent running')]
    assert waited.count('Long running') <= 1, changes  # one may have been sent before


def _queue(*keys: str) -> ReadyQueue:
    queue = ReadyQueue(Resources({'db': 5}))
    for key in keys:
        queue.push(key, 0, (('db', 1),) if key.startswith('db') else ())
    return queue


def test_a_parcel_takes_no_longer_than_there_is_room_for() -> None:
    seconds = {'a': 0.02, 'b': 0.02, 'c': 0.02, 'long': 60.0, 'd': 0.001}
    queue = _queue(*seconds)
    assert queue.take(PARCELS, seconds.__getitem__) == ['a', 'b']
    assert queue.take(PARCELS, seconds.__getitem__) == ['c'], 'nothing waits in a parcel behind a long task'
    assert queue.take(PARCELS, seconds.__getitem__) == [], 'a long task waits for a free worker'
    assert queue.take(ONE_TASK, seconds.__getitem__) == ['long']
    assert queue.take(PARCELS, seconds.__getitem__) == ['d']


def test_a_task_that_takes_resources_is_sent_alone() -> None:
    queue = _queue('a', 'db 1', 'db 2', 'b', 'c')
    taken = [queue.take(PARCELS, lambda key: 0.001) for _ in range(4)]
    assert taken == [['a'], ['db 1'], ['db 2'], ['b', 'c']]


def test_the_best_tasks_are_first_in_a_parcel() -> None:
    queue = _queue('a', 'b')
    queue.push('urgent', 5)
    queue.push('last', -1)
    assert queue.take(PARCELS, lambda key: 0.001) == ['urgent', 'a', 'b', 'last']


def test_tasks_of_another_class_say_nothing_of_the_time() -> None:
    class Quick(luigi.Task):
        pass

    class Slow(luigi.Task):
        pass

    times = RecentTimes()
    assert times.expected(Quick) == float('inf')
    for _ in range(10):
        times.note(Quick, 0.001)
        times.note(Slow, 2.0)
    assert times.expected(Quick) < 0.002
    assert times.expected(Slow) >= 2.0
    times.note(Quick, 1.0)
    assert times.expected(Quick) > 0.1, 'times that differ much are not relied on'


def test_an_interrupt_that_a_task_raises_in_a_worker_is_its_own_failure() -> None:
    class Part(kartnb.TaskOnKart[int]):
        n = luigi.IntParameter()

        def run(self) -> None:
            if self.n == 7:
                raise KeyboardInterrupt
            self.dump(self.n)

    class Root(kartnb.TaskOnKart[int]):
        def requires(self) -> Any:
            return [Part(n=n) for n in range(20)]

        def run(self) -> None:
            self.dump(1)

    with pytest.raises(kartnb.GokartBuildError) as caught:
        kartnb.build(Root(), workers=2)
    assert list(caught.value.raised_exceptions) == [Part(n=7).make_unique_id()]
    assert [n for n in range(20) if not Part(n=n).complete()] == [7]
