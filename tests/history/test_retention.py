"""Superseded results are bounded: by number, age and bytes; equal ones are kept once."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path
from typing import Any

import luigi
import pytest

import kartnb
from kartnb.storage.superseded import superseded_results

kept = Path('resources/log/superseded')
contents: list[Any] = []
FAIL = object()
started, go_on = threading.Event(), threading.Event()
go_on.set()


class Value(kartnb.TaskOnKart):
    n = luigi.IntParameter(1)
    fail = luigi.BoolParameter(False, significant=False)

    def run(self) -> None:
        content = contents[-1]
        started.set()
        if self.n == 1:
            go_on.wait(60)
        self.dump(content)
        if self.fail or contents[-1] is FAIL:
            raise RuntimeError


def _build(content: Any, n: int = 1, **options: Any) -> None:
    contents.append(content)
    kartnb.build(Value(n=n), rerun=True, **options)


def _values(n: int = 1) -> list[Any]:
    """The values of the superseded results of a task, the oldest first."""
    runs = kartnb.Workspace().runs('Value', state='superseded', where={'n': n}, sort='when', ascending=True)
    return [run.load() for run in runs]


def _kept(n: int = 1) -> list[str]:
    stem = f'Value_{Value(n=n).make_unique_id()}'
    return [result.result_id for result in superseded_results('resources', stem)]


def _let_years_pass() -> None:
    for path in kept.glob('*/superseded.json'):
        content = json.loads(path.read_text())
        path.write_text(json.dumps({**content, 'time': f'2020{content["time"][4:]}'}))
    Path('resources/log/superseded.json').unlink()


def test_so_many_of_each_task_stay() -> None:
    for i in range(7):
        _build(i, keep_superseded=3)
        _build(-i, n=2, keep_superseded=3)
    assert _values() == [3, 4, 5]
    assert _values(n=2) == [-3, -4, -5]
    _build(7, keep_superseded='all')
    assert _values() == [3, 4, 5, 6]
    kartnb.restore_result(Value())
    assert kartnb.build(Value()) == 6


def test_there_are_bounds_without_a_setting() -> None:
    for i in range(23):
        _build(i)
    assert _values() == list(range(2, 22))


def test_old_ones_go_but_for_the_latest_of_each_task() -> None:
    for i in range(4):
        _build(i, n=1)
    _build(0, n=2)
    _build(1, n=2)
    _let_years_pass()
    _build(2, n=2)
    assert _values(n=1) == [2]
    assert _values(n=2) == [1]


def test_all_together_have_so_many_bytes() -> None:
    for i in range(6):
        _build(bytes([i]) * 10_000, keep_superseded='25 kB')
    assert [value[0] for value in _values()] == [3, 4]
    _build(b'x' * 50_000, n=2, keep_superseded='25 kB')
    _build(b'y' * 50_000, n=2, keep_superseded='25 kB')
    assert len(_values(n=2)) == 1, 'the latest of a task stays, whatever its size'


@pytest.mark.parametrize('size', [10, 3_000_000])
def test_equal_ones_are_kept_once(size: int) -> None:
    for i in (0, 1, 0, 0, 1, 2):
        _build(bytes([i]) * size)
    files = list(kept.glob('*/0-*'))
    assert len(files) == 5
    assert len({path.stat().st_ino for path in files}) == 2
    for result in list(superseded_results('resources')):
        kartnb.restore_result(Value(), result.result_id)
        present = kartnb.build(Value())
        assert len(present) == size
        assert sorted([present[0], *(value[0] for value in _values())]) == [0, 0, 0, 1, 1, 2]


def test_equal_ones_count_once_for_bytes() -> None:
    for _ in range(5):
        _build(b'x' * 10_000, keep_superseded='15 kB')
    assert len(_values()) == 4


def test_what_a_running_task_may_put_back_stays() -> None:
    for i in range(5):
        _build(i)
    contents.append(5)
    started.clear()
    go_on.clear()
    running = kartnb.build(Value(), rerun=True, background=True, executor='threads')
    assert started.wait(30)
    _build(1, n=2)
    _build(2, n=2, keep_superseded=1)
    assert _values() == [0, 1, 2, 3]
    assert len(_kept()) == 5, 'what was set aside is not superseded yet'
    cleaning = kartnb.clean(Value(n=2), everything=True, remove=True)
    assert 'Results of running tasks, which these may put back, are kept' in cleaning.notes
    assert len(_kept()) == 5
    contents.append(FAIL)
    go_on.set()
    with pytest.raises(kartnb.GokartBuildError):
        running.result()
    assert kartnb.build(Value()) == 4
    _build(3, n=2, keep_superseded=1)
    assert _values() == [3]


def test_a_run_that_fails_loses_nothing() -> None:
    for i in range(4):
        _build(i, keep_superseded=2)
    contents.append(9)
    with pytest.raises(kartnb.GokartBuildError):
        kartnb.build(Value(fail=True), rerun=True, keep_superseded=2)
    assert kartnb.build(Value()) == 3
    assert _values() == [1, 2]


@pytest.mark.parametrize('damage', ['', '[]', '{"a": 1}', '{"x": [1, 2, 3, 4, 5]}', 'gone', 'a directory'])
def test_what_is_known_of_them_may_be_lost_or_wrong(damage: str) -> None:
    _build(0, keep_superseded=2)
    _build(1, keep_superseded=2)
    index = Path('resources/log/superseded.json')
    index.unlink()
    if damage == 'a directory':
        index.mkdir()
    elif damage != 'gone':
        index.write_text(damage)
    for i in range(2, 5):
        _build(i, keep_superseded=2)
    assert _values() == [2, 3]


def test_only_new_ones_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    from kartnb.history import retention

    read: list[str] = []
    original = retention.superseded_result
    monkeypatch.setattr(retention, 'superseded_result', lambda place, name: read.append(name) or original(place, name))
    for i in range(6):
        _build(i)
        assert len(read) <= 1
        read.clear()


def test_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('KARTNB_KEEP_SUPERSEDED', '1')
    for i in range(4):
        _build(i)
    assert _values() == [2]
    monkeypatch.delenv('KARTNB_KEEP_SUPERSEDED')
    luigi.configuration.get_config().set('kartnb', 'keep_superseded', '2, 1 h')
    try:
        for i in range(4, 8):
            _build(i)
        assert _values() == [5, 6]
        luigi.configuration.get_config().set('kartnb', 'keep_superseded', 'some')
        with pytest.raises(kartnb.KartError, match=r"\[kartnb\] keep_superseded in the configuration must be .*'some'"):
            _build(9)
    finally:
        luigi.configuration.get_config().remove_option('kartnb', 'keep_superseded')


@pytest.mark.parametrize('wrong', ['many', '1, 2 x', '', -1, True])
def test_what_makes_no_sense_is_one_sentence(wrong: Any) -> None:
    with pytest.raises(kartnb.KartError, match='keep_superseded must be a number, a duration and a size'):
        kartnb.build(Value(), keep_superseded=wrong)


def test_remote_workspaces_are_bounded() -> None:
    for i in range(5):
        contents.append(i % 2)
        kartnb.build(Value(workspace_directory='memory://retention/w'), rerun=True, keep_superseded=2)
    assert len(list(superseded_results('memory://retention/w'))) == 2


@pytest.mark.skipif(os.name == 'nt' or os.geteuid() == 0, reason='platform: needs a user whom permissions bind')
def test_what_cannot_be_removed_does_not_fail_the_build() -> None:
    for i in range(3):
        _build(i)
    os.chmod(kept, 0o500)
    try:
        contents.append(3)
        assert kartnb.build(Value(n=7), keep_superseded=1) == 3
    finally:
        os.chmod(kept, 0o700)
