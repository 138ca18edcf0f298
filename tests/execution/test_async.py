"""`async def run`: awaited in every executor, and many at once with `executor='async'`."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import decimal
import json
import logging
import os
import pickle
import random
import signal
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import luigi
import pytest

import kartnb
from kartnb.errors import BuildStoppedError, ExecutorChoiceError, TaskNotDumpedError, TaskTimeoutError, WrongValueError
from kartnb.interrupts import kept_event_loop
from kartnb.model import TaskState
from tests.execution.luigi_settings import luigi_settings


class Call(kartnb.TaskOnKart[int]):
    n = luigi.IntParameter(1)

    async def run(self) -> None:
        print('call', self.n)
        await asyncio.sleep(0.05)
        print('answer', self.n)
        self.dump(self.n)


class Asks(kartnb.TaskOnKart[int]):
    """It yields tasks, and uses something of its event loop before and after that."""

    async def run(self) -> Any:
        lock = asyncio.Lock()
        async with lock:
            several = yield [Call(n=1), Call(n=2)]
            yield
            await asyncio.wait_for(asyncio.sleep(0.01), 10)
            one = yield Call(n=several[1].load() + 1)
        self.dump(several[0].load() + one.load())


class RunsALoop(kartnb.TaskOnKart[int]):
    def run(self) -> None:
        self.dump(asyncio.run(asyncio.sleep(0.01, 6)))


class All(kartnb.TaskOnKart[list[Any]]):
    tasks = kartnb.ListTaskInstanceParameter()

    def run(self) -> None:
        self.dump(self.load('tasks'))


class Endless(kartnb.TaskOnKart[int]):
    n = luigi.IntParameter(0)

    async def run(self) -> None:
        self.dump(-1)
        Path(f'begun-{self.n}').touch()
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0.01)
            Path(f'ended-{self.n}').touch()


def _until(condition: Any) -> None:
    deadline = time.monotonic() + 60
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert condition()


def _in_a_loop(coroutine: Any) -> Any:
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, coroutine).result(timeout=120)


def _in_this_thread(coroutine: Any) -> Any:
    """Run a coroutine in a loop that leaves interrupts alone, as that of a kernel does."""
    loop = asyncio.new_event_loop()
    with kept_event_loop():  # a test of a browser may have left one
        try:
            return loop.run_until_complete(coroutine)
        finally:
            loop.close()


def _record(workspace: Path, name: str) -> dict[str, Any]:
    [record] = workspace.rglob(f'log/run_record/**/{name}_*.json')
    told: dict[str, Any] = json.loads(record.read_text())
    return told


@contextlib.contextmanager
def _interrupted_when(condition: Any) -> Iterator[None]:
    """Interrupt the main thread, as Ctrl-C does, when this holds; the block must raise KeyboardInterrupt."""

    def interrupt() -> None:
        _until(condition)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        yield
    thread.join()


WHERE: list[dict[str, Any]] = [{}, {'executor': 'threads', 'workers': 2}, {'workers': 2}, {'executor': 'async'}]
IDS = ['inline', 'threads', 'processes', 'async']


@pytest.mark.parametrize('options', WHERE, ids=IDS)
def test_what_run_awaits_and_yields_is_awaited_in_every_executor(options: dict[str, Any]) -> None:
    tasks = [Asks(), Call(n=5), RunsALoop()]
    assert kartnb.build(All(tasks=tasks), **options) == [4, 5, 6]
    handle = kartnb.build(All(tasks=tasks), rerun=[Asks, Call, RunsALoop, All], background=True, **options)
    assert handle.result(timeout=60) == [4, 5, 6]


@pytest.mark.parametrize('options', WHERE, ids=IDS)
def test_a_running_event_loop_runs_on_after_a_build_in_its_thread(options: dict[str, Any]) -> None:
    async def cell() -> list[Any]:
        task, loop = asyncio.current_task(), asyncio.get_running_loop()
        value = kartnb.build(All(tasks=[RunsALoop(), Asks()]), **options)
        assert (asyncio.current_task(), asyncio.get_running_loop(), asyncio.get_event_loop()) == (task, loop, loop)
        await asyncio.sleep(0.01)
        value += await kartnb.build_async(All(tasks=[RunsALoop(), Asks()]), rerun=[RunsALoop, Asks, All], **options)
        return value

    assert _in_a_loop(cell()) == [6, 4, 6, 4]


def test_a_running_event_loop_runs_on_after_an_interrupt() -> None:
    async def cell() -> bool:
        before = asyncio.current_task(), asyncio.get_running_loop()
        with _interrupted_when(Path('begun-0').exists):
            kartnb.build(Endless())
        await asyncio.sleep(0.01)
        return before == (asyncio.current_task(), asyncio.get_running_loop())

    assert _in_this_thread(cell())
    assert Path('ended-0').exists()


@pytest.mark.parametrize('executor', [None, 'async'])
def test_an_interrupt_cancels_coroutines(executor: str | None, workspace: Path) -> None:
    tasks = [Endless(n=n) for n in range(3 if executor else 1)]
    threads = threading.active_count()
    with _interrupted_when(lambda: all(Path(f'begun-{task.n}').exists() for task in tasks)):
        kartnb.build(All(tasks=tasks), executor=executor)
    assert [Path(f'ended-{task.n}').exists() for task in tasks] == [True] * len(tasks)
    assert [task.complete() for task in tasks] == [False] * len(tasks)
    states = [json.loads(path.read_text())['state'] for path in workspace.rglob('log/run_record/**/Endless_*.json')]
    assert states == ['interrupted'] * len(tasks)
    assert threading.active_count() == threads
    assert kartnb.build(Call(), executor=executor) == 1


def test_a_stop_cancels_coroutines_and_closes_generators(workspace: Path) -> None:
    class Waits(kartnb.TaskOnKart[int]):
        async def run(self) -> Any:
            try:
                yield Endless()
            finally:
                await asyncio.sleep(0.01)
                Path('closed').touch()

    handle = kartnb.build(Waits(), executor='async', background=True)
    _until(Path('begun-0').exists)
    handle.stop()
    assert handle.status == 'stopped'
    assert [Path(name).exists() for name in ('ended-0', 'closed')] == [True, True]
    assert _record(workspace, 'Endless')['state'] == 'interrupted'
    assert not Endless().complete()
    with pytest.raises(BuildStoppedError):
        handle.result()


@pytest.mark.parametrize('options', WHERE, ids=IDS)
def test_a_generator_whose_requirement_fails_is_closed(options: dict[str, Any]) -> None:
    class Fails(kartnb.TaskOnKart[int]):
        async def run(self) -> None:
            raise ValueError('as expected')

    class Waits(kartnb.TaskOnKart[int]):
        async def run(self) -> Any:
            try:
                yield Fails()
            finally:
                await asyncio.sleep(0.01)
                Path('closed').touch()

    with pytest.raises(kartnb.GokartBuildError, match=r'ValueError: as expected\n    at .*test_async.py:\d+ in run'):
        kartnb.build(Waits(), **options)
    assert Path('closed').exists()


def test_a_coroutine_that_ignores_its_cancellation_is_named_and_left_behind_by_a_second_interrupt() -> None:
    class Stubborn(kartnb.TaskOnKart[int]):
        async def run(self) -> None:
            Path('begun-9').touch()
            while True:
                with contextlib.suppress(asyncio.CancelledError):
                    await asyncio.sleep(60)

    def interrupt_again(message: Any, *_: Any, **__: Any) -> None:
        told.append(str(message))
        os.kill(os.getpid(), signal.SIGINT)

    told: list[str] = []
    with warnings.catch_warnings(), _interrupted_when(Path('begun-9').exists):
        warnings.simplefilter('always')
        warnings.showwarning = interrupt_again
        kartnb.build(Stubborn(), executor='async')
    assert any('goes on although it was cancelled: Stubborn_' in message for message in told)
    assert not Stubborn().complete()


def test_many_run_at_once_and_not_more_than_the_concurrency(tmp_path: Path) -> None:
    class Counting(kartnb.TaskOnKart[int]):
        n = luigi.IntParameter()

        async def run(self) -> None:
            (tmp_path / f'running-{self.n}').touch()
            await asyncio.sleep(0.05)
            together = len(list(tmp_path.glob('running-*')))
            (tmp_path / f'running-{self.n}').unlink()
            self.dump(together)

    class Ordinary(Counting):
        def run(self) -> None:  # type: ignore[override]
            time.sleep(0.01)
            self.dump(0)

    tasks = [cls(n=n) for n in range(40) for cls in (Ordinary, Counting)]
    together = kartnb.build(All(tasks=tasks), executor='async', concurrency=7)
    assert max(together) == 7
    assert sum(together) > 2 * 40


def test_a_concurrency_that_limits_nothing_is_said() -> None:
    with pytest.warns(UserWarning, match=r"concurrency=5 has no effect: it limits the coroutines of executor='async'"):
        kartnb.build(Call(n=3), workers=2, concurrency=5)


@pytest.mark.parametrize('concurrency', [0, -1, True, 1.5, '3'])
def test_a_wrong_concurrency_is_refused(concurrency: Any) -> None:
    with pytest.raises(ExecutorChoiceError, match='concurrency must be a whole number from 1 on, not '):
        kartnb.build(Call(), executor='async', concurrency=concurrency)


def test_a_resource_limits_the_rate(tmp_path: Path) -> None:
    class Limited(kartnb.TaskOnKart[int]):
        n = luigi.IntParameter()
        resources = {'api': 1}  # noqa: RUF012 - as luigi has it

        async def run(self) -> None:
            (tmp_path / f'running-{self.n}').touch()
            await asyncio.sleep(0.05)
            together = len(list(tmp_path.glob('running-*')))
            (tmp_path / f'running-{self.n}').unlink()
            self.dump(together)

    with luigi_settings('resources', api=3):
        together = kartnb.build(All(tasks=[Limited(n=n) for n in range(12)]), executor='async')
    assert max(together) == 3


def test_failures_and_retries_are_those_of_each_task() -> None:
    class Second(kartnb.TaskOnKart[str]):
        retry_count = 2

        async def run(self) -> None:
            await asyncio.sleep(0.01)
            if not Path('tried').exists():
                Path('tried').touch()
                raise OSError('try again')
            self.dump('second time')

    class Cancels(kartnb.TaskOnKart[str]):
        async def run(self) -> None:
            future = asyncio.get_running_loop().create_future()
            future.cancel()
            await future

    with pytest.raises(kartnb.GokartBuildError, match='1 task failed, and 1 that needs') as caught:
        kartnb.build(All(tasks=[Second(), Cancels(), Call(n=4)]), executor='async')
    assert isinstance(caught.value.__cause__, asyncio.CancelledError)
    assert kartnb.build(Second()) == 'second time'
    assert Call(n=4).complete()


def test_a_time_limit_ends_a_coroutine_and_nothing_else(workspace: Path) -> None:
    class Slow(Endless):
        worker_timeout = 1

    heard: list[str] = []
    handler = Slow.event_handler(luigi.Event.TIMEOUT)(lambda task, message: heard.append(message))
    try:
        with pytest.raises(kartnb.GokartBuildError) as caught:
            kartnb.build(All(tasks=[Slow(n=3), Call(n=2)]), executor='async')
    finally:
        Slow.remove_event_handler(luigi.Event.TIMEOUT, handler)
    error = caught.value.__cause__
    assert isinstance(error, TaskTimeoutError)
    assert str(error) == 'Slow ran longer than its worker_timeout of 1 s and was ended.'
    assert heard == [str(error)]
    assert Path('ended-3').exists()
    assert Call(n=2).complete()
    assert not Slow(n=3).complete()
    told = _record(workspace, 'Slow')
    assert (told['state'], told['error']) == ('failed', f'kartnb.errors.TaskTimeoutError: {error}')


def test_output_and_files_belong_to_the_task_although_they_interleave(tmp_path: Path, workspace: Path) -> None:
    class Reads(kartnb.TaskOnKart[str]):
        n = luigi.IntParameter()

        async def run(self) -> None:
            print(f'first {self.n}')
            await asyncio.sleep(0.05)
            text = await asyncio.to_thread((tmp_path / f'data-{self.n}').read_text)
            print(f'then {self.n}')
            self.dump(text)

    for n in range(4):
        (tmp_path / f'data-{n}').write_text(str(n))
    kartnb.build(All(tasks=[Reads(n=n) for n in range(4)]), executor='async')
    for n in range(4):
        lines = [line.text for line in kartnb.logs(Reads(n=n))]
        assert lines == [f'first {n}', f'then {n}']
    read = []
    for path in workspace.rglob('log/run_record/**/Reads_*.json'):
        told = json.loads(path.read_text())
        read.append((told['parameters']['n'], [Path(file['path']).name for file in told['files']]))
    assert sorted(read) == [(str(n), [f'data-{n}']) for n in range(4)]


def test_the_random_state_is_nobodys_and_the_log_says_so(workspace: Path) -> None:
    async def cell() -> tuple[Any, Any]:
        random.seed(1)
        before = random.getstate()
        await kartnb.build_async(Call(), executor='async')
        return before, random.getstate()

    before, after = _in_this_thread(cell())
    assert before == after
    [log] = workspace.rglob('log/random_seed/Call_*.pkl')
    assert pickle.loads(log.read_bytes())['seed_methods'] == []


def test_an_awaited_build_runs_coroutines_in_the_loop_that_awaits_it() -> None:
    class InTheLoop(kartnb.TaskOnKart[tuple[bool, str]]):
        async def run(self) -> None:
            same = asyncio.get_running_loop() is known['loop']
            self.dump((same, threading.current_thread().name))

    known: dict[str, Any] = {}

    async def cell() -> list[Any]:
        known['loop'] = asyncio.get_running_loop()
        found = [await kartnb.build_async(InTheLoop(), executor='async')]
        found.append(kartnb.build(InTheLoop(), executor='async', rerun=True))
        with pytest.raises(ExecutorChoiceError, match='cannot run tasks while it waits for the build'):
            kartnb.build(InTheLoop(), executor=known['loop'], rerun=True)
        return found

    (awaited, thread), (blocking, other) = _in_a_loop(cell())
    assert (awaited, blocking) == (True, False)
    assert other == 'kartnb-async' != thread


def test_who_cancels_an_awaited_build_stops_it(workspace: Path) -> None:
    async def cell() -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(kartnb.build_async(Endless(), executor='async'), 1)

    _in_a_loop(cell())
    _until(lambda: [path for path in workspace.rglob('log/run_record/**/Endless_*.json') if path.stat().st_size])
    assert Path('ended-0').exists()
    assert _record(workspace, 'Endless')['state'] == 'interrupted'
    assert not Endless().complete()


def test_what_was_not_awaited_is_named() -> None:
    async def fetch() -> int:
        return 1

    class Dumps(kartnb.TaskOnKart[int]):
        def run(self) -> None:
            self.dump(fetch())

    class Calls(kartnb.TaskOnKart[int]):
        async def store(self) -> None:
            self.dump(1)

        def run(self) -> None:
            coroutine = self.store()
            coroutine.close()

    with warnings.catch_warnings():
        warnings.simplefilter('error')
        with pytest.raises(kartnb.GokartBuildError) as caught:
            kartnb.build(Dumps())
    assert isinstance(caught.value.__cause__, WrongValueError)
    assert str(caught.value.__cause__) == (
        'Dumps dumps the coroutine fetch, which was not awaited: write self.dump(await fetch(…)) in an `async def run`.'
    )
    with pytest.raises(kartnb.GokartBuildError) as caught:
        kartnb.build(Calls())
    assert isinstance(caught.value.__cause__, TaskNotDumpedError)
    assert 'it calls store, an `async def`, which does nothing until it is awaited' in str(caught.value.__cause__)


def test_run_by_hand_can_be_awaited() -> None:
    async def twice() -> None:
        await Call(n=3).run()
        await Call(n=3).run()

    _in_a_loop(twice())
    assert Call(n=3).complete()


def test_the_command_line_has_the_options(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        kartnb.run(
            [
                'Call',
                '--no-lock',
                '--n=8',
                '--executor=async',
                '--concurrency=2',
                '--local-scheduler',
                '--log-level=ERROR',
            ]
        )
    assert ended.value.code == 0
    assert Call(n=8).complete()
    with pytest.raises(SystemExit):
        kartnb.run(['Call', '--no-lock', '--n=9', '--executor=async', '--concurrency=none', '--local-scheduler'])
    assert "--concurrency must be a number from 1 up, not 'none'." in capsys.readouterr().err


def test_a_handle_shows_interrupted_tasks() -> None:
    handle = kartnb.build(All(tasks=[Endless(n=1), Endless(n=2)]), executor='async', concurrency=1, background=True)
    _until(lambda: any(Path('.').glob('begun-*')))
    handle.stop()
    states = [node.state for node in handle.plan if node.name == 'Endless']
    assert sorted(state.value for state in states) == sorted([TaskState.INTERRUPTED.value, TaskState.MISSING.value])


def test_options_of_libraries_are_those_of_the_building_thread() -> None:
    class Precise(kartnb.TaskOnKart[int]):
        async def run(self) -> None:
            await asyncio.sleep(0.01)
            self.dump(decimal.getcontext().prec)

    async def cell() -> int:
        with decimal.localcontext(prec=51):
            return await kartnb.build_async(Precise(), executor='async')

    with decimal.localcontext(prec=50):
        assert kartnb.build(Precise(), executor='async') == 50
    Precise().output().remove()
    assert _in_a_loop(cell()) == 51
    assert kartnb.build(All(tasks=[Precise()]), rerun=[Precise], executor='async') == [decimal.getcontext().prec]


class Counted(kartnb.TaskOnKart[int]):
    n = luigi.IntParameter()

    async def run(self) -> None:
        with Path('runs').open('a') as file:
            file.write(f'{self.n} ')
        await asyncio.sleep(0.1)
        self.dump(self.n)


def test_builds_in_one_loop_run_a_shared_task_once() -> None:
    class Shares(kartnb.TaskOnKart[int]):
        n = luigi.IntParameter()

        def requires(self) -> Any:
            return [Counted(n=1), Counted(n=2)]

        def run(self) -> None:
            self.dump(self.n)

    async def cell() -> list[int]:
        return await asyncio.gather(*(kartnb.build_async(Shares(n=n), executor='async') for n in range(3)))

    assert _in_a_loop(cell()) == [0, 1, 2]
    assert sorted(Path('runs').read_text().split()) == ['1', '2']


@pytest.mark.parametrize('options', WHERE, ids=IDS)
def test_a_coroutine_may_build_other_tasks(options: dict[str, Any]) -> None:
    class Builds(kartnb.TaskOnKart[list[int]]):
        async def run(self) -> None:
            found = [await kartnb.build_async(Counted(n=1), executor='async')]
            found += [kartnb.build(Counted(n=2)), kartnb.build(Counted(n=3), executor='async')]
            await asyncio.sleep(0.01)
            self.dump(found)

    assert kartnb.build(Builds(), **options) == [1, 2, 3]


def test_a_coroutine_that_was_ended_is_tried_again_when_it_asks_for_that() -> None:
    class Once(kartnb.TaskOnKart[str]):
        worker_timeout = 1
        retry_count = 2

        async def run(self) -> None:
            if not Path('tried').exists():
                Path('tried').touch()
                await asyncio.sleep(120)
            self.dump('second time')

    assert kartnb.build(Once(), executor='async') == 'second time'


def test_what_a_coroutine_leaves_in_its_loop_is_cancelled_before_the_build_ends() -> None:
    class Leaves(kartnb.TaskOnKart[int]):
        async def run(self) -> None:
            async def endless() -> None:
                try:
                    await asyncio.Event().wait()
                finally:
                    with Path('cancelled').open('a') as file:
                        file.write('x')

            self.left = asyncio.create_task(endless())
            await asyncio.sleep(0.01)
            self.dump(1)

    assert kartnb.build(Leaves()) == kartnb.build(Leaves(), executor='async', rerun=True) == 1
    assert Path('cancelled').read_text() == 'xx'


class Greedy(kartnb.TaskOnKart[int]):
    """It catches everything, and hands back what it has so far."""

    n = luigi.IntParameter()

    def run(self) -> None:
        seconds = 0.0
        try:
            Path(f'begun-{self.n}').touch()
            for _ in range(300):
                time.sleep(0.1)
                seconds += 0.1
        except BaseException:
            logging.getLogger('mine').debug('enough')
        self.dump(round(seconds))


class GreedyCoroutine(Greedy):
    async def run(self) -> None:  # type: ignore[override]
        seconds = 0.0
        try:
            Path(f'begun-{self.n}').touch()
            for _ in range(300):
                await asyncio.sleep(0.1)
                seconds += 0.1
        except BaseException:
            logging.getLogger('mine').debug('enough')
        self.dump(round(seconds))


@pytest.mark.parametrize(
    'cls, options',
    [
        *((Greedy, options) for options in ({}, {'workers': 2})),  # in a thread no interrupt reaches it
        *((GreedyCoroutine, options) for options in ({}, {'workers': 2}, {'executor': 'async'})),
    ],
)
def test_a_run_that_catches_an_interrupt_keeps_no_result(cls: type[Greedy], options: dict[str, Any]) -> None:
    task = cls(n=1)
    with _interrupted_when(Path('begun-1').exists):
        kartnb.build(task, **options)
    assert kartnb.plan(task).to_run()


def test_a_coroutine_that_catches_a_stop_or_the_end_of_its_time_keeps_no_result(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Limited(GreedyCoroutine):
        worker_timeout = 1

    with pytest.raises(kartnb.GokartBuildError, match='ran longer than its worker_timeout of 1 s'):
        kartnb.build(Limited(n=1), executor='async')
    assert 'has caught what was to end it: its result is not kept' in caplog.text
    handle = kartnb.build(GreedyCoroutine(n=2), executor='async', background=True)
    _until(Path('begun-2').exists)
    handle.stop()
    assert handle.status == 'stopped'
    assert [kartnb.plan(task).to_run() != () for task in (Limited(n=1), GreedyCoroutine(n=2))] == [True, True]


def test_an_interrupt_that_a_forked_child_gets_is_not_its_parents() -> None:
    class Forks(kartnb.TaskOnKart[int]):
        def run(self) -> None:
            child = os.fork()
            if not child:
                with contextlib.suppress(KeyboardInterrupt):
                    os.kill(os.getpid(), signal.SIGINT)
                    time.sleep(10)
                os._exit(0)
            os.waitpid(child, 0)
            self.dump(1)

    assert kartnb.build(Forks()) == 1


@pytest.mark.parametrize('what', ['handler', 'descriptor', 'timer'])
def test_an_interrupt_is_heard_after_what_tasks_have_done_to_signals(what: str) -> None:
    class Earlier(kartnb.TaskOnKart[int]):
        def run(self) -> None:
            async def handle() -> None:
                asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, lambda: None)

            if what == 'handler':
                asyncio.run(handle())
            elif what == 'descriptor':
                signal.set_wakeup_fd(-1)
            self.dump(1)

    class Later(Greedy):
        def requires(self) -> Any:
            return Earlier()

        def run(self) -> None:
            if what == 'timer':
                before = signal.signal(signal.SIGALRM, lambda *_: None)
                for _ in range(1000):
                    signal.raise_signal(signal.SIGALRM)
                signal.signal(signal.SIGALRM, before)
            super().run()

    with _interrupted_when(Path('begun-5').exists):
        kartnb.build(Later(n=5))
    assert kartnb.plan(Later(n=5)).to_run()


class CancelsItself(kartnb.TaskOnKart[int]):
    async def run(self) -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await asyncio.sleep(0)


@pytest.mark.parametrize('how', ['build', 'background', 'awaited'])
def test_a_coroutine_that_cancels_itself_fails_alone(how: str) -> None:
    root = All(tasks=[CancelsItself(), Call(n=1), Call(n=2)])
    builds: dict[str, Callable[[], Any]] = {
        'build': lambda: kartnb.build(root, executor='async'),
        'background': lambda: kartnb.build(root, executor='async', background=True).result(60),
        'awaited': lambda: asyncio.run(kartnb.build_async(root, executor='async')),
    }
    with pytest.raises(kartnb.GokartBuildError) as caught:
        builds[how]()
    assert list(caught.value.raised_exceptions) == [CancelsItself().make_unique_id()]
    assert [Call(n=n).complete() for n in (1, 2)] == [True, True]


def test_a_build_ends_though_a_coroutine_stops_its_loop() -> None:
    class Stops(kartnb.TaskOnKart[int]):
        async def run(self) -> None:
            asyncio.get_running_loop().stop()
            await asyncio.sleep(0.01)
            self.dump(1)

    assert kartnb.build(Stops(), executor='async') == 1


_PLACE = contextvars.ContextVar('_PLACE', default='nowhere')


class Tells(kartnb.TaskOnKart[str]):
    n = luigi.IntParameter()

    def run(self) -> None:
        self.dump(_PLACE.get())


class TellsLater(Tells):
    async def run(self) -> None:  # type: ignore[override]
        await asyncio.sleep(0)
        self.dump(_PLACE.get())


def test_tasks_have_the_context_variables_of_who_builds_them() -> None:
    token = _PLACE.set('here')
    try:
        options: list[dict[str, Any]] = [{}, {'executor': 'threads', 'workers': 2}, {'executor': 'async'}]
        for n, each in enumerate(options):
            tasks = [Tells(n=2 * n), TellsLater(n=2 * n)]
            assert kartnb.build(All(tasks=tasks), **each) == ['here', 'here']
            tasks = [Tells(n=2 * n + 1), TellsLater(n=2 * n + 1)]
            assert each == {} or asyncio.run(kartnb.build_async(All(tasks=tasks), **each)) == ['here', 'here']
    finally:
        _PLACE.reset(token)


class Client:
    """It holds the loop in which it was made, as clients of services do."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.connection = asyncio.ensure_future(asyncio.sleep(60))

    async def fetch(self) -> int:
        await asyncio.sleep(0)
        return 5


CLIENTS: list[Client] = []


class Fetches(kartnb.TaskOnKart[int]):
    async def run(self) -> None:
        self.dump(await CLIENTS[0].fetch())


def test_what_runs_in_the_loop_of_a_client_is_no_code_of_a_task() -> None:
    async def cell() -> list[bool]:
        CLIENTS[:] = [Client()]
        stale = []
        for _ in range(2):
            await kartnb.build_async(Fetches(), executor='async')
            others = [asyncio.create_task(asyncio.sleep(60 + n)) for n in range(2)]
            await asyncio.sleep(0)
            plan = kartnb.plan(Fetches())
            stale.append(bool(plan.to_run() or plan.notes))
            for other in others:
                other.cancel()
        return stale

    try:
        assert asyncio.run(cell()) == [False, False]
    finally:
        CLIENTS.clear()
