"""`gokart.run` and `kartnb.run` on the same tasks: return codes, the file of the tree, the lock, what is logged."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

SCRIPT = """
import importlib, json, logging, os, sys, time
from pathlib import Path

import luigi

gokart = importlib.import_module(os.environ['LIBRARY'])


class Done(gokart.TaskOnKart):
    n = luigi.IntParameter(default=1)

    def run(self):
        logging.getLogger('mine').info('a line of mine')
        logging.getLogger('gokart.sub').info('a line below gokart')
        self.dump(self.n)


class Failing(gokart.TaskOnKart):
    def run(self):
        raise ValueError('no data')


class Given(luigi.ExternalTask):
    def output(self):
        return luigi.LocalTarget('given.txt')


class GivenByKart(gokart.TaskOnKart, luigi.ExternalTask):
    def output(self):
        return self.make_target('given.csv')


class NeedingByKart(gokart.TaskOnKart):
    def requires(self):
        return GivenByKart()


class Needing(gokart.TaskOnKart):
    def requires(self):
        return [Done(), Given()]


class Above(gokart.TaskOnKart):
    def requires(self):
        return {'done': Done(), 'more': [Silent()]}


class Both(gokart.TaskOnKart):
    def requires(self):
        return [Failing(), Given()]


class Disabled(gokart.TaskOnKart):
    disabled = True


class NeedingDisabled(gokart.TaskOnKart):
    def requires(self):
        return Disabled()


class BrokenComplete(gokart.TaskOnKart):
    def complete(self):
        raise ValueError('not known')


class BrokenOutput(gokart.TaskOnKart):
    def output(self):
        raise ValueError('nowhere')


class BrokenRequires(gokart.TaskOnKart):
    def requires(self):
        raise ValueError('not known')


class Yielding(gokart.TaskOnKart):
    def run(self):
        yield Given()


class Silent(gokart.TaskOnKart):
    def run(self):
        pass


class Waiting(gokart.TaskOnKart):
    def run(self):
        Path('begun').touch()
        while not Path('go').exists():
            time.sleep(0.02)
        self.dump(1)


def code_of(*args, **options):
    try:
        gokart.run([*args, '--no-lock'], **options)
    except SystemExit as error:
        return error.code or 0


if __name__ == '__main__' and len(sys.argv) == 2:
    # first: gokart keeps its codes once it has set them
    codes = {'without codes': code_of('Failing', '--local-scheduler', set_retcode=False)}
    print(json.dumps({**codes, **{' '.join(args): code_of(*args) for args in json.loads(sys.argv[1])}}))
elif __name__ == '__main__':
    gokart.run()
"""
#: Command lines, and the code of both.
SAME = {
    'Done': 0,
    'Silent': 0,
    'Failing': 40,
    'Needing': 20,
    'Both': 40,
    'Disabled': 30,
    'NeedingDisabled': 30,
    'BrokenComplete': 50,
    'BrokenOutput': 50,
    'Done --bogus=1': 2,
    'Done --tree-info-mode=simple': 0,
    'Above --tree-info-mode=all --tree-info-output-path=deep/all.txt': 0,
    'Done --delete-unnecessary-output-files --workspace-directory=./nowhere/': 0,
    'Done --delete-unnecessary-output-files --workspace-directory=s3://nowhere/': 0,
    'Done --test-run-pandas --test-run-namespace=other': 0,
}
#: Command lines, the code of gokart, and that of kartnb.
DIFFERENT = {
    'BrokenRequires': (4, 50),
    'NeedingByKart': (40, 20),
    'Failing --retcode-task-failed=7': (2, 7),
    'Yielding': (30, 20),
}
LIBRARIES = ('gokart', 'kartnb')


def _run(*args: str, library: str, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, 'tasks.py', *args],
        env=_environment(library),
        capture_output=True,
        text=True,
        timeout=120,
        **options,
    )


def _environment(library: str) -> dict[str, str]:
    return {**os.environ, 'LIBRARY': library, 'PYTHONWARNINGS': 'ignore'}


@pytest.fixture(autouse=True)
def _tasks(workspace: Path) -> None:
    Path('tasks.py').write_text(SCRIPT)


def test_return_codes_and_the_file_of_the_tree_are_gokarts() -> None:
    lines = [[*line.split(), '--local-scheduler'] for line in [*SAME, *DIFFERENT]]
    found: dict[str, Any] = {}
    trees: dict[str, list[str]] = {}
    for library in LIBRARIES:
        done = _run(json.dumps(lines), library=library)
        codes = json.loads(done.stdout.splitlines()[-1])
        found[library] = {name.removesuffix(' --local-scheduler'): code for name, code in codes.items()}
        trees[library] = [Path('resources', name).read_text() for name in ('tree.txt', 'deep/all.txt')]
    expected = {**SAME, 'without codes': 0}
    assert found['gokart'] == {**expected, **{line: codes[0] for line, codes in DIFFERENT.items()}}
    assert found['kartnb'] == {**expected, **{line: codes[1] for line, codes in DIFFERENT.items()}}
    assert '(COMPLETE) Done[' in trees['gokart'][1]
    assert trees['kartnb'][0] == trees['gokart'][0]


@pytest.mark.parametrize('library', LIBRARIES)
def test_what_is_no_failure_of_a_task_has_a_code_of_its_own(library: str) -> None:
    Path('luigi.cfg').write_text('[core]\nrpc-retry-attempts=1\n[retcode]\nunhandled_exception=9\n')
    assert _run('Done', '--local-scheduler', '--logging-conf-file=nowhere.conf', library=library).returncode == 9
    assert _run('Done', '--scheduler-url=http://127.0.0.1:9', library=library).returncode == 9


@pytest.mark.parametrize('first, second', [LIBRARIES, LIBRARIES[::-1]])
def test_neither_runs_a_command_that_the_other_runs(first: str, second: str) -> None:
    command = ['Waiting', '--local-scheduler', '--lock-pid-dir=locks']
    with subprocess.Popen(
        [sys.executable, 'tasks.py', *command], env=_environment(first), stderr=subprocess.DEVNULL
    ) as process:
        try:
            while not Path('begun').exists():
                assert process.poll() is None
                time.sleep(0.02)
            assert _run(*command, library=second).returncode == 10
        finally:
            Path('go').touch()
    assert process.returncode == 0


CONFIGURATION = """\
[loggers]
keys=root,gokart
[handlers]
keys=app,gokart
[formatters]
keys=long
[formatter_long]
format=%(levelname)s %(name)s: %(message)s
[handler_app]
class=FileHandler
formatter=long
args=('app.log',)
[handler_gokart]
class=FileHandler
formatter=long
args=('gokart.log',)
[logger_root]
level=INFO
handlers=app
[logger_gokart]
level=INFO
handlers=gokart
qualname=gokart
propagate=0
"""


def test_the_same_handlers_get_the_lines_of_tasks_and_of_the_library() -> None:
    Path('luigi.cfg').write_text('[core]\nlogging_conf_file=logging.conf\n')
    Path('logging.conf').write_text(CONFIGURATION)
    for library in LIBRARIES:
        done = _run('Done', '--local-scheduler', f'--workspace-directory={library}', library=library)
        assert (done.returncode, done.stderr) == (0, '')
        lines = {name: Path(name).read_text() for name in ('app.log', 'gokart.log')}
        assert 'INFO mine: a line of mine\n' in lines['app.log']
        assert not re.search('(gokart|kartnb)[.a-z]*:', lines['app.log'])
        assert 'INFO gokart.sub: a line below gokart\n' in lines['gokart.log']
        assert re.search(rf'^INFO {library}(\.\w+)?: .*\bDone', lines['gokart.log'], re.MULTILINE)
        for name in lines:
            Path(name).unlink()
