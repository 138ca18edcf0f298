"""`%kart_build` with workers, executors and in the background, in a real kernel."""

from __future__ import annotations

import re
import time

import pytest

from tests.notebook.kernel import Kernel

TASKS = """
%%kart
import os, time

class Step(TaskOnKart):
    number = luigi.IntParameter()
    seconds = luigi.FloatParameter(default=0.0, significant=False)

    def run(self):
        print('step', self.number)
        time.sleep(self.seconds)
        self.dump((self.number, os.getpid()))

class Steps(TaskOnKart):
    count = luigi.IntParameter(default=4)
    seconds = luigi.FloatParameter(default=0.0, significant=False)

    def requires(self):
        return [Step(number=n, seconds=self.seconds) for n in range(self.count)]

    def run(self):
        self.dump({pid for _, pid in self.load()})
"""


@pytest.fixture
def steps(kernel: Kernel) -> Kernel:
    """Return a kernel that knows the tasks."""
    kernel.ok(TASKS)
    return kernel


def test_workers_are_other_processes(steps: Kernel) -> None:
    cell = steps.ok('pids = %kart_build --workers 2 Steps(seconds=0.3)\n')
    assert cell.stdout == ''
    assert steps.ok('len(pids) == 2 and os.getpid() not in pids').value == 'True'


@pytest.mark.parametrize('name', ['threads', 'inline'])
def test_executors_go_by_name(steps: Kernel, name: str) -> None:
    steps.ok(f'pids = %kart_build --executor {name} --workers 2 Steps()')
    assert steps.ok('pids == {os.getpid()}').value == 'True'


def test_an_executor_may_be_a_variable(steps: Kernel) -> None:
    steps.ok('from concurrent.futures import ThreadPoolExecutor\nmine = ThreadPoolExecutor(2)')
    steps.ok('pids = %kart_build Steps() --executor mine')
    assert steps.ok('pids == {os.getpid()} and mine.submit(int).result() == 0').value == 'True'


def test_an_interrupt_while_workers_run_is_one_line(steps: Kernel) -> None:
    cell = steps.run('%kart_build --workers 2 Steps(seconds=30.0)', interrupt_after=5, timeout=60)
    assert cell.traceback == (
        'KeyboardInterrupt: the build was interrupted; 0 of 5 tasks are done and kept, build again to go on'
    )


def test_a_build_in_the_background_leaves_the_kernel_free_and_its_cell_shows_the_end(steps: Kernel) -> None:
    cell = steps.ok('handle = %kart_build --background Steps(seconds=0.5)')
    assert steps.ok('handle.status').value == "'running'"
    assert steps.ok('handle.result(timeout=60) is not None').value == 'True'
    steps.ok('import time; time.sleep(0.5)')
    assert '5 done' in re.sub(r'<[^>]+>', ' ', cell.html[-1])


def test_a_build_in_the_background_is_stopped(steps: Kernel) -> None:
    cell = steps.ok('handle = %kart_build --background Steps(seconds=30.0)')
    steps.ok('while not handle.progress.running:\n    time.sleep(0.05)')
    began = time.monotonic()
    assert steps.ok('handle.stop(); handle.status').value == "'stopped'"
    assert time.monotonic() - began < 30  # what one task takes that is not interrupted
    assert 'interrupted' in cell.html[-1]
    assert steps.ok('kartnb.build(Steps(), workers=2) is not None').value == 'True'


def test_a_failure_in_the_background_is_shown_in_its_cell(steps: Kernel) -> None:
    steps.ok("class Fails(TaskOnKart):\n    def run(self):\n        raise ValueError('no such luck')")
    cell = steps.ok('handle = %kart_build --background Fails()')
    steps.ok('handle.wait(60); time.sleep(2)')
    assert 'no such luck' in cell.html[-1]
    assert 'no such luck' in steps.run('handle.result()').traceback


@pytest.mark.parametrize(
    'options, said',
    [
        ('--workers 0', '--workers: 0 is not a whole number of at least 1'),
        ('--workers two', '--workers: two is not a whole number of at least 1'),
        ('--workers', '--workers: expected one argument'),
        ('--executor nowhere', 'executor nowhere not found: give inline, processes, threads'),
        ('--executor os', 'Executor <module'),
        ('--executor dask://127.0.0.1:9', 'dask://127.0.0.1:9'),
        ('--backgroud', 'did you mean --background?'),
    ],
)
def test_misuse_is_one_line(steps: Kernel, options: str, said: str) -> None:
    cell = steps.run(f'%kart_build Steps() {options}')
    assert cell.status == 'error'
    assert said in cell.stderr
    assert len(cell.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize('options', ['', ', workers=2'])
def test_an_error_names_its_cell_without_the_extension(kernel: Kernel, options: str) -> None:
    kernel.ok('%unload_ext kartnb')
    kernel.ok(
        """
import kartnb
def outer():
    def inner():
        raise ValueError('deep')
    inner()

class Deep(kartnb.TaskOnKart):
    def run(self):
        outer()
"""
    )
    said = kernel.ok(
        f'try: kartnb.build(Deep(){options})\nexcept kartnb.GokartBuildError as error: print(error)'
    ).stdout
    kernel.ok('%load_ext kartnb')
    assert re.search(r"at Cell In\[\d+\]:4 in inner: raise ValueError\('deep'\)", said), said
