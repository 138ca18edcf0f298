"""Where a task runs when its executor is not the place for it, and what travels with those that are sent."""

from __future__ import annotations

import os
import warnings
from typing import Any

import luigi
import pytest

import kartnb
from kartnb.storage.targets import InMemoryCacheRepository

HUGE = bytes(12_000_000)


@pytest.fixture(autouse=True)
def _empty_memory() -> None:
    InMemoryCacheRepository().clear()


class Kept(kartnb.TaskOnKart[int]):
    number = luigi.IntParameter()

    def output(self) -> Any:
        return kartnb.make_in_memory_target(self.make_unique_id())

    def run(self) -> None:
        self.dump(os.getpid())


class Away(kartnb.TaskOnKart[int]):
    number = luigi.IntParameter()

    def run(self) -> None:
        self.dump(os.getpid())


class Both(kartnb.TaskOnKart[dict[str, Any]]):
    def requires(self) -> Any:
        return {'kept': [Kept(number=n) for n in range(2)], 'away': [Away(number=n) for n in range(2)]}

    def run(self) -> None:
        self.dump({'here': os.getpid(), **self.load()})


@pytest.mark.parametrize('options', [{}, {'workers': 2}, {'executor': 'threads', 'workers': 2}], ids=str)
def test_what_is_kept_in_memory_is_made_and_loaded_in_this_process(options: dict[str, Any]) -> None:
    made = kartnb.build(Both(), **options)
    assert made['kept'] == [os.getpid()] * 2
    assert made['here'] == os.getpid()
    assert Kept(number=1).get_task_params() == {'number': '1'}, 'it was begun as any other run'
    if 'executor' not in options and options:
        assert os.getpid() not in made['away']
    assert not kartnb.plan(Both()).to_run()


def test_gokarts_targets_in_memory_count_too() -> None:
    gokart_target = pytest.importorskip('gokart.in_memory.target')
    lock = pytest.importorskip('gokart.conflict_prevention_lock.task_lock')

    class Gokarts(kartnb.TaskOnKart[int]):
        def output(self) -> Any:
            key = self.make_unique_id()
            return gokart_target.make_in_memory_target(key, lock.make_task_lock_params(key, None))

        def run(self) -> None:
            self.output().dump(os.getpid())

    assert kartnb.build(Gokarts(), workers=2) == os.getpid()


def test_what_was_made_in_another_process_is_missing_and_said() -> None:
    with pytest.raises(FileNotFoundError, match='is not in memory'):
        Kept(number=9).output().load()


def test_a_lock_in_memory_is_refused() -> None:
    with pytest.raises(ValueError, match='cannot be locked'):
        kartnb.InMemoryTarget('key', _lock())


def _lock() -> Any:
    from kartnb.storage.locks import make_task_lock_params

    return make_task_lock_params('key', None, redis_host='127.0.0.1', redis_port=6379)


def _helper() -> int:
    return len(HUGE)


def test_a_large_variable_that_rides_along_is_named() -> None:
    class Heavy(kartnb.TaskOnKart[int]):
        table = bytes(11_000_000)

        def run(self) -> None:
            self.dump(_helper())

    class Light(kartnb.TaskOnKart[int]):
        def run(self) -> None:
            self.dump(1)

    # what a function of a module uses stays in the module; a notebook's functions travel, and take it along
    _helper.__module__ = Heavy.__module__ = '__main__'
    try:
        with pytest.warns(UserWarning, match=r'Heavy takes Heavy\.table \(11 MB\), HUGE \(12 MB\) along'):
            kartnb.build(Heavy(), workers=2)
    finally:
        _helper.__module__ = __name__
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        assert kartnb.build(Light(), workers=2) == 1
