"""A code base that uses gokart in the ways that public ones do. It runs on gokart or on kartnb without knowing.

Each function of `ANSWERS` gives a value, as JSON, that must not depend on the library.
"""

from __future__ import annotations

import io
import json
import logging
import os
import subprocess
import sys
from collections.abc import Callable
from configparser import ConfigParser
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock, patch

import gokart
import gokart.config_params
import gokart.info
import luigi
import pandas as pd
import pytest
from gokart.build import GokartBuildError
from gokart.file_processor import CsvFileProcessor, PickleFileProcessor
from gokart.parameter import TaskInstanceParameter
from gokart.target import make_target

logger = logging.getLogger(__name__)


class Settings(luigi.Config):
    rate = luigi.FloatParameter(default=0.5)
    figure_path: str = luigi.Parameter()


class ProjectTask(gokart.TaskOnKart):
    """What the tasks of a project inherit from."""

    task_namespace = 'project'


class LoadInput(ProjectTask):
    """A file that is there; nothing runs."""

    filename = luigi.Parameter()

    def output(self):
        return self.make_target(os.path.join('input', self.filename), use_unique_id=False)


class LoadExisting(ProjectTask):
    """A file anywhere: the task takes itself out of its workspace."""

    file_path = luigi.Parameter()

    def output(self):
        self.workspace_directory = ''
        return self.make_target(self.file_path, use_unique_id=False)

    def run(self):
        raise RuntimeError(f'{self.file_path} does not exist.')


class RoughCsv(CsvFileProcessor):
    """A processor of the project's own, which uses what its base class has set."""

    def dump(self, obj, file):
        obj.to_csv(file, index=False, sep=self._sep, float_format='%.2g')


class Preprocess(ProjectTask):
    source = gokart.TaskInstanceParameter(description='Gives a table.')
    columns = luigi.ListParameter(default=['n'])

    def requires(self):
        return {'source': self.source}

    def output(self):
        return self.make_target('data/rough.csv', processor=RoughCsv())

    def run(self):
        table = self.load('source')
        logger.info('rows: %d', len(table))
        self.task_log['rows'] = len(table)
        self.dump(table[list(self.columns)] / 3)


class Model:
    def __init__(self, weight: float) -> None:
        self.weight = weight

    def save(self, path: str) -> None:
        Path(path).write_text(str(self.weight))

    @classmethod
    def load(cls, path: str) -> Model:
        return cls(float(Path(path).read_text()))


class Train(ProjectTask):
    # a mistake that is never noticed, as a value is always given
    data = gokart.TaskInstanceParameter(default='A task that gives a table.')
    depth = luigi.IntParameter(default=None)
    flag = luigi.BoolParameter()
    options = luigi.DictParameter(default={'eta': 0.1, 'names': ['a']}, description='For the model.')
    path = luigi.Parameter(default='model/model.zip')

    def requires(self):
        return self.data

    def output(self):
        return {
            'model': self.make_model_target(self.path, save_function=Model.save, load_function=Model.load),
            'columns': self.make_target('model/columns.pkl'),
            'text': self.make_target('model/report.txt', processor=PickleFileProcessor()),
        }

    def run(self):
        table = self.load()
        self.dump(Model(float(table['n'].sum()) * self.options['eta']), 'model')
        self.dump(list(table.columns), 'columns')
        self.dump(dict(self.options), 'text')


class Predict(ProjectTask):
    """Puts its pipeline together in `requires`, and keeps the parts on itself."""

    source = luigi.Parameter(default='in.csv')

    def requires(self):
        self.raw = LoadInput(filename=self.source)
        self.table = Preprocess(source=self.raw)
        self.models = [Train(data=self.table, depth=depth) for depth in (1, 2)]
        return {'raw': self.raw, 'models': self.models}

    def run(self):
        models = [each['model'].weight for each in self.load('models')]
        self.dump({'models': models, 'rows': len(self.load('raw'))})


@gokart.config_params.inherits_config_params(Settings)
class Draw(ProjectTask):
    figure_path = luigi.Parameter()
    rate = luigi.FloatParameter(default=9.0)

    def run(self):
        self.dump([self.figure_path, self.rate])


class Configured(ProjectTask):
    names = luigi.ListParameter()
    secret_place = luigi.Parameter()

    def run(self):
        self.dump([list(self.names), self.secret_place])


class Ingredient(gokart.TaskOnKart):
    def run(self):
        self.dump(['ingredient'])


class Cook(gokart.TaskOnKart):
    first = gokart.TaskInstanceParameter()
    second = gokart.TaskInstanceParameter()
    text = luigi.Parameter()

    def run(self):
        self.dump([*self.load('first'), *self.load('second'), self.text])


class Serve(gokart.TaskOnKart):
    dish = gokart.TaskInstanceParameter()

    def run(self):
        self.dump([*self.load(), 'served'])


def _prepare() -> None:
    Path('resources/input').mkdir(parents=True, exist_ok=True)
    for place in ('resources/input/in.csv', 'elsewhere.csv'):
        pd.DataFrame({'n': [1, 2, 3], 'm': list('abc')}).to_csv(place, index=False)
    Path('settings.ini').write_text(
        '[Settings]\nfigure_path = figures\n[project.Configured]\nnames = ["a", "b"]\nsecret_place = %(PLACE)s\n'
    )
    config = luigi.configuration.get_config()
    # as some do to let the environment into the configuration
    super(ConfigParser, config).set(section=None, option='PLACE', value='from the environment')
    luigi.configuration.LuigiConfigParser.add_config_path('settings.ini')


def a_pipeline_that_is_put_together_in_requires() -> Any:
    task = Predict()
    value = gokart.build(task, log_level=logging.ERROR)
    return [value, task.make_unique_id(), sorted(vars(task).keys() & {'raw', 'table', 'models'})]


def results_in_files_of_all_kinds() -> Any:
    train = Train(data=Preprocess(source=LoadInput(filename='in.csv')), depth=1)
    value = gokart.build(train)
    rough = train.data.output()
    return [value['model'].weight, value['columns'], value['text'], Path(rough.path()).read_text(), rough.path()]


def workers() -> Any:
    return gokart.build(Predict(source='in.csv', rerun=True), workers=2)


def a_file_outside_of_the_workspace() -> Any:
    task = Preprocess(source=LoadExisting(file_path='elsewhere.csv'), columns=['n'])
    return [gokart.build(task).to_dict('list'), task.make_unique_id(), task.source.output().path()]


def a_missing_file() -> Any:
    task = Preprocess(source=LoadExisting(file_path='nowhere.csv'))
    with pytest.raises(GokartBuildError) as caught:
        gokart.build(task)
    return [[str(each) for each in raised] for raised in caught.value.raised_exceptions.values()]


def values_of_the_configuration() -> Any:
    tasks = [Draw(), Draw(figure_path='mine'), Configured(), Configured(names=['c'])]
    return [[gokart.build(task), task.make_unique_id(), type(task).__name__] for task in tasks]


def requirements_that_are_set_on_the_class() -> Any:
    def override(task_class: Any) -> list[str]:
        names = [name for name, value in vars(task_class).items() if isinstance(value, TaskInstanceParameter)]

        def requires(self: Any) -> Any:
            return {name: getattr(self, name) for name in names}

        def _get_input_targets(self: Any, target: Any) -> Any:
            if target is None:
                return self.input()[next(iter(self.input()))]
            return self.input()[target] if isinstance(target, str) else target

        task_class.requires = requires
        task_class._get_input_targets = _get_input_targets
        return names

    luigi.auto_namespace(scope=__name__)
    luigi.task_register.Register.disable_instance_cache()
    try:
        names = [override(task_class) for task_class in (Ingredient, Cook, Serve)]
        task = Serve(dish=Cook(first=Ingredient(), second=Ingredient(), text='salt'))
        luigi.build([task], local_scheduler=True, log_level='ERROR')
        return [names, task.output().load(), task.make_unique_id(), gokart.info.make_tree_info(task)]
    finally:
        luigi.auto_namespace(scope='')
        luigi.task_register.Register.clear_instance_cache()


def tests_of_single_tasks() -> Any:
    task = Preprocess(source=LoadInput(filename='none.csv'), columns=['n'])
    dumped: list[Any] = []
    task.load = MagicMock(side_effect=lambda key: pd.DataFrame({'n': [3, 6]}))
    task.dump = MagicMock(side_effect=dumped.append)
    task.run()
    with patch.object(Train, 'load', return_value=pd.DataFrame({'n': [1]})), patch.object(Train, 'dump') as dump:
        Train(data=Ingredient()).run()
    return [dumped[0].to_dict('list'), task.load.call_args.args, [call.args[1] for call in dump.call_args_list]]


def a_task_whose_complete_is_replaced() -> Any:
    task = Ingredient(workspace_directory='replaced')
    task.complete = MagicMock(side_effect=[False, True])
    states = [task.complete()]
    task.run()  # does not ask it
    return [*states, task.complete(), task.output().load()]


def a_task_that_is_pickled_for_another_process() -> Any:
    task = Cook(first=Ingredient(), second=Ingredient(), text='pepper', workspace_directory='pickled')
    path = os.path.join(task.workspace_directory, 'tasks', f'task_{task.make_unique_id()}.pkl')
    make_target(path).dump(task)
    program = f'task = make_target({path!r}).load()\nprint(gokart.build(task), task.make_unique_id())'
    prelude = 'import gokart\nfrom gokart.target import make_target\n'
    if gokart.TaskOnKart.__module__.startswith('kartnb'):
        prelude = 'import kartnb\nkartnb.as_gokart()\n' + prelude
    done = subprocess.run([sys.executable, '-c', prelude + program], capture_output=True, text=True, timeout=300)
    return [done.returncode, done.stdout.splitlines()[-1:], task.complete(), make_target(path).load() == task]


def logs_of_a_run() -> Any:
    task = Preprocess(source=LoadInput(filename='in.csv'))
    gokart.build(task)
    return [task.get_task_log(), task.get_info(only_significant=True), make_target(_log('task_params', task)).load()]


def _log(kind: str, task: Any) -> str:
    return f'resources/log/{kind}/{type(task).__name__}_{task.make_unique_id()}.pkl'


def the_command_line() -> Any:
    arguments = ['project.Configured', '--names', '["d"]', '--local-scheduler', '--log-level', 'ERROR']
    with redirect_stdout(io.StringIO()), pytest.raises(SystemExit) as ended:
        gokart.run(arguments)
    return [ended.value.code, Configured(names=['d']).complete(), Configured(names=['d']).output().load()]


ANSWERS: list[Callable[[], Any]] = [
    the_command_line,  # the first, as gokart's builds make luigi forget the tasks
    a_pipeline_that_is_put_together_in_requires,
    results_in_files_of_all_kinds,
    workers,
    a_file_outside_of_the_workspace,
    a_missing_file,
    values_of_the_configuration,
    tests_of_single_tasks,
    a_task_whose_complete_is_replaced,
    a_task_that_is_pickled_for_another_process,
    logs_of_a_run,
    requirements_that_are_set_on_the_class,
]


def answer() -> None:
    """Write the answers to answers.json."""
    _prepare()
    answers = {each.__name__: each() for each in ANSWERS}
    answers['library'] = gokart.TaskOnKart.__module__.partition('.')[0]
    Path('answers.json').write_text(json.dumps(answers, indent=1))
