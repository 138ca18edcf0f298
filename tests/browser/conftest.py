"""Notebooks in a real browser."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook

from tests.browser.front_end import FrontEndServer, Kind, browsing, serving

pytest.importorskip('playwright.sync_api')

Write = Callable[..., str]


@pytest.fixture(scope='module')
def browser(chromium: str) -> Iterator[Any]:
    """Return a running Chromium; while it runs, no test of this process can have an event loop of its own."""
    with browsing(chromium) as started:
        yield started


@pytest.fixture(scope='module', params=['lab', 'notebook'])
def kind(request: pytest.FixtureRequest) -> Kind:
    """Return the front end to test."""
    chosen: Kind = request.param
    return chosen


@pytest.fixture(scope='module')
def folder(kind: Kind, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder that is served; each front end has its own, so that none finds results of the other."""
    return tmp_path_factory.mktemp(f'served-{kind}')


@pytest.fixture(scope='module')
def server(kind: Kind, folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[FrontEndServer]:
    """Return a server of that front end."""
    with serving(tmp_path_factory.mktemp(f'jupyter-{kind}'), folder, kind) as running:
        yield running


@pytest.fixture
def write(folder: Path, request: pytest.FixtureRequest) -> Write:
    """Write a notebook of code cells into the folder, and give its name."""

    def write_cells(*sources: str) -> str:
        name = f'{request.node.originalname}.ipynb'
        metadata = {'kernelspec': {'name': 'python3', 'display_name': 'Python 3', 'language': 'python'}}
        cells = [new_code_cell(source) for source in sources]
        nbformat.write(new_notebook(cells=cells, metadata=metadata), folder / name)
        return name

    return write_cells
