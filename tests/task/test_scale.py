"""Many tasks, long chains, deep diamonds, many threads."""

from __future__ import annotations

import threading
import time
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import gokart
import luigi
import pytest
from luigi.task_register import Register

import kartnb
from tests.machine import cost


class Link(kartnb.TaskOnKart):
    n = luigi.IntParameter()

    def requires(self) -> Any:
        return Link(n=self.n - 1) if self.n else []


class Pair(kartnb.TaskOnKart):
    left = kartnb.TaskInstanceParameter()
    right = kartnb.TaskInstanceParameter()


class Leaf(kartnb.TaskOnKart):
    n = luigi.IntParameter(default=1)
    name = luigi.Parameter(default='x')


def test_a_chain_of_20000_tasks_has_an_id(record_property: Any) -> None:
    ids: list[str] = []
    spent = cost(lambda: ids.append(Link(n=20_000).make_unique_id()))
    record_property('measured', f"id of a chain of 20000 tasks: {spent:.0f} times the machine's unit")
    assert len(ids[0]) == 32
    assert Link(n=20_000).make_unique_id() == ids[0]
    assert spent < 200


def test_in_gokart_a_chain_of_1000_does_not() -> None:
    class GokartLink(gokart.TaskOnKart):
        n = luigi.IntParameter()

        def requires(self) -> Any:
            return GokartLink(n=self.n - 1) if self.n else []

    # as itself, or as the cause of luigi's "Error when parsing the default value"
    with pytest.raises((RecursionError, ValueError)):
        GokartLink(n=1000).make_unique_id()


def test_a_diamond_of_depth_30_is_made_at_once(record_property: Any) -> None:
    Pair(left=Leaf(), right=Leaf())

    def diamond() -> None:
        task: Any = Leaf()
        for _ in range(30):
            task = Pair(left=task, right=task)

    spent = cost(diamond)
    record_property('measured', f"diamond of 30 levels of tasks in tasks: {spent:.3f} times the machine's unit")
    assert spent < 5


def test_in_gokart_a_diamond_takes_twice_as_long_with_each_level() -> None:
    class GokartLeaf(gokart.TaskOnKart):
        pass

    class GokartPair(gokart.TaskOnKart):
        left = gokart.TaskInstanceParameter()
        right = gokart.TaskInstanceParameter()

    task: Any = GokartLeaf()
    seconds = []
    for _ in range(11):
        started = time.process_time()
        task = GokartPair(left=task, right=task)
        seconds.append(time.process_time() - started)
    assert seconds[-1] > 8 * seconds[4]


def test_a_long_chain_of_tasks_in_tasks_can_be_shown() -> None:
    task: Any = Leaf()
    # gokart's text form, of which ids are made, grows by the factor 1.02 with each level: 150 is deep
    for _ in range(150):
        task = Pair(left=task, right=Leaf())
    assert hash(task) == hash(task)
    assert task.make_unique_id() in repr(task)
    assert task == task.clone()


def test_ten_thousand_instances(record_property: Any) -> None:
    Leaf(n=-1)
    tracemalloc.start()
    tasks: list[Leaf] = []
    making = cost(lambda: tasks.extend(Leaf(n=n) for n in range(10_000)))
    size = tracemalloc.get_traced_memory()[0] / len(tasks)
    tracemalloc.stop()
    ids: set[str] = set()
    identifying = cost(lambda: ids.update(task.make_unique_id() for task in tasks))
    record_property(
        'measured',
        f"10000 instances, in the machine's unit: {making:.1f} (traced), their ids {identifying:.1f}; "
        f'{size / 1024:.1f} kB each',
    )
    assert len(ids) == 10_000
    assert making < 100
    assert identifying < 100
    assert size < 10_000


def test_instances_of_many_parameters_cost_no_more_than_gokarts(record_property: Any) -> None:
    class GokartLeaf(gokart.TaskOnKart):
        n = luigi.IntParameter(default=1)
        name = luigi.Parameter(default='x')

    seconds = {}
    for cls in (Leaf, GokartLeaf):
        Register.clear_instance_cache()
        cls(n=-1)
        started = time.process_time()
        for n in range(300):
            cls(n=n)
        seconds[cls] = time.process_time() - started
    record_property(
        'measured', f'making an instance: {seconds[GokartLeaf] / seconds[Leaf]:.0f} times as fast as gokart'
    )
    assert seconds[Leaf] < seconds[GokartLeaf]


def test_threads_that_make_the_same_task_get_one_instance() -> None:
    for n in range(200):
        start = threading.Barrier(4)

        def make(n: int = n, start: threading.Barrier = start) -> Any:
            start.wait()
            return Leaf(n=n)

        with ThreadPoolExecutor(4) as pool:
            made = [future.result() for future in [pool.submit(make) for _ in range(4)]]
        assert all(task is made[0] for task in made)


def test_threads_that_define_and_make_tasks() -> None:
    def work(number: int) -> list[str]:
        body = {'n': luigi.IntParameter(default=number), '__module__': f'thread{number}'}
        ids = []
        for _ in range(20):
            cls = type(kartnb.TaskOnKart)('InThread', (kartnb.TaskOnKart,), dict(body))
            ids.append(cls().make_unique_id())
            ids.append(Pair(left=cls(), right=Leaf(n=number)).make_unique_id())
        return ids

    with ThreadPoolExecutor(8) as pool:
        for ids in pool.map(work, range(8)):
            assert len(set(ids)) == 2
    registered = [cls for cls in Register._reg if cls.__name__ == 'InThread']
    assert len(registered) == 8, 'of each module the newest'
