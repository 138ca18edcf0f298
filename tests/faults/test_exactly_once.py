"""Each task runs once, whatever builds want it at the same time: in processes, in threads, with kills, with gokart."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.faults.builders import LEAVES, TOTAL
from tests.storage.test_locks import free_port

pytestmark = pytest.mark.skipif(sys.platform != 'linux', reason='platform: the driver forks, and adopts orphans')
NAMESPACES = ['unshare', '--user', '--map-root-user', '--pid', '--fork', '--mount-proc']


def driver(repository: Path, place: Path, case: str, *arguments: object, within: tuple[str, ...] = ()) -> Any:
    """Run a case of `tests.faults.builders`, and give what it has found."""
    command = [*within, sys.executable, '-m', 'tests.faults.builders', case, str(place), *map(str, arguments)]
    variables = os.environ | {'PYTHONPATH': str(repository)}
    done = subprocess.run(command, cwd=repository, env=variables, capture_output=True, text=True, timeout=180)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope='module')
def redis_port(redis_server_program: str) -> Iterator[int]:
    port = free_port()
    command = [redis_server_program, '--port', str(port), '--bind', '127.0.0.1', '--save', '', '--appendonly', 'no']
    running = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    time.sleep(0.3)
    yield port
    running.terminate()
    running.wait()


def assert_once(found: dict[str, Any]) -> None:
    assert found['values'] == [TOTAL] * 3
    assert set(found['runs'].values()) == {1}
    assert len(found['runs']) == LEAVES + 6


@pytest.mark.parametrize('case', ['inline', 'threads', 'processes'])
def test_builds_of_three_processes_run_each_task_once(case: str, repository: Path, tmp_path: Path) -> None:
    assert_once(driver(repository, tmp_path, case))


@pytest.mark.parametrize('case', ['redis', 'redis without file locks', 'redis threads'])
def test_so_they_do_with_redis(case: str, repository: Path, tmp_path: Path, redis_port: int) -> None:
    assert_once(driver(repository, tmp_path, case, redis_port))


@pytest.mark.parametrize('case', ['background', 'threads of one process'])
def test_twenty_builds_of_one_process_run_a_shared_leaf_once(case: str, repository: Path, tmp_path: Path) -> None:
    found = driver(repository, tmp_path, case)
    assert found['values'] == list(range(20))
    assert found['runs'] == {'Leaf0': 1} | {f'Top{n}': 1 for n in range(20)}


@pytest.mark.parametrize('first', ['gokart', 'kartnb'])
def test_gokart_and_kartnb_run_a_task_once(first: str, repository: Path, tmp_path: Path, redis_port: int) -> None:
    pytest.importorskip('gokart')
    found = driver(repository, tmp_path, 'gokart and redis', first, redis_port)
    assert found == {'values': [first, first], 'runs': {'Shared': 1}}


def test_two_hundred_kills(repository: Path, tmp_path: Path) -> None:
    found = driver(repository, tmp_path, 'kills', 200)
    assert found['wrong'] == []
    assert found['kills'] >= 200


@pytest.mark.parametrize('executor', ['inline', 'threads'])
def test_a_holder_that_dies_frees_its_task(executor: str, repository: Path, tmp_path: Path) -> None:
    # it would have run for a minute
    assert driver(repository, tmp_path, 'death', executor) == {'value': 'made by second', 'begun': 2}


def test_a_build_waits_and_loads(repository: Path, tmp_path: Path) -> None:
    found = driver(repository, tmp_path, 'wait')
    assert found['values'] == ['made by first'] * 2
    assert found['begun'] == 1
    assert 'waiting' in found['states']


@pytest.mark.parametrize('how', ['background', 'interrupt'])
def test_a_build_that_waits_can_be_stopped(how: str, repository: Path, tmp_path: Path) -> None:
    found = driver(repository, tmp_path, 'stop', how)
    assert found == {'ended': 'stopped', 'value': 'made by first', 'begun': {'Once': 1}}


def test_a_slow_failure_does_not_bring_back_the_old_result(repository: Path, tmp_path: Path) -> None:
    found = driver(repository, tmp_path, 'slow failure')
    assert found == {'errors': ['GokartBuildError'], 'fast': 2, 'later': 2, 'state': 'cached'}


@pytest.mark.parametrize('where', ['another pid namespace', 'another host'])
def test_the_file_of_a_living_writer_stays(where: str, repository: Path, tmp_path: Path) -> None:
    if where == 'another host':
        found = driver(repository, tmp_path, 'writer elsewhere', '--uts', 'hostname elsewhere; exec "$@"')
    else:
        found = driver(repository, tmp_path, 'writer elsewhere', '--mount-proc', 'exec "$@"')
    assert found == {'value': 'whole', 'files': 1, 'begun': {'Slowly': 1, 'Unrelated': 1}}


def test_a_pid_that_is_in_use_again_keeps_nothing(repository: Path, tmp_path: Path) -> None:
    found = driver(repository, tmp_path, 'pid in use again', within=tuple(NAMESPACES))
    assert found == {'litter': True, 'left': [], 'value': 'whole'}
