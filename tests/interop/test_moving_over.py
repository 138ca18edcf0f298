"""What code that moves over from gokart does: workspaces given as paths, tasks as defaults, missing outside files."""

from __future__ import annotations

import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import luigi
import pytest

import kartnb
from kartnb.compat.thunderbolt import Thunderbolt
from tests.interop import twins

pytestmark = pytest.mark.filterwarnings('ignore:Parameter .* is not of type string:UserWarning')

TASKS = """
import pathlib

class Load(TaskOnKart):
    n = luigi.IntParameter(default=1)

    def run(self):
        self.dump(self.n)

class Frame(TaskOnKart):
    def requires(self):
        return Load(workspace_directory=self.workspace_directory)

    def output(self):
        return self.make_large_data_frame_target('frames/it.zip')

    def run(self):
        import pandas as pd

        self.dump(pd.DataFrame({'n': [self.load()]}))

class ByDefault(TaskOnKart):
    workspace_directory = luigi.Parameter(default=pathlib.Path('by_default'), significant=False)

    def run(self):
        self.dump(1)

class Holder(TaskOnKart):
    task = TaskInstanceParameter(default=TaskOnKart())
    tasks = ListTaskInstanceParameter(default=[TaskOnKart(), Load(n=2)])

    def requires(self):
        return {}

    def run(self):
        self.dump(1)
"""


@pytest.fixture
def tasks() -> twins.Twins:
    return twins.define(TASKS)


class TestPaths:
    def test_ids_and_files_are_those_of_the_text(self, tasks: twins.Twins) -> None:
        for place in (Path('here'), Path('here').absolute(), Path('by/../here')):
            made = tasks.map(lambda names, place=place: names.Frame(workspace_directory=place))
            found = made.map(lambda task: (task.make_unique_id(), task.output().path(), task.to_str_params()))
            assert found.ours == found.theirs
            assert made.ours is tasks.ours.Frame(workspace_directory=str(place))

    def test_both_use_the_results_of_each_other(self, tasks: twins.Twins, tmp_path: Path) -> None:
        options: dict[str, Any] = {'workspace_directory': tmp_path / 'w', 'local_temporary_directory': tmp_path / 't'}
        ours = tasks.ours.Frame(**options)
        assert kartnb.build(ours)['n'].tolist() == [1]
        with twins.THEIRS.registered():
            assert tasks.theirs.Frame(**options).complete()

    def test_defaults_and_configuration(self, tasks: twins.Twins) -> None:
        assert kartnb.build(tasks.ours.ByDefault()) == 1
        assert tasks.ours.ByDefault().output().path().startswith('by_default/')

        class OfPaths(kartnb.TaskOnKart):
            workspace_directory = luigi.PathParameter(default='of_paths', significant=False)

            def run(self) -> None:
                self.dump(2)

        assert kartnb.build(OfPaths()) == 2
        assert kartnb.build(OfPaths(workspace_directory='elsewhere')) == 2
        assert kartnb.Workspace(Path('elsewhere')).runs()[0].task == 'OfPaths'

    def test_what_takes_a_workspace_takes_a_path(self, tmp_path: Path) -> None:
        class Older(kartnb.TaskOnKart):
            def run(self) -> None:
                self.dump(3)

        class Newer(kartnb.TaskOnKart):
            def run(self) -> None:
                self.dump(3)

        place = tmp_path / 'w'
        kartnb.build(Older(workspace_directory=place))
        assert len(kartnb.Workspace(place).runs()) == 1
        assert Thunderbolt(place).get_data('Older') == 3
        assert len(kartnb.adopt(Newer, of=f'{__name__}.Older', workspace=place).tasks) == 1
        assert 'Newer' in str(kartnb.accept(Newer, workspace=place))
        older, newer = (task(workspace_directory=place).make_unique_id() for task in (Older, Newer))
        found = kartnb.diff(older, newer, workspace=place)
        assert (found.before.task, found.after.task) == ('Older', 'Newer')
        assert kartnb.clean(Newer(workspace_directory=place), workspace=place).workspace == str(place)

    def test_nothing_warns(self, tasks: twins.Twins) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter('error')
            task = tasks.ours.Load(n=77, workspace_directory=Path('w'), local_temporary_directory=Path('t'))
        assert (task.workspace_directory, task.local_temporary_directory) == ('w', 't')


class TestTasksAsDefaults:
    def test_a_bare_task_is_a_default(self, tasks: twins.Twins) -> None:
        found = tasks.map(lambda names: (names.Holder().make_unique_id(), names.Holder().to_str_params(True)))
        assert found.ours == found.theirs

    def test_it_goes_to_text_and_back(self, tasks: twins.Twins) -> None:
        held = tasks.ours.Holder()
        parameters = dict(type(held).get_params())
        with twins.OURS.registered():
            assert parameters['task'].parse(parameters['task'].serialize(held.task)) is held.task
            assert parameters['tasks'].parse(parameters['tasks'].serialize(held.tasks)) == list(held.tasks)
        assert parameters['task'].parse(parameters['task'].serialize(held.task)) is held.task, "gokart's is listed"

    def test_it_is_restored(self, tasks: twins.Twins) -> None:
        held = tasks.ours.Holder()
        kartnb.build(held)
        with twins.OURS.registered():
            assert tasks.ours.Holder.restore(held.make_unique_id()) is held
        assert held.task == kartnb.TaskOnKart()

    def test_command_lines_do_not_offer_it(self) -> None:
        found = {}
        for library in ('gokart', 'kartnb'):
            code = f'import {library}, luigi; print("TaskOnKart" in luigi.task_register.Register.task_names())'
            done = subprocess.run([sys.executable, '-W', 'ignore', '-c', code], capture_output=True, text=True)
            found[library] = done.stdout.strip()
        assert found == {'gokart': 'True', 'kartnb': 'False'}


class Outside(luigi.ExternalTask):
    def output(self) -> Any:
        return luigi.LocalTarget('from_outside.txt')


class Uses(kartnb.TaskOnKart):
    def requires(self) -> Any:
        return Outside()

    def run(self) -> None:
        self.dump(self.load())


@pytest.mark.parametrize('return_value', [True, False])
def test_a_missing_outside_file_is_an_error_that_names_it(return_value: bool) -> None:
    with pytest.raises(kartnb.GokartBuildError, match=r'from_outside\.txt does not exist') as caught:
        kartnb.build(Uses(), return_value=return_value)
    errors = [error for found in caught.value.raised_exceptions.values() for error in found]
    assert [type(error).__name__ for error in errors] == ['ExternalTaskMissingError']
    Path('from_outside.txt').write_text('here')
    assert kartnb.build(Uses()) == ['here']
