"""An interrupt at any moment of a build leaves nothing behind, and the next build works."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.notebook.kernel import Kernel, running_kernel

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.skipif(os.name == 'nt', reason='platform: POSIX signals and descriptors')

STATE = """
import gc, logging, os, random, signal, subprocess, sys, threading, time
import luigi
import kartnb
from kartnb.capture import capture

class Leaf(kartnb.TaskOnKart[int]):
    n = luigi.IntParameter()

    def run(self):
        print('printed', self.n)
        logging.getLogger('users').info('logged')
        os.chdir('/')
        self.set_status_message('on the way')
        self.dump(self.n)

class Top(kartnb.TaskOnKart[int]):
    n = luigi.IntParameter()

    def requires(self):
        return [Leaf(n=self.n), Leaf(n=self.n + 1)]

    def run(self):
        self.dump(sum(self.load()))

def threads():
    # the nursery stays for the next build
    return sorted(t.name for t in threading.enumerate() if 'kartnb' in t.name and t.name != 'kartnb nursery')

def state():
    root = logging.getLogger()
    deadline = time.monotonic() + 20
    while threads() and time.monotonic() < deadline:  # a build does not wait until its workers have ended
        time.sleep(0.01)
    return {
        'descriptors': [os.fstat(number)[:2] for number in (1, 2)],
        'handlers': [(id(handler), tuple(handler.filters)) for handler in root.handlers],
        'level': root.level,
        'streams': [(id(stream), sorted(vars(stream))) for stream in (sys.stdout, sys.stderr)],
        'signal': signal.getsignal(signal.SIGINT),
        'directory': os.getcwd(),
        'collects': gc.isenabled(),
        'threads': threads(),
        'captured': [list(capture._capture._builds), list(capture._capture._running), capture._capture._taps],
        'current': capture.current_task.get(),
        'random': random.getstate(),
    }

def difference(before):
    after = state()
    return {name: (before[name], after[name]) for name in before if before[name] != after[name]}
"""

POINTS = """
import warnings
warnings.simplefilter('ignore')

def build_interrupted_at(step, n):
    # raise the signal at one of the steps that Python takes in kartnb's code; gives where, None when there are fewer
    steps, where = 0, None
    def trace(frame, event, argument):
        nonlocal steps, where
        if not any(part in frame.f_code.co_filename for part in WHERE):
            return None
        steps += 1
        if steps == step:
            where = f'{frame.f_code.co_filename}:{frame.f_lineno}'
            sys.settrace(None)
            signal.raise_signal(signal.SIGINT)
        return trace
    sys.settrace(trace)
    try:
        kartnb.build(Leaf(n=n))
    except KeyboardInterrupt:
        pass
    finally:
        sys.settrace(None)
    return where

WHERE = 'kartnb/capture/', 'kartnb/interrupts.py', 'execution/build.py', 'execution/engine.py', 'execution/task_run.py'
kartnb.build(Leaf(n=-1))
before, wrong = state(), []
step = 0
while True:
    step += 19
    where = build_interrupted_at(step, step)
    if where is None:
        break
    left = difference(before)
    value = kartnb.build(Leaf(n=step))
    if left or difference(before) or value != step:
        wrong.append((where, left, value))
        before = state()
sys.__stderr__.write(f'\\n{step // 19} points, wrong: {wrong}')
"""


def test_an_interrupt_at_any_step_of_a_build_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / 'script.py').write_text(STATE + POINTS)
    result = subprocess.run(
        [sys.executable, 'script.py'],
        cwd=tmp_path,
        env=os.environ | {'PYTHONPATH': str(ROOT)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    # Python itself says of an interrupt that it drops, while it destroys a generator
    points, _, wrong = result.stderr.rpartition('\n')[2].partition(' points, wrong: ')
    assert wrong == '[]', result.stderr
    assert int(points) > 100


@pytest.fixture(scope='module')
def kernel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kernel]:
    os.environ.pop('PYTEST_CURRENT_TEST', None)  # ipykernel does not watch descriptors under pytest
    place = tmp_path_factory.mktemp('kernel')
    (place / 'work').mkdir()
    with running_kernel(place, place / 'work') as kernel:
        kernel.ok('import warnings; warnings.simplefilter("ignore")\n' + STATE, timeout=90)
        yield kernel


RANDOM = """
def interrupted(seconds, n, options):
    timer = threading.Timer(seconds, os.kill, (os.getpid(), signal.SIGINT))
    try:
        timer.start()
        kartnb.build(Top(n=n), **options)
        time.sleep(1)  # not `timer.join`, which Python itself leaves with another error at some moments
    except KeyboardInterrupt:
        timer.join()
        return True
    return False

def interrupt_often(times, first, options):
    moments, wrong, hit = random.Random(first), [], 0
    began = time.perf_counter()
    kartnb.build(Top(n=first), **options)
    usual = min(time.perf_counter() - began, 0.5)  # the first workers may take longer to start
    before = state()
    for n in range(first + 10, first + 10 * times + 10, 10):
        hit += interrupted(moments.uniform(0.0005, usual), n, options)
        left = difference(before)
        value = kartnb.build(Top(n=n))
        if left or value != 2 * n + 1:
            wrong.append((n, left, value))
            before = state()
    return hit, wrong
"""


def test_100_interrupts_at_random_moments_in_a_kernel_leave_nothing(kernel: Kernel) -> None:
    kernel.ok(RANDOM)
    cell = kernel.ok('interrupt_often(85, 10_000, {})', timeout=200)
    assert cell.value == '(85, [])'
    cell = kernel.ok('interrupt_often(10, 20_000, {"executor": "threads", "workers": 2})', timeout=100)
    assert cell.value == '(10, [])'
    cell = kernel.ok('interrupt_often(5, 30_000, {"workers": 2})', timeout=100)
    assert cell.value == '(5, [])'


COROUTINES = """
import asyncio

class Leaf(kartnb.TaskOnKart[int]):
    n = luigi.IntParameter()

    async def run(self):
        await asyncio.sleep(0.002)
        print('printed', self.n)
        self.dump(self.n)
"""


def test_interrupts_of_coroutines_at_random_moments_leave_nothing(kernel: Kernel) -> None:
    kernel.ok(RANDOM)
    kernel.ok(COROUTINES)
    cell = kernel.ok('interrupt_often(15, 40_000, {})', timeout=100)
    assert cell.value == '(15, [])'
    cell = kernel.ok('interrupt_often(15, 50_000, {"executor": "async"})', timeout=100)
    assert cell.value == '(15, [])'


CHILDREN = """
def children():
    listed = subprocess.run(['ps', '-A', '-o', 'pid=,ppid=,stat='], capture_output=True, text=True).stdout
    found = [line.split() for line in listed.splitlines()]
    below = [(pid, state) for pid, parent, state in found if parent == str(os.getpid())]
    deeper = [(pid, state) for pid, parent, state in found if parent in dict(below)]
    return [state for _, state in below if state[0] == 'Z'] + [state for _, state in deeper]

class Sleeping(kartnb.TaskOnKart[int]):
    n = luigi.IntParameter()

    def run(self):
        subprocess.run(['sleep', '60'])
"""


@pytest.mark.skipif(sys.platform != 'linux', reason='platform: workers are forked on Linux only')
def test_no_process_is_left_or_defunct_after_an_interrupt(kernel: Kernel) -> None:
    kernel.ok(CHILDREN)
    for number in range(2):
        kernel.run(f'kartnb.build(Sleeping(n={number}), workers=2)', interrupt_after=1.5)
    kernel.ok('from kartnb.execution.workers import nursery\nnursery.retire_nurseries()')
    kernel.ok('while children():\n    time.sleep(0.05)', timeout=20)


AGAIN = """
class Failing(kartnb.TaskOnKart[int]):
    def run(self):
        if not os.path.exists('quick'):
            raise ValueError('failing')
        self.dump(1)

class Slow(kartnb.TaskOnKart[int]):
    n = luigi.IntParameter()
    accepts_messages = True

    def run(self):
        if not os.path.exists('quick'):
            signal.raise_signal(signal.SIGINT)
        self.dump(1)

class Suspended(kartnb.TaskOnKart[int]):
    def run(self):
        yield Slow(n=9)
        self.dump(1)
"""


def test_after_an_interrupt_the_same_task_goes_anywhere(kernel: Kernel) -> None:
    kernel.ok(AGAIN)
    kernel.ok('tasks = [Failing(), Suspended(), *[Slow(n=n) for n in range(4)]]')
    for number in range(6):
        assert kernel.run(f'kartnb.build(tasks[{number}])').status == 'error'
    kernel.ok('open("quick", "w").close()')
    kernel.ok('assert [kartnb.build(task, workers=2) for task in tasks[:3]] == [1, 1, 1]')
    kernel.ok('assert kartnb.build(tasks[3], background=True).result() == 1')
    kernel.ok('assert kartnb.build(tasks[4], executor="threads") == 1')
    kernel.ok('assert kartnb.build(tasks[5]) == 1')


def test_what_several_interrupts_have_left_is_put_in_order_by_the_next_build(kernel: Kernel) -> None:
    kernel.ok(
        'from kartnb.capture.task_log import LogTap\n'
        'before, remove, times = state(), LogTap.remove, 5\n'
        'def interrupted(tap):\n'
        '    global times\n'
        '    times -= 1\n'
        '    if times >= 0:\n'
        '        signal.raise_signal(signal.SIGINT); signal.raise_signal(signal.SIGINT)\n'
        '    remove(tap)\n'
        'LogTap.remove = interrupted'
    )
    assert kernel.run('kartnb.build(Leaf(n=40))').error is not None
    assert kernel.ok('bool(difference(before))').value == 'True'
    assert kernel.ok('times = 0\nkartnb.build(Leaf(n=41))').value == '41'
    assert kernel.ok('LogTap.remove = remove\ndifference(before)').value == '{}'


@pytest.mark.parametrize(
    'what', ['sys.stdout.close()', 'sys.stdout = None', 'sys.stdout = open("x", "w")', 'os.close(1)']
)
@pytest.mark.parametrize('options', ['', 'executor="threads"', 'workers=2'])
def test_a_task_that_closes_or_replaces_a_stream_leaves_it_to_others(kernel: Kernel, what: str, options: str) -> None:
    kernel.ok(
        'class Closing(kartnb.TaskOnKart[int]):\n'
        '    def run(self):\n'
        f'        {what}\n'
        '        self.dump(1)\n'
        f'assert kartnb.build(Closing(rerun=True), {options}) == 1'
    )
    cell = kernel.ok('print("heard")\nos.write(1, b"heard too\\n")\ntime.sleep(0.3)')
    assert cell.stdout.split('\n')[:2] == ['heard', 'heard too']
