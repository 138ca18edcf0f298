"""Builds whose tasks a real, running `luigid` gives out."""

from __future__ import annotations

import http.server
import json
import logging
import os
import pickle
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import luigi
import pytest

import kartnb
from kartnb.errors import ExecutorChoiceError, ExternalTaskMissingError, SchedulerError
from kartnb.model import TaskState, TaskStateChanged
from tests.execution.luigi_settings import luigi_settings
from tests.execution.luigid import Luigid, free_port, running_luigid

CONFIGURATION = """
[scheduler]
stable_done_cooldown_secs = 0
[resources]
db = 2
"""


@pytest.fixture(scope='module')
def luigid(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Luigid]:
    with running_luigid(tmp_path_factory.mktemp('luigid'), CONFIGURATION) as running:
        yield running


def _classes(tag: str) -> tuple[Any, Any, Any]:
    """Classes as a notebook has them; the tag keeps the tasks of two tests apart in the scheduler."""
    factor = 3

    class Number(kartnb.TaskOnKart):
        n = luigi.IntParameter()
        test = luigi.Parameter(default=tag)

        def run(self) -> None:
            self.task_log['pid'] = os.getpid()
            self.dump(self.n * factor)

    class Total(kartnb.TaskOnKart):
        numbers = kartnb.ListTaskInstanceParameter(expected_elements_type=Number)

        def run(self) -> Any:
            more = yield [Number(n=1000), Number(n=1001)]
            self.dump(sum(self.load('numbers')) + sum(target.load() for target in more))

    class Failing(kartnb.TaskOnKart):
        test = luigi.Parameter(default=tag)

        def run(self) -> None:
            raise ValueError('the message')

    return Number, Total, Failing


@pytest.mark.parametrize('options', [{}, {'workers': 2}, {'executor': 'threads', 'workers': 2}], ids=str)
def test_tasks_run_with_their_logs_seeds_and_records(luigid: Luigid, options: Any, workspace: Path) -> None:
    number, total, _ = _classes(str(options))
    task = total(numbers=[number(n=n) for n in range(4)])
    heard: list[Any] = []
    value = kartnb.build(task, scheduler_url=luigid.url, listeners=[heard.append], **options)
    assert value == sum(3 * n for n in [*range(4), 1000, 1001])
    assert luigid.tasks()[task.task_id]['status'] == 'DONE'
    assert [luigid.tasks()[number(n=n).task_id]['status'] for n in (0, 3, 1000)] == ['DONE'] * 3
    one = number(n=2)
    stem = f'Number_{one.make_unique_id()}'
    assert pickle.loads((workspace / f'log/task_params/{stem}.pkl').read_bytes())['n'] == '2'
    seeded = [] if options.get('executor') == 'threads' else ['random.seed', 'numpy.random.seed']
    assert pickle.loads((workspace / f'log/random_seed/{stem}.pkl').read_bytes())['seed_methods'] == seeded
    assert (one.task_log['pid'] == os.getpid()) == (options != {'workers': 2})
    [record] = workspace.rglob(f'log/run_record/**/{stem}*.json')
    assert json.loads(record.read_text())['state'] == 'done'
    states = [event.state for event in heard if isinstance(event, TaskStateChanged) and event.key == stem]
    assert states == [TaskState.RUNNING, TaskState.DONE]
    assert kartnb.plan(task).to_run() == ()
    assert kartnb.build(task, scheduler_url=luigid.url, **options) == value


def test_a_failure_is_told_blocks_what_needs_it_and_nothing_else(luigid: Luigid) -> None:
    number, _, failing = _classes('failure')

    class Needing(kartnb.TaskOnKart):
        def requires(self) -> Any:
            return failing()

        def run(self) -> None:
            raise AssertionError('blocked')

    class Root(kartnb.TaskOnKart):
        def requires(self) -> Any:
            return [Needing(), number(n=5)]

        def run(self) -> None:
            raise AssertionError('blocked')

    with pytest.raises(kartnb.GokartBuildError, match="raise ValueError\\('the message'\\)") as caught:
        kartnb.build(Root(), scheduler_url=luigid.url)
    assert isinstance(caught.value.__cause__, ValueError)
    assert caught.value.report is not None
    assert {node.name: node.state for node in caught.value.report.plan} == {
        'Failing': TaskState.FAILED,
        'Needing': TaskState.BLOCKED,
        'Number': TaskState.DONE,
        'Root': TaskState.BLOCKED,
    }
    assert 'the message' in luigid.ask('fetch_error', failing().task_id)['error']


def test_a_task_that_failed_is_given_out_again_at_the_next_build(luigid: Luigid) -> None:
    fails = [True]

    class Mended(kartnb.TaskOnKart):
        def run(self) -> None:
            if fails[0]:
                raise ValueError('not yet')
            self.dump('mended')

    with pytest.raises(kartnb.GokartBuildError, match='not yet'):
        kartnb.build(Mended(), scheduler_url=luigid.url)
    fails[0] = False
    assert kartnb.build(Mended(), scheduler_url=luigid.url) == 'mended'


def test_a_task_that_the_scheduler_has_disabled_is_said(luigid: Luigid) -> None:
    class Hopeless(kartnb.TaskOnKart):
        retry_count = 1

        def run(self) -> None:
            raise ValueError('always')

    with pytest.raises(kartnb.GokartBuildError, match='always'):
        kartnb.build(Hopeless(), scheduler_url=luigid.url)
    assert luigid.status('Hopeless') == ['DISABLED']
    with pytest.raises(kartnb.GokartBuildError, match='has disabled Hopeless after too many failures'):
        kartnb.build(Hopeless(), scheduler_url=luigid.url)


def test_retries_are_the_schedulers_where_the_worker_is_to_stay(tmp_path: Path) -> None:
    class Flaky(kartnb.TaskOnKart):
        retry_count = 3

        def run(self) -> None:
            with (tmp_path / 'tries').open('a') as file:
                file.write('x')
            if (tmp_path / 'tries').stat().st_size < 3:
                raise ConnectionError('again')
            self.dump('third time')

    configuration = '[scheduler]\nretry_delay = 0\nprune_on_get_work = true\n'
    with (
        running_luigid(tmp_path, configuration) as luigid,
        luigi_settings('worker', keep_alive='true', wait_interval=0.2),
    ):
        assert kartnb.build(Flaky(), scheduler_url=luigid.url) == 'third time'


def test_rerun_runs_again_what_is_asked_for_and_what_is_downstream(luigid: Luigid) -> None:
    number, _, _ = _classes('rerun')
    ran: list[str] = []

    class Doubled(kartnb.TaskOnKart):
        def requires(self) -> Any:
            return number(n=1)

        def run(self) -> None:
            ran.append('Doubled')
            self.dump(2 * self.load())

    assert kartnb.build(Doubled(), scheduler_url=luigid.url) == 6
    assert kartnb.build(Doubled(), scheduler_url=luigid.url, rerun=number) == 6
    assert ran == ['Doubled', 'Doubled']


def test_progress_and_messages_go_to_the_scheduler_and_back(luigid: Luigid) -> None:
    class Talking(kartnb.TaskOnKart):
        accepts_messages = True

        def run(self) -> None:
            self.set_status_message('reading')
            self.set_progress_percentage(40)
            self.set_tracking_url('http://127.0.0.1/job')
            message = self.scheduler_messages.get(timeout=30)
            message.respond('heard')
            self.dump(message.content)

    task = Talking()
    told: list[Any] = []

    def tell() -> None:
        while not (found := luigid.tasks().get(task.task_id)) or not found['tracking_url']:
            time.sleep(0.05)
        told.append(found)
        luigid.ask('send_scheduler_message', found['worker_running'], task.task_id, 'hello')

    thread = threading.Thread(target=tell)
    thread.start()
    assert kartnb.build(task, scheduler_url=luigid.url) == 'hello'
    thread.join()
    [shown] = told
    assert (shown['status_message'], shown['progress_percentage']) == ('reading', 40)
    assert shown['tracking_url'] == 'http://127.0.0.1/job'


def test_resources_are_the_schedulers(luigid: Luigid, tmp_path: Path) -> None:
    class User(kartnb.TaskOnKart):
        n = luigi.IntParameter()
        amount = luigi.IntParameter(default=1)

        def process_resources(self) -> Any:
            return {'db': self.amount}

        def run(self) -> None:
            mine = tmp_path / f'running-{self.n}'
            mine.touch()
            time.sleep(0.2)
            together = len(list(tmp_path.glob('running-*')))
            mine.unlink()
            self.dump(together)

    class All(kartnb.TaskOnKart):
        tasks = kartnb.ListTaskInstanceParameter()

        def run(self) -> None:
            self.dump(self.load('tasks'))

    task = All(tasks=[User(n=n) for n in range(5)])
    assert max(kartnb.build(task, scheduler_url=luigid.url, executor='threads', workers=4)) == 2
    with pytest.raises(
        kartnb.GokartBuildError, match=r"did not give User out; its status there is PENDING. It takes {'db': 3}"
    ):
        kartnb.build(User(n=9, amount=3), scheduler_url=luigid.url)


def test_what_another_worker_runs_is_waited_for(luigid: Luigid, tmp_path: Path) -> None:
    class Slow(kartnb.TaskOnKart):
        def run(self) -> None:
            with (tmp_path / 'ran').open('a') as file:
                file.write('x')
            time.sleep(3)
            self.dump('made once')

    class After(kartnb.TaskOnKart):
        name = luigi.Parameter()

        def requires(self) -> Any:
            return Slow()

        def run(self) -> None:
            self.dump(f'{self.load()}, {self.name}')

    values: list[Any] = []
    options: Any = {'scheduler_url': luigid.url, 'executor': 'threads'}
    other = threading.Thread(target=lambda: values.append(kartnb.build(After(name='a'), **options)))
    other.start()
    while not (tmp_path / 'ran').exists():
        time.sleep(0.05)
    heard: list[Any] = []
    values.append(kartnb.build(After(name='b'), listeners=[heard.append], **options))
    other.join()
    assert sorted(values) == ['made once, a', 'made once, b']
    assert (tmp_path / 'ran').read_text() == 'x'
    assert TaskState.WAITING in [event.state for event in heard if isinstance(event, TaskStateChanged)]


def test_missing_external_data_are_said(luigid: Luigid) -> None:
    class Outside(luigi.ExternalTask):
        def output(self) -> Any:
            return luigi.LocalTarget('not there')

    class Root(kartnb.TaskOnKart):
        def requires(self) -> Any:
            return Outside()

        def run(self) -> None:
            raise AssertionError('blocked')

    with pytest.raises(kartnb.GokartBuildError) as caught:
        kartnb.build(Root(), scheduler_url=luigid.url)
    assert isinstance(caught.value.__cause__, ExternalTaskMissingError)


def test_plain_luigi_tasks_run_too(luigid: Luigid, tmp_path: Path) -> None:
    class Plain(luigi.Task):
        n = luigi.IntParameter()

        def output(self) -> Any:
            return luigi.LocalTarget(str(tmp_path / f'{self.n}.txt'))

        def run(self) -> Any:
            if self.n:
                yield Plain(n=self.n - 1)
            Path(self.output().path).write_text(str(self.n))

    kartnb.build(Plain(n=3), scheduler_url=luigid.url, return_value=False)
    assert sorted(file.name for file in tmp_path.glob('*.txt')) == ['0.txt', '1.txt', '2.txt', '3.txt']


def test_a_complete_plain_task_is_not_asked_what_it_requires(luigid: Luigid, tmp_path: Path) -> None:
    class Endless(luigi.Task):
        n = luigi.IntParameter()

        def requires(self) -> Any:
            assert self.n > 0, 'a step without end'
            return Endless(n=self.n - 1)

        def output(self) -> Any:
            return luigi.LocalTarget(str(tmp_path / f'{self.n}.txt'))

        def run(self) -> None:
            Path(self.output().path).write_text('done')

    (tmp_path / '2.txt').write_text('there')
    kartnb.build(Endless(n=4), scheduler_url=luigid.url, return_value=False)
    assert sorted(file.name for file in tmp_path.glob('*.txt')) == ['2.txt', '3.txt', '4.txt']


def test_a_missing_external_task_is_looked_for_again(luigid: Luigid, tmp_path: Path) -> None:
    class Outside(luigi.ExternalTask):
        def output(self) -> Any:
            return luigi.LocalTarget(str(tmp_path / 'outside.txt'))

    class Uses(kartnb.TaskOnKart):
        def requires(self) -> Any:
            return [Outside(), Makes()]

        def run(self) -> None:
            self.dump((tmp_path / 'outside.txt').read_text())

    class Makes(kartnb.TaskOnKart):
        priority = 10

        def run(self) -> None:
            (tmp_path / 'outside.txt').write_text('made meanwhile')
            self.dump(1)

    with luigi_settings('worker', retry_external_tasks='true'):
        assert kartnb.build(Uses(), scheduler_url=luigid.url) == 'made meanwhile'


def test_tasks_that_luigi_cannot_tell_apart_are_an_error(luigid: Luigid, tmp_path: Path) -> None:
    number, total, _ = _classes('apart')
    twins = [number(n=1, workspace_directory=str(tmp_path / name)) for name in 'ab']
    with pytest.raises(SchedulerError, match='takes two tasks Number for one'):
        kartnb.build(total(numbers=twins), scheduler_url=luigid.url)


def test_a_paused_scheduler_is_said(luigid: Luigid) -> None:
    number, _, _ = _classes('paused')
    luigid.ask('pause')
    try:
        with pytest.raises(kartnb.GokartBuildError, match='is paused and gives no tasks out'):
            kartnb.build(number(n=1), scheduler_url=luigid.url)
    finally:
        luigid.ask('unpause')


def test_the_process_is_left_as_it_was_found(luigid: Luigid) -> None:
    number, _, _ = _classes('state')
    signals = {name: signal.getsignal(name) for name in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)}
    threads = set(threading.enumerate())
    level, handlers, state = logging.root.level, list(logging.root.handlers), random.getstate()
    luigis = logging.getLogger('luigi-interface')
    luigis_before = (luigis.level, list(luigis.handlers), luigis.disabled)
    kartnb.build(number(n=7), scheduler_url=luigid.url)
    assert signals == {name: signal.getsignal(name) for name in signals}
    assert set(threading.enumerate()) == threads
    assert (logging.root.level, list(logging.root.handlers), random.getstate()) == (level, handlers, state)
    assert (luigis.level, list(luigis.handlers), luigis.disabled) == luigis_before


def test_it_works_in_a_thread_and_in_the_background(luigid: Luigid) -> None:
    number, _, _ = _classes('thread')
    handle = kartnb.build(number(n=8), scheduler_url=luigid.url, background=True, executor='threads')
    assert handle.result(60) == 24


@pytest.mark.parametrize(
    'url, message',
    [
        ('http://127.0.0.1:{free}', "luigi's scheduler cannot be reached at http://127.0.0.1:.*: start luigid there"),
        ('127.0.0.1:8082', 'scheduler_url must be a URL such as http://127.0.0.1:8082'),
        ('http://127.0.0.1:{other}', 'The server at .* is not a luigi scheduler|cannot be reached'),
        (8082, 'scheduler_url must be a URL'),
    ],
)
def test_a_scheduler_that_is_not_there_is_said_within_seconds(url: Any, message: str) -> None:
    number, _, _ = _classes('unreachable')

    class Hello(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b'<html>Hello</html>')

        def log_message(self, *args: Any) -> None:
            """Say nothing."""

    with http.server.ThreadingHTTPServer(('127.0.0.1', 0), Hello) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        if isinstance(url, str):
            url = url.format(free=free_port(), other=server.server_address[1])
        started = time.monotonic()
        with pytest.raises(ExecutorChoiceError, match=message) as caught:
            kartnb.build(number(n=1), scheduler_url=url)
        server.shutdown()
    assert isinstance(caught.value, SchedulerError)
    assert time.monotonic() - started < 10


def test_a_scheduler_that_goes_away_is_said_and_what_was_finished_is_kept(tmp_path: Path) -> None:
    with running_luigid(tmp_path) as luigid:

        class First(kartnb.TaskOnKart):
            def run(self) -> None:
                self.dump('kept')

        class Second(kartnb.TaskOnKart):
            def requires(self) -> Any:
                return First()

            def run(self) -> None:
                luigid.process.terminate()
                luigid.process.wait(20)
                self.dump('lost')

        class Third(kartnb.TaskOnKart):
            def requires(self) -> Any:
                return Second()

            def run(self) -> None:
                raise AssertionError('nobody gives it out')

        started = time.monotonic()
        with pytest.raises(SchedulerError, match='does not answer any more'):
            kartnb.build(Third(), scheduler_url=luigid.url)
    assert time.monotonic() - started < 60
    assert kartnb.build(First()) == 'kept'


def test_a_scheduler_that_is_started_anew_is_waited_for(tmp_path: Path) -> None:
    port = free_port()
    with running_luigid(tmp_path, port=port) as luigid:

        class Patient(kartnb.TaskOnKart):
            def run(self) -> None:
                luigid.process.terminate()
                luigid.process.wait(20)
                again.start()
                self.dump('done')

        def start_again() -> None:
            time.sleep(1)
            with running_luigid(tmp_path, port=port):
                over.wait(60)

        config = luigi.configuration.get_config()
        config.set('core', 'rpc-retry-attempts', '90')  # a loaded machine takes long to start it
        over = threading.Event()
        again = threading.Thread(target=start_again)
        try:
            assert kartnb.build(Patient(), scheduler_url=luigid.url) == 'done'
        finally:
            config.remove_option('core', 'rpc-retry-attempts')
            over.set()
            again.join()


SCRIPT = """
import sys, time
import luigi, kartnb

class Slow(kartnb.TaskOnKart):
    patient = luigi.BoolParameter(significant=False)
    def run(self):
        open('started', 'w').write('x')
        if self.patient:
            time.sleep(60)
        self.dump('done')

if __name__ == '__main__':
    try:
        kartnb.build(Slow(patient=True), scheduler_url=sys.argv[1])
    except KeyboardInterrupt:
        Slow.clear_instance_cache()
        print('interrupted,', kartnb.build(Slow(patient=False), scheduler_url=sys.argv[1]))
"""


@pytest.mark.skipif(os.name == 'nt', reason='platform: Windows sends no SIGINT to one process')
def test_after_an_interrupt_the_next_build_goes_on_at_once(luigid: Luigid, tmp_path: Path) -> None:
    script = tmp_path / 'slow.py'
    script.write_text(SCRIPT)
    environment = {**os.environ, 'PYTHONPATH': os.pathsep.join(sys.path)}
    process = subprocess.Popen(
        [sys.executable, str(script), luigid.url], cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 60
    while not (tmp_path / 'started').exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    started = time.monotonic()
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    assert output.strip() == 'interrupted, done'
    assert time.monotonic() - started < 30


def test_the_command_line_reaches_the_scheduler_that_it_names(luigid: Luigid) -> None:
    class FromAfar(kartnb.TaskOnKart):
        n = luigi.IntParameter(default=1)

        def run(self) -> None:
            self.dump(self.n)

    with pytest.raises(SystemExit) as caught:
        kartnb.run(['FromAfar', '--no-lock', f'--scheduler-url={luigid.url}', '--log-level=ERROR'])
    assert caught.value.code == 0
    port = luigid.url.rpartition(':')[2]
    with pytest.raises(SystemExit) as caught:
        kartnb.run(
            [
                'FromAfar',
                '--no-lock',
                '--n=2',
                '--scheduler-host=127.0.0.1',
                f'--scheduler-port={port}',
                '--log-level=ERROR',
            ]
        )
    assert caught.value.code == 0
    assert luigid.status('FromAfar') == ['DONE', 'DONE']
