"""luigi's resources: limits from the configuration, held by threads and processes, and by nobody longer than needed."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import luigi
import pytest

import kartnb
from kartnb.errors import TaskSettingError
from kartnb.execution.limits import ReadyQueue, Resources
from tests.execution.luigi_settings import luigi_settings


def _classes(place: Path) -> tuple[Any, Any]:
    """Tasks that write down how many of them run at once, and one that needs some of them."""

    class User(kartnb.TaskOnKart):
        n = luigi.IntParameter()
        amount = luigi.IntParameter(default=1)
        early = luigi.BoolParameter(default=False)

        def process_resources(self) -> Any:
            return {'db': self.amount}

        def run(self) -> None:
            mine = place / f'running-{self.n}'
            mine.touch()
            time.sleep(0.1)
            together = len(list(place.glob('running-*')))
            mine.unlink()
            if self.early:
                self.decrease_running_resources({'db': self.amount})
                (place / f'early-{self.n}').touch()
                time.sleep(1)
            self.dump((together, len(list(place.glob('early-*')))))

    class All(kartnb.TaskOnKart):
        tasks = kartnb.ListTaskInstanceParameter(expected_elements_type=User)

        def run(self) -> None:
            self.dump(self.load('tasks'))

    return User, All


@pytest.mark.parametrize('executor', ['threads', 'processes'])
@pytest.mark.parametrize('limit', [None, 2])
def test_no_more_tasks_run_at_once_than_the_limit_allows(executor: str, limit: int | None, tmp_path: Path) -> None:
    user, everything = _classes(tmp_path)
    task = everything(tasks=[user(n=n) for n in range(6)])
    with luigi_settings('resources', **({} if limit is None else {'db': limit})):
        seen = [together for together, _ in kartnb.build(task, executor=executor, workers=3)]
    assert max(seen) <= (limit or 1)
    if executor == 'threads':
        assert max(seen) == (limit or 1)


def test_a_task_that_asks_for_more_than_there_is_fails_and_others_go_on(tmp_path: Path) -> None:
    user, everything = _classes(tmp_path)
    modest, greedy = user(n=0, amount=2), user(n=1, amount=3)
    with luigi_settings('resources', db=2):
        message = r"User takes 3 of the resource 'db', of which there is 2: raise db in the section \[resources\]"
        with pytest.raises(kartnb.GokartBuildError, match=message) as caught:
            kartnb.build(everything(tasks=[modest, greedy]), executor='threads', workers=2)
    assert isinstance(caught.value.__cause__, TaskSettingError)
    assert modest.complete()
    assert not greedy.complete()


@pytest.mark.parametrize(
    'asked, message',
    [
        ({'db': -1}, "takes -1 of the resource 'db': the amount must be a number from 0"),
        ({'db': 'all'}, "takes 'all' of the resource 'db'"),
        (['db'], r"Odd.resources is \['db'\]: write a dict"),
    ],
)
def test_what_makes_no_sense_is_said(asked: Any, message: str) -> None:
    class Odd(kartnb.TaskOnKart):
        resources = asked

        def run(self) -> None:
            self.dump(1)

    with pytest.raises(kartnb.GokartBuildError, match=message):
        kartnb.build(Odd())


def test_a_limit_that_is_no_number_is_said(tmp_path: Path) -> None:
    user, _ = _classes(tmp_path)
    with luigi_settings('resources', db='many'), pytest.raises(TaskSettingError, match=r'\[resources\].*many'):
        kartnb.build(user(n=0))


@pytest.mark.parametrize('executor', ['threads', 'processes'])
def test_a_running_task_may_give_back_what_it_takes(executor: str, tmp_path: Path) -> None:
    user, everything = _classes(tmp_path)
    first, second = user(n=0, early=True), user(n=1)
    _, (_, early) = kartnb.build(everything(tasks=[first, second]), executor=executor, workers=2)
    assert early == 1, 'the second ran while the first was still at it, after it had given the resource back'


def test_the_same_tasks_without_resources_are_not_held_up() -> None:
    queue = ReadyQueue(Resources({'db': 1}))
    queue.push('a', 0, (('db', 1),))
    queue.push('b', 0, (('db', 1),))
    queue.push('c', 0)
    assert [queue.pop(), queue.pop(), queue.pop()] == ['a', 'c', None]
    queue.give_back('a')
    assert [queue.pop(), queue.pop(), len(queue)] == ['b', None, 0]


def test_a_large_demand_is_not_starved_by_small_ones() -> None:
    queue = ReadyQueue(Resources({'db': 2}))
    queue.push('small 1', 0, (('db', 1),))
    queue.push('large', 0, (('db', 2),))
    queue.push('small 2', 0, (('db', 1),))
    assert [queue.pop(), queue.pop()] == ['small 1', None], 'the large one waits for the resource, and keeps its place'
    queue.give_back('small 1')
    assert [queue.pop(), queue.pop()] == ['large', None]
    queue.give_back('large')
    assert queue.pop() == 'small 2'


def test_priority_goes_before_the_order_of_coming() -> None:
    queue = ReadyQueue(Resources({}))
    for key, priority, demand in [('a', 0, (('db', 1),)), ('b', 1, (('db', 1),)), ('c', 5, (('other', 1),))]:
        queue.push(key, priority, demand)
    assert [queue.pop(), queue.pop(), queue.pop()] == ['c', 'b', None]


def test_many_tasks_with_many_resources_all_come_and_never_too_many_at_once() -> None:
    import random

    numbers = random.Random(7)
    limits = {name: numbers.randint(1, 3) for name in 'abcdefgh'}
    resources = Resources(limits)
    queue = ReadyQueue(resources)
    demands = {}
    for n in range(3000):
        names = numbers.sample('abcdefgh', numbers.randint(0, 3))
        demands[str(n)] = tuple((name, numbers.randint(1, limits[name])) for name in names)
        queue.push(str(n), numbers.randint(-2, 2), demands[str(n)])
    running: list[str] = []
    done: set[str] = set()
    while len(queue) or running:
        while len(running) < 6 and (key := queue.pop()) is not None:
            running.append(key)
        for name, limit in limits.items():
            assert sum(dict(demands[key]).get(name, 0) for key in running) <= limit
        assert running, 'something can always run'
        ended = running.pop(numbers.randrange(len(running)))
        queue.give_back(ended)
        done.add(ended)
    assert len(done) == 3000
