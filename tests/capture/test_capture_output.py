"""What tasks print in any way, in scripts and terminals, threads, workers: kept with the task, told, shown as ever."""

from __future__ import annotations

import fcntl
import json
import os
import struct
import subprocess
import sys
import termios
from pathlib import Path
from typing import Any

import pytest

from tests.capture.capture_pipeline import TEXTS, expected

ROOT = Path(__file__).parents[2]
PIPELINE = Path(__file__).with_name('capture_pipeline.py')
pytestmark = pytest.mark.skipif(os.name == 'nt', reason='descriptors are not taken over on Windows')


def _without_unbuffered() -> dict[str, str]:
    """The environment, but C code keeps what it prints in a buffer, as it does for most people."""
    return {name: value for name, value in os.environ.items() if name != 'PYTHONUNBUFFERED'}


def _run(place: Path, script: Path | str, *arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(script), *arguments],
        cwd=place,
        env={**_without_unbuffered(), 'PYTHONPATH': str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
        **options,
    )


def _report(place: Path) -> dict[str, Any]:
    report: dict[str, Any] = json.loads((place / 'report.json').read_text())
    return report


def _without_newline(lines: list[str]) -> str:
    return '\n'.join(lines) + '\n'


@pytest.fixture(scope='module', params=[{}, {'workers': 2}])
def built(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A build of the pipeline as a script: its options, what it displayed, what it tells."""
    place = tmp_path_factory.mktemp('built')
    result = _run(place, PIPELINE, json.dumps(request.param))
    assert result.returncode == 0, result.stderr
    return request.param, result, _report(place)


def test_all_that_a_task_prints_is_kept_with_it_in_order(built: Any) -> None:
    _, _, report = built
    for n in range(3):
        assert [text for _, text in report['kept'][str(n)]] == expected(n)
        sources = {source for source, _ in report['kept'][str(n)]}
        assert sources == {'stdout', 'stderr', 'log'}
    assert report['all'] == ['last words']
    assert report['quiet'] == 0


def test_listeners_are_told_the_same(built: Any) -> None:
    _, _, report = built
    for n in range(3):
        assert report['of'][str(n)] == expected(n)
    assert all(name in ('Loud', 'All') for name, _ in report['heard'])


def test_a_build_leaves_streams_descriptors_and_threads_as_found(built: Any) -> None:
    assert built[2]['unchanged']


def test_inline_output_is_shown_as_ever_and_that_of_workers_is_not(built: Any) -> None:
    options, result, _ = built
    if options:
        assert result.stdout == 'before\nafter\n'
        assert result.stderr == ''
        return
    of_stdout = [text for text in TEXTS if text not in ('error stream', 'warned', 'logged', 'error of a child')]
    shown = ''.join(''.join(f'{text} {n}\n' for text in of_stdout)[:-1] for n in range(3))
    assert result.stdout == f'before\n{shown}after\n'
    assert [line for line in result.stderr.split('\n') if 'UserWarning' not in line] == [
        *(f'{text} {n}' for n in range(3) for text in ('error stream', 'error of a child')),
        'last words',
        '',
    ]


def test_in_threads_what_python_prints_goes_to_the_task_and_the_rest_to_the_build(tmp_path: Path) -> None:
    result = _run(tmp_path, PIPELINE, json.dumps({'executor': 'threads', 'workers': 2}))
    assert result.returncode == 0, result.stderr
    report = _report(tmp_path)
    known = ['printed 0', 'error stream 0', 'file 0.py:1: UserWarning: warned 0', 'logged 0', 'no newline 0']
    kept = [text for _, text in report['kept']['0']]
    # what a thread prints, and the end of its line, may be of the task or of the build
    assert [text for text in kept if text not in ('in a thread 0', '')] == known
    # a line that a thread prints piece by piece may have another's between its pieces
    of_build = '\n'.join(text for name, text in report['heard'] if name == '')
    for text in ('descriptor 0', 'from C 1', 'from a child 2', 'error of a child 0', 'last words'):
        assert text in of_build
    assert report['unchanged']
    for n in range(3):
        for text in TEXTS:
            if text not in ('logged', 'warned'):
                assert f'{text} {n}' in result.stdout + result.stderr


def _in_terminal(place: Path, code: str, answer: bytes = b'') -> str:
    """Run a script in a terminal of 133 columns; gives what that shows."""
    script = place / 'script.py'
    script.write_text(code)
    master, slave = os.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack('HHHH', 40, 133, 0, 0))
    process = subprocess.Popen(
        [sys.executable, str(script)],
        cwd=place,
        env=os.environ | {'PYTHONPATH': str(ROOT)},
        stdin=slave,
        stdout=slave,
        stderr=slave,
        start_new_session=True,
    )
    os.close(slave)
    shown = b''
    while True:
        try:
            shown += os.read(master, 65536)
        except OSError:  # nobody has it open any more
            break
        if answer and b'?' in shown:
            os.write(master, answer)
            answer = b''
    os.close(master)
    assert process.wait(30) == 0, shown.decode()
    return shown.decode().replace('\r\n', '\n')


TERMINAL = """
import os, subprocess, sys
import kartnb

class Asking(kartnb.TaskOnKart):
    def run(self):
        print(sys.stdout.isatty(), os.isatty(1), os.get_terminal_size(2).columns)
        os.write(1, b'first\\n')
        print('second')
        os.write(2, b'third\\n')
        sys.stderr.write('fourth\\n')
        subprocess.run([sys.executable, '-c', 'import sys; print("child", sys.stdout.isatty())'])
        print('hello', input('name? '))
        self.dump(1)

kartnb.build(Asking())
print([line.text for line in kartnb.logs(Asking())][:6])
"""


def test_in_a_terminal_there_is_still_a_terminal_and_the_order_holds(tmp_path: Path) -> None:
    shown = _in_terminal(tmp_path, TERMINAL, b'you\n')
    lines = shown.split('\n')
    assert lines[:6] == ['True True 133', 'first', 'second', 'third', 'fourth', 'child True']
    assert 'hello you' in lines
    assert lines[-2] == str(lines[:6])
    assert '\x1b]' not in shown


CRASH = """
import ctypes, faulthandler, os
import kartnb

class Crashing(kartnb.TaskOnKart):
    def run(self):
        print('printed', flush=True)
        os.write(2, b'before the crash\\n')
        ctypes.string_at(0)

faulthandler.enable()
kartnb.build(Crashing())
"""


def test_the_last_words_of_a_crash_are_shown(tmp_path: Path) -> None:
    (tmp_path / 'script.py').write_text(CRASH)
    result = _run(tmp_path, 'script.py')
    assert result.returncode < 0
    assert result.stdout == 'printed\n'
    assert result.stderr.startswith('before the crash\nFatal Python error: Segmentation fault\n')
    assert 'in run' in result.stderr


INTERRUPT = """
import os, signal, sys, time
import kartnb

class Slow(kartnb.TaskOnKart):
    def run(self):
        print('printed')
        os.write(1, b'written')
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(10)

class Replacing(kartnb.TaskOnKart):
    def run(self):
        print('heard')
        sys.stdout = open('elsewhere', 'w')
        print('not shown')

class After(kartnb.TaskOnKart):
    def run(self):
        print('heard too')
        self.dump(1)

before = os.fstat(1), dict(vars(sys.stdout)), sys.stdout
try:
    kartnb.build(Slow())
except KeyboardInterrupt:
    pass
assert (os.fstat(1), dict(vars(sys.stdout)), sys.stdout) == before
assert [line.text for line in kartnb.logs(Slow())] == ['printed', 'written', 'KeyboardInterrupt'], kartnb.logs(Slow())
try:
    kartnb.build(Replacing())
except kartnb.GokartBuildError:
    pass
assert (os.fstat(1), dict(vars(sys.stdout)), sys.stdout) == before, 'put back after the task'
kartnb.build(After())
assert (os.fstat(1), dict(vars(sys.stdout)), sys.stdout) == before
assert kartnb.logs(Replacing())[0].text == 'heard', kartnb.logs(Replacing())
assert [line.text for line in kartnb.logs(After())] == ['heard too']
assert open('elsewhere').read() == 'not shown\\n'
print('right')
"""


def test_after_an_interrupt_and_after_a_task_has_replaced_a_stream_all_is_as_it_was(tmp_path: Path) -> None:
    (tmp_path / 'script.py').write_text(INTERRUPT)
    result = _run(tmp_path, 'script.py')
    assert result.stderr == ''
    assert result.stdout == 'printed\nwrittenheard\nheard too\nright\n'


SLOW = """
import os, threading, time
import kartnb
from kartnb.capture import taps as output_taps
from kartnb.capture.taps import DescriptorTap

slow = threading.Event()

def slowly(function):
    def slower(*arguments):
        result = function(*arguments) if function is DescriptorTap.end else None
        if threading.current_thread().name == 'kartnb output' and not slow.is_set():
            slow.set()
            time.sleep(0.3)
        return function(*arguments) if result is None else result
    return slower

class Printing(kartnb.TaskOnKart):
    def run(self):
        if KIND == 'between reading and giving':
            os.write(1, b'first\\n')
            slow.wait()
            print('second')
        else:
            slow.wait()
            os.write(1, b'first\\n')
            os.write(2, b'second\\n')
            time.sleep(0.6)
        self.dump(1)

if KIND == 'between reading and giving':
    output_taps.OutputTaps._give = slowly(output_taps.OutputTaps._give)
else:
    DescriptorTap.end = slowly(DescriptorTap.end)
kartnb.build(Printing())
print([line.text for line in kartnb.logs(Printing())])
"""


@pytest.mark.parametrize('kind', ['between reading and giving', 'between two looks'])
def test_the_order_holds_when_the_thread_that_reads_is_slow(tmp_path: Path, kind: str) -> None:
    (tmp_path / 'script.py').write_text(SLOW.replace('KIND', repr(kind)))
    result = _run(tmp_path, 'script.py')
    assert result.stdout.splitlines()[-1] == "['first', 'second']", result.stderr


def test_closed_and_missing_streams_are_no_trouble(tmp_path: Path) -> None:
    code = (
        'import os, sys, kartnb\n'
        'sys.stdout = None\n'
        'os.close(1)\n'
        'class T(kartnb.TaskOnKart):\n'
        '    def run(self):\n'
        "        sys.stderr.write('heard')\n"
        '        self.dump(1)\n'
        'kartnb.build(T())\n'
        "assert [line.text for line in kartnb.logs(T())] == ['heard']\n"
    )
    (tmp_path / 'script.py').write_text(code)
    result = _run(tmp_path, 'script.py')
    assert (result.returncode, result.stderr) == (0, 'heard')
