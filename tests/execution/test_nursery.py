"""Workers that are forked are as new ones, whatever happened before them, and no process outlives its purpose."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import luigi
import pytest

import kartnb
from kartnb.execution.workers import nursery
from tests.machine import is_alive

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.skipif(sys.platform != 'linux', reason='workers are forked on Linux only')


class Telling(kartnb.TaskOnKart[dict[str, Any]]):
    """Tells of the process that it runs in, and changes what it can."""

    n = luigi.IntParameter()

    def run(self) -> None:
        import random

        import numpy as np

        sys.modules['kartnb_test_mark'] = sys  # type: ignore[assignment]
        told = {
            'pid': os.getpid(),
            'nursery': os.getppid(),
            'mark': os.environ.get('KARTNB_TEST_MARK'),
            'directory': os.getcwd(),
            'in_vain': sys.modules.keys() & {'lark', 'kartnb.planning.graph'},
        }
        os.environ['KARTNB_TEST_MARK'] = 'left by a task'
        random.seed(1)
        np.random.seed(1)
        np.seterr(all='raise')
        os.umask(0o077)
        self.dump(told)


_numbers = iter(range(1_000_000))


def _told(**parameters: Any) -> dict[str, Any]:
    return kartnb.build(Telling(n=next(_numbers), **parameters), workers=2)


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    nursery.retire_nurseries()


def _until(condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 30
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.02)
    return condition()


def test_workers_of_two_builds_are_two_processes_from_one_nursery() -> None:
    first, second = _told(), _told()
    assert first['nursery'] == second['nursery']
    assert first['pid'] != second['pid']
    assert second['mark'] is None
    assert _until(lambda: not is_alive(second['pid']))
    assert is_alive(second['nursery'])


def test_workers_import_neither_the_planner_nor_the_slow_part_of_what_luigi_imports() -> None:
    # luigi's jsonschema, where JupyterLab is installed, compiles a grammar: that takes longer than all else
    pytest.importorskip('rfc3987_syntax')
    assert not _told()['in_vain']


def test_a_module_that_was_changed_is_imported_as_it_is_now(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(place))
    monkeypatch.setattr(sys, 'dont_write_bytecode', True)
    module = place / 'kartnb_test_module.py'

    class Using(kartnb.TaskOnKart[Any]):
        n = luigi.IntParameter()

        def run(self) -> None:
            import kartnb_test_module

            kartnb_test_module.COUNT.append(1)
            self.dump([os.getppid(), kartnb_test_module.VALUE, len(kartnb_test_module.COUNT)])

    found = []
    for value in (1, 2):
        module.write_text(f'VALUE = {value}\nCOUNT = []\n')
        found.append(kartnb.build(Using(n=value), workers=2))
    assert [rest for _, *rest in found] == [[1, 1], [2, 1]]
    assert found[0][0] == found[1][0], 'from one nursery'


def test_a_class_that_was_defined_again_runs_as_it_is_now() -> None:
    found = []
    for value in (1, 2):

        class Again(kartnb.TaskOnKart[int]):
            def run(self, value: int = value) -> None:
                self.dump(value)

        found.append(kartnb.build(Again(rerun=True), workers=2))
    assert found == [1, 2]


def test_what_the_process_has_set_meanwhile_holds_in_workers(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = _told()
    monkeypatch.setenv('KARTNB_TEST_MARK', 'new')
    after = _told()
    assert (before['mark'], after['mark']) == (None, 'new')
    (place / 'elsewhere').mkdir()
    monkeypatch.chdir(place / 'elsewhere')
    last = _told()
    assert last['directory'] == str(place / 'elsewhere')
    assert last['nursery'] != before['nursery']
    assert _until(lambda: not is_alive(before['nursery'])), 'what serves no more does not stay'


def test_who_draws_numbers_without_a_seed_draws_others_in_each_worker() -> None:
    class Drawing(luigi.Task):
        n = luigi.IntParameter()

        def output(self) -> Any:
            return luigi.LocalTarget(f'{self.n}.txt')

        def run(self) -> None:
            import random

            import numpy as np

            with self.output().open('w') as file:
                file.write(f'{random.random()} {np.random.rand()}')

    drawn = set()
    for n in range(3):
        kartnb.build(Drawing(n=n), workers=2, return_value=False)
        drawn.update(Path(f'{n}.txt').read_text().split())
    assert len(drawn) == 6


def test_workers_are_there_again_after_their_nursery_was_killed() -> None:
    first = _told()
    os.kill(first['nursery'], signal.SIGKILL)
    second = _told()
    assert second['nursery'] != first['nursery']


def test_a_build_goes_on_without_its_nursery() -> None:
    class Killing(kartnb.TaskOnKart[int]):
        def run(self) -> None:
            os.kill(os.getppid(), signal.SIGKILL)
            time.sleep(0.2)
            self.dump(1)

    class Both(kartnb.TaskOnKart[int]):
        def requires(self) -> Any:
            return Killing()

        def run(self) -> None:
            self.dump(self.load() + 1)

    assert kartnb.build(Both(), workers=2) == 2
    assert _told()['pid']


def test_a_nursery_ends_when_nobody_wants_it_any_more(monkeypatch: pytest.MonkeyPatch) -> None:
    first = _told()
    nursery.retire_nurseries()
    assert _until(lambda: not is_alive(first['nursery']))
    monkeypatch.setattr(nursery, 'IDLE', 0.3)
    second = _told()
    assert _until(lambda: not is_alive(second['nursery']))
    assert _told()['nursery'] not in (first['nursery'], second['nursery'])


def test_a_forked_process_leaves_the_nursery_to_its_parent() -> None:
    first = _told()
    child = os.fork()
    if not child:
        os._exit(len(nursery._nurseries))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert _told()['nursery'] == first['nursery']


SCRIPT = """
import os, subprocess, sys, time
import kartnb

class Slow(kartnb.TaskOnKart):
    def run(self):
        child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(100)'])
        with open('pids.tmp', 'w') as file:
            file.write(f'{os.getpid()} {os.getppid()} {child.pid}')
        os.rename('pids.tmp', 'pids')
        END

kartnb.build(Slow(), workers=2, BACKGROUND)
WAIT
"""


def _script(place: Path, **parts: str) -> subprocess.Popen[bytes]:
    text = SCRIPT
    for name in ('BACKGROUND', 'WAIT', 'END'):
        text = text.replace(name, parts.get(name, ''))
    (place / 'script.py').write_text(textwrap.dedent(text))
    return subprocess.Popen([sys.executable, 'script.py'], cwd=place, env=os.environ | {'PYTHONPATH': str(ROOT)})


def test_no_process_is_left_when_the_process_that_builds_is_killed(place: Path) -> None:
    process = _script(place, END='time.sleep(100)')
    assert _until((place / 'pids').exists)
    process.kill()
    process.wait()
    pids = [int(pid) for pid in (place / 'pids').read_text().split()]
    assert _until(lambda: not any(map(is_alive, pids)))


@pytest.mark.parametrize('end', ['child.kill(); self.dump(1)', 'time.sleep(100)'])
def test_no_process_is_left_when_the_process_that_builds_ends(place: Path, end: str) -> None:
    wait = 'while not os.path.exists("pids"): time.sleep(0.05)'
    in_background = 'time.sleep' in end
    process = _script(place, END=end, BACKGROUND='background=True' if in_background else '', WAIT=wait)
    assert process.wait(60) == 0
    pids = [int(pid) for pid in (place / 'pids').read_text().split()]
    assert _until(lambda: not any(map(is_alive, pids)))
