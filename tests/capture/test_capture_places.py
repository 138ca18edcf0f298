"""Captured output where it is harder: a kernel, foreign workers, forks, crashes, floods, loggers of the user's own."""

from __future__ import annotations

import concurrent.futures
import logging
import multiprocessing
import os
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import luigi
import pytest

import kartnb
from kartnb.model import LogLine, TaskOutput, TaskProgress, TaskState, TaskStateChanged
from tests.notebook.kernel import Kernel, running_kernel

pytestmark = pytest.mark.skipif(os.name == 'nt', reason='descriptors are not taken over on Windows')


def _texts(task: Any) -> list[str]:
    return [line.text for line in kartnb.logs(task)]


def _printing() -> Any:
    """A task class as a notebook has it."""

    class Printing(kartnb.TaskOnKart[int]):
        n = luigi.IntParameter(0)

        def run(self) -> None:
            print('printed', self.n)
            logging.getLogger('users').info('logged %s', self.n)
            os.write(1, b'written\n')
            self.dump(self.n)

    return Printing


@pytest.fixture(scope='module')
def kernel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kernel]:
    os.environ.pop('PYTEST_CURRENT_TEST', None)  # ipykernel does not watch descriptors under pytest
    place = tmp_path_factory.mktemp('kernel')
    (place / 'work').mkdir()
    with running_kernel(place, place / 'work') as kernel:
        pipeline = Path(__file__).with_name('capture_pipeline.py')
        kernel.ok(pipeline.read_text().partition('if __name__')[0].replace('from __future__', '# from'), timeout=90)
        kernel.ok('state = process_state()')
        yield kernel


def test_in_a_kernel_everything_appears_in_the_cell_and_is_kept(kernel: Kernel) -> None:
    cell = kernel.ok('kartnb.build(All())', timeout=90)
    of_stdout = [text for text in _pipeline().TEXTS if 'error' not in text and text not in ('warned', 'logged')]
    assert cell.stdout == ''.join(''.join(f'{text} {n}\n' for text in of_stdout)[:-1] for n in range(3))
    assert 'error of a child 2\nlast words\n' in cell.stderr
    cell = kernel.ok('[[line.text for line in kartnb.logs(Loud(n=n))] == expected(n) for n in range(3)]')
    assert cell.value == '[True, True, True]'
    assert kernel.ok('process_state()').value == kernel.ok('state').value
    assert kernel.ok("os.write(1, b'afterwards'); time.sleep(0.5)").stdout == 'afterwards'


def _pipeline() -> Any:
    from tests.capture import capture_pipeline

    return capture_pipeline


def test_no_stray_output_of_workers_is_in_the_cell(kernel: Kernel) -> None:
    cell = kernel.ok('kartnb.build(Loud(n=7), return_value=False, workers=2)', timeout=90)
    assert cell.outputs == []
    assert kernel.ok('[line.text for line in kartnb.logs(Loud(n=7))] == expected(7)').value == 'True'


def test_an_interrupt_in_a_kernel_puts_everything_back(kernel: Kernel) -> None:
    kernel.ok(
        'class Slow(kartnb.TaskOnKart):\n'
        '    def run(self):\n'
        "        os.write(1, b'begun\\n')\n"
        '        time.sleep(30)\n'
        'state = process_state()'
    )
    cell = kernel.run('kartnb.build(Slow())', interrupt_after=2, timeout=90)
    assert cell.status == 'error'
    assert cell.stdout == 'begun\n'
    assert kernel.ok('process_state()').value == kernel.ok('state').value
    assert kernel.ok('[line.text for line in kartnb.logs(Slow())]').value == "['begun', 'KeyboardInterrupt']"


def test_a_bar_is_progress_while_the_task_runs_and_one_line_in_the_end() -> None:
    class Bar(kartnb.TaskOnKart[int]):
        def run(self) -> None:
            from tqdm import tqdm

            for _ in tqdm(range(10), desc='fit'):
                time.sleep(0.1)
            self.dump(1)

    for options in ({}, {'workers': 2}):
        events: list[Any] = []
        kartnb.build(Bar(rerun=True), listeners=[events.append], **options)
        progress = [event for event in events if isinstance(event, TaskProgress)]
        percentages = [event.percentage for event in progress]
        assert len(percentages) >= 5
        assert percentages == sorted(percentages)
        assert percentages[-1] == 100
        assert progress[-2].message.startswith('fit: ')
        (line,) = kartnb.logs(Bar())
        assert line.text.startswith('fit: 100%|')
        assert line.source == 'stderr'


def test_output_of_workers_is_heard_while_they_run() -> None:
    class Talking(kartnb.TaskOnKart[int]):
        def run(self) -> None:
            print('python')
            os.write(1, b'descriptor\n')
            time.sleep(1)
            self.dump(1)

    heard: dict[str, float] = {}

    def hear(event: Any) -> None:
        if isinstance(event, TaskOutput):
            heard.update(dict.fromkeys(event.text.split('\n'), time.monotonic()))
        elif isinstance(event, TaskStateChanged) and event.state is TaskState.DONE:
            heard['done'] = time.monotonic()

    kartnb.build(Talking(), workers=2, listeners=[hear])
    assert heard['done'] - heard['python'] > 0.5
    assert heard['done'] - heard['descriptor'] > 0.5


@pytest.mark.parametrize('kind', ['spawned pool', 'forked pool', 'dask', 'dask threads', 'inline executor'])
def test_workers_of_others_bring_what_was_printed_with_the_result(kind: str, capfd: pytest.CaptureFixture[str]) -> None:
    printing = _printing()
    events: list[Any] = []
    with _foreign(kind) as executor:
        kartnb.build(printing(n=3), executor=executor, listeners=[events.append])
    printed = [event.text for event in events if isinstance(event, TaskOutput) and event.key]
    logged = [event.text for event in events if isinstance(event, LogLine) and event.key and event.logger == 'users']
    assert logged == ['logged 3']
    shown = capfd.readouterr().out
    if kind == 'dask threads':  # what is written below Python cannot be told apart there
        assert printed == ['printed 3']
        assert _texts(printing(n=3)) == ['printed 3', 'logged 3']
    else:
        assert '\n'.join(printed).split('\n') == ['printed 3', 'written']
        assert _texts(printing(n=3)) == ['printed 3', 'logged 3', 'written']
    assert ('printed 3' in shown) == (kind in ('dask threads', 'inline executor')), 'in this process as ever'


class _InlineExecutor(concurrent.futures.Executor):
    """Runs what it is given at once, in this process."""

    def submit(self, function: Any, /, *args: Any, **kwargs: Any) -> concurrent.futures.Future[Any]:
        future: concurrent.futures.Future[Any] = concurrent.futures.Future()
        try:
            future.set_result(function(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        return future


def _foreign(kind: str) -> Any:
    if kind == 'inline executor':
        return _InlineExecutor()
    if kind.startswith('dask'):
        distributed = pytest.importorskip('distributed')
        place = {'host': '127.0.0.1'} if kind == 'dask' else {'processes': False}
        return distributed.Client(n_workers=1, threads_per_worker=1, dashboard_address=None, **place)
    method = 'spawn' if kind.startswith('spawn') else 'fork'
    return concurrent.futures.ProcessPoolExecutor(1, mp_context=multiprocessing.get_context(method))


def test_children_that_a_task_forks_belong_to_it() -> None:
    class Forking(kartnb.TaskOnKart[int]):
        def run(self) -> None:
            print('parent')
            context = multiprocessing.get_context('fork')
            for number in range(2):
                child = context.Process(target=print, args=('child', number))
                child.start()
                child.join()
            print('parent again')
            self.dump(1)

    for options in ({}, {'workers': 2}):
        kartnb.build(Forking(rerun=True), **options)
        assert _texts(Forking()) == ['parent', 'child 0', 'child 1', 'parent again']


def test_the_last_words_of_a_worker_that_dies_are_kept_with_the_task() -> None:
    class Dying(kartnb.TaskOnKart[int]):
        def run(self) -> None:
            print('before it dies')
            os.write(2, b'fatal words\n')
            os._exit(1)

    events: list[Any] = []
    with pytest.raises(kartnb.GokartBuildError, match="its last output was 'fatal words'"):
        kartnb.build(Dying(), workers=2, listeners=[events.append])
    assert _texts(Dying())[:2] == ['before it dies', 'fatal words']
    assert [event.text for event in events if isinstance(event, TaskOutput)] == ['before it dies', 'fatal words']


def test_what_a_worker_printed_before_an_interrupt_or_its_time_was_over_is_kept() -> None:
    class Endless(kartnb.TaskOnKart[int]):
        n = luigi.IntParameter()
        worker_timeout = 2

        def run(self) -> None:
            print('begun')
            os.write(1, b'written\n')
            time.sleep(60)

    with pytest.raises(kartnb.GokartBuildError, match='worker_timeout'):
        kartnb.build(Endless(n=0), workers=2)
    *printed, error = _texts(Endless(n=0))
    assert printed == ['begun', 'written']
    assert 'ran longer than its worker_timeout of 2 s' in error, 'the log of a task that failed ends with its error'

    def interrupt(event: Any) -> None:
        if isinstance(event, TaskOutput):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        kartnb.build(Endless(n=1), workers=2, listeners=[interrupt])
    assert _texts(Endless(n=1))[0] == 'begun'


def test_a_log_line_that_cannot_be_formatted_fails_no_task() -> None:
    class Odd(kartnb.TaskOnKart[int]):
        def run(self) -> None:
            logging.getLogger('users').info('%d of what?', 'some')
            self.dump(1)

    kartnb.build(Odd())
    assert _texts(Odd()) == ['%d of what?']


def test_a_task_that_configures_logging_anew_is_heard_all_the_same() -> None:
    class Configuring(kartnb.TaskOnKart[int]):
        n = luigi.IntParameter()

        def run(self) -> None:
            logging.getLogger('users').warning('before %s', self.n)
            logging.basicConfig(force=True)
            self.dump(1)

    class Both(kartnb.TaskOnKart[int]):
        def requires(self) -> Any:
            return [Configuring(n=n) for n in range(2)]

        def run(self) -> None:
            self.dump(1)

    root = logging.getLogger()
    handlers = list(root.handlers)
    try:
        kartnb.build(Both())
    finally:
        root.handlers[:] = handlers
    assert [_texts(Configuring(n=n)) for n in range(2)] == [['before 0'], ['before 1']]


def test_a_failed_task_keeps_what_it_printed_and_a_quiet_run_keeps_nothing_old() -> None:
    fails = True

    class Failing(kartnb.TaskOnKart[int]):
        def run(self) -> None:
            if fails:
                print('before it fails')
                raise ValueError('failed')
            self.dump(1)

    with pytest.raises(kartnb.GokartBuildError):
        kartnb.build(Failing())
    assert _texts(Failing()) == ['before it fails', 'ValueError: failed']
    fails = False
    kartnb.build(Failing())
    assert len(kartnb.logs(Failing())) == 0


def test_a_log_line_that_a_handler_of_the_users_writes_is_kept_once(capsys: pytest.CaptureFixture[str]) -> None:
    printing = _printing()
    handler = logging.StreamHandler(sys.stderr)
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    try:
        kartnb.build(printing(n=4))
    finally:
        root.removeHandler(handler)
        root.setLevel(level)
    assert capsys.readouterr().err.count('logged 4\n') == 1
    assert [(line.source, line.text, line.level, line.logger) for line in kartnb.logs(printing(n=4))] == [
        ('stdout', 'printed 4', 0, ''),
        ('log', 'logged 4', logging.INFO, 'users'),
        ('stdout', 'written', 0, ''),
    ]


def test_what_listeners_print_belongs_to_no_task(capsys: pytest.CaptureFixture[str]) -> None:
    printing = _printing()

    def chatter(event: Any) -> None:
        print('a listener hears', type(event).__name__)
        logging.getLogger('users').warning('and logs')

    kartnb.build(printing(n=5), listeners=[chatter], log_level=logging.DEBUG)
    assert _texts(printing(n=5)) == ['printed 5', 'logged 5', 'written']
    assert 'a listener hears TaskOutput' in capsys.readouterr().out


def test_a_build_inside_of_a_task_keeps_its_output_to_itself() -> None:
    printing = _printing()

    class Outer(kartnb.TaskOnKart[int]):
        def run(self) -> None:
            print('outer')
            kartnb.build(printing(n=6))
            os.write(1, b'outer again\n')
            self.dump(1)

    kartnb.build(Outer())
    assert _texts(Outer()) == ['outer', 'outer again']
    assert _texts(printing(n=6)) == ['printed 6', 'logged 6', 'written']


def test_a_task_that_waits_for_what_it_asked_for_keeps_all_its_output() -> None:
    printing = _printing()

    class Asking(kartnb.TaskOnKart[int]):
        def run(self) -> Any:
            print('before')
            yield printing(n=8)
            print('after')
            self.dump(1)

    kartnb.build(Asking())
    assert _texts(Asking()) == ['before', 'after']


@pytest.mark.parametrize('options', [{}, {'workers': 2}])
def test_a_flood_needs_little_memory(options: dict[str, Any], capfd: pytest.CaptureFixture[str]) -> None:
    class Flooding(kartnb.TaskOnKart[int]):
        def run(self) -> None:
            import resource

            line = b'x' * 79 + b'\n'
            print('first')
            before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            for _ in range(1250):
                os.write(1, line * 1000)
            os.write(2, bytes(range(256)) * 1000 + b'\n')
            print('last')
            self.dump((before, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss))

    told = 0

    def hear(event: Any) -> None:
        nonlocal told
        told += len(event.text) if isinstance(event, TaskOutput) else 0

    before, after = kartnb.build(Flooding(), listeners=[hear], **options)
    assert after - before < 60_000, 'kilobytes'
    assert told < 3_000_000
    lines = kartnb.logs(Flooding())
    assert lines[0].text == 'first'
    assert 'last' in [line.text for line in lines[-3:]]
    assert sum('left out' in line.text for line in lines) >= 1
    assert sum(len(line.text) for line in lines) < 3_000_000
    if not options:
        assert len(capfd.readouterr().out) == 100_000_000 + len('first\nlast\n')


def test_two_builds_in_threads_at_once_do_not_mix() -> None:
    class Spelling(kartnb.TaskOnKart[int]):
        word = luigi.Parameter()

        def run(self) -> None:
            for letter in self.word:
                print(letter)
                time.sleep(0.01)
            self.dump(1)

    words = ['kitten', 'puppies']
    threads = [threading.Thread(target=kartnb.build, args=(Spelling(word=word),)) for word in words]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [_texts(Spelling(word=word)) for word in words] == [list(word) for word in words]


def test_nothing_foreign_is_in_gokarts_directories(workspace: Path) -> None:
    printing = _printing()
    kartnb.build(printing(n=9))
    files = [path.relative_to(workspace).as_posix() for path in workspace.rglob('*.log')]
    name = f'Printing_{printing(n=9).make_unique_id()}.log'
    module = printing.__module__.replace('.', '/')
    assert files == [f'log/run_record/{module}/{name}']
    assert (workspace / files[0]).read_text().startswith('# kartnb captured log 1, build ')


def test_secret_values_are_not_added_to_the_file(workspace: Path) -> None:
    from luigi.parameter import ParameterVisibility

    class Secret(kartnb.TaskOnKart[int]):
        password = luigi.Parameter(visibility=ParameterVisibility.PRIVATE)

        def run(self) -> None:
            print('connected')
            self.dump(1)

    task = Secret(password='hunter2')
    kartnb.build(task, log_level=logging.DEBUG)
    assert 'connected' in _texts(task)
    assert all('hunter2' not in line.text for line in kartnb.logs(task))
