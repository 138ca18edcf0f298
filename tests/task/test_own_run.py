"""A `run` that an instance was given, by a test, by a cell or by its `__init__`, is what runs, as in gokart."""

from __future__ import annotations

import types
from typing import Any
from unittest.mock import patch

import luigi
import pytest

import kartnb
from kartnb._luigi import event_handlers
from kartnb.testing import run_task


class Plain(kartnb.TaskOnKart[Any]):
    n = luigi.IntParameter(default=1)

    def run(self) -> Any:
        self.dump('class')


class Chooses(kartnb.TaskOnKart[Any]):
    kind = luigi.Parameter(default='b')

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.run = {'a': self.run_a, 'b': self.run_b}[self.kind]  # type: ignore[method-assign]

    def run(self) -> None:
        raise NotImplementedError

    def run_a(self) -> None:
        self.dump('a')

    def run_b(self) -> None:
        self.dump('b')


class Wraps(kartnb.TaskOnKart[Any]):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        inner = self.run

        def timed() -> None:
            self.task_log['timed'] = True
            inner()

        self.run = timed  # type: ignore[method-assign]

    def run(self) -> None:
        self.dump('wrapped')


class Holds(kartnb.TaskOnKart[Any]):
    held = kartnb.TaskInstanceParameter()

    def run(self) -> None:
        self.dump(self.load('held'))


def build(task: Any, way: str) -> Any:
    if way == 'luigi':
        assert luigi.build([task], local_scheduler=True, no_lock=True, log_level='CRITICAL')
        return task.output().load()
    return kartnb.build(task, executor=way)


WAYS = ['inline', 'threads', 'processes', 'luigi']


@pytest.fixture(autouse=True, params=['without a handler', 'with a handler'])
def handler(request: pytest.FixtureRequest) -> Any:
    """Handlers are what an event is fired for."""
    if request.param == 'without a handler':
        yield
        return
    kartnb.TaskOnKart.event_handler(luigi.Event.START)(_heard)
    yield
    event_handlers()[kartnb.TaskOnKart][luigi.Event.START].discard(_heard)


def _heard(task: Any) -> None:
    """Hear that a task starts."""


def set_function(task: Any) -> None:
    task.run = lambda: task.dump('instance')


def set_method(task: Any) -> None:
    task.run = types.MethodType(lambda self: self.dump('instance'), task)


@pytest.mark.parametrize('way', WAYS)
@pytest.mark.parametrize('put', [set_function, set_method])
def test_a_run_that_was_set_runs(put: Any, way: str) -> None:
    task = Plain()
    put(task)
    assert build(task, way) == 'instance'


@pytest.mark.parametrize('way', WAYS)
def test_a_run_that_init_chooses_runs(way: str) -> None:
    assert build(Chooses(), way) == 'b'
    assert build(Chooses(kind='a'), way) == 'a'


@pytest.mark.parametrize('way', WAYS)
def test_a_run_that_wraps_the_classs_runs(way: str) -> None:
    task = Wraps()
    assert build(task, way) == 'wrapped'
    assert Wraps().get_task_log()['timed'] is True


@pytest.mark.parametrize('way', ['inline', 'luigi'])
def test_a_mock_runs(way: str) -> None:
    task = Plain(n=2)
    with patch.object(task, 'run', side_effect=lambda: task.dump('mock')) as mock:
        assert build(task, way) == 'mock'
    assert mock.call_count == 1


@pytest.mark.parametrize('way', ['inline', 'luigi'])
def test_a_mock_of_the_classs_runs(way: str) -> None:
    task = Plain(n=3)
    with patch.object(Plain, 'run', side_effect=lambda: task.dump('mock')) as mock:
        assert build(task, way) == 'mock'
    assert mock.call_count == 1


def test_a_generator_that_was_set_may_ask() -> None:
    task = Plain(n=4)

    def asking() -> Any:
        target = yield Plain(n=5)
        task.dump(('asked', target.load()))

    task.run = asking  # type: ignore[method-assign]
    assert kartnb.build(task) == ('asked', 'class')


def test_a_task_that_another_one_holds_runs_it_too() -> None:
    task = Plain(n=6)
    set_function(task)
    assert kartnb.build(Holds(held=task)) == 'instance'


def test_it_runs_alone_and_by_hand() -> None:
    assert run_task(Chooses()) == 'b'
    task = Plain(n=7)
    set_function(task)
    task.run()
    assert task.output().load() == 'instance'


def test_the_plan_says_that_it_cannot_tell_of_one_that_was_set(capsys: pytest.CaptureFixture[str]) -> None:
    task = Plain(n=8)
    kartnb.build(task)
    assert 'cannot tell' not in repr(kartnb.plan(task))
    set_function(task)
    assert 'cannot tell' in repr(kartnb.plan(task))
    assert 'cannot tell' not in repr(kartnb.plan(Chooses()))
