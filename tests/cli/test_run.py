"""`kartnb.run` and a script with it, as the tutorial has them."""

from __future__ import annotations

import os
import pickle
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.notify.slack_server import TOKEN, serving

# A name of kartnb comes first: that saves each of these processes the slow part of what luigi imports.
SCRIPT = """\
from kartnb import TaskOnKart
import logging
import time
from pathlib import Path

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


class Waiting(gokart.TaskOnKart):
    def run(self):
        Path('begun').touch()
        while not Path('go').exists():
            time.sleep(0.02)
        self.dump(1)


class Next(gokart.TaskOnKart):
    def requires(self):
        return Waiting()

    def run(self):
        self.dump(2)


class Column(gokart.TaskOnKart):
    first = luigi.BoolParameter(parsing=luigi.BoolParameter.EXPLICIT_PARSING)

    def requires(self):
        return {'table': Table()}

    def run(self):
        table = self.load('table')
        self.dump(table['a'].iloc[0] if self.first else table['a'])


class Table(gokart.TaskOnKart):
    def run(self):
        import pandas as pd
        self.dump(pd.DataFrame({'a': [1, 2]}))


class Logging(gokart.TaskOnKart):
    def run(self):
        logging.getLogger('mine').info('a line of mine')
        logging.getLogger('mine').debug('a detail of mine')
        self.dump(1)


if __name__ == '__main__':
    gokart.run()
"""


@pytest.fixture
def script(tmp_path: Path) -> Path:
    path = tmp_path / 'sample.py'
    path.write_text(SCRIPT)
    return path


def _call(
    script: Path, *args: str, code: str | None = None, environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(script), *args] if code is None else [sys.executable, '-c', code]
    environment = {**os.environ, 'PYTHONWARNINGS': 'ignore', **(environment or {})}
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
        (['Failing', '--local-scheduler'], 40, "at .*sample.py:20 in run: raise ValueError\\('no data'\\)"),
        (['Needing', '--local-scheduler'], 20, 'given.txt does not exist'),
        (['Cyclic', '--local-scheduler'], 50, 'Cyclic requires itself'),
        (['Sampletask'], 2, '^Task Sampletask not found: did you mean SampleTask?'),
        (['Zzzz'], 2, 'Task Zzzz not found. The tasks are Column, '),
        (['SampleTask'], 2, "^SampleTask needs a value for 'param'"),
        (['SampleTask', '--pram=1'], 2, '^Unknown option --pram: did you mean --param'),
        (['SampleTask', '--para=1'], 2, '^Ambiguous option: --para=1 could match'),
        (['SampleTask', '--param=1', 'more'], 2, "^'more' is not an option"),
        (['Silent', '--tree-info-mode=wide'], 2, '^--tree-info-mode must be "simple" or "all", not \'wide\''),
        (['Cyclic', '--tree-info-mode=all'], 50, 'Cyclic requires itself'),
        (['Silent', '--logging-conf-file=nowhere.conf'], 4, '^The logging configuration nowhere.conf was not found'),
        (['Silent', '--logging-conf-file=sample.py'], 4, '^The logging configuration sample.py cannot be used: '),
        (['Column', '--first=true', '--test-run-pandas'], 1, 'status=NG; .*name=Column; .*IndexError'),
        (['Column', '--first=false', '--test-run-pandas'], 0, 'status=OK; .*name=Column'),
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


def test_nothing_is_deleted_where_no_workspace_is_or_in_an_object_store(script: Path) -> None:
    done = _call(script, 'Silent', '--delete-unnecessary-output-files')
    assert (done.returncode, done.stderr) == (0, './resources/ does not exist: there is nothing to delete.\n')
    done = _call(script, 'Silent', '--delete-unnecessary-output-files', '--workspace-directory=s3://nowhere/x/')
    assert done.returncode == 0
    assert re.fullmatch('.* deletes nothing in s3://nowhere/x/, .*kartnb.clean.* does.\n', done.stderr)


def test_the_tree_is_written_instead_of_a_run(script: Path) -> None:
    done = _call(script, '--tree-info-mode', 'all', 'Next', '--tree-info-output-path=trees/next.txt')
    assert (done.returncode, done.stderr) == (0, 'The tree of Next is in ./resources/trees/next.txt.\n')
    tree = (script.parent / 'resources/trees/next.txt').read_text()
    assert re.fullmatch(r'\n└─-\(PENDING\) Next\[\w+\]\(.*\)\n   └─-\(PENDING\) Waiting\[\w+\]\(.*\)', tree)
    assert not (script.parent / 'begun').exists()


@pytest.fixture
def waiting(script: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that runs a task which ends when there is a file 'go'."""
    command = [sys.executable, str(script), 'Next', '--local-scheduler', '--take-lock']
    with subprocess.Popen(command, cwd=script.parent, text=True, stderr=subprocess.PIPE) as process:
        try:
            while not (script.parent / 'begun').exists():
                assert process.poll() is None
                time.sleep(0.02)
            yield process
        finally:
            (script.parent / 'go').touch()


def test_the_same_command_runs_once_at_a_time(script: Path, waiting: subprocess.Popen[str]) -> None:
    locks = script.parent / 'locks'
    own = [sys.executable, str(script), 'Waiting', f'--lock-pid-dir={locks}']
    with subprocess.Popen(own, cwd=script.parent, text=True) as process:
        while not [*locks.glob('*.pid')]:
            assert process.poll() is None
            time.sleep(0.02)
        done = _call(script, *own[2:])
        assert done.returncode == 10
        said = f'The same command is running already: Pid(s) {{{process.pid}}} already running. To run it all the same'
        assert (done.stdout, done.stderr.startswith(said)) == ('', True)
        other = _call(script, 'SampleTask', '--param=x', f'--lock-pid-dir={locks}')
        assert other.returncode == 0
        (script.parent / 'go').touch()
    assert process.returncode == waiting.wait() == 0


@pytest.mark.skipif(not hasattr(signal, 'SIGUSR1'), reason='Windows does not have this signal')
def test_another_process_that_takes_the_lock_ends_a_run(script: Path, waiting: subprocess.Popen[str]) -> None:
    waiting.send_signal(signal.SIGUSR1)
    with pytest.raises(subprocess.TimeoutExpired):
        waiting.wait(0.1)  # the task that runs comes to its end
    (script.parent / 'go').touch()
    assert waiting.wait() == 30
    assert [file.name[:8] for file in (script.parent / 'resources/__main__').iterdir()] == ['Waiting_']


def test_one_process_may_run_its_command_again(script: Path) -> None:
    code = """
import sys
import sample, kartnb as gokart
for _ in range(2):
    try:
        gokart.run()
    except SystemExit as error:
        print(error.code)
"""
    path = script.parent / 'twice.py'
    path.write_text(code)
    done = _call(path, 'SampleTask', '--local-scheduler', '--param=hello')
    assert done.stdout == '0\n0\n', done.stderr


LOGGING = """\
[loggers]
keys=root,gokart
[handlers]
keys=app,tasks
[formatters]
keys=long
[formatter_long]
format=%(levelname)s %(name)s: %(message)s
[handler_app]
class=FileHandler
level=NOTSET
formatter=long
args=('app.log',)
[handler_tasks]
class=FileHandler
level=NOTSET
formatter=long
args=('tasks.log',)
[logger_root]
level=DEBUG
handlers=app
[logger_gokart]
level=INFO
handlers=tasks
qualname=gokart
propagate=0
"""


@pytest.mark.parametrize('workers', [1, 2])
def test_a_logging_configuration_is_obeyed_also_for_lines_of_workers(script: Path, workers: int) -> None:
    place = script.parent
    (place / 'luigi.cfg').write_text('[core]\nlogging_conf_file=logging.conf\n')
    (place / 'logging.conf').write_text(LOGGING)
    done = _call(script, 'Logging', f'--workers={workers}')
    assert (done.returncode, done.stderr) == (0, '')
    lines = (place / 'app.log').read_text().splitlines()
    assert [line for line in lines if 'mine' in line] == ['INFO mine: a line of mine', 'DEBUG mine: a detail of mine']
    assert not [line for line in lines if 'kartnb:' in line]
    told = (place / 'tasks.log').read_text()
    assert re.search('INFO kartnb: Logging_.* starts: output missing', told)
    assert 'INFO kartnb: ✓ Build of Logging' in told


def test_an_error_that_only_a_file_has_is_shown_too(script: Path) -> None:
    (script.parent / 'logging.conf').write_text(LOGGING)
    done = _call(script, 'Failing', '--logging-conf-file=logging.conf')
    assert done.returncode == 40
    for text in (done.stderr, (script.parent / 'tasks.log').read_text()):
        assert "raise ValueError('no data')" in text


def test_rules_for_kartnb_itself_go_before_those_for_gokart(script: Path) -> None:
    own = '[logger_kartnb]\nlevel=WARNING\nhandlers=app\nqualname=kartnb\npropagate=0\n'
    (script.parent / 'logging.conf').write_text(LOGGING.replace('root,gokart', 'root,gokart,kartnb') + own)
    assert _call(script, 'Logging', '--logging-conf-file=logging.conf').returncode == 0
    assert (script.parent / 'tasks.log').read_text() == ''


def test_the_section_logging_of_a_toml_configuration_is_obeyed(script: Path) -> None:
    (script.parent / 'luigi.toml').write_text(
        '[logging]\nversion = 1\ndisable_existing_loggers = false\n[logging.root]\nlevel = "INFO"\n'
        'handlers = ["app"]\n[logging.handlers.app]\nclass = "logging.FileHandler"\nfilename = "app.log"\n'
    )
    done = _call(script, 'Logging', environment={'LUIGI_CONFIG_PARSER': 'toml'})
    assert (done.returncode, done.stderr) == (0, '')
    assert 'a line of mine' in (script.parent / 'app.log').read_text()


def test_no_logging_is_configured_where_the_configuration_says_so(script: Path) -> None:
    (script.parent / 'luigi.cfg').write_text('[core]\nno_configure_logging=true\nlogging_conf_file=nowhere\n')
    done = _call(script, 'Logging')
    assert (done.returncode, done.stderr) == (0, '')


@pytest.mark.parametrize('task, events', [('Failing', 'ValueError'), ('Cyclic', 'Tasks were not executed.')])
def test_a_report_goes_to_slack(script: Path, task: str, events: str) -> None:
    with serving() as slack:
        done = _call(
            script,
            task,
            '--SlackConfig-channel=builds',
            '--SlackConfig-to-user=ada',
            '--SlackConfig-send-tree-info',
            f'--SlackConfig-base-url={slack.address}/api/',
            environment={'SLACK_TOKEN': TOKEN},
        )
    assert done.returncode in (40, 50)
    [message] = slack.messages
    assert f'<@ada> Report of {task}' in message['initial_comment']
    assert events in message['content'] or 'no data' in message['content']
    assert '(PENDING) Failing[' in message['content'] or 'Cyclic requires itself' in message['content']
    assert TOKEN not in done.stderr


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
    assert _call(script, 'Failing', '--retcode-task-failed', '8').returncode == 8
    assert _call(script, 'Failing', '--retcode-task-failed=0').returncode == 0


def test_a_return_code_that_no_process_has_is_refused(script: Path) -> None:
    done = _call(script, 'Failing', '--retcode-task-failed=many')
    assert (done.returncode, done.stderr) == (2, "--retcode-task-failed must be a number from 0 to 255, not 'many'.\n")


def test_the_place_of_credentials_has_a_flag(script: Path) -> None:
    place = '--workspace-directory=gs://bucket/results'
    done = _call(script, 'SampleTask', '--param=a', place, '--GCSConfig-gcs-credential-name=HOME')
    assert 'The environment variable HOME must hold the JSON text of a service account' in done.stderr
    assert 'Traceback' not in done.stderr
    assert done.returncode != 0
    assert '--S3Config-aws-access-key-id-name' in _call(script, 'SampleTask', '--help-all').stdout
