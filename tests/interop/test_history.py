"""gokart writes a workspace, and kartnb lists it, loads from it, restores its tasks and clears it up."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import luigi
import pytest

import kartnb

SCRIPT = """
import sys
import gokart, luigi, pandas as pd
from luigi.parameter import ParameterVisibility
class Load(gokart.TaskOnKart):
    n = luigi.IntParameter(3)
    def run(self): self.dump(pd.DataFrame({'x': range(self.n)}))
class Train(gokart.TaskOnKart):
    data = gokart.TaskInstanceParameter()
    depth = luigi.IntParameter(3)
    api_token = luigi.Parameter('s3cret', visibility=ParameterVisibility.HIDDEN)
    def output(self): return self.make_target('models/tree.json')
    def run(self):
        self.task_log['accuracy'] = 0.9
        self.dump(self.load('data'))
class Broken(gokart.TaskOnKart):
    def run(self): raise ValueError('asked to')
class Silent(gokart.TaskOnKart):
    def run(self): self.dump(1)
place = sys.argv[1]
options = {'log_level': 50, 'reset_register': False}
for n in (3, 4):
    gokart.build(Train(data=Load(n=n, workspace_directory=place), workspace_directory=place), **options)
gokart.build(Silent(workspace_directory=place, should_dump_supplementary_log_files=False), **options)
try:
    gokart.build(Broken(workspace_directory=place), log_level=50)
except Exception:
    pass
"""


@pytest.fixture(scope='module', params=['./resources/', 'nested/deep/w', 'absolute'])
def place(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    above = tmp_path_factory.mktemp('gokart')
    given = str(above / 'absolute') if request.param == 'absolute' else request.param
    (above / 'tasks.py').write_text(SCRIPT)
    command = [sys.executable, '-W', 'ignore', 'tasks.py', given]
    done = subprocess.run(command, cwd=above, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return os.path.join(above, given)


def _tasks() -> tuple[Any, Any]:
    class Load(kartnb.TaskOnKart):
        __module__ = '__main__'
        n = luigi.IntParameter(3)

        def run(self) -> None: ...

    class Train(kartnb.TaskOnKart):
        __module__ = '__main__'
        data = kartnb.TaskInstanceParameter()
        depth = luigi.IntParameter(3)
        api_token = luigi.Parameter('s3cret', visibility=luigi.parameter.ParameterVisibility.HIDDEN)

        def output(self) -> Any:
            return self.make_target('models/tree.json')

        def run(self) -> None: ...

    return Load, Train


def test_what_gokart_wrote_is_listed(place: str) -> None:
    runs = kartnb.Workspace(place).runs()
    assert sorted((run.task, str(run.state), run.origin) for run in runs) == [
        ('Broken', 'failed', 'gokart'), ('Load', 'cached', 'gokart'), ('Load', 'cached', 'gokart'),
        ('Silent', 'cached', 'file'), ('Train', 'cached', 'gokart'), ('Train', 'cached', 'gokart'),
    ]  # fmt: skip
    newest = runs.filter('Train')[0]
    assert newest.parameters['depth'] == '3'
    assert newest.parameters['data'] == 'Load(n=4)'
    assert newest.seconds is not None
    assert newest.size == sum(os.stat(path).st_size for path in newest.outputs)
    assert 's3cret' not in repr(runs) + runs._repr_html_() + runs.to_dataframe().to_csv()


def test_what_gokart_wrote_is_loaded(place: str) -> None:
    workspace = kartnb.Workspace(place)
    assert list(workspace.load(workspace.runs('Train')[0])['x']) == [0, 1, 2, 3]
    assert workspace.load(workspace.runs('Silent')[0]) == 1
    with pytest.raises(kartnb.HistoryError, match='it is failed'):
        workspace.load(workspace.runs('Broken')[0])


def test_tasks_of_gokart_are_restored(place: str) -> None:
    workspace = kartnb.Workspace(place)
    run = workspace.runs('Train')[0]
    with pytest.raises(kartnb.HistoryError, match='Train is not defined here'):
        workspace.task(run)
    load, train = _tasks()
    task = workspace.task(run)
    assert isinstance(task, train)
    assert task.make_unique_id() == run.unique_id
    assert task.api_token == 's3cret'
    assert task.complete()
    assert task.data.complete()
    assert isinstance(task.data, load)


NAMED = """
import gokart, luigi
class Fetch(gokart.TaskOnKart):
    table = luigi.Parameter('users')
    db_pwd = luigi.Parameter('hunter2')
    aws_access_key = luigi.Parameter('AKIA-1234')
    private_notes = luigi.Parameter('between us')
    def run(self): self.dump([1])
class Report(gokart.TaskOnKart):
    source = gokart.TaskInstanceParameter()
    sources = gokart.ListTaskInstanceParameter()
    def run(self): self.dump(len(self.load('source')))
gokart.build(Report(source=Fetch(), sources=[Fetch(table='orders')]), log_level=50)
"""


@pytest.mark.parametrize('name', ['db_pwd', 'aws_access_key', 'private_notes'])
def test_names_of_secrets_are_masked_where_no_class_tells_what_may_be_shown(name: str, tmp_path: Path) -> None:
    command = [sys.executable, '-W', 'ignore', '-c', NAMED]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    runs = kartnb.Workspace(str(tmp_path / 'resources')).runs()
    values = {'db_pwd': 'hunter2', 'aws_access_key': 'AKIA-1234', 'private_notes': 'between us'}
    [fetch] = runs.filter('Fetch', where={'table': 'users'})
    [report] = runs.filter('Report')
    for text in (fetch.parameters[name], report.parameters['source'], report.parameters['sources']):
        assert '••••••' in text
    assert f'{name}=••••••' in report.parameters['source']
    assert f'{name}=••••••' in report.parameters['sources']
    for text in (repr(runs), runs._repr_html_(), runs.to_dataframe().to_csv(), str(runs[0])):
        assert values[name] not in text
    assert 'users' in repr(runs)
    assert 'users' in runs._repr_html_()


def test_looking_runs_nothing_of_a_pickle(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> Any:
            return os.mkdir, (str(tmp_path / 'pwned'),)

    uid = '0' * 32
    for kind in ('task_params', 'task_log', 'processing_time', 'random_seed'):
        (tmp_path / 'w/log' / kind).mkdir(parents=True)
        (tmp_path / 'w/log' / kind / f'Train_{uid}.pkl').write_bytes(pickle.dumps({'file_path': Evil(), 'a': Evil()}))
    runs = kartnb.Workspace(str(tmp_path / 'w')).runs()
    repr(runs), runs._repr_html_(), runs.to_dataframe()
    assert len(runs) == 1
    assert not (tmp_path / 'pwned').exists()


def test_damaged_logs_are_named(tmp_path: Path) -> None:
    directory = tmp_path / 'log/task_params'
    directory.mkdir(parents=True)
    (directory / f'Train_{"0" * 32}.pkl').write_bytes(b'\x80\x04nonsense')
    (directory / 'README').write_text('mine')
    runs = kartnb.Workspace(str(tmp_path)).runs()
    assert [run.task for run in runs] == ['Train']
    assert len(runs.problems) == 1
