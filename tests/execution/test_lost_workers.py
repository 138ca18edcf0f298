"""Workers that die or cannot be reached any more: the task fails with one sentence, and nothing goes on behind it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import luigi
import pytest

import kartnb
from kartnb.errors import StorageError, WorkerDiedError
from kartnb.execution.workers import nursery
from tests.faults.builders import until
from tests.machine import is_alive

pytestmark = pytest.mark.skipif(sys.platform != 'linux', reason='workers are forked on Linux only')


class Closing(kartnb.TaskOnKart[int]):
    """The first time, it closes the descriptors of kartnb, and goes on."""

    place = luigi.Parameter(significant=False)

    def run(self) -> None:
        runs = Path(self.place)
        number = len(runs.read_text().split()) if runs.exists() else 0
        runs.write_text(f'{runs.read_text() if number else ""} {os.getpid()}')
        if number == 0:
            os.closerange(3, 256)
            time.sleep(60)
        self.dump(number)


def test_a_worker_that_closed_its_connection_does_not_go_on(tmp_path: Path) -> None:
    task = Closing(place=str(tmp_path / 'runs'))
    with pytest.raises(
        kartnb.GokartBuildError, match='may close only the file descriptors that it has opened'
    ) as caught:
        kartnb.build(task, workers=2)
    assert isinstance(caught.value.__cause__, WorkerDiedError)
    assert not is_alive(int((tmp_path / 'runs').read_text()))
    assert kartnb.build(task, workers=2) == 1


class Dying(kartnb.TaskOnKart[int]):
    """It ends its process: by a signal, or else with exit code 3."""

    by = luigi.IntParameter()

    def run(self) -> None:
        if self.by:
            os.kill(os.getpid(), self.by)
        os._exit(3)


@pytest.mark.parametrize(
    'by, said',
    [
        (0, 'it has ended itself with exit code 3'),
        (signal.SIGKILL, 'SIGKILL: killed by somebody, or by the system because memory ran out'),
        (signal.SIGSEGV, 'SIGSEGV: it crashed'),
        (signal.SIGTERM, 'SIGTERM'),
    ],
)
def test_it_is_said_how_a_worker_has_died(by: int, said: str) -> None:
    message = re.escape(f'The worker process that ran this task died ({said})')
    # the nursery says it, unless that is in the midst of a long import
    until(lambda: nursery.nursery_for().status.state == 'ready')
    with pytest.raises(kartnb.GokartBuildError, match=message):
        kartnb.build(Dying(by=by), workers=2)


class Parent(kartnb.TaskOnKart[int]):
    """It dies and leaves a child."""

    forks = luigi.BoolParameter()
    place = luigi.Parameter(significant=False)

    def run(self) -> None:
        child = 0 if self.forks else subprocess.Popen(['sleep', '20'], close_fds=False).pid
        if self.forks and not (child := os.fork()):
            time.sleep(20)
            os._exit(0)
        Path(self.place).write_text(str(child))
        os._exit(1)


@pytest.mark.parametrize('forks', [True, False])
def test_the_death_of_a_worker_is_noticed_while_its_child_lives(forks: bool, tmp_path: Path) -> None:
    place = tmp_path / 'child'
    with pytest.raises(kartnb.GokartBuildError, match='The worker process that ran this task died'):
        kartnb.build(Parent(forks=forks, place=str(place)), workers=2)
    child = int(place.read_text())
    assert is_alive(child)
    open_files = [os.readlink(path) for path in Path(f'/proc/{child}/fd').iterdir()]
    os.kill(child, signal.SIGKILL)
    # each connection that a child keeps is waited for some seconds
    assert not [name for name in open_files if name.startswith('socket:')]


class Reusing(kartnb.TaskOnKart[int]):
    """It closes the file of its run, and opens another one that gets the same number."""

    place = luigi.Parameter(significant=False)

    def run(self) -> None:
        own = os.open(self.place, os.O_RDWR | os.O_CREAT)
        os.write(own, b'precious' * 1000)
        for number in range(3, 256):
            with suppress(OSError):
                if 'run_record' in os.readlink(f'/proc/self/fd/{number}'):
                    os.dup2(own, number)
        self.dump(1)


@pytest.mark.parametrize('workers', [1, 2])
def test_a_file_that_got_the_number_of_a_closed_one_is_not_written_to(workers: int, tmp_path: Path) -> None:
    with pytest.raises(kartnb.GokartBuildError, match='was closed while its task ran') as caught:
        kartnb.build(Reusing(place=str(tmp_path / 'own')), workers=workers)
    assert isinstance(caught.value.__cause__, StorageError)
    assert (tmp_path / 'own').read_bytes() == b'precious' * 1000
    assert not Reusing(place='').complete()


class Returning(kartnb.TaskOnKart[int]):
    """The process that it forks goes on where it does, or fails."""

    how = luigi.Parameter()

    def run(self) -> None:
        child = os.fork()
        if child == 0:
            if self.how == 'fails':
                raise ValueError('in the child')
            if self.how == 'exits':
                sys.exit(3)
            return
        _, status = os.waitpid(child, 0)
        self.dump(os.waitstatus_to_exitcode(status))


@pytest.mark.parametrize('workers', [1, 2])
@pytest.mark.parametrize('how, code', [('returns', 0), ('fails', 1), ('exits', 1)])
def test_a_forked_process_does_not_come_back_from_a_run(how: str, code: int, workers: int) -> None:
    assert kartnb.build(Returning(how=how), workers=workers) == code
    assert kartnb.plan(Returning(how=how)).root.state is kartnb.TaskState.CACHED
