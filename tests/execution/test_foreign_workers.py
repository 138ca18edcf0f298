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
from kartnb.execution import remote


@contextmanager
def _workers(prepare: Callable[..., None], *arguments: Any) -> Iterator[ProcessPoolExecutor]:
    context = multiprocessing.get_context('spawn')
    with ProcessPoolExecutor(1, mp_context=context, initializer=prepare, initargs=arguments) as pool:
        yield pool


def _leave(folder: str) -> None:
    sys.path.remove(folder)


def _be_another_version() -> None:
    remote.__version__ = '0.0.1'  # type: ignore[misc]


def test_a_worker_without_the_users_package_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / 'shop_of_mine.py').write_text(
        'import kartnb\n\n\nclass Sold(kartnb.TaskOnKart):\n    def run(self):\n        self.dump(1)\n'
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    shop = importlib.import_module('shop_of_mine')
    try:
        with _workers(_leave, str(tmp_path)) as pool, pytest.raises(kartnb.GokartBuildError) as caught:
            kartnb.build(shop.Sold(), executor=pool)
    finally:
        del sys.modules['shop_of_mine']
    assert "A worker lacks the module 'shop_of_mine'" in str(caught.value)
    assert 'install' in str(caught.value)


def test_a_worker_with_another_version_of_kartnb_is_said() -> None:
    class Sold(kartnb.TaskOnKart[int]):
        def run(self) -> None:
            self.dump(1)

    with _workers(_be_another_version) as pool, pytest.raises(kartnb.GokartBuildError, match=r'has kartnb 0\.0\.1'):
        kartnb.build(Sold(), executor=pool)
    assert kartnb.build(Sold()) == 1
