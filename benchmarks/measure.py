"""One measurement in a process of its own: prints CPU seconds, so that other work on the machine counts little.

Called by `benchmarks/build.py`: ``python -m benchmarks.measure LIBRARY CASE SIZE DIRECTORY``.
"""

from __future__ import annotations

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
from collections.abc import Callable
from typing import Any

from benchmarks.shapes import SHAPES, make_root, make_sweep

LOG_KINDS = ('task_log', 'task_params', 'random_seed', 'processing_time', 'module_versions')


def floor(shape: str, size: int, files: int) -> float:
    """The least that any library with this layout does: identify, read inputs, write an output and logs, each whole."""
    directories = ['out', *(f'log/{kind}' for kind in LOG_KINDS), 'log/run_record'][:files]
    for directory in directories:
        os.makedirs(directory, exist_ok=True)
    inputs = {'chain': 1, 'fan': 1, 'layered': 10}[shape]
    written: list[str] = []
    began = time.process_time()
    for n in range(size):
        name = hashlib.md5(f"[{written[-inputs:]}, {{'n': '{n}'}}, 'Link']".encode()).hexdigest()
        for path in written[-inputs:]:
            with open(f'out/{path}', 'rb') as file:
                pickle.load(file)
        for directory in directories:
            value: Any = n if directory == 'out' else {'n': str(n)} if directory != 'log/module_versions' else 'x' * 600
            with open(f'{directory}/.{name}.tmp', 'wb') as file:
                file.write(pickle.dumps(value))
            os.replace(f'{directory}/.{name}.tmp', f'{directory}/{name}')
        written.append(name)
    return time.process_time() - began


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
    """CPU seconds of a build, of building the same again with new instances ('again'), and memory in MB ('memory')."""
    if library.startswith('floor'):
        return {'first': floor(case if case in SHAPES else 'chain', size, int(library.removeprefix('floor')))}
    base, build = LIBRARIES[library]()
    import numpy  # noqa: F401 - every library seeds it; its import is not what is measured
    from luigi.task_register import Register

    build(_warm_up(base))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found = {}
    roots: Callable[[], list[Any]]
    if case == 'sweep':
        classes = make_sweep(base, size)
        roots = lambda: [type(root)(depth=root.depth) for root in classes]  # noqa: E731
    else:
        root = make_root(base, case, size)
        roots = lambda: [type(root)(**_own(root))]  # noqa: E731
    for name in ('first', 'again'):
        Register.clear_instance_cache()
        began = time.process_time()
        for task in roots():
            build(task)
        found[name] = time.process_time() - began
        if name == 'first':
            found['memory'] = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    return found


def _warm_up(base: Any) -> Any:
    """A task that makes a library import what it imports when it is first used, which is not what is measured."""

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
