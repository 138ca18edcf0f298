"""Durable results: on the disk before their records are; and results that a power loss has shortened are made again."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import kartnb
from kartnb.model import TaskState
from tests.faults.interception import environment

on_linux = pytest.mark.skipif(sys.platform != 'linux', reason='platform: operations are counted on Linux')
DRIVER = """
import json, sys
import kartnb
from tests.faults.interception import Interception

class Model(kartnb.TaskOnKart):
    def output(self): return self.make_model_target('some/where/model.zip', save, load)
    def run(self): self.dump(b'x' * 2_000_000)

class Pair(kartnb.TaskOnKart):
    def requires(self): return Model()
    def output(self): return {'x': self.make_target('some/where/x.pkl'), 'y': self.make_target('y.csv')}
    def run(self):
        import pandas
        self.dump(len(self.load()), 'x')
        self.dump(pandas.DataFrame({'a': [1]}), 'y')

def save(value, path): open(path, 'wb').write(value)
def load(path): return open(path, 'rb').read()

kartnb.luigi.configuration.get_config().set('TaskOnKart', 'workspace_directory', sys.argv[1])
seen = Interception(sys.argv[1])
with seen.armed():
    kartnb.build(Pair(), return_value=False, **json.loads(sys.argv[2]))
print(json.dumps(seen.operations))
"""


def operations(repository: Path, place: Path, **options: Any) -> list[tuple[str, str]]:
    """What a build does to the files of its workspace, in order."""
    script = place / 'driver.py'
    script.write_text(DRIVER)
    command = [sys.executable, str(script), str(place / 'workspace'), json.dumps(options)]
    variables = environment(place) | {'PYTHONPATH': str(repository)}
    done = subprocess.run(command, cwd=place, env=variables, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-3000:]
    found = [line.split(' ', 1) for line in json.loads(done.stdout.splitlines()[-1])]
    return [(what, path) for what, path in found]


@on_linux
@pytest.mark.usefixtures('c_compiler')
@pytest.mark.parametrize('executor', ['inline', 'processes'])
def test_a_record_comes_after_all_that_it_speaks_of(executor: str, repository: Path, tmp_path: Path) -> None:
    done = operations(repository, tmp_path, durable=True, executor=executor)
    renamed = [(done[at - 1][1], path, at) for at, (what, path) in enumerate(done) if what == 'rename']
    records = [(temporary, path, at) for temporary, path, at in renamed if '~r' in path]
    results = [(temporary, path, at) for temporary, path, at in renamed if not path.startswith('/log/')]
    assert [Path(path).name.partition('_')[0] for _, path, _ in records] == ['Model', 'Pair']
    assert [Path(path).name.partition('_')[0] for _, path, _ in results] == ['model', 'x', 'y']

    def is_synced(path: str, begin: int, end: int) -> bool:
        return ('fsync', path.rstrip('/')) in done[begin:end]

    for temporary, path, at in [*results, *records]:
        written = max(i for i in range(at) if done[i] in (('write', temporary), ('pwrite', temporary)))
        assert is_synced(temporary, written, at), f'{path} is renamed before its content is on the disk'
    for _, path, at in results:
        record = next(end for _, _, end in records if end > at)
        assert is_synced(str(Path(path).parent), at, record), f'the record comes before the directory of {path}'
    for _, path, at in records:
        assert is_synced(str(Path(path).parent), at, len(done)), f'the directory of {path} is not on the disk'


@on_linux
@pytest.mark.usefixtures('c_compiler')
def test_without_it_nothing_waits_for_the_disk(repository: Path, tmp_path: Path) -> None:
    assert 'fsync' not in {what for what, _ in operations(repository, tmp_path)}


class Long(kartnb.TaskOnKart[bytes]):
    def run(self) -> None:
        self.dump(os.urandom(3_000))


@pytest.mark.parametrize('shorten', [lambda size: 0, lambda size: size // 2, lambda size: size - 1])
def test_a_shortened_result_is_made_again(shorten: Callable[[int], int]) -> None:
    first = kartnb.build(Long())
    path = Path(Long().output().path())
    before = path.stat()
    os.truncate(path, shorten(before.st_size))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert kartnb.plan(Long())[Long()].state in (TaskState.STALE, TaskState.MISSING)
    second = kartnb.build(Long())
    assert len(second) == len(first)
    assert second != first
    assert kartnb.plan(Long())[Long()].state is TaskState.CACHED
