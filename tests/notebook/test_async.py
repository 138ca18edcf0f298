"""Coroutines of tasks in a real kernel, whose own event loop runs in the thread of the cells."""

from __future__ import annotations

import pytest

from tests.notebook.kernel import Kernel

TASKS = """
import asyncio, os, pathlib, time
import kartnb, luigi

async def fetch(number):
    await asyncio.sleep(0.01)
    return 2 * number

class RunsALoop(kartnb.TaskOnKart):
    def run(self):
        print('runs a loop')
        self.dump(asyncio.run(fetch(3)))

class Awaits(kartnb.TaskOnKart):
    async def run(self):
        print('awaits')
        self.dump(await fetch(4))

class Asks(kartnb.TaskOnKart):
    async def run(self):
        found = yield [RunsALoop(), Awaits()]
        await asyncio.sleep(0.01)
        self.dump([each.load() for each in found])

class Endless(kartnb.TaskOnKart):
    number = luigi.IntParameter(default=0)

    async def run(self):
        self.dump(-1)
        try:
            await asyncio.Event().wait()
        finally:
            pathlib.Path(f'ended-{self.number}').touch()

class Both(kartnb.TaskOnKart):
    def requires(self):
        return [Endless(number=1), Endless(number=2)]

async def loop_is_whole():
    await asyncio.sleep(0.01)
    return asyncio.get_running_loop() is asyncio.get_event_loop() and asyncio.current_task() is not None
"""
REDO = 'rerun=[Asks, Awaits, RunsALoop]'


@pytest.fixture
def tasks(kernel: Kernel) -> Kernel:
    """Return a kernel that knows the tasks."""
    kernel.ok(TASKS)
    return kernel


@pytest.mark.parametrize(
    'build',
    [
        'kartnb.build(Asks(), {redo})',
        "kartnb.build(Asks(), {redo}, executor='threads')",
        "kartnb.build(Asks(), {redo}, executor='async')",
        'kartnb.build(Asks(), {redo}, workers=2)',
        'await kartnb.build(Asks(), {redo}, background=True)',
        "await kartnb.build(Asks(), {redo}, background=True, executor='inline')",
        'await kartnb.build_async(Asks(), {redo})',
        "await kartnb.build_async(Asks(), {redo}, executor='async')",
    ],
)
def test_tasks_await_and_run_loops_beside_the_loop_of_the_kernel(tasks: Kernel, build: str) -> None:
    assert tasks.ok(build.format(redo=REDO)).value == '[6, 8]'
    assert tasks.ok('await loop_is_whole()').value == 'True'


def test_the_magic_takes_the_options(tasks: Kernel) -> None:
    tasks.ok('%load_ext kartnb')
    tasks.ok('found = %kart_build --executor async --concurrency 3 Asks()')
    assert tasks.ok('found').value == '[6, 8]'
    cell = tasks.run('%kart_build --executor async --concurrency 0 Asks()')
    assert '--concurrency: 0 is not a whole number of at least 1' in cell.stderr


def test_a_client_of_the_notebook_is_used_by_tasks(tasks: Kernel) -> None:
    tasks.ok("""
async def answer(reader, writer):
    writer.write((await reader.readline()).upper())
    await writer.drain()

server = await asyncio.start_server(answer, '127.0.0.1', 0)
reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())

class Through(kartnb.TaskOnKart):
    async def run(self):
        writer.write(b'hello\\n')
        self.dump((await reader.readline()).decode())
""")
    assert tasks.ok("await kartnb.build_async(Through(), executor='async')").value == "'HELLO\\n'"
    tasks.ok('writer.close(); server.close()')


@pytest.mark.parametrize(
    'build',
    [
        'kartnb.build(Endless(number=1))',
        "kartnb.build(Both(), executor='async')",
        "await kartnb.build_async(Both(), executor='async')",
    ],
)
def test_an_interrupted_cell_cancels_the_coroutines(tasks: Kernel, build: str) -> None:
    cell = tasks.run(build, interrupt_after=2)
    assert cell.error is not None
    assert cell.error['ename'] in ('KeyboardInterrupt', 'CancelledError')
    assert tasks.ok("pathlib.Path('ended-1').exists()").value == 'True'
    assert tasks.ok('Endless(number=1).complete()').value == 'False'
    assert tasks.ok('await loop_is_whole()').value == 'True'
    assert tasks.ok(f'kartnb.build(Asks(), {REDO})').value == '[6, 8]'


@pytest.mark.parametrize('options', ['', ", executor='async'", ', workers=2', ", executor='threads'"])
def test_a_cell_that_would_wait_for_its_own_event_loop_says_so(tasks: Kernel, options: str) -> None:
    tasks.ok("""
class Slow(kartnb.TaskOnKart):
    async def run(self):
        await asyncio.sleep(1)
        self.dump('slept')

under_way = asyncio.create_task(kartnb.build_async(Slow(), executor='async'))
while not list(pathlib.Path('resources').rglob('Slow_*running*')):
    await asyncio.sleep(0.01)
""")
    cell = tasks.run(f'kartnb.build(Slow(){options})')
    assert cell.error is not None
    assert 'runs in the event loop of this thread' in cell.error['evalue']
    assert tasks.ok('await under_way').value == "'slept'"
    assert tasks.ok(f'kartnb.build(Slow(){options})').value == "'slept'"


def test_the_traceback_of_a_coroutine_is_that_of_the_notebook(tasks: Kernel) -> None:
    tasks.ok("""
%load_ext kartnb
async def inner():
    raise ValueError('from within')

class Fails(kartnb.TaskOnKart):
    async def run(self):
        await inner()
""")
    for options in ('', "executor='async'"):
        cell = tasks.run(f'kartnb.build(Fails(), {options})')
        assert "raise ValueError('from within')" in cell.traceback
        assert 'await inner()' in cell.traceback
        assert 'asyncio' not in cell.traceback
        assert '_awaited' not in cell.traceback


def test_what_interleaved_coroutines_print_is_shown_once_and_kept_with_each(tasks: Kernel) -> None:
    tasks.ok("""
class Prints(kartnb.TaskOnKart):
    number = luigi.IntParameter()

    async def run(self):
        print('first', self.number)
        await asyncio.sleep(0.05)
        print('then', self.number)
        self.dump(self.number)

class All(kartnb.TaskOnKart):
    def requires(self):
        return [Prints(number=n) for n in range(3)]

    def run(self):
        self.dump(self.load())
""")
    cell = tasks.ok("await kartnb.build_async(All(), executor='async')")
    assert sorted(cell.stdout.splitlines()) == sorted(f'{word} {n}' for n in range(3) for word in ('first', 'then'))
    for n in range(3):
        kept = tasks.ok(f'[line.text for line in kartnb.logs(Prints(number={n}))]').value
        assert kept == f"['first {n}', 'then {n}']"


def test_requirements_that_run_a_loop_are_planned(tasks: Kernel) -> None:
    tasks.ok(
        """
class Planned(kartnb.TaskOnKart):
    def requires(self):
        return [Awaits() for _ in range(asyncio.run(fetch(1)))]

    def complete(self):
        return asyncio.run(fetch(0)) == 1

    def run(self):
        self.dump(self.load())
"""
    )
    assert tasks.ok('len(list(kartnb.plan(Planned())))').value == '2'
    assert tasks.ok('kartnb.build(Planned())').value == '[8, 8]'
    assert tasks.ok('await loop_is_whole()').value == 'True'
