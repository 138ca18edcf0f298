"""The notebooks run without a screen, and are stored as they run today."""

from __future__ import annotations

import base64
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import nbformat
import pytest

from scripts.run_notebooks import FOLDER, PROJECT, execute

NOTEBOOKS = sorted(path.name for path in FOLDER.glob('*.ipynb'))
#: Any directory of the machine that ran a notebook.
PATHS = re.compile(r'/(?:tmp|home|root|work|opt|usr|Users|private|var)/[\w.-]|[A-Z]:\\\\')


@pytest.fixture(scope='module', params=NOTEBOOKS)
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Any]:
    """Return a notebook as it is stored, and as it runs now."""
    stored = nbformat.read(FOLDER / request.param, as_version=4)
    return stored, execute(FOLDER / request.param, tmp_path_factory.mktemp('home'))


def test_it_runs_as_it_is_stored(pair: tuple[Any, Any]) -> None:
    stored, fresh = pair
    assert [_shape(cell) for cell in fresh.cells] == [_shape(cell) for cell in stored.cells]


@pytest.mark.parametrize('name', NOTEBOOKS)
class TestStored:
    def test_it_is_valid_and_has_run_from_top_to_bottom(self, name: str) -> None:
        notebook = nbformat.read(FOLDER / name, as_version=4)
        nbformat.validate(notebook)
        code = [cell for cell in notebook.cells if cell.cell_type == 'code']
        assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
        assert 'widgets' not in notebook.metadata

    def test_only_what_is_meant_to_fails(self, name: str) -> None:
        for cell in nbformat.read(FOLDER / name, as_version=4).cells:
            failed = any(
                output.output_type == 'error' or 'UsageError' in output.get('text', '')
                for output in cell.get('outputs', [])
            )
            assert failed == ('raises-exception' in cell.metadata.get('tags', []))

    def test_nothing_tells_of_the_machine(self, name: str) -> None:
        assert PATHS.findall((FOLDER / name).read_text()) == []

    def test_every_build_and_graph_has_its_picture(self, name: str) -> None:
        for cell in nbformat.read(FOLDER / name, as_version=4).cells:
            if re.search(r'%kart_(build|graph)', cell.source) and cell.cell_type == 'code':
                pictures = re.findall(r'<img src="data:image/svg\+xml;base64,([^"]+)"', _html(cell))
                assert len(pictures) == (0 if 'UsageError' in str(cell.outputs) else 1)
                assert all(base64.b64decode(picture).startswith(b'<svg') for picture in pictures)

    def test_it_is_small_enough_to_be_cloned(self, name: str) -> None:
        assert (FOLDER / name).stat().st_size < 400_000


def test_the_quickstart_shows_what_it_promises() -> None:
    notebook = nbformat.read(FOLDER / '00-quickstart.ipynb', as_version=4)
    sources = '\n'.join(cell.source for cell in notebook.cells)
    assert len(set(re.findall(r'^class (\w+)\(TaskOnKart\)', sources, re.MULTILINE))) >= 6
    assert any('image/png' in output.get('data', {}) for cell in notebook.cells for output in cell.get('outputs', []))
    assert 'pickle.load' in sources


class TestComingFromGokart:
    def test_its_tasks_are_the_projects_but_for_one_line(self) -> None:
        project = (FOLDER / PROJECT / 'pipeline.py').read_text()
        notebook = nbformat.read(FOLDER / '03-coming-from-gokart.ipynb', as_version=4)
        sources = [cell.source for cell in notebook.cells if cell.cell_type == 'code']
        tasks = sources[sources.index('import kartnb as gokart') + 1]
        assert project.partition('import gokart\n')[2].partition('\n\n\nif __name__')[0] == tasks

    def test_gokart_itself_writes_its_workspace(self, tmp_path: Path) -> None:
        """Files and logs; the times of runs differ, and so do pickles of other releases."""
        pytest.importorskip('gokart')
        shutil.copytree(FOLDER / PROJECT, tmp_path / PROJECT)
        stored = _files(tmp_path / PROJECT / 'workspace')
        shutil.rmtree(tmp_path / PROJECT / 'workspace')
        command = [sys.executable, '-W', 'ignore', 'pipeline.py']
        done = subprocess.run(command, cwd=tmp_path / PROJECT, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        fresh = _files(tmp_path / PROJECT / 'workspace')
        assert stored.keys() == fresh.keys()
        results = [name for name in stored if name.endswith('.csv') or ('/Score_' in name and 'log' not in name)]
        assert len(results) >= 7
        assert {name for name in results if stored[name] != fresh[name]} == set()

    def test_it_is_light(self) -> None:
        assert sum(len(data) for data in _files(FOLDER / PROJECT).values()) < 200_000


def _files(place: Path) -> dict[str, bytes]:
    return {file.relative_to(place).as_posix(): file.read_bytes() for file in place.rglob('*') if file.is_file()}


def test_no_file_stays(repository: Path) -> None:
    for name in ('resources', 'moved-project'):
        assert not (repository / 'notebooks' / name).exists()


def _html(cell: Any) -> str:
    return ''.join(output.get('data', {}).get('text/html', '') for output in cell.get('outputs', []))


def _shape(cell: Any) -> tuple[str, list[tuple[str, ...]]]:
    return cell.source, [
        (output.output_type, output.get('name', ''), output.get('ename', ''), *sorted(output.get('data', {})))
        for output in cell.get('outputs', [])
    ]


def test_the_picture_of_the_readme_is_light(repository: Path) -> None:
    picture = (repository / 'docs' / 'images' / 'quickstart.png').read_bytes()
    assert picture.startswith(b'\x89PNG')
    assert len(picture) < 300_000
