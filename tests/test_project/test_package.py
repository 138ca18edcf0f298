"""What is built is what was written: one version, every file, no word of where it was built."""

from __future__ import annotations

import re
import subprocess
import sys
import zipfile
from pathlib import Path

import kartnb

LOCK_FILES = ('uv.lock', 'poetry.lock', 'pdm.lock', 'Pipfile.lock', 'package-lock.json', 'yarn.lock', 'conda-lock.yml')


def test_the_wheel_holds_every_file_of_the_package(repository: Path, tmp_path: Path) -> None:
    wheel = _wheel(repository, tmp_path)
    assert wheel.name == f'kartnb-{kartnb.__version__}-py3-none-any.whl'
    packed = {name for name in zipfile.ZipFile(wheel).namelist() if name.startswith('kartnb/')}
    written = {str(file.relative_to(repository)) for file in (repository / 'kartnb').rglob('*') if file.is_file()}
    assert packed == {name for name in written if '__pycache__' not in name}
    assert 'kartnb/py.typed' in packed


def test_the_version_is_said_once(repository: Path) -> None:
    assert re.fullmatch(r'\d+\.\d+\.\d+', kartnb.__version__)
    assert kartnb.__version__ in (repository / 'CHANGELOG.md').read_text()
    assert kartnb.__version__ not in (repository / 'kartnb' / '__init__.py').read_text()


def test_no_lock_file_and_no_index_is_named(tracked: list[Path]) -> None:
    assert [file for file in tracked if file.name in LOCK_FILES] == []
    index = re.compile(r'--(extra-)?index-url|\[\[tool\.uv\.index|^registry *=', re.MULTILINE)
    settings = [file for file in tracked if file.suffix in ('.toml', '.txt', '.cfg', '.ini', '.yml', '.yaml', '.json')]
    assert [file for file in settings if index.search(file.read_text())] == []


def _wheel(repository: Path, place: Path) -> Path:
    command = [sys.executable, '-m', 'hatchling', 'build', '--target', 'wheel', '--directory', str(place)]
    subprocess.run(command, cwd=repository, check=True, capture_output=True, timeout=120)
    (wheel,) = place.glob('*.whl')
    return wheel
