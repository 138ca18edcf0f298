"""Ids equal gokart's under configuration: `[TaskOnKart]`, sections of classes, config classes, and the source check."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gokart
import luigi
import pytest
from luigi.configuration import get_config
from luigi.configuration.cfg_parser import InterpolationMissingEnvvarError, LuigiConfigParser

import kartnb
from tests.interop.tally import Tally, forget_instances
from tests.interop.twins import Twins, define

pytestmark = pytest.mark.filterwarnings('ignore')
tally = Tally()

SOURCE = """
class Base(TaskOnKart):
    from_base = luigi.IntParameter(default=1)

class Step(Base):
    own = luigi.IntParameter(default=2)
    unimportant = luigi.Parameter(default='u', significant=False)
    workspace_directory = luigi.Parameter(default='./of the class/', significant=False)
    flag = ExplicitBoolParameter(default=True)

class Later(TaskOnKart):
    step = TaskInstanceParameter(default=Step())
    other = luigi.Parameter(default='o')

class Spaced(Step):
    task_namespace = 'name.space'
"""


@pytest.fixture(autouse=True)
def configuration() -> Iterator[LuigiConfigParser]:
    """luigi's configuration, empty, and put back at the end."""
    before = LuigiConfigParser._instance
    LuigiConfigParser._instance = None
    forget_instances()
    yield get_config()
    LuigiConfigParser._instance = before
    forget_instances()


SECTIONS: list[dict[str, dict[str, str]]] = [
    {},
    {'TaskOnKart': {'workspace_directory': './configured/'}},
    {'TaskOnKart': {'own': '5'}},
    {'TaskOnKart': {'from_base': '6'}},
    {'TaskOnKart': {'other': 'x', 'unknown': 'ignored'}},
    {'TaskOnKart': {'rerun': 'true', 'fix_random_seed_value': '7', 'flag': 'false'}},
    {'Step': {'own': '8'}},
    {'Step': {'own': '8'}, 'TaskOnKart': {'own': '9'}},
    {'Step': {'from_base': '10', 'workspace_directory': 'for steps'}},
    {'Base': {'from_base': '11'}},
    {'name.space.Spaced': {'own': '12'}, 'Spaced': {'own': '13'}},
    {'Later': {'other': 'a b'}, 'DEFAULT': {'other': 'd'}},
]


@pytest.mark.parametrize('sections', SECTIONS, ids=str)
@pytest.mark.parametrize('values', [{}, {'own': 3}, {'workspace_directory': 'given'}], ids=str)
def test_sections(sections: dict[str, dict[str, str]], values: dict[str, Any], configuration: Any) -> None:
    configuration.read_string(_as_file(sections))
    names = define(SOURCE)
    for name in ('Base', 'Step', 'Later', 'Spaced'):
        accepted = names.map(lambda found, name=name: dict(getattr(found, name).get_params())).theirs
        known = {key: value for key, value in values.items() if key in accepted}
        forget_instances()
        tasks = names.map(lambda found, name=name, known=known: getattr(found, name)(**known))
        tally.compare_task((name, sections, known), tasks)
        tally.compare('parameter values', (name, sections), tasks, _plain_values)


@pytest.mark.parametrize('alias', [None, {'config_own': 'own'}, {'own': 'from_base', 'config_own': 'own'}])
@pytest.mark.parametrize('values', [{}, {'own': 30}, {'own': 30, 'from_base': 31}], ids=str)
@pytest.mark.parametrize('shared', [{}, {'own': '40'}], ids=str)
def test_config_classes(alias: Any, values: dict[str, Any], shared: dict[str, str], configuration: Any) -> None:
    configuration.read_string(_as_file({'TaskOnKart': shared}))
    source = f"""
{SOURCE}
class Conf(luigi.Config):
    own = luigi.IntParameter(default=20)
    config_own = luigi.IntParameter(default=21)
    workspace_directory = luigi.Parameter(default='./of the config/')
    nobody_has_it = luigi.Parameter(default='n')

@inherits_config_params(Conf, parameter_alias={alias!r})
class Configured(Step):
    extra = luigi.Parameter(default='e')

class Child(Configured):
    pass
"""
    names = define(source)
    for name in ('Configured', 'Child'):
        forget_instances()
        tasks = names.map(lambda found, name=name: getattr(found, name)(**values))
        tally.compare_task((name, alias, values, shared), tasks)
        tally.compare('parameter values', (name, alias), tasks, _plain_values)
        tally.compare('class names', name, tasks, lambda task: (type(task).__name__, type(task).__module__))


def test_configuration_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, configuration: Any) -> None:
    file = tmp_path / 'param.ini'
    file.write_text('[TaskOnKart]\nworkspace_directory=${KART_WORKSPACE}\n[Step]\nown=17\nfrom_base=${KART_BASE}\n')
    monkeypatch.setenv('KART_WORKSPACE', '/from/the/environment')
    monkeypatch.setenv('KART_BASE', '18')
    configuration.read([str(file)])
    names = define(SOURCE)
    for name in ('Base', 'Step', 'Later'):
        tally.compare_task((name, 'file'), names.map(lambda found, name=name: getattr(found, name)()))
    forget_instances()
    monkeypatch.delenv('KART_WORKSPACE')
    for cls in (names.ours.Base, names.theirs.Base):
        with pytest.raises(InterpolationMissingEnvvarError, match='KART_WORKSPACE'):
            cls()


CHECKED = """
import functools

def helper():
    return 1

def logged(function):
    @functools.wraps(function)
    def wrapper(self):
        return function(self)
    return wrapper

class Mixin:
    def mixed_in(self):
        return 'mixed in'

class Step(Mixin, TaskOnKart):
    n = luigi.IntParameter(default=1)
    constant = 3

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.callback = helper

    # a comment counts
    def run(self):
        def inner():
            return helper()
        self.dump(inner())

    def requires(self):
        return []

    @classmethod
    def of_class(cls):
        return cls

    @staticmethod
    def static():
        return 'static'

    @property
    def shown(self):
        return 'properties do not count'

    @logged
    def decorated(self):
        return 'decorated'

    short = lambda self: 'lambda'

class Child(Step):
    def run(self):
        super().run()

class Bare(TaskOnKart):
    pass
"""


@pytest.mark.parametrize(
    'change',
    [
        ('', ''),
        ('a comment counts', 'another comment'),
        ("'static'", '"static"'),
        ('return helper()', 'return  helper()'),
        ('return 1', 'return 2'),
        ('constant = 3', 'constant = 4'),
        ('properties do not count', 'really'),
        ("'mixed in'", "'mixed out'"),
    ],
)
def test_source_check(change: tuple[str, str]) -> None:
    assert change[0] in CHECKED
    names = define(CHECKED.replace(*change))
    for name in ('Step', 'Child', 'Bare'):
        for options in ({}, {'complete_check_at_run': False}):
            make = lambda found, name=name, options=options: getattr(found, name)(  # noqa: E731
                serialized_task_definition_check=True, **options
            )
            tasks = names.map(make)
            tally.compare_task((name, change, options), tasks)
            tally.compare('own codes', (name, change, options), tasks, lambda task: task.get_own_code())


def test_classes_without_source_have_no_source_check() -> None:
    namespaces = []
    for base in (kartnb.TaskOnKart, gokart.TaskOnKart):
        namespace = {'TaskOnKart': base, '__name__': 'nowhere'}
        exec('class Sourceless(TaskOnKart):\n    def run(self): pass', namespace)
        namespaces.append(namespace['Sourceless'](serialized_task_definition_check=True))
    for task in namespaces:
        with pytest.raises(OSError, match='source'):
            task.make_unique_id()


def test_the_count(record_property: Any) -> None:
    record_property('measured', f'configuration: {tally}')
    assert not tally.differing


def _as_file(sections: dict[str, dict[str, str]]) -> str:
    lines = ([f'[{name}]', *(f'{key} = {text}' for key, text in options.items())] for name, options in sections.items())
    return '\n'.join(line for section in lines for line in section)


def _plain_values(task: Any) -> dict[str, Any]:
    return {name: value for name, value in task.param_kwargs.items() if not isinstance(value, luigi.Task)}


def test_twins_are_of_two_libraries() -> None:
    names = define(SOURCE)
    assert isinstance(names.ours.Step(), kartnb.TaskOnKart)
    assert isinstance(names.theirs.Step(), gokart.TaskOnKart)
    assert isinstance(names, Twins)
