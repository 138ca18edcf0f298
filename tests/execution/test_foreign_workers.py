"""Workers of others that lack what they need: said in one sentence, with what to do."""

from __future__ import annotations

import importlib
import multiprocessing
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import kartnb
from kartnb.execution.workers import remote


@contextmanager
def _workers(prepare: Callable[..., None], *arguments: Any) -> Iterator[ProcessPoolExecutor]:
    context = multiprocessing.get_context('spawn')
    with ProcessPoolExecutor(1, mp_context=context, initializer=prepare, initargs=arguments) as pool:
        yield pool


def _leave(folder: str) -> None:
    sys.path.remove(folder)


def _be_another_version() -> None:
    remote.__version__ = '0.0.1'  # type: ignore[misc]


@pytest.fixture
def shop(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A module in a folder that workers do not have on their path; gives the folder."""
    folder = tmp_path / request.param
    folder.mkdir()
    (folder / 'shop_of_mine.py').write_text(
        'import kartnb\n\n\nclass Sold(kartnb.TaskOnKart):\n    def run(self):\n        self.dump(1)\n'
    )
    monkeypatch.syspath_prepend(str(folder))
    importlib.import_module('shop_of_mine')
    yield folder
    del sys.modules['shop_of_mine']


@pytest.mark.parametrize('shop', ['site-packages'], indirect=True)
def test_a_worker_without_a_package_is_said(shop: Path) -> None:
    with _workers(_leave, str(shop)) as pool, pytest.raises(kartnb.GokartBuildError) as caught:
        kartnb.build(sys.modules['shop_of_mine'].Sold(), executor=pool)
    assert "A worker lacks the module 'shop_of_mine'" in str(caught.value)
    assert 'install' in str(caught.value)


@pytest.mark.parametrize('shop', ['project'], indirect=True)
def test_a_worker_is_given_the_users_own_modules(shop: Path) -> None:
    with _workers(_leave, str(shop)) as pool:
        assert kartnb.build(sys.modules['shop_of_mine'].Sold(), executor=pool) == 1


def test_a_worker_with_another_version_of_kartnb_is_said() -> None:
    class Sold(kartnb.TaskOnKart[int]):
        def run(self) -> None:
            self.dump(1)

    with _workers(_be_another_version) as pool, pytest.raises(kartnb.GokartBuildError, match=r'has kartnb 0\.0\.1'):
        kartnb.build(Sold(), executor=pool)
    assert kartnb.build(Sold()) == 1
