"""`kartnb.run` and a script with it, as the tutorial has them."""

from __future__ import annotations

import os
import pickle
import re
import subprocess
import sys
from pathlib import Path

import pytest

# A name of kartnb comes first: that saves each of these processes the slow part of what luigi imports.
SCRIPT = """\
from kartnb import TaskOnKart
import luigi
import kartnb as gokart


class SampleTask(gokart.TaskOnKart):
    param = luigi.Parameter()
    no = luigi.IntParameter(default=1, significant=False)

    def run(self):
        self.dump(self.param)


class Failing(gokart.TaskOnKart):
    def run(self):
        raise ValueError('no data')


class Silent(gokart.TaskOnKart):
    def run(self):
        print('run for what else it does')


class Given(luigi.ExternalTask):
    def output(self):
        return luigi.LocalTarget('given.txt')


class Needing(gokart.TaskOnKart):
    def requires(self):
        return Given()


class Holding(gokart.TaskOnKart):
    of = gokart.TaskInstanceParameter(default=SampleTask(param=''))
    code = luigi.IntParameter(default=0, visibility=luigi.parameter.ParameterVisibility.PRIVATE)


class Cyclic(gokart.TaskOnKart):
    def requires(self):
        return Cyclic()


if __name__ == '__main__':
    gokart.run()
"""


@pytest.fixture
def script(tmp_path: Path) -> Path:
    path = tmp_path / 'sample.py'
    path.write_text(SCRIPT)
    return path


def _call(script: Path, *args: str, code: str | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(script), *args] if code is None else [sys.executable, '-c', code]
    environment = {**os.environ, 'PYTHONWARNINGS': 'ignore'}
    return subprocess.run(command, cwd=script.parent, capture_output=True, text=True, timeout=60, env=environment)


def test_a_script_runs_its_task(script: Path) -> None:
    done = _call(script, 'SampleTask', '--local-scheduler', '--param=hello')
    assert done.returncode == 0, done.stderr
    [result] = (script.parent / 'resources/__main__').iterdir()
    assert result.name == 'SampleTask_22d2ff1bf0b8cac4b3bb40608255a6c4.pkl'
    assert pickle.loads(result.read_bytes()) == 'hello'
    assert 'SampleTask' in done.stderr
    assert done.stdout == ''


def test_run_takes_arguments(script: Path) -> None:
    code = "import sample, kartnb as gokart; gokart.run(['SampleTask', '--local-scheduler', '--param=hello'])"
    done = _call(script, code=code)
    assert done.returncode == 0, done.stderr
    assert len(list((script.parent / 'resources/sample').iterdir())) == 1


@pytest.mark.parametrize(
    'args, code, said',
    [
        (['Silent', '--local-scheduler'], 0, 'Silent.run\\(\\) ended without writing its output'),
        (['Failing', '--local-scheduler'], 40, "at .*sample.py:16 in run: raise ValueError\\('no data'\\)"),
        (['Needing', '--local-scheduler'], 20, 'given.txt does not exist'),
        (['Cyclic', '--local-scheduler'], 50, 'Cyclic requires itself'),
        (['Sampletask'], 2, '^Task Sampletask not found: did you mean SampleTask?'),
        (['Zzzz'], 2, 'Task Zzzz not found. The tasks are Cyclic, '),
        (['SampleTask'], 2, "^SampleTask needs a value for 'param'"),
        (['SampleTask', '--pram=1'], 2, '^Unknown option --pram: did you mean --param'),
        (['SampleTask', '--para=1'], 2, '^Ambiguous option: --para=1 could match'),
        (['SampleTask', '--param=1', 'more'], 2, "^'more' is not an option"),
        (['SampleTask', '--tree-info-mode=simple'], 2, '^--tree-info-mode is an option of gokart that kartnb does not'),
        (['SampleTask', '--param=1', '--log-level=LOUD'], 2, "^'LOUD' is not a log level"),
        (['SampleTask', '--param=1', '--workers=many'], 2, "^--workers must be a number from 1 up, not 'many'"),
        (['SampleTask', '--param=1', '--redis-port=x'], 2, "^--redis-port does not take 'x': invalid literal"),
        (['SampleTask', '--param=1', '--fail-on-empty-dump'], 2, '^Argument --fail-on-empty-dump: expected one arg'),
        (['Holding', '--of=x'], 2, "^--of does not take 'x': 'x' is not the text of a task"),
        (['Holding', '--of={}'], 2, "^--of does not take '{}': {} is not the text of a task"),
        (['--module=nowhere', 'SampleTask'], 2, "^--module nowhere: module 'nowhere' not found"),
        (['--module=sample', 'SampleTask'], 2, '^There are several tasks named SampleTask, in __main__ and sample'),
    ],
)
def test_return_codes_and_sentences(script: Path, args: list[str], code: int, said: str) -> None:
    done = _call(script, *args)
    assert done.returncode == code, done.stderr
    assert re.search(said, done.stderr), done.stderr
    if code == 2:
        assert done.stderr.count('\n') == 1


def test_a_variable_that_the_configuration_lacks_is_one_line(script: Path) -> None:
    (script.parent / 'luigi.cfg').write_text('[Holding]\ncode = ${NOWHERE_SET}\n')
    done = _call(script, 'Holding')
    assert done.returncode == 2
    assert re.fullmatch('Config refers to a nonexisting environment variable NOWHERE_SET.*\n', done.stderr)


def test_unnecessary_outputs_are_deleted_instead_of_a_run(script: Path) -> None:
    for value in 'ab':
        assert _call(script, 'SampleTask', f'--param={value}').returncode == 0
    done = _call(script, 'SampleTask', '--param=a', '--delete-unnecessary-output-files')
    assert (done.returncode, done.stderr) == (0, '')
    [kept] = (script.parent / 'resources/__main__').iterdir()
    assert pickle.loads(kept.read_bytes()) == 'a'


def test_a_secret_of_the_command_line_is_in_no_message(script: Path) -> None:
    done = _call(script, 'Holding', '--code=very secret')
    assert done.returncode == 2
    assert done.stderr == '--code does not take this value.\n'


def test_log_level_sets_what_is_shown(script: Path) -> None:
    quiet = _call(script, 'SampleTask', '--local-scheduler', '--param=a', '--log-level=ERROR')
    assert quiet.stderr == ''
    loud = _call(script, 'SampleTask', '--local-scheduler', '--param=b', '--log-level=INFO')
    assert 'starts: output missing' in loud.stderr


def test_shared_options_reach_every_task(script: Path) -> None:
    done = _call(script, 'SampleTask', '--param=a', '--workspace-directory=./elsewhere/')
    assert done.returncode == 0, done.stderr
    assert (script.parent / 'elsewhere/__main__').is_dir()


def test_a_parameter_may_begin_like_an_option_of_luigis(script: Path) -> None:
    done = _call(script, 'SampleTask', '--param=a', '--no=3', '--log-level=ERROR')
    assert (done.returncode, done.stderr) == (0, '')


def test_configured_return_codes_hold(script: Path) -> None:
    (script.parent / 'luigi.cfg').write_text('[retcode]\ntask_failed = 7\n')
    assert _call(script, 'Failing').returncode == 7
