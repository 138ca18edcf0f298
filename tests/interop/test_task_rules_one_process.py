"""gokart and kartnb in one process: neither hurts the other, and a pipeline may hold tasks of both."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

SCRIPT = """
import json, logging, sys
logging.basicConfig(stream=sys.stderr, level=logging.WARNING)
first, second = sys.argv[1:]
__import__(first), __import__(second)
import gokart, kartnb, luigi


class Ours(kartnb.TaskOnKart):
    n = luigi.IntParameter(default=1)

    def run(self):
        self.dump({'made by': 'kartnb', 'n': self.n})


class Theirs(gokart.TaskOnKart):
    n = luigi.IntParameter(default=1)

    def run(self):
        self.dump({'made by': 'gokart', 'n': self.n})


class Plain(luigi.Task):
    def output(self):
        return luigi.LocalTarget('plain.txt')

    def run(self):
        with self.output().open('w') as file:
            file.write('plain')


class Both(kartnb.TaskOnKart):
    def requires(self):
        return {'ours': Ours(n=2), 'theirs': Theirs(n=2), 'plain': Plain()}

    def run(self):
        self.dump(self.load())


class TheirBoth(gokart.TaskOnKart):
    def requires(self):
        return {'theirs': Theirs(n=3)}

    def run(self):
        self.dump(self.load())


answers = {
    'ours': kartnb.build(Ours()),
    'both': kartnb.build(Both()),
    'theirs': gokart.build(Theirs()),
    'ours again': kartnb.build(Ours(n=5)),
    'their both': gokart.build(TheirBoth()),
    'id': Both().make_unique_id(),
}
print('ANSWERS ' + json.dumps(answers))
"""


@pytest.fixture(scope='module', params=[('gokart', 'kartnb'), ('kartnb', 'gokart')], ids=' then '.join)
def done(request: pytest.FixtureRequest, repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The script's answers, and what it wrote to standard error, for one order of the imports."""
    directory = tmp_path_factory.mktemp('both')
    (directory / 'both.py').write_text(SCRIPT)
    environment = {'PYTHONPATH': str(repository), 'PATH': '', 'PYTHONWARNINGS': 'ignore'}
    run = subprocess.run(
        [sys.executable, 'both.py', *request.param], cwd=directory, env=environment, capture_output=True, text=True
    )
    lines = [line for line in run.stdout.splitlines() if line.startswith('ANSWERS ')]
    assert lines, run.stderr[-3000:]
    return directory, json.loads(lines[0].removeprefix('ANSWERS ')), run.stderr


def test_results(done: Any) -> None:
    _, answers, _ = done
    assert answers['ours'] == {'made by': 'kartnb', 'n': 1}
    assert answers['theirs'] == {'made by': 'gokart', 'n': 1}
    assert answers['ours again'] == {'made by': 'kartnb', 'n': 5}
    assert answers['their both'] == {'theirs': {'made by': 'gokart', 'n': 3}}
    assert answers['both'] == {
        'ours': {'made by': 'kartnb', 'n': 2},
        'theirs': {'made by': 'gokart', 'n': 2},
        'plain': ['plain'],
    }


def test_nothing_is_logged_as_wrong(done: Any) -> None:
    _, _, errors = done
    assert 'Traceback' not in errors
    assert 'Error in event callback' not in errors


def test_tasks_of_either_keep_their_logs(done: Any) -> None:
    directory, _, _ = done
    for kind in ('task_params', 'task_log', 'processing_time', 'random_seed', 'module_versions'):
        names = {file.name.partition('_')[0] for file in (directory / 'resources' / 'log' / kind).iterdir()}
        assert {'Ours', 'Theirs', 'Both', 'TheirBoth'} <= names
