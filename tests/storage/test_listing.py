"""Many questions for existence, few to the disk."""

from __future__ import annotations

import os
from pathlib import Path

import fsspec
import pytest

from kartnb.storage.census import Listing
from kartnb.storage.files import SUFFIX, temporary_name
from tests.machine import cost


def made(directory: str, count: int) -> list[str]:
    os.makedirs(directory or '.', exist_ok=True)
    paths = [os.path.join(directory, f'task_{i}.pkl') for i in range(count)]
    for path in paths[::2]:
        Path(path).touch()
    return paths


@pytest.mark.parametrize('directory', ['', '.', './resources/a', 'resources//a/../a', '{absolute}/x'])
@pytest.mark.parametrize('count', [1, 5, 100])
def test_what_exists_is_found(directory: str, count: int) -> None:
    # absolute only now: when the parameters are made, the working directory is not the test's own
    paths = made(directory.format(absolute=os.getcwd()), count)
    listing = Listing(paths)
    assert [path for path in paths if listing.exists(path)] == paths[::2]
    assert listing.existing(paths) == set(paths[::2])


def test_paths_of_many_directories() -> None:
    paths = made('a', 50) + made('b', 3) + [f'gone/x{i}' for i in range(50)]
    found = Listing().existing(iter(paths))
    assert found == {path for path in paths if os.path.exists(path)}


def test_what_was_not_asked_for_at_first_is_asked_for_later() -> None:
    listing = Listing(made('a', 4))
    Path('a/late.pkl').touch()
    assert listing.exists('a/late.pkl')


def test_a_listing_tells_what_a_stat_tells() -> None:
    paths = made('a', 40)
    os.symlink('nowhere', 'a/dangling')
    os.symlink('task_0.pkl', 'a/link')
    os.mkdir('a/directory')
    Path('a/日本').touch()
    paths += ['a/dangling', 'a/link', 'a/directory', 'a/日本', 'a/', 'a/.', 'a/..']
    assert Listing().existing(paths) == {path for path in paths if os.path.exists(path)}


def test_one_listing_serves_a_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    paths = made('a', 1000)
    stats = []
    exists = os.path.exists
    monkeypatch.setattr(os.path, 'exists', lambda path: stats.append(path) or exists(path))
    Listing(paths)
    assert stats == []


def test_litter_is_swept_and_never_a_result() -> None:
    paths = made('a', 40)
    dead = temporary_name('task_1.pkl').replace(f'-{os.getpid()}-', '-999999999-')
    Path('a', dead).touch()
    assert dead.endswith(SUFFIX)
    assert Listing().existing(paths) == set(paths[::2])
    assert dead not in os.listdir('a')


def test_an_object_store_is_listed_once() -> None:
    store = fsspec.filesystem('memory')
    paths = [f'memory://listing/task_{i}.pkl' for i in range(5)]
    for path in paths[::2]:
        store.pipe_file(path, b'')
    assert Listing().existing([*paths, 'memory://elsewhere/a', 'memory://elsewhere/b']) == set(paths[::2])
    store.rm('/listing', recursive=True)


def test_ten_thousand_paths_are_quick() -> None:
    paths = made('a', 10_000)
    assert cost(lambda: Listing(paths)) < 10
