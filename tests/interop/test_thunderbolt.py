"""thunderbolt's names on workspaces that gokart wrote: absolute and nested ones, where thunderbolt fails, too."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import luigi
import pandas as pd
import pytest

import kartnb
from kartnb.compat.thunderbolt import Thunderbolt

SCRIPT = """
import sys
import gokart, luigi, pandas as pd
class Load(gokart.TaskOnKart):
    n = luigi.IntParameter(3)
    def output(self):
        both = [self.make_target('a.pkl'), self.make_target('b.csv')]
        return both if self.n == 4 else self.make_target()
    def run(self):
        self.task_log['n'] = self.n
        for target in luigi.task.flatten(self.output()):
            self.dump(pd.DataFrame({'x': range(self.n)}), target)
class Big_Name(gokart.TaskOnKart):
    def output(self): return self.make_large_data_frame_target()
    def run(self): self.dump(pd.DataFrame({'x': [1, 2]}))
options = {'log_level': 50, 'reset_register': False}
for task in (Load(n=3, workspace_directory=sys.argv[1]), Load(n=4, workspace_directory=sys.argv[1]),
             Big_Name(workspace_directory=sys.argv[1])):
    gokart.build(task, **options)
"""


@pytest.fixture(scope='module', params=['resources', 'nested/deep/w', 'absolute'])
def place(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    above = tmp_path_factory.mktemp('bolt')
    given = str(above / 'absolute') if request.param == 'absolute' else request.param
    (above / 'tasks.py').write_text(SCRIPT)
    done = subprocess.run(
        [sys.executable, '-W', 'ignore', 'tasks.py', given], cwd=above, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return os.path.join(above, given)


def test_tasks_are_listed_with_thunderbolts_columns(place: str) -> None:
    bolt = Thunderbolt(place, use_tqdm=True)
    table = bolt.get_task_df()
    assert list(table.columns) == ['task_id', 'task_name', 'last_modified', 'task_params']
    assert list(table['task_name']) == ['Load', 'Load', 'Big_Name']
    assert list(table['task_params']) == [{'n': '3'}, {'n': '4'}, {}]
    every = bolt.get_task_df(all_data=True)
    assert list(every.columns)[4:] == ['task_hash', 'task_log']
    assert every['task_log'][1]['n'] == 4


def test_values_come_by_number_and_by_name(place: str) -> None:
    bolt = Thunderbolt(place)
    assert list(bolt.load(0)['x']) == [0, 1, 2]
    pickled, csv = bolt.load(1)
    assert list(pickled['x']) == list(csv['x']) == [0, 1, 2, 3]
    assert list(bolt.get_data('Big_Name')['x']) == [1, 2]
    newest, older = bolt.get_data('Load', top_k=2)
    assert isinstance(newest, list)
    assert len(older) == 3


def test_the_client_finds_what_logs_name(place: str) -> None:
    """As users of thunderbolt call them: some list or load by themselves."""
    bolt = Thunderbolt(place)
    assert bolt.client.workspace_directory == place
    assert bolt._get_tasks_dic(bolt.client.get_tasks()) == bolt.tasks
    for entry in bolt.tasks.values():
        for path in entry['task_log']['file_path']:
            assert os.path.isfile(bolt.client.to_absolute_path(path))
    assert list(bolt._target_load(bolt.tasks[0]['task_log']['file_path'][0])['x']) == [0, 1, 2]
    bolt.tasks = bolt._get_tasks_dic([entry for entry in bolt.tasks.values() if entry['task_name'] == 'Big_Name'])
    assert list(bolt.load(0)['x']) == [1, 2]


def test_the_client_of_a_store() -> None:
    client = Thunderbolt()._get_client('s3://bucket/prefix/', [], False, False)
    assert client.to_absolute_path('s3://bucket/prefix/a/b.pkl') == 's3://bucket/prefix/a/b.pkl'
    assert client.to_absolute_path('./prefix/a/b.pkl') == 's3://bucket/prefix/a/b.pkl'
    assert client.to_absolute_path('a/b.pkl') == 's3://bucket/prefix/a/b.pkl'


def test_filters_and_what_is_not_there(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert list(Thunderbolt(place, task_filters='Big').get_task_df()['task_name']) == ['Big_Name']
    assert len(Thunderbolt(place, task_filters=['Big', 'Load']).tasks) == 3
    assert Thunderbolt(place, task_filters='none').get_task_df().empty
    monkeypatch.setenv('TASK_WORKSPACE_DIRECTORY', place)
    assert len(Thunderbolt().tasks) == 3
    with pytest.raises(kartnb.HistoryError, match='has none of Nothing, but top_k is 1; its tasks: Big_Name'):
        Thunderbolt(place).get_data('Nothing')
    with pytest.raises(kartnb.HistoryError, match='Task number 9 not found'):
        Thunderbolt(place).load(9)


def test_logs_run_nothing_and_missing_files_are_not_listed(tmp_path: Path) -> None:
    class Kept(kartnb.TaskOnKart):
        n = luigi.IntParameter(1)

        def run(self) -> None:
            self.dump(self.n)

    place = str(tmp_path / 'w')
    for n in (1, 2):
        kartnb.build(Kept(n=n, workspace_directory=place))
    os.remove(Kept(n=1, workspace_directory=place).output().path())
    log = Path(Kept(n=2, workspace_directory=place)._get_task_log_target().path())
    touched = tmp_path / 'touched'
    log.write_bytes(pickle.dumps(_Touches(str(touched))))
    assert list(Thunderbolt(place).get_task_df()['task_params']) == [{'n': '2'}]
    assert Thunderbolt(place).get_data('Kept') == 2
    assert not touched.exists()


class _Touches:
    """Its pickle, when it is loaded as pickle does, makes a file."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return open, (self.path, 'w')


def test_a_rerun_is_seen_at_once(tmp_path: Path) -> None:
    class Count(kartnb.TaskOnKart):
        n = luigi.IntParameter(1)

        def run(self) -> None:
            self.dump(pd.DataFrame({'x': [len(list(tmp_path.iterdir()))]}))

    task = Count(workspace_directory=str(tmp_path / 'w'))
    kartnb.build(task)
    first = Thunderbolt(str(tmp_path / 'w')).get_data('Count')
    (tmp_path / 'other').touch()
    kartnb.build(task, rerun=True)
    bolt = Thunderbolt(str(tmp_path / 'w'))
    assert len(bolt.tasks) == 1
    assert bolt.get_data('Count')['x'][0] == first['x'][0] + 1
