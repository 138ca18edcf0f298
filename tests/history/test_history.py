"""The history of a workspace: every result, to be filtered, loaded and restored."""

from __future__ import annotations

import datetime as dt
import json
import logging
import os
import shutil
import threading
from pathlib import Path
from typing import Any

import luigi
import pandas as pd
import pytest
from luigi.parameter import ParameterVisibility

import kartnb
from kartnb.history.runs import RunState
from kartnb.history.select import moment
from tests.view.markup import Skeleton

#: The workspace: each test has its own working directory.
place = Path('resources')


class Load(kartnb.TaskOnKart):
    n = luigi.IntParameter(1)
    名前 = luigi.Parameter('日本')

    def run(self) -> None:
        self.dump(list(range(self.n)))


class Train(kartnb.TaskOnKart):
    data = kartnb.TaskInstanceParameter()
    depth = luigi.IntParameter(3)
    rate = luigi.FloatParameter(0.5)
    token = luigi.Parameter('s3cret', visibility=ParameterVisibility.HIDDEN)
    fail = luigi.BoolParameter(default=False, significant=False)

    def output(self) -> Any:
        return {'model': self.make_target('a/model.json'), 'score': self.make_target()}

    def run(self) -> None:
        if self.fail:
            raise ValueError('asked to')
        self.dump(pd.DataFrame({'x': self.load('data')}), 'model')
        self.dump(self.depth, 'score')


def _built(depths: tuple[int, ...] = (3, 5)) -> kartnb.Workspace:
    for depth in depths:
        kartnb.build(Train(data=Load(n=2), depth=depth), return_value=False)
    return kartnb.Workspace()


def test_every_result_is_a_row() -> None:
    runs = _built().runs()
    assert [run.task for run in runs] == ['Train', 'Train', 'Load']
    newest = runs[0]
    assert newest.unique_id == Train(data=Load(n=2), depth=5).make_unique_id()
    assert newest.state == 'cached'
    assert newest.size == sum(Path(path).stat().st_size for path in newest.outputs)
    assert newest.seconds is not None
    assert newest.seconds < 5
    assert newest.versions['kartnb'] == kartnb.__version__
    assert newest.when is not None
    assert abs((dt.datetime.now(dt.UTC) - newest.when).total_seconds()) < 60
    assert 'token' not in newest.parameters


def test_who_tells_of_a_result_is_said() -> None:
    assert {run.origin for run in _built().runs()} == {'kartnb'}
    shutil.rmtree('resources/log/run_record')  # as what gokart leaves
    assert {run.origin for run in kartnb.Workspace().runs()} == {'gokart'}
    kartnb.build(Load(n=2))
    assert {run.task: run.origin for run in kartnb.Workspace().runs()} == {'Load': 'adopted', 'Train': 'gokart'}


def test_the_dataframe_has_parameters_as_columns_with_values_to_compare() -> None:
    table = _built().to_dataframe(task='Train', sort='depth')
    assert list(table['depth']) == [3, 5]
    assert list(table['rate']) == [0.5, 0.5]
    assert list(table['fail']) == [False, False]
    assert set(table['state']) == {'cached'}
    assert str(table['when'].dt.tz) == 'UTC'
    assert kartnb.Workspace().to_dataframe(task='Load')['名前'][0] == '日本'


def test_filters_choose_and_sorting_orders() -> None:
    runs = _built((3, 10, 5)).runs()
    assert [run.parameters['depth'] for run in runs.filter('Tr*').sort('depth')] == ['3', '5', '10']
    assert [run.parameters['depth'] for run in runs.filter(Train, where={'depth': [3, 5]})] == ['5', '3']
    assert len(runs.filter(since='1h')) == 4
    assert len(runs.filter(until='1h')) == 0
    assert len(runs.filter(since=dt.date(2020, 1, 1), until=dt.datetime.now())) == 4
    assert len(runs.filter(state=['failed'])) == 0
    assert next(run.task for run in runs.sort('when', ascending=True)) == 'Load'
    limited = kartnb.Workspace().runs(limit=2)
    assert (len(limited), limited.total) == (2, 4)


@pytest.mark.parametrize(
    'asked, words',
    [
        ({'since': 'last tuesday'}, 'is not a time'),
        ({'since': []}, 'is not a time'),
        ({'state': 'lost'}, "'lost' is not a state: the states are cached"),
        ({'sort': 'colour'}, 'Column colour not found: sort by when'),
    ],
)
def test_what_makes_no_sense_is_one_sentence(asked: dict[str, Any], words: str) -> None:
    with pytest.raises(kartnb.HistoryError, match=words):
        _built((3,)).runs(**asked)


def test_times_are_understood() -> None:
    now = dt.datetime(2024, 5, 3, 12, tzinfo=dt.UTC)
    assert moment('90 min', now) == now - dt.timedelta(minutes=90)
    assert moment('1.5h', now) == now - dt.timedelta(minutes=90)
    assert moment(dt.timedelta(weeks=1), now) == now - dt.timedelta(days=7)
    assert moment('2024-05-01t10:00:00z', now) == dt.datetime(2024, 5, 1, 10, tzinfo=dt.UTC)


def test_results_are_loaded_by_row_id_and_task() -> None:
    workspace = _built()
    task = Train(data=Load(n=2), depth=5)
    for name in (0, workspace.runs()[0], task.make_unique_id(), task.make_unique_id()[:8], task, 'Train[' +
                 task.make_unique_id()[:8] + ']', workspace.runs()[0].result_id):  # fmt: skip
        assert workspace.load(name)['score'] == 5
    assert workspace.load(workspace.to_dataframe().iloc[2]) == [0, 1]


@pytest.mark.parametrize(
    'name, words',
    [
        ('ffffffff', 'has no result whose id begins with'),
        ('ab', 'give at least its first 4'),
        (17, 'Row 17 not found: the table has 2 rows'),
        (3.5, 'is given by a row, an id or a task'),
        (Load(n=77), 'has no result of Load'),
        (luigi.Task(), 'is not a TaskOnKart'),
    ],
)
def test_what_is_not_there_is_one_sentence(name: Any, words: str) -> None:
    with pytest.raises(kartnb.HistoryError, match=words):
        _built((3,)).load(name)


def test_the_task_is_restored_with_hidden_parameters_and_in_its_workspace() -> None:
    task = Train(data=Load(n=2), depth=5, token='another', rate=2, workspace_directory='elsewhere')
    kartnb.build(task, return_value=False)
    restored = kartnb.Workspace('elsewhere').task(0)
    assert restored.make_unique_id() == task.make_unique_id()
    assert restored.token == 'another'
    assert Path(restored.workspace_directory).resolve() == Path('elsewhere').resolve()
    assert restored.complete()


def test_a_workspace_that_has_moved_still_loads() -> None:
    _built((3,))
    place.rename(place.with_name('moved'))
    workspace = kartnb.Workspace('moved')
    assert {run.state for run in workspace.runs()} == {'cached'}
    assert workspace.load(0)['score'] == 3
    assert workspace.task(0).requires()['data'].workspace_directory.endswith('moved')


def test_a_class_that_is_gone_is_said() -> None:
    workspace = _built((3,))
    record = next((place / 'log/run_record').rglob('Load*.json'))
    values = json.loads(record.read_text()) | {'task': 'Gone', 'module': 'pipelines.old'}
    record.write_text(json.dumps(values))
    with pytest.raises(kartnb.HistoryError, match=r'class Gone is not defined here: import pipelines.old first'):
        workspace.task(workspace.runs('Gone')[0])
    assert workspace.load(workspace.runs('Gone')[0]) == [0, 1]


def test_two_classes_with_one_name_are_said() -> None:
    def define(module: str) -> type:
        body = {'__module__': module, 'run': lambda self: self.dump(1)}
        return type(kartnb.TaskOnKart)('Twin', (kartnb.TaskOnKart,), body)

    first, second = define('one'), define('two')
    kartnb.build(first())
    for path in (place / 'log/run_record').rglob('*.json'):
        path.unlink()
    (place / 'one').rename(place / 'three')
    workspace = kartnb.Workspace()
    with pytest.raises(kartnb.HistoryError, match=r'Two classes are called Twin, one\..*Twin and two\..*Twin'):
        workspace.task(0)
    assert type(workspace.task(0, cls=second)) is second


def test_a_changed_class_is_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    workspace = _built((3,))

    class Other(kartnb.TaskOnKart):
        n = luigi.IntParameter(1)

    with caplog.at_level(logging.WARNING, 'kartnb'):
        workspace.task(workspace.runs('Load')[0], cls=Other)
    assert 'The definition of Other has changed since' in caplog.text


def test_failures_and_missing_results_are_listed() -> None:
    workspace = _built((3,))
    with pytest.raises(kartnb.GokartBuildError):
        kartnb.build(Train(data=Load(n=2), depth=4, fail=True))
    os.unlink(Load(n=2).output().path())
    runs = workspace.runs()
    assert [(run.task, run.state) for run in runs] == [('Train', 'failed'), ('Train', 'cached'), ('Load', 'missing')]
    assert runs[0].error == 'ValueError: asked to'
    with pytest.raises(kartnb.HistoryError, match='has no result to load: it is missing'):
        workspace.load(runs[2])


def test_a_run_under_way_has_not_failed() -> None:
    begun, go_on = threading.Event(), threading.Event()

    class Slow(kartnb.TaskOnKart[int]):
        def run(self) -> None:
            begun.set()
            assert go_on.wait(30)
            self.dump(1)

    build = kartnb.build(Slow(), background=True, executor='threads')
    assert begun.wait(30)
    try:
        [run] = kartnb.Workspace('resources').runs()
        assert run.state == 'missing'
        assert run.error == 'its run has not ended: it is under way, or its process was killed'
    finally:
        go_on.set()
        build.result(30)
    [run] = kartnb.Workspace('resources').runs()
    assert (run.state, run.error) == ('cached', '')


@pytest.mark.parametrize(
    'text',
    ['', '{', '[]', '{"format_version": 99}', '{"format_version": 1, "task": 3}', '\udcff', None],
)
def test_a_damaged_record_is_named_and_the_rest_listed(text: str | None) -> None:
    workspace = _built((3,))
    record = next((place / 'log/run_record').rglob('Load*.json'))
    if text is None:
        values = json.loads(record.read_text()) | {'parameters': [1], 'seconds': 'long', 'outputs': [{'path': 3}]}
        text = json.dumps(values)
    record.write_bytes(text.encode('utf-8', 'surrogateescape'))
    runs = workspace.runs()
    assert [(run.task, run.state) for run in runs] == [('Load', 'cached'), ('Train', 'cached')] or len(runs) == 2
    assert [str(record) in problem for problem in runs.problems] == [True]
    assert 'cannot be read' in repr(runs)
    assert workspace.load(runs.filter('Load')[0]) == [0, 1]


def test_hand_edited_values_do_no_harm() -> None:
    workspace = _built((3,))
    record = next((place / 'log/run_record').rglob('Load*.json'))
    values = json.loads(record.read_text()) | {'parameters': {'n': 7, 'x': None}, 'ended': 'now', 'started': '-1'}
    record.write_text(json.dumps(values))
    [run] = workspace.runs('Load')
    assert run.parameters == {'n': '7', 'x': 'None'}
    assert run.when is not None


def test_what_is_no_workspace_is_said(tmp_path: Path) -> None:
    with pytest.raises(kartnb.StorageError, match='is not a workspace: the directory does not exist'):
        kartnb.Workspace(str(tmp_path / 'nowhere'))
    (tmp_path / 'file').touch()
    with pytest.raises(kartnb.StorageError, match='is not a workspace: it is a file'):
        kartnb.Workspace(str(tmp_path / 'file'))
    (tmp_path / 'empty').mkdir()
    assert repr(kartnb.Workspace(str(tmp_path / 'empty'))).startswith('No recorded results')
    assert kartnb.Workspace(str(tmp_path / 'empty')).to_dataframe().empty


def test_a_workspace_inside_of_another_is_left_out() -> None:
    _built((3,))
    kartnb.build(Load(n=9, workspace_directory=str(place / 'inner')))
    assert len(kartnb.Workspace().runs()) == 2
    assert [run.parameters['n'] for run in kartnb.Workspace(str(place / 'inner')).runs()] == ['9']


def test_remote_workspaces_are_listed() -> None:
    kartnb.build(Load(n=4, workspace_directory='memory://history/w'))
    workspace = kartnb.Workspace('memory://history/w/')
    [run] = workspace.runs()
    assert (run.task, run.state, run.parameters['n']) == ('Load', 'cached', '4')
    assert workspace.load(run) == [0, 1, 2, 3]
    assert workspace.task(run).complete()


def test_text_and_html_say_the_same() -> None:
    runs = _built().runs()
    html = Skeleton(runs._repr_html_()).text
    for line in repr(runs).split('\n'):
        for cell in filter(None, line.split('  ')):
            assert cell.strip() in html or cell.strip().startswith('3 recorded results')


def test_a_long_table_is_cut_and_hostile_names_are_text() -> None:
    evil = '<script>window.pwned=1</script>\x1b[2J'
    run = kartnb.Run(evil, '0' * 32, RunState.FAILED, parameters={evil: evil}, error=evil, host=evil)
    runs = kartnb.Runs([run] * 500, evil, [evil] * 30)
    assert '<script' not in runs._repr_html_()
    assert '\x1b' not in repr(runs) + runs._repr_html_()
    assert '… 450 more' in repr(runs)
    assert len(runs._repr_html_()) < 200_000
