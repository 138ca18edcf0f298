"""Worker processes have luigi's configuration and command line as the building process has them."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import luigi
import pytest

import kartnb
from kartnb.errors import MissingResultError

SCRIPT = """
import luigi
import kartnb as gokart


class Part(gokart.TaskOnKart):
    n = luigi.IntParameter(default=1)
    word = luigi.Parameter(default='none')

    def run(self):
        self.dump([self.n, self.word])


class Whole(gokart.TaskOnKart):
    def requires(self):
        return Part()

    def run(self):
        self.dump(self.load())


if __name__ == '__main__':
    gokart.add_config('param.ini')
    gokart.run()
"""


@pytest.fixture
def configuration() -> Any:
    config: Any = luigi.configuration.get_config()
    yield config
    for section in ('ConfiguredPart', 'TaskOnKart'):
        config.remove_section(section)


def test_requires_finds_in_a_worker_what_the_configuration_says(
    configuration: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class ConfiguredPart(kartnb.TaskOnKart):
        n = luigi.IntParameter(default=1)

        def run(self) -> None:
            self.dump(self.n)

    class ConfiguredWhole(kartnb.TaskOnKart):
        def requires(self) -> Any:
            return ConfiguredPart()

        def run(self) -> None:
            self.dump([self.load(), self.requires().workspace_directory])

    monkeypatch.setenv('PLACE_OF_RESULTS', str(tmp_path / '日本 100%'))
    for section, name, value in (
        ('ConfiguredPart', 'n', '7'),
        ('TaskOnKart', 'workspace_directory', '${PLACE_OF_RESULTS}'),
    ):
        configuration.add_section(section)
        configuration.set(section, name, value)
    assert kartnb.build(ConfiguredWhole(), executor='processes', workers=2) == [7, str(tmp_path / '日本 100%')]


def test_a_script_with_workers_has_its_configuration_and_command_line_in_them(tmp_path: Path) -> None:
    (tmp_path / 'sample.py').write_text(SCRIPT)
    (tmp_path / 'param.ini').write_text('[Part]\nword = ${WORD}\n[TaskOnKart]\nworkspace_directory = elsewhere\n')
    done = subprocess.run(
        [sys.executable, 'sample.py', 'Whole', '--local-scheduler', '--workers', '2', '--Part-n', '5'],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, 'PYTHONWARNINGS': 'ignore', 'WORD': '日本'},
    )
    assert done.returncode == 0, done.stderr
    [result] = (tmp_path / 'elsewhere/__main__').glob('Whole_*.pkl')

    assert pickle.loads(result.read_bytes()) == [5, '日本']


def test_a_missing_result_ends_a_task_in_a_worker() -> None:
    class Loading(kartnb.TaskOnKart):
        def run(self) -> None:
            self.make_target('nobody has made this.pkl').load()

    with pytest.raises(kartnb.GokartBuildError, match='does not exist') as caught:
        kartnb.build(Loading(), executor='processes', workers=2)
    assert isinstance(caught.value.__cause__, MissingResultError)


def test_an_error_that_is_its_own_cause_comes_back_from_a_worker() -> None:
    class Circular(kartnb.TaskOnKart):
        def run(self) -> None:
            first, second = ValueError('first'), KeyError('second')
            first.__cause__, second.__cause__ = second, first
            raise first from first if self.rerun else second

    for rerun in (False, True):
        with pytest.raises(kartnb.GokartBuildError, match='first'):
            kartnb.build(Circular(rerun=rerun), executor='processes', workers=2)


def test_a_format_of_the_notebook_is_known_in_workers() -> None:
    mark = 'made here: '

    def write(value: Any, file: Any) -> None:
        file.write(mark + str(value))

    class Marked(kartnb.TaskOnKart):
        def output(self) -> Any:
            return self.make_target('marked.note')

        def run(self) -> None:
            self.dump(5)

    kartnb.register_format('.note', load=lambda file: file.read().decode(), dump=write)
    try:
        assert kartnb.build(Marked(), executor='processes', workers=2) == 'made here: 5'
    finally:
        kartnb.unregister_format('.note')
