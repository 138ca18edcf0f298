"""`clone`, `restore`, `get_info`, and the logs that a task reads of itself."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import gokart
import luigi
import pytest
from luigi.configuration.cfg_parser import LuigiConfigParser
from luigi.parameter import MissingParameterException

import kartnb
from kartnb.storage import places


class Load(kartnb.TaskOnKart):
    n = luigi.IntParameter(default=1)
    rate = luigi.FloatParameter(default=0.5)
    day = luigi.DateParameter(default=datetime.date(2024, 1, 2))
    note = luigi.OptionalParameter(default=None)
    unimportant = luigi.Parameter(default='u', significant=False)

    def run(self) -> None:
        self.task_log['rows'] = self.n
        self.dump(self.n)


class Train(kartnb.TaskOnKart):
    data = kartnb.TaskInstanceParameter()
    n = luigi.IntParameter(default=5)

    def run(self) -> None:
        self.dump(self.load('data'))


class TestClone:
    def test_it_has_the_same_values(self) -> None:
        task = Load(n=3, unimportant='x', workspace_directory='w')
        assert task.clone() is task
        assert task.clone(n=4) is Load(n=4, unimportant='x', workspace_directory='w')

    def test_how_the_instance_is_to_be_run_is_left_out(self) -> None:
        task = Load(rerun=True, strict_check=True, modification_time_check=True, fix_random_seed_value=3)
        clone = task.clone()
        assert (clone.rerun, clone.strict_check, clone.modification_time_check) == (False, False, False)
        assert clone.fix_random_seed_value == 3
        assert task.clone(rerun=True).rerun

    def test_another_class_takes_what_it_knows(self) -> None:
        clone = Load(n=3, workspace_directory='w').clone(Train, data=Load())
        assert clone is Train(n=3, data=Load(), workspace_directory='w')

    def test_a_plain_luigi_class(self) -> None:
        class Plain(luigi.Task):
            n = luigi.IntParameter()

        assert Load(n=3).clone(Plain) == Plain(n=3)

    def test_names_that_it_does_not_have_are_passed_over(self) -> None:
        assert Load(n=3).clone(unknown=1) is Load(n=3)

    def test_values_keep_their_kind(self) -> None:
        task = Load(rate=2, n=3)
        assert task.clone() is task
        assert type(task.clone(n=4).rate) is int


class TestRestore:
    def test_the_instance_comes_back(self) -> None:
        task = Load(n=7, rate=2, note='x')
        kartnb.build(task)
        assert Load.restore(task.make_unique_id()) is task

    def test_tasks_in_parameters_come_back(self) -> None:
        task = Train(data=Load(n=8, rate=3, unimportant='lost'))
        kartnb.build(task)
        restored = Train.restore(task.make_unique_id())
        assert restored == task
        assert restored.data is Load(n=8, rate=3)

    def test_after_many_builds(self) -> None:
        """gokart's builds empty luigi's register, after which a task in a parameter cannot be restored."""
        task = Train(data=Load())
        for _ in range(2):
            kartnb.build(task)
        assert Train.restore(task.make_unique_id()).data is Load()

    def test_the_configured_workspace(self, configuration: LuigiConfigParser) -> None:
        configuration.set('TaskOnKart', 'workspace_directory', 'configured')
        task = Load(n=9)
        kartnb.build(task)
        assert Path('configured/log/task_params').is_dir()
        assert Load.restore(task.make_unique_id()) is task

    def test_an_id_that_nobody_has(self) -> None:
        with pytest.raises(FileNotFoundError, match='No Load with the id 0123 was built in '):
            Load.restore('0123')

    def test_a_secret_without_a_default(self) -> None:
        class Secret(kartnb.TaskOnKart):
            token = luigi.Parameter(visibility=luigi.parameter.ParameterVisibility.PRIVATE)

            def run(self) -> None:
                self.dump(1)

        task = Secret(token='t')
        kartnb.build(task)
        with pytest.raises(MissingParameterException, match="needs a value for 'token'"):
            Secret.restore(task.make_unique_id())


class TestInfo:
    def test_all_values_as_text(self) -> None:
        info = Train(data=Load()).get_info()
        assert info['data'] == f'Load-{Load().make_unique_id()}'
        assert info['n'] == '5'
        assert info['workspace_directory'] == './resources/'
        assert len(info) == 21

    def test_only_significant_ones(self) -> None:
        assert Load().get_info(only_significant=True) == {'n': '1', 'rate': '0.5', 'day': '2024-01-02', 'note': ''}

    def test_representations(self) -> None:
        task = Load(n=2)
        assert repr(task) == f'Load[{task.make_unique_id()}](n=2, rate=0.5, day=2024-01-02, note=)'
        assert str(task) == repr(task)
        assert repr(Train(data=task)) == (
            f'Train[{Train(data=task).make_unique_id()}](data=Load({task.make_unique_id()}), n=5)'
        )

    def test_a_namespace_is_shown(self) -> None:
        class Spaced(Load):
            task_namespace = 'a.b'

        assert repr(Spaced()).startswith('a.b.Spaced[')


class TestOwnLogs:
    def test_before_it_has_run(self) -> None:
        task = Load(n=11)
        assert task.get_task_log() == {}
        assert task.get_task_params() == {}
        assert task.get_processing_time() == 'unknown'

    def test_after_it_has_run(self) -> None:
        kartnb.build(Load(n=12))
        task = Load(n=12, workspace_directory='./resources/../resources/')
        assert task.get_task_log() == {'rows': 12, 'file_path': [Load(n=12).output().path()]}
        assert task.get_task_params() == {'n': '12', 'rate': '0.5', 'day': '2024-01-02', 'note': ''}
        seconds = task.get_processing_time()
        assert isinstance(seconds, float)
        assert 0 <= seconds < 10

    def test_the_log_of_this_process_comes_first(self) -> None:
        task = Load(n=13)
        kartnb.build(task)
        task.task_log['more'] = 1
        assert task.get_task_log()['more'] == 1

    def test_gokart_gives_the_task_log_for_the_parameters(self) -> None:
        class GokartLoad(gokart.TaskOnKart):
            n = luigi.IntParameter(default=1)

        names: dict[str, Any] = {}
        task = GokartLoad()
        for kind, value in (('task_log', {'this is': 'the task log'}), ('task_params', {'n': '1'})):
            target = kartnb.TaskOnKart().make_target(f'log/{kind}/GokartLoad_{task.make_unique_id()}.pkl', False)
            target.dump(value)
            names[kind] = target.path()
        assert task.get_task_params() == {'this is': 'the task log'}

    def test_a_task_log_that_cannot_be_pickled(self) -> None:
        class Odd(kartnb.TaskOnKart):
            def run(self) -> None:
                self.task_log['socket'] = (lambda: (yield))()
                self.dump(1)

        assert kartnb.build(Odd()) == 1
        path = places.log_path('./resources/', 'task_log', 'Odd', Odd().make_unique_id())
        assert 'generator object' in places.read_log(path)['socket']
