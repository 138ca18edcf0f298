"""A task draws the same numbers in every executor, and where it may not, the plan says so before anything runs."""

from __future__ import annotations

import pickle
import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import luigi
import numpy as np
import pytest

import kartnb
from kartnb.model import UNSEEDED, BuildStarted
from tests.task.cells import Notebook

CELL = """
import random
import numpy as np

def helper():
    return random.choice(range(1000))

class Draw(kartnb.TaskOnKart):
    n = luigi.IntParameter()

    def run(self):
        self.dump([float(self.rng.random()), float(self.rng.random())])

class Sum(kartnb.TaskOnKart):
    def requires(self):
        return [Draw(n=n) for n in range(4)]

    def run(self):
        self.dump(self.load())

class Shared(Draw):
    def run(self):
        self.dump(helper())

class Numpy(Draw):
    def run(self):
        self.dump(np.random.rand())

class Own(Draw):
    def run(self):
        self.dump(float(np.random.default_rng(3).random() + random.Random(3).random()))

class Unseeded(Shared):
    fix_random_seed_methods = luigi.ListParameter(default=(), significant=False)

class Named(kartnb.TaskOnKart):
    rng = luigi.IntParameter(default=7)

    def run(self):
        self.dump(self.rng)
"""


@pytest.fixture
def notebook() -> Notebook:
    made = Notebook()
    made.run(CELL)
    return made


@pytest.fixture(params=['inline', 'threads', 'pool', 'async', 'processes'])
def options(request: pytest.FixtureRequest) -> Iterator[dict[str, Any]]:
    if request.param == 'pool':
        with ThreadPoolExecutor(2) as pool:
            yield {'executor': pool}
    else:
        yield {'executor': request.param, 'workers': 1 if request.param == 'inline' else 2}


def test_the_generator_of_a_task_is_the_same_everywhere(notebook: Notebook, options: dict[str, Any]) -> None:
    for _ in range(2):  # also of an instance that has run already
        value = kartnb.build(notebook.Sum(), rerun='Draw', **options)
        expected = []
        for n in range(4):
            seed = int(notebook.Draw(n=n).make_unique_id(), 16) % (2**32 - 1)
            expected.append(np.random.default_rng(seed).random(2).tolist())
        assert value == expected


def test_the_generator_is_no_part_of_a_task(notebook: Notebook) -> None:
    task = notebook.Draw(n=1)
    before = task.make_unique_id()
    first = task.rng.random()
    assert task.rng is task.rng
    assert task.rng.random() != first
    copied = pickle.loads(pickle.dumps(kartnb.TaskOnKart()))
    assert '_rng' not in vars(copied)
    assert '_rng' not in task.__getstate__()
    assert task.make_unique_id() == before
    assert kartnb.build(task)[0] == first, 'a run begins anew'
    task.rng.random()
    assert [(node.state.value, node.note) for node in kartnb.plan(task)] == [('cached', '')]
    assert notebook.Draw(n=1, fix_random_seed_value=5).rng.random() == np.random.default_rng(5).random()


def test_a_parameter_of_this_name_comes_first(notebook: Notebook) -> None:
    assert kartnb.build(notebook.Named()) == 7
    task = notebook.Draw(n=2)
    task.rng = np.random.default_rng(1)
    assert task.rng.random() == np.random.default_rng(1).random()


def _announced(task: luigi.Task, capsys: pytest.CaptureFixture[str], **options: Any) -> tuple[str, list[str]]:
    notes: list[str] = []

    def hear(event: Any) -> None:
        if isinstance(event, BuildStarted):
            notes.extend(event.plan.notes)

    kartnb.build(task, listeners=[hear], **options)
    return capsys.readouterr().err, notes


@pytest.mark.parametrize(
    'name, used', [('Shared', 'random.choice'), ('Numpy', 'numpy.random.rand'), ('Own', ''), ('Unseeded', '')]
)
def test_the_plan_says_which_tasks_threads_cannot_seed(
    notebook: Notebook, name: str, used: str, capsys: pytest.CaptureFixture[str]
) -> None:
    task = getattr(notebook, name)(n=1)
    text, notes = _announced(task, capsys, executor='threads')
    if not used:
        assert UNSEEDED not in text
        return
    said = f'{UNSEEDED}, which cannot be seeded for each task. {name} uses {used}, so results may differ each time'
    assert said in text
    assert any(note.startswith(said) for note in notes)
    again, _ = _announced(task, capsys, executor='threads')
    assert UNSEEDED not in again, 'nothing runs'
    for options in ({}, {'workers': 2}):
        assert UNSEEDED not in _announced(getattr(notebook, name)(n=2), capsys, rerun=True, **options)[0]


def test_a_generator_from_a_thread_leaves_the_states_of_the_process(notebook: Notebook) -> None:
    random.seed(3)
    np.random.seed(3)
    kartnb.build(notebook.Sum(), executor='threads')
    assert (random.random(), np.random.rand()) == (random.Random(3).random(), np.random.RandomState(3).rand())
