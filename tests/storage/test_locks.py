"""Locks, against a real Redis server on the loopback."""

from __future__ import annotations

import multiprocessing
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from kartnb.errors import StorageError, TaskLockException
from kartnb.storage.locks import TaskLockParams, hold, make_task_lock_params, make_task_lock_params_for_run, wait
from kartnb.storage.targets import make_target

redis = pytest.importorskip('redis')


def free_port() -> int:
    with socket.socket() as found:
        found.bind(('127.0.0.1', 0))
        return int(found.getsockname()[1])


@pytest.fixture(scope='module')
def server() -> Iterator[Any]:
    program = shutil.which('redis-server')
    if program is None:
        pytest.skip('redis-server is not installed')
    port = free_port()
    running = subprocess.Popen(
        [program, '--port', str(port), '--bind', '127.0.0.1', '--save', '', '--appendonly', 'no'],
        stdout=subprocess.DEVNULL,
    )
    client = redis.Redis('127.0.0.1', port)
    for _ in range(200):
        try:
            client.ping()
            break
        except redis.exceptions.ConnectionError:
            time.sleep(0.05)
    yield client
    client.close()
    running.terminate()
    running.wait()


def params(server: Any, path: str = 'a/Task.pkl', **options: Any) -> TaskLockParams:
    port = server.connection_pool.connection_kwargs['port']
    return make_task_lock_params(path, 'x', redis_host='127.0.0.1', redis_port=port, redis_timeout=60, **options)


def test_the_key_is_gokarts(server: Any) -> None:
    with hold(params(server)):
        assert server.keys() == [b'Task_x']
        assert 50 < server.ttl('Task_x') <= 60
    assert server.keys() == []


def test_a_lock_is_held_by_one() -> None:
    assert not make_task_lock_params('a.pkl', 'x').should_task_lock
    with hold(make_task_lock_params('a.pkl', 'x')):
        pass


def test_a_collision_is_an_error_or_a_wait(server: Any) -> None:
    impatient = params(server, raise_task_lock_exception_on_collision=True)
    done: list[float] = []

    def patient() -> None:
        with hold(params(server)):
            done.append(time.monotonic())

    with hold(params(server)):
        with pytest.raises(TaskLockException, match='Lock already taken by other task: Task_x at 127'), hold(impatient):
            raise AssertionError
        thread = threading.Thread(target=patient)
        thread.start()
        time.sleep(0.3)
        assert done == []
    thread.join()
    assert len(done) == 1


def test_a_lock_is_extended_while_it_is_held(server: Any) -> None:
    port = server.connection_pool.connection_kwargs['port']
    short = make_task_lock_params('Task.pkl', 'x', '127.0.0.1', port, redis_timeout=2, lock_extend_seconds=1)
    with hold(short):
        time.sleep(3)
        assert server.exists('Task_x')
    assert not server.exists('Task_x')


def test_a_lock_is_released_after_an_error(server: Any) -> None:
    with pytest.raises(KeyboardInterrupt), hold(params(server)):
        raise KeyboardInterrupt
    assert server.keys() == []


def test_a_dump_keeps_what_another_made_meanwhile(server: Any) -> None:
    target = make_target('a/Task.pkl', 'x', task_lock_params=params(server))
    target.dump('first')
    target.dump('second')
    assert target.load() == 'first'
    target.dump('third', lock_at_dump=False)
    assert target.load() == 'third'
    target.remove()
    assert not target.exists()
    assert server.keys() == []


def test_a_load_waits_for_the_dump(server: Any) -> None:
    target = make_target('a/Task.pkl', 'x', task_lock_params=params(server))
    target.dump('old', lock_at_dump=False)
    loaded: list[str] = []
    with hold(params(server)):
        thread = threading.Thread(target=lambda: loaded.append(target.load()))
        thread.start()
        time.sleep(0.3)
        assert loaded == []
        target.dump('new', lock_at_dump=False)
    thread.join()
    assert loaded == ['new']


def add_one(port: int) -> None:
    lock = make_task_lock_params('counter.pkl', 'x', '127.0.0.1', port, 60)
    for _ in range(10):
        with hold(lock):
            target = make_target('counter.pkl')
            target.dump(target.load() + 1)


def test_processes_take_turns(server: Any) -> None:
    make_target('counter.pkl').dump(0)
    port = server.connection_pool.connection_kwargs['port']
    context = multiprocessing.get_context('spawn')
    workers = [context.Process(target=add_one, args=(port,)) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert make_target('counter.pkl').load() == 20


def test_a_server_that_is_away_is_named() -> None:
    away = make_task_lock_params('a.pkl', 'x', '127.0.0.1', free_port(), 60)
    for act in (lambda: wait(away), make_target('a.pkl', task_lock_params=away).load):
        with pytest.raises(StorageError, match=r'the Redis server at 127\.0\.0\.1:\d+, which keeps the locks, cannot'):
            act()


def test_a_timeout_outlives_its_extension() -> None:
    with pytest.raises(AssertionError, match='must be set greater than lock_extend_seconds:10, not 10'):
        make_task_lock_params('a.pkl', 'x', redis_timeout=10)


def test_the_lock_of_a_run() -> None:
    class Task:
        redis_host, redis_port, redis_timeout = 'host', 1, 60

        def make_unique_id(self) -> str:
            return 'x'

    assert make_task_lock_params_for_run(Task()) == TaskLockParams('host', 1, 60, 'Task_x-run', True, True, 10)
