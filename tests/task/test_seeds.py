"""The seeds that a task is given before it runs, and the source check."""

from __future__ import annotations

import pickle
import random
import sys
import types
from pathlib import Path
from typing import Any

import luigi
import numpy as np
import pytest

import kartnb
from tests.task.cells import Notebook


class Draw(kartnb.TaskOnKart):
    n = luigi.IntParameter(default=1)

    def run(self) -> None:
        self.dump((random.random(), float(np.random.random())))


def logged(task: Any) -> Any:
    name = f'Draw_{task.make_unique_id()}.pkl'
    return pickle.loads((Path(task.workspace_directory) / 'log' / 'random_seed' / name).read_bytes())


def draws(seed: int) -> tuple[float, float]:
    """What a generator gives after this seed, leaving the states as they are."""
    return random.Random(seed).random(), float(np.random.RandomState(seed).random())


def test_the_seed_follows_from_the_unique_id() -> None:
    task = Draw()
    seed = int(task.make_unique_id(), 16) % (2**32 - 1)
    assert kartnb.build(task) == draws(seed)
    assert logged(task) == {'seed': seed, 'seed_methods': ['random.seed', 'numpy.random.seed']}


def test_other_values_other_seeds_the_same_values_the_same() -> None:
    assert kartnb.build(Draw(n=1)) != kartnb.build(Draw(n=2))
    assert kartnb.build(Draw(n=1, rerun=True)) == kartnb.build(Draw(n=1))


@pytest.mark.parametrize('seed', [0, 7, 2**32 - 1])
def test_a_seed_of_ones_own(seed: int) -> None:
    task = Draw(fix_random_seed_value=seed)
    assert kartnb.build(task) == draws(seed)
    assert logged(task)['seed'] == seed


def test_functions_of_ones_own(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[int] = []
    monkeypatch.setitem(sys.modules, 'a_library', types.SimpleNamespace(part=types.SimpleNamespace(seed=given.append)))
    methods = ['a_library.part.seed', 'random.seed', 'no_such_module.seed', 'random.no_such_function']
    task = Draw(n=3, fix_random_seed_methods=methods, fix_random_seed_value=4)
    kartnb.build(task)
    assert logged(task) == {'seed': 4, 'seed_methods': ['a_library.part.seed', 'random.seed']}
    assert given == [4]


def test_no_functions() -> None:
    task = Draw(n=4, fix_random_seed_methods=[])
    kartnb.build(task)
    assert logged(task)['seed_methods'] == []


def test_switching_the_logs_off_switches_no_seed_off() -> None:
    task = Draw(n=5, should_dump_supplementary_log_files=False, fix_random_seed_value=6)
    assert kartnb.build(task) == draws(6)
    assert not (Path(task.workspace_directory) / 'log' / 'random_seed').exists()


def test_the_state_of_the_session_is_left_as_it_was() -> None:
    random.seed(1)
    np.random.seed(1)
    kartnb.build(Draw(n=6))
    assert (random.random(), float(np.random.random())) == draws(1)


CELL = """
class Load(kartnb.TaskOnKart):
    # {comment}
    def run(self):
        self.dump({value})
"""


def test_the_source_check_makes_changed_code_another_task() -> None:
    notebook = Notebook()
    ids = {}
    for name, comment, value in (('first', 'a', 1), ('comment', 'b', 1), ('code', 'a', 2), ('again', 'a', 1)):
        notebook.run(CELL.format(comment=comment, value=value))
        task = notebook.Load(serialized_task_definition_check=True)
        ids[name] = task.make_unique_id()
        assert kartnb.build(task) == value
        assert notebook.Load().make_unique_id() != task.make_unique_id()
    assert ids['first'] == ids['again']
    assert ids['first'] != ids['code']
    assert len({*ids.values()}) == 2, 'a comment before a method is no part of it'
