"""One measurement in a process of its own: prints CPU seconds, so that other work on the machine counts little.

Called by `benchmarks/build.py`: ``python -m benchmarks.measure LIBRARY CASE SIZE DIRECTORY``.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import io
import json
import logging
import os
import pickle
import resource
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

from benchmarks.shapes import SHAPES, WAIT_SECONDS, make_busy, make_root, make_sweep, make_waiting, spin

_NEEDED = {'chain': 1, 'fan': 1, 'layered': 10}


def floor(shape: str, size: int, files: int) -> float:
    """The minimum for any library with this layout: identify, pickle, and write seven files atomically.

    It reads no inputs, as the tasks that the libraries build do not either.
    """
    for path, _ in _written('', 0, []):
        os.makedirs(os.path.dirname(path), exist_ok=True)
    ids: list[str] = []
    began = time.process_time()
    for n in range(size):
        needed = ids[-_NEEDED[shape] :]
        unique_id = hashlib.md5(f"[{needed}, {{'n': '{n}'}}, 'Link']".encode()).hexdigest()
        for path, data in islice(_written(unique_id, n, needed), files):
            with open(f'{path}.tmp', 'wb') as file:
                file.write(data)
            os.replace(f'{path}.tmp', path)
        ids.append(unique_id)
    return time.process_time() - began


def _written(unique_id: str, n: int, needed: list[str]) -> Iterator[tuple[str, bytes]]:
    """The files of one task, each as long as kartnb's."""
    stem = f'Link_{unique_id}'
    result = f'./resources/benchmarks/shapes/{stem}.pkl'
    yield result, pickle.dumps(n)
    yield f'./resources/log/task_params/{stem}.pkl', pickle.dumps({'n': str(n)})
    seeding = {'seed': n, 'seed_methods': ['random.seed', 'numpy.random.seed']}
    yield f'./resources/log/random_seed/{stem}.pkl', pickle.dumps(seeding)
    yield f'./resources/log/module_versions/{stem}.txt', b'x' * 450
    yield f'./resources/log/processing_time/{stem}.pkl', pickle.dumps(0.25)
    yield f'./resources/log/task_log/{stem}.pkl', pickle.dumps({'file_path': [result]})
    record = f'./resources/log/run_record/benchmarks/shapes/{stem}~r0a1b2c3d4e5f-311-0123456789ab-abcdef0123.json'
    yield record, b'x' * (690 + 150 * len(needed))


def _kartnb() -> tuple[type, Callable[[Any], Any]]:
    import kartnb

    return kartnb.TaskOnKart, lambda task: kartnb.build(task, return_value=False)


def _gokart() -> tuple[type, Callable[[Any], Any]]:
    import gokart

    def build(task: Any) -> None:
        sys.setrecursionlimit(100_000)
        gokart.build(task, return_value=False, reset_register=False)

    return gokart.TaskOnKart, build


def _luigi() -> tuple[type, Callable[[Any], Any]]:
    import luigi

    class Task(luigi.Task):  # type: ignore[misc]
        def output(self) -> Any:
            return luigi.LocalTarget(f'resources/{self.task_id}.pkl', format=luigi.format.Nop)

        def dump(self, value: Any) -> None:
            with self.output().open('w') as file:
                file.write(pickle.dumps(value))

        def load(self, key: Any = None) -> Any:
            targets = self.input()
            with (targets[key] if key is not None else targets).open() as file:
                return pickle.load(file)

    return Task, lambda task: luigi.build([task], local_scheduler=True, log_level='ERROR', no_lock=True)


LIBRARIES = {'kartnb': _kartnb, 'gokart': _gokart, 'luigi': _luigi}


def measure(library: str, case: str, size: int) -> dict[str, float]:
    """Measure one library in one case.

    Returns
    -------
    dict
        CPU seconds: 'first', of a build of everything; 'again', of building the same with new instances. 'memory': MB
        that the first build adds. Of kartnb also 'plan', planning alone with everything cached and new instances, and
        'alive', building again with the same instances.
    """
    if library.startswith('floor'):
        return {'first': floor(case if case in SHAPES else 'chain', size, int(library.removeprefix('floor')))}
    if case in OTHERS:
        return OTHERS[case](size)
    base, build = LIBRARIES[library]()
    import numpy  # noqa: F401 - every library seeds it; its import is not to be measured
    from luigi.task_register import Register

    build(_warm_up(base))
    before = _peak()
    make, act = _makers(library, base, build, case, size)
    found: dict[str, float] = {}
    for name in ('first', 'again'):
        Register.clear_instance_cache()
        began = time.process_time()
        act(make())
        found[name] = time.process_time() - began
        found.setdefault('memory', (_peak() - before) / 1024)
    if library == 'kartnb' and case in SHAPES:
        found |= _plans(make, build)
    return found


def _makers(
    library: str, base: Any, build: Callable[[Any], Any], case: str, size: int
) -> tuple[Callable[[], Any], Callable[[Any], Any]]:
    """The functions that create the instances of a case and that build them."""
    if case == 'sweep-at-once':
        import kartnb

        cls = type(make_sweep(base, 1)[0])
        return lambda: cls, lambda cls: kartnb.sweep(cls, depth=range(size), log_level=logging.CRITICAL)
    if case == 'sweep':
        classes = make_sweep(base, size)

        def build_all(tasks: list[Any]) -> None:
            for task in tasks:
                build(task)

        return lambda: [type(task)(depth=task.depth) for task in classes], build_all
    root = make_root(base, case, size)
    return lambda: type(root)(**_own(root)), build


def _plans(make: Callable[[], Any], build: Callable[[Any], Any]) -> dict[str, float]:
    """Everything is cached: planning with new instances, and building with existing ones."""
    from luigi.task_register import Register

    import kartnb

    Register.clear_instance_cache()
    task = make()
    began = time.process_time()
    kartnb.plan(task)
    planned = time.process_time() - began
    began = time.process_time()
    task.complete()
    checked = time.process_time() - began
    began = time.process_time()
    build(task)
    return {'plan': planned, 'check': checked, 'alive': time.process_time() - began}


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _tiny(size: int) -> dict[str, float]:
    """Elapsed seconds of tiny tasks inline and with two new workers, and of the same again."""
    import kartnb

    found: dict[str, float] = {}
    for name, workers in (('inline', 1), ('workers', 2), ('inline again', 1), ('workers again', 2)):
        root = make_root(kartnb.TaskOnKart, 'fan', size)
        began = time.perf_counter()
        kartnb.build(root, return_value=False, workers=workers)
        found[name] = time.perf_counter() - began
        os.rename('resources', f'resources of {name}')
    return found


def _busy(size: int) -> dict[str, float]:
    """Elapsed seconds of CPU-bound tasks in two processes: with a bare fork, and with kartnb, twice."""
    import kartnb

    began = time.perf_counter()
    children = []
    for first in range(2):
        child = os.fork()
        if not child:
            for _ in range(first, size, 2):
                spin()
            os._exit(0)
        children.append(child)
    for child in children:
        os.waitpid(child, 0)
    forked = time.perf_counter() - began
    times: list[float] = []
    found = {'fork': forked}

    def note(event: Any) -> None:
        if getattr(event, 'state', None) in ('running', 'done'):
            times.append(event.time)

    task = make_busy(kartnb.TaskOnKart, size)
    for name in ('workers', 'workers again'):
        times.clear()
        began = time.perf_counter()
        kartnb.build(task, return_value=False, workers=2, listeners=[note])
        found |= {name: time.perf_counter() - began, f'{name} span': times[-1] - times[0]}
        os.rename('resources', f'resources of {name}')
    return found


def _waiting(size: int) -> dict[str, float]:
    """Elapsed seconds of coroutines that wait, 20 at once: with asyncio alone, and as tasks."""
    import kartnb

    async def alone() -> None:
        places = asyncio.Semaphore(20)

        async def wait() -> None:
            async with places:
                await asyncio.sleep(WAIT_SECONDS)

        await asyncio.gather(*(wait() for _ in range(size)))

    kartnb.build(_warm_up(kartnb.TaskOnKart), executor='async')
    began = time.perf_counter()
    asyncio.run(alone())
    found = {'alone': time.perf_counter() - began}
    began = time.perf_counter()
    kartnb.build(make_waiting(kartnb.TaskOnKart, size), return_value=False, executor='async', concurrency=20)
    return found | {'tasks': time.perf_counter() - began}


def _large_workspace(size: int) -> dict[str, float]:
    """CPU seconds of planning 100 tasks in a workspace that already has so many results and records."""
    import kartnb

    root = make_root(kartnb.TaskOnKart, 'chain', 100)
    kartnb.build(root, return_value=False)
    module = type(root).__module__.replace('.', '/')
    for n in range(size):
        name = hashlib.md5(str(n).encode()).hexdigest()
        open(f'resources/{module}/Link_{name}.pkl', 'wb').close()
        open(
            f'resources/log/run_record/{module}/Link_{name}~r{name[:12]}-311-{name[:12]}-{name[:10]}.json', 'wb'
        ).close()
    found = {}
    for case in ('plan', 'plan again'):
        began = time.process_time()
        kartnb.plan(root)
        found[case] = time.process_time() - began
    return found


#: Cases that only kartnb is measured in.
OTHERS: dict[str, Callable[[int], dict[str, float]]] = {
    'tiny': _tiny,
    'busy': _busy,
    'waiting': _waiting,
    'large workspace': _large_workspace,
}


def _warm_up(base: Any) -> Any:
    """A task to run before the time is taken, so that the library imports what it needs at first use."""

    class WarmUp(base):
        def run(self) -> None:
            self.dump(0)

    return WarmUp()


def _own(task: Any) -> dict[str, Any]:
    return {name: task.param_kwargs[name] for name in ('n', 'layer') if name in task.param_kwargs}


if __name__ == '__main__':
    warnings.simplefilter('ignore')
    logging.disable(logging.CRITICAL)
    library, case, size, directory = sys.argv[1:]
    os.makedirs(directory)
    os.chdir(directory)
    with contextlib.redirect_stderr(io.StringIO()):
        result = measure(library, case, int(size))
    sys.stdout.write(json.dumps(result))
