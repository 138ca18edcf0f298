"""Every file operation of every scenario becomes a fault, and afterwards everything must be right.

``python -m tests.faults.points`` is run by scripts/fault_table.py and test_points.py, with the environment of
`interception.environment`. It prints one JSON object a line: points tried and what was wrong, for each scenario, format
and fault. A task's result says which code made it in which run, and from which results.
"""

from __future__ import annotations

import argparse
import functools
import gc
import importlib
import json
import os
import random
import re
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pandas as pd

import kartnb
from kartnb import luigi  # without a grammar that luigi compiles for seconds
from kartnb.errors import KartError
from tests.faults.children import Died, adopt_orphans, in_child
from tests.faults.interception import FAULTS, Interception

#: The code of today: tasks name it in their results, so that changing it makes them stale.
V = 1
#: The format of the results, and how many bytes are added to them.
EXTENSION = '.pkl'
PADDING = 0
BIG = 1_300_000
EXTENSIONS = (
    *('.pkl', '.txt', '.ini', '.gz', '.csv', '.tsv', '.json', '.ndjson', '.xml', '.npz', '.parquet', '.feather'),
    *('.png', '.jpg', '.zip', '.large.zip'),
)
#: Only one point of so many is tried with worker processes where not all points are.
_WITH_WORKERS = 6
#: How far the first points of two rows are apart, so that others are tried each time.
_STEP = 37
TABLES = {'.csv', '.tsv', '.json', '.ndjson', '.parquet', '.feather', '.large.zip'}


def fact(name: str, made_of: str = '') -> str:
    """What a run puts into its result."""
    return f'{name}-{V}-{time.monotonic_ns():x}({made_of})'


def padding() -> str:
    return random.Random(0).randbytes(PADDING // 2).hex()


def encode(text: str) -> Any:
    """A value of the format with a fact in it."""
    more = padding()
    if EXTENSION in TABLES:
        return pd.DataFrame({'fact': [text, *(more[i : i + 100] for i in range(0, len(more), 100))]})
    if EXTENSION in ('.txt', '.ini', '.gz'):
        return [text, more]
    if EXTENSION == '.npz':
        return np.frombuffer(f'{text}\n{more}'.encode(), dtype='u1')
    if EXTENSION == '.xml':
        element = ElementTree.Element('fact', more=more)
        element.text = text
        return ElementTree.ElementTree(element)
    return f'{text}\n{more}'.encode()


def decode(value: Any) -> str:
    """The fact in a value; raises AssertionError when the value is not whole."""
    if EXTENSION in TABLES:
        text, more = value['fact'][0], ''.join(value['fact'][1:])
    elif EXTENSION in ('.txt', '.ini', '.gz'):
        text, more = value[0], ''.join(value[1:])
    elif EXTENSION == '.npz':
        text, _, more = value.tobytes().decode().partition('\n')
    elif EXTENSION == '.xml':
        text, more = value.getroot().text, value.getroot().get('more')
    else:
        text, _, more = value.decode().partition('\n')
    assert more == padding(), 'torn'
    return str(text)


class Part(kartnb.TaskOnKart[Any]):
    """A task with one output of the format under test, or with those of `names`."""

    names = ('',)

    def key(self) -> str:
        """A short name of the task."""
        return f'{type(self).__name__}{getattr(self, "n", "")}'

    def output(self) -> Any:
        made = {name: self.target(f'{type(self).__name__}{name}') for name in self.names}
        return made if len(made) > 1 else made['']

    def target(self, name: str) -> Any:
        if EXTENSION == '.zip':
            return self.make_model_target(f'{name}.zip', save_bytes, load_bytes)
        if EXTENSION == '.large.zip':
            return self.make_large_data_frame_target(f'{name}.zip', max_byte=BIG // 3)
        return self.make_target(f'{name}{EXTENSION}')


def save_bytes(value: bytes, path: str) -> None:
    Path(path).write_bytes(value)


def load_bytes(path: str) -> bytes:
    return Path(path).read_bytes()


class Source(Part):
    def run(self) -> None:
        self.dump(encode(fact('Source')))


class Pair(Part):
    names = ('x', 'y')

    def requires(self) -> Any:
        return Source()

    def run(self) -> None:
        made_of = decode(self.load())
        for name in self.names:
            self.dump(encode(fact(f'Pair{name}', made_of)), name)


class Point(Part):
    n = luigi.IntParameter()

    def requires(self) -> Any:
        return Source()

    def run(self) -> None:
        self.dump(encode(fact('Point', decode(self.load()))))


class Dynamic(Part):
    def run(self) -> Any:
        target = yield Source()
        self.dump(encode(fact('Dynamic', decode(target.load()))))


class Both(Part):
    def requires(self) -> Any:
        return [Point(n=1), Point(n=2)]

    def run(self) -> None:
        self.dump(encode(fact('Both', '+'.join(decode(value) for value in self.load()))))


class Unrelated(kartnb.TaskOnKart[Any]):
    """A task that the scenarios do not know: what they left must not stay when only this one is built."""

    def run(self) -> None:
        self.dump('unrelated')


def facts(task: Any) -> dict[str, str]:
    """What the result of a task says, by output."""
    outputs = task.output()
    targets = outputs if len(task.names) > 1 else {'': outputs}
    return {f'{task.key()}{name}': decode(target.load()) for name, target in targets.items()}


def built(code: int, *tasks: Any, **options: Any) -> None:
    """Build with this code."""
    global V
    V = code
    for task in tasks:
        kartnb.build(task, return_value=False, on_code_change='rerun', **options)


def graph(root: Any) -> list[Any]:
    """A task and all that it is made from."""
    dynamic = [Source()] if isinstance(root, Dynamic) else []
    return [task for below in (*luigi.task.flatten(root.requires()), *dynamic) for task in graph(below)] + [root]


@dataclass(frozen=True)
class Scenario:
    """What is done while a fault occurs, on top of what was built before."""

    roots: tuple[Any, ...]
    act: Callable[[], Any]
    before: tuple[int, ...] = ()  #: The codes that have built everything before, in order.
    code: int = 2  #: That of the act.
    restores: bool = False  #: Whether results of older code are right afterwards.
    cleans: bool = False  #: Whether replaced results are removed on purpose.
    starts: bool = False  #: Whether it starts worker processes, which takes seconds.


def scenarios() -> dict[str, Scenario]:
    pair = (Pair(),)

    def restored(**options: Any) -> Callable[[], None]:
        def act() -> None:
            for task in (Source(), Pair()):
                kartnb.restore_result(task, **options)

        return act

    def in_background(**options: Any) -> Callable[[], None]:
        def act() -> None:
            kartnb.build(Pair(), background=True, on_code_change='rerun', **options).result()

        return act

    return {
        'fresh': Scenario(pair, lambda: built(2, *pair)),
        'supersede': Scenario(pair, lambda: built(2, *pair), (1,)),
        'rerun': Scenario(pair, lambda: built(1, *pair, rerun=[Source]), (1,), code=1),
        'restore': Scenario(pair, restored(), (1, 2), restores=True),
        'restore without keeping': Scenario(pair, restored(keep=False), (1, 2)),
        'undo': Scenario(pair, lambda: built(1, *pair), (1, 2), code=1),
        'clean': Scenario(pair, lambda: kartnb.clean(Source(), remove=True), (1, 2), cleans=True),
        'sweep': Scenario(
            (Point(n=1), Point(n=2)), lambda: kartnb.sweep(Point, n=[1, 2], on_code_change='rerun'), (1,)
        ),
        'background': Scenario(pair, in_background(executor='threads'), (1,)),
        'background in a worker': Scenario(pair, in_background(), (1,), starts=True),
        'workers': Scenario((Both(),), lambda: built(2, Both(), workers=2), (1,), starts=True),
        'dynamic': Scenario((Dynamic(),), lambda: built(2, Dynamic()), (1,)),
    }


def wrong_values(root: Any, code: int, scenario: Scenario) -> Iterator[str]:
    """Build with a code, and say what is wrong then."""
    try:
        built(code, root)
    except Exception as error:
        yield f'cannot build: {type(error).__name__}: {_line(error)}'
        return
    every = {key: text for task in graph(root) for key, text in facts(task).items()}
    for task in graph(root):
        below = [every[other.key()] for other in graph(task)[:-1] if other in luigi.task.flatten(_needs(task))]
        for key, text in facts(task).items():
            match = re.fullmatch(r'\w+?-(\d)-\w+\((.*)\)', text)
            if match is None:
                yield f'{key} holds {text!r}'
            elif int(match[1]) != code and not (scenario.restores and code == scenario.code):
                yield f'what code {match[1]} made is given: {key}'
            elif match[2] != '+'.join(below):
                yield f'{key} is not made from what is there: {text} and {below}'


def _needs(task: Any) -> Any:
    return Source() if isinstance(task, Dynamic) else task.requires()


def _line(error: BaseException) -> str:
    cause = error.__cause__
    more = f' <- {type(cause).__name__}: {cause}' if cause is not None else ''
    return f'{error}{more}'.replace('\n', ' ')[:400]


def reachable(place: str) -> set[str]:
    """The facts of all results that are in their places, or kept as replaced."""
    found: set[str] = set()
    results = [path for path in Path(place).rglob('*_*') if 'log' not in path.relative_to(place).parts]
    kept = [path for path in Path(place).glob('log/superseded/*/*-*_*') if path.with_name('superseded.json').exists()]
    for path in (*results, *kept):
        if re.match(r'(\d+-)?(Source|Pair|Point|Dynamic|Both)[xy]?_', path.name):
            try:
                found.add(decode(read(str(path))))
            except (KartError, AssertionError) as error:
                found.add(f'{path.name}: {type(error).__name__}: {error}')
    return found


def read(path: str) -> Any:
    """The value in a result's file."""
    task = Unrelated()
    if EXTENSION == '.zip':
        return task.make_model_target(path, save_bytes, load_bytes, use_unique_id=False).load()
    if EXTENSION == '.large.zip':
        return task.make_large_data_frame_target(path, use_unique_id=False).load()
    return task.make_target(path, use_unique_id=False).load()


def litter(place: str) -> Iterator[str]:
    """What is neither a result nor a log nor a record, below a workspace where nothing runs."""
    for above, directories, files in os.walk(place):
        where = os.path.relpath(above, place)
        for name in (*files, *directories):
            if re.search(r'\.kart-tmp$|^\.new\.|~running|\.lock$|-luigi-tmp-', name):
                yield f'stays: {where}/{name}'
        if re.fullmatch(r'log/superseded/[^/]+', where) and 'superseded.json' not in files:
            yield f'stays: {where} without its manifest: {[*files, *directories][:3]}'
        yield from (f'empty: {where}/{name}' for name in files if not os.path.getsize(os.path.join(above, name)))


@dataclass
class Trial:
    """One scenario in one format."""

    name: str
    scenario: Scenario
    interception: Interception
    place: str
    finished: set[str] = field(default_factory=set)

    @property
    def workspace(self) -> str:
        return os.path.join(self.place, 'workspace')

    def begin(self) -> None:
        """Build what was there before."""
        shutil.rmtree(self.workspace, ignore_errors=True)
        os.makedirs(self.workspace)
        for code in self.scenario.before:
            in_child(functools.partial(built, code, *self.scenario.roots))
        self.save('base')
        self.finished = in_child(functools.partial(reachable, self.workspace))
        if self.scenario.cleans:
            self.finished = {text for text in self.finished if re.match(rf'Source-{self.scenario.code}-', text)}

    def save(self, name: str) -> None:
        shutil.rmtree(os.path.join(self.place, name), ignore_errors=True)
        shutil.copytree(self.workspace, os.path.join(self.place, name))

    def reset(self, name: str) -> None:
        shutil.rmtree(self.workspace, ignore_errors=True)
        shutil.copytree(os.path.join(self.place, name), self.workspace)

    def trace(self) -> list[str]:
        """The operations of the scenario when nothing fails; raises AssertionError where it fails by itself."""
        self.reset('base')
        with self.interception.armed():
            problem = in_child(self.act)
        assert not problem, f'{self.name} fails by itself: {problem}'
        return self.interception.operations

    def act(self) -> str:
        """Do what the scenario does; give the error of kartnb or the disk that it raised."""
        global V
        V = self.scenario.code
        try:
            self.scenario.act()
        except (KartError, OSError) as error:
            return f'{type(error).__name__}: {_line(error)}'
        return ''

    def at(self, fault: str, number: int) -> tuple[str, list[str]]:
        """Give the operation that became a fault, '' when there were not so many, and what was wrong."""
        self.reset('base')
        problems = []
        with self.interception.armed(fault, number):
            try:
                in_child(self.act)
            except Died:
                pass
            except Exception as error:
                problems.append(f'raises {type(error).__name__}: {_line(error)}')
            fired = self.interception.fired
        if not fired:
            return '', problems
        self.save('snapshot')
        for code in (1, 2):
            self.reset('snapshot')
            problems += in_child(functools.partial(self.check, code))
        self.reset('snapshot')
        problems += in_child(self.check_unrelated)
        return fired, problems

    def check(self, code: int) -> list[str]:
        """Build everything with a code, and say what is wrong then."""
        wrong = [text for root in self.scenario.roots for text in wrong_values(root, code, self.scenario)]
        return [f'after code {code}: {text}' for text in (*wrong, *self.losses(), *litter(self.workspace))]

    def check_unrelated(self) -> list[str]:
        """Build something else in the workspace, and say what is wrong then."""
        built(self.scenario.code, Unrelated())
        return [f'beside an unrelated build: {text}' for text in (*self.losses(), *litter(self.workspace))]

    def losses(self) -> list[str]:
        return [f'lost: {text}' for text in self.finished - reachable(self.workspace)]


def warm_up(workspace: str) -> None:
    """Load here, once, what every child would load otherwise; modules of Arrow only, which has threads in use."""
    for module in ('pyarrow.parquet', 'pyarrow.feather', 'pyarrow.csv', 'xml.etree.ElementTree', 'zipfile', 'gzip'):
        importlib.import_module(module)
    settings = luigi.configuration.get_config()
    wanted = settings.get('TaskOnKart', 'workspace_directory')
    settings.set('TaskOnKart', 'workspace_directory', workspace)
    for code in (1, 2, 1):
        built(code, Pair(), Both(), Dynamic(), Unrelated())
    kartnb.clean(Pair())
    settings.set('TaskOnKart', 'workspace_directory', wanted)
    luigi.task_register.Register.clear_instance_cache()
    gc.freeze()  # else each child copies what its collector looks at


def run(trial: Trial, fault: str, stride: int, offset: int) -> dict[str, Any]:
    """Try the points of a scenario with one kind of fault."""
    began, points, wrong = time.monotonic(), 0, []
    number = 1 + offset % stride
    while True:
        fired, problems = trial.at(fault, number)
        if not fired:
            break
        points += 1
        if problems:
            wrong.append({'at': number, 'operation': fired, 'problems': problems})
        number += stride
    return {'points': points, 'wrong': wrong, 'seconds': round(time.monotonic() - began, 1)}


def main() -> None:
    parser = argparse.ArgumentParser()
    every = scenarios()
    parser.add_argument('--scenarios', nargs='+', default=list(every), choices=list(every))
    parser.add_argument('--formats', nargs='+', default=list(EXTENSIONS), choices=EXTENSIONS)
    parser.add_argument('--faults', nargs='+', default=list(FAULTS), choices=list(FAULTS))
    parser.add_argument('--sizes', nargs='+', default=['small', 'big'], choices=['small', 'big'])
    parser.add_argument('--stride', type=int, default=1, help='try one point of so many, and fewer with workers')
    parser.add_argument('--place', required=True, help='a directory for the workspaces')
    options = parser.parse_args()
    global EXTENSION, PADDING
    workspace = os.path.join(os.path.realpath(options.place), 'workspace')
    luigi.configuration.get_config().set('TaskOnKart', 'workspace_directory', workspace)
    adopt_orphans()
    interception = Interception(workspace)
    warm_up(os.path.join(options.place, 'warm'))
    offset = 0
    for EXTENSION in options.formats:
        for size in options.sizes:
            PADDING = BIG if size == 'big' else 0
            for name in options.scenarios:
                trial = Trial(name, scenarios()[name], interception, options.place)
                trial.begin()
                stride = options.stride * (_WITH_WORKERS if trial.scenario.starts and options.stride > 1 else 1)
                stride = min(stride, sum(not line.startswith('renaming ') for line in trial.trace()))
                for fault in options.faults:
                    offset += _STEP
                    found = run(trial, fault, stride, offset)
                    line = {'scenario': name, 'format': EXTENSION, 'size': size, 'fault': fault, **found}
                    print(json.dumps(line), flush=True)


if __name__ == '__main__':
    main()
