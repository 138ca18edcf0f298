"""What workers come from has imported this process's libraries, and no import keeps workers away."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import luigi
import pytest

import kartnb
from kartnb.execution.workers import nursery, process_pool
from kartnb.model import WorkersStarting
from tests.machine import is_alive

ROOT = Path(__file__).parents[2]
on_linux = pytest.mark.skipif(sys.platform != 'linux', reason='workers are forked on Linux only')

_numbers = count()
#: In a library: whether it is imported in another process than that of the test.
ELSEWHERE = f'import os, time, threading, socket\nHERE = os.getpid() == {os.getpid()}\n'


class Telling(kartnb.TaskOnKart[dict[str, Any]]):
    """Says in which process libraries were imported, and what this worker has."""

    n = luigi.IntParameter()
    libraries: Any = luigi.ListParameter(significant=False)

    def run(self) -> None:
        loaded = {name: getattr(sys.modules.get(name), 'PID', None) for name in self.libraries}
        environment = os.environ.get('OPENBLAS_NUM_THREADS')
        self.dump({'pid': os.getpid(), 'nursery': os.getppid(), 'share': environment, **loaded})


def told(*libraries: str, **options: Any) -> dict[str, Any]:
    return kartnb.build(Telling(n=next(_numbers), libraries=libraries), **{'workers': 2, **options})


def until(condition: Callable[[], object]) -> bool:
    deadline = time.monotonic() + 30
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.02)
    return bool(condition())


def is_warm() -> bool:
    return nursery.nursery_for().status.state == 'ready'


class Installed:
    """A directory of libraries, and the modules of the user's beside it."""

    def __init__(self, place: Path) -> None:
        self.own = place
        self.place = place / 'site-packages'
        self.place.mkdir()
        self.names: list[str] = []

    def add(self, name: str, code: str = '', own: bool = False) -> str:
        """Write and import a module."""
        path = (self.own if own else self.place) / f'{name}.py'
        path.write_text(f'{ELSEWHERE}PID = os.getpid()\n{code}\n')
        importlib.invalidate_caches()
        importlib.import_module(name)
        self.names.append(name)
        return name


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Installed]:
    monkeypatch.chdir(tmp_path)
    found = Installed(tmp_path)
    monkeypatch.syspath_prepend(str(found.own))
    monkeypatch.syspath_prepend(str(found.place))
    monkeypatch.setattr(sys, 'dont_write_bytecode', True)
    yield found
    process_pool.retire_workers()
    for name in found.names:
        sys.modules.pop(name, None)


@on_linux
def test_libraries_are_imported_once_and_a_running_nursery_imports_more(installed: Installed) -> None:
    first = installed.add('kartnb_test_first')
    mine = installed.add('kartnb_test_mine', own=True)
    process_pool.get_ready()
    assert until(is_warm)
    before = told(first, mine)
    assert before[first] == before['nursery']
    assert before[mine] is None, 'what the user works on is imported when a task needs it'
    second = installed.add('kartnb_test_second')
    process_pool.get_ready()
    assert until(is_warm)
    after = told(first, second)
    assert after[first] == after[second] == after['nursery'] == before['nursery']


@on_linux
def test_workers_do_not_look_through_the_libraries_again(installed: Installed) -> None:
    library = installed.add('kartnb_test_seen')
    assert until(is_warm)
    worker = nursery.ForkedWorker({}, lambda: None)
    code = f"__import__('kartnb.task.code.loaded', fromlist='*')._looked_at.get('{library}') is not None"
    try:
        assert worker.submit(eval, code).result(60) is True  # type: ignore[arg-type,comparison-overlap]
    finally:
        worker.shutdown()


@on_linux
def test_a_worker_waits_for_the_libraries_that_its_tasks_use_and_no_others(installed: Installed) -> None:
    slow = installed.add('kartnb_test_slow', 'HERE or time.sleep(0.5)')
    needed = installed.add('kartnb_test_needed', 'HERE or time.sleep(0.5)')

    class Using(kartnb.TaskOnKart[Any]):
        def run(self) -> None:
            import kartnb_test_needed as used

            self.dump((os.getppid() == used.PID, 'kartnb_test_slow' in sys.modules))

    assert {slow, needed} <= sys.modules.keys()
    assert kartnb.build(Using(), workers=2) == (True, False)


@on_linux
@pytest.mark.parametrize(
    'code',
    [
        'HERE or threading.Thread(target=time.sleep, args=(100,), daemon=True).start()',
        'PAIR = None if HERE else socket.socketpair()',
        'HERE or os._exit(3)',
        'HERE or os.abort()',
        'HERE or time.sleep(100)',
    ],
    ids=['thread', 'connection', 'exit', 'abort', 'hang'],
)
def test_a_library_that_cannot_be_imported_before_a_fork_is_left_out(
    installed: Installed, monkeypatch: pytest.MonkeyPatch, code: str
) -> None:
    monkeypatch.setattr(nursery, 'HANGING', 1.0)
    good = installed.add('kartnb_test_good')
    bad = installed.add('kartnb_test_' + str(abs(hash(code))), code)
    last = installed.add('kartnb_test_last')
    assert told(bad)[bad] is None
    assert until(is_warm)
    found = told(good, bad, last)
    assert (found[good], found[bad], found[last]) == (found['nursery'], None, found['nursery'])


@on_linux
def test_a_library_that_fails_or_prints_changes_nothing(
    installed: Installed, capfd: pytest.CaptureFixture[str]
) -> None:
    loud = installed.add('kartnb_test_loud', 'HERE or os.write(1, b"hello")')
    failing = installed.add('kartnb_test_failing', 'if not HERE: raise SystemExit(1)')
    process_pool.get_ready()
    assert until(is_warm)
    found = told(loud, failing)
    assert (found[loud], found[failing]) == (found['nursery'], None)
    assert 'hello' not in capfd.readouterr().out


@on_linux
def test_nothing_is_imported_ahead_where_the_configuration_says_so(
    installed: Installed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv('KARTNB_WARM_WORKERS', 'false')
    library = installed.add('kartnb_test_unwanted')
    told()
    assert until(is_warm)
    assert told(library)[library] is None
    monkeypatch.setenv('KARTNB_WARM_WORKERS', 'maybe')
    with pytest.raises(kartnb.errors.TaskSettingError, match="must be 'true' or 'false'"):
        told()


@on_linux
def test_workers_of_one_nursery_have_their_share_of_the_cores(
    installed: Installed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr('loky.cpu_count', lambda: 4)
    for name in nursery.THREAD_LIMITS:
        monkeypatch.delenv(name, raising=False)

    class Threads(kartnb.TaskOnKart[Any]):
        n = luigi.IntParameter()

        def run(self) -> None:
            import numpy as np
            from threadpoolctl import threadpool_info

            np.ones((2, 2)) @ np.ones((2, 2))
            limits = {pool['num_threads'] for pool in threadpool_info() if pool['user_api'] == 'blas'}
            self.dump((os.getppid(), os.environ['OPENBLAS_NUM_THREADS'], limits))

    alone, pair, four = (kartnb.build(Threads(n=n), executor='processes', workers=n) for n in (1, 2, 4))
    assert alone[0] == pair[0] == four[0]
    assert [found[1:] for found in (alone, pair, four)] == [('4', {4}), ('2', {2}), ('1', {1})]


@on_linux
def test_a_build_does_not_wait_for_the_end_of_its_workers(installed: Installed) -> None:
    class Lingering(kartnb.TaskOnKart[int]):
        def run(self) -> None:
            import atexit

            atexit.register(lambda: [time.sleep(0.05) for _ in range(1000) if not os.path.exists('go')])
            self.dump(os.getpid())

    worker = kartnb.build(Lingering(), workers=2)
    assert is_alive(worker)
    Path('go').touch()
    assert until(lambda: not is_alive(worker))


@on_linux
def test_a_script_ends_when_its_workers_have_ended(installed: Installed) -> None:
    Path('script.py').write_text(
        textwrap.dedent("""
        import atexit, os, time
        import kartnb

        def finish():
            time.sleep(0.5)
            open('finished', 'w').close()

        class Last(kartnb.TaskOnKart):
            def run(self):
                atexit.register(finish)
                self.dump(1)

        kartnb.build(Last(), workers=2)
        """)
    )
    subprocess.run([sys.executable, 'script.py'], env=os.environ | {'PYTHONPATH': str(ROOT)}, check=True, timeout=120)
    assert Path('finished').exists()


@on_linux
def test_a_nursery_stays_while_somebody_holds_it(installed: Installed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nursery, 'IDLE', 0.2)

    class Holder:
        pass

    holder = Holder()
    process_pool.keep_warm(holder)
    assert until(is_warm)
    found = told()
    time.sleep(1)
    assert is_alive(found['nursery'])
    del holder
    assert until(lambda: not is_alive(found['nursery']))


@on_linux
def test_a_build_says_how_long_the_start_of_its_workers_takes(installed: Installed) -> None:
    process_pool.retire_workers()
    events: list[Any] = []
    told(listeners=[events.append])
    cold = max(event.seconds for event in events if isinstance(event, WorkersStarting))
    assert until(is_warm)
    events.clear()
    told(listeners=[events.append])
    assert max(event.seconds for event in events if isinstance(event, WorkersStarting)) == 0.0 < cold


# ----- where processes are not forked ---------------------------------------------------------------------------------


@pytest.fixture
def by_loky(installed: Installed, monkeypatch: pytest.MonkeyPatch) -> Installed:
    monkeypatch.setattr(process_pool, '_CAN_FORK', False)
    return installed


def test_workers_of_loky_stay_for_later_builds(by_loky: Installed) -> None:
    first, second = told(), told()
    assert first['pid'] == second['pid']
    process_pool.retire_workers()
    assert until(lambda: not is_alive(first['pid']))


def test_workers_of_loky_are_new_where_a_new_process_would_be_another(
    by_loky: Installed, monkeypatch: pytest.MonkeyPatch
) -> None:
    pids = [told()['pid']]
    monkeypatch.setenv('KARTNB_TEST_MARK', 'new')
    pids.append(told()['pid'])
    monkeypatch.syspath_prepend(str(by_loky.own / 'elsewhere'))
    pids.append(told()['pid'])
    pids.append(told(workers=1, executor='processes')['pid'])
    assert len(set(pids)) == 4
    assert until(lambda: not any(map(is_alive, pids[:3]))), 'the earlier ones have ended'


def test_a_kept_worker_does_not_run_what_the_user_has_edited(by_loky: Installed) -> None:
    class Using(kartnb.TaskOnKart[Any]):
        n = luigi.IntParameter()

        def run(self) -> None:
            import kartnb_test_edited

            self.dump((os.getpid(), kartnb_test_edited.VALUE))

    module = by_loky.own / 'kartnb_test_edited.py'
    found = []
    for n, value in enumerate(('one', 'one', 'other')):
        module.write_text(f'VALUE = {value!r}\n')
        os.utime(module, ns=(len(value), len(value)))
        found.append(kartnb.build(Using(n=n), workers=2))
    assert [value for _, value in found] == ['one', 'one', 'other']
    assert found[0][0] == found[1][0] != found[2][0]


def test_a_worker_of_loky_that_died_between_builds_is_replaced(by_loky: Installed) -> None:
    first = told()
    os.kill(first['pid'], 9)
    assert until(lambda: not is_alive(first['pid']))
    assert told()['pid'] != first['pid']
