"""What a plan says of builds at the same time: nothing where each task runs once, else one quiet sentence."""

from __future__ import annotations

import html
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import kartnb
from kartnb.model import HELD
from kartnb.storage import run_lock
from kartnb.storage.locks import file_system_type
from kartnb.storage.run_lock import sharing_of
from kartnb.view.html import plan_html

SENTENCE = 'Without redis_host, builds at the same time may run a task twice; each result is whole.'


class Leaf(kartnb.TaskOnKart[int]):
    def run(self) -> None:
        self.dump(1)


class Root(kartnb.TaskOnKart[int]):
    leaf = kartnb.TaskInstanceParameter()

    def requires(self) -> object:
        return self.leaf

    def run(self) -> None:
        self.dump(2)


def test_a_local_disk_needs_no_word(tmp_path: Path) -> None:
    plan = kartnb.plan(Leaf(workspace_directory=str(tmp_path / 'not' / 'yet')))
    assert plan.sharing == ''
    assert 'builds' not in repr(plan) + plan_html(plan)


def test_an_object_store_is_said_once_in_text_html_and_graph(tmp_path: Path) -> None:
    leaf = Leaf(workspace_directory=f'file://{tmp_path}/leaf')
    plan = kartnb.plan(Root(leaf=leaf, workspace_directory=f'file://{tmp_path}/root'))
    for shown in (plan, kartnb.graph(plan), plan.with_states({})):
        for told in (repr(shown), html.unescape(plan_html(shown))):
            assert told.count(SENTENCE) == 1


def test_redis_makes_it_exactly_once(tmp_path: Path) -> None:
    place = f'file://{tmp_path}'
    locked = Leaf(workspace_directory=place, redis_host='127.0.0.1', redis_port=6379)
    assert kartnb.plan(locked).sharing == ''
    free = Root(leaf=locked, workspace_directory=place)
    assert kartnb.plan(free).sharing, 'one task without the lock is enough'


def test_a_plan_that_runs_nothing_says_nothing(tmp_path: Path) -> None:
    task = Leaf(workspace_directory=f'file://{tmp_path}')
    assert kartnb.build(task) == 1
    assert kartnb.plan(task).sharing == ''


def test_a_network_disk_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(run_lock, 'file_system_type', lambda path: 'nfs4')
    assert sharing_of(str(tmp_path), redis=True) == ''
    plan = kartnb.plan(Leaf(workspace_directory=str(tmp_path)))
    assert repr(plan).count('On a network disk (nfs4) without redis_host, builds on several computers') == 1


@pytest.mark.skipif(sys.platform != 'linux', reason='other systems do not list their mounts in a file')
def test_the_disk_of_a_path_that_does_not_exist_yet_is_known(tmp_path: Path) -> None:
    assert file_system_type('/proc/self') == 'proc'
    (tmp_path / 'link').symlink_to('/proc')
    assert file_system_type(str(tmp_path / 'link')) == 'proc', 'where the link leads'
    assert file_system_type(str(tmp_path / 'not' / 'yet')) == file_system_type(str(tmp_path)) != ''
    mounted = Path('/dev/shm')
    if os.path.ismount(mounted):
        assert file_system_type(str(mounted / 'none')) == 'tmpfs'


class Gate(kartnb.TaskOnKart[int]):
    """Runs until a file lets it end."""

    place = kartnb.luigi.Parameter()

    def run(self) -> None:
        (Path(self.place) / f'run-{time.monotonic_ns()}').touch()
        while not (Path(self.place) / 'open').exists():
            time.sleep(0.01)
        self.dump(7)


def test_a_build_says_for_whom_it_waits_and_a_plan_who_runs_the_task(tmp_path: Path) -> None:
    task = Gate(place=str(tmp_path), workspace_directory=str(tmp_path / 'results'))
    first = kartnb.build(task, background=True, executor='threads')
    _until(lambda: list(tmp_path.glob('run-*')))
    second = kartnb.build(task, background=True, executor='threads')
    try:
        _until(lambda: 'waiting' in str(second.progress))
        assert '‖ 1 waiting for another build of this process, since ' in str(second.progress)
        assert 'waiting for another build of this process, since ' in repr(second.plan)
        assert f'{HELD}: another build of this process, since ' in kartnb.plan(task).root.why
    finally:
        (tmp_path / 'open').touch()
    assert (first.result(60), second.result(60)) == (7, 7)
    assert len(list(tmp_path.glob('run-*'))) == 1
    assert 'its result appeared meanwhile' in repr(second.plan)
    assert HELD not in kartnb.plan(task).root.why


def _until(holds: Callable[[], object]) -> None:
    end = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.01)
