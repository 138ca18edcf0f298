"""Tasks of kartnb that luigi's own worker runs: `luigi.build`, `luigi.run` and the command ``luigi``."""

from __future__ import annotations

import asyncio
import os
import pickle
import random
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import luigi
import numpy as np
import pytest

import kartnb
from kartnb.history.run_record import RunRecord, newest_failure, newest_record
from kartnb.storage.run_records import RecordDirectory

LOGS = ('module_versions', 'processing_time', 'random_seed', 'task_log', 'task_params')
WORKERS = pytest.mark.parametrize('workers', [1, 2])


@pytest.fixture(autouse=True)
def handlers_as_before() -> Iterator[None]:
    callbacks = luigi.Task._event_callbacks
    before = {cls: {event: set(found) for event, found in events.items()} for cls, events in callbacks.items()}
    yield
    callbacks.clear()
    callbacks.update(before)


class Draw(kartnb.TaskOnKart):
    scale = luigi.IntParameter(default=1)

    def run(self) -> None:
        self.task_log['drawn'] = self.scale
        self.dump((self.scale * random.random(), float(np.random.rand()), float(self.rng.random())))


class Pair(kartnb.TaskOnKart):
    def requires(self) -> Any:
        return {'one': Draw(**self._where()), 'ten': Draw(scale=10, **self._where())}

    def _where(self) -> dict[str, str]:
        return {'workspace_directory': self.workspace_directory}

    def run(self) -> None:
        self.dump([self.load('one'), self.load('ten'), random.random()])


class Asking(Pair):
    def requires(self) -> Any:
        return Draw(**self._where())

    def run(self) -> Any:
        one = yield Draw(scale=2, **self._where())
        more = yield [Draw(scale=3, **self._where()), Draw(scale=4, **self._where())]
        self.dump([one.load(), [target.load() for target in more], self.load()])


class Broken(kartnb.TaskOnKart):
    how = luigi.Parameter(default='error')

    def run(self) -> None:
        self.dump('half made')
        if self.how == 'error':
            raise ValueError('no')
        if self.how == 'interrupt':
            raise KeyboardInterrupt

    def on_success(self) -> Any:
        if self.how == 'on_success':
            raise ValueError('not after all')
        return 'explained'

    def on_failure(self, exception: Any) -> Any:
        return f'on_failure: {exception}'


def build(*tasks: luigi.Task, workers: int = 1) -> Any:
    return luigi.build(
        tasks, local_scheduler=True, workers=workers, log_level='CRITICAL', detailed_summary=True, no_lock=True
    )


def _record(task: Any) -> RunRecord:
    directory = RecordDirectory(task.workspace_directory, type(task).__module__)
    record = newest_record(directory, f'{type(task).__name__}_{task.make_unique_id()}')
    assert record is not None
    return record


@WORKERS
@pytest.mark.parametrize('cls', [Pair, Asking])
def test_luigis_worker_gives_the_values_logs_and_records_of_a_build(cls: Any, workers: int, tmp_path: Path) -> None:
    by_luigi, by_kartnb = cls(workspace_directory=str(tmp_path / 'luigi')), cls(workspace_directory=str(tmp_path / 'k'))
    value = kartnb.build(by_kartnb)
    state = np.random.get_state()[1].tolist()
    assert build(by_luigi, workers=workers).status is luigi.LuigiStatusCode.SUCCESS
    assert np.random.get_state()[1].tolist() == state, 'the random state is restored'
    assert by_luigi.output().load() == value
    for node in kartnb.plan(by_luigi):
        name = f'{node.name}_{node.unique_id}'
        for kind in LOGS:
            suffix = 'txt' if kind == 'module_versions' else 'pkl'
            ours, theirs = (tmp_path / place / 'log' / kind / f'{name}.{suffix}' for place in ('luigi', 'k'))
            if kind == 'processing_time':
                assert 0 < pickle.loads(ours.read_bytes()) < 60
            elif kind == 'task_log':
                logged = pickle.loads(ours.read_bytes())
                assert [*logged.pop('file_path')] == [
                    str(tmp_path / 'luigi' / __name__.replace('.', '/') / name) + '.pkl'
                ]
                assert logged == ({'drawn': getattr(node.task, 'scale', 1)} if node.name == 'Draw' else {})
            elif kind != 'module_versions':
                assert pickle.loads(ours.read_bytes()) == pickle.loads(theirs.read_bytes())
            else:
                assert 'numpy==' in ours.read_text()
    one, other = _record(by_luigi), _record(by_kartnb)
    assert one.state == other.state == 'done'
    assert (one.code, one.shape, one.checks) == (other.code, other.shape, other.checks)
    # a worker asks for one after the other; it is the same tasks that count
    assert {x.unique_id: x.contents for x in one.inputs} == {x.unique_id: x.contents for x in other.inputs}
    assert len({_record(node.task).build_id for node in kartnb.plan(by_luigi)}) == 1
    assert [str(node.state) for node in kartnb.plan(by_luigi)] == ['cached'] * len(kartnb.plan(by_luigi))
    assert kartnb.build(by_luigi) == value


def test_luigi_says_complete_where_a_plan_says_stale() -> None:
    class Scaled(kartnb.TaskOnKart):
        def requires(self) -> Any:
            return Draw()

        def run(self) -> None:
            self.dump(1)

    def other(self: Any) -> None:
        self.dump(2)

    assert build(Scaled()).status is luigi.LuigiStatusCode.SUCCESS
    Scaled.run = other  # type: ignore[method-assign]
    assert build(Scaled()).status is luigi.LuigiStatusCode.SUCCESS
    assert Scaled().output().load() == 1, 'for luigi what exists is complete'
    assert [str(node.state) for node in kartnb.plan(Scaled(), on_code_change='rerun')] == ['cached', 'stale']
    assert kartnb.build(Scaled(), on_code_change='rerun') == 2


class Asked(kartnb.TaskOnKart):
    def run(self) -> None:
        self.dump(1)


class Asks(kartnb.TaskOnKart):
    def run(self) -> Any:
        target = yield Asked()
        self.dump(target.load())


def test_what_a_run_asked_for_counts_as_its_input(monkeypatch: pytest.MonkeyPatch) -> None:
    assert build(Asks()).status is luigi.LuigiStatusCode.SUCCESS
    monkeypatch.setattr(Asked, 'run', lambda self: self.dump(2))
    assert kartnb.build(Asks(), on_code_change='rerun') == 2


@WORKERS
@pytest.mark.parametrize('how', ['error', 'on_success'])
def test_a_failed_run_of_luigis_leaves_no_result_and_is_recorded(how: str, workers: int, tmp_path: Path) -> None:
    told = tmp_path / 'told'

    @Broken.event_handler(luigi.Event.FAILURE)
    def note(task: Any, error: Any) -> None:
        with told.open('a') as file:
            file.write(f'{error}\n')

    task = Broken(how=how)
    message = 'no' if how == 'error' else 'not after all'
    assert build(task, workers=workers).status is luigi.LuigiStatusCode.FAILED
    assert not task.output().exists()
    assert told.read_text() == f'{message}\n', 'luigi fires the event, once'
    directory = RecordDirectory(task.workspace_directory, __name__)
    failure = newest_failure(directory, f'Broken_{task.make_unique_id()}')
    assert failure is not None
    assert (failure.state, failure.error) == ('failed', f'ValueError: {message}')
    assert [str(node.state) for node in kartnb.plan(task)] == ['missing']


def test_a_failed_run_of_luigis_puts_the_earlier_result_back() -> None:
    class Once(kartnb.TaskOnKart):
        def run(self) -> None:
            self.dump('new')
            if self.rerun:
                raise ValueError('no')

    assert kartnb.build(Once()) == 'new'
    before = _record(Once()).result_id
    assert build(Once(rerun=True)).status is luigi.LuigiStatusCode.FAILED
    assert Once().output().load() == 'new'
    assert _record(Once()).result_id == before
    assert kartnb.plan(Once()).to_run() == ()


def test_an_interrupted_run_of_luigis_leaves_no_result() -> None:
    task = Broken(how='interrupt')
    with pytest.raises(KeyboardInterrupt):
        build(task)
    assert not task.output().exists()
    assert [str(node.state) for node in kartnb.plan(task)] == ['missing']


@WORKERS
def test_luigi_fires_the_events_and_calls_on_success_once(workers: int, tmp_path: Path) -> None:
    told = tmp_path / 'told'

    class Told(kartnb.TaskOnKart):
        def run(self) -> None:
            self._note('run')
            assert callable(self.set_status_message)
            self.set_status_message('half way')
            self.dump(1)

        def on_success(self) -> Any:
            self._note('on_success')
            return 'explained'

        def _note(self, text: str) -> None:
            with told.open('a') as file:
                file.write(f'{text}\n')

    for event in (luigi.Event.START, luigi.Event.PROCESSING_TIME, luigi.Event.SUCCESS, luigi.Event.FAILURE):
        Told.event_handler(event)(lambda task, *rest, event=event: task._note(event.rpartition('.')[2]))
    assert build(Told(), workers=workers).status is luigi.LuigiStatusCode.SUCCESS
    assert told.read_text().split() == ['start', 'run', 'on_success', 'processing_time', 'success']
    assert {'on_success', 'set_status_message'} & {k for k, v in vars(Told()).items() if v is not None} == set()


def test_a_direct_run_writes_no_logs(workspace: Path) -> None:
    Draw().run()
    assert Draw().output().exists()
    assert [path for path in workspace.rglob('*') if 'log' in path.parts] == []
    state = random.getstate()
    Draw(scale=2).run()
    assert random.getstate() != state, 'it draws, and is not seeded'


@WORKERS
def test_rerun_under_luigi_runs_again_and_what_needs_it_goes_on(workers: int) -> None:
    class Count(kartnb.TaskOnKart):
        def run(self) -> None:
            self.dump(os.urandom(8))

    class Downstream(kartnb.TaskOnKart):
        def requires(self) -> Any:
            return Count(rerun=True)

        def run(self) -> None:
            self.dump(self.load())

    first = kartnb.build(Count())
    assert build(Downstream(), workers=workers).status is luigi.LuigiStatusCode.SUCCESS
    assert Downstream().output().load() == Count().output().load() != first


def test_inputs_without_records_get_them() -> None:
    Draw().run()
    Draw(scale=10).run()
    assert build(Pair()).status is luigi.LuigiStatusCode.SUCCESS
    assert _record(Draw()).state == 'adopted'
    assert kartnb.plan(Pair()).to_run() == ()


@pytest.mark.parametrize('check', [True, False])
def test_settings_of_the_task_hold_under_luigi(check: bool) -> None:
    class Awaits(kartnb.TaskOnKart):
        complete_check_at_run = luigi.BoolParameter(default=check, significant=False)
        fix_random_seed_value = luigi.IntParameter(default=0, significant=False)
        should_dump_supplementary_log_files = luigi.BoolParameter(default=False, significant=False)

        async def run(self) -> None:
            await asyncio.sleep(0)
            self.dump(random.random())

    assert build(Awaits()).status is luigi.LuigiStatusCode.SUCCESS
    assert Awaits().output().load() == random.Random(0).random()
    assert not Path(Awaits().workspace_directory, 'log/task_log').exists()
    assert _record(Awaits()).state == 'done'


class Awaiting(kartnb.TaskOnKart):
    async def run(self) -> Any:
        await asyncio.sleep(0)
        drawn = yield Draw()
        await asyncio.sleep(0)
        self.dump(drawn.load())


@WORKERS
def test_a_coroutine_runs_within_a_loop_as_that_of_a_notebook(workers: int) -> None:
    async def cell() -> Any:
        result = build(Awaiting(), workers=workers)
        await asyncio.sleep(0)
        return result

    assert asyncio.run(cell()).status is luigi.LuigiStatusCode.SUCCESS
    assert Awaiting().output().load() == Draw().output().load()


def test_a_task_that_a_build_runs_is_waited_for() -> None:
    began, goes_on = threading.Event(), threading.Event()
    runs = []

    class Slow(kartnb.TaskOnKart):
        def run(self) -> None:
            runs.append(1)
            began.set()
            assert goes_on.wait(60)
            self.dump('made once')

    handle = kartnb.build(Slow(), background=True, executor='threads')
    assert began.wait(60)
    threading.Timer(0.3, goes_on.set).start()
    assert build(Slow()).status is luigi.LuigiStatusCode.SUCCESS
    assert handle.result() == 'made once'
    assert runs == [1]


PIPELINE = """
import random
import kartnb, luigi

class Source(kartnb.TaskOnKart):
    def run(self):
        self.dump(random.random())

class Train(kartnb.TaskOnKart):
    fails = luigi.BoolParameter()

    def requires(self):
        return Source()

    def run(self):
        self.dump(self.load() + random.random())
        if self.fails:
            raise ValueError('no')
"""


@WORKERS
def test_the_command_of_luigi_runs_tasks_of_kartnb(workers: int, workspace: Path, tmp_path: Path) -> None:
    source = tmp_path / 'src'
    source.mkdir()
    (source / 'trained_by_luigi.py').write_text(PIPELINE)
    environment = {**os.environ, 'PYTHONPATH': os.pathsep.join([str(source), *filter(None, sys.path)])}

    def run(*options: str) -> Any:
        command = [sys.executable, '-c', 'from luigi.cmdline import luigi_run; luigi_run()']
        given = ['--module', 'trained_by_luigi', 'Train', '--local-scheduler', f'--workers={workers}', *options]
        return subprocess.run([*command, *given], env=environment, capture_output=True, text=True, check=False)

    def values() -> list[float]:
        return sorted(pickle.loads(path.read_bytes()) for path in workspace.glob('trained_by_luigi/*.pkl'))

    found = run()
    assert found.returncode == 0, found.stderr
    assert 'This progress looks :)' in found.stderr
    assert len(list(workspace.glob('log/random_seed/Train_*.pkl'))) == 1
    before = values()
    for path in workspace.glob('trained_by_luigi/*.pkl'):
        path.unlink()
    assert run().returncode == 0
    assert values() == before, 'the same seeds, so the same numbers'
    found = run('--fails', '--retcode-task-failed=30')
    assert found.returncode == 30
    assert 'This progress looks :(' in found.stderr
    assert values() == before, 'a failed run leaves no result'


def test_a_second_build_under_the_same_seed_records_its_own_code(tmp_path: Path) -> None:
    program = tmp_path / 'seeded.py'
    program.write_text(SEEDED, encoding='utf-8')
    ended = subprocess.run([sys.executable, program.name], cwd=tmp_path, capture_output=True, text=True)
    assert ended.stdout.split() == ['cached', 'stale'], ended.stderr


#: luigi's ids of workers hold what `random` gives, so that these two builds have one.
SEEDED = """
import os, random
import luigi
import kartnb

def helper():
    return 1

class Helped(kartnb.TaskOnKart):
    def run(self):
        self.dump(helper())

def build():
    random.seed(0)
    assert luigi.build([Helped()], local_scheduler=True, no_lock=True, log_level='CRITICAL')

first = helper
build()

def helper():
    return 2

os.remove(Helped().output().path())
build()
print(kartnb.plan(Helped()).root.state.value)
helper = first
print(kartnb.plan(Helped()).root.state.value)
"""


def test_what_a_killed_run_has_left_is_not_built_on(tmp_path: Path) -> None:
    (tmp_path / 'killed.py').write_text(KILLED, encoding='utf-8')
    ended = subprocess.run([sys.executable, 'killed.py'], cwd=tmp_path, capture_output=True, text=True)
    assert ended.stdout.splitlines() == ['False', 'down whole'], ended.stderr


KILLED = """
import os
import luigi
import kartnb

def build(task):
    return luigi.build([task], local_scheduler=True, no_lock=True, log_level='CRITICAL')

class Up(kartnb.TaskOnKart):
    def run(self):
        self.dump('half')
        if not os.path.exists('quick'):
            os.kill(os.getpid(), 9)
        self.dump('whole')

class Down(kartnb.TaskOnKart):
    def requires(self):
        return Up()

    def run(self):
        self.dump('down ' + self.load())

pid = os.fork()
if not pid:
    build(Up())
os.waitpid(pid, 0)
open('quick', 'w').close()
print(build(Down()))
print(kartnb.build(Down()))
"""
