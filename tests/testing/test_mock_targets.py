"""A test may put luigi's `MockTarget` in the place of `luigi.LocalTarget`: a build then writes nothing to the disk."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import luigi
import pandas as pd
import pytest
from luigi.mock import MockFileSystem, MockTarget

import kartnb


class Table(kartnb.TaskOnKart[pd.DataFrame]):
    n = luigi.IntParameter(default=1)

    def output(self) -> Any:
        return self.make_target('table.csv')

    def run(self) -> None:
        print('making')
        self.dump(pd.DataFrame({'n': [self.n]}))


class Total(kartnb.TaskOnKart[int]):
    def requires(self) -> Any:
        return [Table(n=n) for n in range(3)]

    def run(self) -> None:
        self.task_log['tables'] = 3
        self.dump(sum(int(frame.n.sum()) for frame in self.load()))


@pytest.fixture(autouse=True)
def files(tmp_path: Path) -> Iterator[dict[str, bytes]]:
    kept: dict[str, bytes] = {}
    with (
        patch.object(MockFileSystem, '_data', kept),
        patch('luigi.LocalTarget', new=lambda path, **kwargs: MockTarget(path, **kwargs)),
    ):
        yield kept
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize('options', [{}, {'workers': 2}, {'executor': 'threads', 'workers': 2}])
def test_results_logs_and_records_are_in_memory(files: dict[str, bytes], options: dict[str, Any]) -> None:
    assert kartnb.build(Total(), **options) == 3
    assert {path.split('/')[-2] for path in files if '/log/' in path} >= {'task_log', 'task_params', 'random_seed'}
    assert len([path for path in files if '/processing_time/' in path]) == 4
    assert files[Table(n=2).output().path()] == b'n\n2\n'


def test_what_is_in_memory_is_used_again(files: dict[str, bytes]) -> None:
    kartnb.build(Total())
    before = dict(files)
    assert kartnb.build(Total()) == 3
    assert files == before
    assert [node.state for node in kartnb.plan(Total()).to_run()] == []
    assert kartnb.build(Total(), rerun=True) == 3


def test_what_is_not_there_is_missing(files: dict[str, bytes]) -> None:
    with pytest.raises(FileNotFoundError):
        Table().output().load()
    assert Total().get_processing_time() == 'unknown'
    kartnb.build(Total())
    assert Total().get_task_log()['tables'] == 3
    assert Total.restore(Total().make_unique_id()) == Total()
    Table(n=0).output().remove()
    assert not Table(n=0).complete()
    assert Table(n=1).output().last_modification_time() is not None
