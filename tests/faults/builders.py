"""Several builders of one graph: each task runs once, whoever dies.

``python -m tests.faults.builders CASE PLACE`` is run by test_exactly_once.py: a driver that forks builders. Each run of
a task says in the file ``runs`` when it begins and ends.
"""

from __future__ import annotations

import collections
import contextlib
import functools
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import kartnb
from kartnb import luigi  # without a grammar that luigi compiles for seconds
from tests.faults.children import Child, Died, adopt_orphans, reap

PLACE = ''
#: At most so many seconds of each run are slept away.
SLEEP = 0.02
#: What the tasks of a graph add up to.
LEAVES = 20
TOTAL = sum(range(LEAVES))


def note(what: str, task: Any) -> None:
    """Say in one write what a task does."""
    line = f'{what} {type(task).__name__}{getattr(task, "n", "")} {os.getpid()}\n'
    descriptor = os.open(os.path.join(PLACE, 'runs'), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(descriptor, line.encode())
    os.close(descriptor)


class Noted(kartnb.TaskOnKart[int]):
    """A task that says when it runs; how long it takes does not count for its result."""

    sleep = luigi.FloatParameter(SLEEP, significant=False)

    def run(self) -> None:
        note('begin', self)
        time.sleep(self.sleep * random.SystemRandom().random())
        self.dump(self.value())
        note('end', self)

    def value(self) -> int:
        raise NotImplementedError


class Leaf(Noted):
    n = luigi.IntParameter()

    def value(self) -> int:
        return int(self.n)


class Middle(Noted):
    n = luigi.IntParameter()

    def requires(self) -> Any:
        return [Leaf(n=n, **common(self)) for n in range(self.n, LEAVES, 5)]

    def value(self) -> int:
        return sum(self.load())


class Root(Noted):
    def requires(self) -> Any:
        return [Middle(n=n, **common(self)) for n in range(5)]

    def value(self) -> int:
        return sum(self.load())


class Top(Noted):
    """One of many roots above a leaf that they share."""

    n = luigi.IntParameter()

    def requires(self) -> Any:
        return Leaf(n=0, sleep=0.5)

    def value(self) -> int:
        return int(self.load()) + int(self.n)


def common(task: Any) -> dict[str, Any]:
    names = ('sleep', 'workspace_directory', 'redis_host', 'redis_port')
    return {name: getattr(task, name) for name in names}


class Once(kartnb.TaskOnKart[str]):
    """A task whose run goes on until it is told to end."""

    who = luigi.Parameter('', significant=False)

    def run(self) -> None:
        note('begin', self)
        until(lambda: os.path.exists(os.path.join(PLACE, f'go {self.who}')))
        if self.who == 'fails':
            raise RuntimeError('network down')
        self.dump(f'made by {self.who}')
        note('end', self)


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 50
    while not condition():
        assert time.monotonic() < deadline, 'it does not come about'
        time.sleep(0.005)


def go(who: str) -> None:
    open(os.path.join(PLACE, f'go {who}'), 'w').close()


def runs(what: str) -> list[tuple[str, int]]:
    """Which tasks have begun or ended a run, and in which process."""
    try:
        with open(os.path.join(PLACE, 'runs')) as file:
            lines = [line.split() for line in file]
    except FileNotFoundError:
        return []
    return [(task, int(pid)) for word, task, pid in lines if word == what]


def counted(what: str = 'begin') -> dict[str, int]:
    return dict(collections.Counter(task for task, _ in runs(what)))


def built(task: Any, **options: Any) -> Any:
    return kartnb.build(task, log_level=50, **options)


def overlap(builders: int, **options: Any) -> dict[str, Any]:
    """Several processes build one graph at the same time."""
    root = Root(**options.pop('root', {}))
    children = [Child(lambda: built(root, **options)) for _ in range(builders)]
    values = [child.result() for child in children]
    return {'values': values, 'runs': counted()}


def threads_of_one_process(kind: str) -> dict[str, Any]:
    """Twenty builds of one process, which share a leaf."""

    def build_all() -> list[Any]:
        if kind == 'background':
            handles = [kartnb.build(Top(n=n), background=True, executor='threads') for n in range(20)]
            return [handle.result() for handle in handles]
        values: dict[int, Any] = {}
        threads = [threading.Thread(target=lambda n=n: values.update({n: built(Top(n=n))})) for n in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return [values.get(n) for n in range(20)]

    return {'values': Child(build_all).result(), 'runs': counted()}


def kills(number: int, builders: int = 3) -> dict[str, Any]:
    """Builders are killed at random moments until so many have been, graph after graph."""
    global PLACE
    above, killed_in_all, rounds = PLACE, 0, 0
    wrong: list[str] = []
    chance = random.Random(11)
    while killed_in_all < number:
        rounds += 1
        PLACE = os.path.join(above, f'round {rounds}')
        os.makedirs(PLACE)
        build = functools.partial(built, Root(workspace_directory=os.path.join(PLACE, 'workspace'), sleep=0.004))
        working, killed = [Child(build) for _ in range(builders)], set()
        while not all(child.has_ended() for child in working):
            time.sleep(chance.random() * 0.06)
            child = chance.choice(working)
            if not child.has_ended() and len(killed) < 12:
                child.kill()
                working.remove(child)
                try:
                    child.result()
                except Died:
                    killed.add(child.pid)
                working.append(Child(build))
        wrong += [f'value {value}' for child in working if (value := child.result()) != TOTAL]
        reap()
        killed_in_all += len(killed)
        wrong += wrong_runs(killed)
        wrong += [f'stays: {name}' for _, _, names in os.walk(PLACE) for name in names if is_litter(name)]
    return {'kills': killed_in_all, 'rounds': rounds, 'wrong': wrong}


def is_litter(name: str) -> bool:
    return '~running' in name or name.endswith(('.kart-tmp', '.lock'))


def wrong_runs(killed: set[int]) -> list[str]:
    """Tasks with more than one run by a process that lived."""
    living = collections.Counter(task for task, pid in runs('begin') if pid not in killed)
    return [f'{task} ran {count} times' for task, count in living.items() if count > 1]


def death_of_the_holder(executor: str) -> dict[str, Any]:
    """A process dies while it runs a task for which another one waits."""
    holder = Child(lambda: built(Once(who='first'), executor=executor))
    until(lambda: len(runs('begin')) == 1)
    waiting = Child(lambda: watched(Once(who='second'))[0])
    until(lambda: os.path.exists(os.path.join(PLACE, 'waits')))
    go('second')
    holder.kill()
    return {'value': waiting.result(), 'begun': len(runs('begin'))}


def watched(task: Any, **options: Any) -> tuple[Any, list[str]]:
    """Build a task, and leave a file when it waits for another process; give the states that it had."""
    states: list[str] = []

    def listen(event: Any) -> None:
        state = str(getattr(event, 'state', ''))
        states.append(state)
        if state == 'waiting':
            open(os.path.join(PLACE, 'waits'), 'w').close()

    return built(task, listeners=[listen], **options), states


def waits_and_loads() -> dict[str, Any]:
    """A build waits for the task of another process, and goes on when that is done."""
    holder = Child(lambda: built(Once(who='first')))
    until(lambda: len(runs('begin')) == 1)
    waiting = Child(lambda: watched(Once(who='second')))
    until(lambda: os.path.exists(os.path.join(PLACE, 'waits')))
    go('first')
    value, states = waiting.result()
    return {'values': [holder.result(), value], 'states': states, 'begun': len(runs('begin'))}


def stopped_while_waiting(how: str) -> dict[str, Any]:
    """A build that waits is stopped; the one that has the task goes on."""
    holder = Child(lambda: built(Once(who='first')))
    until(lambda: len(runs('begin')) == 1)

    def stop_in_background() -> str:
        seen = threading.Event()
        handle = kartnb.build(
            Once(who='second'),
            background=True,
            executor='threads',
            listeners=[lambda event: seen.set() if str(getattr(event, 'state', '')) == 'waiting' else None],
        )
        assert seen.wait(50)
        handle.stop()
        return str(handle.status)

    def interrupted() -> str:
        try:
            watched(Once(who='second'))
        except KeyboardInterrupt:
            return 'stopped'
        return 'not stopped'

    waiting = Child(stop_in_background if how == 'background' else interrupted)
    if how != 'background':
        until(lambda: os.path.exists(os.path.join(PLACE, 'waits')))
        waiting.kill(signal.SIGINT)
    ended = waiting.result()
    go('first')
    return {'ended': ended, 'value': holder.result(), 'begun': counted()}


CODE = 1


class Changing(kartnb.TaskOnKart[Any]):
    who = luigi.Parameter('', significant=False)

    def run(self) -> None:
        note('begin', self)
        if self.who == 'slow':
            until(lambda: os.path.exists(os.path.join(PLACE, 'go slow')))
            raise RuntimeError('network down')
        self.dump(CODE)


def slow_failure() -> dict[str, Any]:
    """A slow run fails while another build, in a thread, wants the same new result: the old one must not come back."""
    global CODE
    built(Changing())
    CODE = 2
    errors: list[str] = []

    def build_slowly() -> None:
        try:
            built(Changing(who='slow'), on_code_change='rerun')
        except kartnb.GokartBuildError as error:
            errors.append(type(error).__name__)

    slow = threading.Thread(target=build_slowly)
    slow.start()
    until(lambda: len(runs('begin')) == 2)
    fast = kartnb.build(Changing(who='fast'), background=True, executor='threads', on_code_change='rerun')
    time.sleep(0.3)  # it may wait, or be done
    go('slow')
    slow.join()
    value = fast.result()
    task = Changing(who='last')
    state = str(kartnb.plan(task, on_code_change='rerun')[task].state)
    return {'errors': errors, 'fast': value, 'later': built(task, on_code_change='rerun'), 'state': state}


GOKART = """
import os, sys, time
import gokart, luigi
class Shared(gokart.TaskOnKart):
    def output(self): return self.make_target('shared.pkl')
    def run(self):
        with open(os.path.join(sys.argv[1], 'runs'), 'a') as file: file.write(f'begin Shared {os.getpid()}\\n')
        while not os.path.exists(os.path.join(sys.argv[1], 'go gokart')): time.sleep(0.01)
        self.dump('gokart')
task = Shared(workspace_directory=sys.argv[2], redis_host='127.0.0.1', redis_port=int(sys.argv[3]), redis_timeout=60,
              should_lock_run=True)
print(gokart.build(task, task_lock_exception_max_wait_seconds=1, task_lock_exception_max_tries=1000))
"""


class Shared(kartnb.TaskOnKart[str]):
    def output(self) -> Any:
        return self.make_target('shared.pkl')

    def run(self) -> None:
        note('begin', self)
        until(lambda: os.path.exists(os.path.join(PLACE, 'go kartnb')))
        self.dump('kartnb')


def made(process: Any) -> str:
    """What a process gives, kartnb's or gokart's."""
    return str(process.result() if isinstance(process, Child) else process.communicate()[0].strip())


def beside_gokart(first: str, port: int) -> dict[str, Any]:
    """The real gokart and kartnb want one task, which a lock in Redis gives to one of them."""
    workspace = os.path.join(PLACE, 'workspace')
    options = {'workspace_directory': workspace, 'redis_host': '127.0.0.1', 'redis_port': port}

    def begin(which: str) -> Any:
        if which == 'kartnb':
            return Child(lambda: watched(Shared(**options))[0])
        command = [sys.executable, '-c', GOKART, PLACE, workspace, str(port)]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)

    second = 'kartnb' if first == 'gokart' else 'gokart'
    one = begin(first)
    until(lambda: len(runs('begin')) == 1)
    other = begin(second)
    if second == 'kartnb':
        until(lambda: os.path.exists(os.path.join(PLACE, 'waits')))
    else:
        time.sleep(3)  # gokart says nothing when it finds the lock taken: it has started by then, or comes later
    go(first)
    values = [made(process) for process in (one, other)]
    return {'values': values, 'runs': counted()}


class Piece:
    """A part of a value whose pickling takes until it is told to end."""

    def __reduce__(self) -> Any:
        if not os.path.exists(os.path.join(PLACE, 'go slowly')):
            open(os.path.join(PLACE, 'dumping'), 'w').close()
            until(lambda: os.path.exists(os.path.join(PLACE, 'go slowly')))
        return (str, ('whole',))


class Slowly(kartnb.TaskOnKart[Any]):
    def run(self) -> None:
        note('begin', self)
        self.dump([b'x' * 2_000_000, Piece()])


class Unrelated(kartnb.TaskOnKart[str]):
    def run(self) -> None:
        note('begin', self)
        self.dump('unrelated')


def unfinished(workspace: str) -> list[str]:
    return [os.path.join(above, name) for above, _, names in os.walk(workspace) for name in names if is_litter(name)]


def writer_elsewhere(workspace: str, namespace: str, command: str) -> dict[str, Any]:
    """A process whose pid says nothing here is writing a result, for days, while another task is built."""
    within = ['unshare', '--user', '--map-root-user', '--pid', '--fork', namespace, 'sh', '-c', command, 'sh']
    python = [sys.executable, '-m', 'tests.faults.builders', 'write slowly', PLACE]
    writer = subprocess.Popen([*within, *python], stdout=subprocess.PIPE, text=True)
    until(lambda: os.path.exists(os.path.join(PLACE, 'dumping')))
    files = [path for path in unfinished(workspace) if path.endswith('.kart-tmp')]
    for path in files:
        os.utime(path, (0, 0))
    Child(lambda: built(Unrelated())).result()
    go('slowly')
    value = json.loads(writer.communicate()[0])
    return {'value': value, 'files': len(files), 'begun': counted()}


def pid_in_use_again(workspace: str) -> dict[str, Any]:
    """A writer is killed, and its pid is soon that of another process; only an unrelated task is built then."""
    killed = Child(lambda: built(Slowly()))
    until(lambda: os.path.exists(os.path.join(PLACE, 'dumping')))
    killed.kill()
    try:
        killed.result()
    except Died:
        pass
    litter = unfinished(workspace)
    for path in litter:  # a minute ago: clocks may differ a little
        os.utime(path, (time.time() - 60,) * 2)
    again = _child_with(killed.pid)
    Child(lambda: built(Unrelated())).result()
    left = [os.path.relpath(path, workspace) for path in unfinished(workspace)]
    go('slowly')
    value = Child(lambda: built(Slowly())[1]).result()
    again.kill()
    return {'litter': bool(litter), 'left': left, 'value': value}


def _child_with(pid: int) -> Child:
    """A process that has this pid, and waits."""
    for _ in range(50):
        with open('/proc/sys/kernel/ns_last_pid', 'w') as file:
            file.write(str(pid - 1))
        child = Child(lambda: time.sleep(50))
        if child.pid == pid:
            return child
        # a process or thread of somebody else has begun in between, and may have ended by the next time
        child.kill()
        with contextlib.suppress(Died):
            child.result()
    raise AssertionError(f'pid {pid} remains that of another process')


def main(case: str, place: str, *arguments: str) -> None:
    global PLACE
    PLACE = place
    workspace = os.path.join(place, 'workspace')
    luigi.configuration.get_config().set('TaskOnKart', 'workspace_directory', workspace)
    adopt_orphans()
    if case != 'write slowly':  # which a driver starts
        # what every builder would load otherwise
        kartnb.build(Root(workspace_directory=os.path.join(place, 'warm'), sleep=0.0))
        os.unlink(os.path.join(place, 'runs'))
    redis = {'redis_host': '127.0.0.1', 'redis_port': int(arguments[-1])} if 'redis' in case else {}
    # a place without locks of files: there Redis alone keeps two runs apart
    lockless = redis | {'workspace_directory': f'file://{workspace}'}
    cases: dict[str, Callable[[], Any]] = {
        'inline': lambda: overlap(3),
        'threads': lambda: overlap(3, executor='threads', workers=4),
        'processes': lambda: overlap(3, executor='processes', workers=2),
        'redis': lambda: overlap(3, root=redis),
        'redis without file locks': lambda: overlap(3, root=lockless),
        'redis threads': lambda: overlap(3, root=lockless, executor='threads', workers=4),
        'background': lambda: threads_of_one_process('background'),
        'threads of one process': lambda: threads_of_one_process('threads'),
        'kills': lambda: kills(int(arguments[0])),
        'death': lambda: death_of_the_holder(arguments[0]),
        'wait': waits_and_loads,
        'stop': lambda: stopped_while_waiting(arguments[0]),
        'slow failure': slow_failure,
        'gokart and redis': lambda: beside_gokart(arguments[0], int(arguments[1])),
    }
    elsewhere = {
        'writer elsewhere': lambda: writer_elsewhere(workspace, *arguments),
        'write slowly': lambda: built(Slowly())[1],
        'pid in use again': lambda: pid_in_use_again(workspace),
    }
    found = (cases | elsewhere)[case]()
    reap()
    print(json.dumps(found))


if __name__ == '__main__':
    main(*sys.argv[1:])
