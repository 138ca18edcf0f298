"""What the inspector tells of a task: all of it JSON, bounded, without secrets, and without running anything."""

from __future__ import annotations

import json
import logging
import os
import pickle
from pathlib import Path
from typing import Any

import luigi
import pytest
from luigi.parameter import ParameterVisibility

import kartnb
from kartnb.history.log_store import LogStore
from kartnb.storage.places import log_path
from kartnb.view.inspect import Inspector
from tests.view.graphs import Load, node
from tests.view.hostile import hostile_plan

SECRET, HIDDEN = 'pa55w0rd', 't0k3n'


class 数(kartnb.TaskOnKart[list[int]]):
    count = luigi.IntParameter(default=3)
    label = luigi.Parameter(default='<b>', significant=False)
    password = luigi.Parameter(default=SECRET, visibility=ParameterVisibility.PRIVATE)
    token = luigi.Parameter(default=HIDDEN, visibility=ParameterVisibility.HIDDEN)

    def run(self) -> None:
        print('一')
        logging.getLogger('mine').warning('two')
        self.task_log['accuracy'] = {'train': 0.5, 'model': object}
        self.dump(list(range(self.count)))


class Total(kartnb.TaskOnKart[int]):
    numbers = kartnb.TaskInstanceParameter(default=数())

    def run(self) -> None:
        self.dump(sum(self.load('numbers')))


class Broken(kartnb.TaskOnKart[int]):
    def run(self) -> None:
        raise ValueError('no <i>such</i> thing')


@pytest.fixture
def built() -> tuple[Inspector, kartnb.Plan]:
    kartnb.build(Total(), log_level=logging.CRITICAL)
    plan = kartnb.plan(Total())
    return Inspector(plan), plan


def test_the_brief_tells_what_needs_no_file(built: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    inspector, plan = built
    monkeypatch.setattr(os, 'scandir', None)
    monkeypatch.setattr('builtins.open', None)
    found = inspector.brief(plan.nodes[0].key)
    assert (found['name'], found['state'], found['glyph'], found['reason']) == ('数', 'cached', '●', '')
    assert found['unique_id'] == plan.nodes[0].unique_id
    assert found['parameters'] == [
        {'name': 'count', 'text': '3', 'significant': True},
        {'name': 'label', 'text': '<b>', 'significant': False},
    ]
    assert [task['name'] for task in found['required_by']] == ['Total']
    assert [task['position'] for task in inspector.brief(plan.root.key)['requires']] == [0]
    assert found['outputs'][0]['path'].endswith('.pkl')
    assert found['outputs'][0]['exists'] is None


def test_details_tell_what_the_files_say(built: Any) -> None:
    inspector, plan = built
    found = inspector.details(plan.nodes[0].key)
    (output,) = found['outputs']
    assert (output['format'], output['exists']) == ('pkl', True)
    assert output['size'] == Path(plan.nodes[0].outputs[0]).stat().st_size
    assert found['run'] is not None
    assert (found['run']['state'], found['failure']) == ('done', None)
    assert [(line['stream'], line['level'], line['text']) for line in found['log']['lines']] == [
        ('stdout', '', '一'),
        ('log', 'WARNING', 'two'),
    ]
    assert Path(found['log']['path']).exists()
    logs = {log['kind']: log['lines'] for log in found['gokart_logs']}
    assert set(logs) == {'module_versions', 'processing_time', 'random_seed', 'task_log', 'task_params'}
    assert logs['task_params'] == ['count: 3']
    assert logs['task_log'][:4] == ['accuracy:', '  train: 0.5', '  model: <builtins.object>', 'file_path:']
    assert found['source']['text'].startswith('class 数(')


def test_secrets_are_nowhere(built: Any) -> None:
    inspector, plan = built
    everything = json.dumps([[inspector.brief(n.key), inspector.details(n.key)] for n in plan], ensure_ascii=False)
    assert SECRET not in everything
    assert HIDDEN not in everything
    assert '425a68' not in everything  # a packed task could hold some


def test_a_failure_is_told(tmp_path: Path) -> None:
    with pytest.raises(kartnb.GokartBuildError):
        kartnb.build(Broken(), log_level=logging.CRITICAL)
    plan = kartnb.plan(Broken())
    found = Inspector(plan).details(plan.root.key)
    assert found['run'] is None
    assert found['failure'] is not None
    assert found['failure']['error'] == 'ValueError: no <i>such</i> thing'
    assert found['outputs'][0]['exists'] is False


def test_tasks_that_have_not_run_and_plain_tasks_are_told_too() -> None:
    plan = kartnb.plan(Total())
    found = Inspector(plan).details(plan.root.key)
    assert (found['run'], found['log']['lines'], found['gokart_logs']) == (None, [], [])
    plain = kartnb.plan(luigi.task.externalize(Load()))
    assert Inspector(plain).details(plain.root.key)['run'] is None


def test_an_attack_in_a_log_is_not_run(tmp_path: Path) -> None:
    kartnb.build(Total(), log_level=logging.CRITICAL)
    touched = tmp_path / 'touched'
    task = Total()
    path = Path(log_path(task.workspace_directory, 'task_log', 'Total', task.make_unique_id()))
    path.write_bytes(pickle.dumps(_Touch(str(touched))))
    path.parent.parent.joinpath('random_seed', path.name).write_bytes(b'nonsense')
    plan = kartnb.plan(task)
    logs = {log['kind']: log for log in Inspector(plan).details(plan.root.key)['gokart_logs']}
    assert logs['task_log']['lines'] == ['<posix.system>' if os.name == 'posix' else '<nt.system>']
    assert 'not a pickle' in logs['random_seed']['problem']
    assert not touched.exists()


class _Touch:
    def __init__(self, path: str) -> None:
        self._path = path

    def __reduce__(self) -> Any:
        return os.system, (f'touch {self._path}',)


def test_a_shelf_lists_each_directory_once(built: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    inspector, plan = built
    listed: list[str] = []
    scan = os.scandir
    monkeypatch.setattr(os, 'scandir', lambda place: listed.append(str(place)) or scan(place))
    store = LogStore()
    for n in plan.nodes * 3:
        inspector.details(n.key, store)
    assert len(listed) <= 8


def test_hundred_kilobytes_everywhere_stay_small() -> None:
    plan = hostile_plan(['<b>&"' * 20_000] * 5)
    inspector = Inspector(plan)
    for n in plan:
        assert len(json.dumps(inspector.brief(n.key))) < 20_000
        assert len(json.dumps(inspector.details(n.key))) < 60_000


def test_many_neighbours_are_counted() -> None:
    nodes = [node(Load(), name=f'L{i}') for i in range(50)]
    plan = kartnb.Plan((*nodes, node(Load(), requires=range(50), name='root')), '/w')
    found = Inspector(plan).brief(plan.root.key)
    assert len(found['requires']) + found['requires_omitted'] == 50
