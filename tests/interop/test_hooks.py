"""Methods and attributes of gokart's with an underscore that its users override and call: both libraries obey alike."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

#: Each function gives what it observes; its library is `gokart`.
SCRIPT = """
import importlib, json, os, pickle, random, sys
from pathlib import Path

import luigi

gokart = importlib.import_module(sys.argv[1])
observed = {}


def observe(function):
    try:
        observed[function.__name__.replace('_', ' ')] = function()
    except Exception as error:
        observed[function.__name__.replace('_', ' ')] = type(error).__name__
    return function


class One(gokart.TaskOnKart):
    def run(self):
        self.dump('one')


class Two(gokart.TaskOnKart):
    def run(self):
        self.dump('two')


class First(gokart.TaskOnKart):
    one = gokart.TaskInstanceParameter()
    two = gokart.TaskInstanceParameter()
    seen = []

    def requires(self):
        return {'one': self.one, 'two': self.two}

    def run(self):
        self.seen.append([self.load(), self.load('two')])
        self.dump('first')


@observe
def input_targets_assigned_to_a_class():
    def chosen(task, target):
        return task.input()[list(task.input())[0]] if target is None else task.input()[target]

    First._get_input_targets = chosen
    gokart.build(First(one=One(), two=Two()))
    return First.seen


class Loader(gokart.TaskOnKart):
    asked = []

    def requires(self):
        return [One(), Two()]

    def load(self, target=None):
        return [each.load().upper() for each in self._get_input_targets(target)]

    def _get_input_targets(self, target):
        self.asked.append(type(target).__name__)
        return super()._get_input_targets(target)

    def run(self):
        self.dump([self.load(), self.load([One(), Two()]), list(self.load_generator())])


@observe
def input_targets_called_by_a_load_of_its_own():
    value = gokart.build(Loader())
    return value, Loader.asked


class Redirected(gokart.TaskOnKart):
    def output(self):
        return {'a': self.make_target('redirected/a.pkl'), 'b': self.make_target('redirected/b.pkl')}

    def _get_output_target(self, target):
        return super()._get_output_target('b' if target is None else target)

    def run(self):
        self.dump('b')
        self.dump('a', 'a')


@observe
def output_target():
    task = Redirected()
    return gokart.build(task), os.path.basename(os.path.dirname(task._get_output_target('a').path()))


class Checked(gokart.TaskOnKart):
    runs = []

    def requires(self):
        return One()

    def _check_modification_time(self):
        return Path('is_new').exists()

    def run(self):
        self.runs.append(1)
        self.dump(len(self.runs))


@observe
def modification_time():
    values = [gokart.build(Checked(modification_time_check=True), reset_register=False) for _ in range(2)]
    Path('is_new').touch()
    values.append(gokart.build(Checked(modification_time_check=True), reset_register=False))
    return values, Checked(modification_time_check=True).complete()


class Newer(gokart.TaskOnKart):
    def requires(self):
        return One()

    def run(self):
        self.dump(1)


@observe
def modification_time_as_it_is():
    task = Newer()
    gokart.build(task)
    before = task._check_modification_time()
    later = os.stat(task.output().path()).st_mtime + 100
    os.utime(One().output().path(), (later, later))
    return before, task._check_modification_time()


@observe
def rerun_state_as_it_is():
    return One()._rerun_state, One(rerun=True)._rerun_state


class Counted(gokart.TaskOnKart):
    n = luigi.IntParameter(default=1)
    runs = []

    def run(self):
        self.runs.append(self.n)
        self.dump(len(self.runs))


def counted(n, state, **parameters):
    Counted.runs.clear()
    task = Counted(n=n, **parameters)
    gokart.build(task, reset_register=False)
    task._rerun_state = state
    for _ in range(2):
        gokart.build(task, reset_register=False)
    return len(Counted.runs), task._rerun_state


@observe
def rerun_state_set():
    return counted(1, True)


@observe
def rerun_state_taken_back():
    return counted(2, False, rerun=True)


class OwnComplete(gokart.TaskOnKart):
    runs = []

    def complete(self):
        if self._rerun_state:
            for target in luigi.task.flatten(self.output()):
                target.remove()
            self._rerun_state = False
            return False
        there = all(target.exists() for target in luigi.task.flatten(self.output()))
        if not self.modification_time_check or not there or not self.input():
            return there
        return self._check_modification_time()

    def run(self):
        self.runs.append(1)
        self.dump(len(self.runs))


@observe
def a_complete_of_its_own_with_rerun():
    gokart.build(OwnComplete(), reset_register=False)
    task = OwnComplete(rerun=True)
    value = gokart.build(task, reset_register=False)
    return value, task._rerun_state, task.complete(), OwnComplete().complete()


Path('luigi.cfg').write_text('[Shared]\\nn=7\\nsize=9\\n[TaskOnKart]\\nworkspace_directory=./configured/\\nn=3\\n')
luigi.configuration.add_config_path('luigi.cfg')


class Configured(gokart.TaskOnKart):
    n = luigi.IntParameter(default=1)
    size = luigi.IntParameter(default=1)

    def __init__(self, *args, **kwargs):
        self._add_configuration(kwargs, 'Shared')
        super().__init__(*args, **kwargs)


@observe
def configuration_of_another_section():
    return [[t.n, t.size, t.workspace_directory, t.make_unique_id()] for t in (Configured(), Configured(n=5))]


@observe
def configuration_called():
    kwargs = {'n': 2}
    Configured._add_configuration(kwargs, 'Shared')
    return kwargs


class Unconfigured(gokart.TaskOnKart):
    n = luigi.IntParameter(default=1)

    @classmethod
    def _add_configuration(cls, kwargs, section):
        kwargs.setdefault('n', len(section))


@observe
def configuration_overridden():
    return [[t.n, t.workspace_directory, t.make_unique_id()] for t in (Unconfigured(), Unconfigured(n=5))]


class OfInstance(gokart.TaskOnKart):
    n = luigi.IntParameter(default=1)

    def _add_configuration(self, kwargs, section):
        super()._add_configuration(kwargs, 'Shared')


@observe
def configuration_overridden_by_a_method_of_instances():
    return [[t.n, t.workspace_directory] for t in (OfInstance(), OfInstance(n=5))]


class OwnHash(gokart.TaskOnKart):
    n = luigi.IntParameter(default=1)

    def _make_hash_id(self):
        return 'own' + super()._make_hash_id()

    def run(self):
        self.dump(self.n)


class NeedsOwnHash(gokart.TaskOnKart):
    def requires(self):
        return OwnHash(n=4)

    def run(self):
        self.dump(self.load())


@observe
def hash_id():
    value = gokart.build(NeedsOwnHash())
    hashes = [OwnHash()._make_hash_id(), NeedsOwnHash().make_unique_id(), One()._make_hash_id()]
    return value, OwnHash(n=4).output().path(), hashes


class Seeded(gokart.TaskOnKart):
    def _get_random_seed(self):
        return 11

    def run(self):
        self.dump(random.random())


class SeededOtherwise(gokart.TaskOnKart):
    given = []

    @staticmethod
    def try_set_seed(methods, random_seed):
        SeededOtherwise.given.append([methods, random_seed])
        return ['nothing']

    def run(self):
        self.dump(1)


def log(task, kind):
    path = Path(f'configured/log/{kind}/{type(task).__name__}_{task.make_unique_id()}.pkl')
    return pickle.loads(path.read_bytes())


@observe
def random_seed():
    gokart.build(Seeded())
    return log(Seeded(), 'random_seed'), One()._get_random_seed(), One(fix_random_seed_value=3)._get_random_seed()


@observe
def set_seed():
    gokart.build(SeededOtherwise())
    random.seed(1)
    methods = One.try_set_seed(['random.seed', 'random.missing', 'no_such_module.seed'], 5)
    return SeededOtherwise.given, log(SeededOtherwise(), 'random_seed')['seed_methods'], methods, random.random()


@observe
def log_targets():
    names = ('task_log', 'task_params', 'random_seeds', 'processing_time', 'module_versions')
    return [os.path.relpath(getattr(Seeded(), f'_get_{name}_target')().path()) for name in names]


class Elsewhere(gokart.TaskOnKart):
    n = luigi.IntParameter(default=1)

    def _get_task_log_target(self):
        return self.make_target('notes/log.pkl')

    def _get_processing_time_target(self):
        return self.make_target('notes/time.pkl')

    def run(self):
        self.task_log['noted'] = self.n
        self.dump(self.n)


class Apart(gokart.TaskOnKart):
    def make_target(self, relative_file_path=None, use_unique_id=True, **options):
        return super().make_target('apart/' + (relative_file_path or 'it.pkl'), use_unique_id, **options)

    def run(self):
        self.dump(1)


def tree(name):
    return sorted(p.as_posix() for p in Path('configured').rglob('*') if name in p.as_posix() and p.is_file())


@observe
def log_targets_elsewhere():
    gokart.build(Elsewhere(), reset_register=False)
    Elsewhere().task_log.clear()
    kept = Elsewhere(workspace_directory='./configured/./').get_task_log()
    files = [path for path in tree('notes') + tree('Elsewhere_') if 'run_record' not in path]
    return kept['noted'], files, type(Elsewhere().get_processing_time()).__name__


@observe
def targets_made_apart():
    gokart.build(Apart())
    return [path for path in tree('apart') if 'run_record' not in path]


@observe
def lock_at_dump():
    return One()._lock_at_dump, One(should_lock_run=True, redis_host='127.0.0.1', redis_port=1)._lock_at_dump


class OwnHandler(gokart.TaskOnKart):
    called = []

    def _dump_task_log(self):
        self.called.append(1)

    def _set_random_seed(self):
        self.called.append(2)

    def run(self):
        self.dump(1)


@observe
def log_handlers_overridden():
    gokart.build(OwnHandler())
    return OwnHandler.called, sorted(log(OwnHandler(), 'task_log')), sorted(log(OwnHandler(), 'random_seed'))


class Unlocked(gokart.TaskOnKart):
    def run(self):
        self._lock_at_dump = False
        self.dump(1)


@observe
def lock_at_dump_set():
    found = []
    kind = type(Unlocked().output())
    usual = kind.dump

    def dump(target, obj, lock_at_dump=True, **options):
        if 'Unlocked' in target.path() and 'log' not in target.path():
            found.append(lock_at_dump)
        usual(target, obj, lock_at_dump=lock_at_dump, **options)

    kind.dump = dump
    try:
        gokart.build(Unlocked())
    finally:
        kind.dump = usual
    return found


print('OBSERVED ' + json.dumps(observed))
"""


@pytest.fixture(scope='module')
def observed(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """What the script observes under each library."""
    found = {}
    for library in ('gokart', 'kartnb'):
        directory = tmp_path_factory.mktemp(library)
        (directory / 'hooks.py').write_text(SCRIPT)
        environment = {'PYTHONPATH': str(repository), 'PATH': '', 'PYTHONWARNINGS': 'ignore', 'PYTHONHASHSEED': '0'}
        run = subprocess.run(
            [sys.executable, 'hooks.py', library], cwd=directory, env=environment, capture_output=True, text=True
        )
        lines = [line for line in run.stdout.splitlines() if line.startswith('OBSERVED ')]
        assert lines, run.stderr[-3000:]
        found[library] = json.loads(lines[0].removeprefix('OBSERVED '))
    return found


NAMES = [name.replace('_', ' ') for name in re.findall(r'^@observe\ndef (\w+)', SCRIPT, re.MULTILINE)]


@pytest.mark.parametrize('name', NAMES)
def test_both_obey(observed: dict[str, dict[str, Any]], name: str) -> None:
    assert observed['kartnb'][name] == observed['gokart'][name]


def test_nothing_failed_in_both(observed: dict[str, dict[str, Any]]) -> None:
    """Two equal exceptions would prove nothing."""
    assert {name: value for name, value in observed['gokart'].items() if isinstance(value, str)} == {}


def test_hooks_act(observed: dict[str, dict[str, Any]]) -> None:
    """What equality alone would not show: the override has changed something."""
    seen = observed['kartnb']
    assert seen['input targets assigned to a class'] == [['one', 'two']]
    assert seen['output target'][0] == {'a': 'a', 'b': 'b'}
    assert seen['modification time'][0] == [1, 2, 2]
    assert seen['rerun state set'] == [2, False]
    assert seen['rerun state taken back'] == [1, False]
    assert [row[0] for row in seen['configuration overridden']] == [len('TaskOnKart'), 5]
    assert seen['random seed'][0]['seed'] == 11
    assert seen['lock at dump set'] == [False]


def test_handlers_of_logs_are_not_overridden_in_gokart_either(observed: dict[str, dict[str, Any]]) -> None:
    for seen in observed.values():
        assert seen['log handlers overridden'] == [[], ['file_path'], ['seed', 'seed_methods']]
