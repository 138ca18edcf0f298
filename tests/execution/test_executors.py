"""One build loop, any executor: the same results, records and failures, whoever runs the tasks."""

from __future__ import annotations

import concurrent.futures
import inspect
import multiprocessing
import os
import pickle
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import luigi
import pytest
from luigi.task_register import Register

import kartnb
from kartnb.errors import ExecutorChoiceError, TransportError, WorkerError
from kartnb.history.run_record import RunRecord
from kartnb.model import BuildFinished, LogLine, TaskProgress, TaskStateChanged
from kartnb.storage.places import log_path, read_log
from tests.machine import is_alive
from tests.task.cells import Notebook

FACTOR = 3


@pytest.fixture(scope='module')
def dask_client() -> Iterator[Any]:
    distributed = pytest.importorskip('distributed')
    cluster = distributed.LocalCluster(n_workers=2, threads_per_worker=2, host='127.0.0.1', dashboard_address=None)
    with cluster, distributed.Client(cluster) as client:
        yield client


@pytest.fixture(params=['inline', 'threads', 'processes', 'spawned pool', 'loky', 'thread pool', 'dask'])
def options(request: pytest.FixtureRequest) -> Iterator[dict[str, Any]]:
    if request.param == 'dask':
        yield {'executor': request.getfixturevalue('dask_client')}
    elif request.param == 'spawned pool':
        context = multiprocessing.get_context('spawn')
        with concurrent.futures.ProcessPoolExecutor(2, mp_context=context) as pool:
            yield {'executor': pool}
    elif request.param == 'loky':
        with pytest.importorskip('loky').ProcessPoolExecutor(2) as pool:
            yield {'executor': pool}
    elif request.param == 'thread pool':
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            yield {'executor': pool}
    elif request.param == 'inline':
        yield {}
    else:
        yield {'executor': request.param, 'workers': 2}


def _classes() -> tuple[Any, Any, Any]:
    """Classes as a notebook has them: nobody can import them, and they use its globals."""
    offset = 100

    def helper(n: int) -> int:
        return n * FACTOR + offset

    class Number(kartnb.TaskOnKart):
        n = luigi.IntParameter()

        def run(self) -> None:
            self.task_log['pid'] = os.getpid()
            self.dump(helper(self.n))

    class Total(kartnb.TaskOnKart):
        data = kartnb.ListTaskInstanceParameter(expected_elements_type=Number)

        def run(self) -> Any:
            more = yield [Number(n=1000), Number(n=1001)]
            self.dump(sum(self.load('data')) + sum(target.load() for target in more))

    class Failing(kartnb.TaskOnKart):
        def requires(self) -> Any:
            return Number(n=0)

        def run(self) -> None:
            raise ValueError('the message')

    return Number, Total, Failing


def test_every_executor_gives_the_same(options: dict[str, Any]) -> None:
    number, total, _ = _classes()
    registered = list(Register._reg)
    task = total(data=[number(n=n) for n in range(6)])
    expected = sum(n * FACTOR + 100 for n in [*range(6), 1000, 1001])
    assert kartnb.build(task, **options) == expected
    assert Register._reg == registered
    elsewhere = options.get('executor') not in (None, 'threads') and not isinstance(
        options['executor'], concurrent.futures.ThreadPoolExecutor
    )
    assert (number(n=3).task_log['pid'] != os.getpid()) == elsewhere
    log = log_path(number(n=3).workspace_directory, 'random_seed', 'Number', number(n=3).make_unique_id())
    seeded = read_log(log)['seed_methods']
    in_threads = options.get('executor') == 'threads' or isinstance(
        options.get('executor'), concurrent.futures.ThreadPoolExecutor
    )
    assert seeded == ([] if in_threads else ['random.seed', 'numpy.random.seed'])
    assert kartnb.plan(task).to_run() == ()


DYNAMIC_CELLS = """
FACTOR = {factor}
RUNS = {runs!r}

def note(name):
    with open(RUNS, 'a') as file:
        file.write(name + ' ')

class A(kartnb.TaskOnKart):
    def run(self):
        note('A')
        self.dump(FACTOR)

class B(kartnb.TaskOnKart):
    a = kartnb.TaskInstanceParameter()

    def run(self):
        note('B')
        self.dump(self.load('a') * 10)

class C(kartnb.TaskOnKart):
    a = kartnb.TaskInstanceParameter()

    def requires(self):
        return B(a=self.a)

    def run(self):
        note('C')
        self.dump(self.load())

class Asks(kartnb.TaskOnKart):
    a = kartnb.TaskInstanceParameter()

    def run(self):
        one = yield C(a=self.a)
        two = yield luigi.DynamicRequirements([B(a=self.a), C(a=self.a)])
        note('Asks')
        self.dump(one.load() + sum(target.load() for target in two))

class Builds(kartnb.TaskOnKart):
    def run(self):
        note('Builds')
        self.dump(kartnb.build(C(a=A())) + 1)

class Root(kartnb.TaskOnKart):
    def requires(self):
        return Asks(a=A()), Builds()

    def run(self):
        note('Root')
        self.dump(list(self.load()))
"""


def test_what_a_running_task_asks_for_is_planned_as_the_rest(options: dict[str, Any], tmp_path: Path) -> None:
    runs = tmp_path / 'runs'
    notebook = Notebook()

    def build(root: str, **arguments: Any) -> tuple[Any, list[str]]:
        runs.write_text('')
        task = getattr(notebook, root)(**arguments)
        value = kartnb.build(task, on_code_change='rerun', **options)
        return value, sorted(runs.read_text().split())

    notebook.run(DYNAMIC_CELLS.format(factor=1, runs=str(runs)))
    assert build('Root')[0] == [30, 11]
    notebook.run(DYNAMIC_CELLS.format(factor=2, runs=str(runs)))
    # the result of B is there, and made from an earlier one of A
    assert build('Asks', a=notebook.A()) == (60, ['A', 'Asks', 'B', 'C'])
    assert build('Asks', a=notebook.A()) == (60, [])
    assert build('Root') == ([60, 21], ['Builds', 'Root'])
    notebook.run(DYNAMIC_CELLS.format(factor=3, runs=str(runs)))
    # nothing but the build in its `run` says what Builds is made from
    assert build('Builds') == (31, ['A', 'B', 'Builds', 'C'])
    assert build('Builds') == (31, [])
    notebook.run(DYNAMIC_CELLS.format(factor=3, runs=str(runs)).replace('dump(FACTOR)', 'dump(FACTOR + 1)'))
    assert build('Asks', a=notebook.A())[0] == 120
    assert build('Root')[0] == [120, 41]
    assert build('Root') == ([120, 41], [])


def test_a_task_in_a_worker_goes_on_at_once_with_what_is_up_to_date(tmp_path: Path) -> None:
    begun = tmp_path / 'begun'
    notebook = Notebook()
    notebook.run(f"""
class Part(kartnb.TaskOnKart):
    n = luigi.IntParameter()

    def run(self):
        self.dump(self.n)

class Total(kartnb.TaskOnKart):
    def run(self):
        with open({str(begun)!r}, 'a') as file:
            file.write('begun ')
        total = 0
        for n in range(5):
            part = yield Part(n=n)
            total += part.load()
        self.dump(total)

class Parts(kartnb.TaskOnKart):
    def requires(self):
        return [Part(n=n) for n in range(5)]

    def run(self):
        self.dump(0)
""")
    kartnb.build(notebook.Parts())
    assert kartnb.build(notebook.Total(), executor='processes', workers=2) == 10
    assert begun.read_text() == 'begun '
    [path] = Path('resources/log/run_record').rglob('Total_*~r*.json')
    record = RunRecord.from_json(path.read_text())
    assert [item.unique_id for item in record.inputs] == [notebook.Part(n=n).make_unique_id() for n in range(5)]
    assert all(item.result_id and item.asked_later for item in record.inputs)


def test_a_failing_task_that_a_running_one_asks_for_fails_the_build(options: dict[str, Any]) -> None:
    notebook = Notebook()
    notebook.run("""
class Part(kartnb.TaskOnKart):
    def run(self):
        raise ValueError('no part')

class Total(kartnb.TaskOnKart):
    def run(self):
        yield Part()

class Wrong(kartnb.TaskOnKart):
    def run(self):
        yield 'Part'
""")
    with pytest.raises(kartnb.GokartBuildError, match='no part'):
        kartnb.build(notebook.Total(), **options)
    with pytest.raises(kartnb.GokartBuildError, match="yields 'Part'"):
        kartnb.build(notebook.Wrong(), **options)


def test_a_failure_shows_the_users_line(options: dict[str, Any]) -> None:
    *_, failing = _classes()
    with pytest.raises(kartnb.GokartBuildError) as caught:
        kartnb.build(failing(), **options)
    error = caught.value
    assert list(error.raised_exceptions) == [failing().make_unique_id()]
    assert isinstance(error.__cause__, ValueError)
    assert f'{__file__}:' in str(error)
    assert "raise ValueError('the message')" in str(error)


CELL = """
import inspect, traceback

def fail():
    raise ValueError('function')  # here: function

fail_in_lambda = lambda: 1 / 0  # here: lambda

class Failing(kartnb.TaskOnKart):
    way = luigi.Parameter()

    class Inner:
        @property
        def value(self):
            raise ValueError('property')  # here: property

        @classmethod
        def make(cls):
            raise ValueError('class method')  # here: class method

    def numbers(self):
        yield 1
        raise ValueError('generator')  # here: generator

    def run(self):
        def nested():
            raise ValueError('nested')  # here: nested
        ways = {
            'function': fail,
            'lambda': fail_in_lambda,
            'property': lambda: self.Inner().value,
            'class method': self.Inner.make,
            'generator': lambda: list(self.numbers()),
            'nested': nested,
            'deep': lambda: [(lambda: int('x'))() for _ in range(1)],  # here: deep
            'lines': lambda: int(  # here: lines
                'x',
                base=10,
            ),
        }
        ways[self.way]()

class Failures(kartnb.TaskOnKart):
    def requires(self):
        return [Failing(way=way) for way in self.ways]

    ways = ('function', 'lambda', 'property', 'class method', 'generator', 'nested', 'deep', 'lines')

class Looking(kartnb.TaskOnKart):
    def run(self):
        try:
            fail()
        except ValueError:
            trace = traceback.format_exc()
        self.dump([inspect.getsource(fail), inspect.getsource(type(self).run), inspect.getsourcefile(fail), trace])

class Passing(kartnb.TaskOnKart):
    def run(self):
        self.dump({'fail': fail, 'lambda': fail_in_lambda, 'inner': Failing.Inner})
"""


def test_a_failure_in_a_cell_shows_its_line(options: dict[str, Any]) -> None:
    notebook = Notebook()
    notebook.run(CELL)
    with pytest.raises(kartnb.GokartBuildError) as caught:
        kartnb.build(notebook.Failures(), **options)
    failing = {way: notebook.Failing(way=way).make_unique_id() for way in notebook.Failures.ways}
    assert set(caught.value.raised_exceptions) == set(failing.values())
    for way, key in failing.items():
        [error] = caught.value.raised_exceptions[key]
        place = traceback.extract_tb(error.__traceback__)[-1]
        assert place.filename == inspect.getsourcefile(notebook.fail)
        assert str(place.line).endswith(f'# here: {way}')
        with pytest.raises(type(error)) as direct:
            notebook.Failing(way=way).run()
        assert _frames_in(place.filename, error) == _frames_in(place.filename, direct.value), 'columns are marked too'


def _frames_in(file: str, error: BaseException) -> list[str]:
    return [text for text in traceback.format_tb(error.__traceback__) if f'"{file}"' in text]


def test_a_task_finds_the_source_of_its_cell(options: dict[str, Any]) -> None:
    notebook = Notebook()
    notebook.run(CELL)
    function, method, file, trace = kartnb.build(notebook.Looking(), **options)
    assert function == inspect.getsource(notebook.fail)
    assert method == inspect.getsource(notebook.Looking.run)
    assert file == inspect.getsourcefile(notebook.fail)
    assert "raise ValueError('function')  # here: function" in trace
    plan = kartnb.plan(notebook.Looking())
    assert [(node.state.value, node.note) for node in plan] == [('cached', '')], 'the code print is the same'


def test_functions_in_results_name_their_cell(options: dict[str, Any]) -> None:
    notebook = Notebook()
    notebook.run(CELL)
    result = kartnb.build(notebook.Passing(), **options)
    for fail, way in [
        (result['fail'], 'function'),
        (result['lambda'], 'lambda'),
        (result['inner'].make, 'class method'),
    ]:
        with pytest.raises((ValueError, ZeroDivisionError)) as caught:
            fail()
        assert str(traceback.extract_tb(caught.value.__traceback__)[-1].line).endswith(f'# here: {way}')
        assert fail.__code__.co_filename == inspect.getsourcefile(notebook.fail)


def test_events_come_live_from_worker_processes() -> None:
    class Reporting(kartnb.TaskOnKart):
        def run(self) -> None:
            import logging

            logging.getLogger('users').info('half way')
            self.set_progress_percentage(50)
            time.sleep(0.5)
            self.dump(1)

    heard: list[tuple[float, Any]] = []
    kartnb.build(Reporting(), workers=2, listeners=[lambda event: heard.append((time.monotonic(), event))])
    when = {type(event): at for at, event in heard}
    states = [event.state.value for _, event in heard if isinstance(event, TaskStateChanged)]
    assert states == ['running', 'done']
    [line] = [event for _, event in heard if isinstance(event, LogLine) and event.logger == 'users']
    assert line.text == 'half way'
    assert line.key.startswith('Reporting_')
    assert when[BuildFinished] - when[TaskProgress] > 0.3, 'it was heard while the task ran'


def test_a_class_does_not_travel_with_every_task(monkeypatch: pytest.MonkeyPatch) -> None:
    big = b'x' * 1_000_000
    sizes: list[int] = []
    original = pickle.dumps

    class Heavy(kartnb.TaskOnKart):
        n = luigi.IntParameter()

        def run(self) -> None:
            self.dump(len(big))

    class All(kartnb.TaskOnKart):
        def requires(self) -> Any:
            return [Heavy(n=n) for n in range(50)]

        def run(self) -> None:
            self.dump(0)

    def measuring(value: Any, *args: Any) -> bytes:
        data = original(value, *args)
        sizes.append(len(data))
        return data

    monkeypatch.setattr(pickle, 'dumps', measuring)
    kartnb.build(All(), workers=2)
    assert sum(size > 1_000_000 for size in sizes) <= 2 * 2 * 2, (
        'two classes, at most with the first two parcels of two workers'
    )


def test_two_workers_share_the_cores() -> None:
    class Threads(kartnb.TaskOnKart):
        def run(self) -> None:
            self.dump(os.environ.get('OMP_NUM_THREADS'))

    cores = len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count() or 1
    assert kartnb.build(Threads(), workers=2) == str(max(1, cores // 2))


def test_what_cannot_be_sent_is_named() -> None:
    class Locked(kartnb.TaskOnKart):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            self.guard = threading.Lock()

        def run(self) -> None:
            self.dump(1)

    with pytest.raises(kartnb.GokartBuildError, match=r'Locked\.guard \(lock\) cannot be sent') as caught:
        kartnb.build(Locked(), workers=2)
    assert isinstance(caught.value.__cause__, TransportError)


def test_a_worker_that_dies_is_said_within_seconds_and_what_was_finished_stays() -> None:
    class Done(kartnb.TaskOnKart):
        def run(self) -> None:
            self.dump('done')

    class Dying(kartnb.TaskOnKart):
        def requires(self) -> Any:
            return Done()

        def run(self) -> None:
            os._exit(1)

    started = time.monotonic()
    with pytest.raises(kartnb.GokartBuildError, match='The worker process that ran this task died') as caught:
        kartnb.build(Dying(), workers=2)
    assert time.monotonic() - started < 30
    assert isinstance(caught.value.__cause__, WorkerError)
    assert kartnb.build(Done()) == 'done'


@pytest.mark.parametrize(
    'options, message',
    [
        ({'workers': 0}, 'workers must be a whole number from 1 on, not 0'),
        ({'workers': -1}, 'not -1'),
        ({'workers': 1.5}, 'not 1.5'),
        ({'executor': 'cluster'}, "Executor 'cluster' not found: give 'inline', 'processes', 'threads'"),
        ({'executor': 3}, 'Executor 3 not found'),
        ({'executor': 'dask://127.0.0.1:1'}, 'No Dask scheduler answers at dask://127.0.0.1:1'),
    ],
)
def test_a_choice_that_is_none_is_said_at_once(options: dict[str, Any], message: str) -> None:
    number, *_ = _classes()
    with pytest.raises(ExecutorChoiceError, match=message):
        kartnb.build(number(n=1), **options)


SCRIPT = """
import sys, time
import luigi, kartnb

class Slow(kartnb.TaskOnKart):
    n = luigi.IntParameter()
    def run(self):
        import os, subprocess
        child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])
        open(f'pid-{self.n}', 'w').write(f'{os.getpid()} {child.pid}')
        time.sleep(60)

class Both(kartnb.TaskOnKart):
    def requires(self):
        return [Slow(n=0), Slow(n=1)]

if __name__ == '__main__':
    try:
        kartnb.build(Both(), workers=2)
    except KeyboardInterrupt:
        print('interrupted')
"""


@pytest.mark.skipif(os.name == 'nt', reason='Windows sends no SIGINT to one process')
def test_an_interrupt_ends_worker_processes_and_their_children(tmp_path: Path) -> None:
    import signal

    script = tmp_path / 'slow.py'
    script.write_text(SCRIPT)
    process = subprocess.Popen(
        [sys.executable, str(script)], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    files = [tmp_path / 'pid-0', tmp_path / 'pid-1']
    deadline = time.monotonic() + 60
    while not all(file.exists() and file.read_text() for file in files) and time.monotonic() < deadline:
        time.sleep(0.05)
    pids = [int(pid) for file in files for pid in file.read_text().split()]
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=30)
    assert output.strip() == 'interrupted'
    deadline = time.monotonic() + 10
    while any(is_alive(pid) for pid in pids) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert [pid for pid in pids if is_alive(pid)] == []
