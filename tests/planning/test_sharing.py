"""What a plan says of builds at the same time: nothing where each task runs once, else one quiet sentence."""

from __future__ import annotations

import html
import os
import sys
from pathlib import Path

import pytest

import kartnb
from kartnb.storage import locks
from kartnb.storage.locks import file_system_type, sharing_of
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
    monkeypatch.setattr(locks, 'file_system_type', lambda path: 'nfs4')
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
