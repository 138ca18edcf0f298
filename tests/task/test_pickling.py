"""Tasks go through pickle, cloudpickle and copy, and come out as the same tasks."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import cloudpickle
import luigi
import pytest

import kartnb
from kartnb.task import registry
from tests.task.cells import Notebook


class Leaf(kartnb.TaskOnKart):
    n = luigi.IntParameter(default=1)
    secret = luigi.Parameter(default='s', visibility=luigi.parameter.ParameterVisibility.PRIVATE)

    def run(self) -> None:
        self.dump(self.n)


class Top(kartnb.TaskOnKart):
    left = kartnb.TaskInstanceParameter(default=Leaf(n=2))
    more = kartnb.ListTaskInstanceParameter(default=[Leaf(n=3)])

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.own = {'set': 'in __init__'}

    def run(self) -> None:
        self.dump(self.load('left'))


class Numbers(kartnb.TaskOnKart):
    whole = luigi.IntParameter(default=500)
    real = luigi.FloatParameter(default=0.5)
    none = luigi.FloatParameter(default=float('nan'))

    def run(self) -> None:
        self.dump((self.whole, self.real, self.none))


class Asks(kartnb.TaskOnKart):
    def run(self) -> Any:
        found = yield [Numbers(), Numbers(whole=-1000)]
        self.dump([task.load()[0] for task in found])


WAYS = {
    'pickle': lambda task: pickle.loads(pickle.dumps(task)),
    'protocol 2': lambda task: pickle.loads(pickle.dumps(task, protocol=2)),
    'cloudpickle': lambda task: cloudpickle.loads(cloudpickle.dumps(task)),
    'copy': copy.copy,
    'deepcopy': copy.deepcopy,
}


@pytest.mark.parametrize('way', WAYS)
def test_it_is_the_same_task(way: str) -> None:
    task = Top(left=Leaf(n=5, secret='kept'))
    task.task_log['note'] = 'kept'
    unique_id = task.make_unique_id()
    again = WAYS[way](task)
    assert again == task
    assert hash(again) == hash(task)
    assert again.make_unique_id() == unique_id
    assert again.param_kwargs.keys() == task.param_kwargs.keys()
    assert again.left.secret == 'kept'
    assert again.task_log == {'note': 'kept'}
    assert again.own == {'set': 'in __init__'}
    assert again.requires() == task.requires()
    assert repr(again) == repr(task)


@pytest.mark.parametrize('way', WAYS)
def test_it_can_be_built(way: str) -> None:
    assert kartnb.build(WAYS[way](Top(left=Leaf(n=6)))) == 6


@pytest.mark.parametrize('way', ['pickle', 'cloudpickle', 'deepcopy'])
def test_its_run_still_looks_whether_it_is_complete(way: str, caplog: pytest.LogCaptureFixture) -> None:
    task = Leaf(n=7)
    kartnb.build(task)
    WAYS[way](task).run()
    assert 'is skipped: already complete' in caplog.text


def test_an_id_is_not_carried_to_other_definitions() -> None:
    notebook = Notebook()
    notebook.run('class Load(kartnb.TaskOnKart):\n    n = luigi.IntParameter(default=1)')
    notebook.run('class Train(kartnb.TaskOnKart):\n    def requires(self): return Load()')
    task = notebook.Train()
    task.make_unique_id()
    # by value, so that it can be read although no module holds it
    stored = cloudpickle.dumps((task.__reduce_ex__(4)[2], registry.definition_epoch()))
    state = cloudpickle.loads(stored)[0]
    assert state['task_unique_id'] is None
    assert not any(name.startswith('_id') for name in state)


def test_a_task_of_a_notebook_reaches_another_process(tmp_path: Path, repository: Path) -> None:
    notebook = Notebook('__main__')
    notebook.run(
        """
class Load(kartnb.TaskOnKart):
    n = luigi.IntParameter(default=1)
    def run(self):
        self.dump(self.n)

class Train(kartnb.TaskOnKart):
    load_task = kartnb.TaskInstanceParameter()
    def run(self):
        self.dump(('trained', self.load('load_task')))
"""
    )
    task = notebook.Train(load_task=notebook.Load(n=4))
    file = tmp_path / 'task.pkl'
    file.write_bytes(cloudpickle.dumps(task))
    script = (
        f'import pickle, kartnb\ntask = pickle.load(open({str(file)!r}, "rb"))\n'
        'print(task.make_unique_id(), kartnb.build(task), task.clone(workspace_directory="w").output().path())'
    )
    environment = {'PYTHONPATH': str(repository), 'PATH': ''}
    done = subprocess.run(
        [sys.executable, '-c', script], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    unique_id = task.make_unique_id()
    assert done.stdout.split('\n')[0] == f"{unique_id} ('trained', 4) w/__main__/Train_{unique_id}.pkl"


def test_parts_that_only_matter_here_are_left_out() -> None:
    task = Top()
    before = len(pickle.dumps(task))
    repr(task), hash(task), task.output(), task.make_unique_id()
    assert len(pickle.dumps(task)) == before


@pytest.mark.parametrize('way', WAYS)
def test_its_parameters_are_known_to_be_parameters(way: str) -> None:
    task = WAYS[way](Numbers())
    kartnb.build(task)
    assert kartnb.plan(task).root.note == ''
    task.whole = 501
    assert 'Numbers.whole (it was set on the task, not by a parameter)' in kartnb.plan(task).root.note


@pytest.mark.parametrize('options', [{}, {'workers': 2}])
def test_the_parameters_of_a_task_that_a_run_asks_for_are_known(options: Any) -> None:
    assert kartnb.build(Asks(), **options) == [500, -1000]
    assert [kartnb.plan(task).root.note for task in (Numbers(), Numbers(whole=-1000))] == ['', '']
