"""Files appear whole or not at all, and nothing is left behind."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from kartnb.errors import StorageError
from kartnb.storage.files import SUFFIX, is_temporary, sweep_litter, temporary_name
from kartnb.storage.filesystem import file_system, local_path

LOCAL = file_system('anything')


def test_a_file_takes_its_place_when_all_went_well() -> None:
    with LOCAL.writing('deep/down/a') as file:
        file.write(b'x')
        assert not Path('deep/down/a').exists()
        (name,) = os.listdir('deep/down')
        assert is_temporary(name)
        assert local_path(file) == f'deep/down/{name}'
    assert Path('deep/down/a').read_bytes() == b'x'
    assert os.listdir('deep/down') == ['a']


@pytest.mark.parametrize('error', [ValueError, KeyboardInterrupt, SystemExit])
def test_a_file_is_discarded_when_not(error: type[BaseException]) -> None:
    LOCAL.write_bytes('a', b'old')

    def write_half() -> None:
        with LOCAL.writing('a') as file:
            file.write(b'half')
            raise error

    with pytest.raises(error):
        write_half()
    assert os.listdir() == ['a']
    assert LOCAL.read_bytes('a') == b'old'


def test_a_whole_file_at_once() -> None:
    LOCAL.write_bytes('deep/a', b'x' * 100_000, scratch='deep')
    assert LOCAL.read_bytes('deep/a') == b'x' * 100_000
    assert LOCAL.size('deep/a') == 100_000
    assert abs(LOCAL.modified('deep/a').timestamp() - time.time()) < 60
    assert LOCAL.names('deep') == {'a'}
    LOCAL.remove('deep/a')
    assert LOCAL.names('deep') == set()
    assert LOCAL.names('nowhere') == set()
    for act in (LOCAL.read_bytes, LOCAL.size, LOCAL.modified, LOCAL.remove):
        with pytest.raises(FileNotFoundError, match='nowhere'):
            act('nowhere')  # type: ignore[operator]


@pytest.mark.skipif(not hasattr(signal, 'setitimer'), reason='platform: there is no such clock')
def test_no_interrupt_leaves_a_file_open() -> None:
    class InterruptError(Exception):
        pass

    def interrupt(*_: object) -> None:
        raise InterruptError

    before = signal.signal(signal.SIGALRM, interrupt)
    LOCAL.write_bytes('a', b'x')
    opened = len(os.listdir('/dev/fd'))
    interrupts = 0
    try:
        while interrupts < 1_000:  # of those, some 200 come while a file is opened
            try:
                signal.setitimer(signal.ITIMER_REAL, random.uniform(10e-6, 100e-6))
                while True:
                    LOCAL.write_bytes('a', b'x')
                    LOCAL.seen('a')
            except InterruptError:
                interrupts += 1
    finally:
        signal.signal(signal.SIGALRM, before)
    assert len(os.listdir('/dev/fd')) == opened


def test_a_directory_that_vanished_is_made_again() -> None:
    LOCAL.write_bytes('d/a', b'1')
    shutil.rmtree('d')
    LOCAL.write_bytes('d/a', b'2')
    shutil.rmtree('d')
    with LOCAL.writing('d/a') as file:
        file.write(b'3')
    assert LOCAL.read_bytes('d/a') == b'3'


def test_a_temporary_file_can_lie_elsewhere() -> None:
    os.makedirs('log/task_log')
    with LOCAL.writing('log/task_log/a', scratch='log') as file:
        file.write(b'x')
        assert os.listdir('log/task_log') == []
    assert os.listdir('log') == ['task_log']
    assert os.listdir('log/task_log') == ['a']


def test_temporary_names_do_not_come_from_random() -> None:
    names = set()
    for _ in range(100):
        random.seed(0)
        names.add(temporary_name('a'))
    assert len(names) == 100
    random.seed(0)
    before = random.getstate()
    LOCAL.write_bytes('a', b'')
    assert random.getstate() == before


def test_temporary_names_fit_into_every_directory() -> None:
    name = temporary_name('日本' * 200)
    assert len(name.encode()) < 255
    assert is_temporary(name)
    LOCAL.write_bytes('日' * 80, b'x')
    assert LOCAL.names('.') == {'日' * 80}


def test_writers_of_one_file_do_not_mix() -> None:
    """gokart's temporary names repeat after a task has seeded `random`, and two writers mix their bytes."""
    failures: list[BaseException] = []

    def write(byte: bytes) -> None:
        try:
            for _ in range(30):
                random.seed(0)
                with LOCAL.writing('shared') as file:
                    for _ in range(20):
                        file.write(byte * 5000)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=write, args=(bytes([i]),)) for i in range(4)]
    for thread in threads:
        thread.start()
    seen = set()
    while any(thread.is_alive() for thread in threads):
        if os.path.exists('shared'):
            seen.add(LOCAL.read_bytes('shared'))
    assert failures == []
    assert seen <= {bytes([i]) * 100_000 for i in range(4)}
    assert os.listdir() == ['shared']


WRITER = """
import sys, time
from kartnb.storage.filesystem import file_system
with file_system('.').writing('result.pkl') as file:
    file.write(b'half of it')
    file.flush()
    print('writing', flush=True)
    time.sleep(60)
"""


def killed_writer(repository: Path) -> None:
    writer = subprocess.Popen(
        [sys.executable, '-c', WRITER], stdout=subprocess.PIPE, env={**os.environ, 'PYTHONPATH': str(repository)}
    )
    assert writer.stdout is not None
    assert writer.stdout.readline() == b'writing\n'
    writer.send_signal(signal.SIGTERM if os.name == 'nt' else signal.SIGKILL)
    writer.wait()
    writer.stdout.close()


def test_a_killed_process_leaves_no_result_and_its_litter_is_swept() -> None:
    killed_writer(Path(__file__).parents[2])
    (name,) = os.listdir()
    assert is_temporary(name)
    assert not LOCAL.exists('result.pkl')
    assert sweep_litter('.', os.listdir()) == [name]
    assert os.listdir() == []


def test_the_first_write_to_a_directory_sweeps_it() -> None:
    dead = temporary_name('a').replace(f'-{os.getpid()}-', '-999999999-')
    here = os.path.abspath('.')
    Path(dead).touch()
    LOCAL.write_bytes(os.path.join(here, 'a'), b'x')
    assert os.listdir() == ['a']


def test_what_a_living_process_writes_is_not_swept() -> None:
    with LOCAL.writing('a') as file:
        file.write(b'x')
        assert sweep_litter('.', os.listdir()) == []
    assert LOCAL.read_bytes('a') == b'x'


def test_old_litter_of_other_computers_is_swept() -> None:
    foreign = f'.a.pkl.00000000-1-{"0" * 16}{SUFFIX}'
    strange = f'a.pkl{SUFFIX}'
    for name in (foreign, strange, '.hidden', 'result.pkl'):
        Path(name).touch()
    assert sweep_litter('.', os.listdir()) == []
    long_ago = time.time() - 2 * 24 * 3600
    for name in os.listdir():
        os.utime(name, (long_ago, long_ago))
    assert sweep_litter('.', os.listdir()) == [foreign]
    assert sorted(os.listdir()) == ['.hidden', strange, 'result.pkl']


FILL_THE_DISK = """
from kartnb.storage.targets import make_target
import os
target = make_target('full/a.pkl')
target.dump('small')
for value in (b'x' * 1_000_000, ['x' * 1_000_000] * 2, [str(i) for i in range(200_000)]):
    try:
        target.dump(value)
    except OSError as error:
        print(type(error).__name__, error.errno, error, flush=True)
print(target.load(), os.listdir('full'))
"""


def test_a_full_disk() -> None:
    if shutil.which('unshare') is None or subprocess.run(['unshare', '-Urm', 'true'], capture_output=True).returncode:
        pytest.skip('platform: no small disk can be mounted')
    os.mkdir('full')
    Path('fill.py').write_text(FILL_THE_DISK)
    command = f'mount -t tmpfs -o size=64k tmpfs full && {sys.executable} fill.py'
    done = subprocess.run(
        ['unshare', '-Urm', 'sh', '-c', command],
        capture_output=True,
        text=True,
        env={**os.environ, 'PYTHONPATH': str(Path(__file__).parents[2])},
    )
    sentence = (
        'StorageError 28 full/a.pkl cannot be written, the disk is full: '
        'free some space and build again; what is there is kept'
    )
    assert done.stdout.splitlines() == [sentence] * 3 + ["small ['a.pkl']"], done.stderr


def test_a_path_with_a_scheme_that_nobody_knows() -> None:
    with pytest.raises(StorageError, match='nosuch://'):
        file_system('nosuch://a/b')
