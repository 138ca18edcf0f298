"""Tasks of the real gokart and of plain luigi, in a user's package, build and draw without changes."""

from __future__ import annotations

import importlib
import os
import pickle
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import luigi
import numpy as np
import pandas as pd
import pytest

import kartnb
from kartnb import display
from kartnb.model import TaskState
from tests.execution.luigi_settings import luigi_settings

PACKAGE = {
    '__init__.py': '',
    'features.py': """
import os
import luigi, gokart, numpy, pandas

class Rows(gokart.TaskOnKart):
    task_namespace = 'shop'
    count = luigi.IntParameter(default=3)

    def run(self):
        self.task_log['pid'] = os.getpid()
        self.dump(pandas.DataFrame({'n': range(self.count), 'x': numpy.random.rand(self.count)}))

class Total(gokart.TaskOnKart):
    rows = gokart.TaskInstanceParameter(expected_type=Rows)

    def output(self):
        return self.make_target('shop/total.pkl')

    def run(self):
        more = yield Rows(count=5)
        self.dump({'total': int(self.load('rows')['n'].sum()), 'more': int(more.load()['n'].sum())})
""",
    'files.py': """
import luigi
from luigi.format import UTF8

class Words(luigi.Task):
    text = luigi.Parameter()

    def output(self):
        return luigi.LocalTarget(f'words/{self.task_id}.txt', format=UTF8)

    def run(self):
        with self.output().open('w') as file:
            file.write(self.text)

class Counts(luigi.Task):
    def requires(self):
        return [Words(text='one two'), Words(text='three')]

    def output(self):
        return luigi.LocalTarget('words/counts.txt')

    def run(self):
        counts = []
        for target in self.input():
            with target.open() as file:
                counts.append(str(len(file.read().split())))
        with self.output().open('w') as file:
            file.write(' '.join(counts))

class Everything(luigi.WrapperTask):
    def requires(self):
        return Counts()
""",
}


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    package = tmp_path / 'src' / 'shop_of_a_user'
    package.mkdir(parents=True)
    for name, text in PACKAGE.items():
        (package / name).write_text(text)
    monkeypatch.syspath_prepend(str(package.parent))
    monkeypatch.setenv('PYTHONPATH', str(package.parent), prepend=os.pathsep)
    module = importlib.import_module('shop_of_a_user')
    for name in ('features', 'files'):
        importlib.import_module(f'shop_of_a_user.{name}')
    yield module
    for name in [name for name in sys.modules if name.startswith('shop_of_a_user')]:
        del sys.modules[name]


@pytest.mark.parametrize('workers', [1, 2])
def test_gokarts_tasks_build_with_gokarts_ids_and_logs(shop: Any, workspace: Path, workers: int) -> None:
    import gokart

    total = shop.features.Total(rows=shop.features.Rows())
    assert isinstance(total, gokart.TaskOnKart)
    plan = kartnb.plan(total)
    assert [(node.name, node.unique_id) for node in plan] == [
        ('Rows', shop.features.Rows().make_unique_id()),
        ('Total', total.make_unique_id()),
    ]
    state = np.random.get_state()[1].tolist()
    assert kartnb.build(total, workers=workers) == {'total': 3, 'more': 10}
    assert np.random.get_state()[1].tolist() == state
    assert (workspace / f'shop/total_{total.make_unique_id()}.pkl').exists()
    stem = f'Rows_{shop.features.Rows().make_unique_id()}'
    for kind in ('task_params', 'random_seed', 'processing_time', 'task_log'):
        assert (workspace / f'log/{kind}/{stem}.pkl').exists(), kind
    task_log = pickle.loads((workspace / f'log/task_log/{stem}.pkl').read_bytes())
    assert (task_log['pid'] == os.getpid()) == (workers == 1)
    assert kartnb.plan(total).to_run() == ()


def test_gokart_finds_what_kartnb_built_and_the_same_numbers(shop: Any, tmp_path: Path) -> None:
    import gokart

    ours, theirs = (str(tmp_path / name) for name in ('ours', 'theirs'))
    built = kartnb.build(shop.features.Rows(workspace_directory=ours))
    with luigi_settings('core', no_configure_logging='true'):
        loaded = gokart.build(shop.features.Rows(workspace_directory=theirs))
    pd.testing.assert_frame_equal(built, loaded)


@pytest.mark.parametrize('name', ['features', 'files'])
def test_they_draw(shop: Any, name: str) -> None:
    root = shop.features.Total(rows=shop.features.Rows()) if name == 'features' else shop.files.Everything()
    plan = kartnb.plan(root)
    assert 'missing' in repr(plan)
    assert 'data:image/svg+xml' in plan._repr_html_()
    picture = display.render(plan, 'svg')
    assert all(node.name in picture for node in plan)
    handle = kartnb.build(root, background=True, executor='threads')
    assert handle.wait(60)
    report = handle.report
    assert report is not None
    assert report.succeeded
    assert {node.state for node in report.plan} <= {TaskState.DONE, TaskState.CACHED}
    assert 'done' in repr(report)


def test_drawing_a_task_of_gokarts_with_rerun_deletes_nothing(shop: Any, workspace: Path) -> None:
    before = kartnb.build(shop.features.Rows(count=4))
    again = shop.features.Rows(count=4, rerun=True)
    assert [node.state for node in kartnb.plan(again)] == [TaskState.STALE]
    assert len(list(workspace.rglob(f'shop_of_a_user/**/Rows_{again.make_unique_id()}.pkl'))) == 1
    pd.testing.assert_frame_equal(kartnb.build(again), before)
    assert kartnb.build(again) is not None


@pytest.mark.parametrize('workers', [1, 2])
def test_plain_luigi_tasks_build(shop: Any, workers: int) -> None:
    kartnb.build(shop.files.Everything(), return_value=False, workers=workers)
    assert Path('words/counts.txt').read_text() == '2 1'
    assert shop.files.Everything().complete()


def test_a_task_of_kartnb_may_require_tasks_of_gokart_and_luigi(shop: Any) -> None:
    class Report(kartnb.TaskOnKart):
        def requires(self) -> Any:
            return {'rows': shop.features.Rows(), 'counts': shop.files.Counts()}

        def run(self) -> None:
            self.dump((len(self.load('rows')), Path(self.input()['counts'].path).read_text()))

    assert kartnb.build(Report()) == (3, '2 1')
    assert kartnb.build(Report(), rerun=[shop.features.Rows, luigi.Task], workers=2) == (3, '2 1')


def test_gokarts_build_of_a_task_of_kartnb_seeds_logs_and_records(workspace: Path, tmp_path: Path) -> None:
    import gokart

    class Number(kartnb.TaskOnKart):
        def run(self) -> None:
            self.dump(float(np.random.rand()))

    with luigi_settings('core', no_configure_logging='true'):
        gokart.build(Number(), return_value=False, reset_register=False)
    stem = f'Number_{Number().make_unique_id()}'
    for kind in ('task_params', 'random_seed', 'processing_time', 'task_log'):
        assert (workspace / f'log/{kind}/{stem}.pkl').exists(), kind
    assert kartnb.plan(Number()).to_run() == ()
    assert kartnb.build(Number(workspace_directory=str(tmp_path / 'other'))) == Number().output().load()


def test_a_complete_plain_task_below_one_of_gokart_is_not_asked_what_it_requires(tmp_path: Path) -> None:
    import gokart

    class Step(luigi.Task):
        n = luigi.IntParameter()

        def requires(self) -> Any:
            assert self.n > 0, 'a step without end'
            return Step(n=self.n - 1)

        def output(self) -> Any:
            return luigi.LocalTarget(str(tmp_path / f'{self.n}.txt'))

        def run(self) -> None:
            Path(self.output().path).write_text('done')

    class OfGokart(gokart.TaskOnKart):  # type: ignore[misc]
        def requires(self) -> Any:
            return Step(n=4)

        def run(self) -> None:
            self.output().dump('built')

    (tmp_path / '2.txt').write_text('there')
    assert kartnb.build(OfGokart()) == 'built'
    assert sorted(path.name for path in tmp_path.glob('*.txt')) == ['2.txt', '3.txt', '4.txt']
