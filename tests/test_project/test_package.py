"""The built package has one version, every file, and no trace of the machine that built it."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import packages_distributions
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


def test_every_import_is_a_declared_dependency(repository: Path) -> None:
    project = tomllib.loads((repository / 'pyproject.toml').read_text())['project']
    optional = [lines for extra, lines in project['optional-dependencies'].items() if extra not in ('test', 'docs')]
    lines = [*project['dependencies'], *(line for extra in optional for line in extra)]
    declared = {re.split(r'[\[<>=;~! ]', line)[0].lower() for line in lines}
    distributions = packages_distributions()
    used = {name for file in (repository / 'kartnb').rglob('*.py') for name in _imported(file)}
    foreign = {name for name in used if name not in sys.stdlib_module_names and name != 'kartnb'}
    homes = {name: {home.lower().replace('_', '-') for home in distributions.get(name, [name])} for name in foreign}
    assert {name for name, home in homes.items() if not home & declared} == set()


def _imported(file: Path) -> set[str]:
    nodes = list(ast.walk(ast.parse(file.read_text())))
    names = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    names += [node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module and not node.level]
    return {name.partition('.')[0] for name in names}
