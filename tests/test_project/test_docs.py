"""The documentation builds without a warning, loads nothing from other sites, names existing files; examples run."""

from __future__ import annotations

import inspect
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import kartnb

DOCS = Path(__file__).parents[2] / 'docs'
PAGES = sorted(page.name for page in DOCS.glob('*.md'))
LOADED = re.compile(r'<(?:script|link|img|iframe)\b[^>]*(?:src|href)="(?:https?:)?//[^"]*"')


@pytest.fixture(scope='module')
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp('site')
    command = [sys.executable, '-m', 'sphinx', '-W', '--keep-going', '-q', '-E', '-d', str(place / 'trees')]
    done = subprocess.run([*command, str(DOCS), str(place / 'html')], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return place / 'html'


def test_every_page_is_built(site: Path) -> None:
    assert {Path(page).with_suffix('.html').name for page in PAGES} <= {file.name for file in site.glob('*.html')}


def test_pages_load_nothing_from_elsewhere(site: Path) -> None:
    loaded = {file.name: LOADED.findall(file.read_text()) for file in site.rglob('*.html')}
    assert {name: found for name, found in loaded.items() if found} == {}


def test_the_reference_has_every_public_name() -> None:
    written = set(re.findall(r'kartnb\.(\w+)', (DOCS / 'api.md').read_text()))
    assert set(kartnb.__all__) <= written


def test_the_map_names_every_module(repository: Path) -> None:
    """The table of packages names every module, and no other."""
    rows = re.findall(r'^\| `(kartnb/[\w/]*)` \|.*\| ([^|]*) \|$', (DOCS / 'architecture.md').read_text(), re.MULTILINE)
    named = {f'{folder}{module}.py' for folder, modules in rows for module in re.findall(r'`(\w+)`', modules)}
    files = {file.relative_to(repository).as_posix() for file in (repository / 'kartnb').rglob('*.py')}
    assert named == {file for file in files if not file.endswith('/__init__.py')}


def test_the_map_names_files_that_exist(repository: Path) -> None:
    table = (DOCS / 'architecture.md').read_text().partition('## Where is …')[2].partition('\n## ')[0]
    named = re.findall(r'`(kartnb/[^`]*)`', table)
    assert len(named) > 24
    assert [name for name in named if not (repository / name).is_file()] == []


def test_every_public_name_is_documented() -> None:
    missing = [part for name in kartnb.__all__ for part in _undocumented(name, getattr(kartnb, name))]
    assert missing == []


@pytest.mark.parametrize('page', [page for page in PAGES if '```python' in (DOCS / page).read_text()])
def test_examples_run(page: str, tmp_path: Path) -> None:
    """All examples of a page are one script. None calls `run()`, which would parse our command line."""
    script = tmp_path / 'example.py'
    script.write_text('\n'.join(re.findall(r'```python\n(.*?)```', (DOCS / page).read_text(), re.DOTALL)))
    environment = {**os.environ, 'PYTHONPATH': str(DOCS.parent)}
    command = [sys.executable, '-W', 'error::DeprecationWarning:__main__', str(script)]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize('page', ['notebook.md', 'graph.md'])
def test_notebook_examples_run(page: str, tmp_path: Path) -> None:
    """The cells of a page run in an IPython session, one after the other."""
    cells = re.findall(r'```ipython3\n(.*?)```', (DOCS / page).read_text(), re.DOTALL)
    session = (
        'from IPython.core.interactiveshell import InteractiveShell\n'
        'shell = InteractiveShell.instance()\n'
        f'for cell in {cells!r}:\n'
        '    shell.run_cell(cell, store_history=True).raise_error()\n'
    )
    environment = {**os.environ, 'PYTHONPATH': str(DOCS.parent), 'IPYTHONDIR': str(tmp_path / 'ipython')}
    command = [sys.executable, '-c', session]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr


def _undocumented(name: str, value: object) -> list[str]:
    """The names without a docstring, not even an inherited one: of a function or class, and its public methods."""
    if not (inspect.isroutine(value) or inspect.isclass(value)):
        return []
    missing = [] if inspect.getdoc(value) else [name]
    if inspect.isclass(value):
        own = [(key, member) for key, member in vars(value).items() if not key.startswith('_')]
        methods = [key for key, member in own if inspect.isroutine(member) or isinstance(member, property)]
        missing += [f'{name}.{key}' for key in methods if not inspect.getdoc(getattr(value, key))]
    return missing
