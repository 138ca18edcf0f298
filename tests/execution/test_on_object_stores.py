"""Builds whose workspace is on an object store: real servers of S3 and of Google Cloud Storage."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import luigi
import numpy as np
import pandas as pd
import pytest

import kartnb
from kartnb.inspection.restore import restore_result
from kartnb.storage.targets import make_target
from tests.storage.servers import Server, bucket, gcs_bucket, gcs_server, objects, s3_server, store

__all__ = ['bucket', 'gcs_bucket', 'gcs_server', 's3_server', 'store']

pytest.importorskip('s3fs')
LOGS = ('module_versions', 'processing_time', 'random_seed', 'task_log', 'task_params')


class Rows(kartnb.TaskOnKart[pd.DataFrame]):
    n: int = luigi.IntParameter(default=3)

    def output(self) -> Any:
        return self.make_large_data_frame_target(max_byte=100)

    def run(self) -> None:
        self.dump(pd.DataFrame({'x': np.arange(self.n * 10)}))


class Model(kartnb.TaskOnKart[Any]):
    rows: Any = kartnb.TaskInstanceParameter()
    depth: int = luigi.IntParameter(default=1)

    def output(self) -> Any:
        return self.make_model_target('models/model.zip', save_function=save, load_function=load)

    def run(self) -> None:
        self.task_log['score'] = self.depth
        self.dump(np.full(3, len(self.load('rows')) + self.depth))


def save(model: Any, path: str) -> None:
    np.save(path, model)


def load(path: str) -> Any:
    return np.load(f'{path}.npy')


class Report(kartnb.TaskOnKart[Any]):
    model: Any = kartnb.TaskInstanceParameter()
    fails: bool = luigi.BoolParameter(default=False, significant=False)

    def output(self) -> Any:
        return {'text': self.make_target('report/text.txt'), 'table': self.make_target('report/table.csv')}

    def run(self) -> None:
        print('a line')
        self.dump(str(self.load('model')[0]), 'text')
        if self.fails:
            raise KeyboardInterrupt
        self.dump(pd.DataFrame({'drawn': [np.random.rand()]}), 'table')


def report(place: str, depth: int = 1, **values: Any) -> Report:
    both = {'workspace_directory': f'{place}/deep/results'}
    return Report(model=Model(rows=Rows(**both), depth=depth, **both), **both, **values)


def states(task: Any) -> set[str]:
    return {str(node.state) for node in kartnb.plan(task).nodes}


@pytest.mark.parametrize('workers', [1, 2])
def test_a_pipeline(store: str, workers: int) -> None:
    task = report(store)
    value = kartnb.build(task, workers=workers)
    assert value['text'] == ['31']
    assert states(task) == {'cached'}
    files = objects(f'{store}/deep/results')
    for kind in LOGS:
        assert {name.split('/')[2].split('_')[0] for name in files if name.startswith(f'log/{kind}/')} == {
            'Rows', 'Model', 'Report',
        }  # fmt: skip
    assert len([name for name in files if name.startswith('log/run_record/') and name.endswith('.json')]) == 3
    assert not [name for name in files if 'running' in name or 'tmp' in name]
    assert objects(store).keys() == {f'deep/results/{name}' for name in files}
    again = kartnb.build(task, workers=workers)
    pd.testing.assert_frame_equal(again['table'], value['table'])
    assert objects(f'{store}/deep/results') == files
    assert os.listdir() in ([], ['resources'])
    runs = kartnb.Workspace(f'{store}/deep/results').runs()
    assert {(run.task, str(run.state)) for run in runs} == {(name, 'cached') for name in ('Rows', 'Model', 'Report')}
    [log] = [name for name in files if name.startswith('log/task_log/Model_')]
    assert make_target(f'{store}/deep/results/{log}').load() == {'score': 1, 'file_path': [task.model.output().path()]}
    assert task.model.rows.output().load().x.tolist() == list(range(30))
    assert 'a line' in str(kartnb.logs(task))


def test_reruns_and_what_they_replace(store: str) -> None:
    task = report(store)
    first = kartnb.build(task)
    [made] = kartnb.Workspace(f'{store}/deep/results').runs('Model')
    assert kartnb.build(task, rerun='Model')['text'] == first['text']
    workspace = kartnb.Workspace(f'{store}/deep/results')
    replaced = workspace.runs(state='superseded')
    assert {run.task for run in replaced} == {'Model', 'Report'}
    assert made.result_id in {run.result_id for run in replaced}
    assert list(workspace.load(replaced.filter('Model')[0])) == [31] * 3
    restore_result(task.model)
    assert task.model.output().load()[0] == 31
    again = report(store)
    again.rerun = True
    assert kartnb.build(again)['text'] == ['31']


def test_an_input_that_is_newer_than_the_result(store: str) -> None:
    place = f'{store}/deep/results'
    task = report(store)
    kartnb.build(task)
    strict = Report(model=task.model, workspace_directory=place, modification_time_check=True)
    assert strict.complete()
    time.sleep(1.1)  # stores have times of whole seconds
    task.model.output().dump(np.full(3, 7))
    assert not strict.complete()
    assert kartnb.build(strict)['text'] == ['7']


def test_a_sweep(store: str) -> None:
    found = kartnb.sweep(report(store).model, depth=[1, 2, 3], metric=len)
    assert [point.metrics for point in found] == [{'len': 3}] * 3
    before = objects(store)
    again = kartnb.sweep(report(store).model, depth=[1, 2, 3], metric=len)
    assert [str(point.state) for point in again] == ['cached'] * 3
    changed = {name for name, data in objects(store).items() if before.get(name) != data}
    assert all('/log/sweep/' in name for name in changed)


def test_what_no_task_needs_is_removed(store: str) -> None:
    kartnb.build(report(store, depth=1))
    needed = set(objects(store))
    kartnb.build(report(store, depth=2))
    kept = set(objects(store))
    found = kartnb.clean(report(store, depth=1))
    assert {item.run.task for item in found.items if item.run} == {'Model', 'Report'}
    assert set(objects(store)) == kept
    kartnb.clean(report(store, depth=1), remove=True)
    assert set(objects(store)) == needed
    assert states(report(store, depth=1)) == {'cached'}
    assert 'missing' not in states(report(store, depth=1).model)


def test_an_interrupted_task_leaves_no_result(store: str) -> None:
    with pytest.raises(KeyboardInterrupt):
        kartnb.build(report(store, fails=True))
    assert not [name for name in objects(store) if name.startswith('deep/results/report/')]
    assert str(kartnb.plan(report(store)).root.state) == 'missing'
    assert kartnb.build(report(store))['text'] == ['31']


@pytest.mark.skipif(os.name == 'nt', reason='platform: Windows sends no SIGINT to one process')
@pytest.mark.parametrize('is_there', [False, True])
def test_an_interrupt_while_the_result_is_sent(
    bucket: str, s3_server: Server, monkeypatch: pytest.MonkeyPatch, is_there: bool
) -> None:
    """A request that is on its way must not change the store after the run has been undone."""
    task = Rows(workspace_directory=bucket)
    if is_there:
        kartnb.build(task)
    before = objects(bucket)
    answered: list[str] = []

    def interrupt(request: str) -> None:
        if request.startswith('PUT') and request.strip().endswith('.zip') and '/log/' not in request and not answered:
            answered.append(request)
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(1)

    monkeypatch.setattr(s3_server, 'before', interrupt)
    with pytest.raises(KeyboardInterrupt):
        kartnb.build(task, rerun=is_there)
    assert len(answered) == 1
    time.sleep(1.5)
    after = objects(bucket)
    kept = {name: data for name, data in after.items() if '/log/' not in f'/{name}'}
    assert kept == {name: data for name, data in before.items() if '/log/' not in f'/{name}'}
    assert states(task) == {'cached' if is_there else 'missing'}
    assert 'modified' not in str(kartnb.plan(task))


KILLED = """
import os, signal, sys
import kartnb

class Half:
    def __reduce__(self):
        os.kill(os.getpid(), signal.SIGKILL)

class Two(kartnb.TaskOnKart):
    def output(self):
        return {'a': self.make_target('two/a.pkl'), 'b': self.make_target('two/b.pkl')}
    def run(self):
        self.dump('first' * 1000, 'a')
        self.dump(['x' * 10_000_000, Half()] if sys.argv[2] == 'kill' else 'second', 'b')

place = sys.argv[1]
print(kartnb.plan(Two(workspace_directory=place)).root.state)
print([len(value) for value in kartnb.build(Two(workspace_directory=place)).values()])
"""


@pytest.mark.skipif(os.name == 'nt', reason='platform: Windows has no such signal')
def test_a_killed_build_leaves_no_result(store: str) -> None:
    Path('killed.py').write_text(KILLED)
    environment = {**os.environ, 'PYTHONPATH': str(Path(__file__).parents[2])}

    def ended(how: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, 'killed.py', store, how]
        return subprocess.run(command, env=environment, capture_output=True, text=True)

    assert ended('kill').returncode == -signal.SIGKILL
    assert not [name for name in objects(store) if name.startswith('two/b')]
    done = ended('end')
    assert done.stdout.splitlines() == ['missing', '[5000, 6]'], done.stderr
    assert not [name for name in objects(store) if 'running' in name]
